"""The end of a lane: drained, aborted, and when it has come."""

import math

import pytest

from sansio_pingora.listeners import AcceptPolicy, LaneEnd
from sansio_pingora.machine import Closing, Endpoint, Lane
from tests.posix.machines import Echo, RawConnection


class Rig:
    def __init__(self, connections=0):
        self.lane = Lane()
        self.policy = AcceptPolicy()
        self.end = LaneEnd(self.lane, self.policy)
        self.bugs = []
        for _ in range(connections):
            connection = RawConnection()
            self.lane.attach(Endpoint(self.lane, connection, Echo(connection)))
        self.lane.drain(0.0)

    def contain(self, member, exc, now):
        self.bugs.append((member, exc, now))

    def closings(self):
        return [endpoint.connection.closing for endpoint in self.lane.endpoints]


class Acceptor:
    def __init__(self, error=None):
        self.told = []
        self.error = error

    def drain(self, now):
        self.told.append(now)
        if self.error is not None:
            raise self.error


def test_without_an_application_every_transport_is_told():
    rig = Rig(2)
    rig.end.drain(30.0, 10.0, rig.contain)
    assert rig.closings() == [Closing.AFTER_FLUSH] * 2
    assert (rig.policy.accepting, rig.end.deadline, len(rig.lane.dirty)) == (False, 39.0, 2)


def test_an_application_is_told_once_and_the_first_grace_period_holds():
    rig = Rig(1)
    rig.end.acceptor = acceptor = Acceptor()
    heard = []
    rig.lane.on_drain(heard.append, 0.0)
    rig.end.drain(30.0, 10.0, rig.contain)
    rig.end.drain(90.0, 11.0, rig.contain, keep_idle=True)
    assert (acceptor.told, heard, rig.end.deadline) == ([10.0], [10.0], 39.0)
    assert rig.closings() == [Closing.NO]
    assert rig.lane.drain_patience < math.inf


def test_an_application_that_fails_keeps_the_news_from_nobody():
    rig = Rig()
    rig.end.acceptor = Acceptor(ZeroDivisionError())
    heard = []
    rig.lane.on_drain(heard.append, 0.0)
    with pytest.raises(ZeroDivisionError):
        rig.end.drain(30.0, 10.0, rig.contain)
    assert (heard, rig.end.draining, rig.end.deadline) == ([10.0], True, 39.0)


def test_after_a_hand_over_idle_clients_have_their_time():
    rig = Rig()
    rig.end.drain(30.0, 10.0, rig.contain, keep_idle=True)
    assert rig.lane.drain_patience == math.inf


def test_an_abort_reaches_every_transport_past_one_that_fails(monkeypatch):
    rig = Rig(3)
    broken, *others = rig.lane.endpoints
    monkeypatch.setattr(broken.connection, "drain", lambda now: 1 / 0)
    monkeypatch.setattr(broken.connection, "abort", lambda now: 1 / 0)
    rig.end.drain(30.0, 10.0, rig.contain)
    rig.end.abort(12.0, rig.contain)
    assert [(member, type(exc), now) for member, exc, now in rig.bugs] == [
        (broken, ZeroDivisionError, 10.0),
        (broken, ZeroDivisionError, 12.0),
    ]
    assert [endpoint.connection.closing for endpoint in others] == [Closing.ABORT] * 2
    assert rig.end.deadline == math.inf


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("transports", [0, 1])
@pytest.mark.parametrize("asked", ["nothing", "drain", "abort"])
def test_when_it_has_come(asked, transports, busy):
    rig = Rig(transports)
    if asked == "drain":
        rig.end.drain(30.0, 0.0, rig.contain)
    elif asked == "abort":
        rig.end.abort(0.0, rig.contain)
    expected = not transports and (asked == "abort" or (asked == "drain" and not busy))
    assert rig.end.has_ended(busy=busy) is expected


def test_those_who_still_talk_are_told_before_the_end():
    rig, left = Rig(1), []

    class App:
        def drain(self, now):
            pass

        def take_leave(self, now):
            left.append(now)

    rig.end.acceptor = App()
    rig.end.drain(30.0, 10.0, rig.contain)
    assert not rig.end.handle_timeout(38.9)
    assert not rig.end.handle_timeout(39.0)
    assert (left, rig.end.deadline) == ([39.0], 40.0)
    assert not rig.end.handle_timeout(39.5)
    assert rig.end.handle_timeout(40.0)
    assert left == [39.0]
