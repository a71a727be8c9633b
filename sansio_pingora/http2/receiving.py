"""Frames as they come in: taking them apart, heads and bodies of messages, and the two kinds of faults.

The roles say what a head means (``server``, ``client``).
"""

from __future__ import annotations

import math

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.http2.channel import Timer
from sansio_pingora.http2.codes import ConnectionFault, ErrorCode, StreamFault, code_name
from sansio_pingora.http2.control import STREAM_MASK, Control
from sansio_pingora.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    GOAWAY,
    HEADER_SIZE,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PRIORITY_FLAG,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    UINT32,
    WINDOW_UPDATE,
    rst_stream,
    without_padding,
)
from sansio_pingora.http2.hpack import FieldBlock, HpackFault
from sansio_pingora.http2.states import CLOSED, HALF_CLOSED_LOCAL, OPEN, REMOTE_END, RESET_LOCAL
from sansio_pingora.http2.stream import Stream
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Event
from sansio_pingora.wire import Body, Done, UpgradedBody, join_task

__all__ = ["Receiving"]

_OWN_FRAME = 16_384

# Frames that belong to a stream, and those that belong to the connection: the other kind of id is a fault.
_OF_STREAMS = frozenset({DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION})
_OF_CONNECTION = frozenset({SETTINGS, PING, GOAWAY, PRIORITY_UPDATE})
_SIZES = {RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}


