"""Every block of code on the page about sessions runs, and is short."""

from __future__ import annotations

import ast
import socket
import threading

import pytest

from sansio_pingora.apps import HttpService, Response, ServeHttp
from sansio_pingora.http1 import Http1Client
from sansio_pingora.http2 import Http2Client
from sansio_pingora.limits import Limits
from sansio_pingora.testing import Raw, World
from sansio_pingora.wire import Header, RequestHeader
from tests.apps.bench import body_of, get, http, post, status_of
from tests.apps.serving import serving
from tests.pages import blocks, page, run_blocks
from tests.session.kinds import http2

PAGE = page("sessions.md")
BLOCKS = blocks(PAGE)
MARKERS = [
    "class Upload",
    "def serve_client",
    "def fetch",
    "class Telnet",
    "class Guarded",
    "class JsonLines",
    "class JsonService",
]


def names(*markers):
    """What the blocks with *markers* define, the later ones seeing the earlier."""
    found = []
    for marker in markers:
        (block,) = (block for block in BLOCKS if marker in block)
        found.append(block)
    return run_blocks("sessions.md", found)


def test_every_block_is_tested_here():
    assert len(BLOCKS) == len(MARKERS)
    assert all(any(marker in block for block in BLOCKS) for marker in MARKERS)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.rstrip().splitlines()[-1].strip())
def test_a_block_is_short(block):
    code = [line for line in block.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    ast.parse(block)
    assert len(code) <= 20


@pytest.mark.parametrize("version", [b"1.1", b"2"])
def test_a_servers_session(version):
    app = names("class Upload")["Upload"]()
    if version == b"1.1":
        bench = http(app).receive(post(b"hello"))
        assert body_of(bench.out) == b"2\r\n5\n\r\n0\r\n\r\n"
    else:
        exchange = http2(
            RequestHeader("GET", "/", [("Host", "a")]), True, handler=lambda lane: HttpService(app).handler(lane, 0.0)
        )
        assert [task.head.status for task in exchange.received if isinstance(task, Header)] == [200]


@pytest.mark.parametrize("version", [b"1.1", b"2"])
def test_a_server_in_ones_own_loop(version):
    serve_client = names("def serve_client")["serve_client"]
    client = Http1Client(Limits()) if version == b"1.1" else Http2Client(0.0, Limits())
    client.send(client.open_stream(0.0), Header(RequestHeader("GET", "/", [("Host", "a")]), True), 0.0)
    ours, theirs = socket.socketpair()
    versions = []

    def answer(session):
        versions.append(session.is_http2)
        session.set_keepalive(None)
        session.respond_error(404)

    thread = threading.Thread(target=serve_client, args=(theirs, answer), daemon=True)
    thread.start()
    with ours, theirs:
        ours.settimeout(20)
        ours.sendall(b"".join(client.data_to_send()))
        statuses = []
        while not statuses:
            events = client.receive_data(ours.recv(65_536), 0.0)
            statuses = [value.head.status for _, value in events if isinstance(value, Header)]
        ours.shutdown(socket.SHUT_WR)
        thread.join(20)
    assert versions == [version == b"2"]
    assert statuses == [404]


def test_a_clients_session():
    fetch = names("def fetch")["fetch"]
    with serving(ServeHttp(lambda request: Response(200, request.target), inline=True), "threads") as server:
        host, port = str(server.addresses[0]).rsplit(":", 1)
        with socket.create_connection((host, int(port)), 20) as sock:
            sock.settimeout(20)
            assert fetch(sock, host, "/a?b") == (200, b"/a?b")


def test_a_tunnel():
    app = names("class Telnet")["Telnet"]()
    assert status_of(http(app).receive(get()).out) == 426
    bench = http(app).receive(get("/", "Connection: upgrade", "Upgrade: telnet"))
    assert status_of(bench.take()) == 101
    bench.receive(b"hello")
    assert bench.take() == b"you said: hello"
    bench.receive(b"")
    assert bench.connection.closing
    assert not bench.held


@pytest.mark.parametrize(
    ("fields", "status", "body"), [([], 401, b""), (["Authorization: Bearer open sesame"], 200, b"hello")]
)
def test_subrequests(fields, status, body):
    bench = http(names("class Guarded")["Guarded"]()).receive(post(b"hello", "/", *fields))
    assert status_of(bench.out) == status
    assert body_of(bench.out) == body
    assert bench.log == []
    assert not bench.held


def test_a_protocol_of_ones_own():
    service = names("class JsonLines", "class JsonService")["JsonService"]
    world = World()
    driver = world.listen("10.0.0.2:80", service(ServeHttp(lambda request: Response(200, request.target), inline=True)))
    peer = Raw(world, b'"/a"\n"/', b'b"\n')
    world.client("10.0.0.2:80", peer)
    world.run(1.0)
    assert peer.data == b'{"status": 200, "body": "/a"}\n{"status": 200, "body": "/b"}\n'
    driver.drain()
    world.run()
    assert not driver.sockets
    assert driver.log == []
