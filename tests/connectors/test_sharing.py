"""Connections of many streams: who gets which, and when one is retired, kept or closed."""

import math

import pytest

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.machine import Closing
from sansio_pingora.upstreams import ALPN, HttpPeer, PeerOptions
from sansio_pingora.wire import Body, Failed


def peer(streams, **options):
    return HttpPeer("127.0.0.1:9001", options=PeerOptions(alpn=ALPN.H2, max_h2_streams=streams, **options))


def test_one_dial_serves_all_who_wait_for_the_same_peer(fake_net):
    net = fake_net()
    exchanges = [net.ask(peer(10)) for _ in range(4)]
    assert len(net.dials) == net.connector.connections(peer(10)) == 1
    net.connect()
    assert [exchange.lease.stream_id for exchange in exchanges] == [1, 2, 3, 4]
    assert len({exchange.lease.endpoint for exchange in exchanges}) == 1
    assert [exchange.lease.reused for exchange in exchanges] == [False, True, True, True]


def test_one_dial_serves_no_more_than_the_connection_will_carry(fake_net):
    net = fake_net()
    exchanges = [net.ask(peer(2)) for _ in range(5)]
    assert len(net.dials) == 3
    while net.dials:
        net.connect()
    assert [exchange.lease.stream_id for exchange in exchanges] == [1, 2, 1, 2, 1]


def test_one_stream_is_what_a_peer_has_by_default(fake_net):
    net = fake_net()
    alone = HttpPeer("127.0.0.1:9001", options=PeerOptions(alpn=ALPN.H2))
    first, second = net.ask(alone), net.ask(alone)
    assert len(net.dials) == 2
    net.connect()
    net.connect()
    net.release(first.lease)
    assert net.connector.acquire(alone, second, 2, 0.0).endpoint is first.lease.endpoint


def test_a_stream_in_use_comes_before_an_idle_connection_and_before_a_dial(fake_net):
    net = fake_net()
    exchanges = [net.ask(peer(2)) for _ in range(4)]
    net.connect()
    net.connect()
    busy, idle = exchanges[0].lease.endpoint, exchanges[2].lease.endpoint
    for exchange in exchanges[1:]:
        net.release(exchange.lease)
    assert net.connector.idle == 1
    taken = [net.ask(peer(2)) for _ in range(4)]
    assert [exchange.lease.endpoint for exchange in taken[:3]] == [busy, idle, idle]
    assert len(net.dials) == 1
    assert net.connector.idle == 0


def test_the_oldest_connection_is_filled_first_so_that_the_others_fall_idle(fake_net):
    net = fake_net()
    exchanges = [net.ask(peer(3)) for _ in range(6)]
    net.connect()
    net.connect()
    net.release(exchanges[4].lease)
    net.release(exchanges[0].lease)
    net.release(exchanges[1].lease)
    assert [net.ask(peer(3)).lease.endpoint for _ in range(3)] == [
        exchanges[4].lease.endpoint,  # it had a stream left before the other did
        exchanges[0].lease.endpoint,
        exchanges[0].lease.endpoint,
    ]


def test_what_the_origin_allows_counts_as_much_as_the_peer(fake_net):
    net = fake_net()
    first = net.ask(peer(10))
    net.connect()
    first.lease.connection.allowed = 2
    second, third = net.ask(peer(10)), net.ask(peer(10))
    assert second.lease.endpoint is first.lease.endpoint
    assert third.leases == []
    net.connect()
    first.lease.connection.allowed = 3
    assert net.connector.acquire(peer(10), first, 9, 0.0).endpoint is third.lease.endpoint
    net.release(second.lease)
    assert first.lease.connection.reusable


