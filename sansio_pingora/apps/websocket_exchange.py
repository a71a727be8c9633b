"""The story of a WebSocket: its handshake, and its callbacks one after another."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any

from sansio_pingora.apps.http_exchanges import AppHandler
from sansio_pingora.apps.websocket_channel import WebSocketChannel
from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.session import Form, LaneEffect, Routine, ServerSession
from sansio_pingora.websocket import (
    Accepted,
    CloseCode,
    Closed,
    MessagePart,
    Pong,
    WebSocketEvent,
    WebSocketSession,
    judge_request,
    offered_subprotocols,
)
from sansio_pingora.wire import RequestHeader

if TYPE_CHECKING:
    from sansio_pingora.apps.websocket_app import WebSocketApp

__all__ = ["Callbacks", "Receive", "WebSocket", "WebSocketExchange"]


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What there is to know of an application's callbacks."""

    forms: Mapping[str, Form]
    takes_parts: bool
    """``on_part`` takes the place of ``on_message``."""


class WebSocket:
    """Our handle on one WebSocket. Nothing here blocks: what is sent is queued.

    It is for callbacks of its own lane, and of others on the same thread; :meth:`post` is for every thread.
    ``data`` is the application's own.
    """

    __slots__ = ("_exchange", "accepted", "data")

    def __init__(self, exchange: WebSocketExchange, accepted: Accepted) -> None:
        self._exchange = exchange
        self.accepted = accepted
        """What the handshake has settled."""
        self.data: Any = None

    @property
    def request(self) -> RequestHeader:
        """The handshake."""
        head = self._exchange.session.req_header
        assert head is not None  # an exchange begins with a head
        return head

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol agreed upon."""
        return self.accepted.subprotocol

    @property
    def is_open(self) -> bool:
        """Something can be sent: no closing handshake has begun."""
        return self._exchange.is_open

    @property
    def room(self) -> int:
        """Bytes that should be sent at most before waiting: a callback that waits yields :class:`Drain`."""
        return self._exchange.room

    def send(self, data: str | bytes, *, last: bool = True) -> int:
        """Send a message, or with *last* False a part of one; returns the room left. Nothing when it is not open.

        When ``ws_send_buffer`` bytes wait already beyond the room, it is closed with 1008 instead.

        :raises LocalProtocolError: *data* is of another kind than the message that it goes on with, or no UTF-8.
        """
        return self._exchange.send(data, last)

    def post(self, data: str | bytes) -> None:
        """Send a message from any thread or greenlet: soon, in the order of the posts; nothing when it is not open.

        A peer that does not keep up is closed with 1008 when ``ws_send_buffer`` is full.

        :raises LocalProtocolError: too much is posted for a lane that does not get to it.
        """
        self._exchange.lane.post(partial(self._exchange.send, data, True))

    def ping(self, data: bytes = b"") -> None:
        """Ask for a pong with the same *data*, 125 bytes at most; nothing when it is not open.

        :raises LocalProtocolError: *data* is too long.
        """
        self._exchange.ping(data)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Begin the closing handshake; nothing when it has begun.

        :raises LocalProtocolError: *code* is none that may be sent, or *reason* is longer than 123 bytes.
        """
        self._exchange.close(code, reason)


class Receive(LaneEffect):
    """The next message, text as str and binary as bytes, or None when the WebSocket is closed.

    In callbacks of a :class:`WebSocketApp` that wait: ``while (message := (yield Receive())) is not None``.
    A message that was received so does not come to ``on_message``.
    """

    __slots__ = ("_exchange",)

    def begin(self, waiter: Any, token: int) -> tuple[int, Any]:
        """See :class:`sansio_pingora.session.LaneEffect`."""
        if not isinstance(waiter, WebSocketChannel):
            raise LocalProtocolError("Receive is for the callbacks of a WebSocketApp")
        self._exchange = waiter
        return waiter.receive(token)

    def cancel(self) -> None:
        """See :class:`sansio_pingora.session.LaneEffect`."""
        self._exchange.ignore()


class _Listen(LaneEffect):
    """Resume when there is an event, and room for what answers it."""

    __slots__ = ()

    def begin(self, waiter: Any, token: int) -> tuple[int, Any]:
        waiter.listen(token)
        return token, None


_LISTEN = _Listen()


