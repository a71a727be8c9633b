"""Whether the simulator does the same on every Python: ``python -m tests.traces PYTHON… --seeds 0:500``.

Each Python runs the seeds, every one of them twice, under a PYTHONHASHSEED of its own; the hash over all traces
must be the same (I-14).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
PATHS = (ROOT, *(ROOT / "adapters" / name for name in ("asyncio", "gevent", "threads", "posix")))


def trace_of(python: str, seeds: str, again: int, hash_seed: int) -> str:
    """The last line of the simulator: how many worlds, and the hash over their traces."""
    run = subprocess.run(
        [python, "-m", "sansio_pingora.testing.simulate", "--seeds", seeds, "--again", str(again)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": os.pathsep.join(map(str, PATHS))},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    sys.stdout.write(f"── {python} ──\n{run.stdout}")
    sys.stdout.flush()
    return run.stdout.splitlines()[-1] if run.returncode == 0 else f"failed with {run.returncode}"


def main() -> int:
    """0 when all Pythons agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="+")
    parser.add_argument("--seeds", default="0:500")
    parser.add_argument("--again", type=int, default=1, help="every N-th seed is run twice")
    options = parser.parse_args()
    found = {
        python: trace_of(python, options.seeds, options.again, number) for number, python in enumerate(options.pythons)
    }
    for python, line in found.items():
        sys.stdout.write(f"{python}: {line}\n")
    return 0 if len(set(found.values())) == 1 and next(iter(found.values())).startswith("traces") else 1


if __name__ == "__main__":
    sys.exit(main())
