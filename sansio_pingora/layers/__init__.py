"""What stands between a transport and an HTTP connection."""

from sansio_pingora.layers.layer import Above, Layer, LayerMaker, pending_layer, stack_layers
from sansio_pingora.layers.proxy_header import PROXY_SIGNATURE, ProxyHeader
from sansio_pingora.layers.proxy_reader import MAX_PROXY_HEADER, NoProxyHeader, ReadProxyHeader, read_proxy_header
from sansio_pingora.layers.proxy_tlv import ProxySsl, ProxyTlv, TlvType
from sansio_pingora.layers.raw_connect import ConnectProxyError, RawConnect, connect_request
from sansio_pingora.layers.sniff import PrefaceSniff
from sansio_pingora.layers.trusted import TrustedSources

__all__ = [
    "MAX_PROXY_HEADER",
    "PROXY_SIGNATURE",
    "Above",
    "ConnectProxyError",
    "Layer",
    "LayerMaker",
    "NoProxyHeader",
    "PrefaceSniff",
    "ProxyHeader",
    "ProxySsl",
    "ProxyTlv",
    "RawConnect",
    "ReadProxyHeader",
    "TlvType",
    "TrustedSources",
    "connect_request",
    "pending_layer",
    "read_proxy_header",
    "stack_layers",
]
