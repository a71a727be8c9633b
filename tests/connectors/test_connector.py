"""The connector with a driver that answers when told to."""

import math

import pytest

from sansio_pingora.connectors import Connector
from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, ConnectionClosed, Lane
from sansio_pingora.upstreams import HttpPeer, PeerOptions
from sansio_pingora.wire import Body

PEER = HttpPeer("127.0.0.1:9001")
OTHER = HttpPeer("127.0.0.1:9002")


def test_connect_release_reuse(fake_net):
    net = fake_net()
    exchange = net.ask(PEER, token=5)
    assert exchange.leases == []
    (dial,) = net.dials.values()
    assert dial.address == PEER.address
    assert dial.endpoint.info is None
    net.now = 0.25
    net.connect()
    ((token, lease),) = exchange.leases
    assert (token, lease.reused, lease.stream_id, lease.peer, lease.established) == (5, False, 1, PEER, 0.25)
    assert lease.connection is lease.endpoint.connection
    net.release(lease)
    assert net.connector.idle == 1
    again = net.connector.acquire(HttpPeer("127.0.0.1:9001"), exchange, 6, 1.0)
    assert (again.reused, again.stream_id, again.endpoint) == (True, 2, lease.endpoint)
    assert net.connector.acquire(OTHER, exchange, 7, 1.0) is None


def test_options_of_the_peer_reach_the_driver(fake_net):
    net = fake_net()
    net.ask(HttpPeer("127.0.0.1:9001", options=PeerOptions(dscp=8)))
    assert net.dials[1].options.dscp == 8


def test_failure_names_the_peer(fake_net):
    net = fake_net()
    exchange = net.ask(PEER, token=3)
    net.refuse()
    ((token, error),) = exchange.errors
    assert (token, error.etype, error.esource) == (3, ErrorType.CONNECT_REFUSED, ErrorSource.UPSTREAM)
    assert "127.0.0.1:9001" in error.context
    assert net.connector.connections(PEER) == 0


@pytest.mark.parametrize(
    ("limits", "at", "stage"),
    [
        ({}, 5.0, "connection timeout"),
        ({"connection_timeout": 20.0}, 10.0, "total-connection timeout"),
    ],
)
def test_a_dial_that_is_never_answered(fake_net, limits, at, stage):
    net = fake_net(**limits)
    exchange = net.ask(PEER)
    net.advance(at - 0.01)
    assert exchange.errors == []
    net.advance(0.01)
    ((_, error),) = exchange.errors
    assert error.etype is ErrorType.CONNECT_TIMEDOUT
    assert error.context.startswith(stage)
    assert net.cancelled == [1]
    net.connector.fail(1, Error(ErrorType.CONNECT_REFUSED), net.now)
    assert len(exchange.errors) == 1
    assert net.connector.deadline == math.inf


@pytest.mark.parametrize("how", ["data", "eof", "reset"])
def test_an_idle_connection_that_stirs_is_closed_and_forgotten(fake_net, how):
    net = fake_net()
    lease = net.lease(PEER)
    net.release(lease)
    endpoint = lease.endpoint
    if how == "data":
        endpoint.receive_data(b"HTTP/1.1 200 OK\r\n\r\n", net.now)
    elif how == "eof":
        endpoint.receive_eof(net.now)
    else:
        endpoint.transport_lost(Error(ErrorType.READ_ERROR), net.now)
    assert net.connector.idle == net.connector.connections(PEER) == 0
    net.settle()
    assert not net.lane.endpoints
    assert net.ask(PEER).leases == []


def test_a_leased_connection_that_dies_tells_its_holder(fake_net):
    net = fake_net()
    exchange = net.ask(PEER)
    net.connect()
    lease = exchange.lease
    lease.endpoint.receive_data(b"x", net.now)
    lease.endpoint.transport_lost(None, net.now)
    assert [type(value) for _, value in exchange.events] == [Body, ConnectionClosed]
    assert net.connector.connections(PEER) == 1
    net.release(lease, reuse=False)
    assert net.connector.connections(PEER) == 0


@pytest.mark.parametrize(
    ("reuse", "finish", "closing"),
    [(True, False, Closing.ABORT), (False, False, Closing.ABORT), (False, True, Closing.AFTER_FLUSH)],
    ids=["unfinished", "given up amid", "not wanted any more"],
)
def test_what_is_not_reused_is_closed(fake_net, reuse, finish, closing):
    net = fake_net()
    lease = net.lease(PEER)
    net.release(lease, reuse=reuse, finish=finish)
    assert lease.connection.closing is closing
    assert net.connector.idle == 0
    assert not net.lane.endpoints


def test_a_reused_connection_that_is_cut_is_forgotten_once(fake_net):
    net = fake_net()
    net.release(net.lease(PEER))
    lease = net.lease(PEER)
    assert "reused" in repr(lease)
    net.release(lease, reuse=False)
    assert not net.lane.endpoints
    assert net.connector.connections(PEER) == 0


