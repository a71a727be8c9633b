"""A kept connection, a dial under way and a TLS session serve equal peers alone: each field of a peer, one by one."""

from __future__ import annotations

import dataclasses
import inspect
import math
import ssl
from dataclasses import replace

import pytest

from sansio_pingora.digests import Digest
from sansio_pingora.limits import Limits
from sansio_pingora.proxy_protocol import ProxyHeader
from sansio_pingora.tls import ClientTls, peer_layer
from sansio_pingora.transport import BindTo, SocketAddr, TcpKeepalive
from sansio_pingora.upstreams import ALPN, BasicPeer, CaCerts, CertKey, HttpPeer, PeerOptions, Proxy

PEM = b"-----BEGIN CERTIFICATE-----"
KEY = b"-----BEGIN PRIVATE KEY-----"


class Custom:
    def connect(self, address):
        """Nowhere."""


def hook(*args):
    """By name."""


def other_hook(*args):
    """By another name."""


CUSTOM = Custom()
CLIENT = CertKey(PEM + b"1", KEY + b"1", "1")
PROXY = {"next_hop": "10.0.0.1:3128", "host": "a.test", "port": 443, "headers": (("x", "1"),)}
HEADER = ProxyHeader(2, SocketAddr("10.0.0.1", 1), SocketAddr("10.0.0.2", 2))

# Each field: another value than that of the base below, or SHARED with the reason why it decides neither who is at
# the other end, nor whom we trust to be there, nor how strictly its bytes are read.
SHARED = "shared"
OPTIONS = {
    "bind_to": [SocketAddr("127.0.0.2", 0), BindTo(None, (5000, 6000)), BindTo(None, (5000, 6000), fallback=True)],
    "verify_cert": [False],
    "verify_hostname": [False],
    "use_system_certs": [False],
    "alternative_cn": ["b.test", "c.test"],
    "alpn": [ALPN.H1, ALPN.H2, ALPN.H2H1, ALPN.custom("x")],
    "ca": [CaCerts(PEM), CaCerts(PEM + b"2")],
    "max_h2_streams": [9],
    "h2_ping_interval": [1.0, 2.0],
    "h2_stream_window_size": [70_000, 80_000],
    "h2_connection_window_size": [70_000, 80_000],
    "allow_h1_response_invalid_content_length": [True],
    "proxy_protocol": [
        ProxyHeader(2),
        HEADER,
        replace(HEADER, source=SocketAddr("10.0.0.3", 1)),
        replace(HEADER, destination=SocketAddr("10.0.0.3", 2)),
        replace(HEADER, version=1),
    ],
    "extra_proxy_headers": [{"a": b"1"}, {"a": b"2"}, {"b": b"1"}],
    "curves": ["X25519", "P-256"],
    "custom_l4": [CUSTOM, Custom()],
    "custom_connection": [hook, other_hook],
    "upstream_tcp_sock_tweak_hook": [hook, other_hook],
    "upstream_tls_handshake_complete_hook": [hook, other_hook],
    "connection_timeout": SHARED,  # of a connect, which is over
    "total_connection_timeout": SHARED,  # as above
    "read_timeout": SHARED,  # of each exchange
    "write_timeout": SHARED,  # as above
    "idle_timeout": SHARED,  # of whoever gives it back
    "tcp_keepalive": SHARED,  # of the kernel's, below what is said
    "tcp_recv_buf": SHARED,  # as above
    "dscp": SHARED,  # as above
    "tcp_fast_open": SHARED,  # as above
    "tracer": SHARED,  # it only looks
    "proxy_digest_user_data_hook": SHARED,  # as above: a tunnel stands or does not whatever it returns
    "psk": None,  # refused
    "s2n_security_policy": None,
    "max_blinding_delay": None,
    "second_keyshare": None,
}
VALUES_THAT_SHARE = {
    "connection_timeout": 1.0,
    "total_connection_timeout": 1.0,
    "read_timeout": 1.0,
    "write_timeout": 1.0,
    "idle_timeout": 9.0,
    "tcp_keepalive": TcpKeepalive(60.0, 5.0, 3),
    "tcp_recv_buf": 4096,
    "dscp": 8,
    "tcp_fast_open": True,
    "tracer": object(),
    "proxy_digest_user_data_hook": hook,
}
PEER = {
    "address": ["192.0.2.1:444", "192.0.2.2:443", "unix:192.0.2.1:443"],
    "tls": [False],
    "sni": ["b.test", ""],
    "group_key": [1],
    "proxy": [
        Proxy(**PROXY),
        *(
            Proxy(**{**PROXY, name: value})
            for name, value in {
                "next_hop": BasicPeer("10.0.0.1:3128", "proxy.test"),
                "host": "b.test",
                "port": 444,
                "headers": (("x", "2"),),
            }.items()
        ),
    ],
    "client_cert_key": [
        CLIENT,
        replace(CLIENT, cert=PEM + b"2"),
        replace(CLIENT, key=KEY + b"2"),
        replace(CLIENT, password="2"),
    ],
    "options": None,  # its fields are above
}


