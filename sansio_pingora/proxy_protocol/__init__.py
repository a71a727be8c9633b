"""The PROXY protocol of haproxy: what a proxy tells the server behind it of a client, read and written."""

from sansio_pingora.proxy_protocol.header import PROXY_SIGNATURE, ProxyHeader
from sansio_pingora.proxy_protocol.reader import MAX_PROXY_HEADER, NoProxyHeader, ReadProxyHeader, read_proxy_header
from sansio_pingora.proxy_protocol.tlv import ProxySsl, ProxyTlv, TlvType
from sansio_pingora.proxy_protocol.trusted import TrustedSources

__all__ = [
    "MAX_PROXY_HEADER",
    "PROXY_SIGNATURE",
    "NoProxyHeader",
    "ProxyHeader",
    "ProxySsl",
    "ProxyTlv",
    "ReadProxyHeader",
    "TlvType",
    "TrustedSources",
    "read_proxy_header",
]
