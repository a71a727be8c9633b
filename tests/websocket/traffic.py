"""Streams of frames, legal and not: what a peer might send."""

from __future__ import annotations

import zlib
from itertools import pairwise

from hypothesis import strategies as st

from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE
from sansio_pingora.websocket import MessagePart, WebSocketSession
from sansio_pingora.websocket.frames import Opcode, frame_head, masked

MASK = b"\x11\x22\x33\x44"
LIMITS = Limits(ws_max_message=20_000, ws_max_fragments=8)

_TEXTS = st.text(max_size=12) | st.sampled_from(["é" * 300, "x" * 126, "\U0001f40d" * 70])
_BYTES = st.binary(max_size=12) | st.sampled_from([b"\xfe" * 125, b"y" * 126, bytes(range(256)) * 20, bytes(70_000)])
_CODES = st.sampled_from([1000, 1001, 1011, 1013, 3000, 4999, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000])


def wire(opcode: int, data: bytes, *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK) -> bytes:
    """Any frame, legal or not."""
    head = bytearray(frame_head(opcode, len(data), fin=fin, mask=mask))
    head[0] |= rsv << 4
    return bytes(head) + (data if mask is None else masked(data, mask))


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(place * len(data) // 100 for place in places)})
    return [data[start:end] for start, end in pairwise(bounds)] or [b""]


@st.composite
def streams(draw: st.DrawFn, *, server: bool, deflate: bool, amid: bool = True) -> list[bytes]:
    """Frames towards a server or a client: messages in any number of frames, faults, and pings, also *amid* messages."""
    mask = MASK if server else None
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
            pieces = _cut(data, draw(st.lists(st.integers(0, 99), max_size=3)))
            for at, piece in enumerate(pieces):
                opcode = Opcode.CONTINUATION if at else Opcode.TEXT if text else Opcode.BINARY
                rsv = 4 if packed and not at else 0
                frames.append(wire(opcode, piece, fin=at == len(pieces) - 1, rsv=rsv, mask=mask))
                if amid and draw(st.integers(0, 3)) == 0:
                    frames.append(wire(Opcode.PING, draw(st.binary(max_size=4)), mask=mask))
        elif kind in ("ping", "pong"):
            frames.append(wire(Opcode.PING if kind == "ping" else Opcode.PONG, draw(st.binary(max_size=9)), mask=mask))
        elif kind == "close":
            reason = draw(st.sampled_from([b"", b"bye", "é".encode(), b"\xff"]))
            body = draw(st.sampled_from([b"", b"\x03"]) | _CODES.map(lambda code: code.to_bytes(2, "big")))
            frames.append(wire(Opcode.CLOSE, body + reason if len(body) == 2 else body, mask=mask))
        else:
            opcode = draw(st.integers(0, 15))
            frames.append(
                wire(
                    opcode,
                    draw(st.binary(max_size=6) | st.just(b"z" * 126)),
                    fin=draw(st.booleans()),
                    rsv=draw(st.integers(0, 7)),
                    mask=draw(st.sampled_from([mask, mask, MASK, None])),
                )
            )
    return frames


def told(session: WebSocketSession, data: bytes, now: float = 0.0) -> list:
    """All that *session* has to tell of *data*."""
    events = session.receive_data(data, now)
    while session.deadline == AT_ONCE:
        events += session.handle_timeout(now)
    return events


def merged(events: list) -> list:
    """*events* with the pieces of each frame put together."""
    found: list = []
    for event in events:
        before = found[-1] if found else None
        if isinstance(event, MessagePart) and isinstance(before, MessagePart) and not before.ends:
            found[-1] = MessagePart(before.data + event.data, event.last, event.ends)
        else:
            found.append(event)
    return found
