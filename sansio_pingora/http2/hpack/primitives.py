"""Integers and strings of HPACK (RFC 7541 section 5), and its static table (appendix A)."""

from __future__ import annotations

from functools import lru_cache

from hpack.exceptions import HPACKDecodingError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

__all__ = [
    "ENTRY_OVERHEAD",
    "STATIC",
    "Entry",
    "HpackFault",
    "decode_integer",
    "decode_string",
    "encode_integer",
    "huffman",
]

ENTRY_OVERHEAD = 32
"""What a field counts beyond its bytes (RFC 7541 section 4.1)."""

_MAX_INTEGER = 2**31 - 1
_MEMO_UP_TO = 128
"""Longer strings seldom come twice; with the number below, what a peer chose takes 1 MiB at most."""

Entry = tuple[tuple[bytes, bytes], int]
STATIC: list[Entry] = [
    ((b"", b""), 0),  # index 0 is illegal
    *(((name, value), len(name) + len(value) + ENTRY_OVERHEAD) for name, value in HeaderTable.STATIC_TABLE),
]
"""Fields with their size, by index from 1."""

_HUFFMAN = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


class HpackFault(Exception):
    """A block that cannot be decoded: the tables of both ends are not alike any more."""


def decode_integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """The integer whose first byte is before *at* and filled its prefix of *mask*; and where it ends.

    :raises HpackFault: it is not complete, or too large.
    """
    value, shift = mask, 0
    try:
        while True:
            byte = block[at]
            at += 1
            value += (byte & 0x7F) << shift
            shift += 7
            if value > _MAX_INTEGER or shift > 35:
                raise HpackFault("an integer above 2^31-1")
            if byte < 0x80:
                return value, at
    except IndexError:
        raise HpackFault("an integer that is not complete") from None


def decode_string(block: bytes, at: int) -> tuple[bytes, int]:
    """The string at *at*, and where it ends.

    :raises HpackFault: it is not complete, or its Huffman code is not one.
    """
    if at >= len(block):
        raise HpackFault("a string that is not there")
    first = block[at]
    at += 1
    size = first & 0x7F
    if size == 0x7F:
        size, at = decode_integer(block, at, 0x7F)
    end = at + size
    if end > len(block):
        raise HpackFault("a string that is not complete")
    raw = block[at:end]
    if first < 0x80:
        return raw, end
    return (_repeated if size <= _MEMO_UP_TO else _decode_huffman)(raw), end


def _decode_huffman(raw: bytes) -> bytes:
    try:
        return decode_huffman(raw)
    except HPACKDecodingError as exc:
        raise HpackFault(str(exc)) from None


_repeated = lru_cache(maxsize=2048)(_decode_huffman)


def encode_integer(value: int, mask: int, flags: int) -> bytes:
    """*value* with a prefix of *mask*, the first byte's other bits being *flags*."""
    if value < mask:
        return bytes((flags | value,))
    out = bytearray((flags | mask,))
    value -= mask
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@lru_cache(maxsize=2048)
def huffman(raw: bytes) -> bytes:
    """*raw* as a string, by the Huffman code where that is shorter. For short strings that come again."""
    coded = _HUFFMAN.encode(raw)
    if len(coded) < len(raw):
        return encode_integer(len(coded), 0x7F, 0x80) + coded
    return encode_integer(len(raw), 0x7F, 0) + raw
