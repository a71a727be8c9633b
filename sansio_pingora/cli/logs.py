"""Logging as a server's operator wants it: standard error, one line a record."""

from __future__ import annotations

import logging
import time

__all__ = ["OneLine", "set_up_logging"]


class OneLine(logging.Formatter):
    """Time in UTC, level, logger, text; line breaks inside are escaped, so that nobody can forge a record."""

    converter = time.gmtime  # type: ignore[assignment]  # typeshed's is narrower than logging's

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        return super().format(record).replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")


def set_up_logging(level: int = logging.INFO, handler: logging.Handler | None = None) -> None:
    """Send every record of *level* or above to *handler*, or to standard error."""
    handler = logging.StreamHandler() if handler is None else handler
    handler.setFormatter(OneLine())
    logging.basicConfig(level=level, handlers=[handler], force=True)
