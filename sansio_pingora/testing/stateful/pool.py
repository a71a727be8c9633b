"""A pool of connections against a slow, obvious model, after every step."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_pingora.connectors import CloseConnection, CloseReason, ConnectionPool, Grant, WaitTimedOut
from sansio_pingora.errors import LocalProtocolError

__all__ = ["PoolMachine", "Pooled", "Poollike"]

KEYS = st.sampled_from(["a", "b"])
TIMES = st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0])
PICK = st.integers(0, 9)


class Poollike(Protocol):
    """What :class:`PoolMachine` asks of a pool; see :class:`~sansio_pingora.connectors.ConnectionPool`."""

    @property
    def deadline(self) -> float:
        """When to call :meth:`handle_timeout`."""

    @property
    def idle(self) -> int:
        """Idle connections, over all peers."""

    @property
    def waiting(self) -> int:
        """Who waits, over all peers."""

    def connections(self, key: Hashable) -> int:
        """Connections under *key*: idle, busy, and reserved."""

    def acquire(self, key: Hashable, now: float) -> Any:
        """The most recently used idle connection under *key*, or None."""

    def share(self, handle: Any, now: float) -> bool:
        """One exchange more on a busy connection."""

    def reserve(self, key: Hashable) -> bool:
        """Room for one more connection under *key*."""

    def establish(self, key: Hashable, handle: Any, now: float) -> None:
        """The connection that room was reserved for exists."""

    def abandon(self, key: Hashable) -> None:
        """The connection that room was reserved for will not come."""

    def wait(self, key: Hashable, waiter: Any, now: float) -> None:
        """Queue *waiter*."""

    def cancel(self, waiter: Any) -> bool:
        """*waiter* waits no more."""

    def waits(self, key: Hashable) -> bool:
        """Somebody waits under *key*."""

    def take_waiter(self, key: Hashable) -> Any:
        """Who waits longest under *key*."""

    def release(self, handle: Any, now: float, idle_timeout: float | None = None) -> None:
        """Give back a busy connection."""

    def discard(self, handle: Any) -> None:
        """Forget a connection."""

    def handle_timeout(self, now: float) -> None:
        """Time has passed."""

    def drain(self) -> None:
        """Close what is idle."""

    def take_commands(self) -> list[Any]:
        """Every command given since the last call."""


class Pooled:
    """A connection as the model knows it."""

    def __init__(self, handle: int, key: str, born: float) -> None:
        self.handle = handle
        self.key = key
        self.born = born
        self.requests = 1
        self.expires: float | None = None
        """A time while it is idle."""
        self.released = 0


class PoolMachine(RuleBasedStateMachine):
    """Most recent first, the oldest closed first, nothing handed out that expired, nobody who waits forgotten.

    Override :meth:`make` for a pool of your own, with the methods and commands of
    :class:`~sansio_pingora.connectors.ConnectionPool`.
    """

    pool: Poollike

    def make(
        self,
        *,
        size: int,
        idle_timeout: float,
        max_per_peer: int | None,
        wait_timeout: float,
        max_lifetime: float | None,
        max_requests: int | None,
    ) -> Poollike:
        """The pool under test."""
        pool: ConnectionPool[int, str] = ConnectionPool(
            size=size,
            idle_timeout=idle_timeout,
            max_per_peer=max_per_peer,
            wait_timeout=wait_timeout,
            max_lifetime=max_lifetime,
            max_requests=max_requests,
        )
        return pool

    @initialize(
        size=st.sampled_from([4, 3, 2, 1, 0]),
        cap=st.sampled_from([3, 2, 1, None]),
        idle_timeout=st.sampled_from([5.0, 5.0, 2.0, 0.0]),
        lifetime=st.sampled_from([None, None, 4.0]),
        requests=st.sampled_from([None, None, 3, 1]),
    )
    def start(
        self, size: int, cap: int | None, idle_timeout: float, lifetime: float | None, requests: int | None
    ) -> None:
        """A pool, and an empty model."""
        self.pool = self.make(
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
        self.conns: list[Pooled] = []
        self.reserved: list[str] = []
        """Keys."""
        self.waiters: list[tuple[str, str, float]] = []
        """Who, for which key, until when; oldest first."""
        self.draining = False
        self.expected: list[object] = []
        """Commands."""

    # ── the model ────────────────────────────────────────────────────────────────────

    def next_number(self) -> int:
        """A number that was not there before."""
        self.count += 1
        return self.count

    def idle(self, key: str | None = None) -> list[Pooled]:
        """Oldest first."""
        found = [c for c in self.conns if c.expires is not None and key in (None, c.key)]
        return sorted(found, key=lambda c: c.released)

    def total(self, key: str) -> int:
        """Connections and reservations under *key*."""
        return sum(c.key == key for c in self.conns) + self.reserved.count(key)

    def close(self, conn: Pooled, reason: CloseReason) -> None:
        """The pool is to close *conn*."""
        self.conns.remove(conn)
        self.expected.append(CloseConnection(conn.handle, reason))

    def room_came_free(self, key: str) -> None:
        """The pool is to give the room to whoever waits longest."""
        for entry in self.waiters:
            if entry[1] == key:
                self.waiters.remove(entry)
                self.reserved.append(key)
                self.expected.append(Grant(entry[0], key, None))
                return

    def busy(self, pick: int) -> Pooled:
        """One of those in use."""
        found = [c for c in self.conns if c.expires is None]
        return found[pick % len(found)]

    def some_are_busy(self) -> bool:
        """Whether there is one in use."""
        return any(c.expires is None for c in self.conns)

    # ── rules ────────────────────────────────────────────────────────────────────────

    @rule(key=KEYS, at_once=st.booleans())
    def acquire(self, key: str, at_once: bool) -> None:
        """Somebody wants a connection."""
        handle = self.pool.acquire(key, self.now)
        for conn in reversed(self.idle(key)):
            assert conn.expires is not None
            if conn.expires > self.now:
                conn.expires = None
                conn.requests += 1
                assert handle == conn.handle, f"got {handle}, the most recent is {conn.handle}"
                return
            self.close(conn, CloseReason.EXPIRED)
        assert handle is None, f"got {handle} where nothing is idle"
        if self.pool.reserve(key):
            assert self.total(key) < self.cap, "more connections than a peer may have"
            self.reserved.append(key)
            if at_once:
                self.dialled(pick=len(self.reserved) - 1, works=True)
        else:
            assert self.total(key) == self.cap, "no room, though the peer has fewer than it may"
            waiter = f"w{self.next_number()}"
            self.pool.wait(key, waiter, self.now)
            self.waiters.append((waiter, key, self.now + 4.0))

    @precondition(lambda self: self.reserved)
    @rule(pick=PICK, works=st.booleans())
    def dialled(self, pick: int, works: bool) -> None:
        """A connection that room was reserved for came, or not."""
        key = self.reserved.pop(pick % len(self.reserved))
        if works:
            handle = self.next_number()
            self.pool.establish(key, handle, self.now)
            self.conns.append(Pooled(handle, key, self.now))
        else:
            self.pool.abandon(key)
            self.room_came_free(key)

    @precondition(some_are_busy)
    @rule(pick=PICK, timeout=st.sampled_from([None, None, 7.0, 1.0, 0.0]))
    def release(self, pick: int, timeout: float | None) -> None:
        """An exchange is complete."""
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
            self._keep(conn, expires)
            return
        self.close(conn, reason)
        self.room_came_free(conn.key)

    def _keep(self, conn: Pooled, expires: float) -> None:
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
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        """Who waits has enough of it."""
        waiter = self.waiters.pop(pick % len(self.waiters))[0]
        assert self.pool.cancel(waiter)
        assert not self.pool.cancel(waiter)

    @precondition(some_are_busy)
    @rule(pick=PICK)
    def share(self, pick: int) -> None:
        """One exchange more on a connection that has others."""
        conn = self.busy(pick)
        fresh = conn.requests < self.max_requests and self.now < conn.born + self.lifetime
        assert self.pool.share(conn.handle, self.now) is fresh
        conn.requests += fresh

    @rule(key=KEYS)
    def a_waiter_is_served_otherwise(self, key: str) -> None:
        """There was room on a connection in use."""
        waiting = [entry for entry in self.waiters if entry[1] == key]
        assert self.pool.waits(key) is bool(waiting)
        assert self.pool.take_waiter(key) == (waiting[0][0] if waiting else None)
        if waiting:
            self.waiters.remove(waiting[0])

    @precondition(some_are_busy)
    @rule(timeouts=st.lists(st.sampled_from([None, None, 7.0, 1.0]), min_size=12, max_size=12))
    def it_gets_quiet(self, timeouts: list[float | None]) -> None:
        """Nobody waits any more, and what was busy becomes idle: without this, waiters get almost everything."""
        while self.waiters:
            self.cancel(0)
        for timeout in timeouts:
            if self.some_are_busy():
                self.release(0, timeout)

    @precondition(lambda self: self.conns)
    @rule(pick=PICK, mercy=st.sampled_from([True, True, False]))
    def discard(self, pick: int, mercy: bool) -> None:
        """A connection is of no more use; with *mercy* it is: else hardly one lives to be reused."""
        if mercy:
            return
        conn = self.conns.pop(pick % len(self.conns))
        self.pool.discard(conn.handle)
        self.room_came_free(conn.key)

    @rule(by=TIMES, noticed=st.booleans())
    def time_passes(self, by: float, noticed: bool) -> None:
        """And the pool is told of it, or not yet."""
        self.now += by
        if noticed:
            self.notice()

    @precondition(lambda self: self.due())
    @rule(pick=PICK, noticed=st.booleans())
    def a_time_comes(self, pick: int, noticed: bool) -> None:
        """It is exactly the time at which something expires."""
        due = self.due()
        self.now = max(self.now, due[pick % len(due)])
        if noticed:
            self.notice()

    def due(self) -> list[float]:
        """When idle connections expire, and waiters run out of time."""
        return [c.expires for c in self.idle() if c.expires is not None] + [entry[2] for entry in self.waiters]

    def notice(self) -> None:
        """The pool is told of the time, and gives up what has had its own."""
        self.pool.handle_timeout(self.now)
        expired = [c for c in self.idle() if c.expires is not None and c.expires <= self.now]
        late = [entry for entry in self.waiters if entry[2] <= self.now]
        self.conns = [c for c in self.conns if c not in expired]
        self.waiters = [entry for entry in self.waiters if entry not in late]
        # In which order those close that expired since the last look is nobody's concern.
        commands = self.pool.take_commands()
        closed = {c.handle for c in commands if isinstance(c, CloseConnection) and c.reason is CloseReason.EXPIRED}
        assert closed == {c.handle for c in expired}
        assert commands[len(expired) :] == [WaitTimedOut(entry[0]) for entry in late]
        assert self.pool.deadline > self.now

    @precondition(lambda self: self.idle())
    @rule(pick=PICK)
    def release_once_more(self, pick: int) -> None:
        """Somebody gives back what is idle already, which is refused and changes nothing."""
        conn = self.idle()[pick % len(self.idle())]
        try:
            self.pool.release(conn.handle, self.now)
        except LocalProtocolError:
            return
        raise AssertionError(f"{conn.handle} was given back twice")

    @precondition(lambda self: self.count > 25)
    @rule()
    def drain(self) -> None:
        """The server ends."""
        self.pool.drain()
        self.draining = True
        for conn in self.idle():
            self.close(conn, CloseReason.DRAINED)

    # ── after every step ─────────────────────────────────────────────────────────────

    @invariant()
    def agrees(self) -> None:
        """The pool gave the commands that the model expects, and counts what the model counts."""
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
        assert pool.deadline <= min(self.due(), default=math.inf), "something is due before the deadline"
