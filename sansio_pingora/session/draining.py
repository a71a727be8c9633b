"""Throwing away what still comes of a request body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sansio_pingora.wire import Body, HttpTask

if TYPE_CHECKING:
    from sansio_pingora.session.server_session import ServerSession

__all__ = ["Draining", "drain_body"]


def drain_body(session: ServerSession) -> bool:
    """Throw away what has not been read of the body of *session*, and what still comes; True: all of it has come."""
    exchange = session.held_exchange()
    if type(exchange) is Draining:
        return session.is_body_done()
    ended = False
    unread = getattr(exchange, "take_unread", None)
    for task in () if unread is None else unread():
        _throw_away(session, task)
        ended = ended or task.end
    if ended:
        exchange.receive_task(Body(b"", True), session.now)
    elif not session.is_body_done():
        session.interpose(Draining(session, exchange))
        session.invite_body()
    return session.is_body_done()


def _throw_away(session: ServerSession, task: HttpTask) -> None:
    if type(task) is Body and task.data and not session.response_done:
        session.consumed(len(task.data))


class Draining:
    """Stands before the exchange of *session*, which hears of the body's end and of nothing before it."""

    __slots__ = ("_session", "behind")

    def __init__(self, session: ServerSession, behind: Any) -> None:
        self._session = session
        self.behind = behind
        """The exchange; None while it is still being begun."""

    def receive_task(self, task: HttpTask, now: float) -> None:
        """See :class:`sansio_pingora.session.Exchange`."""
        session = self._session
        session.now = now
        if type(task) is Body:
            session.received(task)
            _throw_away(session, task)
            if not task.end:
                return
            task = Body(b"", True)
        self.behind.receive_task(task, now)

    def writable(self, room: int, now: float) -> None:
        """See :class:`sansio_pingora.session.Exchange`."""
        self.behind.writable(room, now)
