"""One server behind a load balancer, as a value."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from typing import Any

from sansio_pingora.transport import SocketAddr

__all__ = ["MAX_WEIGHT", "Backend"]

MAX_WEIGHT = 65_535
"""Of one backend: more is finer than any share that a balancer can keep."""


class Backend:
    """A server at *addr*, ``host:port``, ``[IPv6]:port`` or ``unix:/path``, with a share of *weight* to 1.

    Equal, and ordered, by address and weight: IPv4, IPv6, names, then Unix sockets. *ext* is the caller's own.

    :raises ValueError: not an address, or a weight that is not from 1 to 65,535. To send nothing to a backend,
        disable it: :meth:`Backends.set_enable`.
    """

    __slots__ = ("_hash", "_order", "addr", "ext", "weight")

    def __init__(self, addr: str | SocketAddr, weight: int = 1, ext: Any = None) -> None:
        if type(weight) is not int or not 1 <= weight <= MAX_WEIGHT:
            raise ValueError(f"weight of {addr} is a whole number from 1 to {MAX_WEIGHT}, not {weight!r}")
        self.addr = SocketAddr.parse(addr) if isinstance(addr, str) else addr
        self.weight = weight
        self.ext = ext
        self._order = (*_place(self.addr), weight)
        self._hash = hash(self._order)

    @property
    def host(self) -> str:
        """The address without its port; of a Unix socket the path."""
        return self.addr.host if self.addr.path is None else self.addr.path

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Backend):
            return NotImplemented
        return self._order == other._order

    def __lt__(self, other: Backend) -> bool:
        return self._order < other._order

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return str(self.addr)

    def __repr__(self) -> str:
        return f"<Backend {self.addr}, weight {self.weight}>"


def _place(addr: SocketAddr) -> tuple[int, int, str, int]:
    if addr.path is not None:
        return 3, 0, addr.path, 0
    try:
        ip = ip_address(addr.host)
    except ValueError:
        return 2, 0, addr.host, addr.port
    return (0 if isinstance(ip, IPv4Address) else 1), int(ip), addr.host, addr.port
