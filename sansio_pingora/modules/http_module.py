"""A module: filters with a state of their own for each exchange, and the registry that makes them.

A service has two sets. The *downstream* ones stand before the client: they see its request
before the application does, and every final response last, whoever wrote it. The *upstream*
ones stand before the origin: they are made anew for each attempt, see the request last, and
the response first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.session import Form, check_callbacks, check_form, form_of

if TYPE_CHECKING:
    from sansio_pingora.session import ServerSession
    from sansio_pingora.wire import Fields, RequestHeader, ResponseHeader

__all__ = ["HttpModule", "HttpModuleCtx", "HttpModules", "ModuleFilter"]

_M = TypeVar("_M", bound="HttpModule")

PHASES = (
    "request_header_filter",
    "request_body_filter",
    "response_header_filter",
    "response_body_filter",
    "response_trailer_filter",
    "done",
)
_RESPONSE = PHASES[2:5]


class HttpModule:
    """Filters of one exchange, or upstream of one attempt. Override what you need; the rest costs nothing.

    The filters of requests, and all of upstream modules, may wait as callbacks of a proxy may: plain, ``@blocking``,
    ``async def`` or generator. Those of responses in a downstream module are plain, for they run wherever a response
    is written. An exception answers 500, an :class:`~sansio_pingora.errors.Error` what it maps to.
    """

    order: int = 0
    """Modules of a higher order run first, on requests and on responses alike; equal ones as they were added."""

    def request_header_filter(self, session: ServerSession, request: RequestHeader) -> bool | None:
        """The request's head, to be changed. True in a downstream module: the answer was written already."""

    def request_body_filter(self, session: ServerSession, body: bytes, end_of_stream: bool) -> bytes | None:
        """Each piece of the request body once: bytes instead, or None for as it is. Not in upstream modules."""

    def response_header_filter(self, session: ServerSession, response: ResponseHeader, end_of_stream: bool) -> None:
        """The final head, to be changed. *end_of_stream*: nothing follows it."""

    def response_body_filter(self, session: ServerSession, body: bytes, end_of_stream: bool) -> bytes | None:
        """Each piece of the body: bytes instead, or None for as it is. ``b""`` holds it back.

        Of a response with a body the last call, and no other, has *end_of_stream*; it may come with no bytes. It
        does not come where the rest is cut off: the client has left, or has all that the response was made to be.
        """

    def response_trailer_filter(self, session: ServerSession, trailers: Fields) -> bytes | None:
        """The trailers, to be changed, behind the last of the body. Bytes: they end the body in their place."""

    def done(self, session: ServerSession) -> None:
        """Plain. The exchange is over, or upstream the attempt, however it ended. Called once."""


class ModuleFilter:
    """One overridden method of one registered module."""

    __slots__ = ("at", "form", "full_name", "function", "name", "upstream")

    def __init__(
        self, at: int, kind: type[HttpModule], name: str, function: Callable[..., Any], *, upstream: bool
    ) -> None:
        self.at = at
        """The index of its module in :attr:`HttpModuleCtx.modules`."""
        self.name = name
        self.full_name = f"{kind.__name__}.{name}"
        self.form = form_of(function)
        self.upstream = upstream
        self.function = function


class _Entry:
    __slots__ = ("kind", "make", "order")

    def __init__(self, kind: type[HttpModule], make: Callable[[], HttpModule], order: int) -> None:
        self.kind = kind
        self.make = make
        self.order = order


