"""A subrequest in the middle of an exchange, whose answer becomes the client's.

::

    def process_new_http(self, session):
        state = yield from PipeSubrequest(session, self.fragments)

The exchange waits; what comes for it meanwhile goes through the pipe. The response passes through a
filter, and its read credit is returned only when the client has room. The body passes when the
subrequest has asked for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.session.effects import LaneEffect
from sansio_pingora.session.forwarding import forwarded_response
from sansio_pingora.session.routines import Routines, as_error
from sansio_pingora.session.subrequest import start_subrequest
from sansio_pingora.wire import (
    Body,
    Done,
    Failed,
    Header,
    HttpTask,
    RequestHeader,
    ResponseHeader,
    UpgradedBody,
    join_piece,
    join_task,
)

if TYPE_CHECKING:
    from sansio_pingora.machine import Lane
    from sansio_pingora.session.dispatch import HttpHandler
    from sansio_pingora.session.server_session import ServerSession
    from sansio_pingora.session.subrequest_handle import SubrequestHandle

__all__ = ["PerLane", "PipeState", "PipeSubrequest", "SavedBody", "SessionBody", "TaskFilter"]

TaskFilter = Callable[[HttpTask], "HttpTask | list[HttpTask] | None"]
"""What becomes of a task of a subrequest's response: another, several, or none."""


@dataclass(frozen=True, slots=True)
class SessionBody:
    """The body of a subrequest is that of the client's request."""

    save_up_to: int = 0
    """Bytes that are kept of it, for another subrequest."""


class SavedBody:
    """The beginning of a body, whole pieces alone, of which small ones are put together."""

    __slots__ = ("_ceiling", "chunks", "complete", "size", "truncated")

    def __init__(self, ceiling: int) -> None:
        self._ceiling = ceiling
        self.chunks: list[bytes] = []
        self.size = 0
        self.truncated = False
        """A piece would have been too much: it and all behind it are not here."""
        self.complete = False
        """The body has ended."""

    def add(self, data: bytes) -> None:
        """Keep *data*, unless it or one before it was too much."""
        if self.truncated or not data:
            return
        if self.size + len(data) > self._ceiling:
            self.truncated = True
            return
        join_piece(self.chunks, data)
        self.size += len(data)


class PipeState:
    """How far a pipe has come."""

    __slots__ = ("error", "from_subrequest", "header_received", "proxy_error", "saved_body")

    def __init__(self, saved_body: SavedBody | None) -> None:
        self.saved_body = saved_body
        """What was kept of the client's body, as :class:`SessionBody` had it."""
        self.header_received = False
        """The subrequest has answered with a head, informational or final."""
        self.error: Error | None = None
        """Why the pipe broke."""
        self.from_subrequest = False
        """It was the subrequest that failed, and nothing on our side of the pipe."""
        self.proxy_error: Error | None = None
        """Why the proxy that served the subrequest failed, though it answered."""


class PerLane:
    """One handler for each lane, made when a pipe on it first asks. It hears when the server drains.

    A handler that has a method ``drain(now)`` gets the call, as one that serves clients itself does: a proxy lets go
    of its idle upstream connections then, and keeps none from there on.
    """

    def __init__(self, make: Callable[[Lane, float], HttpHandler]) -> None:
        self._make = make
        self._made: dict[Lane, HttpHandler] = {}

    def __call__(self, lane: Lane, now: float) -> HttpHandler:
        """The handler of *lane*."""
        handler = self._made.get(lane)
        if handler is None:
            handler = self._made[lane] = self._make(lane, now)
            drain = getattr(handler, "drain", None)
            if drain is not None:
                lane.on_drain(drain, now)
        return handler


class _Waiter(Protocol):
    """The exchange that a pipe is in."""

    now: float
    lane: Lane

    def receive_task(self, task: HttpTask, now: float) -> None: ...
    def writable(self, room: int, now: float) -> None: ...
    def take_unread(self) -> list[HttpTask]: ...
    def resume(self, token: int, value: Any, now: float) -> None: ...
    def fail(self, token: int, error: Error, now: float) -> None: ...


