"""When another attempt is made, and what it sends. Numbers are rows of the inventory of Pingora's tests."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.session import Sleep
from sansio_pingora.upstreams import HttpPeer, PeerOptions
from tests.proxy.harness import GET, HANGING, OK, ORIGIN, App, Bench, head_of, post, status_of


def refused():
    return Error(ErrorType.CONNECT_REFUSED, "nobody listens")


class Failover(App):
    """The documented one: a second peer when the first does not connect."""

    tries = 2

    def new_ctx(self):
        return {"tries": 0}

    def upstream_peer(self, session, ctx):
        return HttpPeer("127.0.0.1:9001" if ctx["tries"] == 0 else "127.0.0.1:9002")

    def fail_to_connect(self, session, peer, ctx, error):
        ctx["tries"] += 1
        return error.with_retry(ctx["tries"] < self.tries)

    def upstream_request_filter(self, session, request, ctx):
        request.insert("host", "app.internal")


class Stubborn(App):
    """Marks everything."""

    def fail_to_connect(self, session, peer, ctx, error):
        return error.with_retry(True)

    def error_while_proxy(self, peer, session, error, ctx, client_reused):
        return error.with_retry(True)


def warm(bench):
    """A client whose first exchange left an idle connection to the origin."""
    client = bench.client()
    client.send(GET)
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    bench.origin.take()
    return client


# ── connecting ───────────────────────────────────────────────────────────────────────


def test_failover_to_a_second_peer():
    bench = Bench(app := Failover())
    bench.dial_outcomes.append(refused())
    client = bench.client()
    client.send(GET)
    assert [str(dial.address) for dial in bench.dials] == ["127.0.0.1:9001", "127.0.0.1:9002"]
    assert bench.origin.take() == b"GET / HTTP/1.1\r\nhost: app.internal\r\n\r\n"
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    assert [line.level for line in bench.logs] == ["WARNING"]
    assert app.ended[0][1] is None
    bench.assert_clean()


def test_both_peers_refuse():
    bench = Bench(app := Failover())
    bench.dial_outcomes.extend([refused(), refused()])
    client = bench.client()
    client.send(post(3))
    assert status_of(client.take()) == 502
    assert len(bench.errors) == 1
    assert "attempts: 2" in bench.errors[0]
    assert app.ended[0][1].etype is ErrorType.CONNECT_REFUSED
    bench.assert_clean()


def test_a_refused_connect_is_not_retried_by_itself():
    bench = Bench(App())
    bench.dial_outcomes.append(refused())
    client = bench.client()
    client.send(GET)
    assert status_of(client.take()) == 502
    assert len(bench.dials) == 1


@pytest.mark.parametrize("size", [0, 3, 65_536])
def test_post_may_be_retried_as_long_as_nothing_reached_an_origin(size):
    bench = Bench(Failover())
    bench.dial_outcomes.append(refused())
    client = bench.client()
    client.send(post(size))
    assert head_of(bench.origin.take())[2] == b"x" * size
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    bench.assert_clean()


def test_a_body_past_the_replay_buffer_waits_for_its_connection_untouched():
    bench = Bench(Failover())
    bench.dial_outcomes.append(refused())
    client = bench.client()
    client.send(post(200_000))
    assert head_of(bench.origin.take())[2] == b"x" * 200_000
    bench.origin.send(OK)
    assert status_of(client.take()) == 200


def test_a_connect_that_takes_too_long():
    bench = Bench(app := Failover(), connection_timeout=2.0)
    bench.dial_outcomes.extend([HANGING, HANGING])
    client = bench.client()
    client.send(GET)
    bench.advance(1.9)
    assert len(bench.dials) == 1
    bench.advance(0.2)
    assert len(bench.dials) == 2
    bench.advance(2.1)
    assert status_of(client.take()) == 504
    assert bench.cancelled == [dial.token for dial in bench.dials]
    assert app.ended[0][1].etype is ErrorType.CONNECT_TIMEDOUT
    bench.assert_clean()


def test_the_client_leaves_while_connecting():
    bench = Bench(app := Failover())
    bench.dial_outcomes.append(HANGING)
    client = bench.client()
    client.send(GET)
    client.reset()
    assert bench.cancelled == [bench.dials[0].token]
    assert len(app.ended) == 1
    bench.connect(bench.connector, bench.dials[0])  # its answer crosses the command
    bench.settle()
    assert not bench.origin.alive
    bench.assert_clean()


def test_max_retries_is_the_number_of_attempts():
    bench = Bench(Stubborn(), max_retries=3, retry_budget=None)
    bench.dial_outcomes.extend([refused()] * 10)
    client = bench.client()
    client.send(GET)
    assert len(bench.dials) == 3
    assert status_of(client.take()) == 502
    bench.assert_clean()


def test_sixteen_attempts_by_default():
    bench = Bench(Stubborn(), retry_budget=None)
    bench.dial_outcomes.extend([refused()] * 100)
    bench.client().send(GET)
    assert len(bench.dials) == 16


@pytest.mark.parametrize("limit", [0, 1])
def test_one_attempt_is_always_made(limit):
    bench = Bench(Stubborn(), max_retries=limit)
    bench.dial_outcomes.append(refused())
    client = bench.client()
    client.send(GET)
    assert len(bench.dials) == 1
    assert status_of(client.take()) == 502


def test_the_budget_ends_a_storm():
    bench = Bench(Stubborn(), max_retries=16, retry_budget=0.2)
    bench.dial_outcomes.extend([refused()] * 1000)
    for _ in range(100):
        client = bench.client()
        client.send(GET)
        assert status_of(client.take()) == 502
    assert len(bench.dials) == 100 + 20
    assert "the retry budget is spent" in bench.errors[-1]
    bench.assert_clean()


@pytest.mark.parametrize("returned", [None, "same"])
def test_decisions_may_return_nothing_for_as_it_is(returned):
    class Forgets(App):
        def fail_to_connect(self, session, peer, ctx, error):
            return error if returned else None

        error_while_proxy = lambda self, peer, session, error, ctx, reused: error if returned else None  # noqa: E731

    bench = Bench(app := Forgets())
    bench.dial_outcomes.append(refused())
    client = bench.client()
    client.send(GET)
    assert status_of(client.take()) == 502
    client.send(GET)
    bench.origin.eof()
    assert status_of(client.take()) == 502
    assert [error.etype for _, error in app.ended] == [ErrorType.CONNECT_REFUSED, ErrorType.CONNECTION_CLOSED]
    bench.assert_clean()


@pytest.mark.parametrize("name", ["fail_to_connect", "error_while_proxy"])
def test_decisions_that_return_something_else(name):
    bench = Bench(app := type("Odd", (App,), {name: lambda self, *args: True})())
    if name == "fail_to_connect":
        bench.dial_outcomes.append(refused())
    client = bench.client()
    client.send(GET)
    if bench.origins:
        bench.origin.eof()
    assert status_of(client.take()) == 500
    assert f"{name} returned bool: return the error" in bench.errors[0]
    assert isinstance(app.ended[0][1].root_cause, LocalProtocolError)
    bench.assert_clean()


@pytest.mark.parametrize("name", ["fail_to_connect", "error_while_proxy"])
def test_decisions_that_raise(name):
    def raises(self, *args):
        raise ValueError("a bug")

    bench = Bench(app := type("Raises", (App,), {name: raises})())
    if name == "fail_to_connect":
        bench.dial_outcomes.append(refused())
    client = bench.client()
    client.send(GET)
    if bench.origins:
        bench.origin.eof()
    assert status_of(client.take()) == 500
    assert len(app.ended) == len(bench.errors) == 1
    bench.assert_clean()


def test_upstream_peer_may_ask_for_another_attempt():
    class Searching(App):
        def new_ctx(self):
            return {"tries": 0}

        def upstream_peer(self, session, ctx):
            ctx["tries"] += 1
            if ctx["tries"] < 3:
                raise Error.custom("NoPeer", "none is healthy").with_retry(True)
            return HttpPeer(ORIGIN)

    bench = Bench(Searching())
    client = bench.client()
    client.send(GET)
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    assert len(bench.dials) == 1


@pytest.mark.parametrize("returned", [None, "127.0.0.1:9000"])
def test_upstream_peer_returns_something_else(returned):
    bench = Bench(type("Odd", (App,), {"upstream_peer": lambda self, session, ctx: returned})())
    client = bench.client()
    client.send(GET)
    assert status_of(client.take()) == 500
    assert f"upstream_peer returned {type(returned).__name__}: return an HttpPeer" in bench.errors[0]


def test_backing_off_between_attempts():
    class Patient(Stubborn):
        def upstream_peer(self, session, ctx):
            yield Sleep(1.0)
            return HttpPeer(ORIGIN)

    bench = Bench(Patient(), max_retries=3)
    bench.dial_outcomes.extend([refused(), refused()])
    client = bench.client()
    client.send(GET)
    bench.advance(2.5)
    assert len(bench.dials) == 2
    bench.advance(1.0)
    bench.origin.send(OK)
    assert status_of(client.take()) == 200


# ── a reused connection that dies ────────────────────────────────────────────────────


def test_row_12_get_on_a_dead_reused_connection_goes_out_again():
    bench = Bench(app := App())
    client = warm(bench)
    client.send(GET)
    first = bench.origin.take()
    bench.origin.eof()
    assert len(bench.origins) == 2
    assert bench.origin.take() == first
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    assert app.ended[1][1] is None
    bench.assert_clean()


@pytest.mark.parametrize("how", ["eof", "reset"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"])
def test_every_idempotent_method(method, how):
    bench = Bench(App())
    client = warm(bench)
    client.send(method + b" / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    getattr(bench.origin, how)()
    assert len(bench.origins) == 2
    bench.origin.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert status_of(client.take()) == 204
    bench.assert_clean()


@pytest.mark.parametrize("size", [0, 4], ids=["row_13_no_body", "row_14_body"])
@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"BREW"])
def test_deviation_a_method_that_is_not_idempotent_is_not_repeated(size, method):
    # Deviation: Pingora retries it. The origin may have done the work before it died (RFC 9110 section 9.2.2).
    bench = Bench(app := App())
    client = warm(bench)
    client.send(post(size, method=method))
    bench.origin.eof()
    assert len(bench.origins) == 1
    assert status_of(client.take()) == 502
    assert app.ended[1][1].retry
    bench.assert_clean()


@pytest.mark.parametrize("size", [4, 65_536], ids=["row_14", "full_buffer"])
def test_a_body_is_replayed(size):
    bench = Bench(App())
    client = warm(bench)
    client.send(post(size, method=b"PUT"))
    first = bench.origin.take()
    bench.origin.eof()
    assert len(bench.origins) == 2
    assert bench.origin.take() == first
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    bench.assert_clean()


def test_row_15_a_body_past_the_buffer_is_not_retried():
    bench = Bench(App())
    client = warm(bench)
    client.send(post(65_537, method=b"PUT"))
    bench.origin.eof()
    assert len(bench.origins) == 1
    assert status_of(client.take()) == 502
    bench.assert_clean()


def test_truncation_vetoes_the_mark_of_a_user():
    bench = Bench(Stubborn(), replay_buffer=3)
    client = warm(bench)
    client.send(post(4, method=b"PUT"))
    bench.origin.eof()
    assert len(bench.origins) == 1
    assert status_of(client.take()) == 502


def test_a_fresh_connection_that_dies_is_not_retried():
    bench = Bench(App())
    client = bench.client()
    client.send(GET)
    bench.origin.eof()
    assert status_of(client.take()) == 502
    assert len(bench.dials) == 1


def test_one_answered_byte_and_it_is_not_retried():
    bench = Bench(App())
    client = warm(bench)
    client.send(GET)
    bench.origin.send(b"H")
    bench.origin.eof()
    assert status_of(client.take()) == 502
    assert len(bench.dials) == 1


def test_after_an_informational_head_it_is_not_retried():
    bench = Bench(App())
    client = warm(bench)
    client.send(GET)
    bench.origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    bench.origin.eof()
    assert client.take().startswith(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 502")
    assert len(bench.dials) == 1


def test_after_a_final_head_even_a_mark_does_not_help():
    bench = Bench(Stubborn())
    client = bench.client()
    client.send(GET)
    bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    bench.origin.eof()
    assert len(bench.dials) == 1
    assert client.take().endswith(b"\r\n\r\nhalf")
    assert client.closed
    bench.assert_clean()


def test_the_origin_leaves_before_the_request_was_sent():
    class Thinks(App):
        def upstream_request_filter(self, session, request, ctx):
            yield Sleep(1)

    bench = Bench(Thinks())
    client = bench.client()
    client.send(GET)
    bench.advance(1)
    bench.origin.send(OK)
    client.take()
    bench.origin.take()
    client.send(post(3))
    bench.origin.eof()  # on a reused connection that never saw it: even a POST may go out again
    bench.advance(1)
    assert len(bench.origins) == 2
    assert bench.origins[0].take() == b""
    bench.advance(1)
    assert head_of(bench.origin.take())[2] == b"xxx"
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    bench.assert_clean()


def test_slow_body_and_dead_connection():
    bench = Bench(App())
    client = warm(bench)
    client.send(post(10, b"12345", method=b"PUT"))
    bench.origin.eof()
    assert len(bench.origins) == 2
    client.send(b"67890")
    assert head_of(bench.origin.take())[2] == b"1234567890"
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    bench.assert_clean()


def test_idle_connections_of_another_peer_are_not_touched():
    class Two(App):
        def upstream_peer(self, session, ctx):
            return HttpPeer(session.req_header.get("host").decode(), options=PeerOptions(idle_timeout=5))

    bench = Bench(Two())
    client = bench.client()
    for port in (b"127.0.0.1:1", b"127.0.0.1:2", b"127.0.0.1:1"):
        client.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % port)
        next(wire for wire in bench.origins if wire.got).send(OK)
        for wire in bench.origins:
            wire.take()
    assert len(bench.origins) == 2
    bench.advance(6)
    assert not any(wire.alive for wire in bench.origins)
    bench.assert_clean()


def test_a_body_filter_that_fails_between_two_attempts_fails_the_request():
    """Sent again without the piece that it had, the body would be cut, and look whole."""

    class Late(Stubborn):
        def request_body_filter(self, session, data, end, ctx):
            if data:
                yield Sleep(0.5)
                raise RuntimeError("too late")

    bench = Bench(Late(), retry_backoff=4.0, max_retry_backoff=4.0)
    client = bench.client()
    client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
    bench.origin.reset()
    bench.advance(5)

    assert len(bench.origins) == 2
    assert b"0\r\n\r\n" not in bench.origin.take()
    assert not bench.origin.alive
    assert status_of(client.take()) == 500
    bench.assert_clean()
