"""The one entry of streaming applications, in every form."""

import pytest

from sansio_pingora.apps import HttpServerApp, HttpService
from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.session import Call, Drain, ReadBody, Sleep, blocking
from sansio_pingora.wire import Body, Failed, Header, ResponseHeader
from tests.apps.bench import INFO, Bench, body_of, get, http, post, status_of
from tests.memory import counting, cut


def head(status=200, **fields):
    return ResponseHeader(status, [(name.replace("_", "-"), value) for name, value in fields.items()])


class PlainEcho(HttpServerApp):
    def process_new_http(self, session):
        session.write_response_header(head(), end=session.is_body_empty())

    def request_task(self, session, task):
        session.write_task(task)


class GeneratorEcho(HttpServerApp):
    def process_new_http(self, session):
        session.write_response_header(head())
        while (data := (yield ReadBody())) is not None:
            if session.write_response_body(data) <= 0:
                yield Drain()


class AsyncEcho(HttpServerApp):
    async def process_new_http(self, session):
        session.write_response_header(head())
        while (data := await ReadBody()) is not None:
            if session.write_response_body(data) <= 0:
                await Drain()


class HandedOver(HttpServerApp):
    def process_new_http(self, session):
        return GeneratorEcho().process_new_http(session)


ECHOES = [PlainEcho, GeneratorEcho, AsyncEcho, HandedOver]
WAITING = [GeneratorEcho, AsyncEcho, HandedOver]
CHUNKED = get("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"


def unchunked(out):
    body = body_of(out)
    result = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        result += body[:length]
        body = body[length + 2 :]
    return result


@pytest.mark.parametrize("app", ECHOES)
def test_every_form_answers_the_same(app):
    bench = http(app()).receive(CHUNKED).run_calls()

    assert status_of(bench.out) == 200
    assert unchunked(bench.out) == b"hello world"
    assert not bench.held
    assert bench.log == []


@pytest.mark.parametrize("app", ECHOES)
def test_every_form_byte_by_byte_and_again(app):
    bench = http(app())
    for _ in range(2):
        for at in range(len(CHUNKED)):
            bench.receive(CHUNKED[at : at + 1]).run_calls()
        assert unchunked(bench.take()) == b"hello world"
    assert not bench.held


@pytest.mark.parametrize("app", ECHOES)
def test_back_pressure_reaches_the_client(app):
    """A client that sends and does not read is stopped; when it reads, all of it arrives."""
    bench = http(app(), high_water=1000)
    bench.receive(get("/", "Content-Length: 100000", method="POST")).run_calls()
    bench.pause()
    fed = 0
    while bench.connection.want_read:
        bench.receive(b"x" * 500).run_calls()
        fed += 500
        assert fed < 10_000
    assert bench.connection.held < 3000

    bench.unpause().run_calls()
    while fed < 100_000:
        assert bench.connection.want_read
        bench.receive(b"x" * 500).run_calls()
        fed += 500
    assert unchunked(bench.out) == b"x" * 100_000


@pytest.mark.parametrize("app", WAITING)
def test_reading_invites_a_waiting_client(app):
    class Late(app):
        pass

    bench = http(Late()).receive(get("/", "Content-Length: 2", "Expect: 100-continue", method="POST")).run_calls()
    # These answer before they read: the final head is invitation enough, and a 100 behind it would be illegal.
    assert bench.take().startswith(b"HTTP/1.1 200")


def test_reading_first_sends_a_100():
    class App(HttpServerApp):
        def process_new_http(self, session):
            data = yield ReadBody()
            session.write_response_header(head(Content_Length="2"))
            session.write_response_body(data)

    bench = http(App()).receive(get("/", "Content-Length: 2", "Expect: 100-continue", method="POST"))
    assert bench.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert body_of(bench.receive(b"ok").take()) == b"ok"


def test_a_plain_application_invites_when_it_has_not_answered():
    class App(HttpServerApp):
        def process_new_http(self, session):
            pass

        def request_task(self, session, task):
            session.respond_error(403)

    bench = http(App()).receive(get("/", "Content-Length: 2", "Expect: 100-continue", method="POST"))
    assert bench.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert status_of(bench.receive(b"ok").take()) == 403


def test_bodies_end_with_none_however_often_one_asks():
    seen = []

    class App(HttpServerApp):
        def process_new_http(self, session):
            for _ in range(4):
                seen.append((yield ReadBody()))
            session.respond_error(204)

    http(App()).receive(post(b"abc"))
    assert seen == [b"abc", None, None, None]


def test_drain_waits_for_room():
    class App(HttpServerApp):
        def process_new_http(self, session):
            session.write_response_header(head())
            for _ in range(10):
                if session.write_response_body(b"x" * 600) <= 0:
                    yield Drain()

    bench = http(App(), high_water=1000)
    bench.pause()
    bench.receive(get())
    assert bench.connection.held < 2000
    bench.unpause()
    assert unchunked(bench.out) == b"x" * 6000


def test_drain_after_the_end_waits_for_nothing():
    ended = []

    class App(HttpServerApp):
        def process_new_http(self, session):
            session.write_response_header(head())
            session.write_response_body(b"x" * 6000, end=True)
            yield Drain()
            ended.append(True)

    bench = http(App(), high_water=1000)
    bench.pause()
    bench.receive(get())
    assert ended == [True]
    assert not bench.held


def test_sleeping_is_virtual_time():
    class App(HttpServerApp):
        def process_new_http(self, session):
            yield Sleep(5)
            session.respond_error(204)

    bench = http(App()).receive(get())
    assert bench.sleep(4.9).out == b""
    assert status_of(bench.sleep(0.2).out) == 204


def test_calls_run_off_the_lane():
    class App(HttpServerApp):
        def process_new_http(self, session):
            result = yield Call(lambda: 40 + 2)
            session.write_response_header(head(result + 200), end=True)

    bench = http(App()).receive(get())
    assert bench.out == b""
    assert status_of(bench.run_calls().out) == 242


# ── ends ─────────────────────────────────────────────────────────────────────────────


class Scripted(HttpServerApp):
    """Does what a function says, as a generator."""

    def __init__(self, script):
        self.script = script

    def process_new_http(self, session):
        yield from ()
        self.script(session)


class ScriptedPlain(Scripted):
    def process_new_http(self, session):
        self.script(session)


class ScriptedAsync(Scripted):
    async def process_new_http(self, session):
        self.script(session)


SCRIPTED = [Scripted, ScriptedPlain, ScriptedAsync]


def fail(session):
    raise ZeroDivisionError("by nothing")


def fail_amid(session):
    session.write_response_header(head())
    session.write_response_body(b"half")
    fail(session)


@pytest.mark.parametrize("app", SCRIPTED)
def test_an_exception_is_answered_with_500_and_logged_with_its_traceback(app):
    bench = http(app(fail)).receive(get("/path")).run_calls()

    assert status_of(bench.out) == 500
    assert not bench.held
    (line,) = bench.log
    assert app.__name__ in line
    assert "GET /path" in line
    assert "in fail" in line
    assert line.endswith("ZeroDivisionError: by nothing")


@pytest.mark.parametrize("app", SCRIPTED)
def test_an_exception_amid_the_answer_breaks_it_off(app):
    bench = http(app(fail_amid)).receive(get()).run_calls()

    assert unchunked(bench.out + b"0\r\n\r\n") == b"half"
    assert not bench.out.endswith(b"0\r\n\r\n")
    assert bench.connection.closing
    assert "ZeroDivisionError" in bench.log[0]


@pytest.mark.parametrize("app", SCRIPTED)
def test_an_error_with_a_status_is_an_answer(app):
    def script(session):
        raise Error.http_status(404)

    bench = http(app(script)).receive(get()).run_calls()
    assert status_of(bench.out) == 404
    assert bench.log == []


@pytest.mark.parametrize("app", SCRIPTED)
def test_an_error_with_a_status_of_ours_is_logged_as_well(app):
    def script(session):
        raise Error.http_status(503, "the database is away")

    bench = http(app(script)).receive(get()).run_calls()
    assert status_of(bench.out) == 503
    assert "the database is away" in bench.log[0]


@pytest.mark.parametrize("where", ["request_task", "writable"])
def test_an_exception_in_a_later_callback(where):
    class App(HttpServerApp):
        def process_new_http(self, session):
            session.write_response_header(head())
            session.write_response_body(b"x" * 2000)

    def fail_later(self, session, *task):
        fail(session)

    setattr(App, where, fail_later)
    bench = http(App(), high_water=1000)
    bench.pause()
    bench.receive(get("/", "Content-Length: 1", method="POST"))
    if where == "writable":
        bench.unpause()
    else:
        bench.receive(b"x")
    assert "ZeroDivisionError" in bench.log[0]
    assert bench.connection.closing
    assert not bench.held


@pytest.mark.parametrize("app", SCRIPTED)
def test_no_answer_is_500(app):
    bench = http(app(lambda session: None)).receive(get()).run_calls()

    assert status_of(bench.out) == 500
    assert "without a response" in bench.log[0]


@pytest.mark.parametrize("app", SCRIPTED)
def test_an_answer_that_has_begun_is_ended(app):
    bench = http(app(lambda session: session.write_response_header(head()))).receive(get()).run_calls()

    assert unchunked(bench.out) == b""
    assert bench.out.endswith(b"0\r\n\r\n")
    assert not bench.connection.closing
    assert bench.log == []


@pytest.mark.parametrize("app", SCRIPTED)
def test_an_answer_that_is_too_short_is_cut(app):
    def script(session):
        session.write_response_header(head(Content_Length="10"))
        session.write_response_body(b"four")

    bench = http(app(script)).receive(get()).run_calls()
    assert body_of(bench.out) == b"four"
    assert bench.connection.closing
    assert "6 bytes short" in bench.log[0]


def test_the_next_request_is_served_after_an_error():
    bench = http(Scripted(fail)).receive(get() + get())
    bench.sleep(0)
    assert bench.out.count(b"HTTP/1.1 500") == 2


def test_reading_after_the_answer_is_refused():
    seen = []

    class App(HttpServerApp):
        def process_new_http(self, session):
            session.respond_error(403)
            try:
                yield ReadBody()
            except LocalProtocolError as exc:
                seen.append(str(exc))

    bench = http(App()).receive(get("/", "Content-Length: 5", method="POST"))
    assert "the response is complete" in seen[0]
    assert not bench.held


# ── the client leaves ────────────────────────────────────────────────────────────────


class Waits(HttpServerApp):
    """Waits for *effect*, and notes what comes of it."""

    def __init__(self, effect):
        self.effect = effect
        self.seen = []

    def process_new_http(self, session):
        try:
            yield self.effect
        except Error as exc:
            self.seen.append(exc)
            session.write_response_header(head())
            session.write_response_body(b"to nobody", end=True)
            raise
        finally:
            self.seen.append("finally")


class WaitsAsync(Waits):
    async def process_new_http(self, session):
        try:
            await self.effect
        except Error as exc:
            self.seen.append(exc)
            session.write_response_header(head())
            raise
        finally:
            self.seen.append("finally")


EFFECTS = [ReadBody(), Sleep(100), Call(lambda: None)]


@pytest.mark.parametrize("effect", EFFECTS, ids=["read", "sleep", "call"])
@pytest.mark.parametrize("app", [Waits, WaitsAsync])
def test_the_error_is_raised_where_it_waits(app, effect):
    app = app(effect)
    bench = http(app).receive(get("/", "Content-Length: 5", method="POST"))
    bench.run_calls(only_async=True)
    gone = Error(ErrorType.READ_ERROR, "reset by peer")
    bench.lose(gone).run_calls()

    assert app.seen == [gone, "finally"]
    assert bench.out == b""
    assert bench.log == []
    assert not bench.held


def test_another_fault_of_a_callback_whose_client_left_is_logged():
    class App(HttpServerApp):
        def process_new_http(self, session):
            try:
                yield ReadBody()
            except Error:
                raise ZeroDivisionError from None

    bench = http(App()).receive(get("/", "Content-Length: 5", method="POST")).lose()
    assert "ZeroDivisionError" in bench.log[0]


@pytest.mark.parametrize("effect", [ReadBody(), Drain()], ids=["read", "drain"])
def test_waiting_again_raises_again(effect):
    seen = []

    class App(HttpServerApp):
        def process_new_http(self, session):
            for wanted in (ReadBody(), effect, effect):
                try:
                    yield wanted
                except Error as exc:
                    seen.append(exc)

    gone = Error(ErrorType.READ_ERROR, "reset by peer")
    http(App()).receive(get("/", "Content-Length: 5", method="POST")).lose(gone)
    assert seen == [gone] * 3


def test_cleaning_up_may_wait():
    seen = []

    class App(HttpServerApp):
        def process_new_http(self, session):
            try:
                yield ReadBody()
            finally:
                yield Sleep(1)
                seen.append("clean")

    bench = http(App()).receive(get("/", "Content-Length: 5", method="POST")).lose()
    assert seen == []
    bench.sleep(2)
    assert seen == ["clean"]


def test_a_plain_application_is_told():
    tasks = []

    class App(HttpServerApp):
        def process_new_http(self, session):
            pass

        def request_task(self, session, task):
            tasks.append(task)

    bench = http(App()).receive(get("/", "Content-Length: 5", method="POST") + b"abc").lose()
    assert [type(task) for task in tasks] == [Body, Failed]
    assert not bench.held
    assert bench.log == []


# ── forms ────────────────────────────────────────────────────────────────────────────


def test_blocking_is_refused():
    @blocking
    class App(HttpServerApp):
        def process_new_http(self, session):
            pass

    with pytest.raises(TypeError, match=r"App\.process_new_http is marked @blocking.*ServeHttp"):
        HttpService(App())


def test_async_def_is_refused_where_nothing_awaits():
    with pytest.raises(TypeError, match=r"AsyncEcho\.process_new_http is async def.*threads"):
        HttpService(AsyncEcho()).check("threads", can_await=False)


def test_an_async_generator_is_refused():
    class App(HttpServerApp):
        async def process_new_http(self, session):
            yield

    with pytest.raises(TypeError, match="async generator"):
        HttpService(App())


def test_what_is_no_application_says_so():
    bench = http(HttpServerApp()).receive(get())
    assert status_of(bench.out) == 500
    assert "must override process_new_http" in bench.log[0]


async def _coroutine():
    pass


@pytest.mark.parametrize("value", [lambda: 42, _coroutine], ids=["number", "coroutine"])
def test_a_plain_entry_returns_none_or_a_generator(value):
    class App(HttpServerApp):
        def process_new_http(self, session):
            return value()

    bench = http(App()).receive(get())
    assert status_of(bench.out) == 500
    assert "return None, or a generator of effects" in bench.log[0]


def test_an_unknown_effect_is_raised_where_it_was_awaited():
    class App(HttpServerApp):
        async def process_new_http(self, session):
            with pytest.raises(LocalProtocolError, match="no effect that can be awaited here"):
                await Unknown(1)
            session.respond_error(204)

    class Unknown(Sleep):
        pass

    bench = http(App()).receive(get()).run_calls()
    assert status_of(bench.out) == 204


# ── tunnels ──────────────────────────────────────────────────────────────────────────

UPGRADE = get("/", "Connection: upgrade", "Upgrade: echo")
SWITCH = Header(ResponseHeader(101, [("Connection", "upgrade"), ("Upgrade", "echo")]), False)


class PlainTunnel(HttpServerApp):
    def process_new_http(self, session):
        session.write_task(SWITCH)

    def request_task(self, session, task):
        session.write_task(task)


class GeneratorTunnel(HttpServerApp):
    def process_new_http(self, session):
        session.write_task(SWITCH)
        while (data := (yield ReadBody())) is not None:
            session.write_response_body(data)


@pytest.mark.parametrize("app", [PlainTunnel, GeneratorTunnel])
def test_a_tunnel_goes_on_until_both_sides_end(app):
    bench = http(app()).receive(UPGRADE)
    assert status_of(bench.take()) == 101
    for word in (b"one", b"two"):
        assert bench.receive(word).take() == word
    bench.receive(b"")
    assert bench.connection.shut_write or bench.connection.closing
    assert not bench.held
    assert bench.log == []


def test_a_tunnel_whose_callback_ends_is_closed_behind_its_output():
    class App(HttpServerApp):
        def process_new_http(self, session):
            session.write_task(SWITCH)
            session.write_response_body((yield ReadBody()))

    bench = http(App()).receive(UPGRADE)
    bench.take()
    assert bench.receive(b"once").take() == b"once"
    assert bench.connection.closing
    assert not bench.held


def test_draining_lets_an_exchange_finish():
    bench = Bench(HttpService(GeneratorEcho()))
    bench.receive(get("/", "Content-Length: 2", method="POST"))
    bench.acceptor.drain(bench.now)
    bench.receive(b"ok")
    assert unchunked(bench.out) == b"ok"


def test_dates_follow_a_clock_that_is_set_from_the_next_connection_on():
    bench = Bench(HttpService(PlainEcho()))
    first = bench.receive(get()).out
    bench.lane.wall_offset += 86_400.0
    bench.out = b""
    again = bench.receive(get()).out
    bench.endpoint = bench.acceptor.accept(INFO, bench.now)
    bench.connection = bench.endpoint.connection
    bench.lane.attach(bench.endpoint)
    bench.out = b""
    following = bench.receive(get()).out
    assert b"\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\n" in first
    assert again == first
    assert b"\r\nDate: Mon, 10 Sep 2001 01:46:40 GMT\r\n" in following


def test_memory_is_that_of_the_body_that_is_not_read_yet():
    class Later(HttpServerApp):
        def process_new_http(self, session):
            yield Sleep(1)
            body = b""
            while (data := (yield ReadBody())) is not None:
                body += data
            session.write_response_header(head(content_length=str(len(body))))
            session.write_response_body(body, True)

    body = bytes(range(256)) * 16
    bench = http(Later()).receive(get("/", f"Content-Length: {len(body)}", method="POST"))
    with counting() as held:
        for piece in cut(body, 2):
            bench.receive(piece)
        assert held() < 1.5 * len(body) + 30_000
    assert body_of(bench.sleep(1).out) == body
