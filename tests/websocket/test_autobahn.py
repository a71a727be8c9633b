"""The cases of the Autobahn test suite, against the machine in both roles and against the built-in origin."""

from __future__ import annotations

import json
import zlib

import pytest

from sansio_pingora.apps import OriginApp
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE
from sansio_pingora.websocket import Closed, Deflate, MessagePart, Pong, WebSocketSession
from sansio_pingora.websocket.frames import frame_head, masked
from tests.apps.bench import body_of, get, http, status_of
from tests.websocket.cases import CASES, END, Frame

MASK = b"\x11\x22\x33\x44"
ROOM = {"ws_max_message": 16 << 20, "ws_max_fragments": 1 << 20}
LIMITS = Limits(**ROOM)


def raw(frame: Frame, mask: bytes | None) -> bytes:
    """*frame* as it is sent."""
    head = bytearray(frame_head(frame.opcode, len(frame.data), fin=frame.fin, mask=mask))
    head[0] |= frame.rsv << 4
    return bytes(head) + (frame.data if mask is None else masked(frame.data, mask))


def told(session: WebSocketSession, data: bytes) -> list:
    """All that *session* has to tell of *data*."""
    events = session.receive_data(data, 0.0)
    while session.deadline == AT_ONCE:
        events += session.handle_timeout(0.0)
    return events


def summary(events: list) -> list:
    """Whole messages, pongs, and how it ended."""
    found, parts = [], []
    for event in events:
        if isinstance(event, MessagePart):
            parts.append(event.data)
            if event.last:
                found.append(type(event.data)().join(parts))
                parts = []
        elif isinstance(event, Pong):
            found.append(event)
        elif isinstance(event, Closed):
            found.append(Closed(event.code))
    return found


class Echo:
    """A session that sends back what it is told, at once; what it sends is read by its peer."""

    def __init__(self, *, server: bool, deflate: Deflate | None = None) -> None:
        masks = (lambda: MASK, None) if server else (None, lambda: MASK)
        self.session = WebSocketSession(0.0, LIMITS, mask=masks[1], deflate=deflate, patient=True)
        self.peer = WebSocketSession(0.0, LIMITS, mask=masks[0], deflate=deflate)
        self.events: list = []

    def receive(self, data: bytes) -> None:
        for event in told(self.session, data):
            if isinstance(event, MessagePart):
                self.session.send(event.data, last=event.last)
        self.session.finish()
        if out := b"".join(self.session.data_to_send()):
            self.events += told(self.peer, out)


class Origin:
    """The built-in origin."""

    def __init__(self, deflate: Deflate | None = None, offer: str = "") -> None:
        extensions = [f"Sec-WebSocket-Extensions: {offer}"] if offer else []
        self.bench = http(OriginApp(), **ROOM).receive(
            get(
                "/ws",
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                *extensions,
            )
        )
        head = self.bench.take()
        assert status_of(head) == 101
        assert body_of(head) == b""
        self.head = head
        self.peer = WebSocketSession(0.0, LIMITS, mask=lambda: MASK, deflate=deflate)
        self.events: list = []

    def receive(self, data: bytes) -> None:
        self.bench.receive(data)
        if out := self.bench.take():
            self.events += told(self.peer, out)


SUBJECTS = {
    "server": (lambda: Echo(server=True), MASK),
    "client": (lambda: Echo(server=False), None),
    "origin": (Origin, MASK),
}
CHOPS = {
    "in one": lambda pieces: [b"".join(pieces)],
    "by frames": list,
    "by 997 bytes": lambda pieces: [
        whole[at : at + 997] for whole in [b"".join(pieces)] for at in range(0, len(whole), 997)
    ],
    "by bytes": lambda pieces: [bytes((byte,)) for byte in b"".join(pieces)],
}


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("name", CASES)
def test_case(name, subject):
    make, mask = SUBJECTS[subject]
    pieces = [raw(frame, mask) for frame in CASES[name].frames]
    size = sum(map(len, pieces))
    for how, chop in CHOPS.items():
        if size > 2000 and how == "by bytes":
            continue
        echo = make()
        for data in chop(pieces):
            echo.receive(data)
        assert summary(echo.events) == CASES[name].answer, how