class HttpModules:
    """The modules of one side of a service, registered once at start."""

    def __init__(self, *, upstream: bool = False) -> None:
        self._upstream = upstream
        self._entries: list[_Entry] = []
        self._filters: dict[str, tuple[ModuleFilter, ...]] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def add_module(self, make: Callable[[], HttpModule], *, order: int | None = None) -> None:
        """Register a module: its class, or what returns a new one for each exchange.

        *order*: instead of the module's own. *make* is called once at start, to see what it makes.

        :raises TypeError: it makes no :class:`HttpModule`, one that waits where it must not, or one with a method whose
            name or arguments are wrong.
        :raises LocalProtocolError: a module of that class is there already, or the service has started.
        """
        if self._filters is not None:
            raise LocalProtocolError("modules are added at start, in init_downstream_modules or init_upstream_modules")
        made = make()
        if not isinstance(made, HttpModule):
            raise TypeError(f"{make!r} makes {type(made).__name__}: give an HttpModule, or what returns one")
        kind = type(made)
        if any(entry.kind is kind for entry in self._entries):
            raise LocalProtocolError(f"{kind.__name__} is registered already, and is looked up by its class")
        self._check(kind)
        self._entries.append(_Entry(kind, make, made.order if order is None else order))

    def _check(self, kind: type[HttpModule]) -> None:
        check_callbacks(kind, HttpModule, PHASES)
        if self._upstream and _overrides(kind, "request_body_filter"):
            raise TypeError(
                f"{kind.__name__}.request_body_filter has no place upstream: an attempt that is repeated sends what "
                "the filters made before; register it downstream"
            )
        for name in ("done",) if self._upstream else (*_RESPONSE, "done"):
            form = form_of(getattr(kind, name))
            if form is not Form.PLAIN:
                raise TypeError(
                    f"{kind.__name__}.{name} must not wait: write it as a plain method"
                    + ("" if name == "done" else ", or register the module upstream")
                )

    def filters(self, name: str) -> tuple[ModuleFilter, ...]:
        """Those of the phase *name*, in order. No module is added after this."""
        if self._filters is None:
            self._entries.sort(key=lambda entry: -entry.order)
            kinds = [entry.kind for entry in self._entries]
            self._filters = {phase: self._of(kinds, phase) for phase in PHASES}
        return self._filters[name]

    def _of(self, kinds: list[type[HttpModule]], name: str) -> tuple[ModuleFilter, ...]:
        return tuple(
            ModuleFilter(at, kind, name, getattr(kind, name), upstream=self._upstream)
            for at, kind in enumerate(kinds)
            if _overrides(kind, name)
        )

    def check(self, runtime: str, *, can_await: bool) -> None:
        """Refuse a runtime that cannot run one of the filters.

        :raises TypeError: ``async def`` where nothing awaits.
        """
        for name in PHASES:
            for found in self.filters(name):
                check_form(found.full_name, found.form, runtime, can_await=can_await)

    @property
    def tails(self) -> tuple[tuple[ModuleFilter | None, ModuleFilter | None], ...]:
        """For each module its filters of the body and of the trailers, in order."""
        bodies = {found.at: found for found in self.filters("response_body_filter")}
        trailers = {found.at: found for found in self.filters("response_trailer_filter")}
        return tuple((bodies.get(at), trailers.get(at)) for at in range(len(self)))

    def build_ctx(self) -> HttpModuleCtx:
        """The modules of a new exchange, or attempt."""
        return HttpModuleCtx(self, [entry.make() for entry in self._entries])


def _overrides(kind: type[HttpModule], name: str) -> bool:
    return getattr(kind, name) is not getattr(HttpModule, name)


class HttpModuleCtx:
    """The modules of one exchange, or upstream of one attempt."""

    __slots__ = ("end_of_stream", "modules", "registry")

    def __init__(self, registry: HttpModules, modules: list[HttpModule]) -> None:
        self.registry = registry
        self.modules = modules
        """In the order in which they run."""
        self.end_of_stream = False
        """Nothing follows the response head that is being filtered."""

    def get(self, kind: type[_M]) -> _M | None:
        """The module of class *kind*, if it is registered."""
        for module in self.modules:
            if type(module) is kind:
                return module
        return None

    def response_header_filter(self, session: ServerSession, response: ResponseHeader, end_of_stream: bool) -> None:
        """Run a final head through all of them."""
        self.end_of_stream = end_of_stream
        for found in self.registry.filters("response_header_filter"):
            found.function(self.modules[found.at], session, response, end_of_stream)

    def response_body_filter(self, session: ServerSession, body: bytes, end_of_stream: bool) -> bytes:
        """Run a piece of the body through all of them."""
        for found in self.registry.filters("response_body_filter"):
            body = checked_bytes(found, found.function(self.modules[found.at], session, body, end_of_stream), body)
        return body

    def response_trailer_filter(self, session: ServerSession, trailers: Fields) -> tuple[bytes, bool]:
        """End the body and run the trailers through all of them: the last of the body, and whether trailers follow.

        What one makes of the trailers is the end of the body to those behind it.
        """
        body, kept = b"", True
        for on_body, on_trailers in self.registry.tails:
            if on_body is not None:
                body = checked_bytes(on_body, on_body.function(self.modules[on_body.at], session, body, True), body)
            if on_trailers is not None and kept:
                made = checked_bytes(
                    on_trailers, on_trailers.function(self.modules[on_trailers.at], session, trailers), None
                )
                if made is not None:
                    body, kept = body + made, False
        return body, kept

    def done(self, session: ServerSession) -> None:
        """The exchange, or attempt, is over."""
        for found in self.registry.filters("done"):
            found.function(self.modules[found.at], session)


_B = TypeVar("_B", bytes, None)


def checked_bytes(found: ModuleFilter, changed: object, unchanged: _B) -> bytes | _B:
    """What a filter returned, *unchanged* for None."""
    if changed is None:
        return unchanged
    if not isinstance(changed, bytes):
        raise LocalProtocolError(
            f"{found.full_name} returned {type(changed).__name__}: return bytes, or None for no change"
        )
    return changed
