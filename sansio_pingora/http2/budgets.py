"""How much of what costs us and brings nothing one peer may do (CVE-2019-9511 to 9518, 2023-44487, 2025-8671).

Each budget is charged as the frames come; one that is overdrawn ends the connection with
ENHANCE_YOUR_CALM. The figures are limits of the service, with their precedents beside them.
"""

from __future__ import annotations

from sansio_pingora.http2.codes import ConnectionFault, ErrorCode
from sansio_pingora.limits import Limits

__all__ = ["Bucket", "Budgets"]

_FREE_UPDATES = 5


class Bucket:
    """Holds *burst* charges and forgives *rate* of them per second."""

    __slots__ = ("_at", "_level", "burst", "rate")

    def __init__(self, burst: float, rate: float) -> None:
        self.burst = burst
        self.rate = rate
        self._level = 0.0
        self._at = 0.0

    def charge(self, now: float) -> bool:
        """Take one more; False when it is overdrawn."""
        level = self._level - (now - self._at) * self.rate
        self._at = now
        self._level = level = (level if level > 0 else 0.0) + 1
        return level <= self.burst


class Budgets:
    """The account of one connection."""

    __slots__ = (
        "_empties",
        "_limits",
        "_pings",
        "_priorities",
        "_resets",
        "_settings",
        "_unasked",
        "_unknown",
        "_updates",
        "data_sent",
        "streams",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._resets = Bucket(limits.h2_reset_burst, limits.h2_reset_rate)
        self._settings = Bucket(limits.h2_settings_burst, limits.h2_settings_rate)
        self._pings = Bucket(limits.h2_ping_burst, limits.h2_ping_rate)
        self._empties = 0
        self._priorities = 0
        self._updates = 0
        self._unasked = 0
        self._unknown = 0
        self.streams = 0
        """Streams opened so far."""
        self.data_sent = 0
        """DATA frames sent so far."""

    def reset(self, now: float) -> None:
        """A stream was given up young and unanswered, or reset by us for a fault of the peer."""
        if not self._resets.charge(now):
            raise _calm("resets", self._limits.h2_reset_burst)

    def settings(self, now: float) -> None:
        """SETTINGS came."""
        if not self._settings.charge(now):
            raise _calm("SETTINGS", self._limits.h2_settings_burst)

    def ping(self, now: float) -> None:
        """PING came."""
        if not self._pings.charge(now):
            raise _calm("PING", self._limits.h2_ping_burst)

    def empty(self) -> None:
        """A frame came that brought nothing and ended nothing."""
        self._empties += 1
        if self._empties > self._limits.h2_max_empty_frames:
            raise _calm("empty frames", self._limits.h2_max_empty_frames)

    def content(self) -> None:
        """A frame with content makes up for an empty one."""
        if self._empties:
            self._empties -= 1

    def priority(self) -> None:
        """PRIORITY or PRIORITY_UPDATE came."""
        self._priorities += 1
        if self._priorities > self._limits.h2_max_priority_frames * (1 + self.streams):
            raise _calm("PRIORITY", self._limits.h2_max_priority_frames)

    def window_update(self) -> None:
        """WINDOW_UPDATE came."""
        self._updates += 1
        allowed = _FREE_UPDATES + 2 * (self.streams + self._limits.h2_max_window_updates * self.data_sent)
        if self._updates > allowed:
            raise _calm("WINDOW_UPDATE", allowed)

    def unasked(self) -> None:
        """An acknowledgement came that answers nothing of ours."""
        self._unasked += 1
        if self._unasked > self._limits.h2_max_unasked_acks:
            raise _calm("acknowledgements that were not asked for", self._limits.h2_max_unasked_acks)

    def unknown(self) -> None:
        """A frame of an unknown type came."""
        self._unknown += 1
        if self._unknown > self._limits.h2_max_unknown_frames:
            raise _calm("unknown frames", self._limits.h2_max_unknown_frames)


def _calm(what: str, allowed: float) -> ConnectionFault:
    return ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {what}: more than {allowed:g}")
