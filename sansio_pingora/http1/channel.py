"""A connection apart from its messages: what goes out, how long to wait for the peer, and how it all ends."""

from __future__ import annotations

import math
from types import FunctionType

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.http1.codec import Codec
from sansio_pingora.http1.states import CLOSE, IDLE, MOVES, RAW
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, ConnectionClosed, Endpoint, Event, Writable
from sansio_pingora.wire import Failed

__all__ = ["Channel"]

# Clocks over the peer's sending, by what it owes; the names are for people.
FOR_FIRST_BYTE = "first_byte_timeout"
FOR_HEAD = "head_timeout"
FOR_KEEPALIVE = "keepalive_timeout"
FOR_BODY = "body_idle_timeout"
FOR_LINGER = "linger_timeout"
FOR_TUNNEL = "read_timeout"
HAS_MORE = "bytes that have arrived already"
FOR_NOTHING = "nothing"
FOR_FLUSH = "write_idle_timeout"


class Channel:
    """The state of both directions, the output, the clocks and the ends of one connection."""

    __slots__ = (
        "_active",
        "_broken",
        "_closed_said",
        "_codec",
        "_draining",
        "_linger_left",
        "_out",
        "_paused",
        "_queued",
        "_read_deadline",
        "_read_reason",
        "_taken",
        "_write_deadline",
        "closing",
        "deadline",
        "endpoint",
        "keep",
        "limits",
        "receiving",
        "sending",
        "shut_write",
        "stalled",
        "starved",
        "stream",
        "want_read",
    )

    version = b"1.1"
    source = ErrorSource.UNSET

    def __init_subclass__(cls) -> None:
        """Give each role its own copies of what it inherits.

        CPython specialises bytecode by the class it meets, per code object: shared by two roles
        that alternate, as in a proxy, it would fit neither (a sixth of the time of an exchange).
        """
        for base in cls.__mro__[1:-1]:
            for name, method in vars(base).items():
                if isinstance(method, FunctionType) and name not in vars(cls):
                    copy = FunctionType(
                        method.__code__.replace(), method.__globals__, name, method.__defaults__, method.__closure__
                    )
                    copy.__doc__ = method.__doc__
                    copy.__annotations__ = method.__annotations__
                    setattr(cls, name, copy)

    def __init__(self, codec: Codec, limits: Limits) -> None:
        self._codec = codec
        self.limits = limits
        self.endpoint: Endpoint | None = None
        self.deadline = math.inf
        self.want_read = True
        self.shut_write = False
        self.closing = Closing.NO
        self.starved = False
        self.stalled = False
        self.receiving = IDLE
        self.sending = IDLE
        self.stream = 0
        """The exchange under way, or the last one."""
        self.keep = True
        """The connection may go on after this exchange."""
        self._active = False  # an exchange is under way that somebody above holds
        self._broken = 0  # the stream that this connection failed last
        self._closed_said = False
        self._draining = False
        self._out: list[bytes] = []
        self._queued = 0  # bytes in _out
        self._taken = 0  # bytes that the driver holds, at most
        self._paused = False
        self._read_deadline = math.inf
        self._read_reason = FOR_NOTHING
        self._write_deadline = math.inf
        self._linger_left = 0

    @property
    def close_delimited(self) -> bool:
        """What is being received lasts until the transport ends: a layer below is to know that it was no cut."""
        return self.receiving is RAW

    # ── output ──────────────────────────────────────────────────────────────────────────

    def data_to_send(self) -> list[bytes]:
        """See :meth:`Connection.data_to_send`."""
        out = self._out
        if out:
            self._out = []
            # Not paused: of what it was given before, the driver holds no more than its own mark.
            self._taken = self._taken + self._queued if self._paused else self._queued
            self._queued = 0
        return out

    def _put(self, data: bytes) -> None:
        self._out.append(data)
        self._queued += len(data)

    def write_paused(self, now: float) -> None:
        """See :meth:`Connection.write_paused`."""
        if self._paused or self.closing is Closing.ABORT:
            return
        self._paused = self.stalled = True
        self._write_deadline = now + self._write_allowance()
        self._arm()

    def write_progressed(self, now: float) -> None:
        """See :meth:`Connection.write_progressed`."""
        if self.stalled and self.limits.min_send_rate is None:
            self._write_deadline = now + self._write_allowance()
            self._arm()

    def write_resumed(self, now: float) -> list[Event]:
        """See :meth:`Connection.write_resumed`."""
        self._paused = False
        self._taken = 0
        if not self.closing:
            self.stalled = False
            self._write_deadline = math.inf
            self._arm()
        room = self.limits.high_water - self._queued
        if not self.starved or room <= 0:  # still none: what is queued is written first
            return []
        self.starved = False
        return [(self.stream, Writable(room))] if self._active else []

    def _write_allowance(self) -> float:
        """Seconds until a peer that takes nothing is given up."""
        rate = self.limits.min_send_rate
        return self.limits.write_idle_timeout if rate is None else max(self._taken + self._queued, rate) / rate

    # ── clocks ──────────────────────────────────────────────────────────────────────────

    def _watch(self, reason: str, deadline: float) -> None:
        self._read_reason = reason
        self._read_deadline = deadline

    def _arm(self) -> None:
        read, write = self._read_deadline, self._write_deadline
        self.deadline = read if read < write else write

    def _stop_clock(self, now: float) -> None:
        """We withhold credit: no clock runs over the peer."""
        self._read_deadline = math.inf

    def next_reason(self) -> str:
        """See :meth:`Connection.next_reason`."""
        if self.deadline == math.inf:
            return FOR_NOTHING
        return self._read_reason if self._read_deadline <= self._write_deadline else FOR_FLUSH

    def _write_timed_out(self, events: list[Event], now: float) -> None:
        self._fail(
            Error(ErrorType.WRITE_TIMEDOUT, f"stream {self.stream}: the peer took no bytes for {FOR_FLUSH}"), events
        )
        self._close(now, Closing.ABORT)

    # ── ends ────────────────────────────────────────────────────────────────────────────

    def _fail(self, error: Error, events: list[Event]) -> None:
        """Tell who holds the exchange that it is over."""
        if self._active:
            self._active = False
            self._broken = self.stream
            if error.esource is ErrorSource.UNSET:
                error.esource = self.source
            events.append((self.stream, Failed(error)))

    def _say_closed(self, error: Error | None, events: list[Event]) -> None:
        if not self._closed_said:
            self._closed_said = True
            events.append((0, ConnectionClosed(error)))

    def _close(self, now: float, how: Closing = Closing.AFTER_FLUSH) -> None:
        """Nothing counts any more but what is on its way out."""
        self.receiving = MOVES[self.receiving, CLOSE]
        self.sending = MOVES[self.sending, CLOSE]
        self.keep = False
        self.want_read = False
        self._read_deadline = math.inf
        if how > self.closing:
            self.closing = how
        if self.closing is Closing.ABORT:
            self._out = []
            self._queued = 0
            self.stalled = False
            self._write_deadline = math.inf
        elif not self.stalled:
            self.stalled = True
            self._write_deadline = now + self._write_allowance()
        self._arm()
        self._touch()

    def _linger(self, now: float) -> None:
        """Close, but read on a while: unread bytes would make the kernel reset what was sent (RFC 9112 section 9.6)."""
        self.receiving = MOVES[self.receiving, CLOSE]
        self.sending = MOVES[self.sending, CLOSE]
        self.keep = False
        self.shut_write = True
        self.want_read = True
        self._linger_left = self.limits.linger_bytes
        self._watch(FOR_LINGER, now + self.limits.linger_timeout)
        self._discard(self._codec.buffered, now)
        self._codec.take_rest()
        self._arm()
        self._touch()

    def _discard(self, size: int, now: float) -> None:
        self._linger_left -= size
        if self._linger_left < 0 and not self.closing:
            self._close(now)

    def abort(self, now: float) -> None:
        """See :meth:`Connection.abort`."""
        self._active = False
        self._close(now, Closing.ABORT)

    def _touch(self) -> None:
        endpoint = self.endpoint
        if endpoint is not None and not endpoint.listed:
            endpoint.listed = True
            endpoint.lane.dirty.append(endpoint)

    @property
    def held(self) -> int:
        """Bytes that this connection keeps in memory, either way."""
        return self._queued + self._codec.buffered

    @property
    def idle(self) -> bool:
        """No exchange is under way and none has begun to arrive."""
        return self.receiving is IDLE and self.sending is IDLE and not self._codec.buffered

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} stream {self.stream} receiving {self.receiving.name} sending {self.sending.name}"
            f"{' draining' if self._draining else ''}{f' closing {self.closing.name}' if self.closing else ''}>"
        )
