"""The end of a lane: who hears of it, how long it may take, and when it has come."""

from __future__ import annotations

import math
from collections.abc import Callable

from sansio_pingora.listeners.filters import ConnectionGate
from sansio_pingora.listeners.policy import AcceptPolicy
from sansio_pingora.machine import Acceptor, Endpoint, Lane, Member

__all__ = ["LaneEnd"]

_LEAVE = 1.0
"""Seconds before the end of the grace period at which those who still talk are told."""
Contain = Callable[[Member, Exception, float], None]


class LaneEnd:
    """Drains or aborts what is on *lane*; its driver settles the lane after every call, and shuts its listeners."""

    __slots__ = ("_lane", "_over_at", "_policy", "aborted", "acceptor", "deadline", "draining", "gate")

    def __init__(self, lane: Lane, policy: AcceptPolicy) -> None:
        self._lane = lane
        self._policy = policy
        self.acceptor: Acceptor | None = None
        """What is told to drain; None: every transport is."""
        self.gate: ConnectionGate | None = None
        """Where accepted transports wait for a connection filter."""
        self.draining = False
        self.aborted = False
        self.deadline = math.inf
        """When to call :meth:`handle_timeout`, in monotonic seconds."""
        self._over_at = math.inf

    def drain(self, grace_period: float, now: float, contain: Contain, *, keep_idle: bool = False) -> None:
        """Accept no more and let what is under way finish, for *grace_period* seconds at most; harmless again.

        *keep_idle*: idle clients have until they speak or time out, instead of a few seconds. What the application
        raises passes, once everybody else was told.
        """
        if self.draining:
            return
        if keep_idle:
            self._lane.drain_patience = math.inf
        self._shut()
        self._over_at = now + grace_period
        self.deadline = now + max(grace_period - _LEAVE, grace_period / 2)
        try:
            if self.acceptor is not None:
                self.acceptor.drain(now)
            else:
                self._each_endpoint(lambda endpoint: endpoint.connection.drain(now), now, contain)
        finally:
            self._lane.announce_drain(now)

    def handle_timeout(self, now: float) -> bool:
        """Time has passed; whether the grace period is over, and :meth:`abort` is to be called.

        What the application raises passes.
        """
        if now < self.deadline:
            return False
        if now >= self._over_at:
            return True
        self.deadline = self._over_at
        if self.acceptor is not None and self._lane.endpoints:
            self.acceptor.take_leave(now)
        return False

    def abort(self, now: float, contain: Contain) -> None:
        """Accept no more and end every transport; one that is left when the lane has settled would not."""
        self._shut()
        self.aborted = True
        self.deadline = math.inf
        self._each_endpoint(lambda endpoint: endpoint.connection.abort(now), now, contain)

    def has_ended(self, *, busy: bool) -> bool:
        """Whether it was told to end and nothing is left. *busy*: calls are under way off the lane.

        Those are waited for as transports are, unless it was aborted.
        """
        return self.draining and not self._lane.endpoints and (self.aborted or not busy)

    def _shut(self) -> None:
        self.draining = True
        self._policy.stop()
        if self.gate is not None:
            self.gate.close()

    def _each_endpoint(self, tell: Callable[[Endpoint], None], now: float, contain: Contain) -> None:
        for endpoint in list(self._lane.endpoints):
            try:
                tell(endpoint)
            except Exception as exc:
                contain(endpoint, exc, now)
            self._lane.enlist(endpoint)
