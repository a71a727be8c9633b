"""Frames as they come in: taking them apart, judging them by the state of their stream, and what they mean.

The roles say what a head means (``server``, ``client``).
"""

from __future__ import annotations

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.http2.budgets import Budgets
from sansio_pingora.http2.channel import Channel, Timer
from sansio_pingora.http2.codes import ConnectionFault, ErrorCode, StreamFault, code_name
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
    Setting,
    parse_settings,
    ping,
    rst_stream,
    settings,
    window_update,
    without_padding,
)
from sansio_pingora.http2.hpack import Decoder, Encoder, FieldBlock, HpackFault
from sansio_pingora.http2.outflow import MAX_WINDOW
from sansio_pingora.http2.priority import parse_priority
from sansio_pingora.http2.states import (
    CLOSED,
    HALF_CLOSED_LOCAL,
    IDLE,
    OPEN,
    RECEIVED,
    REMOTE_END,
    RESET_LOCAL,
    RESET_REMOTE,
    State,
    Verdict,
)
from sansio_pingora.http2.stream import Stream
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Event
from sansio_pingora.wire import Body, Done, UpgradedBody

__all__ = ["ALIVE_PING", "DRAIN_PING", "Receiving"]

_DEFAULT_WINDOW = 65_535
_DEFAULT_FRAME = 16_384
_OWN_FRAME = 16_384
_TABLE = 4_096
_STREAM_MASK = 0x7FFFFFFF
DRAIN_PING = b"draining"
ALIVE_PING = b"areyouup"

# Frames that belong to a stream, and those that belong to the connection: the other kind of id is a fault.
_OF_STREAMS = frozenset({DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION})
_OF_CONNECTION = frozenset({SETTINGS, PING, GOAWAY, PRIORITY_UPDATE})
_SIZES = {RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}


