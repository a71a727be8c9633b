"""A lane whose transports are sockets driven by readiness: what threads and gevent have in common."""

from __future__ import annotations

import logging
import socket
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

from sansio_pingora.errors import Error
from sansio_pingora.listeners import AcceptPolicy
from sansio_pingora.machine import Acceptor, Coordinator, Dial, RunFilter
from sansio_pingora.transport import TransportInfo
from sansio_pingora_posix.addresses import is_numeric
from sansio_pingora_posix.connecting import Connecting
from sansio_pingora_posix.lane_runner import LaneRunner, call_error
from sansio_pingora_posix.listener import Listener
from sansio_pingora_posix.listening import ListeningSet
from sansio_pingora_posix.stream_transport import Poller, StreamTransport, Watched
from sansio_pingora_posix.timed_socket import TimedProbe, TimedSocket

__all__ = ["SocketLane"]

_LOG = logging.getLogger("sansio_pingora")

Done = Callable[[Any, "Exception | None", float], None]


class SocketLane(LaneRunner):
    """Accepts, dials and carries bytes over sockets; a runtime supplies readiness and a place to run calls."""

    def __init__(self, poller: Poller, policy: AcceptPolicy | None = None) -> None:
        super().__init__(policy)
        self.poller = poller
        self._doors: list[_Door] = []
        self._dials: dict[tuple[int, int], Connecting] = {}
        self._let_go: Callable[[], None] = _nothing
        self.calls = 0
        """Calls under way off the lane."""
        self.filters = 0
        """Of these, those of filters."""

    @abstractmethod
    def offload(self, call: Callable[[], Any], done: Done) -> None:
        """Run *call*, which may block, off the lane; then ``done(value, exception, now)`` on it, and settle."""

    # ── listening ────────────────────────────────────────────────────────────────────

    def open(self, acceptor: Acceptor, listening: ListeningSet) -> None:
        """Accept for *acceptor* as the policy allows, until the end comes."""
        self.end.acceptor = acceptor
        self.end.gate = listening.gate(self.lane)
        self._doors = [_Door(self, acceptor, listener) for listener in listening.listeners]
        self._let_go = listening.let_go
        self.listen()

    def watch_door(self, sock: socket.socket, door: Watched) -> None:
        """Wake *door* when somebody waits at *sock*, which other lanes may watch too."""
        self.poller.watch(sock, True, False, door)

    def listen(self) -> None:
        """Watch the listening sockets, or do not, as the policy says."""
        accepting = self.policy.accepting
        for door in self._doors:
            door.open(accepting)
        if self.end.draining and self._doors:
            # At once: who comes now is refused and can go elsewhere, instead of waiting for nobody.
            self._doors.clear()
            self._let_go()

    def accept_from(self, listener: Listener, acceptor: Acceptor, now: float) -> None:
        """Take the transports that wait at *listener*."""
        for sock, info in listener.accept(self.policy, now):
            self.admit(sock, info.peer, partial(self._enter, acceptor, sock, info), now)
        self.listen()

    def _enter(self, acceptor: Acceptor, sock: socket.socket, info: TransportInfo, now: float) -> None:
        try:
            endpoint = acceptor.accept(info, now)
        except Exception:
            _LOG.exception("the application failed over a new connection from %s, which is closed", info.peer)
            sock.close()
            self.policy.closed(now)
        else:
            carried: Any = TimedSocket(sock, info.probe) if isinstance(info.probe, TimedProbe) else sock
            endpoint.driver = StreamTransport(carried, endpoint, self.poller, self._accepted_closed)
            self.lane.attach(endpoint)

    def _accepted_closed(self, now: float) -> None:
        self.policy.closed(now)
        self.listen()

    # ── dialling ─────────────────────────────────────────────────────────────────────

    def dial(self, owner: Coordinator, command: Dial, now: float) -> None:
        """Connect; a name is resolved off the lane, and its addresses race."""
        connecting = Connecting(self, owner, command)
        self._dials[id(owner), command.token] = connecting
        address = command.address
        if (custom := command.options.custom) is not None:
            self.offload(partial(connecting.open_custom, custom), connecting.adopted)
        elif address.path is not None or is_numeric(address.host):
            connecting.start([address], now)
        else:
            self.offload(lambda: self.resolve(address), connecting.resolved)

    def cancel_dial(self, owner: Coordinator, token: int) -> None:
        """Forget the dial and close its socket, if it has come so far."""
        connecting = self._dials.pop((id(owner), token), None)
        if connecting is not None:
            connecting.close()

    def watch_connect(self, sock: socket.socket, watched: Watched) -> None:
        """See :class:`~sansio_pingora_posix.connecting.ConnectingOwner`."""
        self.poller.watch(sock, False, True, watched)

    def forget_connect(self, sock: socket.socket) -> None:
        """See :class:`~sansio_pingora_posix.connecting.ConnectingOwner`."""
        self.poller.forget(sock)

    def connected(self, connecting: Connecting, sock: socket.socket, info: TransportInfo, now: float) -> None:
        """See :class:`~sansio_pingora_posix.connecting.ConnectingOwner`."""
        endpoint = connecting.command.endpoint
        endpoint.info = info
        endpoint.driver = StreamTransport(sock, endpoint, self.poller)
        self.lane.attach(endpoint)
        self._dialled(connecting, info, now)

    def not_connected(self, connecting: Connecting, error: Error, now: float) -> None:
        """See :class:`~sansio_pingora_posix.connecting.ConnectingOwner`."""
        self._dialled(connecting, error, now)

    def _dialled(self, connecting: Connecting, value: TransportInfo | Error, now: float) -> None:
        owner, token = connecting.coordinator, connecting.command.token
        del self._dials[id(owner), token]
        self.answer(owner, token, value, now)

    @property
    def busy(self) -> bool:
        """See :class:`LaneRunner`."""
        return self.filters > 0

    # ── calls ────────────────────────────────────────────────────────────────────────

    def run_filter(self, owner: Coordinator, command: RunFilter, now: float) -> None:
        """Run a call that may block."""
        token = command.token
        self.filters += 1

        def done(value: Any, exc: Exception | None, now: float) -> None:
            self.filters -= 1
            self.answer(owner, token, value if exc is None else call_error(exc), now)

        self.offload(command.call, done)

    def stop_filters(self, owner: Coordinator) -> None:
        """Nothing: a call that blocks cannot be stopped, and its answer will be a stale one."""

    # ── the end ──────────────────────────────────────────────────────────────────────

    def idle(self, now: float) -> bool:
        """Whether nothing can happen any more."""
        return not self._dials and not self.calls and super().idle(now) and not self._dials and not self.calls

    def close(self) -> None:
        """Give up the dials that are still under way."""
        for connecting in list(self._dials.values()):
            connecting.close()
        self._dials.clear()


def _nothing() -> None:
    """No listening sockets to let go of."""


class _Door:
    """One listening socket of a lane."""

    __slots__ = ("_acceptor", "_lane", "_listener", "_open")

    def __init__(self, lane: SocketLane, acceptor: Acceptor, listener: Listener) -> None:
        self._lane = lane
        self._acceptor = acceptor
        self._listener = listener
        self._open = False

    def open(self, accepting: bool) -> None:
        if accepting is self._open:
            return
        self._open = accepting
        if accepting:
            self._lane.watch_door(self._listener.sock, self)
        else:
            self._lane.poller.forget(self._listener.sock)

    def on_readable(self, now: float) -> None:
        self._lane.accept_from(self._listener, self._acceptor, now)

    def on_writable(self, now: float) -> None:
        """Never watched for."""

    def on_bug(self, exc: Exception, now: float) -> None:
        _LOG.error("accepting broke down", exc_info=exc)
