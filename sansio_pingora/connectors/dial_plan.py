"""One dial: how long it may take, and what its failures are called."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.machine import Dial, Endpoint
from sansio_pingora.transport import DialOptions

if TYPE_CHECKING:
    from sansio_pingora.limits import Limits
    from sansio_pingora.upstreams import Peer

__all__ = ["DialPlan"]


class DialPlan:
    """The clocks over one dial to *peer*, started at *now*.

    ``connection_timeout`` covers the connect, ``total_connection_timeout`` everything; the
    peer's options come before the limits. When both run out together the inner one is named.
    """

    __slots__ = ("_expiry", "armed", "deadline", "peer", "token")

    def __init__(self, peer: Peer, limits: Limits, token: int, now: float) -> None:
        options = peer.options
        connect, total = options.connection_timeout, options.total_connection_timeout
        if connect is None:
            connect = limits.connection_timeout
        if total is None:
            total = limits.total_connection_timeout
        self.peer = peer
        self.token = token
        self._expiry = ("connection", connect) if connect <= total else ("total-connection", total)
        self.deadline = now + self._expiry[1]
        """When to give up."""
        self.armed = math.inf

    def command(self, endpoint: Endpoint) -> Dial:
        """The order for the driver."""
        options = self.peer.options.dial_options()
        address = self.peer.address
        if address.path is not None:
            options = DialOptions(tweak=options.tweak)  # a Unix socket has nothing else to set
        return Dial(self.token, address, endpoint, options)

    def timed_out(self) -> Error:
        """The error when ``deadline`` has come."""
        stage, timeout = self._expiry
        return Error(
            ErrorType.CONNECT_TIMEDOUT,
            f"{stage} timeout of {timeout:g} s while connecting to {self.peer}",
            esource=ErrorSource.UPSTREAM,
        )

    def failed(self, error: Error) -> Error:
        """The driver's *error* with the peer named.

        A socket that could not be made or bound never tried the peer: ``INTERNAL_ERROR``, as Pingora has it.
        """
        context = f"failed to connect to {self.peer}"
        if error.etype in (ErrorType.SOCKET_ERROR, ErrorType.BIND_ERROR):
            return Error(ErrorType.INTERNAL_ERROR, context, cause=error, esource=ErrorSource.UPSTREAM)
        return error.more_context(context).into_up()
