"""The Huffman code of RFC 7541 appendix B, a byte at a time.

The tables are hpack's. Its decoder walks them by half bytes, and its encoder shifts one ever
longer integer, which is quadratic; both take three times as long as these, which take 0.08 µs
a byte on CPython 3.11.
"""

from __future__ import annotations

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE

from sansio_pingora.http2.hpack.integers import HpackFault

__all__ = ["decode_huffman", "encode_huffman", "huffman_size"]

_STATES = 256
_LENGTHS = bytes(REQUEST_CODES_LENGTH[:256])  # without EOS
_CODES = [f"{code:0{length}b}" for code, length in zip(REQUEST_CODES, _LENGTHS, strict=False)]


class _Row(dict[int, tuple["_Row", bytes]]):
    """A state amid a string: by the next byte the state after it, and the one or two bytes that are complete then.

    Filled as bytes are met: text meets a small part of the 65,536 steps that there are,
    which keeps the import short, and the memory too.
    """

    __slots__ = ("complete", "state")

    def __init__(self, state: int) -> None:
        self.state = state
        self.complete = state == 0
        """A string may end here: what is open is at most 7 bits, all ones. Known when the first step leads here."""

    def __missing__(self, byte: int) -> tuple[_Row, bytes]:
        state, flags, decoded = self.state, 0, b""
        for half in (byte >> 4, byte & 0x0F):
            state, flags, symbol = HUFFMAN_TABLE[state * 16 + half]
            if flags & HUFFMAN_FAIL:
                raise HpackFault("a Huffman string with the EOS symbol")
            if flags & HUFFMAN_EMIT_SYMBOL:
                decoded += bytes((symbol,))
        row = _ROWS[state]
        row.complete = bool(flags & HUFFMAN_COMPLETE)
        self[byte] = step = row, decoded
        return step


_ROWS = [_Row(state) for state in range(_STATES)]


def decode_huffman(raw: bytes) -> bytes:
    """The string that *raw* codes: at most 8/5 of its length, since no code is shorter than 5 bits.

    :raises HpackFault: it holds EOS, or its padding is longer than 7 bits or not all ones (section 5.2).
    """
    row = _ROWS[0]
    decoded = bytearray()  # joining a list of parts would take ninety bytes for each of them
    for byte in raw:
        row, part = row[byte]
        decoded += part
    if not row.complete:
        raise HpackFault("a Huffman string with wrong padding")
    return bytes(decoded)


def encode_huffman(value: bytes) -> bytes:
    """*value*, coded and padded with ones."""
    bits = "".join([_CODES[byte] for byte in value])
    bits += "1" * (-len(bits) % 8)
    return int(bits or "0", 2).to_bytes(len(bits) >> 3, "big")


def huffman_size(value: bytes) -> int:
    """The bytes that *value* takes when coded, found without coding it."""
    return sum(value.translate(_LENGTHS)) + 7 >> 3
