"""Generators that wait, driven by answers, time and bytes: the coordinator under every exchange.

A routine is a generator that yields an effect, or an :class:`Await` for something whose
token it has given away. Many can run at once in one coordinator: the proxy's spine and
the filters that park a pump.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Coroutine, Generator
from heapq import heappop, heappush
from inspect import CORO_CREATED, getcoroutinestate
from traceback import format_exception
from typing import Any

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.machine import Command, Lane, RunFilter, StopFilters
from sansio_pingora.session.callbacks import Form
from sansio_pingora.session.effects import Call, Effect, LaneEffect, Sleep
from sansio_pingora.wire import HttpTask

__all__ = ["AsyncCall", "Await", "Routine", "Routines", "as_error", "traceback_of"]

Routine = Generator[Any, Any, Any]


class Await:
    """Resume when the answer to *token* comes."""

    __slots__ = ("token",)

    def __init__(self, token: int) -> None:
        self.token = token


def as_error(exc: BaseException, context: str) -> Error:
    """*exc* as an :class:`Error`: itself, or wrapped as an internal one."""
    if isinstance(exc, Error):
        return exc
    return Error(ErrorType.INTERNAL_ERROR, context, cause=exc).into_in()


def traceback_of(error: BaseException) -> str:
    """The traceback of what was raised first."""
    root = error.root_cause if isinstance(error, Error) else error
    return "".join(format_exception(root)).rstrip()


class Routines:
    """A coordinator (see :class:`sansio_pingora.machine.Coordinator`) made of routines."""

    __slots__ = (
        "_async_used",
        "_commands",
        "_parked",
        "_sleeping",
        "_token",
        "_waiting",
        "armed",
        "deadline",
        "lane",
        "listed",
        "now",
    )

    def __init__(self, lane: Lane, now: float) -> None:
        self.lane = lane
        self.now = now
        """The time of the input that is being handled."""
        self.listed = False
        self.armed = math.inf
        self.deadline = math.inf
        self._commands: list[Command] = []
        self._waiting: dict[int, tuple[Routine, Callable[[Any, Error | None], None] | None]] = {}
        self._sleeping: list[tuple[float, int]] = []
        self._token = 0
        self._async_used = False
        # Whose async callback waits for an effect, which its task may be cancelled in.
        self._parked: Routine | None = None

    # ── the contract ─────────────────────────────────────────────────────────────────

    def take_commands(self) -> list[Command]:
        """See :meth:`Coordinator.take_commands`."""
        commands = self._commands
        if commands:
            self._commands = []
        return commands

    def resume(self, token: int, value: Any, now: float) -> None:
        """See :meth:`Coordinator.resume`."""
        waiting = self._waiting.pop(token, None)
        if waiting is not None:
            self.now = now
            if type(value) is AsyncCall and value.effect is not None:
                self._parked = waiting[0]
            self._step(*waiting, value, None)

    def fail(self, token: int, error: Error, now: float) -> None:
        """See :meth:`Coordinator.fail`."""
        if token == 0:
            if self._parked is not None:
                self.now = now
                self.interrupt(self._parked, error)
            return
        waiting = self._waiting.pop(token, None)
        if waiting is not None:
            self.now = now
            self._step(*waiting, None, error)

    def handle_timeout(self, now: float) -> None:
        """See :meth:`Coordinator.handle_timeout`."""
        self.now = now
        sleeping = self._sleeping
        while sleeping and sleeping[0][0] <= now:
            _, token = heappop(sleeping)
            self.resume(token, None, now)
        self.deadline = sleeping[0][0] if sleeping else math.inf

    def take_unread(self) -> list[HttpTask]:
        """What has come of the request and waits here to be read: it is now the caller's, and so is its read credit."""
        return []

    # ── for subclasses ───────────────────────────────────────────────────────────────

    def new_token(self) -> int:
        """A token that no answer has carried yet."""
        self._token += 1
        return self._token

    def give(self, command: Command) -> None:
        """Put *command* out."""
        self._commands.append(command)
        self.lane.enlist(self)

    def start(self, routine: Routine, ended: Callable[[Any, Error | None], None] | None = None) -> None:
        """Run *routine* until it waits; *ended* is told its result, or the error that ended it."""
        self._step(routine, ended, None, None)

    def run_deferred(self, call: Callable[[], Any], *, is_async: bool) -> Await:
        """Have *call* run off the lane; yield what this returns to wait for the result."""
        token = self.new_token()
        self._async_used = self._async_used or is_async
        self.give(RunFilter(token, call, is_async))
        return Await(token)

    def run_form(self, form: Form, call: Callable[[], Any]) -> Routine:
        """A routine that runs a callback of any form and returns its result."""
        if form is Form.PLAIN:
            return call()
        if form is Form.GENERATOR:
            return (yield from call())
        if form is Form.BLOCKING:
            return (yield self.run_deferred(call, is_async=False))
        callback = AsyncCall(call())
        try:
            while True:
                yield self.run_deferred(callback, is_async=True)
                if callback.effect is None:
                    return callback.result
                try:
                    value = yield callback.effect
                except Exception as exc:  # raised in the callback, where it awaits
                    cause = exc.cause if isinstance(exc, Error) else None
                    # Or what its task was cancelled with, which a time-out of its own knows again.
                    callback.answer(None, exc if cause is None or isinstance(cause, Exception) else cause)
                else:
                    callback.answer(value, None)
                finally:
                    self._parked = None
        finally:
            callback.leave()

    def interrupt(self, routine: Routine, error: Error) -> None:
        """Raise *error* in *routine* where it waits; the answer that it waited for is ignored."""
        for token, (waiting, ended) in self._waiting.items():
            if waiting is routine:
                del self._waiting[token]
                self._withdraw({token})
                self._step(routine, ended, None, error)
                return

    def forget(self, routine: Routine) -> None:
        """*routine* is not to go on: nobody hears of its end."""
        for token, (waiting, _) in self._waiting.items():
            if waiting is routine:
                del self._waiting[token]
                self._withdraw({token})
                break
        routine.close()

    def _withdraw(self, tokens: Collection[int]) -> None:
        """Take back the calls of *tokens* that no driver has taken yet."""
        self._commands = [
            command for command in self._commands if not (isinstance(command, RunFilter) and command.token in tokens)
        ]

    def stop_routines(self) -> None:
        """Nothing more is awaited: late answers are ignored, generators closed."""
        if not self._waiting and not self._sleeping and not self._async_used:
            return
        waiting = list(self._waiting.values())
        self._withdraw(self._waiting.keys())
        self._waiting.clear()
        self._sleeping.clear()
        self.deadline = math.inf
        for routine, _ in waiting:
            routine.close()
        if self._async_used:
            self._async_used = False
            self.give(StopFilters())

    def _step(
        self,
        routine: Routine,
        ended: Callable[[Any, Error | None], None] | None,
        value: Any,
        error: Exception | None,
    ) -> None:
        while True:
            try:
                effect = routine.send(value) if error is None else routine.throw(error)
            except StopIteration as stop:
                if ended is not None:
                    ended(stop.value, None)
                return
            except Exception as exc:
                if ended is None:
                    raise
                ended(None, as_error(exc, "a callback raised"))
                return
            kind = type(effect)
            if kind is Await:
                self._waiting[effect.token] = (routine, ended)
                return
            if kind is Sleep:
                self._sleep(effect.seconds, routine, ended)
                return
            if kind is Call:
                self._waiting[self.run_deferred(effect.call, is_async=False).token] = (routine, ended)
                return
            value, error = None, None
            try:
                token, value = self.perform(effect)
            except (Error, LocalProtocolError) as exc:
                error = exc
                continue
            if token:
                self._waiting[token] = (routine, ended)
                return

    def _sleep(self, seconds: float, routine: Routine, ended: Callable[[Any, Error | None], None] | None) -> None:
        token = self.new_token()
        self._waiting[token] = (routine, ended)
        heappush(self._sleeping, (self.now + max(seconds, 0.0), token))
        self.deadline = self._sleeping[0][0]
        self.lane.enlist(self)

    def perform(self, effect: Any) -> tuple[int, Any]:
        """An effect of a subclass: the token to wait for and nothing, or 0 and its result.

        What it raises is raised in the routine that yielded it.

        :raises LocalProtocolError: it is no effect of this coordinator.
        """
        if isinstance(effect, LaneEffect):
            return effect.begin(self, self.new_token())
        raise LocalProtocolError(f"{effect!r} is no effect that can be awaited here")


