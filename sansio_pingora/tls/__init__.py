"""TLS over memory buffers: no socket, no file, one code for every runtime."""

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
