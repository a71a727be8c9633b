"""The server's side of an HTTP/2 connection."""

from __future__ import annotations

import math

from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError
from sansio_pingora.http2.channel import Timer
from sansio_pingora.http2.codes import ConnectionFault, ErrorCode, StreamFault, code_name
from sansio_pingora.http2.connection import Http2Connection
from sansio_pingora.http2.control import DRAIN_PING
from sansio_pingora.http2.frames import PREFACE, Setting, goaway, ping, rst_stream
from sansio_pingora.http2.heads import Items, Request, field_count, request_of, response_items, trailers_of
from sansio_pingora.http2.hpack import FieldBlock
from sansio_pingora.http2.outflow import MAX_WINDOW
from sansio_pingora.http2.states import CLOSED, HALF_CLOSED_REMOTE, RESET_LOCAL, RESET_REMOTE
from sansio_pingora.http2.stream import Stream
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Event
from sansio_pingora.wire import (
    Header,
    MessageFault,
    ResponseHeader,
    Trailer,
    UpgradedBody,
    content_length,
    error_page,
    http_date,
)

__all__ = ["Http2Server"]

_YOUNG = 1.0
"""Seconds: a stream that its client gives up younger than this, and unanswered, counts as a rapid reset."""
_RATE_GRACE = 10.0
"""Seconds for which a request body may stay below min_body_rate before its mean counts."""
_HEAD_FRAMES = frozenset({b"content-length", b"transfer-encoding"})


