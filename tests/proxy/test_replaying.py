"""What another attempt sends."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error
from sansio_pingora.session import Sleep, blocking
from sansio_pingora.upstreams import HttpPeer
from tests.proxy.harness import GET, OK, ORIGIN, App, Bench, chunked, dechunk, head_of, post, status_of


class Stubborn(App):
    """Marks everything."""

    def fail_to_connect(self, session, peer, ctx, error):
        return error.with_retry(True)

    def error_while_proxy(self, peer, session, error, ctx, client_reused):
        return error.with_retry(True)


class Marks(Stubborn):
    """Every piece of a body gets a mark; remembers what it saw."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def request_body_filter(self, session, body, end_of_stream, ctx):
        self.seen.append((body, end_of_stream))
        return body + b"."


@pytest.mark.parametrize("cuts", [1, 2, 3])
def test_filters_see_each_piece_once_and_the_replay_is_the_same(cuts):
    bench = Bench(app := Marks())
    client = bench.client()
    client.send(b"PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
    pieces = [b"one", b"two", b"three"]
    for number, piece in enumerate(pieces):
        if number == cuts:
            bench.origin.eof()
        client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    if cuts == 3:
        bench.origin.eof()
    client.send(b"0\r\n\r\n")
    assert len(bench.origins) == 2
    assert app.seen == [*((piece, False) for piece in pieces), (b"", True)]
    assert dechunk(head_of(bench.origin.take())[2]) == (b"one.two.three..", b"\r\n")
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    bench.assert_clean()


def test_trailers_are_replayed():
    bench = Bench(Stubborn())
    client = bench.client()
    client.send(
        b"PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunked(b"body", trailers=b"X-Sum: 1\r\n")
    )
    first = bench.origin.take()
    assert b"X-Sum: 1\r\n" in first
    bench.origin.eof()
    assert bench.origin.take() == first
    bench.origin.send(OK)
    assert status_of(client.take()) == 200


@pytest.mark.parametrize("size", [0, 10, 100_000])
def test_each_attempt_gets_a_fresh_head(size):
    class Adds(Stubborn):
        def upstream_request_filter(self, session, request, ctx):
            request.append("x-attempt", "1")

    bench = Bench(Adds(), replay_buffer=200_000)
    client = bench.client()
    client.send(post(size, method=b"PUT"))
    bench.origin.eof()
    _, fields, body = head_of(bench.origin.take())
    assert fields[b"x-attempt"] == b"1"
    assert body == b"x" * size


def test_a_parked_piece_goes_to_the_attempt_that_is_there_when_it_is_done():
    class Blocks(Stubborn):
        seen = 0

        @blocking
        def request_body_filter(self, session, body, end_of_stream, ctx):
            self.seen += 1
            return body.upper()

    bench = Bench(app := Blocks())
    bench.hold_filters = True
    client = bench.client()
    client.send(b"PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b"1\r\na\r\n", b"1\r\nb\r\n", b"1\r\nc\r\n", b"0\r\n\r\n"):
        client.send(piece)
    bench.pending[0].run()  # a
    assert len(bench.pending) == 1  # b waits, in order
    bench.origin.eof()
    assert len(bench.origins) == 2
    assert dechunk(head_of(bench.origin.got)[2] + b"0\r\n")[0] == b"A"
    while bench.pending:
        assert len(bench.pending) == 1
        bench.pending[0].run()
    assert dechunk(head_of(bench.origin.take())[2]) == (b"ABC", b"\r\n")
    assert app.seen == 3  # a, what waited behind it, and the end
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    bench.assert_clean()


def test_a_piece_that_a_filter_lets_go_between_two_attempts():
    class Slow(Stubborn):
        def new_ctx(self):
            return {"tries": 0}

        def upstream_peer(self, session, ctx):
            ctx["tries"] += 1
            if ctx["tries"] > 1:
                yield Sleep(10)
            return HttpPeer(ORIGIN)

        def request_body_filter(self, session, body, end_of_stream, ctx):
            yield Sleep(5)

    bench = Bench(Slow(), replay_buffer=3)  # the piece is longer: it must not get lost over that
    client = bench.client()
    client.send(post(6, b"abcdef", method=b"PUT"))
    bench.origin.eof()
    bench.advance(7)
    assert len(bench.origins) == 1
    bench.advance(4)
    assert len(bench.origins) == 2
    assert head_of(bench.origin.take())[2] == b"abcdef"
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    bench.assert_clean()


def test_a_body_filter_that_fails_between_two_attempts():
    class Fails(Stubborn):
        def new_ctx(self):
            return {"tries": 0}

        def upstream_peer(self, session, ctx):
            ctx["tries"] += 1
            if ctx["tries"] > 1:
                yield Sleep(10)
            return HttpPeer(ORIGIN)

        def request_body_filter(self, session, body, end_of_stream, ctx):
            yield Sleep(5)
            raise Error.http_status(422, "no good")

    bench = Bench(Fails())
    client = bench.client()
    client.send(post(6, method=b"PUT"))
    bench.origin.eof()
    bench.advance(30)
    assert status_of(client.take()) == 422
    assert len(bench.origins) == 2  # and not a third: what the filter held is lost
    assert bench.origin.take() == b""
    bench.assert_clean()


def test_a_response_filter_of_an_attempt_that_failed_says_nothing_to_the_next():
    class Slow(Stubborn):
        def upstream_response_filter(self, session, response, ctx):
            if response.status == 500:
                yield Sleep(5)
                response.insert("x-late", "1")

    bench = Bench(Slow())
    client = bench.client()
    client.send(GET)
    bench.origin.send(b"HTTP/1.1 500 Oops\r\nContent-Length: 10\r\n\r\nab")
    bench.origin.eof()
    assert len(bench.origins) == 2
    bench.origin.send(OK)
    assert client.got.endswith(b"ok")
    bench.advance(10)
    assert client.take().count(b"HTTP/1.1") == 1
    bench.assert_clean()


def test_a_response_filter_of_a_failed_attempt_that_raises_late():
    class Slow(Stubborn):
        def upstream_response_filter(self, session, response, ctx):
            yield Sleep(5 if response.status == 500 else 8)
            if response.status == 500:
                raise ValueError("late")

    bench = Bench(Slow())
    client = bench.client()
    client.send(GET)
    bench.origin.send(b"HTTP/1.1 500 Oops\r\nContent-Length: 10\r\n\r\nab")
    bench.origin.eof()
    bench.origin.send(OK)
    bench.advance(10)
    assert status_of(client.take()) == 200
    bench.assert_clean()
