"""One dial under way, from the addresses of its name to a socket that is connected."""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from sansio_pingora.connectors import AddressRace
from sansio_pingora.errors import Error
from sansio_pingora.machine import Command, Dial, Lane
from sansio_pingora.transport import DialOptions, SocketAddr, TransportInfo
from sansio_pingora_posix.addresses import transport_info
from sansio_pingora_posix.custom_l4 import open_custom
from sansio_pingora_posix.dialing import connect_result, dial_socket, start_connect
from sansio_pingora_posix.faults import connect_error
from sansio_pingora_posix.lane_runner import call_error
from sansio_pingora_posix.socket_options import prepare_connected
from sansio_pingora_posix.stream_transport import Watched

__all__ = ["Connecting", "ConnectingOwner"]


_NO_PORT = frozenset({errno.EADDRNOTAVAIL, errno.ENOPROTOOPT})
"""No port of the range is free, or the kernel knows no ranges (Linux before 6.3)."""


class ConnectingOwner(Protocol):
    """The lane of a dial."""

    lane: Lane

    def watch_connect(self, sock: socket.socket, watched: Watched) -> None:
        """Wake *watched* when *sock* becomes writable."""

    def forget_connect(self, sock: socket.socket) -> None:
        """Watch it no more."""

    def connected(self, connecting: Connecting, sock: socket.socket, info: TransportInfo, now: float) -> None:
        """*sock* is connected: it is the owner's now."""

    def not_connected(self, connecting: Connecting, error: Error, now: float) -> None:
        """None of the addresses could be connected to."""


class Connecting:
    """Carries out *command* of *coordinator*. A member of the lane, so that each attempt begins in its time."""

    __slots__ = ("_attempts", "_owner", "_race", "armed", "command", "coordinator", "deadline", "listed", "over")

    def __init__(self, owner: ConnectingOwner, coordinator: Any, command: Dial) -> None:
        self._owner = owner
        self._race: AddressRace | None = None
        self._attempts: dict[_Attempt, None] = {}
        self.coordinator = coordinator
        self.command = command
        self.over = False
        """Connected, failed, or given up."""
        self.deadline = math.inf
        self.listed = False
        self.armed = math.inf

    def resolved(self, addresses: Any, exc: Exception | None, now: float) -> None:
        """The name has these addresses, or could not be resolved."""
        if self.over:
            return
        if exc is None and not addresses:
            exc = OSError(f"{self.command.address.host!r} has no address")
        if exc is not None:
            address = self.command.address
            self._fail(connect_error(exc, address) if isinstance(exc, OSError) else call_error(exc), now)
        else:
            self.start(addresses, now)

    def start(self, addresses: Sequence[SocketAddr], now: float) -> None:
        """Connect to one of *addresses*, numeric ones or a Unix path."""
        self._race = AddressRace(addresses)
        self.handle_timeout(now)

    def open_custom(self, connect: Callable[[SocketAddr], Any]) -> socket.socket | None:
        """What the program's own *connect* has made, off the lane; None when it is not wanted any more.

        :raises Error: as :func:`~sansio_pingora_posix.custom_l4.open_custom`.
        """
        sock = open_custom(connect, self.command.address)
        if not self.over:
            return sock
        sock.close()
        return None

    def adopted(self, sock: Any, exc: Exception | None, now: float) -> None:
        """The program's own connect gave *sock*, or failed by *exc*."""
        if self.over:
            if sock is not None:
                sock.close()
            return
        if exc is None:
            try:
                prepare_connected(sock, self.command.options)
                info = transport_info(sock, now, self.command.address)
            except OSError as lost:
                sock.close()
                exc = connect_error(lost, self.command.address)
            else:
                self.close()
                self._owner.connected(self, sock, info, now)
                return
        self._fail(call_error(exc), now)

    def close(self) -> None:
        """Give it up, and close what it made."""
        self.over = True
        self.deadline = math.inf
        for attempt in list(self._attempts):
            attempt.close()
        self._attempts.clear()

    # ── what a lane asks of its members ──────────────────────────────────────────────

    def handle_timeout(self, now: float) -> None:
        """Begin the attempts whose time has come."""
        race = self._race
        if race is None or self.over:
            return
        while (address := race.start(now)) is not None:
            if self._ends_with(address, now):
                return
        if race.lost:
            self._lose(race, now)
        else:
            self.deadline = race.deadline
            self._owner.lane.enlist(self)

    def take_commands(self) -> list[Command]:
        """It gives none."""
        return []

    def resume(self, token: int, value: Any, now: float) -> None:
        """It waits for no answer."""

    def fail(self, token: int, error: Error, now: float) -> None:
        """It waits for no answer."""

    # ── inside ───────────────────────────────────────────────────────────────────────

    def _ends_with(self, address: SocketAddr, now: float) -> bool:
        """Try *address*; True when the dial is over by that."""
        assert self._race is not None  # it was begun
        attempt = _Attempt(self, self._owner, address)
        self._attempts[attempt] = None
        try:
            attempt.begin(now)
        except OSError as exc:
            self.attempt_failed(attempt, connect_error(exc, address), now)
        except Exception as exc:  # of the user's own tweak, for one
            self.broke_down(exc, now)
        return self.over

    def attempt_connected(self, attempt: _Attempt, sock: socket.socket, now: float) -> None:
        """*attempt* has won.

        :raises OSError: it was lost again at once.
        """
        prepare_connected(sock, self.command.options)
        info = transport_info(sock, now, attempt.address)
        attempt.part()
        del self._attempts[attempt]
        self.close()
        self._owner.connected(self, sock, info, now)

    def attempt_failed(self, attempt: _Attempt, error: Error, now: float) -> None:
        """Go on without *attempt*."""
        attempt.close()
        self._attempts.pop(attempt, None)
        if self._race is not None and not self.over:
            self._race.failed(error, now)

    def broke_down(self, exc: Exception, now: float) -> None:
        """A callback of the user's failed, which the next address would meet again."""
        self._fail(call_error(exc), now)

    def _lose(self, race: AddressRace, now: float) -> None:
        error = race.error
        assert error is not None  # the last attempt has failed
        if race.tried > 1:
            error = error.more_context(f"none of the {race.tried} addresses of {self.command.address} answers")
        self._fail(error, now)

    def _fail(self, error: Error, now: float) -> None:
        self.close()
        self._owner.not_connected(self, error, now)


