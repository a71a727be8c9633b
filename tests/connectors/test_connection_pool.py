"""The connection pool: the spot cases (spec vectors 73 to 75, 77 to 82)."""

import math

import pytest

from sansio_pingora.connectors import CloseConnection, CloseReason, ConnectionPool, Grant, WaitTimedOut
from sansio_pingora.errors import LocalProtocolError


def pool(size=10, idle_timeout=60.0, **options):
    return ConnectionPool(size=size, idle_timeout=idle_timeout, **options)


def busy(p, key, handle, now=0.0):
    assert p.reserve(key)
    p.establish(key, handle, now)


def idle(p, key, handle, now=0.0, idle_timeout=None):
    busy(p, key, handle, now)
    p.release(handle, now, idle_timeout)


def test_the_most_recent_is_reused_first():
    p = pool()
    for handle in ("v1", "v2", "v3"):
        idle(p, 101, handle)
    idle(p, 102, "other")
    assert [p.acquire(101, 1.0) for _ in range(4)] == ["v3", "v2", "v1", None]
    assert p.acquire(102, 1.0) == "other"
    assert p.take_commands() == []


def test_keys_compare_by_value():
    p = pool()
    key = ("127.0.0.1", 80)
    idle(p, key, "a")
    assert p.acquire((*key,), 1.0) == "a"


def test_past_the_ceiling_the_oldest_of_all_peers_goes():
    p = pool(size=2)
    idle(p, "x", 1)
    idle(p, "y", 2)
    idle(p, "y", 3)
    assert p.take_commands() == [CloseConnection(1, CloseReason.EVICTED)]
    assert p.connections("x") == 0
    p.acquire("y", 1.0)
    p.release(3, 1.0)
    p.acquire("y", 1.0)
    idle(p, "x", 4, 1.0)
    idle(p, "x", 5, 1.0)
    assert p.take_commands() == [CloseConnection(2, CloseReason.EVICTED)]


def test_a_ceiling_counts_no_busy_ones():
    p = pool(size=1)
    for handle in range(5):
        busy(p, "x", handle)
    p.release(0, 0.0)
    assert p.acquire("x", 0.0) == 0
    assert p.take_commands() == []


@pytest.mark.parametrize(
    ("options", "timeout", "reason"),
    [
        ({"size": 0}, None, CloseReason.NOT_KEPT),
        ({"idle_timeout": 0.0}, None, CloseReason.NOT_KEPT),
        ({}, 0.0, CloseReason.NOT_KEPT),
        ({"max_requests": 1}, None, CloseReason.WORN_OUT),
        ({"max_lifetime": 5.0}, None, CloseReason.EXPIRED),
    ],
    ids=["size 0", "idle timeout 0", "peer's idle timeout 0", "one request", "past its lifetime"],
)
def test_what_is_not_kept(options, timeout, reason):
    p = pool(**options)
    busy(p, "x", "h")
    p.release("h", 5.0, timeout)
    assert p.take_commands() == [CloseConnection("h", reason)]
    assert p.acquire("x", 5.0) is None
    assert p.connections("x") == p.idle == 0


def test_idle_timeouts_of_peers():
    p = pool()
    for handle, timeout in (("three", 3.0), ("one", 1.0), ("two", 2.0)):
        idle(p, "x", handle, 0.0, timeout)
    closed = []
    while p.deadline < math.inf:
        now = p.deadline
        p.handle_timeout(now)
        closed += [(now, command.handle) for command in p.take_commands()]
    assert closed == [(1.0, "one"), (2.0, "two"), (3.0, "three")]


def test_nothing_expired_is_handed_out_though_no_timer_fired():
    p = pool()
    idle(p, "x", "old", 0.0, 50.0)
    idle(p, "x", "short", 0.0, 1.0)
    assert p.acquire("x", 1.0) == "old"
    assert p.take_commands() == [CloseConnection("short", CloseReason.EXPIRED)]


def test_idle_connections_count_for_the_cap():
    p = pool(max_per_peer=2)
    idle(p, "x", 1)
    assert p.reserve("x")
    assert not p.reserve("x")


def test_a_peer_whose_connections_have_all_expired_is_forgotten():
    p = pool()
    idle(p, "x", 1, 0.0, 1.0)
    assert p.acquire("x", 2.0) is None
    assert not p._peers


def test_a_lifetime_ends_an_idle_connection_early():
    p = pool(max_lifetime=100.0)
    idle(p, "x", "h", 0.0)
    assert p.acquire("x", 59.0) == "h"
    p.release("h", 99.0)
    assert p.deadline <= 100.0
    p.handle_timeout(100.0)
    assert p.take_commands() == [CloseConnection("h", CloseReason.EXPIRED)]


def test_requests_are_counted_over_grants_too():
    p = pool(max_requests=2, max_per_peer=1)
    busy(p, "x", "h")
    p.wait("x", "w", 0.0)
    p.release("h", 0.0)
    assert p.take_commands() == [Grant("w", "x", "h")]
    p.release("h", 0.0)
    assert p.take_commands() == [CloseConnection("h", CloseReason.WORN_OUT)]