class Receiving(Channel):
    """A connection that reads frames."""

    __slots__ = (
        "_awaits_preface",
        "_block",
        "_block_flags",
        "_block_size",
        "_block_stream",
        "_budgets",
        "_buffer",
        "_continuations",
        "_decoder",
        "_encoder",
        "_need",
        "_own_window",
        "_peer_frame",
        "_peer_settings",
        "_peer_window",
        "_selfish",
        "_settings_acked",
        "connect_protocol",
        "peer_max_streams",
    )

    def __init__(self, now: float, limits: Limits, *, stream_window: int, window: int) -> None:
        super().__init__(now, limits, window)
        self._awaits_preface = False
        self._budgets = Budgets(limits)
        self._decoder = Decoder(_TABLE)
        self._encoder = Encoder(_TABLE)
        self._buffer = bytearray()  # the beginning of a frame
        self._need = HEADER_SIZE  # bytes that the frame in _buffer has at least
        self._block: list[bytes] | None = None  # the pieces of a head that is not complete
        self._block_stream = self._block_flags = self._block_size = self._continuations = 0
        self._selfish = False  # the head being read makes its stream depend on itself
        self._own_window = stream_window
        self._settings_acked = False
        self._peer_settings = False  # its first SETTINGS have come
        self._peer_window = _DEFAULT_WINDOW
        self._peer_frame = _DEFAULT_FRAME
        self.peer_max_streams = MAX_WINDOW
        """How many streams the peer allows at once."""
        self.connect_protocol: bool | None = None
        """The peer takes an extended CONNECT (RFC 8441); None until its SETTINGS have come."""

    def _announce(self, values: dict[int, int], now: float) -> None:
        """Send our SETTINGS, and open the connection's window as far as we mean it to be."""
        self._put(settings(values))
        if self._window > _DEFAULT_WINDOW:
            self._put(window_update(0, self._window - _DEFAULT_WINDOW))
        self._timers[Timer.SETTINGS] = now + self.limits.h2_settings_timeout

    # ── bytes ────────────────────────────────────────────────────────────────────────

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """See :meth:`Connection.receive_data`."""
        if not data:
            return self.receive_eof(now)
        self._now = now
        events: list[Event] = []
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
            stream_id &= _STREAM_MASK
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

    # ── states ───────────────────────────────────────────────────────────────────────

    def _state(self, stream_id: int) -> State:
        stream = self._streams.get(stream_id)
        if stream is not None:
            return stream.state
        closed = self._closed.get(stream_id)
        if closed is not None:
            return State(closed)
        return IDLE if self._is_unused(stream_id) else CLOSED

    def _is_unused(self, stream_id: int) -> bool:
        raise NotImplementedError

    def _judged(self, stream_id: int, kind: int) -> bool:
        """Whether a frame of *kind* on *stream_id* is to be taken; False: it is to be ignored."""
        verdict = RECEIVED[self._state(stream_id), kind]
        if verdict is Verdict.TAKE:
            return True
        if verdict is Verdict.IGNORE:
            return False
        what = f"frame type {kind} on stream {stream_id}, which is {self._state(stream_id).name}"
        if verdict is Verdict.STREAM_CLOSED:
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED, what)
        code = ErrorCode.PROTOCOL_ERROR if verdict is Verdict.PROTOCOL_ERROR else ErrorCode.STREAM_CLOSED
        raise ConnectionFault(code, what)

    # ── heads ────────────────────────────────────────────────────────────────────────

    def _headers(self, flags: int, stream_id: int, payload: bytes, events: list[Event], now: float) -> None:
        if flags & PADDED:
            payload = without_padding(payload)
        self._selfish = False
        if flags & PRIORITY_FLAG:
            if len(payload) < 5:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for their priority")
            self._selfish = UINT32.unpack_from(payload)[0] & _STREAM_MASK == stream_id
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
            self._set(Timer.HEAD, float("inf"))
            self._head_complete(self._block_flags, self._block_stream, b"".join(block), events, now)

    def _head_complete(self, flags: int, stream_id: int, raw: bytes, events: list[Event], now: float) -> None:
        try:
            # Whatever becomes of it: the compression state is shared by all heads.
            block = self._decoder.decode(raw, self.limits.max_head)
        except HpackFault as exc:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(exc)) from None
        if self._selfish:  # as RFC 7540 section 5.3.1 has it
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")
        if self._judged(stream_id, HEADERS):
            self._head(stream_id, block, bool(flags & END_STREAM), events, now)

    def _head(self, stream_id: int, block: FieldBlock, end: bool, events: list[Event], now: float) -> None:
        raise NotImplementedError

    # ── bodies ───────────────────────────────────────────────────────────────────────

    def _data(self, flags: int, stream_id: int, payload: bytes, events: list[Event], now: float) -> None:
        size = len(payload)
        self._recv_window -= size
        if self._recv_window < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window allows")
        stream = self._streams.get(stream_id)
        if stream is None or (stream.state is not OPEN and stream.state is not HALF_CLOSED_LOCAL):
            self._return_credit(size)
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
                stream.withheld.append(UpgradedBody(data, end))
            else:
                events.append((stream.key, UpgradedBody(data, end)))
        elif not stream.heard:
            self._unheard(stream, len(data), events, now)
        elif data:
            events.append((stream.key, Body(data, end)))
        else:
            events.append((stream.key, Done()))
        if end:
            self._remote_end(stream, events, now)
        else:
            self._came(stream, now)

    def _unheard(self, stream: Stream, size: int, events: list[Event], now: float) -> None:
        """Nobody listens any more: a little is read on, so that the peer need not be cut off."""
        stream.linger_left -= size
        if stream.linger_left < 0:
            self._reset(stream, ErrorCode.NO_ERROR)
        else:
            self._credit(stream, size, now)

    def _came(self, stream: Stream, now: float) -> None:
        """Part of a message came, and more is due."""
        raise NotImplementedError

    def _remote_end(self, stream: Stream, events: list[Event], now: float) -> None:
        """The peer has ended its side of *stream*."""
        stream.state = REMOTE_END[stream.state]
        stream.read_deadline = float("inf")
        if stream.state is CLOSED:
            self._forget(stream, CLOSED)
            self._stream_closed(now)
        else:
            self._clock(stream)

    def _stream_closed(self, now: float) -> None:
        """A stream fewer is open."""
        raise NotImplementedError

    def consumed(self, stream_id: int, size: int, now: float) -> None:
        """See :meth:`Connection.consumed`."""
        stream = self._by_key.get(stream_id)
        if stream is None:
            return  # the credit of a stream that is over was returned with it
        self._credit(stream, size, now)
        if self._out:
            self._touch()

    def _credit(self, stream: Stream, size: int, now: float) -> None:
        raise NotImplementedError

    # ── control ──────────────────────────────────────────────────────────────────────

    def _answer_control(self, frame: bytes) -> None:
        """Answer a control frame; not without end to a peer that does not read."""
        self._put(frame)
        if self._paused:
            self._control += 1
            if self._control > self.limits.h2_max_control_queue:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "answers to control frames are not read")

    def _settings(self, flags: int, payload: bytes, now: float) -> None:
        if flags & ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement with settings")
            self._own_settings_acked()
            return
        self._budgets.settings(now)
        self._peer_settings = True
        self.connect_protocol = bool(self.connect_protocol)
        for setting, value in parse_settings(payload):
            self._apply(setting, value)
        self._answer_control(settings({})[:4] + bytes((ACK,)) + b"\0\0\0\0")

    def _own_settings_acked(self) -> None:
        self._set(Timer.SETTINGS, float("inf"))
        if not self._settings_acked:
            self._settings_acked = True
            smaller = self._own_window - max(self._own_window, _DEFAULT_WINDOW)
            if smaller:  # from here on the peer counts with our figure
                for stream in self._streams.values():
                    stream.recv_window += smaller

    def _first_window(self) -> int:
        """What the peer may send on a new stream, by the settings that it is known to know."""
        return self._own_window if self._settings_acked else max(self._own_window, _DEFAULT_WINDOW)

    def _apply(self, setting: int, value: int) -> None:
        """RFC 9113 section 6.5.2; what is not known is ignored."""
        if setting == Setting.INITIAL_WINDOW_SIZE:
            if value > MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"an initial window of {value}")
            change, self._peer_window = value - self._peer_window, value
            for stream in self._streams.values():
                try:
                    self._outflow.grant_stream(stream, change)
                except StreamFault as fault:
                    raise ConnectionFault(fault.code, fault.reason) from None
        elif setting == Setting.MAX_FRAME_SIZE:
            if not _DEFAULT_FRAME <= value < 1 << 24:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a largest frame of {value}")
            self._peer_frame = min(value, self.limits.high_water)
        elif setting == Setting.HEADER_TABLE_SIZE:
            self._encoder.set_max_table_size(min(value, _TABLE))
        elif setting == Setting.MAX_CONCURRENT_STREAMS:
            self.peer_max_streams = value
        elif setting == Setting.ENABLE_PUSH or setting == Setting.ENABLE_CONNECT_PROTOCOL:
            self._apply_flag(setting, value)

    def _apply_flag(self, setting: int, value: int) -> None:
        if value > 1 or (setting == Setting.ENABLE_CONNECT_PROTOCOL and self.connect_protocol and not value):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"setting {setting} of {value}")
        if setting == Setting.ENABLE_CONNECT_PROTOCOL:
            self.connect_protocol = bool(value)

    def _ping(self, flags: int, payload: bytes, now: float) -> None:
        if not flags & ACK:
            self._budgets.ping(now)
            self._answer_control(ping(payload, ACK))
        elif payload == ALIVE_PING:
            self._set(Timer.PONG, float("inf"))
        elif payload == DRAIN_PING:
            self._drain_heard(now)

    def _drain_heard(self, now: float) -> None:
        """The peer knows of our first GOAWAY."""

    def _window_update(self, stream_id: int, payload: bytes) -> None:
        self._budgets.window_update()
        increment = UINT32.unpack(payload)[0] & _STREAM_MASK
        if not stream_id:
            if not increment:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window update of 0")
            self._outflow.grant(increment)
        elif self._judged(stream_id, WINDOW_UPDATE):
            if not increment:
                raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "a window update of 0")
            self._outflow.grant_stream(self._streams[stream_id], increment)

    def _rst_stream(self, stream_id: int, payload: bytes, events: list[Event], now: float) -> None:
        if self._judged(stream_id, RST_STREAM):
            code = UINT32.unpack(payload)[0]
            stream = self._streams[stream_id]
            self._peer_reset(stream, code, events, now)
            self._forget(stream, RESET_REMOTE)
            self._stream_closed(now)

    def _peer_reset(self, stream: Stream, code: int, events: list[Event], now: float) -> None:
        """The peer has given *stream* up."""
        raise NotImplementedError

    def _priority(self, stream_id: int, payload: bytes) -> None:
        """RFC 9113 section 5.3.2: no more than its form counts."""
        self._budgets.priority()
        if len(payload) != 5:
            raise StreamFault(stream_id, ErrorCode.FRAME_SIZE_ERROR, f"PRIORITY of {len(payload)} bytes")
        if UINT32.unpack_from(payload)[0] & _STREAM_MASK == stream_id:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")

    def _priority_update(self, payload: bytes) -> None:
        self._budgets.priority()
        if len(payload) < 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY_UPDATE of fewer than 4 bytes")
        stream = self._streams.get(UINT32.unpack_from(payload)[0] & _STREAM_MASK)
        if stream is not None:  # Deviation: one for a stream still to come is not kept
            self._outflow.reprioritise(stream, *parse_priority(payload[4:]))

    def _goaway(self, payload: bytes, events: list[Event], now: float) -> None:
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of fewer than 8 bytes")
        last, code = UINT32.unpack_from(payload)[0] & _STREAM_MASK, UINT32.unpack_from(payload, 4)[0]
        self._peer_leaves(last, code, events, now)

    def _peer_leaves(self, last: int, code: int, events: list[Event], now: float) -> None:
        """The peer takes no streams above *last*."""
        raise NotImplementedError

    # ── faults ───────────────────────────────────────────────────────────────────────

    def _reset(self, stream: Stream, code: int) -> None:
        """Give *stream* up; who holds it is not told."""
        self._put(rst_stream(stream.id, code))
        self._forget(stream, RESET_LOCAL)

    def _break_stream(self, fault: StreamFault, events: list[Event], now: float) -> None:
        """The peer broke the rules on one stream."""
        stream = self._streams.get(fault.stream_id)
        if stream is not None:
            self._tell(stream, self._fault_error(fault), events)
            self._forget(stream, RESET_LOCAL)
        elif fault.stream_id not in self._closed and not self._is_unused(fault.stream_id):
            self._closed[fault.stream_id] = RESET_LOCAL
        self._answer_control(rst_stream(fault.stream_id, fault.code))
        self._stream_closed(now)
        self._budgets.reset(now)  # whoever provokes resets pays for them (CVE-2025-8671)

    def _fault_error(self, fault: StreamFault | ConnectionFault) -> Error:
        return Error(ErrorType.INVALID_H2, f"{code_name(fault.code)}: {fault.reason}", esource=self.source)

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
