"""A dial from a name to a socket: addresses race, the first wins, nothing of the others is left."""

from __future__ import annotations

import errno
import select
import socket

import pytest

from sansio_pingora.errors import ErrorType
from sansio_pingora.machine import CancelDial, Dial, Endpoint
from sansio_pingora.transport import DialOptions, SocketAddr
from sansio_pingora_posix import connecting
from tests.posix.harness import PATIENCE, HandLane
from tests.posix.machines import Asker, Echo, RawConnection


class FakeSock:
    """A socket on its way, that goes where the test says."""

    def __init__(self, address):
        self.address = address
        self.closed = False

    def fileno(self):
        return id(self)

    def close(self):
        self.closed = True


class Net:
    """Addresses by the outcome of their connect: at once, by an error, or later."""

    def __init__(self, monkeypatch, found, **outcomes):
        self.socks = []
        self.outcomes = outcomes
        self.options = []
        self.results = {}
        self.lane = HandLane()
        monkeypatch.setattr(self.lane, "resolve", lambda address: [SocketAddr(host, 80) for host in found])
        monkeypatch.setattr(connecting, "dial_socket", self.dial_socket)
        monkeypatch.setattr(connecting, "start_connect", self.start_connect)
        monkeypatch.setattr(connecting, "connect_result", self.connect_result)
        monkeypatch.setattr(connecting, "prepare_connected", lambda sock, options: None)
        monkeypatch.setattr(connecting, "transport_info", lambda sock, now, peer: peer)
        self.asker = Asker(self.lane.lane)
        self.connected = []
        monkeypatch.setattr(self.lane, "connected", self.take)

    def take(self, dial, sock, info, now):
        self.connected.append(sock)
        self.lane._dialled(dial, info, now)

    def dial(self, **options):
        connection = RawConnection()
        endpoint = Endpoint(self.lane.lane, connection, Echo(connection))
        self.asker.give(Dial(7, SocketAddr("service.test", 80), endpoint, DialOptions(**options)))
        self.lane.settle(0.0)
        self.lane.run_offloaded(0.0)

    def dial_socket(self, address, options):
        self.options.append(options)
        self.socks.append(FakeSock(address))
        return self.socks[-1]

    def start_connect(self, sock, address):
        outcome = self.outcomes.get(address.host.replace(".", "_").replace(":", "x"))
        if isinstance(outcome, list):
            outcome = outcome.pop(0)
        if isinstance(outcome, int) and outcome > 1:
            raise OSError(outcome, "no")
        return outcome == 1

    def connect_result(self, sock):
        if number := self.results.get(sock):
            raise OSError(number, "no")

    def wake(self, sock, now, number=0):
        self.results[sock] = number
        self.lane.poller.waked[sock.fileno()].on_writable(now)
        self.lane.settle(now)

    @property
    def answer(self):
        return self.asker.answers.get(7)

    @property
    def hosts(self):
        return [sock.address.host for sock in self.socks]

    @property
    def open(self):
        return [sock for sock in self.socks if not sock.closed]


def test_the_second_begins_after_a_quarter_of_a_second_and_wins(monkeypatch):
    net = Net(monkeypatch, ["::1", "10.0.0.1", "10.0.0.2"])
    net.dial()
    assert net.hosts == ["::1"]
    assert net.lane.deadline == 0.25
    net.lane.fire(0.2)
    assert len(net.socks) == 1
    net.lane.fire(0.25)
    assert net.hosts == ["::1", "10.0.0.1"]

    net.wake(net.socks[1], 0.3)

    assert net.answer == SocketAddr("10.0.0.1", 80)
    assert net.connected == net.open == [net.socks[1]]
    assert net.lane.poller.watched == {}
    net.lane.fire(10.0)
    assert len(net.socks) == 2


def test_the_first_may_still_win(monkeypatch):
    net = Net(monkeypatch, ["::1", "10.0.0.1"])
    net.dial()
    net.lane.fire(0.25)
    net.wake(net.socks[0], 0.26)

    assert net.answer == SocketAddr("::1", 80)
    assert net.open == [net.socks[0]]


