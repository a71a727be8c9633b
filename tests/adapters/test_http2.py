"""HTTP/2 on every runtime, as a server and in every pair of versions: real sockets, and clients of other people."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import socket
import subprocess
import threading

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)

from sansio_pingora import HttpPeer, PeerOptions, ProxyHttp
from sansio_pingora.apps import HttpServerApp, OriginApp
from sansio_pingora.cli.client import Client
from sansio_pingora.errors import Error
from sansio_pingora.session import Drain, ReadBody, Sleep
from sansio_pingora.upstreams import ALPN
from sansio_pingora.wire import Fields, ResponseHeader
from tests.adapters.harness import PATIENCE, served, until

HTTP2 = PeerOptions(alpn=ALPN.H2, max_h2_streams=100)
PAIRS = {
    f"h{1 + down} to h{1 + up}": (bool(down), bool(up)) for down, up in itertools.product((0, 1), (0, 1)) if down or up
}


class H2Client:
    """A client by the h2 library over a blocking socket."""

    def __init__(self, address):
        self.sock = socket.create_connection(address, PATIENCE)
        self.sock.settimeout(PATIENCE)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.h2.initiate_connection()
        self.flush()
        self.events = []

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def request(self, target, method="GET", body=None):
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "http"), (":authority", "a.test"), (":path", target)]
        self.h2.send_headers(stream, fields, end_stream=body is None)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=True)
        return stream

    def until(self, done):
        """Read until an event is *done*; False when the server has closed."""
        self.flush()
        while True:
            data = self.sock.recv(65_536)
            if not data:
                return False
            events = self.h2.receive_data(data)
            for event in events:
                self.events.append(event)
                if isinstance(event, DataReceived) and event.flow_controlled_length:
                    with contextlib.suppress(Exception):
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.flush()
            if any(done(event) for event in events):
                return True

    def body(self, stream):
        return b"".join(e.data for e in self.events if isinstance(e, DataReceived) and e.stream_id == stream)

    def status(self, stream):
        return next(
            int(dict(e.headers)[b":status"])
            for e in self.events
            if isinstance(e, ResponseReceived) and e.stream_id == stream
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


class To(ProxyHttp):
    def __init__(self, peer, http2):
        self.peer = HttpPeer(peer, options=HTTP2 if http2 else None)

    def upstream_peer(self, session, ctx):
        return self.peer


@pytest.fixture
def origin(runtime):
    with served(OriginApp(), runtime, h2c=True) as server:
        yield server


@pytest.fixture(params=PAIRS)
def pair(request, runtime):
    """A client's version, and the address of a proxy that speaks the pair's other one to the origin."""
    down, up = PAIRS[request.param]
    with served(OriginApp(), runtime, h2c=True) as back, served(To(back.peer, up), runtime, h2c=True) as front:
        yield down, front


def test_a_hundred_streams_at_once(origin):
    with H2Client(origin.address) as peer:
        streams = [peer.request("/bytes/1000" if number % 2 else "/") for number in range(100)]
        while len([e for e in peer.events if isinstance(e, StreamEnded)]) < 100:
            assert peer.until(lambda event: isinstance(event, StreamEnded))
    assert {peer.status(stream) for stream in streams} == {200}
    assert {len(peer.body(stream)) for stream in streams} == {13, 1000}


def test_one_protocol_after_the_other_on_one_port(origin):
    for http2 in (True, False, True):
        with Client(origin.peer, http2=http2) as peer:
            assert peer.ask("GET", "/").body == b"Hello, world!"


def test_a_short_http_1_request_is_answered_at_once(origin):
    with socket.create_connection(origin.address, PATIENCE) as sock:
        sock.settimeout(PATIENCE)
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert sock.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_what_is_neither_protocol_is_closed_in_good_order(origin):
    with socket.create_connection(origin.address, PATIENCE) as sock:
        sock.settimeout(PATIENCE)
        sock.sendall(b"\x16\x03\x01 something else" * 10)
        assert sock.recv(65_536) == b""


def test_requests_under_way_are_served_on_a_graceful_end(runtime):
    with served(OriginApp(), runtime, h2c=True) as server, H2Client(server.address) as peer:
        stream = peer.request("/delay/0.5")
        peer.flush()
        assert peer.until(lambda _: True)
        # The h2 library reads nothing behind a GOAWAY, so the answer is looked for in the bytes.
        server.stop()
        raw = b""
        while data := peer.sock.recv(65_536):
            raw += data
            if b"\x07" in raw and b"draining" in raw:
                peer.h2.ping(b"draining")
                ping = b"\0\0\x08\x06\x01\0\0\0\0draining"
                with contextlib.suppress(OSError):
                    peer.sock.sendall(ping)
                raw = raw.replace(b"draining", b"")
        assert b"waited 0.5 s" in raw
        assert stream == 1
        server.join()


def test_get_head_and_both_framings(pair):
    http2, proxy = pair
    body = bytes(range(256)) * 4096
    with Client(proxy.peer, http2=http2) as peer:
        assert peer.ask("GET", "/").body == b"Hello, world!"
        head = peer.ask("HEAD", "/bytes/1000")
        assert (head.status, head.head.get("content-length"), head.body) == (200, b"1000", b"")
        assert peer.ask("POST", "/echo", [body]).body == body
    with Client(proxy.peer, http2=http2) as peer:  # HTTP/1 closes behind an answer that begins amid a long request
        assert peer.ask("POST", "/echo", [body], [("Content-Length", str(len(body)))]).body == body
    with Client(proxy.peer, http2=http2) as peer:
        assert len(peer.ask("GET", "/bytes/10000000").body) == 10_000_000


def test_informational_heads_and_trailers(pair):
    http2, proxy = pair
    with Client(proxy.peer, http2=http2) as peer:
        hinted = peer.ask("GET", "/early-hints")
        assert [head.status for head in (*hinted.informational, hinted.head)] == [103, 200]
        answer = peer.ask("GET", "/trailers")
        assert answer.trailers is not None
        assert len(answer.trailers.get("x-crc32")) == 8
        expected = peer.ask("POST", "/echo", [b"please"], [("Content-Length", "6"), ("Expect", "100-continue")])
        assert [head.status for head in expected.informational] == [100]
        assert expected.body == b"please"


class Odd(HttpServerApp):
    """Breaks off, answers early, and keeps what came of requests."""

    def __init__(self):
        self.trailers = []
        self.left = threading.Event()

    def process_new_http(self, session):
        path = session.req_header.path
        if path == b"/early":
            session.respond_error_with_body(403, b"no")
            return
        yield Sleep(0)
        if path == b"/breaks":
            session.write_response_header(ResponseHeader(200))
            session.write_response_body(b"some of it")
            yield Sleep(0.05)
            raise Error.custom("OnPurpose", "this body has no end")
        if path == b"/endless":
            try:
                session.write_response_header(ResponseHeader(200))
                while True:
                    if session.write_response_body(b"x" * 10_000) <= 0:
                        yield Drain()
            except Error:
                self.left.set()
                raise
        while (yield ReadBody()) is not None:
            pass
        session.write_response_header(ResponseHeader(200))
        session.write_response_trailers(Fields([("x-end", "1")]))


@pytest.fixture(params=PAIRS)
def odd(request, runtime):
    down, up = PAIRS[request.param]
    app = Odd()
    with served(app, runtime, h2c=True) as back, served(To(back.peer, up), runtime, h2c=True) as front:
        yield app, down, front


def test_an_origin_that_breaks_off_is_never_a_whole_answer(odd):
    _, http2, proxy = odd
    with Client(proxy.peer, http2=http2) as peer, pytest.raises(Error):
        peer.ask("GET", "/breaks")


def test_an_early_answer_to_a_large_upload(odd):
    _, http2, proxy = odd
    with Client(proxy.peer, http2=http2) as peer:
        answer = peer.ask("POST", "/early", [b"x" * 50_000] * 100, [("Content-Length", "5000000")])
        assert (answer.status, answer.body) == (403, b"no")


def test_a_client_that_leaves_amid_an_answer(odd):
    app, http2, proxy = odd
    if http2:
        with H2Client(proxy.address) as peer:
            stream = peer.request("/endless")
            assert peer.until(lambda event: isinstance(event, DataReceived))
            peer.h2.reset_stream(stream)
            peer.flush()
            other = peer.request("/")  # the connection lives on
            assert peer.until(lambda event: isinstance(event, StreamEnded) and event.stream_id == other)
    else:
        with socket.create_connection(proxy.address, PATIENCE) as sock:
            sock.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            sock.recv(1000)
    assert app.left.wait(PATIENCE)


def test_a_stream_that_an_origin_resets_leaves_the_others_alone(runtime):
    with (
        served(Odd(), runtime, h2c=True) as back,
        served(To(back.peer, True), runtime, h2c=True) as front,
        H2Client(front.address) as peer,
    ):
        broken, whole = peer.request("/breaks"), peer.request("/")
        ends = []
        while len(ends) < 2:
            assert peer.until(lambda event: isinstance(event, StreamEnded | StreamReset))
            ends = [e for e in peer.events if isinstance(e, StreamEnded | StreamReset)]
        assert {(type(e), e.stream_id) for e in ends} == {(StreamReset, broken), (StreamEnded, whole)}
        assert not [e for e in peer.events if isinstance(e, ConnectionTerminated)]


def test_a_flood_ends_the_connection_and_others_are_served(origin):
    with socket.create_connection(origin.address, PATIENCE) as sock:
        sock.settimeout(PATIENCE)
        peer = H2Connection(H2Configuration(client_side=True))
        peer.initiate_connection()
        sock.sendall(peer.data_to_send() + b"\0\0\x08\x06\0\0\0\0\0abcdefgh" * 1000)
        raw = b""
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(65_536):
                raw += data
        assert b"too many PING" in raw
    with Client(origin.peer, http2=True) as peer:
        assert peer.ask("GET", "/").status == 200


def test_one_connection_to_the_origin_carries_many_streams(runtime):
    seen = set()

    class Counting(HttpServerApp):
        def process_new_http(self, session):
            seen.add(str(session.client_addr))
            yield Sleep(0.1)
            session.respond_error_with_body(200, b"ok")

    with (
        served(Counting(), runtime, h2c=True) as back,
        served(To(back.peer, True), runtime, h2c=True) as front,
        H2Client(front.address) as peer,
    ):
        for _ in range(50):
            peer.request("/")
        while len([e for e in peer.events if isinstance(e, StreamEnded)]) < 50:
            assert peer.until(lambda event: isinstance(event, StreamEnded))
    until(lambda: len(seen) == 1)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(pair, tmp_path):
    http2, proxy = pair
    if not http2:
        pytest.skip("the other suite has curl over HTTP/1")
    if b"HTTP2" not in subprocess.run(["curl", "-V"], check=True, capture_output=True).stdout:
        pytest.skip("this curl does not speak HTTP/2")
    path = tmp_path / "body"
    path.write_bytes(bytes(range(256)) * 8192)
    url = f"http://{proxy.peer}/echo"
    for how in (["--data-binary", f"@{path}"], ["-T", str(path)]):
        done = subprocess.run(
            ["curl", "-sS", "--http2-prior-knowledge", *how, url], check=True, capture_output=True, timeout=PATIENCE
        )
        assert done.stdout == path.read_bytes()