@pytest.mark.parametrize(
    "options",
    [{"h2_ping_interval": 5.0}, {"h2_stream_window_size": 1 << 20}, {"h2_connection_window_size": 1 << 20}],
    ids=lambda options: next(iter(options)),
)
def test_peers_that_want_their_connection_otherwise_share_none(fake_net, options):
    net = fake_net()
    net.lease(peer(10))
    assert net.ask(peer(10, **options)).leases == []
    assert net.ask(peer(11)).leases == []
    assert net.ask(peer(10, read_timeout=3.0)).lease


def test_events_go_to_who_has_the_stream(fake_net):
    net = fake_net()
    exchanges = [net.ask(peer(10)) for _ in range(3)]
    net.connect()
    net.release(exchanges[1].lease)
    exchanges[0].lease.endpoint.receive_data(b"x", net.now)
    assert [[(stream, value.data) for stream, value in exchange.events] for exchange in exchanges] == [
        [(1, b"x")],
        [],
        [(3, b"x")],
    ]


def test_an_event_before_anybody_listens_is_nobodys(fake_net):
    net = fake_net()
    lease = net.lease(peer(2))
    second = net.connector.acquire(peer(2), object(), 1, net.now)
    second.endpoint.receive_data(b"x", net.now)
    net.release(lease)
    net.release(second)
    assert net.connector.idle == 1


def test_a_lost_connection_tells_each(fake_net):
    net = fake_net()
    exchanges = [net.ask(peer(10)) for _ in range(3)]
    net.connect()
    exchanges[0].lease.endpoint.transport_lost(Error(ErrorType.READ_ERROR, "reset"), net.now)
    assert [type(exchange.events[0][1]) for exchange in exchanges] == [Failed] * 3
    for exchange in exchanges:
        net.release(exchange.lease)
    assert net.connector.connections(peer(10)) == net.connector.idle == 0
    assert not net.lane.endpoints


def test_a_stream_that_is_not_finished_is_reset_and_the_connection_lives_on(fake_net):
    net = fake_net()
    first, second = net.ask(peer(10)), net.ask(peer(10))
    net.connect()
    net.release(first.lease, finish=False)
    connection = second.lease.connection
    assert connection.reset == [1]
    net.release(second.lease, finish=False, reuse=False)
    assert connection.reset == [1, 2]
    assert not connection.closing
    assert net.connector.idle == 1
    assert net.lease(peer(10)).connection is connection


def test_a_lease_is_released_once(fake_net):
    net = fake_net()
    lease = net.lease(peer(10))
    net.release(lease)
    with pytest.raises(LocalProtocolError, match="is released already"):
        net.connector.release(lease, net.now, reuse=True)


def test_a_connection_that_is_not_accepting_is_retired_while_its_streams_finish(fake_net):
    net = fake_net()
    first, second = net.ask(peer(10)), net.ask(peer(10))
    net.connect()
    old = first.lease.connection
    old.goaway()
    third = net.ask(peer(10))
    assert third.leases == []
    net.connect()
    net.release(first.lease)
    assert not old.closing
    old_endpoint = second.lease.endpoint
    old_endpoint.receive_data(b"x", net.now)
    assert [type(value) for _, value in second.events] == [Body]
    assert net.ask(peer(10)).lease.connection is third.lease.connection
    net.release(second.lease)
    assert old.closing
    assert old_endpoint not in net.lane.endpoints
    assert net.connector.connections(peer(10)) == 1


def test_a_connection_that_could_not_be_used_again_is_closed_in_good_order(fake_net):
    net = fake_net()
    lease = net.lease(peer(10))
    lease.connection.allowed = 0
    net.release(lease)
    assert lease.connection.closing is Closing.AFTER_FLUSH
    assert net.connector.connections(peer(10)) == 0


def test_an_idle_one_that_takes_no_more_streams_is_passed_over(fake_net):
    net = fake_net()
    lease = net.lease(peer(10))
    net.release(lease)
    lease.connection.accepting = False  # it goes, and its event is still to come
    assert net.ask(peer(10)).leases == []
    assert lease.connection.closing is Closing.AFTER_FLUSH


