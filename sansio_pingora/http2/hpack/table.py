"""The static table, and the dynamic one as the decoder has it (RFC 7541 section 2.3)."""

from __future__ import annotations

from hpack.table import HeaderTable

__all__ = ["ENTRY_OVERHEAD", "FIRST_DYNAMIC", "STATIC_TABLE", "DecodingTable", "Entry", "FieldLine"]

FieldLine = tuple[bytes, bytes]
"""A name and a value."""

Entry = tuple[FieldLine, int]
"""A field and its size."""

STATIC_TABLE: tuple[FieldLine, ...] = HeaderTable.STATIC_TABLE
"""By index, from 1."""

ENTRY_OVERHEAD = 32
"""What an entry counts beyond its name and value (section 4.1)."""

FIRST_DYNAMIC = len(STATIC_TABLE) + 1
"""The index of the newest dynamic entry."""


_NOTHING = b"", b""
_STATIC_ENTRIES: list[Entry] = [
    (field, len(field[0]) + len(field[1]) + ENTRY_OVERHEAD) for field in (_NOTHING, *STATIC_TABLE)
]


class DecodingTable:
    """Both tables as one list, in which an index is a place: a look-up is all that a field of one byte costs.

    The newest entry moves all others, which is a move of a thousand bytes for a table of 4,096.
    """

    __slots__ = ("capacity", "changes", "entries", "size")

    entries: list[Entry]
    """By index; what stands at 0 means nothing, and no block may name it."""
    size: int
    """Of the dynamic entries together."""
    capacity: int
    """What the size may grow to, in bytes."""
    changes: int
    """How often the dynamic table was changed."""

    def __init__(self, capacity: int) -> None:
        self.entries = _STATIC_ENTRIES.copy()
        self.size = 0
        self.capacity = capacity
        self.changes = 0

    def insert(self, entry: Entry) -> None:
        """Put *entry* at the first dynamic index; one larger than the table only empties it (section 4.4)."""
        size = entry[1]
        self._evict(self.capacity - size)
        if size <= self.capacity:
            self.entries.insert(FIRST_DYNAMIC, entry)
            self.size += size
        self.changes += 1

    def resize(self, capacity: int) -> None:
        """Let the table grow to *capacity* and no further (section 4.3)."""
        self.capacity = capacity
        self._evict(capacity)
        self.changes += 1

    def _evict(self, left: int) -> None:
        """Drop the oldest entries until no more than *left* bytes are in use."""
        while self.size > left and len(self.entries) > FIRST_DYNAMIC:
            self.size -= self.entries.pop()[1]
