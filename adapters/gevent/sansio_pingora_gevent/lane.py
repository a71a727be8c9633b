"""A lane on gevent's hub: callbacks in the hub drive it, greenlets run calls that may wait."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
from gevent.event import Event
from gevent.socket import getaddrinfo

from sansio_pingora.listeners import AcceptPolicy
from sansio_pingora.machine import Coordinator, RunFilter
from sansio_pingora.transport import ServiceRecord, SocketAddr
from sansio_pingora_gevent.poller import HubPoller
from sansio_pingora_posix import Control, SocketLane, Stop, Watched, call_error, resolve, resolve_service

__all__ = ["HubLane"]

Done = Callable[[Any, "Exception | None", float], None]


class HubLane(SocketLane):
    """Lives on the hub of the thread that makes it. Machines are called in the hub, which never waits."""

    def __init__(
        self, control: Control, grace_period: float, policy: AcceptPolicy | None = None, *, until_idle: bool = False
    ) -> None:
        self._loop: Any = gevent.get_hub().loop
        super().__init__(HubPoller(self._loop, self._dispatch), policy)
        self._control = control
        self._grace_period = grace_period
        self._until_idle = until_idle
        self._heard = Stop.NO
        self._greenlets: set[gevent.Greenlet[..., Any]] = set()
        self._filters: dict[int, set[gevent.Greenlet[..., Any]]] = {}
        self._over = Event()
        self._closed = False
        self._timer: Any = None
        self._armed = math.inf
        self._bell: Any = self._loop.async_()
        self._bell.start(self._hear)
        control.on_stop(self._wake)
        self.lane.ring = self._wake
        self._stirred = False
        self.lane.stir = self._stir

    def drive(self) -> None:
        """Wait, in the calling greenlet, until the lane is told to stop and has drained, or nothing is left."""
        self._after(monotonic())
        self._over.wait()

    # ── hooks ────────────────────────────────────────────────────────────────────────

    def resolve(self, address: SocketAddr) -> list[SocketAddr]:
        """With the hub's own resolver, in a greenlet."""
        return resolve(address, getaddrinfo)

    def resolve_service(self, name: str, servers: tuple[SocketAddr, ...]) -> list[ServiceRecord]:
        """In a thread of the hub's, for which a greenlet waits: the library knows nothing of gevent."""
        found: list[ServiceRecord] = gevent.get_hub().threadpool.apply(resolve_service, (name, servers))
        return found

    def offload(self, call: Callable[[], Any], done: Done) -> None:
        """Run *call* in a greenlet."""
        self._spawn(call, done)

    def run_filter(self, owner: Coordinator, command: RunFilter, now: float) -> None:
        """Run the call in a greenlet that can be stopped."""
        token = command.token
        running = self._filters.setdefault(id(owner), set())
        self.filters += 1

        def done(value: Any, exc: Exception | None, now: float) -> None:
            self.filters -= 1
            if greenlet not in running:
                return  # stopped
            running.discard(greenlet)
            if not running and self._filters.get(id(owner)) is running:
                del self._filters[id(owner)]
            self.answer(owner, token, value if exc is None else call_error(exc), now)

        greenlet = self._spawn(command.call, done)
        running.add(greenlet)

    def stop_filters(self, owner: Coordinator) -> None:
        """Kill the greenlets of *owner*."""
        running = self._filters.pop(id(owner), None)
        if running is not None:
            greenlets = list(running)
            running.clear()
            for greenlet in greenlets:
                greenlet.kill(block=False)

    def close(self) -> None:
        """Abort what is left, and give everything back. The last call."""
        self._closed = True
        self.abort(monotonic())
        super().close()
        for greenlet in list(self._greenlets):
            greenlet.kill(block=False)
        self._disarm()
        self.lane.ring = self.lane.stir = None
        self._bell.stop()
        self._bell.close()

    # ── in the hub ───────────────────────────────────────────────────────────────────

    def _dispatch(self, method: Callable[[float], None], watched: Watched) -> None:
        now = monotonic()
        try:
            method(now)
        except Exception as exc:
            watched.on_bug(exc, now)
        self.settle(now)
        self._after(now)

    def _after(self, now: float) -> None:
        """Arm the timer, and see whether it is over."""
        deadline = self.deadline
        if deadline < self._armed:
            self._disarm()
            self._armed = deadline
            self._timer = self._loop.timer(max(deadline - now, 0.0))
            # update: the loop's own idea of now is as old as the events of this round.
            self._timer.start(self._ring, update=True)
        if self.drained or (self._until_idle and self.idle(now)):
            self._over.set()

    def _ring(self) -> None:
        now = monotonic()
        self._disarm()
        if now >= self.deadline:
            self.fire(now)
        self._after(now)

    def _disarm(self) -> None:
        self._armed = math.inf
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _wake(self) -> None:
        """From any thread, and from signal handlers; perhaps just when the lane has ended."""
        with contextlib.suppress(ValueError):  # its hub is destroyed
            self._bell.send()

    def _hear(self) -> None:
        now = monotonic()
        self.run_posted(now)
        asked = self._control.asked
        if asked is not self._heard:
            self._heard = asked
            if asked is Stop.NOW:
                self.abort(now)
            else:
                self.drain(self._grace_period, now, keep_idle=self._control.keep_idle)
        self._after(now)

    def _stir(self) -> None:
        """Somebody has called machines between two turns of ours, a greenlet perhaps: have one soon."""
        if self.lane.dirty and not self._stirred:
            self._stirred = True
            self._loop.run_callback(self._settle_stirred)

    def _settle_stirred(self) -> None:
        self._stirred = False
        if not self._closed:
            now = monotonic()
            self.settle(now)
            self._after(now)

    def _spawn(self, call: Callable[[], Any], done: Done) -> gevent.Greenlet[..., Any]:
        self.calls += 1

        def attempt() -> tuple[Any, Exception | None]:
            try:
                return call(), None
            except gevent.GreenletExit:
                raise  # it was killed: there is no answer
            except BaseException as exc:  # not even sys.exit in a filter is to end the hub
                return None, exc if isinstance(exc, Exception) else RuntimeError(f"a call raised {exc!r}")

        def finished(greenlet: gevent.Greenlet[..., Any]) -> None:
            self.calls -= 1
            self._greenlets.discard(greenlet)
            if self._closed:
                return
            now = monotonic()
            if isinstance(greenlet.value, tuple):
                value, exc = greenlet.value
            else:  # GreenletExit: by us, or by somebody else
                value, exc = None, RuntimeError("the greenlet was killed")
            done(value, exc, now)
            self.settle(now)
            self._after(now)

        greenlet = gevent.spawn(attempt)
        self._greenlets.add(greenlet)
        greenlet.rawlink(finished)  # called in the hub
        return greenlet