def test_answered_dials_leave_nothing_behind(fake_net):
    net = fake_net()
    for _ in range(100):
        net.lease(PEER)
    assert len(net.connector._deadlines._heap) < 70
    assert not net.connector._dials
    assert not net.connector._requests


def test_a_lease_is_released_once(fake_net):
    net = fake_net()
    lease = net.lease(PEER)
    assert "new" in repr(lease)
    net.release(lease)
    net.lease(PEER)
    with pytest.raises(LocalProtocolError, match="is released already"):
        net.connector.release(lease, net.now, reuse=True)
    assert net.connector.connections(PEER) == 1


def test_a_waiter_asks_once_per_token(fake_net):
    net = fake_net()
    exchange = net.ask(PEER)
    with pytest.raises(LocalProtocolError, match="waiting under 1 already"):
        net.ask(PEER, exchange=exchange)
    net.ask(PEER, token=2, exchange=exchange)
    assert len(net.dials) == 2


def test_closing_connections_are_passed_over(fake_net):
    net = fake_net()
    first, second = net.ask(PEER), net.ask(PEER)
    net.connect()
    net.connect()
    net.release(second.lease)
    net.release(first.lease)
    first.lease.connection.closing = Closing.AFTER_FLUSH  # and its event is still to come
    assert net.lease(PEER).endpoint is second.lease.endpoint


def test_idle_timeouts_close_in_good_order(fake_net):
    net = fake_net(idle_timeout=30.0)
    short = net.lease(HttpPeer("127.0.0.1:9001", options=PeerOptions(idle_timeout=2.0)))
    long = net.lease(OTHER)
    net.release(short)
    net.release(long)
    net.advance(2.0)
    assert short.connection.closing
    assert not long.connection.closing
    net.advance(28.0)
    assert long.connection.closing
    assert net.connector.deadline == net.lane.deadline == math.inf


def test_an_expired_connection_met_on_the_way_is_closed_though_another_serves(fake_net):
    net = fake_net()
    short, long = net.ask(HttpPeer("127.0.0.1:9001", options=PeerOptions(idle_timeout=1.0))), net.ask(PEER)
    net.connect()
    net.connect()
    net.release(long.lease)
    net.release(short.lease)
    net.now = 1.5  # the timer is late
    assert net.lease(PEER).endpoint is long.lease.endpoint
    assert short.lease.connection.closing is Closing.AFTER_FLUSH
    assert len(net.lane.endpoints) == 1


def test_per_peer_cap_serves_in_order(fake_net):
    net = fake_net(max_per_peer=1)
    exchanges = [net.ask(PEER) for _ in range(4)]
    assert len(net.dials) == 1
    assert net.connector.waiting == 3
    net.connect()
    net.connector.cancel(exchanges[1], 1, net.now)
    net.release(exchanges[0].lease)
    assert exchanges[1].leases == []
    assert exchanges[2].lease.reused
    net.release(exchanges[2].lease, reuse=False)
    assert len(net.dials) == 1
    net.refuse()
    assert exchanges[3].errors[0][1].etype is ErrorType.CONNECT_REFUSED
    assert net.connector.connections(PEER) == 0


def test_waiting_for_room_ends_in_time(fake_net):
    net = fake_net(max_per_peer=1, pool_wait_timeout=3.0)
    net.lease(PEER)
    exchange = net.ask(PEER)
    net.advance(3.0)
    ((_, error),) = exchange.errors
    assert error.etype is ErrorType.CONNECT_TIMEDOUT
    assert error.context.startswith("pool-wait timeout of 3 s")
    assert "max_per_peer=1" in error.context


def test_cancelled_dial_passes_its_room_on(fake_net):
    net = fake_net(max_per_peer=1)
    first, second = net.ask(PEER), net.ask(PEER)
    net.connector.cancel(first, 1, net.now)
    net.connector.cancel(first, 1, net.now)
    net.settle()
    assert net.cancelled == [1]
    net.connect()
    assert first.leases == first.errors == []
    assert second.lease


def test_an_answer_that_crosses_its_cancellation_leaves_no_transport(fake_net):
    net = fake_net()
    exchange = net.ask(PEER)
    net.connector.cancel(exchange, 1, net.now)
    dial = net.connect()
    assert exchange.leases == []
    assert dial.endpoint.connection.closing is Closing.ABORT
    assert not net.lane.endpoints


def test_closed_as_soon_as_connected(fake_net):
    net = fake_net(max_per_peer=1)
    first, second = net.ask(PEER), net.ask(PEER)
    net.dials[1].endpoint.connection.closing = Closing.ABORT
    net.connect()
    assert first.errors[0][1].etype is ErrorType.CONNECTION_CLOSED
    assert len(net.dials) == 1
    net.connect()
    assert second.lease


