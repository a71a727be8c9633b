"""ReceiveBuffer against plain bytes, and what it promises about copies and searches."""

from __future__ import annotations

import re

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_pingora.wire import ReceiveBuffer

MARKS = [b"\r\n", b"\n", b"\r\n\r\n"]
LONG = 70_000  # more than it lets pile up before it drops what was used
words = st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bcd", b"long"]).map(
    lambda word: b"x" * LONG if word == b"long" else word
)
pieces = st.lists(words, max_size=4).map(b"".join)


class AgainstBytes(RuleBasedStateMachine):
    """Whatever is done, it holds what a bytes object would."""

    @initialize(mark=st.sampled_from(MARKS))
    def start(self, mark):
        self.buffer = ReceiveBuffer()
        self.held = b""
        self.mark = mark

    @rule(data=pieces)
    def append(self, data):
        self.buffer.append(data)
        self.held += data

    @rule(data=pieces)
    def read(self, data):
        """As a reader does: what is new, then the mark."""
        self.append(data)
        self.find()

    @rule()
    def find(self):
        at = self.held.find(self.mark)

        assert self.buffer.find(self.mark) == (at + len(self.mark) if at >= 0 else -1)

    @rule(limit=st.integers(0, 8) | st.just(LONG + 1) | st.just(10**9))
    def upto(self, limit):
        at = self.held.find(self.mark)
        end = at + len(self.mark)
        piece = self.buffer.upto(self.mark, limit)

        assert type(piece) is bytes
        assert piece == (self.held[:end] if at >= 0 and end <= limit else b"")

    @rule(size=st.integers(0, 8) | st.just(LONG + 1) | st.just(10**9))
    def peek(self, size):
        assert self.buffer.peek(size) == self.held[:size]

    @rule(size=st.integers(0, 8) | st.just(LONG + 1) | st.just(10**9))
    def take(self, size):
        taken = self.buffer.take(size)

        assert type(taken) is bytes
        assert taken == self.held[:size]
        self.held = self.held[size:]

    @rule()
    def take_all(self):
        assert self.buffer.take_all() == self.held
        self.held = b""

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def skip(self, data):
        size = data.draw(st.integers(0, min(len(self.held), 8)))
        self.buffer.skip(size)
        self.held = self.held[size:]

    @rule(start=st.integers(0, 8))
    def search(self, start):
        pattern = re.compile(rb"[bc]")
        match = pattern.search(self.held, start)

        assert self.buffer.search(pattern, start) == (match.start() if match else -1)

    @rule(start=st.integers(0, 8), size=st.integers(0, 8))
    def slice(self, start, size):
        piece = self.buffer.slice(start, start + size)

        assert type(piece) is bytes
        assert piece == self.held[start : start + size]

    @invariant()
    def as_long(self):
        assert len(self.buffer) == self.buffer.size == len(self.held)
        assert bool(self.buffer) == bool(self.held)


TestAgainstBytes = AgainstBytes.TestCase


def test_one_read_passes_through_without_a_copy():
    buffer = ReceiveBuffer()
    data = b"chunk" * 1000
    buffer.append(data)

    assert buffer.peek(len(data)) is data
    assert buffer.upto(b"k", 5) == b"chunk"
    assert buffer.take_all() is data

    buffer.append(data)
    assert buffer.take(10**9) is data


def test_a_read_after_everything_was_used_is_kept_as_it_is():
    buffer = ReceiveBuffer()
    buffer.append(b"ab")
    buffer.append(b"cd")
    buffer.skip(4)
    data = b"next"
    buffer.append(data)

    assert buffer.take_all() is data


def test_find_never_looks_again_where_it_has_looked():
    buffer = ReceiveBuffer()
    buffer.append(b"a")
    buffer.append(b"a" * 99)

    assert buffer.find(b"\r\n") == -1
    # A mark that appears where a search has been would be found only by a second search there.
    buffer._data[50:52] = b"\r\n"
    buffer.append(b"a" * 100)

    assert buffer.find(b"\r\n") == -1


def test_find_sees_a_mark_that_came_in_two_reads():
    buffer = ReceiveBuffer()
    for byte in b"ab\r\n\r":
        buffer.append(bytes([byte]))
        assert buffer.find(b"\r\n\r\n") == -1
    buffer.append(b"\nrest")

    assert buffer.find(b"\r\n\r\n") == 6


@pytest.mark.parametrize("reads", [[b"aab"], [b"aa", b"b"]], ids=["one read", "several"])
def test_a_search_goes_on_where_it_was_after_the_used_part_is_dropped(reads):
    """Offsets of the search and of the bytes move together."""
    buffer = ReceiveBuffer()
    for data in reads:
        buffer.append(data)
    buffer.append(b"c" * 70_000)
    buffer.skip(70_000)

    assert buffer.find(b"\r\n") == -1
    buffer.append(b"\r")
    assert buffer.find(b"\r\n") == -1
    buffer.append(b"\n")
    assert buffer.find(b"\r\n") == 5


def test_a_search_goes_on_where_it_was_when_a_second_read_makes_a_copy():
    buffer = ReceiveBuffer()
    buffer.append(b"used" + b"ab\r")
    buffer.skip(4)

    assert buffer.find(b"\r\n") == -1
    buffer.append(b"\n")
    assert buffer.find(b"\r\n") == 4


def test_a_stream_of_single_bytes_is_not_kept_after_use():
    """What was taken is dropped now and then, though the buffer never runs empty."""
    buffer = ReceiveBuffer()
    buffer.append(b"ab")
    buffer.append(b"c")
    for _ in range(40):
        buffer.append(b"x" * 8_192)
        buffer.skip(8_192)

    assert len(buffer) == 3
    assert len(buffer._data) < 3 * 65_536
