"""WebSocket applications: messages in, messages out, over HTTP/1 and HTTP/2 alike."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from inspect import iscoroutine
from typing import Any

from sansio_pingora.apps.acceptor import LaneHandler
from sansio_pingora.apps.http_exchanges import AppExchange, AppHandler
from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Lane
from sansio_pingora.session import Drain, Exchange, Form, ReadBody, Routine, ServerSession, check_form, form_of
from sansio_pingora.websocket import (
    Accepted,
    CloseCode,
    Closed,
    MessagePart,
    Pong,
    WebSocketSession,
    judge_request,
)
from sansio_pingora.wire import RequestHeader

__all__ = ["WebSocket", "WebSocketApp", "serve_websocket"]

_Run = Callable[[str, Callable[[], Any]], Routine]
_CALLBACKS = ("on_open", "on_part", "on_message", "on_pong", "on_close")


class WebSocket:
    """Our handle on one WebSocket. Nothing here blocks: what is sent is queued, and any machine of its lane may send.

    ``data`` is the application's own.
    """

    __slots__ = ("_parts", "_session", "_ws", "accepted", "data")

    def __init__(self, session: ServerSession, ws: WebSocketSession, accepted: Accepted) -> None:
        self._session = session
        self._ws = ws
        self._parts: list[Any] = []
        self.accepted = accepted
        """What the handshake has settled."""
        self.data: Any = None

    @property
    def request(self) -> RequestHeader:
        """The handshake."""
        assert self._session.req_header is not None  # an exchange begins with a head
        return self._session.req_header

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol agreed upon."""
        return self.accepted.subprotocol

    @property
    def is_open(self) -> bool:
        """Something can be sent: no closing handshake has begun."""
        return self._ws.state.name == "OPEN" and self._session.closed is None

    @property
    def room(self) -> int:
        """Bytes that should be sent at most before waiting: a callback that waits yields :class:`Drain`."""
        return self._session.room

    def send(self, data: str | bytes, *, last: bool = True) -> int:
        """Send a message, or with *last* False a part of one; returns the room left. Nothing when it is not open.

        :raises LocalProtocolError: *data* is of another kind than the message that it goes on with.
        """
        if self.is_open:
            self._ws.send(data, last=last)
            self._flush()
        return self._session.room

    def ping(self, data: bytes = b"") -> None:
        """Ask for a pong with the same *data*."""
        if self.is_open:
            self._ws.ping(data)
            self._flush()

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Begin the closing handshake; nothing when it has begun.

        :raises LocalProtocolError: *code* is none that may be sent, or *reason* is longer than 123 bytes.
        """
        self._ws.close(code, reason, now=self._session.now)
        self._flush()

    def _flush(self) -> None:
        session = self._session
        out = self._ws.data_to_send()
        if session.response_done or session.closed is not None:
            return
        if out:
            session.write_response_body(out[0] if len(out) == 1 else b"".join(out))
        if self._ws.finished:
            session.finish_body()

    def _whole(self, part: MessagePart) -> str | bytes | None:
        """The message that *part* completes."""
        parts = self._parts
        if part.last and not parts:
            return part.data
        parts.append(part.data)
        if not part.last:
            return None
        self._parts = []
        return "".join(parts) if isinstance(part.data, str) else b"".join(parts)


class WebSocketApp:
    """Serves WebSockets: one object for all of them, on several lanes at once where there are several.

    Each callback may be plain, ``@blocking``, a generator of effects (``yield Drain()``, ``yield Sleep(1)``), or
    ``async def`` on asyncio. The next one of a WebSocket is called when the one before has returned, and meanwhile
    nothing is read from its peer. An exception closes it with 1011 and is logged.

    A message is collected for :meth:`on_message` up to ``ws_max_message``; override :meth:`on_part` instead to take
    messages piece by piece as they come.
    """

    subprotocols: Sequence[str] = ()
    """Those that are spoken; the first of the client's among them is chosen."""
    deflate = True
    """Agree to compressed messages (RFC 7692)."""

    def handshake(self, session: ServerSession) -> None:
        """May refuse a client: by an :class:`Error` with a status, ``Error.http_status(403)``."""

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
        for name in _CALLBACKS:
            check_form(f"{type(self).__name__}.{name}", self._form(name), runtime, can_await=can_await)

    def handler(self, lane: Lane, limits: Limits, now: float, *, can_await: bool) -> LaneHandler:
        """See :meth:`sansio_pingora.apps.HttpApp.handler`."""
        return _WebSocketHandler(self, lane, now)

    def _form(self, name: str) -> Form:
        """How *name* is run."""
        return form_of(getattr(self, name), self)


