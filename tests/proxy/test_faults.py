"""Faults of the client, of the origin, and ends of our own making. Numbers: Pingora's test inventory."""

from __future__ import annotations

import pytest

from sansio_pingora.apps import HttpOptions
from sansio_pingora.errors import ErrorSource, ErrorType
from sansio_pingora.session import Sleep
from sansio_pingora.wire import ResponseHeader
from tests.proxy.harness import GET, HANGING, OK, App, Bench, chunked, head_of, post, status_of

# ── faults of the client ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["eof", "reset"])
@pytest.mark.parametrize("origin_answers", [False, True], ids=["before", "amid_the_answer"])
def test_the_client_leaves_amid_its_body(how, origin_answers):
    bench = Bench(app := App())
    client = bench.client()
    client.send(post(10, b"12345"))
    if origin_answers:
        bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    getattr(client, how)()
    assert not client.alive
    assert not bench.origin.alive  # the origin must not take the body for complete
    assert len(app.ended) == 1
    assert app.ended[0][1].esource is ErrorSource.DOWNSTREAM
    assert len(bench.errors) == 1
    bench.assert_clean()


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_client_resets_while_it_waits(when):
    bench = Bench(app := App())
    client = bench.client()
    client.send(GET)
    if when == "after":
        bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    client.reset()
    assert not bench.origin.alive
    assert len(app.ended) == 1
    bench.assert_clean()


def test_row_94_a_half_close_behind_a_complete_request_is_answered():
    bench = Bench(app := App())
    client = bench.client()
    client.send(GET)
    client.eof()
    assert app.ended == []
    bench.origin.send(OK)
    assert client.take().endswith(b"ok")
    assert client.closed
    assert app.ended[0][1] is None
    bench.assert_clean()


@pytest.mark.parametrize("answered", [False, True], ids=["before_the_head", "after_the_head"])
def test_row_94_abort_on_close(answered):
    bench = Bench(app := App(), options=HttpOptions(abort_on_close=True))
    client = bench.client()
    client.send(GET)
    if answered:
        bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    client.eof()
    assert not client.alive
    assert not bench.origin.alive
    assert "gave" in str(app.ended[0][1]) or "left" in str(app.ended[0][1])
    bench.assert_clean()


@pytest.mark.parametrize(
    "garbage",
    [b"zz\r\n", b"3\r\nabcX", b"-1\r\n", b"3;a=\x00\r\n", b"ffffffffffffffffff\r\n", b"0\r\nHost: b\r\n\r\n"],
)
@pytest.mark.parametrize("origin_answers", [False, True], ids=["before", "amid_the_answer"])
def test_a_body_that_breaks_the_rules(garbage, origin_answers):
    bench = Bench(app := App())
    client = bench.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    if origin_answers:
        bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    client.send(garbage)
    got = client.take()
    assert status_of(got) == (200 if origin_answers else 400)
    assert got.count(b"HTTP/1.1") == 1
    assert not bench.origin.alive
    assert b"0\r\n\r\n" not in bench.origin.take()
    assert len(app.ended) == len(bench.errors) == 1
    client.eof()
    bench.advance(5)
    assert not client.alive
    bench.assert_clean()


def test_a_body_that_stalls():
    bench = Bench(app := App(), body_idle_timeout=5.0)
    client = bench.client()
    client.send(post(10, b"12345"))
    bench.advance(6)
    assert status_of(client.take()) == 408
    assert not bench.origin.alive
    assert app.ended[0][1].etype is ErrorType.READ_TIMEDOUT
    assert len(bench.errors) == 1
    client.eof()
    bench.assert_clean()


def test_a_body_past_max_body():
    bench = Bench(app := App(), max_body=10)
    client = bench.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n")
    client.send(b"8\r\n12345678\r\n")
    assert status_of(client.take()) == 413
    assert not bench.origin.alive
    assert len(app.ended) == 1


# ── faults of the origin ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["eof", "reset"])
@pytest.mark.parametrize("beginning", [b"", b"H", b"HTTP/1.1 200 OK\r\nConte"])
def test_the_origin_dies_before_a_head(how, beginning):
    bench = Bench(app := App())
    client = bench.client()
    client.send(GET)
    if beginning:
        bench.origin.send(beginning)
    getattr(bench.origin, how)()
    assert status_of(client.take()) == 502
    assert client.alive
    assert app.ended[0][1].esource is ErrorSource.UPSTREAM
    assert len(bench.errors) == 1
    bench.assert_clean()


