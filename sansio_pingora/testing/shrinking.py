"""Fewer decisions that break the same: what a seed decided, without all that the break does not need.

Every draw of a world is a decision, known by the generator that made it and its number there. The plain outcome of one
is 0, False, or the lower end. A seed is shrunk by making ever more of its decisions plain, for as long as the same
invariant breaks in the same place; what is left are the decisions that matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pprint import pformat
from typing import TYPE_CHECKING, NamedTuple

from sansio_pingora.testing.prng import Random
from sansio_pingora.testing.scenario import build_world
from sansio_pingora.testing.world import format_line

if TYPE_CHECKING:
    from types import TracebackType

    from sansio_pingora.testing.world import World

__all__ = ["Build", "Decisions", "Noted", "Shrunk", "Told", "shrink_seed"]

Decisions = dict[str, dict[int, int | float]]
"""By generator, its forks behind slashes, and the number of a draw there: what came of it, where that is not plain."""

Build = Callable[[int, Random], "World"]
"""Makes the world of a seed, in which nothing has happened yet: ``World(seed, weather, rng)`` and who is in it."""

_Flat = dict[tuple[str, int], "int | float"]
_MOST_STEPS = 20_000
_STORY = 120
"""Lines of the trace of a shrunk seed."""


class Noted(Random):
    """Draws as :class:`.prng.Random` does, and keeps in *decisions* what came of it."""

    __slots__ = ("_drawn", "_path", "decisions")

    def __init__(self, seed: int, path: str = "", decisions: Decisions | None = None) -> None:
        super().__init__(seed)
        self.decisions: Decisions = {} if decisions is None else decisions
        self._path = path
        self._drawn = 0

    def bits(self) -> int:
        """See :class:`.prng.Random`."""
        self._note(drawn := super().bits())
        return drawn

    def below(self, n: int) -> int:
        """See :class:`.prng.Random`."""
        self._note(drawn := super().below(n))
        return drawn

    def chance(self, p: float) -> bool:
        """See :class:`.prng.Random`."""
        self._note(drawn := super().chance(p))
        return drawn

    def uniform(self, low: float, high: float) -> float:
        """See :class:`.prng.Random`."""
        self._note(drawn := super().uniform(0.0, 1.0))
        return low + (high - low) * drawn

    def fork(self, label: str) -> Random:
        """See :class:`.prng.Random`."""
        return Noted(super().fork(label).seed, _below(self._path, label), self.decisions)

    def _note(self, drawn: float) -> None:
        if drawn:
            self.decisions.setdefault(self._path, {})[self._drawn] = drawn
        self._drawn += 1


class Told(Random):
    """Decides as *decisions* say, and plainly in all that they do not speak of.

    Worlds of other decisions ask other questions, so one may meet a question that it was no answer to: it is fitted.
    """

    __slots__ = ("_decisions", "_drawn", "_own", "_path", "used")

    def __init__(self, decisions: Decisions, path: str = "", used: set[tuple[str, int]] | None = None) -> None:
        super().__init__(0)
        self.used: set[tuple[str, int]] = set() if used is None else used
        """Those of the decisions that were asked for."""
        self._decisions = decisions
        self._own = decisions.get(path, {})
        self._path = path
        self._drawn = 0

    def __repr__(self) -> str:
        return f"Told({self._decisions!r})"

    def bits(self) -> int:
        """See :class:`.prng.Random`."""
        return int(self._next())

    def below(self, n: int) -> int:
        """See :class:`.prng.Random`."""
        return max(0, min(int(self._next()), n - 1))

    def chance(self, p: float) -> bool:
        """See :class:`.prng.Random`."""
        decided = bool(self._next())
        return p >= 1.0 or (decided and p > 0.0)

    def uniform(self, low: float, high: float) -> float:
        """See :class:`.prng.Random`."""
        return low + (high - low) * min(self._next(), 1.0)

    def fork(self, label: str) -> Random:
        """See :class:`.prng.Random`."""
        return Told(self._decisions, _below(self._path, label), self.used)

    def _next(self) -> int | float:
        number = self._drawn
        self._drawn += 1
        decided = self._own.get(number, 0)
        if decided:
            self.used.add((self._path, number))
        return decided


def _below(path: str, label: str) -> str:
    return f"{path}/{label}" if path else label


class _Break(NamedTuple):
    """What broke, and where in the code: the same again has the same."""

    invariant: str
    error: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A seed with the decisions that its break needs."""

    seed: int
    decisions: Decisions
    world: World
    """It was run with them until it broke."""
    error: Exception
    """How it did."""
    before: int
    """Decisions other than plain ones that the seed made."""
    steps_before: int
    attempts: int
    """Worlds that were tried."""
    build: Build | None
    """What made the worlds; None: they are those of ``simulate``."""

    @property
    def after(self) -> int:
        """Decisions that are left."""
        return sum(map(len, self.decisions.values()))

    def __str__(self) -> str:
        return "\n".join(
            [
                *map(format_line, self.world.trace[-_STORY:]),
                f"{self.error}".partition("\n")[0],
                self._counted(),
                "",
                self.as_test(),
            ]
        )

    def _counted(self) -> str:
        decisions = f"{self.before} decisions became {self.after}"
        return f"{decisions}, {self.steps_before} steps {self.world.steps}, in {self.attempts} worlds"

    def as_test(self) -> str:
        """A test to paste, which breaks as the seed does."""
        invariant = re.sub(r"\W", "_", getattr(self.error, "invariant", type(self.error).__name__).lower())
        decisions = pformat(self.decisions, width=112).replace("\n", "\n    ")
        imported, built = self._building()
        return (
            f"{imported}"
            "from sansio_pingora.testing.shrinking import Told\n\n\n"
            f"def test_{invariant}_of_seed_{self.seed}():\n"
            f"    decisions = {decisions}\n"
            f"    {built}\n"
            "    world.settle()\n"
        )

    def _building(self) -> tuple[str, str]:
        """The line that imports what builds the world, and the one that calls it."""
        if self.build is None:
            imported = "from sansio_pingora.testing.scenario import build_world\n"
            return imported, f"world, _ = build_world({self.seed}, rng=Told(decisions))"
        name = getattr(self.build, "__qualname__", "build")
        module = getattr(self.build, "__module__", None)
        importable = name.isidentifier() and module not in (None, "__main__")
        if not name.isidentifier():
            name = "build"  # a lambda, or a function in another one: it is known to who called us
        imported = f"from {module} import {name}\n" if importable else ""
        return imported, f"world = {name}({self.seed}, Told(decisions))"


