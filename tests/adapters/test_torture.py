"""A call fails, at each place where it can, on each runtime: the fast part of ``python -m tests.adapters.torture``."""

from __future__ import annotations

import pytest

from tests.adapters.torture import ERRORS, KINDS, NOT_ON, SCENARIOS, can_torture, preloaded, tortured

pytestmark = pytest.mark.skipif(not can_torture(), reason="needs Linux and a C compiler")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return preloaded(tmp_path_factory.mktemp("torture"))


def test_a_call_that_fails_leaks_nothing_and_hangs_nobody(runtime, library, tmp_path):
    with tortured(runtime, library, tmp_path) as proxy:
        counts = proxy.counts("pooled")
        for kind in KINDS:
            if (runtime, kind) in NOT_ON:
                continue
            for at in range(1, min(counts[kind], 4) + 1):
                # The errors take turns; the command has each of them at each place.
                proxy.strike("pooled", kind, at, ERRORS[kind][at % len(ERRORS[kind])])

    assert proxy.complaints == []
    assert counts["accept"] >= 2
    assert proxy.strikes >= 15


def test_the_tables_fit():
    assert set(ERRORS) == set(KINDS)
    assert all(scenario.__doc__ for scenario in SCENARIOS.values())
