"""Our handle on one request of a client."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.http1 import Http1Server
from sansio_pingora.limits import Limits
from sansio_pingora.session import ServerSession
from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora.wire import Body, Done, Fields, Header, ResponseHeader, Trailer, UpgradedBody

INFO = TransportInfo(SocketAddr("10.0.0.1", 4000), SocketAddr("10.0.0.2", 80), 0.0)


class Exchange:
    """A server's connection that has received the head of a request."""

    def __init__(self, raw=b"GET /x HTTP/1.1\r\nHost: a.test\r\nX-A: 1\r\n\r\n", info=INFO, **options):
        self.connection = Http1Server(0.0, Limits(), **options)
        self.held = {}
        self.session = None
        self.receive(raw, info)

    def receive(self, raw, info=INFO):
        for stream_id, value in self.connection.receive_data(raw, 0.0):
            if isinstance(value, Header):
                self.session = ServerSession(self.connection, stream_id, value, info, 0.0, self.held)
                self.held[stream_id] = self
            elif stream_id:
                self.session.received(value)

    @property
    def sent(self):
        return b"".join(self.connection.data_to_send())


POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"


def test_the_request():
    session = Exchange().session
    assert session.req_header.method == b"GET"
    assert session.get_header("x-a") == b"1"
    assert session.get_header("x-b") is None
    assert session.request_summary() == "GET /x, Host: a.test"
    assert session.is_body_empty()
    assert session.is_body_done()
    assert not session.is_http2
    assert not session.is_upgrade_req
    assert (str(session.client_addr), str(session.server_addr)) == ("10.0.0.1:4000", "10.0.0.2:80")
    assert repr(session) == "<ServerSession 1 GET /x, Host: a.test>"


def test_without_a_request():
    session = ServerSession(Http1Server(0.0, Limits()), 1, None, None, 0.0, {})
    assert session.req_header is None
    assert session.get_header("host") is None
    assert session.request_summary() == "-"
    assert session.client_addr is session.server_addr is None
    assert session.is_body_empty()
    assert not session.is_upgrade_req
    assert not session.is_http2


def test_a_body_arrives():
    exchange = Exchange(POST)
    session = exchange.session
    assert not session.is_body_empty()
    exchange.receive(b"ab")
    assert (session.body_bytes_read, session.is_body_done()) == (2, False)
    exchange.receive(b"cde")
    assert (session.body_bytes_read, session.is_body_done()) == (5, True)
    session.consumed(5)
    with pytest.raises(LocalProtocolError):
        session.consumed(1)


def test_a_response():
    exchange = Exchange()
    session = exchange.session
    assert session.write_response_header(ResponseHeader(200, [("Content-Length", "5")])) > 0
    assert session.response_written.status == 200
    assert not session.response_done
    session.write_response_body(b"hello", end=True)
    assert session.response_done
    assert session.finished
    assert session.body_bytes_sent == 5
    assert exchange.sent == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def test_an_empty_piece_is_not_an_end():
    exchange = Exchange()
    session = exchange.session
    session.write_response_header(ResponseHeader(200))
    exchange.sent  # noqa: B018  # taken
    assert session.write_response_body(b"") == session.room
    assert exchange.sent == b""
    session.write_response_body(b"", end=True)
    assert exchange.sent == b"0\r\n\r\n"


def test_trailers():
    exchange = Exchange()
    session = exchange.session
    session.write_response_header(ResponseHeader(200))
    session.write_response_body(b"x")
    session.write_response_trailers(Fields([("X-Sum", "1")]))
    assert session.response_done
    assert exchange.sent.endswith(b"1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n")


def test_finish_body_twice():
    exchange = Exchange()
    exchange.session.write_response_header(ResponseHeader(200))
    exchange.session.finish_body()
    exchange.session.finish_body()
    assert exchange.sent.endswith(b"\r\n\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "tasks",
    [
        [Header(ResponseHeader(204), True)],
        [Header(ResponseHeader(200), False), Body(b"a"), Body(b"b", True)],
        [Header(ResponseHeader(200), False), Body(b"a"), Done()],
        [Header(ResponseHeader(200), False), Trailer(Fields())],
    ],
)
def test_response_duplex_vec(tasks):
    exchange = Exchange()
    assert exchange.session.response_duplex_vec(tasks[:-1]) is False
    assert exchange.session.response_duplex_vec(tasks[-1:]) is True


def test_informational_heads_come_first_and_do_not_count():
    exchange = Exchange()
    session = exchange.session
    session.write_response_header(ResponseHeader(103))
    session.write_continue_response()
    assert session.response_written is None
    session.write_response_header(ResponseHeader(204), end=True)
    session.write_continue_response()  # too late: nothing
    assert exchange.sent == (
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    )


def test_held_back_informational_heads():
    exchange = Exchange()
    session = exchange.session
    session.ignore_info_resp = True
    assert session.write_response_header(ResponseHeader(103)) == session.room
    session.write_continue_response()  # nobody waits for it
    session.write_response_header(ResponseHeader(204), end=True)
    assert exchange.sent.startswith(b"HTTP/1.1 204")
    waiting = Exchange(POST.replace(b"Host", b"Expect: 100-continue\r\nHost"))
    waiting.session.ignore_info_resp = True
    waiting.session.write_response_header(ResponseHeader(103))
    waiting.session.write_continue_response()
    assert waiting.sent == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_a_second_final_head():
    session = Exchange().session
    session.write_response_header(ResponseHeader(200))
    with pytest.raises(LocalProtocolError, match="status 500 after a final head with 200 was sent"):
        session.write_response_header(ResponseHeader(500))
    assert session.response_written.status == 200


