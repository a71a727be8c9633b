"""One request through the proxy: the spine that tells its story, and what joins it to both connections.

The spine is a generator that suspends only for a filter that waits, for a connection,
and for the duplex; the pumps move the bytes meanwhile (``pumps``).
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from sansio_pingora.connectors import Lease
from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.machine import ConnectionClosed, StopFilters, Writable
from sansio_pingora.proxy.answers import Answering
from sansio_pingora.proxy.budget import backoff
from sansio_pingora.proxy.filter_table import FilterTable
from sansio_pingora.proxy.pumps import DONE, RequestPump, ResponsePump
from sansio_pingora.proxy.record import ExchangeRecord
from sansio_pingora.proxy.remainder import wait
from sansio_pingora.proxy.verdicts import may_retry
from sansio_pingora.session import (
    Await,
    Bridge,
    Routines,
    ServerSession,
    Sleep,
    as_error,
    bridge,
    forwarded_request,
    max_forwards,
    settle_connection_options,
)
from sansio_pingora.upstreams import AttemptObserver, HttpPeer
from sansio_pingora.wire import Failed, Header, HttpTask, RequestHeader

if TYPE_CHECKING:
    from sansio_pingora.proxy.handler import ProxyHandler

__all__ = ["ProxyExchange"]

_NO_HTTP2 = frozenset({ErrorType.H2_DOWNGRADE, ErrorType.INVALID_H2})
"""What an origin's HTTP/2 came to that is not to be tried again for a while."""
_Story = Generator[Any, Any, Any]


