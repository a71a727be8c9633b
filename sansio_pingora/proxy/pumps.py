"""The two directions of an exchange, independent of each other.

A pump takes tasks from one side and gives them to the other. When there is no room it
blocks, when a filter waits it parks; meanwhile tasks queue up behind it, bounded because
their sender gets its read credit back only for what was passed on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from sansio_pingora.errors import Error, LocalProtocolError
from sansio_pingora.proxy.filter_table import Filter
from sansio_pingora.proxy.remainder import Declared, Remainder, declared, remainder
from sansio_pingora.session import ReplayBuffer, as_error, forwarded_response
from sansio_pingora.wire import Body, Done, Fields, Header, HttpTask, ResponseHeader, Trailer, UpgradedBody, join_task

if TYPE_CHECKING:
    from sansio_pingora.connectors import Lease
    from sansio_pingora.proxy.exchange import ProxyExchange

__all__ = ["FIRST_WINDOW", "Flow", "RequestPump", "ResponsePump"]

FIRST_WINDOW = 4_096
"""Bytes of an answer that an origin may send to a client which has no room for them; from there on it grows.

A hundred streams of a client that opens no window are held at this each. One that has room is not slowed by it.
"""


class Flow(Enum):
    """Where a pump stands."""

    IDLE = auto()  # nobody to give to: what comes is queued
    FLOW = auto()
    BLOCKED = auto()  # the receiving side has no room
    PARKED = auto()  # a filter waits
    DONE = auto()


# By their bare names: finding a member in its class costs more than comparing it (50 ns on 3.11).
IDLE, FLOW, BLOCKED, PARKED, DONE = Flow


class _Pump:
    """Queueing, blocking and parking; a direction says what passing a task means."""

    __slots__ = ("_exchange", "_found", "_inbox", "_owed", "_parked", "state")

    def __init__(self, exchange: ProxyExchange) -> None:
        self._exchange = exchange
        self._inbox: deque[HttpTask] | None = None  # made when something has to wait
        self._owed = 0  # read credit held back until there is room
        self._parked = False  # a filter waits, over whatever became of the attempt
        self._found: Filter | None = None  # what was called last, while a message is filtered
        self.state = IDLE

    def receive(self, task: HttpTask) -> None:
        """The next task of this direction."""
        if self.state is FLOW:
            try:
                self._pass(task)
            except Exception as exc:  # a filter's, or a message that cannot be sent as the filters left it
                self._break(exc)
        elif self.state is not DONE:
            if self._inbox is None:
                self._inbox = deque()
            join_task(self._inbox, task)

    def writable(self) -> None:
        """The receiving side has room again."""
        if self.state is BLOCKED:
            self.state = PARKED if self._parked else FLOW
            owed, self._owed = self._owed, 0
            self._give_credit(owed)  # of 0 bytes as well: the sender may have been told to hold
            self._run()

    def _run(self) -> None:
        inbox = self._inbox
        while inbox and self.state is FLOW:
            self.receive(inbox.popleft())

    def _break(self, exc: Exception) -> None:
        self.state = DONE
        found = self._found
        context = "while a message was passed on" if found is None else f"in {found.name}"
        self._exchange.end_duplex(as_error(exc, context))

    def _park(self, routine: Generator[Any, Any, None]) -> None:
        self.state = PARKED
        self._parked = True
        self._exchange.start(routine, self._unparked)

    def _unparked(self, _: Any, error: Error | None) -> None:
        self._parked = False
        if self.state is DONE:
            return
        if error is not None:
            self._break(error)
            return
        if self.state is PARKED:
            self.state = FLOW
        self._run()

    def _sent(self, room: int, credit: int) -> None:
        if room > 0:
            if credit:
                self._give_credit(credit)
        else:
            self._owed += credit
            if self.state is FLOW or self.state is PARKED:
                self.state = BLOCKED

    def _filtered(self, filters: tuple[Filter, ...], data: bytes, end: bool) -> bytes:
        exchange = self._exchange
        for found in filters:
            self._found = found
            changed = found.call(exchange.session, data, end, exchange.ctx)
            if changed is not None:
                data = _checked(found, changed)
        self._found = None
        return data

    def _filtered_deferred(self, filters: tuple[Filter, ...], task: HttpTask) -> Generator[Any, Any, None]:
        exchange = self._exchange
        data = task.data if type(task) is Body else b""
        end = type(task) is not Body or task.end
        size = len(data)
        for found in filters:
            self._found = found
            changed = yield from exchange.run_filter(found, exchange.session, data, end, exchange.ctx)
            if changed is not None:
                data = _checked(found, changed)
        self._found = None
        if self.state is not DONE:
            self._send_filtered(task, data, size)

    def _pass_body(self, filters: tuple[Filter, ...], inline: bool, task: HttpTask) -> None:
        """A Body, Trailer or Done, through *filters*."""
        kind = type(task)
        if not inline:
            self._park(self._filtered_deferred(filters, task))
        elif kind is Body:
            data: bytes = task.data  # type: ignore[union-attr]  # a Body
            self._send_filtered(task, self._filtered(filters, data, task.end), len(data))
        else:
            self._send_filtered(task, self._filtered(filters, b"", True), 0)

    def _send_filtered(self, task: HttpTask, data: bytes, credit: int) -> None:
        """What the filters made of *task*."""
        if type(task) is Body:
            if data or task.end:
                self._send(task if data is task.data else Body(data, task.end), credit)
            elif credit:
                self._give_credit(credit)
            return
        if data:
            self._send(Body(data), 0)
        self._send(task, 0)

    def _pass(self, task: HttpTask) -> None:
        raise NotImplementedError

    def _send(self, task: HttpTask, credit: int) -> None:
        raise NotImplementedError

    def _give_credit(self, size: int) -> None:
        raise NotImplementedError


class RequestPump(_Pump):
    """From the client to the origin of the attempt under way."""

    __slots__ = ("_broken", "_late", "_lease", "replay")

    def __init__(self, exchange: ProxyExchange, replay_ceiling: int) -> None:
        super().__init__(exchange)
        self.replay = ReplayBuffer(replay_ceiling)
        """What was sent, behind the body filters: a filter sees each piece exactly once."""
        self._lease: Lease | None = None
        self._broken: Exception | None = None  # what a filter raised
        self._late: list[HttpTask] | None = None  # what a filter let go when the attempt had ended

    def attach(self, lease: Lease, room: int) -> None:
        """Send to *lease*, whose head was sent and left *room*: first again what an attempt before it got, then on."""
        if self._broken is not None:  # behind the attempt whose piece it had
            super()._break(self._broken)
            return
        self._lease = lease
        self.state = PARKED if self._parked else FLOW if room > 0 else BLOCKED
        replay = self.replay
        now = self._exchange.now
        if (body := replay.body()) is not None:
            self._sent(lease.connection.send(lease.stream_id, body, now), 0)
        if replay.end:
            lease.connection.send(lease.stream_id, Done() if replay.trailers is None else Trailer(replay.trailers), now)
            self.state = DONE
            return
        if self._late is not None:
            late, self._late = self._late, None
            for task in late:
                self._send(task, 0)
        self._run()

    def tunnel(self, lease: Lease) -> None:
        """The client was told that the protocols are switched: opaque bytes follow, behind a body still on its way."""
        if self.state is IDLE or self.state is DONE:
            self._lease = lease
            self.state = FLOW
            self._run()

    def take_unread(self) -> list[HttpTask]:
        """What waits to be passed on, and its read credit, are the caller's."""
        unread, self._inbox = self._inbox, None
        return list(unread or ())

    def detach(self) -> None:
        """The attempt is over: queue what comes."""
        self._lease = None
        self.state = IDLE
        owed, self._owed = self._owed, 0
        if owed:
            self._give_credit(owed)

    def _break(self, exc: Exception) -> None:
        self.replay.release()  # what broke is in nobody's hands any more
        self._broken = exc
        super()._break(exc)

    def _pass(self, task: HttpTask) -> None:
        if type(task) is UpgradedBody:
            self._send(task, len(task.data))
            return
        filters = self._exchange.filters
        if not filters.request_body_filters:
            self._send(task, len(task.data) if type(task) is Body else 0)
            return
        self._pass_body(filters.request_body_filters, filters.request_body_inline, task)

    def _send(self, task: HttpTask, credit: int) -> None:
        lease = self._lease
        if lease is None:  # the attempt ended while a filter waited
            self._late = [*(self._late or ()), task]
            self._give_credit(credit)
            return
        if lease.connection.closing:  # its answer is complete, and it hears no more
            self.state = DONE
            self._give_credit(credit)
            return
        kind = type(task)
        if kind is Body:
            self.replay.add(task.data)  # type: ignore[union-attr]  # a Body
        elif kind is Trailer:
            self.replay.trailers = task.fields  # type: ignore[union-attr]  # a Trailer
        end = task.end
        room = lease.connection.send(lease.stream_id, task, self._exchange.now)
        self._sent(room, credit)
        if end:
            self.replay.end = True
            if kind is UpgradedBody or not self._exchange.session.upgraded:
                self.state = DONE
                self._exchange.request_complete()

    def _give_credit(self, size: int) -> None:
        self._exchange.session.consumed(size)


