"""The server's side of an HTTP/1 connection."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError
from sansio_pingora.http1.channel import (
    FOR_BODY,
    FOR_FIRST_BYTE,
    FOR_HEAD,
    FOR_KEEPALIVE,
    FOR_NOTHING,
    FOR_TUNNEL,
    HAS_MORE,
)
from sansio_pingora.http1.codec import Codec, NativeCodec
from sansio_pingora.http1.connection import Http1Connection
from sansio_pingora.http1.keepalive import may_persist
from sansio_pingora.http1.states import (
    BEGIN,
    BODY,
    CLOSED,
    COMPLETE,
    HEAD,
    HEAD_ONLY,
    HEAD_THEN_BODY,
    IDLE,
    MOVES,
    NEXT,
    RAW,
    SWITCH,
)
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Event
from sansio_pingora.wire import (
    CHUNKED,
    UNTIL_CLOSE,
    Header,
    MessageFault,
    RequestHeader,
    ResponseHeader,
    error_page,
    http_date,
    response_framing,
)

__all__ = ["Http1Server"]

# A draining connection that waits for a request answers one that is already on its way.
_DRAIN_PATIENCE = 5.0
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_FRAMING_OR_CONNECTION = _FRAMING | {b"connection"}
# How long a request body may stay below min_body_rate before its mean counts.
_RATE_GRACE = 10.0


class Http1Server(Http1Connection):
    """Requests in, responses out, one exchange at a time; requests that came early are kept and served in order.

    ``wall_offset`` is Unix time minus monotonic time, for Date; None sends none. ``secure``: it stands on TLS.
    """

    __slots__ = (
        "_body_began",
        "_continue_due",
        "_last",
        "_method",
        "_secure",
        "_stopped_at",
        "_untuned",
        "_upgrade",
        "_version",
        "_wall_offset",
        "abort_on_close",
        "allow_connect",
        "quiet",
        "requests_left",
    )

    source = ErrorSource.DOWNSTREAM

    def __init__(
        self,
        now: float,
        limits: Limits,
        *,
        codec: Codec | None = None,
        wall_offset: float | None = None,
        allow_connect: bool = False,
        abort_on_close: bool = False,
        quiet: bool = False,
        secure: bool = False,
    ) -> None:
        super().__init__(codec or NativeCodec(limits, server=True, secure=secure), limits)
        self._secure = secure
        self.allow_connect = allow_connect
        """CONNECT makes a tunnel; otherwise it is answered 405."""
        self.abort_on_close = abort_on_close
        """A client that shuts its side while it waits for the answer has given up."""
        self.quiet = quiet
        """Bytes that are not HTTP/1 from the first line on are not answered: the client speaks something else."""
        self.requests_left = limits.keepalive_request_limit
        self._wall_offset = wall_offset
        self._method = b""
        self._version = b"1.1"
        self._continue_due = False  # the client waits for a 100 before it sends its body
        self._upgrade = False
        self._last = False  # the client said that it sends no more requests
        self._untuned: tuple[Limits, bool] | None = None  # the service's limits, while an exchange has its own
        self._max_body = limits.max_body
        self._body_began = 0.0
        self._stopped_at = -math.inf  # when we last stopped reading a body, if we do not read it now
        self._watch(FOR_FIRST_BYTE, now + limits.first_byte_timeout)
        self._arm()

    # ── receiving requests ───────────────────────────────────────────────────────────

    def _read_head(self, events: list[Event], now: float) -> bool:
        read = self._codec.read_request()
        if read is None:
            if self._peer_ended:
                self._say_closed(None, events)
                self._close(now)
            elif self.receiving is IDLE:
                if self._codec.buffered:
                    self.receiving = MOVES[self.receiving, BEGIN]
                    self._watch(FOR_HEAD, now + self.limits.head_timeout)
                elif self._read_deadline == math.inf:  # only a blank line came
                    self._watch(FOR_KEEPALIVE, now + self.limits.keepalive_timeout)
            return False
        head, framing = read
        if self._untuned is not None:
            self.limits, self.abort_on_close = self._untuned
            self._untuned = None
        self._method = method = head.method
        self._version = head.version
        fields = head.fields
        self._continue_due = self._upgrade = False
        if method == b"CONNECT" and not self.allow_connect:
            raise MessageFault(405, "CONNECT is not enabled here")
        if framing:
            self._expect_body(head, framing)
        if b"expect" in fields.index and head.version == b"1.1":
            self._judge_expectation(head, framing)
        if b"upgrade" in fields.index and head.version == b"1.1":
            self._upgrade = b"upgrade" in fields.tokens(b"connection")
        self.stream += 1
        self._active = True
        self._mute = False
        self._last = not may_persist(head)
        self.keep = not (self._last or self._draining)
        if self.requests_left is not None:
            self.requests_left -= 1
            self.keep = self.keep and self.requests_left > 0
        if self._peer_ended and not self._codec.buffered:
            self.keep = False
        self.sending = HEAD
        self._read_framing = framing
        self._received = self._unconsumed = 0
        self._read_deadline = math.inf
        self._read_reason = FOR_NOTHING
        if framing == 0:
            self.receiving = COMPLETE
            events.append((self.stream, Header(head, True)))
            return False
        self.receiving = BODY
        events.append((self.stream, Header(head, False)))
        self._codec.start_body(framing)
        self._body_began = now
        self._stopped_at = -math.inf
        if not self._continue_due:
            self._start_clock(now)
        return True

    def _expect_body(self, head: RequestHeader, framing: int) -> None:
        if head.method in (b"TRACE", b"CONNECT"):
            raise MessageFault(400, f"{head.method.decode('ascii')} with a body")
        ceiling = self._max_body
        if ceiling is not None and framing > ceiling:
            raise MessageFault(413, f"a body of {framing} bytes where {ceiling} are allowed")

    def _judge_expectation(self, head: RequestHeader, framing: int) -> None:
        if [value.lower() for value in head.fields.get_all(b"expect")] != [b"100-continue"]:
            raise MessageFault(417, "an expectation other than 100-continue")
        self._continue_due = framing != 0

    def _read_body(self, events: list[Event], now: float) -> bool:
        if self._continue_due:
            if self._codec.buffered:
                self._continue_due = False  # it did not wait, or no longer
                self._body_began = now
            elif not self._peer_ended:
                return False
        more = super()._read_body(events, now)
        if self._peer_ended and not more and self.receiving is BODY:
            self._left_amid_body(events, now)
        return more

    def _received_message(self, events: list[Event], now: float) -> None:
        if self.sending is RAW or self.sending is CLOSED:  # it switched before this message was complete
            self.receiving = MOVES[self.receiving, SWITCH]
            self.want_read = self._unconsumed < self.limits.high_water
            if self.want_read:
                self._start_clock(now)
            self._raw_received(self._codec.take_rest(), events, now)
        elif self.sending is COMPLETE:
            self._end_exchange(now)
        else:
            self.want_read = not self._peer_ended  # to see the client go away

    def invite_body(self, stream_id: int, now: float) -> None:
        """See :meth:`Connection.invite_body` (RFC 9110 section 10.1.1)."""
        if self._continue_due and stream_id == self.stream and self._active:
            if self.sending is HEAD:
                self._put(_CONTINUE)
            self._invited(now)
            self._touch()

    def _invited(self, now: float) -> None:
        self._continue_due = False
        self._body_began = now  # until now the client waited for us
        self._start_clock(now)
        self._arm()

    def _start_clock(self, now: float) -> None:
        if self.receiving is not BODY:
            super()._start_clock(now)
            return
        if self._stopped_at > self._body_began:
            self._body_began += now - self._stopped_at  # the time in which we did not read is not the client's
            self._stopped_at = -math.inf
        deadline = now + self.limits.body_idle_timeout
        rate = self.limits.min_body_rate
        if rate:
            deadline = min(deadline, self._body_began + max(_RATE_GRACE, self._received / rate))
        self._watch(FOR_BODY, deadline)

    def _stop_clock(self, now: float) -> None:
        super()._stop_clock(now)
        if self._stopped_at < self._body_began:  # what was on its way may still come in
            self._stopped_at = now

    def tune(self, stream_id: int, now: float, *, abort_on_close: bool | None = None, **changes: float | None) -> None:
        """Change *changes* of the limits for the exchange under way: at the next head the service's are in force again.

        Nothing when the exchange of *stream_id* is over.
        """
        if stream_id != self.stream or not self._active:
            return
        if self._untuned is None:
            self._untuned = (self.limits, self.abort_on_close)
        if abort_on_close is not None:
            self.abort_on_close = abort_on_close
        self.limits = replace(self.limits, **changes)  # type: ignore[arg-type]  # checked by Limits
        if self.receiving in (BODY, RAW) and AT_ONCE < self._read_deadline < math.inf:
            self._start_clock(now)
        if self.stalled:
            self._write_deadline = now + self._write_allowance()
        self._arm()
        self._touch()

    # ── sending responses ────────────────────────────────────────────────────────────

    def _send_head(self, head: object, end: bool, now: float) -> None:
        if not isinstance(head, ResponseHeader):
            raise LocalProtocolError(f"a server sends a ResponseHeader, not {head!r}")
        if self.sending is not HEAD:
            self._refuse_send("a response head")
        status = head.status
        if status < 200:
            self._send_informational(head, now)
            return
        if self._method == b"CONNECT" and status < 300:
            self._send_tunnel_head(head, now)
            return
        framing, extra = self._frame(head, end)
        keep = self.keep and self._may_go_on(head, framing)
        if not keep:
            extra += b"Connection: close\r\n"
        elif self._version == b"1.0":
            extra += b"Connection: keep-alive\r\n"
        if self._wall_offset is not None and b"date" not in head.fields.index:
            extra += b"Date: %b\r\n" % http_date(int(now + self._wall_offset))
        if status == 204:
            head = _without(head, _FRAMING_OR_CONNECTION)  # RFC 9110 section 8.6, RFC 9112 section 6.1
        elif b"connection" in head.fields.index:
            head = _without(head, (b"connection",))
        mute = not end and (self._method == b"HEAD" or status == 204 or status == 304)
        self._put(self._codec.write_response(head, extra, 0 if end or mute else framing))
        self.keep = keep
        self._mute = mute
        self._left_to_send = framing
        move = HEAD_ONLY if end or framing == 0 else HEAD_THEN_BODY
        self.sending = MOVES[self.sending, move]
        if move is HEAD_ONLY:
            self._sent_message(now)

    def _frame(self, head: ResponseHeader, end: bool) -> tuple[int, bytes]:
        """How the body of *head* is framed, and the field line that says so where it has none."""
        try:
            framing = response_framing(head, b"GET")
        except MessageFault as fault:
            raise LocalProtocolError(f"response head: {fault.reason}") from None
        bodiless = self._method == b"HEAD" or head.status in (204, 304)
        extra = b""
        if framing == CHUNKED and self._version == b"1.0":
            raise LocalProtocolError("Transfer-Encoding to an HTTP/1.0 client: leave the framing to the connection")
        if end and (framing > 0 or framing == CHUNKED) and not bodiless:
            raise LocalProtocolError("a head that ends the response declares a body")
        if framing == UNTIL_CLOSE and not bodiless:
            if end:
                framing, extra = 0, b"Content-Length: 0\r\n"
            elif self._version == b"1.1":
                framing, extra = CHUNKED, b"Transfer-Encoding: chunked\r\n"
        return framing, extra

    def _may_go_on(self, head: ResponseHeader, framing: int) -> bool:
        """Another request may follow, as far as this response's head tells."""
        if framing == UNTIL_CLOSE and self._version == b"1.0" and self._method != b"HEAD":
            return False
        if b"connection" in head.fields.index and b"close" in head.fields.tokens(b"connection"):
            return False
        if self.receiving is COMPLETE:
            return self._method != b"CONNECT"  # what comes behind a refused CONNECT was meant for the tunnel
        # Whether the body still comes, nobody knows; or it is more than we would read to keep the connection.
        return not self._continue_due and self._read_framing <= self.limits.linger_bytes + self._received

    def _send_informational(self, head: ResponseHeader, now: float) -> None:
        if head.fields.has_any(_FRAMING):
            head = _without(head, _FRAMING)  # no 1xx has any (RFC 9110 section 8.6, RFC 9112 section 6.1)
        if head.status == 101:
            if not self._upgrade:
                raise LocalProtocolError("101 to a request that offered no upgrade")
            self.invite_body(self.stream, now)  # before the switch, as RFC 9110 section 7.8 has it
            self._put(self._codec.write_response(head, b"", 0))
            self._start_raw(now)
            self._arm()
        elif self._version == b"1.1":  # HTTP/1.0 knows no 1xx (RFC 9110 section 15.2)
            self._put(self._codec.write_response(head, b"", 0))
            if head.status == 100 and self._continue_due:
                self._invited(now)

    def _send_tunnel_head(self, head: ResponseHeader, now: float) -> None:
        if head.fields.has_any(_FRAMING):
            raise LocalProtocolError(
                "a 2xx to CONNECT has no body: take its framing fields away (RFC 9110 section 9.3.6)"
            )
        self._put(self._codec.write_response(head, b"", 0))
        self._start_raw(now)
        self._arm()

    def _sent_message(self, now: float) -> None:
        self._active = False
        self._sent = self.stream
        if self.receiving is COMPLETE:
            self._end_exchange(now)
        elif self.keep:
            self._linger_left = self.limits.linger_bytes  # read on: the rest of the request, to the next one
            self.want_read = True
            self._watch(FOR_BODY, now + self.limits.linger_timeout)
            self._arm()
        else:
            self._linger(now)

    def _end_exchange(self, now: float) -> None:
        buffered = self._codec.buffered
        if not buffered and (self._peer_ended or (self._last and not self._secure)):
            self._close(now)  # of TLS, a client that sends no more requests still sends close_notify
            return
        if not self.keep:
            self._linger(now)
            return
        self._codec.next_message()
        self.receiving = MOVES[self.receiving, NEXT]
        self.sending = MOVES[self.sending, NEXT]
        self.want_read = not self._peer_ended
        if buffered:
            self._watch(HAS_MORE, AT_ONCE)
        else:
            self._watch(
                FOR_KEEPALIVE, now + (self._drain_patience if self._draining else self.limits.keepalive_timeout)
            )
        self._arm()

    # ── ends ─────────────────────────────────────────────────────────────────────────

    def receive_eof(self, now: float) -> list[Event]:
        """See :meth:`Connection.receive_eof`."""
        events: list[Event] = []
        self._peer_ended = True
        self._codec.receive_eof()
        receiving = self.receiving
        if receiving is RAW:
            self._raw_eof(events, now)
        elif receiving is COMPLETE:
            self.want_read = False
            if not self._codec.buffered:  # otherwise there are requests that came before the end
                self.keep = False
            if self.abort_on_close:
                self._fail(Error(ErrorType.CONNECTION_CLOSED, "the client left while it was to be answered"), events)
                self._close(now)
        elif receiving is BODY and self._active:
            self._left_amid_body(events, now)
        elif receiving is IDLE and self._codec.buffered:
            self.want_read = False
            self._advance(events, now)
        elif not (receiving is CLOSED and self.sending is RAW):
            self._say_closed(None, events)
            self._close(now)
        return events

    def _left_amid_body(self, events: list[Event], now: float) -> None:
        self._fail(Error(ErrorType.CONNECTION_CLOSED, "the client ended amid its request body"), events)
        self._cut(now)

    def _linger(self, now: float) -> None:
        if self._peer_ended:  # nothing more comes that could make the kernel reset
            self._close(now)
        else:
            super()._linger(now)

    def _refuse(self, fault: MessageFault, events: list[Event], now: float) -> None:
        """Answer a request that breaks the rules, if it can still be answered, and close."""
        amid_body = self.receiving is BODY
        if not amid_body:
            self.stream += 1  # a request that nobody saw: it gets a number for the log
            self._active = True
            self.sending = HEAD
        heard = self._active
        etype = ErrorType.READ_TIMEDOUT if fault.status == 408 else ErrorType.INVALID_HTTP_HEADER
        self._fail(Error(etype, fault.reason, status=fault.status), events)
        if self.quiet and fault.not_http and fault.status == 400 and self.stream == 1:
            self._linger(now)
        elif self.sending is HEAD:
            page = error_page(fault.status)
            extra = b"Connection: close\r\n"
            if self._wall_offset is not None:
                extra += b"Date: %b\r\n" % http_date(int(now + self._wall_offset))
            self._put(self._codec.write_response(page, extra, 0))
            self._linger(now)
        elif heard:
            self._cut(now)
        else:
            self._linger(now)

    def _read_timed_out(self, reason: str, events: list[Event], now: float) -> None:
        if reason is FOR_HEAD:
            self._refuse(MessageFault(408, "the head was not complete within head_timeout"), events, now)
        elif reason is FOR_BODY and self._active:
            self._refuse(
                MessageFault(408, "the body came slower than body_idle_timeout or min_body_rate allow"), events, now
            )
        elif reason is FOR_TUNNEL:
            self._fail(Error(ErrorType.READ_TIMEDOUT, "nothing passed the tunnel for read_timeout"), events)
            self._cut(now)
        elif reason is FOR_BODY:
            self._linger(now)
        else:
            self._say_closed(None, events)
            self._close(now)

    def drain(self, now: float) -> None:
        """See :meth:`Connection.drain`: the exchange under way is the last, and its answer says so.

        Where the answer's head has gone already, the next one is: a client that was not told may have sent it.
        """
        if self._draining or self.closing:
            return
        self._draining = True
        if self.sending is HEAD:
            self.keep = False
        elif self._read_reason in (FOR_FIRST_BYTE, FOR_KEEPALIVE):
            self._read_deadline = min(self._read_deadline, now + self._drain_patience)
            self._arm()
        self._touch()

    @property
    def _drain_patience(self) -> float:
        """For a client between two requests, whose next one may be on its way."""
        patience = _DRAIN_PATIENCE if self.endpoint is None else self.endpoint.lane.drain_patience
        return min(patience, self.limits.keepalive_timeout)

    def open_stream(self, now: float) -> int | None:
        """A server opens none."""
        return None


def _without(head: ResponseHeader, names: Iterable[bytes]) -> ResponseHeader:
    """A copy of *head* that lacks the fields *names*."""
    head = head.clone()
    for name in names:
        head.fields.remove(name)
    return head
