"""One upstream server as a filter names it, and the key under which its connections are kept."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from enum import Enum
from functools import lru_cache
from typing import Protocol, Self

from sansio_pingora.errors import Error
from sansio_pingora.transport import SocketAddr
from sansio_pingora.upstreams.options import PeerOptions
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


_NO_OPTIONS = PeerOptions()


# A filter makes a peer per request, mostly the same few. The ceiling is 4,096 addresses, about
# 2 MiB: with more of them in turn, each costs a parse (2 µs) again.
@lru_cache(maxsize=4096)
def _identify(
    kind: str, address: str | SocketAddr, sni: str, group_key: int
) -> tuple[SocketAddr, tuple[Hashable, ...]]:
    parsed = SocketAddr.parse(address) if isinstance(address, str) else address
    # Flat and of builtin values: hashing it costs what one attribute of a dataclass would.
    return parsed, (parsed.host, parsed.port, parsed.path, kind, sni, group_key)


class AttemptObserver(Protocol):
    """Who is told what becomes of an attempt at a peer; both exactly once."""

    def began(self, now: float) -> None:
        """A connection is being looked for."""

    def ended(self, error: Error | None, status: int | None, now: float) -> None:
        """The attempt is over. *status*: what the client was answered with, if the peer's answer came so far."""


class _AnyPeer:
    __slots__ = ("address", "options", "proxy", "reuse_key", "sni")

    address: SocketAddr
    options: PeerOptions
    proxy: Proxy | None
    reuse_key: tuple[Hashable, ...]
    sni: str

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _AnyPeer):
            return NotImplemented
        return self.reuse_key == other.reuse_key and self.options == other.options

    def __hash__(self) -> int:
        return hash(self.reuse_key)


class HttpPeer(_AnyPeer):
    """An HTTP server at *address*: ``host:port``, ``[IPv6]:port`` or ``unix:/path``.

    Nothing is resolved here. *group_key* keeps the connections of peers apart that are
    otherwise the same. Cheap enough to be made for every request.

    :raises ValueError: not an address, or ``tls``, which this version does not speak yet.
    """

    __slots__ = ("attempt", "group_key")

    def __init__(
        self,
        address: str | SocketAddr,
        tls: bool = False,
        sni: str = "",
        *,
        group_key: int = 0,
        proxy: Proxy | None = None,
        options: PeerOptions | None = None,
    ) -> None:
        if tls:
            raise ValueError(f"tls to {address} takes effect with TLS, which this version does not speak yet")
        self.address, self.reuse_key = _identify("http", address, sni, group_key)
        self.sni = sni
        self.group_key = group_key
        self.attempt: AttemptObserver | None = None
        """Told by a proxy of the attempt that this peer was made for."""
        self.proxy = proxy
        if options is None:
            self.options = _NO_OPTIONS
        else:
            self.options = options
            if options.identity:
                self.reuse_key += options.identity
        if proxy is not None:
            self.reuse_key += (proxy.identity,)

    @classmethod
    def new_uds(
        cls,
        path: str,
        tls: bool = False,
        sni: str = "",
        *,
        group_key: int = 0,
        options: PeerOptions | None = None,
    ) -> Self:
        """An HTTP server at the Unix socket *path*.

        :raises ValueError: as for the peer itself.
        """
        return cls(f"unix:{path}", tls, sni, group_key=group_key, options=options)

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
        return Scheme.HTTP

    def __str__(self) -> str:
        sni = f", sni: {self.sni}" if self.sni else ""
        proxy = f", proxy: {self.proxy}" if self.proxy else ""
        return f"addr: {self.address}, scheme: {self.scheme.value}{sni}{proxy}"

    def __repr__(self) -> str:
        return f"<HttpPeer {self}>"


class BasicPeer(_AnyPeer):
    """A server at *address* that is spoken to in a protocol of one's own.

    :raises ValueError: not an address, or an *sni*, which asks for TLS, which this version does not speak yet.
    """

    __slots__ = ()

    def __init__(self, address: str | SocketAddr, sni: str = "", *, options: PeerOptions | None = None) -> None:
        if sni:
            raise ValueError(f"sni {sni!r} takes effect with TLS, which this version does not speak yet: leave it out")
        self.address, self.reuse_key = _identify("tcp", address, sni, 0)
        self.sni = sni
        self.proxy = None
        self.options = _NO_OPTIONS if options is None else options
        self.reuse_key += self.options.identity

    @classmethod
    def new_uds(cls, path: str, *, options: PeerOptions | None = None) -> Self:
        """A server at the Unix socket *path*.

        :raises ValueError: as for the peer itself.
        """
        return cls(f"unix:{path}", options=options)

    def __str__(self) -> str:
        return f"addr: {self.address}"

    def __repr__(self) -> str:
        return f"<BasicPeer {self}>"
