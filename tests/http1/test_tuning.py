"""Limits of one exchange in place of the service's: what sessions offer by name is tested with them."""

from __future__ import annotations

import math

import pytest

from sansio_pingora.errors import ErrorType
from sansio_pingora.http1 import Http1Client, Http1Server
from sansio_pingora.limits import Limits
from sansio_pingora.wire import Body, Failed, Header, ResponseHeader

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
LIMITS = Limits()


def server(*data):
    connection = Http1Server(0.0, LIMITS)
    for piece in data:
        connection.receive_data(piece, 0.0)
    return connection


def test_a_clock_that_runs_starts_anew_with_its_new_time():
    connection = server(POST)
    connection.tune(1, 5.0, body_idle_timeout=2.0, min_body_rate=None)
    assert connection.deadline == 7.0
    [(stream, failed)] = connection.handle_timeout(7.0)
    assert (stream, type(failed), failed.error.etype) == (1, Failed, ErrorType.READ_TIMEDOUT)


@pytest.mark.parametrize("stream", [0, 2])
def test_another_stream_is_none(stream):
    connection = server(POST)
    connection.tune(stream, 0.0, body_idle_timeout=2.0)
    assert connection.limits is LIMITS


def test_a_stream_that_is_over_is_none():
    connection = server(POST, b"12345")
    connection.send(1, Header(ResponseHeader(204), True), 0.0)
    connection.tune(1, 0.0, keepalive_timeout=2.0)
    assert connection.limits is LIMITS


def test_no_clock_starts_that_did_not_run():
    connection = server(POST, b"12345")
    connection.tune(1, 0.0, body_idle_timeout=2.0)
    assert connection.deadline == math.inf


def test_a_client_that_waits_to_be_invited_has_no_clock():
    connection = server(POST.replace(b"Host", b"Expect: 100-continue\r\nHost"))
    connection.tune(1, 0.0, body_idle_timeout=2.0, min_body_rate=None)
    assert connection.deadline == math.inf
    connection.invite_body(1, 3.0)
    assert connection.deadline == 5.0


def test_the_next_head_brings_back_what_was_before_the_first_change():
    connection = server(POST, b"12345")
    connection.tune(1, 0.0, keepalive_timeout=2.0, abort_on_close=True)
    connection.tune(1, 0.0, keepalive_timeout=3.0, abort_on_close=True)
    connection.send(1, Header(ResponseHeader(204), True), 0.0)
    assert connection.deadline == 3.0
    [(stream, _)] = connection.receive_data(POST, 1.0)
    assert stream == 2
    assert connection.limits is LIMITS
    assert not connection.abort_on_close
    assert connection.deadline == 11.0  # min_body_rate counts from 10 s on


def test_one_that_is_no_limit():
    with pytest.raises(TypeError):
        server(POST).tune(1, 0.0, no_such_limit=1.0)


def test_a_pipelined_request_has_the_limits_of_the_service():
    connection = server(POST + b"12345" + POST)
    connection.tune(1, 0.0, body_idle_timeout=2.0, min_body_rate=None)
    connection.send(1, Header(ResponseHeader(204), True), 0.0)
    [(stream, _)] = connection.handle_timeout(0.0)
    assert (stream, connection.limits) == (2, LIMITS)
    assert connection.receive_data(b"12345", 9.0) == [(2, Body(b"12345", True))]


def test_the_time_outs_of_a_client():
    client = Http1Client(LIMITS, read_timeout=5.0)
    assert client.timeouts == (5.0, 60.0)
    client.set_timeouts(None, 6.0)
    assert client.timeouts == (60.0, 6.0)
