"""Budgets: exactly as much as is documented, and forgiveness at the documented rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.http2.budgets import Bucket, Budgets
from sansio_pingora.http2.codes import ConnectionFault, ErrorCode
from sansio_pingora.limits import Limits


def charges_until_overdrawn(charge) -> int:
    for count in range(100_000):
        try:
            charge()
        except ConnectionFault as fault:
            assert fault.code is ErrorCode.ENHANCE_YOUR_CALM
            return count
    raise AssertionError("never overdrawn")


LIMITS = Limits()


@pytest.mark.parametrize(
    ("charge", "allowed"),
    [
        pytest.param(lambda budgets: budgets.reset(0.0), LIMITS.h2_reset_burst, id="resets"),
        pytest.param(lambda budgets: budgets.settings(0.0), LIMITS.h2_settings_burst, id="settings"),
        pytest.param(lambda budgets: budgets.ping(0.0), LIMITS.h2_ping_burst, id="pings"),
        pytest.param(lambda budgets: budgets.empty(), LIMITS.h2_max_empty_frames, id="empty frames"),
        pytest.param(lambda budgets: budgets.priority(), LIMITS.h2_max_priority_frames, id="priorities"),
        pytest.param(lambda budgets: budgets.window_update(), 5, id="window updates"),
        pytest.param(lambda budgets: budgets.unasked(), LIMITS.h2_max_unasked_acks, id="unasked acks"),
        pytest.param(lambda budgets: budgets.unknown(), LIMITS.h2_max_unknown_frames, id="unknown frames"),
    ],
)
def test_as_many_as_documented(charge, allowed):
    budgets = Budgets(LIMITS)

    assert charges_until_overdrawn(lambda: charge(budgets)) == allowed


def test_priorities_grow_with_the_streams():
    budgets = Budgets(LIMITS)
    budgets.streams = 3

    assert charges_until_overdrawn(budgets.priority) == 4 * LIMITS.h2_max_priority_frames


def test_window_updates_grow_with_streams_and_data():
    budgets = Budgets(LIMITS)
    budgets.streams = 3
    budgets.data_sent = 7

    assert charges_until_overdrawn(budgets.window_update) == 5 + 2 * (3 + 10 * 7)


def test_content_makes_up_for_empty_frames():
    budgets = Budgets(LIMITS)
    for _ in range(10 * LIMITS.h2_max_empty_frames):
        budgets.empty()
        budgets.content()

    assert charges_until_overdrawn(budgets.empty) == LIMITS.h2_max_empty_frames


@given(st.lists(st.floats(0, 10), max_size=60), st.integers(1, 10), st.floats(0.1, 5))
def test_a_bucket_never_lets_more_through_than_burst_and_rate(gaps, burst, rate):
    bucket = Bucket(burst, rate)
    now = 0.0
    passed: list[float] = []
    for gap in gaps:
        now += gap
        if not bucket.charge(now):
            break
        passed.append(now)
    for first, at in enumerate(passed):
        assert len(passed) - first <= burst + rate * (passed[-1] - at) + 1e-6


def test_a_bucket_at_rest_is_full_again():
    bucket = Bucket(3, 1.0)
    assert [bucket.charge(0.0) for _ in range(4)] == [True, True, True, False]

    assert [bucket.charge(100.0) for _ in range(4)] == [True, True, True, False]
