"""The send queue against a slow, obvious model: windows kept, order kept, nothing lost, turns taken fairly."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_pingora.http2.frames import END_STREAM, FRAME_HEADER
from sansio_pingora.http2.outflow import Outflow
from sansio_pingora.http2.stream import Stream
from tests.memory import counting, cut

MAX_FRAME = 7


class Model(RuleBasedStateMachine):
    @initialize(window=st.integers(0, 60))
    def begin(self, window):
        self.flow = Outflow()
        self.flow.window = self.window = window
        self.streams: dict[int, Stream] = {}
        self.waiting: dict[int, bytes] = {}
        self.windows: dict[int, int] = {}
        self.ending: set[int] = set()
        self.next = 1

    @rule(window=st.integers(-5, 30), urgency=st.integers(0, 7), incremental=st.booleans())
    def open(self, window, urgency, incremental):
        stream = Stream(self.next, self.next, window, 0, 0.0)
        stream.urgency, stream.incremental = urgency, incremental
        self.streams[self.next] = stream
        self.waiting[self.next] = b""
        self.windows[self.next] = window
        self.next += 2

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), piece=st.binary(min_size=1, max_size=20))
    def push(self, data, piece):
        stream_id = data.draw(st.sampled_from([*self.streams]))
        if stream_id in self.ending:
            return
        self.flow.push(self.streams[stream_id], piece)
        self.waiting[stream_id] += piece

    @precondition(lambda self: self.streams)
    @rule(data=st.data())
    def end(self, data):
        stream_id = data.draw(st.sampled_from([*self.streams]))
        if self.waiting[stream_id]:
            self.streams[stream_id].ending = True
            self.ending.add(stream_id)

    @rule(increment=st.integers(1, 40))
    def grant(self, increment):
        self.flow.grant(increment)
        self.window += increment

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), increment=st.integers(-20, 40))
    def grant_stream(self, data, increment):
        stream_id = data.draw(st.sampled_from([*self.streams]))
        self.flow.grant_stream(self.streams[stream_id], increment)
        self.windows[stream_id] += increment

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), urgency=st.integers(0, 7), incremental=st.booleans())
    def reprioritise(self, data, urgency, incremental):
        stream_id = data.draw(st.sampled_from([*self.streams]))
        self.flow.reprioritise(self.streams[stream_id], urgency, incremental)

    @precondition(lambda self: self.streams)
    @rule(data=st.data())
    def drop(self, data):
        stream_id = data.draw(st.sampled_from([*self.streams]))
        self.flow.drop(self.streams.pop(stream_id))
        self.waiting.pop(stream_id)
        self.windows.pop(stream_id)
        self.ending.discard(stream_id)

    @rule(budget=st.integers(1, 80))
    def take(self, budget):
        out: list[bytes] = []
        emptied = self.flow.take(out, budget, MAX_FRAME)
        sent = 0
        for header, payload in zip(out[::2], out[1::2], strict=True):
            # Only who may send, and of those only the most urgent.
            able = [i for i in self.streams if self.waiting[i] and self.windows[i] > 0]
            high, low, _, flags, stream_id = FRAME_HEADER.unpack(header)
            assert (high << 8 | low) == len(payload)
            assert stream_id in able
            assert self.streams[stream_id].urgency == min(self.streams[i].urgency for i in able)
            assert 0 < len(payload) <= min(MAX_FRAME, self.windows[stream_id], self.window)
            assert self.waiting[stream_id].startswith(payload)
            self.waiting[stream_id] = self.waiting[stream_id][len(payload) :]
            self.windows[stream_id] -= len(payload)
            self.window -= len(payload)
            sent += len(payload)
            assert bool(flags & END_STREAM) == (stream_id in self.ending and not self.waiting[stream_id])
            if flags & END_STREAM:
                self.ending.discard(stream_id)
                self.streams[stream_id].ending = False
        assert {stream.id for stream in emptied} == {
            frame[4] for frame in map(FRAME_HEADER.unpack, out[::2]) if not self.waiting[frame[4]]
        }
        able = [i for i in self.streams if self.waiting[i] and self.windows[i] > 0]
        assert sent >= budget or self.window <= 0 or not able  # it stops for no other reason

    @invariant()
    def accounts(self):
        if not hasattr(self, "flow"):
            return
        assert self.flow.pending == sum(map(len, self.waiting.values()))
        assert self.flow.window == self.window
        for stream_id, stream in self.streams.items():
            assert stream.pending == len(self.waiting[stream_id])
            assert stream.send_window == self.windows[stream_id]
        able = any(self.waiting[i] and self.windows[i] > 0 for i in self.streams)
        assert self.flow.ready == (able and self.window > 0)


TestOutflow = Model.TestCase


def test_turns_are_taken_frame_by_frame():
    flow = Outflow()
    streams = [Stream(stream_id, stream_id, 1000, 0, 0.0) for stream_id in (1, 3, 5)]
    for stream in streams:
        flow.push(stream, b"x" * 20)
    out: list[bytes] = []
    flow.take(out, 1000, 10)

    assert [FRAME_HEADER.unpack(header)[4] for header in out[::2]] == [1, 3, 5, 1, 3, 5]


def test_what_is_not_incremental_goes_first_to_its_end():
    flow = Outflow()
    streams = [Stream(stream_id, stream_id, 1000, 0, 0.0) for stream_id in (1, 3)]
    for stream in streams:
        stream.incremental = False
        flow.push(stream, b"x" * 20)
    out: list[bytes] = []
    flow.take(out, 1000, 10)

    assert [FRAME_HEADER.unpack(header)[4] for header in out[::2]] == [1, 1, 3, 3]


def test_a_large_piece_costs_no_more_than_its_size():
    flow = Outflow()
    stream = Stream(1, 1, 1 << 30, 0, 0.0)
    flow.window = 1 << 30
    flow.push(stream, bytes(8 << 20))
    out: list[bytes] = []
    flow.take(out, 1 << 30, 16_384)

    assert sum(map(len, out[1::2])) == 8 << 20
    assert len(out) == 2 * (8 << 20) // 16_384


def test_tiny_pieces_wait_in_memory_of_about_their_size():
    flow, stream, whole = Outflow(), Stream(1, 1, 0, 0, 0.0), bytes(range(256)) * 200
    with counting() as held:
        for piece in cut(whole, 2):
            flow.push(stream, piece)
        assert held() < 1.5 * len(whole)
    assert b"".join(stream.queue) == whole
