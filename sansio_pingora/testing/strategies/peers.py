"""Upstream peers: any legal one, and pairs of which it is known whether they may share connections."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from sansio_pingora.transport import SocketAddr, TcpKeepalive
from sansio_pingora.upstreams import ALPN, HttpPeer, PeerOptions, Proxy

__all__ = ["peer_pairs", "peers"]

_ADDRESSES = ("10.0.0.1:80", "10.0.0.1:8080", "10.0.0.2:80", "origin.test:443", "[::1]:80", "unix:/run/origin.sock")

# What decides who is at the other end, whom we trust to be there, or how it is spoken to.
_KEYED: dict[str, tuple[Any, ...]] = {
    "address": _ADDRESSES,
    "tls": (False, True),
    "sni": ("", "a.test", "b.test"),
    "group_key": (0, 1, 2),
    "proxy": (None, Proxy("10.0.0.9:3128", "a.test", 443), Proxy("10.0.0.8:3128", "a.test", 443)),
}
_KEYED_OPTIONS: dict[str, tuple[Any, ...]] = {
    "alpn": (ALPN.H1, ALPN.H2, ALPN.H2H1),
    "verify_cert": (True, False),
    "verify_hostname": (True, False),
    "use_system_certs": (True, False),
    "alternative_cn": (None, "other.test"),
    "bind_to": (None, SocketAddr("10.0.0.3"), SocketAddr("10.0.0.4")),
    "max_h2_streams": (1, 100),
    "allow_h1_response_invalid_content_length": (False, True),
}
_TIMES = (None, 0.0, 0.5, 60.0)
_FREE_OPTIONS: dict[str, tuple[Any, ...]] = {
    "connection_timeout": _TIMES,
    "total_connection_timeout": _TIMES,
    "read_timeout": _TIMES,
    "write_timeout": _TIMES,
    "idle_timeout": _TIMES,
    "tcp_recv_buf": (None, 65_536),
    "tcp_keepalive": (None, TcpKeepalive(60.0, 5.0, 3)),
    "dscp": (None, 0x28),
}
_EVERY = _KEYED | _KEYED_OPTIONS | _FREE_OPTIONS


def _peer(said: dict[str, Any]) -> HttpPeer:
    options = {name: value for name, value in said.items() if name not in _KEYED}
    rest = {name: value for name, value in said.items() if name in _KEYED and name != "address"}
    if (proxy := rest.get("proxy")) is not None and said["address"].startswith("unix:"):
        raise AssertionError(f"nothing is behind {proxy!r} at a path")  # the strategies do not ask for it
    return HttpPeer(said["address"], **rest, options=PeerOptions(**options) if options else None)


@st.composite
def _said(draw: st.DrawFn) -> dict[str, Any]:
    said: dict[str, Any] = {"address": draw(st.sampled_from(_ADDRESSES))}
    for name in draw(st.lists(st.sampled_from([*_EVERY][1:]), unique=True, max_size=5)):
        said[name] = draw(st.sampled_from(_EVERY[name]))
    return _legal(said)


def _legal(said: dict[str, Any]) -> dict[str, Any]:
    """TLS needs a name to check, and a path has none; a tunnel leads to a host."""
    said = dict(said)
    if said["address"].startswith("unix:"):
        said.pop("proxy", None)
        if said.get("tls"):
            said.setdefault("sni", "a.test")
            said["sni"] = said["sni"] or "a.test"
    return said


@st.composite
def peers(draw: st.DrawFn) -> HttpPeer:
    """Any legal peer: over TCP or a Unix socket, TLS or not, behind a proxy, with options of all kinds."""
    return _peer(draw(_said()))


@st.composite
def peer_pairs(draw: st.DrawFn) -> tuple[HttpPeer, HttpPeer, bool]:
    """Two peers that differ in one thing at most, and whether one may use the other's connections."""
    said = draw(_said())
    shared = draw(st.sampled_from([True, False]))
    if shared:
        name = draw(st.sampled_from([None, *_FREE_OPTIONS]))
    else:
        name = draw(st.sampled_from([*_KEYED, *_KEYED_OPTIONS]))
    other = dict(said)
    if name is not None:
        now = said.get(name, _EVERY[name][0])
        other[name] = draw(st.sampled_from([value for value in _EVERY[name] if value != now]))
    other = _legal(other)
    one, two = _peer(_legal(said)), _peer(other)
    return one, two, shared or other == said
