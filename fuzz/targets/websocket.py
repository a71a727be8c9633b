"""Targets over WebSocket: frames, compressed messages, and what a handshake offers."""

from __future__ import annotations

import zlib
from zlib import crc32

from fuzz.target import Target
from sansio_pingora.limits import Limits
from sansio_pingora.testing.strategies.websocket import websocket_frame
from sansio_pingora.websocket import Closed, Deflate, MessagePart, WebSocketSession
from sansio_pingora.websocket.deflate import Inflater
from sansio_pingora.websocket.events import WebSocketFault
from sansio_pingora.websocket.frames import Opcode
from tests.http1.runs import at_random
from tests.websocket.cases import CASES
from tests.websocket.traffic import LIMITS, MASK, merged, told

__all__ = ["TARGETS"]

_CEILING = 100_000
_MOST = 30_000

_FRAMES = tuple(
    websocket_frame(opcode, body, fin=fin, rsv=rsv)
    for opcode in (*Opcode, 3, 11)
    for body, fin, rsv in ((b"", True, 0), (b"\x03\xe8x", True, 0), (b"hello", False, 0), (b"\xf2\x48\xcd", True, 4))
)


def frames(data: bytes) -> None:
    """Any bytes, however cut, mean the same to a session and get the same answer; nothing is told behind its end.

    Of two faults in one compressed message the cut decides which is met first: zlib gives nothing of what
    it has inflated before its fault.
    """
    seed = crc32(data)
    mask = None if seed % 2 else lambda: MASK
    deflate = seed % 4 > 1
    outcomes = []
    for pieces in ([data] if data else [], at_random(data, seed)):
        session = WebSocketSession(0.0, LIMITS, mask=mask, deflate=Deflate() if deflate else None)
        events, out = [], b""
        for piece in pieces:
            events += told(session, piece)
            out += b"".join(session.data_to_send())
        events = merged(events)
        if session.finished:
            events = [event for event in events if not isinstance(event, MessagePart) or event.ends]
        if deflate and events and isinstance(events[-1], Closed) and events[-1].code in {1007, 1009}:
            events[-1:], out = ["faulty"], b""
        outcomes.append((events, out, session.finished))
        if session.finished:
            assert told(session, b"\x81\x80abcd") == []
    assert outcomes[0] == outcomes[1]


def inflate(data: bytes) -> None:
    """Any bytes inflate to what zlib says, or to a fault, and never to more than the ceiling and one step."""
    inflater = Inflater(15, keep=False, ceiling=_CEILING)
    out = b""
    try:
        for at in range(0, len(data), 700):
            inflater.give(data[at : at + 700], at + 700 >= len(data))
            while inflater.pending:
                piece = inflater.take()
                assert len(piece) <= 2 * 65_536
                out += piece
    except WebSocketFault:
        out = b""
    assert len(out) <= _CEILING
    reference = zlib.decompressobj(-15)
    try:
        expected = reference.decompress(data + b"\x00\x00\xff\xff", _CEILING)
    except zlib.error:
        return
    if out and not reference.eof and not reference.unconsumed_tail:
        assert out == expected


def offers(data: bytes) -> None:
    """Whatever a handshake offers, what is chosen was offered and can be had; our answer to it is understood."""
    text = data.decode("latin-1")
    chosen = Deflate.choose(text)
    if chosen is not None:
        assert 9 <= chosen.server_max_window_bits <= 15
        understood = Deflate.accepted(chosen.answer().decode("ascii"))
        assert understood is None or understood.server_max_window_bits == chosen.server_max_window_bits
        assert understood is not None or chosen.client_max_window_bits < 9
    Deflate.accepted(text)
    limits = Limits(ws_max_message=_MOST)
    session = WebSocketSession(0.0, limits, mask=None, deflate=chosen)
    told(session, b"".join(_FRAMES[:3]))


TARGETS = (
    Target(
        "websocket-frames",
        frames,
        lambda: [
            *_FRAMES,
            *(
                b"".join(
                    websocket_frame(frame.opcode, frame.data, fin=frame.fin, rsv=frame.rsv) for frame in case.frames
                )
                for case in CASES.values()
                if sum(len(frame.data) for frame in case.frames) < 2_000
            ),
        ],
        _FRAMES,
    ),
    Target(
        "websocket-inflate",
        inflate,
        lambda: [zlib.compress(body)[2:-4] for body in (b"", b"hello" * 50, bytes(150_000), bytes(range(256)) * 9)],
        (b"\x00\x00\x00\xff\xff", b"\x03\x00", b"\x01\x00\x00\xff\xff"),
    ),
    Target(
        "websocket-offers",
        offers,
        lambda: [
            b"permessage-deflate",
            b"permessage-deflate; client_max_window_bits, permessage-deflate",
            b'permessage-deflate; server_max_window_bits="10"; client_no_context_takeover',
        ],
        tuple(
            b"permessage-deflate|; |, |=|server_no_context_takeover|client_no_context_takeover|"
            b'server_max_window_bits|client_max_window_bits|15|8|9|"'.split(b"|")
        ),
    ),
)
