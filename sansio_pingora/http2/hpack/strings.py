"""Strings of a block (RFC 7541 section 5.2), and memos of those that many connections send.

To code or decode a string by Huffman takes 0.08 µs a byte; a hit in a memo takes that for the
whole string, so that all connections but the first have it for nothing.
"""

from __future__ import annotations

from functools import lru_cache

from sansio_pingora.http2.hpack.huffman import decode_huffman, encode_huffman, huffman_size
from sansio_pingora.http2.hpack.integers import HpackFault, read_integer, write_integer

__all__ = ["raw_string", "read_string", "shared_string"]

# The memos of a process take 0.3 MB at most: junk displaces the entry that was not used for longest.
_KEPT = 512
_MAX_KEPT = 256  # bytes; twice the User-Agent field of a browser

_decode_shared = lru_cache(maxsize=_KEPT)(decode_huffman)


def read_string(block: bytes, at: int, shared: bool) -> tuple[bytes, int]:
    """The string that starts *at*, and where it ends. *shared*: other connections send it too, and it is no secret.

    :raises HpackFault: it is cut off, or no Huffman string where it says so.
    """
    try:
        first = block[at]
    except IndexError:
        raise HpackFault("a block that ends before a string") from None
    length = first & 0x7F
    if length == 0x7F:
        length, at = read_integer(block, at, 0x7F)
    else:
        at += 1
    end = at + length
    raw = block[at:end]
    if len(raw) != length:
        raise HpackFault(f"a block that ends {length - len(raw)} bytes before the end of a string")
    if first < 0x80:
        return raw, end
    return (_decode_shared(raw) if shared and length <= _MAX_KEPT else decode_huffman(raw)), end


def raw_string(value: bytes) -> bytes:
    """*value* as a string of a block, as it is."""
    return write_integer(len(value), 0x7F) + value


def shared_string(value: bytes) -> bytes:
    """*value*, which other connections send too and is no secret, in its shorter form if it can be kept."""
    return _encode_shared(value) if len(value) <= _MAX_KEPT else raw_string(value)


@lru_cache(maxsize=_KEPT)
def _encode_shared(value: bytes) -> bytes:
    size = huffman_size(value)
    if size >= len(value):
        return raw_string(value)
    return write_integer(size, 0x7F, 0x80) + encode_huffman(value)
