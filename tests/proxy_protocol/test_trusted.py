"""Whose word about a client's address is believed."""

from __future__ import annotations

import pytest

from sansio_pingora.proxy_protocol import TrustedSources
from sansio_pingora.transport import SocketAddr


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        ("10.1.2.3", True),
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.0.0.1", False),
        ("::1", False),
        ("a.test", False),
    ],
)
def test_by_network_and_nothing_else(host, trusted):
    sources = TrustedSources(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])

    assert (SocketAddr(host, 1) in sources) is trusted


@pytest.mark.parametrize("addr", [None, SocketAddr(path="/run/client")])
def test_unix_clients_are_named_as_such(addr):
    assert addr in TrustedSources(["unix"])
    assert addr not in TrustedSources(["0.0.0.0/0", "::/0"])
    assert SocketAddr("127.0.0.1", 1) not in TrustedSources(["unix"])


def test_nobody_is_trusted_by_an_empty_list():
    assert SocketAddr("127.0.0.1", 1) not in TrustedSources([])


@pytest.mark.parametrize(
    ("sources", "text"),
    [
        ("10.0.0.0/8", "are a list of networks"),
        (["10.0.0.1/8"], "trusted source '10.0.0.1/8'"),
        (["localhost"], "trusted source 'localhost'"),
        (["10.0.0.0/33"], "trusted source '10.0.0.0/33'"),
        ([""], "trusted source ''"),
    ],
)
def test_a_source_that_is_none(sources, text):
    with pytest.raises(ValueError, match=text):
        TrustedSources(sources)


def test_it_shows_what_it_trusts():
    assert repr(TrustedSources(["unix", "10.0.0.0/8"])) == "TrustedSources(['10.0.0.0/8', 'unix'])"