class ResponsePump(_Pump):
    """From the origin of the attempt under way to the client.

    What the origin may send ahead begins with what the client has room for, and grows as the client takes it, up to
    its share of what may be queued for its connection.
    """

    __slots__ = ("_before", "_goal", "_rest", "_taken", "_width")

    _goal: float  # of body bytes taken: there the width may grow, or the end is

    def __init__(self, exchange: ProxyExchange) -> None:
        super().__init__(exchange)
        self._taken = self._width = self._goal = 0
        self._before: Declared | None = None  # what the head declared before filters had it
        self._rest: Remainder | None = None

    def attach(self, lease: Lease) -> None:
        """Answers come from *lease*, to which the head was sent."""
        self.state = FLOW
        exchange = self._exchange
        room = max(FIRST_WINDOW, exchange.session.takes)
        self._width = self._goal = lease.connection.widen(lease.stream_id, room, exchange.now)

    def _pass(self, task: HttpTask) -> None:
        exchange = self._exchange
        kind = type(task)
        if kind is Header:
            head: ResponseHeader = task.head  # type: ignore[union-attr,assignment]  # a response's
            exchange.responded_at = exchange.now
            if exchange.filters.forwarding is not None:
                exchange.filters.forwarding.response(head, head.version)
            forwarded_response(head)
            if exchange.bridge is not None and (head.status >= 200 or head.status == 101):
                exchange.bridge.response(head)
            filters = exchange.filters
            if filters.changes_heads:
                self._before = declared(head)
            found_filters = filters.response_head_filters if head.status >= 200 else filters.informational_head_filters
            if not found_filters:
                self._send(task, 0)
                return
            if filters.upstream_modules is not None:
                exchange.session.upstream_modules_ctx.end_of_stream = task.end
            if filters.response_head_inline:
                for found in found_filters:
                    self._found = found
                    found.call(exchange.session, head, exchange.ctx)
                self._found = None
                self._send(task, 0)
            else:
                self._park(self._head_deferred(found_filters, task, head))
        elif kind is UpgradedBody:
            self._send(task, len(task.data))  # type: ignore[union-attr]  # an UpgradedBody
        elif kind is Trailer and exchange.filters.response_tails:
            self._park(self._trailers(task.fields))  # type: ignore[union-attr]  # a Trailer
        elif not exchange.filters.response_body_filters:
            self._send(task, len(task.data) if kind is Body else 0)  # type: ignore[union-attr]  # a Body
        else:
            filters = exchange.filters
            self._pass_body(filters.response_body_filters, filters.response_body_inline, task)

    def _trailers(self, fields: Fields) -> Generator[Any, Any, None]:
        """The end of a body, and trailers, of which a filter may make the last of the body."""
        exchange = self._exchange
        body, kept = b"", True
        for on_body, on_trailers in exchange.filters.response_tails:
            if on_body is not None:
                self._found = on_body
                changed = yield from exchange.run_filter(on_body, exchange.session, body, True, exchange.ctx)
                if changed is not None:
                    body = _checked(on_body, changed)
            if on_trailers is not None and kept:
                self._found = on_trailers
                made = yield from exchange.run_filter(on_trailers, exchange.session, fields, exchange.ctx)
                if made is not None:
                    body, kept = body + _checked(on_trailers, made), False
        self._found = None
        if self.state is not DONE:
            self._send_filtered(Trailer(fields) if kept else Done(), body, 0)

    def _head_deferred(
        self, filters: tuple[Filter, ...], task: HttpTask, head: ResponseHeader
    ) -> Generator[Any, Any, None]:
        exchange = self._exchange
        for found in filters:
            self._found = found
            yield from exchange.run_filter(found, exchange.session, head, exchange.ctx)
        self._found = None
        if self.state is not DONE:
            self._send(task, 0)

    def _send(self, task: HttpTask, credit: int) -> None:
        exchange = self._exchange
        session = exchange.session
        room = session.write_task(task)
        if room <= 0:
            self._owed += credit
            self.state = BLOCKED
            if type(task) is Header and (lease := exchange.lease) is not None:
                # No room from the start, as on a connection whose client opens no window: what comes
                # beyond this read is better kept by the origin.
                lease.connection.hold(lease.stream_id, exchange.now)
        elif credit and not task.end:
            self._give_credit(credit)
        if self._rest is not None and self._rest.passed(task, self._taken + self._owed):
            self._read_out(self._rest)
        elif session.response_done:
            exchange.response_complete()
        elif type(task) is Header and session.response_written is not None:
            exchange.response_begun()
            lease = exchange.lease
            if lease is not None and (self._before is not None or lease.connection.version == b"2"):
                self._rest = rest = remainder(exchange, lease, self._before)
                if rest is not None and rest.passed(task, 0):
                    self._read_out(rest)

    def _read_out(self, rest: Remainder) -> None:
        """The client has all of the answer: of what still comes so much is read."""
        self._goal = rest.most
        self.writable()

    def _give_credit(self, size: int) -> None:
        exchange = self._exchange
        lease = exchange.lease
        if lease is None:
            return
        self._taken += size
        if self._taken >= self._goal:
            if self._rest is not None and self._taken >= self._rest.most:
                exchange.response_complete()
                return
            room = min(2 * self._width, exchange.session.share)
            if room > self._width:
                self._width = lease.connection.widen(lease.stream_id, room, exchange.now)
            self._goal = self._taken + self._width
        lease.connection.consumed(lease.stream_id, size, exchange.now)


def _checked(found: Filter, changed: object) -> bytes:
    if not isinstance(changed, bytes):
        raise LocalProtocolError(f"{found.name} returned {type(changed).__name__}: return bytes, or None for no change")
    return changed
