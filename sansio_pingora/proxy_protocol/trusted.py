"""Whose word about a client's address is believed."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from sansio_pingora.transport import SocketAddr

__all__ = ["TrustedSources"]


class TrustedSources:
    """Networks (``10.0.0.0/8``, ``2001:db8::/32``), single addresses, and ``unix`` for every Unix client.

    :raises ValueError: one that is none of these, or a network with bits set behind its mask.
    """

    __slots__ = ("_networks", "_unix")

    def __init__(self, sources: Iterable[str]) -> None:
        if isinstance(sources, str):
            raise ValueError(f"trusted sources are a list of networks, not the text {sources!r}: write [{sources!r}]")
        names = list(sources)
        self._unix = "unix" in names
        self._networks: list[IPv4Network | IPv6Network] = []
        for name in names:
            if name != "unix":
                try:
                    self._networks.append(ip_network(name))
                except ValueError as exc:
                    raise ValueError(f"trusted source {name!r}: {exc}; write 10.0.0.0/8, ::1 or unix") from None

    def __contains__(self, addr: SocketAddr | None) -> bool:
        """Whether the client at *addr* is believed; None is a Unix client without a name."""
        if addr is None or addr.path is not None:
            return self._unix
        try:
            ip: IPv4Address | IPv6Address = ip_address(addr.host)
        except ValueError:
            return False
        # A client of IPv4 at a socket of both families.
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return any(ip in network for network in self._networks if network.version == ip.version)

    def __repr__(self) -> str:
        names = [str(network) for network in self._networks] + ["unix"] * self._unix
        return f"TrustedSources({names!r})"
