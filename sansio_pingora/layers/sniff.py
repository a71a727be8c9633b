"""HTTP/1, or HTTP/2 with prior knowledge: told by the first byte that differs from the preface (RFC 9113 3.4)."""

from __future__ import annotations

import math
from collections.abc import Callable

from sansio_pingora.errors import Error, LocalProtocolError
from sansio_pingora.http2 import PREFACE
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, Connection, ConnectionClosed, Endpoint, Event
from sansio_pingora.wire import HttpTask

__all__ = ["PrefaceSniff"]

_DRAIN_PATIENCE = 5.0
"""Seconds for a client that has connected to say something while the service drains, as with HTTP keep-alive."""


class PrefaceSniff:
    """Keeps the contract of a connection until the client has told which protocol it speaks.

    Then *switch* is given the connection that *make_http1* or *make_http2* has made, and puts it
    into this one's place; the bytes that have come are its first.
    """

    __slots__ = (
        "_draining",
        "_make_http1",
        "_make_http2",
        "_seen",
        "_switch",
        "closing",
        "deadline",
        "endpoint",
        "limits",
    )

    version = b""
    want_read = True
    shut_write = False
    starved = False
    stalled = False
    close_delimited = False

    def __init__(
        self,
        now: float,
        limits: Limits,
        make_http1: Callable[[float], Connection],
        make_http2: Callable[[float], Connection],
        switch: Callable[[Connection], None],
    ) -> None:
        self.endpoint: Endpoint | None = None
        self.limits = limits
        self.closing = Closing.NO
        self.deadline = now + limits.first_byte_timeout
        self._make_http1 = make_http1
        self._make_http2 = make_http2
        self._switch = switch
        self._seen = b""
        self._draining = False

    # ── input ────────────────────────────────────────────────────────────────────────

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """See :meth:`Connection.receive_data`."""
        if not data:
            return self.receive_eof(now)
        if not self._seen:
            self.deadline = now + self.limits.head_timeout
        seen = self._seen = self._seen + data
        if PREFACE.startswith(seen) and len(seen) < len(PREFACE):
            return []
        inner = (self._make_http2 if seen.startswith(PREFACE) else self._make_http1)(now)
        self._switch(inner)
        events = inner.receive_data(seen, now)
        if self._draining:
            inner.drain(now)
        return events

    def receive_eof(self, now: float) -> list[Event]:
        """See :meth:`Connection.receive_eof`: an end before a protocol."""
        return self._close(Closing.AFTER_FLUSH, None)

    def transport_lost(self, reason: Error | None, now: float) -> list[Event]:
        """See :meth:`Connection.transport_lost`."""
        return self._close(Closing.ABORT, reason)

    def handle_timeout(self, now: float) -> list[Event]:
        """See :meth:`Connection.handle_timeout`: a client that says nothing is told nothing."""
        return self.receive_eof(now) if self.deadline <= now and not self.closing else []

    # ── nothing is sent before a protocol is known ───────────────────────────────────

    def data_to_send(self) -> list[bytes]:
        """See :meth:`Connection.data_to_send`."""
        return []

    def write_paused(self, now: float) -> None:
        """See :meth:`Connection.write_paused`."""

    def write_resumed(self, now: float) -> list[Event]:
        """See :meth:`Connection.write_resumed`."""
        return []

    def write_progressed(self, now: float) -> None:
        """See :meth:`Connection.write_progressed`."""

    def open_stream(self, now: float) -> int | None:
        """See :meth:`Connection.open_stream`."""
        return None

    def send(self, stream_id: int, task: HttpTask, now: float) -> int:
        """See :meth:`Connection.send`."""
        raise LocalProtocolError(f"stream {stream_id} was never opened: the client has not told its protocol yet")

    def invite_body(self, stream_id: int, now: float) -> None:
        """See :meth:`Connection.invite_body`."""

    def consumed(self, stream_id: int, size: int, now: float) -> None:
        """See :meth:`Connection.consumed`."""

    # ── ends ─────────────────────────────────────────────────────────────────────────

    def drain(self, now: float) -> None:
        """See :meth:`Connection.drain`."""
        self._draining = True
        patience = _DRAIN_PATIENCE if self.endpoint is None else self.endpoint.lane.drain_patience
        self.deadline = min(self.deadline, now + patience)
        self._touch()

    def abort(self, now: float) -> None:
        """See :meth:`Connection.abort`."""
        self._close(Closing.ABORT, None)
        self._touch()

    def _close(self, how: Closing, reason: Error | None) -> list[Event]:
        self.closing = how
        self.deadline = math.inf
        return [(0, ConnectionClosed(reason))]

    def next_reason(self) -> str:
        """See :meth:`Connection.next_reason`."""
        return "head_timeout" if self._seen else "first_byte_timeout"

    def _touch(self) -> None:
        if self.endpoint is not None:
            self.endpoint.lane.enlist(self.endpoint)

    @property
    def held(self) -> int:
        """Bytes that this connection keeps in memory."""
        return len(self._seen)
