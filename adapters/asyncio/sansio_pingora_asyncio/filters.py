"""Where filters run: async ones in one task per coordinator, blocking ones in threads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from sansio_pingora_posix import call_error

__all__ = ["BlockingCalls", "FilterTask"]

_THREADS = 40
"""Blocking calls at once; more wait. The figure of anyio's default limiter."""


class FilterTask:
    """Runs the async filters of one coordinator in order, in one real task, so that they share its context.

    A task costs more than a filter: it is kept between two filters, until :meth:`stop`.
    *done* takes the token of a filter and its result, or the error that stands for what it raised;
    token 0 when the task was cancelled between two filters.
    """

    __slots__ = ("_calls", "_done", "_idle", "_stopped", "busy", "over", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop, done: Callable[[int, Any], None]) -> None:
        self._done = done
        self._calls: deque[tuple[int, Callable[[], Awaitable[Any]]]] = deque()
        self._idle: asyncio.Future[None] | None = None
        self._stopped = False
        self.busy = False
        """Whether a filter runs or waits."""
        self.over = False
        """It runs nothing more: a later filter needs another task."""
        self.task = loop.create_task(self._run())

    def add(self, token: int, call: Callable[[], Awaitable[Any]]) -> None:
        """Run *call* behind those that wait already."""
        self.busy = True
        self._calls.append((token, call))
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def stop(self) -> None:
        """Run nothing more: cancel the filter under way, and end the task."""
        self._stopped = True
        # Within it, a filter's answer has made its owner stop: nothing is under way, and _run sees it.
        if self.task is not asyncio.current_task():
            self.task.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopped:
            if self._calls:
                token, call = self._calls.popleft()
                self._done(token, await self._result(call))
            else:
                self.busy = False
                self._idle = loop.create_future()
                try:
                    await self._idle
                except asyncio.CancelledError as exc:
                    self.over = True
                    if not self._stopped:
                        # A time-out of the callback's own ran out while it awaits one of our effects.
                        self._done(0, call_error(exc))
                    raise

    async def _result(self, call: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await call()
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if self._stopped or (task is not None and task.cancelling()):
                raise
            return call_error(exc)  # something that the filter awaited was cancelled, not the filter
        except Exception as exc:
            return call_error(exc)


class BlockingCalls:
    """Runs calls that may block in a bounded number of threads, made when first needed."""

    __slots__ = ("_loop", "_pool")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pool: ThreadPoolExecutor | None = None

    def run(self, call: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Run *call*; then *done* in the loop, with its result or the error that stands for what it raised."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, "sansio-pingora-blocking")
        self._pool.submit(self._work, call, done)

    def close(self) -> None:
        """Start no more of them. One that is under way cannot be stopped: its answer is nobody's."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _work(self, call: Callable[[], Any], done: Callable[[Any], None]) -> None:
        try:
            value = call()
        except BaseException as exc:
            value = call_error(exc)
        with suppress(RuntimeError):  # the loop is closed: the server has ended meanwhile
            self._loop.call_soon_threadsafe(done, value)
