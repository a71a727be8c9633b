"""Addresses as users type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.transport import DialOptions, SocketAddr, TcpKeepalive

hosts = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True) | st.ip_addresses().map(str)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", SocketAddr("127.0.0.1", 8080)),
        ("localhost:0", SocketAddr("localhost", 0)),
        ("0.0.0.0:65535", SocketAddr("0.0.0.0", 65535)),
        ("[::1]:8080", SocketAddr("::1", 8080)),
        ("[::]:80", SocketAddr("::", 80)),
        ("[fe80::1%eth0]:80", SocketAddr("fe80::1%eth0", 80)),
        ("unix:/run/x.sock", SocketAddr(path="/run/x.sock")),
        ("unix:relative:1", SocketAddr(path="relative:1")),
    ],
)
def test_reads(text, expected):
    assert SocketAddr.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text",
    ["", ":", ":80", "host", "host:", "host:x", "host:-1", "host:+1", "host: 1", "host:65536", "host:²", "host:1_0",
     "::1:80", "::1", "[::1]", "[::1]80", "[]:80", "[[a]]:80", "[::1:80", "::1]:80", "a:b:80", "unix:", "8080"],
    ids=repr,
)  # fmt: skip
def test_refuses_and_says_how_to_write_it(text):
    with pytest.raises(ValueError, match="write ") as caught:
        SocketAddr.parse(text)

    assert repr(text) in str(caught.value)


@given(hosts, st.integers(0, 65535))
def test_what_is_written_reads_back(host, port):
    address = SocketAddr(host, port)

    assert SocketAddr.parse(str(address)) == address


@given(st.text(min_size=1))
def test_unix_paths_read_back(path):
    assert SocketAddr.parse(str(SocketAddr(path=path))) == SocketAddr(path=path)


@given(st.text(max_size=12))
def test_any_text_is_an_address_or_a_value_error(text):
    try:
        address = SocketAddr.parse(text)
    except ValueError:
        return
    assert address.path is not None or (address.host and 0 <= address.port <= 65535)


def test_addresses_and_options_are_values():
    """They are part of the key under which connections are kept: equal by value, and hashable."""
    assert {SocketAddr("a", 1), SocketAddr("a", 1), SocketAddr("a", 2)} == {SocketAddr("a", 1), SocketAddr("a", 2)}
    keepalive = TcpKeepalive(idle=60, interval=5, count=3)
    assert DialOptions(tcp_keepalive=keepalive) == DialOptions(tcp_keepalive=TcpKeepalive(60, 5, 3))
    assert hash(DialOptions(tcp_keepalive=keepalive)) == hash(DialOptions(tcp_keepalive=TcpKeepalive(60, 5, 3)))
    assert DialOptions() != DialOptions(dscp=8)
