"""The proxy of the command line."""

from __future__ import annotations

from itertools import count

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


class _Turn:
    """Whose turn it is for one request."""

    __slots__ = ("at", "tries")

    def __init__(self, at: int) -> None:
        self.at = at
        self.tries = 0


class RoundRobin(ProxyHttp):
    """Sends requests to *peers* in turn, and on to the next where one cannot be reached."""

    def __init__(self, peers: list[HttpPeer]) -> None:
        self._peers = peers
        self._turns = count()

    def new_ctx(self) -> _Turn:
        """The next peer's turn."""
        return _Turn(next(self._turns))

    def upstream_peer(self, session: ServerSession, ctx: _Turn) -> HttpPeer:
        """The peer whose turn it is, or one after it."""
        return self._peers[(ctx.at + ctx.tries) % len(self._peers)]

    def fail_to_connect(self, session: ServerSession, peer: HttpPeer, ctx: _Turn, error: Error) -> Error:
        """Try each peer once."""
        ctx.tries += 1
        return error.with_retry(ctx.tries < len(self._peers))
