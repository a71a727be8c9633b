"""What stands between a transport and an HTTP connection."""

from sansio_pingora.layers.layer import Above, Layer, LayerMaker, pending_layer, stack_layers
from sansio_pingora.layers.proxy_protocol import AcceptProxyProtocol, SendProxyProtocol
from sansio_pingora.layers.raw_connect import ConnectProxyError, RawConnect
from sansio_pingora.layers.sniff import PrefaceSniff
from sansio_pingora.layers.tunnel import OpenTunnel, upstream_layers

__all__ = [
    "Above",
    "AcceptProxyProtocol",
    "ConnectProxyError",
    "Layer",
    "LayerMaker",
    "OpenTunnel",
    "PrefaceSniff",
    "RawConnect",
    "SendProxyProtocol",
    "pending_layer",
    "stack_layers",
    "upstream_layers",
]
