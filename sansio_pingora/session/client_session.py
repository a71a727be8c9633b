"""Our handle on one request to an origin, with Pingora's method names. Nothing here blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sansio_pingora.wire import (
    Body,
    Done,
    Failed,
    Fields,
    Header,
    HttpTask,
    RequestHeader,
    ResponseHeader,
    Trailer,
    UpgradedBody,
)

if TYPE_CHECKING:
    from sansio_pingora.errors import Error
    from sansio_pingora.machine import Connection
    from sansio_pingora.transport import SocketAddr, TransportInfo

__all__ = ["ClientSession"]


class ClientSession:
    """One exchange, seen from the client; *stream_id* came from ``connection.open_stream``."""

    __slots__ = (
        "_connection",
        "_raw",
        "info",
        "now",
        "request_done",
        "request_written",
        "response_done",
        "response_header",
        "stream_id",
    )

    def __init__(self, connection: Connection, stream_id: int, info: TransportInfo | None, now: float) -> None:
        self._connection = connection
        self.stream_id = stream_id
        self.info = info
        self.now = now
        """Monotonic time of the input that is being handled."""
        self.request_written: RequestHeader | None = None
        self.request_done = False
        """The request is complete, or of a tunnel our direction."""
        self._raw = False
        self.response_header: ResponseHeader | None = None
        """The last head that arrived, informational or final."""
        self.response_done = False

    def write_request_header(self, head: RequestHeader, end: bool = False) -> int:
        """Send the head; *end*: no body follows. Returns the room left."""
        room = self._connection.send(self.stream_id, Header(head, end), self.now)
        self.request_written = head
        self.request_done = end
        return room

    def write_request_body(self, data: bytes, end: bool = False) -> int:
        """Send body bytes, after an accepted upgrade opaque ones. Returns the room left."""
        raw = self._tunnels()
        room = self._connection.send(self.stream_id, UpgradedBody(data, end) if raw else Body(data, end), self.now)
        self._raw = raw
        self.request_done = end
        return room

    def write_request_trailers(self, fields: Fields) -> None:
        """Send trailers, which end the request."""
        self._connection.send(self.stream_id, Trailer(fields), self.now)
        self.request_done = True

    def finish_request_body(self) -> None:
        """End the request, if it has not ended, or our direction of a tunnel."""
        tunnels = self._tunnels()
        if self.request_done and (self._raw or not tunnels):
            return
        if tunnels:
            self.write_request_body(b"", end=True)
        else:
            self._connection.send(self.stream_id, Done(), self.now)
            self.request_done = True

    def received(self, task: HttpTask) -> None:
        """Account for a task of the response that has arrived."""
        if isinstance(task, Header):
            self.response_header = task.head  # type: ignore[assignment]  # a client receives responses
        self.response_done = isinstance(task, Failed) or task.end

    def consumed(self, size: int) -> None:
        """*size* response bytes were used: the origin may send as many more."""
        self._connection.consumed(self.stream_id, size, self.now)

    def was_upgraded(self) -> bool:
        """The origin switched protocols."""
        head = self.response_header
        if head is None or self.request_written is None:
            return False
        return head.status == 101 or (self.request_written.method == b"CONNECT" and 200 <= head.status < 300)

    def shutdown(self, error: Error) -> None:
        """Break the exchange off."""
        if not self.response_done:
            self._connection.send(self.stream_id, Failed(error), self.now)
            self.response_done = True

    def _tunnels(self) -> bool:
        """What we send from here on is opaque: a body that was begun before the switch goes first."""
        return self._raw or (self.request_done and self.was_upgraded())

    @property
    def server_addr(self) -> SocketAddr | None:
        """The origin's address."""
        return None if self.info is None else self.info.peer

    @property
    def client_addr(self) -> SocketAddr | None:
        """Our own address towards it."""
        return None if self.info is None else self.info.local
