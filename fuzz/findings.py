"""What a target raised: told apart, made small, and printed as a test."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import FrameType
from typing import Any

from fuzz.target import Target

__all__ = ["CRASHES", "Finding", "TooSlow", "judged", "shrunk"]

CRASHES = Path(__file__).parent / "crashes"
_PATIENCE = 10.0
"""Seconds of CPU that one input may take (I-9)."""


class TooSlow(AssertionError):
    """An input took too long."""


def _give_up(_signal: int, _frame: FrameType | None) -> None:
    raise TooSlow(f"more than {_PATIENCE:.0f} s of CPU for one input")


@dataclass(frozen=True)
class Finding:
    """One input that breaks the invariant of a target."""

    target: str
    data: bytes
    kind: str
    """The exception, and where it was raised: findings of one kind are one."""
    text: str

    @property
    def name(self) -> str:
        return f"{self.target}-{blake2b(self.data, digest_size=4).hexdigest()}"

    def save(self) -> Path:
        """Write the input to a file, and the test beside it."""
        CRASHES.mkdir(exist_ok=True)
        path = CRASHES / f"{self.name}.bin"
        path.write_bytes(self.data)
        path.with_suffix(".py").write_text(self.as_test(), "utf-8")
        return path

    def as_test(self) -> str:
        """A test to paste."""
        why = "".join(f"    # {line}\n" for line in self.text.strip().splitlines()[-6:])
        return f"def test_fuzz_{self.name.replace('-', '_')}():\n{why}    TARGETS[{self.target!r}].run({self.data!r})\n"


def judged(target: Target, data: bytes, run: Callable[[], Any]) -> Finding | None:
    """What *run*, a call of *target* with *data*, found; None: the invariant holds."""
    signal.signal(signal.SIGVTALRM, _give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, _PATIENCE)
    try:
        run()
    except Exception as exc:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        frames = traceback.extract_tb(exc.__traceback__)
        last = frames[-1]
        kind = type(exc).__name__ if isinstance(exc, TooSlow) else f"{type(exc).__name__} at {last.name}:{last.lineno}"
        return Finding(target.name, data, kind, "".join(traceback.format_exception(exc))[-4_000:])
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return None


def shrunk(target: Target, finding: Finding, tries: int = 2_000) -> Finding:
    """The smallest input that breaks the invariant in the same place: parts are left out, then bytes made plain."""
    best = finding

    def breaks(data: bytes) -> bool:
        nonlocal best, tries
        if tries <= 0:
            return False
        tries -= 1
        found = judged(target, data, lambda: target.run(data))
        if found is None or found.kind != finding.kind:
            return False
        best = found
        return True

    size = max(len(best.data) // 2, 1)
    while size:
        at = 0
        while at < len(best.data):
            if not breaks(best.data[:at] + best.data[at + size :]):
                at += size
        size //= 2
    for at in range(len(best.data)):
        for plain in (b"a", b"0", b"\x00"):
            if best.data[at : at + 1] == plain or breaks(best.data[:at] + plain + best.data[at + 1 :]):
                break
    return best
