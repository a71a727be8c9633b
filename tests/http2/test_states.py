"""Every (state, frame) cell of RFC 9113 section 5.1, on the server's machine: what the peer hears, and what the app."""

from __future__ import annotations

from itertools import product

import pytest
from hpack import Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from sansio_pingora.http2 import PREFACE, ErrorCode, Http2Server
from sansio_pingora.http2.states import RECEIVED, State
from sansio_pingora.limits import Limits
from sansio_pingora.wire import Body, Failed, Header, ResponseHeader, UpgradedBody

REQUEST = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/")]


class Peer:
    """A client of frames by hyperframe and hpack."""

    def __init__(self) -> None:
        self.server = Http2Server(0.0, Limits(linger_bytes=0))
        self.encoder = Encoder()
        self.events: list = []
        self.feed(PREFACE + SettingsFrame(0).serialize())
        self.frames()

    def feed(self, data: bytes) -> None:
        self.events += self.server.receive_data(data, 0.0)

    def headers(self, stream: int, *, end: bool = False, fields=REQUEST) -> bytes:
        flags = ["END_HEADERS", *(["END_STREAM"] if end else [])]
        return HeadersFrame(stream, self.encoder.encode(fields), flags=flags).serialize()

    def frames(self) -> list[Frame]:
        data = memoryview(b"".join(self.server.data_to_send()))
        frames = []
        while data:
            frame, length = Frame.parse_frame_header(data[:9])
            frame.parse_body(data[9 : 9 + length])
            frames.append(frame)
            data = data[9 + length :]
        return frames


def idle(peer: Peer) -> None:
    pass


def open_(peer: Peer) -> None:
    peer.feed(peer.headers(1))


def half_closed_local(peer: Peer) -> None:
    # The only way for a server to stay in this state: a tunnel whose own direction has ended.
    tunnel = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *REQUEST[1:]]
    peer.feed(peer.headers(1, fields=tunnel))
    peer.server.send(1, Header(ResponseHeader(200), False), 0.0)
    peer.server.send(1, UpgradedBody(b"", True), 0.0)


def half_closed_remote(peer: Peer) -> None:
    peer.feed(peer.headers(1, end=True))


def closed(peer: Peer) -> None:
    peer.feed(peer.headers(1, end=True))
    peer.server.send(1, Header(ResponseHeader(204), True), 0.0)


def reset_local(peer: Peer) -> None:
    peer.feed(peer.headers(1))
    peer.server.send(1, Failed(None), 0.0)


def reset_remote(peer: Peer) -> None:
    peer.feed(peer.headers(1))
    peer.feed(RstStreamFrame(1, ErrorCode.CANCEL).serialize())


STATES = {
    State.IDLE: idle,
    State.OPEN: open_,
    State.HALF_CLOSED_LOCAL: half_closed_local,
    State.HALF_CLOSED_REMOTE: half_closed_remote,
    State.CLOSED: closed,
    State.RESET_LOCAL: reset_local,
    State.RESET_REMOTE: reset_remote,
}
FRAMES = {
    "DATA": lambda peer: DataFrame(1, b"x").serialize(),
    "HEADERS": lambda peer: peer.headers(1),
    "TRAILERS": lambda peer: peer.headers(1, end=True, fields=[(b"x-t", b"1")]),
    "PRIORITY": lambda peer: PriorityFrame(1, depends_on=3, stream_weight=1).serialize(),
    "RST_STREAM": lambda peer: RstStreamFrame(1, ErrorCode.CANCEL).serialize(),
    "WINDOW_UPDATE": lambda peer: WindowUpdateFrame(1, 10).serialize(),
}

NOTHING = ()
STREAM_CLOSED = ("RST_STREAM", ErrorCode.STREAM_CLOSED)
STREAM_PROTOCOL = ("RST_STREAM", ErrorCode.PROTOCOL_ERROR)
ALL_CLOSED = ("GOAWAY", ErrorCode.STREAM_CLOSED)
PROTOCOL = ("GOAWAY", ErrorCode.PROTOCOL_ERROR)

# What the peer hears back, by state, in the order of FRAMES.
ANSWERS = {
    State.IDLE: (PROTOCOL, NOTHING, STREAM_PROTOCOL, NOTHING, PROTOCOL, PROTOCOL),
    State.OPEN: (NOTHING, STREAM_PROTOCOL, NOTHING, NOTHING, NOTHING, NOTHING),
    State.HALF_CLOSED_LOCAL: (NOTHING, STREAM_PROTOCOL, STREAM_PROTOCOL, NOTHING, NOTHING, NOTHING),
    State.HALF_CLOSED_REMOTE: (STREAM_CLOSED, STREAM_CLOSED, STREAM_CLOSED, NOTHING, NOTHING, NOTHING),
    State.CLOSED: (ALL_CLOSED, ALL_CLOSED, ALL_CLOSED, NOTHING, NOTHING, NOTHING),
    State.RESET_LOCAL: (NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING),
    State.RESET_REMOTE: (STREAM_CLOSED, STREAM_CLOSED, STREAM_CLOSED, NOTHING, NOTHING, NOTHING),
}
CELLS = [
    pytest.param(state, frame, answer, id=f"{state.name}-{frame}")
    for state, answers in ANSWERS.items()
    for frame, answer in zip(FRAMES, answers, strict=True)
]


@pytest.mark.parametrize(("state", "frame", "answer"), CELLS)
def test_every_cell(state, frame, answer):
    peer = Peer()
    STATES[state](peer)
    peer.frames()
    assert peer.server._state(1) is state

    peer.feed(FRAMES[frame](peer))

    heard = [
        (type(found).__name__, found.error_code)
        for found in peer.frames()
        if isinstance(found, RstStreamFrame | GoAwayFrame)
    ]
    expected = [answer] if answer else []
    names = {"RstStreamFrame": "RST_STREAM", "GoAwayFrame": "GOAWAY"}
    assert [(names[name], code) for name, code in heard] == expected


@pytest.mark.parametrize(("state", "frame"), list(product(STATES, FRAMES)))
def test_a_fault_on_a_stream_leaves_the_others_alone(state, frame):
    peer = Peer()
    STATES[state](peer)
    answer = dict(zip(FRAMES, ANSWERS[state], strict=True))[frame]
    peer.feed(FRAMES[frame](peer))
    peer.events.clear()

    peer.feed(peer.headers(3) + DataFrame(3, b"hello", flags=["END_STREAM"]).serialize())

    alive = not answer or answer[0] != "GOAWAY"
    assert [value.data for stream, value in peer.events if isinstance(value, Body)] == ([b"hello"] if alive else [])


def test_the_table_is_whole():
    kinds = {kind for _, kind in RECEIVED}

    assert set(RECEIVED) == set(product(State, kinds))
    assert len(kinds) == 5


def test_a_stream_that_was_passed_over_cannot_be_opened_any_more():
    peer = Peer()
    peer.feed(peer.headers(5, end=True))
    peer.feed(peer.headers(3, end=True))

    assert [frame.error_code for frame in peer.frames() if isinstance(frame, GoAwayFrame)] == [ErrorCode.PROTOCOL_ERROR]


def test_a_client_has_no_even_streams():
    peer = Peer()
    peer.feed(peer.headers(2, end=True))

    assert [frame.error_code for frame in peer.frames() if isinstance(frame, GoAwayFrame)] == [ErrorCode.PROTOCOL_ERROR]
