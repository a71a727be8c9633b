"""Frames of RFC 6455 section 5, read piece by piece as they come, and written.

Not wsproto's reader: it keeps a frame until it is whole, so that 64 MiB in one frame take
64 MiB and bad text is found at its end, and it unmasks byte by byte (40 times slower for
64 KiB). It is the reference in the differential test.
"""

from __future__ import annotations

from enum import IntEnum

from sansio_pingora.websocket.events import CloseCode, WebSocketFault

__all__ = ["FrameReader", "Opcode", "frame_head", "masked", "write_frame"]


class Opcode(IntEnum):
    """What a frame is."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


_OPCODES = {int(opcode): opcode for opcode in Opcode}
_CONTROL = 0x8
_FIN = 0x80
_RSV1 = 0x40
_RSV23 = 0x30
_MASK = 0x80
_MAX_CONTROL = 125


def masked(data: bytes, mask: bytes, offset: int = 0) -> bytes:
    """*data* with *mask* laid over it, *offset* bytes into the frame; twice is as before."""
    size = len(data)
    shift = offset & 3
    if shift:
        mask = mask[shift:] + mask[:shift]
    pattern = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pattern, "little")).to_bytes(size, "little")


def frame_head(opcode: int, size: int, *, fin: bool = True, compressed: bool = False, mask: bytes | None) -> bytes:
    """What stands before *size* bytes of payload; *mask* are four bytes for a client, None for a server."""
    first = opcode | (_FIN if fin else 0) | (_RSV1 if compressed else 0)
    bit = 0 if mask is None else _MASK
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 1 << 16:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    return head if mask is None else head + mask


def write_frame(opcode: int, data: bytes, *, fin: bool = True, compressed: bool = False, mask: bytes | None) -> bytes:
    """One frame, whole."""
    head = frame_head(opcode, len(data), fin=fin, compressed=compressed, mask=mask)
    return head + (data if mask is None else masked(data, mask))


class FrameReader:
    """Frames from bytes. ``extension``: RSV1 has a meaning.

    The attributes are of the frame whose piece :meth:`read` gave last. A plain loop over
    attributes, not an object for each piece: a message may come in a million frames.
    """

    __slots__ = (
        "_at",
        "_data",
        "_inside",
        "_left",
        "_mask",
        "_wants_mask",
        "compressed",
        "ends",
        "extension",
        "fin",
        "length",
        "opcode",
        "starts",
    )

    def __init__(self, *, server: bool, extension: bool) -> None:
        self._wants_mask = server
        self.extension = extension
        self._data = b""
        self._at = 0  # how much of it was read
        self._inside = False  # amid a frame
        self._left = 0  # payload of it that was not read
        self._mask: bytes | None = None
        self.opcode = Opcode.CONTINUATION
        self.fin = True
        self.compressed = False
        """Its RSV1 bit (RFC 7692)."""
        self.length = 0
        """Of the payload of the whole frame."""
        self.starts = True
        """The piece is the frame's first."""
        self.ends = True
        """The piece is the frame's last."""

    def receive(self, data: bytes) -> None:
        """Bytes from the peer."""
        # What is left is less than a head or a control frame, unless the caller keeps bytes waiting here.
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0

    def read(self) -> bytes | None:
        """The next piece, of a frame of which it may be the head alone; or None when more bytes are needed.

        Control frames come whole.

        :raises WebSocketFault: the frame is none.
        """
        if not self._inside:
            if not self._read_head():
                return None
            self._inside = True
            self._left = self.length
            self.ends = True  # of the frame before: nothing of this one was given
        at = self._at
        left = self._left
        size = len(self._data) - at
        starts = self.ends
        ends = size >= left
        if ends:
            size = left
        elif self.opcode >= _CONTROL or not (size or starts):
            return None
        data = self._data[at : at + size]
        if size and self._mask is not None:
            data = masked(data, self._mask, self.length - left)
        self._at = at + size
        self._left = left - size
        self._inside = not ends
        self.starts = starts
        self.ends = ends
        return data

    def _read_head(self) -> bool:
        data, at = self._data, self._at
        have = len(data) - at
        if not have:
            return False
        opcode = self._judge(data[at])
        if have < 2:
            return False
        second = data[at + 1]
        length = second & 0x7F
        if (second >= _MASK) is not self._wants_mask:
            raise _broken("an unmasked frame of a client" if self._wants_mask else "a masked frame of a server")
        if length > _MAX_CONTROL and opcode >= _CONTROL:
            raise _broken("a control frame of more than 125 bytes")
        end = 2
        if length >= 126:
            end = 4 if length == 126 else 10
            if have < end:
                return False
            length = int.from_bytes(data[at + 2 : at + end], "big")
            if length < (126 if end == 4 else 1 << 16) or length >> 63:
                raise _broken("a length that is not in its shortest form, or beyond 63 bits")
        if self._wants_mask:
            if have < end + 4:
                return False
            self._mask = data[at + end : at + end + 4]
            end += 4
        self._at = at + end
        self.opcode = opcode
        self.fin = data[at] >= _FIN
        self.compressed = bool(data[at] & _RSV1)
        self.length = length
        return True

    def _judge(self, first: int) -> Opcode:
        opcode = _OPCODES.get(first & 0x0F)
        if opcode is None:
            raise _broken(f"opcode {first & 0x0F:#x}")
        if first & _RSV23 or (first & _RSV1 and (not self.extension or opcode not in (Opcode.TEXT, Opcode.BINARY))):
            raise _broken("a reserved bit is set")
        if opcode >= _CONTROL and first < _FIN:
            raise _broken("a control frame in fragments")
        return opcode


def _broken(what: str) -> WebSocketFault:
    return WebSocketFault(CloseCode.PROTOCOL_ERROR, what)
