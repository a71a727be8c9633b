"""Where downstream modules see a response: between a session and its connection, whoever writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sansio_pingora.modules.http_module import HttpModuleCtx
from sansio_pingora.wire import Body, Done, Failed, Header, HttpTask, ResponseHeader, Trailer, UpgradedBody

if TYPE_CHECKING:
    from sansio_pingora.machine import Connection
    from sansio_pingora.session import ServerSession

__all__ = ["FilteredConnection", "install_downstream_modules"]


def install_downstream_modules(session: ServerSession, modules: HttpModuleCtx) -> None:
    """From here on *modules* see every response of *session*, and it has them as ``downstream_modules_ctx``."""
    session.downstream_modules_ctx = modules
    registry = modules.registry
    if registry.filters("response_header_filter") or any(any(tail) for tail in registry.tails):
        session.interpose_connection(lambda connection: FilteredConnection(session, connection, modules))


class FilteredConnection:
    """A session's connection, with modules before it. What it does not say itself is the connection's."""

    __slots__ = ("_modules", "_muted", "_session", "_through", "machine", "next")

    def __init__(self, session: ServerSession, connection: Connection, modules: HttpModuleCtx) -> None:
        self._session = session
        self._modules = modules
        self._through = False  # nothing is filtered any more
        self._muted = False  # a module has made an answer without a body of one that had one
        self.next = connection
        self.machine = getattr(connection, "machine", connection)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.next, name)

    def send(self, stream_id: int, task: HttpTask, now: float) -> int:
        """See :meth:`Connection.send`."""
        kind = type(task)
        if self._through or kind is Failed or kind is UpgradedBody:
            return self.next.send(stream_id, task, now)
        if kind is Header:
            return self._send_head(stream_id, task, now)  # type: ignore[arg-type]  # a Header
        if self._muted:
            if type(task) is Body:
                self._session.body_bytes_sent -= len(task.data)
            return self._session.room
        try:
            made = self._filtered(task)
        except Exception:
            self._through = True  # what follows is the answer to the fault, or breaks the response off
            raise
        room = self._session.room
        for one in made:
            room = self.next.send(stream_id, one, now)
        return room

    def _send_head(self, stream_id: int, task: Header, now: float) -> int:
        head = task.head
        assert isinstance(head, ResponseHeader)  # a server sends responses
        session = self._session
        end = task.end
        if head.status < 200 or (head.status < 300 and _opens_tunnel(session)):
            self._through = head.status == 101 or head.status >= 200
            return self.next.send(stream_id, task, now)
        try:
            self._modules.response_header_filter(session, head, end)
        except Exception:
            self._through = True
            raise
        if not end and head.status in (204, 304):
            self._muted = end = True
        return self.next.send(stream_id, task if end is task.end else Header(head, end), now)

    def _filtered(self, task: HttpTask) -> list[HttpTask]:
        session, modules = self._session, self._modules
        if type(task) is Body:
            data = task.data
            made = modules.response_body_filter(session, data, task.end)
            session.body_bytes_sent += len(made) - len(data)
            if made is data:
                return [task]
            return [Body(made, task.end)] if made or task.end else []
        if type(task) is Trailer:
            made, kept = modules.response_trailer_filter(session, task.fields)
        else:
            made, kept = modules.response_body_filter(session, b"", True), True
        session.body_bytes_sent += len(made)
        last = task if kept else Done()
        return [Body(made), last] if made else [last]


def _opens_tunnel(session: ServerSession) -> bool:
    return session.req_header is not None and session.req_header.method == b"CONNECT"
