"""Throwing away what still comes of a request body."""

from __future__ import annotations

import pytest

from sansio_pingora.apps import HttpServerApp
from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.session import ReadBody
from sansio_pingora.wire import Body, Done, Failed, Fields, Header, ResponseHeader, Trailer
from tests.apps.bench import get, http, status_of
from tests.session.kinds import KINDS, post


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["as it begins", "later"])
def test_the_exchange_hears_of_the_end_alone(kind, when):
    exchange = KINDS[kind](
        post(300_000), False, on_begin=lambda session: when == "later" or session.drain_request_body()
    )
    session = exchange.session
    if when == "later":
        session.invite_body()
        exchange.feed(Body(b"x" * 50_000))
        session.consumed(50_000)
        exchange.exchange.tasks.clear()
        assert not session.drain_request_body()
    while not session.is_body_done():
        assert not session.drain_request_body()
        exchange.feed(Body(b"x" * 50_000, session.body_bytes_read == 250_000))
    assert exchange.exchange.tasks == [Body(b"", True)]
    assert session.drain_request_body()
    assert session.is_body_done()
    assert session.body_bytes_read == 300_000
    session.respond_error(400)
    assert isinstance(exchange.settle().received[-1], Header)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", [Done(), Trailer(Fields([("x-sum", "1")]))], ids=["Done", "Trailer"])
def test_another_end(kind, end):
    exchange = KINDS[kind](post(), False)
    exchange.session.drain_request_body()
    exchange.feed(Body(b"abc"), end)
    assert exchange.exchange.tasks == [end]


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_is_never_complete(kind):
    exchange = KINDS[kind](post(5), False)
    exchange.session.drain_request_body()
    exchange.feed(Body(b"abc"))
    (exchange.client if kind != "subrequest" else exchange.connection).abort(0.0)
    exchange.settle()
    [failed] = exchange.exchange.tasks
    assert isinstance(failed, Failed)
    assert exchange.session.closed is failed.error


def test_room_is_told_of_all_the_same():
    exchange = KINDS["subrequest"](post(5), False)
    session = exchange.session
    session.drain_request_body()
    session.write_response_header(ResponseHeader(200))
    session.write_response_body(b"x" * 100_000)
    exchange.settle()
    exchange.handle.consumed(100_000, 0.0)
    exchange.settle()
    assert exchange.exchange.rooms == [65_536]


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_waits_is_invited(kind):
    exchange = KINDS[kind](post(3, ("Expect", "100-continue")), False)
    exchange.session.drain_request_body()
    exchange.settle()
    if kind == "subrequest":
        assert exchange.wanted == 1
    elif kind != "custom":
        assert [task.head.status for task in exchange.received] == [100]


class Reading(HttpServerApp):
    """Reads one piece, throws the rest away, and answers when it has come."""

    def __init__(self):
        self.read = []

    def process_new_http(self, session):
        self.read.append((yield ReadBody()))
        session.drain_request_body()
        self.read.append((yield ReadBody()))
        self.read.append((yield ReadBody()))
        session.respond_error(418)


@pytest.mark.parametrize(
    "pieces",
    [[b"hello", b" wor", b"ld"], [b"hello world"], [b"hello", b" world"], [b"he", b"llo world"]],
    ids=len,
)
def test_a_callback_that_waits(pieces):
    app = Reading()
    bench = http(app).receive(get("/", "Content-Length: 11", method="POST"))
    for piece in pieces:
        bench.receive(piece)
    assert app.read == [pieces[0], None, None]
    assert status_of(bench.take()) == 418
    assert not bench.connection.closing
    bench.receive(get("/", "Content-Length: 1", method="POST") + b"x")
    assert status_of(bench.out) == 418
    assert not bench.held


class Late(HttpServerApp):
    """Throws away what has come while it did something else."""

    def process_new_http(self, session):
        from sansio_pingora.session import Sleep

        session.invite_body()
        yield Sleep(1.0)
        self.done = session.drain_request_body()
        self.read = yield ReadBody()
        session.respond_error(418)


@pytest.mark.parametrize("body", [b"hello world", b"hello"], ids=["all of it", "a part"])
def test_what_has_come_already_is_thrown_away_too(body):
    app = Late()
    bench = http(app).receive(get("/", "Content-Length: 11", method="POST") + body)
    bench.sleep(1.0)
    assert app.done is (len(body) == 11)
    bench.receive(b" world" if not app.done else b"")
    assert app.read is None
    assert status_of(bench.out) == 418


class Plain(HttpServerApp):
    """Throws away what comes, and answers at its end."""

    def __init__(self):
        self.tasks = []

    def process_new_http(self, session):
        session.drain_request_body()

    def request_task(self, session, task):
        self.tasks.append(task)
        session.respond_error(418)


def test_a_plain_callback():
    app = Plain()
    bench = http(app, high_water=10).receive(get("/", "Content-Length: 100", method="POST"))
    for _ in range(10):
        assert bench.connection.want_read
        bench.receive(b"x" * 10)
    assert app.tasks == [Body(b"", True)]
    assert status_of(bench.out) == 418
    assert not bench.held


def test_a_tunnel_is_not_drained():
    exchange = KINDS["subrequest"](post(3, ("Connection", "upgrade"), ("Upgrade", "x")), False)
    exchange.session.accept_upgrade("x")
    with pytest.raises(LocalProtocolError, match="tunnel"):
        exchange.session.drain_request_body()
