"""Origins behind a proxy that opens tunnels, on every runtime."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sansio_pingora import HttpPeer, ProxyHttp
from sansio_pingora.errors import ErrorType
from sansio_pingora.proxy_protocol import ProxyHeader
from sansio_pingora.transport import SocketAddr
from sansio_pingora.upstreams import PeerOptions
from tests.adapters.harness import GET, RUNTIMES, Peer, answering, client, origin, served
from tests.tls.certs import authority, ca

every_runtime = pytest.mark.parametrize("runtime", RUNTIMES)


def tunnelling(peer: Peer) -> None:
    """A proxy's script: connects to where it is asked to, and carries bytes."""
    start, _ = peer.head()
    host, _, port = start.split(b" ")[1].rpartition(b":")
    with socket.create_connection((host.decode(), int(port))) as out:
        peer.send(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n", peer.buffer)
        peer.buffer = b""

        def back() -> None:
            with contextlib.suppress(OSError):  # the proxy has gone
                while data := out.recv(65_536):
                    peer.sock.sendall(data)
                peer.sock.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=back)
        thread.start()
        while data := peer.sock.recv(65_536):
            out.sendall(data)
        out.shutdown(socket.SHUT_WR)
        thread.join()


class Through(ProxyHttp):
    """To *target* through the proxy at *next_hop*."""

    def __init__(self, next_hop: HttpPeer | str, target: str, *, tls: bool = False, **options: Any) -> None:
        host, _, port = target.rpartition(":")
        self.peer = HttpPeer.new_proxy(next_hop, host, int(port), tls, options=PeerOptions(**options))
        self.ended: list[Any] = []

    def upstream_peer(self, session: Any, ctx: Any) -> HttpPeer:
        return self.peer

    def logging(self, session: Any, error: Any, ctx: Any) -> None:
        self.ended.append(error)


@every_runtime
@pytest.mark.parametrize("unix", [False, True], ids=["TCP", "Unix"])
def test_requests_share_a_tunnel(runtime, unix, tmp_path):
    path = f"{tmp_path}/p" if unix else None
    with (
        origin(answering()) as target,
        origin(tunnelling, path) as proxy,
        served(Through(proxy.peer, target.peer), runtime) as server,
        client(server.address) as browser,
    ):
        for _ in range(3):
            browser.send(GET)
            assert browser.message()[2] == b"ok"
        assert proxy.connections == 1
        assert target.connections == 1


