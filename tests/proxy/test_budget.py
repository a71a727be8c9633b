"""Retries as a share of requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.machine import Lane
from sansio_pingora.proxy import HttpProxy
from sansio_pingora.proxy.budget import RetryBudget
from tests.proxy.harness import App


def spent(budget, now, tries=1000):
    count = 0
    while count < tries and budget.spend(now):
        count += 1
    return count


def test_ten_are_always_there():
    assert spent(RetryBudget(0.2), 0.0) == 10


def test_zero_share_leaves_the_ten():
    budget = RetryBudget(0.0)
    for _ in range(1000):
        budget.request(0.0)
    assert spent(budget, 0.0) == 10


def test_none_is_no_ceiling():
    assert spent(RetryBudget(None), 0.0) == 1000


@pytest.mark.parametrize(("requests", "retries"), [(0, 10), (50, 10), (55, 11), (100, 20), (1000, 200)])
def test_a_fifth_of_the_requests(requests, retries):
    budget = RetryBudget(0.2)
    for _ in range(requests):
        budget.request(1.0)
    assert spent(budget, 1.0) == retries


def test_the_window_before_still_counts():
    budget = RetryBudget(0.2)
    for _ in range(1000):
        budget.request(0.0)
    assert spent(budget, 11.0) == 200
    assert spent(budget, 19.0) == 0


def test_two_windows_later_all_is_forgotten():
    budget = RetryBudget(0.2)
    for _ in range(1000):
        budget.request(0.0)
    spent(budget, 0.0)
    assert spent(budget, 20.0) == 10
    assert spent(budget, 31.0) == 0
    assert spent(budget, 41.0) == 10


@given(
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=300),
)
def test_never_more_than_its_share_of_the_last_twenty_seconds(share, steps):
    budget = RetryBudget(share)
    now = 0.0
    requests: list[float] = []
    retries: list[float] = []
    for wait, is_retry in steps:
        now += wait
        if is_retry:
            if budget.spend(now):
                retries.append(now)
        else:
            budget.request(now)
            requests.append(now)
        lately = sum(at > now - 10 for at in retries)
        assert lately <= max(10, share * sum(at > now - 20 for at in requests) + 1)


def test_the_lanes_of_a_service_share_it():
    app = HttpProxy(App())
    one, other = (app.handler(Lane(), 0.0).budget for _ in range(2))
    assert spent(one, 0.0) == 10
    assert spent(other, 0.0) == 0
    assert spent(HttpProxy(App()).handler(Lane(), 0.0).budget, 0.0) == 10
