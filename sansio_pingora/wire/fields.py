"""Header and trailer fields: ordered, spelling kept, looked up without regard to case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Self

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.wire.grammar import FIELD_NAME, FIELD_VALUE, TOKEN_LIST

__all__ = ["Fields", "Text"]

Text = bytes | str
"""Bytes, or text that latin-1 can spell."""

_Index = dict[bytes, "bytes | list[bytes]"]
_NONE: frozenset[bytes] = frozenset()


def as_bytes(text: Text) -> bytes:
    """*text* as bytes.

    :raises Error: ``INVALID_HTTP_HEADER``, latin-1 cannot spell it.
    """
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as exc:
        raise Error(
            ErrorType.INVALID_HTTP_HEADER, f"{text!r} cannot be sent in a field: encode it first", cause=exc
        ) from None


@lru_cache(maxsize=256)  # programs use few names, and the same ones for every message
def field_name(name: Text) -> bytes:
    """*name* as bytes, checked (RFC 9110 section 5.1).

    :raises Error: ``INVALID_HTTP_HEADER``, not a token.
    """
    raw = as_bytes(name)
    if not FIELD_NAME.fullmatch(raw):
        raise Error(ErrorType.INVALID_HTTP_HEADER, f"field name {raw!r} is not a token")
    return raw


def field_value(name: bytes, value: Text) -> bytes:
    """*value* as bytes, checked; never repaired, since a repaired value hides an injection.

    :raises Error: ``INVALID_HTTP_HEADER``, control bytes or outer blanks.
    """
    raw = value if type(value) is bytes else as_bytes(value)
    if not FIELD_VALUE.fullmatch(raw):
        raise Error(
            ErrorType.INVALID_HTTP_HEADER, f"value of {name!r} holds a control byte or an outer blank: {raw[:80]!r}"
        )
    return raw


class Fields:
    """An ordered list of ``(name, value)`` bytes with a look-up by lower-case name."""

    __slots__ = ("index", "items", "never_indexed")

    items: list[tuple[bytes, bytes]]
    """The lines in order, as they are sent. Read it; change it through the methods."""
    index: dict[bytes, bytes | list[bytes]]
    """By lower-case name the value, or the values where there are several. For reading where speed counts."""
    never_indexed: frozenset[bytes]
    """Names in lower case whose values no hop may put into a table of HTTP/2, lest they be guessed (RFC 7541 section
    7.1.3): those that came so marked. Add to them what holds a secret; HTTP/1 has no such mark."""

    def __init__(self, fields: Iterable[tuple[Text, Text]] = ()) -> None:
        """Build from pairs.

        :raises Error: ``INVALID_HTTP_HEADER``, a name or value is not legal.
        """
        self.items = []
        self.index = {}
        self.never_indexed = _NONE
        for name, value in fields:
            self.append(name, value)

    @classmethod
    def received(cls, items: list[tuple[bytes, bytes]]) -> Self:
        """Take over *items*, whose names and values the grammar has already proved."""
        return cls.indexed(items, {name.lower(): value for name, value in items})

    @classmethod
    def indexed(cls, items: list[tuple[bytes, bytes]], index: _Index) -> Self:
        """Take over proved *items* with their *index*, in which of a repeated name any value stands."""
        self = cls.__new__(cls)
        self.items = items
        if len(index) != len(items):
            index = {}
            for name, value in items:
                _add(index, name.lower(), value)
        self.index = index
        self.never_indexed = _NONE
        return self

    def get(self, name: Text) -> bytes | None:
        """The first value under *name*, or None."""
        value = self.index.get(_key(name))
        return value[0] if type(value) is list else value  # type: ignore[return-value]  # not a list: bytes or None

    def get_all(self, name: Text) -> list[bytes]:
        """Every value under *name*, in order."""
        value = self.index.get(_key(name))
        if value is None:
            return []
        return list(value) if type(value) is list else [value]  # type: ignore[list-item]  # not a list: bytes

    def tokens(self, name: Text) -> list[bytes]:
        """The members of the list field *name*, over all its lines, lower-cased in ASCII."""
        value = self.index.get(_key(name))
        if value is None:
            return []
        if type(value) is list:
            value = b",".join(value)
        return TOKEN_LIST.findall(value.lower())  # type: ignore[union-attr]  # joined above

    def append(self, name: Text, value: Text) -> None:
        """Add a line under *name*, after those already there.

        :raises Error: ``INVALID_HTTP_HEADER``, not legal; nothing is changed.
        """
        name = field_name(name)
        value = field_value(name, value)
        self.items.append((name, value))
        _add(self.index, name.lower(), value)

    def insert(self, name: Text, value: Text) -> None:
        """Make *value* the only one under *name*, spelled as given, at the place of the first.

        :raises Error: ``INVALID_HTTP_HEADER``, not legal; nothing is changed.
        """
        name = field_name(name)
        value = field_value(name, value)
        key = name.lower()
        if key in self.index:
            items = self.items
            at = 0
            while items[at][0].lower() != key:
                at += 1
            items[at] = (name, value)
            if type(self.index[key]) is list:
                items[at + 1 :] = [item for item in items[at + 1 :] if item[0].lower() != key]
        else:
            self.items.append((name, value))
        self.index[key] = value

    def remove(self, name: Text) -> bytes | None:
        """Drop every line under *name*; the first value, or None when there was none."""
        key = _key(name)
        value = self.index.pop(key, None)
        if value is None:
            return None
        self.items = [item for item in self.items if item[0].lower() != key]
        return value[0] if type(value) is list else value  # type: ignore[return-value]  # not a list: bytes

    def remove_all(self, names: frozenset[bytes]) -> None:
        """Drop every line under any of *names*, which are in lower case."""
        index = self.index
        for key in names & index.keys():
            if type(index.pop(key)) is list:
                self.items = [item for item in self.items if item[0].lower() != key]
                continue
            items = self.items
            at, size = 0, len(key)
            while len(items[at][0]) != size or items[at][0].lower() != key:
                at += 1
            del items[at]

    def copy(self) -> Fields:
        """An independent copy."""
        other = Fields.__new__(Fields)
        other.items = self.items.copy()
        index = self.index.copy()
        if len(index) != len(other.items):
            index = {key: value.copy() if type(value) is list else value for key, value in index.items()}
        other.index = index
        other.never_indexed = self.never_indexed
        return other

    def has_any(self, names: frozenset[bytes]) -> bool:
        """Any of *names*, in lower case, has a line."""
        return not names.isdisjoint(self.index)

    def to_bytes(self) -> bytes:
        """The lines as they go on the wire, each with its CRLF."""
        return b"\r\n".join([*map(b": ".join, self.items), b""])

    def __contains__(self, name: Text) -> bool:
        return _key(name) in self.index

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self.items == other.items

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Fields({self.items!r})"


def _key(name: Text) -> bytes:
    return name.lower() if type(name) is bytes else name.lower().encode("latin-1", "replace")  # type: ignore[union-attr]


def _add(index: _Index, key: bytes, value: bytes) -> None:
    known = index.get(key)
    if known is None:
        index[key] = value
    elif type(known) is list:
        known.append(value)
    else:
        index[key] = [known, value]  # type: ignore[list-item]  # not a list: bytes
