"""What keeps a failing origin from being buried by retries: a share of requests, and pauses between attempts."""

from __future__ import annotations

import math
from zlib import crc32

__all__ = ["RetryBudget", "backoff"]

_WINDOW = 10.0
_ALWAYS = 10


class RetryBudget:
    """Allows retries up to *share* of the requests of the last 10 to 20 s, and ten in any case. None: no ceiling.

    The lanes of a service share one, without a lock: what two threads count in the same instant may count as one.
    """

    __slots__ = ("_began", "_requests", "_retries", "_share")

    def __init__(self, share: float | None) -> None:
        self._share = share
        self._began = -math.inf
        self._requests = [0, 0]  # of this window, and of the one before
        self._retries = [0, 0]

    def request(self, now: float) -> None:
        """A request came."""
        if now - self._began >= _WINDOW:
            self._turn(now)
        self._requests[0] += 1

    def spend(self, now: float) -> bool:
        """Take one retry, if the budget has it."""
        if self._share is None:
            return True
        if now - self._began >= _WINDOW:
            self._turn(now)
        if sum(self._retries) >= max(_ALWAYS, self._share * sum(self._requests)):
            return False
        self._retries[0] += 1
        return True

    def _turn(self, now: float) -> None:
        stale = now - self._began >= 2 * _WINDOW
        self._began = now  # first: another thread is not to turn it once more
        self._requests = [0, 0 if stale else self._requests[0]]
        self._retries = [0, 0 if stale else self._retries[0]]


def backoff(base: float, most: float, failed: int, seed: bytes) -> float:
    """Seconds to wait when *failed* attempts were in vain: *base*, doubled for each but the first, at most *most*.

    Less up to a half, by *seed*: requests that failed together are not to come back together.
    """
    if base <= 0:
        return 0.0
    pause = min(base * 2.0 ** min(failed - 1, 60), most)
    return pause * (1.0 - crc32(seed) / 2**33)
