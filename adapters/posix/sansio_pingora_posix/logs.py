"""Log lines of machines, written with the standard library's logging."""

from __future__ import annotations

import logging

from sansio_pingora.machine import LogLine

__all__ = ["write_log"]


def write_log(line: LogLine) -> None:
    """Hand *line* to its logger. Where that goes is the program's own affair."""
    level = logging.getLevelNamesMapping().get(line.level, logging.ERROR)
    # As an argument: the text is data, and a per cent sign in it means nothing.
    logging.getLogger(line.logger).log(level, "%s", line.text)
