"""Integers with a prefix of some bits (RFC 7541 section 5.1), and the one fault of this package."""

from __future__ import annotations

__all__ = ["HpackFault", "read_integer", "write_integer"]

_MAX_BYTES = 5  # behind the prefix: enough for 32 bits; a peer could go on for ever
_MAX_INTEGER = 0xFFFF_FFFF


class HpackFault(Exception):
    """The peer's block cannot be decoded; the two tables differ from here on, so the connection is lost."""


def read_integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """The integer whose prefix is the bits of *mask* in the byte *at*, which exists; and where it ends.

    :raises HpackFault: it is cut off, or too long.
    """
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    shift = 0
    for byte in block[at : at + _MAX_BYTES]:
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            if value > _MAX_INTEGER:
                raise HpackFault(f"an integer of {value}")
            return value, at
        shift += 7
    if shift == 7 * _MAX_BYTES:
        raise HpackFault(f"an integer of more than {_MAX_BYTES} bytes")
    raise HpackFault("a block that ends within an integer")


def write_integer(value: int, mask: int, pattern: int = 0) -> bytes:
    """*value* with the bits of *mask* as prefix, the bits of *pattern* before it."""
    if value < mask:
        return bytes((pattern | value,))
    out = [pattern | mask]
    value -= mask
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
