"""A load balancer beside a proxy, over real sockets: fail-over, checks, and a set that changes."""

import socket
from dataclasses import replace

import pytest

from sansio_pingora import ProxyHttp
from sansio_pingora.apps import OriginApp
from sansio_pingora.balancing import (
    Backend,
    CallDiscovery,
    DnsDiscovery,
    DnsSrvDiscovery,
    HttpHealthCheck,
    LeastConnections,
    LoadBalancer,
    TcpHealthCheck,
)
from sansio_pingora.upstreams import ALPN, PeerOptions
from tests.adapters.harness import GET, answering, client, origin, served, until
from tests.name_server import name_server
from tests.tls.certs import ca, cert
from tests.tls.files import Files, listen

TRUSTING = PeerOptions(ca=ca(), connection_timeout=5.0)


class Balanced(ProxyHttp):
    def __init__(self, balancer):
        self.balancer = balancer

    def new_ctx(self):
        return set()

    def upstream_peer(self, session, ctx):
        return self.balancer.peer(tried=ctx)

    def fail_to_connect(self, session, peer, ctx, error):
        return error.with_retry(True)


def saying(name):
    return answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + name)


def refusing():
    """An address where nobody listens."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock, "{}:{}".format(*sock.getsockname())


def answers(server, count):
    found = []
    with client(server.address) as peer:
        for _ in range(count):
            peer.send(GET)
            found.append(peer.message()[2])
    return found


def test_requests_go_round_and_on_to_the_next_where_one_refuses(runtime):
    dead, nowhere = refusing()
    with dead, origin(saying(b"a")) as a, origin(saying(b"b")) as b:
        balancer = LoadBalancer([a.peer, b.peer, nowhere])
        with served(Balanced(balancer), runtime) as server:
            assert set(answers(server, 12)) == {b"a", b"b"}
        assert not any(state.requests for state in balancer.backends.states.values())


@pytest.mark.parametrize("check", [TcpHealthCheck(), HttpHealthCheck(host="a.test")], ids=["tcp", "http"])
def test_checks_find_who_is_down_and_who_is_back(runtime, check):
    dead, nowhere = refusing()
    with origin(saying(b"a")) as a:
        balancer = LoadBalancer([a.peer, nowhere], health_check=check, health_check_frequency=0.02)
        with served(Balanced(balancer), runtime, background=balancer) as server:
            until(lambda: not balancer.backends.ready(Backend(nowhere)))
            assert answers(server, 4) == [b"a"] * 4
            dead.close()
            with origin(saying(b"b"), port=int(nowhere.rpartition(":")[2])):
                until(lambda: balancer.backends.ready(Backend(nowhere)))
                assert set(answers(server, 4)) == {b"a", b"b"}
            server.stop()
            server.join()


@pytest.mark.parametrize(
    "check",
    [
        TcpHealthCheck(sni="localhost", options=TRUSTING),
        HttpHealthCheck(host="localhost", tls=True, options=TRUSTING),
        HttpHealthCheck(host="localhost", tls=True, options=replace(TRUSTING, alpn=ALPN.H2)),
    ],
    ids=["handshake", "http", "http/2"],
)
def test_checks_over_tls(runtime, tmp_path, check):
    files = Files(tmp_path)
    wrong = listen(files, cert("elsewhere.test"), name="wrong")
    expired = listen(files, cert(expired=True), name="expired")
    with served(OriginApp(), runtime, listen=[listen(files), wrong, expired, "127.0.0.1:0"]) as origins:
        good, *bad = origins.control.addresses  # the last one without TLS
        balancer = LoadBalancer([good, *bad], health_check=check, health_check_frequency=0.02)
        with served(Balanced(balancer), runtime, background=balancer) as server:
            until(lambda: not any(balancer.backends.ready(Backend(address)) for address in bad))
            assert balancer.backends.ready(Backend(good))
            server.stop()
            server.join()


def test_the_set_changes_under_requests(runtime):
    with origin(saying(b"a")) as a, origin(saying(b"b")) as b:
        found = [Backend(a.peer)]
        balancer = LoadBalancer(CallDiscovery(lambda: list(found)), LeastConnections(), update_frequency=0.02)
        with served(Balanced(balancer), runtime, background=[balancer]) as server:
            until(lambda: balancer.discovered)
            assert answers(server, 3) == [b"a"] * 3
            found[:] = [Backend(b.peer)]
            until(lambda: balancer.backends.get_backend() == found)
            assert answers(server, 3) == [b"b"] * 3


def test_the_lanes_of_threads_share_a_balancer():
    dead, nowhere = refusing()
    with dead, origin(saying(b"a")) as a:
        balancer = LoadBalancer([a.peer, nowhere], health_check=TcpHealthCheck(), health_check_frequency=0.02)
        with served(Balanced(balancer), "threads", threads=3, background=balancer) as server:
            until(lambda: not balancer.backends.ready(Backend(nowhere)))
            for _ in range(10):
                assert answers(server, 1) == [b"a"]


def test_a_name_is_resolved(runtime):
    with origin(saying(b"a")) as a:
        port = a.address[1]
        balancer = LoadBalancer(DnsDiscovery([f"localhost:{port}"]), update_frequency=0.02)
        with served(Balanced(balancer), runtime, background=balancer) as server:
            until(lambda: balancer.discovered)
            assert Backend(a.peer) in balancer.backends.get_backend()
            assert answers(server, 3) == [b"a"] * 3


def test_a_name_that_is_not_known_leaves_the_set(runtime):
    balancer = LoadBalancer(DnsDiscovery(["nobody.invalid:80"]))
    with served(Balanced(balancer), runtime, background=balancer) as server:
        until(lambda: balancer.discovered)
        assert balancer.backends.get_backend() == []
        with client(server.address) as peer:
            peer.send(GET)
            assert peer.status() == 503


def test_a_service_in_dns(runtime):
    with origin(saying(b"a")) as a, origin(saying(b"b")) as b:
        service = "_http._tcp.app.test"
        records = [f"1 2 {a.address[1]} here.test.", f"2 1 {b.address[1]} here.test."]
        zone = {(service, "SRV"): records, ("here.test", "A"): ["127.0.0.1"]}
        with name_server(zone) as server:
            balancer = LoadBalancer(DnsSrvDiscovery(service, [server.address]), update_frequency=0.02)
            with served(Balanced(balancer), runtime, background=balancer) as proxy:
                until(lambda: balancer.discovered)
                assert balancer.backends.get_backend() == [Backend(a.peer, 2)]
                assert answers(proxy, 3) == [b"a"] * 3
                del records[0]
                until(lambda: balancer.backends.get_backend() == [Backend(b.peer)])
                server.silent = True  # a question that is not answered holds up nobody
                assert answers(proxy, 3) == [b"b"] * 3
                server.silent = False
