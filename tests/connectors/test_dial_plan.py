"""One dial: its clocks, and what its failures are called (spec vectors 42, 43, 45, 54, 55)."""

import pytest

from sansio_pingora.connectors import DialPlan
from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.limits import Limits
from sansio_pingora.transport import DialOptions, SocketAddr
from sansio_pingora.upstreams import HttpPeer, PeerOptions


def plan(limits=None, **options):
    return DialPlan(HttpPeer("192.0.2.1:80", options=PeerOptions(**options)), limits or Limits(), 7, 100.0)


@pytest.mark.parametrize(
    ("options", "deadline", "stage"),
    [
        ({}, 105.0, "connection timeout of 5 s"),
        ({"connection_timeout": 0.001}, 100.001, "connection timeout of 0.001 s"),
        ({"total_connection_timeout": 2.0}, 102.0, "total-connection timeout of 2 s"),
        ({"connection_timeout": 1.0, "total_connection_timeout": 2.0}, 101.0, "connection timeout of 1 s"),
        ({"connection_timeout": 2.0, "total_connection_timeout": 1.0}, 101.0, "total-connection timeout of 1 s"),
        ({"connection_timeout": 2.0, "total_connection_timeout": 2.0}, 102.0, "connection timeout of 2 s"),
        ({"connection_timeout": 60.0}, 110.0, "total-connection timeout of 10 s"),
        ({"connection_timeout": 0}, 100.0, "connection timeout of 0 s"),
    ],
)
def test_the_shorter_clock_is_named(options, deadline, stage):
    made = plan(**options)
    assert made.deadline == deadline
    error = made.timed_out()
    assert error.etype is ErrorType.CONNECT_TIMEDOUT
    assert error.esource is ErrorSource.UPSTREAM
    assert error.context == f"{stage} while connecting to addr: 192.0.2.1:80, scheme: http"
    assert not error.retry


def test_limits_decide_where_the_peer_does_not():
    made = plan(Limits(connection_timeout=1.0, total_connection_timeout=0.5))
    assert made.deadline == 100.5
    assert "total-connection" in made.timed_out().context


@pytest.mark.parametrize(
    "etype",
    [ErrorType.CONNECT_REFUSED, ErrorType.CONNECT_NO_ROUTE, ErrorType.CONNECT_TIMEDOUT, ErrorType.CONNECT_ERROR],
)
def test_the_drivers_error_gets_the_peer(etype):
    cause = Error(etype, "errno 111")
    error = plan().failed(cause)
    assert (error.etype, error.cause, error.esource) == (etype, cause, ErrorSource.UPSTREAM)
    assert str(error).startswith(f"Upstream {etype.value} context: failed to connect to addr: 192.0.2.1:80")


@pytest.mark.parametrize("etype", [ErrorType.BIND_ERROR, ErrorType.SOCKET_ERROR])
def test_a_socket_that_never_tried_is_internal(etype):
    error = plan(bind_to="192.0.2.2:0").failed(Error(etype, "cannot assign"))
    assert error.etype is ErrorType.INTERNAL_ERROR
    assert error.root_etype is etype


def test_the_mark_for_retries_is_kept():
    assert plan().failed(Error(ErrorType.CONNECT_REFUSED).with_retry(True)).retry


def test_the_order_for_the_driver():
    dial = plan(bind_to="127.0.0.1:0", dscp=8).command("endpoint")
    assert (dial.token, dial.address, dial.endpoint) == (7, SocketAddr("192.0.2.1", 80), "endpoint")
    assert dial.options == DialOptions(bind_to=SocketAddr("127.0.0.1", 0), dscp=8)


def test_a_unix_socket_has_no_tcp_options():
    options = PeerOptions(bind_to="127.0.0.1:0", dscp=8, upstream_tcp_sock_tweak_hook=print)
    dial = DialPlan(HttpPeer("unix:/x", options=options), Limits(), 1, 0.0).command("endpoint")
    assert dial.options == DialOptions()
    assert dial.options.tweak is print
