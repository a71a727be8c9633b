"""Connections to upstreams: which is reused, who waits for one, which must go (RFC 9112 section 9.3)."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from sansio_pingora.connectors.pool_commands import CloseConnection, CloseReason, Grant, PoolCommand, WaitTimedOut
from sansio_pingora.deadlines import Deadlines
from sansio_pingora.errors import LocalProtocolError

__all__ = ["ConnectionPool"]

H = TypeVar("H", bound=Hashable)
W = TypeVar("W", bound=Hashable)


class _Entry(Generic[H, W]):
    """One connection. ``deadline`` is its expiry while idle, infinite while busy."""

    __slots__ = ("armed", "deadline", "handle", "idle", "peer", "requests", "retires")

    def __init__(self, handle: H, peer: _Peer[H, W], retires: float) -> None:
        self.handle = handle
        self.peer = peer
        self.retires = retires
        self.requests = 1
        self.idle = False
        self.deadline = math.inf
        self.armed = math.inf


class _Peer(Generic[H, W]):
    """What there is under one key. ``busy`` counts reservations too."""

    __slots__ = ("busy", "idle", "key", "waiting")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.busy = 0
        self.idle: dict[_Entry[H, W], None] = {}  # popitem takes the most recent
        # Ordered by the linked list of OrderedDict, here and below: a dict is slow to find its
        # first key again and again after its former first keys were deleted.
        self.waiting: OrderedDict[W, None] = OrderedDict()


class ConnectionPool(Generic[H, W]):
    """Connections by reuse key: idle ones, and those in use, whatever number of streams they carry.

    To get one: :meth:`acquire`; else :meth:`reserve` room and make one (:meth:`establish`, or
    :meth:`abandon` when that failed); else :meth:`wait`. To give it back: :meth:`release`, or
    :meth:`discard` when it is of no more use. Then obey :meth:`take_commands`. One that carries
    several exchanges is acquired and released once; :meth:`share` counts those in between.

    Where anybody waits under a key, nothing is idle there and no room is left: what becomes
    free goes to whoever waits longest. Handles and waiters are opaque and compared by hash.
    Keys are compared by value. ``max_per_peer`` counts all connections under a key.
    """

    __slots__ = (
        "_commands",
        "_deadlines",
        "_draining",
        "_entries",
        "_idle",
        "_idle_timeout",
        "_max_lifetime",
        "_max_per_peer",
        "_max_requests",
        "_peers",
        "_size",
        "_wait_timeout",
        "_waiting",
        "deadline",
    )

    def __init__(
        self,
        *,
        size: int,
        idle_timeout: float,
        max_per_peer: int | None = None,
        wait_timeout: float = 5.0,
        max_lifetime: float | None = None,
        max_requests: int | None = None,
    ) -> None:
        if max_per_peer is not None and max_per_peer < 1:
            raise ValueError("max_per_peer must be 1 or more, or None: with 0 no request could ever be sent")
        self._size = size
        self._idle_timeout = idle_timeout
        self._max_per_peer = math.inf if max_per_peer is None else max_per_peer
        self._wait_timeout = wait_timeout
        self._max_lifetime = math.inf if max_lifetime is None else max_lifetime
        self._max_requests = math.inf if max_requests is None else max_requests
        self._draining = False
        self._peers: dict[Hashable, _Peer[H, W]] = {}
        self._entries: dict[H, _Entry[H, W]] = {}
        self._idle: OrderedDict[_Entry[H, W], None] = OrderedDict()  # oldest first
        self._deadlines: Deadlines[_Entry[H, W]] = Deadlines()
        # One constant timeout, so the first waiter over all keys is the next to run out.
        self._waiting: OrderedDict[W, tuple[_Peer[H, W], float]] = OrderedDict()
        self._commands: list[PoolCommand[H, W]] = []
        self.deadline = math.inf
        """When to call :meth:`handle_timeout`. May be early, never late."""

    # ── getting one ──────────────────────────────────────────────────────────────────

    def acquire(self, key: Hashable, now: float) -> H | None:
        """Take the most recently used idle connection under *key*, if there is one that has not expired."""
        peer = self._peers.get(key)
        if peer is None:
            return None
        while peer.idle:
            entry = peer.idle.popitem()[0]
            del self._idle[entry]
            if entry.deadline > now:
                entry.idle = False
                entry.deadline = math.inf
                entry.requests += 1
                peer.busy += 1
                return entry.handle
            self._close(entry, CloseReason.EXPIRED)
        if not peer.busy:  # then nobody waits either
            del self._peers[key]
        return None

    def share(self, handle: H, now: float) -> bool:
        """One exchange more is to use a busy connection; False when it has carried or lived as much as it may."""
        entry = self._entries[handle]
        if entry.requests >= self._max_requests or entry.retires <= now:
            return False
        entry.requests += 1
        return True

    def reserve(self, key: Hashable) -> bool:
        """Room for one more connection under *key*; False when the peer has as many as it may."""
        peer = self._peers.get(key)
        if peer is None:
            peer = self._peers[key] = _Peer(key)
        elif peer.busy + len(peer.idle) >= self._max_per_peer:
            return False
        peer.busy += 1
        return True

    def establish(self, key: Hashable, handle: H, now: float) -> None:
        """The connection that room was reserved for exists, and carries its first request.

        :raises LocalProtocolError: nothing was reserved under *key*, or *handle* is known.
        """
        if handle in self._entries:
            raise LocalProtocolError(f"connection {handle!r} is in the pool already")
        self._entries[handle] = _Entry(handle, self._reserved(key), now + self._max_lifetime)

    def abandon(self, key: Hashable) -> None:
        """The connection that room was reserved for will not come: the room goes to the next waiter.

        :raises LocalProtocolError: nothing was reserved under *key*.
        """
        peer = self._reserved(key)
        peer.busy -= 1
        self._settle(peer)

    def wait(self, key: Hashable, waiter: W, now: float) -> None:
        """Queue *waiter* for what becomes free under *key*: a :class:`Grant` or :class:`WaitTimedOut` follows.

        :raises LocalProtocolError: it waits already, or there is no need to.
        """
        if waiter in self._waiting:
            raise LocalProtocolError(f"{waiter!r} is waiting already")
        peer = self._peers.get(key)
        if peer is None or peer.busy < self._max_per_peer:
            raise LocalProtocolError("nothing to wait for: acquire, then reserve")
        deadline = now + self._wait_timeout
        peer.waiting[waiter] = None
        self._waiting[waiter] = peer, deadline
        if deadline < self.deadline:
            self.deadline = deadline

    def cancel(self, waiter: W) -> bool:
        """*waiter* waits no more; False when it did not (its grant may be among the commands)."""
        if (found := self._waiting.pop(waiter, None)) is None:
            return False
        del found[0].waiting[waiter]
        return True

    def waits(self, key: Hashable) -> bool:
        """Somebody waits under *key*."""
        peer = self._peers.get(key)
        return peer is not None and bool(peer.waiting)

    def take_waiter(self, key: Hashable) -> W | None:
        """Who waits longest under *key*, for whom room was found on a connection in use; it waits no more."""
        peer = self._peers.get(key)
        if peer is None or not peer.waiting:
            return None
        waiter = peer.waiting.popitem(last=False)[0]
        del self._waiting[waiter]
        return waiter

    # ── giving it back ───────────────────────────────────────────────────────────────

    def release(self, handle: H, now: float, idle_timeout: float | None = None) -> None:
        """Give back a busy connection whose exchange is complete: to the next waiter, or to be kept.

        *idle_timeout*: for this time, instead of the pool's own.

        :raises LocalProtocolError: it is idle already (a double release), or not in the pool.
        """
        entry = self._entries.get(handle)
        if entry is None or entry.idle:
            raise LocalProtocolError(f"connection {handle!r} is not busy: it was released or discarded before")
        peer = entry.peer
        expires = now + (self._idle_timeout if idle_timeout is None else idle_timeout)
        if expires > entry.retires:
            expires = entry.retires
        peer.busy -= 1
        if expires <= now or entry.requests >= self._max_requests or not self._size or self._draining:
            self._close(entry, self._why_not_kept(entry, now))
            self._settle(peer)
            return
        if peer.waiting:
            entry.requests += 1
            self._grant(peer, handle)
            return
        entry.idle = True
        entry.deadline = expires
        peer.idle[entry] = None
        self._idle[entry] = None
        if expires < entry.armed:
            self._deadlines.arm(entry)
            if expires < self.deadline:
                self.deadline = expires
        if len(self._idle) > self._size:
            self._close_idle(next(iter(self._idle)), CloseReason.EVICTED)

    def discard(self, handle: H) -> None:
        """Forget a connection that the caller closes, or that is gone; its room goes to the next waiter.

        :raises LocalProtocolError: it is not in the pool.
        """
        entry = self._entries.pop(handle, None)
        if entry is None:
            raise LocalProtocolError(f"connection {handle!r} is not in the pool")
        self._deadlines.forget(entry)
        if entry.idle:
            del self._idle[entry]
            del entry.peer.idle[entry]
        else:
            entry.peer.busy -= 1
        self._settle(entry.peer)

    # ── time and the end ─────────────────────────────────────────────────────────────

    def handle_timeout(self, now: float) -> None:
        """Close what expired, give up who waited too long. Early or repeated calls are harmless."""
        for entry in self._deadlines.due(now):
            self._close_idle(entry, CloseReason.EXPIRED)
        waiting = self._waiting
        self.deadline = self._deadlines.next
        while waiting:
            waiter, (peer, deadline) = next(iter(waiting.items()))
            if deadline > now:
                self.deadline = min(self.deadline, deadline)
                break
            del waiting[waiter]
            del peer.waiting[waiter]
            self._commands.append(WaitTimedOut(waiter))

    def drain(self) -> None:
        """Close what is idle, and from here on what is released. Who waits still gets room."""
        self._draining = True
        while self._idle:
            self._close_idle(next(iter(self._idle)), CloseReason.DRAINED)

    @property
    def has_commands(self) -> bool:
        """Whether :meth:`take_commands` would return any."""
        return bool(self._commands)

    def take_commands(self) -> list[PoolCommand[H, W]]:
        """Every command given since the last call, in order."""
        commands = self._commands
        if commands:
            self._commands = []
        return commands

    # ── for people ───────────────────────────────────────────────────────────────────

    @property
    def idle(self) -> int:
        """Idle connections, over all peers."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Who waits, over all peers."""
        return len(self._waiting)

    def connections(self, key: Hashable) -> int:
        """Connections under *key*: idle, busy, and reserved."""
        peer = self._peers.get(key)
        return 0 if peer is None else peer.busy + len(peer.idle)

    # ── inside ───────────────────────────────────────────────────────────────────────

    def _reserved(self, key: Hashable) -> _Peer[H, W]:
        peer = self._peers.get(key)
        if peer is None or not peer.busy:
            raise LocalProtocolError(f"no room was reserved under {key!r}")
        return peer

    def _why_not_kept(self, entry: _Entry[H, W], now: float) -> CloseReason:
        if self._draining:
            return CloseReason.DRAINED
        if entry.requests >= self._max_requests:
            return CloseReason.WORN_OUT
        return CloseReason.EXPIRED if entry.retires <= now else CloseReason.NOT_KEPT

    def _grant(self, peer: _Peer[H, W], handle: H | None) -> None:
        waiter = peer.waiting.popitem(last=False)[0]
        del self._waiting[waiter]
        peer.busy += 1
        self._commands.append(Grant(waiter, peer.key, handle))

    def _settle(self, peer: _Peer[H, W]) -> None:
        """Something under a key came free: pass it on, or forget the key when it was the last."""
        if peer.waiting:
            self._grant(peer, None)
        elif not peer.busy and not peer.idle:
            self._peers.pop(peer.key, None)

    def _close(self, entry: _Entry[H, W], reason: CloseReason) -> None:
        del self._entries[entry.handle]
        self._deadlines.forget(entry)
        self._commands.append(CloseConnection(entry.handle, reason))

    def _close_idle(self, entry: _Entry[H, W], reason: CloseReason) -> None:
        del self._idle[entry]
        del entry.peer.idle[entry]
        self._close(entry, reason)
        self._settle(entry.peer)
