"""TLS over memory buffers: no socket, no file, one code for every runtime."""

from sansio_pingora.tls.backend import (
    DEFAULT_CIPHERS,
    CaCerts,
    CertKey,
    ClientAuth,
    ClientSettings,
    Context,
    ServerSettings,
    TlsBackend,
)
from sansio_pingora.tls.certificate import Certificate, accepted_names
from sansio_pingora.tls.client import ClientTls, TlsClient, TlsTarget
from sansio_pingora.tls.client_hello import ClientHello, HelloFault, HelloReader, NotTls
from sansio_pingora.tls.layer import Tls, TlsHandshake
from sansio_pingora.tls.server import Certificates, ChooseCertificate, ChooseLater, ServerTls, TlsServer

__all__ = [
    "DEFAULT_CIPHERS",
    "CaCerts",
    "CertKey",
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
    "Tls",
    "TlsBackend",
    "TlsClient",
    "TlsHandshake",
    "TlsServer",
    "TlsTarget",
    "accepted_names",
]