class AsyncCall:
    """An ``async def`` callback in the task that the runtime keeps for it, from one effect of ours to the next.

    A driver calls and awaits it as any call of a :class:`RunFilter`, and gives its owner what
    that returns: itself. It is to be run again, with the answer to its effect, when the next
    :class:`RunFilter` has the same call. What it awaits of the runtime's own passes through; so
    its task is one and the same from first to last, as time-outs and cancel scopes need it.
    """

    __slots__ = ("_coroutine", "_error", "_value", "effect", "over", "result", "stir")

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._value: Any = None
        self._error: BaseException | None = None
        self.effect: Effect | None = None
        """What it waits for; None: it runs, or has ended."""
        self.result: Any = None
        """What it returned."""
        self.over = False
        """Nobody waits for its end any more: its task is to cancel it, if it waits for an effect."""
        self.stir: Callable[[], None] | None = None
        """Told when it begins to wait for something of the runtime's own: what it has sent is to go out."""

    def answer(self, value: Any, error: BaseException | None) -> None:
        """What its effect brought: it gets that when it is run next."""
        self._value = value
        self._error = error

    def leave(self) -> None:
        """Nobody waits for it any more."""
        self.over = True
        if getcoroutinestate(self._coroutine) == CORO_CREATED:
            self._coroutine.close()  # its task had not come to it, and will not

    def __call__(self) -> AsyncCall:
        """What to await."""
        return self

    def __await__(self) -> Generator[Any, Any, AsyncCall]:
        self.effect = None
        coroutine = self._coroutine
        value, error = self._value, self._error
        self._value = self._error = None
        send: Callable[[Any], Any] = coroutine.send
        if error is not None:
            value = error
            send = coroutine.throw
        while True:
            try:
                wanted = send(value)
            except StopIteration as stop:
                self.result = stop.value
                return self
            if isinstance(wanted, Effect):
                self.effect = wanted
                return self
            if self.stir is not None:
                self.stir()
            try:
                value = yield wanted
                send = coroutine.send
            except BaseException as exc:  # a cancellation, or what the runtime's own raised
                value = exc
                send = coroutine.throw
