"""What both roles of an HTTP/2 connection share beyond reading frames: sending messages, credit, time and ends.

Keeps the contract of :class:`sansio_pingora.machine.Connection`, with many streams.
"""

from __future__ import annotations

import math

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.http2.channel import Timer
from sansio_pingora.http2.codes import ConnectionFault, ErrorCode
from sansio_pingora.http2.control import ALIVE_PING
from sansio_pingora.http2.frames import (
    DATA,
    END_STREAM,
    FRAME_HEADER,
    HEADER_SIZE,
    header_block,
    ping,
    rst_stream,
    window_update,
)
from sansio_pingora.http2.heads import Items, trailer_items
from sansio_pingora.http2.receiving import Receiving
from sansio_pingora.http2.states import (
    CLOSED,
    HALF_CLOSED_LOCAL,
    HALF_CLOSED_REMOTE,
    LOCAL_END,
    OPEN,
    RESET_LOCAL,
    RESET_REMOTE,
)
from sansio_pingora.http2.stream import Stream
from sansio_pingora.machine import Closing, Event
from sansio_pingora.wire import Body, Done, Header, HttpTask, MessageFault, Trailer, UpgradedBody

__all__ = ["Http2Connection"]

_JOIN_UP_TO = 1_024
"""DATA of fewer bytes is copied behind its frame header: cheaper than another chunk for the driver."""
_PROGRESS = 1_024
"""Bytes that a peer with output waiting must take for its clock to start anew (CVE-2019-9517)."""


