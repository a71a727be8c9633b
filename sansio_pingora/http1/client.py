"""The client's side of an HTTP/1 connection."""

from __future__ import annotations

import math

from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError, RetryType
from sansio_pingora.http1.channel import FOR_TUNNEL, HAS_MORE
from sansio_pingora.http1.codec import Codec, NativeCodec
from sansio_pingora.http1.connection import Http1Connection
from sansio_pingora.http1.keepalive import may_persist
from sansio_pingora.http1.states import (
    BEGIN,
    BODY,
    CLOSED,
    COMPLETE,
    END,
    HEAD,
    HEAD_ONLY,
    HEAD_THEN_BODY,
    IDLE,
    INFORMATIONAL,
    MOVES,
    NEXT,
    RAW,
    SWITCH,
)
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, READ_SIZE, Closing, Event
from sansio_pingora.wire import (
    CHUNKED,
    UNTIL_CLOSE,
    Done,
    Header,
    MessageFault,
    RequestHeader,
    request_framing,
)

__all__ = ["Http1Client"]

_LEAST_READ = 1_024
_METHODS_WITH_CONTENT = frozenset({b"POST", b"PUT", b"PATCH"})


class Http1Client(Http1Connection):
    """Requests out, responses in, one exchange at a time.

    ``read_timeout`` and ``write_timeout``: seconds, where a peer wants others than the limits say.
    """

    __slots__ = (
        "_answered",
        "_informational",
        "_informational_size",
        "_method",
        "_offered",
        "_read_timeout",
        "_write_timeout",
        "peer_version",
    )

    source = ErrorSource.UPSTREAM

    def __init__(
        self,
        limits: Limits,
        *,
        codec: Codec | None = None,
        read_timeout: float | None = None,
        write_timeout: float | None = None,
    ) -> None:
        super().__init__(codec or NativeCodec(limits, server=False), limits)
        self.set_timeouts(read_timeout, write_timeout)
        self._method = b""
        self._offered: list[bytes] = []  # protocols to upgrade to
        self._informational = self._informational_size = 0
        self._answered = False  # the answer is complete, though the request is not
        self.peer_version = b"1.1"
        """What the origin answered with last."""

    def set_timeouts(self, read_timeout: float | None, write_timeout: float | None) -> None:
        """Change the time-outs, for an exchange with other ones than the last; None takes the limits'."""
        self._read_timeout = self.limits.read_timeout if read_timeout is None else read_timeout
        self._write_timeout = self.limits.write_timeout if write_timeout is None else write_timeout

    @property
    def timeouts(self) -> tuple[float, float]:
        """The read and the write time-out in force."""
        return self._read_timeout, self._write_timeout

    @property
    def reusable(self) -> bool:
        """Another exchange may begin: the last one is complete both ways, and not a byte is left over."""
        return (
            self.receiving is IDLE
            and (self.sending is IDLE or self.sending is HEAD)
            and self.keep
            and not self._draining
            and not self.closing
            and not self._codec.buffered
        )

    def open_stream(self, now: float) -> int | None:
        """See :meth:`Connection.open_stream`. A stream on which nothing was sent may be opened again."""
        if not self.reusable:
            return None
        self.stream += 1
        self._active = True
        self._answered = False
        self.sending = HEAD
        return self.stream

    # ── sending requests ─────────────────────────────────────────────────────────────

    def _send_head(self, head: object, end: bool, now: float) -> None:
        if not isinstance(head, RequestHeader):
            raise LocalProtocolError(f"a client sends a RequestHeader, not {head!r}")
        if self.sending is not HEAD:
            self._refuse_send("a request head")
        fields = head.fields
        if len(fields.get_all(b"host")) != 1:
            raise LocalProtocolError("a request needs exactly one Host field")
        try:
            framing = request_framing(head)
        except MessageFault as fault:
            raise LocalProtocolError(f"request head: {fault.reason}") from None
        extra = b""
        if end or head.method == b"CONNECT":
            if framing:
                raise LocalProtocolError("a head that ends the request declares a body")
            if head.method in _METHODS_WITH_CONTENT and b"content-length" not in fields.index:
                extra = b"Content-Length: 0\r\n"  # RFC 9110 section 8.6
        elif framing == 0 and b"content-length" not in fields.index:
            framing, extra = CHUNKED, b"Transfer-Encoding: chunked\r\n"
        if b"connection" in fields.index and b"close" in fields.tokens(b"connection"):
            self.keep = False
        self._method = head.method
        self._offered = fields.tokens(b"upgrade") if b"upgrade" in fields.index else []
        self._informational = self._informational_size = 0
        self._put(self._codec.write_request(head, extra, framing))
        self._left_to_send = framing
        self.sending = MOVES[self.sending, HEAD_ONLY if framing == 0 else HEAD_THEN_BODY]
        if framing == 0:
            self._sent_message(now)
        elif b"expect" in fields.index:
            self._expects = True
            self._start_clock(now)
            self._arm()

    def _sent_message(self, now: float) -> None:
        self._expects = False
        self._sent = self.stream
        if self.receiving is COMPLETE:
            self._active = False
            self._end_exchange(now)
        elif self.receiving is RAW or self.receiving is CLOSED:  # it switched before this message was complete
            self.sending = MOVES[self.sending, SWITCH]
        elif self.want_read:
            self._start_clock(now)  # from here on the origin owes us an answer
            self._arm()

    # ── receiving responses ──────────────────────────────────────────────────────────

    def _read_head(self, events: list[Event], now: float) -> bool:
        if not self._active or self.sending is HEAD:
            if self._codec.buffered:
                # Whatever it is, the next answer must not be read behind it (response-queue poisoning).
                error = Error(ErrorType.H1_ERROR, "the origin spoke without being asked", esource=self.source)
                self._fail(error, events)
                self._say_closed(error, events)
                self.abort(now)
            return False
        read = self._codec.read_response(self._method)
        if read is None:
            if self._codec.buffered:
                self.receiving = MOVES[self.receiving, BEGIN]
                self._start_clock(now)
            return False
        head, framing = read
        status = head.status
        self.peer_version = head.version
        if status < 200 and status != 101:
            self._informational += 1
            self._informational_size += len(head.to_bytes())
            if (
                self._informational > self.limits.max_informational
                or self._informational_size > self.limits.max_informational_size
            ):
                raise MessageFault(502, "more informational responses than max_informational or its size allows")
            self.receiving = MOVES[self.receiving, INFORMATIONAL]
            if status == 100:
                self._expects = False
            if self.sending is BODY and not self._expects:
                self._stop_clock(now)  # the body is ours to send now
            else:
                self._start_clock(now)
            events.append((self.stream, Header(head, False)))
            return True
        self._expects = False
        if status == 101 or (self._method == b"CONNECT" and status < 300):
            if status == 101 and (
                head.version != b"1.1" or not set(head.fields.tokens(b"upgrade")) & set(self._offered)
            ):
                raise MessageFault(502, "101 to a protocol that was not offered")
            # A server must not send them here and a client must ignore them (RFC 9110 section 9.3.6).
            head.fields.remove(b"content-length")
            head.fields.remove(b"transfer-encoding")
            events.append((self.stream, Header(head, False)))
            self._switch(events, now)
            return False
        self.keep = self.keep and framing != UNTIL_CLOSE and may_persist(head)
        self._read_framing = framing
        self._received = self._unconsumed = 0
        self._read_deadline = math.inf
        events.append((self.stream, Header(head, framing == 0)))
        if framing == 0:
            self.receiving = MOVES[self.receiving, HEAD_ONLY]
            self._received_message(events, now)
            return self._codec.buffered > 0
        self.receiving = MOVES[self.receiving, HEAD_THEN_BODY]
        self._codec.start_body(framing)
        return True

    def _switch(self, events: list[Event], now: float) -> None:
        self.receiving = MOVES[MOVES[self.receiving, BEGIN], SWITCH]
        if self.sending is COMPLETE:
            self.sending = MOVES[self.sending, SWITCH]
        self.keep = False
        self._unconsumed = 0
        self._start_clock(now)
        self._arm()
        self._raw_received(self._codec.take_rest(), events, now)

    def _received_message(self, events: list[Event], now: float) -> None:
        if self.sending is COMPLETE:
            self._active = False
            self._end_exchange(now)
        else:
            self._answered = True
            self.want_read = True  # to see the origin go away

    def _end_exchange(self, now: float) -> None:
        if self.keep and not self._draining:
            self._codec.next_message()
            self.receiving = MOVES[self.receiving, NEXT]
            self.sending = MOVES[self.sending, NEXT]
            self.want_read = True
            self._read_deadline = math.inf  # how long it may idle is the pool's to say
            if self._codec.buffered:
                self._watch(HAS_MORE, AT_ONCE)  # nobody asked for it
            self._arm()
        else:
            self._close(now)

    # ── clocks ───────────────────────────────────────────────────────────────────────

    def _start_clock(self, now: float) -> None:
        self._watch(FOR_TUNNEL, now + self._read_timeout)

    def _write_allowance(self) -> float:
        return self._write_timeout

    def _read_timed_out(self, reason: str, events: list[Event], now: float) -> None:
        self._fail(
            Error(ErrorType.READ_TIMEDOUT, f"the origin sent nothing for {self._read_timeout:g} s ({reason})"), events
        )
        self._close(now, Closing.ABORT)

    # ── ends ─────────────────────────────────────────────────────────────────────────

    def _fail(self, error: Error, events: list[Event]) -> None:
        if self._answered:
            self._active = False  # nothing follows the end of an answer
        elif self._active and error.etype not in (ErrorType.READ_TIMEDOUT, ErrorType.WRITE_TIMEDOUT):
            # Nothing of an answer has come: on a connection from the pool the origin may never have seen the request.
            untouched = self.receiving is IDLE and not self._codec.buffered
            error.retry_type = RetryType.REUSED_ONLY if untouched else RetryType.NO
        super()._fail(error, events)

    @property
    def close_delimited(self) -> bool:
        """What is being received lasts until the transport ends: a body without a length, or a tunnel."""
        receiving = self.receiving
        return receiving is RAW or (receiving is BODY and self._active and self._read_framing == UNTIL_CLOSE)

    def receive_eof(self, now: float) -> list[Event]:
        """See :meth:`Connection.receive_eof`."""
        events: list[Event] = []
        receiving = self.receiving
        self._peer_ended = True
        self._codec.receive_eof()
        if receiving is RAW:
            self._raw_eof(events, now)
        if receiving is RAW or (receiving is CLOSED and self._active and not self.closing):
            return events  # of a tunnel this direction alone has ended
        if receiving is BODY and self.close_delimited:
            events.append((self.stream, Done()))
            self.receiving = MOVES[receiving, END]
            self._active = False
        where = "amid its answer" if receiving in (BODY, HEAD) else "before it answered"
        self._fail(Error(ErrorType.CONNECTION_CLOSED, f"the origin closed the connection {where}"), events)
        self._say_closed(None, events)
        self._close(now)
        return events

    def _refuse(self, fault: MessageFault, events: list[Event], now: float) -> None:
        self._fail(
            Error(ErrorType.INVALID_HTTP_HEADER, f"the origin's answer breaks the rules: {fault.reason}"), events
        )
        self.abort(now)

    def invite_body(self, stream_id: int, now: float) -> None:
        """A client does not invite."""

    def hold(self, stream_id: int, now: float) -> None:
        """Read no more of this answer until credit is returned, be it for 0 bytes: there is no room for it."""
        if stream_id == self.stream and self.receiving is BODY:
            self.want_read = False
            self._stop_clock(now)
            self._arm()

    def widen(self, stream_id: int, window: int, now: float) -> int:
        """Read on until *window* bytes of this answer, or of the next one, are not used up, and no more at once.

        Returns what it comes to, which is at most ``high_water``.
        """
        if stream_id != self.stream:
            return window
        window = self._window = min(window, self.limits.high_water)
        if self.endpoint is not None:
            full = window == self.limits.high_water  # then large readings are worth more than what they hold
            self.endpoint.read_size = READ_SIZE if full else max(_LEAST_READ, window)
        return window

    def drain(self, now: float) -> None:
        """See :meth:`Connection.drain`."""
        self._draining = True
        if not self._active and self.receiving is IDLE and not self.closing:
            self._close(now)
        self._touch()
