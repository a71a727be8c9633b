"""What waits in line says what it said, and takes no more memory than that."""

from __future__ import annotations

import sys
from collections import deque
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.wire import Body, Done, Fields, Header, ResponseHeader, Trailer, UpgradedBody, join_piece, join_task

SIZES = st.integers(0, 3) | st.sampled_from([500, 511, 512, 513, 1022, 1023, 1024, 1025, 3000])
TASKS = st.builds(
    lambda kind, size, end: kind(bytes(index % 251 for index in range(size)), end),
    st.sampled_from([Body, UpgradedBody]),
    SIZES,
    st.booleans(),
) | st.sampled_from([Done(), Trailer(Fields()), Header(ResponseHeader(100), False)])


def said(tasks):
    """Each message as its kind, its bytes and its end, however it is cut; anything else as it is."""
    found = []
    for task in tasks:
        if isinstance(task, Body | UpgradedBody):
            if found and type(found[-1]) is list and found[-1][0] is type(task) and not found[-1][2]:
                found[-1][1] += task.data
                found[-1][2] = task.end
            else:
                found.append([type(task), task.data, task.end])
        else:
            found.append(task)
    return found


@given(st.lists(TASKS, max_size=30), st.sampled_from([deque, list]))
def test_tasks_say_the_same_in_fewer(tasks, kind):
    line, before = kind(), [repr(task) for task in tasks]
    for task in tasks:
        join_task(line, task)
    assert said(line) == said(tasks)
    assert [repr(task) for task in tasks] == before
    for one, other in pairwise(line):
        if type(one) is type(other) and type(one) in (Body, UpgradedBody) and not one.end:
            assert len(one.data) + len(other.data) > 1024


@given(st.lists(st.builds(bytes, SIZES) | st.text(max_size=3), max_size=30))
def test_pieces_are_the_same_in_fewer(pieces):
    line = deque()
    for piece in pieces:
        join_piece(line, piece)

    def runs(of):
        return [(kind, kind().join(run)) for kind, run in groupby(of, type)]

    assert runs(line) == runs(pieces)
    assert all(len(one) + len(other) > 1024 for one, other in pairwise(line) if type(one) is type(other))


def test_what_is_no_piece_is_left_alone():
    view = memoryview(b"ab")
    line = deque([view])
    join_piece(line, b"c")
    assert list(line) == [view, b"c"]


@pytest.mark.parametrize("size", [1, 2, 3, 511, 513, 1024])
def test_memory_is_that_of_the_payload(size):
    line, payload = deque(), 64 * 1024
    for _ in range(payload // size):
        join_task(line, Body(bytes(size)))
    held = sys.getsizeof(line) + sum(sys.getsizeof(task) + sys.getsizeof(task.data) for task in line)
    assert held < 1.3 * payload
