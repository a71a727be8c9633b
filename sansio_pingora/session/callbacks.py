"""The four forms of a user's callback: plain, ``@blocking``, ``async def``, effect generator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from difflib import get_close_matches
from enum import Enum, auto
from typing import Any, TypeVar

__all__ = ["Form", "blocking", "check_callbacks", "check_form", "form_of"]

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


_CLOSE = 0.87
"""Of difflib: one wrong, missing or extra letter in seven is close, and what another word is added to is not."""


def check_callbacks(owner: object, base: type, names: Collection[str]) -> None:
    """Hold *owner*, an object or a subclass of *base*, to the callbacks *names* of that.

    A method is taken for a callback that was misspelt when its name is close to one, and it takes its arguments. Left
    alone are names with a leading underscore, those of a callback in the plural or another tense (``request_filters``,
    ``receive``), and those close to a callback that *owner* has as well.

    :raises TypeError: a misspelt name, or a callback that does not take what it will be given.
    """
    kind = owner if isinstance(owner, type) else type(owner)
    for name in names:
        if not _has(owner, base, name):
            continue
        found, usual = getattr(owner, name), getattr(base, name)
        if not callable(found):
            raise TypeError(f"{kind.__name__}.{name} is {found!r}: write a method {name}{inspect.signature(usual)}")
        if not _takes(found, usual, bound=owner is not kind):
            own = inspect.signature(found, follow_wrapped=False)
            raise TypeError(
                f"{kind.__name__}.{name}{own} does not take what it is given: "
                f"write {name}({', '.join(inspect.signature(usual).parameters)})"
            )
    by_letters = {_letters(name): name for name in names}
    for name in _own_methods(kind, base):
        close = get_close_matches(_letters(name), by_letters, n=1, cutoff=_CLOSE)
        if not close or _inflected(_letters(name), close[0]):
            continue
        meant = by_letters[close[0]]
        if _has(owner, base, meant) or not _takes(getattr(kind, name), getattr(base, meant), bound=False):
            continue
        raise TypeError(
            f"{kind.__name__}.{name} is no callback of {base.__name__}: did you mean {meant!r}? "
            f"A method of your own may be called _{name}"
        )


def _has(owner: object, base: type, name: str) -> bool:
    """Whether *owner* has a callback *name* of its own."""
    found = getattr(owner, name)
    return getattr(found, "__func__", found) is not getattr(base, name)


def _inflected(one: str, other: str) -> bool:
    """Whether *one* is *other* in the plural or another tense."""
    short, long = sorted((one, other), key=len)
    return long.removeprefix(short) in ("s", "d", "ed")


def _own_methods(kind: type, base: type) -> list[str]:
    """Public methods that *base* knows nothing of, and that nothing else shadows."""
    added = [one for one in kind.__mro__ if one not in base.__mro__]
    return [
        name
        for one in added
        for name, value in vars(one).items()
        if inspect.isfunction(value) and inspect.isfunction(getattr(kind, name, None))
        if not name.startswith("_") and not hasattr(base, name)
    ]


def _letters(name: str) -> str:
    return name.replace("_", "").lower()


def _takes(found: Callable[..., Any], usual: Callable[..., Any], *, bound: bool) -> bool:
    """Whether *found* can be called as *usual* is, a function with self; *bound*: without that."""
    size = len(inspect.signature(usual).parameters) - bound
    try:
        signature = inspect.signature(found, follow_wrapped=False)
    except ValueError:  # of something in C that does not say
        return True
    try:
        signature.bind(*[None] * size)
    except TypeError:
        return False
    return True