def shrink_seed(seed: int, *, build: Build | None = None, attempts: int = 1_000) -> Shrunk | None:
    """*seed* with as few decisions as *attempts* worlds find that break the same; None where it breaks nothing.

    *build* makes a world of one's own, which is settled: what must hold in it is for the oracles that watch it, or for
    whoever takes part to raise. Without it the world is the one of ``simulate``.

    :raises ValueError: the world that *build* made decides by another generator than the one that *build* was given.
    """
    dice = Noted(seed)
    world, error = _run(seed, dice, 1_000_000, build)
    if error is None:
        return None
    shrinker = _Shrinker(seed, _place(error), attempts, (world, error), build)
    everything = {
        (path, number): decided for path, own in dice.decisions.items() for number, decided in sorted(own.items())
    }
    if shrinker.breaks(everything):
        shrinker.drop_generators()
        shrinker.drop_runs()
        shrinker.lower()
    else:  # two generators of one name that were not asked the same: nothing is known of such a world
        shrinker.kept = everything
    found, error = shrinker.best
    return Shrunk(seed, _nested(shrinker.kept), found, error, len(everything), world.steps, shrinker.tried, build)


class _Shrinker:
    def __init__(
        self, seed: int, place: _Break, attempts: int, best: tuple[World, Exception], build: Build | None
    ) -> None:
        self.best = best
        self.kept: _Flat = {}
        self.tried = 0
        self._seed, self._place, self._attempts, self._build = seed, place, attempts, build

    def breaks(self, decisions: _Flat) -> bool:
        """Whether a world of *decisions* breaks as the seed did: then those of them that it asked for are kept."""
        if self.tried >= self._attempts:
            return False
        self.tried += 1
        told = Told(_nested(decisions))
        most = max(4 * self.best[0].steps, _MOST_STEPS)
        world, error = _run(self._seed, told, most, self._build)
        if error is None or _place(error) != self._place or world.steps >= most:
            return False
        self.best = world, error
        self.kept = {key: decided for key, decided in decisions.items() if key in told.used}
        return True

    def drop_generators(self) -> None:
        """Make plain what one generator decided, or one and all behind it."""
        for path in sorted({path for path, _ in self.kept}):
            behind = f"{path}/"
            for whole in (True, False):
                fewer = {
                    key: decided
                    for key, decided in self.kept.items()
                    if key[0] != path and not (whole and key[0].startswith(behind))
                }
                if len(fewer) < len(self.kept) and self.breaks(fewer):
                    break

    def drop_runs(self) -> None:
        """Make plain ever shorter runs of decisions, until not one of them can go."""
        size = len(self.kept)
        while size:
            before = len(self.kept)
            at = 0
            while at < len(self.kept):
                keys = list(self.kept)
                fewer = {key: self.kept[key] for key in keys[:at] + keys[at + size :]}
                if not self.breaks(fewer):
                    at += size
            if size > 1 or len(self.kept) == before or self.tried >= self._attempts:
                size //= 2

    def lower(self) -> None:
        """Take smaller and rounder outcomes where they do as well."""
        for key in list(self.kept):
            while key in self.kept:
                if not any(self.breaks({**self.kept, key: plainer}) for plainer in _plainer(self.kept[key])):
                    break


def _plainer(decided: float) -> Iterator[float]:
    """What to try in place of *decided*, the plainest first."""
    whole = type(decided) is not float
    choices = (1, decided // 2) if whole else (0.5, round(decided, 1), round(decided, 2))
    for choice in choices:
        if choice == decided:
            return
        yield choice


def _nested(decisions: _Flat) -> Decisions:
    nested: Decisions = {}
    for (path, number), decided in decisions.items():
        nested.setdefault(path, {})[number] = decided
    return nested


def _run(seed: int, rng: Random, most: int, build: Build | None) -> tuple[World, Exception | None]:
    world = build_world(seed, rng=rng)[0] if build is None else build(seed, rng)
    if world.rng is not rng:
        raise ValueError(
            f"{world!r} does not decide by the rng that build() was given: write World(seed, weather, rng)"
        )
    try:
        world.settle(max_steps=most)
    except Exception as error:  # of an oracle, or of a script that met what it was not made for
        return world, error
    finally:
        for driver in world.drivers:
            driver.stop()
    return world, None


def _place(error: Exception) -> _Break:
    told: BaseException = error.__cause__ or error
    at: TracebackType | None = told.__traceback__
    file, line = "", 0
    while at is not None:
        if at.tb_frame.f_code.co_name != "broken":
            file, line = at.tb_frame.f_code.co_filename, at.tb_lineno
        at = at.tb_next
    return _Break(getattr(error, "invariant", ""), type(told).__name__, file, line)
