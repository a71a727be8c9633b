"""The native engine against the reference engine on the same bytes, cut anywhere.

What the native engine accepts, the reference reads identically; where one refuses and the
other does not, the reason is in the table. Stand-alone, for long runs::

    python -m tests.http1.differential --inputs 100000
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.http1.generated import cut, mutated, pipeline, response
from tests.http1.runs import Run, run_client, run_server
from tests.seeds import run_seeds

__all__ = ["NATIVE_REFUSES", "REFERENCE_REFUSES", "Tally", "category", "compare", "disagreement", "report"]

# What the native engine refuses and h11 takes: the first words of our reason → why we do.
NATIVE_REFUSES = {
    "control byte b'\\n' in a line": "bare LF ends a line for h11 (RFC 9112 section 2.2 lets it); we take CRLF alone",
    "control byte in a chunk line": "h11 does not read chunk extensions",
    "a line longer than 256": "the size and extensions of a chunk have a ceiling here, and none in h11",
    "chunk size line": "blanks behind a chunk size, and chunk extensions beyond the grammar",
    "chunk size exceeds 63 bits": "h11 takes 20 hex digits",
    "field line begins with a blank": "obsolete line folding",
    "trailer line begins with a blank": "obsolete line folding, in trailers",
    "more than one Content-Length": "h11 joins equal ones",
    "Content-Length": "h11 joins a list of equal ones",
}
# What h11 refuses and the native engine takes.
REFERENCE_REFUSES = {
    "illegal request line": "a first byte that begins no head, before its line has ended; we judge lines when they end",
}


def category(reason: str) -> str:
    """The class of a refusal, as the tables name it."""
    for words in ("more than one Content-Length", "Content-Length", "chunk size line", "a line longer than 256"):
        if reason.startswith(words):
            return words
    if reason.startswith("control byte"):
        return reason if "\\n" in reason else "control byte in a chunk line"
    for kind in ("field line", "trailer line"):
        if reason.startswith((f"{kind} b' ", f"{kind} b'\\t", f'{kind} b" ', f'{kind} b"\\t')):
            return f"{kind} begins with a blank"
    if reason.startswith("chunk size") and "63 bits" in reason:
        return "chunk size exceeds 63 bits"
    return reason


@dataclass
class Tally:
    """What a run has found."""

    inputs: int = 0
    accepted: int = 0
    both_refuse: int = 0
    waiting: int = 0  # the reference wants more bytes to see what the native engine has seen
    native_alone: Counter[str] = field(default_factory=Counter)
    reference_alone: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.inputs} inputs: {self.accepted} accepted by both and read alike, {self.both_refuse} refused by both, "
            f"{self.waiting} where the reference still waits, "
            f"{self.native_alone.total()} by the native engine alone, {self.reference_alone.total()} by the reference alone, "
            f"{len(self.faults)} unexplained"
        )


def compare(seed: int, tally: Tally) -> None:
    """One input, made from *seed*, through both engines."""
    dice = Random(seed)
    of_client = dice.random() < 0.75
    raw = pipeline(dice) if of_client else response(dice)
    if dice.random() < 0.7:
        raw = mutated(dice, raw)
    eof = dice.random() < 0.3
    tally.inputs += 1
    if of_client:
        native, recut, reference = (
            run_server(cut(dice, raw), engine=engine, eof=eof) for engine in ("native", "native", "hyper")
        )
    else:
        native, recut, reference = (
            run_client(cut(dice, raw), engine=engine, eof=eof) for engine in ("native", "native", "hyper")
        )
    if (native.events, native.out) != (recut.events, recut.out):
        tally.faults.append(f"seed {seed}: cutting matters: {native.events} and {recut.events} for {raw!r}")
    elif (fault := disagreement(native, reference, tally)) is not None:
        tally.faults.append(
            f"seed {seed}: {fault} for {raw!r}\n  native    {native.events}\n  reference {reference.events}"
        )


def disagreement(native: Run, reference: Run, tally: Tally) -> str | None:
    """What is wrong with two readings of the same bytes, if anything; counted in *tally*."""
    refused, referred = _refusal(native), _refusal(reference)
    if refused is None and referred is None:
        tally.accepted += 1
        return None if native.events == reference.events else "both accept and read differently"
    if refused is None:
        return _explained(category(str(referred)), REFERENCE_REFUSES, tally.reference_alone)
    mine, theirs = _until_refusal(native), _until_refusal(reference)
    if not (_is_prefix(mine, theirs) or _is_prefix(theirs, mine)):
        return "read differently before one refuses"
    if _is_prefix(theirs, mine):
        if referred is None:
            tally.waiting += 1
        else:
            tally.both_refuse += 1
        return None
    return _explained(category(str(refused)), NATIVE_REFUSES, tally.native_alone)


def _explained(name: str, table: dict[str, str], counter: Counter[str]) -> str | None:
    counter[name] += 1
    return None if name in table else f"one engine alone refuses: {name}"


def _refusal(run: Run) -> str | None:
    return run.reasons[-1] if run.reasons else None


def _until_refusal(run: Run) -> list[tuple[Any, ...]]:
    events = [event for event in run.events if event[1] != "closed"]
    return events[: next((at for at, event in enumerate(events) if event[1] == "failed"), len(events))]


def _is_prefix(short: list[tuple[Any, ...]], long: list[tuple[Any, ...]]) -> bool:
    if not short:
        return True
    *first, last = short
    if first != long[: len(first)] or len(long) < len(short):
        return False
    other = long[len(first)]
    if last == other:
        return True
    return last[:2] == other[:2] and last[1] == "body" and not last[3] and other[2].startswith(last[2])


def report(tally: Tally) -> str:
    """What a run has found, in full."""
    lines = [str(tally)]
    for name, counter, table in (
        ("native", tally.native_alone, NATIVE_REFUSES),
        ("reference", tally.reference_alone, REFERENCE_REFUSES),
    ):
        for reason, count in counter.most_common():
            lines.append(f"  {name} alone refuses {count:6}  {reason}: {table.get(reason, 'not in the table')}")
    return "\n".join(lines + tally.faults)


if __name__ == "__main__":
    sys.exit(run_seeds(__doc__, Tally(), compare, report))
