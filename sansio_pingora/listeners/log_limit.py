"""Log lines about what clients do, at a rate that clients cannot drive."""

from __future__ import annotations

import math

__all__ = ["LogLimit"]

_INTERVAL = 1.0
"""Seconds between two lines."""


class LogLimit:
    """Lets one line a second through, and counts what it leaves out."""

    __slots__ = ("_left_out", "_next")

    def __init__(self) -> None:
        self._next = -math.inf
        self._left_out = 0

    def passes(self, now: float) -> bool:
        """Whether a line is due; one that is not is counted."""
        if now < self._next:
            self._left_out += 1
            return False
        self._next = now + _INTERVAL
        return True

    def complete(self, text: str) -> str:
        """*text*, which is due, with how many were left out before it."""
        if self._left_out:
            text += f"; {self._left_out} more failures since the last line"
            self._left_out = 0
        return text
