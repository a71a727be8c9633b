"""Which protocol is spoken: told by the first byte that differs, and by nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.http2 import PREFACE
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, ConnectionClosed
from sansio_pingora.session import ServerConnection
from sansio_pingora.wire import Header

SETTINGS = b"\0\0\0\4\0\0\0\0\0"


@pytest.mark.parametrize("size", range(1, len(PREFACE)))
def test_one_byte_that_differs_is_enough(size):
    conn = ServerConnection(now=0.0)
    conn.receive_data(PREFACE[:size], 0.0)
    assert conn.version == b""

    conn.receive_data(b"\x01" if PREFACE[size : size + 1] != b"\x01" else b"\x02", 0.0)

    assert conn.version == b"1.1"


@pytest.mark.parametrize("request_", [b"GET / HTTP/1.0\r\n\r\n", b"P / HTTP/1.0\r\n\r\n", b"PRI / HTTP/1.0\r\n\r\n"])
def test_a_short_request_is_answered_at_once(request_):
    conn = ServerConnection(now=0.0)
    events = [event for byte in request_ for event in conn.receive_data(bytes((byte,)), 0.0)]

    assert [(stream, type(value)) for stream, value in events] == [(1, Header)]


@given(st.integers(1, len(PREFACE) - 1))
def test_the_preface_in_pieces(cut):
    conn = ServerConnection(now=0.0)
    assert conn.receive_data(PREFACE[:cut], 0.0) == []
    assert conn.receive_data(PREFACE[cut:] + SETTINGS, 0.0) == []

    assert conn.version == b"2"
    assert b"".join(conn.data_to_send())[3] == 4  # SETTINGS come first


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"INVALID CONNECTION PREFACE\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\r\n\r\n\x00",
    ],
    ids=repr,
)
def test_what_is_neither_is_not_answered_and_read_on_a_while(garbage):
    conn = ServerConnection(now=0.0)
    for byte in garbage:
        conn.receive_data(bytes((byte,)), 0.0)

    assert conn.data_to_send() == []
    assert conn.shut_write
    assert conn.want_read
    conn.handle_timeout(Limits().linger_timeout)
    assert conn.closing is Closing.AFTER_FLUSH


@pytest.mark.parametrize(
    "bad", [b"GET / HTTP/1.1\nHost: a\r\n", b"GET  / HTTP/1.1\r\n", b"GET / HTTP/3.0\r\n"], ids=repr
)
def test_bad_http_1_is_answered(bad):
    conn = ServerConnection(now=0.0)
    conn.receive_data(bad, 0.0)

    assert b"".join(conn.data_to_send()).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize(
    ("sent", "deadline"),
    [(b"", Limits().first_byte_timeout), (PREFACE[:10], 2.0 + Limits().head_timeout)],
    ids=["nothing", "half a preface"],
)
def test_a_client_that_does_not_tell_is_left_at_its_deadline(sent, deadline):
    conn = ServerConnection(now=0.0)
    if sent:
        conn.receive_data(sent[:1], 2.0)
        conn.receive_data(sent[1:], 5.0)
    assert conn.deadline == deadline
    assert conn.handle_timeout(deadline - 0.001) == []

    events = conn.handle_timeout(deadline)

    assert [type(value) for _, value in events] == [ConnectionClosed]
    assert conn.closing is Closing.AFTER_FLUSH
    assert conn.data_to_send() == []


def test_a_drain_before_the_first_byte_is_passed_on():
    conn = ServerConnection(now=0.0)
    conn.drain(1.0)
    assert conn.deadline == 6.0

    events = conn.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 2.0)

    assert len(events) == 1
    assert "draining" in repr(conn._inner)


@pytest.mark.parametrize("end", ["receive_eof", "transport_lost", "abort"])
def test_nothing_is_due_behind_the_end(end):
    conn = ServerConnection(now=0.0)
    arguments = (None, 1.0) if end == "transport_lost" else (1.0,)
    getattr(conn, end)(*arguments)

    assert conn.closing
    assert conn.deadline == float("inf")
    assert conn.handle_timeout(100.0) == []
