"""What the network of a world is like: its links, and the faults that happen to them by chance or by plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sansio_pingora._reprs import brief
from sansio_pingora.testing.faults import LINK_FAULTS, Faults, check_chances
from sansio_pingora.testing.link import LinkProfile
from sansio_pingora.testing.planned import Fault

__all__ = ["Weather", "faults_by_chance"]


@dataclass(frozen=True, slots=True, repr=False)
class Weather:
    """What links are like, and how often faults of the network happen.

    :raises TypeError: a part of it is not of its kind.
    :raises ValueError: there is no profile, or a chance is of no fault that happens by chance, or no probability.
    """

    profiles: tuple[LinkProfile, ...] = (LinkProfile(),)
    """Each new link gets one of them."""
    chances: dict[str, float] = field(default_factory=dict)
    """Probability of each fault by its name, whenever it could happen: those of :data:`.faults.BY_CHANCE`."""
    plan: tuple[Fault, ...] = ()
    """Faults that happen once, to the connect that they name."""

    def __post_init__(self) -> None:
        _check("profiles", self.profiles, LinkProfile)
        _check("plan", self.plan, Fault)
        if not self.profiles:
            raise ValueError("profiles is empty: a link needs one, such as LinkProfile()")
        if not isinstance(self.chances, dict):
            raise TypeError(f"chances is a dict of probabilities by the names of faults, not {self.chances!r}")
        check_chances(self.chances)

    def __repr__(self) -> str:
        return brief(self)


def _check(name: str, values: object, kind: type) -> None:
    if isinstance(values, kind):
        raise TypeError(f"{name} is a tuple of {kind.__name__}: write ({values!r},)")
    if not isinstance(values, tuple | list) or not all(isinstance(value, kind) for value in values):
        raise TypeError(f"{name} is a tuple of {kind.__name__}, not {values!r}")


def faults_by_chance(faults: Faults, connect: int) -> Iterator[Fault]:
    """What chance has decided to do to the link of the connect of number *connect*, if it is made and gets so far."""
    for name in LINK_FAULTS:
        if (rng := faults.planned(name)) is not None:
            what = name.removeprefix("link ")
            side = rng.pick(("client", "server"))
            at = rng.below(1 << rng.below(17))  # as often within the first ten bytes as within the first ten thousand
            after = rng.uniform(0.0, 5.0) if rng.chance(0.5) else 0.0
            if what == "stall" and not rng.chance(0.2):
                yield Fault(what, connect, side, at, after, rng.uniform(0.1, 30.0))
            else:
                yield Fault(what, connect, side, at, after)
