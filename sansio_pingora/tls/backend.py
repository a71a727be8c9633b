"""What TLS is made with: contexts, from settings that are values. The counterpart of Pingora's backend shim.

The machines here drive what :meth:`Context.wrap_bio` returns, as :mod:`ssl` has it; whoever makes contexts reads the
files and knows the library. ``sansio_pingora_posix`` does with :mod:`ssl`; another library that has contexts and memory
BIOs of the same shape can be put in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from sansio_pingora.upstreams import CaCerts, CertKey

if TYPE_CHECKING:
    import ssl

__all__ = [
    "DEFAULT_CIPHERS",
    "ClientAuth",
    "ClientSettings",
    "Context",
    "ServerSettings",
    "TlsBackend",
]

DEFAULT_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and authenticated encryption, nothing else (RFC 9325); TLS 1.3 has no others."""


class ClientAuth(Enum):
    """Whether a server asks its clients for certificates."""

    NONE = "none"
    OPTIONAL = "optional"
    """One that is shown is verified; who has none comes in as well."""
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What a context of a server is made from."""

    cert_key: CertKey
    alpn: tuple[str, ...] = ("h2", "http/1.1")
    """Protocols, the preferred first; () agrees on none."""
    client_auth: ClientAuth = ClientAuth.NONE
    client_ca: CaCerts | None = None
    """Who may have issued the clients' certificates."""
    min_version: str = "TLSv1.2"
    max_version: str = "TLSv1.3"
    ciphers: str = DEFAULT_CIPHERS
    """Of TLS 1.2, as OpenSSL names them."""
    curves: str | None = None
    """The group of the key exchange."""
    tickets: int = 2
    """Session tickets for each new session; 0 offers no resumption."""
    keylog: str | None = None
    """A file to which the secrets of every session are appended, for those who look at captures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """What a context of a client is made from."""

    alpn: tuple[str, ...] = ()
    verify: bool = True
    """Verify the chain of the server's certificate. Its name is checked by the machine."""
    ca: CaCerts | None = None
    """Whom to trust instead of the system's authorities."""
    use_system_certs: bool = True
    cert_key: CertKey | None = None
    """What is shown to a server that asks."""
    min_version: str = "TLSv1.2"
    max_version: str = "TLSv1.3"
    ciphers: str = DEFAULT_CIPHERS
    curves: str | None = None


class Context(Protocol):
    """What :class:`ssl.SSLContext` is to these machines."""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """One session between two buffers."""

    def session_stats(self) -> dict[str, int]:
        """Counters, for people."""


class TlsBackend(Protocol):
    """Makes contexts. Called for every connection that has settings of its own: equal settings are to share one."""

    def server_context(self, settings: ServerSettings) -> Context:
        """A context of the server's side.

        :raises ValueError: it cannot be made; the text says what is wrong with which setting.
        """

    def client_context(self, settings: ClientSettings) -> Context:
        """A context of the client's side.

        :raises ValueError: as above.
        """
