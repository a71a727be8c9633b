"""A target: a function of bytes that raises when its invariant does not hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

__all__ = ["Mutate", "Run", "Target"]

Run = Callable[[bytes], None]
Mutate = Callable[[Random, bytes], bytes]


@dataclass(frozen=True)
class Target:
    """What to run, and where to begin."""

    name: str
    run: Run
    """The first line of its docstring is the invariant."""
    seeds: Callable[[], list[bytes]]
    """Inputs to begin with, beside the corpus."""
    dictionary: tuple[bytes, ...] = ()
    """Words that the mutations put in."""
    mutate: Mutate | None = None
    """A mutation that knows the format: takes turns with those that do not."""
    replays: bool = True
    """The inputs of its corpus mean the same from one version of the libraries to the next."""

    @property
    def invariant(self) -> str:
        return (self.run.__doc__ or "").partition("\n")[0]
