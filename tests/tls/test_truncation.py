"""An end of the transport without close_notify: what was in progress decides (RFC 9112 section 9.8, RFC 8446 6.1)."""

from __future__ import annotations

import pytest

from sansio_pingora.http1 import Http1Client, Http1Server
from sansio_pingora.http2 import Http2Client, Http2Server
from sansio_pingora.machine import ConnectionClosed
from sansio_pingora.wire import Body, Done, Failed, Header, RequestHeader, ResponseHeader, UpgradedBody
from tests.session.kinds import Lines
from tests.tls.pairs import client, pump, server

GET = Header(RequestHeader("GET", "/", [("host", "a")]), True)
CONNECT = Header(RequestHeader("CONNECT", "a:1", [("host", "a:1")]), False)


def http1_client(now, limits):
    return Http1Client(limits)


def http1_server(now, limits):
    return Http1Server(now, limits, allow_connect=True)


def lines(now, limits):
    return Lines(now, limits, client=True)


def upstream(*said, above=http1_client, request=GET):
    """Our client's side: it has asked, and its origin has said these."""
    ours, theirs = client(above=above), server()
    pump(ours, theirs)
    if request is not None:
        ours.inner.send(ours.inner.open_stream(0.0), request, 0.0)
    pump(ours, theirs)
    for piece in said:
        theirs.send(piece)
        pump(ours, theirs)
    return ours


def downstream(*said, above=http1_server):
    """Our server's side: its client has said these."""
    theirs, ours = client(), server(above=above)
    pump(theirs, ours)
    for piece in said:
        theirs.send(piece)
        pump(theirs, ours)
    return ours


def cut(end):
    """The transport ends; returns what that told."""
    before = len(end.events)
    end.endpoint.receive_eof(0.0)
    return end.events[before:]


def errors(events):
    return [str(event.error) for event in events if type(event) is Failed]


def is_merely_closed(end, told):
    return [event.error for event in told if type(event) is ConnectionClosed] == [None] and bool(end.layer.closing)


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (HEAD + b"\r\npart", "without close_notify"),
        (b"HTTP/1.0 200 OK\r\n\r\n", "without close_notify"),
        (HEAD + b"content-length: 9\r\n\r\npart", "amid its answer"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n4\r\npart\r\n", "amid its answer"),
        (HEAD, "amid its answer"),
        (b"", "before it answered"),
    ],
    ids=["until close", "until close, nothing of it", "a length", "chunks", "a head", "nothing"],
)
def test_an_answer_that_is_not_complete_has_failed(said, text):
    ours = upstream(said) if said else upstream()
    told = cut(ours)
    assert Done not in map(type, told)
    (error,) = errors(told)
    assert text in error


@pytest.mark.parametrize(
    "said", [HEAD + b"content-length: 4\r\n\r\nfull", HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"]
)
def test_an_answer_that_is_complete_is_complete(said):
    ours = upstream(said)
    assert ours.inner.reusable
    told = cut(ours)
    assert errors(told) == []
    assert is_merely_closed(ours, told)


def test_close_notify_ends_a_body_without_a_length():
    ours, theirs = client(above=http1_client), server()
    pump(ours, theirs)
    ours.inner.send(ours.inner.open_stream(0.0), GET, 0.0)
    pump(ours, theirs)
    theirs.send(HEAD + b"\r\nall", end=True)
    pump(ours, theirs)
    assert [type(event) for event in ours.events if type(event) in (Body, Done, Failed)] == [Body, Done]


@pytest.mark.parametrize("above", [http1_client, Http2Client, lines])
def test_an_idle_connection_to_an_origin_is_merely_closed(above):
    ours = upstream(above=above, request=None)
    assert is_merely_closed(ours, cut(ours))


@pytest.mark.parametrize("above", [http1_server, Http2Server])
def test_an_idle_connection_of_a_client_is_merely_closed(above):
    ours = downstream(above=above)
    told = cut(ours)
    assert errors(told) == []
    assert is_merely_closed(ours, told)


def test_a_connection_that_was_used_before_is_merely_closed():
    ours = downstream(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    ours.inner.send(1, Header(ResponseHeader(204), True), 0.0)
    told = cut(ours)
    assert errors(told) == []
    assert is_merely_closed(ours, told)


def test_a_request_that_is_complete_is_answered():
    ours = downstream(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert errors(cut(ours)) == []
    assert not ours.layer.closing
    ours.inner.send(1, Header(ResponseHeader(204), True), 0.0)
    assert ours.take()
    assert ours.layer.closing


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 9\r\n\r\npart", b"Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"]
)
def test_a_request_that_is_not_has_failed(fields):
    ours = downstream(b"POST / HTTP/1.1\r\nHost: a\r\n" + fields)
    assert len(errors(cut(ours))) == 1


def test_half_a_head_is_nothing_that_could_be_answered():
    ours = downstream(b"GET / HTTP/1.1\r\n")
    assert is_merely_closed(ours, cut(ours))


def test_a_stream_of_http2_that_is_not_complete_has_failed():
    ours = upstream(above=Http2Client)
    assert len(errors(cut(ours))) == 1


def test_a_tunnel_has_failed_on_either_side():
    ours = upstream(HEAD + b"\r\n", b"opaque", request=CONNECT)
    told = cut(ours)
    assert "without close_notify" in errors(told)[0]
    assert not [event for event in told if type(event) is UpgradedBody and event.end]

    ours = downstream(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
    ours.inner.send(1, Header(ResponseHeader(200), False), 0.0)
    told = cut(ours)
    assert "without close_notify" in errors(told)[0]


def test_a_message_in_a_protocol_of_ones_own_has_failed():
    ours = upstream(above=lines)
    told = cut(ours)
    assert "without close_notify" in errors(told)[0]
