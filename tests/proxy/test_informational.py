"""1xx answers and the expectation of 100 (Continue). Numbers are rows of Pingora's test inventory."""

from __future__ import annotations

import pytest

from tests.proxy.harness import GET, OK, App, Bench, exchange, head_of, post, status_of


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
