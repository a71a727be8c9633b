"""One exchange as a WebSocket, below its callbacks: what comes, what goes, and when."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from sansio_pingora.apps.http_exchanges import AppHandler
from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.machine import AT_ONCE
from sansio_pingora.session import Drain, Routine, Routines, ServerSession
from sansio_pingora.websocket import CloseCode, Closed, MessagePart, Ping, State, WebSocketEvent, WebSocketSession
from sansio_pingora.wire import Body, Failed, HttpTask, UpgradedBody, join_piece

__all__ = ["WebSocketChannel"]

_TOGETHER = 16_384
"""Bytes of frames that plain callbacks send which are handed on in one piece."""
_EVENT = 64
"""What an event counts for beside its bytes: many that are empty are to be held back, too."""
_COURTESY = 1.0
"""Seconds that the client's close frame waits for answers to what came before it."""


class WebSocketChannel(Routines):
    """A WebSocket whose callbacks are a routine, the *story*, that runs them one at a time.

    Two things go on side by side. The session is given what comes: so pings are answered and deadlines kept,
    whatever the application does. The story takes what the session tells. Between them wait events of about
    ``high_water`` bytes; beyond that nothing is read until the story catches up. The peer's end waits for that, too,
    for a while: or an answer would be lost where the question and a close frame come together.
    """

    __slots__ = (
        "_busy",
        "_concluded",
        "_ended",
        "_failure",
        "_handler",
        "_held",
        "_inbox",
        "_linger",
        "_listener",
        "_most",
        "_over",
        "_parts",
        "_patience",
        "_receiving",
        "_stirred",
        "_story",
        "_writer",
        "end",
        "events",
        "left",
        "plain",
        "recorded",
        "session",
        "ws",
    )

    def __init__(self, handler: AppHandler, session: ServerSession, now: float) -> None:
        super().__init__(handler.lane, now)
        self.session = session
        self._handler = handler
        self.ws: WebSocketSession | None = None
        """From the handshake on."""
        self.end: Closed | None = None
        """How it ended."""
        # from the peer to the session
        self._inbox: deque[bytes] = deque()
        self._ended = False
        # from the session to the story
        self.events: deque[WebSocketEvent] = deque()
        self._held = 0
        self._most = max(session.limits.high_water, 1)
        self._parts: list[Any] = []
        # the story
        self._story: Routine | None = None
        self._listener = self._writer = 0
        self._receiving = False  # it listens for a whole message
        self._busy = False  # it works on what it took last
        self.plain = False
        """A callback runs that cannot wait: what it sends goes out behind it."""
        self.recorded: list[Callable[[], object]] | None = None
        """What is sent while a callback runs off the lane."""
        self._over = self._concluded = False
        self._failure: Error | None = None
        self.left = Error(ErrorType.CONNECTION_CLOSED, "the WebSocket is closed").into_down()
        """Raised in a callback that waits for room which nothing has a use for any more; it is no failure."""
        # time
        self._stirred = False
        self._patience = math.inf  # until then the peer's end waits
        self._linger = math.inf

    def tell(self, story: Routine) -> None:
        """The exchange is this one's from here on, and *story* its callbacks."""
        self._story = story
        self.start(story, self._told)
        self._settle()

    def _told(self, value: Any, error: Error | None) -> None:
        self._over = True
        self._failure = error

    # ── what the connection says ─────────────────────────────────────────────────────

    def receive_task(self, task: HttpTask, now: float) -> None:
        """See :class:`sansio_pingora.session.Exchange`."""
        session = self.session
        self.now = session.now = now
        session.received(task)
        kind = type(task)
        if kind is UpgradedBody:
            self._arrived(task.data, task.end)  # type: ignore[union-attr]  # an UpgradedBody
        elif kind is Failed:
            self._broken_off(task.error)  # type: ignore[union-attr]  # a Failed
        elif kind is Body:
            # Of the handshake, which needs none: it is no part of the WebSocket behind it.
            session.consumed(len(task.data))  # type: ignore[union-attr]  # a Body
        self._settle()

    def _arrived(self, data: bytes, end: bool) -> None:
        if data:
            if self.ws is None or self.ws.finished:
                self.session.consumed(len(data))
            else:
                join_piece(self._inbox, data)
        self._ended = self._ended or end
        self.fill()

    def _broken_off(self, error: Error) -> None:
        ws = self.ws
        self._inbox.clear()
        closed = ws is not None and ws.finished
        if ws is not None:
            self._hold(ws.receive_eof(self.now))
        if closed or self._over:
            return  # in good order: what had come before may still be worked on
        if not self._listener:
            self._writer = 0
            assert self._story is not None  # an exchange that was begun has one
            self.interrupt(self._story, error)

    def writable(self, room: int, now: float) -> None:
        """See :class:`sansio_pingora.session.Exchange`."""
        self.now = self.session.now = now
        self.session.room = room
        self._settle()

    # ── what the driver says ─────────────────────────────────────────────────────────

    def resume(self, token: int, value: Any, now: float) -> None:
        """See :meth:`Coordinator.resume`."""
        self.now = self.session.now = now
        super().resume(token, value, now)
        self._settle()

    def fail(self, token: int, error: Error, now: float) -> None:
        """See :meth:`Coordinator.fail`."""
        self.now = self.session.now = now
        if token == 0:
            self.ignore()  # or what comes next would be read for nobody
        super().fail(token, error, now)
        self._settle()

    def handle_timeout(self, now: float) -> None:
        """See :meth:`Coordinator.handle_timeout`."""
        self.now = self.session.now = now
        super().handle_timeout(now)
        ws = self.ws
        if ws is not None and not self._concluded:
            if self._stirred:
                self._stirred = False
                ws.await_close(now)
                self.fill()  # the peer may have closed before
            if now >= self._due(ws):
                if ws.finished and self.session.stalled:
                    self._linger = now + self.session.limits.linger_timeout  # it cannot have heard our end
                elif ws.finished:
                    error = Error(ErrorType.CONNECTION_CLOSED, "the client did not end its side in time").into_down()
                    self.session.shutdown(error)
                    self.session.received(Failed(error))
                elif self._patience != math.inf:
                    self.fill()
                else:
                    self._hold(ws.handle_timeout(now))
        self._settle()

    def _due(self, ws: WebSocketSession) -> float:
        if ws.finished:
            return self._linger if self.session.closed is None else math.inf
        if self._patience != math.inf:
            return self._patience
        # While there is something unread, nobody can tell whether the peer is silent.
        if ws.deadline == AT_ONCE or (self._inbox and ws.state is State.OPEN):
            return math.inf
        return ws.deadline

    # ── what the application says ────────────────────────────────────────────────────

    @property
    def is_open(self) -> bool:
        """See :attr:`WebSocket.is_open`."""
        ws = self.ws
        return ws is not None and ws.state is State.OPEN and self.session.closed is None

    @property
    def room(self) -> int:
        """See :attr:`WebSocket.room`."""
        return self.session.room if self.ws is None else self.session.room - self.ws.queued

    def send(self, data: str | bytes, last: bool) -> int:
        """See :meth:`WebSocket.send`."""
        if self.recorded is not None:
            self.recorded.append(partial(self.send, data, last))
        elif self.is_open:
            assert self.ws is not None  # it is open
            if -self.room >= self.session.limits.ws_send_buffer:
                self.close(CloseCode.POLICY_VIOLATION, "too slow: ws_send_buffer is full")
            else:
                self.ws.send(data, last=last)
                self._sent(self.ws)
        return self.room

    def ping(self, data: bytes) -> None:
        """See :meth:`WebSocket.ping`."""
        if self.recorded is not None:
            self.recorded.append(partial(self.ping, data))
        elif self.is_open:
            assert self.ws is not None  # it is open
            self.ws.ping(data)
            self._sent(self.ws)

    def close(self, code: int, reason: str) -> None:
        """See :meth:`WebSocket.close`."""
        if self.recorded is not None:
            self.recorded.append(partial(self.close, code, reason))
        elif self.ws is not None:
            begins = self.ws.state is State.OPEN
            self.ws.close(code, reason, now=self.now)
            if begins:
                self._sent(self.ws)
                # Whoever called, another exchange perhaps, what time it is will be known in a turn of our own.
                self._stirred = True
                self.deadline = AT_ONCE
                self.lane.enlist(self)
                if self.lane.stir is not None:
                    self.lane.stir()

    def _sent(self, ws: WebSocketSession) -> None:
        if not self.plain or ws.queued >= _TOGETHER:
            self.flush()
            if self.lane.stir is not None:
                self.lane.stir()  # a task of the application's own may have called

    # ── between the peer, the session and the story ──────────────────────────────────

    def fill(self) -> bool:
        """Give the session what has come, as long as the story keeps up; whether there is an event for it."""
        ws, inbox = self.ws, self._inbox
        if ws is None:
            return False
        while not ws.finished and (self._held < self._most or ws.state is not State.OPEN):
            if ws.deadline == AT_ONCE:
                self._hold(ws.handle_timeout(self.now))
            elif inbox and not ws.ending:
                data = inbox.popleft()
                self.session.consumed(len(data))
                self._hold(ws.receive_data(data, self.now))
            elif (ws.ending or self._ended) and self._may_end(ws):
                self._hold(ws.finish() if ws.ending else ws.receive_eof(self.now))
            else:
                break
        return bool(self.events)

    def _may_end(self, ws: WebSocketSession) -> bool:
        if ws.state is not State.OPEN or not (self.events or self._busy) or self.now >= self._patience:
            self._patience = math.inf
            return True
        if self._patience == math.inf:
            self._patience = self.now + _COURTESY
        return False

    def _hold(self, events: list[WebSocketEvent]) -> None:
        for event in events:
            kind = type(event)
            if kind is Ping:
                continue
            if kind is Closed:
                self.end = event  # type: ignore[assignment]  # a Closed
            self.events.append(event)
            self._held += _EVENT + (len(event.data) if kind is MessagePart else 0)  # type: ignore[union-attr]  # a part

    def next_event(self) -> WebSocketEvent:
        """The event that has waited longest; the story is busy with it then."""
        self._busy = True
        event = self.events.popleft()
        self._held -= _EVENT + (len(event.data) if type(event) is MessagePart else 0)
        return event

    def flush(self) -> None:
        """Hand on what the session has put out. Its pongs wait for room, where they become the latest."""
        ws, session = self.ws, self.session
        if ws is None or (session.room <= 0 and not ws.queued):
            return
        out = ws.data_to_send()
        if not out or session.response_done or session.closed is not None:
            return
        if len(out) == 1:
            session.write_response_body(out[0])
        elif sum(map(len, out)) < 4 * _TOGETHER:
            session.write_response_body(b"".join(out))
        else:
            for piece in out:
                session.write_response_body(piece)

    def _settle(self) -> None:
        """Behind every input: hand on what came of it, up, down and to the clock."""
        ws, session = self.ws, self.session
        while True:
            self.flush()
            if ws is None:
                ws = self.ws
            if ws is not None and ws.finished and self._linger == math.inf and not session.response_done:
                if session.closed is None:
                    for data in self._inbox:
                        session.consumed(len(data))
                    session.finish_body()
                self._inbox.clear()
                self._linger = self.now + session.limits.linger_timeout
            if not self._resume_story():
                break
        self._arm()
        if self._over and not self._concluded:
            self._conclude()

    def _arm(self) -> None:
        deadline = self._sleeping[0][0] if self._sleeping else math.inf
        if self.ws is not None and not self._concluded:
            deadline = AT_ONCE if self._stirred else min(deadline, self._due(self.ws))
        if deadline != self.deadline:
            self.deadline = deadline
            self.lane.enlist(self)

    def _conclude(self) -> None:
        session, ws = self.session, self.ws
        if ws is not None and session.closed is None and not session.finished:
            return  # the closing handshake is under way, or the peer's end is awaited
        self._concluded = True
        self._handler.conclude(session, self._failure)
        self.stop_routines()
        self._stirred = False
        self.deadline = math.inf

    # ── what the story waits for ─────────────────────────────────────────────────────

    def has_event(self) -> bool:
        """The story has done with what it took; whether there is something to take."""
        self._busy = False
        return bool(self.events) or self.fill()

    def listen(self, token: int) -> None:
        """Resume *token* when there is an event, and room."""
        self._listener = token

    def receive(self, token: int) -> tuple[int, Any]:
        """The next whole message at once, or *token* to be resumed with it.

        :raises LocalProtocolError: it is no WebSocket yet.
        """
        if self.ws is None:
            raise LocalProtocolError("there is no message before the handshake is done")
        self.flush()
        if self.session.room > 0 or self.ws.finished:
            found, message = self._message()
            if found:
                return 0, message
        self._listener = token
        self._receiving = True
        return token, None

    def ignore(self) -> None:
        """Whoever waits, waits no more."""
        self._listener = self._writer = 0
        self._receiving = False

    def perform(self, effect: Any) -> tuple[int, Any]:
        """See :meth:`Routines.perform`."""
        if type(effect) is not Drain:
            return super().perform(effect)
        self.flush()
        session = self.session
        if session.closed is not None:
            raise session.closed
        if self.ws is not None and not self.is_open:
            raise self.left
        if session.room > 0:
            return 0, None
        self._writer = self.new_token()
        return self._writer, None

    def _resume_story(self) -> bool:
        """Resume the story if what it waits for has come; whether it was."""
        ws, session = self.ws, self.session
        if ws is None:
            return False
        value: Any = None
        if self._writer:
            if session.room <= 0 and not ws.finished:
                return False
            token, self._writer = self._writer, 0
            if ws.finished:
                super().fail(token, session.closed or self.left, self.now)
                return True
        elif self._listener and self.events and (session.room > 0 or ws.finished):
            if self._receiving:
                found, value = self._message()
                if not found:
                    return False
            token, self._listener = self._listener, 0
            self._receiving = False
        else:
            return False
        super().resume(token, value, self.now)
        return True

    def _message(self) -> tuple[bool, str | bytes | None]:
        """Whether a whole message has come, or the end; and that message, or None."""
        while self.has_event():
            if type(self.events[0]) is Closed:
                return True, None  # and that is left for the story
            event = self.next_event()
            if type(event) is MessagePart and (message := self.whole(event)) is not None:
                return True, message
        return False, None

    def whole(self, part: MessagePart) -> str | bytes | None:
        """The message that *part* completes."""
        parts = self._parts
        if part.last and not parts:
            return part.data
        join_piece(parts, part.data)
        if not part.last:
            return None
        self._parts = []
        return "".join(parts) if isinstance(part.data, str) else b"".join(parts)
