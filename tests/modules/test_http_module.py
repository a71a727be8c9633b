"""Modules in order, on requests, responses and trailers, downstream and upstream."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, LocalProtocolError
from sansio_pingora.modules import HttpModule, HttpModules
from sansio_pingora.proxy import HttpProxy
from sansio_pingora.session import Sleep, blocking
from tests.proxy.harness import GET, OK, App, Bench, chunked, dechunk, head_of, post, status_of

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"hi", trailers=b"X-Sum: 1\r\n")


class Noted(HttpModule):
    """Writes down what it sees, and brackets bodies by its name."""

    name = b"?"
    seen: list

    def _note(self, what):
        self.seen.append(f"{self.name.decode()} {what}")

    def request_header_filter(self, session, request):
        self._note(f"request {request.target.decode()}")

    def response_header_filter(self, session, response, end_of_stream):
        self._note(f"response {response.status} {end_of_stream}")
        response.fields.remove("content-length")

    def response_body_filter(self, session, body, end_of_stream):
        self._note(f"response body {body!r} {end_of_stream}")
        return self.name + body

    def done(self, session):
        self._note("done")


class WithBody(Noted):
    def request_body_filter(self, session, body, end_of_stream):
        self._note(f"request body {body!r} {end_of_stream}")
        return self.name + body


def noted(name, seen, base=WithBody, **members):
    return type(f"Noted{name}", (base,), {"name": name.encode(), "seen": seen, **members})


class Moduled(App):
    def __init__(self, downstream=(), upstream=()):
        super().__init__()
        self.downstream, self.upstream = downstream, upstream

    def init_downstream_modules(self, modules):
        for module in self.downstream:
            modules.add_module(module)

    def init_upstream_modules(self, modules):
        for module in self.upstream:
            modules.add_module(module)

    def upstream_request_filter(self, session, request, ctx):
        request.remove("content-length")


def test_the_way_of_an_exchange_through_modules():
    seen = []
    app = Moduled(
        [noted("a", seen, order=-1), noted("b", seen, order=1)],
        [noted("c", seen, Noted), noted("d", seen, Noted)],
    )
    bench = Bench(app)
    client = bench.client()
    client.send(post(3))
    assert seen == [
        "b request /",
        "a request /",
        "c request /",
        "d request /",
        "b request body b'xxx' True",
        "a request body b'bxxx' True",
    ]
    assert bench.origin.take().endswith(b"5\r\nabxxx\r\n0\r\n\r\n")
    seen.clear()
    bench.origin.send(OK)
    assert seen == [
        "c response 200 False",
        "d response 200 False",
        "b response 200 False",
        "a response 200 False",
        "c response body b'ok' True",
        "d response body b'cok' True",
        "b response body b'dcok' True",
        "a response body b'bdcok' True",
        "c done",
        "d done",
        "b done",
        "a done",
    ]
    assert dechunk(head_of(client.take())[2]) == (b"abdcok", b"\r\n")
    assert app.ended[0][0].body_bytes_sent == 6
    bench.assert_clean()


def test_each_exchange_has_modules_of_its_own():
    class Once(HttpModule):
        count = 0

        def request_header_filter(self, session, request):
            self.count += 1
            session.req_header.insert("x-count", str(self.count))

    bench = Bench(Moduled([Once]))
    client = bench.client()
    for _ in range(2):
        client.send(GET)
        assert b"x-count: 1\r\n" in bench.origin.take()
        bench.origin.send(OK)
    bench.assert_clean()


def test_each_attempt_has_upstream_modules_of_its_own():
    made = []

    class Once(HttpModule):
        def __init__(self):
            made.append(self)
            self.dones = 0

        def request_header_filter(self, session, request):
            request.insert("x-attempt", str(len(made)))

        def done(self, session):
            self.dones += 1

    bench = Bench(Moduled(upstream=[Once]))
    client = bench.client()
    client.send(GET)
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    client.send(GET)
    bench.origin.eof()  # a pooled connection that died: once more
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    assert [module.dones for module in made] == [0, 1, 1, 1]  # the first was made to look at
    assert bench.origin.take() == b"GET / HTTP/1.1\r\nHost: a.test\r\nx-attempt: 4\r\n\r\n"


# ── answers ──────────────────────────────────────────────────────────────────────────


def test_downstream_modules_see_every_answer():
    seen = []

    class Answers(Moduled):
        def request_filter(self, session, ctx):
            if session.req_header.target == b"/own":
                return session.respond_error_with_body(403, b"no")
            raise ValueError("a bug")

    bench = Bench(Answers([noted("a", seen)]))
    client = bench.client()
    client.send(b"GET /own HTTP/1.1\r\nHost: a\r\n\r\n")
    assert dechunk(head_of(client.take())[2])[0] == b"ano"
    client.send(b"GET /fails HTTP/1.1\r\nHost: a\r\n\r\n")
    assert status_of(client.take()) == 500
    assert [line for line in seen if "response" in line] == [
        "a response 403 False",
        "a response body b'no' True",
        "a response 500 True",
    ]


def test_a_module_that_answers():
    class Refuses(HttpModule):
        def request_header_filter(self, session, request):
            return session.respond_error(429)

    bench = Bench(app := Moduled([Refuses]))
    client = bench.client()
    client.send(GET)
    assert status_of(client.take()) == 429
    assert bench.dials == []
    assert app.ended[0][1] is None
    bench.assert_clean()


def test_a_module_that_says_so_and_does_not():
    class Lies(HttpModule):
        def request_header_filter(self, session, request):
            return True

    bench = Bench(Moduled([Lies]))
    client = bench.client()
    client.send(GET)
    assert status_of(client.take()) == 500
    assert "Lies.request_header_filter returned True but wrote no response" in bench.errors[0]


def test_an_answer_without_a_body_made_of_one_with():
    class NotModified(HttpModule):
        def response_header_filter(self, session, response, end_of_stream):
            response.set_status(304)

    bench = Bench(app := Moduled([NotModified]))
    client = bench.client()
    client.send(GET + GET)
    for _ in range(2):
        bench.origin.send(OK)
    assert client.take().count(b"HTTP/1.1 304 Not Modified\r\n") == 2
    assert app.ended[0][0].body_bytes_sent == 0
    bench.assert_clean()


def test_a_tunnel_passes_untouched():
    seen = []
    bench = Bench(Moduled([noted("a", seen)]))
    client = bench.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
    bench.origin.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nraw")
    assert client.take().endswith(b"\r\n\r\nraw")
    assert seen == ["a request /"]


# ── trailers ─────────────────────────────────────────────────────────────────────────


def summing(self, session, trailers):
    return b"sum=" + trailers.get("x-sum")


@pytest.mark.parametrize("side", ["downstream", "upstream"])
def test_trailers_that_become_body_are_body_to_the_modules_behind(side):
    seen = []
    modules = [
        noted("a", seen, Noted),
        noted("b", seen, Noted, response_trailer_filter=summing),
        noted("c", seen, Noted),
    ]
    bench = Bench(Moduled(**{side: modules}))
    client = bench.client()
    client.send(GET)
    bench.origin.send(CHUNKED)
    assert dechunk(head_of(client.take())[2]) == (b"cbahicbasum=1", b"\r\n")
    assert [line for line in seen if "body" in line][3:] == [
        "a response body b'' True",
        "b response body b'a' True",
        "c response body b'basum=1' True",
    ]
    bench.assert_clean()


@pytest.mark.parametrize("side", ["downstream", "upstream"])
def test_trailers_that_a_module_changes(side):
    class Adds(HttpModule):
        def response_trailer_filter(self, session, trailers):
            trailers.append("x-more", "2")

    bench = Bench(Moduled(**{side: [Adds]}))
    client = bench.client()
    client.send(GET)
    bench.origin.send(CHUNKED)
    assert dechunk(head_of(client.take())[2]) == (b"hi", b"X-Sum: 1\r\nx-more: 2\r\n\r\n")


# ── faults ───────────────────────────────────────────────────────────────────────────

RAISING = {
    "downstream": ["request_header_filter", "request_body_filter", "response_header_filter", "response_body_filter"],
    "upstream": ["request_header_filter", "response_header_filter", "response_body_filter"],
}


@pytest.mark.parametrize("raised", [ValueError("a bug"), Error.http_status(418)], ids=["exception", "error"])
@pytest.mark.parametrize(("side", "phase"), [(side, phase) for side in RAISING for phase in RAISING[side]])
def test_a_module_that_raises(side, phase, raised):
    def fails(self, session, *args):
        raise raised

    module = type("Fails", (HttpModule,), {phase: fails})
    bench = Bench(app := Moduled(**{side: [module]}))
    client = bench.client()
    client.send(post(3))
    if bench.origins and bench.origin.alive:
        bench.origin.send(OK)
    answer = client.take()
    if phase == "response_body_filter":
        assert answer.endswith(b"\r\n\r\n")
        assert client.closed
    else:
        assert status_of(answer) == (500 if isinstance(raised, ValueError) else 418)
    [(_, error)] = app.ended
    assert error.root_cause is raised
    assert len(bench.errors) == 1
    bench.assert_clean()


def test_done_that_raises_is_reported_and_no_more():
    class Fails(HttpModule):
        def done(self, session):
            raise ValueError("a bug")

    bench = Bench(app := Moduled([Fails]))
    client = bench.client()
    client.send(GET)
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    assert "done of a module raised" in bench.errors[0]
    assert app.ended[0][1] is None
    bench.assert_clean()


def test_done_is_called_however_it_ends():
    for end in ("reset", "refused", "raises"):
        seen = []

        class Ends(Moduled):
            def request_filter(self, session, ctx, end=end):
                if end == "raises":
                    raise ValueError

        bench = Bench(Ends([noted("a", seen)]))
        if end == "refused":
            bench.dial_outcomes.append(Error.http_status(503))
        client = bench.client()
        client.send(GET)
        if end == "reset":
            client.reset()
        assert seen.count("a done") == 1
        bench.assert_clean()


def test_bytes_are_demanded():
    class Text(HttpModule):
        def response_body_filter(self, session, body, end_of_stream):
            return "text"

    bench = Bench(Moduled([Text]))
    client = bench.client()
    client.send(GET)
    bench.origin.send(OK)
    assert "Text.response_body_filter returned str" in bench.errors[0]


# ── forms ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("side", ["downstream", "upstream"])
def test_filters_that_wait(side):
    waited = []

    class Waits(HttpModule):
        def request_header_filter(self, session, request):
            yield Sleep(1)
            waited.append("request")
            request.insert("x-waited", "1")

    class Blocks(HttpModule):
        @blocking
        def request_header_filter(self, session, request):
            waited.append("blocking")

    class Responds(HttpModule):
        async def response_header_filter(self, session, response, end_of_stream):
            await Sleep(1)
            waited.append("response")

        def response_body_filter(self, session, body, end_of_stream):
            yield Sleep(1)
            return body * 2

        def response_trailer_filter(self, session, trailers):
            yield Sleep(1)
            trailers.append("x-waited", "1")

    modules = [Waits, Blocks, *([Responds] if side == "upstream" else [])]
    bench = Bench(Moduled(**{side: modules}))
    client = bench.client()
    client.send(GET)
    bench.advance(1)
    assert b"x-waited: 1" in bench.origin.take()
    bench.origin.send(CHUNKED)
    bench.advance(10)
    expected = (b"hi", b"X-Sum: 1\r\n\r\n") if side == "downstream" else (b"hihi", b"X-Sum: 1\r\nx-waited: 1\r\n\r\n")
    assert dechunk(head_of(client.take())[2]) == expected
    assert waited[:2] == ["request", "blocking"]
    bench.assert_clean()


async def waits(self, session, *args):
    pass


@pytest.mark.parametrize(
    ("side", "name"),
    [
        ("downstream", "response_header_filter"),
        ("downstream", "response_body_filter"),
        ("downstream", "response_trailer_filter"),
        ("downstream", "done"),
        ("upstream", "done"),
    ],
)
def test_what_must_not_wait(side, name):
    with pytest.raises(TypeError, match=rf"Waits\.{name} must not wait"):
        HttpProxy(Moduled(**{side: [type("Waits", (HttpModule,), {name: waits})]}))


@pytest.mark.parametrize(
    ("side", "name"), [("downstream", "request_header_filter"), ("upstream", "response_body_filter")]
)
def test_a_runtime_that_cannot_await(side, name):
    proxy = HttpProxy(Moduled(**{side: [type("Waits", (HttpModule,), {name: waits})]}))
    proxy.check("asyncio", can_await=True)
    with pytest.raises(TypeError, match=rf"Waits\.{name} is async def, which the threads runtime cannot run"):
        proxy.check("threads", can_await=False)


# ── the registry ─────────────────────────────────────────────────────────────────────


def test_a_request_body_has_no_place_upstream():
    with pytest.raises(TypeError, match="register it downstream"):
        HttpModules(upstream=True).add_module(WithBody)


@pytest.mark.parametrize("make", [object, lambda: None])
def test_not_a_module(make):
    with pytest.raises(TypeError, match="give an HttpModule"):
        HttpModules().add_module(make)


def test_one_of_each_class():
    modules = HttpModules()
    modules.add_module(Noted)
    with pytest.raises(LocalProtocolError, match="Noted is registered already"):
        modules.add_module(Noted)


def test_none_is_added_later():
    modules = HttpModules()
    modules.filters("done")
    with pytest.raises(LocalProtocolError, match="at start"):
        modules.add_module(Noted)


def test_order_of_the_registration_wins_and_equals_keep_their_places():
    kinds = [noted(name, []) for name in "abcd"]
    modules = HttpModules()
    for kind, order in zip(kinds, (None, 5, -3, None), strict=True):
        modules.add_module(kind, order=order)
    assert [found.at for found in modules.filters("done")] == [0, 1, 2, 3]
    ctx = modules.build_ctx()
    assert [type(module) for module in ctx.modules] == [kinds[1], kinds[0], kinds[3], kinds[2]]
    assert ctx.get(kinds[2]) is ctx.modules[3]
    assert ctx.get(HttpModule) is None
