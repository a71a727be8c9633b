"""WebSocket applications: messages in, messages out, over HTTP/1 and HTTP/2 alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from sansio_pingora.apps.acceptor import LaneHandler
from sansio_pingora.apps.http_exchanges import AppHandler, Handover
from sansio_pingora.apps.websocket_exchange import Callbacks, WebSocket, WebSocketExchange
from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Lane
from sansio_pingora.session import Exchange, ServerSession, check_callbacks, check_form, form_of
from sansio_pingora.websocket import MessagePart

__all__ = ["WebSocketApp", "serve_websocket"]

_CALLBACKS = ("handshake", "on_open", "on_part", "on_message", "on_pong", "on_close")


class WebSocketApp:
    """Serves WebSockets: one object for all of them, on several lanes at once where there are several.

    Each callback may be plain, ``@blocking``, a generator of effects (``yield Sleep(1)``, ``yield Drain()``,
    ``message = yield Receive()``), or ``async def`` on asyncio, which awaits the same effects. The next one of a
    WebSocket is called when the one before has returned, and there is room for what it may send. Meanwhile pings
    are answered, and what comes waits, up to ``high_water`` bytes. An exception closes the WebSocket with 1011 and
    is logged; when the connection breaks, its :class:`Error` is raised where the callback waits.

    A message is collected for :meth:`on_message` up to ``ws_max_message``; override :meth:`on_part` instead to take
    messages piece by piece as they come, or converse in :meth:`on_open` alone, with ``Receive``.
    """

    subprotocols: Sequence[str] = ()
    """Those that are spoken; the first of the client's among them is chosen."""
    deflate = True
    """Agree to compressed messages (RFC 7692)."""

    def handshake(self, session: ServerSession) -> Any:
        """May refuse a client, by an :class:`Error` with a status: ``raise Error.http_status(403)``.

        May return the subprotocol to choose, one of the client's; None: the first that is among :attr:`subprotocols`.
        """

    def on_open(self, ws: WebSocket) -> Any:
        """The handshake is done."""

    def on_part(self, ws: WebSocket, part: MessagePart) -> Any:
        """Part of a message has come. Overridden, it takes the place of :meth:`on_message`."""

    def on_message(self, ws: WebSocket, message: str | bytes) -> Any:
        """A message has come: text as str, binary as bytes."""

    def on_pong(self, ws: WebSocket, data: bytes) -> Any:
        """A pong has come."""

    def on_close(self, ws: WebSocket, code: int, reason: str) -> Any:
        """It is over: by whose *code*, or 1006 when the connection broke. The last call."""

    # ── as an application that is served ─────────────────────────────────────────────

    def check(self, runtime: str, *, can_await: bool) -> None:
        """See :meth:`sansio_pingora.machine.Application.check`."""
        if isinstance(self.subprotocols, str):
            raise TypeError(f"{type(self).__name__}.subprotocols is one text: it takes a list or tuple of them")
        for name, form in self._callbacks.forms.items():
            check_form(f"{type(self).__name__}.{name}", form, runtime, can_await=can_await)

    def handler(self, lane: Lane, limits: Limits, now: float, *, can_await: bool) -> LaneHandler:
        """See :meth:`sansio_pingora.apps.HttpApp.handler`."""
        return _WebSocketHandler(self, lane, now)

    @cached_property
    def _callbacks(self) -> Callbacks:
        check_callbacks(self, WebSocketApp, _CALLBACKS)
        forms = {name: form_of(getattr(self, name), self) for name in _CALLBACKS}
        return Callbacks(forms, takes_parts=type(self).on_part is not WebSocketApp.on_part)


class _WebSocketHandler(AppHandler):
    """A :class:`WebSocketApp` on one lane."""

    def __init__(self, app: WebSocketApp, lane: Lane, now: float) -> None:
        super().__init__(type(app).__name__, lane, now)
        self._app = app
        self._callbacks = app._callbacks

    def begin(self, session: ServerSession, now: float) -> Exchange:
        """See :class:`sansio_pingora.session.HttpHandler`."""
        exchange = WebSocketExchange(self, session, self._app, self._callbacks, now)
        exchange.begin()
        return exchange


class _ToWebSocket(Handover):
    __slots__ = ("_app",)

    def __init__(self, app: WebSocketApp) -> None:
        self._app = app

    def begin(self, handler: AppHandler, session: ServerSession, now: float) -> Exchange:
        app = self._app
        app.check("present", can_await=handler.can_await)
        made = _WebSocketHandler(app, handler.lane, now)
        made.conversations = handler.conversations  # the other one is told of the end
        return made.begin(session, now)


def serve_websocket(session: ServerSession, app: WebSocketApp) -> Handover:
    """Serve one exchange of an :class:`HttpServerApp` with *app*: return this from ``process_new_http``.

    *session* is that exchange, of which nothing was answered yet.

    :raises LocalProtocolError: it was.
    """
    if session.response_written is not None:
        raise LocalProtocolError("the request is answered: there is no handshake any more")
    return _ToWebSocket(app)
