"""The client's side of an HTTP/2 connection."""

from __future__ import annotations

import math

from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError, RetryType
from sansio_pingora.http2.channel import Timer
from sansio_pingora.http2.codes import ConnectionFault, ErrorCode, StreamFault, code_name
from sansio_pingora.http2.connection import Http2Connection
from sansio_pingora.http2.frames import ACK, PREFACE, Setting
from sansio_pingora.http2.heads import Items, request_items, response_of, trailers_of
from sansio_pingora.http2.hpack import FieldBlock
from sansio_pingora.http2.outflow import MAX_WINDOW
from sansio_pingora.http2.states import HALF_CLOSED_LOCAL, OPEN, RESET_LOCAL, RESET_REMOTE
from sansio_pingora.http2.stream import Stream
from sansio_pingora.limits import Limits
from sansio_pingora.machine import ConnectionClosed, Event
from sansio_pingora.wire import (
    Failed,
    Header,
    MessageFault,
    RequestHeader,
    Trailer,
    UpgradedBody,
    content_length,
)

__all__ = ["Http2Client"]

_LAST_ID = 2**30
"""Streams beyond it are for another connection; RFC 9113 ends them at 2^31."""

_UNTIL_TOLD = 100
"""Streams until the origin's SETTINGS have come: RFC 9113 section 6.5.2 wants none to allow fewer."""


