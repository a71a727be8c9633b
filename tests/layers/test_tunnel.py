"""A tunnel below a connection: what is sent, what is kept, where it ends; and the layers of a peer in order."""

from __future__ import annotations

import math

import pytest

from sansio_pingora.digests import Digest
from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.layers import OpenTunnel, SendProxyProtocol, pending_layer, stack_layers, upstream_layers
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, ConnectionClosed, Endpoint, Established, Lane
from sansio_pingora.proxy_protocol import ProxyHeader
from sansio_pingora.session import ServerConnection
from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora.upstreams import BasicPeer, HttpPeer, PeerOptions, Proxy
from sansio_pingora.wire import Header

OK = b"HTTP/1.1 200 OK\r\nVia: 1.1 p\r\n\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = Proxy("127.0.0.1:3128", "a.test", 443).request()
HEADER = ProxyHeader(1, SocketAddr("192.0.2.1", 1), SocketAddr("192.0.2.2", 2))


class Receiver:
    def __init__(self):
        self.events = []

    def receive_event(self, stream_id, value, now):
        self.events.append(value)

    def one(self, kind):
        (found,) = [value for value in self.events if type(value) is kind]
        return found


class Rig:
    def __init__(self, *makers):
        self.lane, self.receiver = Lane(), Receiver()
        info = TransportInfo(SocketAddr("127.0.0.1", 3128), None, 0.0)
        # A server, so that bytes behind the answer are a request.
        self.layer = stack_layers(
            makers, lambda _layer, now: ServerConnection(now=now, h2c=False), Limits(), Digest.of(info), math.inf
        )
        self.endpoint = Endpoint(self.lane, self.layer, self.receiver, info)
        self.lane.attach(self.endpoint)
        self.sent = []
        self.settle()

    def settle(self):
        while members := self.lane.drain(0.0):
            for member in members:
                self.sent += member.connection.data_to_send()

    def receive(self, data):
        self.endpoint.receive_data(data, 0.0)
        self.settle()


@pytest.mark.parametrize("step", [1, 1000])
def test_a_tunnel_opens_and_steps_aside(step):
    told = []

    def hook(request, response):
        told.append((request.target, response.status))
        return "mine"

    rig = Rig(OpenTunnel(HEAD, hook))
    assert rig.sent == [HEAD.to_bytes()]
    assert pending_layer(rig.endpoint.connection) is rig.layer
    whole = OK + REQUEST
    for start in range(0, len(whole), step):
        rig.receive(whole[start : start + step])

    digest = rig.receiver.one(Established).digest
    assert rig.receiver.one(Header).head.target == b"/"
    assert isinstance(rig.endpoint.connection, ServerConnection)
    assert digest.proxy_digest.response.get("via") == b"1.1 p"
    assert digest.proxy_digest.user_data == "mine"
    assert told == [(b"a.test:443", 200)]


def test_a_refusal_cuts_the_connection():
    rig = Rig(OpenTunnel(HEAD))
    rig.receive(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")

    error = rig.receiver.one(ConnectionClosed).error
    assert error.etype is ErrorType.CONNECT_PROXY_FAILURE
    assert rig.endpoint.connection.closing is Closing.ABORT
    rig.endpoint.transport_lost(None, 0.0)
    assert len(rig.receiver.events) == 1


@pytest.mark.parametrize("end", ["eof", "lost", "reset"])
def test_a_proxy_that_leaves(end):
    rig = Rig(OpenTunnel(HEAD))
    if end == "eof":
        rig.endpoint.receive_eof(0.0)
    else:
        rig.endpoint.transport_lost(Error(ErrorType.READ_ERROR, "reset") if end == "reset" else None, 0.0)

    error = rig.receiver.one(ConnectionClosed).error
    assert error.etype is ErrorType.CONNECTION_CLOSED
    assert "the proxy closed the connection before it answered CONNECT a.test:443" in str(error)
    assert ("ReadError" in str(error)) is (end == "reset")


def test_what_is_waited_for_has_a_name():
    rig = Rig(OpenTunnel(HEAD))
    rig.receive(OK[:10])

    assert rig.layer.held == 10
    error = pending_layer(rig.endpoint.connection).timed_out("handshake timeout of 5 s")
    assert error.etype is ErrorType.CONNECT_TIMEDOUT
    assert str(error).endswith("handshake timeout of 5 s while the proxy's answer to CONNECT was waited for")


def test_a_header_for_the_origin_goes_through_the_tunnel():
    rig = Rig(OpenTunnel(HEAD), SendProxyProtocol(HEADER))
    assert rig.sent == [HEAD.to_bytes()]

    rig.receive(OK)

    assert rig.sent == [HEAD.to_bytes(), HEADER.to_bytes()]
    assert isinstance(rig.endpoint.connection, ServerConnection)


def tls(peer, protocols):
    return (peer.address.host, protocols) if peer.sni or peer.address.port == 443 else None


@pytest.mark.parametrize(
    ("peer", "kinds"),
    [
        (HttpPeer("a.test:80"), []),
        (HttpPeer("a.test:443"), [("a.test", ("h2",))]),
        (HttpPeer("a.test:80", options=PeerOptions(proxy_protocol=HEADER)), [SendProxyProtocol]),
        (
            HttpPeer.new_proxy("p.test:443", "a.test", 443, options=PeerOptions(proxy_protocol=HEADER)),
            [("p.test", ("http/1.1",)), OpenTunnel, SendProxyProtocol, ("a.test", ("h2",))],
        ),
        (HttpPeer.new_proxy(BasicPeer("unix:/p"), "a.test", 80), [OpenTunnel]),
    ],
    ids=["plain", "TLS", "PROXY", "everything", "Unix"],
)
def test_the_layers_of_a_peer_from_the_wire_up(peer, kinds):
    makers = upstream_layers(peer, ("h2",), tls)

    assert [maker if isinstance(maker, tuple) else type(maker) for maker in makers] == kinds
    assert [type(maker) for maker in upstream_layers(peer, ("h2",))] == [
        kind for kind in kinds if not isinstance(kind, tuple)
    ]


def test_fields_of_the_options_reach_the_proxy():
    peer = HttpPeer.new_proxy(
        "p.test:1", "a.test", 80, headers=[("x", "1")], options=PeerOptions(extra_proxy_headers={"X": b"2", "y": b"3"})
    )
    rig = Rig(*upstream_layers(peer, ()))

    assert rig.sent == [b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\nX: 2\r\ny: 3\r\n\r\n"]
