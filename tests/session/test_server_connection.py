"""A whole connection in a loop of one's own, as the documentation shows it."""

from __future__ import annotations

import socket
import threading
from time import monotonic

import pytest

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Closing, ConnectionClosed, Endpoint, Lane, Writable
from sansio_pingora.session import ServerConnection, client_codec, server_codec
from sansio_pingora.wire import Body, Done, Failed, Header, ResponseHeader, UpgradedBody


def echo_loop(sock, limits=None):
    """The loop of the documentation, which echoes request bodies."""
    conn = ServerConnection(now=monotonic(), limits=limits)
    while not conn.closing:
        try:
            sock.settimeout(conn.timeout(monotonic()))
            events = conn.receive_data(sock.recv(65536), monotonic())
        except TimeoutError:
            events = conn.handle_timeout(monotonic())
        except OSError as exc:
            events = conn.transport_lost(Error(ErrorType.READ_ERROR, cause=exc), monotonic())
        for stream_id, value in events:
            now = monotonic()
            if isinstance(value, Header):
                conn.invite_body(stream_id, now)
                conn.send(stream_id, Header(ResponseHeader(200), value.end), now)
            elif isinstance(value, Body):
                conn.send(stream_id, value, now)
                conn.consumed(stream_id, len(value.data))
            elif isinstance(value, Done):
                conn.send(stream_id, value, now)
        try:
            sock.sendall(b"".join(conn.data_to_send()))
        except OSError as exc:
            conn.transport_lost(Error(ErrorType.WRITE_ERROR, cause=exc), monotonic())
    sock.close()


@pytest.fixture
def client():
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=echo_loop, args=(theirs,))
    thread.start()
    ours.settimeout(10)
    yield ours
    ours.close()
    thread.join(10)
    assert not thread.is_alive()


def read_until(sock, end):
    data = b""
    while not data.endswith(end):
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    return data


def test_the_loop_of_the_documentation(client):
    for _ in range(2):
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
        client.sendall(b"lo")
        assert read_until(client, b"0\r\n\r\n").replace(b"\r\n", b"").endswith(b"lo0")


def test_pipelined_requests_in_the_loop(client):
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx" * 20)
    data = b""
    while data.count(b"0\r\n\r\n") < 20:
        data += client.recv(65536)
    assert data.count(b"HTTP/1.1 200 OK") == 20


def test_a_megabyte_in_the_loop(client):
    size = 1 << 20
    writer = threading.Thread(
        target=client.sendall,
        args=(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size,),
    )
    writer.start()
    data = read_until(client, b"\r\n0\r\n\r\n")
    writer.join()
    assert data.count(b"x") >= size


def test_a_bad_request_ends_the_loop(client):
    client.sendall(b"nonsense HTTP/1.1\r\n\r\n")
    assert client.recv(65536).startswith(b"HTTP/1.1 400 ")
    client.shutdown(socket.SHUT_WR)
    assert client.recv(65536) == b""


def test_expect_in_the_loop(client):
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert client.recv(65536).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.sendall(b"ok")
    read_until(client, b"0\r\n\r\n")


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_timeout_is_what_settimeout_wants():
    conn = ServerConnection(now=100.0)
    assert conn.timeout(100.0) == 10.0
    assert conn.deadline == 110.0
    assert conn.timeout(109.9999) == 0.001
    assert conn.timeout(200.0) == 0.001
    conn.receive_data(GET, 101.0)
    assert conn.timeout(101.0) is None  # it is for us to answer now
    conn.send(1, Header(ResponseHeader(204), True), 101.0)
    assert conn.timeout(101.0) == 60.0
    assert conn.next_reason() == "keepalive_timeout"


def test_what_has_arrived_already_is_due_at_once():
    conn = ServerConnection(now=0.0)
    conn.receive_data(GET + GET, 0.0)
    conn.send(1, Header(ResponseHeader(204), True), 0.0)
    assert conn.deadline == AT_ONCE
    assert conn.timeout(5.0) == 0.001
    [(stream, value)] = conn.handle_timeout(5.0)
    assert stream == 2
    assert isinstance(value, Header)


def test_a_connection_that_says_nothing_ends_by_its_deadline():
    conn = ServerConnection(now=0.0)
    assert conn.handle_timeout(9.9) == []
    [(stream, value)] = conn.handle_timeout(10.0)
    assert (stream, type(value)) == (0, ConnectionClosed)
    assert conn.closing is Closing.AFTER_FLUSH
    assert conn.handle_timeout(10.0) == []


