"""WebSocket frames as a peer might send them, legal and not (RFC 6455, RFC 7692)."""

from __future__ import annotations

import zlib
from itertools import pairwise

from hypothesis import strategies as st

from sansio_pingora.websocket import Deflate
from sansio_pingora.websocket.frames import Opcode, frame_head, masked

__all__ = ["websocket_deflates", "websocket_frame", "websocket_frames"]

_MASK = b"\x11\x22\x33\x44"

_TEXTS = st.text(max_size=12) | st.sampled_from(["é" * 300, "x" * 126, "\U0001f40d" * 70])
_BYTES = st.binary(max_size=12) | st.sampled_from([b"\xfe" * 125, b"y" * 126, bytes(range(256)) * 20, bytes(70_000)])
_CODES = st.sampled_from([1000, 1001, 1011, 1013, 3000, 4999, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000])


def websocket_frame(opcode: int, data: bytes, *, fin: bool = True, rsv: int = 0, mask: bytes | None = _MASK) -> bytes:
    """Any frame, legal or not; *mask* is None for one of a server."""
    head = bytearray(frame_head(opcode, len(data), fin=fin, mask=mask))
    head[0] |= rsv << 4
    return bytes(head) + (data if mask is None else masked(data, mask))


def _pieces(data: bytes, places: list[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(place * len(data) // 100 for place in places)})
    return [data[start:end] for start, end in pairwise(bounds)] or [b""]


@st.composite
def websocket_frames(draw: st.DrawFn, *, server: bool, deflate: bool, amid: bool = True) -> list[bytes]:
    """Frames towards a *server* or a client: messages in any number of frames, faults, closes, and pings.

    *deflate*: some messages are compressed; *amid*: pings come between the frames of a message, too.
    """
    mask = _MASK if server else None
    compressor = zlib.compressobj(wbits=-15)
    frames: list[bytes] = []
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(["message", "message", "message", "ping", "pong", "close", "fault"]))
        if kind == "message":
            text = draw(st.booleans())
            data = draw(_TEXTS).encode() if text else draw(_BYTES)
            packed = deflate and draw(st.booleans())
            if packed:
                data = (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
            pieces = _pieces(data, draw(st.lists(st.integers(0, 99), max_size=3)))
            for at, piece in enumerate(pieces):
                opcode = Opcode.CONTINUATION if at else Opcode.TEXT if text else Opcode.BINARY
                rsv = 4 if packed and not at else 0
                frames.append(websocket_frame(opcode, piece, fin=at == len(pieces) - 1, rsv=rsv, mask=mask))
                if amid and draw(st.integers(0, 3)) == 0:
                    frames.append(websocket_frame(Opcode.PING, draw(st.binary(max_size=4)), mask=mask))
        elif kind in ("ping", "pong"):
            frames.append(
                websocket_frame(Opcode.PING if kind == "ping" else Opcode.PONG, draw(st.binary(max_size=9)), mask=mask)
            )
        elif kind == "close":
            reason = draw(st.sampled_from([b"", b"bye", "é".encode(), b"\xff"]))
            body = draw(st.sampled_from([b"", b"\x03"]) | _CODES.map(lambda code: code.to_bytes(2, "big")))
            frames.append(websocket_frame(Opcode.CLOSE, body + reason if len(body) == 2 else body, mask=mask))
        else:
            any_opcode = draw(st.integers(0, 15))
            frames.append(
                websocket_frame(
                    any_opcode,
                    draw(st.binary(max_size=6) | st.just(b"z" * 126)),
                    fin=draw(st.booleans()),
                    rsv=draw(st.integers(0, 7)),
                    mask=draw(st.sampled_from([mask, mask, _MASK, None])),
                )
            )
    return frames


def websocket_deflates() -> st.SearchStrategy[Deflate | None]:
    """What a handshake may have settled about compression."""
    return st.none() | st.builds(
        Deflate,
        server_no_context_takeover=st.booleans(),
        client_no_context_takeover=st.booleans(),
        server_max_window_bits=st.integers(9, 15),
        client_max_window_bits=st.integers(9, 15),
    )
