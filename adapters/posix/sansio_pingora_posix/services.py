"""Services in DNS (RFC 2782), by dnspython: ``pip install 'sansio-pingora[dns]'``."""

from __future__ import annotations

from typing import Any

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.transport import ServiceRecord, SocketAddr

__all__ = ["LIFETIME", "resolve_service"]

LIFETIME = 10.0
"""Seconds for one question, over all servers and repetitions."""


def resolve_service(name: str, servers: tuple[SocketAddr, ...] = ()) -> list[ServiceRecord]:
    """The records of *name* with the addresses of their targets; none where the service is not offered. Blocks.

    *servers*: name servers to ask instead of the system's.

    :raises Error: there is no such service, a target has no address, or nobody answers.
    """
    try:
        from dns.exception import DNSException
        from dns.resolver import Resolver
    except ModuleNotFoundError as exc:
        raise _error(name, "it takes dnspython: pip install 'sansio-pingora[dns]'", exc) from exc
    try:
        resolver = _resolver(Resolver, servers)
        found = [record for record in resolver.resolve(name, "SRV", search=False) if str(record.target) != "."]
        addresses = {target: _addresses(resolver, target) for target in {record.target for record in found}}
    except (DNSException, OSError) as exc:
        raise _error(name, str(exc) or type(exc).__name__, exc) from exc
    return [
        ServiceRecord(record.priority, record.weight, SocketAddr(host, record.port))
        for record in found
        for host in addresses[record.target]
    ]


def _resolver(make: Any, servers: tuple[SocketAddr, ...]) -> Any:
    resolver = make(configure=not servers)
    if servers:
        from dns.nameserver import Do53Nameserver

        resolver.nameservers = [Do53Nameserver(server.host, server.port) for server in servers]
    resolver.lifetime = LIFETIME
    return resolver


def _addresses(resolver: Any, target: Any) -> list[str]:
    return list(resolver.resolve_name(target, lifetime=LIFETIME, search=False).addresses())


def _error(name: str, reason: str, exc: Exception) -> Error:
    text = f"cannot look up the service {name!r}: {reason}"
    return Error(ErrorType.CONNECT_NO_ROUTE, text, cause=exc, esource=ErrorSource.UPSTREAM)