def test_an_illegal_move_changes_nothing():
    exchange = Exchange()
    session = exchange.session
    for task in (Body(b"x"), Done(), Trailer(Fields()), UpgradedBody(b"x")):
        with pytest.raises(LocalProtocolError):
            session.write_task(task)
    with pytest.raises(LocalProtocolError):
        session.write_response_header(ResponseHeader(101))
    assert session.response_written is None
    assert not session.response_done
    assert session.body_bytes_sent == 0
    assert exchange.sent == b""


# ── answers of our own ───────────────────────────────────────────────────────────────


def test_respond_error():
    exchange = Exchange()
    assert exchange.session.respond_error(503)
    assert not exchange.session.respond_error(500)
    sent = exchange.sent
    assert sent.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"Content-Length: 0\r\n" in sent
    assert exchange.session.response_done


def test_respond_error_with_body():
    exchange = Exchange()
    assert exchange.session.respond_error_with_body(403, b"no way")
    sent = exchange.sent
    assert b"Content-Length: 6\r\n" in sent
    assert sent.endswith(b"\r\n\r\nno way")


def test_generate_error():
    head = Exchange().session.generate_error(404)
    assert (head.status, head.get("cache-control")) == (404, b"private, no-store")


def test_set_keepalive_none_closes():
    exchange = Exchange()
    exchange.session.set_keepalive(None)
    exchange.session.respond_error(429)
    assert b"Connection: close\r\n" in exchange.sent
    assert exchange.connection.shut_write or exchange.connection.closing


# ── ends ─────────────────────────────────────────────────────────────────────────────


def test_shutdown_cuts_the_answer():
    exchange = Exchange()
    session = exchange.session
    session.write_response_header(ResponseHeader(200, [("Content-Length", "5")]))
    session.shutdown(Error(ErrorType.INTERNAL_ERROR))
    assert exchange.connection.closing
    session.shutdown(Error(ErrorType.INTERNAL_ERROR))  # once more: nothing
    assert session.finished


def test_shutdown_behind_the_end_is_nothing():
    exchange = Exchange()
    exchange.session.respond_error(404)
    exchange.session.shutdown(Error(ErrorType.INTERNAL_ERROR))
    assert not exchange.connection.closing


def test_what_is_written_to_a_client_that_left_goes_nowhere():
    exchange = Exchange(POST)
    exchange.receive(b"")
    session = exchange.session
    assert session.closed is not None
    assert session.finished
    session.write_response_header(ResponseHeader(200))
    session.write_response_body(b"x", end=True)
    session.shutdown(Error(ErrorType.INTERNAL_ERROR))
    assert not session.respond_error(500)
    assert session.response_written is None
    assert exchange.sent == b""


def test_release_forgets():
    exchange = Exchange()
    assert exchange.held
    exchange.session.release()
    assert not exchange.held
    assert exchange.session.released
    exchange.session.release()


# ── tunnels ──────────────────────────────────────────────────────────────────────────


def test_upgrade():
    exchange = Exchange(UPGRADE)
    session = exchange.session
    assert session.is_upgrade_req
    assert session.is_body_done()
    session.write_response_header(ResponseHeader(101, [("Connection", "upgrade"), ("Upgrade", "x")]))
    assert session.was_upgraded()
    assert not session.is_body_done()
    exchange.sent  # noqa: B018  # taken
    session.write_response_body(b"raw")
    assert exchange.sent == b"raw"
    exchange.receive(b"in")
    assert session.body_bytes_read == 2
    exchange.receive(b"")
    assert session.is_body_done()
    assert not session.finished
    session.finish_body()
    assert session.finished
    assert exchange.connection.closing


def test_a_tunnel_of_which_one_direction_has_ended_can_be_cut():
    exchange = Exchange(UPGRADE)
    session = exchange.session
    session.write_response_header(ResponseHeader(101))
    session.finish_body()
    assert session.response_done
    assert not session.finished
    session.shutdown(Error(ErrorType.INTERNAL_ERROR))
    assert exchange.connection.closing


def test_a_body_that_ends_behind_the_switch_is_not_the_end_of_the_tunnel():
    exchange = Exchange(UPGRADE.replace(b"GET", b"POST").replace(b"Host", b"Content-Length: 3\r\nHost"))
    session = exchange.session
    session.write_response_header(ResponseHeader(101))
    exchange.receive(b"abc")
    assert not session.is_body_done()
    exchange.receive(b"raw")
    assert session.body_bytes_read == 6


def test_connect():
    exchange = Exchange(b"CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n", allow_connect=True)
    session = exchange.session
    session.write_response_header(ResponseHeader(200))
    assert session.was_upgraded()
    session.write_response_body(b"raw")
    assert exchange.sent.endswith(b"\r\n\r\nraw")


def test_a_refused_connect_is_no_tunnel():
    exchange = Exchange(b"CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n", allow_connect=True)
    exchange.session.respond_error(403)
    assert not exchange.session.was_upgraded()


def test_an_upgrade_offer_over_http_10_is_none():
    exchange = Exchange(UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert not exchange.session.is_upgrade_req


def test_invite_body():
    exchange = Exchange(POST.replace(b"Host", b"Expect: 100-continue\r\nHost"))
    exchange.session.invite_body()
    exchange.session.invite_body()
    assert exchange.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