def test_drain(fake_net):
    net = fake_net(max_per_peer=1)
    idle, busy = net.lease(OTHER), net.lease(PEER)
    late = net.ask(PEER)
    net.release(idle)
    net.connector.drain(net.now)
    net.settle()
    assert idle.connection.closing is Closing.AFTER_FLUSH
    assert not busy.connection.closing
    net.release(busy)
    net.connect()
    net.release(late.lease)
    assert not net.lane.endpoints
    assert net.connector.idle == 0


def test_pool_size_0_connects_each_time(fake_net):
    net = fake_net(upstream_keepalive_pool_size=0)
    net.release(net.lease(PEER))
    assert net.ask(PEER).leases == []


@pytest.mark.parametrize("bounds", [{"max_requests": 2}, {"max_lifetime": 2.0}])
def test_bounds_of_a_connection(fake_net, bounds):
    net = fake_net(**bounds)
    net.release(net.lease(PEER))
    net.now = 1.0
    lease = net.lease(PEER)
    assert lease.reused
    net.now = 2.0
    net.release(lease)
    assert lease.connection.closing


class GivesBack:
    """Has lost interest when it is answered, and asks nobody."""

    def __init__(self, net):
        self.net = net
        self.answers = 0

    def resume(self, token, value, now):
        self.answers += 1
        value.connection.finish()
        self.net.connector.release(value, now, reuse=True)

    def fail(self, token, error, now):
        self.answers += 1


def test_thousands_that_give_back_at_once_do_not_nest(fake_net):
    net = fake_net(max_per_peer=1)
    lease = net.lease(PEER)
    waiters = [GivesBack(net) for _ in range(5000)]
    for waiter in waiters:
        assert net.connector.acquire(PEER, waiter, 0, net.now) is None
    net.release(lease)
    assert all(waiter.answers == 1 for waiter in waiters)
    assert net.connector.idle == 1


class CancelsOthers(GivesBack):
    """What closes one exchange may close its neighbours, and start one anew under the same token."""

    others = ()

    def fail(self, token, error, now):
        self.answers += 1
        for other in self.others:
            self.net.connector.cancel(other, 0, now)
        if self.answers == 1:
            assert self.net.connector.acquire(PEER, self, 0, now) is None


def test_waiters_that_cancel_each_other_while_being_told(fake_net):
    net = fake_net(max_per_peer=2, pool_wait_timeout=3.0)
    net.lease(PEER)
    net.lease(PEER)
    waiters = [CancelsOthers(net) for _ in range(3)]
    for waiter in waiters:
        waiter.others = [other for other in waiters if other is not waiter]
        assert net.connector.acquire(PEER, waiter, 0, net.now) is None
    net.settle()
    net.advance(3.0)
    assert [waiter.answers for waiter in waiters] == [1, 0, 0]
    assert net.connector.waiting == 1
    net.advance(3.0)
    assert [waiter.answers for waiter in waiters] == [2, 0, 0]


class ReleasesThenCancels(GivesBack):
    """What it gives back is granted to the next one, which it then cancels."""

    reuse = True
    victim = None

    def resume(self, token, value, now):
        self.answers += 1
        value.connection.finish()
        self.net.connector.release(value, now, reuse=self.reuse)
        self.net.connector.cancel(self.victim, 0, now)


@pytest.mark.parametrize("reuse", [True, False], ids=["connection", "room"])
def test_what_was_granted_to_a_cancelled_waiter_goes_on_to_the_next(fake_net, reuse):
    net = fake_net(max_per_peer=1)
    lease = net.lease(PEER)
    first, second, third = ReleasesThenCancels(net), GivesBack(net), GivesBack(net)
    first.reuse, first.victim = reuse, second
    for waiter in (first, second, third):
        assert net.connector.acquire(PEER, waiter, 0, net.now) is None
    net.release(lease)
    if not reuse:
        net.connect()
    assert [waiter.answers for waiter in (first, second, third)] == [1, 0, 1]
    assert net.connector.idle == net.connector.connections(PEER) == 1


def test_an_idle_connection_with_an_event_but_no_end_is_cut(fake_net):
    net = fake_net()
    lease = net.lease(PEER)
    net.release(lease)
    lease.endpoint.receiver.receive_event(1, Body(b"x"), net.now)
    assert lease.connection.closing is Closing.ABORT
    assert net.connector.connections(PEER) == 0


def test_dials_that_time_out_together_and_cancel_each_other(fake_net):
    net = fake_net()
    waiters = [CancelsOthers(net) for _ in range(3)]
    for waiter in waiters:
        waiter.answers = 5
        waiter.others = [other for other in waiters if other is not waiter]
        assert net.connector.acquire(PEER, waiter, 0, net.now) is None
    net.settle()
    net.advance(5.0)
    assert [waiter.answers for waiter in waiters] == [6, 5, 5]
    assert sorted(net.cancelled) == [1, 2, 3]
    assert net.connector.connections(PEER) == net.connector.dialling == 0


def test_a_connector_that_has_nothing_to_do_is_not_listed():
    lane = Lane()
    connector = Connector(lane, Limits(), None)
    connector.drain(0.0)
    assert lane.drain(0.0) == []
    assert connector.take_commands() == []
