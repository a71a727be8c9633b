"""The reference engine: HTTP/2 by the h2 library, behind the same contract as the native one.

h2 decides what frames mean and how they are spelled: framing, compression, the states of streams, windows,
header lists and Content-Length. What our machines own stays ours: routing, limits, time, what goes out when,
and how it all ends. So this engine is a second opinion on everything that both accept. Where h2 ends the
connection for what is the fault of one stream (a bad header list, a wrong Content-Length, one stream too many),
or lets pass what the native engine refuses, this one does so too; the budgets against abuse that count frames
are the native engine's.

h2 is given one frame at a time, for it forgets what it has read when it raises.
"""

from __future__ import annotations

import math
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    ResponseReceived,
    SettingsAcknowledged,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings
from hpack.struct import HeaderTuple, NeverIndexedHeaderTuple

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.http2.channel import Timer
from sansio_pingora.http2.client import Http2Client
from sansio_pingora.http2.codes import ConnectionFault, ErrorCode, StreamFault
from sansio_pingora.http2.connection import Http2Connection
from sansio_pingora.http2.frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    GOAWAY,
    HEADER_SIZE,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    UINT32,
    rst_stream,
)
from sansio_pingora.http2.heads import Items, trailer_items
from sansio_pingora.http2.hpack import FieldBlock
from sansio_pingora.http2.outflow import MAX_WINDOW
from sansio_pingora.http2.server import Http2Server
from sansio_pingora.http2.states import HALF_CLOSED_LOCAL, OPEN, RESET_LOCAL, RESET_REMOTE
from sansio_pingora.http2.stream import Stream
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Event

__all__ = ["HyperHttp2Client", "HyperHttp2Server"]

_DEFAULT_WINDOW = 65_535
_TABLE = 4_096
_BEYOND = 4
"""Times max_head: up to there h2 is to decode a head, so that it can be answered 431."""
_Head = RequestReceived | ResponseReceived | InformationalResponseReceived | TrailersReceived


