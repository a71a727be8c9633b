"""Backends whose requests fail are left out for a while, without a probe of our own (passive checks)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from sansio_pingora.balancing.backend import Backend
from sansio_pingora.balancing.backends import BackendState
from sansio_pingora.errors import Error, ErrorSource

__all__ = ["OutlierDetection", "verdict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierDetection:
    """When a backend is ejected, and for how long. Envoy's terms and most of its figures."""

    consecutive_failures: int = 5
    """Attempts in a row that failed."""
    base_ejection_time: float = 30.0
    """Seconds out; the second time in short order twice as many, and so on."""
    max_ejection_time: float = 300.0
    """Seconds at most."""
    max_ejection_percent: int = 50
    """Of all backends, rounded down: so one that is alone is never ejected."""
    statuses: Collection[int] = frozenset({502, 503, 504})
    """Answers that are failures too."""
    ejection_changed: Callable[[Backend, bool], object] | None = None
    """Called when a backend was ejected (True) or is back; it must not block."""

    def __post_init__(self) -> None:
        if self.consecutive_failures < 1:
            raise ValueError("consecutive_failures is 1 or more")
        if not 0 < self.base_ejection_time <= self.max_ejection_time:
            raise ValueError("ejection times are seconds above 0, and the longest is not below the base")
        if not 0 <= self.max_ejection_percent <= 100:
            raise ValueError("max_ejection_percent is from 0 to 100")

    def may_eject(self, states: Collection[BackendState]) -> bool:
        """Whether one more of *states* may be out."""
        out = sum(1 for state in states if state.ejected)
        return (out + 1) * 100 <= len(states) * self.max_ejection_percent

    def eject(self, state: BackendState, now: float) -> None:
        """*state* is out, until its ``out_until``."""
        if now - state.returned > self.duration(state):
            state.ejections = 0  # it did well for as long as it was out the last time
        state.ejections += 1
        state.failures = 0
        state.ejected = True
        state.out_until = now + self.duration(state)
        state.settle()

    def readmit(self, state: BackendState, now: float) -> None:
        """*state* is back."""
        state.ejected = False
        state.failures = 0
        state.returned = now
        state.settle()

    def duration(self, state: BackendState) -> float:
        """Seconds that its last ejection took; 0 when there was none."""
        return min(self.base_ejection_time * state.ejections, self.max_ejection_time)


def verdict(error: Error | None, status: int | None, statuses: Collection[int]) -> bool | None:
    """Whether an attempt failed by the fault of its backend; None where it says nothing of that."""
    if error is None:
        return status in statuses
    return True if error.esource is ErrorSource.UPSTREAM else None
