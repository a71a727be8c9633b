"""The command ``sansio-pingora``. It alone sets up logging and exits."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sansio_pingora.cli.arguments import make_parser
from sansio_pingora.errors import Error

__all__ = ["main"]

_OK = 0
_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command of *argv*; returns its exit code: 0, 1 runtime failure, 2 usage, 78 configuration."""
    parser = make_parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as exc:  # argparse has said why
        return _OK if not exc.code else _USAGE
    # What was typed is right: the rest is loaded.
    from sansio_pingora.cli.commands import RUNTIME_FAILURE, Misconfigured, run

    try:
        return run(arguments)
    except Misconfigured as exc:
        for line in str(exc).splitlines():
            print(f"sansio-pingora: {line}", file=sys.stderr)
        return exc.code
    except (Error, OSError) as exc:
        print(f"sansio-pingora: {exc}", file=sys.stderr)
        return RUNTIME_FAILURE
    except KeyboardInterrupt:
        return RUNTIME_FAILURE
