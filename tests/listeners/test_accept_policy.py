"""When to accept."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.listeners import AcceptPolicy

PAUSING = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EBADF", "EINVAL", "ESOMETHING"]
PASSING = ["ECONNABORTED", "EPERM", "EINTR", "EPROTO", "ENETDOWN", "EHOSTUNREACH"]


def test_accepts_without_end_by_default():
    policy = AcceptPolicy()
    for _ in range(1000):
        assert policy.accepting
        policy.accepted(0.0)
    assert policy.deadline == math.inf


def test_stops_at_the_ceiling_and_goes_on_when_one_closes():
    policy = AcceptPolicy(max_connections=2)
    policy.accepted(0.0)
    policy.accepted(0.0)
    assert not policy.accepting
    assert policy.deadline == math.inf  # a closed connection ends the wait, not the time
    policy.closed(1.0)
    assert policy.accepting


def test_a_ceiling_of_none_accepts_nobody():
    assert not AcceptPolicy(max_connections=0).accepting


@pytest.mark.parametrize("name", PAUSING)
def test_what_the_next_accept_would_meet_again_pauses(name):
    policy = AcceptPolicy()
    line = policy.failed(name, 5.0)
    assert line.level == "ERROR"
    assert name in line.text
    assert not policy.accepting
    assert policy.deadline == pytest.approx(5.1)
    policy.handle_timeout(5.05)
    assert not policy.accepting
    policy.handle_timeout(policy.deadline)
    assert policy.accepting
    assert policy.deadline == math.inf


def test_a_freed_descriptor_ends_the_pause_at_once():
    policy = AcceptPolicy()
    policy.accepted(0.0)
    policy.failed("EMFILE", 0.0)
    policy.closed(0.01)
    assert policy.accepting
    assert policy.deadline == math.inf


def test_a_freed_descriptor_does_not_overrule_the_rate():
    policy = AcceptPolicy(accept_rate=1)
    policy.accepted(0.0)
    policy.failed("EMFILE", 0.95)
    policy.closed(0.96)
    assert policy.deadline == 1.0


@pytest.mark.parametrize("name", PASSING)
def test_what_befell_one_connection_does_not_pause(name):
    policy = AcceptPolicy()
    assert policy.failed(name, 5.0).level == "WARNING"
    assert policy.accepting


def test_full_descriptors_come_with_advice():
    assert "ulimit -n" in AcceptPolicy().failed("EMFILE", 0.0).text


def test_a_storm_makes_one_line_a_second_that_counts_the_rest():
    policy = AcceptPolicy()
    lines = []
    for step in range(101):
        now = step / 10
        policy.handle_timeout(now)
        lines += [
            (now, line.text) for name in ("EMFILE", "ECONNABORTED") if (line := policy.failed(name, now)) is not None
        ]
    assert len(lines) == 11
    assert "more failures" not in lines[0][1]
    assert "19 more failures" in lines[1][1]


def test_the_rate_allows_a_second_at_once_and_then_its_pace():
    policy = AcceptPolicy(accept_rate=4)
    accepted = []
    now = 10.0
    while len(accepted) < 12:
        while policy.accepting:
            policy.accepted(now)
            accepted.append(now)
        now = policy.deadline
        policy.handle_timeout(now)
    assert accepted[:4] == [10.0] * 4
    assert accepted[4:] == pytest.approx([10.25 + n * 0.25 for n in range(8)])


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_is_above_nothing(rate):
    with pytest.raises(ValueError, match="accept_rate"):
        AcceptPolicy(accept_rate=rate)


def test_stopped_is_for_good():
    policy = AcceptPolicy()
    policy.failed("EMFILE", 0.0)
    policy.stop()
    assert policy.deadline == math.inf
    policy.failed("EMFILE", 1.0)
    policy.handle_timeout(9.0)
    assert not policy.accepting
    assert policy.deadline == math.inf


def test_wrong_moves_change_nothing():
    policy = AcceptPolicy(max_connections=1)
    with pytest.raises(LocalProtocolError, match="more connections"):
        policy.closed(0.0)
    policy.accepted(0.0)
    with pytest.raises(LocalProtocolError, match="accepting"):
        policy.accepted(0.0)
    assert policy.open == 1


@given(st.lists(st.tuples(st.sampled_from(PAUSING + PASSING), st.floats(0, 0.7)), max_size=200))
def test_never_two_lines_within_a_second_and_none_is_uncounted(storm):
    policy = AcceptPolicy()
    now, counted, lines = 0.0, 0, []
    for name, pause in [*storm, ("EMFILE", 1.5)]:
        now += pause
        policy.handle_timeout(now)
        if (line := policy.failed(name, now)) is not None:
            lines.append(now)
            counted += 1
            if "more failures" in line.text:
                counted += int(line.text.rsplit("; ", 1)[1].split()[0])
    assert all(later - earlier >= 1.0 - 1e-9 for earlier, later in pairwise(lines))  # a sum of floats
    assert counted == len(storm) + 1


class PolicyModel(RuleBasedStateMachine):
    """Against a list of what happened when, looked through from its beginning each time."""

    @initialize(most=st.none() | st.integers(0, 5), rate=st.none() | st.sampled_from([0.5, 3.0, 10.0]))
    def begin(self, most, rate):
        self.policy = AcceptPolicy(max_connections=most, accept_rate=rate)
        self.most = most
        self.rate = rate
        self.now = 0.0
        self.open = 0
        self.times = []
        self.paused_until = -math.inf
        self.stopped = False

    @precondition(lambda self: self.policy.accepting)
    @rule()
    def accept(self):
        self.policy.accepted(self.now)
        self.open += 1
        self.times.append(self.now)

    @precondition(lambda self: self.open)
    @rule()
    def close(self):
        self.policy.closed(self.now)
        self.open -= 1
        self.paused_until = -math.inf

    @rule(name=st.sampled_from(PAUSING + PASSING))
    def fail(self, name):
        self.policy.failed(name, self.now)
        if name in PAUSING:
            self.paused_until = self.now + 0.1

    @rule(step=st.floats(0, 3))
    def wait(self, step):
        self.now += step
        self.policy.handle_timeout(self.now)

    @precondition(lambda self: self.policy.deadline < math.inf)
    @rule()
    def wait_for_the_deadline(self):
        assert self.policy.deadline >= self.now
        self.now = self.policy.deadline
        self.policy.handle_timeout(self.now)
        # Nothing that time can cure is left.
        assert self.policy.accepting is (
            not self.stopped and self.open < (math.inf if self.most is None else self.most)
        )

    @rule()
    def stop(self):
        self.policy.stop()
        self.stopped = True

    @invariant()
    def keeps_the_ceilings(self):
        assert self.policy.open == self.open
        if self.most is not None:
            assert self.open <= self.most
        if self.rate is not None:
            for first, start in enumerate(self.times):
                for last in range(first, len(self.times)):
                    span = self.times[last] - start
                    assert last - first + 1 <= max(1.0, self.rate) + span * self.rate + 1e-6

    @invariant()
    def a_pause_is_kept(self):
        if self.stopped or self.now < self.paused_until or self.open == self.most:
            assert not self.policy.accepting
        elif self.rate is None:
            assert self.policy.accepting

    @invariant()
    def a_wait_for_time_has_a_deadline(self):
        full = self.most is not None and self.open >= self.most
        if not self.policy.accepting and not self.stopped and not full:
            assert self.policy.deadline < math.inf


TestPolicyModel = PolicyModel.TestCase


def test_who_has_more_clients_lets_others_go_first_once():
    policy = AcceptPolicy()
    for _ in range(3):
        policy.give_way(1, 0.0)
        policy.accepted(0.0)
    policy.give_way(1, 0.0)
    assert not policy.accepting
    assert policy.deadline == 0.005
    policy.handle_timeout(0.005)
    policy.give_way(1, 0.005)  # nobody has come for it
    assert policy.accepting
    policy.accepted(0.005)
    policy.give_way(1, 0.006)
    assert not policy.accepting
    policy.closed(0.007)
    assert not policy.accepting  # a place that is free is no reason to hurry


def test_nobody_beside_and_nobody_behind():
    policy = AcceptPolicy()
    for _ in range(40):
        policy.accepted(0.0)
    for least in (None, 39, 36, 41):
        policy.give_way(least, 0.0)
        assert policy.accepting
    policy.give_way(35, 0.0)
    assert not policy.accepting


@given(st.lists(st.sampled_from("ab"), max_size=300))
def test_of_two_that_both_get_round_none_has_more_than_its_part(woken):
    """Each wake-up is of one of two processes; who gave way finds the other awake at once."""
    policies = {"a": AcceptPolicy(), "b": AcceptPolicy()}
    for name in woken:
        other = "b" if name == "a" else "a"
        for one, beside in ((name, other), (other, name)):
            policies[one].give_way(policies[beside].open, 0.0)
            if policies[one].accepting:
                policies[one].accepted(0.0)
                break
            policies[one].handle_timeout(0.005)
            policies[one].give_way(None, 0.0)
    few, many = sorted(one.open for one in policies.values())
    assert many <= few + max(1, few // 8) + 1
