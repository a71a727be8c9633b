"""What an exchange held goes with it: nothing of it waits for the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.proxy import ProxyHttp
from sansio_pingora.proxy.exchange import ProxyExchange
from sansio_pingora.session import Sleep
from sansio_pingora.upstreams import HttpPeer
from tests.proxy.harness import ORIGIN, Bench

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


class Plain(ProxyHttp):
    """To one origin."""

    def upstream_peer(self, session: Any, ctx: Any) -> HttpPeer:
        return HttpPeer(ORIGIN)


class Recording(Plain):
    """Looks at the record."""

    def logging(self, session: Any, error: Error | None, ctx: Any) -> None:
        assert session.record.finished


class Waiting(Plain):
    """Waits in each direction."""

    def request_filter(self, session: Any, ctx: Any) -> Any:
        yield Sleep(0.0)

    def response_filter(self, session: Any, response: Any, ctx: Any) -> Any:
        yield Sleep(0.0)


class Answering(Plain):
    """Needs no origin."""

    def request_filter(self, session: Any, ctx: Any) -> bool:
        return bool(session.respond_error(403))


def get(bench: Bench) -> None:
    bench.client().send(GET)
    bench.advance(0.1)
    if bench.origins:
        bench.origin.send(OK)
        bench.advance(0.1)


def post(bench: Bench) -> None:
    bench.client().send(POST, b"he", b"llo")
    bench.advance(0.1)
    bench.origin.send(OK)
    bench.advance(0.1)


def refused(bench: Bench) -> None:
    bench.dial_outcomes += [Error(ErrorType.CONNECT_REFUSED, "ECONNREFUSED")] * 9
    bench.client().send(GET)


def retried(bench: Bench) -> None:
    bench.client().send(GET)
    bench.origin.reset()
    bench.origin.send(OK)


def cut(bench: Bench) -> None:
    bench.client().send(GET)
    bench.origin.send(OK[:-1])
    bench.origin.eof()


def left(bench: Bench) -> None:
    client = bench.client()
    client.send(POST)
    client.reset()


def upgraded(bench: Bench) -> None:
    client = bench.client()
    client.send(UPGRADE)
    bench.origin.send(SWITCH)
    client.send(b"hello")
    client.eof()
    bench.origin.eof()


def malformed(bench: Bench) -> None:
    bench.client().send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")


@pytest.mark.parametrize(
    ("app", "story"),
    [
        *((Plain, story) for story in (get, post, refused, retried, cut, left, upgraded, malformed)),
        *((app, get) for app in (Recording, Waiting, Answering)),
        (Waiting, post),
    ],
)
def test_nothing_waits_for_the_garbage_collector(app: type[ProxyHttp], story: Callable[[Bench], None]) -> None:
    bench = Bench(app())
    story(bench)  # imports and caches
    gc.collect()
    gc.disable()
    try:
        gc.set_debug(gc.DEBUG_SAVEALL)
        story(bench)
        assert all(exchange.phase == "done" for exchange in bench.exchanges)
        told = {id(exchange) for exchange in bench.exchanges}
        bench.exchanges.clear()
        gc.collect()
        # Of what others have left, a test before this one perhaps, nothing is known.
        kept = [type(thing).__qualname__ for thing in gc.garbage if id(thing) in told and type(thing) is ProxyExchange]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not kept
