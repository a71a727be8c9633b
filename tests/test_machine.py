"""The lane: nothing late, nothing twice, nothing forgotten; and the endpoint between driver and machines."""

from __future__ import annotations

import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.machine import (
    AT_ONCE,
    Closing,
    ConnectionClosed,
    Endpoint,
    Lane,
    Writable,
)


class FakeConnection:
    """Does what it is told: its next deadlines and events are given beforehand; it notes every call."""

    def __init__(self):
        self.endpoint = None
        self.deadline = math.inf
        self.next_deadlines = []
        self.events = []
        self.calls = []
        self.starved = False
        self.stalled = False

    def _told(self, *call):
        self.calls.append(call)
        events, self.events = self.events, []
        return events

    def receive_data(self, data, now):
        return self._told("receive_data", data, now)

    def receive_eof(self, now):
        return self._told("receive_eof", now)

    def transport_lost(self, reason, now):
        self.deadline = math.inf
        self.next_deadlines = []
        return self._told("transport_lost", reason, now)

    def handle_timeout(self, now):
        if self.deadline <= now:
            self.deadline = self.next_deadlines.pop(0) if self.next_deadlines else math.inf
        return self._told("handle_timeout", now)

    def write_paused(self, now):
        self.calls.append(("write_paused", now))

    def write_resumed(self, now):
        return self._told("write_resumed", now)

    def write_progressed(self, now):
        self.calls.append(("write_progressed", now))
        self.deadline = now + 30


class FakeCoordinator:
    """A member without a transport."""

    def __init__(self):
        self.deadline = math.inf
        self.next_deadlines = []
        self.listed = False
        self.armed = math.inf
        self.calls = []

    def handle_timeout(self, now):
        self.calls.append(("handle_timeout", now))
        if self.deadline <= now:
            self.deadline = self.next_deadlines.pop(0) if self.next_deadlines else math.inf


class Recorder:
    def __init__(self):
        self.events = []

    def receive_event(self, stream_id, value, now):
        self.events.append((stream_id, value, now))


def an_endpoint(lane):
    return Endpoint(lane, FakeConnection(), Recorder())


delays = st.floats(0.001, 100) | st.integers(1, 100)
deadlines = st.lists(delays | st.just(math.inf) | st.just(AT_ONCE), max_size=3)


