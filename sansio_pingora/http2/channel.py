"""A connection apart from its frames: what goes out, how long to wait for the peer, and how it all ends."""

from __future__ import annotations

import math
from enum import IntEnum

from sansio_pingora.deadlines import Deadlines
from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.http2.codes import ErrorCode
from sansio_pingora.http2.frames import goaway, window_update
from sansio_pingora.http2.outflow import Outflow
from sansio_pingora.http2.states import HALF_CLOSED_LOCAL, OPEN
from sansio_pingora.http2.stream import Stream
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Closing, ConnectionClosed, Endpoint, Event, Writable
from sansio_pingora.wire import Failed

__all__ = ["Channel", "Timer"]


class Timer(IntEnum):
    """The clocks of a connection; those of streams are their own. The names are for people."""

    FIRST_BYTE = 0
    HEAD = 1  # of the preface, or of a head in several frames
    KEEPALIVE = 2
    SETTINGS = 3
    PING_DUE = 4
    PONG = 5
    STALL = 6
    DRAIN = 7
    LINGER = 8
    FLUSH = 9
    MORE = 10  # at once: something is to be said that no input brings


_NAMES = (
    "first_byte_timeout",
    "head_timeout",
    "keepalive_timeout",
    "h2_settings_timeout",
    "h2_ping_interval",
    "h2_ping_timeout",
    "h2_connection_stall_timeout",
    "h2_drain_timeout",
    "linger_timeout",
    "write_idle_timeout",
    "events that wait already",
)
_REMEMBERED = 256
"""Closed streams whose late frames are judged by how they were closed."""


