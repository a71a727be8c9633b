"""Windows, room and credit against a slow, obvious model, in either role.

The peer keeps its own books of every window and refuses what they do not allow; the model adds what it cannot see:
that nothing is held back which may go out, that room is what is free, and that credit is what was used.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_pingora.wire import Body, Done, Failed, Header, ResponseHeader
from tests.http2.peer import LARGEST, Set
from tests.http2.runs import BROKEN, make_client, make_server, request_head

HIGH_WATER, SEND_BUFFER = 1_000, 2_500
WINDOW, CONNECTION_WINDOW = 70_000, 90_000
SIZES = st.sampled_from([1, 10, 400, 1_000, 3_000])


class Flow:
    """What one stream was given and told."""

    def __init__(self) -> None:
        self.given = b""
        self.ended = False
        self.waits = False
        """Its sender was told that there is no room, and not yet that there is."""
        self.unused = 0
        """Payload that was delivered and not used up."""


class Model(RuleBasedStateMachine):
    @initialize(server=st.booleans(), window=st.sampled_from([0, 5, 1_000, 65_535]))
    def begin(self, server, window):
        make = make_server if server else make_client
        self.session = make(
            {Set.WINDOW: window},
            consumes=False,
            high_water=HIGH_WATER,
            h2_send_buffer=SEND_BUFFER,
            h2_window=WINDOW,
            h2_connection_window=CONNECTION_WINDOW,
            h2_settings_burst=10_000,
            h2_reset_burst=10_000,
            h2_max_window_updates=10_000,
            h2_max_empty_frames=10_000,
        )
        self.peer = self.session.peer
        self.server = server
        self.flows: dict[int, Flow] = {}
        self.paused = False
        self.updates = 5

    @precondition(lambda self: not self.paused)
    @rule()
    def pause(self):
        """The transport holds enough."""
        self.session.machine.write_paused(0.0)
        self.session.reads = False
        self.paused = True

    @precondition(lambda self: self.paused)
    @rule()
    def resume(self):
        self.paused = False
        self.session.reads = True
        self.session.take(self.session.machine.write_resumed(0.0))
        assert self.session.machine.want_read

    def reading(self) -> bool:
        return self.session.machine.want_read

    def key(self, stream: int) -> int:
        """What the machine calls the stream: a client numbers its own."""
        return stream if self.server else (stream + 1) // 2

    def live(self) -> list[int]:
        return list(self.flows)

    def hear(self) -> None:
        """Take note of what was told."""
        for key, kind, *rest in self.session.told():
            stream = key if self.server else key * 2 - 1
            if stream not in self.flows:
                continue
            flow = self.flows[stream]
            if kind == "writable":
                assert flow.waits, "told of room that it did not wait for"
                assert 0 < rest[0] <= self.room(stream)  # more may have left since
                flow.waits = False
            elif kind == "body":
                flow.unused += len(rest[0])

    def pending(self, stream: int) -> int:
        return len(self.flows[stream].given) - self.peer.streams[stream].got

    def room(self, stream: int) -> int:
        queued = sum(self.pending(each) for each in self.flows)
        return min(HIGH_WATER - self.pending(stream), SEND_BUFFER - queued)

    @precondition(lambda self: len(self.flows) < 5 and not self.paused)
    @rule()
    def open(self):
        self.updates += 2
        if self.server:
            stream = self.peer.highest + 2 if self.peer.highest else 1
            self.session.deliver(self.peer.request(stream, "POST", end=False))
            room = self.session.send(stream, Header(ResponseHeader(200), False))
        else:
            key = self.session.machine.open_stream(0.0)
            stream = key * 2 - 1
            room = self.session.send(key, Header(request_head("POST"), False))
            self.session.deliver(self.peer.response(stream, 200, end=False))
        self.flows[stream] = Flow()
        assert room == self.room(stream)
        self.flows[stream].waits = room <= 0

    @precondition(lambda self: self.flows)
    @rule(data=st.data(), size=SIZES, end=st.booleans())
    def send(self, data, size, end):
        stream = data.draw(st.sampled_from(self.live()))
        flow = self.flows[stream]
        if flow.ended or flow.waits:
            return
        payload = bytes([len(flow.given) % 251]) * size
        flow.given += payload
        flow.ended = end
        before = self.session.machine.send(self.key(stream), Body(payload, end), 0.0)
        queued = sum(self.pending(each) for each in self.flows)
        if not self.peer.streams[stream].theirs_ended and not end:
            # What it queued itself is not on the wire yet when it answers: room is counted before it leaves.
            assert before <= HIGH_WATER
            assert before >= min(HIGH_WATER - self.pending(stream), SEND_BUFFER - queued)
        flow.waits = before <= 0
        self.session.settle()

    @precondition(lambda self: self.flows)
    @rule(data=st.data())
    def end(self, data):
        stream = data.draw(st.sampled_from(self.live()))
        if not self.flows[stream].ended:
            self.flows[stream].ended = True
            self.session.send(self.key(stream), Done())

    @rule(increment=st.sampled_from([1, 100, 2_000, 60_000]))
    def grant(self, increment):
        if self.reading() and self.peer.window + increment <= LARGEST and self.allowed():
            self.session.deliver(self.peer.window_update(0, increment))

    @precondition(lambda self: self.flows)
    @rule(data=st.data(), increment=st.sampled_from([1, 100, 2_000, 60_000]))
    def grant_stream(self, data, increment):
        stream = data.draw(st.sampled_from(self.live()))
        room = LARGEST - self.peer.streams[stream].window
        if self.reading() and increment <= room and self.allowed():
            self.session.deliver(self.peer.window_update(stream, increment))

    def allowed(self) -> bool:
        """The budget of window updates."""
        self.updates -= 1
        return self.updates > 0

    @precondition(reading)
    @rule(window=st.sampled_from([0, 3, 500, 20_000, 65_535]))
    def change_windows(self, window):
        self.session.deliver(self.peer.set({Set.WINDOW: window}))

    @precondition(reading)
    @rule(size=st.sampled_from([16_384, 17_000]))
    def change_frames(self, size):
        self.session.deliver(self.peer.set({Set.FRAME: size}))

    @precondition(lambda self: self.flows)
    @rule(data=st.data(), ours=st.booleans())
    def reset(self, data, ours):
        stream = data.draw(st.sampled_from(self.live()))
        if self.paused and not ours:
            return  # what is on its way already would look like a fault
        del self.flows[stream]
        if ours:
            self.session.send(self.key(stream), Failed(BROKEN))
        else:
            self.session.deliver(self.peer.rst(stream))

    @precondition(lambda self: self.flows)
    @rule(
        data=st.data(),
        size=st.sampled_from([1, 100, 5_000, 16_000]),
        pad=st.none() | st.integers(0, 50),
        end=st.booleans(),
    )
    def receive(self, data, size, pad, end):
        stream = data.draw(st.sampled_from(self.live()))
        half = self.peer.streams[stream]
        spent = size + (0 if pad is None else pad + 1)
        if half.ours_ended or not self.reading() or spent > half.credit or spent > self.peer.credit:
            return
        self.session.deliver(self.peer.data(stream, bytes(size), pad=pad, end=end and self.server))
        self.hear()

    @precondition(lambda self: any(flow.unused for flow in self.flows.values()))
    @rule(data=st.data(), share=st.floats(0, 1))
    def use(self, data, share):
        stream = data.draw(st.sampled_from([stream for stream, flow in self.flows.items() if flow.unused]))
        flow = self.flows[stream]
        size = round(flow.unused * share)
        flow.unused -= size
        self.session.machine.consumed(self.key(stream), size, 0.0)
        self.session.settle()

    @invariant()
    def everything_fits(self):
        if not hasattr(self, "session"):
            return
        self.hear()
        assert not self.session.over
        if self.paused:
            return
        for stream, flow in list(self.flows.items()):
            half = self.peer.streams[stream]
            assert flow.given.startswith(self.session.data(stream)), "another order, or other bytes"
            if self.server and half.theirs_ended:
                flow.unused = 0  # who has answered reads no more, and the credit comes back at once
            waiting = self.pending(stream)
            assert not waiting or half.window <= 0 or self.peer.window <= 0, f"{waiting} bytes held back on {stream}"
            assert half.theirs_ended == (flow.ended and not waiting)
            if not half.ours_ended:
                kept_back = WINDOW - half.credit - flow.unused
                assert 0 <= kept_back <= WINDOW / 2, f"{kept_back} bytes of credit kept back on {stream}"
            room = self.room(stream)
            if flow.waits and not flow.ended:
                assert room < HIGH_WATER // 2, f"nobody told stream {stream} of {room} bytes of room"
                assert room <= 0 or waiting, f"stream {stream} has sent all that it had, and is not told to go on"
            if half.over:
                del self.flows[stream]
        unused = sum(flow.unused for flow in self.flows.values())
        kept_back = CONNECTION_WINDOW - self.peer.credit - unused
        assert 0 <= kept_back <= CONNECTION_WINDOW / 2, f"{kept_back} bytes of the connection's credit kept back"
        assert self.session.machine.active == len(self.flows)


TestFlow = Model.TestCase
