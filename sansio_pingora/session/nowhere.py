"""Where a response goes whose client has all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sansio_pingora.wire import Body, HttpTask

if TYPE_CHECKING:
    from sansio_pingora.machine import Connection
    from sansio_pingora.session.server_session import ServerSession

__all__ = ["Nowhere"]


class Nowhere:
    """A session's connection from then on: it is all that it was, but nothing is sent."""

    __slots__ = ("_session", "machine")

    def __init__(self, session: ServerSession, machine: Connection) -> None:
        self._session = session
        self.machine = machine

    def __getattr__(self, name: str) -> Any:
        return getattr(self.machine, name)

    def send(self, stream_id: int, task: HttpTask, now: float) -> int:
        """See :meth:`Connection.send`: there is room for any amount of it."""
        if type(task) is Body:
            self._session.body_bytes_sent -= len(task.data)
        return self.machine.limits.high_water
