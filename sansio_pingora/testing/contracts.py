"""What somebody's own class must have to be tested, checked at the start and told by name."""

from __future__ import annotations

import inspect
from collections.abc import Container, Iterator
from typing import Any, Protocol

__all__ = ["check_contract"]

_VALUES: dict[str, type | tuple[type, ...]] = {"float": (int, float), "int": int, "bytes": bytes}
"""What a property with this annotation may be; others are not looked at."""


def check_contract(made: object, contract: type, said: str, *, without: Container[str] = ()) -> None:
    """Refuse *made* where it is not what *contract*, a protocol, asks for; *said* begins the sentence about it.

    Each property is read once, and no method is called. Members in *without* are not asked for.

    :raises TypeError: a line for each member that is missing or of the wrong kind.
    """
    if isinstance(made, type):
        raise TypeError(f"{said} the class {made.__qualname__}, and an object of it is asked for")
    wrong = [
        f"  {name}: {problem}"
        for name, asked in _members(contract)
        if name not in without and (problem := _problem(made, name, asked)) is not None
    ]
    if wrong:
        kind = type(made).__qualname__
        lines = [f"{said} {'None' if made is None else kind}, which is not all that is asked for:", *wrong]
        raise TypeError("\n".join([*lines, "docs/own-machines.md has what each of them must do"]))


def _members(contract: type) -> Iterator[tuple[str, Any]]:
    for base in reversed(contract.__mro__):
        if base not in (object, Protocol) and getattr(base, "_is_protocol", False):
            yield from ((name, asked) for name, asked in vars(base).items() if not name.startswith("_"))


def _problem(made: object, name: str, asked: Any) -> str | None:
    if not isinstance(asked, property) and not inspect.isfunction(asked):
        return None
    is_value = isinstance(asked, property)
    what = (inspect.getdoc(asked) or "").partition("\n")[0].replace("*", "")
    call = name if is_value else f"{name}{_parameters(asked)}"
    try:
        found = getattr(made, name)
    except AttributeError:
        return f"missing {'property' if is_value else f'method {call}'}: {what}"
    if is_value:
        return _value_problem(found, asked, what)
    if not callable(found):
        return f"is {found!r}, and a method {call} is asked for: {what}"
    if inspect.iscoroutinefunction(found):
        return f"is async, and a plain method {call} is asked for: nothing in here waits"
    return _call_problem(found, asked, call)


def _value_problem(found: object, asked: Any, what: str) -> str | None:
    if inspect.isroutine(found):
        return f"is a method, and a property is asked for: {what}"
    annotation = inspect.signature(asked.fget).return_annotation
    kinds = _VALUES.get(annotation, object)
    if not isinstance(found, kinds) or (isinstance(found, bool) and kinds is not object):
        return f"is {found!r}, and a property of type {annotation} is asked for: {what}"
    return None


def _call_problem(found: Any, asked: Any, call: str) -> str | None:
    try:
        takes = inspect.signature(found)
    except (TypeError, ValueError):  # of an extension, which does not say
        return None
    asks = list(inspect.signature(asked).parameters.values())[1:]
    named = {each.name: None for each in asks if each.kind is each.KEYWORD_ONLY}
    try:
        takes.bind(*[None] * (len(asks) - len(named)), **named)
    except TypeError:
        return f"takes {takes}, and is called as {call}"
    return None


def _parameters(asked: Any) -> str:
    """Those of a method, as it is called: without *self* and types."""
    signature = inspect.signature(asked)
    bare = [each.replace(annotation=each.empty) for each in list(signature.parameters.values())[1:]]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))
