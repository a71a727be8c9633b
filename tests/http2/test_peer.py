"""The harness is right: its eye takes what h2 puts out, h2 takes what it sends, and every rule that it keeps bites."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from tests.http2.peer import LARGEST, OK, PREFACE, Code, Kind, Peer, Set, block_of, raw, request_fields
from tests.http2.test_frames_rfc9113 import SECTION_4, SECTION_5, SECTION_6


class Other:
    """h2 in the place of the machine under test."""

    def __init__(self, peer: Peer, values: dict[int, int] | None = None) -> None:
        self.peer = peer
        self.h2 = H2Connection(H2Configuration(client_side=not peer.watches_server, header_encoding=None))
        self.h2.local_settings = Settings(client=not peer.watches_server, initial_values={SettingCodes.ENABLE_PUSH: 0})
        self.h2.initiate_connection()
        if not peer.watches_server:
            self.flush()
        self.deliver(peer.hello(values))
        self.deliver(peer.acknowledge())

    def deliver(self, *parts: bytes):
        events = self.h2.receive_data(b"".join(parts))
        self.flush()
        return events

    def flush(self):
        return self.peer.read(self.h2.data_to_send())


def kinds(events) -> list[type]:
    wanted = (RequestReceived, ResponseReceived, DataReceived, TrailersReceived, StreamEnded, StreamReset)
    return [type(event) for event in events if isinstance(event, wanted)]


def test_requests_to_h2():
    peer = Peer(watches_server=True)
    other = Other(peer, {Set.WINDOW: 10, Set.TABLE: 100})
    events = other.deliver(
        peer.headers(
            1, request_fields("POST", "/", ("x-a", "1")), end=False, pieces=(3, 4), pad=7, priority=(0, 5, True)
        ),
        peer.data(1, b"hello", pad=3),
        peer.headers(1, [("x-sum", "1")]),
    )

    assert kinds(events) == [RequestReceived, DataReceived, TrailersReceived, StreamEnded]
    other.h2.acknowledge_received_data(5 + 4, 1)
    other.h2.send_headers(1, [(":status", "103"), ("link", "</a>")])
    other.h2.send_headers(1, [(":status", "200"), ("content-length", "9")])
    other.h2.send_data(1, b"nine by", end_stream=False)
    other.h2.send_data(1, b"te", end_stream=True)
    seen = other.flush()
    assert [frame.kind for frame in seen if frame.kind != "WINDOW_UPDATE"] == ["HEADERS", "HEADERS", "DATA", "DATA"]
    assert peer.streams[1].over
    assert peer.streams[1].window == 1
    assert other.deliver(peer.ping(), peer.set({Set.WINDOW: 5}), peer.window_update(0, 5), peer.leave(0))


def test_requests_of_h2():
    peer = Peer(watches_server=False)
    other = Other(peer)
    for stream in (1, 3):
        other.h2.send_headers(stream, request_fields("POST", "/", ("x-a", "1")))
        other.h2.send_data(stream, bytes(16_384))
    other.h2.reset_stream(3, ErrorCodes.CANCEL)
    other.h2.end_stream(1)
    seen = other.flush()

    assert [frame.kind for frame in seen] == ["HEADERS", "DATA", "HEADERS", "DATA", "RST_STREAM", "DATA"]
    assert seen[4].value is Code.CANCEL
    events = other.deliver(peer.response(1, 200, ("x", "y"), end=False), peer.data(1, b"ok", end=True))
    assert kinds(events) == [ResponseReceived, DataReceived, StreamEnded]


OF_CONNECTIONS = [
    pytest.param(param.values[1], id=param.id)
    for param in SECTION_4 + SECTION_5 + SECTION_6
    if param.id.endswith("server_open") and param.values[2].__qualname__.startswith("gone")
]


@pytest.mark.parametrize("make", OF_CONNECTIONS)
def test_faults_are_faults_to_h2(make: Callable[[Peer], bytes]):
    """What the cases call a fault of the connection is none that the harness made up: h2 complains, or ignores it."""
    peer = Peer(watches_server=True)
    other = Other(peer)
    other.deliver(peer.request(1, "POST", end=False))
    try:
        other.h2.receive_data(make(peer))
    except ProtocolError:
        assert [frame.kind for frame in other.flush()][-1:] == ["GOAWAY"]


def watching(*, server: bool = True) -> Peer:
    peer = Peer(watches_server=server, target=100_000)
    peer.hello({Set.WINDOW: 100})
    peer.read((b"" if server else PREFACE) + raw(Kind.SETTINGS) + raw(Kind.SETTINGS, 1))
    if server:
        for stream, method in ((1, "GET"), (3, "HEAD"), (5, "POST"), (7, "CONNECT")):
            peer.request(stream, method, end=False)
        peer.rst(5)
    return peer


def head(stream: int, *fields: tuple[bytes, bytes], end: bool = False, status: bytes = b"200") -> bytes:
    return raw(Kind.HEADERS, 5 if end else 4, stream, block_of([(b":status", status), *fields]))


def ask(stream: int, *fields: tuple[bytes, bytes], method: bytes = b"GET", end: bool = True) -> bytes:
    base = [(b":method", method), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]
    return raw(Kind.HEADERS, 5 if end else 4, stream, block_of([*base, *fields]))


def test_the_eye_takes_what_is_legal():
    peer = watching()
    peer.read(head(1, status=b"103") + head(1, (b"content-length", b"5")) + raw(Kind.DATA, 0, 1, b"hel"))
    peer.read(raw(Kind.DATA, 1, 1, b"lo") + head(3, (b"content-length", b"5"), end=True))
    peer.read(raw(Kind.WINDOW_UPDATE, 0, 0, (30_000).to_bytes(4, "big")))
    client = watching(server=False)
    client.read(ask(1) + ask(5, (b"content-length", b"2"), end=False) + raw(Kind.DATA, 1, 5, b"ok"))

    assert peer.streams[1].theirs_ended
    assert client.highest == 5


ILLEGAL = [
    pytest.param(raw(Kind.DATA, 0, 1, b"x"), id="data-before-the-head"),
    pytest.param(head(9), id="head-on-an-idle-stream"),
    pytest.param(head(5), id="head-on-a-reset-stream"),
    pytest.param(raw(Kind.RST_STREAM, 0, 9, bytes(4)), id="reset-of-an-idle-stream"),
    pytest.param(raw(Kind.RST_STREAM, 0, 1, bytes(4)) * 2, id="reset-twice"),
    pytest.param(raw(Kind.RST_STREAM, 0, 1, bytes(4)) + head(1), id="head-behind-a-reset"),
    pytest.param(head(1, end=True) + raw(Kind.DATA, 0, 1, b"x"), id="data-behind-the-end"),
    pytest.param(head(1, end=True) + head(1, end=True), id="head-behind-the-end"),
    pytest.param(head(1) + raw(Kind.DATA, 0, 1, bytes(101)), id="beyond-the-window"),
    pytest.param(head(1, (b"content-length", b"5")) + raw(Kind.DATA, 0, 1, b"123456"), id="too-long"),
    pytest.param(head(1, (b"content-length", b"5")) + raw(Kind.DATA, 1, 1, b"1234"), id="too-short"),
    pytest.param(head(1, (b"content-length", b"5"), end=True), id="no-body"),
    pytest.param(head(3) + raw(Kind.DATA, 1, 3, b"x"), id="body-of-a-head"),
    pytest.param(head(1, status=b"304") + raw(Kind.DATA, 1, 1, b"x"), id="body-of-304"),
    pytest.param(head(1, status=b"103", end=True), id="1xx-that-ends"),
    pytest.param(head(1, status=b"101"), id="101"),
    pytest.param(head(1, status=b"20"), id="status"),
    pytest.param(head(1, (b"X-Upper", b"1")), id="upper-case"),
    pytest.param(head(1, (b"x", b"a\nb")), id="newline"),
    pytest.param(head(1, (b"connection", b"close")), id="connection"),
    pytest.param(head(1, (b":path", b"/")), id="late-pseudo"),
    pytest.param(head(1) + head(1, end=True), id="pseudo-in-trailers"),
    pytest.param(head(1) + raw(Kind.HEADERS, 4, 1, block_of([(b"x", b"y")])), id="trailers-that-end-nothing"),
    pytest.param(raw(Kind.HEADERS, 0, 1, OK) + raw(Kind.PING, 0, 0, bytes(8)), id="frame-amid-a-head"),
    pytest.param(raw(Kind.CONTINUATION, 4, 1, OK), id="continuation-without-a-head"),
    pytest.param(raw(Kind.PING, 1, 0, bytes(8)), id="pong-to-nothing"),
    pytest.param(raw(Kind.SETTINGS, 1), id="acknowledgement-of-nothing"),
    pytest.param(raw(Kind.SETTINGS, 0, 0, b"\0\2\0\0\0\1"), id="push"),
    pytest.param(raw(Kind.WINDOW_UPDATE, 0, 0, (40_000).to_bytes(4, "big")), id="window-beyond-the-target"),
    pytest.param(raw(Kind.WINDOW_UPDATE, 0, 1, (1).to_bytes(4, "big")), id="credit-for-nothing"),
    pytest.param(
        raw(Kind.GOAWAY, 0, 0, bytes(8)) + raw(Kind.GOAWAY, 0, 0, b"\0\0\0\1" + bytes(4)), id="goaway-that-grows"
    ),
    pytest.param(raw(Kind.PUSH_PROMISE, 4, 1, b"\0\0\0\2"), id="push-promise"),
    pytest.param(raw(Kind.DATA, 0, 1, bytes(16_385)), id="frame-too-large"),
    pytest.param(head(7, (b"content-length", b"0")), id="length-of-a-tunnel"),
    pytest.param(head(1, (b"content-length", b"0"), status=b"204"), id="length-of-204"),
]


@pytest.mark.parametrize("out", ILLEGAL)
def test_the_eye_sees_what_is_not(out):
    with pytest.raises(AssertionError):
        watching().read(out)


@pytest.mark.parametrize(
    "out",
    [
        pytest.param(ask(2), id="even"),
        pytest.param(ask(3) + ask(1), id="falling"),
        pytest.param(ask(1, (b"host", b"a")), id="host"),
        pytest.param(ask(1, (b":status", b"200")), id="status"),
        pytest.param(ask(1, (b"te", b"gzip")), id="te"),
        pytest.param(ask(1, method=b"CONNECT"), id="connect-with-path"),
        pytest.param(ask(1, method=b"G ET"), id="method"),
        pytest.param(ask(1, (b":protocol", b"websocket")), id="protocol"),
        pytest.param(raw(Kind.SETTINGS, 0, 0, b"\0\2\0\0\0\1"), id="push"),
    ],
)
def test_the_eye_sees_what_a_client_must_not_send(out):
    with pytest.raises(AssertionError):
        watching(server=False).read(out)


def test_a_beginning_that_is_none():
    with pytest.raises(AssertionError):
        Peer(watches_server=True).read(raw(Kind.PING, 0, 0, bytes(8)))
    with pytest.raises(AssertionError):
        Peer(watches_server=False).read(raw(Kind.SETTINGS) * 3)


def test_streams_beyond_what_was_allowed():
    peer = Peer(watches_server=False)
    peer.hello({Set.STREAMS: 1})
    peer.read(PREFACE + raw(Kind.SETTINGS) + raw(Kind.SETTINGS, 1) + ask(1))
    with pytest.raises(AssertionError):
        peer.read(ask(3))


def test_settings_count_from_their_acknowledgement():
    peer = Peer(watches_server=True)
    peer.hello()
    peer.read(raw(Kind.SETTINGS) + raw(Kind.SETTINGS, 1))
    peer.request(1)
    peer.set({Set.WINDOW: 1})
    peer.read(head(1) + raw(Kind.DATA, 0, 1, b"under the old one"))
    assert peer.streams[1].window == 65_535 - 17
    peer.read(raw(Kind.SETTINGS, 1))
    with pytest.raises(AssertionError):
        peer.read(raw(Kind.DATA, 0, 1, b"x"))
    assert peer.window <= LARGEST
