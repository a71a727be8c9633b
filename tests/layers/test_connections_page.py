"""Every block of code on the page about connections runs, and is short."""

from __future__ import annotations

import ast
import re
import threading

import pytest

from sansio_pingora.listeners import ServerAddress
from sansio_pingora.proxy_protocol import ProxyHeader
from sansio_pingora.transport import SocketAddr
from sansio_pingora.upstreams import PeerOptions
from sansio_pingora_posix import Control
from tests.adapters.harness import GET, OK, PATIENCE, Echo, To, answering, client, origin, served
from tests.pages import blocks, page, run_blocks

PAGE = page("connections.md")
BLOCKS = blocks(PAGE)
MARKERS = [
    "def run",
    "class Blocklist",
    "REQUIRED",
    "class Telling",
    "class Outbound",
    "class Redirect",
    "class Figures",
]


def names(marker):
    """What the block with *marker* defines."""
    (block,) = (block for block in BLOCKS if marker in block)
    return run_blocks("connections.md", [block])


def test_every_block_is_tested_here():
    assert len(BLOCKS) == len(MARKERS)
    assert all(any(marker in block for block in BLOCKS) for marker in MARKERS)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.rstrip().splitlines()[-1].strip())
def test_a_block_is_short(block):
    code = [line for line in block.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    ast.parse(block)
    assert len(code) <= 15


def test_listening(tmp_path):
    control, path = Control(), str(tmp_path / "s")
    thread = threading.Thread(target=names("def run")["run"], args=(Echo(), control, path))
    thread.start()
    assert control.ready.wait(PATIENCE)
    try:
        host, _, port = control.addresses[0].rpartition(":")
        for address in ((host, int(port)), path):
            with client(address) as browser:
                browser.send(GET)
                assert browser.status() == 200
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o660
    finally:
        control.stop()
        thread.join(PATIENCE)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("listed", [True, False])
def test_who_may_connect(listed):
    blocklist = names("class Blocklist")["Blocklist"](lambda host: listed and host == "127.0.0.1")
    with served(Echo(), "threads", connection_filter=blocklist) as server, client(server.address) as browser:
        if listed:
            assert browser.ended()
        else:
            browser.send(GET)
            assert browser.status() == 200


def test_behind_a_balancer():
    found = names("REQUIRED")

    (required,), (optional,) = found["REQUIRED"].layers, found["OPTIONAL"].layers

    assert SocketAddr("10.1.2.3", 1) in required.trusted
    assert required.required
    assert None in optional.trusted
    assert not optional.required


def test_telling_an_origin():
    told = []

    def script(peer):
        told.append(peer.take(28))
        answering()(peer)

    telling = names("class Telling")["Telling"]
    with (
        origin(script) as target,
        served(telling(target.peer), "asyncio") as server,
        client(server.address) as browser,
    ):
        browser.send(GET)
        assert browser.status() == 200
        mine = SocketAddr(*browser.sock.getsockname())
    assert told == [ProxyHeader(2, mine, SocketAddr(*server.address)).to_bytes()]


def test_through_a_proxy():
    heads = []

    def proxy(peer):
        heads.append(peer.head())
        if len(heads) == 1:
            peer.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        else:
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            peer.message()
            peer.send(OK)

    with origin(proxy) as next_hop:
        app = names("class Outbound")["Outbound"](next_hop.peer, "a.test", 80)
        with served(app, "gevent") as server, client(server.address) as browser:
            browser.send(GET)
            assert browser.status() == 502
            browser.send(GET)
            assert browser.message()[2] == b"ok"
    assert app.refusals == [407]
    start, fields = heads[0]
    assert start == b"CONNECT a.test:80 HTTP/1.1"
    assert (fields[b"x-team"], fields[b"proxy-authorization"]) == (b"edge", b"Basic bWU6c2VjcmV0")


def test_a_connect_of_one_s_own():
    with origin(answering()) as target:
        options = PeerOptions(custom_l4=names("class Redirect")["Redirect"](target.address))
        with served(To("nowhere.invalid:80", options=options), "threads") as server, client(server.address) as browser:
            browser.send(GET)
            assert browser.status() == 200


def test_what_is_known():
    app = names("class Figures")["Figures"]()
    with (
        served(app, "asyncio", listen=ServerAddress.parse("127.0.0.1:0")) as server,
        client(server.address) as browser,
    ):
        browser.send(GET)
        assert re.fullmatch(rb"127\.0\.0\.1:\d+ rtt=\d+us cwnd=\d+", browser.message()[2])


def test_every_option_of_a_peer_that_the_page_names_exists():
    for name in re.findall(r"`(\w+)`", PAGE[PAGE.index("| option of `PeerOptions`") : PAGE.index("Which connections")]):
        assert name == "PeerOptions" or hasattr(PeerOptions(), name)
