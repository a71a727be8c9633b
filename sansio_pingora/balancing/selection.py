"""Which backend comes next: an order of all of them for each request.

A selection is configured once and builds a selector of each set of backends. What of it must outlive a change of the
set, as the position of a round robin, stays in the selection.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from itertools import accumulate, count
from typing import Protocol

from sansio_pingora.balancing.backend import Backend
from sansio_pingora.balancing.ketama import Continuum
from sansio_pingora.balancing.schedule import smooth_schedule

__all__ = [
    "SELECTIONS",
    "Below",
    "Consistent",
    "Hashing",
    "LeastConnections",
    "Load",
    "PowerOfTwoChoices",
    "RandomChoice",
    "RoundRobin",
    "Selection",
    "Selector",
    "UniqueIterator",
    "fnv_1a",
    "selection",
]

Below = Callable[[int], int]
"""A source of random numbers: of 0 to n - 1, as ``random.Random().randrange`` is."""
Load = Callable[[Backend], int]
"""How many requests a backend has at the moment."""


class Selector(Protocol):
    """An order of the backends that it was built of."""

    def iter(self, key: bytes) -> Iterator[Backend]:
        """Backends to try for *key*, the best first, some of them again and again; none when there are none."""


class Selection(Protocol):
    """A way to choose: Pingora's ``BackendSelection``."""

    def build(self, backends: Sequence[Backend], load: Load) -> Selector:
        """The selector of *backends*, in their order.

        :raises ValueError: it cannot be made of these.
        """


class UniqueIterator:
    """The backends of *steps*, each once, from *max_iterations* steps at most.

    Steps that bring a backend again count as well.
    """

    __slots__ = ("_left", "_seen", "_steps")

    def __init__(self, steps: Iterator[Backend], max_iterations: int) -> None:
        self._steps = steps
        self._left = max_iterations
        self._seen: set[Backend] = set()

    def __iter__(self) -> UniqueIterator:
        return self

    def __next__(self) -> Backend:
        seen = self._seen
        while self._left > 0:
            self._left -= 1
            backend = next(self._steps)
            if backend not in seen:
                seen.add(backend)
                return backend
        raise StopIteration

    def get_next(self) -> Backend | None:
        """The next one, or None at the end."""
        return next(self, None)


class RoundRobin:
    """Each in its turn, by weight, evenly spread (:func:`smooth_schedule`).

    Where the one whose turn it is cannot be used, all others share its turns evenly.
    """

    def __init__(self) -> None:
        # Taking from a count is one step: lanes in other threads may do so at any moment.
        self._turns = count()
        self._substitutes = count()

    def build(self, backends: Sequence[Backend], load: Load) -> Selector:
        """See :class:`Selection`."""
        return _Turns(backends, self._turns, self._substitutes)


class _Turns:
    __slots__ = ("_backends", "_schedule", "_substitutes", "_turns")

    def __init__(self, backends: Sequence[Backend], turns: Iterator[int], substitutes: Iterator[int]) -> None:
        self._backends = backends
        self._schedule = smooth_schedule([backend.weight for backend in backends]) if backends else ()
        self._turns = turns
        self._substitutes = substitutes

    def iter(self, key: bytes) -> Iterator[Backend]:
        backends = self._backends
        if backends:
            yield backends[self._schedule[next(self._turns) % len(self._schedule)]]
            for turn in self._substitutes:
                yield backends[turn % len(backends)]


class _Weights:
    """A weighted choice by a number."""

    __slots__ = ("backends", "ends", "total")

    def __init__(self, backends: Sequence[Backend]) -> None:
        self.backends = backends
        self.ends = list(accumulate(backend.weight for backend in backends))
        self.total = self.ends[-1] if backends else 0

    def at(self, number: int) -> Backend:
        """The backend of a number below the total, where each has as many of them in a row as it weighs."""
        return self.backends[bisect_right(self.ends, number)]


class RandomChoice:
    """Any of them, by weight; then any of them alike. Pingora's ``Random``."""

    def __init__(self, below: Below) -> None:
        self._below = below

    def build(self, backends: Sequence[Backend], load: Load) -> Selector:
        """See :class:`Selection`."""
        return _Drawn(backends, self._below)


class _Drawn:
    __slots__ = ("_below", "_weights")

    def __init__(self, backends: Sequence[Backend], below: Below) -> None:
        self._weights = _Weights(backends)
        self._below = below

    def iter(self, key: bytes) -> Iterator[Backend]:
        weights, below = self._weights, self._below
        backends = weights.backends
        if backends:
            yield weights.at(below(weights.total))
            while True:
                yield backends[below(len(backends))]


