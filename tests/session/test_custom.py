"""Connections of a protocol of one's own."""

from __future__ import annotations

import json
import math

import pytest

from sansio_pingora.apps import HttpServerApp, HttpService
from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Closing, ConnectionClosed, Endpoint, Writable
from sansio_pingora.session import CustomConnection, Dispatcher, Drain, ReadBody, ServerSession
from sansio_pingora.testing import LinkProfile, Raw, Weather, World
from sansio_pingora.wire import Body, Done, Failed, Fields, Header, ResponseHeader, Trailer, UpgradedBody
from tests.session.kinds import Lines, _line, custom, get, post

HEAD = _line(1, "request", "GET", "/", [], True)
POST = _line(1, "request", "POST", "/", [], False)
OK = Header(ResponseHeader(200), False)
FAULT = Error(ErrorType.INTERNAL_ERROR, "on purpose")


def server(*data, **limits):
    connection = Lines(0.0, Limits(**limits))
    events = [event for piece in data for event in connection.receive_data(piece, 0.0)]
    return connection, events


def client(*heads, **limits):
    """A client with a stream for each of *heads*."""
    connection = Lines(0.0, Limits(**limits), client=True)
    for head in heads:
        connection.send(connection.open_stream(0.0), Header(head, True), 0.0)
    return connection


def sent(connection):
    return b"".join(connection.data_to_send())


def kinds(events):
    return [(stream, type(value).__name__) for stream, value in events]


# ── sessions work on it as on any other ──────────────────────────────────────────────


def test_both_sides_of_an_exchange():
    exchange = custom(post(), False)
    exchange.session.invite_body()
    exchange.client_session.request_written = post()
    exchange.client_session.write_request_body(b"abc")
    exchange.client_session.write_request_trailers(Fields([("X-Up", "1")]))
    exchange.settle()
    assert exchange.exchange.tasks == [Body(b"abc"), Trailer(Fields([("X-Up", "1")]))]
    exchange.session.write_response_header(ResponseHeader(200))
    exchange.session.write_response_body(b"def")
    exchange.session.finish_body()
    exchange.settle()
    assert exchange.received == [OK, Body(b"def"), Done()]
    assert exchange.connection._streams == exchange.client._streams == {}
    assert exchange.client.open_stream(0.0) == 2


def test_many_streams_at_once():
    connection, events = server(HEAD, HEAD.replace(b"[1", b"[2"), HEAD.replace(b"[1", b"[3"))
    assert kinds(events) == [(stream, "Header") for stream in (1, 2, 3)]
    for stream in (2, 3, 1):
        connection.send(stream, Header(ResponseHeader(204), True), 0.0)
    assert [json.loads(line)[0] for line in sent(connection).splitlines()] == [2, 3, 1]


def test_a_client_may_be_held_to_one_stream():
    class OneAtATime(Lines):
        max_streams = 1

    connection = OneAtATime(0.0, client=True)
    assert connection.open_stream(0.0) == 1
    assert connection.open_stream(0.0) is None
    assert not connection.reusable


def test_a_server_opens_none():
    assert server()[0].open_stream(0.0) is None


# ── what may be sent ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("before", "task"),
    [
        ([], Body(b"x")),
        ([], Done()),
        ([], Header(get(), True)),
        ([OK], OK),
        ([OK, Done()], Body(b"x")),
        ([OK, Done()], UpgradedBody(b"x")),
    ],
    ids=repr,
)
def test_an_illegal_move_changes_nothing(before, task):
    connection, _ = server(POST)
    for earlier in before:
        connection.send(1, earlier, 0.0)
    sent(connection)
    with pytest.raises(LocalProtocolError):
        connection.send(1, task, 0.0)
    assert sent(connection) == b""


def test_an_end_behind_an_end_says_nothing():
    connection, _ = server(POST)
    for task in (OK, Done(), Done(), Body(b"")):
        connection.send(1, task, 0.0)
    assert sent(connection).count(b"done") == 1


def test_a_stream_that_never_was():
    connection, _ = server(HEAD)
    with pytest.raises(LocalProtocolError, match="stream 2 was never opened"):
        connection.send(2, OK, 0.0)
    connection.send(1, Header(ResponseHeader(204), True), 0.0)
    assert connection.send(1, Body(b"late"), 0.0) == 65_536


def test_informational_heads_come_before_the_final_one():
    connection, _ = server(HEAD)
    for status in (103, 100, 200):
        connection.send(1, Header(ResponseHeader(status), status == 200), 0.0)
    assert sent(connection).count(b"response") == 3


def test_a_stream_that_is_broken_off():
    connection, _ = server(HEAD, HEAD.replace(b"[1", b"[2"))
    connection.send(1, Failed(FAULT), 0.0)
    assert json.loads(sent(connection))[1] == "failed"
    assert not connection.closing
    connection.send(1, OK, 0.0)
    assert sent(connection) == b""


