"""The contracts between machines and the code that drives them, and the lane that joins them.

Three kinds of thing meet here:

* a **connection** is the protocol state of one byte transport: bytes and facts in,
  ``(stream_id, value)`` events and bytes out;
* a **coordinator** has no transport of its own: it gives commands and gets answers;
* an **endpoint** is one transport as its driver sees it: a connection below, the receiver of its events above.
  Endpoints and coordinators are the **members** of a **lane**: all that may call each other, as one thread drives them.

A driver never thinks. It hands input to an endpoint, then settles the lane::

    endpoint.receive_data(data, now)
    while members := lane.drain(now):
        for member in members:
            ...  # an Endpoint: write its output, obey its flags; a Coordinator: execute its commands
    # then arm one timer for lane.deadline; when it fires: lane.due(now), and settle again
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, Protocol

from sansio_pingora.drain_news import DrainNews
from sansio_pingora.errors import Error, LocalProtocolError
from sansio_pingora.transport import DialOptions, Resolve, ResolveService, SocketAddr, Tracer, TransportInfo

if TYPE_CHECKING:
    from sansio_pingora.digests import Digest
    from sansio_pingora.limits import Limits
    from sansio_pingora.wire import HttpTask

__all__ = [
    "AT_ONCE",
    "READ_SIZE",
    "Acceptor",
    "Admit",
    "Application",
    "CancelDial",
    "Closing",
    "Command",
    "Connection",
    "ConnectionClosed",
    "Coordinator",
    "Dial",
    "Endpoint",
    "Established",
    "Event",
    "Lane",
    "LogLine",
    "Member",
    "Receiver",
    "RunFilter",
    "StopFilters",
    "Writable",
]

AT_ONCE = -math.inf
"""A deadline that is past already: the machine has more to say without new input."""

READ_SIZE = 262_144
"""What a driver reads at once, where nobody wants less; it may have a mark of its own below that."""


_SAMPLE = 1.0
_TIMERS = 1024
_POSTED = 65_536


class Closing(IntEnum):
    """Whether the socket may be closed."""

    NO = 0
    AFTER_FLUSH = 1
    """When everything put out has been handed to the kernel."""
    ABORT = 2
    """Now, by reset where the transport can: the peer must not take what it got for complete."""


# ── events of connections ────────────────────────────────────────────────────────────


class Writable:
    """Event: there is room again for a stream whose ``send`` returned 0 or less."""

    __slots__ = ("room",)

    def __init__(self, room: int) -> None:
        self.room = room

    def __repr__(self) -> str:
        return f"Writable({self.room})"


class ConnectionClosed:
    """Event on stream 0, the last one: the transport is gone or will be. ``error`` is None for an orderly end."""

    __slots__ = ("error",)

    def __init__(self, error: Error | None) -> None:
        self.error = error

    def __repr__(self) -> str:
        return f"ConnectionClosed({self.error!r})"


class Established:
    """Event on stream 0, once, where there are layers below a connection: they are through.

    ``connection`` is what stands above them, and what the receiver is to call. ``digest`` says what the layers have
    found out; ``connection.endpoint.info`` has the addresses, perhaps others than those of the socket.
    """

    __slots__ = ("connection", "digest")

    def __init__(self, connection: Connection, digest: Digest) -> None:
        self.connection = connection
        self.digest = digest

    def __repr__(self) -> str:
        return f"Established({self.connection!r})"


Event = tuple[int, "HttpTask | Writable | ConnectionClosed | Established"]
"""``(stream_id, value)``; stream 0 is the connection."""


class Connection(Protocol):
    """The protocol state of one transport. All times are monotonic seconds."""

    limits: Limits
    """Those of the service."""

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the connection enlists itself when it changed without input; set by :class:`Endpoint`."""

    @endpoint.setter
    def endpoint(self, endpoint: Endpoint | None) -> None: ...

    @property
    def version(self) -> bytes:
        """What is spoken: ``b"1.1"``, ``b"2"``, or a name of one's own; empty while that is not known."""

    @property
    def deadline(self) -> float:
        """When to call :meth:`handle_timeout`; ``math.inf`` for never, :data:`AT_ONCE` for right away."""

    @property
    def want_read(self) -> bool:
        """False: stop reading from the transport (back-pressure)."""

    @property
    def shut_write(self) -> bool:
        """Shut the write side once the output is flushed, and go on reading."""

    @property
    def closing(self) -> Closing:
        """Whether the socket may be closed."""

    @property
    def starved(self) -> bool:
        """Somebody was told that there is no room and waits for :class:`Writable`."""

    @property
    def stalled(self) -> bool:
        """Output waits for the peer, and the deadline over it runs."""

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Bytes from the transport; ``b""`` is :meth:`receive_eof`, as sockets have it."""

    def receive_eof(self, now: float) -> list[Event]:
        """The peer shut its write side."""

    def transport_lost(self, reason: Error | None, now: float) -> list[Event]:
        """The transport is gone: by an error, or closed as ``closing`` asked (None)."""

    def handle_timeout(self, now: float) -> list[Event]:
        """Time has passed. Early or repeated calls are harmless."""

    def data_to_send(self) -> list[bytes]:
        """Everything to be written, in order, handed out once; ``[]`` when nothing."""

    def write_paused(self, now: float) -> None:
        """The transport holds more than its high-water mark."""

    def write_resumed(self, now: float) -> list[Event]:
        """The transport is below its low-water mark again."""

    def write_progressed(self, now: float) -> None:
        """The peer took some bytes, though the transport is still paused."""

    def open_stream(self, now: float) -> int | None:
        """Client role: a free stream, or None."""

    def send(self, stream_id: int, task: HttpTask, now: float) -> int:
        """Queue *task*; returns the room left, 0 or less when the sender should wait for :class:`Writable`.

        ``Failed`` ends the stream so that the peer sees it incomplete. What is sent to a stream
        that the connection itself broke off is dropped: its ``Failed`` event may still be on its way.

        :raises LocalProtocolError: not legal now; nothing was queued.
        """

    def invite_body(self, stream_id: int, now: float) -> None:
        """The body is wanted now: a 100 (Continue) that the peer waits for goes out."""

    def consumed(self, stream_id: int, size: int, now: float) -> None:
        """*size* payload bytes were used: returns read credit."""

    def drain(self, now: float) -> None:
        """Take no new streams, announce the end, finish what is there, then close."""

    def abort(self, now: float) -> None:
        """Close without regard for what is under way."""

    def next_reason(self) -> str:
        """Which deadline is next, for people."""


class Receiver(Protocol):
    """What stands above a connection and gets its events, in order."""

    def receive_event(self, stream_id: int, value: Any, now: float) -> None:
        """Take one event. May call machines of the same lane."""


# ── commands of coordinators ─────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, eq=False)
class Dial:
    """Connect *endpoint* to *address*; then ``resume(token, TransportInfo)``, or ``fail(token, error)``.

    The driver names the failure by stage (``CONNECT_REFUSED``, ``CONNECT_NO_ROUTE``, …) and has
    no clock over it: the machine that asked does, and gives :class:`CancelDial`.
    """

    token: int
    address: SocketAddr
    endpoint: Endpoint
    options: DialOptions = DialOptions()


@dataclass(frozen=True, slots=True)
class CancelDial:
    """Give up the dial of *token*, if it is still under way, and close what it made."""

    token: int


@dataclass(frozen=True, slots=True, eq=False)
class RunFilter:
    """Run *call* off the lane; then ``resume(token, result)``, or ``fail(token, error)``.

    ``is_async``: the call returns an awaitable, to be run in the task of the coordinator
    that gave the command (asyncio only). Otherwise it may block, and goes to a thread or
    greenlet. An exception that is not an :class:`Error` is wrapped as ``INTERNAL_ERROR``
    with the exception as cause.
    """

    token: int
    call: Callable[[], Any]
    is_async: bool = False


@dataclass(frozen=True, slots=True)
class StopFilters:
    """No filter of this coordinator will run any more: cancel the one that does, free its task."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """Write *text* to the log of *logger* at *level*, a name as in the logging module (``"ERROR"``)."""

    level: str
    text: str
    logger: str = "sansio_pingora"


@dataclass(frozen=True, slots=True)
class Admit:
    """Let *transport*, which the driver has accepted and asked a connection filter about, in; or close it."""

    transport: Any
    admitted: bool


Command = Dial | CancelDial | RunFilter | StopFilters | Resolve | ResolveService | LogLine | Admit


class Coordinator(Protocol):
    """A machine without a transport: commands out, answers in.

    A command that expects an answer carries a token of the machine that gave it; an
    answer with a stale token is ignored, so a late one is harmless.
    """

    deadline: float
    listed: bool
    armed: float

    def take_commands(self) -> list[Command]:
        """Every command given since the last call, in order."""

    def resume(self, token: int, value: Any, now: float) -> None:
        """The answer to the command of *token*."""

    def fail(self, token: int, error: Error, now: float) -> None:
        """The command of *token* failed. Token 0: the task of the async callbacks was cancelled, as *error*'s cause."""

    def handle_timeout(self, now: float) -> None:
        """Time has passed. Early or repeated calls are harmless."""