class _WebSocketHandler(AppHandler):
    """A :class:`WebSocketApp` on one lane."""

    def __init__(self, app: WebSocketApp, lane: Lane, now: float) -> None:
        super().__init__(type(app).__name__, lane, now)
        self._app = app
        self._forms = {name: app._form(name) for name in _CALLBACKS}

    def begin(self, session: ServerSession, now: float) -> Exchange:
        """See :class:`sansio_pingora.session.HttpHandler`."""
        exchange = AppExchange(self, session, now)

        def run(name: str, call: Callable[[], Any]) -> Routine:
            return exchange.run_form(self._forms[name], call)

        exchange.run(_converse(session, self._app, run))
        return exchange


def serve_websocket(session: ServerSession, app: WebSocketApp) -> Generator[Any, Any, None]:
    """Serve one exchange of an :class:`HttpServerApp` with *app*: return this from ``process_new_http``.

    The callbacks of *app* are plain or generators here.
    """
    return _converse(session, app, _in_place)


def _in_place(name: str, call: Callable[[], Any]) -> Routine:
    result = call()
    if isinstance(result, Generator):
        result = yield from result
    elif iscoroutine(result):
        result.close()  # or Python complains that nobody awaited it
        raise TypeError(f"{name} is async def: serve the WebSocketApp itself, or write it plain or as a generator")
    return result


def _converse(session: ServerSession, app: WebSocketApp, run: _Run) -> Routine:
    """A WebSocket from its handshake to its end."""
    try:
        app.handshake(session)
        accepted = _accept(session, app)
    except Error as exc:
        _refuse(session, exc)
        return
    ws = WebSocketSession(session.now, session.limits, deflate=accepted.deflate)
    handle = WebSocket(session, ws, accepted)
    failure: Exception | None = None
    end = Closed(CloseCode.ABNORMAL, "the connection broke")
    try:
        yield from run("on_open", partial(app.on_open, handle))
        while not ws.finished:
            end = (yield from _turn(session, app, handle, run)) or end
    except Exception as exc:
        if exc is not session.closed:
            failure = exc
            end = Closed(CloseCode.INTERNAL_ERROR, f"{type(exc).__name__}: {exc}")
            ws.close(CloseCode.INTERNAL_ERROR, now=session.now)
    yield from run("on_close", partial(app.on_close, handle, end.code, end.reason))
    if session.closed is None:
        ws.receive_eof(session.now)  # whatever it waits for, it is over
        handle._flush()
        yield from _read_on(session)
    if failure is not None:
        raise failure


def _turn(session: ServerSession, app: WebSocketApp, handle: WebSocket, run: _Run) -> Routine:
    """Wait for the peer, or a deadline, and tell the application what came; returns the end when it has come."""
    ws = handle._ws
    if session.room <= 0:
        yield Drain()
    data = yield ReadBody(ws.deadline)
    now = session.now
    if data:
        events = ws.receive_data(data, now)
    else:
        events = ws.receive_eof(now) if data is None else ws.handle_timeout(now)
    handle._flush()
    end = None
    collects = type(app).on_part is WebSocketApp.on_part
    for event in events:
        if type(event) is Closed:
            end = event
        elif type(event) is Pong:
            yield from run("on_pong", partial(app.on_pong, handle, event.data))
        elif type(event) is MessagePart:
            if not collects:
                yield from run("on_part", partial(app.on_part, handle, event))
            elif (message := handle._whole(event)) is not None:
                yield from run("on_message", partial(app.on_message, handle, message))
    return end


def _read_on(session: ServerSession) -> Routine:
    """What still comes is thrown away for a while: unread bytes would make the kernel reset what was sent."""
    deadline = session.now + session.limits.linger_timeout
    try:
        while (yield ReadBody(deadline)):
            pass
    except Error:
        if session.closed is None:
            raise


def _accept(session: ServerSession, app: WebSocketApp) -> Accepted:
    head = session.req_header
    assert head is not None  # an exchange begins with a head
    accepted = judge_request(head, app.subprotocols, deflate=app.deflate)
    session.write_response_header(accepted.head)
    return accepted


def _refuse(session: ServerSession, error: Error) -> None:
    if error.etype is not ErrorType.HTTP_STATUS or error.status is None:
        raise error
    head = session.generate_error(error.status)
    if error.status == 426:
        head.insert(b"Sec-WebSocket-Version", b"13")
        if session.req_header is not None and session.req_header.version == b"1.1":
            head.insert(b"Upgrade", b"websocket")
            head.insert(b"Connection", b"upgrade")
    body = f"{error.context}\n".encode()
    head.insert(b"Content-Type", b"text/plain; charset=utf-8")
    head.set_content_length(len(body))
    session.write_response_header(head)
    session.write_response_body(body, end=True)
