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
        upgraded = self.was_upgraded()
        self.request_done = end
        return self._connection.send(self.stream_id, UpgradedBody(data, end) if upgraded else Body(data, end), self.now)

    def write_request_trailers(self, fields: Fields) -> None:
        """Send trailers, which end the request."""
        self.request_done = True
        self._connection.send(self.stream_id, Trailer(fields), self.now)

    def finish_request_body(self) -> None:
        """End the request, if it has not ended."""
        if not self.request_done:
            self.request_done = True
            self._connection.send(self.stream_id, Done(), self.now)

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
            self.response_done = True
            self._connection.send(self.stream_id, Failed(error), self.now)

    @property
    def server_addr(self) -> SocketAddr | None:
        """The origin's address."""
        return None if self.info is None else self.info.peer

    @property
    def client_addr(self) -> SocketAddr | None:
        """Our own address towards it."""
        return None if self.info is None else self.info.local
