"""Where a request may be sent: peers, their options, and what makes two of them the same."""

from sansio_pingora.upstreams.alpn import ALPN
from sansio_pingora.upstreams.options import CustomL4, PeerOptions
from sansio_pingora.upstreams.peer import AttemptObserver, BasicPeer, HttpPeer, Peer, Scheme
from sansio_pingora.upstreams.trust import CaCerts, CertKey
from sansio_pingora.upstreams.tunnel import Proxy

__all__ = [
    "ALPN",
    "AttemptObserver",
    "BasicPeer",
    "CaCerts",
    "CertKey",
    "CustomL4",
    "HttpPeer",
    "Peer",
    "PeerOptions",
    "Proxy",
    "Scheme",
]
