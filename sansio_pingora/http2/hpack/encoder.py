"""From fields to blocks: what was sent before takes one look-up.

The dynamic table is filled while there is room and then stays as it is: nothing is ever
pushed out, so that the index of an entry changes only when another is inserted. What
varies from message to message is never inserted, and a name that turns out to vary gets no
more than four entries, of a quarter of the table. The price is that a connection whose
fields change over hours keeps its first ones.

Huffman is for what is worked out once and sent by many connections: names, and the values
of common fields. On a value that is sent once it gains a byte in 0.3 µs (CPython 3.11), which
pays only where a core is to fill less than 27 Mbit/s: a fresh path of 22 bytes takes 2.3 µs
as it is, and 4.1 µs to be 6 bytes shorter.
"""

from __future__ import annotations

from collections.abc import Iterable

from sansio_pingora.http2.hpack.integers import write_integer
from sansio_pingora.http2.hpack.names import NEVER_INDEXED, SHARED, VARYING
from sansio_pingora.http2.hpack.strings import raw_string, shared_string
from sansio_pingora.http2.hpack.table import ENTRY_OVERHEAD, FIRST_DYNAMIC, STATIC_TABLE, FieldLine

__all__ = ["Encoder"]

_DEFAULT_SIZE = 4_096  # of the peer's table, until it says otherwise (RFC 9113 section 6.5.2)
_SHORT_COOKIE = 20  # bytes; a shorter one could be guessed (RFC 7541 section 7.1.3)
_MAX_ENTRIES = 128  # as many as 4,096 bytes hold
# A name may spend this much of the table; every value counts as a quarter at least, so that the fifth is one too many.
_SHARE = 1_024
_LEAST = _SHARE // 4
_MAX_NAMES = 128
_MAX_KEPT = 32_768  # bytes of fields whose encoding is kept, counted as a table counts them

_INDEXED, _INSERTED, _PLAIN, _NEVER, _UPDATE = 0x80, 0x40, 0x00, 0x10, 0x20  # patterns of RFC 7541 section 6

_STATIC_FIELDS = {field: write_integer(index, 0x7F, _INDEXED) for index, field in enumerate(STATIC_TABLE, 1)}
_STATIC_NAMES = {name: index for index, (name, _) in reversed(list(enumerate(STATIC_TABLE, 1)))}
_DYNAMIC = [write_integer(FIRST_DYNAMIC + place, 0x7F, _INDEXED) for place in range(_MAX_ENTRIES)]


class Encoder:
    """The sending end of a connection's compression."""

    __slots__ = ("_lines", "_lowest", "_max", "_size")

    def __init__(self, max_table_size: int = _DEFAULT_SIZE) -> None:
        """*max_table_size*: what is used of the peer's table at most, in bytes, however large it is."""
        self._max = max_table_size
        self._size = _DEFAULT_SIZE  # as the peer knows it
        self._lowest = _DEFAULT_SIZE  # since the last block
        self._lines = _Lines(_DEFAULT_SIZE)
        self.set_max_table_size(_DEFAULT_SIZE)

    def set_max_table_size(self, size: int) -> None:
        """Use no more than *size*, the peer's SETTINGS_HEADER_TABLE_SIZE; the next block tells that it was heard."""
        size = min(size, self._max)
        self._lowest = min(size, self._lowest)
        if size != self._lines.capacity:
            self._lines.resize(size)

    def encode(self, items: Iterable[tuple[bytes, bytes]], never_indexed: frozenset[bytes] = frozenset()) -> bytes:
        """The block for *items*, whose names may be in any case; nothing is checked.

        *never_indexed*: names in lower case whose values are marked as not to be indexed by anybody.
        """
        lines = self._lines
        if never_indexed:
            block = b"".join(
                [lines.never(*item) if item[0].lower() in never_indexed else lines[item] for item in items]
            )
        else:
            block = b"".join(map(lines.__getitem__, items))
        if lines.capacity != self._size or self._lowest < self._size:
            return self._updates() + block
        return block

    def _updates(self) -> bytes:
        """The smallest size that there was in between, if it was smaller, and the one that holds (section 4.2)."""
        lowest, size = self._lowest, self._lines.capacity
        updates = write_integer(size, 0x1F, _UPDATE)
        if lowest < size and lowest < self._size:
            updates = write_integer(lowest, 0x1F, _UPDATE) + updates
        self._size = self._lowest = size
        return updates