@pytest.mark.parametrize("how", ["data", "eof", "reset"])
def test_an_idle_connection_that_stirs_is_closed_and_forgotten(fake_net, how):
    net = fake_net()
    lease = net.lease(peer(10))
    net.release(lease)
    if how == "data":
        lease.endpoint.receive_data(b"x", net.now)
    elif how == "eof":
        lease.endpoint.receive_eof(net.now)
    else:
        lease.endpoint.transport_lost(Error(ErrorType.READ_ERROR), net.now)
    net.settle()
    assert net.connector.idle == net.connector.connections(peer(10)) == 0
    assert not net.lane.endpoints


def test_idle_timeouts_and_the_ceiling_hold_as_ever(fake_net):
    net = fake_net(idle_timeout=30.0, upstream_keepalive_pool_size=1)
    first = net.lease(peer(2))
    net.release(first)
    net.advance(29.0)
    again = net.lease(peer(2))
    assert again.endpoint is first.endpoint
    net.advance(40.0)
    net.release(again)
    other = net.lease(HttpPeer("127.0.0.1:9002"))
    net.release(other)
    assert again.connection.closing is Closing.AFTER_FLUSH  # the older of two where one is kept
    net.advance(30.0)
    assert other.connection.closing
    assert net.connector.deadline == math.inf


def test_a_failed_dial_tells_each_with_an_error_of_its_own(fake_net):
    net = fake_net()
    exchanges = [net.ask(peer(10), token=number) for number in range(3)]
    net.refuse()
    errors = [exchange.errors[0] for exchange in exchanges]
    assert [token for token, _ in errors] == [0, 1, 2]
    assert {error.etype for _, error in errors} == {ErrorType.CONNECT_REFUSED}
    assert len({id(error) for _, error in errors}) == 3  # a filter that marks one marks no other
    assert net.connector.connections(peer(10)) == 0


def test_a_dial_that_is_never_answered_tells_each(fake_net):
    net = fake_net()
    exchanges = [net.ask(peer(10)) for _ in range(3)]
    net.advance(5.0)
    assert [exchange.errors[0][1].etype for exchange in exchanges] == [ErrorType.CONNECT_TIMEDOUT] * 3
    assert net.cancelled == [1]
    assert net.connector.dialling == net.connector.connections(peer(10)) == 0


def test_closed_as_soon_as_connected_tells_each(fake_net):
    net = fake_net()
    exchanges = [net.ask(peer(10)) for _ in range(3)]
    net.dials[1].endpoint.connection.closing = Closing.ABORT
    net.connect()
    assert [exchange.errors[0][1].etype for exchange in exchanges] == [ErrorType.CONNECTION_CLOSED] * 3
    assert net.connector.connections(peer(10)) == 0


def test_a_dial_goes_on_until_the_last_who_waits_for_it_is_cancelled(fake_net):
    net = fake_net()
    first, second = net.ask(peer(10)), net.ask(peer(10))
    net.connector.cancel(first, 1, net.now)
    net.settle()
    assert net.cancelled == []
    net.connector.cancel(second, 1, net.now)
    net.settle()
    assert net.cancelled == [1]
    assert net.connector.connections(peer(10)) == 0
    third = net.ask(peer(10))
    net.connect()
    assert first.leases == second.leases == []
    assert third.lease.stream_id == 1


def test_one_that_is_cancelled_gets_no_stream_of_the_dial(fake_net):
    net = fake_net()
    exchanges = [net.ask(peer(10)) for _ in range(3)]
    net.connector.cancel(exchanges[0], 1, net.now)
    net.connect()
    assert exchanges[0].leases == []
    assert [exchange.lease.stream_id for exchange in exchanges[1:]] == [1, 2]
    assert not exchanges[1].lease.reused


# ── max_per_peer ─────────────────────────────────────────────────────────────────────