def test_waiters_are_served_in_order_by_connections_and_by_room():
    p = pool(max_per_peer=2)
    busy(p, "x", 1)
    busy(p, "x", 2)
    assert not p.reserve("x")
    assert p.reserve("y")
    for waiter in "abcd":
        p.wait("x", waiter, 0.0)
    p.release(2, 0.0)
    assert p.cancel("b")
    p.discard(1)
    p.abandon("x")
    assert p.take_commands() == [Grant("a", "x", 2), Grant("c", "x", None), Grant("d", "x", None)]
    assert not p.cancel("a")
    assert p.connections("x") == 2
    assert p.waiting == 0


def test_waiting_ends_in_time():
    p = pool(max_per_peer=1, wait_timeout=5.0)
    busy(p, "x", 1)
    p.wait("x", "a", 0.0)
    p.wait("x", "b", 1.0)
    assert p.deadline == 5.0
    p.handle_timeout(5.0)
    assert p.take_commands() == [WaitTimedOut("a")]
    assert p.deadline == 6.0
    p.release(1, 5.5)
    assert p.take_commands() == [Grant("b", "x", 1)]
    p.handle_timeout(6.0)
    assert p.take_commands() == []
    assert p.deadline == math.inf


def test_without_keeping_a_waiter_gets_room_and_no_connection():
    p = pool(size=0, max_per_peer=1)
    busy(p, "x", 1)
    p.wait("x", "a", 0.0)
    p.release(1, 0.0)
    assert p.take_commands() == [CloseConnection(1, CloseReason.NOT_KEPT), Grant("a", "x", None)]


def test_drain():
    p = pool(max_per_peer=2)
    idle(p, "y", 0)
    busy(p, "x", 1)
    busy(p, "x", 2)
    p.release(2, 0.0)
    p.drain()
    assert p.take_commands() == [CloseConnection(0, CloseReason.DRAINED), CloseConnection(2, CloseReason.DRAINED)]
    p.release(1, 0.0)
    assert p.take_commands() == [CloseConnection(1, CloseReason.DRAINED)]
    assert p.acquire("x", 0.0) is None
    p.drain()
    assert not p.has_commands


def test_the_callers_mistakes():
    p = pool(max_per_peer=1)
    with pytest.raises(LocalProtocolError, match="no room was reserved"):
        p.establish("x", 1, 0.0)
    with pytest.raises(LocalProtocolError, match="no room was reserved"):
        p.abandon("x")
    with pytest.raises(LocalProtocolError, match="nothing to wait for"):
        p.wait("x", "w", 0.0)
    idle(p, "x", 1)
    with pytest.raises(LocalProtocolError, match="released or discarded before"):
        p.release(1, 0.0)
    with pytest.raises(LocalProtocolError, match="nothing to wait for"):
        p.wait("x", "w", 0.0)
    assert p.acquire("x", 0.0) == 1
    p.wait("x", "w", 0.0)
    with pytest.raises(LocalProtocolError, match="waiting already"):
        p.wait("x", "w", 0.0)
    p.reserve("y")
    with pytest.raises(LocalProtocolError, match="in the pool already"):
        p.establish("y", 1, 0.0)
    p.discard(1)
    with pytest.raises(LocalProtocolError, match="not in the pool"):
        p.discard(1)
    with pytest.raises(ValueError, match="max_per_peer must be 1 or more"):
        pool(max_per_peer=0)


def test_churn_leaves_nothing_behind():
    """Connections that an origin closes long before their idle timeout are not remembered until then."""
    p = pool(size=8)
    for handle in range(10_000):
        idle(p, handle % 50, handle, handle / 1000)
        if handle % 3:
            p.discard(handle)
        p.take_commands()
    assert len(p._peers) == len(p._entries) == p.idle == 8
    assert len(p._deadlines._heap) <= 2 * p.idle + 34


def test_a_reused_connection_enters_the_heap_once():
    p = pool()
    idle(p, "x", 1)
    for step in range(1, 100):
        assert p.acquire("x", step / 2) == 1
        p.release(1, step / 2)
    assert len(p._deadlines._heap) == 1
    assert p.deadline == 60.0
    p.handle_timeout(60.0)
    assert p.deadline == 109.5
    assert not p.has_commands


def test_an_earlier_deadline_replaces_a_later_one():
    p = pool()
    idle(p, "x", 1, 0.0, 50.0)
    assert p.acquire("x", 1.0) == 1
    p.release(1, 1.0, 2.0)
    assert p.deadline == 3.0
    p.handle_timeout(3.0)
    assert p.take_commands() == [CloseConnection(1, CloseReason.EXPIRED)]
    p.handle_timeout(50.0)
    assert not p.has_commands
    assert p.deadline == math.inf
