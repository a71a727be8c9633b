"""The simulator as a command: ``python -m sansio_pingora.testing.simulate --seeds 0:10000 --processes 2``.

Prints the rate, every fault that fired, how often each invariant had something to judge, a hash over the traces of each
thousand of seeds, and one over all, which must be the same on every Python. Fails when an oracle was broken or a world
raised; the others are run all the same. This is the one module here that looks at a clock, to tell how quick the others
are.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from hashlib import blake2b
from textwrap import fill
from typing import TextIO

from sansio_pingora.testing.faults import SIMULATED_FAULTS
from sansio_pingora.testing.oracles import INVARIANTS
from sansio_pingora.testing.scenario import Report, build_world, run_seed
from sansio_pingora.testing.shrinking import shrink_seed
from sansio_pingora.testing.world import OracleBroken, format_line

__all__ = ["main"]

_BATCH = 20
_BLOCK = 1_000
"""So many seeds have a hash of their own."""
_GARBAGE = 200_000
"""Objects made before some are looked for that nobody needs: a few worlds, which are dropped as a whole."""
_PROGRESS = 10.0
"""Seconds between two lines that tell how far it is."""
_DETERMINISM = "I-14"

Failures = list[tuple[int, str]]


def _run_batch(seeds: range, again: int) -> tuple[Report, Failures]:
    """Run *seeds*, every *again*-th of them twice (I-14)."""
    gc.set_threshold(_GARBAGE)
    total = Report()
    failures: Failures = []
    for seed in seeds:
        try:
            total.add(report := run_seed(seed))
            if seed % again == 0:
                total.saw(_DETERMINISM)
                if (second := run_seed(seed).trace_hash) != report.trace_hash:
                    failures.append((seed, f"I-14: the trace was {report.trace_hash}, and the second time {second}"))
        except Exception as exc:  # also of the simulator itself, or of a script: the other seeds are worth running
            failures.append((seed, str(exc) if isinstance(exc, OracleBroken) else traceback.format_exc()))
            total.traces.append("broken")
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


def _hash(traces: Iterable[str]) -> str:
    return blake2b("".join(traces).encode(), digest_size=16).hexdigest()


def _say_blocks(seeds: range, traces: list[str], said: int, broken: int) -> int:
    """Tell of each whole block behind the first *said* of the *seeds*, and of the last one; how many have been told."""
    while len(seeds) > _BLOCK and said < len(traces):
        end = min(said + _BLOCK - seeds[said] % _BLOCK, len(seeds))
        if end > len(traces):
            break
        _say(f"seeds {seeds[said]}:{seeds[end - 1] + 1} {_hash(traces[said:end])}, {broken} broken so far")
        said = end
    return said


def _say_all(what: str, items: Iterable[object]) -> None:
    """*items* behind each other, in lines that break between them."""
    text = ", ".join(str(item).replace(" ", "\0") for item in items)
    _say(fill(f"{what}: {text}", 120, subsequent_indent="  ", break_on_hyphens=False).replace("\0", " "))


def _counted(counts: Counter[str]) -> list[str]:
    return [f"{name} {count}" for name, count in sorted(counts.items())]


def _say_counts(total: Report, seeds: int, at_least: int) -> None:
    _say_all("faults", _counted(total.faults))
    _say_all("inputs", _counted(total.timers))
    for invariant in INVARIANTS:
        _say(
            f"  {invariant:<5} watched in {total.checked[invariant]} worlds, had something to judge in "
            f"{total.met[invariant]} of them, {total.judged[invariant]} times"
        )
    if missing := total.missing():
        _say_all("never fired", missing)
    least = at_least or seeds / 100
    if seldom := [f"{name} {total.faults[name]}" for name in SIMULATED_FAULTS if 0 < total.faults[name] < least]:
        _say_all(f"fired less than {least:.0f} times", seldom)
    if unseen := [invariant for invariant in INVARIANTS if not total.met[invariant]]:
        _say(f"never judged: {', '.join(unseen)}")
    _say(f"traces of {len(total.traces)} worlds: {_hash(total.traces)}")


def _run_many(seeds: range, processes: int, show: int, again: int, at_least: int) -> int:
    began = time.perf_counter()
    total = Report()
    failures: Failures = []
    done, told, said = 0, began, 0
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
        said = _say_blocks(seeds, total.traces, said, len(failures))
    taken = time.perf_counter() - began
    _say_all(f"{len(seeds)} seeds, {len(failures)} broken", (seed for seed, _ in failures))
    _say(
        f"{len(seeds) / taken:.0f} seeds/s, {total.steps / taken:.0f} steps/s; {total.steps} steps, "
        f"{total.requests} requests, {total.answered} answered by an origin, "
        f"{total.virtual_time / 3600:.1f} virtual hours"
    )
    _say_counts(total, len(seeds), at_least)
    return 1 if failures or any(total.faults[name] < at_least for name in SIMULATED_FAULTS) else 0


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


def _shrink(seed: int, attempts: int) -> int:
    shrunk = shrink_seed(seed, attempts=attempts)
    if shrunk is None:
        _say(f"seed {seed} breaks nothing")
        return 0
    _say(str(shrunk))
    return 1


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
    parser.add_argument(
        "--at-least", type=int, default=0, metavar="N", help="fail where a fault fired less than N times"
    )
    parser.add_argument("--seed", type=int, help="run this one seed")
    parser.add_argument(
        "--shrink", type=int, nargs="?", const=1_000, metavar="N", help="and make it plainer, in N worlds (1000)"
    )
    parser.add_argument("--trace", action="store_true", help="print everything that happened in it")
    options = parser.parse_args(arguments)
    if options.seed is not None and options.shrink is not None:
        return _shrink(options.seed, options.shrink)
    if options.seed is not None:
        return _run_one(options.seed, trace=options.trace)
    return _run_many(options.seeds, options.processes, options.show, options.again, options.at_least)


if __name__ == "__main__":
    sys.exit(main())
