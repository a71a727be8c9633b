"""Extensible priorities (RFC 9218): how urgent a response is, and whether its parts are of use one by one."""

from __future__ import annotations

import re

__all__ = ["DEFAULT_URGENCY", "URGENCIES", "parse_priority"]

URGENCIES = 8
DEFAULT_URGENCY = 3

# Members of a structured dictionary (RFC 8941 section 3.2), as far as they concern us; others are skipped.
# Possessive, so that no value costs more than its length.
_MEMBER = re.compile(
    rb"""[ \t]*+([a-z*][a-z0-9_.*-]*+)(?:=("(?:[^"\\]|\\.)*+"|[^",;]*+))?(?:;[ ]*+[a-z*][^,]*+)?[ \t]*+(?:,|$)"""
)


def parse_priority(value: bytes) -> tuple[int, bool]:
    """Urgency, 0 (first) to 7, and whether the response is incremental; what cannot be read has no effect."""
    urgency, incremental = DEFAULT_URGENCY, False
    at = 0
    if value.rstrip(b" \t").endswith(b","):
        return urgency, incremental
    while at < len(value):
        member = _MEMBER.match(value, at)
        if member is None:
            return DEFAULT_URGENCY, False
        key, given = member.groups()
        if key == b"u" and given is not None and len(given := given.strip()) == 1 and given in b"01234567":
            urgency = int(given)
        elif key == b"i" and (given is None or given.strip() in (b"?0", b"?1")):
            incremental = given is None or given.strip() == b"?1"
        at = member.end()
    return urgency, incremental