@pytest.mark.parametrize("how", ["eof", "reset"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_row_39_the_origin_dies_amid_its_answer(framing, version, how):
    bench = Bench(app := App())
    client = bench.client()
    client.send(b"GET / HTTP/%b\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" % version)
    if framing == "length":
        bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    else:
        bench.origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n")
    getattr(bench.origin, how)()
    got = client.take()
    assert status_of(got) == 200
    if framing == "length" or version == b"1.1":
        assert client.closed  # short of its length, or without its last chunk
        assert not got.endswith(b"0\r\n\r\n")
    else:
        assert client.closed.name == "ABORT"  # an orderly end would look like the end of the body
    assert len(app.ended) == len(bench.errors) == 1
    bench.assert_clean()


def test_an_answer_until_close_that_is_reset_is_cut():
    bench = Bench(App())
    client = bench.client()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    bench.origin.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
    bench.origin.reset()
    assert client.closed.name == "ABORT"
    bench.assert_clean()


def test_the_origin_says_nothing():
    bench = Bench(app := App(), read_timeout=5.0)
    client = bench.client()
    client.send(GET)
    bench.advance(4.9)
    assert client.take() == b""
    bench.advance(0.2)
    assert status_of(client.take()) == 504
    assert app.ended[0][1].etype is ErrorType.READ_TIMEDOUT
    assert client.alive
    bench.assert_clean()


def test_the_origin_stops_amid_its_answer():
    bench = Bench(App(), read_timeout=5.0)
    client = bench.client()
    client.send(GET)
    bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    bench.advance(6)
    assert client.closed
    bench.assert_clean()


def test_the_origin_does_not_read():
    bench = Bench(app := App(), write_timeout=5.0)
    bench.dial_outcomes.append(HANGING)
    client = bench.client()
    client.send(post(1_000_000, b""))
    bench.connect(bench.connector, bench.dials[0])
    bench.origin.window = 0
    bench.settle()
    for _ in range(10):
        client.send(b"x" * 100_000)
    bench.advance(6)
    assert status_of(client.take()) == 504
    assert app.ended[0][1].etype is ErrorType.WRITE_TIMEDOUT
    client.eof()
    bench.advance(5)
    bench.assert_clean()


def test_a_connection_that_is_lost_as_soon_as_it_was_made():
    bench = Bench(App())
    bench.dial_outcomes.append(HANGING)
    client = bench.client()
    client.send(GET)
    bench.connect(bench.connector, bench.dials[0])
    bench.origin.lose(None)
    assert status_of(client.take()) == 502
    bench.assert_clean()


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"hello"),
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
    ids=["no_http", "two_lengths", "both", "negative", "coding", "blank", "long", "many"],
)
def test_an_answer_that_breaks_the_rules(answer):
    bench = Bench(app := App())
    client = bench.client()
    client.send(GET)
    bench.origin.send(answer)
    assert status_of(client.take()) == 502
    assert not bench.origin.alive
    assert client.alive
    assert len(app.ended) == len(bench.errors) == 1
    bench.assert_clean()


# ── our own side ends it ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("answering", [False, True])
def test_a_connection_that_is_aborted_is_logged(answering):
    bench = Bench(app := App())
    client = bench.client()
    client.send(GET)
    if answering:
        bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    client.connection.abort(bench.now)
    bench.settle()
    assert len(app.ended) == 1
    assert app.ended[0][1].esource is ErrorSource.DOWNSTREAM
    assert not bench.origin.alive
    bench.assert_clean()


def test_an_abort_behind_the_answer_changes_nothing():
    class Slow(App):
        def logging(self, session, error, ctx):
            yield Sleep(1)
            self.ended.append((session, error))

    bench = Bench(app := Slow())
    client = bench.client()
    client.send(GET)
    bench.origin.send(OK)
    client.connection.abort(bench.now)
    bench.settle()
    bench.advance(2)
    assert [error for _, error in app.ended] == [None]
    assert bench.errors == []
    bench.assert_clean()


def test_drain_finishes_what_is_under_way():
    bench = Bench(app := App())
    idle, busy = bench.client(), bench.client()
    idle.send(GET)
    bench.origin.send(OK)
    idle.take()
    busy.send(GET)
    bench.acceptor.drain(bench.now)
    bench.settle()
    bench.origin.send(OK)
    assert head_of(busy.take())[1][b"connection"] == b"close"
    assert busy.closed or busy.seen_eof
    bench.advance(6)
    assert not any(wire.alive for wire in (*bench.clients, *bench.origins))
    assert [error for _, error in app.ended] == [None, None]
    bench.assert_clean()


def test_request_filter_says_that_it_answered_and_did_not():
    bench = Bench(type("Lies", (App,), {"request_filter": lambda self, session, ctx: True})())
    client = bench.client()
    client.send(GET)
    assert status_of(client.take()) == 500
    assert "wrote no response" in bench.errors[0]
    bench.assert_clean()


def test_request_filter_writes_less_than_it_declared():
    class Short(App):
        def request_filter(self, session, ctx):
            session.write_response_header(ResponseHeader(200, [("Content-Length", "10")]))
            session.write_response_body(b"12345")
            return True

    bench = Bench(app := Short())
    client = bench.client()
    client.send(GET)
    assert client.take().endswith(b"12345")
    assert client.closed
    assert len(app.ended) == len(bench.errors) == 1
    bench.assert_clean()


def test_request_filter_answers_and_lets_it_go_on():
    class Both(App):
        def request_filter(self, session, ctx):
            session.write_response_header(ResponseHeader(200, [("Content-Length", "10")]))

    bench = Bench(app := Both())
    client = bench.client()
    client.send(GET)
    bench.origin.send(OK)
    assert client.take().count(b"HTTP/1.1") == 1
    assert client.closed
    assert len(app.ended) == 1
    bench.assert_clean()
