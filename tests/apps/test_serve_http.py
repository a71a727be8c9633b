"""Handlers of whole requests."""

from functools import partial

import pytest

from sansio_pingora.apps import HttpService, Request, Response, ServeHttp
from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.modules import HttpModule, ResponseCompression
from sansio_pingora.session import Call, Sleep, blocking
from tests.apps.bench import CLIENT, body_of, get, http, post, status_of


def plain(request):
    return Response(200, f"{request.method} {request.path} {request.query} ".encode() + request.body)


@blocking
def marked(request):
    return plain(request)


async def awaited(request):
    await Sleep(0)
    return plain(request)


def generated(request):
    return plain((yield Call(lambda: request)))


class Handler:
    def __call__(self, request):
        return plain(request)


FORMS = [plain, marked, awaited, generated, Handler()]


@pytest.mark.parametrize("handler", FORMS, ids=["plain", "blocking", "async", "generator", "object"])
@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (get("/a?b=c"), b"GET /a b=c "),
        (post(b"hello", "/a"), b"POST /a  hello"),
        (post(b"", "/a"), b"POST /a  "),
        (
            get("/", "Transfer-Encoding: chunked", method="PUT") + b"2\r\nab\r\n1\r\nc\r\n0\r\nX-T: 1\r\n\r\n",
            b"PUT /  abc",
        ),
    ],
    ids=["bodiless", "length", "empty", "chunked"],
)
def test_every_form(handler, raw, body):
    bench = http(ServeHttp(handler)).receive(raw).run_calls().sleep(0).run_calls()

    assert status_of(bench.out) == 200
    assert body_of(bench.out) == body
    assert not bench.held


def test_head_gets_no_body():
    bench = http(ServeHttp(plain)).receive(get("/", method="HEAD"))
    assert body_of(bench.out) == b""
    assert b"Content-Length: 8\r\n" in bench.out


def test_pipelined_requests_are_answered_in_order():
    bench = http(ServeHttp(plain)).receive(get("/1") + post(b"x", "/2") + get("/3")).sleep(0)
    assert [bench.out.find(path) for path in (b"/1", b"/2 ", b"/3")] == sorted(
        bench.out.find(path) for path in (b"/1", b"/2 ", b"/3")
    )
    assert bench.out.count(b"HTTP/1.1 200") == 3


# ── where a plain handler runs ───────────────────────────────────────────────────────


def test_a_plain_handler_runs_in_place_where_code_awaits():
    assert http(ServeHttp(plain), can_await=True).receive(get()).calls == []


def test_a_plain_handler_runs_off_the_lane_where_code_blocks():
    bench = http(ServeHttp(plain), can_await=False).receive(get())
    assert len(bench.calls) == 1
    assert bench.out == b""
    assert status_of(bench.run_calls().out) == 200


def test_an_inline_handler_runs_in_place_everywhere():
    assert http(ServeHttp(plain, inline=True), can_await=False).receive(get()).calls == []


def test_inline_is_for_plain_handlers():
    with pytest.raises(TypeError, match="awaited is async and cannot run inline"):
        ServeHttp(awaited, inline=True)


def test_async_def_is_refused_where_nothing_awaits():
    with pytest.raises(TypeError, match="awaited is async def, which the gevent runtime cannot run"):
        HttpService(ServeHttp(awaited)).check("gevent", can_await=False)


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="cannot be called"):
        ServeHttp(42)


# ── ceilings and faults ──────────────────────────────────────────────────────────────


def test_a_declared_body_that_is_too_large_is_refused_unread():
    bench = http(ServeHttp(plain), max_buffered_body=10).receive(
        get("/", "Content-Length: 11", "Expect: 100-continue", method="POST")
    )
    assert status_of(bench.out) == 413
    assert not bench.held
    assert bench.log == []


