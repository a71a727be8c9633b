"""The four forms of a user's callback: plain, ``@blocking``, ``async def``, effect generator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, TypeVar

__all__ = ["Form", "blocking", "check_form", "form_of"]

_MARK = "__sansio_pingora_blocking__"
_T = TypeVar("_T")


class Form(Enum):
    """How a callback is run."""

    PLAIN = auto()  # called in place: must not block
    BLOCKING = auto()  # off the lane: a thread on asyncio and threads, a greenlet on gevent
    ASYNC = auto()  # in a task: asyncio only
    GENERATOR = auto()  # yields effects: everywhere


def blocking(callback: _T) -> _T:
    """Mark a function, or every method of a class, as one that may block."""
    setattr(callback, _MARK, True)
    return callback


def form_of(callback: Callable[..., Any], owner: object = None) -> Form:
    """The form of *callback*, perhaps by the mark of the class of its *owner*.

    :raises TypeError: an async generator, which is none of the four.
    """
    function: Any = callback
    marked = getattr(function, _MARK, False) or getattr(type(owner), _MARK, False)
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function) and not inspect.isclass(function):
        function = type(function).__call__
    if inspect.isasyncgenfunction(function):
        raise TypeError(f"{callback!r} is an async generator: write it as async def or as a generator of effects")
    if inspect.iscoroutinefunction(function):
        return Form.ASYNC
    if inspect.isgeneratorfunction(function):
        return Form.GENERATOR
    if marked or getattr(function, _MARK, False):
        return Form.BLOCKING
    return Form.PLAIN


def check_form(name: str, form: Form, runtime: str, *, can_await: bool) -> None:
    """Refuse a form that *runtime* cannot run.

    :raises TypeError: ``async def`` where nothing awaits.
    """
    if form is Form.ASYNC and not can_await:
        raise TypeError(
            f"{name} is async def, which the {runtime} runtime cannot run: "
            "use runtime='asyncio', or write it plain, @blocking or as a generator of effects"
        )
