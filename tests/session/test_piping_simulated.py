"""Subrequests over links that are slow, cut and reset, in virtual time."""

from __future__ import annotations

import pytest

from sansio_pingora.apps import HttpServerApp, HttpService
from sansio_pingora.limits import Limits
from sansio_pingora.session import Drain, PerLane, PipeSubrequest, ReadBody
from sansio_pingora.testing import LinkProfile, Raw, Weather, World
from sansio_pingora.wire import Body, ResponseHeader

ADDRESS = "10.0.0.2:80"
LIMITS = Limits(high_water=500)
TIGHT = LinkProfile(send_buffer=300, receive_buffer=200, high=200, low=50, read_size=150, cuts=10, jitter=0.02)


class Echo(HttpServerApp):
    def process_new_http(self, session):
        session.write_response_header(ResponseHeader(200))
        while (data := (yield ReadBody())) is not None:
            if session.write_response_body(data) <= 0:
                yield Drain()


class Shouting(HttpServerApp):
    """Pipes to :class:`Echo`, twice over, and makes what comes back louder."""

    def __init__(self):
        self.inner = PerLane(HttpService(Nested(), LIMITS).handler)
        self.pipes = []

    def process_new_http(self, session):
        pipe = PipeSubrequest(session, self.inner, task_filter=louder)
        self.pipes.append(pipe)
        yield from pipe


class Nested(HttpServerApp):
    def __init__(self):
        self.inner = PerLane(HttpService(Echo(), LIMITS).handler)

    def process_new_http(self, session):
        yield from PipeSubrequest(session, self.inner)


def louder(task):
    return Body(task.data.upper(), task.end) if isinstance(task, Body) else task


def body(size):
    return bytes(97 + at % 26 for at in range(size))


def dechunked(data):
    out = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        out += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return out


@pytest.mark.parametrize("seed", range(6))
def test_everything_arrives_through_two_pipes(seed):
    world = World(seed, Weather((LinkProfile(), TIGHT)))
    app = Shouting()
    driver = world.listen(ADDRESS, HttpService(app, LIMITS))
    peers = []
    for number in range(4):
        data = body(1 + 2_000 * number)
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(data)
        peers.append((data, Raw(world, head + data[:700], 0.5, data[700:])))
        world.client(ADDRESS, peers[-1][1])
    world.run()
    for data, peer in peers:
        assert dechunked(peer.data.partition(b"\r\n\r\n")[2]) == data.upper()
    assert driver.log == []
    assert not driver.sockets
    assert all(pipe.state.error is None for pipe in app.pipes)


@pytest.mark.parametrize("seed", range(6))
def test_a_client_that_is_cut_off_leaves_nothing(seed):
    world = World(seed, Weather((TIGHT,)))
    app = Shouting()
    driver = world.listen(ADDRESS, HttpService(app, LIMITS))
    peer = Raw(world, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n" + body(5_000))
    world.client(ADDRESS, peer)
    world.run(0.2 + seed / 7)
    peer.end.abort()
    world.run()
    assert not driver.sockets
    assert driver.log == []
    assert app.pipes[0].state.error is not None
    assert app.pipes[0].handle.response_done
    assert app.pipes[0]._session.released
