"""The exchanges of HTTP applications: from the events of a request to the callback, in whatever form."""

from __future__ import annotations

from collections.abc import Callable, Generator
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any

from sansio_pingora.apps.conclusion import conclude
from sansio_pingora.apps.reading import BodyRoutines
from sansio_pingora.errors import Error
from sansio_pingora.machine import Lane, LogLine
from sansio_pingora.session import Exchange, Form, Routine, Routines, ServerSession
from sansio_pingora.wire import Body, Failed, HttpTask, UpgradedBody

if TYPE_CHECKING:
    from sansio_pingora.apps.http_server_app import HttpServerApp

__all__ = ["NOBODY", "AppExchange", "AppHandler", "Handover", "PlainExchange", "StreamingHandler", "routine_of"]


class AppHandler:
    """What handlers of applications share: a name for the log, and the way to it."""

    def __init__(self, name: str, lane: Lane, now: float) -> None:
        self.name = name
        self.lane = lane
        self.can_await = True
        """Callbacks may be async def."""
        self._log = Routines(lane, now)
        self.meter: Any = None
        self.conversations: dict[ServerSession, Callable[[float], object]] = {}
        """How to take leave in those exchanges that last until somebody does, by their sessions."""

    def conclude(self, session: ServerSession, error: BaseException | None) -> None:
        """The exchange is over."""
        if self.conversations:
            self.conversations.pop(session, None)
        line = conclude(session, self.name, error)
        if line is not None:
            self._log.give(LogLine("ERROR", line))

    def refused(self, session: ServerSession, error: Error, now: float) -> None:
        """A head broke the rules and was answered: nothing for an application to do."""

    def drain(self, now: float) -> None:
        """Nothing is held but what is under way."""

    def take_leave(self, now: float) -> None:
        """See :meth:`sansio_pingora.machine.Acceptor.take_leave`."""
        for leave in list(self.conversations.values()):
            leave(now)


class Handover:
    """What a callback returns when somebody else is to go on with its exchange."""

    __slots__ = ()

    def begin(self, handler: AppHandler, session: ServerSession, now: float) -> Exchange:
        """Go on with it; *handler* is that of the callback."""
        raise NotImplementedError


class StreamingHandler(AppHandler):
    """An :class:`HttpServerApp` on one lane."""

    def __init__(
        self, app: HttpServerApp, name: str, form: Form, lane: Lane, now: float, *, can_await: bool = True
    ) -> None:
        super().__init__(name, lane, now)
        self.can_await = can_await
        self.app = app
        self._form = form
        self._begin: Callable[[ServerSession], Any] = app.process_new_http

    def begin(self, session: ServerSession, now: float) -> Exchange:
        """See :class:`sansio_pingora.session.HttpHandler`."""
        try:
            begun = self._begin(session)
            if isinstance(begun, Handover):
                return begun.begin(self, session, now)
            if begun is not None:
                exchange = AppExchange(self, session, now)
                exchange.run(routine_of(begun, exchange, self._form, self.name))
                return exchange
        except Exception as exc:
            self.conclude(session, exc)
            return NOBODY
        if session.finished:
            session.release()
            return NOBODY
        plain = PlainExchange(self, session)
        plain.begin()
        return plain


def routine_of(begun: Any, routines: Routines, form: Form, name: str) -> Routine:
    """The routine that goes on with what an entry of *form* returned.

    :raises TypeError: it returned something that nothing can go on with.
    """
    if form is Form.ASYNC:
        return routines.run_form(Form.ASYNC, lambda: begun)
    if isinstance(begun, Generator):
        return begun
    if iscoroutine(begun):
        begun.close()  # or Python complains that nobody awaited it
    raise TypeError(f"{name} returned {type(begun).__name__}: return None, or a generator of effects")


class _Nobody:
    """The exchange of a request that was answered before the next event could come."""

    __slots__ = ()

    def receive_task(self, task: HttpTask, now: float) -> None:
        """Nothing comes."""

    def writable(self, room: int, now: float) -> None:
        """Nothing comes."""


NOBODY: Exchange = _Nobody()


class PlainExchange:
    """Calls back for every later event."""

    __slots__ = ("_handler", "_owed", "_session")

    def __init__(self, handler: StreamingHandler, session: ServerSession) -> None:
        self._handler = handler
        self._session = session
        self._owed = 0  # read credit held back until there is room

    def begin(self) -> None:
        """Behind ``process_new_http``."""
        if not self._session.is_body_empty():
            self._session.invite_body()
        self._settle()

    def receive_task(self, task: HttpTask, now: float) -> None:
        """See :class:`sansio_pingora.session.Exchange`."""
        session = self._session
        session.now = now
        session.received(task)
        kind = type(task)
        if kind is Body or kind is UpgradedBody:
            self._owed += len(task.data)  # type: ignore[union-attr]  # it has data
        try:
            self._handler.app.request_task(session, task)
        except Exception as exc:
            self._handler.conclude(session, exc)
        else:
            self._settle()

    def writable(self, room: int, now: float) -> None:
        """See :class:`sansio_pingora.session.Exchange`."""
        session = self._session
        session.now = now
        session.room = room
        try:
            self._handler.app.writable(session)
        except Exception as exc:
            self._handler.conclude(session, exc)
        else:
            self._settle()

    def _settle(self) -> None:
        """Give credit for what was used, and end what nothing can go on with."""
        session = self._session
        if session.finished:
            session.release()
        elif session.room <= 0:
            return  # writable comes
        elif session.is_body_done():
            self._handler.conclude(session, None)
        elif self._owed:
            owed, self._owed = self._owed, 0
            session.consumed(owed)


class AppExchange(BodyRoutines):
    """Runs a callback that waits."""

    __slots__ = ("_handler", "_successor", "session")

    def __init__(self, handler: AppHandler, session: ServerSession, now: float) -> None:
        super().__init__(handler.lane, session, now, ended=session.is_body_empty())
        self._handler = handler
        self.session = session
        self._successor: Exchange | None = None  # who goes on

    def receive_task(self, task: HttpTask, now: float) -> None:
        """See :class:`sansio_pingora.session.Exchange`."""
        if self._successor is not None:
            self._successor.receive_task(task, now)
            return
        session = self.session
        self.now = session.now = now
        session.received(task)
        kind = type(task)
        if kind is Failed:
            self.broken_off(task.error)  # type: ignore[union-attr]  # a Failed
        elif kind is Body or kind is UpgradedBody:
            self.arrived(task.data, task.end)  # type: ignore[union-attr]  # it has data
        else:
            self.arrived(b"", True)

    def writable(self, room: int, now: float) -> None:
        """See :class:`sansio_pingora.session.Exchange`."""
        if self._successor is not None:
            self._successor.writable(room, now)
            return
        self.now = self.session.now = now
        self.session.room = room
        self.room_came()

    def _has_more(self) -> bool:
        return self.session.upgraded and not self.session.is_body_done()  # a tunnel begins behind the request's end

    def _is_unread(self) -> bool:
        return self.session.response_done and not self.session.upgraded

    def _is_written(self) -> bool:
        return self.session.response_done

    def _concluded(self, value: Any, error: Error | None) -> None:
        session = self.session
        if isinstance(value, Handover) and session.closed is None:
            for task in self.take_unread():
                if type(task) is Body:
                    session.consumed(len(task.data))
            try:
                self._successor = value.begin(self._handler, session, self.now)
            except Exception as exc:
                self._handler.conclude(session, exc)
        else:
            self._handler.conclude(session, error)
        self.stop_routines()