class Receiving(Control):
    """A connection that reads frames."""

    __slots__ = (
        "_awaits_preface",
        "_block",
        "_block_flags",
        "_block_size",
        "_block_stream",
        "_buffer",
        "_continuations",
        "_need",
        "_selfish",
    )

    def __init__(self, now: float, limits: Limits, *, stream_window: int, window: int) -> None:
        super().__init__(now, limits, stream_window=stream_window, window=window)
        self._awaits_preface = False
        self._buffer = bytearray()  # the beginning of a frame
        self._need = HEADER_SIZE  # bytes that the frame in _buffer has at least
        self._block: list[bytes] | None = None  # the pieces of a head that is not complete
        self._block_stream = self._block_flags = self._block_size = self._continuations = 0
        self._selfish = False  # the head being read makes its stream depend on itself

    # ── bytes ────────────────────────────────────────────────────────────────────────

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """See :meth:`Connection.receive_data`."""
        if not data:
            return self.receive_eof(now)
        self._now = now
        events = self._said_soon()
        if self._over:
            self._discard(len(data), now)
            return events
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._need:
                return events
            data = bytes(buffer)
            buffer.clear()
        try:
            self._read(data, events, now)
        except ConnectionFault as fault:
            self._break_connection(fault, events, now)
        if self._waiting and not self._paused:
            self._wake_senders(events)  # what another stream gave up may be theirs
        self._heard_from(now)
        return events

    def _read(self, data: bytes, events: list[Event], now: float) -> None:
        at, size = 0, len(data)
        if self._awaits_preface:
            at = self._read_preface(data, events, now)
            if at < 0:
                return
        while size - at >= HEADER_SIZE:
            high, low, kind, flags, stream_id = FRAME_HEADER.unpack_from(data, at)
            length = high << 8 | low
            if length > _OWN_FRAME:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = at + HEADER_SIZE
            stop = start + length
            if stop > size:
                self._need = HEADER_SIZE + length
                break
            at = stop
            stream_id &= STREAM_MASK
            try:
                self._frame(kind, flags, stream_id, data[start:stop], events, now)
            except StreamFault as fault:
                self._break_stream(fault, events, now)
            if self._over:
                self._discard(size - at, now)
                return
        else:
            self._need = HEADER_SIZE
        if at < size:
            self._buffer += data[at:]

    def _read_preface(self, data: bytes, events: list[Event], now: float) -> int:
        """Where frames begin in *data*; below 0: it is not there yet, or never will be."""
        raise NotImplementedError

    def _heard_from(self, now: float) -> None:
        """Something came from the peer."""

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes, events: list[Event], now: float) -> None:
        if self._block is not None and not (kind == CONTINUATION and stream_id == self._block_stream):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame amid the frames of a head")
        if not self._peer_settings and (kind != SETTINGS or flags & ACK):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if kind == HEADERS and stream_id:
            self._headers(flags, stream_id, payload, events, now)
        elif kind == DATA and stream_id:
            self._data(flags, stream_id, payload, events, now)
        else:
            self._other_frame(kind, flags, stream_id, payload, events, now)

    def _other_frame(
        self, kind: int, flags: int, stream_id: int, payload: bytes, events: list[Event], now: float
    ) -> None:
        if (not stream_id and kind in _OF_STREAMS) or (stream_id and kind in _OF_CONNECTION):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"frame type {kind} on stream {stream_id}")
        if len(payload) != _SIZES.get(kind, len(payload)):
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"frame type {kind} of {len(payload)} bytes")
        if kind == WINDOW_UPDATE:
            self._window_update(stream_id, payload)
        elif kind == RST_STREAM:
            self._rst_stream(stream_id, payload, events, now)
        elif kind == SETTINGS:
            self._settings(flags, payload, now)
        elif kind == PING:
            self._ping(flags, payload, now)
        elif kind == CONTINUATION:
            self._continuation(flags, payload, events, now)
        elif kind == PRIORITY:
            self._priority(stream_id, payload)
        elif kind == PRIORITY_UPDATE:
            self._priority_update(payload)
        elif kind == GOAWAY:
            self._goaway(payload, events, now)
        elif kind == PUSH_PROMISE:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE, which is disabled")
        else:
            self._budgets.unknown()  # RFC 9113 section 5.5: ignored

    # ── heads ────────────────────────────────────────────────────────────────────────

    def _headers(self, flags: int, stream_id: int, payload: bytes, events: list[Event], now: float) -> None:
        if flags & PADDED:
            payload = without_padding(payload)
        self._selfish = False
        if flags & PRIORITY_FLAG:
            if len(payload) < 5:  # by their length, or because padding has eaten it (RFC 9113 section 6.2)
                code = ErrorCode.PROTOCOL_ERROR if flags & PADDED else ErrorCode.FRAME_SIZE_ERROR
                raise ConnectionFault(code, "HEADERS too short for their priority")
            self._selfish = UINT32.unpack_from(payload)[0] & STREAM_MASK == stream_id
            payload = payload[5:]
        if flags & END_HEADERS:
            self._head_complete(flags, stream_id, payload, events, now)
        else:
            self._block = [payload]
            self._block_stream = stream_id
            self._block_flags = flags
            self._block_size = len(payload)
            self._continuations = 0
            self._set(Timer.HEAD, now + self.limits.head_timeout)

    def _continuation(self, flags: int, payload: bytes, events: list[Event], now: float) -> None:
        block = self._block
        if block is None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without a head")
        if not payload and not flags & END_HEADERS:
            self._budgets.empty()
        self._continuations += 1
        self._block_size += len(payload)
        limits = self.limits
        if self._continuations > limits.h2_max_continuations or self._block_size > 4 * limits.max_head:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a head of too many frames or bytes")
        block.append(payload)
        if flags & END_HEADERS:
            self._block = None
            self._set(Timer.HEAD, math.inf)
            self._head_complete(self._block_flags, self._block_stream, b"".join(block), events, now)

    def _head_complete(self, flags: int, stream_id: int, raw: bytes, events: list[Event], now: float) -> None:
        try:
            # Whatever becomes of it: the compression state is shared by all heads.
            block = self._decoder.decode(raw, self.limits.max_head)
        except HpackFault as exc:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(exc)) from None
        if not raw and not flags & END_STREAM:
            self._budgets.empty()
        if self._judged(stream_id, HEADERS):
            self._head(stream_id, block, bool(flags & END_STREAM), events, now)

    def _head(self, stream_id: int, block: FieldBlock, end: bool, events: list[Event], now: float) -> None:
        raise NotImplementedError

    def _judge_dependency(self, stream_id: int) -> None:
        """See that the head just read does not make its stream depend on itself (as RFC 7540 section 5.3.1 had it)."""
        if self._selfish:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")

    # ── bodies ───────────────────────────────────────────────────────────────────────

    def _data(self, flags: int, stream_id: int, payload: bytes, events: list[Event], now: float) -> None:
        size = len(payload)
        self._recv_window -= size
        if self._recv_window < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window allows")
        stream = self._streams.get(stream_id)
        if stream is None or (stream.state is not OPEN and stream.state is not HALF_CLOSED_LOCAL):
            self._return_credit(size)
            if not size and not flags & END_STREAM:
                self._budgets.empty()  # what must be ignored is not free either
            self._judged(stream_id, DATA)
            return
        end = bool(flags & END_STREAM)
        stream.recv_window -= size
        if flags & PADDED:
            payload = without_padding(payload)
        length = len(payload)
        stream.unconsumed += size
        if size != length:
            self._credit(stream, size - length, now)
        if stream.recv_window < 0:
            raise StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the stream's window allows")
        if length:
            self._budgets.content()
        elif not end:
            self._budgets.empty()
            return
        left = stream.left
        if left is not None:
            stream.left = left = left - length
            if left < 0 or (end and left):
                raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "DATA of another length than Content-Length")
        stream.received += length
        self._body(stream, payload, end, events, now)

    def _body(self, stream: Stream, data: bytes, end: bool, events: list[Event], now: float) -> None:
        """Pass *data* on."""
        if stream.tunnel:
            if stream.withheld is not None:  # the tunnel is not accepted yet
                join_task(stream.withheld, UpgradedBody(data, end))
            else:
                events.append((stream.key, UpgradedBody(data, end)))
        elif not stream.heard:
            self._unheard(stream, len(data), events, now)
            if stream.id not in self._streams:
                return
        elif data:
            events.append((stream.key, Body(data, end)))
        else:
            events.append((stream.key, Done()))
        if end:
            self._remote_end(stream, events, now)
        else:
            self._came(stream, now)

    def _read_rest(self, stream: Stream, now: float) -> None:
        """Nobody listens any more to what comes on *stream*: see :meth:`_unheard`."""
        stream.linger_left = self.limits.linger_bytes
        if stream.unconsumed:
            self._credit(stream, stream.unconsumed, now)

    def _unheard(self, stream: Stream, size: int, events: list[Event], now: float) -> None:
        """*size* bytes that nobody listens to: a little is read on, so that the peer need not be cut off."""
        stream.linger_left -= size
        if stream.linger_left >= 0:
            self._credit(stream, size, now)
        elif not stream.refused:  # then its answer is still to come, and what is left of its window holds it back
            self._reset(stream, ErrorCode.NO_ERROR)
            self._stream_closed(now)

    def _remote_end(self, stream: Stream, events: list[Event], now: float) -> None:
        """The peer has ended its side of *stream*."""
        stream.state = REMOTE_END[stream.state]
        stream.read_deadline = math.inf
        if stream.state is CLOSED:
            self._forget(stream, CLOSED)
            self._stream_closed(now)
        else:
            self._clock(stream)

    def consumed(self, stream_id: int, size: int, now: float) -> None:
        """See :meth:`Connection.consumed`."""
        stream = self._by_key.get(stream_id)
        if stream is None or (size > stream.unconsumed and not stream.heard):
            return  # the credit of what nobody was to read any more was returned already
        self._now = now
        self._credit(stream, size, now)
        if self._out:
            self._touch()

    def _credit(self, stream: Stream, size: int, now: float) -> None:
        raise NotImplementedError

    # ── faults ───────────────────────────────────────────────────────────────────────

    def _break_stream(self, fault: StreamFault, events: list[Event], now: float) -> None:
        """The peer broke the rules on one stream."""
        if self._is_unused(fault.stream_id):
            raise ConnectionFault(fault.code, fault.reason)  # no idle stream is reset (RFC 9113 section 6.4)
        stream = self._streams.get(fault.stream_id)
        if stream is not None:
            self._tell(stream, self._fault_error(fault), events)
            self._forget(stream, RESET_LOCAL)
        elif self._closed.get(fault.stream_id) == RESET_LOCAL:
            self._budgets.reset(now)
            return  # it was reset already
        else:
            self._remember(fault.stream_id, RESET_LOCAL)
        self._answer_control(rst_stream(fault.stream_id, fault.code))
        self._stream_closed(now)
        self._budgets.reset(now)  # whoever provokes resets pays for them (CVE-2025-8671)

    def _fault_error(self, fault: StreamFault | ConnectionFault) -> Error:
        name = code_name(fault.code)
        return Error(ErrorType.INVALID_H2, f"{name}: {fault.reason}", esource=self.source, name=name)

    def _break_connection(self, fault: ConnectionFault, events: list[Event], now: float) -> None:
        """The peer broke the rules of the connection (RFC 9113 section 5.4.1)."""
        error = self._fault_error(fault)
        self._fail_all(error, events, RESET_LOCAL)
        self._say_goodbye(fault.code, fault.reason)
        self._say_closed(error, events)
        self._linger(now)

    def receive_eof(self, now: float) -> list[Event]:
        """See :meth:`Connection.receive_eof`."""
        raise NotImplementedError
