"""Backends as values, and what is known of a set of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sansio_pingora.balancing import Backend, Backends
from sansio_pingora.transport import SocketAddr


def test_the_order_is_ipv4_ipv6_names_and_unix_sockets_then_address_port_and_weight():
    texts = [
        "1.0.0.1:80",
        "1.0.0.255:80",
        "1.1.1.1:79",
        "1.1.1.1:80",
        "10.0.0.1:1",
        "[::1]:1",
        "[2001:db8::1]:1",
        "a.internal:2",
        "b.internal:1",
        "unix:/a",
        "unix:/b",
    ]
    backends = [Backend(text) for text in texts]
    assert sorted([*backends[5:], *backends[:5]]) == backends
    assert Backend("1.1.1.1:80", 1) < Backend("1.1.1.1:80", 2)


def test_address_and_weight_make_a_backend_and_ext_does_not():
    assert Backend("1.1.1.1:80", 2, ext="a") == Backend(SocketAddr("1.1.1.1", 80), 2, ext="b")
    assert hash(Backend("1.1.1.1:80", ext=[])) == hash(Backend("1.1.1.1:80"))
    assert Backend("1.1.1.1:80") != Backend("1.1.1.1:80", 2)
    assert Backend("1.1.1.1:80") != "1.1.1.1:80"
    assert Backend("unix:/run/x").ext is None


@pytest.mark.parametrize("weight", [0, -1, 65_536, 1.0, True, "1"])
def test_a_weight_is_a_whole_number_of_1_or_more(weight):
    with pytest.raises(ValueError, match=r"weight of 1\.1\.1\.1:80 is a whole number from 1 to 65535"):
        Backend("1.1.1.1:80", weight)


def settled(texts, known=None):
    backends = known or Backends()
    states = backends.replacement([Backend(text) for text in texts])
    if states is not None:
        backends.adopt(states)
    return backends


def test_one_address_twice_is_refused():
    with pytest.raises(ValueError, match=r"a:1 is there twice, with weights 1 and 3"):
        Backends().replacement([Backend("a:1", 3), Backend("b:1"), Backend("a:1")])


def test_a_new_weight_keeps_what_is_known_of_the_server():
    backends = settled(["a:1", "b:1"])
    held = backends.states[Backend("a:1")]
    held.observe(False, 1)
    held.requests.add("one")
    states = backends.replacement([Backend("a:1", 5), Backend("b:1")])
    assert str(held.backend) == "a:1"
    assert held.backend.weight == 1  # they are not the set yet
    backends.adopt(states)
    assert not backends.ready(Backend("a:1", 5))
    assert backends.states[Backend("a:1", 5)].requests == {"one"}
    held.observe(True, 1)  # a check that had begun before
    assert backends.ready(Backend("a:1", 5))
    assert held.backend.weight == 5
    assert backends.get_backend() == [Backend("a:1", 5), Backend("b:1")]


def test_unknown_backends_are_ready_and_cannot_be_switched():
    backends = settled(["a:1"])
    backends.set_enable(Backend("z:1"), False)
    assert backends.ready(Backend("z:1"))
    backends.set_enable(Backend("a:1"), False)
    assert not backends.ready(Backend("a:1"))


NAMES = ["a:1", "b:1", "c:1", "d:1"]


class Model(RuleBasedStateMachine):
    """Sets and weights that change, health, switches: against dictionaries."""

    def __init__(self):
        super().__init__()
        self.backends = Backends()
        self.known = {}

    @rule(weights=st.dictionaries(st.sampled_from(NAMES), st.integers(1, 2)))
    def replace(self, weights):
        states = self.backends.replacement([Backend(name, weight) for name, weight in weights.items()])
        assert (states is None) == (weights == {name: model["weight"] for name, model in self.known.items()})
        if states is not None:
            self.backends.adopt(states)
        fresh = {"healthy": True, "row": 0, "enabled": True}
        self.known = {
            name: {**self.known.get(name, fresh), "weight": weight} for name, weight in sorted(weights.items())
        }

    @rule(name=st.sampled_from(NAMES), healthy=st.booleans(), threshold=st.integers(0, 3))
    def observe(self, name, healthy, threshold):
        model = self.known.get(name)
        if model is None:
            return
        flips = False
        if model["healthy"] == healthy:
            model["row"] = 0
        else:
            model["row"] += 1
            if model["row"] >= threshold:
                flips = True
                model.update(healthy=healthy, row=0)
        assert self.backends.states[Backend(name, model["weight"])].observe(healthy, threshold) is flips

    @rule(enabled=st.dictionaries(st.sampled_from(NAMES), st.booleans()))
    def switch(self, enabled):
        known = {name: value for name, value in enabled.items() if name in self.known}
        self.backends.switch({Backend(name, self.known[name]["weight"]): value for name, value in known.items()})
        for name, value in known.items():
            self.known[name]["enabled"] = value

    @invariant()
    def agrees(self):
        assert [str(backend) for backend in self.backends.get_backend()] == list(self.known)
        for name, model in self.known.items():
            assert self.backends.ready(Backend(name, model["weight"])) is (model["healthy"] and model["enabled"])


TestModel = Model.TestCase


@given(st.lists(st.sampled_from(NAMES)), st.lists(st.sampled_from(NAMES)))
def test_the_same_set_in_any_order_changes_nothing(one, other):
    backends = settled(set(one))
    same = backends.replacement([Backend(name) for name in other])
    assert (same is None) == (set(one) == set(other))
