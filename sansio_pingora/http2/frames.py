"""Frames of HTTP/2 as bytes (RFC 9113 section 4 and 6): taking them apart, and making those that we send."""

from __future__ import annotations

from struct import Struct

from sansio_pingora.http2.codes import ConnectionFault, ErrorCode

__all__ = [
    "ACK",
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "FRAME_HEADER",
    "GOAWAY",
    "HEADERS",
    "HEADER_SIZE",
    "PADDED",
    "PING",
    "PREFACE",
    "PRIORITY",
    "PRIORITY_FLAG",
    "PRIORITY_UPDATE",
    "PUSH_PROMISE",
    "RST_STREAM",
    "SETTINGS",
    "UINT32",
    "WINDOW_UPDATE",
    "Setting",
    "goaway",
    "header_block",
    "parse_settings",
    "ping",
    "rst_stream",
    "settings",
    "window_update",
    "without_padding",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113 section 3.4)."""

# Frame types.
DATA = 0x0
HEADERS = 0x1
PRIORITY = 0x2
RST_STREAM = 0x3
SETTINGS = 0x4
PUSH_PROMISE = 0x5
PING = 0x6
GOAWAY = 0x7
WINDOW_UPDATE = 0x8
CONTINUATION = 0x9
PRIORITY_UPDATE = 0x10  # RFC 9218 section 7.1

# Flags; what they mean depends on the type.
ACK = 0x1
END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FLAG = 0x20

HEADER_SIZE = 9
FRAME_HEADER = Struct(">HBBBL")
"""Length in 16 and 8 bits, type, flags, stream."""
UINT32 = Struct(">L")
_SETTING = Struct(">HL")


class Setting:
    """Identifiers of settings (RFC 9113 section 6.5.2, RFC 8441 section 3, RFC 9218 section 2.1)."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6
    ENABLE_CONNECT_PROTOCOL = 0x8
    NO_RFC7540_PRIORITIES = 0x9


def without_padding(payload: bytes) -> bytes:
    """What a PADDED frame carries (RFC 9113 section 6.1).

    :raises ConnectionFault: there is more padding than frame.
    """
    if not payload:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a padded frame without its pad length")
    stop = len(payload) - payload[0]
    if stop < 1:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding as long as the frame or longer")
    return payload[1:stop]


def parse_settings(payload: bytes) -> list[tuple[int, int]]:
    """Identifiers and values, in order.

    :raises ConnectionFault: the length is no multiple of six.
    """
    if len(payload) % 6:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
    return list(_SETTING.iter_unpack(payload))


def header_block(stream_id: int, block: bytes, end_stream: bool, max_frame: int) -> bytes:
    """HEADERS with as many CONTINUATION frames as *block* needs."""
    size = len(block)
    flags = END_STREAM if end_stream else 0
    if size <= max_frame:
        return FRAME_HEADER.pack(size >> 8, size & 0xFF, HEADERS, flags | END_HEADERS, stream_id) + block
    pieces = []
    kind = HEADERS
    for at in range(0, size, max_frame):
        piece = block[at : at + max_frame]
        if at + max_frame >= size:
            flags |= END_HEADERS
        pieces += [FRAME_HEADER.pack(len(piece) >> 8, len(piece) & 0xFF, kind, flags, stream_id), piece]
        kind, flags = CONTINUATION, 0
    return b"".join(pieces)


def settings(values: dict[int, int]) -> bytes:
    """SETTINGS that announce *values*."""
    payload = b"".join(_SETTING.pack(*item) for item in values.items())
    return FRAME_HEADER.pack(0, len(payload), SETTINGS, 0, 0) + payload


def rst_stream(stream_id: int, code: int) -> bytes:
    """RST_STREAM."""
    return FRAME_HEADER.pack(0, 4, RST_STREAM, 0, stream_id) + UINT32.pack(code)


def window_update(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE; stream 0 is the connection."""
    return FRAME_HEADER.pack(0, 4, WINDOW_UPDATE, 0, stream_id) + UINT32.pack(increment)


def ping(payload: bytes, flags: int = 0) -> bytes:
    """PING, or the answer to one."""
    return FRAME_HEADER.pack(0, 8, PING, flags, 0) + payload


def goaway(last_stream: int, code: int, reason: str = "") -> bytes:
    """GOAWAY; *reason* is for the people at the other end."""
    debug = reason.encode("ascii", "replace")[:200]
    return FRAME_HEADER.pack(0, 8 + len(debug), GOAWAY, 0, 0) + UINT32.pack(last_stream) + UINT32.pack(code) + debug
