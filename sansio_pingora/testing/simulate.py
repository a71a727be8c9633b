"""The simulator as a command: ``python -m sansio_pingora.testing.simulate --seeds 0:10000 --processes 2``.

Prints the rate, every fault that fired, how often each invariant had something to judge, and one hash over all traces,
which must be the same on every Python. Fails when an oracle was broken or a world raised; the others are run all the
same. This is the one module here that looks at a clock, to tell how quick the others are.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from hashlib import blake2b
from typing import TextIO

from sansio_pingora.testing.faults import ALL_FAULTS
from sansio_pingora.testing.oracles import INVARIANTS
from sansio_pingora.testing.scenario import Report, build_world, run_seed
from sansio_pingora.testing.world import OracleBroken, format_line

__all__ = ["main"]

_BATCH = 20
_PROGRESS = 10.0
"""Seconds between two lines that tell how far it is."""
_DETERMINISM = "I-14"

Failures = list[tuple[int, str]]


def _run_batch(seeds: range, again: int) -> tuple[Report, Failures]:
    """Run *seeds*, every *again*-th of them twice (I-14)."""
    total = Report()
    failures: Failures = []
    for seed in seeds:
        try:
            total.add(report := run_seed(seed))
            if seed % again == 0:
                total.saw(_DETERMINISM)
                if (second := run_seed(seed).trace_hash) != report.trace_hash:
                    failures.append((seed, f"I-14: the trace was {report.trace_hash}, and the second time {second}"))
        except OracleBroken as broken:
            failures.append((seed, str(broken)))
        except Exception:  # of the simulator itself, or of a script: the other seeds are worth running
            failures.append((seed, traceback.format_exc()))
    return total, failures


def _batches(seeds: range, processes: int, again: int) -> Iterator[tuple[Report, Failures]]:
    run = partial(_run_batch, again=again)
    pieces = [seeds[at : at + _BATCH] for at in range(0, len(seeds), _BATCH)]
    if processes == 1:
        yield from map(run, pieces)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(run, pieces)


def _seeds(text: str) -> range:
    first, _, last = text.partition(":")
    return range(int(first), int(last)) if last else range(int(first))


def _say(text: str, to: TextIO | None = None) -> None:
    out = sys.stdout if to is None else to
    out.write(f"{text}\n")
    out.flush()


def _say_counts(total: Report, seeds: int) -> None:
    for name, count in sorted(total.faults.items()):
        _say(f"  {count:>8} {name}")
    for name, count in sorted(total.timers.items()):
        _say(f"  {count:>8} input {name}")
    for invariant in INVARIANTS:
        _say(
            f"  {invariant:<5} watched in {total.checked[invariant]} worlds, had something to judge in "
            f"{total.met[invariant]} of them, {total.judged[invariant]} times"
        )
    if missing := total.missing():
        _say(f"never fired: {', '.join(missing)}")
    if seldom := [name for name in ALL_FAULTS if 0 < total.faults[name] < seeds / 100]:
        _say(f"fired in less than one of a hundred seeds: {', '.join(seldom)}")
    if unseen := [invariant for invariant in INVARIANTS if not total.met[invariant]]:
        _say(f"never judged: {', '.join(unseen)}")
    digest = blake2b("".join(total.traces).encode(), digest_size=16)
    _say(f"traces of {len(total.traces)} worlds: {digest.hexdigest()}")


def _run_many(seeds: range, processes: int, show: int, again: int) -> int:
    began = time.perf_counter()
    total = Report()
    failures: Failures = []
    done, told = 0, began
    for report, broken in _batches(seeds, processes, again):
        total.add(report)
        done = min(done + _BATCH, len(seeds))
        if (now := time.perf_counter()) - told > _PROGRESS:
            told = now
            _say(
                f"{done} of {len(seeds)} seeds, {len(failures) + len(broken)} broken, {done / (now - began):.0f}/s",
                sys.stderr,
            )
        for seed, text in broken:
            if len(failures) < show:
                _say(f"seed {seed}: {text}\n")
            failures.append((seed, text))
    taken = time.perf_counter() - began
    _say(f"{len(seeds)} seeds, {len(failures)} broken: {' '.join(str(seed) for seed, _ in failures[:50])}")
    _say(
        f"{len(seeds) / taken:.0f} seeds/s, {total.steps / taken:.0f} steps/s; {total.steps} steps, "
        f"{total.requests} requests, {total.answered} answered by an origin, "
        f"{total.virtual_time / 3600:.1f} virtual hours"
    )
    _say_counts(total, len(seeds))
    return 1 if failures else 0


def _run_one(seed: int, *, trace: bool) -> int:
    world, _ = build_world(seed)
    broken: OracleBroken | None = None
    try:
        world.settle()
    except OracleBroken as exc:
        broken = exc
    if trace:
        for line in world.trace:
            _say(format_line(line))
    if broken is not None:
        _say(str(broken))
        if broken.__cause__ is not None:
            raise broken
        return 1
    _say(f"seed {seed}: {world.steps} steps, {world.now:.3f} virtual seconds, trace {world.trace_hash()}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; 0 when no oracle was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m sansio_pingora.testing.simulate", description="Simulate a proxy between bad peers."
    )
    parser.add_argument(
        "--seeds", type=_seeds, default=range(1000), metavar="FIRST:END", help="run these seeds (default 0:1000)"
    )
    parser.add_argument("--processes", type=int, default=1, help="on so many cores")
    parser.add_argument("--show", type=int, default=5, help="print so many broken seeds in full")
    parser.add_argument(
        "--again", type=int, default=50, metavar="N", help="run every N-th seed twice and compare the traces (1: all)"
    )
    parser.add_argument("--seed", type=int, help="run this one seed")
    parser.add_argument("--trace", action="store_true", help="print everything that happened in it")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return _run_one(options.seed, trace=options.trace)
    return _run_many(options.seeds, options.processes, options.show, options.again)


if __name__ == "__main__":
    sys.exit(main())
