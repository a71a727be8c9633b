"""The balancer: choosing, and changing the set while it is in use."""

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sansio_pingora import Error
from sansio_pingora.balancing import (
    SELECTIONS,
    Backend,
    Consistent,
    Hashing,
    LeastConnections,
    LoadBalancer,
    RoundRobin,
    TcpHealthCheck,
    selection,
)
from sansio_pingora.testing import Random

A, B, C = (Backend(f"{name}:1") for name in "abc")


def test_takes_addresses_and_backends():
    balancer = LoadBalancer(["127.0.0.1:80", Backend("127.0.0.1:81", 2)])
    assert balancer.backends.get_backend() == [Backend("127.0.0.1:80"), Backend("127.0.0.1:81", 2)]
    assert LoadBalancer.try_from_iter(["127.0.0.1:80"]).select() == Backend("127.0.0.1:80")
    with pytest.raises(ValueError, match="address 'nowhere'"):
        LoadBalancer.try_from_iter(["nowhere"])


def test_none_where_there_is_none():
    balancer = LoadBalancer()
    assert balancer.select() is None
    assert balancer.select_with(b"", 10, lambda backend, ready: True) is None


def test_select_takes_the_first_that_is_ready():
    balancer = LoadBalancer([A, B, C], Consistent())
    first = balancer.select(b"key")
    balancer.backends.set_enable(first, False)
    second = balancer.select(b"key")
    assert second is not first
    assert second.addr != first.addr
    balancer.backends.set_enable(first, True)
    assert balancer.select(b"key") == first


def test_max_iterations_bounds_the_search():
    balancer = LoadBalancer([A, B], Hashing(lambda key: 0))
    balancer.backends.set_enable(A, False)
    assert balancer.select(b"", 256) is None  # this digest never brings the other
    assert LoadBalancer([A], RoundRobin()).select(b"", 0) is None


def test_select_with_tells_who_is_ready():
    balancer = LoadBalancer([A, B])
    balancer.backends.set_enable(B, False)
    seen = {}
    assert balancer.select_with(b"", 256, lambda backend, ready: seen.update({backend: ready})) is None
    assert seen == {A: True, B: False}


def test_an_update_that_cannot_be_made_changes_nothing():
    balancer = LoadBalancer([A], Consistent())
    with pytest.raises(ValueError, match="too many for a ring"):
        balancer.update([Backend("b:1", 60_000)])
    assert balancer.backends.get_backend() == [A]
    assert balancer.select(b"x") == A


def test_an_update_switches():
    balancer = LoadBalancer([A, B])
    assert balancer.update([A, B, C], {C: False})
    assert not balancer.update([A, B, C], {C: True, A: False})
    assert not balancer.backends.ready(A)
    assert balancer.backends.ready(C)


# ── attempts ─────────────────────────────────────────────────────────────────────────


def test_a_peer_for_each_attempt_until_none_is_left():
    balancer = LoadBalancer(["10.0.0.1:80", "10.0.0.2:80"])
    tried = set()
    peers = {str(balancer.peer(tried=tried, group_key=7).address) for _ in range(2)}
    assert peers == {"10.0.0.1:80", "10.0.0.2:80"}
    with pytest.raises(Error, match="none of 2 backends is left: 2 were tried") as caught:
        balancer.peer(tried=tried)
    assert caught.value.status == 502
    assert balancer.peer(group_key=7).group_key == 7


def test_no_peer_where_none_is_ready():
    with pytest.raises(Error, match="none of 0 backends is ready") as caught:
        LoadBalancer().peer()
    assert caught.value.status == 503


class Load(RuleBasedStateMachine):
    """Attempts begin and end; the set changes under them: loads are what a count says."""

    def __init__(self):
        super().__init__()
        self.balancer = LoadBalancer([A, B, C], LeastConnections())
        self.under_way = []
        self.busy = Counter()

    @rule()
    def begin(self):
        states = self.balancer.backends.states
        if not states:
            return
        peer = self.balancer.peer()
        backend = Backend(peer.address)
        assert self.busy[backend] == min(self.busy[each] for each in states)
        peer.attempt.began(0.0)
        self.busy[backend] += 1
        self.under_way.append((backend, peer))

    @rule(data=st.data())
    def end(self, data):
        if self.under_way:
            backend, peer = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
            peer.attempt.ended(None, 200, 1.0)
            self.busy[backend] -= 1

    @rule(kept=st.sets(st.sampled_from([A, B, C])))
    def change(self, kept):
        before = set(self.balancer.backends.states)
        self.balancer.update(kept)
        for gone in before - kept:  # one that comes back later is a new one
            self.busy[gone] = 0
            self.under_way = [(backend, peer) for backend, peer in self.under_way if backend != gone]

    @invariant()
    def agrees(self):
        for backend, state in self.balancer.backends.states.items():
            assert len(state.requests) == self.busy[backend]


TestLoad = Load.TestCase


# ── while it changes ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SELECTIONS)
@given(st.lists(st.sets(st.integers(0, 30), min_size=1), min_size=1, max_size=6), st.integers(0, 99))
def test_choices_are_always_of_the_set_there_is(name, sets, seed):
    balancer = LoadBalancer(selection=selection(name, Random(seed).below))
    for numbers in sets:
        backends = {Backend(f"10.0.0.{number}:80") for number in numbers}
        balancer.update(backends)
        for number in range(5):
            assert balancer.select(b"%d" % number) in backends


def test_an_order_that_was_begun_ends_in_the_set_that_it_began_with():
    balancer = LoadBalancer([A, B])
    seen = []

    def accept(backend, ready):
        balancer.update([C])
        seen.append(backend)

    balancer.select_with(b"", 256, accept)
    assert sorted(seen) == [A, B]
    assert balancer.select() == C


def test_as_soon_as_3000_backends_are_visible_one_of_them_is_chosen():
    balancer = LoadBalancer(selection=RoundRobin())
    over = threading.Event()
    failures = []

    def ask():
        while not over.is_set():
            visible = bool(balancer.backends.states)
            chosen = balancer.select()
            if visible and chosen is None and balancer.backends.states:
                failures.append(visible)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for third in range(4):
        balancer.update([Backend(f"10.0.{third}.{number % 250}:{1 + number // 250}") for number in range(3000)])
    over.set()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize(
    "wrong",
    [{"selection": "round_robin"}, {"selection": RoundRobin}, {"health_check": TcpHealthCheck}, {"health_check": 5}],
    ids=repr,
)
def test_a_name_or_a_class_is_no_object(wrong):
    with pytest.raises(TypeError, match=r"(selection|health_check) is an object, like \w+\(\), not "):
        LoadBalancer(["127.0.0.1:1"], **wrong)
