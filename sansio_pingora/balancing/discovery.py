"""Where the backends come from: an effect that brings the set that there is now."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Protocol

from sansio_pingora.balancing.backend import MAX_WEIGHT, Backend
from sansio_pingora.session import Call, LaneEffect
from sansio_pingora.transport import Resolve, ResolveService, ServiceRecord, SocketAddr

__all__ = ["CallDiscovery", "Discovery", "DnsDiscovery", "DnsSrvDiscovery", "Found", "StaticDiscovery"]

Found = tuple[Iterable[Backend], Mapping[Backend, bool]]
"""The backends, and which of them are to be switched on or off; those that are not named stay as they are."""


class Discovery(Protocol):
    """A source of backends."""

    def discover(self) -> Generator[Any, Any, Found]:
        """A generator of effects that returns what there is.

        :raises Error: it could not be found out; the set stays what it is.
        """


class StaticDiscovery:
    """Backends that never change."""

    def __init__(self, backends: Iterable[Backend | str]) -> None:
        self.backends = [Backend(one) if isinstance(one, str) else one for one in backends]

    def discover(self) -> Generator[Any, Any, Found]:
        """See :class:`Discovery`."""
        yield from ()
        return self.backends, {}


class _LookUp(LaneEffect):
    __slots__ = ("_address",)

    def __init__(self, address: SocketAddr) -> None:
        self._address = address

    def begin(self, waiter: Any, token: int) -> tuple[int, Any]:
        waiter.give(Resolve(token, self._address))
        return token, None


class DnsDiscovery:
    """Every address of each of *names*, ``host:port``, by the resolver of the runtime; all of one name weigh the same.

    Where one name cannot be resolved the whole set stays what it is.
    """

    def __init__(self, names: Iterable[Backend | str]) -> None:
        self.names = [Backend(one) if isinstance(one, str) else one for one in names]

    def discover(self) -> Generator[Any, Any, Found]:
        """See :class:`Discovery`."""
        found: dict[SocketAddr, Backend] = {}
        for name in self.names:
            addresses: list[SocketAddr] = yield _LookUp(name.addr)
            for address in addresses:
                found.setdefault(address, Backend(address, name.weight, name.ext))
        return list(found.values()), {}


class _LookUpService(LaneEffect):
    __slots__ = ("_name", "_servers")

    def __init__(self, name: str, servers: tuple[SocketAddr, ...]) -> None:
        self._name = name
        self._servers = servers

    def begin(self, waiter: Any, token: int) -> tuple[int, Any]:
        waiter.give(ResolveService(token, self._name, self._servers))
        return token, None


class DnsSrvDiscovery:
    """What DNS says of a service: ``_http._tcp.app.internal`` (SRV, RFC 2782), with its ports and weights.

    Only records of the best priority are backends: those of the others take over when they are all that is left in DNS.
    *servers*: name servers to ask instead of the system's, ``127.0.0.1:8600``. It needs dnspython:
    ``pip install 'sansio-pingora[dns]'``. Where it cannot be looked up the set stays what it is.

    :raises ValueError: a server is no address.
    """

    def __init__(self, name: str, servers: Iterable[str] = ()) -> None:
        self.name = name
        self.servers = tuple(map(SocketAddr.parse, servers))

    def discover(self) -> Generator[Any, Any, Found]:
        """See :class:`Discovery`."""
        records: list[ServiceRecord] = yield _LookUpService(self.name, self.servers)
        best = min((record.priority for record in records), default=0)
        weights: dict[SocketAddr, int] = {}
        for record in records:
            if record.priority == best:
                weights[record.address] = weights.get(record.address, 0) + record.weight
        # A weight of 0 is "a very small chance"; no backend has less than 1.
        return [Backend(address, min(max(weight, 1), MAX_WEIGHT)) for address, weight in weights.items()], {}


class CallDiscovery:
    """Backends by a function that may block: a registry, a file. It is run off the lane."""

    def __init__(self, call: Callable[[], Iterable[Backend]]) -> None:
        self._call = call

    def discover(self) -> Generator[Any, Any, Found]:
        """See :class:`Discovery`."""
        return (yield Call(self._call)), {}
