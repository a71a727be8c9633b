"""Every figure: ``python benchmarks/run.py [engine|end-to-end] ...``, all of them by default."""

from __future__ import annotations

import sys

import end_to_end
import engine


def main() -> None:
    wanted = sys.argv[1:] or ["engine", "end-to-end"]
    unknown = set(wanted) - {"engine", "end-to-end"}
    if unknown:
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; choose engine or end-to-end")
    if "engine" in wanted:
        engine.main()
    if "end-to-end" in wanted:
        end_to_end.main()


if __name__ == "__main__":
    main()