def test_one_that_fails_is_followed_at_once(monkeypatch):
    net = Net(monkeypatch, ["::1", "10.0.0.1"], xx1=errno.ENETUNREACH)
    net.dial()
    assert net.hosts == ["::1", "10.0.0.1"]
    assert net.socks[0].closed

    net.wake(net.socks[1], 0.1, errno.ECONNREFUSED)

    assert net.answer.etype is ErrorType.CONNECT_REFUSED
    assert "none of the 2 addresses of service.test:80 answers" in str(net.answer)
    assert net.open == []


def test_all_that_are_under_way_must_fail(monkeypatch):
    net = Net(monkeypatch, ["::1", "10.0.0.1"])
    net.dial()
    net.lane.fire(0.25)
    net.wake(net.socks[1], 0.3, errno.ECONNREFUSED)
    assert net.answer is None
    net.wake(net.socks[0], 0.4, errno.ETIMEDOUT)

    assert net.answer.etype is ErrorType.CONNECT_TIMEDOUT
    assert net.lane.poller.watched == {}


def test_at_once(monkeypatch):
    net = Net(monkeypatch, ["10.0.0.1", "10.0.0.2"], **{"10_0_0_1": 1})
    net.dial()

    assert net.answer == SocketAddr("10.0.0.1", 80)
    assert len(net.socks) == 1


def test_a_cancelled_race_leaves_nothing(monkeypatch):
    net = Net(monkeypatch, ["::1", "10.0.0.1", "10.0.0.2"])
    net.dial()
    net.lane.fire(0.25)
    net.asker.give(CancelDial(7))
    net.lane.settle(0.3)

    assert net.open == []
    assert net.lane.poller.watched == {}
    net.lane.fire(5.0)
    assert len(net.socks) == 2
    assert net.answer is None
    assert net.lane.idle(5.0)


def test_a_name_without_addresses(monkeypatch):
    net = Net(monkeypatch, [])
    net.dial()

    assert net.answer.etype is ErrorType.CONNECT_ERROR
    assert "'service.test' has no address" in str(net.answer)


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.ENOPROTOOPT])
@pytest.mark.parametrize("fallback", [True, False])
def test_a_range_without_a_free_port(monkeypatch, number, fallback):
    net = Net(monkeypatch, ["10.0.0.1"], **{"10_0_0_1": [number, 1]})
    net.dial(bind_port_range=(5000, 5001), bind_fallback=fallback)

    assert [options.bind_port_range for options in net.options] == [(5000, 5001), None][: 1 + fallback]
    if fallback:
        assert net.answer == SocketAddr("10.0.0.1", 80)
        assert net.open == [net.socks[1]]
    else:
        assert net.answer.etype is (ErrorType.BIND_ERROR if number == errno.EADDRNOTAVAIL else ErrorType.CONNECT_ERROR)
        assert net.open == []


def test_real_sockets_race(monkeypatch):
    """One that does not answer, and one that does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        lane = HandLane()
        asker = Asker(lane.lane)
        connection = RawConnection()
        endpoint = Endpoint(lane.lane, connection, Echo(connection))
        monkeypatch.setattr(
            lane, "resolve", lambda address: [SocketAddr("127.0.0.2", 1), SocketAddr("127.0.0.1", port)]
        )
        asker.give(Dial(7, SocketAddr("service.test", port), endpoint))
        lane.settle(0.0)
        lane.run_offloaded(0.0)
        lane.fire(1.0)
        for descriptor in list(lane.poller.watched):
            select.select([], [descriptor], [], PATIENCE)
            lane.poller.waked[descriptor].on_writable(1.0)
        lane.settle(1.0)
        assert asker.answers[7].peer == SocketAddr("127.0.0.1", port)
        lane.abort(1.0)
        lane.close()
