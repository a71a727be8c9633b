"""The connection pool against a slow, obvious model, after every step."""

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_pingora.connectors import CloseConnection, CloseReason, ConnectionPool, Grant, WaitTimedOut

KEYS = st.sampled_from(["a", "b"])
TIMES = st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0])


class Conn:
    def __init__(self, handle, key, born):
        self.handle = handle
        self.key = key
        self.born = born
        self.requests = 1
        self.expires = None  # a time while idle
        self.released = 0


class PoolModel(RuleBasedStateMachine):
    @initialize(
        size=st.sampled_from([4, 3, 2, 1, 0]),
        cap=st.sampled_from([3, 2, 1, None]),
        idle_timeout=st.sampled_from([5.0, 5.0, 2.0, 0.0]),
        lifetime=st.sampled_from([None, None, 4.0]),
        requests=st.sampled_from([None, None, 3, 1]),
    )
    def start(self, size, cap, idle_timeout, lifetime, requests):
        self.pool = ConnectionPool(
            size=size,
            idle_timeout=idle_timeout,
            max_per_peer=cap,
            wait_timeout=4.0,
            max_lifetime=lifetime,
            max_requests=requests,
        )
        self.size = size
        self.cap = math.inf if cap is None else cap
        self.idle_timeout = idle_timeout
        self.lifetime = math.inf if lifetime is None else lifetime
        self.max_requests = math.inf if requests is None else requests
        self.now = 0.0
        self.count = 0
        self.conns = []
        self.reserved = []  # keys
        self.waiters = []  # (waiter, key, deadline), oldest first
        self.draining = False
        self.expected = []

    # ── the model ────────────────────────────────────────────────────────────────────

    def next_number(self):
        self.count += 1
        return self.count

    def idle(self, key=None):
        """Oldest first."""
        found = [c for c in self.conns if c.expires is not None and key in (None, c.key)]
        return sorted(found, key=lambda c: c.released)

    def total(self, key):
        return sum(c.key == key for c in self.conns) + self.reserved.count(key)

    def close(self, conn, reason):
        self.conns.remove(conn)
        self.expected.append(CloseConnection(conn.handle, reason))

    def room_came_free(self, key):
        for entry in self.waiters:
            if entry[1] == key:
                self.waiters.remove(entry)
                self.reserved.append(key)
                self.expected.append(Grant(entry[0], key, None))
                return

    def busy(self, pick):
        found = [c for c in self.conns if c.expires is None]
        return found[pick % len(found)]

    def some_are_busy(self):
        return any(c.expires is None for c in self.conns)

    # ── rules ────────────────────────────────────────────────────────────────────────

    @rule(key=KEYS, at_once=st.booleans())
    def acquire(self, key, at_once):
        handle = self.pool.acquire(key, self.now)
        for conn in reversed(self.idle(key)):
            if conn.expires > self.now:
                conn.expires = None
                conn.requests += 1
                assert handle == conn.handle
                return
            self.close(conn, CloseReason.EXPIRED)
        assert handle is None
        if self.pool.reserve(key):
            assert self.total(key) < self.cap
            self.reserved.append(key)
            if at_once:
                self.dialled(pick=len(self.reserved) - 1, works=True)
        else:
            assert self.total(key) == self.cap
            waiter = f"w{self.next_number()}"
            self.pool.wait(key, waiter, self.now)
            self.waiters.append((waiter, key, self.now + 4.0))

    @precondition(lambda self: self.reserved)
    @rule(pick=st.integers(0, 9), works=st.booleans())
    def dialled(self, pick, works):
        key = self.reserved.pop(pick % len(self.reserved))
        if works:
            handle = self.next_number()
            self.pool.establish(key, handle, self.now)
            self.conns.append(Conn(handle, key, self.now))
        else:
            self.pool.abandon(key)
            self.room_came_free(key)

    @precondition(some_are_busy)
    @rule(pick=st.integers(0, 9), timeout=st.sampled_from([None, None, 7.0, 1.0, 0.0]))
    def release(self, pick, timeout):
        conn = self.busy(pick)
        self.pool.release(conn.handle, self.now, timeout)
        expires = min(self.now + (self.idle_timeout if timeout is None else timeout), conn.born + self.lifetime)
        if self.draining:
            reason = CloseReason.DRAINED
        elif conn.requests >= self.max_requests:
            reason = CloseReason.WORN_OUT
        elif conn.born + self.lifetime <= self.now:
            reason = CloseReason.EXPIRED
        elif expires <= self.now or self.size == 0:
            reason = CloseReason.NOT_KEPT
        else:
            reason = None
        if reason:
            self.close(conn, reason)
            self.room_came_free(conn.key)
            return
        for entry in self.waiters:
            if entry[1] == conn.key:
                self.waiters.remove(entry)
                conn.requests += 1
                self.expected.append(Grant(entry[0], conn.key, conn.handle))
                return
        conn.expires = expires
        conn.released = self.next_number()
        if len(self.idle()) > self.size:
            self.close(self.idle()[0], CloseReason.EVICTED)

    @precondition(lambda self: self.waiters)
    @rule(pick=st.integers(0, 9))
    def cancel(self, pick):
        waiter = self.waiters.pop(pick % len(self.waiters))[0]
        assert self.pool.cancel(waiter)
        assert not self.pool.cancel(waiter)

    @precondition(some_are_busy)
    @rule(pick=st.integers(0, 9))
    def share(self, pick):
        """One exchange more on a connection that has others."""
        conn = self.busy(pick)
        fresh = conn.requests < self.max_requests and self.now < conn.born + self.lifetime
        assert self.pool.share(conn.handle, self.now) is fresh
        conn.requests += fresh

    @rule(key=KEYS)
    def a_waiter_is_served_otherwise(self, key):
        waiting = [entry for entry in self.waiters if entry[1] == key]
        assert self.pool.waits(key) is bool(waiting)
        assert self.pool.take_waiter(key) == (waiting[0][0] if waiting else None)
        if waiting:
            self.waiters.remove(waiting[0])

    @precondition(some_are_busy)
    @rule(timeouts=st.lists(st.sampled_from([None, None, 7.0, 1.0]), min_size=12, max_size=12))
    def it_gets_quiet(self, timeouts):
        """Nobody waits any more, and what was busy becomes idle: without this, waiters get almost everything."""
        while self.waiters:
            self.cancel(0)
        for timeout in timeouts:
            if self.some_are_busy():
                self.release(0, timeout)

    @precondition(lambda self: self.conns)
    @rule(pick=st.integers(0, 9), mercy=st.sampled_from([True, True, False]))
    def discard(self, pick, mercy):
        if mercy:  # else hardly a connection lives to be reused
            return
        conn = self.conns.pop(pick % len(self.conns))
        self.pool.discard(conn.handle)
        self.room_came_free(conn.key)

    @rule(by=TIMES, noticed=st.booleans())
    def time_passes(self, by, noticed):
        self.now += by
        if not noticed:
            return
        self.pool.handle_timeout(self.now)
        expired = sorted((c for c in self.idle() if c.expires <= self.now), key=lambda c: (c.expires, c.released))
        late = [entry for entry in self.waiters if entry[2] <= self.now]
        self.conns = [c for c in self.conns if c not in expired]
        self.waiters = [entry for entry in self.waiters if entry not in late]
        # In which order those close that expired since the last look is nobody's concern.
        commands = self.pool.take_commands()
        closed = {c.handle for c in commands if isinstance(c, CloseConnection) and c.reason is CloseReason.EXPIRED}
        assert closed == {c.handle for c in expired}
        assert commands[len(expired) :] == [WaitTimedOut(entry[0]) for entry in late]
        assert self.pool.deadline > self.now

    @precondition(lambda self: self.count > 25)
    @rule()
    def drain(self):
        self.pool.drain()
        self.draining = True
        for conn in self.idle():
            self.close(conn, CloseReason.DRAINED)

    # ── after every step ─────────────────────────────────────────────────────────────

    @invariant()
    def agrees(self):
        pool = self.pool
        assert pool.take_commands() == self.expected
        self.expected = []
        assert pool.idle == len(self.idle()) <= self.size
        assert pool.waiting == len(self.waiters)
        for key in "ab":
            assert pool.connections(key) == self.total(key) <= self.cap
            if any(entry[1] == key for entry in self.waiters):
                assert self.total(key) == self.cap
                assert not self.idle(key)
        due = [c.expires for c in self.idle()] + [entry[2] for entry in self.waiters]
        assert pool.deadline <= min(due, default=math.inf)

    @invariant()
    def nothing_is_left_behind(self):
        pool = self.pool
        assert set(pool._peers) == {c.key for c in self.conns} | set(self.reserved)
        assert set(pool._entries) == {c.handle for c in self.conns}
        assert len(pool._deadlines._heap) <= 2 * len(self.conns) + 34


TestPoolModel = PoolModel.TestCase
TestPoolModel.settings = settings(stateful_step_count=100)
