"""What a server says on standard output, whatever that is."""

from __future__ import annotations

import contextlib
import logging
import os
import sys

__all__ = ["say"]

_LOG = logging.getLogger("sansio_pingora")


def say(text: str) -> None:
    """Print *text*, where that can be: a full disk, or a pipe that nobody reads any more, is no reason not to serve."""
    try:
        print(text, flush=True)
    except (OSError, ValueError) as exc:
        _LOG.warning("standard output cannot be written: %s", exc)
        # What stays in its buffer would be tried again at the end, and cost the exit code.
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), sys.stdout.fileno())
