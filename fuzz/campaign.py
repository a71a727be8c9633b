"""The loop: mutate an input that found something new, run it, keep it when it does so again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from time import process_time

from fuzz.corpus import load
from fuzz.coverage import Coverage
from fuzz.findings import Finding, judged, shrunk
from fuzz.mutations import mutated
from fuzz.target import Target

__all__ = ["Campaign"]


@dataclass
class Campaign:
    """One target under mutation, with what it found."""

    target: Target
    dice: Random
    coverage: Coverage = field(default_factory=Coverage)
    inputs: list[bytes] = field(default_factory=list)
    """Those that reached something first, oldest first."""
    findings: dict[str, Finding] = field(default_factory=dict)
    """One of each kind."""
    executions: int = 0
    cpu: float = 0.0
    """Seconds."""
    words: list[bytes] = field(default_factory=list)

    def begin(self) -> None:
        """Run what is kept, and the seeds."""
        self.words = list(self.target.dictionary)
        for data in [*load(self.target.name), *self.target.seeds()]:
            self._run(data)
        if not self.inputs:
            self.inputs.append(b"")

    def go_on(self, seconds: float, tell: Callable[[], None]) -> None:
        """Fuzz for so many seconds of CPU; *tell* is called now and then."""
        dice, target = self.dice, self.target
        began = process_time()
        if not self.executions:
            self.begin()
        told = began
        while (now := process_time()) - began < seconds:
            if now - told > 5:
                self.cpu += now - told
                told = now
                tell()
            # Half the time one of the newest: what is new is near to what is newer still.
            recent = self.inputs[-16:] if dice.random() < 0.5 else self.inputs
            data = dice.choice(recent)
            if target.mutate is not None and dice.random() < 0.6:
                data = target.mutate(dice, data)
            if target.mutate is None or dice.random() < 0.6:
                data = mutated(dice, data, self.inputs, self.words)
            self._run(data)
        self.cpu += process_time() - told

    def _run(self, data: bytes) -> None:
        target = self.target
        self.executions += 1
        fresh: set[object] = set()
        found = judged(target, data, lambda: fresh.update(self.coverage.fresh(lambda: target.run(data))))
        if found is None:
            if fresh:
                self.inputs.append(data)
        elif found.kind not in self.findings:
            self.findings[found.kind] = shrunk(target, found)

    def __str__(self) -> str:
        rate = self.executions / self.cpu if self.cpu else 0.0
        return (
            f"{self.target.name:<24} {self.cpu:6.0f} s {self.executions:>9,} runs {rate:>8,.0f}/s "
            f"{len(self.coverage.known):>7,} features {len(self.inputs):>5} inputs {len(self.findings):>3} findings"
        )
