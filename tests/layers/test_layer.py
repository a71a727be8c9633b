"""The contract of layers: nothing above until the peer did its part, then everything, then perhaps out of the way."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.apps import HttpService, RawService, Request, Response, ServeHttp, ServerApp
from sansio_pingora.digests import Digest
from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.layers import Layer, pending_layer, stack_layers
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, ConnectionClosed, Endpoint, Established, Lane
from sansio_pingora.session import ServerConnection
from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora.wire import Body, Done, Failed, Header, ResponseHeader

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PREFIX = b"open sesame\n"


class Sesame(Layer):
    """Waits for the password, says *hello*, and steps aside."""

    __slots__ = ("_seen",)

    waits_for = "the password"

    def __init__(self, above, limits, digest, deadline):
        super().__init__(above, limits, digest, deadline)
        self._seen = b""
        self._output = [b"hello\n"]

    def _receive(self, data, now):
        seen = self._seen = self._seen + data
        if not PREFIX.startswith(seen[: len(PREFIX)]):
            self._output.append(b"no\n")
            return self._fail(Error(ErrorType.CUSTOM, "wrong", name="Sesame"), now)
        if len(seen) < len(PREFIX):
            return []
        events = self._establish(now)
        self._step_aside()
        rest = seen[len(PREFIX) :]
        return events + (self.inner.receive_data(rest, now) if rest else [])


class Staying(Sesame):
    """One that stays where it is."""

    __slots__ = ()

    def _step_aside(self):
        pass


class Receiver:
    def __init__(self):
        self.events = []

    def receive_event(self, stream_id, value, now):
        self.events.append((stream_id, value))

    @property
    def kinds(self):
        return [type(value) for _, value in self.events]


INFO = TransportInfo(SocketAddr("10.0.0.1", 4000), SocketAddr("10.0.0.2", 80), 0.0)


def stand(*makers, deadline=5.0):
    lane, receiver = Lane(), Receiver()
    layer = stack_layers(
        makers, lambda _layer, now: ServerConnection(now=now, h2c=False), Limits(), Digest.of(INFO), deadline
    )
    endpoint = Endpoint(lane, layer, receiver, INFO)
    lane.attach(endpoint)
    return endpoint, receiver


def feed(endpoint, data, now):
    if data:
        endpoint.receive_data(data, now)


STACKS = [(Sesame,), (Staying,), (Sesame, Sesame), (Sesame, Staying), (Staying, Sesame), (Staying, Staying)]


@pytest.mark.parametrize("makers", STACKS, ids=lambda m: "-".join(c.__name__ for c in m))
@given(cuts=st.lists(st.integers(0, 80), max_size=6))
def test_cutting_never_matters(makers, cuts):
    endpoint, receiver = stand(*makers)
    raw = PREFIX * len(makers) + REQUEST
    at = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    output = b""
    for start, end in pairwise(at):
        endpoint.receive_data(raw[start:end], 1.0)
        output += b"".join(endpoint.connection.data_to_send())

    assert output == b"hello\n" * len(makers)
    assert receiver.kinds == [Established, Header]
    assert pending_layer(endpoint.connection) is None
    established = receiver.events[0][1]
    assert established.connection.endpoint is endpoint
    assert endpoint.connection.version == b"1.1"
    if Staying not in makers:
        assert endpoint.connection is established.connection


@pytest.mark.parametrize("makers", STACKS, ids=lambda m: "-".join(c.__name__ for c in m))
def test_what_the_inner_sends_comes_out_below(makers):
    endpoint, receiver = stand(*makers)
    endpoint.receive_data(PREFIX * len(makers) + REQUEST, 1.0)
    endpoint.connection.data_to_send()
    inner = receiver.events[0][1].connection

    inner.send(1, Header(ResponseHeader(204), True), 1.0)

    assert endpoint in endpoint.lane.dirty
    assert b"".join(endpoint.connection.data_to_send()).startswith(b"HTTP/1.1 204")


@pytest.mark.parametrize("makers", STACKS, ids=lambda m: "-".join(c.__name__ for c in m))
def test_before_it_is_established(makers):
    endpoint, receiver = stand(*makers)
    layer = endpoint.connection

    assert layer.want_read
    assert not layer.closing
    assert [layer.shut_write, layer.starved, layer.stalled] == [False] * 3
    assert layer.deadline == 5.0
    assert layer.open_stream(0.0) is None
    assert pending_layer(layer) is layer
    with pytest.raises(LocalProtocolError, match="the password is waited for"):
        layer.send(1, Done(), 0.0)
    endpoint.handle_timeout(4.9)
    assert not receiver.events


@pytest.mark.parametrize("makers", STACKS, ids=lambda m: "-".join(c.__name__ for c in m))
@pytest.mark.parametrize("done", [0, 1])
def test_the_deadline_is_one_for_all_layers(makers, done):
    endpoint, receiver = stand(*makers)
    if done >= len(makers):
        pytest.skip("established")
    feed(endpoint, PREFIX * done, 4.0)
    endpoint.handle_timeout(5.0)

    assert receiver.kinds == [ConnectionClosed]
    assert "5 s while the password was waited for" in str(receiver.events[0][1].error)
    assert endpoint.connection.closing is Closing.AFTER_FLUSH
    endpoint.transport_lost(None, 5.0)
    assert endpoint.connection.deadline == math.inf
    assert receiver.kinds == [ConnectionClosed]


def test_who_does_not_take_the_last_words_is_cut_off():
    endpoint, receiver = stand(Staying, Sesame)
    endpoint.receive_data(b"please", 1.0)
    endpoint.receive_data(b"please", 1.0)
    connection = endpoint.connection
    assert (connection.deadline, connection.next_reason()) == (2.0, "linger_timeout")
    endpoint.handle_timeout(1.9)
    assert connection.closing is Closing.AFTER_FLUSH
    endpoint.handle_timeout(2.0)
    assert connection.closing is Closing.ABORT
    assert connection.deadline == math.inf
    endpoint.transport_lost(None, 2.0)
    assert receiver.kinds == [ConnectionClosed]


@pytest.mark.parametrize("how", ["eof", "lost", "wrong"])
@pytest.mark.parametrize("done", [0, 1])
def test_what_ends_it_is_told_once(how, done):
    endpoint, receiver = stand(Staying, Sesame)
    feed(endpoint, PREFIX * done, 0.0)
    if how == "eof":
        endpoint.receive_eof(1.0)
    elif how == "wrong":
        endpoint.receive_data(b"please", 1.0)
        endpoint.receive_data(b"please", 1.0)
        assert b"".join(endpoint.connection.data_to_send()).endswith(b"no\n")
    endpoint.transport_lost(Error(ErrorType.READ_ERROR, "reset"), 1.0)

    assert receiver.kinds == [ConnectionClosed]


def test_a_layer_that_breaks_later_tells_what_stands_on_it():
    endpoint, _ = stand(Staying)
    endpoint.receive_data(PREFIX + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1", 1.0)
    events = endpoint.connection._fail(Error(ErrorType.READ_ERROR, "bad record"), 1.0)

    assert [type(value) for _, value in events] == [Failed, ConnectionClosed]
    assert endpoint.connection.closing is Closing.AFTER_FLUSH


@pytest.mark.parametrize("when", [0, 1, 2])
def test_draining_reaches_what_stands_above(when):
    endpoint, receiver = stand(Staying, Sesame)
    feed(endpoint, PREFIX * when, 1.0)
    endpoint.connection.drain(1.0)
    endpoint.receive_data(PREFIX * (2 - when) + REQUEST, 1.0)
    inner = receiver.events[0][1].connection

    inner.send(1, Header(ResponseHeader(204), True), 1.0)

    assert b"connection: close" in b"".join(endpoint.connection.data_to_send()).lower()


@pytest.mark.parametrize("done", [0, 1, 2])
def test_an_abort_is_obeyed_at_every_height(done):
    endpoint, _ = stand(Staying, Sesame)
    feed(endpoint, PREFIX * done, 0.0)
    endpoint.lane.drain(0.0)
    endpoint.connection.abort(1.0)

    assert endpoint.connection.closing is Closing.ABORT
    assert endpoint in endpoint.lane.dirty


def served(app):
    lane = Lane()
    acceptor = app.open(lane, 0.0, 0.0)
    endpoint = acceptor.accept(TransportInfo(INFO.peer, INFO.local, 0.0, (Staying, Sesame)), 0.0)
    lane.attach(endpoint)
    return acceptor, endpoint


def test_an_http_service_above_layers():
    def handler(request: Request) -> Response:
        return Response(200, body=str(request.client).encode())

    _, endpoint = served(HttpService(ServeHttp(handler)))
    endpoint.receive_data(PREFIX + PREFIX + REQUEST, 0.0)
    endpoint.lane.drain(0.0)

    assert b"10.0.0.1:4000" in b"".join(endpoint.connection.data_to_send())


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_stream_begins_above_layers(when):
    begun = []

    class App(ServerApp):
        def process_new(self, stream):
            begun.append(stream)
            stream.write(b"welcome")

    acceptor, endpoint = served(RawService(App()))
    endpoint.receive_data(PREFIX, 0.0)
    assert not begun
    if when == "before":
        acceptor.drain(0.0)
    endpoint.receive_data(PREFIX, 0.0)
    if when == "after":
        acceptor.drain(0.0)

    assert b"".join(endpoint.connection.data_to_send()) == b"hello\nhello\nwelcome"
    assert begun[0].digest().timing_digest[0].established_ts == 0.0
    assert endpoint.connection.deadline == 5.0  # of a stream that drains and is silent


def test_bodies_pass():
    endpoint, receiver = stand(Staying)
    endpoint.receive_data(PREFIX + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", 1.0)
    endpoint.receive_data(b"body", 1.0)

    assert [(type(v), getattr(v, "data", None)) for _, v in receiver.events[2:]] == [(Body, b"body")]