class WebSocketExchange(WebSocketChannel):
    """A WebSocket from its handshake to its end."""

    __slots__ = ("_app", "_callbacks")

    def __init__(
        self, handler: AppHandler, session: ServerSession, app: WebSocketApp, callbacks: Callbacks, now: float
    ) -> None:
        super().__init__(handler, session, now)
        self._app = app
        self._callbacks = callbacks
        handler.conversations[session] = self._leave

    def _leave(self, now: float) -> None:
        """The server ends: the peer may connect again, to another one."""
        self.now = self.session.now = now
        self.close(CloseCode.GOING_AWAY, "")

    def begin(self) -> None:
        """A request has arrived: perhaps a handshake."""
        self.tell(self._tell())

    def _tell(self) -> Routine:
        session = self.session
        try:
            rest = self._run("handshake", session)
            accepted = self._accept(None if rest is None else (yield from rest))
        except Error as exc:
            _refuse(session, exc)
            return
        ws = self.ws = WebSocketSession(session.now, session.limits, deflate=accepted.deflate, patient=True)
        handle = WebSocket(self, accepted)
        failure: Exception | None = None
        try:
            yield from self._converse(ws, handle)
        except Exception as exc:
            if exc is not session.closed:
                failure = exc
            if self.end is None:
                self.end = Closed(CloseCode.INTERNAL_ERROR, f"{type(exc).__name__}: {exc}")
            ws.close(CloseCode.INTERNAL_ERROR, now=self.now)
        end = self.end
        assert end is not None  # the conversation ends with it, or by what was raised
        if (rest := self._run("on_close", handle, end.code, end.reason)) is not None:
            yield from rest
        if failure is not None:
            raise failure

    def _converse(self, ws: WebSocketSession, handle: WebSocket) -> Routine:
        session = self.session
        takes_parts = self._callbacks.takes_parts
        begun = False
        event: WebSocketEvent | None = None
        while True:
            rest: Routine | None = None
            try:
                if not begun:
                    begun = True
                    rest = self._run("on_open", handle)
                elif not self.has_event() or (session.room <= 0 and not ws.finished):
                    self.flush()
                    yield _LISTEN
                    continue
                else:
                    event = self.next_event()
                    if type(event) is Closed:
                        return
                    if type(event) is Pong:
                        rest = self._run("on_pong", handle, event.data)
                    elif takes_parts:
                        rest = self._run("on_part", handle, event)
                    elif type(event) is MessagePart and (message := self.whole(event)) is not None:
                        rest = self._run("on_message", handle, message)
                if rest is not None:
                    yield from rest
            except Error as exc:
                if exc is not self.left:
                    raise

    def _run(self, name: str, *args: Any) -> Routine | None:
        """Begin a callback: what it goes on as, and its result in the end; or None when it is done, without one."""
        callback = getattr(self._app, name)
        form = self._callbacks.forms[name]
        if form is not Form.PLAIN:
            self.flush()
            return (
                self._off_lane(callback, args)
                if form is Form.BLOCKING
                else self.run_form(form, partial(callback, *args))
            )
        self.plain = True
        try:
            result = callback(*args)
        finally:
            self.plain = False
        return None if result is None else self._go_on(name, result)

    def _go_on(self, name: str, result: Any) -> Routine:
        """With what a plain callback returned."""
        if isinstance(result, Generator):
            self.flush()
            return (yield from result)
        if iscoroutine(result):
            result.close()  # or Python complains that nobody awaited it
            raise TypeError(f"{type(self._app).__name__}.{name} returned a coroutine: write it as async def itself")
        return result

    def _off_lane(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> Routine:
        """A callback that may block. What it sends, in another thread, is sent when it has returned."""
        self.recorded = []
        try:
            result = yield from self.run_form(Form.BLOCKING, partial(callback, *args))
        finally:
            recorded, self.recorded = self.recorded, None
        for call in recorded:
            call()
        return result

    def _accept(self, chosen: str | None) -> Accepted:
        session, app = self.session, self._app
        head = session.req_header
        assert head is not None  # an exchange begins with a head
        if chosen is not None and chosen not in offered_subprotocols(head):
            raise LocalProtocolError(f"handshake chose subprotocol {chosen!r}, which the client did not offer")
        accepted = judge_request(head, app.subprotocols if chosen is None else [chosen], deflate=app.deflate)
        session.write_response_header(accepted.head)
        return accepted


def _refuse(session: ServerSession, error: Error) -> None:
    if error.etype is not ErrorType.HTTP_STATUS or error.status is None:
        raise error
    head = session.generate_error(error.status)
    if error.status == 405:
        head.insert(b"Allow", b"GET")
    elif error.status == 426:
        head.insert(b"Sec-WebSocket-Version", b"13")
        if session.req_header is not None and session.req_header.version == b"1.1":
            head.insert(b"Upgrade", b"websocket")
            head.insert(b"Connection", b"upgrade")
    body = f"{error.context}\n".encode()
    head.insert(b"Content-Type", b"text/plain; charset=utf-8")
    head.set_content_length(len(body))
    session.write_response_header(head)
    session.write_response_body(body, end=True)
