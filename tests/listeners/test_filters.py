"""A connection filter in every form: whoever waits for it holds up nobody, and is let in or closed exactly once."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.listeners import AcceptAll, Admission
from sansio_pingora.machine import Admit, Lane, LogLine, RunFilter, StopFilters
from sansio_pingora.session import Call, Sleep, blocking
from sansio_pingora.transport import SocketAddr

A = SocketAddr("192.0.2.1", 1)


class Plain:
    def should_accept(self, peer):
        return peer is not None


class Blocking:
    @blocking
    def should_accept(self, peer):
        return peer == A


class Async:
    async def should_accept(self, peer):
        await Sleep(2.0)
        return peer == A


class Waiting:
    def should_accept(self, peer):
        yield Sleep(1.0)
        return (yield Call(lambda: peer == A))


class Failing:
    def should_accept(self, peer):
        yield Sleep(1.0)
        raise ZeroDivisionError("never mind")


class Lax:
    """Truth is what counts."""

    def should_accept(self, peer):
        yield Sleep(0.0)
        return "yes"


class Rig:
    def __init__(self, connection_filter, patience=5.0):
        self.lane = Lane()
        admission = Admission(connection_filter, "asyncio", can_await=True)
        assert admission.at_once is None
        self.gate = admission.gate(self.lane, patience)
        self.members = {}

    def settle(self, now=0.0):
        """The commands given, with the coordinator of each that wants an answer."""
        commands = []
        while members := self.lane.drain(now):
            for member in members:
                for command in member.take_commands():
                    commands.append(command)
                    if isinstance(command, RunFilter):
                        self.members[id(command)] = member
        return commands

    def pass_until(self, now):
        for member in self.lane.due(now):
            member.handle_timeout(now)
        return self.settle(now)

    def answer(self, command, value, now=0.0):
        member = self.members[id(command)]
        if isinstance(value, Error):
            member.fail(command.token, value, now)
        else:
            member.resume(command.token, value, now)
        return self.settle(now)


def test_a_plain_filter_is_asked_in_the_accept_loop():
    admission = Admission(Plain(), "threads", can_await=False)

    assert admission.at_once(A)
    assert not admission.at_once(None)
    assert admission.gate(Lane(), 5.0) is None
    assert Admission(AcceptAll(), "threads", can_await=False).at_once(None)
    assert Admission.of(None, "threads", can_await=False) is None


@pytest.mark.parametrize("peer", [A, None])
def test_a_blocking_filter_runs_off_the_lane(peer):
    rig = Rig(Blocking())
    rig.gate.ask(peer, "socket", 0.0)
    (command,) = rig.settle()

    assert rig.answer(command, command.call()) == [Admit("socket", peer == A)]
    assert len(rig.gate) == 0


def test_a_generator_waits_and_others_are_asked_meanwhile():
    rig = Rig(Waiting())
    rig.gate.ask(A, "first", 0.0)
    rig.gate.ask(None, "second", 0.5)
    assert rig.settle() == []
    assert len(rig.gate) == 2

    (call,) = rig.pass_until(1.0)
    assert rig.answer(call, call.call(), 1.0) == [Admit("first", True)]
    (call,) = rig.pass_until(1.5)
    assert rig.answer(call, call.call(), 1.5) == [Admit("second", False)]


def test_an_async_filter_runs_in_a_task():
    rig = Rig(Async())
    rig.gate.ask(A, "socket", 0.0)
    (command,) = rig.settle()
    assert command.is_async

    call = command.call()
    with pytest.raises(StopIteration):
        call.__await__().send(None)  # up to its first effect
    assert rig.answer(command, call) == []
    (again,) = rig.pass_until(2.0)
    with pytest.raises(StopIteration):
        again.call().__await__().send(None)

    assert rig.answer(again, call, 2.0) == [StopFilters(), Admit("socket", True)]


@pytest.mark.parametrize(
    ("error", "text"),
    [(Error(ErrorType.INTERNAL_ERROR, "a filter raised"), "InternalError context: a filter raised")],
)
def test_a_blocking_filter_that_fails_refuses(error, text):
    rig = Rig(Blocking())
    rig.gate.ask(A, "socket", 0.0)
    (command,) = rig.settle()

    line, admit = rig.answer(command, error)

    assert line == LogLine("ERROR", f"the connection filter failed: {text}; 192.0.2.1:1 is refused")
    assert admit == Admit("socket", False)


def test_a_generator_that_fails_refuses():
    rig = Rig(Failing())
    rig.gate.ask(None, "socket", 0.0)
    assert rig.settle() == []

    line, admit = rig.pass_until(1.0)

    assert "never mind" in line.text
    assert "a Unix client is refused" in line.text
    assert admit == Admit("socket", False)


def test_truth_is_what_counts():
    rig = Rig(Lax())
    rig.gate.ask(A, "socket", 0.0)
    assert rig.settle() == []

    assert rig.pass_until(0.0) == [Admit("socket", True)]


def test_a_filter_that_does_not_decide_refuses_at_its_deadline():
    rig = Rig(Blocking(), patience=3.0)
    rig.gate.ask(A, "socket", 1.0)
    (command,) = rig.settle(1.0)
    assert rig.pass_until(3.9) == []

    line, admit = rig.pass_until(4.0)

    assert line == LogLine("ERROR", "the connection filter has not decided within 3 s; 192.0.2.1:1 is refused")
    assert admit == Admit("socket", False)
    assert rig.answer(command, True, 5.0) == []  # too late
    assert len(rig.gate) == 0


def test_at_the_end_all_who_wait_are_refused_once():
    rig = Rig(Blocking())
    for name in ("first", "second"):
        rig.gate.ask(A, name, 0.0)
    commands = rig.settle()

    rig.gate.close()
    rig.gate.close()

    assert rig.settle() == [Admit("first", False), Admit("second", False)]
    assert [rig.answer(command, True) for command in commands] == [[], []]


def test_no_deadline_is_left_behind():
    rig = Rig(Blocking())
    rig.gate.ask(A, "socket", 0.0)
    (command,) = rig.settle()
    rig.answer(command, True)

    assert rig.lane.due(100.0) == []


def test_a_runtime_that_cannot_await_says_so_at_the_start():
    with pytest.raises(TypeError, match=r"Async.should_accept is async def, which the threads runtime cannot run"):
        Admission(Async(), "threads", can_await=False)
