"""Every phase that may wait, in every form, however it ends."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.modules import HttpModule
from sansio_pingora.proxy import ProxyHttp
from sansio_pingora.proxy.proxy_http import PHASES, PLAIN_PHASES
from sansio_pingora.session import Call, Sleep, blocking
from sansio_pingora.upstreams import HttpPeer
from tests.proxy.harness import ORIGIN, App, Bench, dechunk, head_of, status_of

WAITING = [name for name in PHASES if name not in PLAIN_PHASES]
FORMS = ["plain", "blocking", "async", "async-effects", "generator"]
DEFERRED = [form for form in FORMS if form != "plain"]
REQUEST = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwxyz\r\n0\r\nX-Sum: 1\r\n\r\n"
OF_RESPONSES = {name for name in WAITING if "response" in name or name == "adjust_upstream_modules"}
SPINE = {name for name in WAITING if name not in OF_RESPONSES and "body" not in name}
OF_BODIES = {"upstream_response_body_filter", "response_body_filter"}
AFTER_HEAD = {*OF_BODIES, "upstream_response_trailer_filter", "response_trailer_filter"}
REFUSED = Error(ErrorType.CONNECT_REFUSED, "nobody listens")


def in_form(form, act):
    """*act* as a callback of *form*."""
    if form == "plain":
        return lambda self, *args: act(*args)
    if form == "blocking":
        return blocking(lambda self, *args: act(*args))
    if form == "async":

        async def coroutine(self, *args):
            return act(*args)

        return coroutine
    if form == "async-effects":

        async def with_effects(self, *args):
            await Sleep(0.5)
            assert await Call(lambda: "called") == "called"
            await Sleep(0)
            return act(*args)

        return with_effects

    def generator(self, *args):
        yield Sleep(0.5)
        assert (yield Call(lambda: "called")) == "called"
        yield Sleep(0)
        return act(*args)

    return generator


def app_with(phase, form, act):
    """An app of one origin whose *phase* does *act*; how often it was logged is in ``ended``."""
    return type("Made", (Prepared,), {phase: in_form(form, act)})()


class Prepared(App):
    """What some phases need to be called at all."""

    def persist_connection_context(self, session, ctx):
        return "kept"

    def init_upstream_modules(self, modules):
        modules.add_module(HttpModule)


def result_of(phase):
    return {"upstream_peer": HttpPeer(ORIGIN), "fail_to_proxy": 502}.get(phase)


def client_for(bench, phase):
    """A client whose next request comes to *phase*."""
    client = bench.client()
    if phase == "on_connection_reuse":
        client.endpoint.receiver._exchanges.user_context = "kept"
    return client


def play(bench, phase):
    """Everything of one exchange in which *phase* happens; what the client got."""
    if phase == "fail_to_proxy":
        bench.dial_outcomes.append(REFUSED)
    client = client_for(bench, phase)
    client.send(REQUEST)
    bench.advance(5)
    if bench.origins and bench.origin.alive:
        bench.origin.send(RESPONSE)
        bench.advance(5)
    return client


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("phase", WAITING)
def test_it_is_called_and_the_exchange_goes_on(phase, form):
    calls = []

    def act(*args):
        calls.append(args)
        return result_of(phase)

    app = app_with(phase, form, act)
    bench = Bench(app)
    client = play(bench, phase)
    answer = client.take()
    if phase == "fail_to_proxy":
        assert status_of(answer) == 502
    else:
        assert status_of(answer) == 200
        assert dechunk(head_of(answer)[2]) == (b"wxyz", b"X-Sum: 1\r\n\r\n")
        assert b"\r\n3\r\nabc\r\n0\r\n\r\n" in bench.origin.take()
    if phase == "request_body_filter" or phase in OF_BODIES:
        # Bytes and the end that came in one read may come to a filter as two pieces.
        assert b"".join(args[1] for args in calls) == (b"wxyz" if phase in OF_BODIES else b"abc")
        assert [args[2] for args in calls][-1] is True
    else:
        assert len(calls) == 1
    assert len(app.ended) + (phase == "logging") == 1
    bench.assert_clean()


@pytest.mark.parametrize("kind", ["exception", "error"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("phase", WAITING)
def test_it_raises(phase, form, kind):
    raised = ValueError("a bug") if kind == "exception" else Error.http_status(429, "slow down")
    status = 500 if kind == "exception" else 429

    def act(*args):
        raise raised

    app = app_with(phase, form, act)
    bench = Bench(app)
    client = play(bench, phase)
    answer = client.take()
    if phase == "logging":
        assert status_of(answer) == 200
        assert app.ended == []
        assert len(bench.errors) == 1
        assert "logging raised" in bench.errors[0]
    elif phase in AFTER_HEAD:
        assert status_of(answer) == 200
        assert b"X-Sum" not in answer
        assert client.closed
    else:
        assert status_of(answer) == status
        assert answer.count(b"HTTP/1.1") == 1
    if phase != "logging":
        [(session, error)] = app.ended
        assert session.response_done
        assert error.root_cause is raised or error is raised or phase == "fail_to_proxy"
        if kind == "exception" and form in ("plain", "generator") and phase in SPINE:
            assert f"in {phase} cause: ValueError: a bug" in bench.errors[0]
        assert len(bench.errors) == 1
    assert ("a bug" if kind == "exception" else "slow down") in bench.errors[0]
    bench.assert_clean()


@pytest.mark.parametrize("leaves", ["reset", "write-failure"])
@pytest.mark.parametrize("form", DEFERRED)
@pytest.mark.parametrize("phase", [phase for phase in WAITING if phase != "logging"])
def test_the_client_leaves_meanwhile(phase, form, leaves):
    app = app_with(phase, form, lambda *args: result_of(phase))
    bench = Bench(app)
    bench.hold_filters = True
    if phase == "fail_to_proxy":
        bench.dial_outcomes.append(REFUSED)
    client = client_for(bench, phase)
    client.send(REQUEST)
    if phase in OF_RESPONSES:
        bench.origin.send(RESPONSE)
    assert app.ended == []
    reached_origin = bool(bench.origins)
    if leaves == "reset":
        client.reset()
    else:
        client.lose(Error(ErrorType.WRITE_ERROR, "EPIPE"))
    [(session, error)] = app.ended
    assert session.closed.esource is ErrorSource.DOWNSTREAM
    assert len(bench.errors) == 1
    if phase == "fail_to_proxy":  # the first failure is the one that counts
        assert error.etype is ErrorType.CONNECT_REFUSED
        assert "failed to proxy: Upstream ConnectRefused" in bench.errors[0]
    else:
        assert error is session.closed
        assert "failed to proxy: Downstream" in bench.errors[0]
    bench.assert_clean()
    late = bench.pending
    bench.pending = []
    for held in late:  # the answer comes all the same
        if held.command.is_async:
            held.command.call()  # its coroutine was closed with its exchange
        held.answer(result_of(phase))
    bench.advance(100)
    assert len(app.ended) == 1
    assert bool(bench.origins) is reached_origin
    bench.assert_clean()


def let_go(bench):
    """The filters that were held run, and what follows from that comes."""
    bench.hold_filters = False
    for held in list(bench.pending):
        held.run()
    bench.advance(5)


@pytest.mark.parametrize("form", DEFERRED)
def test_logging_is_not_disturbed_by_the_client_leaving(form):
    logged = []
    app = app_with("logging", form, lambda session, error, ctx: logged.append(error))
    bench = Bench(app)
    client = bench.client()
    client.send(REQUEST)
    bench.hold_filters = True
    bench.origin.send(RESPONSE)
    assert status_of(client.take()) == 200
    client.reset()
    assert logged == []
    let_go(bench)
    assert logged == [None]
    assert bench.errors == []
    bench.assert_clean()


@pytest.mark.parametrize("form", DEFERRED)
def test_the_next_request_does_not_wait_for_the_log(form):
    app = app_with("logging", form, lambda *args: None)
    bench = Bench(app)
    client = bench.client()
    bench.hold_filters = True
    for _ in range(3):
        client.send(REQUEST)
        bench.origin.send(RESPONSE)
        assert status_of(client.take()) == 200
    assert len(bench.origins) == 1
    let_go(bench)
    bench.assert_clean()


@pytest.mark.parametrize("form", DEFERRED)
def test_a_log_is_not_disturbed_by_the_cut_of_its_own_answer(form):
    logged = []
    app = app_with("logging", form, lambda session, error, ctx: logged.append(error))
    bench = Bench(app)
    client = bench.client()
    client.send(REQUEST)
    bench.hold_filters = True
    bench.origin.send(RESPONSE[:-20])
    bench.origin.reset()
    assert client.closed
    let_go(bench)
    assert [error.etype for error in logged] == [ErrorType.READ_ERROR]
    bench.assert_clean()


@pytest.mark.parametrize("form", DEFERRED)
def test_a_log_that_does_not_keep_up_holds_the_next_request_back(form):
    logged = []
    app = app_with("logging", form, lambda session, error, ctx: logged.append(error))
    bench = Bench(app, max_unlogged=2)
    client = bench.client()
    bench.hold_filters = True
    for _ in range(2):
        client.send(REQUEST)
        bench.origin.send(RESPONSE)
        assert status_of(client.take()) == 200
    client.send(REQUEST)
    bench.origin.take()
    assert len(bench.exchanges) == 2
    assert client.take() == b""
    let_go(bench)
    assert len(bench.exchanges) == 3
    bench.origin.send(RESPONSE)
    assert status_of(client.take()) == 200
    bench.advance(5)
    assert logged == [None] * 3
    bench.assert_clean()


@pytest.mark.parametrize("form", ["generator", "async-effects"])
@pytest.mark.parametrize("phase", [phase for phase in WAITING if phase != "logging"])
def test_a_filter_that_swallows_the_news_that_the_client_left(phase, form):
    def swallow(steps):
        try:
            yield from steps
        except Exception:
            return result_of(phase)

    if form == "generator":

        def callback(self, *args):
            def steps():
                yield Sleep(3)
                return result_of(phase)

            return (yield from swallow(steps()))
    else:

        async def callback(self, *args):
            try:
                await Sleep(3)
            except Exception:
                return result_of(phase)
            return result_of(phase)

    app = type("Swallows", (Prepared,), {phase: callback})()
    bench = Bench(app)
    if phase == "fail_to_proxy":
        bench.dial_outcomes.append(REFUSED)
    client = client_for(bench, phase)
    client.send(REQUEST)
    if phase in OF_RESPONSES:
        bench.origin.send(RESPONSE)
    client.reset()
    bench.advance(100)
    [(session, error)] = app.ended
    assert session.closed is not None
    assert error is session.closed or phase == "fail_to_proxy"
    assert len(bench.errors) == 1
    bench.assert_clean()


def test_async_filters_of_one_exchange_are_stopped_once():
    class Both(App):
        async def request_filter(self, session, ctx):
            await Sleep(1)

        async def logging(self, session, error, ctx):
            self.ended.append((session, error))

    bench = Bench(app := Both())
    client = bench.client()
    client.send(REQUEST)
    assert bench.stopped == []
    bench.advance(2)
    bench.origin.send(RESPONSE)
    assert len(app.ended) == 1
    assert bench.stopped == [bench.exchanges[0]]


def test_without_async_filters_nothing_is_to_stop():
    bench = Bench(app_with("request_filter", "generator", lambda *args: None))
    play(bench, "request_filter")
    assert bench.stopped == []


def test_a_head_in_a_filter_when_its_origin_dies_is_not_sent_behind_the_error_page():
    class Slow(App):
        def response_filter(self, session, response, ctx):
            yield Sleep(2 if session.generated else 1)

    bench = Bench(app := Slow())
    client = bench.client()
    client.send(REQUEST)
    bench.origin.send(RESPONSE[:-5])
    bench.origin.eof()
    bench.advance(5)
    answer = client.take()
    assert status_of(answer) == 502
    assert answer.count(b"HTTP/1.1") == 1
    assert len(app.ended) == len(bench.errors) == 1
    bench.assert_clean()


def test_what_a_runtime_awaits_itself_passes_through():
    class Waits:
        def __await__(self):
            return (yield "the runtime's own")

    class Mixed(App):
        async def request_filter(self, session, ctx):
            assert await Waits() == "answered"
            await Sleep(1)
            assert await Waits() == "again"

    bench = Bench(Mixed())
    bench.hold_filters = True
    bench.client().send(REQUEST)
    [held] = bench.pending
    steps = held.command.call().__await__()
    assert next(steps) == "the runtime's own"
    with pytest.raises(StopIteration) as stop:
        steps.send("answered")
    bench.pending.clear()
    held.answer(stop.value.value)
    assert bench.pending == []
    bench.advance(2)
    [held] = bench.pending
    steps = held.command.call().__await__()
    assert next(steps) == "the runtime's own"
    with pytest.raises(StopIteration) as stop:
        steps.send("again")
    bench.pending.clear()
    bench.hold_filters = False
    held.answer(stop.value.value)
    bench.origin.send(RESPONSE)
    bench.assert_clean()


def test_an_effect_that_is_not_of_the_proxy():
    class Reads(App):
        def request_filter(self, session, ctx):
            from sansio_pingora.session import ReadBody

            yield ReadBody()

    bench = Bench(Reads())
    client = bench.client()
    client.send(REQUEST)
    assert status_of(client.take()) == 500
    assert "no effect that can be awaited here" in bench.errors[0]
    bench.assert_clean()


def test_yielding_nonsense():
    class Nonsense(App):
        def request_filter(self, session, ctx):
            yield 42

    bench = Bench(Nonsense())
    client = bench.client()
    client.send(REQUEST)
    assert status_of(client.take()) == 500
    assert "42 is no effect" in bench.errors[0]


def test_a_wait_sleeps_for_its_time_and_nothing_else_stands_still():
    class Slow(App):
        def request_filter(self, session, ctx):
            if session.req_header.target == b"/slow":
                yield Sleep(10)

    bench = Bench(Slow())
    slow, fast = bench.client(), bench.client()
    slow.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    fast.send(b"GET /fast HTTP/1.1\r\nHost: a\r\n\r\n")
    bench.origin.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert status_of(fast.take()) == 204
    bench.advance(9.9)
    assert slow.take() == b""
    assert bench.origin.take().startswith(b"GET /fast")
    bench.advance(0.2)
    assert bench.origin.take().startswith(b"GET /slow")


@pytest.mark.parametrize("phase", ["upstream_response_body_filter", "response_body_filter", "request_body_filter"])
@pytest.mark.parametrize("form", FORMS)
def test_body_filters_change_what_passes(phase, form):
    app = app_with(phase, form, lambda session, body, end, ctx: body.upper() + (b"!" if end else b""))
    bench = Bench(app)
    client = play(bench, phase)
    if phase == "request_body_filter":
        assert dechunk(head_of(bench.origin.take())[2])[0] == b"ABC!"
    else:
        assert dechunk(head_of(client.take())[2])[0] == b"WXYZ!"
    bench.assert_clean()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("phase", ["request_body_filter", "response_body_filter"])
def test_the_last_piece_of_a_known_length_says_so(phase, form):
    flags = []
    bench = Bench(app_with(phase, form, lambda session, body, end, ctx: flags.append((body, end))))
    client = bench.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
    client.send(b"cd")
    bench.advance(5)
    bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    bench.origin.send(b"cd")
    bench.advance(5)
    assert flags == [(b"ab", False), (b"cd", True)]
    assert client.take().endswith(b"abcd")
    bench.assert_clean()


@pytest.mark.parametrize("form", FORMS)
def test_body_filters_swallow_with_empty_bytes(form):
    seen = []

    def act(session, body, end, ctx):
        seen.append(body)
        return b"".join(seen) if end else b""

    bench = Bench(app_with("response_body_filter", form, act))
    client = bench.client()
    client.send(REQUEST)
    bench.advance(1)
    bench.origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(4):
        bench.origin.send(b"2\r\nab\r\n")
    bench.advance(10)
    assert head_of(client.got)[2] == b""
    bench.origin.send(b"0\r\n\r\n")
    bench.advance(10)
    assert dechunk(head_of(client.take())[2])[0] == b"abababab"
    bench.assert_clean()


@pytest.mark.parametrize("name", ["request_body_filter", "response_body_filter"])
def test_a_body_filter_that_returns_text(name):
    bench = Bench(type("Text", (App,), {name: lambda self, *args: "text"})())
    client = play(bench, name)
    assert f"{name} returned str: return bytes, or None for no change" in bench.errors[0]
    assert status_of(client.take()) == (500 if name == "request_body_filter" else 200)
    bench.assert_clean()


@pytest.mark.parametrize("form", FORMS)
def test_both_response_filters_see_each_head_in_order(form):
    order = []

    def upstream(session, response, ctx):
        order.append("upstream")
        response.insert("x-seen", "upstream")

    def downstream(session, response, ctx):
        order.append(response.get("x-seen"))
        response.insert("x-seen", "both")

    members = {"upstream_response_filter": in_form(form, upstream), "response_filter": in_form(form, downstream)}
    bench = Bench(type("Both", (App,), members)())
    client = play(bench, "response_filter")
    assert order == ["upstream", b"upstream"]
    assert head_of(client.take())[1][b"x-seen"] == b"both"


def test_base_class_needs_nothing_else():
    class Least(ProxyHttp):
        def upstream_peer(self, session, ctx):
            return HttpPeer(ORIGIN)

    bench = Bench(Least())
    client = play(bench, "upstream_peer")
    assert status_of(client.take()) == 200
    bench.assert_clean()