class _Hyper(Http2Connection):
    """A connection whose frames h2 reads and writes. It stands below the role, which is the native one's."""

    def __init__(self, now: float, limits: Limits, *, stream_window: int, window: int) -> None:
        super().__init__(now, limits, stream_window=stream_window, window=window)
        client = isinstance(self, Http2Client)
        # Header lists are judged by h2, so that two have judged them. They are not rearranged by it, for it
        # would join the crumbs of a cookie before they are counted.
        self._h2 = H2Connection(
            H2Configuration(client_side=client, header_encoding=None, normalize_inbound_headers=False)
        )
        # What holds before the peer has acknowledged our SETTINGS.
        self._h2.local_settings = Settings(
            client=client,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.MAX_CONCURRENT_STREAMS: limits.h2_max_streams,
                SettingCodes.INITIAL_WINDOW_SIZE: max(stream_window, _DEFAULT_WINDOW),
            },
        )
        self._h2.decoder.max_header_list_size = _BEYOND * limits.max_head
        self._ended_by_h2 = False

    def _announce(self, values: dict[int, int], now: float) -> None:
        if isinstance(self, Http2Server):
            self._h2.receive_data(PREFACE)
        self._h2.update_settings(dict(values))
        if self._window > _DEFAULT_WINDOW:
            self._h2.increment_flow_control_window(self._window - _DEFAULT_WINDOW)
        self._flush()
        self._timers[Timer.SETTINGS] = now + self.limits.h2_settings_timeout

    # ── receiving ────────────────────────────────────────────────────────────────────

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes, events: list[Event], now: float) -> None:
        size = len(payload)
        state = self._h2.state_machine.state
        try:
            happened = self._h2.receive_data(
                FRAME_HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream_id) + payload
            )
        except ProtocolError as exc:
            self._ended_by_h2 = True
            self._h2.clear_outbound_data_buffer()  # its GOAWAY: ours follows
            raise ConnectionFault(ErrorCode(exc.error_code), str(exc)) from None
        if kind == GOAWAY:
            self._h2.state_machine.state = state  # h2 would end here what may go on (RFC 9113 section 6.8)
        elif kind in {HEADERS, CONTINUATION}:
            self._watch_head(kind, flags, now)
        self._flush_answer(stream_id)
        self._see_windows()
        for event in happened:
            self._happened(event, events, now)

    def _watch_head(self, kind: int, flags: int, now: float) -> None:
        if flags & END_HEADERS:
            self._set(Timer.HEAD, math.inf)
        elif kind == HEADERS:
            self._set(Timer.HEAD, now + self.limits.head_timeout)

    def _happened(self, event: object, events: list[Event], now: float) -> None:
        match event:
            case RequestReceived() | ResponseReceived() | InformationalResponseReceived() | TrailersReceived():
                self._head_came(event, events, now)
            case DataReceived():
                self._data_came(event, events, now)
            case StreamReset():
                self._reset_came(event, events, now)
            case RemoteSettingsChanged():
                self._settings(0, b"", now)
            case SettingsAcknowledged():
                self._h2.decoder.max_header_list_size = _BEYOND * self.limits.max_head
                self._own_settings_acked()
            case PingAckReceived():
                self._ping(ACK, event.ping_data, now)
            case ConnectionTerminated():
                self._peer_leaves(event.last_stream_id or 0, int(event.error_code or 0), events, now)
            case _:
                pass  # answered by h2, or of no concern

    def _head_came(self, event: _Head, events: list[Event], now: float) -> None:
        stream_id = event.stream_id
        if stream_id not in self._streams and not isinstance(event, RequestReceived):
            return  # for a stream that was given up without a word
        items = [(bytes(name), bytes(value)) for name, value in event.headers]
        size = sum(len(name) + len(value) + 32 for name, value in items)
        end = not isinstance(event, InformationalResponseReceived) and event.stream_ended is not None
        never = frozenset(bytes(line[0]) for line in event.headers if isinstance(line, NeverIndexedHeaderTuple))
        self._head(stream_id, FieldBlock(items, size, size > self.limits.max_head, never), end, events, now)
        self._see_windows()

    def _data_came(self, event: DataReceived, events: list[Event], now: float) -> None:
        size, data, end = event.flow_controlled_length or 0, event.data or b"", event.stream_ended is not None
        stream = self._streams.get(event.stream_id)
        if stream is None:
            self._h2.acknowledge_received_data(size, event.stream_id)
            self._flush()
            return
        stream.unconsumed += size
        if size > len(data):
            self._credit(stream, size - len(data), now)  # padding
        if not data and not end:
            return
        if stream.left is not None:
            stream.left -= len(data)
            if stream.left < 0 or (end and stream.left):
                raise StreamFault(stream.id, ErrorCode.PROTOCOL_ERROR, "DATA of another length than Content-Length")
        stream.received += len(data)
        self._body(stream, data, end, events, now)

    def _reset_came(self, event: StreamReset, events: list[Event], now: float) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        code = int(event.error_code or 0)
        if event.remote_reset:
            self._peer_reset(stream, code, events, now)
        else:
            fault = StreamFault(stream.id, ErrorCode(code), "h2 has reset the stream")
            self._tell(stream, self._fault_error(fault), events)
        self._forget(stream, RESET_REMOTE if event.remote_reset else RESET_LOCAL)
        self._stream_closed(now)

    def _settings(self, flags: int, payload: bytes, now: float) -> None:
        remote = self._h2.remote_settings
        self._peer_settings = True
        self._peer_window = remote.initial_window_size
        if self._h2.encoder.header_table_size > _TABLE:
            self._h2.encoder.header_table_size = _TABLE  # h2 would fill whatever it is offered
        self._peer_frame = min(self._h2.max_outbound_frame_size, self.limits.high_water)
        self.peer_max_streams = min(remote.max_concurrent_streams, MAX_WINDOW)
        self.connect_protocol = bool(remote.enable_connect_protocol)

    def _see_windows(self) -> None:
        """Let our policy know h2's windows: they say what may be sent, and whose clocks stand still."""
        self._outflow.window = self._h2.outbound_flow_control_window
        self._recv_window = self._h2.inbound_flow_control_window
        for stream in self._streams.values():
            known: Any = self._h2.streams.get(stream.id)
            if known is not None:
                self._outflow.grant_stream(stream, known.outbound_flow_control_window - stream.send_window)
                stream.recv_window = known.inbound_flow_control_window

    # ── read credit ──────────────────────────────────────────────────────────────────

    def _credit(self, stream: Stream, size: int, now: float) -> None:
        if not 0 <= size <= stream.unconsumed:
            raise LocalProtocolError(
                f"{size} bytes consumed where {stream.unconsumed} were delivered and not returned: {stream!r}"
            )
        stream.unconsumed -= size
        held = dict(self._held)
        if stream.recv_window <= 0:
            held[stream] = None
        self._h2.acknowledge_received_data(size, stream.id)
        self._flush()
        self._see_windows()
        for other in held:
            if other.recv_window > 0 and self._recv_window > 0:
                self._held.pop(other, None)
                if other.state is OPEN or other.state is HALF_CLOSED_LOCAL:
                    self._came(other, now)

    def _widen_by(self, stream: Stream, more: int) -> None:
        self._h2.increment_flow_control_window(more, stream.id)
        self._flush()
        self._see_windows()

    def _forget(self, stream: Stream, how: int) -> None:
        size, stream.unconsumed = stream.unconsumed, 0
        super()._forget(stream, how)
        if size and not (self._over or self._ended_by_h2 or self._peer_ended):
            stream.unconsumed = size
            self._credit(stream, size, self._now)

    # ── sending ──────────────────────────────────────────────────────────────────────

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            super()._put(data)

    def _flush_answer(self, stream_id: int) -> None:
        """Put out what h2 answers; a stream is reset once, which h2 does again for every frame that still comes."""
        data = self._h2.data_to_send()
        reset = rst_stream(stream_id, ErrorCode.STREAM_CLOSED)
        if data.endswith(reset):
            if self._closed.get(stream_id) == RESET_LOCAL:
                data = data[: -len(reset)]
            self._remember(stream_id, RESET_LOCAL)
        if data:
            super()._put(data)

    def _put(self, frame: bytes) -> None:
        """Have h2 say what our policy says in a frame, so that it keeps count."""
        kind, payload = frame[3], frame[HEADER_SIZE:]
        if kind == RST_STREAM:
            try:
                self._h2.reset_stream(FRAME_HEADER.unpack_from(frame)[4], UINT32.unpack(payload)[0])
            except StreamClosedError:
                pass  # for h2 it has ended already, both ways
        elif kind == PING:
            self._h2.ping(payload)
        elif kind == GOAWAY:
            state = self._h2.state_machine.state
            last, code = UINT32.unpack_from(payload)[0], UINT32.unpack_from(payload, 4)[0]
            self._h2.close_connection(code, payload[8:], last)
            self._h2.state_machine.state = state  # as for one received
        else:
            super()._put(frame)  # the preface
        self._flush()

    def _put_head(self, stream: Stream, items: Items, end: bool, never_indexed: frozenset[bytes] = frozenset()) -> None:
        try:
            if items:
                lines = [
                    (NeverIndexedHeaderTuple if name.lower() in never_indexed else HeaderTuple)(name, value)
                    for name, value in items
                ]
                self._h2.send_headers(stream.id, lines, end_stream=end)
            else:
                self._h2.end_stream(stream.id)  # trailers without a field; h2 has no HEADERS without one
        except ProtocolError as exc:
            raise LocalProtocolError(f"h2 refuses to send it: {exc}") from exc
        self._flush()
        self._see_windows()

    def _send_data(self, stream: Stream, data: bytes, end: bool, now: float) -> None:
        if data:
            self._outflow.push(stream, data)
        if stream.queue is None:
            if end:
                self._h2.end_stream(stream.id)
                self._flush()
                self._local_end(stream, now)
            return
        stream.ending = end
        if not self._paused:
            self._send_queued()
        if stream.pending and stream.stall_deadline == math.inf:
            self._watch_stall(stream, now)

    def _send_queued(self) -> None:
        outflow = self._outflow
        frames: list[bytes] = []
        emptied = outflow.take(frames, self.limits.high_water - self._queued, self._peer_frame)
        for header, data in zip(frames[::2], frames[1::2], strict=True):
            *_, flags, stream_id = FRAME_HEADER.unpack(header)
            self._h2.send_data(stream_id, data, end_stream=bool(flags & END_STREAM))
            self._progress += len(data)
        self._budgets.data_sent += len(frames) // 2
        self._flush()
        for stream in emptied:
            stream.stall_deadline = math.inf
            self._clock(stream)
            if stream.ending:
                if (fields := stream.trailers) is not None:
                    self._put_head(stream, trailer_items(fields), True, fields.never_indexed)
                self._local_end(stream, self._now)
        self._watch_stalls(self._now)


class HyperHttp2Server(Http2Server, _Hyper):
    """Requests in, responses out, by h2. Takes what :class:`Http2Server` takes."""


class HyperHttp2Client(Http2Client, _Hyper):
    """Requests out, responses in, by h2. Takes what :class:`Http2Client` takes."""
