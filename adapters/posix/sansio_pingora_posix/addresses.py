"""Addresses as the socket module has them, and back."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora_posix.socket_probe import SocketProbe

__all__ = ["is_numeric", "resolve", "sockaddr", "socket_addr", "transport_info"]


def is_numeric(host: str) -> bool:
    """Whether *host* is an IP address, so that no name needs to be resolved."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host.partition("%")[0])
    except OSError:
        return False
    return True


def resolve(address: SocketAddr, getaddrinfo: Callable[..., Any] = socket.getaddrinfo) -> list[SocketAddr]:
    """The numeric addresses of *address*, in the resolver's order. Blocks, unless it is numeric or a Unix path.

    *getaddrinfo*: another one with the socket module's signature.

    :raises OSError: the name cannot be resolved (``socket.gaierror``).
    """
    if address.path is not None or is_numeric(address.host):
        return [address]
    found = getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return [addr for family, *_, value in found if (addr := socket_addr(value, family)) is not None]


def sockaddr(address: SocketAddr) -> tuple[int, Any]:
    """The family and the socket module's value of a numeric address or a Unix path.

    :raises OSError: the host is a name (``socket.gaierror``).
    """
    if address.path is not None:
        return socket.AF_UNIX, address.path
    if ":" not in address.host and is_numeric(address.host):
        return socket.AF_INET, (address.host, address.port)
    # Through getaddrinfo for the zone of a link-local address; AI_NUMERICHOST never asks a server.
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    family, *_, value = found[0]
    return family, value


def socket_addr(value: Any, family: int) -> SocketAddr | None:
    """What ``getsockname`` or ``getpeername`` of a socket of *family* returned; None for a nameless Unix client."""
    if family == socket.AF_UNIX:
        # Names in Linux's abstract space come as bytes; no file stands for them.
        return SocketAddr(path=value) if value and isinstance(value, str) else None
    return SocketAddr(value[0], value[1])


def transport_info(sock: socket.socket, now: float, peer: SocketAddr | None = None) -> TransportInfo:
    """The two ends of a connected socket. The kernel is asked for *peer* where it is None.

    Give it after a dial: a fast open has not told the kernel yet.

    :raises OSError: it is not connected any more.
    """
    family = sock.family
    if peer is None:
        peer = socket_addr(sock.getpeername(), family)
    return TransportInfo(peer, socket_addr(sock.getsockname(), family), now, probe=SocketProbe(sock))