def test_without_a_word_for_it_the_connection_ends():
    class Wordless(Lines):
        stream_broken = CustomConnection.stream_broken

    connection = Wordless(0.0)
    connection.receive_data(HEAD, 0.0)
    connection.send(1, Failed(FAULT), 0.0)
    assert connection.closing is Closing.ABORT


def test_a_response_that_is_complete_before_its_request():
    connection, _ = server(POST, _line(1, "body", "x" * 100, False), high_water=10)
    assert not connection.want_read
    connection.send(1, Header(ResponseHeader(204), True), 0.0)
    assert connection.want_read
    assert connection.receive_data(_line(1, "body", "x" * 100, False), 0.0) == []
    connection.consumed(1, 100, 0.0)
    assert connection._streams
    assert connection.receive_data(_line(1, "done"), 0.0) == []
    assert not connection._streams
    assert connection.receive_data(_line(1, "body", "late", False), 0.0) == []


@pytest.mark.parametrize(("head", "status"), [(get(), 101), (get(method="CONNECT"), 200)], ids=["101", "CONNECT"])
def test_a_tunnel(head, status):
    exchange = custom(head, True)
    exchange.session.write_response_header(ResponseHeader(status))
    exchange.settle()
    exchange.feed(UpgradedBody(b"up"))
    exchange.session.write_response_body(b"down", end=True)
    exchange.settle()
    assert exchange.received[1:] == [UpgradedBody(b"down", True)]
    assert exchange.connection._streams
    exchange.feed(UpgradedBody(b"", True))
    assert exchange.exchange.tasks == [UpgradedBody(b"up"), UpgradedBody(b"", True)]
    assert not exchange.connection._streams
    assert not exchange.client._streams


# ── credit ───────────────────────────────────────────────────────────────────────────


def test_read_credit():
    connection, events = server(
        POST, _line(1, "body", "x" * 60, False), _line(1, "body", "x" * 60, False), high_water=100
    )
    assert kinds(events) == [(1, "Header"), (1, "Body"), (1, "Body")]
    assert not connection.want_read
    assert connection.deadline == math.inf  # no clock while we withhold credit
    with pytest.raises(LocalProtocolError):
        connection.consumed(1, 121, 0.0)
    connection.consumed(1, 30, 5.0)
    assert connection.want_read
    assert connection.deadline == 35.0
    connection.consumed(9, 1, 0.0)


def test_write_credit():
    connection, _ = server(HEAD, HEAD.replace(b"[1", b"[2"), high_water=100)
    for stream in (1, 2):
        connection.send(stream, OK, 0.0)
    assert connection.send(1, Body(b"x" * 200), 0.0) <= 0
    assert connection.starved
    assert connection.write_resumed(0.0) == []  # it is queued still
    sent(connection)
    [(stream, value)] = connection.write_resumed(0.0)
    assert (stream, type(value), value.room) == (1, Writable, 100)
    assert not connection.starved


def test_a_pause():
    connection, _ = server(HEAD)
    connection.send(1, OK, 0.0)
    connection.write_paused(0.0)
    assert connection.stalled
    assert connection.send(1, Body(b"x"), 0.0) <= 0
    assert connection.next_reason() == "write_idle_timeout"
    connection.write_progressed(20.0)
    assert connection.handle_timeout(49.0) == []
    events = connection.handle_timeout(50.0)
    assert kinds(events) == [(1, "Failed"), (0, "ConnectionClosed")]
    assert events[0][1].error.etype is ErrorType.WRITE_TIMEDOUT
    assert connection.closing is Closing.ABORT


# ── time ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "timeout"),
    [([], 10.0), ([HEAD], math.inf), ([POST], 30.0)],
    ids=["nothing has come", "we owe the answer", "the client owes a body"],
)
def test_the_clock_over_a_client(data, timeout):
    connection, _ = server(*data)
    assert connection.deadline == timeout
    assert connection.next_reason() == ("nothing" if timeout == math.inf else "the peer's next bytes")
    if timeout != math.inf:
        assert connection.handle_timeout(timeout - 0.1) == []
        events = connection.handle_timeout(timeout)
        assert [type(value) for _, value in events] == ([Failed] if data else []) + [ConnectionClosed]
        assert connection.closing is (Closing.ABORT if data else Closing.AFTER_FLUSH)


def test_the_clock_between_requests():
    connection, _ = server(HEAD)
    connection.send(1, Header(ResponseHeader(204), True), 3.0)
    assert connection.deadline == 63.0


