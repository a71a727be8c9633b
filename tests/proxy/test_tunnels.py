"""Upgrades and CONNECT. Numbers are rows of Pingora's test inventory."""

from __future__ import annotations

import pytest

from sansio_pingora.apps import HttpOptions
from tests.proxy.harness import GET, OK, App, Bench, head_of, status_of

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