class Channel:
    """The output, the clocks and the ends of one connection, and the streams that are open on it."""

    __slots__ = (
        "_by_key",
        "_clocks",
        "_closed",
        "_closed_said",
        "_control",
        "_draining",
        "_goaway_sent",
        "_held",
        "_last_key",
        "_last_served",
        "_linger_left",
        "_more",
        "_now",
        "_out",
        "_outflow",
        "_over",
        "_paused",
        "_peer_ended",
        "_progress",
        "_provoked",
        "_queued",
        "_recv_window",
        "_returned",
        "_streams",
        "_taken",
        "_timers",
        "_unread_since",
        "_waiting",
        "_window",
        "closing",
        "deadline",
        "endpoint",
        "limits",
        "shut_write",
        "stalled",
        "starved",
        "want_read",
    )

    version = b"2"
    close_delimited = False
    """Frames tell every end."""
    source = ErrorSource.UNSET

    def __init__(self, now: float, limits: Limits, window: int) -> None:
        self.limits = limits
        self.endpoint: Endpoint | None = None
        self.deadline = math.inf
        self.want_read = True
        self.shut_write = False
        self.closing = Closing.NO
        self.starved = False
        self.stalled = False
        self._now = now  # of the last input
        self._more: list[Event] = []  # to be said at once
        self._streams: dict[int, Stream] = {}
        self._by_key = self._streams
        self._closed: dict[int, int] = {}  # how streams were closed, the oldest first
        self._last_key = 0  # the last stream that was opened
        self._last_served = 0  # the peer's last stream that was dealt with
        self._outflow = Outflow()
        self._waiting: dict[Stream, None] = {}  # whose senders were told that there is no room
        self._window = window
        self._recv_window = max(window, 65_535)
        self._unread_since = -math.inf  # when we last stopped reading
        self._held: dict[Stream, None] = {}  # whose clocks stand still, for the connection withholds credit
        self._returned = 0
        self._over = False  # nothing that still comes counts
        self._closed_said = False
        self._draining = False
        self._goaway_sent = False
        self._peer_ended = False
        self._out: list[bytes] = []
        self._queued = 0  # bytes in _out
        self._taken = 0  # bytes that the driver holds, at most
        self._control = 0  # answers to control frames since the driver is paused
        self._paused = False
        self._provoked = 0  # bytes of answers, other than bodies, since the driver is paused
        self._progress = 0  # bytes sent since the clock over a connection without window was started
        self._linger_left = 0
        self._timers = [math.inf] * len(Timer)
        self._clocks: Deadlines[Stream] = Deadlines()

    # ── output ──────────────────────────────────────────────────────────────────────────

    def data_to_send(self) -> list[bytes]:
        """See :meth:`Connection.data_to_send`."""
        if self._outflow.ready and not self._paused:
            self._send_queued()
        out = self._out
        if out:
            self._out = []
            # Not paused: of what it was given before, the driver holds no more than its own mark.
            self._taken = self._taken + self._queued if self._paused else self._queued
            self._queued = 0
            if self._waiting or self._outflow.ready:
                self.starved = True
        return out

    def _send_queued(self) -> None:
        raise NotImplementedError

    def _put(self, frame: bytes) -> None:
        self._out.append(frame)
        self._queued += len(frame)
        if self._paused and self.source is ErrorSource.DOWNSTREAM:
            # A client that does not read its answers is asked for no more. Not an origin: if both ends
            # stopped to read because the other does, neither would ever go on.
            self._provoked += len(frame)
            if self.want_read and self._provoked > self.limits.high_water:
                self.want_read = False
                self._unread_since = self._now

    def write_paused(self, now: float) -> None:
        """See :meth:`Connection.write_paused`."""
        if self._paused or self.closing is Closing.ABORT:
            return
        self._paused = self.stalled = True
        self._set(Timer.FLUSH, now + self._write_allowance())

    def write_progressed(self, now: float) -> None:
        """See :meth:`Connection.write_progressed`."""
        if self.stalled and self.limits.min_send_rate is None:
            self._set(Timer.FLUSH, now + self._write_allowance())

    def write_resumed(self, now: float) -> list[Event]:
        """See :meth:`Connection.write_resumed`."""
        self._now = now
        events = self._said_soon()
        self._paused = False
        self._taken = self._control = self._provoked = 0
        if not (self.want_read or self.closing or self._peer_ended):
            self.want_read = True
            self._read_again(now)
        if not self.closing:
            self.stalled = False
            self._set(Timer.FLUSH, math.inf)
        self._wake_senders(events)
        self.starved = self._outflow.ready
        return events

    def _wake_senders(self, events: list[Event]) -> None:
        """Tell those who wait and for whom there is room again."""
        if not self._waiting:
            return
        enough = self.limits.high_water // 2
        for stream in list(self._waiting):
            room = self._room(stream)
            if room >= enough or (room > 0 and not stream.pending):
                del self._waiting[stream]
                stream.waiting = False
                events.append((stream.key, Writable(room)))

    def _read_again(self, now: float) -> None:
        """What was due from the peer when we stopped reading is due again, and not by the old clocks."""
        for stream in self._streams.values():
            if stream.read_deadline != math.inf:
                stream.began += now - self._unread_since
                self._came(stream, now)

    def _room(self, stream: Stream) -> int:
        limits = self.limits
        room = limits.high_water - stream.pending
        left = limits.h2_send_buffer - self._outflow.pending
        return room if room < left else left

    def _write_allowance(self) -> float:
        """Seconds until a peer that takes nothing is given up."""
        rate = self.limits.min_send_rate
        held = self._taken + self._queued
        return self.limits.write_idle_timeout if rate is None else max(held, rate) / rate

    # ── read credit ─────────────────────────────────────────────────────────────────────

    def _return_credit(self, size: int) -> None:
        """*size* bytes of the connection's window are free again: it is announced by the half window."""
        self._returned += size
        if self._returned * 2 >= self._window and not self._over:
            self._put(window_update(0, self._returned))
            self._recv_window += self._returned
            self._returned = 0
            if self._held and self._recv_window > 0:
                held, self._held = self._held, {}
                for stream in held:
                    if stream.state is OPEN or stream.state is HALF_CLOSED_LOCAL:
                        self._came(stream, self._now)

    def _came(self, stream: Stream, now: float) -> None:
        """Part of a message came, or may come again, and more is due."""
        raise NotImplementedError

    # ── clocks ──────────────────────────────────────────────────────────────────────────

    def _say_soon(self, event: Event) -> None:
        """Say *event* as soon as the driver asks, though no input brings it."""
        self._more.append(event)
        self._set(Timer.MORE, AT_ONCE)
        self._touch()

    def _said_soon(self) -> list[Event]:
        """The events that wait already: they come before what an input brings."""
        events, self._more = self._more, []
        return events

    def _set(self, timer: Timer, deadline: float) -> None:
        self._timers[timer] = deadline
        self._arm()

    def _arm(self) -> None:
        deadline = min(self._timers)
        streams = self._clocks.next
        self.deadline = deadline if deadline < streams else streams

    def _clock(self, stream: Stream) -> None:
        """The clocks of *stream* have changed."""
        read, stall = stream.read_deadline, stream.stall_deadline
        stream.deadline = read if read < stall else stall
        if stream.deadline < stream.armed:
            self._clocks.arm(stream)
            if stream.deadline < self.deadline:
                self.deadline = stream.deadline

    def next_reason(self) -> str:
        """See :meth:`Connection.next_reason`."""
        if self.deadline == math.inf:
            return "nothing"
        first = min(self._timers)
        return _NAMES[self._timers.index(first)] if first <= self._clocks.next else "the clock of a stream"

    # ── ends ────────────────────────────────────────────────────────────────────────────

    def _forget(self, stream: Stream, how: int) -> None:
        """*stream* is closed: what it held is free, and late frames for it are judged by *how*."""
        self._by_key.pop(stream.key, None)
        if stream.id:
            self._streams.pop(stream.id, None)
            self._remember(stream.id, how)
        if stream.queue is not None:
            self._outflow.drop(stream)
        if stream.waiting:
            self._waiting.pop(stream, None)
        if stream.armed != math.inf:
            self._clocks.forget(stream)
        if self._held:
            self._held.pop(stream, None)
        if stream.unconsumed:
            self._return_credit(stream.unconsumed)
            stream.unconsumed = 0
        stream.state = how  # type: ignore[assignment]  # a State

    def _remember(self, stream_id: int, how: int) -> None:
        """*stream_id* is closed."""
        closed = self._closed
        closed[stream_id] = how
        if len(closed) > _REMEMBERED:
            del closed[next(iter(closed))]

    def _tell(self, stream: Stream, error: Error, events: list[Event]) -> None:
        """Tell who holds *stream* that it is over."""
        if stream.heard or stream.refused:
            stream.heard = stream.refused = False
            if error.esource is ErrorSource.UNSET:
                error.esource = self.source
            events.append((stream.key, Failed(error)))

    def _say_closed(self, error: Error | None, events: list[Event]) -> None:
        if not self._closed_said:
            self._closed_said = True
            events.append((0, ConnectionClosed(error)))

    def _fail_all(self, error: Error, events: list[Event], how: int) -> None:
        for stream in list(self._by_key.values()):
            self._tell(stream, self._as_stream_error(stream, error), events)
            self._forget(stream, how)

    def _as_stream_error(self, stream: Stream, error: Error) -> Error:
        """What the end of the connection by *error* means to *stream*."""
        return Error(error.etype, error.context, cause=error.cause, status=error.status, name=error.name)

    def _say_goodbye(self, code: ErrorCode, reason: str = "") -> None:
        self._put(goaway(self._last_served, code, reason))
        self._goaway_sent = True

    def _linger(self, now: float) -> None:
        """Close, but read on a while: unread bytes would make the kernel reset what was sent."""
        if self._over:
            return
        self._over = True
        if self._peer_ended:
            self._close(now)
            return
        self.shut_write = True
        self.want_read = True
        self._linger_left = self.limits.linger_bytes
        flush = self._timers[Timer.FLUSH]
        self._timers = [math.inf] * len(Timer)
        self._timers[Timer.FLUSH] = flush  # a peer that takes nothing does not keep us by that
        self._set(Timer.LINGER, now + self.limits.linger_timeout)
        self._touch()

    def _discard(self, size: int, now: float) -> None:
        self._linger_left -= size
        if self._linger_left < 0 and not self.closing:
            self._close(now)

    def _close(self, now: float, how: Closing = Closing.AFTER_FLUSH) -> None:
        """Nothing counts any more but what is on its way out."""
        self._over = True
        self.want_read = False
        flush = self._timers[Timer.FLUSH]
        self._timers = [math.inf] * len(Timer)
        if how > self.closing:
            self.closing = how
        if self.closing is Closing.ABORT:
            self._out = []
            self._queued = 0
            self.stalled = self.starved = False
        elif self.stalled:
            self._timers[Timer.FLUSH] = flush
        else:
            self.stalled = True
            self._timers[Timer.FLUSH] = now + self._write_allowance()
        self._arm()
        self._touch()

    def _lost(self, reason: Error | None, events: list[Event], now: float, how: int) -> None:
        error = reason or Error(ErrorType.CONNECTION_CLOSED, "the transport was closed")
        self._fail_all(error, events, how)
        self._say_closed(reason, events)
        self._close(now, Closing.ABORT)

    def _touch(self) -> None:
        endpoint = self.endpoint
        if endpoint is not None and not endpoint.listed:
            endpoint.listed = True
            endpoint.lane.dirty.append(endpoint)

    # ── for people and pools ────────────────────────────────────────────────────────────

    @property
    def active(self) -> int:
        """Streams that are open."""
        return len(self._by_key)

    @property
    def idle(self) -> bool:
        """No stream is open."""
        return not self._by_key

    @property
    def draining(self) -> bool:
        """The streams that are open are the last."""
        return self._draining or self._over

    @property
    def held(self) -> int:
        """Bytes that this connection keeps in memory, either way."""
        return self._queued + self._outflow.pending

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {len(self._by_key)} streams"
            f"{' draining' if self._draining else ''}{f' closing {self.closing.name}' if self.closing else ''}>"
        )
