"""One upstream server as a filter names it, and the key under which its connections are kept."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from enum import Enum
from functools import lru_cache
from ipaddress import ip_address
from operator import attrgetter
from typing import Any, NoReturn, Protocol, Self

from sansio_pingora.errors import Error
from sansio_pingora.transport import SocketAddr
from sansio_pingora.upstreams.options import PeerOptions
from sansio_pingora.upstreams.trust import CertKey
from sansio_pingora.upstreams.tunnel import Proxy
from sansio_pingora.wire import Text

__all__ = ["AttemptObserver", "BasicPeer", "HttpPeer", "Peer", "Scheme"]


class Scheme(Enum):
    """How a peer is spoken to."""

    HTTP = "http"
    HTTPS = "https"


class Peer(Protocol):
    """What a connector wants to know of a peer."""

    @property
    def address(self) -> SocketAddr:
        """Where it listens."""

    @property
    def reuse_key(self) -> tuple[Hashable, ...]:
        """Equal for two peers exactly when one may use the other's connections."""

    @property
    def options(self) -> PeerOptions:
        """What it wants otherwise than the service's limits."""

    @property
    def proxy(self) -> Proxy | None:
        """Through which it is reached."""

    @property
    def tls(self) -> bool:
        """It is spoken to over TLS."""

    @property
    def tls_name(self) -> str:
        """What TLS asks for, and what the certificate is to be for: ``sni``, else the host of the address."""

    @property
    def client_cert_key(self) -> CertKey | None:
        """What is shown to a peer that asks for a certificate."""


_NO_OPTIONS = PeerOptions()
# No label of 63 characters or more than 253 in all: TLS and DNS have no room for it. An underscore is in use.
_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}))*\.?")


# A filter makes a peer per request, mostly the same few. The ceiling is 4,096 addresses, about
# 2 MiB: with more of them in turn, each costs a parse (2 µs) again.
@lru_cache(maxsize=4096)
def _identify(
    kind: str, address: str | SocketAddr, sni: str, group_key: int
) -> tuple[SocketAddr, tuple[Hashable, ...]]:
    parsed = address if isinstance(address, SocketAddr) else SocketAddr.parse(address)
    if sni and not (_NAME.fullmatch(sni) or _is_address(sni)):
        raise ValueError(f"sni {sni[:80]!r} is no host name: letters, digits, hyphens and dots; others as xn--…")
    # Flat and of builtin values: hashing it costs what one attribute of a dataclass would.
    return parsed, (parsed.host, parsed.port, parsed.path, kind, sni, group_key)


class AttemptObserver(Protocol):
    """Who is told what becomes of an attempt at a peer; both exactly once."""

    def began(self, now: float) -> None:
        """A connection is being looked for."""

    def ended(self, error: Error | None, status: int | None, now: float) -> None:
        """The attempt is over. *status*: what the client was answered with, if the peer's answer came so far."""


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _fixed(name: str) -> Any:
    """An attribute that cannot be set: the reuse key was made of it. As C code, since requests look at it often."""
    return property(attrgetter(f"_{name}"), _refuse)


def _refuse(peer: _AnyPeer, _: object) -> NoReturn:
    raise AttributeError(f"{peer!r} is a value: make another peer, with what shall be different")


class _AnyPeer:
    __slots__ = ("_address", "_client_cert_key", "_options", "_proxy", "_reuse_key", "_sni", "_tls")

    _reuse_key: tuple[Hashable, ...]
    _tls: bool
    address: SocketAddr = _fixed("address")
    client_cert_key: CertKey | None = _fixed("client_cert_key")
    options: PeerOptions = _fixed("options")
    proxy: Proxy | None = _fixed("proxy")
    reuse_key: tuple[Hashable, ...] = _fixed("reuse_key")
    sni: str = _fixed("sni")
    tls: bool = _fixed("tls")

    @property
    def tls_name(self) -> str:
        """What TLS asks for, and what the certificate is to be for: ``sni``, else the host of the address."""
        return self.sni or self.address.host

    def _settle(self, options: PeerOptions | None, client_cert_key: CertKey | None) -> None:
        """What the address does not say; all that decides trust becomes part of the reuse key."""
        self._client_cert_key = client_cert_key
        if options is None:
            options = self._options = _NO_OPTIONS
        else:
            self._options = options
            if options.identity:
                self._reuse_key += options.identity
        if client_cert_key is not None:
            if not self._tls:
                raise ValueError(f"a certificate for {self.address} takes effect with TLS: give tls as well")
            self._reuse_key = (*self._reuse_key, client_cert_key)
        if self._tls and options.verify_hostname and not (self.tls_name or options.alternative_cn):
            raise ValueError(f"sni for {self.address}: there is no other name to check the certificate by")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _AnyPeer):
            return NotImplemented
        return self.reuse_key == other.reuse_key and self.options == other.options

    def __hash__(self) -> int:
        return hash(self.reuse_key)


