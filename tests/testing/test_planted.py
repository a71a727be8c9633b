"""Faults planted in a copy of our machines are found by the kit; ``python -m tests.planted`` does all of them."""

import pytest

from tests.planted.__main__ import plant
from tests.planted.faults import FAULTS

BY_NAME = {fault.name: fault for fault in FAULTS}


@pytest.mark.parametrize("name", BY_NAME)
def test_each_fault_can_still_be_planted(name):
    compile(BY_NAME[name].changed(), BY_NAME[name].module, "exec")


@pytest.mark.parametrize(
    ("name", "hunt", "case"),
    [
        ("smuggling: both framings taken", "known_bad_requests", "Transfer-Encoding: chunked"),
        ("missing deadline: who waits for a connection", "PoolMachine", "state.acquire("),
        ("a timer that moved later is lost", "simulator", "seed"),
    ],
)
def test_a_planted_fault_is_found(name, hunt, case):
    result = plant(BY_NAME[name], [hunt])

    assert result["found"] == hunt
    assert case in result["case"]