class Http2Client(Http2Connection):
    """Requests out, responses in, on many streams at once.

    *max_streams* at once, and no more than the origin allows. *read_timeout* and *write_timeout*: seconds, where a
    peer wants others than the limits say; so do *stream_window*, *connection_window* (bytes) and *ping_interval*.
    *first_window*: what a stream begins with, to be widened up to *stream_window* by who holds it; None: all of it.
    """

    __slots__ = (
        "_goaway_received",
        "_max_streams",
        "_max_window",
        "_next_id",
        "_parked",
        "_ping_interval",
        "_read_timeout",
        "_write_timeout",
    )

    source = ErrorSource.UPSTREAM
    peer_version = b"2"
    """What the origin speaks."""

    def __init__(
        self,
        now: float,
        limits: Limits,
        *,
        max_streams: int = 100,
        read_timeout: float | None = None,
        write_timeout: float | None = None,
        stream_window: int | None = None,
        connection_window: int | None = None,
        first_window: int | None = None,
        ping_interval: float | None = None,
    ) -> None:
        own = limits.h2_window if stream_window is None else stream_window
        window = limits.h2_connection_window if connection_window is None else connection_window
        self._max_window = own
        own = own if first_window is None else min(own, first_window)
        super().__init__(now, limits, stream_window=own, window=window)
        self.set_timeouts(read_timeout, write_timeout)
        self._by_key = {}
        self._next_id = 1
        self._max_streams = max_streams
        self.peer_max_streams = _UNTIL_TOLD
        self._goaway_received = False
        self._ping_interval = limits.h2_ping_interval if ping_interval is None else ping_interval
        self._parked: list[
            tuple[Stream, Items, frozenset[bytes]]
        ] = []  # extended CONNECTs that wait for the origin's SETTINGS
        self._put(PREFACE)
        self._announce(
            {
                Setting.ENABLE_PUSH: 0,
                Setting.INITIAL_WINDOW_SIZE: own,
                Setting.MAX_HEADER_LIST_SIZE: limits.max_head,
            },
            now,
        )
        self._heard_from(now)
        self._arm()

    def set_timeouts(self, read_timeout: float | None, write_timeout: float | None) -> None:
        """Change the time-outs of the streams to come; None takes the limits'."""
        self._read_timeout = self.limits.read_timeout if read_timeout is None else read_timeout
        self._write_timeout = self.limits.write_timeout if write_timeout is None else write_timeout

    # ── streams ──────────────────────────────────────────────────────────────────────

    @property
    def accepting(self) -> bool:
        """Streams may be opened on this connection, now or when others have ended."""
        return not (self._over or self._draining or self._goaway_received or self._next_id > _LAST_ID)

    @property
    def reusable(self) -> bool:
        """A stream could be opened now."""
        return self.accepting and len(self._by_key) < min(self._max_streams, self.peer_max_streams)

    def open_stream(self, now: float) -> int | None:
        """See :meth:`Connection.open_stream`."""
        if not self.reusable:
            return None
        self._last_key += 1
        # The wire's id is given with the head: ids must rise in the order in which heads go out.
        stream = self._by_key[self._last_key] = Stream(0, self._last_key, 0, 0, now)
        stream.window = self._own_window
        return self._last_key

    def widen(self, stream_id: int, window: int, now: float) -> int:
        """Let the origin send *window* bytes before what came is used up, no fewer than now, on a stream with a head.

        Returns the window that it has then, which is at most the *stream_window* of the connection.
        """
        stream = self._by_key.get(stream_id)
        if stream is None:
            return window
        more = min(window, self._max_window) - stream.window
        if more > 0:
            stream.window += more
            if stream.id and (stream.state is OPEN or stream.state is HALF_CLOSED_LOCAL):
                self._widen_by(stream, more)
                self._touch()
        return stream.window

    def _is_unused(self, stream_id: int) -> bool:
        return stream_id >= self._next_id or not stream_id & 1

    # ── sending requests ─────────────────────────────────────────────────────────────

    def _send_head(self, stream: Stream, head: object, end: bool, now: float) -> None:
        if not isinstance(head, RequestHeader):
            raise LocalProtocolError(f"a client sends a RequestHeader, not {head!r}")
        if stream.head_sent:
            self._refuse_send(stream, "a request head")
        try:
            items = request_items(head)
            declared = content_length(head.fields)
        except MessageFault as fault:
            raise LocalProtocolError(f"request head: {fault.reason}") from None
        tunnel = head.method == b"CONNECT"
        if (end or tunnel) and declared:
            raise LocalProtocolError("a head that ends the request declares a body")
        stream.head_sent = True
        stream.read_timeout = self._read_timeout
        stream.method = head.method
        stream.tunnel = tunnel
        stream.withheld = [] if tunnel else None
        stream.left_to_send = declared
        if head.protocol is not None and not self.connect_protocol:
            if self.connect_protocol is None:
                self._parked.append((stream, items, head.fields.never_indexed))
            else:
                self._no_connect_protocol(stream)
            return
        ends = (end or declared == 0) and not tunnel
        self._put_request(stream, items, ends, now, head.fields.never_indexed)
        if not stream.id:
            return
        if ends:
            stream.mute = not end
            self._local_end(stream, now)
        elif tunnel or b"expect" in head.fields.index:
            stream.expects = not tunnel
            self._came(stream, now)

    def _put_request(
        self, stream: Stream, items: Items, ends: bool, now: float, never_indexed: frozenset[bytes]
    ) -> None:
        if len(self._streams) >= self.peer_max_streams:  # its SETTINGS came after the stream was opened
            stream.heard = False
            refused = _refusal(ErrorCode.REFUSED_STREAM, "the origin allows no more streams")
            self._say_soon((stream.key, Failed(refused)))
            self._forget(stream, RESET_LOCAL)
            return
        stream.id = self._next_id
        self._next_id += 2
        stream.send_window = self._peer_window
        stream.recv_window = self._first_window()
        stream.began = now
        self._streams[stream.id] = stream
        self._budgets.streams += 1
        self._put_head(stream, items, ends, never_indexed)
        if stream.window > self._own_window:  # it was widened while it waited for the origin's SETTINGS
            self._widen_by(stream, stream.window - self._own_window)

    def _settings(self, flags: int, payload: bytes, now: float) -> None:
        if not self._peer_settings and not flags & ACK:
            self.peer_max_streams = MAX_WINDOW  # where they do not say otherwise
        super()._settings(flags, payload, now)
        parked, self._parked = self._parked, []
        for stream, items, never_indexed in parked:
            if stream.key not in self._by_key:
                continue
            if self.connect_protocol:
                self._put_request(stream, items, False, now, never_indexed)
                if stream.id:
                    self._came(stream, now)
            else:
                self._no_connect_protocol(stream)

    def _apply_flag(self, setting: int, value: int) -> None:
        if setting == Setting.ENABLE_PUSH and value:  # a server does not (RFC 9113 section 6.5.2)
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a server that enables push")
        super()._apply_flag(setting, value)

    def _no_connect_protocol(self, stream: Stream) -> None:
        error = Error(ErrorType.H2_ERROR, "the origin takes no extended CONNECT (RFC 8441)", esource=self.source)
        stream.heard = False
        self._say_soon((stream.key, Failed(error)))
        self._forget(stream, RESET_LOCAL)

    def _sent_message(self, stream: Stream, now: float) -> None:
        self._came(stream, now)  # from here on the origin owes us an answer

    # ── receiving responses ──────────────────────────────────────────────────────────

    def _head(self, stream_id: int, block: FieldBlock, end: bool, events: list[Event], now: float) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a head on stream {stream_id}, which is not open")
        self._judge_dependency(stream_id)
        limits = self.limits
        try:
            if block.truncated or len(block.items) > limits.max_fields + 1:
                raise MessageFault(502, f"a head of more than {limits.max_head} bytes or {limits.max_fields} fields")
            if stream.head_received:
                self._trailer(stream, block, end, events, now)
            else:
                self._response(stream, block, end, events, now)
        except MessageFault as fault:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, fault.reason) from None

    def _response(self, stream: Stream, block: FieldBlock, end: bool, events: list[Event], now: float) -> None:
        head, length = response_of(block.items, block.never_indexed)
        status = head.status
        if status < 200:
            stream.informational += 1
            stream.informational_size += block.size
            if end:
                raise MessageFault(502, "an informational response that ends its stream")
            limits = self.limits
            if (
                stream.informational > limits.max_informational
                or stream.informational_size > limits.max_informational_size
            ):
                raise MessageFault(502, "more informational responses than max_informational or its size allows")
            events.append((stream.key, Header(head, False)))
            if status == 100:
                stream.expects = False
            if stream.state is OPEN and not stream.tunnel and not stream.expects:
                stream.read_deadline = math.inf  # the body is ours to send now
                self._clock(stream)
            else:
                self._came(stream, now)
            return
        stream.head_received = True
        stream.expects = False
        if stream.tunnel and status < 300:
            head.fields.remove(b"content-length")  # a client must ignore it (RFC 9110 section 9.3.6)
            stream.withheld = None
            events.append((stream.key, Header(head, False)))
            if end:
                events.append((stream.key, UpgradedBody(b"", True)))
        else:
            if stream.tunnel:  # refused: nothing will be sent on it any more
                stream.tunnel = False
                self._send_data(stream, b"", True, now)
            stream.left = 0 if stream.method == b"HEAD" or status in (204, 304) else length
            if end and stream.left:
                raise MessageFault(502, f"no body where Content-Length declares {length} bytes")
            events.append((stream.key, Header(head, end)))
        if end:
            self._remote_end(stream, events, now)
        else:
            self._came(stream, now)

    def _trailer(self, stream: Stream, block: FieldBlock, end: bool, events: list[Event], now: float) -> None:
        limits = self.limits
        if not end or stream.tunnel:
            raise MessageFault(502, "a second head that is no trailer section")
        if stream.left:
            raise MessageFault(502, "a body shorter than its Content-Length")
        if block.size > limits.max_trailers + 32 * len(block.items):
            raise MessageFault(502, f"trailers of more than {limits.max_trailers} bytes")
        fields = trailers_of(block.items, limits.max_trailer_fields, block.never_indexed)
        if stream.heard:
            events.append((stream.key, Trailer(fields)))
        self._remote_end(stream, events, now)

    def _data(self, flags: int, stream_id: int, payload: bytes, events: list[Event], now: float) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.head_received:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"DATA before the head on stream {stream_id}")
        super()._data(flags, stream_id, payload, events, now)

    def _remote_end(self, stream: Stream, events: list[Event], now: float) -> None:
        if not stream.tunnel:
            stream.heard = False  # nothing follows the end of an answer
        super()._remote_end(stream, events, now)

    def _came(self, stream: Stream, now: float) -> None:
        owes = stream.state is OPEN or stream.state is HALF_CLOSED_LOCAL
        stream.read_deadline = now + stream.read_timeout if owes and stream.heard else math.inf
        self._clock(stream)

    def invite_body(self, stream_id: int, now: float) -> None:
        """A client does not invite."""

    def hold(self, stream_id: int, now: float) -> None:
        """The window of the stream holds the origin back already."""

    # ── what the origin gives up ─────────────────────────────────────────────────────

    def _peer_reset(self, stream: Stream, code: int, events: list[Event], now: float) -> None:
        self._tell(stream, _refusal(code, f"the origin reset stream {stream.id}: {code_name(code)}"), events)

    def _peer_leaves(self, last: int, code: int, events: list[Event], now: float) -> None:
        self._goaway_received = True
        text = f"the origin takes no more streams: {code_name(code)}"
        for stream in list(self._by_key.values()):
            if not stream.id or stream.id > last:
                error = _refusal(ErrorCode.REFUSED_STREAM, text)
                if code == ErrorCode.HTTP_1_1_REQUIRED:
                    error = _refusal(code, text)
                self._tell(stream, error, events)
                self._forget(stream, RESET_REMOTE)
        self._stream_closed(now)

    def _stream_closed(self, now: float) -> None:
        if not self._by_key and not self._over and (self._goaway_received or self._draining):
            self._say_goodbye(ErrorCode.NO_ERROR)
            self._linger(now)
            if not self._closed_said:
                self._closed_said = True
                self._say_soon((0, ConnectionClosed(None)))

    def _as_stream_error(self, stream: Stream, error: Error) -> Error:
        copy = super()._as_stream_error(stream, error)
        if not stream.id:
            copy.retry_type, copy.unprocessed = RetryType.YES, True
        elif not stream.head_received and error.etype in (ErrorType.CONNECTION_CLOSED, ErrorType.READ_ERROR):
            # Nothing of an answer has come: on a shared connection the origin may never have seen the request.
            copy.retry_type = RetryType.REUSED_ONLY
        return copy

    # ── time and ends ────────────────────────────────────────────────────────────────

    def _heard_from(self, now: float) -> None:
        if self._ping_interval is not None and not self._over:
            self._set(Timer.PING_DUE, now + self._ping_interval)

    def _write_allowance(self) -> float:
        return self._write_timeout

    def _stall_allowance(self) -> float:
        return self._write_timeout

    def _read_timed_out(self, stream: Stream, events: list[Event], now: float) -> None:
        self._draining = True  # an origin that is silent on one stream may be so on all: no more are opened
        error = Error(ErrorType.READ_TIMEDOUT, f"the origin sent nothing for {stream.read_timeout:g} s")
        self._give_up(stream, error, ErrorCode.CANCEL, events, now)

    def drain(self, now: float) -> None:
        """See :meth:`Connection.drain`."""
        self._draining = True
        self._stream_closed(now)
        self._touch()

    def receive_eof(self, now: float) -> list[Event]:
        """See :meth:`Connection.receive_eof`."""
        self._now = now
        events = self._said_soon()
        self._peer_ended = True
        error = Error(ErrorType.CONNECTION_CLOSED, "the origin closed the connection")
        self._fail_all(error, events, RESET_REMOTE)
        self._say_closed(None, events)
        self._close(now)
        return events


def _refusal(code: int, text: str) -> Error:
    """What an origin that gives a request up means by *code*."""
    if code == ErrorCode.REFUSED_STREAM:  # RFC 9113 section 8.7
        return Error(ErrorType.H2_ERROR, text, retry=RetryType.YES, unprocessed=True)
    if code == ErrorCode.HTTP_1_1_REQUIRED:
        return Error(ErrorType.H2_DOWNGRADE, text, retry=RetryType.YES, unprocessed=True)
    return Error(ErrorType.H2_ERROR, text)
