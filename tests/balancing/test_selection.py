"""The orders in which backends are tried, against Pingora's vectors, exact shares, and slow models."""

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.balancing import (
    MAX_TURNS,
    SELECTIONS,
    Backend,
    Consistent,
    Hashing,
    LeastConnections,
    PowerOfTwoChoices,
    RandomChoice,
    RoundRobin,
    UniqueIterator,
    fnv_1a,
    selection,
    smooth_schedule,
)
from sansio_pingora.testing import Random

B1, B2, B3 = Backend("1.1.1.1:80", 1), Backend("1.0.0.1:80", 10), Backend("1.0.0.255:80", 1)
WEIGHTED = sorted([B1, B2, B3])


def idle(_):
    return 0


def steps(chosen, key=b"", count=1):
    return list(islice(chosen.iter(key), count))


# ── Pingora's vectors ────────────────────────────────────────────────────────────────


def test_fnv_as_pingora_has_it():
    chosen = Hashing().build(WEIGHTED, idle)
    assert steps(chosen, b"test", 11) == [B2, B2, B2, B1, B3, B2, B2, B1, B2, B3, B1]
    firsts = [steps(chosen, b"test%d" % number)[0] for number in range(1, 8)]
    assert firsts == [B2, B2, B3, B1, B2, B2, B2]


def test_fnv_1a_of_known_texts():
    assert fnv_1a(b"") == 0xCBF29CE484222325
    assert fnv_1a(b"foobar") == 0x85944171F73967E8


def test_random_keeps_the_weights():
    chosen = RandomChoice(Random(3).below).build([Backend("a:1", 8), B1, Backend("b:1")], idle)
    counted = Counter(steps(chosen)[0] for _ in range(10_000))
    assert 7_000 < counted[Backend("a:1", 8)] < 9_000


def test_unique_iterator_counts_repeated_steps():
    def all_of(limit):
        return list(UniqueIterator(iter([B1, B1, B2, B1, B3] * 2), limit))

    assert all_of(1) == [B1]
    assert all_of(2) == [B1]
    assert all_of(3) == [B1, B2]
    assert all_of(10) == [B1, B2, B3]
    assert all_of(0) == []
    unique = UniqueIterator(iter([B1, B1, B2]), 10)
    assert [unique.get_next(), unique.get_next(), unique.get_next(), unique.get_next()] == [B1, B2, None, None]


# ── all of them ──────────────────────────────────────────────────────────────────────


def test_the_names_of_a_configuration():
    below = Random(1).below
    for name in SELECTIONS:
        assert steps(selection(name, below).build([B1], idle)) == [B1]
    with pytest.raises(ValueError, match=r"unknown selection 'round_robbin': did you mean 'round_robin'\?"):
        selection("round_robbin", below)
    with pytest.raises(ValueError, match="known are round_robin, random"):
        selection("xyz", below)


backend_sets = st.lists(st.integers(1, 9), min_size=1, max_size=6).map(
    lambda weights: [Backend(f"10.0.0.{number}:80", weight) for number, weight in enumerate(weights)]
)


@pytest.mark.parametrize("name", SELECTIONS)
@given(backends=backend_sets, key=st.binary(max_size=20), seed=st.integers(0, 1000))
def test_every_order_brings_only_backends_and_in_time_all_of_them(name, backends, key, seed):
    chosen = selection(name, Random(seed).below).build(backends, idle)
    found = list(islice(UniqueIterator(chosen.iter(key), 20_000), len(backends)))
    assert sorted(found) == backends


@pytest.mark.parametrize("name", SELECTIONS)
def test_nothing_comes_of_nothing(name):
    assert steps(selection(name, Random(1).below).build([], idle), b"key", 3) == []


# ── round robin ──────────────────────────────────────────────────────────────────────


@given(st.lists(st.integers(1, 60), min_size=1, max_size=15))
def test_after_any_number_of_turns_each_has_its_share_rounded_up_or_down(weights):
    turns = smooth_schedule(weights)
    total = sum(weights)
    counted = Counter()
    for number, index in enumerate(list(turns) * 2, 1):
        counted[index] += 1
        for each, weight in enumerate(weights):
            assert abs(counted[each] * total - number * weight) < total
    assert total % len(turns) == 0


def test_a_small_weight_is_not_served_behind_a_block_of_a_large_one():
    assert list(smooth_schedule([5, 1, 1])) == [0, 0, 0, 1, 0, 0, 2]
    assert list(smooth_schedule([2, 4, 2])) == [1, 0, 1, 2]


