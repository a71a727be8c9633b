from hypothesis import given
from hypothesis import strategies as hst

from sansio_pingora.http1 import Http1Client
from sansio_pingora.limits import Limits
from sansio_pingora.session import ServerConnection
from sansio_pingora.testing import cut_everywhere, drain, feed
from sansio_pingora.wire import Body, Failed, Header, RequestHeader

PIPELINE = (
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n"
    b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n1\r\nz\r\n0\r\n\r\n"
)
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def test_every_request_is_answered_and_bodies_are_merged():
    events, out = feed(ServerConnection(now=0.0), [PIPELINE])

    assert out == NO_CONTENT * 3
    assert [value.head.path for _, value in events if isinstance(value, Header)] == [b"/a", b"/b", b"/c"]
    assert [(stream, value.data) for stream, value in events if isinstance(value, Body)] == [(1, b"abc"), (3, b"xyz")]


def test_no_way_of_cutting_matters():
    whole = feed(ServerConnection(now=0.0), [PIPELINE])

    for pieces in cut_everywhere(PIPELINE):
        assert feed(ServerConnection(now=0.0), pieces) == whole


def test_a_refused_request_is_an_event_that_compares():
    raw = b"GET / HTTP/1.1\r\n\r\n"

    events, out = feed(ServerConnection(now=0.0), [raw, b"more"])

    assert any(isinstance(getattr(value, "value", value), Failed) for _, value in events)
    assert out.startswith(b"HTTP/1.1 400 ")
    assert (events, out) == feed(ServerConnection(now=0.0), [raw])
    assert events != feed(ServerConnection(now=0.0), [b"GET  / HTTP/1.1\r\n\r\n"])[0]


def test_a_client_is_fed_responses():
    connection = Http1Client(Limits())
    connection.open_stream(0.0)
    connection.send(1, Header(RequestHeader("GET", "/", [("Host", "h")]), True), 0.0)

    events, out = feed(connection, [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"bo", b"dy"])

    assert out == b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    assert events[1] == (1, Body(b"body", True))


@given(hst.binary(max_size=12))
def test_cut_everywhere_cuts_everywhere(raw):
    ways = list(cut_everywhere(raw))

    assert all(b"".join(pieces) == raw and all(pieces) for pieces in ways)
    assert {len(pieces[0]) for pieces in ways} >= set(range(1, len(raw) + 1))


def test_drain_takes_everything():
    connection = ServerConnection(now=0.0)
    connection.receive_data(b"GET / HTTP/1.1\r\n\r\n", 0.0)

    assert drain(connection).startswith(b"HTTP/1.1 400 ")
    assert drain(connection) == b""
