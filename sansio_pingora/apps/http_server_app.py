"""HTTP applications that stream: one entry, in every form that can share a thread with the engine."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any, Protocol

from sansio_pingora.apps.acceptor import HttpAcceptor, HttpOptions, LaneHandler
from sansio_pingora.apps.http_exchanges import Handover, StreamingHandler
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Acceptor, Lane
from sansio_pingora.session import Form, ServerSession, check_callbacks, check_form, form_of
from sansio_pingora.wire import HttpTask

__all__ = ["HttpApp", "HttpServerApp", "HttpService"]

Answering = Awaitable[Handover | None] | Generator[Any, Any, Handover | None] | Handover | None


class HttpServerApp:
    """Answers requests task by task: one object for all of them, on several lanes at once where there are several.

    ``process_new_http`` begins each exchange, in one of three forms:

    * **plain**: returns at once. What comes later arrives at :meth:`request_task` and
      :meth:`writable`. It may also return a generator of effects, which then goes on as below.
    * a **generator** of effects, on every runtime: ``data = yield ReadBody()``, ``yield Drain()``,
      ``yield Sleep(0.1)``, ``result = yield Call(function)``.
    * **async def**, on asyncio: awaits the same effects, and whatever else can be awaited.

    In each it may return ``serve_websocket(session, app)``, as long as nothing is answered: a
    :class:`WebSocketApp` goes on with the exchange then.

    It is never ``@blocking``: a session is not for other threads. :class:`ServeHttp` takes
    handlers that block, and a generator may yield a ``Call``.

    An exception answers 500, or breaks off an answer that has begun, and is logged; an
    :class:`~sansio_pingora.errors.Error` of type ``HTTP_STATUS`` answers with its status. A
    callback that ends before its response does ends the response; one that has not begun
    it is answered for with 500. When the client leaves, its :class:`Error` is raised where
    the callback waits, and what is written then goes nowhere.
    """

    def process_new_http(self, session: ServerSession) -> Answering:
        """A request has arrived, its head is ``session.req_header``. Must be overridden."""
        raise NotImplementedError(f"{type(self).__name__} must override process_new_http(session)")

    def request_task(self, session: ServerSession, task: HttpTask) -> None:
        """Plain form: the next task of the request. ``Failed`` is the last: the client is gone.

        The client may send as much again once this has returned and there is room for the
        response, so an application that passes on what it gets needs to hold nothing.
        The exchange ends when the response does; or when the request has ended, there is room
        for the response, and nobody would be called again.
        """

    def writable(self, session: ServerSession) -> None:
        """Plain form: there is room for more of the response, after a write that left none."""


class HttpApp(Protocol):
    """What :class:`HttpService` serves."""

    def check(self, runtime: str, *, can_await: bool) -> None:
        """See :meth:`sansio_pingora.machine.Application.check`."""

    def handler(self, lane: Lane, limits: Limits, now: float, *, can_await: bool) -> LaneHandler:
        """Itself on one lane, of a runtime that was checked."""


class HttpService:
    """An :class:`HttpServerApp`, or another :class:`HttpApp`, as an application that an adapter serves."""

    def __init__(
        self, app: HttpServerApp | HttpApp, limits: Limits | None = None, options: HttpOptions | None = None
    ) -> None:
        """Settle the form.

        :raises TypeError: *app* is none, or of a form that it cannot have, or a callback's name or arguments are wrong.
        """
        if not isinstance(app, HttpServerApp) and not hasattr(app, "handler"):
            raise TypeError(
                f"{type(app).__name__} is no HttpServerApp: a handler goes into ServeHttp(handler) first, "
                "and a ProxyHttp into sansio_pingora.proxy.HttpProxy instead of this"
            )
        self.limits = limits or Limits()
        self.options = options or HttpOptions()
        self._app: HttpApp = _Streaming(app) if isinstance(app, HttpServerApp) else app
        self._can_await = True

    def check(self, runtime: str, *, can_await: bool) -> None:
        """See :meth:`sansio_pingora.machine.Application.check`."""
        self._app.check(runtime, can_await=can_await)
        self._can_await = can_await

    def open(self, lane: Lane, now: float, wall: float) -> Acceptor:
        """See :meth:`sansio_pingora.machine.Application.open`."""
        return HttpAcceptor(lane, self.handler(lane, now), self.limits, self.options, wall - now)

    def handler(self, lane: Lane, now: float) -> LaneHandler:
        """The application on *lane*, for connections of one's own making and for subrequests."""
        return self._app.handler(lane, self.limits, now, can_await=self._can_await)


class _Streaming:
    """An :class:`HttpServerApp` and its form."""

    def __init__(self, app: HttpServerApp) -> None:
        check_callbacks(app, HttpServerApp, ("process_new_http", "request_task", "writable"))
        self._app = app
        self._name = f"{type(app).__name__}.process_new_http"
        self._form = form_of(app.process_new_http, app)
        if self._form is Form.BLOCKING:
            raise TypeError(
                f"{self._name} is marked @blocking, but a session is not for other threads: "
                "serve a function with ServeHttp, or yield Call(function) from a generator"
            )

    def check(self, runtime: str, *, can_await: bool) -> None:
        """See :meth:`HttpApp.check`."""
        check_form(self._name, self._form, runtime, can_await=can_await)

    def handler(self, lane: Lane, limits: Limits, now: float, *, can_await: bool) -> LaneHandler:
        """See :meth:`HttpApp.handler`."""
        return StreamingHandler(self._app, self._name, self._form, lane, now, can_await=can_await)
