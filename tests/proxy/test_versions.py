"""Every pair of versions: what a client says reaches the origin, and what the origin answers reaches the client."""

from __future__ import annotations

import pytest
from hpack.struct import NeverIndexedHeaderTuple

from sansio_pingora.errors import ErrorSource, ErrorType
from tests.proxy.ends import PAIR_IDS, PAIRS, Message, World
from tests.proxy.harness import App

every_pair = pytest.mark.parametrize("pair", PAIRS, ids=PAIR_IDS)
LONG = bytes(range(256)) * 1200  # more than a window and than high_water


@every_pair
def test_get(pair):
    world = World(pair)
    world.client.ask(b"GET", b"/x?y=1", [(b"X-A", b"1"), (b"X-B", b"2"), (b"x-b", b"3")])
    request = world.origin.request
    assert (request.start, request.state, request.body) == ((b"GET", b"/x?y=1"), "whole", b"")
    assert request.fields == {b"host": b"a.test", b"x-a": b"1", b"x-b": b"2, 3"}
    world.origin.answer(404, [(b"Server", b"o"), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")])
    answer = world.client.answer
    assert (answer.status, answer.body, answer.state) == (404, b"ok", "whole")
    assert answer.fields.pop(b"date")
    assert answer.fields == {b"server": b"o", b"set-cookie": b"a, b", b"content-length": b"2"}
    assert world.ended == [None]
    world.assert_clean()


@every_pair
def test_many_exchanges_over_the_same_connections(pair):
    world = World(pair)
    for number in range(5):
        world.client.ask(target=b"/%d" % number)
        assert world.origin.request.start == (b"GET", b"/%d" % number)
        world.origin.wire.take()
        world.origin.answer(body=b"%d" % number)
        assert world.client.answer.body == b"%d" % number
    assert len(world.origins) == 1
    world.assert_clean()


@every_pair
@pytest.mark.parametrize("length", [42, False], ids=["length", "no_length"])
def test_head(pair, length):
    world = World(pair)
    world.client.ask(b"HEAD")
    assert world.origin.request.start[0] == b"HEAD"
    world.origin.answer(200, [(b"Content-Length", b"42")] if length else [], None)
    answer = world.client.answer
    assert (answer.state, answer.body) == ("whole", b"")
    assert answer.fields.get(b"content-length") == (b"42" if length else None)
    world.assert_clean()


@every_pair
@pytest.mark.parametrize("status", [204, 304])
def test_answers_that_have_no_body(pair, status):
    world = World(pair)
    world.client.ask()
    world.origin.answer(status, [(b"ETag", b'"x"')], None)
    answer = world.client.answer
    assert (answer.status, answer.state, answer.fields[b"etag"]) == (status, "whole", b'"x"')
    world.assert_clean()


@every_pair
@pytest.mark.parametrize("length", [True, False], ids=["length", "no_length"])
@pytest.mark.parametrize("body", [b"", b"abc", LONG], ids=["empty", "short", "long"])
def test_bodies_both_ways(pair, body, length):
    world = World(pair)
    world.client.ask(b"POST", body=body[:1000], length=len(body) if length else False, end=len(body) <= 1000)
    world.settle()
    for at in range(1000, len(body), 16_000):
        world.client.more(body[at : at + 16_000], end=at + 16_000 >= len(body))
        world.settle()
    request = world.origin.request
    assert (request.body, request.state) == (body, "whole")
    assert request.fields.get(b"content-length") == (b"%d" % len(body) if length else None)
    world.origin.answer(body=body[:1000], length=len(body) if length else False, end=len(body) <= 1000)
    for at in range(1000, len(body), 16_000):
        world.origin.more(body[at : at + 16_000], end=at + 16_000 >= len(body))
        world.settle()
    answer = world.client.answer
    assert (answer.body, answer.state) == (body, "whole")
    assert answer.fields.get(b"content-length") == (b"%d" % len(body) if length else None)
    world.assert_clean()


@every_pair
def test_a_post_without_a_body(pair):
    world = World(pair)
    world.client.ask(b"POST")
    request = world.origin.request
    assert (request.state, request.body) == ("whole", b"")
    assert b"transfer-encoding" not in request.fields
    world.origin.answer()
    world.assert_clean()


@every_pair
def test_informational_heads(pair):
    world = World(pair)
    world.client.ask()
    world.origin.inform(103, [(b"Link", b"</a>")])
    world.origin.inform(103, [(b"Link", b"</b>")])
    assert world.client.answer.status is None
    world.origin.answer()
    answer = world.client.answer
    assert answer.informational == [(103, {b"link": b"</a>"}), (103, {b"link": b"</b>"})]
    assert (answer.status, answer.state) == (200, "whole")
    world.assert_clean()


@every_pair
def test_expect_goes_to_the_origin_whose_100_comes_back(pair):
    world = World(pair)
    world.client.ask(b"POST", fields=[(b"Expect", b"100-continue")], body=b"", length=3, end=False)
    assert world.origin.request.fields[b"expect"] == b"100-continue"
    assert world.client.answer.informational == []
    world.origin.inform(100)
    assert world.client.answer.informational == [(100, {})]
    world.client.more(b"abc", end=True)
    assert world.origin.request.body == b"abc"
    world.origin.answer()
    assert world.client.answer.informational == [(100, {})]
    world.assert_clean()


@every_pair
def test_an_upload_that_does_not_wait_takes_as_long_as_it_takes(pair):
    """An origin may omit its 100 when the body already comes (RFC 9110 section 10.1.1)."""
    world = World(pair)
    world.client.ask(b"POST", fields=[(b"Expect", b"100-continue")], body=b"", length=120_000, end=False)
    for number in range(12):
        world.settle()
        world.bench.advance(10)
        world.client.more(b"x" * 10_000, end=number == 11)
    world.bench.advance(50)
    request = world.origin.request
    assert (len(request.body), request.state) == (120_000, "whole")
    world.origin.answer()
    assert (world.client.answer.status, world.ended) == (200, [None])
    world.assert_clean()


@every_pair
def test_expect_that_the_origin_refuses(pair):
    world = World(pair)
    world.client.ask(b"POST", fields=[(b"Expect", b"100-continue")], body=b"", length=3, end=False)
    assert world.origin.request.start[0] == b"POST"
    world.origin.answer(417, body=b"")
    assert world.client.answer.status == 417
    assert world.client.answer.informational == []
    assert world.ended == [None]


@every_pair
def test_trailers_both_ways(pair):
    world = World(pair)
    world.client.ask(b"POST", body=b"abc", length=False, trailers=[(b"X-Sum", b"1")])
    request = world.origin.request
    assert (request.body, request.trailers, request.state) == (b"abc", {b"x-sum": b"1"}, "whole")
    world.origin.answer(body=b"def", length=False, trailers=[(b"X-Sum", b"2"), (b"X-More", b"3")])
    answer = world.client.answer
    assert (answer.body, answer.trailers, answer.state) == (b"def", {b"x-sum": b"2", b"x-more": b"3"}, "whole")
    world.assert_clean()


@every_pair
@pytest.mark.parametrize("hears", [True, False], ids=["listening", "deaf"])
def test_a_client_that_says_that_it_takes_trailers(pair, hears):
    world = World(pair)
    fields = [(b"TE", b"trailers"), (b"Connection", b"TE")] if pair[0] == "h1" else [(b"TE", b"trailers")]
    world.client.ask(fields=fields if hears else [])
    request = world.origin.request
    assert request.fields.get(b"te") == (b"trailers" if hears else None)
    assert request.fields.get(b"connection") == (b"TE" if hears and pair[1] == "h1" else None)
    world.origin.answer()
    world.assert_clean()


@every_pair
def test_cookies(pair):
    world = World(pair)
    world.client.ask(
        fields=[(b"Cookie", b"a=1"), (b"Cookie", b"b=2")] if pair[0] == "h2" else [(b"Cookie", b"a=1; b=2")]
    )
    assert world.origin.request.fields[b"cookie"] == b"a=1; b=2"
    world.origin.answer()
    world.assert_clean()


def test_an_absolute_target_decides_the_authority():
    world = World(("h1", "h2"))
    world.client.ask(target=b"http://b.test:8080/x")
    request = world.origin.request
    assert (request.start, request.fields) == ((b"GET", b"/x"), {b"host": b"b.test:8080"})


@every_pair
def test_options_star(pair):
    world = World(pair)
    world.client.ask(b"OPTIONS", b"*")
    assert world.origin.request.start == (b"OPTIONS", b"*")


# ── HTTP/1.0 ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("origin", ["h1", "h2"])
@pytest.mark.parametrize("length", [True, False], ids=["length", "no_length"])
def test_a_client_of_http_10(origin, length):
    world = World(("h1", origin))
    world.client.ask(fields=[(b"Connection", b"keep-alive")], http=b"1.0")
    assert world.origin.request.start == (b"GET", b"/")
    world.origin.inform(103)
    world.origin.answer(body=b"abc", length=length, trailers=None if length else [(b"X-T", b"1")])
    answer = world.client.answer
    assert (answer.body, answer.state, answer.informational) == (b"abc", "whole", [])
    assert b"transfer-encoding" not in answer.fields
    assert answer.fields[b"connection"] == (b"keep-alive" if length else b"close")
    world.assert_clean()


def test_a_client_of_http_10_without_host():
    world = World(("h1", "h2"))
    world.client.method = b"GET"
    world.client.wire.send(b"GET / HTTP/1.0\r\n\r\n")
    assert world.origin.request.fields == {b"host": b"127.0.0.1:9000"}
    world.origin.answer()
    assert world.client.answer.status == 200


@pytest.mark.parametrize("client", ["h1", "h2"])
@pytest.mark.parametrize("cut", [False, True], ids=["eof", "reset"])
def test_an_origin_of_http_10_that_ends_its_body_with_the_connection(client, cut):
    world = World((client, "h1"))
    world.client.ask()
    assert world.origin.request.state == "whole"
    world.origin.wire.send(b"HTTP/1.0 200 OK\r\n\r\nabc")
    if cut:
        world.origin.reset()
    else:
        world.origin.leave()
    answer = world.client.answer
    assert (answer.body, answer.state) == (b"abc", "cut" if cut else "whole")
    world.assert_clean()


def test_an_origin_of_http_10_gets_no_expect():
    world = World(("h2", "h1"))
    world.client.ask()
    assert world.origin.request.start
    world.origin.wire.take()
    world.origin.wire.send(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")
    world.client.ask(b"POST", fields=[(b"Expect", b"100-continue")], body=b"", length=3, end=False)
    assert b"expect" not in world.origin.request.fields
    assert world.client.answer.informational == [(100, {})]
    world.client.more(b"abc", end=True)
    assert world.origin.request.body == b"abc"


# ── ends before their time ───────────────────────────────────────────────────────────


def test_what_nobody_may_index_is_not_indexed_on_the_way():
    """RFC 7541 section 7.1.3: strangers share the connection to the origin, and its table."""

    def secret(value: bytes) -> NeverIndexedHeaderTuple:
        return NeverIndexedHeaderTuple(b"x-key", value)

    world = World(("h2", "h2"))
    client = world.client
    for _ in range(2):
        stream = client.h2.get_next_available_stream_id()
        client.stream, client.messages[stream] = stream, Message()
        head = [(b":method", b"POST"), (b":authority", b"a.test"), (b":scheme", b"http"), (b":path", b"/")]
        client.h2.send_headers(stream, [*head, secret(b"theirs")])
        client.h2.send_headers(stream, [secret(b"behind")], end_stream=True)
        client.flush()
        origin = world.origin
        assert origin.request.fields[b"x-key"] == b"theirs"
        origin.h2.send_headers(origin.stream, [(b":status", b"103"), secret(b"hint")])
        origin.h2.send_headers(origin.stream, [(b":status", b"200"), secret(b"ours")])
        origin.h2.send_headers(origin.stream, [secret(b"last")], end_stream=True)
        origin.flush()
        assert client.answer.trailers == {b"x-key": b"last"}
    assert world.origin.never_indexed == [b"theirs", b"behind"] * 2
    assert client.never_indexed == [b"hint", b"ours", b"last"] * 2


@every_pair
def test_a_client_that_resets_amid_its_request(pair):
    world = World(pair)
    world.client.ask(b"POST", body=b"abc", length=10, end=False)
    assert world.origin.request.body == b"abc"
    world.client.reset()
    request = world.origin.request
    assert request.state == "cut"
    assert request.code == (None if pair[1] == "h1" else 8)
    (error,) = world.ended
    assert error.esource is ErrorSource.DOWNSTREAM
    world.assert_clean()


@every_pair
def test_a_client_that_resets_amid_the_answer(pair):
    world = World(pair)
    world.client.ask()
    assert world.origin.request.state == "whole"
    world.origin.answer(body=b"abc", length=10, end=False)
    assert world.client.answer.body == b"abc"
    world.client.reset()
    world.settle()
    assert world.origin.ended if pair[1] == "h1" else world.origin.request.code == 8
    assert world.ended[0].esource is ErrorSource.DOWNSTREAM
    world.assert_clean()


@every_pair
@pytest.mark.parametrize("length", [10, False], ids=["length", "no_length"])
def test_an_origin_that_resets_amid_its_answer(pair, length):
    world = World(pair)
    world.client.ask()
    assert world.origin.request.state == "whole"
    world.origin.answer(body=b"abc", length=length, end=False)
    assert world.client.answer.state == "open"
    world.origin.reset()
    answer = world.client.answer
    assert (answer.status, answer.body, answer.state) == (200, b"abc", "cut")
    assert answer.code == (None if pair[0] == "h1" else 2)
    (error,) = world.ended
    assert error.esource is ErrorSource.UPSTREAM
    assert error.etype is (ErrorType.READ_ERROR if pair[1] == "h1" else ErrorType.H2_ERROR)
    world.assert_clean()


@every_pair
def test_an_origin_that_resets_before_it_answers(pair):
    world = World(pair)
    world.client.ask(b"POST", body=b"abc")
    assert world.origin.request.state == "whole"
    world.origin.reset()
    answer = world.client.answer
    assert (answer.status, answer.state) == (502, "whole")
    assert len(world.origins) == 1
    world.assert_clean()


@every_pair
def test_an_origin_that_is_silent(pair):
    world = World(pair, read_timeout=10.0)
    world.client.ask()
    assert world.origin.request.state == "whole"
    world.bench.advance(10)
    assert world.client.answer.status == 504
    assert world.origin.ended if pair[1] == "h1" else world.origin.request.code == 8
    assert world.ended[0].etype is ErrorType.READ_TIMEDOUT


@every_pair
def test_an_origin_that_falls_silent_amid_its_answer(pair):
    world = World(pair, read_timeout=10.0)
    world.client.ask()
    world.settle()
    world.origin.answer(body=b"abc", length=10, end=False)
    world.bench.advance(10)
    answer = world.client.answer
    assert (answer.body, answer.state) == (b"abc", "cut")
    assert world.origin.ended if pair[1] == "h1" else world.origin.request.code == 8


@every_pair
@pytest.mark.parametrize("length", [10, False], ids=["length", "no_length"])
def test_an_answer_before_the_request_is_complete(pair, length):
    world = World(pair)
    world.client.ask(b"POST", body=b"abc", length=length, end=False)
    assert world.origin.request.body == b"abc"
    world.origin.answer(403, body=b"no")
    answer = world.client.answer
    assert (answer.status, answer.body, answer.state) == (403, b"no", "whole")
    assert world.ended == [None]
    world.settle()
    if pair[1] == "h1":
        assert world.origin.ended
    else:
        assert world.origin.request.code == 8  # we need it no more
        assert not world.origin.ended
    world.bench.advance(2)
    world.assert_clean()


@every_pair
def test_an_early_answer_that_goes_on_while_the_request_does(pair):
    world = World(pair)
    world.client.ask(b"POST", body=b"abc", length=False, end=False)
    assert world.origin.request.body == b"abc"
    world.origin.answer(body=b"one", length=False, end=False)
    assert world.client.answer.body == b"one"
    world.client.more(b"def")
    assert world.origin.request.body == b"abcdef"
    world.origin.more(b"two")
    assert world.client.answer.body == b"onetwo"
    world.client.more(b"ghi", end=True)
    assert (world.origin.request.body, world.origin.request.state) == (b"abcdefghi", "whole")
    world.origin.more(b"three", end=True)
    assert (world.client.answer.body, world.client.answer.state) == (b"onetwothree", "whole")
    world.assert_clean()


@pytest.mark.parametrize("client", ["h1", "h2"])
def test_an_origin_that_answers_and_asks_for_no_more(client):
    """RST_STREAM with NO_ERROR behind a complete answer (RFC 9113 section 8.1)."""
    world = World((client, "h2"))
    world.client.ask(b"POST", body=b"abc", length=10, end=False)
    assert world.origin.request.body == b"abc"
    origin = world.origin
    origin.h2.send_headers(origin.stream, [(b":status", b"200"), (b"content-length", b"2")])
    origin.h2.send_data(origin.stream, b"ok", end_stream=True)
    origin.h2.reset_stream(origin.stream, 0)
    origin.flush()
    answer = world.client.answer
    assert (answer.status, answer.body, answer.state) == (200, b"ok", "whole")
    assert world.ended == [None]
    world.bench.advance(2)
    world.assert_clean()


# ── filters ──────────────────────────────────────────────────────────────────────────


@every_pair
def test_filters_see_the_same_whatever_is_spoken(pair):
    class Changes(App):
        def upstream_request_filter(self, session, request, ctx):
            assert session.is_http2 is (pair[0] == "h2")
            request.insert("host", "b.test")
            request.insert("X-Added", "1")
            request.remove("content-length")

        def request_body_filter(self, session, body, end_of_stream, ctx):
            return body.upper() + (b"!" if end_of_stream else b"")

        def response_filter(self, session, response, ctx):
            response.insert("X-Version", response.version)
            response.remove("content-length")

        def response_body_filter(self, session, body, end_of_stream, ctx):
            return body * 2

    world = World(pair, Changes())
    world.client.ask(b"POST", body=b"abc")
    request = world.origin.request
    assert (request.fields[b"host"], request.fields[b"x-added"], request.body) == (b"b.test", b"1", b"ABC!")
    world.origin.answer()
    answer = world.client.answer
    assert (answer.body, answer.state, answer.fields[b"x-version"]) == (b"okok", "whole", b"1.1")
    world.assert_clean()
