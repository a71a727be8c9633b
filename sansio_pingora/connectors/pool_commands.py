"""What the pool orders: connections to close, and what to tell those who wait."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

__all__ = ["CloseConnection", "CloseReason", "Grant", "PoolCommand", "WaitTimedOut"]

H = TypeVar("H", bound=Hashable)
W = TypeVar("W", bound=Hashable)


class CloseReason(Enum):
    """Why the pool gives a connection up."""

    EXPIRED = "expired"  # unused for its idle timeout, or past its lifetime
    EVICTED = "evicted"  # the oldest idle one, where a fresher one had to find room
    WORN_OUT = "worn out"  # it carried as many requests as one connection may
    NOT_KEPT = "not kept"  # nothing is kept: pool size or idle timeout 0
    DRAINED = "drained"  # the pool is being emptied


@dataclass(frozen=True, slots=True)
class CloseConnection(Generic[H]):
    """Command: close this connection; the pool has already forgotten it."""

    handle: H
    reason: CloseReason


@dataclass(frozen=True, slots=True)
class Grant(Generic[H, W]):
    """Command: *waiter* gets *handle*, busy from here on; or, with None, room for a connection of its own.

    Such room is a reservation: it ends in :meth:`ConnectionPool.establish` or :meth:`ConnectionPool.abandon`.
    """

    waiter: W
    key: Hashable
    handle: H | None


@dataclass(frozen=True, slots=True)
class WaitTimedOut(Generic[W]):
    """Command: tell *waiter* that nothing became free in time."""

    waiter: W


PoolCommand = CloseConnection[H] | Grant[H, W] | WaitTimedOut[W]
