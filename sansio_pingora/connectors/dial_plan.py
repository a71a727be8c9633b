"""One dial: how long it may take, and what its failures are called."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.machine import Dial, Endpoint
from sansio_pingora.transport import DialOptions

if TYPE_CHECKING:
    from sansio_pingora.layers import Layer
    from sansio_pingora.limits import Limits
    from sansio_pingora.upstreams import Peer

__all__ = ["DialPlan", "waited_in_vain"]


class DialPlan:
    """The clocks over one dial to *peer*, started at *now*.

    ``connection_timeout`` covers the connect, ``handshake_timeout`` the layers after it, ``total_connection_timeout``
    everything; the peer's options come before the limits. When two run out together the inner one is named.
    """

    __slots__ = ("_ends", "_expiry", "_handshake", "_total", "armed", "deadline", "peer", "token")

    def __init__(self, peer: Peer, limits: Limits, token: int, now: float) -> None:
        options = peer.options
        connect, total = options.connection_timeout, options.total_connection_timeout
        if connect is None:
            connect = limits.connection_timeout
        if total is None:
            total = limits.total_connection_timeout
        self.peer = peer
        self.token = token
        self._total = total
        self._ends = now + total
        self._handshake = limits.handshake_timeout
        self._expiry = ("connection", connect) if connect <= total else ("total-connection", total)
        self.deadline = now + self._expiry[1]
        """When to give up."""
        self.armed = math.inf

    def command(self, endpoint: Endpoint) -> Dial:
        """The order for the driver."""
        options = self.peer.options.dial_options()
        proxy = self.peer.proxy
        address = self.peer.address if proxy is None else proxy.next_hop.address
        if address.path is not None:
            options = DialOptions(tweak=options.tweak, custom=options.custom)  # a Unix socket has nothing else to set
        return Dial(self.token, address, endpoint, options)

    def connected(self, now: float) -> None:
        """The transport stands; the clock over its layers runs from here on."""
        deadline = now + self._handshake
        if deadline <= self._ends:
            self._expiry = "handshake", self._handshake
            self.deadline = deadline
        else:
            self._expiry = "total-connection", self._total
            self.deadline = self._ends

    def timed_out(self, waiting: Layer | None = None) -> Error:
        """The error when ``deadline`` has come, perhaps while the layer *waiting* did."""
        stage, timeout = self._expiry
        text = f"{stage} timeout of {timeout:g} s while connecting to {self.peer}"
        if waiting is None:
            return Error(ErrorType.CONNECT_TIMEDOUT, text, esource=ErrorSource.UPSTREAM)
        return waiting.timed_out(text).into_up()

    def failed(self, error: Error) -> Error:
        """The driver's *error* with the peer named.

        A socket that could not be made or bound never tried the peer: ``INTERNAL_ERROR``, as Pingora has it.
        """
        context = f"failed to connect to {self.peer}"
        if error.etype in (ErrorType.SOCKET_ERROR, ErrorType.BIND_ERROR):
            return Error(ErrorType.INTERNAL_ERROR, context, cause=error, esource=ErrorSource.UPSTREAM)
        return error.more_context(context).into_up()


def waited_in_vain(peer: Peer, limits: Limits) -> Error:
    """The error of who waited for a connection that none of those in use became."""
    return Error(
        ErrorType.CONNECT_TIMEDOUT,
        f"pool-wait timeout of {limits.pool_wait_timeout:g} s: none of the max_per_peer={limits.max_per_peer} "
        f"connections became free: {peer}",
        esource=ErrorSource.UPSTREAM,
    )
