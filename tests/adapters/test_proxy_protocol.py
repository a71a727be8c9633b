"""The PROXY protocol on every runtime: accepted from a balancer, and sent to origins."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import pytest

from sansio_pingora import HttpPeer, ProxyHttp
from sansio_pingora.apps import HttpServerApp, ServerApp
from sansio_pingora.listeners import ServerAddress, TcpSocketOptions
from sansio_pingora.proxy_protocol import ProxyHeader
from sansio_pingora.transport import SocketAddr
from sansio_pingora.upstreams import PeerOptions
from sansio_pingora.wire import ResponseHeader
from tests.adapters.harness import GET, OK, RUNTIMES, client, origin, served, until

every_runtime = pytest.mark.parametrize("runtime", RUNTIMES)
CLIENT, TARGET = SocketAddr("198.51.100.7", 56324), SocketAddr("203.0.113.9", 443)
HEADERS = [ProxyHeader(1, CLIENT, TARGET), ProxyHeader(2, CLIENT, TARGET)]


class Whoami(HttpServerApp):
    """Answers with the addresses of the client and of ourselves, as told and as they are."""

    def process_new_http(self, session: Any) -> None:
        digest = session.digest()
        told = f"{session.client_addr} {session.server_addr} {digest.socket_digest.peer_addr}".encode()
        session.write_response_header(ResponseHeader(200, [("Content-Length", str(len(told)))]))
        session.write_response_body(told)
        session.finish_body()


class FirstToSpeak(ServerApp):
    def process_new(self, stream: Any) -> None:
        stream.write(f"hello {stream.client_addr}\n".encode())


def behind(trusted: str, *, listen: str = "127.0.0.1:0", **options: Any) -> ServerAddress:
    return ServerAddress.parse(listen).with_proxy_protocol([trusted], **options)


@every_runtime
@pytest.mark.parametrize("header", HEADERS, ids=["v1", "v2"])
def test_the_client_is_who_the_balancer_says(runtime, header):
    with served(Whoami(), runtime, listen=behind("127.0.0.0/8")) as server, client(server.address) as balancer:
        mine = "{}:{}".format(*balancer.sock.getsockname())
        for byte in header.to_bytes():
            balancer.send(bytes((byte,)))
        for _ in range(2):
            balancer.send(GET)
            assert balancer.message()[2].decode() == f"{CLIENT} {TARGET} {mine}"


@every_runtime
def test_a_stranger_is_closed_or_is_who_it_is(runtime, caplog):
    forged = HEADERS[0].to_bytes() + GET
    with served(Whoami(), runtime, listen=behind("192.0.2.0/24")) as server, client(server.address) as stranger:
        assert stranger.ended()
    assert "is not among the trusted sources of the PROXY protocol" in caplog.text
    assert caplog.records[-1].levelno == logging.WARNING
    with served(Whoami(), runtime, listen=behind("192.0.2.0/24", required=False)) as server:
        with client(server.address) as stranger:
            stranger.send(forged)
            assert stranger.status() == 400
        with client(server.address) as stranger:
            mine = "{}:{}".format(*stranger.sock.getsockname())
            stranger.send(GET)
            assert stranger.message()[2].decode() == f"{mine} {server.peer} {mine}"


@every_runtime
def test_bad_headers_and_none_at_all(runtime, caplog):
    with served(Whoami(), runtime, listen=behind("127.0.0.1"), handshake_timeout=0.05) as server:
        with client(server.address) as bad:
            bad.send(b"PROXY TCP4 1.2.3 1.1.1.1 1 2\r\n")
            assert bad.ended()
        assert "source '1.2.3' is not an IPv4 address" in caplog.text
        with client(server.address) as silent:
            assert silent.ended()
        with client(server.address) as good:
            good.send(HEADERS[1].to_bytes() + GET)
            assert good.status() == 200


@every_runtime
def test_over_unix_sockets_and_raw_streams(runtime, tmp_path):
    path = f"{tmp_path}/s"
    with served(FirstToSpeak(), runtime, listen=behind("unix", listen=f"unix:{path}")), client(path) as balancer:
        balancer.send(HEADERS[0].to_bytes())
        assert balancer.upto(b"\n") == f"hello {CLIENT}\n".encode()
    listen = behind("unix", required=False)
    with served(FirstToSpeak(), runtime, listen=listen) as server, client(server.address) as stranger:
        mine = "{}:{}".format(*stranger.sock.getsockname())
        assert stranger.upto(b"\n") == f"hello {mine}\n".encode()


@every_runtime
def test_several_endpoints_of_one_service(runtime):
    addresses = [behind("127.0.0.1"), ServerAddress.parse("127.0.0.1:0")]
    with served(Whoami(), runtime, listen=addresses) as server:
        host, _, port = server.control.addresses[1].rpartition(":")
        with client(server.address) as balancer, client((host, int(port))) as direct:
            balancer.send(HEADERS[0].to_bytes() + GET)
            direct.send(GET)
            assert balancer.message()[2].decode().startswith(str(CLIENT))
            assert direct.message()[2].decode().startswith("{}:{}".format(*direct.sock.getsockname()))


class Telling(ProxyHttp):
    """Tells its origin of the client."""

    def __init__(self, peer: str, version: int) -> None:
        self.peer = peer
        self.version = version

    def upstream_peer(self, session: Any, ctx: Any) -> HttpPeer:
        header = ProxyHeader.between(session.client_addr, session.server_addr, version=self.version)
        return HttpPeer(self.peer, options=PeerOptions(proxy_protocol=header))


@every_runtime
@pytest.mark.parametrize("version", [1, 2])
def test_an_origin_is_told_of_the_client_once_a_connection(runtime, version):
    told = []

    def script(peer: Any) -> None:
        if version == 1:
            told.append(peer.upto(b"\r\n"))
        else:
            told.append(peer.take(28))
        while True:
            peer.message()
            peer.send(OK)

    with (
        origin(script) as behind_us,
        served(Telling(behind_us.peer, version), runtime) as server,
        client(server.address) as first,
        client(server.address) as second,
    ):
        for browser in (first, first, second):
            browser.send(GET)
            assert browser.status() == 200
        assert told == [
            ProxyHeader(version, SocketAddr(*browser.sock.getsockname()), SocketAddr(*server.address)).to_bytes()
            for browser in (first, second)
        ]


@every_runtime
def test_from_a_balancer_through_a_proxy_to_another(runtime):
    """What the first is told reaches the last."""
    with (
        served(Whoami(), runtime, listen=behind("127.0.0.1")) as last,
        served(Telling(last.peer, 2), runtime, listen=behind("127.0.0.1")) as middle,
        client(middle.address) as balancer,
    ):
        balancer.send(HEADERS[1].to_bytes(), GET)
        assert balancer.message()[2].decode().startswith(f"{CLIENT} {TARGET} 127.0.0.1:")


def test_a_thousand_bad_headers_make_few_lines(caplog):
    with served(Whoami(), "asyncio", listen=behind("192.0.2.1")) as server:
        begun = time.monotonic()
        for _ in range(200):
            with client(server.address) as stranger:
                assert stranger.ended()
        seconds = time.monotonic() - begun
    assert 1 <= caplog.text.count("is not among the trusted sources") <= seconds + 1


class Figures(HttpServerApp):
    """Answers with what the kernel says of the client's connection, and keeps the digest."""

    digest: Any = None

    def process_new_http(self, session: Any) -> None:
        self.digest = session.digest().socket_digest
        info = self.digest.tcp_info()
        told = b"%d %d" % (info.state, self.digest.recv_buf > 0)
        session.write_response_header(ResponseHeader(200, [("Content-Length", str(len(told)))]))
        session.write_response_body(told)
        session.finish_body()


