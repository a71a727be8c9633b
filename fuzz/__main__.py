"""Fuzz the machines: ``python -m fuzz --seconds 60``; see docs/fuzzing.md."""

from __future__ import annotations

import argparse
import sys
from fnmatch import fnmatch
from pathlib import Path
from random import Random

from fuzz.campaign import Campaign
from fuzz.corpus import CORPUS, load, minimised, save
from fuzz.coverage import Coverage
from fuzz.findings import judged
from fuzz.targets import TARGETS

__all__ = ["main"]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _replay(names: list[str], coverage: Coverage) -> int:
    faults = 0
    for name in names:
        target = TARGETS[name]
        inputs = load(name)
        for data in inputs:
            found = judged(target, data, lambda data=data, target=target: coverage.fresh(lambda: target.run(data)))
            if found is not None:
                faults += 1
                _say(found.as_test())
        _say(f"{name:<24} {len(inputs):>5} inputs replayed")
    _say(f"{len(coverage.known):,} features of the packages, {faults} findings")
    return 1 if faults else 0


def _campaigns(names: list[str], seconds: float, seed: int, *, keep: bool) -> int:
    """One after another, each with its share of the time."""
    faults = 0
    cpu = 0.0
    coverage = Coverage()
    for name in names:
        coverage.known = set()
        campaign = Campaign(TARGETS[name], Random(f"{seed} {name}"), coverage)
        campaign.go_on(seconds / len(names), lambda campaign=campaign: _say(f"  {campaign}"))
        cpu += campaign.cpu
        _say(str(campaign))
        for finding in campaign.findings.values():
            faults += 1
            _say(f"FOUND by {name} ({TARGETS[name].invariant}), saved as {finding.save()}:\n{finding.as_test()}")
        if keep:
            kept = minimised(TARGETS[name], coverage, [*load(name), *campaign.inputs])
            save(name, kept)
            _say(f"  kept {len(kept)} inputs, {sum(map(len, kept)):,} bytes, in {CORPUS / name}.txt")
    _say(f"{len(names)} targets, {cpu:.0f} s of CPU, {faults} findings")
    return 1 if faults else 0


def _one(name: str, path: Path) -> int:
    found = judged(TARGETS[name], path.read_bytes(), lambda: TARGETS[name].run(path.read_bytes()))
    _say("the invariant holds" if found is None else found.text)
    return 0 if found is None else 1


def main() -> int:
    """Run what the command line asks for; 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of CPU, for all targets together")
    parser.add_argument("--targets", default="*", help="names or patterns, separated by commas")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations")
    parser.add_argument("--keep", action="store_true", help="minimise what was found into fuzz/corpus")
    parser.add_argument("--list", action="store_true", help="print the targets with their invariants")
    parser.add_argument("--replay", action="store_true", help="run the corpus, and nothing else")
    parser.add_argument("--run", type=Path, metavar="FILE", help="run one input, with --targets NAME")
    parser.add_argument("--engine", choices=("own", "atheris"), default="own", help="who mutates: atheris is libFuzzer")
    options = parser.parse_args()
    patterns = options.targets.split(",")
    names = [name for name in TARGETS if any(fnmatch(name, pattern) for pattern in patterns)]
    if not names:
        parser.error(f"no target is called {options.targets}: see --list")
    if options.list:
        for name in names:
            _say(f"{name:<24} {TARGETS[name].invariant}")
        return 0
    if options.run is not None:
        return _one(names[0], options.run)
    if options.replay:
        return _replay([name for name in names if TARGETS[name].replays], Coverage())
    if options.engine == "atheris":
        from fuzz.with_atheris import campaigns

        return campaigns(names, options.seconds, options.seed, keep=options.keep)
    return _campaigns(names, options.seconds, options.seed, keep=options.keep)


if __name__ == "__main__":
    sys.exit(main())
