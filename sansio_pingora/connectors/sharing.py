"""What a connector knows of one connection, of a dial under way, and of connections that have streams left.

A connection of HTTP/1 is in the hands of one exchange at a time. One of HTTP/2 is shared: it stays in use
until the last of its streams is given back, and meanwhile the next request takes a stream of it before
anything else is tried.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from sansio_pingora.connectors.lease import UpstreamConnection, Waiter
from sansio_pingora.digests import Digest
from sansio_pingora.machine import Connection, Endpoint, Lane, Receiver

if TYPE_CHECKING:
    from sansio_pingora.connectors.dial_plan import DialPlan
    from sansio_pingora.upstreams import Peer

__all__ = ["Dialling", "FreeStreams", "Kept", "Request"]


class Kept:
    """One connection, and the receiver of its events while nobody has it leased.

    One of many streams has many leases: it receives for all of them, and passes on by stream. While the layers of
    one are not through, it has no :attr:`connection` yet, and *arrive* gets the events of *bottom*.
    """

    __slots__ = ("_arrive", "_lose", "connection", "digest", "endpoint", "free", "idle", "key", "receivers")

    connection: UpstreamConnection

    def __init__(
        self,
        lane: Lane,
        key: Hashable,
        bottom: Connection,
        lose: Callable[[Kept, float], None],
        arrive: Callable[[Any, float], None] | None = None,
    ) -> None:
        self._lose = lose
        self._arrive = arrive
        self.key = key
        self.endpoint = Endpoint(lane, bottom, self)
        self.idle = False
        self.free = False
        """In :class:`FreeStreams`."""
        self.receivers: dict[int, Receiver | None] | None = None
        """Of a connection of many streams: who has each of them leased."""
        self.digest: Digest | None = None
        """What is known of the transport; None: nothing but what ``endpoint.info`` says."""

    @property
    def layered(self) -> bool:
        """There are layers that are not through."""
        return self._arrive is not None

    def stand(self, connection: UpstreamConnection) -> None:
        """*connection* is what requests are sent on."""
        self._arrive = None
        self.connection = connection
        if connection.version == b"2" or getattr(connection, "max_streams", 1) != 1:
            self.receivers = {}

    def close(self, now: float) -> None:
        """Close in good order where nothing is under way, else cut."""
        connection = self.connection
        if connection.closing:
            return
        if self.receivers is not None:  # every stream was given back, and reset where it was not complete
            connection.drain(now)
            return
        if connection.reusable:
            connection.drain(now)
        if not connection.closing:
            connection.abort(now)

    def receive_event(self, stream_id: int, value: Any, now: float) -> None:
        """An event of a stream that is leased, or of a connection that is not."""
        # A server has nothing to say between two answers: an end, an error, or bytes that would
        # be read as the answer to the next request (response splitting). While it closes, all is old news.
        if self.idle:
            self._lose(self, now)
        elif self.receivers:
            receiver = self.receivers.get(stream_id)
            if receiver is not None:
                receiver.receive_event(stream_id, value, now)
        elif self._arrive is not None:
            self._arrive(value, now)


class Request:
    """Who waits for a connection, and the dial that is to bring it."""

    __slots__ = ("key", "peer", "plan", "token", "waiter")

    def __init__(self, peer: Peer, key: Hashable, waiter: Waiter, token: int) -> None:
        self.peer = peer
        self.key = key
        self.waiter = waiter
        self.token = token
        self.plan: DialPlan | None = None


class Dialling:
    """A dial under way, and for whom: where the connection will have many streams, for as many as it may have."""

    __slots__ = ("kept", "plan", "requests")

    def __init__(self, request: Request, plan: DialPlan, kept: Kept) -> None:
        self.plan = plan
        self.kept = kept
        self.requests: dict[Request, None] = {request: None}


class FreeStreams:
    """Connections in use that have a stream left, by reuse key.

    The one that has been here longest is used first: so a few connections carry what is to be
    carried, and the others fall idle when there is less of it.
    """

    __slots__ = ("by_key",)

    def __init__(self) -> None:
        # Ordered by the linked list of OrderedDict, as the queues of the pool are.
        self.by_key: dict[Hashable, OrderedDict[Kept, None]] = {}
        """For a look whether there are any; none of them is empty."""

    def add(self, kept: Kept) -> None:
        """*kept*, which is not here, has a stream left."""
        kept.free = True
        found = self.by_key.get(kept.key)
        if found is None:
            found = self.by_key[kept.key] = OrderedDict()
        found[kept] = None

    def remove(self, kept: Kept) -> None:
        """*kept*, which is here, has none left, or is used by nobody."""
        kept.free = False
        found = self.by_key[kept.key]
        del found[kept]
        if not found:
            del self.by_key[kept.key]

    def first(self, key: Hashable) -> Kept | None:
        """The connection to use next under *key*; it may have ceased to take streams."""
        found = self.by_key.get(key)
        return None if found is None else next(iter(found))
