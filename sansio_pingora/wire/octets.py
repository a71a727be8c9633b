"""Bytes from what may stand for them."""

from __future__ import annotations

__all__ = ["octets"]


def octets(data: object, what: str) -> bytes:
    """*data* as bytes; *what* names it in the error.

    :raises TypeError: it is nothing of the kind. A number is not: ``bytes(5)`` would be five zeros.
    """
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"{what} is bytes or str, not {type(data).__name__}")