class HttpPeer(_AnyPeer):
    """An HTTP server at *address*: ``host:port``, ``[IPv6]:port`` or ``unix:/path``.

    Nothing is resolved here. *tls*: over TLS, where *sni* is the name asked for and checked, by default the host of the
    address. *client_cert_key* is shown to a server that asks (mTLS). *group_key* keeps the connections of peers apart
    that are otherwise the same. A value, cheap enough to be made for every request.

    :raises ValueError: not an address, an *sni* that is no name, or nothing to check a certificate by.
    """

    __slots__ = ("_group_key", "attempt")

    group_key: int = _fixed("group_key")

    def __init__(
        self,
        address: str | SocketAddr,
        tls: bool = False,
        sni: str = "",
        *,
        group_key: int = 0,
        proxy: Proxy | None = None,
        client_cert_key: CertKey | None = None,
        options: PeerOptions | None = None,
    ) -> None:
        self._address, self._reuse_key = _identify("https" if tls else "http", address, sni, group_key)
        self._tls = tls
        self._sni = sni
        self._group_key = group_key
        self.attempt: AttemptObserver | None = None
        """Told by a proxy of the attempt that this peer was made for."""
        self._proxy = proxy
        self._settle(options, client_cert_key)
        if proxy is not None:
            self._reuse_key += (proxy.identity,)

    @classmethod
    def new_uds(
        cls,
        path: str,
        tls: bool = False,
        sni: str = "",
        *,
        group_key: int = 0,
        client_cert_key: CertKey | None = None,
        options: PeerOptions | None = None,
    ) -> Self:
        """An HTTP server at the Unix socket *path*.

        :raises ValueError: as for the peer itself.
        """
        return cls(f"unix:{path}", tls, sni, group_key=group_key, client_cert_key=client_cert_key, options=options)

    @classmethod
    def new_mtls(
        cls,
        address: str | SocketAddr,
        sni: str,
        client_cert_key: CertKey,
        *,
        group_key: int = 0,
        options: PeerOptions | None = None,
    ) -> Self:
        """An HTTPS server to which *client_cert_key* is shown.

        :raises ValueError: as for the peer itself.
        """
        return cls(address, True, sni, group_key=group_key, client_cert_key=client_cert_key, options=options)

    @classmethod
    def new_proxy(
        cls,
        next_hop: Peer | SocketAddr | str,
        host: str,
        port: int,
        tls: bool = False,
        sni: str = "",
        headers: Iterable[tuple[Text, Text]] = (),
        *,
        group_key: int = 0,
        options: PeerOptions | None = None,
    ) -> Self:
        """An HTTP server at *host* and *port*, reached through the proxy at *next_hop*: see :class:`Proxy`.

        :raises ValueError: as for the peer itself.
        :raises Error: as for the proxy.
        """
        proxy = Proxy(next_hop, host, port, headers)
        return cls(SocketAddr(host, port), tls, sni, group_key=group_key, proxy=proxy, options=options)

    @property
    def scheme(self) -> Scheme:
        """How it is spoken to."""
        return Scheme.HTTPS if self.tls else Scheme.HTTP

    def __repr__(self) -> str:
        said = [repr(str(self.address))]
        if self.tls:
            said.append("tls=True")
        for name in ("sni", "group_key", "proxy", "client_cert_key"):
            if value := getattr(self, name):
                said.append(f"{name}={value!r}")
        if self.options != _NO_OPTIONS:
            said.append(f"options={self.options!r}")
        return f"HttpPeer({', '.join(said)})"

    def __str__(self) -> str:
        sni = f", sni: {self.sni}" if self.sni else ""
        proxy = f", proxy: {self.proxy}" if self.proxy else ""
        shown = f", client cert: {self.client_cert_key}" if self.client_cert_key else ""
        return f"addr: {self.address}, scheme: {self.scheme.value}{sni}{proxy}{shown}"


class BasicPeer(_AnyPeer):
    """A server at *address* that is spoken to in a protocol of one's own, over TLS when there is an *sni*.

    :raises ValueError: not an address, or an *sni* that is no name.
    """

    __slots__ = ()

    def __init__(self, address: str | SocketAddr, sni: str = "", *, options: PeerOptions | None = None) -> None:
        self._tls = bool(sni)
        self._address, self._reuse_key = _identify("tls" if sni else "tcp", address, sni, 0)
        self._sni = sni
        self._proxy = None
        self._settle(options, None)

    @classmethod
    def new_uds(cls, path: str, sni: str = "", *, options: PeerOptions | None = None) -> Self:
        """A server at the Unix socket *path*.

        :raises ValueError: as for the peer itself.
        """
        return cls(f"unix:{path}", sni, options=options)

    def __str__(self) -> str:
        return f"addr: {self.address}" + (f", sni: {self.sni}" if self.sni else "")

    def __repr__(self) -> str:
        return f"<BasicPeer {self}>"
