"""Handlers that get a whole request and return a whole response."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from sansio_pingora.apps.acceptor import LaneHandler
from sansio_pingora.apps.http_exchanges import NOBODY, AppExchange, AppHandler
from sansio_pingora.apps.messages import Request, Response
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Lane
from sansio_pingora.modules import HttpModule, HttpModuleCtx, HttpModules, install_downstream_modules
from sansio_pingora.modules.http_module import checked_bytes
from sansio_pingora.session import Exchange, Form, ReadBody, Routine, ServerSession, check_form, form_of

__all__ = ["ServeHttp"]


class ServeHttp:
    """A handler ``Request -> Response`` as an application.

    It may be plain, ``@blocking``, ``async def`` (asyncio) or a generator of effects that
    returns the response. A plain one is run in place on asyncio, and as if it were
    ``@blocking`` on runtimes that cannot await, where code is written to wait: *inline*
    says that it never does, and has it run in place everywhere, which is faster.

    Bodies are collected up to ``max_buffered_body``, and past it answered 413. An exception
    answers 500 and is logged.

    *modules* stand before it, each a class or what returns a module for an exchange, as
    :meth:`~sansio_pingora.modules.HttpModules.add_module` takes them: they see the request first,
    and every final response last.
    """

    def __init__(
        self,
        handler: Callable[[Request], Any],
        *,
        inline: bool = False,
        modules: Iterable[Callable[[], HttpModule]] = (),
    ) -> None:
        """Settle the form.

        :raises TypeError: *handler* is none, or *inline* but not plain; or a module is none.
        """
        if not callable(handler):
            raise TypeError(f"{handler!r} cannot be called: a handler takes a Request and returns a Response")
        self._handler = handler
        self._name = getattr(handler, "__qualname__", None) or type(handler).__qualname__
        self._form = form_of(handler)
        if inline and self._form is not Form.PLAIN:
            raise TypeError(f"{self._name} is {self._form.name.lower()} and cannot run inline: leave inline out")
        self._inline = inline
        self._modules = HttpModules()
        for make in modules:
            self._modules.add_module(make)

    def check(self, runtime: str, *, can_await: bool) -> None:
        """See :meth:`sansio_pingora.machine.Application.check`."""
        check_form(self._name, self._form, runtime, can_await=can_await)
        self._modules.check(runtime, can_await=can_await)

    def handler(self, lane: Lane, limits: Limits, now: float, *, can_await: bool) -> LaneHandler:
        """See :meth:`sansio_pingora.apps.HttpApp.handler`."""
        form = self._form
        if form is Form.PLAIN and not self._inline and not can_await:
            form = Form.BLOCKING
        if not len(self._modules):
            return _WholeHandler(self._handler, self._name, form, limits.max_buffered_body, lane, now)
        return _Moduled(self._modules, self._handler, self._name, form, limits.max_buffered_body, lane, now)


class _WholeHandler(AppHandler):
    """A handler on one lane."""

    _changed = False
    """Heads are changed on their way, and a Response may answer many requests."""

    def __init__(
        self, handler: Callable[[Request], Any], name: str, form: Form, max_body: int, lane: Lane, now: float
    ) -> None:
        super().__init__(name, lane, now)
        self._handler = handler
        self._form = form
        self._max_body = max_body

    def begin(self, session: ServerSession, now: float) -> Exchange:
        """See :class:`sansio_pingora.session.HttpHandler`."""
        if self._form is Form.PLAIN and session.is_body_empty():
            try:
                self._answer(session, self._handler(_request(session, b"")))
            except Exception as exc:
                self.conclude(session, exc)
            else:
                session.release()
            return NOBODY
        exchange = AppExchange(self, session, now)
        exchange.run(self._story(exchange, session))
        return exchange

    def _story(self, exchange: AppExchange, session: ServerSession) -> Routine:
        body = yield from self._collected(session)
        if body is not None:
            call = partial(self._handler, _request(session, body))
            self._answer(session, (yield from exchange.run_form(self._form, call)))

    def _collected(self, session: ServerSession) -> Routine:
        """The body; None when it was too large and the answer says so."""
        body = bytearray()  # one-byte pieces in a list would take forty times their size
        if not session.is_body_empty():
            ceiling = self._max_body
            if int(session.get_header(b"content-length") or 0) > ceiling:
                session.respond_error(413)
                return None
            while (data := (yield ReadBody())) is not None:
                body += data
                if len(body) > ceiling:
                    session.respond_error(413)
                    return None
        return bytes(body)

    def _answer(self, session: ServerSession, response: Any) -> None:
        if type(response) is not Response and not isinstance(response, Response):
            raise TypeError(f"{self.name} returned {type(response).__name__}: return a Response")
        body = response.body
        session.write_response_header(response.head.clone() if self._changed else response.head, not body)
        if body:
            session.write_response_body(body, True)


class _Moduled(_WholeHandler):
    """The same behind modules."""

    _changed = True

    def __init__(self, modules: HttpModules, *rest: Any) -> None:
        super().__init__(*rest)
        self._modules = modules

    def begin(self, session: ServerSession, now: float) -> Exchange:
        """See :class:`sansio_pingora.session.HttpHandler`."""
        exchange = AppExchange(self, session, now)
        exchange.run(self._behind(exchange, session))
        return exchange

    def _behind(self, exchange: AppExchange, session: ServerSession) -> Routine:
        ctx = self._modules.build_ctx()
        install_downstream_modules(session, ctx)
        try:
            for found in self._modules.filters("request_header_filter"):
                call = partial(found.function, ctx.modules[found.at], session, session.req_header)
                if (yield from exchange.run_form(found.form, call)):
                    return  # it was answered
            body = yield from self._collected(session)
            if body is None:
                return
            if body:
                body = yield from self._filtered(exchange, ctx, body)
            call = partial(self._handler, _request(session, body))
            self._answer(session, (yield from exchange.run_form(self._form, call)))
        finally:
            ctx.done(session)

    def _filtered(self, exchange: AppExchange, ctx: HttpModuleCtx, body: bytes) -> Routine:
        for found in self._modules.filters("request_body_filter"):
            call = partial(found.function, ctx.modules[found.at], exchange.session, body, True)
            body = checked_bytes(found, (yield from exchange.run_form(found.form, call)), body)
        return body


def _request(session: ServerSession, body: bytes) -> Request:
    head = session.req_header
    assert head is not None  # an exchange begins with a head
    info = session.info
    return Request.received(head, body, None if info is None else info.peer)
