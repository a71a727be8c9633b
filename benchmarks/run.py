"""Every figure: ``python benchmarks/run.py [engine|end-to-end|filters|http2|pairs] ...``, all of them by default."""

from __future__ import annotations

import sys

import end_to_end
import engine
import filters
import http2
import pairs

PARTS = {
    "engine": engine.main,
    "end-to-end": end_to_end.main,
    "filters": filters.main,
    "http2": http2.main,
    "pairs": pairs.main,
}


def main() -> None:
    wanted = sys.argv[1:] or [*PARTS]
    unknown = set(wanted) - set(PARTS)
    if unknown:
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    for name in wanted:
        PARTS[name]()


if __name__ == "__main__":
    main()