# ── the lane ─────────────────────────────────────────────────────────────────────────


class Endpoint:
    """One transport as its driver sees it."""

    __slots__ = (
        "armed",
        "connection",
        "driver",
        "info",
        "lane",
        "listed",
        "read_size",
        "receiver",
        "sample_at",
        "tracer",
        "unsent",
    )

    def __init__(
        self, lane: Lane, connection: Connection, receiver: Receiver, info: TransportInfo | None = None
    ) -> None:
        self.lane = lane
        self.connection = connection
        self.receiver = receiver
        self.info = info
        """None until a dial has connected."""
        self.driver: Any = None
        """The adapter's own object for the transport."""
        self.tracer: Tracer | None = None
        self.listed = False
        self.armed = math.inf
        self.read_size = READ_SIZE
        """Bytes to take from the transport in one reading, at most."""
        self.unsent = 0
        self.sample_at = math.inf
        connection.endpoint = self

    def replace(self, connection: Connection) -> None:
        """Go on with *connection* in the place of the one that found out which it is to be."""
        connection.endpoint = self
        self.connection = connection

    @property
    def deadline(self) -> float:
        """The connection's; while the peer takes nothing, not later than the next look at what it took."""
        connection = self.connection
        return min(connection.deadline, self.sample_at) if connection.stalled else connection.deadline

    def receive_data(self, data: bytes, now: float) -> None:
        """Bytes from the transport; ``b""`` is the end."""
        self._deliver(self.connection.receive_data(data, now), now)

    def receive_eof(self, now: float) -> None:
        """The peer shut its write side."""
        self._deliver(self.connection.receive_eof(now), now)

    def transport_lost(self, reason: Error | None, now: float) -> None:
        """The transport is gone; nothing is delivered after this."""
        lane = self.lane
        if self not in lane.endpoints:
            return
        del lane.endpoints[self]
        if self.tracer is not None and self.info is not None:
            self.tracer.on_disconnected(self.info)
        self._deliver(self.connection.transport_lost(reason, now), now)
        self.receiver = _NOBODY
        self.driver = None

    def handle_timeout(self, now: float, unsent: int = 0) -> None:
        """Time has passed. *unsent*: bytes that the peer has not taken yet, in the transport and the kernel.

        A peer that took some since it was last asked is slow, not stuck: its write clock starts anew.
        It is asked every second, so that the clock of one that stopped began when it stopped.
        """
        connection = self.connection
        if connection.stalled:
            if unsent < self.unsent:
                connection.write_progressed(now)
            self.unsent = unsent
            self.sample_at = now + _SAMPLE
        self._deliver(connection.handle_timeout(now), now)

    def write_paused(self, now: float, unsent: int = 0) -> None:
        """The transport holds more than its high-water mark."""
        self.unsent = unsent
        self.sample_at = now + _SAMPLE
        self.connection.write_paused(now)
        self.lane.enlist(self)

    def write_resumed(self, now: float) -> None:
        """The transport is below its low-water mark again."""
        self._deliver(self.connection.write_resumed(now), now)

    def flushed(self, now: float) -> None:
        """The transport took what :meth:`Connection.data_to_send` gave, and is not paused."""
        if self.connection.starved:
            self._deliver(self.connection.write_resumed(now), now)

    def _deliver(self, events: Sequence[Event], now: float) -> None:
        for stream_id, value in events:
            self.receiver.receive_event(stream_id, value, now)
        # Behind whatever the receivers wrote to: so their output is flushed before this
        # transport's reading is stopped, and often it need not be stopped at all.
        if not self.listed:
            self.listed = True
            self.lane.dirty.append(self)


