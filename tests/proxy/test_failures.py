"""Errors: what the client gets, what is logged, and that it is logged once. Numbers: Pingora's test inventory."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.session import Sleep
from sansio_pingora.wire import ResponseHeader
from tests.proxy.harness import GET, OK, App, Bench, dechunk, head_of, post, status_of


def refusing(app, request=GET, **limits):
    bench = Bench(app, **limits)
    bench.dial_outcomes.append(Error(ErrorType.CONNECT_REFUSED, "nobody listens"))
    client = bench.client()
    client.send(request)
    return bench, client


# ── the page ─────────────────────────────────────────────────────────────────────────


def test_the_error_page():
    _, client = refusing(App())
    start, fields, body = head_of(client.take())
    assert start == b"HTTP/1.1 502 Bad Gateway"
    assert fields[b"content-length"] == b"0"
    assert fields[b"cache-control"] == b"private, no-store"
    assert set(fields) == {b"server", b"date", b"content-length", b"cache-control"}
    assert body == b""


def test_deviation_an_error_page_keeps_the_connection_alive():
    bench, client = refusing(App())
    client.take()
    client.send(GET)
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    bench.assert_clean()


def test_an_error_page_before_the_body_has_come():
    bench, client = refusing(App(), post(10, b"12345"))
    assert status_of(client.take()) == 502
    assert client.alive
    client.send(b"67890" + GET)
    assert bench.origin.take() == GET
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    bench.assert_clean()


def test_an_error_page_before_a_body_that_is_too_long_to_read_on():
    bench, client = refusing(App(), post(1_000_000, b"12345"))
    assert head_of(client.take())[1][b"connection"] == b"close"
    assert client.seen_eof
    client.send(b"x" * 100_000)
    assert client.closed
    bench.assert_clean()


def test_the_page_passes_response_filter():
    class Brands(App):
        def response_filter(self, session, response, ctx):
            assert session.generated is (response.status == 502)
            response.insert("x-brand", "us")

    bench, client = refusing(Brands())
    assert head_of(client.take())[1][b"x-brand"] == b"us"
    client.send(GET)
    bench.origin.send(OK)
    assert head_of(client.take())[1][b"x-brand"] == b"us"


@pytest.mark.parametrize("deferred", [False, True])
def test_a_page_whose_filter_raises_is_sent_without_it(deferred):
    if deferred:

        def response_filter(self, session, response, ctx):
            yield Sleep(1)
            raise ValueError("a bug")
    else:

        def response_filter(self, session, response, ctx):
            raise ValueError("a bug")

    bench, client = refusing(type("Raises", (App,), {"response_filter": response_filter})())
    bench.advance(2)
    assert status_of(client.take()) == 500
    assert len(bench.errors) == 1
    assert "ConnectRefused" in bench.errors[0]
    assert "response_filter raised" in bench.errors[0]
    assert bench.app.ended[0][1].etype is ErrorType.CONNECT_REFUSED
    bench.assert_clean()


def test_fail_to_proxy_chooses_the_status():
    _, client = refusing(type("Teapot", (App,), {"fail_to_proxy": lambda self, session, error, ctx: 418})())
    assert status_of(client.take()) == 418


@pytest.mark.parametrize("end", [True, False], ids=["complete", "left_open"])
def test_fail_to_proxy_writes_the_answer(end):
    class Writes(App):
        def fail_to_proxy(self, session, error, ctx):
            session.write_response_header(ResponseHeader(503, [("Retry-After", "5")]))
            session.write_response_body(b"later", end=end)

    bench, client = refusing(Writes())
    start, fields, body = head_of(client.take())
    assert start == b"HTTP/1.1 503 Service Unavailable"
    assert fields[b"retry-after"] == b"5"
    assert dechunk(body) == (b"later", b"\r\n")
    assert "status: 503" in bench.errors[0]
    bench.assert_clean()


def test_fail_to_proxy_answers_nothing():
    bench, client = refusing(type("Silent", (App,), {"fail_to_proxy": lambda self, session, error, ctx: None})())
    assert client.take() == b""
    assert client.closed
    assert "status: None" in bench.errors[0]
    bench.assert_clean()


@pytest.mark.parametrize("status", [0, 99, 1000, "502"])
def test_fail_to_proxy_returns_nonsense(status):
    bench, client = refusing(type("Odd", (App,), {"fail_to_proxy": lambda self, session, error, ctx: status})())
    assert status_of(client.take()) == 500
    assert len(bench.errors) == 1
    bench.assert_clean()


def test_fail_to_proxy_is_not_asked_when_nobody_is_left():
    class Asked(App):
        def fail_to_proxy(self, session, error, ctx):
            raise AssertionError

    bench = Bench(Asked())
    client = bench.client()
    client.send(post(10, b"123"))
    client.reset()
    assert len(bench.app.ended) == 1
    bench.assert_clean()


# ── the log ──────────────────────────────────────────────────────────────────────────


def test_one_line_that_says_it_all():
    bench, _ = refusing(App(), b"GET /x?y HTTP/1.1\r\nHost: a.test\r\n\r\n")
    [line] = bench.errors
    assert line == (
        "failed to proxy: Upstream ConnectRefused context: failed to connect to addr: 127.0.0.1:9000, scheme: http "
        "cause: context: nobody listens, status: 502, attempts: 1, GET /x?y, Host: a.test"
    )


@pytest.mark.parametrize(
    "callback", ["request_filter", "upstream_peer", "upstream_request_filter", "response_filter", "logging"]
)
def test_what_a_callback_raises_is_logged_with_its_place(callback):
    def broken(self, *args):
        return {}["x"]

    bench = Bench(type("Broken", (App,), {callback: broken})())
    client = bench.client()
    client.send(GET)
    if callback in ("response_filter", "logging"):
        bench.origin.send(OK)
    [line] = bench.errors
    assert callback in line.splitlines()[0]
    assert f'test_failures.py", line {broken.__code__.co_firstlineno + 1}, in broken' in line


def test_suppressed():
    class Quiet(App):
        def suppress_error_log(self, session, ctx, error):
            return error.etype is ErrorType.CONNECT_REFUSED

    bench, client = refusing(Quiet())
    assert bench.logs == []
    assert status_of(client.take()) == 502
    assert len(bench.app.ended) == 1


def test_a_summary_of_ones_own():
    class Says(App):
        def request_summary(self, session, ctx):
            return "it was me"

    bench, _ = refusing(Says())
    assert bench.errors[0].endswith("it was me")


@pytest.mark.parametrize("name", ["suppress_error_log", "request_summary"])
def test_callbacks_of_the_log_that_raise(name):
    def raises(self, *args):
        raise ValueError("a bug")

    bench, client = refusing(type("Raises", (App,), {name: raises})())
    assert status_of(client.take()) == 502
    assert len(bench.errors) == 1
    assert "ConnectRefused" in bench.errors[0]
    assert f"{name} raised" in bench.errors[0]
    assert len(bench.app.ended) == 1
    bench.assert_clean()


def test_a_summary_that_raises_does_not_stop_a_retry():
    class Raises(App):
        def fail_to_connect(self, session, peer, ctx, error):
            return error.with_retry(True)

        def request_summary(self, session, ctx):
            raise ValueError("a bug")

    bench, client = refusing(Raises())
    bench.origin.send(OK)
    assert status_of(client.take()) == 200


def test_new_ctx_that_raises():
    class Raises(App):
        def new_ctx(self):
            raise ValueError("a bug")

    bench = Bench(Raises())
    client = bench.client()
    client.send(GET)
    assert status_of(client.take()) == 500
    assert len(bench.app.ended) == len(bench.errors) == 1
    bench.assert_clean()


def test_logging_that_raises_about_a_refused_head():
    class Raises(App):
        def logging(self, session, error, ctx):
            raise ValueError("a bug")

    bench = Bench(Raises())
    client = bench.client()
    client.send(b"nonsense\r\n\r\n")
    assert status_of(client.take()) == 400
    assert ["logging raised" in line for line in bench.errors] == [True]


@pytest.mark.parametrize("form", ["generator", "async"])
def test_logging_that_waits_about_a_refused_head(form):
    logged = []
    if form == "generator":

        def logging(self, session, error, ctx):
            yield Sleep(1)
            logged.append(error)
    else:

        async def logging(self, session, error, ctx):
            await Sleep(1)
            logged.append(error)

    bench = Bench(type("Waits", (App,), {"logging": logging})())
    client = bench.client()
    client.send(b"nonsense\r\n\r\n")
    client.reset()
    bench.advance(2)
    assert len(logged) == 1
    assert bench.errors == []
    assert len(bench.stopped) == (form == "async")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
        (post(11, b""), 413),
    ],
)
def test_refused_heads_are_logged_once(request_bytes, status):
    bench = Bench(app := App(), max_body=10)
    client = bench.client()
    client.send(request_bytes)
    assert status_of(client.take()) == status
    [(session, error)] = app.ended
    assert session.req_header is None
    assert error.esource is ErrorSource.DOWNSTREAM
    assert bench.dials == []
    client.eof()
    bench.advance(5)
    assert not client.alive
    assert len(app.ended) == 1


def test_what_logging_writes_to_a_refused_client_goes_nowhere():
    class Writes(App):
        def logging(self, session, error, ctx):
            assert not session.respond_error(500)
            session.write_response_header(ResponseHeader(200), end=True)
            self.ended.append((session, error))

    bench = Bench(app := Writes())
    client = bench.client()
    client.send(b"nonsense\r\n\r\n")
    assert client.take().count(b"HTTP/1.1") == 1
    assert len(app.ended) == 1
    assert bench.errors == []


def test_a_head_that_never_ends_is_logged():
    bench = Bench(app := App(), head_timeout=5.0)
    client = bench.client()
    client.send(b"GET / HTTP/1.1\r\n")
    bench.advance(6)
    assert status_of(client.take()) == 408
    assert app.ended[0][1].etype is ErrorType.READ_TIMEDOUT


@pytest.mark.parametrize("how", ["nothing", "eof", "reset", "timeout"])
def test_a_connection_without_a_request_is_not_logged(how):
    bench = Bench(app := App())
    client = bench.client()
    if how == "timeout":
        bench.advance(11)
    elif how != "nothing":
        getattr(client, how)()
    assert app.ended == []
    assert client.take() == b""
