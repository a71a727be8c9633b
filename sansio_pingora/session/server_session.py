"""Our handle on one request of a client, whatever version it speaks, with Pingora's method names.

Nothing here blocks: what is written is queued, and what is read is what has arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.session.nowhere import Nowhere
from sansio_pingora.session.server_controls import Held, ServerControls
from sansio_pingora.wire import (
    Body,
    Done,
    Failed,
    Fields,
    Header,
    HttpTask,
    RequestHeader,
    ResponseHeader,
    Text,
    Trailer,
    UpgradedBody,
    error_page,
)

if TYPE_CHECKING:
    from sansio_pingora.limits import Limits
    from sansio_pingora.machine import Connection
    from sansio_pingora.transport import SocketAddr, TransportInfo

__all__ = ["Meter", "ServerSession"]


class Meter(Protocol):
    """Who counts exchanges."""

    def finished(self, session: ServerSession) -> None:
        """An exchange is over."""

    def refused(self, session: ServerSession, error: Error) -> None:
        """A head broke the rules, so that *session* has none."""

    def broke(self, scope: str, error: Error) -> None:
        """*error* has ended a ``request`` whose head was good, or a ``connection``."""


class ServerSession(ServerControls):
    """One exchange, seen from the server."""

    __slots__ = (
        "_body_done",
        "_connection",
        "_header_end",
        "_held",
        "began",
        "body_bytes_read",
        "body_bytes_sent",
        "closed",
        "generated",
        "info",
        "meter",
        "now",
        "released",
        "req_header",
        "response_done",
        "response_written",
        "room",
        "stream_id",
        "upgraded",
    )

    def __init__(
        self,
        connection: Connection,
        stream_id: int,
        header: Header | None,
        info: TransportInfo | None,
        now: float,
        held: dict[int, Any],
    ) -> None:
        self._held = held
        self._extras = None
        self.released = False
        self._connection = connection
        self.stream_id = stream_id
        self.req_header: RequestHeader | None = None
        """The request's head; None when it broke the rules and nobody could read it."""
        self._header_end = True
        if header is not None:
            self.req_header = header.head  # type: ignore[assignment]  # a server receives requests
            self._header_end = header.end
        self._body_done = self._header_end
        self.info = info
        self.now = now
        """Monotonic time of the input that is being handled."""
        self.response_written: ResponseHeader | None = None
        """The final head that was sent, or 101."""
        self.response_done = False
        self.closed: Error | None = None
        """Why the client is gone; what is written then goes nowhere."""
        self.upgraded = False
        self.generated = False
        """The response is an error page of our own making."""
        self.ignore_info_resp = False
        self.body_bytes_read = 0
        self.body_bytes_sent = 0
        self.room = 1
        self.meter: Meter | None = None
        """Who counts exchanges."""
        self.began = now

    # ── the request ──────────────────────────────────────────────────────────────────

    def get_header(self, name: Text) -> bytes | None:
        """The first value of a request field, or None."""
        return None if self.req_header is None else self.req_header.fields.get(name)

    def request_summary(self) -> str:
        """``METHOD target, Host: host``, and whether it is a subrequest."""
        summary = "-" if self.req_header is None else self.req_header.summary()
        return f"{summary} (subrequest)" if self.is_subrequest else summary

    @property
    def limits(self) -> Limits:
        """Those of the service."""
        return self._connection.limits

    @property
    def is_upgrade_req(self) -> bool:
        """The client offers to switch protocols (RFC 9110 section 7.8)."""
        return self.upgrade_protocol is not None

    @property
    def upgrade_protocol(self) -> bytes | None:
        """The protocols that the client offers to switch to, in lower case: ``b"websocket"``, mostly.

        It asks with Upgrade in HTTP/1.1, and with an extended CONNECT in HTTP/2 (RFC 8441).
        """
        head = self.req_header
        if head is None:
            return None
        if head.protocol is not None:
            return head.protocol.lower()
        if head.version == b"1.1" and b"upgrade" in head.fields.tokens(b"connection"):
            return b", ".join(head.fields.tokens(b"upgrade")) or None
        return None

    def accept_upgrade(self, protocol: Text, fields: Iterable[tuple[Text, Text]] = ()) -> int:
        """Switch to *protocol*: 101 in HTTP/1, 200 to an extended CONNECT; what is written then is opaque.

        :raises LocalProtocolError: the client offered no upgrade.
        """
        if self.req_header is None or self.upgrade_protocol is None:
            raise LocalProtocolError("the client offered no upgrade")
        if self.req_header.protocol is not None:
            return self.write_response_header(ResponseHeader(200, fields))
        return self.write_response_header(
            ResponseHeader(101, [("Connection", "upgrade"), ("Upgrade", protocol), *fields])
        )

    def was_upgraded(self) -> bool:
        """The exchange became a tunnel of opaque bytes."""
        return self.upgraded

    def is_body_empty(self) -> bool:
        """The request has no body."""
        return self._header_end

    def is_body_done(self) -> bool:
        """The whole request has arrived."""
        return self._body_done

    @property
    def finished(self) -> bool:
        """Nothing more can be done for the client: it has its answer, and of a tunnel both directions, or is gone."""
        return self.closed is not None or (self.response_done and (self._body_done or not self.upgraded))

    @property
    def client_addr(self) -> SocketAddr | None:
        """The client's address; None over a Unix socket."""
        return None if self.info is None else self.info.peer

    @property
    def server_addr(self) -> SocketAddr | None:
        """The address that the client connected to."""
        return None if self.info is None else self.info.local

    def received(self, task: HttpTask) -> None:
        """Account for a task of the request that has arrived."""
        kind = type(task)
        if kind is Body or kind is UpgradedBody:
            self.body_bytes_read += len(task.data)  # type: ignore[union-attr]  # it has data
            if self._extras is not None:
                self._body_came(task.data)  # type: ignore[union-attr]  # it has data
        elif kind is Failed:
            self.closed = task.error  # type: ignore[union-attr]  # a Failed
            return
        if task.end and (kind is UpgradedBody or not self.upgraded):
            self._body_done = True

    def consumed(self, size: int) -> None:
        """*size* body bytes were used: the client may send as many more."""
        self._connection.consumed(self.stream_id, size, self.now)

    def invite_body(self) -> None:
        """The body is wanted now: a client that waits for it is sent 100 (Continue)."""
        self._connection.invite_body(self.stream_id, self.now)

    @property
    def stalled(self) -> bool:
        """What was written waits for the client, and the connection's deadline over that runs."""
        return self._connection.stalled

    # ── the response ─────────────────────────────────────────────────────────────────

    def write_response_header(self, head: ResponseHeader, end: bool = False) -> int:
        """Send a head: any number of informational ones, then the final one.

        :raises LocalProtocolError: a final head was sent already, or the head is not legal.
        """
        return self.write_task(Header(head, end))

    def write_response_body(self, data: bytes, end: bool = False) -> int:
        """Send body bytes; *end*: they are the last. An empty piece that ends nothing is not sent."""
        if not data and not end:
            return self.room
        return self.write_task(UpgradedBody(data, end) if self.upgraded else Body(data, end))

    def write_response_trailers(self, fields: Fields) -> int:
        """Send trailers, which end the response."""
        return self.write_task(Trailer(fields))

    def finish_body(self) -> None:
        """End the response, if it has not ended."""
        if not self.response_done:
            self.write_task(UpgradedBody(b"", True) if self.upgraded else Done())

    def finish(self) -> bool:
        """End the response, if it has not ended; True: another request may follow on the connection."""
        self.finish_body()
        return self.get_keepalive() is not None

    def response_duplex_vec(self, tasks: list[HttpTask]) -> bool:
        """Send *tasks* in order; whether the response has ended."""
        for task in tasks:
            self.write_task(task)
        return self.response_done

    def write_task(self, task: HttpTask) -> int:
        """Send any task; returns the room left, 0 or less when the sender should wait.

        :raises LocalProtocolError: not legal now; nothing was sent.
        """
        if self.closed is not None:
            return self.room
        kind = type(task)
        head: Any = None
        if kind is Header:
            head = task.head  # type: ignore[union-attr]  # a Header
            if self.response_written is not None:
                raise LocalProtocolError(
                    f"status {head.status} after a final head with {self.response_written.status} was sent"
                )
            if self.ignore_info_resp and head.informational and not (head.status == 100 and self._expects_continue):
                return self.room
            if self._extras is not None:
                self._head_goes(head)
        room = self.room = self._connection.send(self.stream_id, task, self.now)
        if kind is Header:
            status = head.status
            if status >= 200 or status == 101:
                self.response_written = head
                self.response_done = task.end
                if status == 101 or (
                    status < 300 and self.req_header is not None and self.req_header.method == b"CONNECT"
                ):
                    self.upgraded = True
                    self._body_done = False  # of the tunnel
        else:
            if kind is Body or kind is UpgradedBody:
                self.body_bytes_sent += len(task.data)  # type: ignore[union-attr]  # it has data
            if kind is Failed or task.end:
                self.response_done = True
        return room

    @property
    def _expects_continue(self) -> bool:
        return self.req_header is not None and b"expect" in self.req_header.fields.index

    def write_continue_response(self) -> None:
        """Send 100 (Continue), unless a response has begun."""
        if self.response_written is None:
            self.write_response_header(ResponseHeader(100))

    def supports_proxy_task_api(self) -> bool:
        """Always true: a task is queued whole, and nothing that is cancelled can leave half of it."""
        return True

    def set_proxy_tasks_enabled(self, enabled: bool) -> None:
        """Nothing: writing is the same either way."""

    def send_downstream_proxy_task(self, task: HttpTask) -> None:
        """As :meth:`write_task`."""
        self.write_task(task)

    def has_pending_downstream_proxy_tasks(self) -> bool:
        """What was written waits for the client: ``writable`` comes when there is room again."""
        return self.room <= 0

    def write_downstream_proxy_tasks(self) -> bool:
        """Whether the response has ended: what was queued goes out by itself."""
        return self.response_done

    # ── answers of our own ───────────────────────────────────────────────────────────

    def generate_error(self, status: int) -> ResponseHeader:
        """The head of an error page, to be changed and sent."""
        return error_page(status)

    def respond_error(self, status: int) -> bool:
        """Answer with an empty error page; False when an answer has begun already."""
        return self.respond_error_with_body(status, b"")

    def respond_error_with_body(self, status: int, body: bytes) -> bool:
        """Answer with an error page that says *body*; False when an answer has begun already."""
        return self.write_error_response(error_page(status), body)

    def write_error_response(self, head: ResponseHeader, body: bytes = b"") -> bool:
        """Answer with *head* and all of *body*; False when an answer has begun already."""
        if self.response_written is not None or self.closed is not None:
            return False
        head.set_content_length(len(body))
        self.write_response_header(head, end=not body)
        if body:
            self.write_response_body(body, end=True)
        return True

    def on_proxy_failure(self, error: Error) -> None:
        """Tell who started this subrequest why it failed; the first error counts. For others nothing."""
        if self.is_subrequest:
            self._machine.proxy_failed(error)

    def shutdown(self, error: Error | None = None) -> None:
        """Break the exchange off so that the client sees it incomplete."""
        if not self.finished:
            self.write_task(Failed(error or Error(ErrorType.INTERNAL_ERROR, "the session was shut down").into_in()))

    def interpose_connection(self, stand_before: Callable[[Connection], Any]) -> None:
        """What *stand_before* makes of this session's connection stands before it from here on.

        It has the connection's methods, what it stands before as ``next``, and the connection itself as ``machine``.
        """
        self._connection = stand_before(self._connection)

    def complete_response(self) -> None:
        """The client has all that the head declares, and is told so where it has to be.

        Whoever wrote it may go on: modules see that, and nobody else.
        """
        machine = self._machine
        machine.send(self.stream_id, Done(), self.now)
        self.response_done = True
        self.room = machine.limits.high_water
        nowhere: Any = Nowhere(self, machine)
        if self._connection is machine:
            self._connection = nowhere
        else:
            self._connection.next = nowhere  # type: ignore[attr-defined]  # see interpose_connection

    def await_log(self) -> None:
        """Nothing is left that the client waits for: until :meth:`release` it counts towards ``max_unlogged``."""
        extras = self._with_extras()
        if isinstance(self._held, Held) and not extras.unlogged:
            extras.unlogged = True
            self._held.unlogged += 1

    def release(self) -> None:
        """No event of this exchange is wanted any more; nothing is kept for it."""
        if self.meter is not None:
            meter, self.meter = self.meter, None
            meter.finished(self)
        self.released = True
        held = self._held
        held.pop(self.stream_id, None)
        if self._extras is not None and self._extras.unlogged:
            self._extras.unlogged = False
            assert isinstance(held, Held)  # see await_log
            held.unlogged -= 1
            if held.on_room is not None:
                held.on_room(self.now)

    def __repr__(self) -> str:
        return f"<ServerSession {self.stream_id} {self.request_summary()}>"
