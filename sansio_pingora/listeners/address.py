"""Where a service listens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sansio_pingora.layers import AcceptProxyProtocol, LayerMaker
from sansio_pingora.listeners.options import TcpSocketOptions
from sansio_pingora.proxy_protocol import MAX_PROXY_HEADER
from sansio_pingora.transport import SocketAddr

__all__ = ["ServerAddress"]

_NO_OPTIONS = TcpSocketOptions()


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """An address to listen on, with the options of its sockets. Its text is the address alone."""

    addr: SocketAddr
    options: TcpSocketOptions = _NO_OPTIONS
    permissions: int | None = None
    """Mode of a Unix socket's file, like ``0o660``; None is 0o666, as in Pingora."""
    layers: tuple[LayerMaker, ...] = ()
    """The makers of what stands between an accepted transport and HTTP, lowest first: PROXY protocol, then TLS."""

    def __post_init__(self) -> None:
        if self.addr.path is None:
            if self.permissions is not None:
                raise ValueError(f"permissions belong to Unix sockets, and {self.addr} is not one: leave them out")
        elif self.permissions is not None and not 0 <= self.permissions <= 0o777:
            raise ValueError(f"permissions of {self.addr} must be from 0 to 0o777, not {self.permissions:#o}")

    @classmethod
    def tcp(cls, text: str, options: TcpSocketOptions | None = None) -> ServerAddress:
        """A TCP address: ``127.0.0.1:8080``, ``[::]:8080`` or ``name:8080``.

        :raises ValueError: not such an address.
        """
        addr = SocketAddr.parse(text)
        if addr.path is not None:
            raise ValueError(f"address {text!r} is a Unix socket: use ServerAddress.uds(path)")
        return cls(addr, _NO_OPTIONS if options is None else options)

    @classmethod
    def uds(cls, path: str, permissions: int | None = None) -> ServerAddress:
        """A Unix socket at *path*.

        :raises ValueError: the path is empty or holds a null.
        """
        if not path or "\0" in path:
            raise ValueError(f"{path!r} cannot be the path of a Unix socket")
        return cls(SocketAddr(path=path), permissions=permissions)

    def with_proxy_protocol(
        self, trusted: Iterable[str], *, required: bool = True, max_header: int = MAX_PROXY_HEADER
    ) -> ServerAddress:
        """The same address, whose clients begin with a PROXY protocol header: see :class:`AcceptProxyProtocol`.

        :raises ValueError: *trusted* is no list of networks.
        """
        maker = AcceptProxyProtocol(trusted, required=required, max_header=max_header)
        return replace(self, layers=(maker, *self.layers))

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """Any address as a user types it, with default options.

        :raises ValueError: not an address; the message shows the forms.
        """
        addr = SocketAddr.parse(text)
        return cls(addr) if addr.path is None else cls.uds(addr.path)

    def __str__(self) -> str:
        return str(self.addr)
