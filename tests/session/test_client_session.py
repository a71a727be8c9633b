"""Our handle on one request to an origin."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.http1 import Http1Client
from sansio_pingora.limits import Limits
from sansio_pingora.session import ClientSession
from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora.wire import Body, Done, Failed, Fields, Header, RequestHeader, Trailer, UpgradedBody

INFO = TransportInfo(SocketAddr("10.0.0.9", 80), SocketAddr("10.0.0.1", 5000), 0.0)


class Exchange:
    """A client's connection with a session on its first stream."""

    def __init__(self, info=INFO):
        self.connection = Http1Client(Limits())
        self.session = ClientSession(self.connection, self.connection.open_stream(0.0), info, 0.0)

    @property
    def sent(self):
        return b"".join(self.connection.data_to_send())

    def receive(self, data):
        tasks = []
        for stream_id, value in self.connection.receive_data(data, 0.0):
            if stream_id:
                self.session.received(value)
                tasks.append(value)
        return tasks


def request(method="GET", *fields):
    return RequestHeader(method, "/", [("Host", "a"), *fields])


def test_get():
    exchange = Exchange()
    session = exchange.session
    assert session.write_request_header(request(), end=True) > 0
    assert session.request_done
    assert exchange.sent == b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    head, body = exchange.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert isinstance(head, Header)
    assert body == Body(b"ok", True)
    assert session.response_header.status == 200
    assert session.response_done
    assert not session.was_upgraded()
    session.consumed(2)
    session.finish_request_body()  # it has ended: nothing
    assert exchange.sent == b""
    assert exchange.connection.reusable


def test_body_and_trailers():
    exchange = Exchange()
    session = exchange.session
    session.write_request_header(request("POST"))
    session.write_request_body(b"abc")
    session.write_request_trailers(Fields([("X-Sum", "1")]))
    assert session.request_done
    assert exchange.sent.endswith(b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")


def test_finish_request_body():
    exchange = Exchange()
    exchange.session.write_request_header(request("POST"))
    exchange.session.finish_request_body()
    exchange.session.finish_request_body()
    assert exchange.sent.endswith(b"\r\n\r\n0\r\n\r\n")


def test_the_last_head_is_kept():
    exchange = Exchange()
    exchange.session.write_request_header(request(), end=True)
    exchange.receive(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert exchange.session.response_header.status == 103
    assert not exchange.session.response_done
    exchange.receive(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert exchange.session.response_header.status == 204
    assert exchange.session.response_done


@pytest.mark.parametrize("ending", [Done(), Trailer(Fields()), Failed(Error(ErrorType.READ_ERROR)), Body(b"", True)])
def test_every_end_ends_it(ending):
    session = Exchange().session
    session.received(Body(b"x"))
    assert not session.response_done
    session.received(ending)
    assert session.response_done


def test_a_tunnel_after_101():
    exchange = Exchange()
    session = exchange.session
    session.write_request_header(request("GET", ("Connection", "upgrade"), ("Upgrade", "x")), end=True)
    exchange.receive(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    assert session.was_upgraded()
    exchange.sent  # noqa: B018  # taken
    session.write_request_body(b"raw")
    session.write_request_body(b" bytes")
    assert exchange.sent == b"raw bytes"
    assert exchange.receive(b"answer") == [UpgradedBody(b"answer")]
    session.finish_request_body()
    session.finish_request_body()
    assert session.request_done
    assert exchange.connection.shut_write
    with pytest.raises(LocalProtocolError):
        session.write_request_body(b"more")


def test_a_switch_before_the_body_was_complete():
    exchange = Exchange()
    session = exchange.session
    head = request("POST", ("Connection", "upgrade"), ("Upgrade", "x"), ("Content-Length", "6"))
    session.write_request_header(head)
    session.write_request_body(b"abc")
    exchange.receive(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    exchange.sent  # noqa: B018  # taken
    session.write_request_body(b"def", end=True)
    session.write_request_body(b"raw")
    assert exchange.sent == b"defraw"


def test_a_connect_tunnel():
    exchange = Exchange()
    session = exchange.session
    session.write_request_header(RequestHeader("CONNECT", "b:1", [("Host", "b:1")]), end=True)
    exchange.receive(b"HTTP/1.1 200 OK\r\n\r\n")
    assert session.was_upgraded()
    exchange.sent  # noqa: B018  # taken
    session.write_request_body(b"raw")
    assert exchange.sent == b"raw"


def test_shutdown_cuts():
    exchange = Exchange()
    exchange.session.write_request_header(request("POST"))
    exchange.session.shutdown(Error(ErrorType.INTERNAL_ERROR))
    assert exchange.connection.closing
    exchange.session.shutdown(Error(ErrorType.INTERNAL_ERROR))  # once more: nothing


def test_an_illegal_move_changes_nothing():
    session = Exchange().session
    with pytest.raises(LocalProtocolError):
        session.write_request_body(b"x", end=True)
    with pytest.raises(LocalProtocolError):
        session.write_request_trailers(Fields())
    with pytest.raises(LocalProtocolError):
        session.finish_request_body()
    assert not session.request_done
    with pytest.raises(LocalProtocolError):
        session.write_request_header(RequestHeader("GET", "/"), end=True)  # no Host
    assert session.request_written is None
    assert not session.request_done


def test_addresses():
    session = Exchange().session
    assert (str(session.server_addr), str(session.client_addr)) == ("10.0.0.9:80", "10.0.0.1:5000")
    session = Exchange(None).session
    assert session.server_addr is session.client_addr is None
