"""TLS over memory buffers: no socket, no file, one code for every runtime."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sansio_pingora.tls.backend import (
        DEFAULT_CIPHERS,
        ClientAuth,
        ClientSettings,
        Context,
        ServerSettings,
        TlsBackend,
    )
    from sansio_pingora.tls.certificate import Certificate, accepted_names, validity
    from sansio_pingora.tls.client import ClientTls, TlsClient, TlsTarget, peer_layer
    from sansio_pingora.tls.client_hello import ClientHello, HelloFault, HelloReader, NotTls
    from sansio_pingora.tls.layer import TlsHandshake, TlsLayer
    from sansio_pingora.tls.peers import upstream_tls
    from sansio_pingora.tls.server import Certificates, ChooseCertificate, ChooseLater, ServerTls, TlsServer
else:
    from sansio_pingora.lazy import lazy_names

    __getattr__ = lazy_names(
        __name__,
        {
            "backend": (
                "DEFAULT_CIPHERS",
                "ClientAuth",
                "ClientSettings",
                "Context",
                "ServerSettings",
                "TlsBackend",
            ),
            "certificate": (
                "Certificate",
                "accepted_names",
                "validity",
            ),
            "client": (
                "ClientTls",
                "TlsClient",
                "TlsTarget",
                "peer_layer",
            ),
            "client_hello": (
                "ClientHello",
                "HelloFault",
                "HelloReader",
                "NotTls",
            ),
            "layer": (
                "TlsHandshake",
                "TlsLayer",
            ),
            "peers": ("upstream_tls",),
            "server": (
                "Certificates",
                "ChooseCertificate",
                "ChooseLater",
                "ServerTls",
                "TlsServer",
            ),
        },
    )

__all__ = [
    "DEFAULT_CIPHERS",
    "Certificate",
    "Certificates",
    "ChooseCertificate",
    "ChooseLater",
    "ClientAuth",
    "ClientHello",
    "ClientSettings",
    "ClientTls",
    "Context",
    "HelloFault",
    "HelloReader",
    "NotTls",
    "ServerSettings",
    "ServerTls",
    "TlsBackend",
    "TlsClient",
    "TlsHandshake",
    "TlsLayer",
    "TlsServer",
    "TlsTarget",
    "accepted_names",
    "peer_layer",
    "upstream_tls",
    "validity",
]
