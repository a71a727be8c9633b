"""Peers: what they are made from, and when two of them are the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.proxy_protocol import ProxyHeader
from sansio_pingora.transport import BindTo, SocketAddr
from sansio_pingora.upstreams import ALPN, BasicPeer, HttpPeer, PeerOptions, Scheme


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9001", SocketAddr("127.0.0.1", 9001)),
        ("localhost:80", SocketAddr("localhost", 80)),
        ("[::1]:8080", SocketAddr("::1", 8080)),
        ("unix:/run/x.sock", SocketAddr(path="/run/x.sock")),
    ],
)
def test_address_forms(text, address):
    assert HttpPeer(text).address == address
    assert BasicPeer(text).address == address
    assert HttpPeer(address).reuse_key == HttpPeer(text).reuse_key


@pytest.mark.parametrize("text", ["", "127.0.0.1", "host:", ":80", "::1:80", "host:port", "host:65536", "unix:"])
def test_what_is_no_address_is_refused_each_time(text):
    for _ in range(2):
        with pytest.raises(ValueError, match="address"):
            HttpPeer(text)


def test_a_unix_peer():
    peer = HttpPeer.new_uds("/run/x.sock", group_key=3)
    assert peer.address == SocketAddr(path="/run/x.sock")
    assert peer.reuse_key == HttpPeer("unix:/run/x.sock", group_key=3).reuse_key
    assert BasicPeer.new_uds("/run/x.sock").address.path == "/run/x.sock"
    with pytest.raises(ValueError, match="names no path"):
        HttpPeer.new_uds("")


def test_tls_says_that_it_is_not_spoken_yet():
    with pytest.raises(ValueError, match="takes effect with TLS, which this version does not speak yet"):
        HttpPeer("127.0.0.1:443", tls=True, sni="example.com")
    with pytest.raises(ValueError, match="takes effect with TLS"):
        BasicPeer("127.0.0.1:443", "example.com")


def test_how_peers_read():
    assert str(HttpPeer("127.0.0.1:80")) == "addr: 127.0.0.1:80, scheme: http"
    assert str(HttpPeer("[::1]:80", sni="a.test")) == "addr: [::1]:80, scheme: http, sni: a.test"
    assert repr(HttpPeer("unix:/x")) == "<HttpPeer addr: unix:/x, scheme: http>"
    assert str(BasicPeer("127.0.0.1:80")) == "addr: 127.0.0.1:80"
    assert repr(BasicPeer("127.0.0.1:80")) == "<BasicPeer addr: 127.0.0.1:80>"
    assert HttpPeer("127.0.0.1:80").scheme is Scheme.HTTP


def test_peers_are_values():
    assert HttpPeer("a:1") == HttpPeer("a:1")
    assert len({HttpPeer("a:1"), HttpPeer("a:1"), HttpPeer("a:2")}) == 2
    assert HttpPeer("a:1") != HttpPeer("a:1", options=PeerOptions(read_timeout=1.0))
    assert HttpPeer("a:1") != "a:1"


def _hook(sock):
    """A hook by name."""


class _Custom:
    def connect(self, address):
        """Nowhere."""


_CUSTOM = _Custom()
_DIFFERENT = {
    "address": lambda: HttpPeer("127.0.0.1:81"),
    "host": lambda: HttpPeer("localhost:80"),
    "unix": lambda: HttpPeer("unix:127.0.0.1:80"),
    "sni": lambda: HttpPeer("127.0.0.1:80", sni="a"),
    "group key": lambda: HttpPeer("127.0.0.1:80", group_key=1),
    "raw protocol": lambda: BasicPeer("127.0.0.1:80"),
    "verify_cert": lambda: HttpPeer("127.0.0.1:80", options=PeerOptions(verify_cert=False)),
    "verify_hostname": lambda: HttpPeer("127.0.0.1:80", options=PeerOptions(verify_hostname=False)),
    "bind_to": lambda: HttpPeer("127.0.0.1:80", options=PeerOptions(bind_to="127.0.0.2:0")),
    "hook": lambda: HttpPeer("127.0.0.1:80", options=PeerOptions(upstream_tcp_sock_tweak_hook=_hook)),
    "leniency": lambda: HttpPeer("127.0.0.1:80", options=PeerOptions(allow_h1_response_invalid_content_length=True)),
    "http/2": lambda: HttpPeer("127.0.0.1:80", options=PeerOptions(alpn=ALPN.H2)),
    "either version": lambda: HttpPeer("127.0.0.1:80", options=PeerOptions(alpn=ALPN.H2H1)),
    "streams": lambda: HttpPeer("127.0.0.1:80", options=PeerOptions(alpn=ALPN.H2, max_h2_streams=2)),
    "pings": lambda: HttpPeer("127.0.0.1:80", options=PeerOptions(alpn=ALPN.H2, h2_ping_interval=1.0)),
    "window": lambda: HttpPeer("127.0.0.1:80", options=PeerOptions(alpn=ALPN.H2, h2_stream_window_size=70_000)),
    "connection window": lambda: HttpPeer(
        "127.0.0.1:80", options=PeerOptions(alpn=ALPN.H2, h2_connection_window_size=70_000)
    ),
    "source ports": lambda: HttpPeer("127.0.0.1:80", options=PeerOptions(bind_to=BindTo(None, (5000, 6000)))),
    "header for the origin": lambda: HttpPeer("127.0.0.1:80", options=PeerOptions(proxy_protocol=ProxyHeader(2))),
    "fields for a proxy": lambda: HttpPeer("127.0.0.1:80", options=PeerOptions(extra_proxy_headers={"a": b"b"})),
    "connect of one's own": lambda: HttpPeer("127.0.0.1:80", options=PeerOptions(custom_l4=_CUSTOM)),
    "protocol of one's own": lambda: HttpPeer("127.0.0.1:80", options=PeerOptions(custom_connection=_hook)),
    "proxy": lambda: HttpPeer.new_proxy("10.0.0.1:3128", "127.0.0.1", 80),
    "another proxy": lambda: HttpPeer.new_proxy("10.0.0.2:3128", "127.0.0.1", 80),
}


def test_what_decides_trust_keeps_connections_apart():
    keys = [HttpPeer("127.0.0.1:80").reuse_key, *(make().reuse_key for make in _DIFFERENT.values())]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("make", _DIFFERENT.values(), ids=_DIFFERENT)
def test_keys_compare_by_value(make):
    assert make().reuse_key == make().reuse_key
    assert hash(make().reuse_key) == hash(make().reuse_key)


@pytest.mark.parametrize(
    "options",
    [
        PeerOptions(),
        PeerOptions(read_timeout=1.0, write_timeout=1.0, idle_timeout=0.0),
        PeerOptions(connection_timeout=1.0, total_connection_timeout=2.0),
        PeerOptions(dscp=8, tcp_recv_buf=4096, tcp_fast_open=True),
    ],
    ids=["defaults", "timeouts", "connect timeouts", "socket"],
)
def test_what_does_not_decide_trust_shares_connections(options):
    assert HttpPeer("127.0.0.1:80", options=options).reuse_key == HttpPeer("127.0.0.1:80").reuse_key
    assert BasicPeer("127.0.0.1:80", options=options).reuse_key == BasicPeer("127.0.0.1:80").reuse_key


_PEERS = st.builds(
    HttpPeer,
    st.sampled_from(["a:1", "a:01", "b:1", "unix:a", SocketAddr("a", 1)]),
    sni=st.sampled_from(["", "a", "b"]),
    group_key=st.integers(0, 2),
    options=st.none()
    | st.builds(
        PeerOptions, verify_cert=st.booleans(), verify_hostname=st.booleans(), read_timeout=st.sampled_from([None, 1.0])
    ),
)


@given(_PEERS, _PEERS)
def test_keys_are_equal_exactly_when_the_identity_is(one, other):
    def identity(peer):
        options = peer.options
        return peer.address, peer.scheme, peer.sni, peer.group_key, options.verify_cert, options.verify_hostname

    assert (one.reuse_key == other.reuse_key) == (identity(one) == identity(other))


@pytest.mark.parametrize(
    ("alpn", "lowest", "highest"), [(ALPN.H1, 1, 1), (ALPN.H2, 2, 2), (ALPN.H2H1, 1, 2)], ids=["h1", "h2", "both"]
)
def test_alpn_bounds(alpn, lowest, highest):
    assert (alpn.min_http_version, alpn.max_http_version) == (lowest, highest)
    assert ALPN.new(highest, lowest) is alpn


@pytest.mark.parametrize(("maximum", "minimum"), [(1, 2), (3, 1), (1, 0)])
def test_alpn_refuses_what_is_no_range(maximum, minimum):
    with pytest.raises(ValueError, match="HTTP versions"):
        ALPN.new(maximum, minimum)
