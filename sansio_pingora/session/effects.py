"""What a generator callback may ask of the engine, on every runtime and in the simulator.

A callback written as a generator yields an effect and is resumed with its result::

    def request_filter(self, session, ctx):
        yield Sleep(0.1)
        user = yield Call(lambda: database.find(...))  # off the lane, may block
        return user is None

An ``async def`` callback awaits the same effects: ``await Sleep(0.1)``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

__all__ = ["Call", "Drain", "Effect", "LaneEffect", "ReadBody", "Sleep"]


class _Effect:
    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self)


@dataclass(frozen=True, slots=True)
class Sleep(_Effect):
    """Resume after *seconds*; the exchange's other direction and all others go on meanwhile.

    :raises ValueError: not a finite number: nobody would ever resume.
    """

    seconds: float

    def __post_init__(self) -> None:
        if not isfinite(self.seconds):
            raise ValueError(f"Sleep takes a finite number of seconds, not {self.seconds}")


@dataclass(frozen=True, slots=True, eq=False)
class Call(_Effect):
    """Run *call*, which may block, off the lane; resumes with its result or raises its exception."""

    call: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class ReadBody(_Effect):
    """The next bytes of the request body, or None at its end. In applications, not in proxy filters.

    When none have come by *deadline*, in monotonic seconds, it resumes with ``b""``.
    """

    deadline: float = inf


@dataclass(frozen=True, slots=True)
class Drain(_Effect):
    """Resume when there is room for more of the response. In applications, not in proxy filters."""


class LaneEffect(_Effect):
    """What machines of the same lane carry out: ``yield from`` it or ``await`` it to wait for it."""

    __slots__ = ()

    def begin(self, waiter: Any, token: int) -> tuple[int, Any]:
        """Carry it out for *waiter*, a coordinator: 0 and the result, or *token* and later ``waiter.resume(token, …)``.

        :raises Error: it cannot be carried out.
        """
        raise NotImplementedError

    def cancel(self) -> None:
        """Whoever waited was interrupted, and is to be told nothing."""

    def __await__(self) -> Generator[Any, Any, Any]:
        try:
            return (yield self)
        except BaseException:
            self.cancel()
            raise

    __iter__ = __await__


Effect = Sleep | Call | ReadBody | Drain | LaneEffect