class Http2Server(Http2Connection):
    """Requests in, responses out, on many streams at once.

    ``wall_offset`` is Unix time minus monotonic time, for Date; None sends none.
    """

    __slots__ = ("_requests_left", "_wall_offset", "abort_on_close", "allow_connect")

    source = ErrorSource.DOWNSTREAM
    _cut_code = ErrorCode.INTERNAL_ERROR

    def __init__(
        self,
        now: float,
        limits: Limits,
        *,
        wall_offset: float | None = None,
        allow_connect: bool = False,
        abort_on_close: bool = False,
    ) -> None:
        super().__init__(now, limits, stream_window=limits.h2_window, window=limits.h2_connection_window)
        self.allow_connect = allow_connect
        """CONNECT makes a tunnel; otherwise it is answered 405."""
        self.abort_on_close = abort_on_close
        """A client that shuts its side while it waits for answers has given up."""
        self._wall_offset = wall_offset
        self._requests_left = limits.keepalive_request_limit
        self._awaits_preface = True
        self._set(Timer.FIRST_BYTE, now + limits.first_byte_timeout)

    # ── the beginning ────────────────────────────────────────────────────────────────

    def _read_preface(self, data: bytes, events: list[Event], now: float) -> int:
        timers = self._timers
        if timers[Timer.FIRST_BYTE] != math.inf:
            timers[Timer.FIRST_BYTE] = math.inf
            self._set(Timer.HEAD, now + self.limits.head_timeout)
        if data[: len(PREFACE)] != PREFACE[: len(data)]:
            self._say_closed(Error(ErrorType.INVALID_H2, "the preface is not HTTP/2's").into_down(), events)
            self._linger(now)
            return -1
        if len(data) < len(PREFACE):
            self._buffer += data
            self._need = 0  # the next byte may tell
            return -1
        self._awaits_preface = False
        limits = self.limits
        self._announce(
            {
                Setting.MAX_CONCURRENT_STREAMS: limits.h2_max_streams,
                Setting.INITIAL_WINDOW_SIZE: limits.h2_window,
                Setting.MAX_HEADER_LIST_SIZE: limits.max_head,
                Setting.ENABLE_CONNECT_PROTOCOL: 1,
                Setting.NO_RFC7540_PRIORITIES: 1,
            },
            now,
        )
        return len(PREFACE)

    def _settings(self, flags: int, payload: bytes, now: float) -> None:
        first = not self._peer_settings
        super()._settings(flags, payload, now)
        if first:
            self._set(Timer.HEAD, math.inf)
            self._stream_closed(now)

    def _heard_from(self, now: float) -> None:
        interval = self.limits.h2_ping_interval
        if interval is not None and not self._over:
            self._set(Timer.PING_DUE, now + interval)

    # ── receiving requests ───────────────────────────────────────────────────────────

    def _is_unused(self, stream_id: int) -> bool:
        return stream_id > self._last_key or not stream_id & 1

    def _head(self, stream_id: int, block: FieldBlock, end: bool, events: list[Event], now: float) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._trailer(stream, block, end, events, now)
            return
        if not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a client's stream has an odd id, not {stream_id}")
        self._last_key = stream_id
        self._budgets.streams += 1
        self._judge_dependency(stream_id)
        limits = self.limits
        if self._goaway_sent or len(self._streams) >= limits.h2_max_streams:
            self._remember(stream_id, RESET_LOCAL)
            self._answer_control(rst_stream(stream_id, ErrorCode.REFUSED_STREAM))
            self._budgets.reset(now)
            return
        self._last_served = stream_id
        stream = Stream(stream_id, stream_id, self._peer_window, self._first_window(), now)
        stream.head_received = True
        stream.window = self._own_window
        self._streams[stream_id] = stream
        if end:
            stream.state = HALF_CLOSED_REMOTE
        try:
            self._request(stream, block, end, events, now)
        except MessageFault as fault:
            if fault.status == 400:  # malformed (RFC 9113 section 8.1.1)
                self._tell(stream, Error(ErrorType.INVALID_HTTP_HEADER, fault.reason, status=400), events)
                raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, fault.reason) from None
            self._refuse(stream, fault, events, now)
        if self._requests_left is not None:
            self._requests_left -= 1
            if self._requests_left <= 0:
                self.drain(now)

    def _request(self, stream: Stream, block: FieldBlock, end: bool, events: list[Event], now: float) -> None:
        limits = self.limits
        many = len(block.items) > limits.max_fields and field_count(block.items) > limits.max_fields
        if block.truncated or many:
            raise MessageFault(431, f"a head of more than {limits.max_head} bytes or {limits.max_fields} fields")
        request = block.template
        if not isinstance(request, Request):
            request = block.template = request_of(block.items, block.never_indexed)
        head = request.head.clone()
        stream.method = method = head.method
        stream.urgency, stream.incremental = request.urgency, request.incremental
        if self._foretold and (told := self._foretold.pop(stream.id, None)) is not None:
            stream.urgency, stream.incremental = told  # before what the head says (RFC 9218 section 7)
        stream.left = request.length
        if request.length and (end or method == b"CONNECT"):
            raise MessageFault(400, f"no body where Content-Length declares {request.length} bytes")
        if method == b"CONNECT":
            self._tunnel_wanted(stream, head.protocol, end)
        elif b"expect" in head.fields.index:
            self._judge_expectation(stream, head.fields.get_all(b"expect"), end)
        if limits.max_body is not None and (request.length or 0) > limits.max_body:
            raise MessageFault(413, f"a body of {request.length} bytes where {limits.max_body} are allowed")
        events.append((stream.id, Header(head, end or stream.tunnel)))
        if not end and not stream.tunnel and not stream.continue_due:
            self._came(stream, now)

    def _tunnel_wanted(self, stream: Stream, protocol: bytes | None, end: bool) -> None:
        if protocol is None and not self.allow_connect:
            raise MessageFault(405, "CONNECT is not enabled here")
        if protocol is not None and protocol.lower() != b"websocket":
            raise MessageFault(501, f"protocol {protocol[:40]!r} is not spoken here")
        stream.tunnel = True
        stream.left = None
        stream.withheld = [UpgradedBody(b"", True)] if end else []

    def _judge_expectation(self, stream: Stream, values: list[bytes], end: bool) -> None:
        if [value.lower() for value in values] != [b"100-continue"]:
            raise MessageFault(417, "an expectation other than 100-continue")
        stream.continue_due = not end

    def _trailer(self, stream: Stream, block: FieldBlock, end: bool, events: list[Event], now: float) -> None:
        if not end or stream.tunnel:
            raise StreamFault(stream.id, ErrorCode.PROTOCOL_ERROR, "a second head that is no trailer section")
        if stream.left:
            raise StreamFault(stream.id, ErrorCode.PROTOCOL_ERROR, "a body shorter than its Content-Length")
        limits = self.limits
        if block.truncated or block.size > limits.max_trailers + 32 * len(block.items):
            self._refuse(stream, MessageFault(431, f"trailers of more than {limits.max_trailers} bytes"), events, now)
            return
        try:
            fields = trailers_of(block.items, limits.max_trailer_fields, block.never_indexed)
        except MessageFault as fault:
            self._tell(stream, Error(ErrorType.INVALID_HTTP_HEADER, fault.reason, status=400), events)
            raise StreamFault(stream.id, ErrorCode.PROTOCOL_ERROR, fault.reason) from None
        if stream.heard:
            events.append((stream.key, Trailer(fields)))
        self._remote_end(stream, events, now)

    def _body(self, stream: Stream, data: bytes, end: bool, events: list[Event], now: float) -> None:
        if stream.continue_due:
            stream.continue_due = False  # it did not wait, or no longer
            stream.began = now
        ceiling = self.limits.max_body
        if ceiling is not None and stream.received > ceiling and stream.heard and not stream.tunnel:
            self._refuse(stream, MessageFault(413, f"a body of more than {ceiling} bytes"), events, now)
            return
        super()._body(stream, data, end, events, now)

    def _came(self, stream: Stream, now: float) -> None:
        limits = self.limits
        if stream.tunnel:
            stream.read_deadline = now + limits.read_timeout if stream.withheld is None else math.inf
        elif not stream.heard:
            return  # what is read on has its time already
        elif stream.recv_window <= 0 or self._recv_window <= 0:
            stream.read_deadline = math.inf
            if self._recv_window <= 0:
                self._held[stream] = None
            if stream.stopped < stream.began:
                stream.stopped = now
        else:
            if stream.stopped >= stream.began:
                stream.began += now - stream.stopped  # the time in which we did not read is not the client's
                stream.stopped = -math.inf
            deadline = now + limits.body_idle_timeout
            rate = limits.min_body_rate
            if rate:
                deadline = min(deadline, stream.began + max(_RATE_GRACE, stream.received / rate))
            stream.read_deadline = deadline
        self._clock(stream)

    def invite_body(self, stream_id: int, now: float) -> None:
        """See :meth:`Connection.invite_body` (RFC 9110 section 10.1.1)."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.continue_due:
            if not stream.head_sent:
                self._put_head(stream, [(b":status", b"100")], False)
            self._invited(stream, now)
            self._touch()

    def _invited(self, stream: Stream, now: float) -> None:
        stream.continue_due = False
        stream.began = now  # until now the client waited for us
        self._came(stream, now)

    def _peer_reset(self, stream: Stream, code: int, events: list[Event], now: float) -> None:
        rapid = not stream.head_sent and now - stream.opened < _YOUNG
        self._tell(stream, Error(ErrorType.CONNECTION_CLOSED, f"the client reset it: {code_name(code)}"), events)
        if rapid:
            self._budgets.reset(now)

    def _peer_leaves(self, last: int, code: int, events: list[Event], now: float) -> None:
        """A client that says it goes opens no more streams: those that are open are served."""

    @property
    def share(self) -> int:
        """Bytes that each of the streams may have on their way, of what a connection may in the other direction."""
        return self.limits.h2_connection_window // (len(self._streams) or 1)

    def takes(self, stream_id: int) -> int:
        """Bytes of the response that the client has room for now: its windows, the connection's shared out."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return 0
        return max(0, min(stream.send_window, self._outflow.window // len(self._streams), self.share))

    # ── sending responses ────────────────────────────────────────────────────────────

    def _send_head(self, stream: Stream, head: object, end: bool, now: float) -> None:
        if not isinstance(head, ResponseHeader):
            raise LocalProtocolError(f"a server sends a ResponseHeader, not {head!r}")
        if stream.head_sent:
            self._refuse_send(stream, "a response head")
        status = head.status
        if status < 200:
            self._send_informational(stream, head, now)
            return
        if stream.tunnel and status < 300:
            self._accept_tunnel(stream, head, now)
            return
        try:
            declared = content_length(head.fields)
        except MessageFault as fault:
            raise LocalProtocolError(f"response head: {fault.reason}") from None
        bodiless = stream.method == b"HEAD" or status == 204 or status == 304
        if end and declared and not bodiless:
            raise LocalProtocolError("a head that ends the response declares a body")
        items = response_items(head)
        if status == 204 and declared is not None:  # RFC 9110 section 8.6
            items = [item for item in items if item[0].lower() != b"content-length"]
        ends = end or bodiless or declared == 0
        if stream.tunnel:
            self._refuse_tunnel(stream, now)
        self._put_head(stream, self._dated(items, head, now), ends, head.fields.never_indexed)
        stream.head_sent = True
        stream.left_to_send = declared
        if ends:
            stream.mute = not end
            self._local_end(stream, now)

    def _dated(self, items: Items, head: ResponseHeader, now: float) -> Items:
        if self._wall_offset is None or b"date" in head.fields.index:
            return items
        return [*items, (b"date", http_date(int(now + self._wall_offset)))]

    def _send_informational(self, stream: Stream, head: ResponseHeader, now: float) -> None:
        if head.status == 101:
            raise LocalProtocolError("HTTP/2 has no 101: an extended CONNECT is accepted with 200 (RFC 8441)")
        items = [item for item in response_items(head) if item[0].lower() != b"content-length"]
        self._put_head(stream, items, False, head.fields.never_indexed)
        if head.status == 100 and stream.continue_due:
            self._invited(stream, now)

    def _accept_tunnel(self, stream: Stream, head: ResponseHeader, now: float) -> None:
        if head.fields.has_any(_HEAD_FRAMES):
            raise LocalProtocolError(
                "a 2xx to CONNECT has no body: take its framing fields away (RFC 9110 section 9.3.6)"
            )
        items = self._dated(response_items(head), head, now)
        self._put_head(stream, items, False, head.fields.never_indexed)
        stream.head_sent = True
        withheld, stream.withheld = stream.withheld, None
        for task in withheld or ():
            self._say_soon((stream.key, task))
        self._came(stream, now)

    def _refuse_tunnel(self, stream: Stream, now: float) -> None:
        """Nothing of it goes anywhere: its head was the end of the request."""
        stream.tunnel = stream.heard = False
        stream.refused, stream.withheld = True, None
        self._read_rest(stream, now)

    def _sent_message(self, stream: Stream, now: float) -> None:
        if stream.tunnel:
            return  # the other direction goes on
        stream.heard = stream.refused = False
        limits = self.limits
        if stream.continue_due or (stream.left or 0) > limits.linger_bytes:
            self._reset(stream, ErrorCode.NO_ERROR)  # RFC 9113 section 8.1
            self._stream_closed(now)
            return
        self._read_rest(stream, now)
        stream.read_deadline = now + limits.linger_timeout
        self._clock(stream)

    def _refuse(self, stream: Stream, fault: MessageFault, events: list[Event], now: float) -> None:
        """Answer a request that breaks the rules, if it can still be answered, and end its stream."""
        etype = ErrorType.READ_TIMEDOUT if fault.status == 408 else ErrorType.INVALID_HTTP_HEADER
        self._tell(stream, Error(etype, fault.reason, status=fault.status), events)
        complete = stream.state is HALF_CLOSED_REMOTE
        if stream.head_sent:
            self._reset(stream, ErrorCode.CANCEL)
        else:
            page = error_page(fault.status)
            self._put_head(stream, self._dated(response_items(page), page, now), True)
            if complete:
                self._forget(stream, CLOSED)
            else:
                self._reset(stream, ErrorCode.NO_ERROR)
        self._stream_closed(now)
        self._touch()

    # ── time and ends ────────────────────────────────────────────────────────────────

    def _read_timed_out(self, stream: Stream, events: list[Event], now: float) -> None:
        if not stream.heard:
            self._reset(stream, ErrorCode.NO_ERROR)
            self._stream_closed(now)
            self._touch()
        elif stream.tunnel:
            error = Error(ErrorType.READ_TIMEDOUT, "nothing passed the tunnel for read_timeout")
            self._give_up(stream, error, ErrorCode.CANCEL, events, now)
        else:
            fault = MessageFault(408, "the body came slower than body_idle_timeout or min_body_rate allow")
            self._refuse(stream, fault, events, now)

    def _timer_expired(self, timer: Timer, events: list[Event], now: float) -> None:
        if timer is Timer.FIRST_BYTE or (timer is Timer.HEAD and self._awaits_preface):
            self._say_closed(None, events)  # without a word to who has not said that it speaks HTTP/2
            self._close(now)
        elif timer is Timer.KEEPALIVE:
            if not self._streams:
                self._end(None, ErrorCode.NO_ERROR, events, now)
        else:
            super()._timer_expired(timer, events, now)

    def _stream_closed(self, now: float) -> None:
        if self._streams or self._over:
            return
        if self._goaway_sent:
            self._linger(now)
            return
        # A deadline that moves later needs no arming: the earlier one is looked at when it comes.
        deadline = self._timers[Timer.KEEPALIVE] = now + self.limits.keepalive_timeout
        if deadline < self.deadline:
            self.deadline = deadline

    def drain(self, now: float) -> None:
        """See :meth:`Connection.drain`: GOAWAY in two steps (RFC 9113 section 6.8), so that no request is lost."""
        if self._draining or self._over:
            return
        self._draining = True
        if not self._awaits_preface:
            self._put(goaway(MAX_WINDOW, ErrorCode.NO_ERROR))
            self._put(ping(DRAIN_PING))
        self._set(Timer.DRAIN, now + self.limits.h2_drain_timeout)
        self._touch()

    def _drain_heard(self, now: float) -> None:
        if not self._draining or self._goaway_sent:
            return
        self._set(Timer.DRAIN, math.inf)
        if self._awaits_preface:
            self._close(now)
            return
        self._say_goodbye(ErrorCode.NO_ERROR)
        self._stream_closed(now)
        self._touch()

    def receive_eof(self, now: float) -> list[Event]:
        """See :meth:`Connection.receive_eof`: requests that have come whole are answered."""
        self._now = now
        events = self._said_soon()
        self._peer_ended = True
        self.want_read = False
        error = Error(ErrorType.CONNECTION_CLOSED, "the client closed the connection")
        for stream in list(self._streams.values()):
            if stream.state is not HALF_CLOSED_REMOTE or stream.tunnel or self.abort_on_close:
                self._tell(stream, self._as_stream_error(stream, error), events)
                self._forget(stream, RESET_REMOTE)
        self._draining = self._goaway_sent = True  # no more streams come
        if not self._streams:
            self._say_closed(None, events)
            self._close(now)
        return events

    def open_stream(self, now: float) -> int | None:
        """A server opens none."""
        return None
