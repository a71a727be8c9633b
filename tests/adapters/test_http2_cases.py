"""The cases of RFC 9113 and RFC 7541 once more, by a socket to the built-in origin: each as the machine alone decides.

What tests/http2 asks of the machine is proved there; here what it says has to arrive at a client before the
connection ends, and the connection has to end, on every runtime.
"""

from __future__ import annotations

import contextlib
import socket

import pytest

from sansio_pingora.apps import OriginApp
from tests.adapters.harness import PATIENCE, served
from tests.http2 import test_frames_rfc9113 as frame_cases
from tests.http2 import test_messages_rfc9113 as message_cases
from tests.http2.peer import PREFACE, Kind, Peer, raw
from tests.http2.runs import make_server
from tests.http2.situations import SITUATIONS

ALIVE = b"alive..."


class Wire:
    """A client of the live origin, and what it was told."""

    def __init__(self, address):
        self.sock = socket.create_connection(address, PATIENCE)
        self.sock.settimeout(PATIENCE)
        self.peer = Peer(watches_server=True)
        self.frames = []
        self.ended = False

    def send(self, *parts):
        self.sock.sendall(b"".join(parts))

    def until(self, done):
        """Read until the last frame is *done*, or the server has closed."""
        while not self.ended and not (self.frames and any(map(done, self.frames))):
            data = self.sock.recv(65_536)
            self.ended = not data
            self.frames += self.peer.read(data)

    def greet(self):
        self.send(self.peer.hello())
        self.until(lambda frame: frame.kind == "ACK")
        self.send(self.peer.acknowledge())

    def verdict(self):
        """Of what was sent before: see :func:`judged`."""
        self.send(self.peer.ping(ALIVE))
        self.until(lambda frame: frame.kind == "PONG" and frame.value == ALIVE)
        return judged(self.frames, self.ended)


def judged(frames, ended):
    """What a client learns of its fault: the streams that were reset, the code of GOAWAY, and whether it is the end."""
    resets = [(frame.stream, frame.value) for frame in frames if frame.kind == "RST_STREAM"]
    codes = [frame.value[1] for frame in frames if frame.kind == "GOAWAY"]
    return resets, codes, ended


def go_idle(wire):
    pass


def go_open(wire):
    wire.send(wire.peer.request(1, "POST", "/echo", end=False))


def go_half_closed(wire):
    wire.send(wire.peer.request(1, "GET", "/delay/30"))


def go_closed(wire):
    wire.send(wire.peer.request(1))
    wire.until(lambda frame: frame.end)


def go_reset_by_peer(wire):
    go_open(wire)
    wire.send(wire.peer.rst(1))


REACHED = {
    "server_idle": go_idle,
    "server_open": go_open,
    "server_half_closed": go_half_closed,
    "server_closed": go_closed,
    "server_reset_by_peer": go_reset_by_peer,
}
SECTIONS = frame_cases.SECTION_4 + frame_cases.SECTION_5 + frame_cases.SECTION_6
CASES = [
    *(pytest.param(*case.values[:2], id=case.id) for case in SECTIONS if case.values[0] in REACHED),
    *(
        pytest.param(
            "server_open", lambda _, block=case.values[0]: raw(Kind.HEADERS, 5, 3, block), id=f"7541-{case.id}"
        )
        for case in frame_cases.BLOCKS
    ),
]


@pytest.fixture(scope="module")
def origins():
    """The address of an origin by runtime; each is started when it is first asked for."""
    with contextlib.ExitStack() as stack:
        running = {}

        def origin(runtime):
            if runtime not in running:
                running[runtime] = stack.enter_context(served(OriginApp(), runtime, h2c=True)).address
            return running[runtime]

        yield origin


@pytest.fixture
def wire(origins, runtime):
    client = Wire(origins(runtime))
    with client.sock:
        yield client


@pytest.mark.parametrize(("situation", "make"), CASES)
def test_a_client_is_told_what_the_machine_decides(wire, situation, make):
    session = SITUATIONS[situation]().begin()
    session.peer.highest = max(session.peer.highest, 3)
    session.deliver(make(session.peer))
    wire.greet()
    REACHED[situation](wire)
    wire.send(make(wire.peer))

    assert wire.verdict() == judged(session.frames, session.over)


@pytest.mark.parametrize("fields", [pytest.param(case.values[0], id=case.id) for case in message_cases.MALFORMED])
def test_a_malformed_request_is_refused(wire, fields):
    wire.greet()
    wire.send(wire.peer.headers(1, fields))
    resets, codes, ended = wire.verdict()

    answers = [dict(frame.value)[b":status"] for frame in wire.frames if frame.kind == "HEADERS"]
    assert [stream for stream, _ in resets] == [1] or [status[:1] for status in answers] == [b"4"]
    assert (codes, ended) == ([], False)


@pytest.mark.parametrize(
    "first", [b"INVALID CONNECTION PREFACE\r\n\r\n", PREFACE[:-1] + b"\0", PREFACE + raw(Kind.PING, 0, 0, bytes(8))]
)
def test_what_does_not_begin_as_it_must_ends(wire, first):
    session = make_server(greet=False)
    session.deliver(first)
    wire.send(first)
    while wire.sock.recv(65_536):  # GOAWAY, or 400 from where it stopped looking like HTTP/2
        pass

    assert session.over
