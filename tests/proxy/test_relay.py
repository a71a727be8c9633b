"""What passes from one side to the other, and what does not. Numbers are rows of Pingora's test inventory."""

from __future__ import annotations

import pytest

from sansio_pingora.apps import HttpOptions
from sansio_pingora.errors import ErrorType
from sansio_pingora.upstreams import HttpPeer
from tests.proxy.harness import GET, OK, App, Bench, chunked, dechunk, head_of, post, status_of


def exchange(request, response, app=None, **limits):
    """One exchange: what the origin got and what the client got."""
    bench = Bench(app or App(), **limits)
    client = bench.client()
    client.send(request)
    bench.origin.send(response)
    bench.assert_clean()
    return bench.origin.take(), client.take(), client


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


# ── informational answers ────────────────────────────────────────────────────────────


def test_early_hints_are_relayed():
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    _, got, _ = exchange(GET, hints + hints + OK)
    assert got.startswith(hints + hints + b"HTTP/1.1 200 OK\r\n")


def test_early_hints_are_nothing_for_http_10():
    _, got, _ = exchange(b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
    assert status_of(got) == 200
    assert got.count(b"HTTP/1.1") == 1


def test_an_application_may_hold_them_back():
    class Quiet(App):
        def request_filter(self, session, ctx):
            session.ignore_info_resp = True

    _, got, _ = exchange(GET, b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK, Quiet())
    assert got.count(b"HTTP/1.1") == 1
    bench = Bench(Quiet())
    client = bench.client()
    client.send(post(5, b"", fields=EXPECT))
    bench.origin.send(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"  # it waits for that one


def test_row_36_junk_behind_the_answer_is_not_passed_on():
    bench = Bench(App())
    client = bench.client()
    client.send(GET)
    bench.origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"junk")
    assert client.take().endswith(b"\r\n\r\nok")
    assert client.alive
    assert not bench.origin.alive
    bench.assert_clean()


def test_row_37_early_hints_then_death():
    bench = Bench(App())
    client = bench.client()
    client.send(GET)
    bench.origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    bench.origin.eof()
    assert client.take().startswith(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 502 Bad Gateway\r\n")
    bench.assert_clean()


@pytest.mark.parametrize(("count", "status"), [(16, 200), (17, 502)])
def test_a_flood_of_informational_answers(count, status):
    bench = Bench(App())
    client = bench.client()
    client.send(GET)
    bench.origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * count + OK)
    got = client.take()
    assert got.count(b" 103 ") <= 16
    assert status_of(got[got.rindex(b"HTTP/1.1 ") :]) == status
    bench.assert_clean()


EXPECT = b"Expect: 100-continue\r\n"


def test_expect_is_forwarded_and_the_answer_relayed():
    bench = Bench(App())
    client = bench.client()
    client.send(post(5, b"", fields=EXPECT))
    assert (
        bench.origin.take() == b"POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    )
    assert client.take() == b""
    bench.origin.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"12345")
    assert bench.origin.take() == b"12345"
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    bench.assert_clean()


def test_expect_and_a_client_that_does_not_wait():
    bench = Bench(App())
    client = bench.client()
    client.send(post(5, fields=EXPECT))
    bench.origin.send(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert bench.origin.take().endswith(b"\r\n\r\nxxxxx")
    got = client.take()
    assert got.count(b"HTTP/1.1 200") == 1
    bench.assert_clean()


def test_expect_refused_by_the_origin():
    bench = Bench(App())
    client = bench.client()
    client.send(post(5, b"", fields=EXPECT))
    bench.origin.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    _, fields, _ = head_of(client.take())
    assert fields[b"connection"] == b"close"  # nobody knows whether the body still comes
    client.eof()
    bench.advance(5)
    assert not client.alive
    bench.assert_clean()


def test_expect_refused_by_a_filter():
    class Refuses(App):
        def request_filter(self, session, ctx):
            return session.respond_error(403)

    bench = Bench(Refuses())
    client = bench.client()
    client.send(post(5, b"", fields=EXPECT))
    got = client.take()
    assert got.startswith(b"HTTP/1.1 403")
    assert b" 100 " not in got
    assert bench.dials == []


def test_expect_to_an_http_10_origin_is_answered_here():
    bench = Bench(App())
    client = bench.client()
    client.send(GET)
    bench.origin.send(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")
    client.take()
    bench.origin.take()
    client.send(post(5, b"", fields=EXPECT))
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b"Expect" not in bench.origin.take()
    client.send(b"12345")
    bench.origin.send(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert status_of(client.take()) == 200


def test_expect_taken_away_by_a_filter_is_answered_here():
    class Takes(App):
        def upstream_request_filter(self, session, request, ctx):
            request.remove("expect")

    bench = Bench(Takes())
    client = bench.client()
    client.send(post(5, b"", fields=EXPECT))
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_expect_and_an_origin_that_says_nothing():
    bench = Bench(app := App(), read_timeout=5.0)
    client = bench.client()
    client.send(post(5, b"", fields=EXPECT))
    bench.advance(6)
    assert status_of(client.take()) == 504
    assert len(app.ended) == 1
    client.eof()
    bench.advance(5)
    bench.assert_clean()


def test_an_unknown_expectation():
    bench = Bench(App())
    client = bench.client()
    client.send(post(5, b"", fields=b"Expect: magic\r\n"))
    assert status_of(client.take()) == 417
    assert bench.dials == []


def test_expect_without_a_body():
    sent, got, _ = exchange(b"GET / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n\r\n", OK)
    assert sent.startswith(b"GET / HTTP/1.1\r\n")
    assert got.count(b"HTTP/1.1") == 1


# ── upgrade and tunnels ──────────────────────────────────────────────────────────────

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def upgraded(app=None, **limits):
    bench = Bench(app or App(), **limits)
    client = bench.client()
    client.send(UPGRADE)
    assert bench.origin.take() == UPGRADE
    bench.origin.send(SWITCHED)
    assert client.take() == SWITCHED
    return bench, client, bench.origin


def test_bytes_pass_both_ways():
    bench, client, origin = upgraded()
    client.send(b"ping")
    origin.send(b"pong")
    assert (origin.take(), client.take()) == (b"ping", b"pong")
    client.send(b"GET / HTTP/1.1\r\n\r\n")  # opaque
    assert origin.take() == b"GET / HTTP/1.1\r\n\r\n"
    assert bench.app.ended == []


@pytest.mark.parametrize("first", ["client", "origin"])
def test_half_close_is_relayed_and_the_other_direction_goes_on(first):
    bench, client, origin = upgraded()
    one, other = (client, origin) if first == "client" else (origin, client)
    one.send(b"last words")
    one.eof()
    assert other.take() == b"last words"
    assert other.seen_eof
    assert not one.seen_eof
    other.send(b"and mine")
    assert one.take() == b"and mine"
    assert bench.app.ended == []
    other.eof()
    assert one.seen_eof or one.closed
    assert bench.app.ended[0][1] is None
    bench.assert_clean()


@pytest.mark.parametrize("who", ["client", "origin"])
@pytest.mark.parametrize("half_closed", [None, "client", "origin"])
def test_row_43_a_reset_ends_the_other_side(who, half_closed):
    bench, client, origin = upgraded()
    if half_closed:
        {"client": client, "origin": origin}[half_closed].eof()
    (client if who == "client" else origin).reset()
    assert not client.alive
    assert not origin.alive
    assert len(bench.app.ended) == 1
    assert bench.app.ended[0][1] is not None
    bench.assert_clean()


def test_row_44_payload_right_behind_the_101():
    bench = Bench(App())
    client = bench.client()
    client.send(UPGRADE)
    bench.origin.send(SWITCHED + b"payload")
    assert client.take() == SWITCHED + b"payload"


def test_payload_before_the_101_waits():
    bench = Bench(App())
    client = bench.client()
    client.send(UPGRADE + b"early")
    assert bench.origin.take() == UPGRADE
    bench.origin.send(SWITCHED)
    assert bench.origin.take() == b"early"


UPGRADE_POST = (
    b"POST /up HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: %d\r\n\r\n"
)


def test_row_45_upgrade_with_a_body():
    bench = Bench(App())
    client = bench.client()
    client.send(UPGRADE_POST % 1024 + b"b" * 1024)
    assert bench.origin.take().endswith(b"\r\n\r\n" + b"b" * 1024)
    bench.origin.send(SWITCHED)
    assert client.take() == SWITCHED
    client.send(b"raw")
    assert bench.origin.take() == b"raw"
    bench.origin.send(b"war")
    assert client.take() == b"war"


@pytest.mark.parametrize("name", [None, "request_body_filter"])
def test_row_46_switched_before_the_body_is_complete(name):
    members = {} if name is None else {name: lambda self, session, body, end, ctx: None}
    bench = Bench(type("Made", (App,), members)())
    client = bench.client()
    client.send(UPGRADE_POST % 5120 + b"b" * 20)
    bench.origin.send(SWITCHED)
    client.take()
    bench.origin.take()
    client.send(b"b" * 5100 + b"12345")
    assert bench.origin.take() == b"b" * 5100 + b"12345"
    client.send(b"more")
    assert bench.origin.take() == b"more"
    bench.origin.eof()
    client.eof()
    assert bench.app.ended[0][1] is None
    bench.assert_clean()


def test_a_refused_upgrade_is_an_ordinary_answer():
    bench = Bench(App())
    client = bench.client()
    client.send(UPGRADE)
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    client.send(GET)
    bench.origin.take()
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    assert len(bench.origins) == 1
    bench.assert_clean()


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.0 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
def test_a_101_that_was_not_asked_for(response):
    bench = Bench(App())
    client = bench.client()
    client.send(UPGRADE)
    bench.origin.send(response)
    assert status_of(client.take()) == 502
    bench.assert_clean()


def test_a_101_to_a_plain_request():
    bench = Bench(App())
    client = bench.client()
    client.send(GET)
    bench.origin.send(SWITCHED)
    assert status_of(client.take()) == 502
    bench.assert_clean()


def test_a_silent_tunnel_ends():
    bench, client, origin = upgraded(read_timeout=10.0)
    bench.advance(8)
    client.send(b"x")
    bench.advance(8)
    assert client.alive
    assert origin.alive
    bench.advance(11)
    assert not client.alive
    assert not origin.alive
    assert len(bench.app.ended) == 1
    bench.assert_clean()


CONNECT = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"


def test_row_31_connect_is_405_by_default():
    bench = Bench(app := App())
    client = bench.client()
    client.send(CONNECT)
    assert status_of(client.take()) == 405
    assert bench.dials == []
    assert app.ended[0][0].req_header is None
    bench.advance(5)
    assert not client.alive


def test_row_33_connect_enabled_is_a_tunnel():
    bench = Bench(App(), options=HttpOptions(allow_connect_method_proxying=True))
    client = bench.client()
    client.send(CONNECT)
    assert bench.origin.take() == CONNECT
    bench.origin.send(b"HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\n")
    start, fields, rest = head_of(client.take())
    assert (start, rest) == (b"HTTP/1.1 200 Connection established", b"")
    assert not {b"content-length", b"transfer-encoding"} & set(fields)
    client.send(b"client hello")
    bench.origin.send(b"server hello")
    assert (bench.origin.take(), client.take()) == (b"client hello", b"server hello")
    client.eof()
    bench.origin.eof()
    assert bench.app.ended[0][1] is None
    bench.assert_clean()


def test_connect_refused_by_the_origin():
    bench = Bench(App(), options=HttpOptions(allow_connect_method_proxying=True))
    client = bench.client()
    client.send(CONNECT)
    bench.origin.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    assert client.take().endswith(b"no")
    assert client.closed or client.seen_eof  # what comes behind it was meant for the tunnel
    bench.assert_clean()
