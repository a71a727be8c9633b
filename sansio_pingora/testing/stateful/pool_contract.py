"""What a state machine asks of a pool, and how its commands compare."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from sansio_pingora.connectors import CloseConnection, CloseReason, Grant, WaitTimedOut

__all__ = ["MULTIPLEXED", "QUEUE", "Closes", "Poollike", "is_alike"]

MULTIPLEXED = ("share", "waits", "take_waiter")
"""What is asked of a pool whose connections carry several exchanges at a time."""
QUEUE = ("wait", "waiting", "cancel", "waits", "take_waiter")
"""What is asked of a pool with a ceiling for each peer."""


class Poollike(Protocol):
    """What :class:`.PoolMachine` asks of a pool; see :class:`~sansio_pingora.connectors.ConnectionPool`."""

    @property
    def deadline(self) -> float:
        """When handle_timeout is to be called, math.inf for never: not later than the first expiry or time-out."""

    @property
    def idle(self) -> int:
        """How many connections are idle, over all keys."""

    @property
    def waiting(self) -> int:
        """How many wait, over all keys."""

    def connections(self, key: Hashable) -> int:
        """How many connections are under *key*: idle, busy, and reserved."""

    def acquire(self, key: Hashable, now: float) -> Any:
        """The idle connection under *key* that was released last and has not expired; None: none is idle there."""

    def share(self, handle: Any, now: float) -> bool:
        """One exchange more on a busy connection; False when it has carried or lived as much as it may."""

    def reserve(self, key: Hashable) -> bool:
        """Room for one more connection under *key*; False when there are max_per_peer."""

    def establish(self, key: Hashable, handle: Any, now: float) -> None:
        """The connection that room was reserved for exists, is busy, and carries its first request."""

    def abandon(self, key: Hashable) -> None:
        """The connection that room was reserved for will not come: the room goes to who waits longest."""

    def wait(self, key: Hashable, waiter: Any, now: float) -> None:
        """Queue *waiter*: a Grant follows, or in wait_timeout seconds a WaitTimedOut."""

    def cancel(self, waiter: Any) -> bool:
        """*waiter* waits no more; False when it did not."""

    def waits(self, key: Hashable) -> bool:
        """Whether somebody waits under *key*."""

    def take_waiter(self, key: Hashable) -> Any:
        """Who waits longest under *key*, and waits no more; None: nobody does."""

    def release(self, handle: Any, now: float, idle_timeout: float | None = None) -> None:
        """A busy connection is free: for who waits longest, or to be kept *idle_timeout* seconds, or closed."""

    def discard(self, handle: Any) -> None:
        """A connection, idle or busy, is gone: it is forgotten, and its room goes to who waits longest."""

    def handle_timeout(self, now: float) -> None:
        """Close what has expired, tell who has waited too long; early or repeated calls are harmless."""

    def drain(self) -> None:
        """Close what is idle, and from here on what is released."""

    def take_commands(self) -> list[Any]:
        """Every command since the last call, in order: CloseConnection, Grant and WaitTimedOut; [] for none."""


@dataclass(frozen=True, slots=True, repr=False)
class Closes:
    """A close that is expected, for any one of *reasons*: each of them holds."""

    handle: Any
    reasons: Collection[CloseReason]

    def __repr__(self) -> str:
        reasons = " or ".join(str(reason) for reason in self.reasons)
        return f"CloseConnection(handle={self.handle!r}, reason={reasons})"


def is_alike(given: Iterable[Any], expected: Iterable[Any]) -> bool:
    """Whether they are the same commands. Closes one behind the other have no order, nor have time-outs."""
    mine, theirs = _ordered(given), _ordered(expected)
    return len(mine) == len(theirs) and all(map(_is_one, mine, theirs))


def _ordered(commands: Iterable[Any]) -> list[Any]:
    def kind(command: Any) -> str:
        match command:
            case CloseConnection() | Closes():
                return "close"
            case WaitTimedOut():
                return "time-out"
            case _:
                return "other"

    found = []
    for of, group in groupby(commands, key=kind):
        run = list(group)
        found += run if of == "other" else sorted(run, key=_name)
    return found


def _name(command: Any) -> str:
    return repr(command.waiter if isinstance(command, WaitTimedOut) else command.handle)


def _is_one(given: Any, expected: Any) -> bool:
    if isinstance(expected, Closes):
        return (
            isinstance(given, CloseConnection) and given.handle == expected.handle and given.reason in expected.reasons
        )
    assert isinstance(expected, Grant | WaitTimedOut)
    return bool(given == expected)
