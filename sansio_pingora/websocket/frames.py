"""Frames of RFC 6455 section 5, read piece by piece as they come, and written.

Not wsproto's reader: it keeps a frame until it is whole, so that 64 MiB in one frame take
64 MiB and bad text is found at its end, and it unmasks byte by byte (40 times slower for
64 KiB). It is the reference in the differential test.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from sansio_pingora.websocket.events import CloseCode, WebSocketFault

__all__ = ["FrameReader", "Opcode", "Piece", "masked", "write_frame"]


class Opcode(IntEnum):
    """What a frame is."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


_OPCODES = {int(opcode): opcode for opcode in Opcode}
_FIN = 0x80
_RSV1 = 0x40
_RSV23 = 0x30
_MASK = 0x80
_MAX_CONTROL = 125


class Piece(NamedTuple):
    """What has come of a frame, at first perhaps its head alone. Control frames come whole."""

    opcode: Opcode
    fin: bool
    compressed: bool
    """Its RSV1 bit (RFC 7692)."""
    length: int
    """Of the whole frame."""
    data: bytes
    starts: bool
    ends: bool


def masked(data: bytes, mask: bytes, offset: int = 0) -> bytes:
    """*data* with *mask* laid over it, *offset* bytes into the frame; twice is as before."""
    size = len(data)
    shift = offset & 3
    if shift:
        mask = mask[shift:] + mask[:shift]
    pattern = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pattern, "little")).to_bytes(size, "little")


def write_frame(
    opcode: Opcode, data: bytes, *, fin: bool = True, compressed: bool = False, mask: bytes | None
) -> bytes:
    """One frame; *mask* are four bytes for a client, None for a server."""
    first = opcode | (_FIN if fin else 0) | (_RSV1 if compressed else 0)
    size = len(data)
    bit = 0 if mask is None else _MASK
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 1 << 16:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    return head + data if mask is None else b"%b%b%b" % (head, mask, masked(data, mask))


class FrameReader:
    """Frames from bytes. ``extension``: RSV1 has a meaning."""

    __slots__ = (
        "_buffer",
        "_compressed",
        "_fin",
        "_left",
        "_length",
        "_mask",
        "_opcode",
        "_wants_mask",
        "extension",
    )

    def __init__(self, *, server: bool, extension: bool) -> None:
        self._wants_mask = server
        self.extension = extension
        self._buffer = bytearray()
        self._opcode: Opcode | None = None  # None: between two frames
        self._fin = self._compressed = False
        self._length = self._left = 0
        self._mask: bytes | None = None

    def receive(self, data: bytes) -> None:
        """Bytes from the peer."""
        self._buffer += data

    def read(self) -> Piece | None:
        """The next piece, or None when more bytes are needed.

        :raises WebSocketFault: the frame is none.
        """
        starts = self._opcode is None
        if starts and not self._read_head():
            return None
        buffer = self._buffer
        opcode = self._opcode
        assert opcode is not None  # read above
        if opcode >= Opcode.CLOSE and len(buffer) < self._left:
            return None
        at = self._length - self._left
        data = bytes(buffer[: self._left])
        if not data and self._left and not starts:
            return None
        del buffer[: len(data)]
        self._left -= len(data)
        if self._mask is not None:
            data = masked(data, self._mask, at)
        if not self._left:
            self._opcode = None
        return Piece(opcode, self._fin, self._compressed, self._length, data, starts, not self._left)

    def _read_head(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 2:
            if buffer:
                self._judge(buffer[0])
            return False
        first, second = buffer[0], buffer[1]
        opcode = self._judge(first)
        length = second & 0x7F
        if bool(second & _MASK) is not self._wants_mask:
            raise _broken("an unmasked frame of a client" if self._wants_mask else "a masked frame of a server")
        if opcode >= Opcode.CLOSE and length > _MAX_CONTROL:
            raise _broken("a control frame of more than 125 bytes")
        extended = 8 if length == 127 else 2 if length == 126 else 0
        end = 2 + extended
        if len(buffer) < end:
            return False
        if extended:
            length = int.from_bytes(buffer[2:end], "big")
            if length < (126 if extended == 2 else 1 << 16) or length >> 63:
                raise _broken("a length that is not in its shortest form, or beyond 63 bits")
        if self._wants_mask:
            if len(buffer) < end + 4:
                return False
            self._mask = bytes(buffer[end : end + 4])
            end += 4
        del buffer[:end]
        self._opcode = opcode
        self._fin = bool(first & _FIN)
        self._compressed = bool(first & _RSV1)
        self._length = self._left = length
        return True

    def _judge(self, first: int) -> Opcode:
        opcode = _OPCODES.get(first & 0x0F)
        if opcode is None:
            raise _broken(f"opcode {first & 0x0F:#x}")
        if first & _RSV23 or (first & _RSV1 and (not self.extension or opcode not in (Opcode.TEXT, Opcode.BINARY))):
            raise _broken("a reserved bit is set")
        if opcode >= Opcode.CLOSE and not first & _FIN:
            raise _broken("a control frame in fragments")
        return opcode


def _broken(what: str) -> WebSocketFault:
    return WebSocketFault(CloseCode.PROTOCOL_ERROR, what)
