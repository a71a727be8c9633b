"""Faults that are planned: which connect, which direction, behind which byte, and when."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from sansio_pingora._reprs import brief
from sansio_pingora.testing.link import End

__all__ = ["FAULT_KINDS", "Fault", "FaultyEnd"]

FAULT_KINDS = ("refuse", "late", "stall", "half-close", "reset")
"""What a :class:`Fault` can be."""


@dataclass(frozen=True, slots=True, repr=False)
class Fault:
    """One fault of the network.

    ``refuse`` and ``late`` are about the connect. The others begin *after* seconds behind the byte *at* of what *side*
    sends, or behind the connect where that is 0: ``stall`` holds up what comes then, for *seconds*, and
    of two at once the one that ends later counts; ``half-close`` loses it, and the other side sees the end; ``reset``
    resets the link for both.

    :raises ValueError: a value is out of its range.
    """

    what: str
    """One of :data:`FAULT_KINDS`."""
    connect: int = 1
    """Which connect of the world, from 1."""
    side: str = "client"
    """Whose bytes: of the ``client``, who connected, or the ``server``."""
    at: int = 0
    """Bytes that arrive before it."""
    after: float = 0.0
    """Seconds."""
    seconds: float = math.inf
    """How long a stall lasts; by how much a connect is late, which must be finite."""

    def __post_init__(self) -> None:
        if self.what not in FAULT_KINDS:
            raise ValueError(f"a fault is one of {', '.join(FAULT_KINDS)}, not {self.what!r}")
        if self.side not in ("client", "server"):
            raise ValueError(f"a fault is on the side of the client or of the server, not {self.side!r}")
        if self.connect < 1 or self.at < 0 or not 0 <= self.after < math.inf or not self.seconds >= 0:
            raise ValueError(f"{self!r}: connects count from 1, and nothing else is below 0")
        if self.what == "late" and self.seconds == math.inf:
            raise ValueError("a connect is late by a finite number of seconds")

    def __repr__(self) -> str:
        return brief(self)


class FaultyEnd(End):
    """An end to which faults happen, by what arrives at it."""

    __slots__ = ("_due", "_held", "_held_until", "_landed", "_swallows")

    def expect(self, faults: Iterable[Fault]) -> None:
        """*faults* are those of the direction that ends here."""
        ours = [fault for fault in faults if fault.what not in ("refuse", "late")]
        self._due = deque(sorted(ours, key=lambda fault: fault.at))
        self._landed = 0
        self._held: list[bytes | None] | None = None
        self._held_until = 0.0
        self._swallows = False
        self._begin_due(0)

    def _begin_due(self, landed: int) -> None:
        while self._due and self._due[0].at <= landed:
            fault = self._due.popleft()
            if fault.after:
                self._world.after(fault.after, self._begin, fault)
            else:
                self._begin(fault)

    def _begin(self, fault: Fault) -> None:
        if self.dead:
            return
        self._world.note(self.name, "fault", fault.what)
        self._world.faults.count(f"link {fault.what}")
        if fault.what == "reset":
            self._land_reset(None)
            self.other._land_reset(None)
        elif fault.what == "half-close":
            super()._land_fin(None)
            self._swallows = True
        else:
            until = self._world.now + fault.seconds
            if self._held is None:
                self._held = []
            elif until <= self._held_until:
                return
            self._held_until = until
            if until != math.inf:
                self._world.after(fault.seconds, self._release, until)

    def _release(self, until: float) -> None:
        if until != self._held_until:
            return  # another stall lasts longer
        held, self._held = self._held, None
        for segment in held or ():
            if segment is None:
                self._land_fin(None)
            else:
                self._land(segment)

    def _land(self, segment: bytes) -> None:
        while segment and not self.dead:
            if self._swallows:
                self.other._landed_some(len(segment))
                return
            if self._held is not None:
                self._held.append(segment)
                return
            size = len(segment)
            if self._due and self._due[0].at < self._landed + size:
                size = self._due[0].at - self._landed
            self._landed += size
            super()._land(segment[:size])
            segment = segment[size:]
            self._begin_due(self._landed)

    def _land_fin(self, _: None) -> None:
        if self._held is not None:
            self._held.append(None)
        elif not self._swallows:
            super()._land_fin(None)