def make(http2=False, **changes):
    options = {name: changes.pop(name) for name in OPTIONS if name in changes}
    options = {"alpn": ALPN.H2 if http2 else ALPN.H1, "max_h2_streams": 10, **options}
    return HttpPeer(
        **{"address": "192.0.2.1:443", "tls": True, "sni": "a.test", **changes}, options=PeerOptions(**options)
    )


def cases():
    """Each two values of a field that differ, the base's among them."""
    for name, others in (*OPTIONS.items(), *PEER.items()):
        if others is None or others == SHARED:
            continue
        for number, other in enumerate(others):
            if name != "alpn":  # the base's is one of these
                yield pytest.param({}, {name: other}, id=f"{name} {number}")
            for second, another in enumerate(others[:number]):
                yield pytest.param({name: another}, {name: other}, id=f"{name} {second} and {number}")


CASES = list(cases())


def test_each_field_is_decided():
    assert set(OPTIONS) == {spec.name for spec in dataclasses.fields(PeerOptions) if spec.init}
    assert set(PEER) == set(inspect.signature(HttpPeer.__init__).parameters) - {"self"}
    assert set(inspect.signature(BasicPeer.__init__).parameters) <= set(PEER) | {"self"}
    assert set(inspect.signature(Proxy.__init__).parameters) == {*PROXY, "self"}
    assert {spec.name for spec in dataclasses.fields(CertKey)} == {"cert", "key", "password"}
    assert {spec.name for spec in dataclasses.fields(CaCerts)} == {"pem"}
    assert set(VALUES_THAT_SHARE) == {name for name, value in OPTIONS.items() if value == SHARED}


def speaks_http2(peer):
    return peer.options.alpn.min_http_version == 2


def test_the_base_itself_shares(fake_net):
    for http2 in (False, True):
        net = fake_net()
        first = net.lease(make(http2=http2))
        if not http2:
            net.release(first)
        assert net.ask(make(http2=http2)).lease.endpoint is first.endpoint


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize(("one", "other"), CASES)
def test_peers_that_differ_in_one_field_share_no_connection(fake_net, one, other, http2):
    first, second = make(**one, http2=http2), make(**other, http2=http2)
    net = fake_net()

    # While the first is dialled, the second dials as well.
    waiting = net.ask(first)
    assert net.ask(second).leases == []
    assert len(net.dials) == 2
    net.connect()
    net.connect()
    held = waiting.lease

    # While it is in use, and while it is idle; its own like finds it each time.
    if speaks_http2(first):
        assert net.ask(make(**one, http2=http2)).lease.endpoint is held.endpoint
    net.release(held)
    for peer in (second, make(**other, http2=http2)):
        found = net.ask(peer)
        assert not found.leases or found.lease.endpoint is not held.endpoint
    assert net.ask(make(**one, http2=http2)).lease.endpoint is held.endpoint


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize("name", VALUES_THAT_SHARE)
def test_a_field_that_decides_nothing_shares(fake_net, name, http2):
    net = fake_net()
    held = net.lease(make(http2=http2))
    net.release(held)
    assert net.ask(make(**{name: VALUES_THAT_SHARE[name]}, http2=http2)).lease.endpoint is held.endpoint


class Backend:
    """A library whose handshakes wait for ever; keeps the sessions that were to be resumed."""

    def __init__(self):
        self.resumed = []

    def client_context(self, settings):
        return self

    def wrap_bio(self, *args, **kwargs):
        return self

    def do_handshake(self):
        raise ssl.SSLWantReadError

    def _resume(self, session):
        self.resumed.append(session)

    session = property(None, _resume)


@pytest.mark.parametrize(("one", "other"), CASES)
def test_nor_do_they_resume_each_other_s_sessions(one, other):
    first, second = make(**one), make(**other)
    backend = Backend()
    tls = ClientTls(backend, Limits())
    tls.remember(first.reuse_key, "the first one's session")
    for peer in (second, first):
        peer_layer(tls, peer, ("http/1.1",))(None, Limits(), Digest(), math.inf)
    assert backend.resumed == ["the first one's session"]


@pytest.mark.parametrize("name", [*PEER, "reuse_key"])
def test_a_peer_cannot_become_another(name):
    peer = make()
    with pytest.raises(AttributeError, match="is a value: make another peer"):
        setattr(peer, name, PeerOptions(verify_cert=False))
    with pytest.raises(AttributeError):
        Proxy(**PROXY).next_hop = BasicPeer("10.0.0.9:1")


def test_nor_can_its_options():
    options = PeerOptions(extra_proxy_headers={"a": b"1"})
    with pytest.raises(TypeError):
        options.extra_proxy_headers["a"] = b"2"
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.verify_cert = False
