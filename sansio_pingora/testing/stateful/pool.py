"""A pool of connections against a slow, obvious model, after every step."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_pingora.connectors import CloseConnection, CloseReason, ConnectionPool, Grant, WaitTimedOut
from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.testing.contracts import check_contract
from sansio_pingora.testing.stateful.pool_contract import MULTIPLEXED, QUEUE, Closes, Poollike, is_alike

__all__ = ["PoolMachine", "Pooled", "Poollike"]

KEYS = st.sampled_from(["a", "b"])
TIMES = st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0])
PICK = st.integers(0, 9)


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

    Override :meth:`make` for a pool of your own: docs/own-machines.md has what it must do. An option that your
    ``make`` does not take is none that your pool has, and nothing is asked of it there.
    """

    multiplexed = True
    """False: a connection carries one exchange at a time, and nobody calls ``share``, ``waits`` and ``take_waiter``."""
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
        max_per_peer=st.sampled_from([3, 2, 1, None]),
        idle_timeout=st.sampled_from([5.0, 5.0, 2.0, 0.0]),
        wait_timeout=st.just(4.0),
        max_lifetime=st.sampled_from([None, None, 4.0]),
        max_requests=st.sampled_from([None, None, 3, 1]),
    )
    def start(
        self,
        size: int,
        idle_timeout: float,
        max_per_peer: int | None,
        wait_timeout: float,
        max_lifetime: float | None,
        max_requests: int | None,
    ) -> None:
        """A pool, and an empty model."""
        options: dict[str, Any] = {
            "size": size,
            "idle_timeout": idle_timeout,
            "max_per_peer": max_per_peer,
            "wait_timeout": wait_timeout,
            "max_lifetime": max_lifetime,
            "max_requests": max_requests,
        }
        taken = self._taken(options)
        self.pool = self.make(**taken)
        self.queues = "max_per_peer" in taken
        without = (() if self.multiplexed else MULTIPLEXED) + (() if self.queues else QUEUE)
        check_contract(self.pool, Poollike, f"{type(self).__name__}.make() returned", without=without)
        self.has_waiters_served = self.multiplexed and self.queues
        limits = {name: math.inf if taken.get(name) is None else taken[name] for name in options}
        self.size = limits["size"]
        self.cap = limits["max_per_peer"]
        self.idle_timeout = limits["idle_timeout"]
        self.wait_timeout = limits["wait_timeout"]
        self.lifetime = limits["max_lifetime"]
        self.max_requests = limits["max_requests"]
        self.now = 0.0
        self.count = 0
        self.conns: list[Pooled] = []
        self.reserved: list[str] = []
        """Keys."""
        self.waiters: list[tuple[str, str, float]] = []
        """Who, for which key, until when; oldest first."""
        self.draining = False
        self.given: list[object] = []
        """Commands of the pool that were not compared yet."""
        self.expected: list[object] = []

    def _taken(self, options: dict[str, Any]) -> dict[str, Any]:
        """Those of *options* that :meth:`make` takes."""
        parameters = inspect.signature(self.make).parameters.values()
        if any(each.kind is each.VAR_KEYWORD for each in parameters):
            return options
        for each in parameters:
            if each.default is each.empty and each.name not in options:
                who, known = type(self).__name__, ", ".join(options)
                raise TypeError(f"{who}.make() takes {each.name}, and the options of a pool are {known}")
        return {each.name: options[each.name] for each in parameters if each.name in options}

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

    def close(self, conn: Pooled, reasons: Collection[CloseReason]) -> None:
        """The pool is to close *conn*, for any one of *reasons*."""
        self.conns.remove(conn)
        self.expected.append(Closes(conn.handle, reasons))

    def expired(self, key: str | None = None) -> list[Pooled]:
        """Those of the idle ones whose time is over."""
        return [conn for conn in self.idle(key) if conn.expires is not None and conn.expires <= self.now]

    def late(self) -> list[str]:
        """Who has waited for as long as may be."""
        return [waiter for waiter, _, until in self.waiters if until <= self.now]

    def hear(self) -> None:
        """Take the pool's commands. What time has ended it may end whenever it likes, up to ``handle_timeout``."""
        for command in self.pool.take_commands():
            match command:
                case CloseConnection(handle, CloseReason.EXPIRED) if handle in [c.handle for c in self.expired()]:
                    self.conns = [conn for conn in self.conns if conn.handle != handle]
                case WaitTimedOut(waiter) if waiter in self.late():
                    self.waiters = [entry for entry in self.waiters if entry[0] != waiter]
                case _:
                    self.given.append(command)

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
        self.hear()
        for conn in reversed(self.idle(key)):
            if conn not in self.expired():
                conn.expires = None
                conn.requests += 1
                assert handle == conn.handle, f"acquire gave {handle!r}, and {conn.handle} was released last"
                return
        assert handle is None, f"acquire gave {handle!r}, where nothing is idle that has not expired"
        left = [conn.handle for conn in self.idle(key)]
        assert not left, f"acquire gave None and has not closed {left}, which expired under the same key"
        if self.pool.reserve(key):
            assert self.total(key) < self.cap, "reserve gave room for more connections than max_per_peer"
            self.reserved.append(key)
            if at_once:
                self.dialled(pick=len(self.reserved) - 1, works=True)
        else:
            assert self.total(key) == self.cap, f"reserve gave no room, and there are {self.total(key)} of {self.cap}"
            waiter = f"w{self.next_number()}"
            self.pool.wait(key, waiter, self.now)
            self.waiters.append((waiter, key, self.now + self.wait_timeout))

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

    @precondition(lambda self: self.awaited())
    @rule(pick=PICK)
    def a_dial_fails_while_somebody_waits(self, pick: int) -> None:
        """The room that it had is the only one that comes free, perhaps."""
        awaited = self.awaited()
        self.dialled(pick=self.reserved.index(awaited[pick % len(awaited)]), works=False)

    def awaited(self) -> list[str]:
        """The keys under which room is reserved, and somebody waits."""
        return [key for key in self.reserved if any(entry[1] == key for entry in self.waiters)]

    @precondition(some_are_busy)
    @rule(pick=PICK, timeout=st.sampled_from([None, None, 7.0, 1.0, 0.0]))
    def release(self, pick: int, timeout: float | None) -> None:
        """An exchange is complete."""
        self.give_back(self.busy(pick), timeout)

    @precondition(lambda self: self.wanted())
    @rule(pick=PICK, timeout=st.sampled_from([None, 7.0, 0.0]))
    def release_what_somebody_waits_for(self, pick: int, timeout: float | None) -> None:
        """An exchange is complete, and the next one has been waiting."""
        wanted = self.wanted()
        self.give_back(wanted[pick % len(wanted)], timeout)

    def wanted(self) -> list[Pooled]:
        """Connections in use under a key under which somebody waits."""
        keys = {entry[1] for entry in self.waiters}
        return [conn for conn in self.conns if conn.expires is None and conn.key in keys]

    def give_back(self, conn: Pooled, timeout: float | None) -> None:
        """Release *conn*."""
        self.pool.release(conn.handle, self.now, timeout)
        self.hear()
        kept = self.idle_timeout if timeout is None else timeout
        retires = conn.born + self.lifetime
        holds = {
            CloseReason.DRAINED: self.draining,
            CloseReason.WORN_OUT: conn.requests >= self.max_requests,
            CloseReason.EXPIRED: retires <= self.now,
            CloseReason.NOT_KEPT: kept <= 0 or self.size == 0,
            CloseReason.EVICTED: self.size == 0,
        }
        if reasons := [reason for reason, does in holds.items() if does]:
            self.close(conn, reasons)
            self.room_came_free(conn.key)
        else:
            self._keep(conn, min(self.now + kept, retires))

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
            self.close(self.idle()[0], [CloseReason.EVICTED])

    @precondition(lambda self: self.waiters)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        """Who waits has enough of it."""
        waiter = self.waiters.pop(pick % len(self.waiters))[0]
        assert self.pool.cancel(waiter), f"cancel says that {waiter} did not wait"
        assert not self.pool.cancel(waiter), f"cancel says that {waiter} waits still"

    @precondition(lambda self: self.multiplexed and self.some_are_busy())
    @rule(pick=PICK)
    def share(self, pick: int) -> None:
        """One exchange more on a connection that has others."""
        conn = self.busy(pick)
        fresh = conn.requests < self.max_requests and self.now < conn.born + self.lifetime
        told = self.pool.share(conn.handle, self.now)
        assert told is fresh, f"share gave {told!r} after {conn.requests} requests in {self.now - conn.born} s"
        conn.requests += fresh

    @precondition(lambda self: self.has_waiters_served)
    @rule(key=KEYS)
    def a_waiter_is_served_otherwise(self, key: str) -> None:
        """There was room on a connection in use."""
        waiting = [entry for entry in self.waiters if entry[1] == key]
        told, first = self.pool.waits(key), waiting[0][0] if waiting else None
        assert told is bool(waiting), f"waits gave {told!r}, and {len(waiting)} wait"
        taken = self.pool.take_waiter(key)
        assert taken == first, f"take_waiter gave {taken!r}, and {first!r} waits longest"
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
        self.hear()
        left = [conn.handle for conn in self.expired()]
        assert not left, f"handle_timeout has not closed {left}, which expired"
        assert not self.late(), f"handle_timeout has not told {self.late()} that they waited for too long"
        deadline = self.pool.deadline
        assert deadline > self.now, f"the deadline is {deadline} still, and handle_timeout was called at {self.now}"

    @precondition(lambda self: self.idle())
    @rule(pick=PICK)
    def release_once_more(self, pick: int) -> None:
        """Somebody gives back what is idle already, which is refused and changes nothing."""
        conn = self.idle()[pick % len(self.idle())]
        try:
            self.pool.release(conn.handle, self.now)
        except LocalProtocolError:
            return
        raise AssertionError(f"release took {conn.handle} twice, without a LocalProtocolError")

    @precondition(lambda self: self.count > 25)
    @rule()
    def drain(self) -> None:
        """The server ends."""
        self.pool.drain()
        self.draining = True
        self.hear()
        for conn in self.idle():
            self.close(conn, [CloseReason.DRAINED])

    # ── after every step ─────────────────────────────────────────────────────────────

    @invariant()
    def agrees(self) -> None:
        """The pool gave the commands that the model expects, and counts what the model counts."""
        pool = self.pool
        self.hear()
        assert is_alike(self.given, self.expected), f"the commands are {self.given}, and should be {self.expected}"
        self.given, self.expected = [], []
        idle = len(self.idle())
        assert pool.idle == idle, f"idle is {pool.idle}, and {idle} are"
        if self.queues:
            assert pool.waiting == len(self.waiters), f"waiting is {pool.waiting}, and {len(self.waiters)} do"
        for key in "ab":
            counted, total = pool.connections(key), self.total(key)
            assert counted == total <= self.cap, f"connections({key!r}) is {counted}, and there are {total}"
            if any(entry[1] == key for entry in self.waiters):
                assert total == self.cap, f"somebody waits under {key!r}, and there is room"
                assert not self.idle(key), f"somebody waits under {key!r}, and a connection is idle"
        first = min(self.due(), default=math.inf)
        assert pool.deadline <= first, f"the deadline is {pool.deadline}, and something is due at {first}"
