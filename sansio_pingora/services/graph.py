"""Which service waits for which."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from sansio_pingora.errors import LocalProtocolError

__all__ = ["ServiceCycle", "ServiceGraph", "ServiceHandle"]


class ServiceCycle(ValueError):
    """Services that would wait for each other for ever; *names* goes round, the first name is the last."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"circular dependency: {' -> '.join(names)}; let one of them start without the other")
        self.names = names


class ServiceGraph:
    """Names and the names that each waits for. It never holds a cycle."""

    def __init__(self) -> None:
        self._needs: dict[str, set[str]] = {}

    def add(self, name: str) -> ServiceHandle:
        """One more service.

        :raises LocalProtocolError: there is one of that name.
        """
        if name in self._needs:
            raise LocalProtocolError(f"there is a service {name!r} already: give one another name")
        self._needs[name] = set()
        return ServiceHandle(self, name)

    def add_dependency(self, name: str, on: str) -> None:
        """*name* starts when *on* is ready; saying so twice is once.

        :raises LocalProtocolError: there is no such service.
        :raises ServiceCycle: *on* waits for *name*, perhaps by way of others; nothing has changed.
        """
        for one in (name, on):
            if one not in self._needs:
                raise LocalProtocolError(f"there is no service {one!r}: add it first")
        try:
            TopologicalSorter({**self._needs, name: self._needs[name] | {on}}).prepare()
        except CycleError as exc:
            raise ServiceCycle(exc.args[1][::-1]) from None
        self._needs[name].add(on)

    def dependencies(self, name: str) -> frozenset[str]:
        """What *name* waits for, itself and not by way of others."""
        return frozenset(self._needs[name])

    def order(self) -> list[str]:
        """Every service, each behind what it waits for; of equals the one that was added first."""
        sorter = TopologicalSorter(self._needs)
        return list(sorter.static_order())

    def __iter__(self) -> Iterator[str]:
        return iter(self._needs)

    def __len__(self) -> int:
        return len(self._needs)


class ServiceHandle:
    """A service that was added to a server."""

    __slots__ = ("_graph", "name")

    def __init__(self, graph: ServiceGraph, name: str) -> None:
        self._graph = graph
        self.name = name

    def add_dependency(self, on: ServiceHandle | str) -> None:
        """Start when *on* is ready.

        :raises ServiceCycle: *on* waits for this one; nothing has changed.
        """
        self._graph.add_dependency(self.name, on if isinstance(on, str) else on.name)

    def add_dependencies(self, *on: ServiceHandle | str) -> None:
        """Start when all of *on* are ready."""
        for one in on:
            self.add_dependency(one)