def test_who_is_held_back_gets_the_next_stream_in_order(fake_net):
    net = fake_net(max_per_peer=1)
    held = [net.ask(peer(2)) for _ in range(5)]
    net.connect()
    assert net.connector.waiting == 3
    net.connector.cancel(held[3], 1, net.now)
    net.release(held[0].lease)
    assert (held[2].lease.stream_id, held[2].lease.reused) == (3, True)
    assert held[4].leases == []
    net.release(held[2].lease, finish=False)
    assert held[4].lease.stream_id == 4
    assert held[3].leases == []
    assert net.connector.waiting == 0


def test_who_is_held_back_joins_the_connection_that_comes_for_another(fake_net):
    net = fake_net(max_per_peer=1)
    held = [net.ask(peer(3)) for _ in range(5)]
    net.refuse()  # the first three are told, the fourth dials anew
    assert net.connector.waiting == 1
    net.connect()
    assert [exchange.lease.stream_id for exchange in held[3:]] == [1, 2]


def test_a_retired_connection_leaves_its_room_when_it_is_closed(fake_net):
    net = fake_net(max_per_peer=1)
    first = net.lease(peer(2))
    first.connection.goaway()
    waiting = net.ask(peer(2))
    assert net.connector.waiting == 1
    assert not net.dials
    net.release(first)
    net.connect()
    assert waiting.lease.connection is not first.connection


def test_the_last_stream_given_back_goes_to_who_waits_though_no_other_would_be_free(fake_net):
    net = fake_net(max_per_peer=1)
    lease = net.lease(peer(1))
    waiting = [net.ask(peer(1)) for _ in range(2)]
    net.release(lease)
    assert waiting[0].lease.endpoint is lease.endpoint
    assert waiting[1].leases == []


class GivesBack:
    """Has lost interest when it is answered."""

    def __init__(self, net):
        self.net = net
        self.answers = 0

    def resume(self, token, value, now):
        self.answers += 1
        self.net.connector.release(value, now, reuse=True)

    def fail(self, token, error, now):
        self.answers += 1


@pytest.mark.parametrize("streams", [2, 100])
def test_thousands_that_give_back_at_once_do_not_nest(fake_net, streams):
    net = fake_net(max_per_peer=1)
    leases = [net.ask(peer(streams)) for _ in range(streams)]
    net.connect()
    waiters = [GivesBack(net) for _ in range(5000)]
    for waiter in waiters:
        assert net.connector.acquire(peer(streams), waiter, 0, net.now) is None
    net.release(leases[0].lease)
    assert all(waiter.answers == 1 for waiter in waiters)
    assert net.connector.waiting == 0
    assert len(leases[1].lease.connection.open) == streams - 1


def test_joined_ones_that_give_back_at_once_leave_one_idle_connection(fake_net):
    net = fake_net()
    waiters = [GivesBack(net) for _ in range(5)]
    for waiter in waiters:
        assert net.connector.acquire(peer(10), waiter, 0, net.now) is None
    net.settle()
    net.connect()
    assert [waiter.answers for waiter in waiters] == [1] * 5
    assert net.connector.idle == net.connector.connections(peer(10)) == 1
    (endpoint,) = net.lane.endpoints
    assert endpoint.connection.stream == 5


class CancelsOthers(GivesBack):
    others = ()

    def _cancel(self, now):
        self.answers += 1
        for other in self.others:
            self.net.connector.cancel(other, 0, now)

    def resume(self, token, value, now):
        self._cancel(now)
        self.lease = value

    def fail(self, token, error, now):
        self._cancel(now)