def test_the_clock_over_an_origin():
    connection = client()
    assert connection.deadline == math.inf
    connection.open_stream(0.0)
    connection.set_timeouts(5.0, 6.0)
    assert connection.timeouts == (5.0, 6.0)
    connection.send(1, Header(get(), True), 1.0)
    assert connection.deadline == 6.0
    [(_, failed), _] = connection.handle_timeout(6.0)
    assert failed.error.etype is ErrorType.READ_TIMEDOUT
    assert failed.error.esource is ErrorSource.UPSTREAM


# ── ends ─────────────────────────────────────────────────────────────────────────────


def test_a_peer_that_breaks_the_rules():
    connection, events = server(POST + _line(1, "body", "kept", False) + b"rubbish\n" + _line(1, "done"))
    assert kinds(events) == [(1, "Header"), (1, "Body"), (1, "Failed"), (0, "ConnectionClosed")]
    assert events[2][1].error.esource is ErrorSource.DOWNSTREAM
    assert connection.closing is Closing.AFTER_FLUSH
    assert connection.receive_data(HEAD, 0.0) == []


def test_a_client_that_ends_amid_its_body():
    connection, _ = server(POST)
    assert kinds(connection.receive_data(b"", 0.0)) == [(1, "Failed"), (0, "ConnectionClosed")]
    assert connection.closing


def test_a_client_that_ends_behind_its_request_is_answered():
    connection, _ = server(HEAD)
    assert connection.receive_data(b"", 0.0) == []
    assert not connection.closing
    assert not connection.want_read
    connection.send(1, Header(ResponseHeader(204), True), 0.0)
    assert connection.closing is Closing.AFTER_FLUSH
    assert b"204" in sent(connection)


def test_an_end_may_complete_a_message():
    class UntilTheEnd(Lines):
        def end_came(self, now):
            yield 1, Done()

    connection = UntilTheEnd(0.0)
    connection.receive_data(POST, 0.0)
    assert connection.receive_eof(0.0) == [(1, Done())]


def test_a_transport_that_is_lost():
    connection, _ = server(HEAD)
    error = Error(ErrorType.READ_ERROR)
    assert connection.transport_lost(error, 0.0)[0] == (1, Failed(error))
    assert connection.transport_lost(None, 0.0) == []


def test_draining():
    connection, _ = server(HEAD)
    connection.drain(0.0)
    assert connection.draining
    assert not connection.closing
    connection.send(1, Header(ResponseHeader(204), True), 0.0)
    assert connection.closing is Closing.AFTER_FLUSH
    idle, _ = server()
    idle.drain(0.0)
    assert idle.closing


def test_aborting():
    connection, _ = server(HEAD)
    connection.send(1, OK, 0.0)
    connection.abort(0.0)
    connection.put(b"more")
    assert connection.closing is Closing.ABORT
    assert sent(connection) == b""
    connection.write_paused(0.0)
    assert not connection.stalled


# ── messages beside the streams ──────────────────────────────────────────────────────


def talking(high_water=65_536):
    exchange = custom(get(), True, limits=Limits(high_water=high_water))
    theirs = exchange.client.custom_messages(1)
    return exchange, exchange.session, theirs


def test_messages_pass_both_ways():
    exchange, session, theirs = talking()
    writer, reader = session.take_custom_message_writer(), session.take_custom_message_reader()
    assert session.take_custom_message_writer() is None
    writer.write(b"to the client")
    theirs.outbound.write(b"to the server")
    exchange.settle()
    assert theirs.inbound.read() == b"to the client"
    assert reader.read() == b"to the server"
    session.restore_custom_message_reader(reader)
    session.restore_custom_message_writer(writer)
    assert exchange.client_session.take_custom_message_reader() is theirs.inbound
    session.finish_custom()
    with pytest.raises(LocalProtocolError):
        writer.write(b"more")


def test_messages_that_wait_go_out_before_the_stream_is_forgotten():
    exchange, session, theirs = talking()
    writer = session.take_custom_message_writer()
    writer.write(b"last word")
    session.write_response_header(ResponseHeader(204), end=True)
    exchange.settle()
    assert theirs.inbound.read() == b"last word"
    assert theirs.inbound.ended
    assert writer.finished
    with pytest.raises(LocalProtocolError, match="only a custom protocol"):
        session.take_custom_message_reader()  # the stream is over
    exchange.connection.message_came(1, b"late")


def test_messages_that_are_not_read_stop_the_reading():
    exchange, session, theirs = talking(high_water=100)
    reader = session.take_custom_message_reader()
    theirs.outbound.write(b"x" * 150)
    exchange.settle()
    assert not exchange.connection.want_read
    assert reader.read() == b"x" * 150
    exchange.settle()
    assert exchange.connection.want_read


