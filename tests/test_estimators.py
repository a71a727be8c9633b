"""Estimators against exact counts, and Pingora's vectors."""

from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.estimators import Estimator, Inflight, Rate, RateComponents, proportional_rate

A, B = b"a", b"b"
keys = st.sampled_from([b"a", b"b", b"c", b""])


def test_pingoras_estimator():
    estimator = Estimator(8, 8)
    assert [estimator.incr(A), estimator.incr(B), estimator.incr(A, 2)] == [1, 1, 3]
    assert estimator.decr(A) == 2
    assert estimator.get(A) == 2
    estimator.reset()
    assert (estimator.get(A), estimator.get(B)) == (0, 0)


def test_pingoras_inflight():
    inflight = Inflight()
    first, one = inflight.incr(A)
    second, three = inflight.incr(A, 2)
    assert (one, three) == (1, 3)
    first.release()
    first.release()
    assert second.get() == inflight.get(A) == 2
    second.release()
    with inflight.incr(A)[0] as guard:
        assert guard.get() == 1
    assert inflight.get(A) == 0


def test_pingoras_rate():
    rate = Rate(1.0)
    assert [rate.observe(A, 3, 0.0), rate.observe(A, 2, 0.0), rate.rate(A, 0.0)] == [3, 5, 0]
    assert [rate.observe(A, 4, 1.0), rate.rate(A, 1.0)] == [4, 5]
    assert rate.rate_with(A, proportional_rate, 1.75) == pytest.approx(5 * 0.25 + 4)
    assert rate.rate(A, 2.0) == 4
    assert rate.rate_with(A, proportional_rate, 2.5) == pytest.approx(2)
    assert rate.rate(A, 3.0) == 0


def test_components():
    rate = Rate(2.0)
    rate.observe(A, 3, 10.0)
    rate.observe(A, 4, 12.5)
    seen = []
    rate.rate_with(A, lambda components: seen.append(components) or 0.0, 13.0)
    assert seen == [RateComponents(3, 4, 2.0, 0.5)]


@given(st.lists(st.tuples(keys, st.integers(0, 9))), st.binary(max_size=16))
def test_an_estimate_is_never_below_the_truth_and_exact_where_there_is_room(adds, seed):
    exact = Counter()
    tiny, roomy = Estimator(2, 2, seed), Estimator(4, 8_192, seed)
    for key, count in adds:
        exact[key] += count
        assert tiny.incr(key, count) >= exact[key]
        roomy.incr(key, count)
    for key, count in exact.items():
        assert tiny.get(key) >= count
        assert roomy.get(key) == count


@given(st.lists(st.tuples(keys, st.integers(1, 5))), st.data())
def test_what_is_under_way_against_a_count(begun, data):
    exact, inflight, guards = Counter(), Inflight(b"seed"), []
    for key, count in begun:
        exact[key] += count
        guard, estimate = inflight.incr(key, count)
        assert estimate == exact[key]
        guards.append((key, count, guard))
        if data.draw(st.booleans()):
            key, count, guard = guards.pop(data.draw(st.integers(0, len(guards) - 1)))
            exact[key] -= count
            guard.release()
            assert inflight.get(key) == exact[key]


@given(
    st.lists(st.tuples(keys, st.integers(0, 9), st.floats(0.0, 30.0)), max_size=30),
    st.floats(0.5, 10.0),
    st.floats(0.0, 1e6),
)
def test_a_rate_against_a_list_of_all_that_was_observed(observed, interval, begins):
    rate = Rate(interval, b"seed")
    log, now = deque(), begins
    first = None
    for key, count, pause in observed:
        now += pause
        first = now if first is None else first
        number = int((now - first) / interval)
        log.append((number, key, count))
        current = sum(count for at, one, count in log if at == number and one == key)
        before = sum(count for at, one, count in log if at == number - 1 and one == key)
        assert rate.observe(key, count, now) == current
        assert rate.rate(key, now) == pytest.approx(before / interval)


def test_seeds_make_other_places():
    places = {tuple(Estimator(4, 1_000, bytes([seed]))._places(A)) for seed in range(20)}
    assert len(places) == 20


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0), (17, 1), (1, 1, bytes(65))])
def test_sizes_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match=r"estimator has|seed is at most"):
        Estimator(*arguments)


@pytest.mark.parametrize("interval", [0, -1.0, float("nan")])
def test_an_interval_is_above_0(interval):
    with pytest.raises(ValueError, match="seconds above 0"):
        Rate(interval)
