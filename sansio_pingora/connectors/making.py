"""The machines of one more upstream connection: which layers, and in the end which version, stand on a transport."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sansio_pingora.connectors.lease import UpstreamConnection
from sansio_pingora.connectors.sharing import Kept
from sansio_pingora.connectors.versions import VersionMemory
from sansio_pingora.digests import Digest
from sansio_pingora.layers import Layer, LayerMaker, stack_layers
from sansio_pingora.machine import Lane

if TYPE_CHECKING:
    from sansio_pingora.limits import Limits
    from sansio_pingora.upstreams import Peer

__all__ = ["Making", "NewConnection", "NewLayers"]

NewConnection = Callable[["Peer", bytes, float], UpstreamConnection]
"""Makes the client's side of a connection to a peer, in the version or protocol given, at a time in monotonic seconds.

One of :meth:`ALPN.custom` is given when the peer has agreed to it; where it has not, HTTP/1 is.
"""
NewLayers = Callable[["Peer", Sequence[str]], Sequence[LayerMaker]]
"""The makers of what is to stand below it, lowest first; what encrypts offers the protocols given (ALPN)."""

_H1_ALONE = ("http/1.1",)


class Making:
    """Makes connections, and remembers which version their origins have agreed on."""

    __slots__ = ("_lane", "_limits", "_lose", "_new_connection", "_new_layers", "versions")

    def __init__(
        self,
        lane: Lane,
        limits: Limits,
        new_connection: NewConnection,
        new_layers: NewLayers | None,
        lose: Callable[[Kept, float], None],
    ) -> None:
        self._lane = lane
        self._limits = limits
        self._new_connection = new_connection
        self._new_layers = new_layers
        self._lose = lose
        self.versions = VersionMemory(limits.alpn_cache_size, limits.alpn_cache_timeout)

    def make(self, peer: Peer, now: float, arrive: Callable[[Any, float], None]) -> tuple[Kept, bool]:
        """A connection before it is dialled, and whether it will have many streams, or may have.

        *arrive* gets the events of its layers, if there are any.
        """
        key, alpn = peer.reuse_key, peer.options.alpn
        prior_knowledge = b"2" if alpn.min_http_version == 2 else b"1.1"
        protocols = _H1_ALONE if self.is_demoted(peer, now) else alpn.protocols
        makers = self._new_layers(peer, protocols) if self._new_layers is not None else ()
        if not makers:
            connection = self._new_connection(peer, prior_knowledge, now)
            kept = Kept(self._lane, key, connection, self._lose)
            kept.stand(connection)
            return kept, kept.receivers is not None

        def above(layer: Layer, now: float) -> UpstreamConnection:
            if not layer.secure:
                agreed = prior_knowledge
            elif alpn.is_custom and layer.alpn in protocols:
                agreed = protocols[0].encode()
            else:
                agreed = b"2" if layer.alpn == "h2" else b"1.1"
            return self._new_connection(peer, agreed, now)

        digest = Digest()
        bottom = stack_layers(makers, above, self._limits, digest, math.inf)
        kept = Kept(self._lane, key, bottom, self._lose, arrive)
        kept.digest = digest
        return kept, "h2" in protocols and self.versions.recall(key, now) != b"1.1"

    def is_demoted(self, peer: Peer, now: float) -> bool:
        """Nothing but HTTP/1 is spoken to *peer* for a while, though more might be."""
        return bool(self.versions) and self.versions.is_demoted(peer.reuse_key, now)
