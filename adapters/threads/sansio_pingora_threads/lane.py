"""One selector lane: a thread that owns sockets and the machines above them."""

from __future__ import annotations

import contextlib
import logging
import math
import socket
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from sansio_pingora.listeners import AcceptPolicy
from sansio_pingora_posix import Control, SocketLane, Stop, Watched, Workers, wake_at_signals
from sansio_pingora_threads.poller import READABLE, WRITABLE, EpollPoller, SelectorPoller, new_poller

__all__ = ["ThreadLane"]

_LOG = logging.getLogger("sansio_pingora")
_LONGEST_WAIT = 3600.0
"""Seconds; epoll takes no more than about 24 days."""
_RINGS = 3
"""Attempts to wake the lane. The kernel seldom refuses one, but then nobody else would come."""

Answer = tuple[Callable[[Any, "Exception | None", float], None], Any, "Exception | None"]


class ThreadLane(SocketLane):
    """Runs in the thread that calls :meth:`loop`; only :meth:`wake` and the workers' answers come from elsewhere."""

    poller: EpollPoller | SelectorPoller

    def __init__(self, workers: Workers, policy: AcceptPolicy | None = None) -> None:
        super().__init__(new_poller(), policy)
        self._workers = workers
        self._answers: deque[Answer] = deque()
        self._woken = False
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self.poller.watch(self._ear, True, False, _Ear(self))
        self.lane.ring = self.wake

    def watch_door(self, sock: socket.socket, door: Watched) -> None:
        """Share the listening socket with the other lanes."""
        self.poller.watch_shared(sock, door)

    def offload(self, call: Callable[[], Any], done: Callable[[Any, Exception | None, float], None]) -> None:
        """Give *call* to a worker."""
        self.calls += 1

        def work() -> None:
            try:
                answer: Answer = done, call(), None
            except BaseException as exc:  # a worker ends with its pool, not with a call of sys.exit
                answer = done, None, exc if isinstance(exc, Exception) else RuntimeError(f"a call raised {exc!r}")
            self._answers.append(answer)
            self.wake()

        try:
            self._workers.submit(work)
        except Exception as exc:
            self._answers.append((done, None, exc))
            self.wake()

    def wake(self) -> None:
        """Make the loop look at its answers and its control. From any thread, and from signal handlers."""
        if self._woken:
            return  # one write for a burst
        self._woken = True
        for _ in range(_RINGS):
            try:
                self._bell.send(b"\0")
            except BlockingIOError:
                return  # it is full of them
            except OSError:
                continue  # the kernel was short of memory, or the lane has ended
            return
        self._woken = False  # not heard: whoever comes next rings again

    def loop(self, control: Control, grace_period: float, *, until_idle: bool = False) -> None:
        """Drive the lane until it is told to stop and has drained, or nothing is left that could happen."""
        with wake_at_signals(self._bell):
            self._drive(control, grace_period, until_idle)

    def _drive(self, control: Control, grace_period: float, until_idle: bool) -> None:
        poller = self.poller
        table = poller.watched
        forgotten = poller.forgotten
        heard = Stop.NO
        while True:
            now = monotonic()
            if now >= self.deadline:
                self.fire(now)
            if control.asked is not heard:
                heard = control.asked
                if heard is Stop.NOW:
                    self.abort(now)
                else:
                    self.drain(grace_period, now, keep_idle=control.keep_idle)
            if self.drained or (until_idle and self.idle(now)):
                return
            for descriptor, mask in poller.wait(self._timeout(now)):
                if descriptor in forgotten:
                    continue  # by one before it; the number may stand for another socket by now
                watched = table[descriptor]
                now = monotonic()
                try:
                    if mask & WRITABLE:
                        watched.on_writable(now)
                    if mask & READABLE or not mask & WRITABLE:
                        watched.on_readable(now)
                except Exception as exc:
                    watched.on_bug(exc, now)
                self.settle(now)

    def take_answers(self, now: float) -> None:
        """Hand on what the workers have brought, and what was posted."""
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(64)
        # Between the two: what comes later rings again, and what came before is among the answers, its ring taken.
        self._woken = False
        while self._answers:
            done, value, exc = self._answers.popleft()
            self.calls -= 1
            done(value, exc, now)
        self.run_posted(now)

    def close(self) -> None:
        """Abort what is left, and give everything back. The last call, in the lane's own thread."""
        self.abort(monotonic())
        super().close()
        self.lane.ring = None
        self.poller.close()
        self._bell.close()
        self._ear.close()

    def _timeout(self, now: float) -> float | None:
        deadline = self.deadline
        return None if deadline == math.inf else min(max(deadline - now, 0.0), _LONGEST_WAIT)


class _Ear:
    """Where the lane hears its wake-ups."""

    __slots__ = ("_lane",)

    def __init__(self, lane: ThreadLane) -> None:
        self._lane = lane

    def on_readable(self, now: float) -> None:
        self._lane.take_answers(now)

    def on_writable(self, now: float) -> None:
        """Never watched for."""

    def on_bug(self, exc: Exception, now: float) -> None:
        _LOG.error("taking an answer broke down", exc_info=exc)
