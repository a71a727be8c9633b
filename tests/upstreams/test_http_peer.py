"""Peers: what they are made from, and when two of them are the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.proxy_protocol import ProxyHeader
from sansio_pingora.transport import BindTo, SocketAddr
from sansio_pingora.upstreams import ALPN, BasicPeer, CaCerts, CertKey, HttpPeer, PeerOptions, Scheme


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


CERT = CertKey(b"-----BEGIN CERTIFICATE-----\n1", b"-----BEGIN PRIVATE KEY-----\n1")
OTHER_CERT = CertKey(b"-----BEGIN CERTIFICATE-----\n2", b"-----BEGIN PRIVATE KEY-----\n2")
CA, OTHER_CA = CaCerts(b"-----BEGIN CERTIFICATE-----\n1"), CaCerts(b"-----BEGIN CERTIFICATE-----\n2")


def test_tls():
    peer = HttpPeer("127.0.0.1:443", tls=True, sni="example.com")
    assert (peer.tls, peer.scheme, peer.tls_name) == (True, Scheme.HTTPS, "example.com")
    assert HttpPeer("example.com:443", tls=True).tls_name == "example.com"
    assert HttpPeer("[::1]:443", tls=True).tls_name == "::1"
    assert HttpPeer.new_mtls("a.test:443", "b.test", CERT).client_cert_key is CERT
    assert BasicPeer("127.0.0.1:443", "example.com").tls
    assert not BasicPeer("127.0.0.1:443").tls


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: HttpPeer("a:1", True, "-a"), "sni '-a' is no host name"),
        (lambda: HttpPeer("a:1", True, "a..b"), "is no host name"),
        (lambda: HttpPeer("a:1", True, "ä.test"), "others as xn--"),
        (lambda: HttpPeer("a:1", True, "a" * 64), "is no host name"),
        (lambda: HttpPeer("a:1", True, ".".join(["a" * 50] * 6)), "is no host name"),
        (lambda: BasicPeer("a:1", "a b"), "is no host name"),
        (lambda: HttpPeer.new_uds("/x", True), "sni for unix:/x: there is no other name to check the certificate by"),
        (lambda: HttpPeer("a:1", client_cert_key=CERT), "takes effect with TLS"),
        (lambda: PeerOptions(ca="ca.pem"), "takes CaCerts"),
        (lambda: CertKey(b"", CERT.key), "the certificate has no -----BEGIN CERTIFICATE-----$"),
        (lambda: CertKey(CERT.cert, b""), "the key has no -----BEGIN PRIVATE KEY-----"),
        (lambda: CertKey(CERT.key, CERT.cert), "were the two swapped"),
        (lambda: CaCerts(b"x"), "hold no PEM"),
    ],
)
def test_what_tls_cannot_be_made_of(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_where_no_name_is_checked_none_is_needed():
    assert HttpPeer.new_uds("/x", True, options=PeerOptions(verify_hostname=False)).tls_name == ""
    assert HttpPeer.new_uds("/x", True, options=PeerOptions(alternative_cn="a")).tls_name == ""


def test_how_peers_read():
    assert str(HttpPeer("127.0.0.1:80")) == "addr: 127.0.0.1:80, scheme: http"
    assert str(HttpPeer("[::1]:80", sni="a.test")) == "addr: [::1]:80, scheme: http, sni: a.test"
    assert str(HttpPeer.new_mtls("a:1", "b", CERT)) == f"addr: a:1, scheme: https, sni: b, client cert: {CERT}"
    assert "PRIVATE" not in repr(CERT)
    assert repr(HttpPeer("unix:/x")) == "HttpPeer('unix:/x')"
    assert repr(HttpPeer.new_mtls("a:1", "b", CERT)) == f"HttpPeer('a:1', tls=True, sni='b', client_cert_key={CERT!r})"
    assert str(BasicPeer("127.0.0.1:80")) == "addr: 127.0.0.1:80"
    assert repr(BasicPeer("127.0.0.1:80")) == "<BasicPeer addr: 127.0.0.1:80>"
    assert HttpPeer("127.0.0.1:80").scheme is Scheme.HTTP


def test_a_peer_prints_as_what_makes_it_but_for_what_may_be_secret():
    options = PeerOptions(read_timeout=1.0, extra_proxy_headers={"Proxy-Authorization": "Basic eA=="})
    peer = HttpPeer.new_proxy("p:3128", "a", 80, options=options)
    secret = HttpPeer.new_proxy("p:3128", "a", 80, headers=[("Proxy-Authorization", "Basic eA==")])

    assert repr(peer) == "HttpPeer('a:80', proxy=Proxy('p:3128', 'a', 80), options=PeerOptions(read_timeout=1.0))"
    assert "eA==" not in repr(secret)


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
    "tls": lambda: HttpPeer("127.0.0.1:80", True),
    "tls by another name": lambda: HttpPeer("127.0.0.1:80", True, "a"),
    "raw tls": lambda: BasicPeer("127.0.0.1:80", "a"),
    "client certificate": lambda: HttpPeer("127.0.0.1:80", True, client_cert_key=CERT),
    "another client certificate": lambda: HttpPeer("127.0.0.1:80", True, client_cert_key=OTHER_CERT),
    "ca": lambda: HttpPeer("127.0.0.1:80", True, options=PeerOptions(ca=CA)),
    "another ca": lambda: HttpPeer("127.0.0.1:80", True, options=PeerOptions(ca=OTHER_CA)),
    "no authorities": lambda: HttpPeer("127.0.0.1:80", True, options=PeerOptions(use_system_certs=False)),
    "alternative name": lambda: HttpPeer("127.0.0.1:80", True, options=PeerOptions(alternative_cn="b")),
    "curves": lambda: HttpPeer("127.0.0.1:80", True, options=PeerOptions(curves="X25519")),
    "tls hook": lambda: HttpPeer("127.0.0.1:80", True, options=PeerOptions(upstream_tls_handshake_complete_hook=_hook)),
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


def test_a_protocol_of_ones_own():
    alpn = ALPN.custom("my-proto")
    assert alpn == ALPN.custom("my-proto") != ALPN.custom("other")
    assert (alpn.protocols, alpn.min_http_version, alpn.max_http_version, alpn.is_custom) == (("my-proto",), 0, 0, True)
    assert ALPN.H2H1.protocols == ("h2", "http/1.1")


@pytest.mark.parametrize("name", ["", "a" * 256, "http/1.1", "h2"])
def test_what_is_none(name):
    with pytest.raises(ValueError, match="1 to 255 bytes"):
        ALPN.custom(name)


@pytest.mark.parametrize(("maximum", "minimum"), [(1, 2), (3, 1), (1, 0)])
def test_alpn_refuses_what_is_no_range(maximum, minimum):
    with pytest.raises(ValueError, match="HTTP versions"):
        ALPN.new(maximum, minimum)


@pytest.mark.parametrize("address", [80, b"127.0.0.1:80", None], ids=repr)
def test_an_address_is_text(address):
    with pytest.raises(TypeError, match="an address is text like"):
        HttpPeer(address)