def test_messages_wait_while_there_is_no_room():
    exchange, session, theirs = talking(high_water=100)
    connection = exchange.connection
    connection.write_paused(0.0)
    writer = session.take_custom_message_writer()
    for _ in range(3):
        writer.write(b"x" * 30)
    assert connection.handle_timeout(0.0) == []
    assert connection.starved
    assert sent(connection) == b""
    connection.write_resumed(0.0)
    assert connection.deadline == AT_ONCE
    assert connection.next_reason() == "messages"
    exchange.settle()
    assert theirs.inbound.read() == b"x" * 30


def test_a_stream_that_broke_breaks_its_flows():
    exchange, session, theirs = talking()
    reader, writer = session.take_custom_message_reader(), session.take_custom_message_writer()
    writer.write(b"lost")
    exchange.client.send(1, Failed(FAULT), 0.0)
    exchange.settle()
    assert isinstance(session.closed, Error)
    for flow in (reader, writer):
        assert flow.error is not None
    assert theirs.inbound.error is FAULT


class Chat(HttpServerApp):
    """Answers each message by itself in upper case, and at the end the request by their number."""

    def process_new_http(self, session):
        reader, writer = session.take_custom_message_reader(), session.take_custom_message_writer()
        count = 0
        while (message := (yield from reader.next_message())) != b"bye":
            count += 1
            yield from writer.room_for_more()
            writer.write(message.upper())
        session.write_response_header(ResponseHeader(200), end=False)
        session.write_response_body(b"%d" % count, end=True)


class CustomService(HttpService):
    """Serves an application over :class:`Lines`."""

    def open(self, lane, now, wall):
        handler = self.handler(lane, now)
        limits = self.limits

        class Acceptor:
            def accept(self, info, now):
                connection = Lines(now, limits)
                return Endpoint(lane, connection, Dispatcher(connection, handler, info), info)

            def drain(self, now):
                for endpoint in lane.endpoints:
                    endpoint.connection.drain(now)

        return Acceptor()


TIGHT = Weather((LinkProfile(send_buffer=50, receive_buffer=50, high=50, low=10, read_size=7, cuts=20, jitter=0.01),))


@pytest.mark.parametrize("weather", [None, TIGHT], ids=["calm", "tight"])
def test_an_application_talks_in_the_simulation(weather):
    world = World(1, weather)
    driver = world.listen("10.0.0.2:80", CustomService(Chat()))
    said = [_line(1, "message", word) for word in ["a", "b" * 300, "c"] * 50]
    peer = Raw(world, HEAD, *said, 1.0, _line(1, "message", "bye"), 5.0)
    world.client("10.0.0.2:80", peer)
    world.run(50.0)
    lines = [json.loads(line) for line in peer.data.splitlines()]
    assert [line[2] for line in lines if line[1] == "message"] == ["A", "B" * 300, "C"] * 50
    assert lines[-1] == [1, "body", "150", True]
    assert driver.log == []
    driver.drain()
    world.run()
    assert not driver.sockets


class Echo(HttpServerApp):
    def process_new_http(self, session):
        session.write_response_header(ResponseHeader(200))
        while (data := (yield ReadBody())) is not None:
            if session.write_response_body(data) <= 0:
                yield Drain()


@pytest.mark.parametrize("weather", [None, TIGHT], ids=["calm", "tight"])
def test_bodies_are_echoed_in_the_simulation(weather):
    world = World(2, weather)
    driver = world.listen("10.0.0.2:80", CustomService(Echo(), Limits(high_water=200)))
    pieces = [_line(1, "body", chr(97 + at % 26) * 97, False) for at in range(100)]
    peer = Raw(world, POST, *pieces, _line(1, "done"), HEAD.replace(b"[1", b"[2"), shut=True)
    world.client("10.0.0.2:80", peer)
    world.run()
    lines = [json.loads(line) for line in peer.data.splitlines()]
    assert "".join(line[2] for line in lines if line[:2] == [1, "body"]) == "".join(
        chr(97 + at % 26) * 97 for at in range(100)
    )
    assert lines[-1][:2] == [2, "done"]
    assert driver.log == []
    assert not driver.sockets


def test_a_session_can_be_made_by_hand():
    connection, [(stream, head)] = server(HEAD)
    session = ServerSession(connection, stream, head, None, 0.0, {})
    session.respond_error(404)
    assert b"404" in sent(connection)


def test_a_protocol_must_say_how_it_reads_and_writes():
    bare = CustomConnection(0.0)
    bare.invite_body(1, 0.0)
    assert bare.custom_messages(bare.opened()) is None
    for call in (
        lambda: bare.receive_data(b"x", 0.0),
        lambda: bare.send(1, OK, 0.0),
        lambda: bare.message_sent(1, b"", 0.0),
    ):
        with pytest.raises(NotImplementedError):
            call()
