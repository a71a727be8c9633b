"""Where filters run: async ones in one task per coordinator, blocking ones in threads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any

from sansio_pingora.session import AsyncCall
from sansio_pingora_posix import Workers, call_error

__all__ = ["BlockingCalls", "FilterTask"]

_THREADS = 40
"""Blocking calls at once; more wait. The figure of anyio's default limiter."""


class FilterTask:
    """Runs the async filters of one coordinator in order, in one real task, so that they share its context.

    A task costs more than a filter: it is kept between two filters, until :meth:`stop`. One that
    awaits an effect has the task to itself until it has ended: whoever cancels the task then,
    a time-out or a cancel scope of its own, means this filter and no other.

    *done* takes the token of a filter and its result, or the error that stands for what it raised;
    token 0 when the task was cancelled while the filter awaits an effect. *stir* is called when a
    filter begins to wait for something else. Both are called in a copy of *context*, from which the task's own is
    copied too: what one exchange sets in it is no business of another, whose turn may come of this.
    """

    __slots__ = ("_calls", "_context", "_done", "_idle", "_loop", "_parked", "_stir", "_stopped", "busy", "task")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: Context,
        done: Callable[[int, Any], None],
        stir: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._context = context
        self._done = done
        self._stir = stir
        self._calls: deque[tuple[int, Callable[[], Awaitable[Any]]]] = deque()
        self._parked: AsyncCall | None = None
        self._idle: asyncio.Future[None] | None = None
        self._stopped = False
        self.busy = False
        """Whether a filter runs or waits for its turn."""
        self.task = loop.create_task(self._run(), context=context.copy())

    def add(self, token: int, call: Callable[[], Awaitable[Any]]) -> None:
        """Run *call* behind those that wait already; at once if it is the filter that awaits an effect."""
        self.busy = True
        if isinstance(call, AsyncCall):
            call.stir = partial(self._context.copy().run, self._stir)
        self._calls.append((token, call))
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def stop(self) -> None:
        """Run nothing more: cancel the filter under way, and end the task."""
        self._stopped = True
        if self._parked is None and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)  # it waits for nothing but more to do: that is cheaper than to be cancelled
            return
        # Within it, a filter's answer has made its owner stop: nothing is under way, and _run sees it.
        if self.task is not asyncio.current_task():
            self.task.cancel()

    async def _run(self) -> None:
        try:
            while not self._stopped:
                if self._parked is not None and self._parked.over:
                    await self._unwind(self._parked)
                elif (following := self._next()) is not None:
                    token, call = following
                    value = await self._result(call)
                    self._parked = value if isinstance(value, AsyncCall) and value.effect is not None else None
                    self._context.copy().run(self._done, token, value)
                else:
                    await self._wait()
        finally:
            if self._parked is not None:
                await self._unwind(self._parked)

    def _next(self) -> tuple[int, Callable[[], Awaitable[Any]]] | None:
        """What to run now, if anything."""
        calls = self._calls
        if self._parked is None:
            return calls.popleft() if calls else None
        for entry in calls:
            if entry[1] is self._parked:
                calls.remove(entry)
                return entry
        return None

    async def _wait(self) -> None:
        """Until there is something to do."""
        self.busy = False
        self._idle = self._loop.create_future()
        try:
            await self._idle
        except asyncio.CancelledError as exc:
            if self._stopped:
                raise
            if self._parked is None:
                self._forgive()  # it was meant for a filter that has ended
            elif any(call is self._parked for _, call in self._calls):
                # The answer was faster, and could be bytes that nobody would get again: so it goes first.
                self._loop.call_soon(self._cancel_again, *exc.args)
            else:
                self._context.copy().run(self._done, 0, call_error(exc))

    def _cancel_again(self, message: Any = None) -> None:
        """The filter has had its answer: if it did not leave the time-out with it, it is cancelled where it is now."""
        if self.task.cancelling() and not self.task.done():
            self.task.uncancel()
            self.task.cancel(message)

    async def _result(self, call: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await call()
        except asyncio.CancelledError as exc:
            if self._stopped:
                raise
            self._forgive()
            return call_error(exc)  # something that the filter awaited was cancelled, or it was by somebody else
        except Exception as exc:
            return call_error(exc)

    async def _unwind(self, parked: AsyncCall) -> None:
        """Let a filter that nobody waits for end in its own task, as its cancel scopes need it."""
        self._parked = None
        parked.answer(None, asyncio.CancelledError())
        with suppress(asyncio.CancelledError):
            await self._result(parked)

    def _forgive(self) -> None:
        """A cancellation has had its effect: the next time-out in this task is to find none."""
        while self.task.cancelling():
            self.task.uncancel()


class BlockingCalls:
    """Runs calls that may block in a bounded number of threads, made when first needed."""

    __slots__ = ("_context", "_loop", "_workers")

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        self._loop = loop
        self._context = context
        self._workers = Workers(_THREADS, "sansio-pingora-blocking")

    def run(self, call: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Run *call*; then *done* in the loop, with its result or the error that stands for what it raised.

        Either is called in a copy of the context that was given.
        """
        try:
            self._workers.submit(partial(self._work, call, done))
        except Exception as exc:
            self._loop.call_soon(done, call_error(exc), context=self._context.copy())

    def close(self) -> None:
        """Start no more of them. One that is under way cannot be stopped: its answer is nobody's."""
        self._workers.close()

    def _work(self, call: Callable[[], Any], done: Callable[[Any], None]) -> None:
        try:
            value = self._context.copy().run(call)
        except BaseException as exc:
            value = call_error(exc)
        with suppress(RuntimeError):  # the loop is closed: the server has ended meanwhile
            self._loop.call_soon_threadsafe(done, value, context=self._context.copy())
