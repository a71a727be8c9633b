"""HTTP dates from a given time (RFC 9110 section 5.6.7). No clock is read here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

__all__ = ["http_date", "parse_http_date"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=8)  # responses of one second share their date
def http_date(second: int) -> bytes:
    """The IMF-fixdate of a Unix time in whole seconds."""
    at = _EPOCH + timedelta(seconds=second)
    # Not strftime: it speaks the locale's language.
    text = f"{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {at.year:04} {at:%H:%M:%S} GMT"
    return text.encode("ascii")


def parse_http_date(value: bytes) -> int | None:
    """The Unix second of an IMF-fixdate, or None when it is not one."""
    try:
        _, day, month, year, clock, _ = value.decode("ascii").split(" ")
        hour, minute, second = map(int, clock.split(":"))
        at = datetime(int(year), _MONTHS.index(month) + 1, int(day), hour, minute, second, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    unix = int((at - _EPOCH).total_seconds())
    # int() takes signs, blanks and underscores: only what we would have written ourselves is one.
    return unix if http_date(unix) == value else None
