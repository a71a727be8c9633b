"""Text is refused at the first byte that no UTF-8 can have there, and taken otherwise."""

from __future__ import annotations

import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.limits import Limits
from sansio_pingora.websocket import Closed, Deflate, MessagePart, WebSocketSession
from sansio_pingora.websocket.frames import Opcode, write_frame

MASK = b"\x11\x22\x33\x44"

# RFC 3629 section 4, as ranges of the bytes that may follow a first one.
TAIL = (0x80, 0xBF)
FORMS = [
    ((0x00, 0x7F),),
    ((0xC2, 0xDF), TAIL),
    ((0xE0, 0xE0), (0xA0, 0xBF), TAIL),
    ((0xE1, 0xEC), TAIL, TAIL),
    ((0xED, 0xED), (0x80, 0x9F), TAIL),
    ((0xEE, 0xEF), TAIL, TAIL),
    ((0xF0, 0xF0), (0x90, 0xBF), TAIL, TAIL),
    ((0xF1, 0xF3), TAIL, TAIL, TAIL),
    ((0xF4, 0xF4), (0x80, 0x8F), TAIL, TAIL),
]
EDGES = sorted({edge for form in FORMS for low, high in form for edge in (low, high)} | {0xC0, 0xC1, 0xF5, 0xFF})


def first_bad(data: bytes) -> int | None:
    """Where *data* stops to be the beginning of any UTF-8; None: nowhere."""
    at = 0
    while at < len(data):
        rest = data[at : at + 4]
        fits = [
            sum(
                1
                for _ in itertools.takewhile(
                    lambda pair: pair[1][0] <= pair[0] <= pair[1][1], zip(rest, form, strict=False)
                )
            )
            for form in FORMS
        ]
        best = max(range(len(FORMS)), key=fits.__getitem__)
        if fits[best] == len(FORMS[best]):
            at += fits[best]
        elif fits[best] == len(rest):
            return None
        else:
            return at + fits[best]
    return None


def server(deflate: Deflate | None = None) -> WebSocketSession:
    return WebSocketSession(0.0, Limits(ws_max_fragments=10_000), deflate=deflate)


def whole(data: bytes) -> list[bytes]:
    """One frame, byte by byte."""
    raw = write_frame(Opcode.TEXT, data + b"....", fin=False, mask=MASK)
    return [raw[:6], *(raw[at : at + 1] for at in range(6, 6 + len(data)))]


def in_fragments(data: bytes) -> list[bytes]:
    """A frame for each byte."""
    return [
        write_frame(Opcode.CONTINUATION if at else Opcode.TEXT, data[at : at + 1], fin=False, mask=MASK)
        for at in range(len(data))
    ]


def compressed(data: bytes) -> list[bytes]:
    """A compressed frame for each byte, of one message."""
    deflate = zlib.compressobj(wbits=-15)
    frames = []
    for at in range(len(data)):
        piece = deflate.compress(data[at : at + 1]) + deflate.flush(zlib.Z_SYNC_FLUSH)
        opcode = Opcode.CONTINUATION if at else Opcode.TEXT
        frames.append(write_frame(opcode, piece, fin=False, compressed=not at, mask=MASK))
    return frames


WAYS = {"whole": whole, "in fragments": in_fragments, "compressed": compressed}


def found_at(data: bytes, way: str) -> int | None:
    """At which byte of *data* the session refuses it; None: at none."""
    session = server(Deflate() if way == "compressed" else None)
    pieces = WAYS[way](data)
    begun = len(pieces) - len(data)
    for at, piece in enumerate(pieces):
        events = session.receive_data(piece, 0.0)
        if session.finished:
            assert isinstance(events[-1], Closed)
            assert events[-1].code == 1007
            return at - begun
    return None


@pytest.mark.parametrize("way", WAYS)
def test_every_edge_of_every_form(way):
    """Behind a byte that is bad nothing is tried: three bytes reach every state, and a fourth every end."""
    prefixes = [b""]
    for _ in range(4):
        longer = [prefix + bytes((byte,)) for prefix in prefixes for byte in EDGES]
        for data in longer:
            assert found_at(data, way) == first_bad(data), data.hex()
        prefixes = [data for data in longer if first_bad(data) is None and data[-1] > 0x7F and _is_amid(data)]


def _is_amid(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


@given(st.binary(max_size=12) | st.text(max_size=6).map(str.encode), st.sampled_from(sorted(WAYS)))
def test_any_bytes(data, way):
    assert found_at(data, way) == first_bad(data)


@given(st.text(max_size=40), st.lists(st.integers(1, 9), max_size=9))
def test_parts_are_whole_characters_and_nothing_is_lost(text, sizes):
    raw = write_frame(Opcode.TEXT, text.encode(), mask=MASK)
    session = server()
    parts: list[str] = []
    for size in [*sizes, len(raw)]:
        piece, raw = raw[:size], raw[size:]
        for event in session.receive_data(piece, 0.0) if piece else []:
            assert isinstance(event, MessagePart)
            assert isinstance(event.data, str)
            parts.append(event.data)
    assert "".join(parts) == text


@pytest.mark.parametrize("cut", [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x92"], ids=bytes.hex)
@pytest.mark.parametrize("way", WAYS)
def test_a_character_that_the_message_ends_in(cut, way):
    session = server(Deflate() if way == "compressed" else None)
    for piece in WAYS[way](b"ab" + cut)[: None if way != "whole" else 0]:
        assert not any(isinstance(event, Closed) for event in session.receive_data(piece, 0.0))
    if way == "whole":
        end = write_frame(Opcode.TEXT, b"ab" + cut, mask=MASK)
    else:
        end = write_frame(Opcode.CONTINUATION, b"\x00" if way == "compressed" else b"", mask=MASK)
    events = session.receive_data(end, 0.0)

    assert isinstance(events[-1], Closed)
    assert events[-1].code == 1007
