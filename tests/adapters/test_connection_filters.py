"""Connection filters on every runtime: nobody waits for another's verdict."""

from __future__ import annotations

import threading
import time

import pytest

from sansio_pingora.session import Call, Sleep, blocking
from sansio_pingora.transport import SocketAddr
from tests.adapters.harness import CAN_AWAIT, GET, PATIENCE, RUNTIMES, Echo, client, served

every_runtime = pytest.mark.parametrize("runtime", RUNTIMES)


class Odd:
    """Refuses the first, lets the second in, and so on; the first waits for the second."""

    def __init__(self):
        self.peers = []
        self.second = threading.Event()

    def judge(self, peer):
        self.peers.append(peer)
        number = len(self.peers)
        if number == 2:
            self.second.set()
        return number

    def wait(self, number):
        if number == 1:
            assert self.second.wait(PATIENCE)
        return number % 2 == 0


class Blocking(Odd):
    @blocking
    def should_accept(self, peer):
        number = self.judge(peer)
        while number == 1 and not self.second.is_set():  # not wait(): a greenlet would hold up the hub
            time.sleep(0.001)
        return self.wait(number)


class Generator(Odd):
    def should_accept(self, peer):
        number = self.judge(peer)
        while number == 1 and not self.second.is_set():
            yield Sleep(0.001)
        return (yield Call(lambda: self.wait(number)))


class Async(Odd):
    async def should_accept(self, peer):
        number = self.judge(peer)
        while number == 1 and not self.second.is_set():
            await Sleep(0.001)
        return self.wait(number)


FORMS = [
    (runtime, form)
    for runtime in RUNTIMES
    for form in (Blocking, Generator, Async)
    if (form is not Async or runtime in CAN_AWAIT)
    # A call that blocks runs in a greenlet there, and would have to be patched to let others run.
    and (form is not Blocking or runtime != "gevent")
]


@pytest.mark.parametrize(
    ("runtime", "form"), FORMS, ids=lambda value: value if isinstance(value, str) else value.__name__
)
def test_one_that_waits_holds_up_nobody(runtime, form):
    odd = form()
    with served(Echo(), runtime, connection_filter=odd) as server:
        with client(server.address) as first:
            while not odd.peers:
                time.sleep(0.001)
            with client(server.address) as second:
                second.send(GET)
                assert second.status() == 200
            assert first.ended()
        assert isinstance(odd.peers[0], SocketAddr)
        assert len(odd.peers) == 2


class Never:
    def should_accept(self, peer):
        yield Sleep(3600.0)


@every_runtime
def test_one_that_does_not_decide_refuses_in_time_and_its_place_is_free_again(runtime):
    with (
        served(Echo(), runtime, connection_filter=Never(), handshake_timeout=0.05, max_connections=1) as server,
        client(server.address) as first,
        client(server.address) as second,
    ):
        assert first.ended()
        assert second.ended()


@every_runtime
def test_a_server_that_stops_refuses_who_waits(runtime):
    with served(Echo(), runtime, connection_filter=Never()) as server, client(server.address) as waiting:
        waiting.send(GET)
        time.sleep(0.05)
        server.stop()
        assert waiting.rest() == b""
        server.join()


def test_async_def_where_nothing_awaits():
    with pytest.raises(TypeError, match=r"Async.should_accept is async def, which the threads"):  # noqa: SIM117
        with served(Echo(), "threads", connection_filter=Async()):
            pass
