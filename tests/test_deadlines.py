"""The lazy heap of deadlines."""

import math
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.deadlines import Deadlines


def item(deadline=math.inf):
    return SimpleNamespace(deadline=deadline, armed=math.inf)


def test_an_entry_that_was_overtaken_is_dropped():
    deadlines = Deadlines()
    one = item(10.0)
    deadlines.arm(one)
    one.deadline = 5.0
    deadlines.arm(one)
    assert deadlines.due(5.0) == [one]
    one.deadline = 20.0
    deadlines.arm(one)
    assert deadlines.due(10.0) == []
    assert (deadlines.next, len(deadlines._heap)) == (20.0, 1)


def test_a_later_deadline_is_looked_at_again():
    deadlines = Deadlines()
    one = item(10.0)
    deadlines.arm(one)
    one.deadline = 15.0
    deadlines.arm(one)
    assert deadlines.due(10.0) == []
    assert deadlines.due(15.0) == [one]
    assert deadlines.next == math.inf


_STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["arm", "arm", "pause", "forget", "wait"]), st.integers(0, 8)),
    max_size=200,
)


@given(_STEPS)
def test_against_a_plain_list(steps):
    deadlines = Deadlines()
    items = [item() for _ in range(6)]
    now = 0.0
    for index, move, by in steps:
        chosen = items[index]
        if move == "arm":
            chosen.deadline = now + by + 1
            deadlines.arm(chosen)
        elif move == "pause":
            chosen.deadline = math.inf
        elif move == "forget":
            deadlines.forget(chosen)
            items[index] = item()
        else:
            now += by
            expected = [each for each in items if each.deadline <= now]
            assert sorted(map(id, deadlines.due(now))) == sorted(map(id, expected))
            assert all(each.deadline == math.inf for each in expected)
            assert deadlines.next > now
        assert deadlines.next <= min(each.deadline for each in items)
        assert len(deadlines._heap) <= 2 * len(items) + 33