class PipeSubrequest(LaneEffect):
    """Effect: ask *handler*, and give its answer to the client of *session*; resumes with a :class:`PipeState`.

    *handler* is one of the session's lane, or makes one (:class:`PerLane`). *head* is the client's own, if none is
    given. *body*: the client's, a list of pieces, or None. *task_filter* sees each task of the response.

    When it breaks, its :class:`Error` is raised; :attr:`state` tells more. A response that has ended by then is not
    an error: only its head tells whether the subrequest went well.
    """

    __slots__ = (
        "_blocked",
        "_client_owed",
        "_ended",
        "_filter",
        "_handler",
        "_head",
        "_inbox",
        "_outbox",
        "_over",
        "_owed",
        "_pieces",
        "_response_ended",
        "_session",
        "_starved",
        "_token",
        "_tunnel_ended",
        "_waiter",
        "behind",
        "handle",
        "state",
    )

    def __init__(
        self,
        session: ServerSession,
        handler: HttpHandler | Callable[[Lane, float], HttpHandler],
        *,
        head: RequestHeader | None = None,
        body: SessionBody | Iterable[bytes] | None = SessionBody(),
        task_filter: TaskFilter | None = None,
    ) -> None:
        self._session = session
        self._handler = handler
        self._head = head
        self._filter = task_filter
        self._pieces: deque[bytes] | None = None  # None: the body is the client's
        saved = None
        if isinstance(body, SessionBody):
            saved = SavedBody(body.save_up_to)
        else:
            self._pieces = deque(piece for piece in body or () if piece)
        self.state = PipeState(saved)
        self.handle: SubrequestHandle | None = None
        self.behind: Any = None
        """What the client's events go to when the pipe is over."""
        self._waiter: _Waiter | None = None
        self._token = 0
        self._inbox: deque[HttpTask] = deque()  # of the body, until it is wanted and there is room
        self._outbox: deque[HttpTask] = deque()  # of the response, until there is room
        self._blocked = False  # the client has no room
        self._starved = False  # the subrequest has none
        self._owed = 0  # read credit of the subrequest held back
        self._client_owed = 0  # read credit of the client held back
        self._ended = self._tunnel_ended = False  # the client's body has, its direction of a tunnel
        self._response_ended = False
        self._over = False

    def begin(self, waiter: Any, token: int) -> tuple[int, Any]:
        """See :class:`LaneEffect`."""
        session = self._session
        if self._token:
            raise LocalProtocolError("a pipe runs once: make another one")
        if session.closed is not None:
            raise session.closed
        if session.released or session.upgraded or session.response_done or not isinstance(waiter, Routines):
            raise LocalProtocolError("a pipe is for the middle of an exchange, before its response is complete")
        self._waiter = exchange = cast(_Waiter, waiter)
        self._token = token
        handler: Any = self._handler
        if not hasattr(handler, "begin"):
            handler = handler(exchange.lane, exchange.now)
        head, end = self._request()
        self.handle = start_subrequest(
            exchange.lane,
            handler,
            head,
            self,
            end=end,
            info=session.info,
            digest=session.digest(),
            limits=session.limits,
        )
        self._stand_before(exchange)
        if self._pieces is None and not end:
            self._inbox.extend(exchange.take_unread())
            if session.is_body_done() and not (self._inbox and self._inbox[-1].end):
                self._inbox.append(Done())  # it was read before
        return token, None

    def _request(self) -> tuple[RequestHeader, bool]:
        """The head of the subrequest, and whether it is all."""
        head = self._head or self._session.req_header
        assert head is not None  # an exchange begins with a head
        if self._pieces is None:
            return head, self._session.is_body_empty()
        if self._pieces:
            head = head.clone()
            for name in (b"transfer-encoding", b"expect", b"trailer"):
                head.fields.remove(name)
            head.insert(b"Content-Length", b"%d" % sum(map(len, self._pieces)))
        return head, not self._pieces

    def _stand_before(self, exchange: _Waiter) -> None:
        first = self._session.held_exchange()
        if first is None:
            first = exchange
        elif first is not exchange and first.behind is None:
            first.behind = exchange
        self.behind = first
        self._session.interpose(self)

    def _at(self, now: float) -> None:
        self._session.now = self._exchange.now = now

    # ── the request ──────────────────────────────────────────────────────────────────

    def receive_task(self, task: HttpTask, now: float) -> None:
        """A task of the client's request."""
        if type(task) is Failed:
            self._finish(now, task.error, tell=False)
            self.behind.receive_task(task, now)  # and that interrupts who waits for the pipe
        elif self._pieces is not None and type(task) is not UpgradedBody:
            self.behind.receive_task(task, now)
        else:
            self._at(now)
            self._session.received(task)
            if self._inbox or self._starved or not self._subrequest.wants_body:
                join_task(self._inbox, task)
            else:
                self._feed(task, now)

    def body_wanted(self, now: float) -> None:
        """See :class:`SubrequestReceiver`."""
        self._at(now)
        if self._pieces is None:
            self._session.invite_body()
        self._feed_waiting(now)

    def request_writable(self, room: int, now: float) -> None:
        """See :class:`SubrequestReceiver`."""
        self._at(now)
        self._starved = False
        owed, self._client_owed = self._client_owed, 0
        self._return_credit(owed)
        self._feed_waiting(now)

    def _feed_waiting(self, now: float) -> None:
        pieces = self._pieces
        while pieces and not self._starved and not self._over:
            piece = pieces.popleft()
            self._starved = self._subrequest.send(Body(piece, not pieces), now) <= 0
        while self._inbox and not self._starved and not self._over:
            self._feed(self._inbox.popleft(), now)

    def _feed(self, task: HttpTask, now: float) -> None:
        """A task of the client's body, or of its direction of a tunnel."""
        try:
            room = self._subrequest.send(task, now)
        except LocalProtocolError as exc:
            self._finish(now, as_error(exc, "while a body was piped"))
            return
        self._note_end(task)
        size = _size(task)
        saved = self.state.saved_body
        if saved is not None and type(task) is not UpgradedBody:
            saved.add(task.data if type(task) is Body else b"")
            saved.complete = task.end
        if room > 0:
            self._return_credit(size)
        else:
            self._starved = True
            self._client_owed += size
        self._finish_if_complete(now)

    def _note_end(self, task: HttpTask) -> None:
        if task.end:
            if type(task) is UpgradedBody:
                self._tunnel_ended = True
            else:
                self._ended = True

    def _return_credit(self, size: int) -> None:
        session = self._session
        if size and session.closed is None and not (session.response_done and not session.upgraded):
            session.consumed(size)

    # ── the response ─────────────────────────────────────────────────────────────────

    def response_task(self, task: HttpTask, now: float) -> None:
        """See :class:`SubrequestReceiver`."""
        self._at(now)
        if self._blocked or self._outbox:
            join_task(self._outbox, task)
        else:
            self._pass(task, now)

    def writable(self, room: int, now: float) -> None:
        """There is room for more of the response to the client."""
        self.behind.writable(room, now)
        self._at(now)
        self._session.room = room
        self._blocked = False
        owed, self._owed = self._owed, 0
        if owed:
            self._subrequest.consumed(owed, now)
        while self._outbox and not self._blocked and not self._over:
            self._pass(self._outbox.popleft(), now)

    def _pass(self, task: HttpTask, now: float) -> None:
        if type(task) is Failed:
            self._finish(now, task.error, from_subrequest=True)
            return
        session = self._session
        try:
            if type(task) is Header:
                self.state.header_received = True
                if isinstance(task.head, ResponseHeader):
                    forwarded_response(task.head)
            for made in _listed(task if self._filter is None else self._filter(task)):
                session.write_task(made)
        except Exception as exc:
            self._finish(now, as_error(exc, "while a response was piped"))
            return
        size = _size(task)
        if session.room <= 0:
            self._blocked = True
            self._owed += size
        elif size:
            self._subrequest.consumed(size, now)
        self._response_ended = self._response_ended or task.end
        self._finish_if_complete(now)

    # ── the end ──────────────────────────────────────────────────────────────────────

    def _finish_if_complete(self, now: float) -> None:
        session = self._session
        if (self._response_ended or session.response_done) and (self._tunnel_ended or not session.upgraded):
            self._finish(now)

    def cancel(self) -> None:
        """See :class:`LaneEffect`."""
        if self._waiter is not None:
            now = self._waiter.now
            self._finish(now, Error(ErrorType.INTERNAL_ERROR, "the pipe was cancelled").into_in(), tell=False)

    def _finish(
        self, now: float, error: Error | None = None, *, from_subrequest: bool = False, tell: bool = True
    ) -> None:
        if self._over:
            return
        self._over = True
        session, handle, exchange, state = self._session, self._subrequest, self._exchange, self.state
        state.error, state.from_subrequest, state.proxy_error = error, from_subrequest, handle.proxy_error
        handle.fail(error or Error(ErrorType.CONNECTION_CLOSED, "who asked wants no more").into_down(), now)
        unread, self._inbox = self._inbox, deque()
        for task in unread:
            self._note_end(task)
        self._return_credit(sum(map(_size, unread)) + self._client_owed)
        if session.held_exchange() is self:
            session.interpose(self.behind)
            if self._ended:
                self.behind.receive_task(Done(), now)  # or it would wait for the end of a body that has ended
        if tell and error is None:
            exchange.resume(self._token, state, now)
        elif tell and error is not None:
            exchange.fail(self._token, error, now)

    @property
    def _exchange(self) -> _Waiter:
        assert self._waiter is not None  # it has begun
        return self._waiter

    @property
    def _subrequest(self) -> SubrequestHandle:
        assert self.handle is not None  # it has begun
        return self.handle


def _size(task: HttpTask) -> int:
    return len(task.data) if isinstance(task, Body | UpgradedBody) else 0


def _listed(made: HttpTask | list[HttpTask] | None) -> Iterable[HttpTask]:
    """What a filter returned, as so many tasks."""
    if made is None:
        return ()
    return made if isinstance(made, list) else (made,)
