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
from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora_posix.addresses import is_numeric, resolve, transport_info
from sansio_pingora_posix.dialing import connect_result, dial_socket, start_connect
from sansio_pingora_posix.faults import connect_error
from sansio_pingora_posix.lane_runner import LaneRunner, call_error
from sansio_pingora_posix.listener import Listener
from sansio_pingora_posix.listening import ListeningSet
from sansio_pingora_posix.socket_options import prepare_connected
from sansio_pingora_posix.stream_transport import Poller, StreamTransport, Watched

__all__ = ["SocketLane"]

_LOG = logging.getLogger("sansio_pingora")

Done = Callable[[Any, "Exception | None", float], None]


class SocketLane(LaneRunner):
    """Accepts, dials and carries bytes over sockets; a runtime supplies readiness and a place to run calls."""

    def __init__(self, poller: Poller, policy: AcceptPolicy | None = None, *, accept_limit: int = 64) -> None:
        super().__init__(policy)
        self.poller = poller
        self._doors: list[_Door] = []
        self._dials: dict[tuple[int, int], _Dialling] = {}
        self._accept_limit = accept_limit
        self._let_go: Callable[[], None] = _nothing
        self.calls = 0
        """Calls under way off the lane."""

    @abstractmethod
    def offload(self, call: Callable[[], Any], done: Done) -> None:
        """Run *call*, which may block, off the lane; then ``done(value, exception, now)`` on it, and settle."""

    def resolve(self, address: SocketAddr) -> list[SocketAddr]:
        """Resolve a name, off the lane."""
        return resolve(address)

    # ── listening ────────────────────────────────────────────────────────────────────

    def open(self, acceptor: Acceptor, listening: ListeningSet) -> None:
        """Accept for *acceptor* as the policy allows, until the end comes."""
        self.acceptor = acceptor
        self.gate = listening.gate(self.lane)
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
        if self._draining and self._doors:
            # At once: who comes now is refused and can go elsewhere, instead of waiting for nobody.
            self._doors.clear()
            self._let_go()

    def accept_from(self, listener: Listener, acceptor: Acceptor, now: float) -> None:
        """Take the transports that wait at *listener*."""
        for sock, info in listener.accept(self.policy, now, self._accept_limit):
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
            endpoint.driver = StreamTransport(sock, endpoint, self.poller, self._accepted_closed)
            self.lane.attach(endpoint)

    def _accepted_closed(self, now: float) -> None:
        self.policy.closed(now)
        self.listen()

    # ── dialling ─────────────────────────────────────────────────────────────────────

    def dial(self, owner: Coordinator, command: Dial, now: float) -> None:
        """Connect; a name is resolved off the lane, and its addresses are tried one after the other."""
        dialling = _Dialling(self, owner, command)
        self._dials[id(owner), command.token] = dialling
        address = command.address
        if address.path is not None or is_numeric(address.host):
            try:
                dialling.start([address], now)
            except Exception as exc:  # of the user's own tweak, for one
                dialling.on_bug(exc, now)
        else:
            self.offload(lambda: self.resolve(address), dialling.resolved)

    def cancel_dial(self, owner: Coordinator, token: int) -> None:
        """Forget the dial and close its socket, if it has come so far."""
        dialling = self._dials.pop((id(owner), token), None)
        if dialling is not None:
            dialling.close()

    def dialled(self, dialling: _Dialling, value: TransportInfo | Error, now: float) -> None:
        """A dial has come to its end."""
        del self._dials[id(dialling.owner), dialling.command.token]
        self.answer(dialling.owner, dialling.command.token, value, now)

    # ── calls ────────────────────────────────────────────────────────────────────────

    def run_filter(self, owner: Coordinator, command: RunFilter, now: float) -> None:
        """Run a call that may block."""
        token = command.token

        def done(value: Any, exc: Exception | None, now: float) -> None:
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
        for dialling in list(self._dials.values()):
            dialling.close()
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


class _Dialling:
    """One dial under way: over the addresses of its name, until one connects."""

    __slots__ = ("_addresses", "_current", "_lane", "_sock", "closed", "command", "owner")

    def __init__(self, lane: SocketLane, owner: Coordinator, command: Dial) -> None:
        self._lane = lane
        self._addresses: list[SocketAddr] = []
        self._current = command.address
        self._sock: socket.socket | None = None
        self.owner = owner
        self.command = command
        self.closed = False

    def resolved(self, addresses: Any, exc: Exception | None, now: float) -> None:
        if self.closed:
            return
        if exc is not None:
            error = connect_error(exc, self.command.address) if isinstance(exc, OSError) else call_error(exc)
            self._lane.dialled(self, error, now)
        else:
            self.start(addresses, now)

    def start(self, addresses: list[SocketAddr], now: float) -> None:
        self._addresses = addresses
        self._try_next(OSError(f"{self.command.address.host!r} has no address"), now)

    def on_readable(self, now: float) -> None:
        """Never watched for."""

    def on_writable(self, now: float) -> None:
        sock = self._sock
        if sock is None:
            return
        self._lane.poller.forget(sock)
        try:
            connect_result(sock)
            self._connected(sock, now)
        except OSError as exc:
            self._drop()
            self._try_next(exc, now)

    def on_bug(self, exc: Exception, now: float) -> None:
        self.close()
        self._lane.dialled(self, call_error(exc), now)

    def close(self) -> None:
        self.closed = True
        if self._sock is not None:
            self._lane.poller.forget(self._sock)
            self._drop()

    def _try_next(self, error: OSError, now: float) -> None:
        """Pingora tries the first address alone; here ``localhost`` may be either of its two."""
        while self._addresses:
            self._current = self._addresses[0]
            del self._addresses[0]
            try:
                self._sock = sock = dial_socket(self._current, self.command.options)
                if not start_connect(sock, self._current):
                    self._lane.poller.watch(sock, False, True, self)
                else:
                    self._connected(sock, now)
                return
            except OSError as exc:
                self._drop()
                error = exc
        self._lane.dialled(self, connect_error(error, self._current), now)

    def _connected(self, sock: socket.socket, now: float) -> None:
        """:raises OSError: it was lost again at once."""
        prepare_connected(sock, self.command.options)
        info = transport_info(sock, now, self._current)
        self._sock = None
        endpoint = self.command.endpoint
        endpoint.info = info
        endpoint.driver = StreamTransport(sock, endpoint, self._lane.poller)
        self._lane.lane.attach(endpoint)
        self._lane.dialled(self, info, now)

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