def test_weights_that_would_need_too_long_a_round_are_rounded():
    turns = smooth_schedule([65_535, 1, 20_000])
    assert len(turns) <= MAX_TURNS + 2
    counted = Counter(turns)
    assert counted[0] / counted[2] == pytest.approx(65_535 / 20_000, rel=0.001)
    assert counted[1] == 1


def test_round_robin_goes_on_where_it_was_over_a_change_of_the_set():
    robin = RoundRobin()
    backends = [Backend(f"a:{port}") for port in (1, 2, 3)]
    assert [steps(robin.build(backends, idle))[0] for _ in range(4)] == [*backends, backends[0]]


@given(st.integers(2, 8), st.integers(0, 7))
def test_the_turns_of_one_that_is_down_are_shared_by_all_others_alike(size, down):
    backends = [Backend(f"10.0.0.{number}:80") for number in range(size)]
    lost = backends[down % size]
    chosen = RoundRobin().build(backends, idle)
    counted = Counter()
    for _ in range(size * (size - 1) * 4):
        counted[next(backend for backend in UniqueIterator(chosen.iter(b""), 256) if backend is not lost)] += 1
    assert max(counted.values()) - min(counted.values()) <= 4
    assert len(counted) == size - 1


def test_substitutes_do_not_disturb_the_turns_of_others():
    backends = [Backend(f"a:{port}") for port in (1, 2, 3)]
    chosen = RoundRobin().build(backends, idle)
    firsts = []
    for _ in range(6):
        order = steps(chosen, b"", 4)  # an iterator that is drawn further than its first
        firsts.append(order[0])
    assert firsts == backends * 2


# ── hashing and ketama ───────────────────────────────────────────────────────────────


@given(backend_sets, st.binary(max_size=30))
def test_one_key_has_one_order(backends, key):
    for way in (Hashing(), Consistent()):
        assert steps(way.build(backends, idle), key, 20) == steps(way.build(backends, idle), key, 20)


def test_hashing_takes_any_digest():
    assert steps(Hashing(len).build([B2, B3, B1], idle), b"x" * 10)[0] is B3


@given(backend_sets, st.integers(0, 400))
def test_a_weighted_hash_is_what_a_list_with_repetitions_has(backends, number):
    repeated = [backend for backend in backends for _ in range(backend.weight)]
    chosen = Hashing(lambda key: number).build(backends, idle)
    assert steps(chosen)[0] is repeated[number % len(repeated)]


# ── by load ──────────────────────────────────────────────────────────────────────────


loaded = backend_sets.flatmap(
    lambda backends: st.tuples(
        st.just(backends), st.lists(st.integers(0, 20), min_size=len(backends), max_size=len(backends))
    )
)


@given(loaded)
def test_least_connections_has_the_least_load_first_and_the_others_in_order(drawn):
    backends, loads = drawn
    load = dict(zip(backends, loads, strict=True)).__getitem__
    order = list(UniqueIterator(LeastConnections().build(backends, load).iter(b""), 20))
    shares = [load(backend) / backend.weight for backend in order]
    assert shares == sorted(shares)
    assert sorted(order) == backends


@given(backend_sets)
def test_least_connections_without_load_is_round_robin(backends):
    least, robin = LeastConnections().build(backends, idle), RoundRobin().build(backends, idle)
    for _ in range(20):
        assert steps(least)[0] is steps(robin)[0]


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=80))
def test_least_connections_keeps_the_load_level(moves):
    """Requests that come and go: against a count of them."""
    backends = [Backend(f"10.0.0.{number}:80") for number in range(4)]
    busy = Counter()
    chosen = LeastConnections().build(backends, busy.__getitem__)
    for count, ends in moves:
        for _ in range(count):
            backend = steps(chosen)[0]
            assert busy[backend] == min(busy[each] for each in backends)
            busy[backend] += 1
        if ends:
            busy[backend] -= 1


@given(loaded, st.integers(0, 10_000))
def test_power_of_two_never_takes_the_more_loaded_of_its_two(drawn, seed):
    backends, loads = drawn
    load = dict(zip(backends, loads, strict=True)).__getitem__
    order = steps(PowerOfTwoChoices(Random(seed).below).build(backends, load), b"", 2)
    if len(backends) > 1:
        first, second = order
        assert first is not second
        assert load(first) * second.weight <= load(second) * first.weight


def test_power_of_two_keeps_the_weights_and_the_load_low():
    backends = [Backend("a:1", 6), Backend("b:1", 3), Backend("c:1", 1)]
    busy = Counter()
    chosen = PowerOfTwoChoices(Random(5).below).build(backends, busy.__getitem__)
    for _ in range(10_000):
        busy[steps(chosen)[0]] += 1
    for backend in backends:
        assert busy[backend] == pytest.approx(1_000 * backend.weight, abs=100)
