"""The static table, and the dynamic one as the decoder has it (RFC 7541 section 2.3)."""

from __future__ import annotations

from hpack.table import HeaderTable

__all__ = ["ENTRY_OVERHEAD", "FIRST_DYNAMIC", "STATIC_TABLE", "DecodingTable", "FieldLine"]

FieldLine = tuple[bytes, bytes]
"""A name and a value."""

STATIC_TABLE: tuple[FieldLine, ...] = HeaderTable.STATIC_TABLE
"""By index, from 1."""

ENTRY_OVERHEAD = 32
"""What an entry counts beyond its name and value (section 4.1)."""

FIRST_DYNAMIC = len(STATIC_TABLE) + 1
"""The index of the newest dynamic entry."""


class DecodingTable:
    """Both tables as one list, in which indices are places: a look-up is all that a field of one byte costs.

    The newest entry moves all others, which is a move of a thousand bytes for a table of 4,096.
    """

    __slots__ = ("capacity", "changes", "fields", "size", "sizes")

    fields: list[FieldLine]
    """By index; what stands at 0 means nothing, and no block may name it."""
    sizes: list[int]
    """Of the fields, by index, each with its overhead."""
    size: int
    """Of the dynamic entries together."""
    capacity: int
    """What the size may grow to, in bytes."""
    changes: int
    """How often the dynamic table was changed."""

    def __init__(self, capacity: int) -> None:
        self.fields = [(b"", b""), *STATIC_TABLE]
        self.sizes = [len(name) + len(value) + ENTRY_OVERHEAD for name, value in self.fields]
        self.size = 0
        self.capacity = capacity
        self.changes = 0

    def insert(self, field: FieldLine, size: int) -> None:
        """Put *field* at the first dynamic index; one larger than the table only empties it (section 4.4)."""
        self._evict(self.capacity - size)
        if size <= self.capacity:
            self.fields.insert(FIRST_DYNAMIC, field)
            self.sizes.insert(FIRST_DYNAMIC, size)
            self.size += size
        self.changes += 1

    def resize(self, capacity: int) -> None:
        """Let the table grow to *capacity* and no further (section 4.3)."""
        self.capacity = capacity
        self._evict(capacity)
        self.changes += 1

    def _evict(self, left: int) -> None:
        """Drop the oldest entries until no more than *left* bytes are in use."""
        while self.size > left and len(self.fields) > FIRST_DYNAMIC:
            self.fields.pop()
            self.size -= self.sizes.pop()
