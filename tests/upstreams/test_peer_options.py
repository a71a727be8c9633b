"""Peer options: in force, or refused with the reason."""

import dataclasses
from types import SimpleNamespace

import pytest

from sansio_pingora.errors import Error
from sansio_pingora.proxy_protocol import ProxyHeader
from sansio_pingora.transport import DialOptions, SocketAddr, TcpKeepalive
from sansio_pingora.upstreams import ALPN, CaCerts, HttpPeer, PeerOptions


class Custom:
    def connect(self, address):
        """Nowhere."""


CUSTOM = Custom()
_IN_FORCE = {
    "bind_to": SocketAddr("127.0.0.1", 0),
    "connection_timeout": 1.5,
    "total_connection_timeout": 2.5,
    "read_timeout": 3,
    "write_timeout": 4.0,
    "idle_timeout": 0,
    "verify_cert": False,
    "verify_hostname": False,
    "tcp_keepalive": TcpKeepalive(60.0, 5.0, 3),
    "tcp_recv_buf": 65536,
    "dscp": 0,
    "allow_h1_response_invalid_content_length": True,
    "tcp_fast_open": True,
    "alpn": ALPN.H2,
    "h2_ping_interval": 1.0,
    "max_h2_streams": 100,
    "h2_stream_window_size": 1 << 20,
    "h2_connection_window_size": 1 << 20,
    "upstream_tcp_sock_tweak_hook": print,
    "tracer": object(),
    "custom_l4": CUSTOM,
    "extra_proxy_headers": {"a": b"b"},
    "proxy_digest_user_data_hook": print,
    "proxy_protocol": ProxyHeader(2, local=True),
    "custom_connection": print,
    "use_system_certs": False,
    "alternative_cn": "a",
    "ca": CaCerts(b"-----BEGIN CERTIFICATE-----"),
    "curves": "X25519",
    "upstream_tls_handshake_complete_hook": print,
}
_REFUSED = {
    "psk": ("p", "s2n"),
    "s2n_security_policy": ("p", "s2n"),
    "max_blinding_delay": (1.0, "s2n"),
    "second_keyshare": (False, "OpenSSL decides by itself"),
}


def test_every_option_is_in_force_or_refused():
    names = {spec.name for spec in dataclasses.fields(PeerOptions) if spec.init}
    assert names == set(_IN_FORCE) | set(_REFUSED)


@pytest.mark.parametrize("name", _IN_FORCE)
def test_options_in_force_are_kept(name):
    assert getattr(PeerOptions(**{name: _IN_FORCE[name]}), name) == _IN_FORCE[name]


@pytest.mark.parametrize("name", _REFUSED)
def test_what_the_library_lacks_is_refused_with_the_reason(name):
    value, reason = _REFUSED[name]
    with pytest.raises(ValueError, match=reason):
        PeerOptions(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("read_timeout", -1.0),
        ("idle_timeout", float("inf")),
        ("connection_timeout", float("nan")),
        ("write_timeout", "5"),
        ("total_connection_timeout", True),
        ("tcp_recv_buf", 0),
        ("tcp_recv_buf", 1.5),
        ("dscp", 256),
        ("dscp", -1),
        ("h2_ping_interval", 0),
        ("max_h2_streams", 0),
        ("max_h2_streams", 1.5),
        ("h2_stream_window_size", 0),
        ("h2_stream_window_size", 1 << 31),
        ("h2_connection_window_size", 1 << 31),
        ("bind_to", "127.0.0.1"),
        ("bind_to", "unix:/x"),
        ("custom_l4", object()),
        ("custom_l4", SimpleNamespace(connect=print)),
    ],
)
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}|address"):
        PeerOptions(**{name: value})


def test_fields_for_a_proxy_are_checked_and_copied():
    with pytest.raises(Error, match="is not a token"):
        PeerOptions(extra_proxy_headers={"a b": b"c"})
    with pytest.raises(Error, match="leave the field content-length out"):
        PeerOptions(extra_proxy_headers={"Content-Length": b"1"})
    mine = {"a": b"b"}
    options = PeerOptions(extra_proxy_headers=mine)
    mine["a"] = b"c"
    assert options.extra_proxy_headers == {"a": b"b"}


def test_bind_to_may_be_text():
    assert PeerOptions(bind_to="[::1]:0").bind_to == SocketAddr("::1", 0)


def test_http_version():
    options = PeerOptions(read_timeout=2.0)
    assert options.set_http_version(1, 1) == options
    assert options.set_http_version(2, 2) == PeerOptions(read_timeout=2.0, alpn=ALPN.H2)
    with pytest.raises(ValueError, match="from 2 to 1"):
        options.set_http_version(1, 2)


def test_dial_options():
    options = PeerOptions(**_IN_FORCE)
    assert options.dial_options() == DialOptions(
        SocketAddr("127.0.0.1", 0), TcpKeepalive(60.0, 5.0, 3), 65536, 0, tcp_fast_open=True
    )
    assert options.dial_options().tweak is print
    assert PeerOptions().dial_options() == DialOptions()


def test_options_are_values():
    with pytest.raises(dataclasses.FrozenInstanceError):
        HttpPeer("a:1").options.read_timeout = 1.0