class ProxyExchange(Answering):
    """One request, its attempts, and its answer."""

    __slots__ = (
        "_duplex",
        "_outcome",
        "_pool_token",
        "_reached_origin",
        "_waiting_duplex",
        "_watcher",
        "bridge",
        "chosen_at",
        "connected_at",
        "lease",
        "peer",
        "received_at",
        "request_pump",
        "responded_at",
        "response_pump",
        "reused",
        "sent_at",
        "spine",
    )

    # Set when they are known: what is not there has not happened.
    chosen_at: float
    connected_at: float
    sent_at: float
    responded_at: float
    peer: HttpPeer
    reused: bool

    def __init__(self, handler: ProxyHandler, session: ServerSession, now: float) -> None:
        Routines.__init__(self, handler.lane, now)
        self._handler = handler
        self.filters: FilterTable = handler.filters
        self.session = session
        self.ctx: Any = None
        self.received_at = session.began
        self.lease: Lease | None = None
        self.bridge: Bridge | None = None
        """Of a WebSocket whose handshake changes its version on the way."""
        self.phase = "new_ctx"
        self.request_pump: RequestPump | None = None
        """Made when the request has a body, or became a tunnel."""
        if not session.is_body_empty():
            self.request_pump = RequestPump(self, handler.limits.replay_buffer)
        self.response_pump = ResponsePump(self)
        self.attempts = 0
        self.overdue: Error | None = None
        self.clock: _Story | None = None
        self._duplex = 0
        self._waiting_duplex = False
        self._outcome: tuple[Error | None] | None = None
        self._pool_token = 0
        self._reached_origin = False
        self._watcher: AttemptObserver | None = None
        self.spine: _Story = self._story()
        """What the handler starts: the whole story."""

    # ── from both sides ──────────────────────────────────────────────────────────────

    def receive_task(self, task: HttpTask, now: float) -> None:
        """A task of the request, behind its head."""
        self.now = self.session.now = now
        if type(task) is Failed and (self.session.finished or self.phase == "logging"):
            return  # the connection was cut behind the end of this exchange, perhaps by itself
        self.session.received(task)
        if type(task) is not Failed:
            if self.request_pump is not None:  # or a filter has opened a tunnel: nobody takes it, and it gets no credit
                self.request_pump.receive(task)
        elif self._waiting_duplex:
            self.end_duplex(task.error)
        else:
            self._interrupt(task.error)

    def _interrupt(self, error: Error) -> None:
        """The spine is to hear of *error* where it waits, but for the duplex."""
        if self._pool_token:
            self._handler.connector.cancel(self, self._pool_token, self.now)
        if self._async_used and self._parked is not self.spine:
            self.give(StopFilters())  # what an async filter awaits of its runtime's own cannot be taken from it here
        self.interrupt(self.spine, error)

    def _time_is_up(self, *_: Any) -> None:
        """No answer has begun, and the time that the request may take is over."""
        if self.session.response_written is None:
            seconds = self._handler.limits.request_timeout
            error = Error(ErrorType.READ_TIMEDOUT, f"no answer within request_timeout ({seconds:g} s), in {self.phase}")
            self.overdue = error.into_up()
            if self._waiting_duplex:
                self.end_duplex(self.overdue)
            else:
                self._interrupt(self.overdue)

    def writable(self, room: int, now: float) -> None:
        """There is room for more of the response."""
        self.now = self.session.now = now
        self.session.room = room
        self.response_pump.writable()

    def receive_event(self, stream_id: int, value: Any, now: float) -> None:
        """An event of the upstream connection."""
        lease = self.lease
        if lease is None or stream_id != lease.stream_id:
            return  # the connection's own: its end, which the exchange has heard of if it mattered
        self.now = self.session.now = now
        kind = type(value)
        if kind is Failed:
            # Once the client has all of its answer, an origin that breaks off the rest of it does no harm.
            has_all = self.session.response_done and not self.session.upgraded
            self.end_duplex(None if has_all else value.error.into_up())
        elif kind is Writable:
            if self.request_pump is not None:
                self.request_pump.writable()
        elif kind is not ConnectionClosed:
            self.response_pump.receive(value)

    def resume(self, token: int, value: Any, now: float) -> None:
        """See :meth:`Coordinator.resume`."""
        self.session.now = now
        super().resume(token, value, now)

    def fail(self, token: int, error: Error, now: float) -> None:
        """See :meth:`Coordinator.fail`."""
        self.session.now = now
        super().fail(token, error, now)

    def handle_timeout(self, now: float) -> None:
        """See :meth:`Coordinator.handle_timeout`."""
        self.session.now = now
        super().handle_timeout(now)

    def take_unread(self) -> list[HttpTask]:
        """See :meth:`Routines.take_unread`."""
        return [] if self.request_pump is None else self.request_pump.take_unread()

    def end_duplex(self, error: Error | None) -> None:
        """The duplex of this attempt is over: None when the response is complete."""
        if self._outcome is None:
            self._outcome = (error,)
            if self._waiting_duplex:
                self._waiting_duplex = False
                Routines.resume(self, self._duplex, None, self.now)

    def response_begun(self) -> None:
        """A final head has gone to the client: no other attempt can follow, but perhaps a tunnel."""
        pump = self.request_pump
        if pump is not None:
            pump.replay.release()
        if self.session.upgraded and self.lease is not None:
            if pump is None:
                pump = self.request_pump = RequestPump(self, 0)
            pump.tunnel(self.lease)

    def response_complete(self) -> None:
        """The response has ended, and with it the duplex, unless a tunnel's other direction goes on."""
        if not self.session.upgraded or self.request_pump is None or self.request_pump.state is DONE:
            self.end_duplex(None)

    def request_complete(self) -> None:
        """The request has ended."""
        if self.session.response_done and self.session.upgraded:
            self.end_duplex(None)

    # ── the story ────────────────────────────────────────────────────────────────────

    def _story(self) -> _Story:
        session = self.session
        error: Error | None
        try:
            head = session.req_header
            if head is not None and b"connection" in head.fields.index:
                settle_connection_options(head)
            self.ctx = self.filters.app.new_ctx()
            if self._handler.limits.request_timeout is not None:
                self.clock = wait(self._handler.limits.request_timeout - (self.now - self.received_at))
                self.start(self.clock, self._time_is_up)
            if self.filters.prologue:
                yield from self._prologue()
            error = yield from self._serve()
        except Exception as exc:
            error = as_error(exc, f"in {self.phase}")
            self._attempt_ended(error)
        if error is not None:
            yield from self._fail(error)
        if not session.finished:
            session.shutdown(error or Error(ErrorType.INTERNAL_ERROR, "the exchange ended without an answer").into_in())
        if self.clock is not None:
            self.forget(self.clock)
        if self._waiting or session.closed is not None:
            self.stop_routines()  # nobody needs what a filter still waits for, and the log would wait behind it
        if self.filters.epilogue:
            self._epilogue()
        logging = self.filters.logging
        if logging is not None:
            self.phase = "logging"
            session.record = ExchangeRecord(session, error, self)
            try:
                if logging.inline:
                    logging.call(session, error, self.ctx)
                else:
                    session.await_log()
                    yield from self.run_form(logging.form, partial(logging.call, session, error, self.ctx))
            except Exception as exc:
                self._report("ERROR", f"logging raised: {as_error(exc, 'in logging')}", exc)
        self.phase = "done"
        if self._handler.meter is not None:
            self._handler.meter.proxied(self, session.now)
        session.release()
        self.stop_routines()
        self.request_pump = None  # the pumps know the exchange: bodies and heads would wait for the garbage collector
        del self.response_pump

    def _serve(self) -> _Story:
        """Up to the end of the last attempt: None, or the error that is to be answered."""
        filters, session, ctx = self.filters, self.session, self.ctx
        found = filters.early_request_filter
        if found is not None:
            self.phase = found.name
            if found.inline:
                found.call(session, ctx)
            else:
                yield from self.run_filter(found, session, ctx)
        for found in filters.request_filters:
            self.phase = found.name
            answered = found.call(session, ctx) if found.inline else (yield from self.run_filter(found, session, ctx))
            if answered:
                if session.response_written is None and session.closed is None:
                    raise LocalProtocolError(f"{found.name} returned True but wrote no response")
                session.finish_body()
                return None
        found = filters.proxy_upstream_filter
        if found is not None:
            self.phase = found.name
            wanted = found.call(session, ctx) if found.inline else (yield from self.run_filter(found, session, ctx))
            if wanted is not None and not wanted:
                if session.response_written is None:
                    yield from self._answer_with(502)
                session.finish_body()
                return None
        head = session.req_header
        if head is not None and b"max-forwards" in head.fields.index and max_forwards(head) == 0:
            # As far as it may go. A TRACE would have to say what else is in its head, which is nobody's business.
            yield from self._answer_with(200 if head.method == b"OPTIONS" else 501)
            session.finish_body()
            return None
        limits = self._handler.limits
        budget = self._handler.budget
        budget.request(self.now)
        while True:
            self.attempts += 1
            error = yield from self._attempt()
            self._attempt_ended(error)
            if error is None or session.closed is not None:
                return error
            if self.overdue is not None or not may_retry(
                error,
                method=session.req_header.method if session.req_header is not None else b"",
                attempts_left=limits.max_retries - self.attempts,
                reached_origin=self._reached_origin and not error.unprocessed,
                response_begun=session.response_written is not None,
                replay_complete=self.request_pump is None or self.request_pump.replay.complete,
            ):
                return error
            if not budget.spend(self.now):
                return error.more_context("the retry budget is spent")
            self._report("WARNING", f"retrying, attempt {self.attempts} failed: {error}, {self._summary()}")
            self.response_pump = ResponsePump(self)
            if limits.retry_backoff and not (self._reached_origin and self.reused):  # a stale connection is no overload
                self.phase = "backing off"
                seed = b"%d %r %d" % (session.stream_id, self.received_at, self.attempts)
                yield Sleep(backoff(limits.retry_backoff, limits.max_retry_backoff, self.attempts, seed))

    def _attempt(self) -> _Story:
        filters, session, ctx = self.filters, self.session, self.ctx
        self._outcome = None
        self._reached_origin = False
        found = filters.upstream_peer
        self.phase = found.name
        try:
            peer = found.call(session, ctx) if found.inline else (yield from self.run_filter(found, session, ctx))
        except Error as exc:
            return exc  # perhaps marked for another attempt
        if not isinstance(peer, HttpPeer):
            raise LocalProtocolError(f"upstream_peer returned {type(peer).__name__}: return an HttpPeer")
        if peer.attempt is not None:
            self._watcher = peer.attempt
            self._watcher.began(self.now)
        self.phase = "connecting"
        self.peer = peer
        self.chosen_at = self.now
        connector = self._handler.connector
        token = self.new_token()
        try:
            lease = connector.acquire(peer, self, token, self.now)
            if lease is None:
                self._pool_token = token
                lease = yield Await(token)
        except Error as exc:
            exc.__traceback__ = None  # it says nothing, and keeps these frames
            if session.closed is not None:
                return exc
            judged = filters.app.fail_to_connect(session, peer, ctx, exc.into_up())
            return exc if judged is None else _checked("fail_to_connect", judged)
        finally:
            self._pool_token = 0
        self.lease = lease
        self.connected_at = self.now
        self.reused = lease.reused
        lease.listen(self)
        try:
            error = yield from self._duplex_over(lease, peer)
        except Exception as exc:
            error = as_error(exc, f"in {self.phase}")
        finally:
            self.lease = None
            self.response_pump.state = DONE  # what a filter still holds of it goes nowhere
            connector.release(lease, self.now, reuse=True)  # if its state allows
            if self.request_pump is not None:
                self.request_pump.detach()
            if filters.upstream_modules is not None:
                self._leave_upstream_modules()
        if error is None or session.closed is not None:
            return error
        judged = filters.app.error_while_proxy(peer, session, error, ctx, lease.reused)
        if judged is not None:
            error = _checked("error_while_proxy", judged)
        if error.etype in _NO_HTTP2:
            falls_back = connector.prefer_h1(peer, self.now)
            if error.etype is ErrorType.H2_DOWNGRADE and not falls_back:
                error = error.with_retry(False)  # it would meet the same again
        return error.decide_reuse(lease.reused)

    def _attempt_ended(self, error: Error | None) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            head = self.session.response_written
            watcher.ended(error, None if head is None else head.status, self.now)

    def _duplex_over(self, lease: Lease, peer: HttpPeer) -> _Story:
        filters, session, ctx = self.filters, self.session, self.ctx
        if filters.upstream_modules is not None:
            session.upstream_modules_ctx = filters.upstream_modules.build_ctx()
        found = filters.connected_to_upstream
        if found is not None:
            self.phase = found.name
            args = (session, lease.reused, peer, lease.endpoint.info, ctx)
            if found.inline:
                found.call(*args)
            else:
                yield from self.run_filter(found, *args)
        request = self._upstream_head(lease, peer)
        for found in filters.upstream_request_filters:
            self.phase = found.name
            if found.inline:
                found.call(session, request, ctx)
            else:
                yield from self.run_filter(found, session, request, ctx)
        self.phase = "duplex"
        if self._outcome is None:  # the origin may have left while a filter waited
            if lease.reused:  # by whoever made it; this peer may want other time-outs
                lease.connection.set_timeouts(peer.options.read_timeout, peer.options.write_timeout)
            room = lease.connection.send(lease.stream_id, Header(request, session.is_body_empty()), self.now)
            self._reached_origin = True
            self.sent_at = self.now
            self.response_pump.attach(lease)
            if not session.is_body_empty():
                if b"expect" not in request.fields.index:
                    session.invite_body()
                self.request_pump.attach(lease, room)  # type: ignore[union-attr]  # there is a body, so there is a pump
        if self._outcome is None:
            self._duplex = self.new_token()
            self._waiting_duplex = True
            yield Await(self._duplex)
        assert self._outcome is not None  # who resumes the duplex sets it
        return self._outcome[0]

    def _upstream_head(self, lease: Lease, peer: HttpPeer) -> RequestHeader:
        downstream = self.session.req_header
        assert downstream is not None  # an exchange begins with a head
        version = lease.connection.version
        self.bridge = None
        if version != downstream.version and (downstream.protocol or b"upgrade" in downstream.fields.index):
            self.bridge = bridge(downstream, version, b"%d %r" % (self.session.stream_id, self.now))
        request = forwarded_request(downstream, version) if self.bridge is None else self.bridge.request
        if peer.tls:
            request.scheme = b"https"
        fields = request.fields
        if b"host" not in fields.index:
            fields.insert(b"Host", str(peer.address) if peer.address.path is None else "localhost")
        if self.filters.forwarding is not None:
            self.filters.forwarding.request(request, self.session)
        if b"expect" in fields.index and lease.connection.peer_version == b"1.0":
            fields.remove(b"expect")  # it knows no 1xx, so the 100 is ours to send
        return request


def _checked(name: str, judged: object) -> Error:
    if not isinstance(judged, Error):
        raise LocalProtocolError(f"{name} returned {type(judged).__name__}: return the error, or None for as it is")
    return judged
