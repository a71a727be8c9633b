"""A connection in the hands of one exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sansio_pingora.digests import Digest
from sansio_pingora.machine import Connection, Endpoint, Receiver

if TYPE_CHECKING:
    from sansio_pingora.errors import Error
    from sansio_pingora.upstreams import Peer

__all__ = ["Lease", "UpstreamConnection", "Waiter"]


class UpstreamConnection(Connection, Protocol):
    """A connection of the client role."""

    @property
    def reusable(self) -> bool:
        """``open_stream`` would return a stream: of HTTP/1 nothing is under way, and both sides may go on."""

    peer_version: bytes
    """The HTTP version that the origin answered with last."""

    def hold(self, stream_id: int, now: float) -> None:
        """Read no more of an answer than has come, as far as that is possible, until credit is returned."""

    def widen(self, stream_id: int, window: int, now: float) -> int:
        """Let the origin send about *window* bytes of the answer before what came is used up; returns what it may."""

    def set_timeouts(self, read_timeout: float | None, write_timeout: float | None) -> None:
        """Take the time-outs of another exchange; None for the service's."""


class Waiter(Protocol):
    """Who asked for a connection and did not get it at once."""

    def resume(self, token: int, value: Any, now: float) -> None:
        """Take the :class:`Lease` asked for under *token*."""

    def fail(self, token: int, error: Error, now: float) -> None:
        """There will be none."""


class Lease:
    """One stream of an upstream connection, until it is given back.

    :meth:`listen` to get its events. Give it back with :meth:`Connector.release`
    exactly once, also after the connection has died.
    """

    __slots__ = ("connection", "endpoint", "kept", "peer", "released", "reused", "stream_id")

    def __init__(
        self,
        endpoint: Endpoint,
        connection: UpstreamConnection,
        stream_id: int,
        peer: Peer,
        reused: bool,
        kept: Any,
    ) -> None:
        self.endpoint = endpoint
        self.connection = connection
        self.stream_id = stream_id
        self.peer = peer
        self.reused = reused
        """It carried a request before, so the origin may have closed it unseen."""
        self.released = False
        self.kept = kept
        """The connector's own."""

    def listen(self, receiver: Receiver) -> None:
        """*receiver* gets the events of this stream from here on."""
        receivers = self.kept.receivers
        if receivers is None:
            self.endpoint.receiver = receiver
        else:
            receivers[self.stream_id] = receiver

    @property
    def established(self) -> float:
        """When the connection was made, in monotonic seconds."""
        info = self.endpoint.info
        assert info is not None  # a lease is made after the dial was answered
        return info.established

    @property
    def digest(self) -> Digest:
        """What is known of the connection: its ends, TLS, a proxy. All its leases share it."""
        found: Digest | None = self.kept.digest
        if found is None:
            found = self.kept.digest = Digest.of(self.endpoint.info)
        return found

    def __repr__(self) -> str:
        state = "released" if self.released else "reused" if self.reused else "new"
        return f"<Lease of stream {self.stream_id} to {self.peer}, {state}>"
