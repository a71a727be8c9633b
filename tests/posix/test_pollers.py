"""Readiness for lanes of threads."""

import os
import select
import socket

import pytest

from sansio_pingora_posix import Control, Workers
from sansio_pingora_threads import lane as lane_module
from sansio_pingora_threads.poller import READABLE, WRITABLE, EpollPoller, SelectorPoller, new_poller
from tests.posix.harness import Server
from tests.posix.machines import Application

POLLERS = [SelectorPoller, *([EpollPoller] if hasattr(select, "EPOLLEXCLUSIVE") else [])]


@pytest.fixture(params=POLLERS)
def poller(request):
    made = request.param()
    yield made
    made.close()


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_says_what_is_ready_of_what_is_wanted(poller, pair):
    ours, theirs = pair
    poller.watch(ours, True, False, "first")
    assert poller.wait(0) == []
    theirs.send(b"x")
    assert poller.wait(None) == [(ours.fileno(), READABLE)]
    assert poller.wait(None) == [(ours.fileno(), READABLE)]  # until it is read
    poller.watch(ours, False, True, "second")
    assert poller.wait(None) == [(ours.fileno(), WRITABLE)]
    poller.watch(ours, True, True, "third")
    assert poller.wait(None) == [(ours.fileno(), READABLE | WRITABLE)]
    assert poller.watched == {ours.fileno(): "third"}


@pytest.mark.parametrize("hang_up", [False, True])
def test_nothing_wanted_is_nothing_said(poller, pair, hang_up):
    ours, theirs = pair
    poller.watch(ours, True, False, "it")
    poller.watch(ours, False, False, "it")
    theirs.send(b"x")
    if hang_up:
        theirs.close()
    assert poller.wait(0) == []
    poller.watch(ours, True, False, "again")
    assert [descriptor for descriptor, _ in poller.wait(None)] == [ours.fileno()]


def test_who_is_forgotten_may_be_forgotten_again(poller, pair):
    ours, _ = pair
    poller.watch(ours, False, True, "it")
    poller.forget(ours)
    poller.forget(ours)
    assert (poller.wait(0), poller.watched) == ([], {})


def test_shared_sockets(poller):
    with socket.create_server(("127.0.0.1", 0)) as server:
        poller.watch_shared(server, "door")
        with socket.create_connection(server.getsockname()):
            assert poller.wait(None) == [(server.fileno(), READABLE)]
        poller.forget(server)
        assert poller.wait(0) == []


def test_the_best_one_is_chosen():
    poller = new_poller()
    assert type(poller) is POLLERS[-1]
    poller.close()


@pytest.mark.parametrize("new_poller", POLLERS)
def test_an_event_for_a_socket_that_is_gone_is_not_given_to_the_next_with_its_number(new_poller, monkeypatch):
    """Two are ready at once; whoever is first ends the other and begins with a silent one in its place."""

    class First:
        def __init__(self, sock):
            self.sock = sock
            self.other = None

        def on_readable(self, now):
            called.append(self)
            lane.poller.forget(self.sock)
            lane.poller.forget(self.other.sock)
            os.dup2(silent.fileno(), self.other.sock.fileno())
            lane.poller.watch(self.other.sock, True, False, Next())
            control.stop(graceful=False)

        def on_bug(self, exc, now):
            raise exc

    class Next:
        def on_readable(self, now):
            called.append(self)

    called = []
    monkeypatch.setattr(lane_module, "new_poller", new_poller)
    workers, control = Workers(), Control()
    lane = lane_module.ThreadLane(workers)
    pairs = [socket.socketpair() for _ in range(3)]
    silent = pairs[2][0]
    firsts = [First(ours) for ours, _ in pairs[:2]]
    firsts[0].other, firsts[1].other = firsts[1], firsts[0]
    for first, (_, theirs) in zip(firsts, pairs, strict=False):
        theirs.send(b"x")
        lane.poller.watch(first.sock, True, False, first)
    lane.loop(control, 0.0)
    assert len(called) == 1
    assert called[0] in firsts
    lane.close()
    for sock in (sock for pair in pairs for sock in pair):
        sock.close()


def test_lanes_work_without_epoll(monkeypatch):
    monkeypatch.setattr(lane_module, "new_poller", SelectorPoller)
    data = bytes(1_000_000)
    with Server("threads", Application(), threads=2) as server:
        clients = [server.connect() for _ in range(8)]
        for client in clients:
            client.sendall(data)
            left = len(data)
            while left:
                left -= len(client.recv(left))
            client.close()
