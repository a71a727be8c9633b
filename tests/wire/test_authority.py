"""Authorities: what is taken, what is refused, and that nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.wire import Authority
from tests.wire import near_misses as near
from tests.wire import slow_grammar as slow
from tests.wire.near_misses import damaged


@given(damaged(near.authorities) | st.binary(max_size=10))
def test_takes_what_the_slow_checker_takes(raw):
    found = Authority.parse(raw)

    assert (found and (found.host, found.port)) == slow.authority(raw)


@given(damaged(near.authorities))
def test_written_out_it_reads_the_same(raw):
    found = Authority.parse(raw)
    if found is not None:
        assert Authority.parse(bytes(found)) == found


@given(st.ip_addresses(v=6), st.none() | st.integers(0, 65535))
def test_every_ipv6_address(address, port):
    authority = Authority(str(address).encode(), port)

    assert Authority.parse(bytes(authority)) == authority
    assert bytes(authority).startswith(b"[")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b":80",
        b"h:",
        b"h:65536",
        b"h:123456",
        b"h:+1",
        b"h: 1",
        b"user@h",
        b"user:pw@h:1",
        b"a,b",
        b"a b",
        b"h/",
        b"h%41",
        b"\xe9",
        b"h\n",
        b"::1",
        b"[::1",
        b"[]",
        b"[1.2.3.4]",
        b"[::1]x",
        b"[fe80::1%25eth0]",
        b"x" * 256,
    ],
)
def test_refuses(raw):
    assert Authority.parse(raw) is None


def test_the_same_bytes_are_the_same_object():
    assert Authority.parse(b"example.org:443") is Authority.parse(b"example.org:443")
