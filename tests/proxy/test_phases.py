"""Which callbacks are called, in which order, with what."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.modules import HttpModule
from sansio_pingora.proxy import HttpProxy, ProxyHttp
from sansio_pingora.proxy.filter_table import FilterTable
from sansio_pingora.proxy.proxy_http import PHASES, PLAIN_PHASES
from sansio_pingora.session import Form, ServerSession, Sleep, blocking
from sansio_pingora.transport import TransportInfo
from sansio_pingora.upstreams import HttpPeer
from sansio_pingora.wire import RequestHeader, ResponseHeader
from tests.proxy.harness import GET, OK, ORIGIN, App, Bench, chunked, status_of

REFUSED = Error(ErrorType.CONNECT_REFUSED, "nobody listens")


class Traced(ProxyHttp):
    """Overrides everything, changes nothing, writes down each call."""

    def __init__(self):
        self.calls = []
        self.errors = []

    def new_ctx(self):
        self.calls.append("new_ctx")
        return {"id": len(self.calls)}

    def _note(self, name, session, ctx):
        assert isinstance(session, ServerSession)
        assert set(ctx) == {"id"}
        self.calls.append(name)

    def early_request_filter(self, session, ctx):
        self._note("early_request_filter", session, ctx)

    def request_filter(self, session, ctx):
        self._note("request_filter", session, ctx)

    def upstream_peer(self, session, ctx):
        self._note("upstream_peer", session, ctx)
        return HttpPeer(ORIGIN)

    def fail_to_connect(self, session, peer, ctx, error):
        self._note("fail_to_connect", session, ctx)
        assert peer == HttpPeer(ORIGIN)
        self.errors.append(error)
        return error

    def connected_to_upstream(self, session, reused, peer, info, ctx):
        self._note(f"connected_to_upstream reused={reused}", session, ctx)
        assert peer == HttpPeer(ORIGIN)
        assert isinstance(info, TransportInfo)

    def upstream_request_filter(self, session, request, ctx):
        self._note("upstream_request_filter", session, ctx)
        assert isinstance(request, RequestHeader)
        assert request is not session.req_header

    def request_body_filter(self, session, body, end_of_stream, ctx):
        self._note(f"request_body_filter {body!r} {end_of_stream}", session, ctx)

    def upstream_response_filter(self, session, response, ctx):
        self._note(f"upstream_response_filter {response.status}", session, ctx)
        assert isinstance(response, ResponseHeader)

    def upstream_response_body_filter(self, session, body, end_of_stream, ctx):
        self._note(f"upstream_response_body_filter {body!r} {end_of_stream}", session, ctx)

    def response_filter(self, session, response, ctx):
        generated = " generated" if session.generated else ""
        self._note(f"response_filter {response.status}{generated}", session, ctx)

    def response_body_filter(self, session, body, end_of_stream, ctx):
        self._note(f"response_body_filter {body!r} {end_of_stream}", session, ctx)

    def error_while_proxy(self, peer, session, error, ctx, client_reused):
        self._note(f"error_while_proxy reused={client_reused}", session, ctx)
        assert peer == HttpPeer(ORIGIN)
        self.errors.append(error)
        return super().error_while_proxy(peer, session, error, ctx, client_reused)

    def fail_to_proxy(self, session, error, ctx):
        self._note("fail_to_proxy", session, ctx)
        self.errors.append(error)
        return super().fail_to_proxy(session, error, ctx)

    def suppress_error_log(self, session, ctx, error):
        self._note("suppress_error_log", session, ctx)
        return False

    def request_summary(self, session, ctx):
        self._note("request_summary", session, ctx)
        return super().request_summary(session, ctx)

    def logging(self, session, error, ctx):
        self._note("logging" if error is None else f"logging {error.type_str}", session, ctx)


START = ["new_ctx", "early_request_filter", "request_filter", "upstream_peer"]
SENT = ["connected_to_upstream reused=False", "upstream_request_filter"]


def test_every_phase_in_the_documented_order():
    bench = Bench(app := Traced())
    client = bench.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.send(b"3\r\nabc\r\n")
    client.send(b"0\r\n\r\n")
    bench.origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    bench.origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    bench.origin.send(b"2\r\nhi\r\n")
    bench.origin.send(b"0\r\n\r\n")
    assert app.calls == [
        *START,
        *SENT,
        "request_body_filter b'abc' False",
        "request_body_filter b'' True",
        "upstream_response_filter 103",
        "response_filter 103",
        "upstream_response_filter 200",
        "response_filter 200",
        "upstream_response_body_filter b'hi' False",
        "response_body_filter b'hi' False",
        "upstream_response_body_filter b'' True",
        "response_body_filter b'' True",
        "logging",
    ]
    assert bench.logs == []
    bench.assert_clean()


def test_a_known_length_ends_with_its_last_piece():
    bench = Bench(app := Traced())
    client = bench.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nab")
    client.send(b"cde")
    bench.origin.send(OK)
    assert app.calls[6:-1] == [
        "request_body_filter b'ab' False",
        "request_body_filter b'cde' True",
        "upstream_response_filter 200",
        "response_filter 200",
        "upstream_response_body_filter b'ok' True",
        "response_body_filter b'ok' True",
    ]


def test_messages_without_a_body_have_no_body_calls():
    bench = Bench(app := Traced())
    client = bench.client()
    client.send(GET)
    bench.origin.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert app.calls == [*START, *SENT, "upstream_response_filter 204", "response_filter 204", "logging"]
    bench.assert_clean()


def test_the_second_request_finds_the_connection_in_the_pool():
    bench = Bench(app := Traced())
    client = bench.client()
    client.send(GET)
    bench.origin.send(OK)
    app.calls.clear()
    client.send(GET)
    bench.origin.send(OK)
    assert app.calls[:6] == [*START, "connected_to_upstream reused=True", "upstream_request_filter"]
    assert len(bench.origins) == 1


def test_no_connection():
    bench = Bench(app := Traced())
    bench.dial_outcomes.append(REFUSED)
    client = bench.client()
    client.send(GET)
    assert app.calls == [
        *START,
        "fail_to_connect",
        "fail_to_proxy",
        "response_filter 502 generated",
        "suppress_error_log",
        "request_summary",
        "logging ConnectRefused",
    ]
    assert status_of(client.take()) == 502
    assert len(bench.errors) == 1
    bench.assert_clean()


def test_a_connection_that_dies():
    bench = Bench(app := Traced())
    client = bench.client()
    client.send(GET)
    bench.origin.eof()
    assert app.calls[4:] == [
        *SENT,
        "error_while_proxy reused=False",
        "fail_to_proxy",
        "response_filter 502 generated",
        "suppress_error_log",
        "request_summary",
        "logging ConnectionClosed",
    ]
    assert status_of(client.take()) == 502
    bench.assert_clean()


def test_a_second_attempt_runs_its_phases_again_and_the_others_not():
    bench = Bench(app := Traced())
    client = bench.client()
    client.send(GET)
    bench.origin.send(OK)
    client.take()
    app.calls.clear()
    client.send(GET)
    bench.origin.eof()
    assert len(bench.origins) == 2
    bench.origin.send(OK)
    assert app.calls == [
        *START,
        "connected_to_upstream reused=True",
        "upstream_request_filter",
        "error_while_proxy reused=True",
        "request_summary",
        "upstream_peer",
        *SENT,
        "upstream_response_filter 200",
        "response_filter 200",
        "upstream_response_body_filter b'ok' True",
        "response_body_filter b'ok' True",
        "logging",
    ]
    assert [line.level for line in bench.logs] == ["WARNING"]
    bench.assert_clean()


def test_a_refused_head_reaches_new_ctx_and_logging_alone():
    bench = Bench(app := Traced())
    seen = []
    app.logging = lambda session, error, ctx: seen.append((session.req_header, error, ctx))
    bench = Bench(app)
    client = bench.client()
    client.send(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
    assert status_of(client.take()) == 400
    assert app.calls == ["new_ctx"]
    [(head, error, ctx)] = seen
    assert head is None
    assert error.status == 400
    assert ctx == {"id": 1}
    assert bench.dials == []


def test_request_filter_that_answered():
    class Answers(Traced):
        def request_filter(self, session, ctx):
            super().request_filter(session, ctx)
            session.respond_error_with_body(403, b"no")
            return True

    bench = Bench(app := Answers())
    client = bench.client()
    client.send(GET + GET)
    assert app.calls == ["new_ctx", "early_request_filter", "request_filter", "logging"] * 2
    assert client.take().count(b"403 Forbidden") == 2
    assert bench.dials == []
    bench.assert_clean()


# ── the table ────────────────────────────────────────────────────────────────────────


def test_absent_phases_cost_nothing():
    table = FilterTable(App())
    present = {name for name in PHASES if getattr(table, name) is not None}
    assert present == {"upstream_peer", "logging"}
    assert table.request_body_filters == table.response_head_filters == table.response_body_filters == ()


def test_a_body_without_filters_passes_as_the_same_object():
    bench = Bench(App())
    client = bench.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n")
    sent = []
    connection = bench.origin.connection
    send = connection.send

    class Spy:
        def __getattr__(self, name):
            return getattr(connection, name)

        def send(self, stream_id, task, now):
            sent.append(task)
            return send(stream_id, task, now)

    bench.exchanges[0].lease.connection = Spy()
    piece = b"y" * 1000
    client.send(piece)
    assert sent[0].data is piece


@pytest.mark.parametrize("name", [name for name in PHASES if name not in PLAIN_PHASES])
@pytest.mark.parametrize("form", list(Form))
def test_form_of_every_phase_is_found(name, form):
    def plain(self, *args):
        return None

    def generator(self, *args):
        yield Sleep(1)

    async def coroutine(self, *args):
        return None

    made = {Form.PLAIN: plain, Form.BLOCKING: blocking(lambda self, *args: None), Form.ASYNC: coroutine}
    members = {name: made.get(form, generator)}
    if name == "adjust_upstream_modules":
        members["init_upstream_modules"] = lambda self, modules: modules.add_module(HttpModule)
    app = type("Made", (App,), members)()
    table = FilterTable(app)
    assert getattr(table, name).form is form
    assert getattr(table, name).inline is (form is Form.PLAIN)
    if form is Form.ASYNC:
        with pytest.raises(TypeError, match=rf"Made\.{name} is async def, which the threads runtime cannot run"):
            HttpProxy(app).check("threads", can_await=False)
    HttpProxy(app).check("asyncio", can_await=True)


@pytest.mark.parametrize("name", sorted(PLAIN_PHASES))
@pytest.mark.parametrize("waits", ["async", "generator"])
def test_decisions_must_not_wait(name, waits):
    async def coroutine(self, *args):
        return None

    def generator(self, *args):
        yield Sleep(1)

    app = type("Waits", (App,), {name: coroutine if waits == "async" else generator})()
    with pytest.raises(TypeError, match=rf"Waits\.{name} decides and must not wait"):
        HttpProxy(app)


@pytest.mark.parametrize("name", sorted(PLAIN_PHASES))
def test_decisions_of_a_blocking_class_are_called_in_place(name):
    app = blocking(type("Whole", (App,), {name: lambda self, *args: None}))()
    table = FilterTable(app)
    assert getattr(table, name).inline
    assert table.upstream_peer.form is Form.BLOCKING


def test_not_a_proxy():
    with pytest.raises(TypeError, match="is not a ProxyHttp"):
        HttpProxy(object())


def test_upstream_peer_is_required():
    with pytest.raises(TypeError, match="must override upstream_peer"):
        HttpProxy(ProxyHttp())


def test_upstream_peer_calls_its_base_by_mistake():
    class Mistaken(App):
        def upstream_peer(self, session, ctx):
            return ProxyHttp.upstream_peer(self, session, ctx)

    bench = Bench(Mistaken())
    client = bench.client()
    client.send(GET)
    assert status_of(client.take()) == 500
    assert "must override upstream_peer" in bench.errors[0]


def test_callbacks_set_on_the_object_count():
    app = App()
    app.request_filter = lambda session, ctx: session.respond_error(418)
    bench = Bench(app)
    client = bench.client()
    client.send(GET)
    assert status_of(client.take()) == 418


def test_request_target_and_chunks_reach_the_origin():
    bench = Bench(App())
    client = bench.client()
    client.send(b"PUT /a?b HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"one", b"two"))
    assert bench.origin.take() == (
        b"PUT /a?b HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nonetwo\r\n0\r\n\r\n"
    )
