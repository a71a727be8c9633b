"""Filters that run off the lane: blocking calls and coroutines, in virtual time."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.machine import RunFilter

__all__ = ["FilterCall", "FilterCancelled", "as_filter_error", "sleep"]


class FilterCancelled(BaseException):
    """A filter's task was cancelled from outside, as runtimes do it: not an ``Exception``."""


class FilterCall:
    """A filter that was begun: its result, or where its coroutine stands."""

    __slots__ = ("command", "delay", "error", "steps", "value")

    def __init__(self, command: RunFilter) -> None:
        self.command = command
        self.value: Any = None
        self.error: Error | None = None
        self.delay = 0.0
        """How long the coroutine sleeps now."""
        self.steps: Generator[float, None, Any] | None = None
        """What is left of the coroutine; None when there is a result."""

    def begin(self) -> None:
        """Make the call, up to its end or the first sleep."""
        try:
            value = self.command.call()
        except Exception as exc:
            self.error = as_filter_error(exc)
            return
        if not self.command.is_async:
            self.value = value
            return
        self.steps = value.__await__()
        self.step()

    def step(self) -> None:
        """Run the coroutine up to its end or the next sleep."""
        assert self.steps is not None
        self.delay = 0.0
        try:
            self.delay = self.steps.send(None)
        except StopIteration as stop:
            self.value = stop.value
            self.steps = None
        except Exception as exc:
            self.error = as_filter_error(exc)
            self.steps = None

    def cancel(self, error: Error | None) -> None:
        """Let it end with *error*, whatever it would have returned."""
        self.error = error
        steps, self.steps = self.steps, None
        if steps is not None:
            try:
                steps.throw(FilterCancelled())
            except (FilterCancelled, StopIteration, Exception):  # noqa: S110  # nobody hears what a cancelled task says
                pass


class _Sleep:
    __slots__ = ("delay",)

    def __init__(self, delay: float) -> None:
        self.delay = delay

    def __await__(self) -> Generator[float, None, None]:
        yield self.delay


async def sleep(delay: float) -> None:
    """Sleep for *delay* virtual seconds: the one thing that an ``async def`` filter can await in the simulator."""
    await _Sleep(delay)


def as_filter_error(exc: BaseException) -> Error:
    """*exc* as a driver reports it."""
    if isinstance(exc, Error):
        return exc
    return Error(ErrorType.INTERNAL_ERROR, "a filter raised", cause=exc)
