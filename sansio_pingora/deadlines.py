"""Deadlines of many items, most of which move later or vanish before they come."""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar

__all__ = ["Deadlines", "Timed"]


class Timed(Protocol):
    """What has a deadline."""

    deadline: float
    """The true one; ``math.inf`` for none."""
    armed: float
    """Belongs to :class:`Deadlines`; ``math.inf`` to begin with."""


T = TypeVar("T", bound=Timed)


class Deadlines(Generic[T]):
    """A heap with one live entry per item.

    An item whose deadline moved later keeps its entry and is looked at again when that comes up:
    so a connection that is taken and returned a thousand times within its idle timeout enters the
    heap once. Entries that nothing stands behind any more are swept out before they are half of it.
    """

    __slots__ = ("_dead", "_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._order = 0
        self._dead = 0

    @property
    def next(self) -> float:
        """When to call :meth:`due`. May be early, never late."""
        return self._heap[0][0] if self._heap else math.inf

    def arm(self, item: T) -> None:
        """*item* has a new deadline. Needed only when it is earlier than ``item.armed``."""
        if item.deadline < item.armed:
            if item.armed != math.inf:
                self._dead += 1
            item.armed = item.deadline
            self._order += 1
            heappush(self._heap, (item.armed, self._order, item))
            self._sweep()

    def forget(self, item: T) -> None:
        """*item* is gone."""
        item.deadline = math.inf
        if item.armed != math.inf:
            item.armed = math.inf
            self._dead += 1
            self._sweep()

    def due(self, now: float) -> list[T]:
        """The items whose deadline has come, in order; they have none from here on."""
        heap = self._heap
        due: list[T] = []
        while heap and heap[0][0] <= now:
            at, _, item = heappop(heap)
            if at != item.armed:
                self._dead -= 1
                continue
            item.armed = math.inf
            if item.deadline <= now:
                item.deadline = math.inf
                due.append(item)
            else:
                self.arm(item)
        return due

    def _sweep(self) -> None:
        if self._dead > 32 and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[0] == entry[2].armed]
            heapify(self._heap)
            self._dead = 0
