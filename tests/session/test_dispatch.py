"""From events to exchanges."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sansio_pingora.digests import Digest
from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.http1 import Http1Server
from sansio_pingora.limits import Limits
from sansio_pingora.machine import ConnectionClosed, Writable
from sansio_pingora.session import Dispatcher
from sansio_pingora.transport import TransportInfo
from sansio_pingora.wire import Body, Done, Failed, Header, RequestHeader, ResponseHeader
from tests.memory import counting, cut

INFO = TransportInfo(None, None, 0.0)


class Exchange:
    def __init__(self, session):
        self.session = session
        self.events = []

    def receive_task(self, task, now):
        self.events.append(task)

    def writable(self, room, now):
        self.events.append(room)


class Handler:
    def __init__(self, at_once=False):
        self.begun = []
        self.errors = []
        self.at_once = at_once

    def begin(self, session, now):
        exchange = Exchange(session)
        self.begun.append(exchange)
        if self.at_once:
            session.release()
        return exchange

    def refused(self, session, error, now):
        self.errors.append((session, error))


class Connection:
    """Takes what a session sends."""

    def __init__(self):
        self.sent = []
        self.limits = Limits(max_unlogged=2)
        self.aborted = False

    def abort(self, now):
        self.aborted = True

    def send(self, stream_id, task, now):
        self.sent.append((stream_id, task))
        return 1


def made(at_once=False):
    handler = Handler(at_once)
    return Dispatcher(Connection(), handler, INFO), handler


def head(end=False):
    return Header(RequestHeader("GET", "/", [("Host", "a")]), end)


def test_a_request_makes_an_exchange_that_gets_the_rest():
    dispatcher, handler = made()
    dispatcher.receive_event(1, head(), 2.0)
    [exchange] = handler.begun
    assert exchange.session.stream_id == 1
    assert exchange.session.info is INFO
    assert exchange.session.now == 2.0
    for value in (Body(b"x"), Done()):
        dispatcher.receive_event(1, value, 3.0)
    dispatcher.receive_event(1, Writable(7), 3.0)
    assert exchange.events == [Body(b"x"), Done(), 7]


def test_nothing_is_delivered_after_release():
    dispatcher, handler = made()
    dispatcher.receive_event(1, head(), 0.0)
    handler.begun[0].session.release()
    for value in (Body(b"x"), Done(), Writable(1)):
        dispatcher.receive_event(1, value, 0.0)
    assert handler.begun[0].events == []
    assert not dispatcher._exchanges


def test_one_that_is_done_at_once_is_not_kept():
    dispatcher, handler = made(at_once=True)
    dispatcher.receive_event(1, head(), 0.0)
    assert not dispatcher._exchanges
    assert len(handler.begun) == 1


@pytest.mark.parametrize("size", [1, 2])
def test_a_body_of_a_request_that_waits_takes_its_own_memory(size):
    dispatcher, handler = made()
    dispatcher._exchanges.unlogged = 2
    dispatcher.receive_event(1, head(), 0.0)
    body = bytes(range(256)) * 40
    with counting() as held:
        for piece in cut(body, size):
            dispatcher.receive_event(1, Body(piece), 0.0)
        assert held() < 1.5 * len(body) + 4_000
    dispatcher.receive_event(1, Done(), 0.0)
    dispatcher._exchanges.unlogged = 0
    dispatcher._go_on(0.0)
    *pieces, end = handler.begun[0].events
    assert (b"".join(piece.data for piece in pieces), end) == (body, Done())


def test_streams_are_kept_apart():
    dispatcher, handler = made()
    for stream in (1, 3, 5):
        dispatcher.receive_event(stream, head(), 0.0)
    dispatcher.receive_event(3, Body(b"x"), 0.0)
    assert [exchange.events for exchange in handler.begun] == [[], [Body(b"x")], []]


def test_a_failure_without_an_exchange_is_a_refused_request():
    dispatcher, handler = made()
    error = Error(ErrorType.INVALID_HTTP_HEADER)
    dispatcher.receive_event(1, Failed(error), 0.0)
    [(session, found)] = handler.errors
    assert found is error
    assert session.req_header is None
    assert not dispatcher._exchanges


def test_a_failure_is_the_last_that_an_exchange_hears():
    dispatcher, handler = made()
    dispatcher.receive_event(1, head(), 0.0)
    error = Error(ErrorType.READ_ERROR)
    dispatcher.receive_event(1, Failed(error), 0.0)
    dispatcher.receive_event(0, ConnectionClosed(error), 0.0)
    assert handler.begun[0].events == [Failed(error)]
    assert handler.errors == []


@pytest.mark.parametrize("error", [None, Error(ErrorType.READ_ERROR, esource=ErrorSource.DOWNSTREAM)])
def test_a_connection_that_closes_tells_those_that_it_has_not_told(error):
    dispatcher, handler = made()
    for stream in (1, 3):
        dispatcher.receive_event(stream, head(), 0.0)
    handler.begun[0].session.release()
    dispatcher.receive_event(0, ConnectionClosed(error), 0.0)
    assert handler.begun[0].events == []
    [failed] = handler.begun[1].events
    assert isinstance(failed, Failed)
    assert failed.error.esource is ErrorSource.DOWNSTREAM
    assert error is None or failed.error is error
    assert not dispatcher._exchanges
    dispatcher.receive_event(0, ConnectionClosed(error), 0.0)
    assert len(handler.begun[1].events) == 1


def test_over_a_real_connection_nothing_is_kept_between_requests():
    connection = Http1Server(0.0, Limits())
    handler = Handler()
    dispatcher = Dispatcher(connection, handler, INFO)
    for number in range(5):
        for stream, value in connection.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0.0):
            dispatcher.receive_event(stream, value, 0.0)
        session = handler.begun[number].session
        session.write_response_header(ResponseHeader(204), end=True)
        session.release()
        assert not dispatcher._exchanges
    assert [exchange.session.stream_id for exchange in handler.begun] == [1, 2, 3, 4, 5]


# ── what stands before an exchange ───────────────────────────────────────────────────


class Before:
    """Passes everything on."""

    def __init__(self, behind=None):
        self.behind = behind
        self.seen = []

    def receive_task(self, task, now):
        self.seen.append(task)
        self.behind.receive_task(task, now)

    def writable(self, room, now):
        self.behind.writable(room, now)


class Interposing(Handler):
    """Puts others before its exchange while it begins it."""

    def __init__(self, *others):
        super().__init__()
        self.others = others

    def begin(self, session, now):
        for other in self.others:
            session.interpose(other)
        return super().begin(session, now)


def test_one_that_is_put_before_an_exchange_gets_its_events():
    dispatcher, handler = made()
    dispatcher.receive_event(1, head(), 0.0)
    [exchange] = handler.begun
    assert exchange.session.held_exchange() is exchange
    before = Before(exchange)
    exchange.session.interpose(before)
    dispatcher.receive_event(1, Body(b"x"), 0.0)
    dispatcher.receive_event(1, Writable(3), 0.0)
    assert before.seen == [Body(b"x")]
    assert exchange.events == [Body(b"x"), 3]


@pytest.mark.parametrize("count", [1, 2])
def test_one_that_is_put_there_while_it_begins_is_told_of_it(count):
    inner = Before()
    others = [inner, Before(inner)][:count]
    handler = Interposing(others[-1])
    dispatcher = Dispatcher(Connection(), handler, INFO)
    dispatcher.receive_event(1, head(), 0.0)
    dispatcher.receive_event(1, Body(b"x"), 0.0)
    assert inner.behind is handler.begun[0]
    assert handler.begun[0].events == [Body(b"x")]


def test_one_that_knows_the_exchange_is_told_nothing():
    dispatcher, handler = made()
    before = Before()
    begin = handler.begin

    def knowing(session, now):
        exchange = begin(session, now)
        before.behind = exchange
        session.interpose(before)
        return exchange

    handler.begin = knowing
    dispatcher.receive_event(1, head(), 0.0)
    assert before.behind is handler.begun[0]


def test_a_digest_is_shared_by_all_sessions():
    dispatcher, handler = made()
    digest = Digest()
    dispatcher.share(digest)
    for stream in (1, 2):
        dispatcher.receive_event(stream, head(), 0.0)
    assert [exchange.session.digest() for exchange in handler.begun] == [digest, digest]
    assert handler.begun[0].session.digest() is digest


# ── logs that wait ───────────────────────────────────────────────────────────────────


def joined(tasks):
    """*tasks* with neighbouring pieces of a body put together, as those that wait may be."""
    whole = []
    for task in tasks:
        if whole and type(whole[-1]) is type(task) is Body:
            whole[-1] = Body(whole[-1].data + task.data, task.end)
        else:
            whole.append(task)
    return whole


class Logs(RuleBasedStateMachine):
    """Requests of one connection whose logs wait, against lists of what there is: begun, and not begun yet."""

    def __init__(self):
        super().__init__()
        self.dispatcher, self.handler = made()
        self.handler.refused = self.refused
        self.stream = 0
        self.open = []  # begun, and not answered
        self.waiting = []  # not begun, with what has come of their bodies
        self.unlogged = []  # sessions
        self.refusals = 0  # that wait
        self.now = 0.0
        self.came = {}
        self.closed = False

    def refused(self, session, error, now):
        assert (session.req_header is not None) == (session.stream_id in self.came)
        session.await_log()
        self.unlogged.append(session)
        self.refusals -= 1

    def tell(self, stream, value):
        self.now += 1.0
        self.dispatcher.receive_event(stream, value, self.now)

    def settle(self):
        """What the model begins now."""
        while self.waiting and len(self.unlogged) < 2:
            stream, tasks = self.waiting.pop(0)
            begun = next(one for one in self.handler.begun if one.session.stream_id == stream)
            assert joined(begun.events) == joined(tasks)
            assert begun.session.began == self.came[stream]
            self.open.append(begun)

    @precondition(lambda self: not self.closed)
    @rule()
    def request(self):
        self.stream += 1
        self.waiting.append((self.stream, []))
        self.came[self.stream] = self.now + 1.0
        self.tell(self.stream, head())
        self.settle()

    @precondition(lambda self: not self.closed)
    @rule()
    def bad_request(self):
        self.stream += 1
        self.refusals += 1
        self.tell(self.stream, Failed(Error(ErrorType.INVALID_HTTP_HEADER, status=405)))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def body(self, data):
        stream, tasks = self.waiting[data.draw(st.integers(0, len(self.waiting) - 1))]
        tasks.append(Body(b"%d" % len(tasks)))
        self.tell(stream, tasks[-1])

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), status=st.sampled_from([None, 408]))
    def fails_before_it_is_begun(self, data, status):
        entry = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        self.refusals += status is not None
        self.tell(entry[0], Failed(Error(ErrorType.READ_TIMEDOUT, status=status)))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), gone=st.booleans())
    def is_over(self, data, gone):
        exchange = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        if gone and not self.closed:
            self.tell(exchange.session.stream_id, Failed(Error(ErrorType.CONNECTION_CLOSED)))
        exchange.session.await_log()
        self.unlogged.append(exchange.session)

    @precondition(lambda self: self.unlogged)
    @rule(data=st.data())
    def is_logged(self, data):
        session = self.unlogged.pop(data.draw(st.integers(0, len(self.unlogged) - 1)))
        session.release()
        self.settle()

    @rule()
    def closes(self):
        self.closed = True
        self.waiting.clear()
        self.tell(0, ConnectionClosed(None))

    @invariant()
    def as_the_model_has_it(self):
        begun = [exchange.session.stream_id for exchange in self.handler.begun]
        assert not set(begun) & {stream for stream, _ in self.waiting}
        assert len(set(begun)) == len(begun)
        if not self.closed:
            assert begun + sorted(stream for stream, _ in self.waiting) == sorted(begun) + [s for s, _ in self.waiting]
        assert self.dispatcher.under_way >= len(self.waiting)
        assert self.refusals == 0 or len(self.unlogged) >= 2
        assert self.refusals <= 2 or self.dispatcher.connection.aborted

    def teardown(self):
        while self.unlogged:
            session = self.unlogged.pop()
            session.release()
            self.settle()
        assert not self.waiting
        assert self.refusals == 0


Logs.TestCase.settings = settings(stateful_step_count=20)
TestLogs = Logs.TestCase
