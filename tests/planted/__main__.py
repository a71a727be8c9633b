"""Plant each fault in a copy of the package and let the kit find it: ``python -m tests.planted``.

Nothing is told to the kit of where a fault is: all hunts run in one order until one of them finds something.
``--faults TEXT`` plants only those whose name holds TEXT; ``--sound`` plants none, which must find nothing.
``--report FILE`` writes the table of docs/testing.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.planted.faults import FAULTS, Fault

__all__ = ["plant", "planted"]

ROOT = Path(__file__).parents[2]


@contextmanager
def planted(fault: Fault | None) -> Iterator[tuple[str, dict[str, str]]]:
    """A folder with a copy of the package that has *fault*, and the environment in which Python finds that one."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "sansio_pingora", copy / "sansio_pingora")
        (copy / "tests").symlink_to(ROOT / "tests")
        if fault is not None:
            (copy / "sansio_pingora" / fault.module).write_text(fault.changed(), "utf-8")
        path = os.pathsep.join([folder, *map(str, (ROOT / "adapters").iterdir())])
        yield folder, {**os.environ, "PYTHONPATH": path, "PYTHONOPTIMIZE": ""}


def plant(fault: Fault | None, hunts: list[str], timeout: float | None = None) -> dict[str, Any]:
    """What *hunts*, none for all, find in a copy of the package that has *fault*; see :func:`.hunts.hunt`."""
    with planted(fault) as (folder, env):
        run = subprocess.run(
            [sys.executable, "-m", "tests.planted.hunts", *hunts],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    if run.returncode:
        return {"found": "import", "taken": {}, "case": run.stderr[-2_000:]}
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])  # hypothesis may have said something before
    return found


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Plant what is asked for; 0 when everything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.planted", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--faults", default="", metavar="TEXT")
    parser.add_argument("--sound", action="store_true")
    parser.add_argument("--report", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.sound:
        result = plant(None, [])
        _say(f"found {result['found']}: {result['case']}" if result["found"] else f"sound: {result['taken']}")
        return 1 if result["found"] else 0
    rows = ["| planted | found by | CPU s |", "|---|---|---|"]
    missed = []
    for fault in FAULTS:
        if options.faults not in fault.name:
            continue
        result = plant(fault, [])
        found = result["found"]
        seconds = result["taken"].get(found, 0.0)
        _say(f"── {fault.name}: {found or 'NOT FOUND'}, {seconds:.1f} s of {sum(result['taken'].values()):.1f} s")
        _say(result["case"])
        rows.append(f"| {fault.name} | `{found}` | {seconds:.1f} |")
        if found is None:
            missed.append(fault.name)
    _say(f"{len(rows) - 2 - len(missed)} of {len(rows) - 2} found" + (f"; not {', '.join(missed)}" if missed else ""))
    if options.report is not None:
        options.report.write_text("\n".join(rows) + "\n", "utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