class LaneModel(RuleBasedStateMachine):
    """A driver that obeys the contract, and machines whose deadlines jump about.

    The model is no more than the members and a clock: who is due is asked of each.
    """

    @initialize()
    def start(self):
        self.lane = Lane()
        self.now = 1000.0
        self.members = []
        self.changed = set()

    def _machine(self, member):
        return member.connection if isinstance(member, Endpoint) else member

    @rule()
    def add_endpoint(self):
        endpoint = an_endpoint(self.lane)
        self.lane.attach(endpoint)
        self.members.append(endpoint)
        self.changed.add(endpoint)

    @rule()
    def add_coordinator(self):
        coordinator = FakeCoordinator()
        self.lane.enlist(coordinator)
        self.members.append(coordinator)
        self.changed.add(coordinator)

    @precondition(lambda self: self.members)
    @rule(
        data=st.data(),
        first=delays | st.just(math.inf) | st.just(AT_ONCE),
        then=deadlines,
        times=st.integers(1, 2),
        settled=st.booleans(),
    )
    def change(self, data, first, then, times, settled):
        """A machine's deadline moves, earlier or later, and it enlists itself, perhaps more than once."""
        member = data.draw(st.sampled_from(self.members))
        machine = self._machine(member)
        machine.deadline = self.now + first
        machine.next_deadlines = [self.now + delay for delay in then]
        for _ in range(times):
            self.lane.enlist(member)
        self.changed.add(member)
        if settled:
            self.settle()

    @precondition(lambda self: any(isinstance(member, Endpoint) for member in self.members))
    @rule(data=st.data(), first=delays | st.just(math.inf))
    def receive(self, data, first):
        """Input on a transport: the endpoint enlists itself."""
        endpoint = data.draw(st.sampled_from([member for member in self.members if isinstance(member, Endpoint)]))
        endpoint.connection.deadline = self.now + first
        endpoint.receive_data(b"x", self.now)
        self.changed.add(endpoint)

    @precondition(lambda self: any(isinstance(member, Endpoint) for member in self.members))
    @rule(data=st.data())
    def lose(self, data):
        endpoint = data.draw(st.sampled_from([member for member in self.members if isinstance(member, Endpoint)]))
        endpoint.transport_lost(None, self.now)
        self.members.remove(endpoint)
        self.changed.add(endpoint)

    @rule()
    def settle(self):
        """Everything that changed is served exactly once a round, and rounds come to an end."""
        expected = self.changed
        for _ in range(10):
            served = self.lane.drain(self.now)
            if not served:
                break
            assert len(served) == len(set(served))
            assert set(served) == expected
            expected = {member for member in served if member.listed}  # said more while it was served
        assert self.lane.drain(self.now) == []
        self.changed = set()

    @rule(step=delays, to_deadline=st.booleans())
    def time_passes(self, step, to_deadline):
        """The driver wakes at the lane's deadline, or late; never does it have to be asked."""
        self.settle()
        if to_deadline and self.lane.deadline != math.inf:
            self.now = max(self.now, self.lane.deadline)
        else:
            self.now += step
        for _ in range(10):
            due = self.lane.due(self.now)
            assert len(due) == len(set(due))
            assert set(due) == {member for member in self.members if member.deadline <= self.now}
            if not due:
                break
            for member in due:
                member.handle_timeout(self.now)
                assert self._machine(member).calls[-1] == ("handle_timeout", self.now)
            self.changed = set(due)
            self.settle()
        assert self.lane.deadline > self.now, "the driver's timer would fire again at once, for ever"

    @invariant()
    def never_late(self):
        """What has not changed since the last settling is covered by the timer."""
        quiet = [member.deadline for member in self.members if member not in self.changed]

        assert self.lane.deadline <= min(quiet, default=math.inf)

    @invariant()
    def forgets_nobody(self):
        assert set(self.lane.dirty) == self.changed
        assert set(self.lane.endpoints) == {member for member in self.members if isinstance(member, Endpoint)}


TestLaneModel = LaneModel.TestCase


def test_a_lane_with_nothing_to_do_never_wakes():
    lane = Lane()

    assert lane.deadline == math.inf
    assert lane.drain(0.0) == []
    assert lane.due(1e9) == []


def test_posted_calls_run_in_order_and_what_they_post_in_the_next_turn():
    lane, ran, rung = Lane(), [], []
    lane.ring = lambda: rung.append(len(ran))
    lane.post(lambda: lane.post(lambda: ran.append("later")))
    lane.post(lambda: ran.append("first"))

    lane.run_posted()
    assert (ran, rung) == (["first"], [0, 0, 0])
    lane.run_posted()
    assert ran == ["first", "later"]