def test_a_chunked_body_that_is_too_large_is_refused():
    bench = http(ServeHttp(plain), max_buffered_body=10)
    bench.receive(get("/", "Transfer-Encoding: chunked", method="POST") + b"a\r\n0123456789\r\n")
    assert bench.out == b""
    assert status_of(bench.receive(b"1\r\nx\r\n").out) == 413


def test_a_body_of_the_ceiling_is_fine():
    bench = http(ServeHttp(plain), max_buffered_body=10).receive(post(b"0123456789"))
    assert status_of(bench.out) == 200


@pytest.mark.parametrize("can_await", [True, False])
@pytest.mark.parametrize("raw", [get("/x"), post(b"abc", "/x")], ids=["get", "post"])
def test_an_exception_is_500_and_one_record_with_its_traceback(raw, can_await):
    def handler(request):
        raise ZeroDivisionError("by nothing")

    bench = http(ServeHttp(handler), can_await=can_await).receive(raw).run_calls()
    assert status_of(bench.out) == 500
    (line,) = bench.log
    assert "in handler" in line
    assert line.endswith("ZeroDivisionError: by nothing")
    assert not bench.held


def test_an_error_with_a_status_is_an_answer():
    def handler(request):
        raise Error.http_status(418)

    bench = http(ServeHttp(handler)).receive(get())
    assert status_of(bench.out) == 418
    assert bench.log == []


@pytest.mark.parametrize("raw", [get(), post(b"abc")], ids=["get", "post"])
def test_only_a_response_is_a_response(raw):
    bench = http(ServeHttp(lambda request: "text")).receive(raw)
    assert status_of(bench.out) == 500
    assert "returned str: return a Response" in bench.log[0]


def test_a_client_that_leaves_meanwhile():
    bench = http(ServeHttp(plain), can_await=False).receive(get())
    bench.lose(Error(ErrorType.READ_ERROR, "reset")).run_calls()
    assert not bench.held
    assert bench.out == b""
    assert bench.log == []


def test_one_response_may_answer_many_requests():
    response = Response(200, "always the same", {"Connection": "close"})
    out = set()
    for _ in range(3):
        bench = http(ServeHttp(lambda request: response)).receive(get())
        out.add(bench.out)
    assert len(out) == 1


# ── messages ─────────────────────────────────────────────────────────────────────────


def test_a_request_as_a_handler_sees_it():
    seen = []

    def handler(request):
        seen.append(request)
        return Response(204)

    http(ServeHttp(handler)).receive(post(b"\xff", "/a%20b?c=d?e", "X-One: 1", "x-one: 2"))
    (request,) = seen
    assert (request.method, request.target, request.path, request.query) == ("POST", "/a%20b?c=d?e", "/a%20b", "c=d?e")
    assert request.headers.get_all("X-ONE") == [b"1", b"2"]
    assert (request.body, request.client, request.version) == (b"\xff", CLIENT, "1.1")
    assert repr(request) == "<Request POST /a%20b?c=d?e 1 bytes>"


def test_a_request_for_a_test_of_a_handler():
    request = Request("POST", "/a?b", {"X-One": "1"}, b"body")
    assert (request.method, request.path, request.query, request.body, request.client) == (
        "POST",
        "/a",
        "b",
        b"body",
        None,
    )
    assert request.headers.get("x-one") == b"1"


