"""What the less common callbacks are for: connection contexts, the gate, trailers, records, subrequests of one's own."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.modules import HttpModule
from sansio_pingora.proxy import HttpProxy
from sansio_pingora.session import Sleep
from sansio_pingora.upstreams import HttpPeer
from sansio_pingora.wire import RequestHeader
from tests.proxy.harness import GET, HANGING, OK, ORIGIN, App, Bench, dechunk, head_of, post, status_of

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"


# ── the context of a connection ──────────────────────────────────────────────────────


class Counting(App):
    """How many requests a connection has made."""

    def new_ctx(self):
        return {"turn": 1}

    def on_connection_reuse(self, session, ctx, stored):
        ctx["turn"] = stored + 1

    def persist_connection_context(self, session, ctx):
        return ctx["turn"]

    def response_filter(self, session, response, ctx):
        response.insert("x-turn", str(ctx["turn"]))


def turn(client):
    return head_of(client.take())[1][b"x-turn"]


def test_a_connection_keeps_what_its_requests_hand_on():
    bench = Bench(Counting())
    first, second = bench.client(), bench.client()
    for expected in (b"1", b"2", b"3"):
        first.send(GET)
        bench.origin.send(OK)
        assert turn(first) == expected
    second.send(GET)
    bench.origin.send(OK)
    assert turn(second) == b"1"
    bench.assert_clean()


def test_a_pipelined_request_is_given_it_though_the_log_of_the_first_waits():
    class Slow(Counting):
        def logging(self, session, error, ctx):
            yield Sleep(100)
            super().logging(session, error, ctx)

    bench = Bench(Slow())
    client = bench.client()
    client.send(GET + GET)
    bench.origin.send(OK)
    bench.origin.send(OK)
    assert client.take().split(b"x-turn: ")[2][:1] == b"2"
    bench.advance(200)
    bench.assert_clean()


@pytest.mark.parametrize(
    "request_", [b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"]
)
def test_nothing_is_kept_for_a_connection_that_closes(request_):
    kept = []
    app = Counting()
    app.persist_connection_context = lambda session, ctx: kept.append(ctx)
    bench = Bench(app)
    client = bench.client()
    client.send(request_)
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    assert kept == []


def test_a_context_that_cannot_be_kept_is_reported():
    app = Counting()
    app.persist_connection_context = lambda session, ctx: 1 / 0
    bench = Bench(app)
    client = bench.client()
    client.send(GET)
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    assert "persist_connection_context raised" in bench.errors[0]
    assert app.ended[0][1] is None
    bench.assert_clean()


# ── the gate ─────────────────────────────────────────────────────────────────────────


def test_what_must_not_go_upstream_is_answered_502_and_the_connection_stays():
    class Gate(App):
        def proxy_upstream_filter(self, session, ctx):
            return session.req_header.target != b"/closed"

        def response_filter(self, session, response, ctx):
            response.insert("x-generated", str(session.generated))

    bench = Bench(app := Gate())
    client = bench.client()
    client.send(b"GET /closed HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
    bench.origin.send(OK)
    answers = client.take()
    assert status_of(answers) == 502
    assert b"x-generated: True" in answers
    assert b"HTTP/1.1 200 OK" in answers
    assert [error for _, error in app.ended] == [None, None]
    assert len(bench.dials) == 1
    assert bench.errors == []
    bench.assert_clean()


def test_a_gate_may_answer_itself():
    class Gate(App):
        def proxy_upstream_filter(self, session, ctx):
            session.respond_error_with_body(403, b"no")
            return False

    bench = Bench(Gate())
    client = bench.client()
    client.send(GET)
    assert client.take().endswith(b"\r\n\r\nno")
    assert bench.dials == []
    bench.assert_clean()


# ── trailers ─────────────────────────────────────────────────────────────────────────


def test_trailers_are_changed_on_both_sides():
    class Changes(App):
        def upstream_response_trailer_filter(self, session, trailers, ctx):
            trailers.insert("X-Up", trailers.get("x-sum"))

        def response_trailer_filter(self, session, trailers, ctx):
            trailers.append("X-Down", trailers.get("x-up"))

    bench = Bench(Changes())
    client = bench.client()
    client.send(GET)
    bench.origin.send(CHUNKED)
    assert dechunk(head_of(client.take())[2]) == (b"hi", b"X-Sum: 1\r\nX-Up: 1\r\nX-Down: 1\r\n\r\n")
    bench.assert_clean()


def test_bytes_take_the_place_of_trailers():
    ends = []

    class AsBody(App):
        def response_body_filter(self, session, body, end_of_stream, ctx):
            ends.append((body, end_of_stream))
            return b"[" + body + b"]"

        def response_trailer_filter(self, session, trailers, ctx):
            return b"sum=" + trailers.get("x-sum")

    bench = Bench(AsBody())
    client = bench.client()
    client.send(GET)
    bench.origin.send(CHUNKED)
    assert dechunk(head_of(client.take())[2]) == (b"[hi][]sum=1", b"\r\n")
    assert ends == [(b"hi", False), (b"", True)]
    bench.assert_clean()


# ── the record ───────────────────────────────────────────────────────────────────────


class Recorded(App):
    def __init__(self):
        super().__init__()
        self.records = []

    def logging(self, session, error, ctx):
        super().logging(session, error, ctx)
        self.records.append(session.record)


def test_times_of_every_stretch():
    class Slow(Recorded):
        def request_filter(self, session, ctx):
            yield Sleep(1)

        def connected_to_upstream(self, session, reused, peer, info, ctx):
            yield Sleep(3)

    bench = Bench(app := Slow())
    bench.dial_outcomes.append(HANGING)
    client = bench.client()
    client.send(post(5))
    bench.advance(1)
    bench.advance(2)
    bench.connect(bench.connector, bench.dials[0])
    bench.settle()
    bench.advance(3)
    bench.advance(4)
    bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok")
    bench.advance(5)
    bench.origin.send(b"ay")
    [record] = app.records
    assert record.durations() == {"filters": 1, "connect": 2, "request": 3, "wait": 4, "response": 5}
    assert record.duration == 15
    assert (record.attempts, record.retries, record.reused, record.peer) == (1, 0, False, HttpPeer(ORIGIN))
    assert (record.status, record.body_bytes_received, record.body_bytes_sent) == (200, 5, 4)
    assert record.error is None
    bench.assert_clean()


def test_a_record_of_attempts_that_failed():
    class Twice(Recorded):
        def fail_to_connect(self, session, peer, ctx, error):
            return error.with_retry(True)

    bench = Bench(app := Twice(), max_retries=2)
    bench.dial_outcomes.extend([Error(ErrorType.CONNECT_REFUSED), Error(ErrorType.CONNECT_REFUSED)])
    client = bench.client()
    client.send(GET)
    assert status_of(client.take()) == 502
    [record] = app.records
    assert (record.attempts, record.retries, record.connected, record.status) == (2, 1, None, 502)
    assert record.error.etype is ErrorType.CONNECT_REFUSED
    assert set(record.durations()) == {"filters", "end"}


def test_a_record_of_a_head_that_was_refused():
    bench = Bench(app := Recorded())
    client = bench.client()
    client.send(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
    assert status_of(client.take()) == 400
    [record] = app.records
    assert (record.attempts, record.peer, record.duration) == (0, None, 0.0)
    assert record.error.status == 400


# ── subrequests ──────────────────────────────────────────────────────────────────────


class Spawning(App):
    """Answers with what the origin says to another target."""

    def __init__(self):
        super().__init__()
        self.contexts = []

    def new_ctx(self):
        self.contexts.append({})
        return self.contexts[-1]

    def allow_spawning_subrequest(self, session, ctx):
        return session.req_header.target == b"/spawns"

    def request_filter(self, session, ctx):
        if session.subrequest_spawner is None:
            return False
        yield from session.subrequest_spawner.pipe(RequestHeader("GET", "/other", [("Host", "b.test")]), body=None)
        return True


def test_a_subrequest_through_the_same_proxy():
    bench = Bench(app := Spawning())
    client = bench.client()
    client.send(b"GET /spawns HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert bench.origin.take() == b"GET /other HTTP/1.1\r\nHost: b.test\r\n\r\n"
    bench.origin.send(OK)
    assert head_of(client.take())[2] == b"ok"
    assert len(app.contexts) == len(app.ended) == 2
    assert [session.subrequest_spawner is None for session, _ in app.ended].count(True) == 1
    client.send(GET)
    bench.origin.send(OK)
    assert head_of(client.take())[2] == b"ok"


# ── at start ─────────────────────────────────────────────────────────────────────────


def test_adjusting_modules_that_are_not_there():
    class Adjusts(App):
        def adjust_upstream_modules(self, session, response, end_of_stream, ctx):
            pass

    with pytest.raises(TypeError, match=r"Adjusts\.adjust_upstream_modules has nothing to adjust"):
        HttpProxy(Adjusts())


def test_upstream_modules_are_adjusted_to_each_final_head():
    class Marks(HttpModule):
        mark = b"-"

        def response_header_filter(self, session, response, end_of_stream):
            response.insert("x-mark", self.mark + b"%d" % end_of_stream)

    class Adjusts(App):
        def init_upstream_modules(self, modules):
            modules.add_module(Marks)

        def adjust_upstream_modules(self, session, response, end_of_stream, ctx):
            session.upstream_modules_ctx.get(Marks).mark = b"%d-%d-" % (response.status, end_of_stream)

    bench = Bench(Adjusts())
    client = bench.client()
    client.send(GET)
    bench.origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
    hints, _, final = client.take().partition(b"\r\n\r\n")
    assert b"x-mark" not in hints
    assert b"x-mark: 200-0-0" in final
    client.send(GET)
    bench.origin.send(b"HTTP/1.1 304 Not Modified\r\n\r\n")
    assert b"x-mark: 304-1-1" in client.take()
    bench.assert_clean()