def relay(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until one side ends. In one thread: a TLS socket is not for two."""
    pending = getattr(one, "pending", lambda: 0)
    while True:
        ready = [one] if pending() else select.select([one, other], [], [])[0]
        for sock in ready:
            data = sock.recv(65_536)
            if not data:
                return
            (other if sock is one else one).sendall(data)


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority("main").issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@contextlib.contextmanager
def secured(peer: Peer, secure: bool = True) -> Iterator[Peer]:
    if not secure:
        yield peer
        return
    with server_context().wrap_socket(peer.sock, server_side=True) as sock:
        yield Peer(sock)


@every_runtime
@pytest.mark.parametrize(("to_proxy", "to_origin"), [(True, False), (False, True), (True, True)])
def test_over_tls(runtime, to_proxy, to_origin):
    """To the proxy, to the origin through it, and one within the other."""
    heads = []

    def proxying(plain: Peer) -> None:
        with secured(plain, to_proxy) as peer, socket.create_connection(target.address) as out:
            heads.append(peer.head()[0])
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            relay(peer.sock, out)

    def serving(plain: Peer) -> None:
        with secured(plain, to_origin) as peer:
            answering()(peer)

    trusting = PeerOptions(ca=ca())
    with origin(serving) as target, origin(proxying) as proxy:
        next_hop = HttpPeer(proxy.peer, tls=True, options=trusting) if to_proxy else proxy.peer
        app = Through(next_hop, target.peer, tls=to_origin, ca=ca() if to_origin else None)
        with served(app, runtime) as server, client(server.address) as browser:
            for _ in range(2):
                browser.send(GET)
                assert browser.message()[2] == b"ok"
    assert heads == [b"CONNECT %b HTTP/1.1" % target.peer.encode()]


@every_runtime
def test_a_proxy_that_is_not_trusted_is_asked_nothing(runtime):
    heads = []

    def proxying(peer: Peer) -> None:
        with contextlib.suppress(ssl.SSLError), secured(peer) as proxy:
            heads.append(proxy.head())

    with origin(proxying) as proxy:
        app = Through(HttpPeer(proxy.peer, tls=True, options=PeerOptions(ca=ca("other"))), "a.test:80")
        with served(app, runtime) as server, client(server.address) as browser:
            browser.send(GET)
            assert browser.status() == 502
    assert app.ended[0].root_etype is ErrorType.INVALID_CERT
    assert heads == []


@every_runtime
def test_what_the_proxy_sends_behind_its_answer_is_the_origin_s(runtime):
    """Its first bytes in one piece with the answer: they are an answer to nothing, and refused as such."""

    def eager(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        peer.over.wait()

    with origin(eager) as proxy, served(app := Through(proxy.peer, "a.test:80"), runtime) as server:
        with client(server.address) as browser:
            browser.send(GET)
            assert browser.status() == 502
        assert app.ended[0].root_etype is ErrorType.CONNECTION_CLOSED


REFUSALS = {
    "refused": (b"HTTP/1.1 403 Forbidden\r\nProxy-Status: p; error=no\r\n\r\n", "status 403, proxy-status p; error=no"),
    "not HTTP": (b"220 mail.test ESMTP\r\n", "is not HTTP/1"),
    "closed": (b"", "the proxy closed the connection before it answered CONNECT a.test:80"),
    "closed early": (b"HTTP/1.1 200 OK\r\nVia: ", "in the middle of its answer to CONNECT a.test:80"),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "a transfer coding"),
}


@every_runtime
@pytest.mark.parametrize("name", REFUSALS)
def test_a_proxy_that_opens_no_tunnel(runtime, name):
    answer, text = REFUSALS[name]

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(answer)

    with origin(script) as proxy, served(app := Through(proxy.peer, "a.test:80"), runtime) as server:
        with client(server.address) as browser:
            browser.send(GET)
            assert browser.status() == 502
        assert text in str(app.ended[0])
        assert not app.ended[0].retry
        assert proxy.connections == 1


@every_runtime
def test_a_proxy_that_does_not_answer(runtime):
    with (
        origin(lambda peer: peer.over.wait()) as proxy,
        served(app := Through(proxy.peer, "a.test:80"), runtime, handshake_timeout=0.05) as server,
        client(server.address) as browser,
    ):
        browser.send(GET)
        assert browser.status() == 504
        assert "while the proxy's answer to CONNECT was waited for" in str(app.ended[0])


@every_runtime
def test_a_proxy_that_is_not_there(runtime, tmp_path):
    with served(app := Through(f"unix:{tmp_path}/none", "a.test:80"), runtime) as server:
        with client(server.address) as browser:
            browser.send(GET)
            assert browser.status() == 502
        assert app.ended[0].etype is ErrorType.CONNECT_ERROR


@every_runtime
def test_a_header_for_the_origin_is_within_the_tunnel(runtime):
    header = ProxyHeader(1, SocketAddr("192.0.2.1", 1), SocketAddr("192.0.2.2", 2))
    told = []

    def script(peer: Peer) -> None:
        told.append(peer.upto(b"\r\n"))
        answering()(peer)

    with (
        origin(script) as target,
        origin(tunnelling) as proxy,
        served(Through(proxy.peer, target.peer, proxy_protocol=header), runtime) as server,
        client(server.address) as browser,
    ):
        browser.send(GET)
        assert browser.status() == 200
        assert told == [header.to_bytes()]