@every_runtime
def test_the_kernel_s_figures_of_a_connection(runtime):
    app = Figures()
    with served(app, runtime) as server:
        with client(server.address) as browser:
            browser.send(GET)
            assert browser.message()[2] == b"1 1"
        until(lambda: app.digest.tcp_info() is None)  # closed: not those of a successor
        assert app.digest.recv_buf is None


@pytest.mark.parametrize("runtime", ["threads", "gevent"])
def test_times_of_what_passes(runtime):
    app = Figures()
    address = ServerAddress.tcp("127.0.0.1:0", TcpSocketOptions(timestamps=True))
    with served(app, runtime, listen=address) as server, client(server.address) as browser:
        browser.send(GET[:5])
        time.sleep(0.02)
        before = time.time()
        browser.send(GET[5:])
        assert browser.message()[2] == b"1 1"
        assert app.digest.read_pending_time > 0.0
        assert app.digest.write_pending_time == 0.0
        if sys.platform == "linux":
            assert before - 0.01 <= app.digest.rx_timestamp <= time.time()


def test_an_option_that_a_runtime_cannot_obey_is_refused():
    address = ServerAddress.tcp("127.0.0.1:0", TcpSocketOptions(timestamps=True))
    with pytest.raises(ValueError, match=r"timestamps of 127.0.0.1:0 has no effect on asyncio"):  # noqa: SIM117
        with served(Figures(), "asyncio", listen=address):
            pass
