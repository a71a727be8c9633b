"""The corpus of a target: a line of text for each input, as Python spells the inside of its bytes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fuzz.coverage import Coverage, Feature
from fuzz.target import Target

__all__ = ["CORPUS", "load", "minimised", "save"]

CORPUS = Path(__file__).parent / "corpus"
_ROOM = 12_000
"""Bytes of a file; a quarter for those that the tests do not replay."""


def load(name: str) -> list[bytes]:
    """The inputs that are kept for the target *name*."""
    try:
        lines = (CORPUS / f"{name}.txt").read_text("ascii").splitlines()
    except FileNotFoundError:
        return []
    return [line.encode("ascii").decode("unicode_escape").encode("latin-1") for line in lines]


def save(name: str, inputs: Iterable[bytes]) -> None:
    """Keep *inputs* for the target *name*, and nothing else."""
    CORPUS.mkdir(exist_ok=True)
    lines = sorted(map(_spelled, set(inputs)))
    (CORPUS / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), "ascii")


def _spelled(data: bytes) -> str:
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


def minimised(target: Target, coverage: Coverage, inputs: Iterable[bytes]) -> list[bytes]:
    """Few and small ones of *inputs* that reach together what all of them reach, as far as there is room in a file."""
    room = _ROOM if target.replays else _ROOM // 4
    reached: dict[bytes, set[Feature]] = {}
    for data in set(inputs):
        try:
            reached[data] = coverage.whole(lambda data=data: target.run(data))
        except Exception:  # a finding that is mended, or not yet: the corpus has what passes
            continue
    kept: list[bytes] = []
    size = 0
    missing = set().union(*reached.values())
    while missing and reached:
        best = max(reached, key=lambda data: (len(reached[data] & missing) / (len(data) + 40), data))
        gain = reached.pop(best) & missing
        if not gain:
            break
        if size + len(_spelled(best)) > room:
            continue
        kept.append(best)
        size += len(_spelled(best))
        missing -= gain
    return kept