def fnv_1a(key: bytes) -> int:
    """The 64-bit FNV-1a hash."""
    state = 0xCBF29CE484222325
    for byte in key:
        state = ((state ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return state


class Hashing:
    """The same key, the same backend, by weight; most keys move when the set changes: see :class:`Consistent`.

    *digest* is any function of bytes to whole numbers of 0 or more. Pingora's ``FNVHash`` is the default.
    """

    def __init__(self, digest: Callable[[bytes], int] = fnv_1a) -> None:
        self._digest = digest

    def build(self, backends: Sequence[Backend], load: Load) -> Selector:
        """See :class:`Selection`."""
        return _Hashed(backends, self._digest)


class _Hashed:
    __slots__ = ("_digest", "_weights")

    def __init__(self, backends: Sequence[Backend], digest: Callable[[bytes], int]) -> None:
        self._weights = _Weights(backends)
        self._digest = digest

    def iter(self, key: bytes) -> Iterator[Backend]:
        weights, digest = self._weights, self._digest
        backends = weights.backends
        if backends:
            number = digest(key)
            yield weights.at(number % weights.total)
            while True:
                number = digest((number & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little"))
                yield backends[number % len(backends)]


class Consistent:
    """Ketama: the same key, the same backend, and the fewest keys move when the set changes."""

    def build(self, backends: Sequence[Backend], load: Load) -> Selector:
        """See :class:`Selection`."""
        return Continuum(backends)


class LeastConnections:
    """The one with the fewest requests for its weight; among equals, each in its turn."""

    def __init__(self) -> None:
        self._turns = count()

    def build(self, backends: Sequence[Backend], load: Load) -> Selector:
        """See :class:`Selection`."""
        return _Least(backends, load, self._turns)


class _Least:
    __slots__ = ("_backends", "_load", "_schedule", "_turns")

    def __init__(self, backends: Sequence[Backend], load: Load, turns: Iterator[int]) -> None:
        self._backends = backends
        self._schedule = smooth_schedule([backend.weight for backend in backends]) if backends else ()
        self._load = load
        self._turns = turns

    def iter(self, key: bytes) -> Iterator[Backend]:
        if not self._backends:
            return
        load = self._load
        # From the one whose turn it is: min and sorted take the first of equals.
        start = self._schedule[next(self._turns) % len(self._schedule)]
        order = [*self._backends[start:], *self._backends[:start]]
        best = min(order, key=lambda backend: load(backend) / backend.weight)
        yield best
        yield from sorted(order, key=lambda backend: load(backend) / backend.weight)


class PowerOfTwoChoices:
    """Of two that are drawn by weight, the one with fewer requests for its weight.

    As good as :class:`LeastConnections` in all that matters, at a cost that does not grow with the number of
    backends, and without the rush of all lanes to the same one.
    """

    def __init__(self, below: Below) -> None:
        self._below = below

    def build(self, backends: Sequence[Backend], load: Load) -> Selector:
        """See :class:`Selection`."""
        return _BestOfTwo(backends, load, self._below)


class _BestOfTwo:
    __slots__ = ("_below", "_load", "_weights")

    def __init__(self, backends: Sequence[Backend], load: Load, below: Below) -> None:
        self._weights = _Weights(backends)
        self._load = load
        self._below = below

    def iter(self, key: bytes) -> Iterator[Backend]:
        weights, below, load = self._weights, self._below, self._load
        backends = weights.backends
        if not backends:
            return
        number = below(weights.total)
        first = weights.at(number)
        if len(backends) > 1:
            # Another one, by weight as well: of the numbers without those of the first.
            end = weights.ends[bisect_right(weights.ends, number)]
            number = below(weights.total - first.weight)
            second = weights.at(number if number < end - first.weight else number + first.weight)
            if load(second) * first.weight < load(first) * second.weight:
                first, second = second, first
            yield first
            yield second
        else:
            yield first
        while True:
            yield backends[below(len(backends))]


SELECTIONS = ("round_robin", "random", "fnv_hash", "consistent", "least_connections", "power_of_two_choices")
"""The names of :func:`selection`."""


def selection(name: str, below: Below) -> Selection:
    """The selection that a configuration calls *name*; *below* is the source of those that draw.

    :raises ValueError: there is none of that name.
    """
    match name:
        case "round_robin":
            return RoundRobin()
        case "random":
            return RandomChoice(below)
        case "fnv_hash":
            return Hashing()
        case "consistent":
            return Consistent()
        case "least_connections":
            return LeastConnections()
        case "power_of_two_choices":
            return PowerOfTwoChoices(below)
        case _:
            close = get_close_matches(name, SELECTIONS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(SELECTIONS)}"
            raise ValueError(f"unknown selection {name!r}: {hint}")