@pytest.mark.parametrize("end", ["connect", "refuse", "close"])
def test_joined_ones_that_cancel_each_other_while_being_told(fake_net, end):
    net = fake_net()
    waiters = [CancelsOthers(net) for _ in range(3)]
    for waiter in waiters:
        waiter.others = [other for other in waiters if other is not waiter]
        assert net.connector.acquire(peer(10), waiter, 0, net.now) is None
    net.settle()
    if end == "close":
        net.dials[1].endpoint.connection.closing = Closing.ABORT
        net.connect()
    else:
        getattr(net, end)()
    assert [waiter.answers for waiter in waiters] == [1, 0, 0]
    assert net.connector.connections(peer(10)) == (end == "connect")
    assert not net.connector._requests


def test_joined_ones_that_are_told_of_a_timeout_and_cancel_each_other(fake_net):
    net = fake_net()
    waiters = [CancelsOthers(net) for _ in range(3)]
    for waiter in waiters:
        waiter.others = [other for other in waiters if other is not waiter]
        assert net.connector.acquire(peer(10), waiter, 0, net.now) is None
    net.settle()
    net.advance(5.0)
    assert [waiter.answers for waiter in waiters] == [1, 0, 0]
    assert net.connector.connections(peer(10)) == net.connector.dialling == 0


class Takes(GivesBack):
    """Takes what is left of the connection as soon as it has its own stream."""

    def resume(self, token, value, now):
        self.answers += 1
        self.leases = [value]
        while (lease := self.net.connector.acquire(value.peer, self, len(self.leases), now)) is not None:
            self.leases.append(lease)


def test_who_joined_a_dial_and_finds_nothing_left_is_not_forgotten(fake_net):
    net = fake_net(max_per_peer=1)
    greedy, second, third = Takes(net), GivesBack(net), net.exchange()
    for waiter in (greedy, second, third):
        assert net.connector.acquire(peer(3), waiter, 0, net.now) is None
    net.settle()
    net.connect()
    assert len(greedy.leases) == 3
    assert net.connector.waiting == 3  # the greedy one asks for a fourth
    net.connector.cancel(greedy, 3, net.now)
    assert net.connector.waiting == 2
    net.connector.cancel(second, 0, net.now)
    assert net.connector.waiting == 1
    net.release(greedy.leases[1])
    assert second.answers == 0
    assert third.lease.stream_id == 4


# ── bounds of a connection ───────────────────────────────────────────────────────────


def test_a_shared_connection_is_retired_after_its_last_request(fake_net):
    net = fake_net(max_requests=3)
    exchanges = [net.ask(peer(10)) for _ in range(4)]
    assert len(net.dials) == 2
    net.connect()
    net.connect()
    assert [exchange.lease.stream_id for exchange in exchanges] == [1, 2, 3, 1]
    first = exchanges[0].lease.connection
    net.release(exchanges[0].lease)
    assert net.ask(peer(10)).lease.connection is exchanges[3].lease.connection
    net.release(exchanges[1].lease)
    net.release(exchanges[2].lease)
    assert first.closing is Closing.AFTER_FLUSH


def test_a_shared_connection_is_retired_at_the_end_of_its_life(fake_net):
    net = fake_net(max_lifetime=10.0)
    lease = net.lease(peer(10))
    net.now = 9.0
    assert net.ask(peer(10)).lease.connection is lease.connection
    net.now = 10.0
    assert net.ask(peer(10)).leases == []
    assert not lease.connection.closing


def test_drain_closes_what_is_idle_and_keeps_nothing_else(fake_net):
    net = fake_net()
    first, second = net.ask(peer(2)), net.ask(peer(2))
    net.connect()
    net.connector.drain(net.now)
    net.release(first.lease)
    assert net.ask(peer(2)).lease.connection is second.lease.connection  # an exchange under way may still retry
    net.release(second.lease)
    assert not second.lease.connection.closing
    (endpoint,) = net.lane.endpoints
    for stream_id, receiver in list(endpoint.receiver.receivers.items()):
        assert stream_id == 3
        net.release(receiver.lease)
    assert second.lease.connection.closing
    assert not net.lane.endpoints
    assert not net.connector._free.by_key
