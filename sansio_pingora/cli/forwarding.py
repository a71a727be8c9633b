"""The proxy of the command line."""

from __future__ import annotations

from collections import Counter

from sansio_pingora.balancing import Backend, LoadBalancer
from sansio_pingora.errors import Error
from sansio_pingora.proxy import ProxyHttp
from sansio_pingora.session import ServerSession
from sansio_pingora.upstreams import ALPN, HttpPeer, PeerOptions

__all__ = ["HTTP2", "VERSIONS", "RoundRobin"]

HTTP2 = PeerOptions(alpn=ALPN.H2, max_h2_streams=100)
"""A peer that is spoken to in HTTP/2, with prior knowledge where there is no TLS."""
VERSIONS = {
    "http": None,
    "https": PeerOptions(alpn=ALPN.H2H1, max_h2_streams=100),
    "h2c": HTTP2,
    "h2": HTTP2,
}
"""By the scheme that is typed: over TLS, both versions may be spoken unless it says which."""


class RoundRobin(ProxyHttp):
    """Sends requests to *peers* in turn, and on to the next where one cannot be reached. One named twice has two turns.

    :raises ValueError: two peers at one address are to be spoken to in different ways.
    """

    def __init__(self, peers: list[HttpPeer]) -> None:
        self._peers = {peer.address: peer for peer in peers}
        for peer in peers:
            if peer != self._peers[peer.address]:
                raise ValueError(f"{peer.address} is there twice, with different schemes: leave one of them out")
        self._only = peers[0] if len(self._peers) == 1 else None
        turns = Counter(peer.address for peer in peers)
        self._upstreams = LoadBalancer([Backend(address, weight) for address, weight in turns.items()])

    def new_ctx(self) -> set[Backend]:
        """The backends that were tried."""
        return set()

    def upstream_peer(self, session: ServerSession, ctx: set[Backend]) -> HttpPeer:
        """The peer whose turn it is."""
        return self._only or self._upstreams.peer(tried=ctx, make=self._make)

    def fail_to_connect(self, session: ServerSession, peer: HttpPeer, ctx: set[Backend], error: Error) -> Error:
        """Try each peer once."""
        return error.with_retry(self._only is None and len(ctx) < len(self._peers))

    def _make(self, backend: Backend) -> HttpPeer:
        peer = self._peers[backend.addr]
        return HttpPeer(peer.address, peer.tls, peer.sni, options=peer.options)
