"""One client connection by itself, on any runtime."""

from __future__ import annotations

import math

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.machine import CancelDial, Command, Connection, Dial, Endpoint, Lane, Receiver
from sansio_pingora.transport import DialOptions, SocketAddr

__all__ = ["ClientCall"]

_TOKEN = 1


class ClientCall:
    """A coordinator that dials once. Start it with ``run(call.start)``; then :meth:`raise_for_error`."""

    __slots__ = (
        "_address",
        "_commands",
        "_connection",
        "_error",
        "_options",
        "_receiver",
        "_timeout",
        "armed",
        "deadline",
        "listed",
    )

    def __init__(
        self,
        address: SocketAddr,
        connection: Connection,
        receiver: Receiver,
        *,
        timeout: float = 10.0,
        options: DialOptions | None = None,
    ) -> None:
        self._address = address
        self._connection = connection
        self._receiver = receiver
        self._timeout = timeout
        self._options = DialOptions() if options is None else options
        self._commands: list[Command] = []
        self._error: Error | None = None
        self.deadline = math.inf
        self.listed = False
        self.armed = math.inf

    def start(self, lane: Lane, now: float) -> None:
        """Dial, on *lane*."""
        endpoint = Endpoint(lane, self._connection, self._receiver)
        self._commands.append(Dial(_TOKEN, self._address, endpoint, self._options))
        self.deadline = now + self._timeout
        lane.enlist(self)

    def raise_for_error(self) -> None:
        """Nothing, when the connection was made.

        :raises Error: why it could not be made.
        """
        if self._error is not None:
            raise self._error

    def take_commands(self) -> list[Command]:
        """The dial; later perhaps that it is given up."""
        commands, self._commands = self._commands, []
        return commands

    def resume(self, token: int, value: object, now: float) -> None:
        """Connected: the rest is the connection's own affair."""
        self.deadline = math.inf

    def fail(self, token: int, error: Error, now: float) -> None:
        """Not connected."""
        self.deadline = math.inf
        self._error = error

    def handle_timeout(self, now: float) -> None:
        """Give up a dial that takes too long."""
        if now >= self.deadline:
            self.deadline = math.inf
            text = f"cannot connect to {self._address}: no answer within {self._timeout:g} s"
            self._error = Error(ErrorType.CONNECT_TIMEDOUT, text, esource=ErrorSource.UPSTREAM)
            self._commands.append(CancelDial(_TOKEN))