def test_consumed_takes_the_time_of_the_last_call():
    conn = ServerConnection(now=0.0, limits=Limits(high_water=10))
    events = conn.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n0123456789", 5.0)
    assert isinstance(events[1][1], Body)
    assert not conn.want_read
    assert conn.timeout(100.0) is None  # no clock while we withhold credit
    conn.receive_data(b"1", 6.0)
    conn.consumed(1, 11)
    assert conn.want_read
    assert conn.deadline > 6.0
    assert conn.next_reason() == "body_idle_timeout"
    with pytest.raises(LocalProtocolError):
        conn.consumed(1, 1)


def test_flow_of_output():
    conn = ServerConnection(now=0.0, limits=Limits(high_water=10))
    conn.receive_data(GET, 0.0)
    conn.send(1, Header(ResponseHeader(200), False), 0.0)
    assert conn.send(1, Body(b"x" * 100), 0.0) <= 0
    assert conn.starved
    assert conn.data_to_send()
    conn.write_paused(1.0)
    assert conn.stalled
    assert conn.deadline == 31.0
    conn.write_progressed(5.0)
    assert conn.deadline == 35.0
    [(stream, value)] = conn.write_resumed(6.0)
    assert (stream, type(value)) == (1, Writable)
    assert not conn.starved
    assert not conn.stalled


def test_drain_and_abort():
    conn = ServerConnection(now=0.0)
    conn.receive_data(GET, 0.0)
    conn.drain(0.0)
    conn.send(1, Header(ResponseHeader(204), True), 0.0)
    assert b"Connection: close" in b"".join(conn.data_to_send()) or conn.shut_write or conn.closing
    conn.abort(0.0)
    assert conn.closing is Closing.ABORT


def test_lost_and_left():
    conn = ServerConnection(now=0.0)
    conn.receive_data(GET, 0.0)
    error = Error(ErrorType.READ_ERROR)
    (one, failed), (zero, closed) = conn.transport_lost(error, 1.0)
    assert (one, zero) == (1, 0)
    assert isinstance(failed, Failed)
    assert closed.error is error
    other = ServerConnection(now=0.0)
    assert [type(value) for _, value in other.receive_eof(0.0)] == [ConnectionClosed]


def test_a_server_opens_no_streams():
    assert ServerConnection(now=0.0).open_stream(0.0) is None


def test_date_by_the_wall_clock():
    conn = ServerConnection(now=0.0, wall_offset=784111777.0)
    conn.receive_data(GET, 0.0)
    conn.send(1, Header(ResponseHeader(204), True), 0.0)
    assert b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" in b"".join(conn.data_to_send())


def test_connect_is_a_choice():
    connect = b"CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n"
    conn = ServerConnection(now=0.0)
    assert isinstance(conn.receive_data(connect, 0.0)[0][1], Failed)
    conn = ServerConnection(now=0.0, allow_connect=True)
    conn.receive_data(connect, 0.0)
    conn.send(1, Header(ResponseHeader(200), False), 0.0)
    conn.send(1, UpgradedBody(b"raw"), 0.0)
    assert b"".join(conn.data_to_send()).endswith(b"raw")


def test_it_takes_an_endpoint():
    conn = ServerConnection(now=0.0)
    assert conn.endpoint is None
    lane = Lane()

    class Receiver:
        def receive_event(self, stream_id, value, now):
            pass

    endpoint = Endpoint(lane, conn, Receiver())
    assert conn.endpoint is endpoint
    endpoint.receive_data(GET, 0.0)
    assert lane.dirty == [endpoint]


def test_engines():
    assert server_codec("native", Limits()) is None
    assert client_codec("native", Limits()) is None
    for make in (server_codec, client_codec):
        with pytest.raises(ValueError, match="engine 'other': choose 'native' or 'hyper'"):
            make("other", Limits())
    with pytest.raises(ValueError, match="engine 'other'"):
        ServerConnection(now=0.0, engine="other")


def test_the_reference_engine():
    conn = ServerConnection(now=0.0, engine="hyper")
    [(stream, value)] = conn.receive_data(GET, 0.0)
    assert (stream, value.end) == (1, True)