def test_a_posted_call_that_raises_does_not_stop_those_behind_it():
    lane, ran, raised = Lane(), [], []
    for call in (lambda: 1 // 0, lambda: ran.append(1)):
        lane.post(call)

    lane.run_posted(raised.append)
    assert (ran, [type(exc) for exc in raised]) == ([1], [ZeroDivisionError])


def test_calls_for_a_lane_that_does_not_get_to_them_have_a_ceiling():
    lane = Lane()
    for _ in range(65_536):
        lane.post(list)

    with pytest.raises(LocalProtocolError, match="65536 calls wait"):
        lane.post(list)


def test_deadlines_that_move_later_cost_nothing_until_they_come():
    lane = Lane()
    endpoint = an_endpoint(lane)
    lane.attach(endpoint)
    endpoint.connection.deadline = 10.0
    lane.drain(0.0)
    for moved in range(1_000):
        endpoint.connection.deadline = 10.0 + moved
        lane.enlist(endpoint)
        lane.drain(0.0)

    assert len(lane._timers) == 1
    assert lane.due(10.0) == []  # looked at again, armed anew, nothing to do
    assert lane.deadline == 1_009.0


def test_a_deadline_that_moved_earlier_and_its_old_place_are_due_once():
    lane = Lane()
    endpoint = an_endpoint(lane)
    for deadline in (10.0, 5.0, 7.0):
        endpoint.connection.deadline = deadline
        lane.enlist(endpoint)
        lane.drain(0.0)

    assert lane.due(20.0) == [endpoint]
    assert lane.due(20.0) == []


def test_two_deadlines_at_the_same_instant_are_due_in_the_order_in_which_they_were_armed():
    lane = Lane()
    endpoints = [an_endpoint(lane) for _ in range(5)]
    for endpoint in endpoints:
        endpoint.connection.deadline = 7.0
        lane.attach(endpoint)
    lane.drain(0.0)

    assert lane.due(6.9) == []
    assert lane.due(7.0) == endpoints


def test_what_has_more_to_say_is_asked_until_it_has_not():
    lane = Lane()
    endpoint = an_endpoint(lane)
    endpoint.connection.deadline = AT_ONCE
    endpoint.connection.next_deadlines = [AT_ONCE, AT_ONCE, 50.0]
    lane.attach(endpoint)
    rounds = 0
    while lane.drain(5.0):
        rounds += 1

    assert endpoint.connection.calls == [("handle_timeout", 5.0)] * 3
    assert rounds == 4  # the last finds nothing new: delivering lists an endpoint
    assert lane.deadline <= 50.0


# ── endpoints ────────────────────────────────────────────────────────────────────────


@pytest.fixture
def lane():
    return Lane()


@pytest.fixture
def endpoint(lane):
    endpoint = an_endpoint(lane)
    lane.attach(endpoint)
    lane.drain(0.0)
    return endpoint


INPUTS = [
    pytest.param(lambda e: e.receive_data(b"ab", 1.0), ("receive_data", b"ab", 1.0), id="receive_data"),
    pytest.param(lambda e: e.receive_eof(1.0), ("receive_eof", 1.0), id="receive_eof"),
    pytest.param(lambda e: e.handle_timeout(1.0), ("handle_timeout", 1.0), id="handle_timeout"),
    pytest.param(lambda e: e.write_resumed(1.0), ("write_resumed", 1.0), id="write_resumed"),
    pytest.param(lambda e: e.transport_lost(None, 1.0), ("transport_lost", None, 1.0), id="transport_lost"),
]


@pytest.mark.parametrize(("put", "call"), INPUTS)
def test_every_input_delivers_its_events_in_order_and_lists_the_endpoint_once(lane, endpoint, put, call):
    first, second = Writable(5), ConnectionClosed(None)
    endpoint.connection.events = [(1, first), (0, second)]
    recorder = endpoint.receiver
    put(endpoint)

    assert endpoint.connection.calls == [call]
    assert recorder.events == [(1, first, 1.0), (0, second, 1.0)]
    assert lane.drain(1.0) == [endpoint]
    assert lane.drain(1.0) == []


def test_a_pause_is_no_event_but_may_move_a_deadline(lane, endpoint):
    endpoint.write_paused(1.0, 100)

    assert endpoint.connection.calls == [("write_paused", 1.0)]
    assert lane.drain(1.0) == [endpoint]


def test_output_that_an_input_caused_elsewhere_is_served_first(lane, endpoint):
    """So the peer's transport may have room again before this one's reading would be stopped."""
    other = an_endpoint(lane)
    endpoint.receiver.receive_event = lambda *_: lane.enlist(other)
    endpoint.connection.events = [(1, Writable(1))]
    endpoint.receive_data(b"x", 1.0)

    assert lane.drain(1.0) == [other, endpoint]


def test_nothing_is_delivered_after_the_transport_is_lost(lane, endpoint):
    recorder = endpoint.receiver
    endpoint.driver = object()
    reason = Error(ErrorType.READ_ERROR, "reset")
    closed = ConnectionClosed(reason)
    endpoint.connection.events = [(0, closed)]
    endpoint.transport_lost(reason, 1.0)
    endpoint.connection.events = [(1, Writable(1))]
    endpoint.transport_lost(None, 2.0)
    endpoint.handle_timeout(3.0)

    assert recorder.events == [(0, closed, 1.0)]
    assert endpoint.connection.calls == [("transport_lost", reason, 1.0), ("handle_timeout", 3.0)]
    assert endpoint.driver is None
    assert endpoint not in lane.endpoints


def test_a_transport_that_never_was_cannot_be_lost(lane):
    """A dial that failed is told to the machine that asked for it, not here."""
    endpoint = an_endpoint(lane)
    endpoint.transport_lost(None, 1.0)

    assert endpoint.connection.calls == []


def test_a_receiver_may_lose_its_own_transport(lane, endpoint):
    events = []

    def receive_event(stream_id, value, now):
        events.append(value)
        endpoint.transport_lost(None, now)

    endpoint.receiver.receive_event = receive_event
    endpoint.connection.events = [(1, Writable(1))]
    endpoint.receive_data(b"x", 1.0)

    assert len(events) == 1
    assert lane.drain(1.0) == [endpoint]


def test_room_is_told_only_to_who_waits_for_it(endpoint):
    endpoint.flushed(1.0)
    assert endpoint.connection.calls == []

    endpoint.connection.starved = True
    endpoint.flushed(2.0)
    assert endpoint.connection.calls == [("write_resumed", 2.0)]


@pytest.mark.parametrize(
    ("unsent", "progressed"),
    [
        ([90], [True]),
        ([100], [False]),
        ([110], [False]),
        ([90, 90], [True, False]),
        ([90, 50, 0], [True] * 3),
        ([0], [True]),
    ],
)
def test_a_peer_that_took_some_is_slow_and_not_stuck(endpoint, unsent, progressed):
    """Paused with 100 bytes unsent; then asked each time the write deadline comes."""
    connection = endpoint.connection
    endpoint.write_paused(0.0, 100)
    connection.stalled = True
    connection.deadline = 30.0
    connection.calls.clear()
    for left, took in zip(unsent, progressed, strict=True):
        now = connection.deadline
        endpoint.handle_timeout(now, left)
        expected = [("write_progressed", now)] if took else []
        assert connection.calls == [*expected, ("handle_timeout", now)]
        assert connection.deadline == (now + 30 if took else math.inf)
        connection.deadline = now + 30
        connection.calls.clear()


def test_members_that_wait_for_nothing_are_let_go(lane):
    """A timer of a closed connection would hold it until the deadline that it had."""
    kept = []
    for number in range(5000):
        member = an_endpoint(lane)
        lane.attach(member)
        member.connection.deadline = 60.0 + number
        lane.drain(0.0)
        if number % 100 == 0:
            kept.append(member)
        else:
            member.connection.deadline = math.inf
            member.transport_lost(None, 0.0)
            lane.drain(0.0)

    assert len(lane._timers) <= 1025
    assert lane.due(5060.0) == kept


def test_progress_is_not_asked_for_while_nothing_is_stalled(endpoint):
    endpoint.write_paused(0.0, 100)
    endpoint.connection.stalled = False
    endpoint.connection.deadline = 30.0
    endpoint.connection.calls.clear()
    endpoint.handle_timeout(30.0, 50)

    assert endpoint.connection.calls == [("handle_timeout", 30.0)]
    assert endpoint.unsent == 100


def test_a_stalled_peer_is_looked_at_every_second(endpoint):
    """So that the clock of one that stopped began when it stopped, not when its deadline was looked at."""
    connection = endpoint.connection
    endpoint.write_paused(0.0, 100)
    connection.stalled = True
    connection.deadline = 30.0

    assert endpoint.deadline == 1.0

    connection.calls.clear()
    endpoint.handle_timeout(1.0, 60)
    endpoint.handle_timeout(2.0, 60)

    assert [call for call in connection.calls if call[0] == "write_progressed"] == [("write_progressed", 1.0)]
    assert endpoint.deadline == 3.0


def test_an_endpoint_shows_its_connections_deadline(endpoint):
    endpoint.connection.deadline = 12.5

    assert endpoint.deadline == 12.5
    assert endpoint.connection.endpoint is endpoint
    assert endpoint.info is None


# ── values ───────────────────────────────────────────────────────────────────────────


def test_closing_is_truthy_only_when_the_socket_may_be_closed():
    assert not Closing.NO
    assert Closing.AFTER_FLUSH
    assert Closing.ABORT
    assert Closing.NO < Closing.AFTER_FLUSH < Closing.ABORT


def test_events_for_people():
    assert repr(Writable(5)) == "Writable(5)"
    assert repr(ConnectionClosed(None)) == "ConnectionClosed(None)"