def test_bad_text_is_found_at_its_first_bad_byte():
    """6.4.3 and 6.4.4: the rest of the frame, and of the message, is not waited for."""
    whole = raw(Frame(1, b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80edited"), MASK)
    echo = Origin()
    echo.receive(whole[:12])
    assert echo.events == []
    echo.receive(whole[12:13])
    assert summary(echo.events) == [Closed(1007)]


# ── 12 and 13: permessage-deflate ────────────────────────────────────────────────────

OFFERS = {
    "13.1": ("permessage-deflate", 15, 15),
    "13.2": ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", 15, 15),
    "13.3": ("permessage-deflate; server_max_window_bits=9; client_max_window_bits=9", 9, 9),
    "13.4": (
        (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            "server_max_window_bits=9; client_max_window_bits=9"
        ),
        9,
        9,
    ),
    "13.5": ("permessage-deflate; server_max_window_bits=15; client_max_window_bits=15", 15, 15),
    "13.6": ("permessage-deflate; server_max_window_bits=8, permessage-deflate; client_no_context_takeover", 15, 15),
    "13.7": ("permessage-deflate; unknown, permessage-deflate; server_max_window_bits=10", 10, 15),
    "client_max_window_bits": ("permessage-deflate; client_max_window_bits", 15, 15),
    "client_max_window_bits=8": ("permessage-deflate; client_max_window_bits=8", 15, 9),
}
SIZES = [0, 16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072]


def payload(kind: str, size: int) -> str:
    """12.1 is JSON, 12.2 prose, 12.3 not compressible, 12.4 of characters of several bytes."""
    made = {
        "json": json.dumps(
            [{"id": number, "name": f"user-{number * 7919 % 1009}"} for number in range(size // 30 + 1)]
        ),
        "prose": "It was the best of times, it was the worst of times. " * (size // 50 + 1),
        "noise": "".join(chr(33 + (number * number * 2654435761 >> 7) % 90) for number in range(size)),
        "umlauts": "Hällo-µ@ßöäüàá-κόσμε-🐍" * (size // 20 + 1),
    }[kind]
    return made[:size]


@pytest.mark.parametrize("kind", ["json", "prose", "noise", "umlauts"])
@pytest.mark.parametrize("number", OFFERS)
def test_compressed(number, kind):
    offer, server_bits, client_bits = OFFERS[number]
    agreed = Deflate.choose(offer)
    origin = Origin(agreed, offer)
    assert b"\r\nSec-WebSocket-Extensions: " + agreed.answer() in origin.head
    client = WebSocketSession(
        0.0,
        LIMITS,
        mask=lambda: MASK,
        deflate=Deflate(
            server_no_context_takeover=agreed.server_no_context_takeover,
            client_no_context_takeover=agreed.client_no_context_takeover,
            server_max_window_bits=server_bits,
            client_max_window_bits=client_bits,
        ),
    )
    messages = [payload(kind, size) for size in SIZES for _ in range(2)]
    for message in messages:
        client.send(message)
        client.send(message.encode())
        for data in client.data_to_send():
            origin.receive(data)
    origin.receive(raw(END, MASK))

    assert summary(origin.events) == [kind for message in messages for kind in (message, message.encode())] + [
        Closed(1000)
    ]


@pytest.mark.parametrize("bits", range(9, 16))
def test_a_window_is_not_exceeded(bits):
    """What was promised can be inflated with that window; zlib refuses what reaches beyond it."""
    noise = bytes(number * number * 2654435761 >> 11 & 0xFF for number in range(1 << 15))
    session = WebSocketSession(0.0, LIMITS, deflate=Deflate(server_max_window_bits=bits))
    inflate = zlib.decompressobj(-bits)
    for _ in range(3):
        session.send(noise)
        (out,) = session.data_to_send()
        assert out[:2] == b"\xc2\x7e"
        assert inflate.decompress(out[4:] + b"\x00\x00\xff\xff") == noise
