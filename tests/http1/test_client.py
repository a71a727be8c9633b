"""The client's side, case by case: what it puts out, what it tells, and when it may be used again."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError, RetryType
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Closing
from sansio_pingora.wire import Body, Done, Failed, Fields, Header, RequestHeader, ResponseHeader, Trailer, UpgradedBody
from tests.http1.runs import make_client, plain

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"


def head(method: str = "GET", *fields: tuple[str, str], end: bool = True) -> Header:
    target = "b:443" if method == "CONNECT" else "/"
    return Header(RequestHeader(method, target, [("Host", "b:443"), *fields]), end)


def asked(*tasks, engine: str = "native", **options):
    """A client that has sent *tasks*, and what it put out."""
    client = make_client(engine, **options)
    assert client.open_stream(0.0) == 1
    for task in tasks:
        client.send(1, task, 0.0)
    return client, b"".join(client.data_to_send())


def names(events) -> list[str]:
    return [plain(event)[1] for event in events]


# ── requests ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tasks", "lines", "body"),
    [
        ([head()], b"", b""),
        ([head("POST")], b"Content-Length: 0\r\n", b""),
        ([head("PUT", ("Content-Length", "0"))], b"Content-Length: 0\r\n", b""),
        ([head("DELETE")], b"", b""),
        ([head("POST", ("Content-Length", "2"), end=False), Body(b"ok")], b"Content-Length: 2\r\n", b"ok"),
        ([head("POST", ("Content-Length", "0"), end=False), Done()], b"Content-Length: 0\r\n", b""),
        ([head("POST", end=False), Body(b"ok", True)], b"Transfer-Encoding: chunked\r\n", b"2\r\nok\r\n0\r\n\r\n"),
        ([head("GET", end=False), Body(b"ok"), Done()], b"Transfer-Encoding: chunked\r\n", b"2\r\nok\r\n0\r\n\r\n"),
        ([head("GET", end=False), Done()], b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (
            [head("POST", ("Transfer-Encoding", "chunked"), end=False), Trailer(Fields([("X", "y")]))],
            b"Transfer-Encoding: chunked\r\n",
            b"0\r\nX: y\r\n\r\n",
        ),
        ([head("CONNECT", end=False)], b"", b""),
    ],
)
def test_framing(engine, tasks, lines, body):
    _, out = asked(*tasks, engine=engine)
    first, _, rest = out.partition(b"\r\n")
    assert first.endswith(b" HTTP/1.1")
    assert rest == b"Host: b:443\r\n" + lines + b"\r\n" + body


@pytest.mark.parametrize("host", [[], [("Host", "a"), ("Host", "b")]])
def test_exactly_one_host(host):
    client, _ = asked()
    with pytest.raises(LocalProtocolError, match="exactly one Host"):
        client.send(1, Header(RequestHeader("GET", "/", host), True), 0.0)


def test_what_a_client_cannot_send():
    client, _ = asked()
    with pytest.raises(LocalProtocolError, match="RequestHeader"):
        client.send(1, Header(ResponseHeader(200), True), 0.0)
    with pytest.raises(LocalProtocolError, match="cannot be sent"):
        client.send(1, Body(b"x"), 0.0)
    with pytest.raises(LocalProtocolError, match="declares a body"):
        client.send(1, head("CONNECT", ("Content-Length", "1"), end=False), 0.0)
    client.send(1, head(), 0.0)
    with pytest.raises(LocalProtocolError, match="cannot be sent"):
        client.send(1, head(), 0.0)
    with pytest.raises(LocalProtocolError, match="cannot be sent"):
        client.send(1, UpgradedBody(b"x"), 0.0)
    client.invite_body(1, 0.0)


@pytest.mark.parametrize("late", [Done(), Body(b"", True), Trailer(Fields())])
def test_an_end_behind_an_end_says_nothing_new(engine, late):
    client, _ = asked(head(), late, engine=engine)
    client.receive_data(OK, 0.0)
    client.send(1, late, 0.0)
    assert client.data_to_send() == []
    assert client.reusable
    with pytest.raises(LocalProtocolError, match="is not open"):
        client.send(1, Body(b"x"), 0.0)


# ── answers ──────────────────────────────────────────────────────────────────────────


def test_one_exchange_after_the_other(engine):
    client = make_client(engine)
    for stream in (1, 2, 3):
        assert client.open_stream(0.0) == stream
        client.send(stream, head(), 0.0)
        assert not client.reusable
        assert names(client.receive_data(OK, 0.0)) == ["response", "body"]
        client.consumed(stream, 2, 0.0)
        assert client.reusable
    assert client.peer_version == b"1.1"


def test_a_stream_on_which_nothing_was_sent_may_be_opened_again(engine):
    client = make_client(engine)
    assert [client.open_stream(0.0), client.open_stream(0.0)] == [1, 2]
    with pytest.raises(LocalProtocolError):
        client.send(1, head(), 0.0)
    client.send(2, head(), 0.0)


def test_close_in_our_own_request(engine):
    client, _ = asked(head("GET", ("Connection", "close")), engine=engine)
    client.receive_data(OK, 0.0)
    assert not client.reusable
    assert client.closing is Closing.AFTER_FLUSH


def test_an_early_answer_leaves_the_request_open(engine):
    client, _ = asked(head("POST", ("Content-Length", "6"), end=False), Body(b"abc"), engine=engine)
    assert names(client.receive_data(OK, 0.0)) == ["response", "body"]
    assert client.want_read
    assert client.open_stream(0.0) is None
    client.send(1, Body(b"def"), 0.0)
    assert client.reusable
    assert client.open_stream(0.0) == 2


@pytest.mark.parametrize("how", ["eof", "lost", "abort"])
def test_nothing_follows_the_end_of_an_early_answer(engine, how):
    client, _ = asked(head("POST", ("Content-Length", "6"), end=False), engine=engine)
    client.receive_data(OK, 0.0)
    if how == "eof":
        assert names(client.receive_eof(0.0)) == ["closed"]
    elif how == "lost":
        assert names(client.transport_lost(Error(ErrorType.READ_ERROR), 0.0)) == ["closed"]
    else:
        client.abort(0.0)
    assert client.closing
    with pytest.raises(LocalProtocolError):
        client.send(1, Body(b"abcdef"), 0.0)


def test_surplus_behind_an_early_answer(engine):
    """Nobody asked for it: seen as soon as the request is whole."""
    client, _ = asked(head("POST", ("Content-Length", "3"), end=False), engine=engine)
    assert names(client.receive_data(OK + b"HTTP/1.1 200 OK\r\n", 0.0)) == ["response", "body"]
    client.send(1, Body(b"abc"), 0.0)
    assert not client.reusable
    assert client.deadline == AT_ONCE
    assert names(client.handle_timeout(0.0)) == ["closed"]
    assert client.closing is Closing.ABORT


def test_a_tunnels_head_has_no_framing(engine):
    """RFC 9110 section 9.3.6: a client ignores it, and so it is not passed on."""
    client, _ = asked(head("CONNECT"), engine=engine)
    events = client.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nopaque", 0.0)
    assert [plain(event)[2:] for event in events] == [(200, b"1.1", [], False), (b"opaque", False)]


def test_a_refused_tunnel_is_an_ordinary_answer(engine):
    client, _ = asked(head("CONNECT"), engine=engine)
    client.receive_data(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 0.0)
    assert client.reusable


@pytest.mark.parametrize("offered", [(("Connection", "upgrade"), ("Upgrade", "y, X"))])
def test_a_switch_before_the_request_is_whole(engine, offered):
    client, _ = asked(head("POST", ("Content-Length", "3"), *offered, end=False), engine=engine)
    assert names(client.receive_data(SWITCHED + b"raw", 0.0)) == ["response", "raw"]
    assert names(client.receive_eof(0.0)) == ["raw"]
    assert client.receive_eof(0.0) == []
    client.send(1, Body(b"abc"), 0.0)
    client.send(1, Done(), 0.0)
    client.send(1, UpgradedBody(b"bye", True), 0.0)
    assert b"".join(client.data_to_send()) == b"abcbye"
    assert client.closing is Closing.AFTER_FLUSH


# ── ends ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("received", "retry"),
    [
        (b"", RetryType.REUSED_ONLY),
        (b"H", RetryType.NO),
        (b"HTTP/1.1 100 Continue\r\n\r\n", RetryType.NO),
        (OK[:-1], RetryType.NO),
    ],
)
def test_what_may_be_retried(engine, received, retry):
    """An origin that had closed an idle connection has never seen the request."""
    client, _ = asked(head(), engine=engine)
    if received:
        client.receive_data(received, 0.0)
    failed = next(value for _, value in client.receive_eof(0.0) if isinstance(value, Failed))
    assert failed.error.retry_type is retry
    assert failed.error.etype is ErrorType.CONNECTION_CLOSED
    assert failed.error.esource is ErrorSource.UPSTREAM


def test_a_fault_is_told_and_the_connection_cut(engine):
    client, _ = asked(head(), engine=engine)
    ((stream, failed),) = client.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 0.0)
    assert stream == 1
    assert failed.error.etype is ErrorType.INVALID_HTTP_HEADER
    assert client.closing is Closing.ABORT
    assert names(client.transport_lost(None, 0.0)) == ["closed"]


def test_an_idle_connection_that_ends(engine):
    client = make_client(engine)
    assert names(client.receive_eof(0.0)) == ["closed"]
    assert not client.reusable
    assert client.closing is Closing.AFTER_FLUSH


def test_drain(engine):
    idle = make_client(engine)
    idle.drain(0.0)
    assert idle.closing is Closing.AFTER_FLUSH
    idle.drain(0.0)
    busy, _ = asked(head(), engine=engine)
    busy.drain(0.0)
    assert not busy.closing
    busy.receive_data(OK, 0.0)
    assert busy.closing is Closing.AFTER_FLUSH
    assert busy.open_stream(0.0) is None


def test_a_request_that_is_broken_off(engine):
    client, _ = asked(head("POST", end=False), Body(b"part"), engine=engine)
    client.send(1, Failed(Error(ErrorType.READ_ERROR)), 0.0)
    assert client.closing is Closing.AFTER_FLUSH
    assert not b"".join(client.data_to_send()).endswith(b"0\r\n\r\n")


def test_back_pressure(engine):
    client, _ = asked(head(), engine=engine, limits=Limits(high_water=10))
    client.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b"x" * 15, 0.0)
    assert not client.want_read
    client.consumed(1, 5, 0.0)
    assert not client.want_read
    client.consumed(1, 1, 0.0)
    assert client.want_read
    with pytest.raises(LocalProtocolError, match="consumed"):
        client.consumed(1, 10, 0.0)
    client.consumed(99, 10, 0.0)  # credit of an exchange that is over
    client.receive_data(b"y" * 5, 0.0)
    assert client.reusable
    assert client.want_read
