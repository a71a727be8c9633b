"""The reference engine: HTTP/1 syntax by h11, behind the same contract as the native one.

h11 decides what a head, a chunk or a trailer section is, and how each is spelled when it is
sent. What our machines own stays ours: framing, routing, limits, time and reuse. So this
engine is as strict as h11 is, which is less than the native one (bare LF, obsolete line
folding, loose chunk extensions), and a second opinion on everything that both accept.
"""

from __future__ import annotations

from typing import Any

import h11

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.http1.chunked_reader import CHUNK_ALLOWANCE
from sansio_pingora.http1.head_reader import judge_routing
from sansio_pingora.limits import Limits
from sansio_pingora.wire import (
    CHUNKED,
    FORBIDDEN_TRAILERS,
    Fields,
    MessageFault,
    RequestHeader,
    ResponseHeader,
    request_framing,
    response_framing,
)
from sansio_pingora.wire.grammar import FIELD_VALUE, REASON, TARGET

__all__ = ["HyperCodec"]

# As the native reader: RFC 9112 section 2.2 wants an old client's extra CRLF ignored. h11 does not.
_MAX_BLANK_LINES = 2
_Pairs = list[tuple[bytes, bytes]]


class HyperCodec:
    """One h11 connection per exchange; what h11 has not used goes on to the next."""

    __slots__ = (
        "_blank",
        "_connection",
        "_fault",
        "_framing",
        "_front",
        "_limits",
        "_overhead",
        "_secure",
        "_send_chunked",
        "_server",
        "_taken",
        "trailers",
    )

    def __init__(self, limits: Limits, *, server: bool, secure: bool = False) -> None:
        self._secure = secure
        self._limits = limits
        self._server = server
        self.trailers: Fields | None = None
        self._framing = 0
        self._overhead = 0  # framing of the body being read, beyond what its chunks are allowed
        self._connection = self._begin()

    def _begin(self) -> h11.Connection:
        self._front: bytes | None = b""  # blank lines, or what may become one; None behind the first byte of a head
        self._blank = 0
        self._fault: MessageFault | None = None  # met behind payload: to be raised by the next read
        self._taken = 0  # bytes that h11 still holds, though another protocol has them
        self._send_chunked = False
        role = h11.SERVER if self._server else h11.CLIENT
        return h11.Connection(role, max_incomplete_event_size=self._limits.max_head)

    # ── input ────────────────────────────────────────────────────────────────────────

    def receive(self, data: bytes) -> None:
        """Bytes from the peer."""
        if self._front is not None and self._server:
            data = self._front + data
            while self._blank < _MAX_BLANK_LINES and data.startswith(b"\r\n"):
                data = data[2:]
                self._blank += 1
            if data in {b"", b"\r"}:
                self._front = data
                return
        self._front = None
        self._connection.receive_data(data)

    def receive_eof(self) -> None:
        """Nothing to note: the connection knows what was due."""

    @property
    def buffered(self) -> int:
        """Bytes received and not read yet; a fault that waits behind payload counts as one."""
        if self._fault is not None:
            return 1
        return len(self._front or b"") + len(self._connection.trailing_data[0]) - self._taken

    def _next(self) -> Any:
        try:
            return self._connection.next_event()
        except h11.RemoteProtocolError as exc:
            raise MessageFault(exc.error_status_hint, str(exc)) from None

    def _head(self) -> tuple[Any, Fields] | None:
        held = self.buffered
        event = self._next()
        if event is h11.NEED_DATA or event is h11.PAUSED:
            return None
        limits = self._limits
        if held - self.buffered > limits.max_head:
            raise MessageFault(431, f"a head longer than {limits.max_head} bytes")
        items = [(bytes(name), bytes(value)) for name, value in event.headers.raw_items()]
        if len(items) > limits.max_fields:
            raise MessageFault(431, f"more than {limits.max_fields} field lines")
        for name, value in items:
            if len(name) + len(value) + 1 > limits.max_line:
                raise MessageFault(431, f"a line longer than {limits.max_line} bytes")
            if not FIELD_VALUE.fullmatch(value):
                raise MessageFault(400, f"value of {name!r} holds a control byte")
        if event.http_version not in {b"1.0", b"1.1"}:
            raise MessageFault(505, f"version {event.http_version!r} is not served here")
        return event, Fields.received(items)

    def read_request(self) -> tuple[RequestHeader, int] | None:
        """See :meth:`Codec.read_request`."""
        read = self._head()
        if read is None:
            return None
        event, fields = read
        target = bytes(event.target)
        if len(target) + len(event.method) + len(" HTTP/1.1 ") - 1 > self._limits.max_line:
            raise MessageFault(414, f"a line longer than {self._limits.max_line} bytes")
        if not TARGET.fullmatch(target):
            raise MessageFault(400, f"target {target[:80]!r} holds bytes that no URI holds")
        head = RequestHeader.received(bytes(event.method), target, bytes(event.http_version), fields)
        judge_routing(head, secure=self._secure)
        framing = request_framing(head)
        self._read_end(framing)
        return head, framing

    def read_response(self, method: bytes) -> tuple[ResponseHeader, int] | None:
        """See :meth:`Codec.read_response`."""
        read = self._head()
        if read is None:
            return None
        event, fields = read
        reason = bytes(event.reason)
        if event.status_code < 100 or not REASON.fullmatch(reason):
            raise MessageFault(502, f"status {event.status_code} {reason[:80]!r} is not HTTP/1")
        head = ResponseHeader.received(event.status_code, reason, bytes(event.http_version), fields)
        framing = response_framing(head, method)
        self._read_end(framing)
        return head, framing

    def _read_end(self, framing: int) -> None:
        """A head that no body follows: see h11 to the end of the message."""
        if framing == 0 and self._connection.their_state is h11.SEND_BODY:
            event = self._next()
            if type(event) is not h11.EndOfMessage:
                raise AssertionError(f"h11 reads {event!r} where no body follows")

    def start_body(self, framing: int) -> None:
        """See :meth:`Codec.start_body`."""
        self.trailers = None
        self._framing = framing
        self._overhead = 0

    def read_body(self) -> tuple[bytes, bool]:
        """See :meth:`Codec.read_body`."""
        if self._fault is not None:
            raise self._fault
        pieces: list[bytes] = []
        held = self.buffered
        chunks = 0
        end = False
        try:
            while not end and self._connection.their_state is h11.SEND_BODY:
                event = self._next()
                if type(event) is h11.Data:
                    pieces.append(bytes(event.data))
                    chunks += event.chunk_end  # of one whose line came alone no event says that it starts
                elif type(event) is h11.EndOfMessage:
                    self.trailers = self._trailers(event.headers.raw_items())
                    end = True
                else:
                    break
        except MessageFault as fault:
            if not pieces:
                raise
            self._fault = fault
        data = b"".join(pieces)
        if self._framing == CHUNKED and self._fault is None:
            framing = held - self.buffered - len(data)
            self._judge_overhead(framing - CHUNK_ALLOWANCE * chunks - 2 * len(data), end)
        return data, end

    def _judge_overhead(self, excess: int, end: bool) -> None:
        """As the native reader, but over one read: h11 does not tell of each chunk how long its line was."""
        self._overhead = max(self._overhead + excess, 0)
        limits = self._limits
        # At the end the trailer section, which has a ceiling of its own, is among it.
        if self._overhead > limits.max_chunk_overhead + (limits.max_trailers if end else 0):
            raise MessageFault(
                400, f"chunk extensions or padded sizes add up to more than {limits.max_chunk_overhead} bytes"
            )

    def _trailers(self, items: _Pairs) -> Fields | None:
        limits = self._limits
        if len(items) > limits.max_trailer_fields:
            raise MessageFault(431, f"more than {limits.max_trailer_fields} trailer lines")
        if sum(len(name) + len(value) + 4 for name, value in items) > limits.max_trailers:
            raise MessageFault(431, f"trailers longer than {limits.max_trailers} bytes")
        for name, value in items:
            if name.lower() in FORBIDDEN_TRAILERS:
                raise MessageFault(400, f"field {name!r} is not allowed in trailers")
            if not FIELD_VALUE.fullmatch(value):
                raise MessageFault(400, f"value of {name!r} holds a control byte")
        return Fields.received([(bytes(name), bytes(value)) for name, value in items]) if items else None

    def take_rest(self) -> bytes:
        """See :meth:`Codec.take_rest`."""
        held = self._connection.trailing_data[0]
        rest = (self._front or b"") + held[self._taken :]
        self._front = b""
        self._taken = len(held)
        return rest

    # ── output ───────────────────────────────────────────────────────────────────────

    def write_request(self, head: RequestHeader, extra: bytes, framing: int) -> bytes:
        """See :meth:`Codec.write_request`."""
        event = _made(h11.Request, method=head.method, target=head.target, headers=_lines(head.fields, extra))
        return self._write_head(event, framing)

    def write_response(self, head: ResponseHeader, extra: bytes, framing: int) -> bytes:
        """See :meth:`Codec.write_response`."""
        kind = h11.Response if head.status >= 200 else h11.InformationalResponse
        event = _made(kind, status_code=head.status, reason=head.reason, headers=_lines(head.fields, extra))
        return self._write_head(event, framing)

    def _write_head(self, event: Any, framing: int) -> bytes:
        self._send_chunked = framing == CHUNKED
        try:
            data: bytes = self._connection.send(event)
            if framing == 0 and self._connection.our_state is h11.SEND_BODY:
                self._connection.send(h11.EndOfMessage())
        except h11.LocalProtocolError as exc:
            raise LocalProtocolError(f"h11 refuses to send it: {exc}") from exc
        return data

    def write_body(self, data: bytes, end: bool, out: list[bytes]) -> int:
        """See :meth:`Codec.write_body`."""
        size = self._write(h11.Data(data=data), out) if data else 0
        return size + self._write(h11.EndOfMessage(), out) if end else size

    def write_trailers(self, trailers: Fields, out: list[bytes]) -> int:
        """See :meth:`Codec.write_trailers`."""
        items = trailers.items if self._send_chunked else []  # elsewhere there is no place for them
        return self._write(h11.EndOfMessage(headers=items), out)

    def _write(self, event: Any, out: list[bytes]) -> int:
        pieces = self._connection.send_with_data_passthrough(event) or []
        out += [piece for piece in pieces if piece]
        return sum(map(len, pieces))

    def next_message(self) -> None:
        """The next exchange begins, with what h11 has not used of this one."""
        rest = self._connection.trailing_data[0]
        self._connection = self._begin()
        if rest:
            self.receive(rest)


def _made(kind: Any, **parts: Any) -> Any:
    try:
        return kind(**parts)
    except h11.LocalProtocolError as exc:
        raise LocalProtocolError(f"h11 refuses to send it: {exc}") from exc


def _lines(fields: Fields, extra: bytes) -> _Pairs:
    if not extra:
        return fields.items
    pairs = [line.partition(b": ") for line in extra.split(b"\r\n")[:-1]]
    return fields.items + [(name, value) for name, _, value in pairs]
