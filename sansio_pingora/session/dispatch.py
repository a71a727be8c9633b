"""From the events of a client's connection to exchanges: one session and one exchange per request."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from sansio_pingora.digests import Digest
from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.machine import Connection, ConnectionClosed, Established, Writable
from sansio_pingora.session.server_controls import Held
from sansio_pingora.session.server_session import Meter, ServerSession
from sansio_pingora.transport import TransportInfo
from sansio_pingora.wire import Failed, Header, HttpTask, join_task

__all__ = ["Dispatcher", "Exchange", "HttpHandler"]


class Exchange(Protocol):
    """What handles one request. It calls :meth:`ServerSession.release` when it needs no more events."""

    def receive_task(self, task: HttpTask, now: float) -> None:
        """A task of the request, behind its Header. ``Failed`` is the last."""

    def writable(self, room: int, now: float) -> None:
        """There is room again for the response."""


class HttpHandler(Protocol):
    """What makes exchanges: an application on one lane."""

    def begin(self, session: ServerSession, now: float) -> Exchange:
        """A request has arrived, its head is in the session: begin to handle it."""

    def refused(self, session: ServerSession, error: Error, now: float) -> None:
        """A head broke the rules and was answered by the connection; the session has no request."""


class Dispatcher:
    """The receiver of one client connection's events."""

    __slots__ = (
        "_exchanges",
        "_handler",
        "_info",
        "_kept",
        "_meter",
        "_refused",
        "_unestablished",
        "connection",
    )

    def __init__(
        self,
        connection: Connection,
        handler: HttpHandler,
        info: TransportInfo | None,
        unestablished: Callable[[Error | None, float], None] | None = None,
        meter: Meter | None = None,
    ) -> None:
        """*unestablished* is told when the connection ends before its layers are through; *meter* counts."""
        self.connection = connection
        self._handler = handler
        self._info = info
        self._exchanges = Held()
        # Of requests that are not taken yet, by their stream: when the head came, it, and what came behind it. A body
        # is not consumed: its credit bounds what comes.
        self._kept: dict[int, tuple[float, list[Any]]] = {}
        # Answered already, and to be logged; the head, where it could be read.
        self._refused: deque[tuple[int, Header | None, Error]] = deque()
        self._unestablished = unestablished
        self._meter = meter

    @property
    def under_way(self) -> int:
        """Exchanges that are not over, and requests that are not taken yet."""
        return len(self._exchanges) + len(self._kept)

    def share(self, digest: Digest) -> None:
        """What every session of this connection says of its transport."""
        self._exchanges.digest = digest

    def receive_event(self, stream_id: int, value: Any, now: float) -> None:
        """Take one event of the connection."""
        kind = type(value)
        if kind is Header:
            if self._kept or (self._exchanges.unlogged and self._is_full()):
                self._kept[stream_id] = now, [value]
                self._exchanges.on_room = self._go_on
            else:
                self._begin(stream_id, value, now, now)
        elif kind is ConnectionClosed:
            if self._meter is not None and value.error is not None:
                self._meter.broke("connection", value.error)
            self._connection_closed(value.error, now)
        elif (held := self._exchanges.get(stream_id)) is None:
            if stream_id in self._kept:
                self._keep(stream_id, value, now)
            elif kind is Failed:
                self._refuse(stream_id, None, value.error, now)
            elif kind is Established:
                self._established(value)
        elif kind is Writable:
            held.writable(value.room, now)
        else:
            if kind is Failed:
                del self._exchanges[stream_id]  # told, and not once more when the connection closes
                if self._meter is not None:
                    self._meter.broke("request", value.error)
            held.receive_task(value, now)

    def _begin(self, stream_id: int, header: Header, came: float, now: float) -> None:
        session = ServerSession(self.connection, stream_id, header, self._info, now, self._exchanges)
        session.began = came
        session.meter = self._meter
        exchange = self._handler.begin(session, now)
        if not session.released:
            first = self._exchanges.setdefault(stream_id, exchange)
            if first is not exchange:
                _put_behind(first, exchange)

    # ── a log that does not keep up ──────────────────────────────────────────────────

    def _is_full(self) -> bool:
        return self._exchanges.unlogged >= self.connection.limits.max_unlogged

    def _keep(self, stream_id: int, value: Any, now: float) -> None:
        if type(value) is not Failed:
            join_task(self._kept[stream_id][1], value)
            return
        _, (header, *_) = self._kept.pop(stream_id)  # taken back by its client: as if it had never been read
        if self._meter is not None:
            self._meter.broke("request", value.error)
        if value.error.status is not None:  # no, the connection has answered it
            self._refuse(stream_id, header, value.error, now)

    def _refuse(self, stream_id: int, header: Header | None, error: Error, now: float) -> None:
        if self._refused or self._is_full():
            self._refused.append((stream_id, header, error))
            self._exchanges.on_room = self._go_on
            if len(self._refused) > self.connection.limits.max_unlogged:
                if self._meter is not None:
                    self._meter.broke("connection", Error(ErrorType.INTERNAL_ERROR, "max_unlogged refused heads"))
                self.connection.abort(now)  # nothing that is answered already can be made to wait
            return
        session = ServerSession(self.connection, stream_id, header, self._info, now, self._exchanges)
        if self._meter is not None and header is None:
            self._meter.refused(session, error)
        self._handler.refused(session, error, now)

    def _go_on(self, now: float) -> None:
        """Take what waited, as far as there is room for its log."""
        self._exchanges.on_room = None  # what is taken here may be over at once
        kept, refused = self._kept, self._refused
        self._kept, self._refused = {}, deque()
        while (refused or kept) and not self._is_full():
            if refused:
                self._refuse(*refused.popleft(), now)
            else:
                stream_id = next(iter(kept))
                came, (header, *rest) = kept.pop(stream_id)
                self._begin(stream_id, header, came, now)
                for value in rest:
                    self.receive_event(stream_id, value, now)
        if kept or refused:
            self._kept, self._refused = kept, refused
            self._exchanges.on_room = self._go_on

    def _established(self, event: Established) -> None:
        self.connection = event.connection
        self._unestablished = None
        self.share(event.digest)
        if event.connection.endpoint is not None:
            self._info = event.connection.endpoint.info

    def _connection_closed(self, error: Error | None, now: float) -> None:
        """Exchanges that were not told already, because the connection was aborted from our side, are told now."""
        self._kept.clear()
        if self._unestablished is not None:
            self._unestablished(error, now)
        held = list(self._exchanges.values())
        self._exchanges.clear()
        for exchange in held:
            exchange.receive_task(
                Failed(error or Error(ErrorType.CONNECTION_CLOSED, "the connection was aborted").into_down()), now
            )


def _put_behind(first: Any, exchange: Exchange) -> None:
    """*first* was put before *exchange* while that was being begun, perhaps with others between them."""
    while first is not exchange and first.behind is not None:
        first = first.behind
    if first is not exchange:
        first.behind = exchange
