"""What ``ReadBody`` and ``Drain`` mean to a callback that reads one body and writes another."""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Protocol

from sansio_pingora.errors import Error, LocalProtocolError
from sansio_pingora.machine import Lane
from sansio_pingora.session import Drain, ReadBody, Routine, Routines
from sansio_pingora.wire import Body, Done, HttpTask, join_piece

__all__ = ["BodyRoutines", "Side"]


class Side(Protocol):
    """What a callback reads from and writes to: a session, or a raw stream."""

    now: float
    room: int
    closed: Error | None

    def consumed(self, size: int) -> None:
        """*size* bytes were used."""

    def invite_body(self) -> None:
        """The body is wanted now."""


class BodyRoutines(Routines):
    """Runs one callback over one body. Bytes wait here until it reads them, and their read credit with them."""

    __slots__ = ("_ended", "_inbox", "_read_deadline", "_reader", "_routine", "_side", "_writer")

    def __init__(self, lane: Lane, side: Side, now: float, *, ended: bool = False) -> None:
        super().__init__(lane, now)
        self._side = side
        self._inbox: deque[bytes | None] = deque()  # None stands for an end
        self._ended = ended
        self._reader = 0
        self._read_deadline = math.inf
        self._writer = 0
        self._routine: Routine | None = None

    # ── what the driver says ─────────────────────────────────────────────────────────

    def resume(self, token: int, value: Any, now: float) -> None:
        """See :meth:`Coordinator.resume`."""
        self._side.now = now
        super().resume(token, value, now)

    def fail(self, token: int, error: Error, now: float) -> None:
        """See :meth:`Coordinator.fail`."""
        self._side.now = now
        if token == 0:
            self._reader = self._writer = 0  # or what comes next would be read for nobody
        super().fail(token, error, now)

    def handle_timeout(self, now: float) -> None:
        """See :meth:`Coordinator.handle_timeout`."""
        self._side.now = now
        super().handle_timeout(now)
        if self._reader and self._read_deadline <= now:
            token, self._reader = self._reader, 0
            self.resume(token, b"", now)
        if self._reader and self._read_deadline < self.deadline:
            self.deadline = self._read_deadline

    # ── for subclasses ───────────────────────────────────────────────────────────────

    def run(self, routine: Routine) -> None:
        """Run the callback until it waits."""
        self._routine = routine
        self.start(routine, self._concluded)

    def arrived(self, data: bytes, end: bool) -> None:
        """Bytes of the body, perhaps none; *end*: the last."""
        if data:
            join_piece(self._inbox, data)
        if end:
            self._ended = True
            self._inbox.append(None)
        if self._reader and self._inbox:
            token, self._reader = self._reader, 0
            self.resume(token, self._next(), self.now)

    def room_came(self) -> None:
        """There is room to write again."""
        if self._writer:
            token, self._writer = self._writer, 0
            self.resume(token, None, self.now)

    def broken_off(self, error: Error) -> None:
        """The peer is gone: raise *error* in the callback where it waits."""
        self._reader = self._writer = 0
        if self._routine is not None:
            self.interrupt(self._routine, error)

    def take_unread(self) -> list[HttpTask]:
        """See :meth:`Routines.take_unread`."""
        unread, self._inbox = self._inbox, deque()
        return [Done() if data is None else Body(data) for data in unread]

    def perform(self, effect: Any) -> tuple[int, Any]:
        """See :meth:`Routines.perform`."""
        side = self._side
        kind = type(effect)
        if kind is ReadBody:
            if self._inbox:
                return 0, self._next()
            if side.closed is not None:
                raise side.closed
            if self._ended and not self._has_more():
                return 0, None
            if self._is_unread():
                raise LocalProtocolError("the response is complete: read the request before, the rest is thrown away")
            side.invite_body()
            self._reader = self.new_token()
            self._read_deadline = effect.deadline
            if effect.deadline < self.deadline:
                self.deadline = effect.deadline
                self.lane.enlist(self)
            return self._reader, None
        if kind is Drain:
            if side.closed is not None:
                raise side.closed
            if side.room > 0 or self._is_written():
                return 0, None
            self._writer = self.new_token()
            return self._writer, None
        return super().perform(effect)

    def _next(self) -> bytes | None:
        data = self._inbox.popleft()
        if data is not None:
            self._side.consumed(len(data))
        return data

    def _has_more(self) -> bool:
        """Behind the end of the body something else may come."""
        return False

    def _is_unread(self) -> bool:
        """What still comes of the body does not come here."""
        return False

    def _is_written(self) -> bool:
        """Our side is complete: there is no room to wait for."""
        raise NotImplementedError

    def _concluded(self, value: Any, error: Error | None) -> None:
        """The callback is over: *value* is what it returned, *error* what it raised."""
        raise NotImplementedError