@pytest.mark.parametrize(
    ("response", "fields", "body"),
    [
        (Response(), [(b"Content-Length", b"0")], b""),
        (Response(204), [], b""),
        (Response(304), [], b""),
        (
            Response(200, "é"),
            [(b"Content-Length", b"2"), (b"Content-Type", b"text/plain; charset=utf-8")],
            "é".encode(),
        ),
        (Response(200, b"x"), [(b"Content-Length", b"1"), (b"Content-Type", b"application/octet-stream")], b"x"),
        (
            Response(200, "{}", [("content-type", "application/json")]),
            [(b"content-type", b"application/json"), (b"Content-Length", b"2")],
            b"{}",
        ),
        (Response(200, b"", {"Content-Length": "5"}), [(b"Content-Length", b"5")], b""),
    ],
    ids=["empty", "204", "304", "text", "bytes", "own type", "head's length"],
)
def test_a_response_declares_itself(response, fields, body):
    assert list(response.headers) == fields
    assert response.headers.get_all("content-length") == [value for name, value in fields if name == b"Content-Length"]
    assert response.body == body


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((103,), "streamed with HttpServerApp"),
        ((1000,), "not from 200 to 999"),
        ((204, "text"), "has no body"),
        ((200, b"abc", {"Content-Length": "4"}), "over a body of 3 bytes"),
        ((200, b"abc", {"Transfer-Encoding": "chunked"}), "leave Transfer-Encoding"),
    ],
    ids=["informational", "beyond", "204 with body", "wrong length", "coding"],
)
def test_a_response_that_contradicts_itself(arguments, text):
    with pytest.raises(ValueError, match=text):
        Response(*arguments)


def test_a_response_cannot_be_split():
    with pytest.raises(Error, match="control byte"):
        Response(200, b"", {"Location": "/\r\nSet-Cookie: a=b"})


def test_a_response_says_what_it_is():
    assert repr(Response(404, b"abc")) == "<Response 404 3 bytes>"
    assert Response(404).status == 404


@pytest.mark.parametrize("body", [5, True, [1, 2], {"a": 1}, None], ids=repr)
def test_a_body_is_bytes_or_text(body):
    with pytest.raises(TypeError, match=f"a body is bytes or str, not {type(body).__name__}"):
        Response(200, body)


def test_a_status_comes_first():
    with pytest.raises(TypeError, match="a status is an int, not '200'"):
        Response("200")


class Key(HttpModule):
    order = 10
    ended = 0

    def request_header_filter(self, session, request):
        if request.get("x-key") == b"refused":
            raise Error.http_status(403)
        if request.get("x-key") == b"answered":
            session.respond_error(429)
            return True
        return None

    def request_body_filter(self, session, body, end_of_stream):
        assert end_of_stream
        return body.upper()

    def response_header_filter(self, session, response, end_of_stream):
        response.insert("x-module", "seen")

    def done(self, session):
        Key.ended += 1


class Slow(HttpModule):
    def request_header_filter(self, session, request):
        yield Sleep(0.5)
        request.insert("x-slow", "1")


ECHO = Response(200, "always the same", {"Connection": "close"})


def moduled(handler, *modules):
    return http(ServeHttp(handler, inline=True, modules=modules))


@pytest.mark.parametrize(("key", "status"), [("refused", 403), ("answered", 429), ("known", 200)])
def test_modules_see_the_request_first_and_the_response_last(key, status):
    asked = []
    before = Key.ended
    bench = moduled(lambda request: asked.append(request.body) or Response(200, request.body), Key)
    bench.receive(post(b"body", "/", f"X-Key: {key}"))

    assert status_of(bench.out) == status
    assert b"x-module: seen" in bench.out
    assert asked == ([b"BODY"] if status == 200 else [])
    assert Key.ended == before + 1


def test_a_module_may_wait_and_a_response_may_be_sent_again():
    bench = moduled(lambda request: ECHO if request.headers.get("x-slow") else None, Slow, Key)
    bench.receive(get())
    assert bench.out == b""
    bench.sleep(0.5)
    assert b"x-module: seen" in bench.out
    assert "x-module" not in ECHO.headers


def test_compression_of_a_handlers_answer():
    bench = moduled(lambda request: Response(200, "x" * 5000), partial(ResponseCompression, level=6))
    bench.receive(get("/", "Accept-Encoding: gzip"))
    head, _, body = bench.out.partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in head.lower()
    assert len(body) < 200


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match="give an HttpModule"):
        ServeHttp(lambda request: Response(), modules=[dict])