class Http2Connection(Receiving):
    """One HTTP/2 connection. Make an :class:`Http2Server` or :class:`Http2Client`."""

    __slots__ = ()

    _cut_code = ErrorCode.CANCEL

    # ── sending ──────────────────────────────────────────────────────────────────────

    def send(self, stream_id: int, task: HttpTask, now: float) -> int:
        """See :meth:`Connection.send`."""
        self._now = now
        stream = self._by_key.get(stream_id)
        if stream is None:
            if not 0 < stream_id <= self._last_key:
                raise LocalProtocolError(f"stream {stream_id} was never opened: {self!r}")
            return self.limits.high_water  # it is over, and whoever holds it hears of that, or has
        kind = type(task)
        if kind is Body:
            self._send_body(stream, task.data, task.end, now)  # type: ignore[union-attr]  # a Body
        elif kind is Header:
            self._send_head(stream, task.head, task.end, now)  # type: ignore[union-attr]  # a Header
        elif kind is UpgradedBody:
            self._send_raw(stream, task.data, task.end, now)  # type: ignore[union-attr]  # an UpgradedBody
        elif kind is Trailer or kind is Done:
            self._send_end(stream, task, now)
        else:
            self._cut(stream, now)
        self._touch()
        room = self._room(stream)
        if room <= 0:
            if not self._is_sending(stream):
                return self.limits.high_water  # nothing follows: there is nothing to wait for
            if not stream.waiting:
                stream.waiting = True
                self._waiting[stream] = None
        return room

    def _send_head(self, stream: Stream, head: object, end: bool, now: float) -> None:
        raise NotImplementedError

    def _put_head(self, stream: Stream, items: Items, end: bool, never_indexed: frozenset[bytes] = frozenset()) -> None:
        block = self._encoder.encode(items, never_indexed)
        self._put(header_block(stream.id, block, end, self._peer_frame))

    def _send_body(self, stream: Stream, data: bytes, end: bool, now: float) -> None:
        if stream.mute:
            return
        if not self._is_sending(stream):
            if data:
                self._refuse_send(stream, "body bytes")
            return  # the message is complete: its end once more
        if not stream.head_sent or stream.tunnel:
            self._refuse_send(stream, "body bytes")
        left = stream.left_to_send
        if left is not None:
            size = len(data)
            if size > left:
                raise LocalProtocolError(
                    f"{size} body bytes where Content-Length leaves {left}: send no more than declared"
                )
            if end and size < left:
                raise LocalProtocolError(
                    f"the body ends {left - size} bytes short of its Content-Length: send Failed to cut it"
                )
            stream.left_to_send = left - size
        if stream.expects and data:
            stream.expects = False  # it did not wait, and the 100 may be omitted (RFC 9110 section 10.1.1)
            stream.read_deadline = math.inf
            self._clock(stream)
        self._send_data(stream, data, end, now)

    def _send_raw(self, stream: Stream, data: bytes, end: bool, now: float) -> None:
        if not stream.tunnel or stream.withheld is not None or not self._is_sending(stream):
            self._refuse_send(stream, "upgraded bytes")
        self._send_data(stream, data, end, now)
        if self._by_key.get(stream.key) is stream:
            self._came(stream, now)  # traffic either way keeps a tunnel

    def _send_end(self, stream: Stream, task: HttpTask, now: float) -> None:
        if stream.mute or not self._is_sending(stream):
            return
        if not stream.head_sent or stream.tunnel:
            self._refuse_send(stream, "the end of a body")
        if stream.left_to_send:
            raise LocalProtocolError(
                f"the body ends {stream.left_to_send} bytes short of its Content-Length: send Failed to cut it"
            )
        if type(task) is not Trailer:
            self._send_data(stream, b"", True, now)
            return
        try:
            items = trailer_items(task.fields)
        except MessageFault as fault:
            raise LocalProtocolError(fault.reason) from None
        if stream.queue is None:
            self._put_head(stream, items, True, task.fields.never_indexed)
            self._local_end(stream, now)
        else:
            stream.ending = True
            stream.trailers = task.fields.copy()

    def _is_sending(self, stream: Stream) -> bool:
        """Our side of *stream* has not ended, and its end is not queued."""
        return (stream.state is OPEN or stream.state is HALF_CLOSED_REMOTE) and not stream.ending

    def _refuse_send(self, stream: Stream, what: str) -> None:
        raise LocalProtocolError(
            f"{what} cannot be sent now: {stream!r}, its head {'was sent' if stream.head_sent else 'was not sent'}"
        )

    def _send_data(self, stream: Stream, data: bytes, end: bool, now: float) -> None:
        """Send at once what no window, no queue and no pause holds back; queue the rest."""
        size = len(data)
        outflow = self._outflow
        if stream.queue is None and (
            not size
            or (
                size <= stream.send_window
                and size <= outflow.window
                and size <= self._peer_frame
                and self._queued < self.limits.high_water
                and not self._paused
                and not outflow.pending
            )
        ):
            if size or end:
                stream.send_window -= size
                outflow.window -= size
                self._budgets.data_sent += 1
                frame = FRAME_HEADER.pack(size >> 8, size & 0xFF, DATA, END_STREAM if end else 0, stream.id)
                if size <= _JOIN_UP_TO:
                    self._put(frame + data)
                else:
                    self._out += (frame, data)
                    self._queued += size + len(frame)
            if end:
                self._local_end(stream, now)
            return
        if size:
            outflow.push(stream, data)
        if end:
            stream.ending = True
        if stream.stall_deadline == math.inf:
            self._watch_stall(stream, now)

    def _send_queued(self) -> None:
        outflow = self._outflow
        before = len(self._out)
        pending = outflow.pending
        emptied = outflow.take(self._out, self.limits.high_water - self._queued, self._peer_frame)
        frames = (len(self._out) - before) // 2
        sent = pending - outflow.pending
        self._budgets.data_sent += frames
        self._queued += sent + HEADER_SIZE * frames
        self._progress += sent
        for stream in emptied:
            stream.stall_deadline = math.inf
            self._clock(stream)
            if stream.ending:
                if (fields := stream.trailers) is not None:
                    self._put_head(stream, trailer_items(fields), True, fields.never_indexed)
                self._local_end(stream, self._now)
        self._watch_stalls(self._now)

    def _local_end(self, stream: Stream, now: float) -> None:
        """Our side of *stream* has ended."""
        stream.state = LOCAL_END[stream.state]
        if stream.state is CLOSED:
            self._forget(stream, CLOSED)
            self._stream_closed(now)
        else:
            self._sent_message(stream, now)

    def _sent_message(self, stream: Stream, now: float) -> None:
        """Our message is complete, the peer's is not."""
        raise NotImplementedError

    def _cut(self, stream: Stream, now: float) -> None:
        """End *stream* so that the peer cannot take it for complete."""
        stream.heard = False
        if stream.id:
            self._put(rst_stream(stream.id, self._cut_code))
        self._forget(stream, RESET_LOCAL)
        self._stream_closed(now)

    # ── read credit ──────────────────────────────────────────────────────────────────

    def _credit(self, stream: Stream, size: int, now: float) -> None:
        if not 0 <= size <= stream.unconsumed:
            raise LocalProtocolError(
                f"{size} bytes consumed where {stream.unconsumed} were delivered and not returned: {stream!r}"
            )
        stream.unconsumed -= size
        self._return_credit(size)
        if stream.state is OPEN or stream.state is HALF_CLOSED_LOCAL:
            stream.returned += size
            if stream.returned * 2 >= stream.window:
                self._put(window_update(stream.id, stream.returned))
                withheld = stream.recv_window <= 0
                stream.recv_window += stream.returned
                stream.returned = 0
                if withheld:
                    self._came(stream, now)

    def _widen_by(self, stream: Stream, more: int) -> None:
        """The window of *stream* grows by *more*."""
        self._put(window_update(stream.id, more))
        stream.recv_window += more

    # ── time ─────────────────────────────────────────────────────────────────────────

    def _watch_stall(self, stream: Stream, now: float) -> None:
        """Output waits on *stream*: its peer is to make room."""
        stream.progress = 0
        stream.stall_deadline = now + self._stall_allowance()
        self._clock(stream)
        if self._timers[Timer.STALL] == math.inf:
            self._progress = 0
            self._set(Timer.STALL, now + self.limits.h2_connection_stall_timeout)

    def _stall_allowance(self) -> float:
        return self.limits.h2_stall_timeout

    def _watch_stalls(self, now: float) -> None:
        """Who took something has time again."""
        outflow = self._outflow
        if outflow.blocked:
            for stream in outflow.blocked:
                if stream.queue is not None and stream.progress >= _PROGRESS:
                    self._watch_stall(stream, now)
            outflow.blocked.clear()
        if self._timers[Timer.STALL] == math.inf:
            return
        if not outflow.pending:
            self._set(Timer.STALL, math.inf)
        elif self._progress >= _PROGRESS:
            self._progress = 0
            self._set(Timer.STALL, now + self.limits.h2_connection_stall_timeout)

    def handle_timeout(self, now: float) -> list[Event]:
        """See :meth:`Connection.handle_timeout`."""
        self._now = now
        events = self._said_soon()
        timers = self._timers
        for timer in Timer:
            if timers[timer] <= now:
                timers[timer] = math.inf
                try:
                    self._timer_expired(timer, events, now)
                except ConnectionFault as fault:
                    self._break_connection(fault, events, now)
                timers = self._timers
        for stream in self._clocks.due(now):
            self._stream_expired(stream, events, now)
        self._wake_senders(events)
        self._arm()
        return events

    def _timer_expired(self, timer: Timer, events: list[Event], now: float) -> None:
        if not self.want_read and (timer is Timer.SETTINGS or timer is Timer.HEAD or timer is Timer.PONG):
            self._set(timer, now + self.limits.h2_ping_timeout)  # what is not read cannot be late
        elif timer is Timer.SETTINGS:
            raise ConnectionFault(ErrorCode.SETTINGS_TIMEOUT, "our SETTINGS were not acknowledged")
        elif timer is Timer.HEAD:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a head was not complete within head_timeout")
        elif timer is Timer.STALL and (self._paused or self._outflow.window > 0):
            if self._outflow.pending:  # not the window holds it up
                self._set(Timer.STALL, now + self.limits.h2_connection_stall_timeout)
        elif timer is Timer.STALL:
            error = Error(ErrorType.WRITE_TIMEDOUT, "no window for h2_connection_stall_timeout", esource=self.source)
            self._end(error, ErrorCode.ENHANCE_YOUR_CALM, events, now)
        elif timer is Timer.LINGER:
            if self._paused:
                self._set(Timer.LINGER, now + self.limits.linger_timeout)  # what is to be read is still on its way
            else:
                self._close(now)
        elif timer is Timer.FLUSH:
            error = Error(
                ErrorType.WRITE_TIMEDOUT, "the peer took no bytes for write_idle_timeout", esource=self.source
            )
            self._lost(error, events, now, RESET_REMOTE)
        elif timer is Timer.PING_DUE:
            self._put(ping(ALIVE_PING))
            self._set(Timer.PONG, now + self.limits.h2_ping_timeout)
            self._touch()
        elif timer is Timer.PONG:
            self._lost(
                Error.custom("PingTimedout", "no answer to a PING for h2_ping_timeout"), events, now, RESET_REMOTE
            )
        elif timer is Timer.DRAIN:
            self._drain_heard(now)

    def _stream_expired(self, stream: Stream, events: list[Event], now: float) -> None:
        if stream.stall_deadline <= now:
            if self._paused or (stream.progress >= _PROGRESS) or (self._outflow.window <= 0 < stream.send_window):
                self._watch_stall(stream, now)  # it is slow, or not the stream's own window holds it up
            else:
                error = Error(ErrorType.WRITE_TIMEDOUT, f"{stream!r}: the peer gave it no window")
                self._give_up(stream, error, ErrorCode.CANCEL, events, now)
                return
        if stream.read_deadline <= now:
            if stream.recv_window <= 0 or self._recv_window <= 0:
                stream.read_deadline = math.inf  # the peer waits for us
                if self._recv_window <= 0:
                    self._held[stream] = None
            elif not self.want_read:
                stream.read_deadline = now + self.limits.body_idle_timeout  # it starts anew when we read again
            else:
                self._read_timed_out(stream, events, now)
                return
        self._clock(stream)

    def _give_up(self, stream: Stream, error: Error, code: ErrorCode, events: list[Event], now: float) -> None:
        """Reset *stream*, and tell who holds it."""
        self._tell(stream, error, events)
        self._reset(stream, code)
        self._stream_closed(now)
        self._touch()

    def _read_timed_out(self, stream: Stream, events: list[Event], now: float) -> None:
        raise NotImplementedError

    # ── ends ─────────────────────────────────────────────────────────────────────────

    def _end(self, error: Error | None, code: ErrorCode, events: list[Event], now: float) -> None:
        """End the connection from our side."""
        if error is not None:
            self._fail_all(error, events, RESET_LOCAL)
        self._say_goodbye(code, error.context if error is not None else "")
        self._say_closed(error, events)
        self._linger(now)

    def transport_lost(self, reason: Error | None, now: float) -> list[Event]:
        """See :meth:`Connection.transport_lost`."""
        events = self._said_soon()
        self._peer_ended = True
        self._lost(reason, events, now, RESET_REMOTE)
        return events

    def abort(self, now: float) -> None:
        """See :meth:`Connection.abort`."""
        for stream in list(self._by_key.values()):
            self._forget(stream, RESET_LOCAL)
        self._close(now, Closing.ABORT)
