"""A transport without a protocol."""

import pytest

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, ConnectionClosed
from sansio_pingora.session import RawConnection
from sansio_pingora.wire import Body, Failed, Header, ResponseHeader, UpgradedBody


def connection(**limits):
    return RawConnection(0.0, Limits(**limits))


def test_bytes_go_both_ways_on_stream_one():
    conn = connection()
    assert conn.receive_data(b"abc", 0.0) == [(1, UpgradedBody(b"abc"))]
    assert conn.send(1, UpgradedBody(b"def"), 0.0) > 0
    assert conn.data_to_send() == [b"def"]
    assert conn.open_stream(0.0) is None
    conn.invite_body(1, 0.0)


def test_half_close_either_way_and_both():
    conn = connection()
    assert conn.receive_data(b"", 0.0) == [(1, UpgradedBody(b"", True))]
    assert not conn.closing
    conn.send(1, UpgradedBody(b"last", True), 0.0)
    assert conn.shut_write
    assert conn.closing is Closing.AFTER_FLUSH
    assert conn.data_to_send() == [b"last"]


@pytest.mark.parametrize("task", [Header(ResponseHeader(200), False), Body(b"x")], ids=["head", "body"])
def test_only_opaque_bytes_are_sent(task):
    conn = connection()
    with pytest.raises(LocalProtocolError):
        conn.send(1, task, 0.0)
    assert conn.data_to_send() == []


def test_credit_stops_and_restarts_reading():
    conn = connection(high_water=10)
    conn.receive_data(b"x" * 10, 0.0)
    assert not conn.want_read
    assert conn.deadline == float("inf")  # no clock over a peer from whom we read nothing
    conn.consumed(1, 5, 1.0)
    assert conn.want_read
    assert conn.deadline == 61.0


def test_a_lost_transport_is_told_once():
    conn = connection()
    error = Error(ErrorType.READ_ERROR, "reset")
    events = conn.transport_lost(error, 0.0)
    assert [type(value) for _, value in events] == [Failed, ConnectionClosed]
    assert conn.transport_lost(error, 0.0) == []


def test_a_failed_stream_is_reset():
    conn = connection()
    conn.send(1, Failed(Error(ErrorType.INTERNAL_ERROR)), 0.0)
    assert conn.closing is Closing.ABORT
    conn.finish_reading(0.0)
    assert conn.closing is Closing.ABORT
