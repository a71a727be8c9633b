"""Requests that this process makes of its own handlers: a connection of one stream, and no transport.

On one side stands a dispatcher, as on any client's connection; on the other a
:class:`SubrequestHandle`, which sends the body and is told the response through a
:class:`SubrequestReceiver`. Tasks pass as they are, with credit both ways, and never inside a call
of the other side: the lane runs the connection when both have returned.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

from sansio_pingora.digests import Digest
from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError
from sansio_pingora.http1.states import (
    BODY,
    CLOSED,
    COMPLETE,
    HEAD,
    HEAD_ONLY,
    HEAD_THEN_BODY,
    MOVES,
    RAW,
    SWITCH,
)
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Closing, ConnectionClosed, Endpoint, Event, Lane, Writable
from sansio_pingora.session.controls import FOREVER, SUBREQUEST
from sansio_pingora.session.dispatch import Dispatcher, HttpHandler
from sansio_pingora.session.subrequest_flow import (
    Flow,
    clear_request_body_headers,
    request_length,
    response_length,
)
from sansio_pingora.session.subrequest_handle import SubrequestHandle, SubrequestReceiver
from sansio_pingora.session.transportless import Transportless
from sansio_pingora.transport import TransportInfo
from sansio_pingora.wire import (
    Body,
    Failed,
    Header,
    HttpTask,
    RequestHeader,
    ResponseHeader,
    UpgradedBody,
)

__all__ = ["SubrequestConnection", "start_subrequest"]

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_BODY_WANTED = object()


@lru_cache(maxsize=8)
def _unhurried(limits: Limits) -> Limits:
    """*limits* without clocks: who makes a request of itself keeps its own time."""
    return replace(
        limits,
        body_idle_timeout=FOREVER,
        read_timeout=FOREVER,
        write_idle_timeout=FOREVER,
        linger_timeout=FOREVER,
        min_body_rate=None,
    )


class SubrequestConnection(Transportless):
    """The serving side: a connection whose one stream, 1, is a request of this process.

    *head* is copied, and loses its fields about a body when *end* says that there is none.

    :raises LocalProtocolError: the framing of *head* is ambiguous.
    """

    __slots__ = (
        "_heard",
        "_listening",
        "_method",
        "_offers_upgrade",
        "_read_deadline",
        "_request",
        "_response",
        "_write_deadline",
        "deadline",
        "handle",
        "limits",
    )

    version = SUBREQUEST

    def __init__(self, head: RequestHeader, *, end: bool, limits: Limits | None = None) -> None:
        super().__init__()
        head = head.clone()
        if end:
            clear_request_body_headers(head)
        left = 0 if end else request_length(head)
        self.limits = _unhurried(limits or Limits())
        high_water = self.limits.high_water
        self._request = Flow(BODY if left else COMPLETE, left, high_water)
        self._request.queue.append(Header(head, not left))
        self._response = Flow(HEAD, 0, high_water)
        self._method = head.method
        self._offers_upgrade = head.version == b"1.1" and b"upgrade" in head.fields.tokens(b"connection")
        self._heard = True  # the exchange wants to hear of the request
        self._listening = True  # the handle wants to hear of the response
        self._read_deadline = self._write_deadline = math.inf
        self.deadline = AT_ONCE
        self.handle = SubrequestHandle(self)
        """The other side."""

    # ── the requesting side ──────────────────────────────────────────────────────────

    @property
    def request_room(self) -> int:
        """See :attr:`SubrequestHandle.room`."""
        return self._request.room

    @property
    def request_done(self) -> bool:
        """See :attr:`SubrequestHandle.request_done`."""
        return not self._heard or self._request.state in (COMPLETE, CLOSED)

    def request_task(self, task: HttpTask, now: float) -> int:
        """See :meth:`SubrequestHandle.send`."""
        flow = self._request
        if type(task) is Header:
            raise LocalProtocolError("the head of a subrequest is given when it is made")
        if type(task) is Failed:
            self.give_up(task.error, now)
        elif self._heard:
            if type(task) is UpgradedBody:
                flow.pass_raw(task)
                if task.end:
                    self._tunnel_ended(flow)
            elif flow.state is BODY:
                missing = flow.missing(task)
                if not missing:
                    flow.pass_on(task)
                elif type(task) is Body:
                    flow.pass_on(Body(task.data))
                if missing:
                    self._break(Error.custom("PrematureBodyEnd", f"{missing} bytes short of its Content-Length"))
                elif flow.state is COMPLETE and self._response.state in (RAW, CLOSED):
                    flow.state = MOVES[COMPLETE, SWITCH]
            elif flow.state is RAW and isinstance(task, Body) and task.data:
                raise LocalProtocolError("body bytes into a tunnel: send UpgradedBody")
        self._watch_request(now)
        self._stir()
        return flow.offer_room() if self._heard else self.limits.high_water

    def finish_request(self, now: float) -> None:
        """See :meth:`SubrequestHandle.finish`."""
        if self._request.state is RAW:
            self.request_task(UpgradedBody(b"", True), now)
        elif self._request.state is BODY:
            self.request_task(Body(b"", True), now)

    def give_up(self, error: Error, now: float) -> None:
        """See :meth:`SubrequestHandle.fail`."""
        self._listening = False
        self.handle.response_done = True
        self._response.queue.clear()
        if self._heard:
            self._fail_exchange(error)
        self._end()
        self._stir()

    def response_consumed(self, size: int, now: float) -> None:
        """See :meth:`SubrequestHandle.consumed`."""
        flow = self._response
        if flow.take_credit(size) and self._heard:
            self._request.queue.append(Writable(flow.room))
            self._stir()
        self._watch_response(now)

    # ── the serving side ─────────────────────────────────────────────────────────────

    def send(self, stream_id: int, task: HttpTask, now: float) -> int:
        """See :meth:`Connection.send`. What is sent behind the end of the response goes nowhere."""
        if stream_id != 1:
            raise LocalProtocolError(f"stream {stream_id} was never opened: a subrequest has stream 1 alone")
        flow = self._response
        if type(task) is Failed:
            if flow.state is not CLOSED or self._heard:
                self._request.queue.clear()
                self._fail_receiver(task.error)
                self._end()
        elif type(task) is Header:
            self._send_head(task, now)
        elif type(task) is UpgradedBody:
            if flow.state is not CLOSED:
                flow.pass_raw(task)
                if task.end:
                    self._tunnel_ended(flow)
        elif flow.state is BODY:
            if missing := flow.missing(task):
                raise LocalProtocolError(
                    f"the body ends {missing} bytes short of its Content-Length: send Failed to cut it"
                )
            flow.pass_on(task)
            if flow.state is COMPLETE:
                self._response_complete()
        elif flow.state is HEAD or flow.state is RAW:
            raise LocalProtocolError(f"{task!r} cannot be sent now: this side is {flow.state.name}")
        self._stir()
        if flow.state is CLOSED:
            return self.limits.high_water
        room = flow.offer_room()
        self._watch_response(now)
        return room

    def _send_head(self, task: Header, now: float) -> None:
        flow, head = self._response, task.head
        if not isinstance(head, ResponseHeader):
            raise LocalProtocolError(f"a server sends a ResponseHeader, not {head!r}")
        if flow.state is CLOSED:
            return
        if flow.state is not HEAD:
            raise LocalProtocolError(f"a response head cannot be sent now: this side is {flow.state.name}")
        status = head.status
        end = False
        if status == 101 and not self._offers_upgrade:
            raise LocalProtocolError("101 to a request that offered no upgrade")
        if status == 101 or (self._method == b"CONNECT" and 200 <= status < 300):
            if head.fields.has_any(_FRAMING):
                raise LocalProtocolError("a head that opens a tunnel has no body: take its framing fields away")
            self._switch(now)
        elif status == 100:
            self.invite_body(1, now)
        elif status >= 200:
            bodiless = self._method == b"HEAD" or status in (204, 304)
            left = response_length(head)
            if task.end and (left > 0 or b"transfer-encoding" in head.fields.index) and not bodiless:
                raise LocalProtocolError("a head that ends the response declares a body")
            end = task.end or bodiless or left == 0
            flow.left = left
            flow.mute = end
            flow.state = MOVES[HEAD, HEAD_ONLY if task.end or left == 0 else HEAD_THEN_BODY]
        flow.queue.append(Header(head.clone(), end))
        if flow.state is COMPLETE:
            self._response_complete()

    def _switch(self, now: float) -> None:
        """Both directions may be opaque, as soon as their messages are complete."""
        self._response.state = MOVES[HEAD, SWITCH]
        if self._request.state is COMPLETE:
            self._request.state = MOVES[COMPLETE, SWITCH]
        self.invite_body(1, now)

    def invite_body(self, stream_id: int, now: float) -> None:
        """See :meth:`Connection.invite_body`."""
        if not self.handle.wants_body and self._heard and self._request.state is not COMPLETE:
            self.handle.wants_body = True
            self._response.queue.append(_BODY_WANTED)
            self._watch_request(now)
            self._stir()

    def consumed(self, stream_id: int, size: int, now: float) -> None:
        """See :meth:`Connection.consumed`."""
        if not self._heard:
            return
        if self._request.take_credit(size):
            self._response.queue.append(Writable(self._request.room))
            self._stir()
        self._watch_request(now)

    def proxy_failed(self, error: Error) -> None:
        """The proxy that serves this request failed by *error*."""
        if self.handle.proxy_error is None:
            self.handle.proxy_error = error

    # ── ends ─────────────────────────────────────────────────────────────────────────

    def _response_complete(self) -> None:
        """Nobody hears of the rest of the request."""
        self._heard = False
        self._request.queue.clear()
        if self._request.starved:
            self._request.starved = False
            self._response.queue.append(Writable(self.limits.high_water))
        self._end()

    def _tunnel_ended(self, flow: Flow) -> None:
        """This direction has."""
        flow.state = CLOSED
        if self._request.state is CLOSED and self._response.state is CLOSED:
            self._heard = False  # nothing can follow
            self._end()

    def _break(self, error: Error) -> None:
        """Neither side can go on."""
        error.into_down()
        self._fail_exchange(error)
        self._fail_receiver(error)
        self._end()

    def _fail_exchange(self, error: Error) -> None:
        if self._heard:
            self._heard = False
            if error.esource is ErrorSource.UNSET:
                error.into_down()
            self._request.queue.append(Failed(error))

    def _fail_receiver(self, error: Error) -> None:
        self._heard = False
        if self._listening:
            self._response.queue.append(Failed(error))

    def _end(self) -> None:
        """Both messages are over; what is queued of them is still told."""
        self._request.state = self._response.state = CLOSED
        self._read_deadline = self._write_deadline = math.inf
        self.closing = Closing.AFTER_FLUSH

    def drain(self, now: float) -> None:
        """See :meth:`Connection.drain`. It is the last request in any case."""

    def abort(self, now: float) -> None:
        """See :meth:`Connection.abort`: both sides are told."""
        if not self.closing:
            self._break(Error(ErrorType.CONNECTION_CLOSED, "the subrequest was aborted"))
            self._stir()

    def receive_eof(self, now: float) -> list[Event]:
        """Who asked is gone."""
        return self.transport_lost(None, now)

    def transport_lost(self, reason: Error | None, now: float) -> list[Event]:
        """Who asked is gone."""
        self.give_up(reason or Error(ErrorType.CONNECTION_CLOSED, "who asked has left"), now)
        return [*self.handle_timeout(now), (0, ConnectionClosed(reason))]

    # ── time ─────────────────────────────────────────────────────────────────────────

    def handle_timeout(self, now: float) -> list[Event]:
        """See :meth:`Connection.handle_timeout`: what has passed is told to both sides."""
        if self._write_deadline <= now:
            self._break(Error(ErrorType.WRITE_TIMEDOUT, "who asked took nothing of the response for too long"))
        elif self._read_deadline <= now:
            self._break(Error(ErrorType.READ_TIMEDOUT, "who asked sent nothing of the body for too long"))
        told, self._response.queue = self._response.queue, []
        for value in told:
            if self._listening:
                self._tell(value, now)
        values, self._request.queue = self._request.queue, []
        self._arm()
        return [(1, value) for value in values]  # type: ignore[misc]  # tasks and Writable

    def _tell(self, value: object, now: float) -> None:
        receiver = self.handle.receiver
        if value is _BODY_WANTED:
            receiver.body_wanted(now)
        elif type(value) is Writable:
            receiver.request_writable(value.room, now)
        else:
            task: Any = value
            self.handle.response_done = self.handle.response_done or task.end
            receiver.response_task(task, now)

    def tune(self, stream_id: int, now: float, **changes: float | None) -> None:
        """Change *changes* of the limits."""
        self.limits = replace(self.limits, **changes)  # type: ignore[arg-type]  # checked by Limits
        self._watch_request(now)
        self._watch_response(now)

    def _watch_request(self, now: float) -> None:
        """The clock over who asked, while it owes a body."""
        flow, limits = self._request, self.limits
        timeout = limits.body_idle_timeout if flow.state is BODY else limits.read_timeout
        owed = self._heard and self.handle.wants_body and flow.state in (BODY, RAW) and flow.room > 0
        self._read_deadline = now + timeout if owed and timeout < FOREVER else math.inf
        self._arm()

    def _watch_response(self, now: float) -> None:
        """The clock over who asked, while the response waits for it."""
        timeout = self.limits.write_idle_timeout
        waits = self._response.starved and self._listening
        self._write_deadline = now + timeout if waits and timeout < FOREVER else math.inf
        self._arm()

    def _arm(self) -> None:
        if self._request.queue or self._response.queue:
            self.deadline = AT_ONCE
        else:
            self.deadline = min(self._read_deadline, self._write_deadline)

    def _stir(self) -> None:
        self._arm()
        if self.endpoint is not None:
            self.endpoint.lane.enlist(self.endpoint)

    def next_reason(self) -> str:
        """See :meth:`Connection.next_reason`."""
        if self.deadline == AT_ONCE:
            return "tasks that have come already"
        if self.deadline == math.inf:
            return "nothing"
        return "body_idle_timeout" if self._read_deadline <= self._write_deadline else "write_idle_timeout"


def start_subrequest(
    lane: Lane,
    handler: HttpHandler,
    head: RequestHeader,
    receiver: SubrequestReceiver,
    *,
    end: bool,
    info: TransportInfo | None = None,
    digest: Digest | None = None,
    limits: Limits | None = None,
) -> SubrequestHandle:
    """Ask *handler*, which is of *lane*, as a client would; *end*: without a body.

    *info* and *digest* are those of the client for whom it is done. It begins when the caller has returned.

    :raises LocalProtocolError: the framing of *head* is ambiguous.
    """
    connection = SubrequestConnection(head, end=end, limits=limits)
    dispatcher = Dispatcher(connection, handler, info)
    if digest is not None:
        dispatcher.share(digest.clone())
    lane.enlist(Endpoint(lane, connection, dispatcher, info))
    handle = connection.handle
    handle.receiver = receiver
    return handle