class _Lines(dict[FieldLine, bytes]):
    """The encoding of each field that was sent, spelled as it was sent, with the dynamic table that it rests on.

    Insertion moves all dynamic indices: then the memo starts anew, with the table's entries
    in it. That is rare, since what is inserted stays.
    """

    __slots__ = ("_entries", "_left", "_names", "_places", "_spent", "_used", "capacity")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._entries: list[FieldLine] = []  # the oldest first, spelled as first sent
        self._places: dict[FieldLine, int] = {}  # in that list, by the entry in lower case
        self._names: dict[bytes, int] = {}  # by name the place of its newest entry
        self._spent: dict[bytes, int] = {}  # by name, of its share
        self._used = 0
        self._left = _MAX_KEPT

    def resize(self, capacity: int) -> None:
        """Use *capacity* bytes.

        Where the peer has to evict some entries, all are given up: those that it keeps are
        the first to go when new ones come.
        """
        self.capacity = capacity
        if self._used > capacity:
            self._entries.clear()
            self._places.clear()
            self._names.clear()
            self._spent.clear()
            self._used = 0
        self._start_anew()

    def __missing__(self, item: FieldLine) -> bytes:
        name, value = item
        name = name.lower()
        field = name, value
        size = len(name) + len(value) + ENTRY_OVERHEAD
        encoded = _STATIC_FIELDS.get(field)
        if encoded is None:
            place = self._places.get(field)
            if place is not None:  # an entry in another spelling; not kept, since it moves
                return _DYNAMIC[len(self._entries) - 1 - place]
            if name in NEVER_INDEXED or (name == b"cookie" and len(value) < _SHORT_COOKIE):
                encoded = self.never(name, value)
            elif name in VARYING or (name == b":path" and b"?" in value) or not self._afford(name, size):
                # A date is the same for all connections, for a second.
                string = shared_string if name == b"date" else raw_string
                encoded = self._literal(_PLAIN, 0x0F, name) + string(value)
            else:
                string = shared_string if name in SHARED else raw_string
                if self._used + size <= self.capacity and len(self._entries) < _MAX_ENTRIES:
                    encoded = self._literal(_INSERTED, 0x3F, name) + string(value)
                    self._insert(item, field, size)
                    return encoded
                encoded = self._literal(_PLAIN, 0x0F, name) + string(value)
        self._keep(item, encoded, size)
        return encoded

    def never(self, name: bytes, value: bytes) -> bytes:
        """A literal that no hop may index (section 6.2.3)."""
        return self._literal(_NEVER, 0x0F, name.lower()) + raw_string(value)

    def _afford(self, name: bytes, size: int) -> bool:
        """Take *size* of the share of *name*, unless there is too little left."""
        spent = self._spent.get(name)
        if spent is None:
            if len(self._spent) >= _MAX_NAMES:
                return False
            spent = 0
        spent += max(size, _LEAST)
        if spent > _SHARE:
            return False
        self._spent[name] = spent
        return True

    def _literal(self, pattern: int, mask: int, name: bytes) -> bytes:
        """The start of a literal field: what is to be done with it, and its name by index or in full."""
        index = _STATIC_NAMES.get(name)
        if index is None:
            place = self._names.get(name)
            if place is None:
                return bytes((pattern,)) + shared_string(name)
            index = FIRST_DYNAMIC + len(self._entries) - 1 - place
        return write_integer(index, mask, pattern)

    def _insert(self, item: FieldLine, field: FieldLine, size: int) -> None:
        self._places[field] = self._names[field[0]] = len(self._entries)
        self._entries.append(item)
        self._used += size
        self._start_anew()

    def _keep(self, item: FieldLine, encoded: bytes, size: int) -> None:
        if size > _MAX_KEPT:
            return
        if size > self._left:
            self._start_anew()
        self._left -= size
        self[item] = encoded

    def _start_anew(self) -> None:
        self.clear()
        self.update(zip(reversed(self._entries), _DYNAMIC, strict=False))
        self._left = _MAX_KEPT
