"""A transport without a protocol: opaque bytes both ways on stream 1, with credit, half-close and clocks."""

from __future__ import annotations

import math

from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError
from sansio_pingora.http1 import Http1Connection, NativeCodec
from sansio_pingora.http1.states import CLOSED, RAW
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, Event

__all__ = ["RawConnection"]

_DRAIN_PATIENCE = 5.0
"""Seconds without traffic after which a draining stream is taken for idle, as with HTTP keep-alive."""


class RawConnection(Http1Connection):
    """What an HTTP/1 connection is after a 101, from its first byte: ``UpgradedBody`` both ways.

    A stream on which nothing passes for ``read_timeout``, while we read, has failed.
    """

    __slots__ = ()

    source = ErrorSource.DOWNSTREAM

    def __init__(self, now: float, limits: Limits) -> None:
        super().__init__(NativeCodec(limits, server=True), limits)
        self.stream = 1
        self._active = True
        self.receiving = self.sending = RAW
        self._start_clock(now)
        self._arm()

    def finish_reading(self, now: float) -> None:
        """Nobody reads any more: send what is queued, shut, and throw away what still comes, for a while."""
        self._active = False
        if self.closing:
            return
        if self.receiving is CLOSED:
            self._close(now)
        else:
            self._linger(now)

    def receive_eof(self, now: float) -> list[Event]:
        """See :meth:`Connection.receive_eof`."""
        events: list[Event] = []
        if self.receiving is RAW:
            self._raw_eof(events, now)
        elif not self._active:
            self._say_closed(None, events)
            self._close(now)
        return events

    def _start_clock(self, now: float) -> None:
        super()._start_clock(now)
        if self._draining:
            self._read_deadline = min(self._read_deadline, now + _DRAIN_PATIENCE)

    def _read_timed_out(self, reason: str, events: list[Event], now: float) -> None:
        self._fail(Error(ErrorType.READ_TIMEDOUT, f"nothing passed for {reason}"), events)
        self._close(now, Closing.AFTER_FLUSH if self._draining else Closing.ABORT)

    def _send_head(self, head: object, end: bool, now: float) -> None:
        raise LocalProtocolError("a raw stream has no heads: send UpgradedBody")

    def drain(self, now: float) -> None:
        """See :meth:`Connection.drain`. There is nothing to announce it with: a stream may end, or fall silent."""
        if not self._draining:
            self._draining = True
            if self._read_deadline != math.inf:
                self._start_clock(now)
                self._arm()
                self._touch()

    def open_stream(self, now: float) -> int | None:
        """See :meth:`Connection.open_stream`. There is one stream, and it is open."""
        return None

    def invite_body(self, stream_id: int, now: float) -> None:
        """See :meth:`Connection.invite_body`. Nobody waits to be invited."""
