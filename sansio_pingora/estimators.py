"""How often keys occur, in memory that does not grow with them: count-min sketches, as Pingora's limits have them.

An estimate is never below the truth where nothing is taken away that was not added, and above it when keys share all
their slots: with the sizes here, one in thousands. *seed* is a secret of the process (``secrets.token_bytes(16)``):
without one, a client that knows the code can choose keys that share their slots with others.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from hashlib import blake2b
from types import TracebackType
from typing import NamedTuple, Self

__all__ = ["Estimator", "Inflight", "InflightGuard", "Rate", "RateComponents", "proportional_rate"]

_MAX_HASHES = 16
_MAX_SLOTS = 1 << 32


class Estimator:
    """Counts by key in *hashes* rows of *slots* counters of 64 bits.

    :raises ValueError: no row or slot, more than 16 rows, or a seed of more than 64 bytes.
    """

    __slots__ = ("_digest_size", "_rows", "_seed", "_slots")

    def __init__(self, hashes: int, slots: int, seed: bytes = b"") -> None:
        if not 1 <= hashes <= _MAX_HASHES or not 1 <= slots <= _MAX_SLOTS:
            raise ValueError(
                f"an estimator has 1 to {_MAX_HASHES} hashes and 1 to 2^32 slots, not {hashes} and {slots}"
            )
        if len(seed) > 64:
            raise ValueError("a seed is at most 64 bytes")
        self._seed = seed
        self._slots = slots
        self._digest_size = 4 * hashes  # of a row, 32 bits
        self._rows = [array("q", bytes(8 * slots)) for _ in range(hashes)]

    def _places(self, key: bytes) -> list[int]:
        digest = blake2b(key, key=self._seed, digest_size=self._digest_size).digest()
        slots = self._slots
        return [int.from_bytes(digest[at : at + 4], "little") * slots >> 32 for at in range(0, len(digest), 4)]

    def incr(self, key: bytes, count: int = 1) -> int:
        """Add *count*; the estimate with it."""
        least: int | None = None
        for row, place in zip(self._rows, self._places(key), strict=True):
            value = row[place] = row[place] + count
            if least is None or value < least:
                least = value
        assert least is not None  # there is a row
        return least

    def decr(self, key: bytes, count: int = 1) -> int:
        """Take *count* away; the estimate without it."""
        return self.incr(key, -count)

    def get(self, key: bytes) -> int:
        """The estimate."""
        return min(row[place] for row, place in zip(self._rows, self._places(key), strict=True))

    def reset(self) -> None:
        """Everything is 0."""
        for at, row in enumerate(self._rows):
            self._rows[at] = array("q", bytes(8 * len(row)))


class Inflight:
    """What is under way, by key."""

    __slots__ = ("_estimator",)

    def __init__(self, seed: bytes = b"", hashes: int = 4, slots: int = 8_192) -> None:
        self._estimator = Estimator(hashes, slots, seed)

    def incr(self, key: bytes, count: int = 1) -> tuple[InflightGuard, int]:
        """*count* more of *key* are under way until the guard is released; and the estimate with them."""
        return InflightGuard(self._estimator, key, count), self._estimator.incr(key, count)

    def get(self, key: bytes) -> int:
        """The estimate."""
        return self._estimator.get(key)


class InflightGuard:
    """What :meth:`Inflight.incr` added, until :meth:`release` or the end of a ``with``."""

    __slots__ = ("_count", "_estimator", "_key")

    def __init__(self, estimator: Estimator, key: bytes, count: int) -> None:
        self._estimator = estimator
        self._key = key
        self._count = count

    def get(self) -> int:
        """The estimate of its key."""
        return self._estimator.get(self._key)

    def release(self) -> None:
        """It is over. Harmless again."""
        count, self._count = self._count, 0
        if count:
            self._estimator.decr(self._key, count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class RateComponents(NamedTuple):
    """What a rate can be made of."""

    previous: int
    """Occurrences in the interval before."""
    current: int
    """Occurrences in this one so far."""
    interval: float
    """Seconds."""
    fraction: float
    """How much of this interval has passed, from 0 to 1."""


def proportional_rate(components: RateComponents) -> float:
    """Per second, over one interval up to now, as if those of the interval before had been spread evenly."""
    previous, current, interval, fraction = components
    return (previous * (1.0 - fraction) + current) / interval


class Rate:
    """Occurrences by key in this interval and the one before. Intervals follow each other from the first touch on.

    :raises ValueError: an *interval* that is not seconds above 0.
    """

    __slots__ = ("_before", "_began", "_interval", "_now", "_number")

    def __init__(self, interval: float, seed: bytes = b"", hashes: int = 4, slots: int = 1_024) -> None:
        if not interval > 0:
            raise ValueError(f"the interval of a rate is seconds above 0, not {interval!r}")
        self._interval = interval
        self._began: float | None = None
        self._number = 0  # of the interval
        self._now = Estimator(hashes, slots, seed)
        self._before = Estimator(hashes, slots, seed)

    def observe(self, key: bytes, count: int, now: float) -> int:
        """*count* more at *now*, in monotonic seconds; the estimate of this interval with them."""
        self._turn(now)
        return self._now.incr(key, count)

    def rate(self, key: bytes, now: float) -> float:
        """Per second, in the interval before this one."""
        self._turn(now)
        return self._before.get(key) / self._interval

    def rate_with(self, key: bytes, make: Callable[[RateComponents], float], now: float) -> float:
        """What *make* says of the two intervals, like :func:`proportional_rate`."""
        fraction = self._turn(now)
        return make(RateComponents(self._before.get(key), self._now.get(key), self._interval, fraction))

    def _turn(self, now: float) -> float:
        """Go on to the interval of *now*; how much of it has passed."""
        if self._began is None:
            self._began = now
        # Counted from the first touch on, so that asking twice at one instant cannot turn twice by rounding.
        place = (now - self._began) / self._interval
        number = int(place)
        passed = number - self._number
        if passed >= 1:
            self._number = number
            self._now, self._before = self._before, self._now
            self._now.reset()
            if passed >= 2:
                self._before.reset()
        return max(0.0, place - self._number)
