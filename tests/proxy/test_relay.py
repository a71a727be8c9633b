"""What passes from one side to the other, and what does not. Numbers are rows of Pingora's test inventory."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import ErrorType
from sansio_pingora.upstreams import HttpPeer
from tests.proxy.harness import GET, OK, App, Bench, chunked, dechunk, exchange, head_of, post, status_of

# ── heads ────────────────────────────────────────────────────────────────────────────


def test_row_1_get():
    sent, got, client = exchange(GET, OK)
    assert sent == GET
    start, fields, body = head_of(got)
    assert start == b"HTTP/1.1 200 OK"
    assert set(fields) == {b"content-length", b"date"}
    assert body == b"ok"
    assert client.alive


def test_the_addresses_of_both_sides_are_visible():
    seen = []

    class Looks(App):
        def connected_to_upstream(self, session, reused, peer, info, ctx):
            seen.extend([session.client_addr, session.server_addr, info.peer, info.local])

    exchange(GET, OK, Looks())
    assert list(map(str, seen)) == ["10.0.0.1:4000", "10.0.0.2:80", "127.0.0.1:9000", "10.0.0.2:5000"]


def test_spelling_and_order_of_fields_are_kept():
    sent, _, _ = exchange(b"GET / HTTP/1.1\r\nx-B: 2\r\nHOST: a.test\r\nX-a: 1\r\nx-b: 3\r\n\r\n", OK)
    assert sent == b"GET / HTTP/1.1\r\nx-B: 2\r\nHOST: a.test\r\nX-a: 1\r\nx-b: 3\r\n\r\n"


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        (b"Connection: keep-alive\r\n", b""),
        (b"Connection: close\r\n", b""),
        (b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n", b""),
        (b"Connection: x-a, X-B\r\nX-A: 1\r\nX-b: 2\r\nX-C: 3\r\n", b"X-C: 3\r\n"),
        (b"Connection: X-A\r\nConnection: X-B\r\nX-A: 1\r\nX-b: 2\r\n", b""),
        (b"TE: gzip\r\nConnection: TE\r\n", b""),
        (b"TE: trailers, gzip\r\nConnection: TE\r\n", b"Connection: TE\r\nTE: trailers\r\n"),
        (b"TE: trailers\r\n", b""),
        (b"Upgrade: h2c\r\nHTTP2-Settings: AAA\r\nConnection: Upgrade, HTTP2-Settings\r\n", b""),
        (b"Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n", b""),
        (b"Upgrade: HTTP/2.0\r\nConnection: Upgrade\r\n", b""),
        (b"Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n", b""),
        (b"Upgrade: websocket\r\n", b""),
        (b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n"),
        (
            b"Connection: Authorization, Cookie\r\nAuthorization: b\r\nCookie: c\r\n",
            b"Authorization: b\r\nCookie: c\r\n",
        ),
        (
            b"Connection: X-Forwarded-For, Forwarded, Via\r\nX-Forwarded-For: 1\r\nForwarded: f\r\nVia: v\r\n",
            b"X-Forwarded-For: 1\r\nForwarded: f\r\nVia: v\r\n",
        ),
        (b"Connection: host\r\n", b""),
        (b"Proxy-Authorization: Basic x\r\n", b"Proxy-Authorization: Basic x\r\n"),
        (b"Max-Forwards: 5\r\n", b"Max-Forwards: 5\r\n"),
        (b"Trailer: X-Sum\r\n", b"Trailer: X-Sum\r\n"),
    ],
    ids=lambda value: value.decode().replace("\r\n", ";")[:60] if isinstance(value, bytes) else None,
)
def test_hop_by_hop_fields_of_a_request(fields, kept):
    sent, _, _ = exchange(b"GET / HTTP/1.1\r\nHost: a.test\r\n" + fields + b"\r\n", OK)
    assert sent == b"GET / HTTP/1.1\r\nHost: a.test\r\n" + kept + b"\r\n"


class Vouching(App):
    def on_connection_reuse(self, session, ctx, user_context):
        session.req_header.insert("X-User", user_context)

    def persist_connection_context(self, session, ctx):
        return "u"

    def request_filter(self, session, ctx):
        session.req_header.insert("X-Role", "guest")


def test_a_connection_field_takes_away_what_the_client_said_and_not_what_we_add():
    bench = Bench(Vouching())
    client = bench.client()
    for _ in range(2):
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x-user, x-role, x-a\r\nX-Role: root\r\nX-A: 1\r\n\r\n")
        sent = bench.origin.take()
        bench.origin.send(OK)
    assert sent == b"GET / HTTP/1.1\r\nHost: a\r\nX-User: u\r\nX-Role: guest\r\n\r\n"


@pytest.mark.parametrize(("method", "status"), [(b"OPTIONS", b"200"), (b"TRACE", b"501")])
def test_what_may_go_no_further_is_answered_here(method, status):
    bench = Bench(App())
    client = bench.client()
    for _ in range(2):
        client.send(b"%b / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n" % method)
        assert client.take().startswith(b"HTTP/1.1 %b " % status)
    assert not bench.origins
    client.send(b"%b / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\n\r\n" % method)
    assert bench.origin.take() == b"%b / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n" % method


@pytest.mark.parametrize("field", [b"Content-Length", b"Transfer-Encoding"])
def test_a_connection_field_cannot_take_framing_away(field):
    framing = b"Content-Length: 3\r\n" if field == b"Content-Length" else b"Transfer-Encoding: chunked\r\n"
    body = b"abc" if field == b"Content-Length" else chunked(b"abc")
    sent, _, _ = exchange(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: %b\r\n%b\r\n%b" % (field, framing, body), OK)
    assert sent == b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n%b" % (framing, body)


def test_hop_by_hop_fields_of_a_response():
    response = (
        b"HTTP/1.1 200 OK\r\nConnection: close, X-Secret\r\nKeep-Alive: timeout=5\r\nX-Secret: 1\r\nUpgrade: h2c\r\n"
        b"Proxy-Connection: close\r\nServer: o\r\nContent-Length: 2\r\n\r\nok"
    )
    bench = Bench(App())
    client = bench.client()
    client.send(GET)
    bench.origin.send(response)
    _, fields, body = head_of(client.take())
    assert set(fields) == {b"server", b"content-length", b"date"}
    assert body == b"ok"
    assert client.alive  # it was the origin that wanted to close
    assert not bench.origin.alive
    bench.assert_clean()


def test_a_client_that_says_close_does_not_close_the_origin():
    bench = Bench(App())
    client = bench.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    bench.origin.send(OK)
    assert head_of(client.take())[1][b"connection"] == b"close"
    assert client.closed or client.seen_eof
    assert bench.origin.alive
    assert bench.connector.idle == 1


@pytest.mark.parametrize(
    ("version", "option", "alive", "said"),
    [
        (b"1.1", b"", True, None),
        (b"1.1", b"Connection: close\r\n", False, b"close"),
        (b"1.0", b"", False, b"close"),
        (b"1.0", b"Connection: keep-alive\r\n", True, b"keep-alive"),
    ],
    ids=["row_30_default", "row_30_close", "1.0", "1.0_keep_alive"],
)
def test_keep_alive(version, option, alive, said):
    _, got, client = exchange(b"GET / HTTP/%b\r\nHost: a\r\n%b\r\n" % (version, option), OK)
    assert head_of(got)[1].get(b"connection") == said
    assert client.alive is alive or client.seen_eof


def test_http_10_without_host_gets_the_authority_of_the_peer():
    sent, got, _ = exchange(b"GET / HTTP/1.0\r\n\r\n", OK)
    assert sent == b"GET / HTTP/1.1\r\nHost: 127.0.0.1:9000\r\n\r\n"
    assert status_of(got) == 200


def test_http_10_to_a_unix_socket():
    class Unix(App):
        def upstream_peer(self, session, ctx):
            return HttpPeer("unix:/run/origin.sock")

    sent, _, _ = exchange(b"GET / HTTP/1.0\r\n\r\n", OK, Unix())
    assert sent == b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_absolute_form_wins_over_host():
    sent, _, _ = exchange(b"GET http://b.test/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n", OK)
    assert sent == b"GET /x?y HTTP/1.1\r\nHost: b.test\r\n\r\n"


def test_options_star():
    sent, _, _ = exchange(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", OK)
    assert sent.startswith(b"OPTIONS * HTTP/1.1\r\n")


# ── bodies and their framing ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"he", b"llo"),
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["length", "chunked", "until_close", "1.0_until_close", "1.0_length"],
)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
def test_every_framing_to_every_client(version, response, bytewise):
    bench = Bench(App())
    client = bench.client()
    client.send(b"GET / HTTP/%b\r\nHost: a\r\n\r\n" % version)
    if bytewise:
        bench.origin.send(*(response[at : at + 1] for at in range(len(response))))
    else:
        bench.origin.send(response)
    if b"\r\n\r\nhello" in response and b"Length" not in response:
        bench.origin.eof()
    start, fields, body = head_of(client.take())
    assert start == b"HTTP/1.1 200 OK"
    if b"content-length" in fields:
        assert body == b"hello"
    elif version == b"1.1":
        assert fields[b"transfer-encoding"] == b"chunked"
        assert dechunk(body) == (b"hello", b"\r\n")
    else:
        assert b"transfer-encoding" not in fields
        assert fields[b"connection"] == b"close"
        assert body == b"hello"
    assert client.alive is (version == b"1.1") or client.seen_eof
    bench.assert_clean()


@pytest.mark.parametrize("fields", [b"Content-Length: 42\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_head(fields):
    sent, got, client = exchange(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
    assert sent.startswith(b"HEAD ")
    assert got.endswith(b"\r\n\r\n")
    assert got.count(b"\r\n\r\n") == 1
    if fields.startswith(b"Content"):
        assert fields in got
    assert client.alive


def test_row_50_head_with_100_then_200():
    _, got, client = exchange(
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n",
    )
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert got.endswith(b"\r\n\r\n")
    assert client.alive


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_answers_without_a_body(response):
    bench = Bench(App())
    client = bench.client()
    for _ in range(2):  # and nothing of it is left for the next one
        client.send(GET)
        bench.origin.send(response)
        got = client.take()
        assert got.startswith(response.partition(b"\r\n")[0])
        assert got.endswith(b"\r\n\r\n")
    assert len(bench.origins) == 1
    bench.assert_clean()


def test_request_bodies_keep_their_framing():
    for framing, body in ((b"Content-Length: 3", b"abc"), (b"Transfer-Encoding: chunked", chunked(b"abc"))):
        request = b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n" + body
        assert exchange(request, OK)[0] == request


def test_a_post_without_a_body_says_so():
    sent, _, _ = exchange(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", OK)
    assert sent == b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


def test_a_filter_that_changes_the_size_takes_content_length_away():
    class Grows(App):
        def upstream_request_filter(self, session, request, ctx):
            request.remove("content-length")

        def request_body_filter(self, session, body, end_of_stream, ctx):
            return body * 2

        def response_filter(self, session, response, ctx):
            response.remove("content-length")

        def response_body_filter(self, session, body, end_of_stream, ctx):
            return body * 3

    sent, got, _ = exchange(post(2), OK, Grows())
    assert dechunk(head_of(sent)[2])[0] == b"xxxx"
    assert dechunk(head_of(got)[2])[0] == b"okokok"


@pytest.mark.parametrize("side", ["request", "response"])
def test_a_filter_that_changes_the_size_and_leaves_the_length(side):
    name = f"{side}_body_filter"
    bench = Bench(app := type("Grows", (App,), {name: lambda self, session, body, end, ctx: body * 2})())
    client = bench.client()
    client.send(post(2))
    if side == "response":
        bench.origin.send(OK)
        assert client.closed
    else:
        assert status_of(client.take()) == 500
    assert "Content-Length leaves" in bench.errors[0]
    assert app.ended[0][1].etype is ErrorType.INTERNAL_ERROR
    bench.assert_clean()


# ── trailers ─────────────────────────────────────────────────────────────────────────


def test_trailers_pass_both_ways():
    request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(
        b"q", trailers=b"X-Q: 1\r\n"
    )
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(
        b"r", trailers=b"X-R: 2\r\nX-S: 3\r\n"
    )
    sent, got, _ = exchange(request, response)
    assert sent == request
    assert dechunk(head_of(got)[2]) == (b"r", b"X-R: 2\r\nX-S: 3\r\n\r\n")


def test_trailers_to_a_client_that_knows_none():
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"body", trailers=b"X-R: 2\r\n")
    _, got, _ = exchange(b"GET / HTTP/1.0\r\n\r\n", response)
    assert head_of(got)[2] == b"body"


def test_trailers_behind_a_body_filter():
    class Ends(App):
        def response_body_filter(self, session, body, end_of_stream, ctx):
            return b"!" if end_of_stream else None

    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"body", trailers=b"X-R: 2\r\n")
    _, got, _ = exchange(GET, response, Ends())
    assert dechunk(head_of(got)[2]) == (b"body!", b"X-R: 2\r\n\r\n")


@pytest.mark.parametrize("name", [b"Content-Length", b"Host", b"Transfer-Encoding", b"Authorization", b"Set-Cookie"])
def test_a_trailer_that_frames_or_routes_is_refused(name):
    bench = Bench(App())
    client = bench.client()
    client.send(GET)
    bench.origin.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"body", trailers=name + b": 1\r\n")
    )
    got = client.take()
    assert name not in got.partition(b"\r\n\r\n")[2]
    assert client.closed
    assert not got.endswith(b"0\r\n\r\n")
    bench.assert_clean()
