"""A custom connection apart from its messages: what goes out, how long to wait for the peer, and how it all ends."""

from __future__ import annotations

import math

from sansio_pingora.errors import Error, ErrorSource
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Closing, ConnectionClosed, Endpoint, Event, Writable
from sansio_pingora.session.messages import CustomMessages

__all__ = ["CustomChannel", "CustomStream"]


class CustomStream:
    """An exchange that is not over."""

    __slots__ = ("complete", "head_sent", "heard", "messages", "method", "sent", "tunnel", "unconsumed", "waiting")

    def __init__(self) -> None:
        self.method = b""
        self.tunnel = False
        """Both directions are opaque behind their messages."""
        self.head_sent = False
        self.sent = False
        """Our message is complete, or our direction of a tunnel."""
        self.complete = False
        """The peer's is."""
        self.heard = True
        """Somebody above wants what comes."""
        self.waiting = False
        """Its sender was told that there is no room."""
        self.unconsumed = 0
        self.messages: CustomMessages | None = None


class CustomChannel:
    """The output, the clocks and the ends of one connection, and the streams that are open on it."""

    client = False
    """Which side this is."""
    has_messages = False
    """There are messages beside the streams."""

    def __init__(self, now: float, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.endpoint: Endpoint | None = None
        self.want_read = True
        self.shut_write = False
        self.closing = Closing.NO
        self.starved = False
        self.stalled = False
        self.set_timeouts(None, None)
        self._now = now  # of the last input
        self._streams: dict[int, CustomStream] = {}
        self._out: list[bytes] = []
        self._queued = 0
        self._paused = self._draining = self._peer_ended = self._closed_said = False
        self._stirred = False  # messages beside the streams have moved
        self._read_deadline = math.inf if self.client else now + self.limits.first_byte_timeout
        self._write_deadline = math.inf
        self.deadline = self._read_deadline

    # ── output ───────────────────────────────────────────────────────────────────────

    def put(self, data: bytes) -> None:
        """Queue *data* for the peer."""
        if data and self.closing is not Closing.ABORT:
            self._out.append(data)
            self._queued += len(data)

    def data_to_send(self) -> list[bytes]:
        """See :meth:`Connection.data_to_send`."""
        out = self._out
        if out:
            self._out = []
            self._queued = 0
        return out

    def _room(self) -> int:
        return (0 if self._paused else self.limits.high_water) - self._queued

    def write_paused(self, now: float) -> None:
        """See :meth:`Connection.write_paused`."""
        if not self._paused and self.closing is not Closing.ABORT:
            self._paused = self.stalled = True
            self._write_deadline = now + self._write_timeout
            self._arm()

    def write_progressed(self, now: float) -> None:
        """See :meth:`Connection.write_progressed`."""
        if self.stalled:
            self._write_deadline = now + self._write_timeout
            self._arm()

    def write_resumed(self, now: float) -> list[Event]:
        """See :meth:`Connection.write_resumed`."""
        self._paused = False
        if not self.closing:
            self.stalled = False
            self._write_deadline = math.inf
            self._arm()
        if self.has_messages:
            self._stir()
        room = self._room()
        if room <= 0:
            return []
        self.starved = False
        events: list[Event] = []
        for stream_id, stream in self._streams.items():
            if stream.waiting:
                stream.waiting = False
                events.append((stream_id, Writable(room)))
        return events

    # ── time ─────────────────────────────────────────────────────────────────────────

    def set_timeouts(self, read_timeout: float | None, write_timeout: float | None) -> None:
        """Take these time-outs; None for the service's."""
        limits = self.limits
        write = limits.write_timeout if self.client else limits.write_idle_timeout
        self._read_timeout = limits.read_timeout if read_timeout is None else read_timeout
        self._write_timeout = write if write_timeout is None else write_timeout

    @property
    def timeouts(self) -> tuple[float, float]:
        """The read and the write time-out in force."""
        return self._read_timeout, self._write_timeout

    def _watch(self, now: float) -> None:
        """The clock over what the peer owes us, while we read."""
        limits = self.limits
        timeout = math.inf
        if not self.want_read or self.closing:
            pass
        elif self.client:
            if self._streams:
                timeout = self._read_timeout
        elif not self._streams:
            timeout = limits.keepalive_timeout
        elif any(not stream.complete for stream in self._streams.values()):
            timeout = limits.body_idle_timeout
        self._read_deadline = now + timeout
        self._arm()

    def _arm(self) -> None:
        self.deadline = AT_ONCE if self._stirred else min(self._read_deadline, self._write_deadline)

    def _stir(self) -> None:
        """Messages are looked at when the driver asks, not inside the call that moved them."""
        self._stirred = True
        self._arm()
        self._touch()

    def next_reason(self) -> str:
        """See :meth:`Connection.next_reason`."""
        if self.deadline == math.inf:
            return "nothing"
        if self._stirred:
            return "messages"
        return "the peer's next bytes" if self._read_deadline <= self._write_deadline else "write_idle_timeout"

    # ── ends ─────────────────────────────────────────────────────────────────────────

    def _blame(self, error: Error) -> Error:
        if error.esource is ErrorSource.UNSET:
            error.esource = ErrorSource.UPSTREAM if self.client else ErrorSource.DOWNSTREAM
        return error

    def _say_closed(self, error: Error | None, events: list[Event]) -> None:
        if not self._closed_said:
            self._closed_said = True
            events.append((0, ConnectionClosed(error)))

    def _close(self, how: Closing = Closing.AFTER_FLUSH) -> None:
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
            self._write_deadline = self._now + self._write_timeout
        self._arm()
        self._touch()

    @property
    def draining(self) -> bool:
        """The streams that are open are the last."""
        return self._draining or self._peer_ended

    def drain(self, now: float) -> None:
        """See :meth:`Connection.drain`."""
        self._now = now
        self._draining = True
        if not self._streams and not self.closing:
            self._close()

    def abort(self, now: float) -> None:
        """See :meth:`Connection.abort`."""
        self._now = now
        self._close(Closing.ABORT)

    def _touch(self) -> None:
        if self.endpoint is not None:
            self.endpoint.lane.enlist(self.endpoint)
