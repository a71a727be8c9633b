from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.services import BackgroundService, Service, ServiceCycle, ServiceGraph


def test_a_cycle_is_named_and_changes_nothing():
    graph = ServiceGraph()
    web, cache, db = graph.add("web"), graph.add("cache"), graph.add("db")
    web.add_dependencies(cache, db)
    cache.add_dependency("db")

    with pytest.raises(ServiceCycle, match="circular dependency: ") as caught:
        db.add_dependency(web)

    assert caught.value.names[0] == caught.value.names[-1]
    assert set(caught.value.names) <= {"web", "cache", "db"}
    assert graph.dependencies("db") == frozenset()
    assert graph.order() == ["db", "cache", "web"]


def test_nobody_waits_for_itself():
    graph = ServiceGraph()
    with pytest.raises(ServiceCycle, match="web -> web"):
        graph.add("web").add_dependency("web")


def test_names_are_there_and_once():
    graph = ServiceGraph()
    graph.add("web")
    with pytest.raises(LocalProtocolError, match="already"):
        graph.add("web")
    with pytest.raises(LocalProtocolError, match="no service 'db'"):
        graph.add_dependency("web", "db")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20))
def test_the_order_keeps_every_dependency_that_was_taken(edges):
    graph = ServiceGraph()
    for number in range(6):
        graph.add(str(number))
    taken = []
    for one, on in edges:
        try:
            graph.add_dependency(str(one), str(on))
        except ServiceCycle as cycle:
            names = cycle.names
            for a, b in pairwise(names):
                assert b in graph.dependencies(a) or (a, b) == (str(one), str(on))
        else:
            taken.append((str(one), str(on)))
    order = graph.order()
    assert sorted(order) == [str(number) for number in range(6)]
    assert all(order.index(on) < order.index(one) for one, on in taken)


def test_a_service_collects_addresses():
    service = Service("web", print)
    service.add_tcp("127.0.0.1:80")
    service.add_uds("/run/web.sock", 0o600)
    service.add_address("[::1]:81")

    assert service.endpoints() == ["127.0.0.1:80", "unix:/run/web.sock", "[::1]:81"]
    with pytest.raises(ValueError, match="needs a name"):
        Service("", print)


def test_a_background_service_must_do_something():
    with pytest.raises(NotImplementedError, match="must override start"):
        BackgroundService("idle").start(None)