class _Attempt:
    """A socket on its way to one address."""

    __slots__ = ("_connecting", "_owner", "_sock", "_watched", "address")

    def __init__(self, connecting: Connecting, owner: ConnectingOwner, address: SocketAddr) -> None:
        self._connecting = connecting
        self._owner = owner
        self._sock: socket.socket | None = None
        self._watched = False
        self.address = address

    def begin(self, now: float) -> None:
        """:raises OSError: it failed at once."""
        options = self._connecting.command.options
        try:
            self._begin(options, now)
        except OSError as exc:
            if not options.bind_fallback or exc.errno not in _NO_PORT:
                raise
            self.close()
            self._begin(replace(options, bind_port_range=None, bind_fallback=False), now)

    def part(self) -> None:
        """The socket is somebody else's."""
        self._sock = None

    def _begin(self, options: DialOptions, now: float) -> None:
        self._sock = sock = dial_socket(self.address, options)
        if start_connect(sock, self.address):
            self._connecting.attempt_connected(self, sock, now)
        else:
            self._watched = True
            self._owner.watch_connect(sock, self)

    def close(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            if self._watched:
                self._owner.forget_connect(sock)
            sock.close()

    def on_readable(self, now: float) -> None:
        """Never watched for."""

    def on_writable(self, now: float) -> None:
        sock = self._sock
        if sock is None:
            return
        self._owner.forget_connect(sock)
        self._watched = False
        try:
            connect_result(sock)
            self._connecting.attempt_connected(self, sock, now)
        except OSError as exc:
            self._connecting.attempt_failed(self, connect_error(exc, self.address), now)
            self._connecting.handle_timeout(now)

    def on_bug(self, exc: Exception, now: float) -> None:
        self._connecting.broke_down(exc, now)
