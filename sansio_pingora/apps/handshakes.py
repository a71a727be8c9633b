"""Word of connections that came to nothing before the first byte of their protocol."""

from __future__ import annotations

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.listeners import LogLimit
from sansio_pingora.machine import Lane, LogLine
from sansio_pingora.session import Routines
from sansio_pingora.transport import TransportInfo

__all__ = ["HandshakeLog"]


class HandshakeLog:
    """Tells the operator of one lane why layers of accepted connections failed, one line a second at most."""

    __slots__ = ("_limit", "_log")

    def __init__(self, lane: Lane, now: float) -> None:
        self._log = Routines(lane, now)
        self._limit = LogLimit()

    def failed(self, info: TransportInfo, error: Error | None, now: float) -> None:
        """The layers of the transport of *info* ended by *error*. A client that leaves is not worth a line."""
        if error is None or error.etype is ErrorType.CONNECTION_CLOSED or not self._limit.passes(now):
            return
        text = f"a connection from {info.peer or 'a Unix client'} to {info.local} was closed: {error}"
        self._log.give(LogLine("WARNING", self._limit.complete(text)))
