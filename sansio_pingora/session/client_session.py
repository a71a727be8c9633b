"""Our handle on one request to an origin, with Pingora's method names. Nothing here blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from sansio_pingora.digests import Digest
from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.session.controls import SessionControls
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
    from sansio_pingora.machine import Connection
    from sansio_pingora.transport import SocketAddr, TransportInfo

__all__ = ["ClientSession"]


class ClientSession(SessionControls):
    """One exchange, seen from the client; *stream_id* came from ``connection.open_stream``."""

    __slots__ = (
        "_connection",
        "_digest",
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
        self._digest: Digest | None = None
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

    def read_response_header(self) -> ResponseHeader | None:
        """The last head that has arrived, informational or final; None: none has."""
        return self.response_header

    def read_response_body(self) -> NoReturn:
        """The next bytes of the response, in Pingora.

        :raises LocalProtocolError: always.
        """
        raise LocalProtocolError("nothing is kept here: the bytes come as tasks to the receiver of the connection")

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

    def shutdown(self, error: Error | None = None) -> None:
        """Break the exchange off."""
        if not self.response_done:
            error = error or Error(ErrorType.INTERNAL_ERROR, "the session was shut down").into_in()
            self._connection.send(self.stream_id, Failed(error), self.now)
            self.response_done = True

    # ── the rest of what Pingora's has ───────────────────────────────────────────────

    def set_read_timeout(self, seconds: float | None) -> None:
        """How long the origin may send nothing while it owes an answer; None: as the limit ``read_timeout`` says.

        From the next operation on.

        :raises LocalProtocolError: the connection sets that for all its exchanges alike.
        """
        machine = self._own_timeouts("set_read_timeout")
        machine.set_timeouts(seconds, machine.timeouts[1])

    def set_write_timeout(self, seconds: float | None) -> None:
        """How long the origin may take nothing of what waits for it; None: as the limit ``write_timeout`` says.

        From the next operation on.

        :raises LocalProtocolError: the connection sets that for all its exchanges alike.
        """
        machine = self._own_timeouts("set_write_timeout")
        machine.set_timeouts(machine.timeouts[0], seconds)

    def _own_timeouts(self, what: str) -> Any:
        machine = self._machine
        if getattr(machine, "timeouts", None) is None:
            self._cannot(what, "its streams share the time-outs of the connection, set them in PeerOptions")
        return machine

    def digest(self) -> Digest:
        """What is known of the transport: it may be changed."""
        if self._digest is None:
            self._digest = Digest.of(self.info)
        return self._digest

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
