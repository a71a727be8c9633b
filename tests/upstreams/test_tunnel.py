"""Peers behind a proxy: what it is asked, and which peers are the same."""

from __future__ import annotations

import re

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.transport import SocketAddr
from sansio_pingora.upstreams import BasicPeer, HttpPeer, PeerOptions, Proxy


@pytest.mark.parametrize(
    ("host", "authority"),
    [("::1", b"[::1]:123"), ("192.0.2.1", b"192.0.2.1:123"), ("a-b.test", b"a-b.test:123"), ("a_b", b"a_b:123")],
)
def test_the_authority(host, authority):
    head = Proxy("127.0.0.1:1", host, 123).request()

    assert head.target == authority
    assert head.get("host") == authority


def test_a_later_field_replaces_an_earlier_one():
    head = Proxy("127.0.0.1:1", "a.test", 1, [("X", "1"), ("Y", "2"), ("x", "3"), ("Host", "b.test")]).request()

    assert head.fields.get_all("x") == [b"3"]
    assert head.fields.get_all("host") == [b"b.test"]


@pytest.mark.parametrize(
    ("host", "port", "fields", "text"),
    [
        ("", 1, [], "':1'"),
        ("a b", 1, [], "'a b:1'"),
        ("a.test", 65536, [], "'a.test:65536'"),
        ("a.test", -1, [], "'a.test:-1'"),
        ("[::1]", 1, [], "'[[::1]]:1'"),
        ("::g", 1, [], "'[::g]:1'"),
        ("a\r\nX: y", 1, [], "CONNECT needs host:port"),
        ("ü.test", 1, [], "CONNECT needs host:port"),
        ("☃.test", 1, [], "CONNECT needs host:port"),
        ("a.test", 1, [("x y", "1")], "is not a token"),
        ("a.test", 1, [("x", "1\r\ny: 2")], "control byte"),
        ("a.test", 1, [("Content-Length", "0")], "leave the field content-length out"),
        ("a.test", 1, [("transfer-encoding", "chunked")], "leave the field transfer-encoding out"),
    ],
)
def test_what_no_proxy_is_asked(host, port, fields, text):
    with pytest.raises(Error, match=re.escape(text)) as caught:
        Proxy("127.0.0.1:1", host, port, fields)

    assert caught.value.etype is ErrorType.INVALID_HTTP_HEADER


def test_fields_of_the_options_come_last():
    proxy = Proxy("127.0.0.1:1", "a.test", 1, [("X", "1"), ("Y", b"2")])

    head = proxy.request({"x": b"3"}.items())

    assert head.fields.items == [(b"Host", b"a.test:1"), (b"x", b"3"), (b"Y", b"2")]
    assert proxy.request().get("x") == b"1"


def test_a_next_hop_is_an_address_or_a_peer():
    assert Proxy("unix:/run/p", "a.test", 1).next_hop == BasicPeer("unix:/run/p")
    assert Proxy(SocketAddr("10.0.0.1", 3128), "a.test", 1).next_hop == BasicPeer("10.0.0.1:3128")
    with pytest.raises(ValueError, match="write host:port"):
        Proxy("10.0.0.1", "a.test", 1)


def test_no_proxy_behind_a_proxy():
    behind = HttpPeer.new_proxy("10.0.0.1:3128", "10.0.0.2", 3128)

    with pytest.raises(ValueError, match=r"the proxy 10.0.0.2:3128 cannot be behind a proxy itself"):
        Proxy(behind, "a.test", 1)


@pytest.mark.parametrize(
    "other",
    [
        Proxy("10.0.0.1:3129", "a.test", 1),
        Proxy("unix:/p", "a.test", 1),
        Proxy("10.0.0.1:3128", "b.test", 1),
        Proxy("10.0.0.1:3128", "a.test", 2),
        Proxy("10.0.0.1:3128", "a.test", 1, [("x", "1")]),
        Proxy(BasicPeer("10.0.0.1:3128", options=PeerOptions(bind_to="127.0.0.1:0")), "a.test", 1),
        None,
    ],
    ids=["port", "Unix", "host", "port of the host", "fields", "options of the next hop", "none"],
)
def test_peers_behind_different_proxies_share_nothing(other):
    proxy = Proxy("10.0.0.1:3128", "a.test", 1)

    assert proxy == Proxy("10.0.0.1:3128", "a.test", 1)
    assert HttpPeer("a.test:1", proxy=proxy) == HttpPeer("a.test:1", proxy=Proxy("10.0.0.1:3128", "a.test", 1))
    assert hash(proxy) == hash(Proxy("10.0.0.1:3128", "a.test", 1))
    assert proxy != other
    assert HttpPeer("a.test:1", proxy=proxy).reuse_key != HttpPeer("a.test:1", proxy=other).reuse_key


def test_pingora_s_constructor():
    peer = HttpPeer.new_proxy("unix:/run/p", "::1", 8080, headers=[("x", "1")], group_key=7)

    assert peer == HttpPeer("[::1]:8080", group_key=7, proxy=Proxy("unix:/run/p", "::1", 8080, [("x", "1")]))
    assert str(peer) == "addr: [::1]:8080, scheme: http, proxy: unix:/run/p for [::1]:8080"
