"""A lane on an event loop: its listeners, dials, filters and timer."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import math
import socket
from collections.abc import Callable
from functools import partial
from mmap import mmap
from time import monotonic
from typing import Any

from sansio_pingora.errors import Error
from sansio_pingora.listeners import AcceptPolicy
from sansio_pingora.machine import READ_SIZE, Coordinator, Dial, RunFilter
from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora_asyncio.filters import BlockingCalls, FilterTask
from sansio_pingora_asyncio.transport import Transport
from sansio_pingora_posix import (
    Connecting,
    LaneRunner,
    Listener,
    Watched,
    call_error,
    connect_error,
    is_numeric,
    socket_addr,
)

__all__ = ["AsyncioLane"]

_LOG = logging.getLogger("sansio_pingora")
_LATE = 0.001
"""Seconds that a timer is late on purpose: uvloop counts whole milliseconds, and too early is twice."""
_INSIST = 0.1
"""Seconds between two attempts to cancel a filter that does not end."""


class AsyncioLane(LaneRunner):
    """Drives one lane in the running loop. All that it starts has ended after :meth:`close`."""

    def __init__(self, policy: AcceptPolicy | None = None) -> None:
        super().__init__(policy)
        self.loop = asyncio.get_running_loop()
        # uvloop saves a copy of 64 KiB and loses nothing on less; asyncio joins them itself, or, since 3.12,
        # calls sendmsg, which makes a small answer 2 µs dearer.
        self.scatters = not isinstance(self.loop, asyncio.BaseEventLoop)
        # Of whole pages: into memory that is not aligned, the kernel copies large readings at half the speed.
        self.buffer = memoryview(mmap(-1, READ_SIZE))
        # Of whoever serves: callbacks run in copies of it, not in what another exchange has set.
        self._context = contextvars.copy_context()
        self._settling = False
        self._stirred = False
        self._rung = False
        self.lane.stir = self._stir
        self.lane.ring = self._ring
        self._timer: asyncio.TimerHandle | None = None
        self._armed = math.inf
        self._listeners: list[Listener] = []
        self._watching = False
        self._transports: set[Transport] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._dials: dict[tuple[int, int], Connecting] = {}
        self._resolving: dict[Connecting, asyncio.Task[None]] = {}
        self._filters: dict[int, FilterTask] = {}
        self._blocking = BlockingCalls(self.loop, self._context)
        self._calls = 0
        self._until_idle = False
        self._looking = False
        self.ended = asyncio.Event()
        """Set when nothing is left, after :meth:`drain`, :meth:`abort` or :meth:`end_when_idle`."""

    # ── driving ──────────────────────────────────────────────────────────────────────

    def settle(self, now: float) -> None:
        """Serve every member that has changed, then arm the timer. Within itself: left to the call under way."""
        # A write may call pause_writing, which settles: the machines that it concerns are not on the stack then,
        # but the list of members that is being served is.
        if self._settling:
            return
        self._settling = True
        try:
            super().settle(now)
        finally:
            self._settling = False
        if self.lane.deadline < self._armed:
            self._arm(self.lane.deadline)
        if self.end.draining or self._until_idle:
            self._look_soon()

    def _stir(self) -> None:
        """Somebody has called machines between two turns of ours: have one soon."""
        if self.lane.dirty and not (self._settling or self._stirred):
            self._stirred = True
            self.loop.call_soon(self._settle_stirred, context=self._context.copy())

    def _settle_stirred(self) -> None:
        self._stirred = False
        self.settle(monotonic())

    def _ring(self) -> None:
        """Calls were posted to the lane, from whatever thread."""
        if not self._rung:  # one wake-up for a burst
            self._rung = True
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self.loop.call_soon_threadsafe(self._hear, context=self._context.copy())

    def _hear(self) -> None:
        self._rung = False
        self.run_posted(monotonic())

    def _arm(self, deadline: float) -> None:
        if deadline < self._armed:
            if self._timer is not None:
                self._timer.cancel()
            self._armed = deadline
            self._timer = self.loop.call_later(max(0.0, deadline - monotonic()) + _LATE, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._armed = math.inf
        self.fire(monotonic())
        self._arm(self.deadline)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ── listening ────────────────────────────────────────────────────────────────────

    def add_listener(self, listener: Listener) -> None:
        """Accept from *listener* as the policy allows. It stays the caller's to close."""
        self._listeners.append(listener)
        if self._watching:
            self.loop.add_reader(listener.sock, self._accept, listener)
        self.listen()

    def listen(self) -> None:
        """Watch the listening sockets, or do not, as the policy says."""
        accepting = self.policy.accepting
        if accepting is not self._watching:
            self._watching = accepting
            for listener in self._listeners:
                if accepting:
                    self.loop.add_reader(listener.sock, self._accept, listener)
                else:
                    self.loop.remove_reader(listener.sock)
        self._arm(self.policy.deadline)

    def _accept(self, listener: Listener) -> None:
        now = monotonic()
        for sock, info in listener.accept(self.policy, now):
            self.admit(sock, info.peer, partial(self._enter, sock, info), now)
        self.listen()
        if self.end.gate is not None:
            self.settle(now)

    def _enter(self, sock: socket.socket, info: TransportInfo, now: float) -> None:
        transport = self._new_transport(sock, partial(self._take, info), self._accepted_gone)
        task = self.loop.create_task(self._make(sock, transport))
        self._tasks.add(task)
        task.add_done_callback(partial(self._taken, sock, transport))

    def _taken(self, sock: socket.socket, transport: Transport, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            self._abandon(sock, transport)  # perhaps it never began
        elif isinstance(exc := task.exception(), OSError):
            _LOG.warning("a new connection was lost before it could be served: %s", exc)
        elif exc is not None:
            _LOG.error("the event loop failed over a new connection, which is closed", exc_info=exc)

    def _take(self, info: TransportInfo, transport: Transport, now: float) -> None:
        acceptor = self.end.acceptor
        if acceptor is None:
            raise RuntimeError("a listener was added before the acceptor was set")
        if self.end.aborted:
            transport.drop()
            return
        try:
            endpoint = acceptor.accept(info, now)
        except Exception:
            _LOG.exception("the application failed over a new connection from %s, which is closed", info.peer)
            transport.drop()
            return
        transport.bind(endpoint)
        if self.end.draining:  # it came in just before, and the loop was still making its transport
            endpoint.connection.drain(now)

    def _accepted_gone(self, now: float) -> None:
        self.policy.closed(now)
        if not self._watching:
            self.listen()

    # ── transports ───────────────────────────────────────────────────────────────────

    def _new_transport(
        self, sock: socket.socket, made: Callable[[Transport, float], None], closed: Callable[[float], None] | None
    ) -> Transport:
        def gone(now: float) -> None:
            if transport in self._transports:
                self._transports.remove(transport)
                if closed is not None:
                    closed(now)

        transport = Transport(sock, self, made, gone)
        self._transports.add(transport)
        return transport

    async def _make(self, sock: socket.socket, transport: Transport) -> None:
        """Let the loop make its transport: the one public way from a socket to it that both loops have."""
        try:
            await self.loop.connect_accepted_socket(lambda: transport, sock)
        except BaseException:
            self._abandon(sock, transport)
            raise

    def _abandon(self, sock: socket.socket, transport: Transport) -> None:
        # Cancelled half-way, both loops close the socket, but one of them without another word.
        now = monotonic()
        sock.close()
        transport.forget(now)
        self.settle(now)

    # ── dialling ─────────────────────────────────────────────────────────────────────

    def dial(self, owner: Coordinator, command: Dial, now: float) -> None:
        """Connect; a name is resolved in a thread of the loop's, and its addresses race."""
        dialling = Connecting(self, owner, command)
        self._dials[id(owner), command.token] = dialling
        address = command.address
        if (custom := command.options.custom) is not None:
            self._calls += 1
            self._blocking.run(partial(dialling.open_custom, custom), partial(self._adopt, dialling))
        elif address.path is not None or is_numeric(address.host):
            dialling.start([address], now)
        else:
            task = self._resolving[dialling] = self.loop.create_task(self._resolve(dialling))
            self._keep(task)

    def cancel_dial(self, owner: Coordinator, token: int) -> None:
        """Forget the dial and close its socket, if it has come so far."""
        if dialling := self._dials.pop((id(owner), token), None):
            self._give_up(dialling)

    def _give_up(self, dialling: Connecting) -> None:
        dialling.close()
        if task := self._resolving.pop(dialling, None):
            task.cancel()

    def _adopt(self, dialling: Connecting, outcome: Any) -> None:
        self._calls -= 1
        now = monotonic()
        if isinstance(outcome, Error):
            dialling.adopted(None, outcome, now)
        else:
            dialling.adopted(outcome, None, now)
        self.settle(now)

    async def _resolve(self, dialling: Connecting) -> None:
        address = dialling.command.address
        addresses: list[SocketAddr] = []
        failure: Exception | None = None
        try:
            found = await self.loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except Exception as exc:
            failure = exc
        else:
            addresses = [addr for family, *_, value in found if (addr := socket_addr(value, family)) is not None]
        self._resolving.pop(dialling, None)
        now = monotonic()
        dialling.resolved(addresses, failure, now)
        self.settle(now)

    def watch_connect(self, sock: socket.socket, watched: Watched) -> None:
        """See :class:`~sansio_pingora_posix.connecting.ConnectingOwner`."""
        self.loop.add_writer(sock, self._on_writable, watched)

    def _on_writable(self, watched: Watched) -> None:
        now = monotonic()
        try:
            watched.on_writable(now)
        except Exception as exc:
            watched.on_bug(exc, now)
        self.settle(now)

    def forget_connect(self, sock: socket.socket) -> None:
        """See :class:`~sansio_pingora_posix.connecting.ConnectingOwner`."""
        self.loop.remove_writer(sock)

    def connected(self, connecting: Connecting, sock: socket.socket, info: TransportInfo, now: float) -> None:
        """See :class:`~sansio_pingora_posix.connecting.ConnectingOwner`: the loop is to make a transport of it."""
        transport = self._new_transport(sock, partial(self._stand, connecting, info), None)
        task = self.loop.create_task(self._make(sock, transport))
        self._tasks.add(task)
        task.add_done_callback(partial(self._dial_over, connecting))

    def _stand(self, connecting: Connecting, info: TransportInfo, transport: Transport, now: float) -> None:
        if self._dials.get((id(connecting.coordinator), connecting.command.token)) is not connecting:
            transport.drop()  # it was cancelled meanwhile
            return
        endpoint = connecting.command.endpoint
        endpoint.info = info
        transport.bind(endpoint)
        self._dialled(connecting, info, now)

    def _dial_over(self, connecting: Connecting, task: asyncio.Task[None]) -> None:
        """The loop has made the transport, or could not: then nobody has told the coordinator."""
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            address = connecting.command.address
            error = connect_error(exc, address) if isinstance(exc, OSError) else call_error(exc)
            self.not_connected(connecting, error, monotonic())

    def not_connected(self, connecting: Connecting, error: Error, now: float) -> None:
        """See :class:`~sansio_pingora_posix.connecting.ConnectingOwner`."""
        self._dialled(connecting, error, now)

    def _dialled(self, connecting: Connecting, outcome: TransportInfo | Error, now: float) -> None:
        owner, token = connecting.coordinator, connecting.command.token
        if self._dials.pop((id(owner), token), None) is not None:
            self.answer(owner, token, outcome, now)
            self.settle(now)

    @property
    def busy(self) -> bool:
        """See :class:`LaneRunner`."""
        return bool(self._calls) or any(task.busy for task in self._filters.values())

    # ── filters ──────────────────────────────────────────────────────────────────────

    def run_filter(self, owner: Coordinator, command: RunFilter, now: float) -> None:
        """Run the call in the task of *owner*, or in a thread."""
        if command.is_async:
            task = self._filters.get(id(owner))
            if task is None:
                done = partial(self._answer, owner)
                task = self._filters[id(owner)] = FilterTask(self.loop, self._context, done, self._stir)
                self._keep(task.task)
            task.add(command.token, command.call)
        else:
            self._calls += 1
            self._blocking.run(command.call, partial(self._returned, owner, command.token))

    def stop_filters(self, owner: Coordinator) -> None:
        """Cancel the filter of *owner* that runs, and end its task. A call in a thread goes on, for nobody."""
        if task := self._filters.pop(id(owner), None):
            task.stop()

    def _returned(self, owner: Coordinator, token: int, value: Any) -> None:
        self._calls -= 1
        self._answer(owner, token, value)

    def _answer(self, owner: Coordinator, token: int, value: Any) -> None:
        now = monotonic()
        self.answer(owner, token, value, now)
        self.settle(now)

    # ── the end ──────────────────────────────────────────────────────────────────────

    def drain(self, grace_period: float, now: float, *, keep_idle: bool = False) -> None:
        """Accept no more and let what is under way finish, for *grace_period* seconds at most; harmless again."""
        super().drain(grace_period, now, keep_idle=keep_idle)
        self._arm(self.deadline)

    def end_when_idle(self) -> None:
        """Set :attr:`ended` once nothing can happen any more."""
        self._until_idle = True
        self._look_soon()

    async def close(self) -> None:
        """End what is left; no task, timer, transport or watched socket of this lane exists afterwards."""
        self.abort(monotonic())
        for dialling in self._dials.values():
            self._give_up(dialling)
        self._dials.clear()
        self._blocking.close()
        while self._tasks or self._transports:
            for task in self._filters.values():
                task.stop()  # again and again, as anyio does: a filter may have swallowed the first
            if self._tasks:
                await asyncio.wait(set(self._tasks), timeout=_INSIST)
            else:
                await asyncio.sleep(0)
        if self._timer is not None:
            self._timer.cancel()
        self.lane.ring = None

    def _look_soon(self) -> None:
        if not self._looking and not self.lane.endpoints:
            self._looking = True
            self.loop.call_soon(self._look)

    def _look(self) -> None:
        """Whether the lane has ended; in a turn of its own, so that whoever settled it has finished."""
        if self.end.draining:
            ended = self.drained and not self._transports
        else:
            ended = not (self.busy or self._dials or self._transports) and self.idle(monotonic())
        self._looking = False
        if ended:
            self.ended.set()
