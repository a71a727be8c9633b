"""A subrequest in the middle of an exchange, whose answer becomes the client's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.apps import HttpServerApp, HttpService, Response, ServeHttp
from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.listeners import AcceptPolicy, LaneEnd
from sansio_pingora.machine import Lane
from sansio_pingora.proxy import ProxyHttp
from sansio_pingora.session import (
    PerLane,
    PipeSubrequest,
    ReadBody,
    Routines,
    SavedBody,
    SessionBody,
)
from sansio_pingora.wire import Body, Done, Failed, Fields, Header, ResponseHeader, Trailer, UpgradedBody
from sansio_pingora_posix.lane_runner import contain
from tests.apps.bench import body_of, get, http, post, status_of
from tests.apps.serving import RUNTIMES, ask, serving
from tests.memory import counting, cut
from tests.proxy.harness import Bench as ProxyBench
from tests.session.kinds import KINDS, Handler
from tests.session.kinds import get as get_head
from tests.session.kinds import post as post_head

FAULT = Error(ErrorType.CONNECT_REFUSED, "on purpose")


def whole(function):
    """A handler ``Request -> Response`` on each lane."""
    return PerLane(HttpService(ServeHttp(function, inline=True)).handler)


echo = whole(lambda request: Response(200, request.body))


class Piping(HttpServerApp):
    """Pipes to *handler*, and keeps what came of it."""

    def __init__(self, handler, then=None, **options):
        self.handler = handler
        self.options = options
        self.then = then
        self.pipes = []
        self.states = []

    def process_new_http(self, session):
        pipe = PipeSubrequest(session, self.handler, **self.options)
        self.pipes.append(pipe)
        self.states.append((yield from pipe))
        if self.then is not None:
            yield from self.then(session)


class AsyncPiping(Piping):
    async def process_new_http(self, session):
        pipe = PipeSubrequest(session, self.handler, **self.options)
        self.pipes.append(pipe)
        self.states.append(await pipe)


def piped(handler, raw=None, **options):
    """A piping application that got *raw*."""
    app = Piping(handler, **options)
    bench = http(app).receive(get() if raw is None else raw)
    return app, bench


def recording(on_begin=None):
    """A handler that does nothing by itself, and a pipe to it."""
    handler = Handler(on_begin)
    return handler, PerLane(lambda lane, now: handler)


@pytest.mark.parametrize("app", [Piping, AsyncPiping])
@pytest.mark.parametrize(
    "raw", [get("/a"), post(b"hello", "/a"), get("/a", method="HEAD")], ids=["GET", "POST", "HEAD"]
)
def test_the_answer_of_a_subrequest_becomes_the_clients(app, raw):
    app = app(echo)
    bench = http(app).receive(raw).run_calls()
    assert status_of(bench.out) == 200
    assert body_of(bench.out) == (b"hello" if b"hello" in raw else b"")
    [state] = app.states
    assert state.header_received
    assert state.error is state.proxy_error is None
    assert not bench.held
    assert bench.log == []


def test_a_handler_of_a_lane_hears_that_the_server_drains():
    told = []
    handler = Handler(None)
    handler.drain = told.append
    app = Piping(PerLane(lambda lane, now: handler))
    bench = http(app).receive(get())
    LaneEnd(bench.lane, AcceptPolicy()).drain(30.0, 5.0, contain)
    assert told == [5.0]


def test_a_handler_made_while_the_server_drains_hears_at_once():
    bench = http(Piping(echo))
    LaneEnd(bench.lane, AcceptPolicy()).drain(30.0, 5.0, contain)
    told = []
    handler = Handler(None)
    handler.drain = told.append
    assert PerLane(lambda lane, now: handler)(bench.lane, 6.0) is handler
    assert told == [6.0]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_on_every_runtime(runtime):
    body = b"x" * 300_000
    with serving(Piping(echo), runtime) as server:
        for size in (0, 5, 300_000):
            assert ask(server.addresses[0], "POST", "/", body[:size]) == (200, body[:size])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [None, 5, 200_000])
def test_over_every_kind_of_connection(kind, size):
    data = b"x" * (size or 0)
    app = Piping(whole(lambda request: Response(200, body=request.body[::-1])))
    service = HttpService(app)
    exchange = KINDS[kind](
        get_head() if size is None else post_head(size),
        size is None,
        handler=lambda lane: service.handler(lane, 0.0),
    )
    if data:
        for at in range(0, len(data), 50_000):
            exchange.feed(Body(data[at : at + 50_000]))
    got = b""
    while exchange.received:
        task = exchange.received.pop(0)
        if isinstance(task, Body):
            got += task.data
            if kind == "subrequest":
                exchange.handle.consumed(len(task.data), 0.0)
            else:
                exchange.client.consumed(exchange.stream, len(task.data), 0.0)
            exchange.settle()
    assert got == data
    assert len(app.states) == 1
    assert exchange.commands == []


def test_byte_by_byte():
    app = Piping(echo)
    bench = http(app)
    for byte in post(b"hello"):
        bench.receive(bytes([byte]))
    assert body_of(bench.out) == b"hello"


# ── the body ─────────────────────────────────────────────────────────────────────────


def test_the_body_waits_until_it_is_wanted():
    handler, pipe_to = recording()
    app, bench = piped(pipe_to, get("/", "Content-Length: 5", "Expect: 100-continue", method="POST"))
    assert bench.out == b""
    [asked] = handler.begun
    asked.session.invite_body()
    bench.settle()
    assert bench.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    bench.receive(b"hello")
    assert asked.tasks == [Body(b"hello", True)]
    asked.session.respond_error(404)
    bench.settle()
    assert status_of(bench.out) == 404
    assert len(app.states) == 1


def test_a_body_that_comes_unasked_waits_too():
    handler, pipe_to = recording()
    _, bench = piped(pipe_to, post(b"hello"))
    [asked] = handler.begun
    assert asked.tasks == []
    asked.session.invite_body()
    bench.settle()
    assert asked.tasks == [Body(b"hello", True)]


def test_a_body_that_is_never_wanted_does_not_hold_up_the_connection():
    handler, pipe_to = recording()
    app, bench = piped(pipe_to, post(b"hello"))
    handler.begun[0].session.respond_error(403)
    bench.settle()
    assert app.states[0].saved_body.chunks == []
    assert not bench.held
    assert not bench.connection.closing
    assert status_of(bench.take()) == 403
    bench.receive(get())
    assert len(handler.begun) == 2


def test_trailers_pass_both_ways():
    handler, pipe_to = recording(lambda session: session.invite_body())
    app, bench = piped(pipe_to, get("/", "Transfer-Encoding: chunked", method="POST"))
    bench.receive(b"1\r\na\r\n0\r\nX-Up: 1\r\n\r\n")
    [asked] = handler.begun
    assert asked.tasks == [Body(b"a"), Trailer(Fields([("X-Up", "1")]))]
    asked.session.write_response_header(ResponseHeader(200))
    asked.session.write_response_trailers(Fields([("X-Down", "2")]))
    bench.settle()
    assert bench.out.endswith(b"0\r\nX-Down: 2\r\n\r\n")
    assert app.states[0].saved_body.complete


def test_without_the_clients_body():
    handler, pipe_to = recording()
    _, bench = piped(pipe_to, post(b"hello", "/", "Content-Type: text/plain"), body=None)
    [asked] = handler.begun
    assert asked.session.is_body_empty()
    assert asked.session.get_header("content-length") is asked.session.get_header("content-type") is None
    asked.session.invite_body()
    asked.session.respond_error(404)
    assert status_of(bench.settle().out) == 404


def test_a_body_of_ones_own():
    app, bench = piped(
        echo,
        get("/", "Expect: 100-continue", "Content-Length: 2", method="POST"),
        body=[b"a" * 40_000, b"", b"b" * 40_000],
    )
    assert body_of(bench.out) == b"a" * 40_000 + b"b" * 40_000
    assert app.states[0].saved_body is None


def test_a_body_of_ones_own_waits_until_it_is_wanted_and_while_there_is_no_room():
    handler, pipe_to = recording()
    _, bench = piped(pipe_to, body=[b"x" * 40_000] * 4)
    [asked] = handler.begun
    assert asked.session.get_header("content-length") == b"160000"
    assert asked.tasks == []
    asked.session.invite_body()
    bench.settle()
    assert len(asked.tasks) == 2
    for _ in range(2):
        asked.session.consumed(40_000)
        bench.settle()
    assert len(asked.tasks) == 4
    assert asked.tasks[-1].end


def test_the_clients_body_is_still_there_behind_a_pipe_that_had_another():
    bodies = []

    def then(session):
        while (data := (yield ReadBody())) is not None:
            bodies.append(data)

    _, bench = piped(echo, get("/", "Content-Length: 5", method="POST"), then=then, body=None, task_filter=no_end)
    bench.receive(b"he").receive(b"llo")
    assert bodies == [b"he", b"llo"]
    assert bench.log == []


def test_a_body_that_was_read_before_the_pipe():
    class App(HttpServerApp):
        def process_new_http(self, session):
            while (yield ReadBody()) is not None:
                pass
            yield from PipeSubrequest(session, echo)

    bench = http(App()).receive(post(b"hello"))
    assert status_of(bench.out) == 500
    assert "PrematureBodyEnd" in bench.log[0]


def test_a_body_that_came_before_the_pipe():
    class App(HttpServerApp):
        def process_new_http(self, session):
            yield ReadBody()
            yield from PipeSubrequest(session, echo, head=post_head(4))

    bench = http(App()).receive(get("/", "Content-Length: 5", method="POST")).receive(b"h").receive(b"ello")
    assert body_of(bench.out) == b"ello"


@pytest.mark.parametrize(
    ("ceiling", "kept", "truncated"),
    [
        (0, b"", True),
        (4, b"abcd", True),
        (5, b"abcd", True),
        (6, b"abcdef", False),
        (99, b"abcdef", False),
    ],
)
def test_a_body_is_saved_up_to_a_limit(ceiling, kept, truncated):
    app = Piping(echo, body=SessionBody(save_up_to=ceiling))
    bench = http(app).receive(get("/", "Content-Length: 6", method="POST"))
    for piece in (b"ab", b"cd", b"ef"):
        bench.receive(piece)
    saved = app.states[0].saved_body
    assert (b"".join(saved.chunks), saved.truncated, saved.complete) == (kept, truncated, True)
    assert saved.size == len(kept)
    assert body_of(bench.out) == b"abcdef"


def test_saving_stops_at_the_first_piece_that_is_too_much():
    saved = SavedBody(5)
    for piece in (b"abc", b"defg", b"h"):
        saved.add(piece)
    assert saved.chunks == [b"abc"]
    assert saved.truncated


def test_memory_is_that_of_the_body_that_waits_and_of_what_is_saved():
    body = bytes(range(256)) * 16
    _, refusing = recording()
    app = Piping(refusing)
    bench = http(app).receive(get("/", f"Content-Length: {len(body)}", method="POST"))
    saved = SavedBody(len(body))
    with counting() as held:
        for piece in cut(body, 2):
            bench.receive(piece)
            saved.add(piece)
        assert held() < 2 * 1.5 * len(body) + 30_000
    [pipe] = app.pipes
    assert b"".join(task.data for task in pipe._inbox) == b"".join(saved.chunks) == body


def test_a_saved_body_is_sent_to_another_subrequest():
    class App(HttpServerApp):
        def process_new_http(self, session):
            refusing = whole(lambda request: Response(403, body=request.body))
            state = yield from PipeSubrequest(session, refusing, body=SessionBody(100), task_filter=lambda task: None)
            yield from PipeSubrequest(session, echo, body=state.saved_body.chunks)

    bench = http(App()).receive(post(b"hello"))
    assert (status_of(bench.out), body_of(bench.out)) == (200, b"hello")
    assert bench.log == []


# ── the filter ───────────────────────────────────────────────────────────────────────


def no_end(task):
    """Leaves the response open."""
    if isinstance(task, Header):
        task.head.remove("Content-Length")
        return Header(task.head, False)
    return Body(task.data) if isinstance(task, Body) else None


def shouting(task):
    return Body(task.data.upper(), task.end) if isinstance(task, Body) else None if isinstance(task, Trailer) else task


def doubling(task):
    if isinstance(task, Header):
        task.head.remove("Content-Length")
    return [Body(task.data), Body(task.data), Done()] if isinstance(task, Body) else task


@pytest.mark.parametrize(
    ("task_filter", "body"),
    [(None, b"hello"), (shouting, b"HELLO"), (doubling, b"5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n")],
)
def test_a_filter(task_filter, body):
    _, bench = piped(echo, post(b"hello"), task_filter=task_filter)
    assert body_of(bench.out) == body


def test_a_filter_may_leave_the_response_open():
    def then(session):
        session.write_response_body(b" and more")
        yield from ()

    _, bench = piped(echo, post(b"hello"), task_filter=no_end, then=then)
    assert body_of(bench.out) == b"5\r\nhello\r\n9\r\n and more\r\n0\r\n\r\n"
    assert bench.log == []


def test_a_filter_may_end_the_response_before_the_subrequest_does():
    handler, pipe_to = recording()
    app, bench = piped(pipe_to, task_filter=lambda task: Header(task.head, True))
    [asked] = handler.begun
    asked.session.write_response_header(ResponseHeader(200))
    bench.settle()
    assert status_of(bench.out) == 200
    assert app.states[0].error is None
    assert isinstance(asked.tasks[-1], Failed)
    assert not bench.held


def test_a_filter_that_raises():
    def broken(task):
        raise ValueError("broken")

    app, bench = piped(echo, task_filter=broken)
    assert status_of(bench.out) == 500
    assert "ValueError: broken" in bench.log[0]
    state = app.pipes[0].state
    assert state.error.etype is ErrorType.INTERNAL_ERROR
    assert not state.from_subrequest
    assert state.header_received


def test_a_response_that_the_client_cannot_be_sent():
    handler, pipe_to = recording()
    app, bench = piped(pipe_to, task_filter=lambda task: Done())
    handler.begun[0].session.write_response_header(ResponseHeader(200))
    bench.settle()
    assert status_of(bench.out) == 500
    assert not app.pipes[0].state.from_subrequest
    assert isinstance(handler.begun[0].tasks[-1], Failed)


def test_a_head_of_the_handlers_own_is_not_changed():
    head = ResponseHeader(200, [("Connection", "x"), ("X", "1"), ("Content-Length", "0")])
    _, pipe_to = recording(lambda session: session.write_response_header(head, end=True))
    _, bench = piped(pipe_to)
    assert b"Connection" not in bench.out
    assert head.get("connection") == b"x"


# ── what goes wrong ──────────────────────────────────────────────────────────────────


def test_a_subrequest_that_fails_before_it_answers():
    handler, pipe_to = recording()
    app, bench = piped(pipe_to)
    handler.begun[0].session.shutdown(FAULT)
    bench.settle()
    assert status_of(bench.out) == 500
    state = app.pipes[0].state
    assert state.error is FAULT
    assert state.from_subrequest
    assert not state.header_received
    assert app.states == []


def test_a_subrequest_that_fails_amid_its_answer():
    handler, pipe_to = recording()
    app, bench = piped(pipe_to)
    session = handler.begun[0].session
    session.write_response_header(ResponseHeader(200, [("Content-Length", "10")]))
    session.write_response_body(b"part")
    session.shutdown(FAULT)
    bench.settle()
    assert body_of(bench.out) == b"part"
    assert bench.connection.closing
    assert app.pipes[0].state.from_subrequest
    assert app.pipes[0].state.header_received


def test_an_application_may_answer_for_a_subrequest_that_failed():
    class App(HttpServerApp):
        def process_new_http(self, session):
            pipe = PipeSubrequest(session, pipe_to)
            try:
                yield from pipe
            except Error as error:
                assert error is pipe.state.error
                session.respond_error(504)

    handler, pipe_to = recording()
    bench = http(App()).receive(get())
    handler.begun[0].session.shutdown(FAULT)
    assert status_of(bench.settle().out) == 504
    assert bench.log == []


def test_a_client_that_leaves():
    handler, pipe_to = recording()
    app, bench = piped(pipe_to, post(b"hello")[:-2])
    bench.lose()
    [asked] = handler.begun
    assert isinstance(asked.tasks[-1], Failed)
    assert asked.session.closed is app.pipes[0].state.error
    assert app.states == []
    assert not bench.held
    assert bench.log == []


def test_a_pipe_that_its_callback_gives_up():
    class App(HttpServerApp):
        async def process_new_http(self, session):
            try:
                await PipeSubrequest(session, pipe_to)
            except Error:
                session.respond_error(504)

    handler, pipe_to = recording()
    bench = http(App()).receive(get()).run_calls()
    [exchange] = bench.held.values()
    exchange.behind.fail(0, Error(ErrorType.INTERNAL_ERROR, "timed out"), bench.now)
    bench.settle().run_calls()
    assert status_of(bench.out) == 504
    assert isinstance(handler.begun[0].tasks[-1], Failed)
    assert not bench.held


def test_a_pipe_is_used_once():
    class App(HttpServerApp):
        def process_new_http(self, session):
            pipe = PipeSubrequest(session, echo, task_filter=lambda task: None)
            yield from pipe
            yield from pipe

    bench = http(App()).receive(get())
    assert "a pipe runs once" in bench.log[0]


def test_a_pipe_behind_the_end():
    class App(HttpServerApp):
        def process_new_http(self, session):
            session.respond_error(404)
            yield from PipeSubrequest(session, echo)

    bench = http(App()).receive(get())
    assert "before its response is complete" in bench.log[0]


def test_a_pipe_for_a_client_that_has_left():
    exchange = KINDS["h1"](get_head(), True)
    exchange.session.closed = FAULT
    routines = Routines(Lane(), 0.0)
    pipe = PipeSubrequest(exchange.session, Handler())
    with pytest.raises(Error):
        pipe.begin(routines, 1)
    pipe.cancel()  # it never began
    exchange.session.closed = None
    with pytest.raises(LocalProtocolError):
        pipe.begin(object(), 1)


# ── credit ───────────────────────────────────────────────────────────────────────────


def test_a_client_that_reads_slowly_holds_up_the_subrequest():
    handler, pipe_to = recording()
    _, bench = piped(pipe_to)
    [asked] = handler.begun
    asked.session.write_response_header(ResponseHeader(200, [("Content-Length", "1000000")]))
    bench.settle().pause()
    sent = 0
    while asked.session.room > 0:
        asked.session.write_response_body(b"x" * 10_000)
        sent += 10_000
        bench.settle()
    assert sent <= 65_536 + 10_000
    assert bench.connection.held < 2 * 65_536
    assert not asked.rooms
    bench.unpause()
    assert asked.rooms
    while sent < 1_000_000:
        asked.session.write_response_body(b"x" * 10_000)
        sent += 10_000
        bench.settle()
    assert len(body_of(bench.out)) == 1_000_000
    assert not bench.held


def test_a_subrequest_that_reads_slowly_holds_up_the_client():
    handler, pipe_to = recording(lambda session: session.invite_body())
    _, bench = piped(pipe_to, get("/", "Content-Length: 300000", method="POST"))
    [asked] = handler.begun
    sent = 0
    while bench.connection.want_read:
        bench.receive(b"x" * 10_000)
        sent += 10_000
    assert sent <= 2 * 65_536 + 20_000
    while sent < 300_000 or sum(len(task.data) for task in asked.tasks):
        while asked.tasks:
            asked.session.consumed(len(asked.tasks.pop(0).data))
            bench.settle()
        while bench.connection.want_read and sent < 300_000:
            bench.receive(b"x" * 10_000)
            sent += 10_000
    assert asked.session.is_body_done()


@given(
    st.lists(st.binary(min_size=1, max_size=60), max_size=8),
    st.lists(st.binary(min_size=1, max_size=60), max_size=8),
    st.lists(st.sampled_from(["body", "answer", "pause", "unpause"]), max_size=60),
)
def test_whatever_the_order_all_of_it_passes(up, down, steps):
    handler, pipe_to = recording(lambda session: session.invite_body())
    app = Piping(pipe_to)
    bench = http(app, high_water=64).receive(get("/", f"Content-Length: {sum(map(len, up))}", method="POST"))
    [asked] = handler.begun
    session = asked.session
    session.write_response_header(ResponseHeader(200, [("Content-Length", str(sum(map(len, down)) + 1))]))
    bench.settle()
    got, answers, paused = b"", list(down), False
    bodies = list(up)

    def read():
        nonlocal got
        while asked.tasks:
            task = asked.tasks.pop(0)
            got += task.data
            session.consumed(len(task.data))
        bench.settle()

    for step in [*steps, "unpause", *["body", "answer"] * 40]:
        if step == "body" and bodies and bench.connection.want_read:
            bench.receive(bodies.pop(0))
        elif step == "answer" and answers and session.room > 0:
            session.write_response_body(answers.pop(0))
            bench.settle()
        elif step == "pause" and not paused:
            paused = bool(bench.pause())
        elif step == "unpause" and paused:
            paused = False
            bench.unpause()
        read()
    assert got == b"".join(up)
    assert answers == []
    session.write_response_body(b"!")
    bench.settle()
    assert body_of(bench.out) == b"".join(down) + b"!"
    assert len(app.states) == 1
    assert not bench.held


# ── tunnels ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("client_first", [False, True])
def test_an_upgrade_passes(client_first):
    handler, pipe_to = recording()
    app, bench = piped(pipe_to, get("/", "Connection: upgrade", "Upgrade: x"))
    [asked] = handler.begun
    asked.session.accept_upgrade("x")
    bench.settle()
    assert status_of(bench.take()) == 101
    bench.receive(b"up")
    asked.session.write_response_body(b"down")
    bench.settle()
    assert bench.take() == b"down"
    ends = [lambda: bench.receive(b""), lambda: (asked.session.finish_body(), bench.settle())]
    for end in ends if client_first else ends[::-1]:
        assert app.states == []
        end()
    assert asked.tasks == [UpgradedBody(b"up"), UpgradedBody(b"", True)]
    assert len(app.states) == 1
    assert bench.connection.closing
    assert not bench.held


def test_a_body_that_a_subrequest_cannot_be_sent():
    app = Piping(recording(lambda session: session.invite_body())[1])
    service = HttpService(app)
    exchange = KINDS["custom"](post_head(), False, handler=lambda lane: service.handler(lane, 0.0))
    exchange.feed(Trailer(Fields([("Content-Length", "1")])))
    assert exchange.received[0].head.status == 500
    assert not app.pipes[0].state.from_subrequest


# ── with draining ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("behind", [False, True])
def test_a_body_is_thrown_away_while_another_is_piped(behind):
    class App(HttpServerApp):
        def process_new_http(self, session):
            if behind:
                yield ReadBody()
            session.drain_request_body()
            yield from PipeSubrequest(session, echo, body=[b"other"], task_filter=no_end)
            ended.append((yield ReadBody()))

    ended = []
    bench = http(App()).receive(get("/", "Content-Length: 200000", method="POST"))
    for _ in range(20):
        assert bench.connection.want_read
        bench.receive(b"x" * 10_000)
    assert ended == [None]
    assert b"other" in body_of(bench.out)
    assert bench.log == []


# ── in a proxy ───────────────────────────────────────────────────────────────────────


class Gate(ProxyHttp):
    """Answers some requests by a subrequest."""

    def __init__(self, handler, **options):
        self.handler = handler
        self.options = options
        self.states = []

    def upstream_peer(self, session, ctx):
        from sansio_pingora.upstreams import HttpPeer

        return HttpPeer("127.0.0.1:9000")

    def request_filter(self, session, ctx):
        if session.req_header.path != b"/sub":
            return False
        self.states.append((yield from PipeSubrequest(session, self.handler, **self.options)))
        return True


@pytest.mark.parametrize("raw", [get("/sub"), post(b"hello", "/sub")], ids=["GET", "POST"])
def test_in_a_filter_of_a_proxy(raw):
    app = Gate(echo)
    bench = ProxyBench(app)
    client = bench.client()
    client.send(raw)
    assert body_of(client.take()) == (b"hello" if b"hello" in raw else b"")
    client.send(get("/other"))
    assert len(bench.origins) == 1
    assert len(app.states) == 1
    assert bench.errors == []


def test_to_the_proxy_itself():
    head = get_head(target="/other")
    app = Gate(PerLane(lambda lane, now: bench.acceptor._handler), head=head)
    bench = ProxyBench(app)
    client = bench.client()
    client.send(get("/sub"))
    assert bench.origin.take().startswith(b"GET /other HTTP/1.1\r\nHost: a.test\r\n")
    bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert body_of(client.take()) == b"ok"
    assert app.states[0].proxy_error is None


def test_to_a_proxy_that_fails():
    app = Gate(PerLane(lambda lane, now: bench.acceptor._handler), head=get_head(target="/other"))
    bench = ProxyBench(app)
    bench.dial_outcomes.append(FAULT)
    client = bench.client()
    client.send(get("/sub"))
    assert status_of(client.take()) == 502
    assert app.states[0].proxy_error.etype is ErrorType.CONNECT_REFUSED
    assert "(subrequest)" in bench.errors[0]


def test_a_client_of_a_proxy_that_leaves_amid_a_subrequest():
    handler, pipe_to = recording(lambda session: session.invite_body())
    app = Gate(pipe_to)
    bench = ProxyBench(app)
    client = bench.client()
    client.send(post(b"hello", "/sub")[:-1])
    client.reset()
    assert [type(task) for task in handler.begun[0].tasks] == [Body, Failed]
    assert app.states == []
    assert bench.exchanges[0].phase == "done"
