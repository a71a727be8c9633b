"""A share of the differential test for every run: ``python -m tests.http2.differential --inputs 100000`` is the whole."""

from __future__ import annotations

import pytest

from tests.http2.differential import Tally, compare


@pytest.mark.parametrize("first", range(0, 1_000, 100))
def test_the_engines_read_alike_but_for_what_is_listed(first):
    tally = Tally()
    for seed in range(first, first + 30):
        compare(seed, tally)

    assert tally.faults == []
