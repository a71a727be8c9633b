"""What the filters of a proxy do, as values: mixed into any class of filters, they do that first."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from sansio_pingora._reprs import brief
from sansio_pingora.errors import Error
from sansio_pingora.proxy import ProxyHttp
from sansio_pingora.session import Form, Sleep, blocking, form_of
from sansio_pingora.testing.filter_calls import sleep

__all__ = [
    "FILTER_ACTS",
    "Act",
    "Awaits",
    "Blocks",
    "FilterScript",
    "Inserts",
    "Raises",
    "Replaces",
    "Responds",
    "Retries",
    "Sleeps",
]

_NEVER = 1e6  # seconds: Sleep takes finite ones, and everybody else has given up by then


class _Brief:
    __slots__ = ()

    def __repr__(self) -> str:
        return brief(self)


@dataclass(frozen=True, slots=True, repr=False)
class Sleeps(_Brief):
    """It is late by so many seconds, by an effect; by default it never goes on."""

    seconds: float = _NEVER


@dataclass(frozen=True, slots=True, repr=False)
class Awaits(_Brief):
    """It is an ``async def`` that is late by so many seconds; in the simulator only."""

    seconds: float = _NEVER


@dataclass(frozen=True, slots=True, repr=False)
class Blocks(_Brief):
    """It runs off the lane, as what may block does."""


@dataclass(frozen=True, slots=True, repr=False)
class Raises(_Brief):
    """It raises: with a *status* an :class:`Error` of HTTP, else an exception of its own."""

    status: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Inserts(_Brief):
    """It puts a field into the head, in place of those of that name."""

    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Replaces(_Brief):
    """Each piece of the body becomes *body*; the Content-Length is taken out of the head."""

    body: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Responds(_Brief):
    """It answers by itself, with an error page of *status*."""

    status: int


@dataclass(frozen=True, slots=True, repr=False)
class Retries(_Brief):
    """It asks for another attempt."""


Act = Sleeps | Awaits | Blocks | Raises | Inserts | Replaces | Responds | Retries

_WAITS = (Sleeps, Blocks, Awaits, Raises)
_HEAD, _BODY = (*_WAITS, Inserts), (*_WAITS, Replaces)

FILTER_ACTS: dict[str, tuple[type[Act], ...]] = {
    "early_request_filter": _WAITS,
    "request_filter": (*_WAITS, Responds),
    "proxy_upstream_filter": _WAITS,
    "request_body_filter": _BODY,
    "upstream_peer": _WAITS,
    "connected_to_upstream": _WAITS,
    "fail_to_connect": (Raises, Retries),
    "upstream_request_filter": _HEAD,
    "upstream_response_filter": _HEAD,
    "upstream_response_body_filter": _BODY,
    "response_filter": _HEAD,
    "response_body_filter": _BODY,
    "error_while_proxy": (Raises, Retries),
    "logging": _WAITS,
}
"""By phase, what it can do."""

_HEAD_OF = {
    "request_body_filter": "upstream_request_filter",
    "upstream_response_body_filter": "upstream_response_filter",
    "response_body_filter": "response_filter",
}

_P = TypeVar("_P", bound=ProxyHttp)


class FilterScript:
    """What some phases do, by their names: ``FilterScript(request_filter=Sleeps(0.5))``.

    :raises ValueError: there is no such phase, or it cannot do that; see :data:`FILTER_ACTS`.
    """

    def __init__(self, **acts: Act) -> None:
        for phase, act in acts.items():
            can = FILTER_ACTS.get(phase)
            if can is None:
                raise ValueError(f"{phase!r} is no phase that follows a script: {', '.join(FILTER_ACTS)}")
            if not isinstance(act, can):
                raise ValueError(f"{phase} cannot do {act!r}: {', '.join(kind.__name__ for kind in can)}")
        self.acts = acts

    def mixed_into(self, filters: type[_P]) -> type[_P]:
        """A subclass of *filters* whose phases do this first, and then what they do there.

        :raises ValueError: one of *filters* that is concerned is not plain.
        """
        stripped = {_HEAD_OF[phase] for phase, act in self.acts.items() if isinstance(act, Replaces)}
        methods: dict[str, Any] = {}
        for phase in FILTER_ACTS:
            base = getattr(filters, phase)
            if (phase in self.acts or phase in stripped) and (form := form_of(base, filters)) is not Form.PLAIN:
                raise ValueError(f"{filters.__name__}.{phase} is {form.name.lower()}: a script goes before plain ones")
            if phase in stripped:
                base = methods[phase] = _without_length(base)
            if phase in self.acts:
                methods[phase] = _method(self.acts[phase], base)
        return type(f"Scripted{filters.__name__}", (filters,), methods)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FilterScript) and self.acts == other.acts

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.acts.items(), key=lambda entry: entry[0])))

    def __repr__(self) -> str:
        return f"FilterScript({', '.join(f'{phase}={act!r}' for phase, act in self.acts.items())})"


def _method(act: Act, base: Callable[..., Any]) -> Callable[..., Any]:
    if isinstance(act, Sleeps):
        seconds = act.seconds

        def sleeps(*args: Any) -> Generator[Sleep, None, Any]:
            yield Sleep(seconds)
            return base(*args)

        return sleeps
    if isinstance(act, Awaits):
        seconds = act.seconds

        async def awaits(*args: Any) -> Any:
            await sleep(seconds)
            return base(*args)

        return awaits
    if isinstance(act, Blocks):

        def blocks(*args: Any) -> Any:
            return base(*args)

        return blocking(blocks)

    def acts(*args: Any) -> Any:
        if isinstance(act, Raises):
            if act.status is None:
                raise RuntimeError("a filter raised, as its script says")
            raise Error.http_status(act.status, "as its script says")
        if isinstance(act, Inserts):
            args[2].insert(act.name, act.value)  # self, session, head
        elif isinstance(act, Replaces):
            return act.body if args[2] else None
        elif isinstance(act, Responds):
            args[1].respond_error(act.status)
            return True
        elif isinstance(act, Retries):
            error = base(*args)
            return (error or next(arg for arg in args if isinstance(arg, Error))).with_retry(True)
        return base(*args)

    return acts


def _without_length(filter_head: Callable[..., Any]) -> Callable[..., Any]:
    def strips(*args: Any) -> Any:
        args[2].remove(b"content-length")
        return filter_head(*args)

    return strips
