"""A generator of our own over one seed: equal on every Python, whatever ``random`` does there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Random"]

T = TypeVar("T")

_MASK = (1 << 64) - 1


class Random:
    """splitmix64: small, quick, and good enough to choose faults by.

    What draws most draws by itself, not through :meth:`bits`: a call less is a third less.
    """

    __slots__ = ("_state", "seed")

    def __init__(self, seed: int) -> None:
        self.seed = seed & _MASK
        self._state = self.seed

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.seed})"

    def bits(self) -> int:
        """The next 64 bits."""
        self._state = z = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, n: int) -> int:
        """An integer from 0 to n - 1."""
        self._state = z = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((z ^ (z >> 31)) * n) >> 64

    def between(self, low: int, high: int) -> int:
        """An integer from *low* to *high*, both included."""
        return low + self.below(high - low + 1)

    def chance(self, p: float) -> bool:
        """True with probability *p*."""
        self._state = z = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((z ^ (z >> 31)) >> 11) * 2.0**-53 < p

    def uniform(self, low: float, high: float) -> float:
        """A float from *low* to *high*."""
        self._state = z = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return low + (high - low) * (((z ^ (z >> 31)) >> 11) * 2.0**-53)

    def pick(self, choices: Sequence[T]) -> T:
        """One of *choices*."""
        return choices[self.below(len(choices))]

    def weighted(self, choices: Sequence[tuple[int, T]]) -> T:
        """One of *choices*, pairs of a weight and a value."""
        at = self.below(sum(weight for weight, _ in choices))
        for weight, value in choices:
            at -= weight
            if at < 0:
                return value
        raise AssertionError("weights are positive")

    def data(self, size: int) -> bytes:
        """*size* arbitrary bytes."""
        return b"".join(self.bits().to_bytes(8, "little") for _ in range((size + 7) // 8))[:size]

    def fork(self, label: str) -> Random:
        """A generator of its own for *label*: it depends on the seed alone, not on what was drawn before."""
        state = 0xCBF29CE484222325
        for byte in label.encode():  # FNV-1a: hash() of text differs between processes
            state = ((state ^ byte) * 0x100000001B3) & _MASK
        return Random(Random(self.seed ^ state).bits())
