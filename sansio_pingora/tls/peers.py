"""TLS to the peers of a proxy, of whichever kind they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.layers import LayerMaker
from sansio_pingora.limits import Limits
from sansio_pingora.tls.backend import TlsBackend
from sansio_pingora.tls.client import ClientTls, peer_layer
from sansio_pingora.upstreams import Peer

__all__ = ["upstream_tls"]


def upstream_tls(backend: TlsBackend | None, limits: Limits) -> Callable[[Peer, Sequence[str]], LayerMaker | None]:
    """What makes the layer of TLS to a peer that is spoken to over it, offering protocols; None for another peer.

    See :func:`sansio_pingora.layers.upstream_layers`. Without *backend* an :class:`Error` refuses peers over TLS.
    """
    tls = None if backend is None else ClientTls(backend, limits)

    def layer(peer: Peer, protocols: Sequence[str]) -> LayerMaker | None:
        if peer.options.alpn.is_custom and peer.options.custom_connection is None:
            text = f"{peer} speaks {protocols[0]!r}: its option custom_connection is to say who does so here"
            raise Error(ErrorType.INTERNAL_ERROR, text).into_in()
        if not peer.tls:
            return None
        if tls is None:
            text = f"no TLS to {peer}: it was made without a backend, as HttpProxy(…, tls=StdlibTls()) is not"
            raise Error(ErrorType.INTERNAL_ERROR, text).into_in()
        return peer_layer(tls, peer, protocols)

    return layer
