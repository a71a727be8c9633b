"""Field lines that were read before: a memo of a pure function, since most heads repeat the lines of others.

A hit replaces the patterns that prove and split a line: it is a third of what a head
costs. Lines that carry secrets are not kept, nor long ones, and a full memo starts anew,
so nobody can make it grow; who fills it with junk only makes it useless.
"""

from __future__ import annotations

from sansio_pingora.wire.grammar import FIELD_LINE

__all__ = ["LINES", "LineMemo", "UnprovedLineError"]

_MAX_LINES = 1024
_MAX_LINE = 200
_SECRET = frozenset({b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"})


class UnprovedLineError(Exception):
    """A line is not ``name: value``; the walk over the head says what it is."""


class LineMemo(dict[bytes, tuple[tuple[bytes, bytes], bytes]]):
    """By its line, without CRLF: ``((name, value), lower-case name)``.

    :raises UnprovedLineError: on look-up, the line breaks the grammar.
    """

    __slots__ = ()

    def __missing__(self, line: bytes) -> tuple[tuple[bytes, bytes], bytes]:
        match = FIELD_LINE.fullmatch(line)
        if match is None:
            raise UnprovedLineError
        name, value = match.groups()
        lower = name.lower()
        entry = (name, value.rstrip(b" \t")), lower
        if len(line) <= _MAX_LINE and lower not in _SECRET:
            if len(self) >= _MAX_LINES:
                self.clear()
            self[line] = entry
        return entry


LINES = LineMemo()
