"""The beginning of a request body, kept for another attempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.session import ReplayBuffer
from tests.memory import counting, cut


def test_empty():
    replay = ReplayBuffer(10)
    assert replay.complete
    assert replay.body() is None
    assert not replay.end


@pytest.mark.parametrize(("size", "complete"), [(0, True), (65_535, True), (65_536, True), (65_537, False)])
def test_the_ceiling(size, complete):
    replay = ReplayBuffer(65_536)
    replay.add(b"x" * size)
    assert replay.complete is complete
    assert replay.size == (size if complete else 0)


def test_once_too_much_always_too_much():
    replay = ReplayBuffer(4)
    replay.add(b"12345")
    replay.add(b"1")
    assert not replay.complete
    assert replay.body() is None


def test_release():
    replay = ReplayBuffer(10)
    replay.add(b"abc")
    replay.release()
    replay.add(b"d")
    assert replay.body() is None
    assert not replay.complete


@given(st.lists(st.binary(max_size=40)), st.integers(0, 200))
def test_all_or_nothing(pieces, ceiling):
    replay = ReplayBuffer(ceiling)
    for piece in pieces:
        replay.add(piece)
    whole = b"".join(pieces)
    assert replay.complete is (len(whole) <= ceiling)
    body = replay.body()
    assert (b"" if body is None else body.data) == (whole if replay.complete else b"")


@pytest.mark.parametrize("size", [1, 2, 100])
def test_memory_is_that_of_the_body(size):
    replay = ReplayBuffer(65_536)
    whole = bytes(range(250)) * 100
    with counting() as held:
        for piece in cut(whole, size):
            replay.add(piece)
        assert held() < 1.2 * len(whole) + 1000
    assert replay.body().data == whole


def test_one_piece_is_kept_as_it_is():
    replay, piece = ReplayBuffer(10), b"a piece"
    replay.add(piece)
    assert replay.body().data is piece
