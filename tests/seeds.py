"""Long runs of a differential test over seeds, as a command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from time import monotonic
from typing import Protocol, TypeVar

__all__ = ["run_seeds"]


class Findings(Protocol):
    """What is found on the way; as text, in a line."""

    faults: list[str]


T = TypeVar("T", bound=Findings)


def run_seeds(about: str | None, tally: T, compare: Callable[[int, T], None], report: Callable[[T], str]) -> int:
    """Call *compare* for each seed, with a line of progress every ten seconds; the exit code, 1 for faults."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--keep-going", action="store_true", help="do not stop at 20 unexplained disagreements")
    options = parser.parse_args()
    began = told = monotonic()
    for seed in range(options.first_seed, options.first_seed + options.inputs):
        compare(seed, tally)
        if monotonic() - told > 10:
            told = monotonic()
            sys.stdout.write(f"{told - began:5.0f} s  {tally}\n")
            sys.stdout.flush()
        if len(tally.faults) >= 20 and not options.keep_going:
            break
    sys.stdout.write(f"{monotonic() - began:5.0f} s  {report(tally)}\n")
    return 1 if tally.faults else 0