class _Nobody:
    def receive_event(self, stream_id: int, value: Any, now: float) -> None:
        """Forget it."""


_NOBODY = _Nobody()

Member = Endpoint | Coordinator


class Lane(DrainNews):
    """The machines that one thread drives, what of them wants attention, and their deadlines."""

    __slots__ = ("_ceiling", "_order", "_posted", "_timers", "dirty", "endpoints", "ring", "stir", "wall_offset")

    def __init__(self) -> None:
        super().__init__()
        self.dirty: list[Member] = []
        self.stir: Callable[[], None] | None = None
        """Set by a driver on whose thread others may call machines between its turns: it is to settle soon."""
        self.endpoints: dict[Endpoint, None] = {}
        """Those with a live transport, in the order in which they came; the values say nothing."""
        self._timers: list[tuple[float, int, Member]] = []
        self._order = 0
        self._ceiling = _TIMERS
        self._posted: deque[Callable[[], object]] = deque()
        self.ring: Callable[[], None] | None = None
        """Set by a driver, callable from any thread: it is to call :meth:`run_posted` soon."""
        self.wall_offset: float | None = None
        """Unix time less monotonic time, read by a driver at each accept. A connection keeps what it began with."""

    def attach(self, endpoint: Endpoint) -> None:
        """The endpoint has a transport from here on."""
        self.endpoints[endpoint] = None
        self.enlist(endpoint)
        if endpoint.tracer is not None and endpoint.info is not None:
            endpoint.tracer.on_connected(endpoint.info)

    def enlist(self, member: Member) -> None:
        """*member* has output, commands, or a changed flag or deadline."""
        if not member.listed:
            member.listed = True
            self.dirty.append(member)

    def post(self, call: Callable[[], object]) -> None:
        """Have *call* called on the lane's own thread, soon and in order. From any thread or greenlet.

        :raises LocalProtocolError: 65,536 calls wait already.
        """
        if len(self._posted) >= _POSTED:
            raise LocalProtocolError(f"{_POSTED} calls wait already for a lane that does not get to them")
        self._posted.append(call)
        if self.ring is not None:
            self.ring()

    def run_posted(self, contain: Callable[[Exception], None] | None = None) -> None:
        """Call what was posted up to now; settle afterwards. *contain* is told of what one raises, else that passes."""
        for _ in range(len(self._posted)):
            try:
                self._posted.popleft()()
            except Exception as exc:
                if contain is None:
                    raise
                contain(exc)

    @property
    def deadline(self) -> float:
        """When to call :meth:`due`. May be early, never late."""
        return self._timers[0][0] if self._timers else math.inf

    def drain(self, now: float, contain: Callable[[Member, Exception, float], None] | None = None) -> list[Member]:
        """The members to serve, each once; call again until it returns none.

        *contain* is told of an exception of a member that was run here, so that the others still get their turn;
        without it the exception passes.
        Runs what is due at once, and arms the deadlines of what it returns. A deadline that moved later is left where
        it is armed and looked at again then: so the deadlines of an ordinary request cost nothing.
        """
        members = self.dirty
        if not members:
            return members
        self.dirty = []
        timers = self._timers
        for member in members:
            member.listed = False
            deadline = member.deadline
            if deadline == AT_ONCE:
                try:
                    member.handle_timeout(now)
                except Exception as exc:
                    if contain is None:
                        raise
                    contain(member, exc, now)
                if member.listed:
                    continue  # it is asked once more, and then armed
                deadline = member.deadline
            if deadline < member.armed:
                member.armed = deadline
                self._order += 1
                heappush(timers, (deadline, self._order, member))
        if len(timers) > self._ceiling:
            self._sweep()
        return members

    def _sweep(self) -> None:
        """Drop the timers of members that wait for nothing any more: they would keep them until their old deadlines."""
        kept = []
        for entry in self._timers:
            at, _, member = entry
            if at != member.armed:
                continue  # an earlier deadline was armed after this one
            if member.deadline == math.inf:
                member.armed = math.inf
            else:
                kept.append(entry)
        heapify(kept)
        self._timers = kept
        self._ceiling = max(_TIMERS, 2 * len(kept))  # so that sweeping costs each timer a constant share

    def due(self, now: float) -> list[Member]:
        """The members whose deadline has come. Call ``handle_timeout`` of each, then settle the lane."""
        timers = self._timers
        due: list[Member] = []
        while timers and timers[0][0] <= now:
            at, _, member = heappop(timers)
            if at != member.armed:
                continue  # an earlier deadline was armed after this one
            deadline = member.deadline
            if deadline <= now:
                member.armed = math.inf
                self.enlist(member)  # so that drain arms its next one
                due.append(member)
            else:
                member.armed = deadline
                if deadline != math.inf:
                    self._order += 1
                    heappush(timers, (deadline, self._order, member))
        return due


# ── what an adapter serves ───────────────────────────────────────────────────────────


class Acceptor(Protocol):
    """An application on one lane: gives every accepted transport its machines."""

    def accept(self, info: TransportInfo, now: float) -> Endpoint:
        """The endpoint for a transport that was accepted. The driver attaches it to the lane."""

    def drain(self, now: float) -> None:
        """Announce the end on every connection of this lane and take no more."""

    def take_leave(self, now: float) -> None:
        """The grace period is nearly over: say so where the protocol has a word for it, as WebSocket has."""


class Application(Protocol):
    """What an adapter serves."""

    limits: Limits

    def open(self, lane: Lane, now: float, wall: float) -> Acceptor:
        """The application on *lane*. *wall* is the Unix time at *now*, for dates."""

    def check(self, runtime: str, *, can_await: bool) -> None:
        """Refuse a runtime that cannot run this application.

        :raises TypeError: a callback is ``async def`` and the runtime cannot await.
        """
