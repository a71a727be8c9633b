"""Frames that are about the connection, and the settings, windows and budgets that they change."""

from __future__ import annotations

import math

from sansio_pingora.errors import ErrorSource
from sansio_pingora.http2.budgets import Budgets
from sansio_pingora.http2.channel import Channel, Timer
from sansio_pingora.http2.codes import ConnectionFault, ErrorCode, StreamFault
from sansio_pingora.http2.frames import (
    ACK,
    HEADERS,
    RST_STREAM,
    UINT32,
    WINDOW_UPDATE,
    Setting,
    parse_settings,
    ping,
    rst_stream,
    settings,
    window_update,
)
from sansio_pingora.http2.hpack import Decoder, Encoder
from sansio_pingora.http2.outflow import MAX_WINDOW
from sansio_pingora.http2.priority import parse_priority
from sansio_pingora.http2.states import CLOSED, IDLE, RECEIVED, RESET_LOCAL, RESET_REMOTE, State, Verdict
from sansio_pingora.http2.stream import Stream
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Event

__all__ = ["ALIVE_PING", "DRAIN_PING", "STREAM_MASK", "Control"]

STREAM_MASK = 0x7FFFFFFF
DRAIN_PING = b"draining"
ALIVE_PING = b"areyouup"

_DEFAULT_WINDOW = 65_535
_DEFAULT_FRAME = 16_384
_TABLE = 4_096
_ACKNOWLEDGED = settings({})[:4] + bytes((ACK,)) + bytes(4)


class Control(Channel):
    """A connection that minds its settings, windows and budgets."""

    __slots__ = (
        "_budgets",
        "_decoder",
        "_encoder",
        "_foretold",
        "_own_window",
        "_peer_frame",
        "_peer_settings",
        "_peer_window",
        "_settings_acked",
        "connect_protocol",
        "peer_max_streams",
    )

    def __init__(self, now: float, limits: Limits, *, stream_window: int, window: int) -> None:
        super().__init__(now, limits, window)
        self._budgets = Budgets(limits)
        self._decoder = Decoder(_TABLE)
        self._encoder = Encoder(_TABLE)
        self._foretold: dict[int, tuple[int, bool]] = {}  # priorities of streams still to come, the oldest first
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
        code = ErrorCode.STREAM_CLOSED
        if verdict is Verdict.PROTOCOL_ERROR or (kind == HEADERS and stream_id not in self._closed):
            code = ErrorCode.PROTOCOL_ERROR  # never used, or passed over (RFC 9113 section 5.1.1)
        raise ConnectionFault(code, what)

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
            if self._settings_acked:
                self._budgets.unasked()
            self._own_settings_acked()
            return
        self._budgets.settings(now)
        self._peer_settings = True
        self.connect_protocol = bool(self.connect_protocol)
        window = None
        for setting, value in parse_settings(payload):
            if setting == Setting.INITIAL_WINDOW_SIZE:
                window = self._judged_window(value)
            else:
                self._apply(setting, value)
        if window is not None:  # once, however often it stands there: each change reaches every stream
            self._apply_window(window)
        self._answer_control(_ACKNOWLEDGED)

    def _own_settings_acked(self) -> None:
        self._set(Timer.SETTINGS, math.inf)
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
        if setting == Setting.MAX_FRAME_SIZE:
            if not _DEFAULT_FRAME <= value < 1 << 24:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a largest frame of {value}")
            self._peer_frame = min(value, self.limits.high_water)
        elif setting == Setting.HEADER_TABLE_SIZE:
            self._encoder.set_max_table_size(min(value, _TABLE))
        elif setting == Setting.MAX_CONCURRENT_STREAMS:
            self.peer_max_streams = value
        elif setting == Setting.ENABLE_PUSH or setting == Setting.ENABLE_CONNECT_PROTOCOL:
            self._apply_flag(setting, value)

    def _judged_window(self, value: int) -> int:
        if value > MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"an initial window of {value}")
        return value

    def _apply_window(self, value: int) -> None:
        change, self._peer_window = value - self._peer_window, value
        for stream in self._streams.values():
            try:
                self._outflow.grant_stream(stream, change)
            except StreamFault as fault:
                raise ConnectionFault(fault.code, fault.reason) from None

    def _apply_flag(self, setting: int, value: int) -> None:
        if value > 1 or (setting == Setting.ENABLE_CONNECT_PROTOCOL and self.connect_protocol and not value):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"setting {setting} of {value}")
        if setting == Setting.ENABLE_CONNECT_PROTOCOL:
            self.connect_protocol = bool(value)

    def _ping(self, flags: int, payload: bytes, now: float) -> None:
        if not flags & ACK:
            self._budgets.ping(now)
            self._answer_control(ping(payload, ACK))
        elif payload == ALIVE_PING and self._timers[Timer.PONG] != math.inf:
            self._set(Timer.PONG, math.inf)
        elif payload == DRAIN_PING and self._timers[Timer.DRAIN] != math.inf:
            self._drain_heard(now)
        else:
            self._budgets.unasked()

    def _drain_heard(self, now: float) -> None:
        """The peer knows of our first GOAWAY."""

    def _window_update(self, stream_id: int, payload: bytes) -> None:
        self._budgets.window_update()
        increment = UINT32.unpack(payload)[0] & STREAM_MASK
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
        if UINT32.unpack_from(payload)[0] & STREAM_MASK == stream_id:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")

    def _priority_update(self, payload: bytes) -> None:
        if self.source is ErrorSource.UPSTREAM:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY_UPDATE from a server")
        self._budgets.priority()
        if len(payload) < 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY_UPDATE of fewer than 4 bytes")
        stream_id = UINT32.unpack_from(payload)[0] & STREAM_MASK
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._outflow.reprioritise(stream, *parse_priority(payload[4:]))
        elif stream_id & 1 and self._is_unused(stream_id):
            self._foretell(stream_id, *parse_priority(payload[4:]))

    def _foretell(self, stream_id: int, urgency: int, incremental: bool) -> None:
        """Keep what is said of a stream still to come, for as many as there may be at once (RFC 9218 section 7.1)."""
        told = self._foretold
        told.pop(stream_id, None)
        told[stream_id] = urgency, incremental
        if len(told) > self.limits.h2_max_streams:
            del told[next(iter(told))]

    def _goaway(self, payload: bytes, events: list[Event], now: float) -> None:
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of fewer than 8 bytes")
        last, code = UINT32.unpack_from(payload)[0] & STREAM_MASK, UINT32.unpack_from(payload, 4)[0]
        self._peer_leaves(last, code, events, now)

    def _peer_leaves(self, last: int, code: int, events: list[Event], now: float) -> None:
        """The peer takes no streams above *last*."""
        raise NotImplementedError

    # ── streams ─────────────────────────────────────────────────────────────────────

    def _reset(self, stream: Stream, code: int) -> None:
        """Give *stream* up; who holds it is not told."""
        self._put(rst_stream(stream.id, code))
        self._forget(stream, RESET_LOCAL)

    def _stream_closed(self, now: float) -> None:
        """A stream fewer is open."""
        raise NotImplementedError
