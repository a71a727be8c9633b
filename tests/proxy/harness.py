"""A proxy on one lane with wires instead of sockets and a clock that is set by hand."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

from sansio_pingora.apps import HttpOptions
from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.limits import Limits
from sansio_pingora.machine import CancelDial, Closing, Dial, Endpoint, Lane, LogLine, RunFilter, StopFilters
from sansio_pingora.proxy import HttpProxy, ProxyHttp
from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora.upstreams import HttpPeer

HIGH_WATER = 65_536
LOW_WATER = 16_384
ORIGIN = "127.0.0.1:9000"
HANGING = object()
"""A dial that is not answered."""


class Wire:
    """What an adapter is to an endpoint, with the far end in the hands of a test.

    ``window`` None: the far end takes whatever comes. A number: the bytes that it still takes.
    """

    def __init__(self, bench: Bench, endpoint: Endpoint) -> None:
        self.bench = bench
        self.endpoint = endpoint
        self.got = bytearray()
        """What the far end has received."""
        self.window: int | None = None
        self.seen_eof = False
        """Our side has shut its write side, as the far end sees it."""
        self.closed: Closing = Closing.NO
        """How our side closed."""
        self._out = bytearray()
        self._in: deque[bytes] = deque()
        self._paused = False
        self._gone = False
        self._eof = False
        self._lost: Error | None = None

    @property
    def connection(self) -> Any:
        """What speaks on our side: another one once it is known which protocol that is to be."""
        return self.endpoint.connection

    # ── the far end ──────────────────────────────────────────────────────────────────

    def send(self, *pieces: bytes) -> None:
        """Each piece arrives as one read, as soon as our side reads."""
        self._in.extend(piece for piece in pieces if piece)
        self.bench.settle()

    def eof(self) -> None:
        """The far end shuts its write side."""
        self._in.append(b"")
        self.bench.settle()

    def reset(self) -> None:
        """The far end is gone; what it sent before and was not read is lost."""
        self._in.clear()
        self.lose(Error(ErrorType.READ_ERROR, "ECONNRESET"))

    def lose(self, error: Error | None) -> None:
        """The transport breaks."""
        if not self._gone:
            self._gone = True
            self.endpoint.transport_lost(error, self.bench.now)
        self.bench.settle()

    def take(self) -> bytes:
        """What has come since the last time."""
        data = bytes(self.got)
        self.got.clear()
        return data

    def open_window(self, size: int | None) -> None:
        """The far end reads *size* bytes more, or everything from here on."""
        self.window = None if size is None else (self.window or 0) + size
        self._flow()
        if not self._gone:
            self.endpoint.lane.enlist(self.endpoint)
        self.bench.settle()

    @property
    def unread(self) -> int:
        """Bytes that the far end has sent and our side has not read."""
        return sum(map(len, self._in))

    @property
    def held(self) -> int:
        """Bytes in the hands of the adapter."""
        return len(self._out)

    @property
    def alive(self) -> bool:
        return not self._gone

    # ── the driver ───────────────────────────────────────────────────────────────────

    def serve(self) -> None:
        """As an adapter's transport does it."""
        if self._gone:
            return
        connection, now = self.connection, self.bench.now
        for piece in connection.data_to_send():
            assert piece, "an empty piece put out"
            self._out += piece
        self._flow()
        if not self._paused and (len(self._out) > HIGH_WATER or (self._out and connection.closing)):
            self._paused = True
            self.endpoint.write_paused(now, len(self._out))
        elif connection.starved and not self._paused:
            self.endpoint.flushed(now)
            return
        if connection.closing is Closing.ABORT or (connection.closing and not self._out):
            self.closed = connection.closing
            self._gone = True
            self.endpoint.transport_lost(None, now)
        elif connection.shut_write and not self._out:
            self.seen_eof = True

    def _flow(self) -> None:
        size = len(self._out) if self.window is None else min(self.window, len(self._out))
        self.got += self._out[:size]
        del self._out[:size]
        if self.window is not None:
            self.window -= size
        if self._paused and len(self._out) < LOW_WATER and not self._gone and not self.connection.closing:
            self._paused = False
            self.endpoint.write_resumed(self.bench.now)

    def deliver(self) -> bool:
        """One read, if there is something and our side reads."""
        if self._gone or not self._in or not self.connection.want_read or self._eof:
            return False
        data = self._in.popleft()
        if len(data) > (size := self.endpoint.read_size):
            self._in.appendleft(data[size:])
            data = data[:size]
        self._eof = not data
        self.endpoint.receive_data(data, self.bench.now)
        return True


def inbox(exchange: Any, direction: str) -> int:
    """Body bytes that wait in the pump of the ``request`` or the ``response``; an exchange that is over has none."""
    pump = getattr(exchange, f"{direction}_pump", None)
    return 0 if pump is None else sum(len(getattr(task, "data", b"")) for task in pump._inbox or ())


@dataclass
class Held:
    """A filter that the test answers."""

    bench: Bench
    owner: Any
    command: RunFilter

    def run(self) -> None:
        """Run it and give its answer."""
        self.bench.pending.remove(self)
        self.bench.run_now(self.owner, self.command)
        self.bench.settle()

    def answer(self, value: Any) -> None:
        self.owner.resume(self.command.token, value, self.bench.now)
        self.bench.settle()

    def fail(self, error: Error) -> None:
        self.owner.fail(self.command.token, error, self.bench.now)
        self.bench.settle()


class Bench:
    """One lane, its commands executed, virtual time."""

    def __init__(
        self, app: ProxyHttp, limits: Limits | None = None, options: HttpOptions | None = None, **changes: Any
    ) -> None:
        self.app = app
        self.now = 1000.0
        self.lane = Lane()
        self.limits = limits or Limits(**changes)
        self.acceptor: Any = HttpProxy(app, self.limits, options).open(self.lane, self.now, 1e9)
        self.logs: list[LogLine] = []
        self.dials: list[Dial] = []
        self.hanging: list[tuple[Any, Dial]] = []
        self.cancelled: list[int] = []
        self.dial_outcomes: deque[Any] = deque()
        """For the next dials, in order: an Error, HANGING, or None to connect; then all connect."""
        self.origins: list[Wire] = []
        self.clients: list[Wire] = []
        self.hold_filters = False
        self.pending: list[Held] = []
        self.stopped: list[Any] = []
        self.exchanges: list[Any] = []
        begin = self.acceptor._handler.begin

        def begin_seen(session: Any, now: float) -> Any:
            exchange = begin(session, now)
            self.exchanges.append(exchange)
            return exchange

        self.acceptor._handler.begin = begin_seen

    # ── ends ─────────────────────────────────────────────────────────────────────────

    def client(self) -> Wire:
        """A new client."""
        info = TransportInfo(SocketAddr("10.0.0.1", 4000 + len(self.clients)), SocketAddr("10.0.0.2", 80), self.now)
        endpoint = self.acceptor.accept(info, self.now)
        wire = endpoint.driver = Wire(self, endpoint)
        self.clients.append(wire)
        self.lane.attach(endpoint)
        self.settle()
        return wire

    @property
    def origin(self) -> Wire:
        """The newest connection to an origin."""
        return self.origins[-1]

    @property
    def connector(self) -> Any:
        return self.acceptor._handler.connector

    @property
    def errors(self) -> list[str]:
        """What the error log has."""
        return [line.text for line in self.logs if line.level == "ERROR"]

    def connect(self, owner: Any, command: Dial) -> None:
        """The dial succeeds."""
        endpoint = command.endpoint
        wire = endpoint.driver = Wire(self, endpoint)
        self.origins.append(wire)
        self.lane.attach(endpoint)
        info = TransportInfo(command.address, SocketAddr("10.0.0.2", 5000), self.now)
        owner.resume(command.token, info, self.now)

    def connect_hanging(self) -> None:
        """The oldest of the dials that hang succeeds."""
        self.connect(*self.hanging.pop(0))
        self.settle()

    # ── time ─────────────────────────────────────────────────────────────────────────

    def advance(self, seconds: float) -> None:
        """Let time pass, every deadline at its own moment."""
        end = self.now + seconds
        while self.lane.deadline <= end:
            self.now = max(self.now, self.lane.deadline)
            self._fire()
        self.now = end

    def _fire(self) -> None:
        for member in self.lane.due(self.now):
            if isinstance(member, Endpoint) and member.driver is not None:
                member.handle_timeout(self.now, member.driver.held)
            else:
                member.handle_timeout(self.now)
        self.settle()

    # ── driving ──────────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """Until nothing moves any more."""
        for _ in range(100_000):
            while members := self.lane.drain(self.now):
                for member in members:
                    if isinstance(member, Endpoint):
                        if member.driver is not None:
                            member.driver.serve()
                    else:
                        for command in member.take_commands():
                            self.execute(member, command)
            if not sum(wire.deliver() for wire in (*self.clients, *self.origins)):
                return
        raise AssertionError("the lane does not come to rest")

    def execute(self, owner: Any, command: Any) -> None:
        match command:
            case Dial():
                self.dials.append(command)
                outcome = self.dial_outcomes.popleft() if self.dial_outcomes else None
                if isinstance(outcome, Error):
                    owner.fail(command.token, outcome, self.now)
                elif outcome is None:
                    self.connect(owner, command)
                else:
                    self.hanging.append((owner, command))
            case CancelDial(token):
                self.cancelled.append(token)
            case RunFilter():
                if self.hold_filters:
                    self.pending.append(Held(self, owner, command))
                else:
                    self.run_now(owner, command)
            case StopFilters():
                self.stopped.append(owner)
            case LogLine():
                self.logs.append(command)
            case _:
                raise AssertionError(command)

    def run_now(self, owner: Any, command: RunFilter) -> None:
        """As an adapter does: the answer, or the error that stands for what was raised."""
        try:
            value = command.call()
            if command.is_async:
                value = finish(value)
        except Exception as exc:
            error = exc if isinstance(exc, Error) else Error(ErrorType.INTERNAL_ERROR, "a filter raised", cause=exc)
            error.esource = error.esource if isinstance(exc, Error) else ErrorSource.INTERNAL
            owner.fail(command.token, error, self.now)
        else:
            owner.resume(command.token, value, self.now)

    # ── afterwards ───────────────────────────────────────────────────────────────────

    def assert_clean(self) -> None:
        """Nothing is left of any exchange; what is open is idle."""
        for exchange in self.exchanges:
            assert exchange.phase == "done", exchange.phase
            assert exchange.session.released
            assert exchange.lease is None
            assert not exchange._waiting
            assert not exchange._sleeping
            assert exchange.deadline == math.inf
            assert not exchange.listed
        for wire in self.clients:
            if wire.alive:
                assert not wire.endpoint.receiver._exchanges
                assert not wire.endpoint.receiver._kept
                assert wire.connection.idle or wire.connection.shut_write, wire.connection
        for wire in self.origins:
            if wire.alive:
                assert wire.connection.reusable, wire.connection
        assert set(self.lane.endpoints) == {w.endpoint for w in (*self.clients, *self.origins) if w.alive}
        assert self.connector.dialling == 0
        assert self.connector.waiting == 0
        assert self.connector.idle == sum(wire.alive for wire in self.origins)
        assert not self.lane.dirty


def finish(awaitable: Any) -> Any:
    """Run an awaitable that waits for nothing of a runtime's."""
    steps = awaitable.__await__()
    try:
        wanted = next(steps)
    except StopIteration as stop:
        return stop.value
    raise AssertionError(f"{wanted!r} is awaited, and nobody is there to answer")


class App(ProxyHttp):
    """One origin; remembers how it ended."""

    def __init__(self) -> None:
        self.ended: list[tuple[Any, Any]] = []

    def upstream_peer(self, session: Any, ctx: Any) -> HttpPeer:
        return HttpPeer(ORIGIN)

    def logging(self, session: Any, error: Any, ctx: Any) -> None:
        self.ended.append((session, error))


GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def post(size: int, body: bytes | None = None, *, method: bytes = b"POST", fields: bytes = b"") -> bytes:
    """A request that declares *size* bytes, with *body* or all of it behind."""
    head = b"%b / HTTP/1.1\r\nHost: a.test\r\n%bContent-Length: %d\r\n\r\n" % (method, fields, size)
    return head + (b"x" * size if body is None else body)


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    """A chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


def exchange(request: bytes, response: bytes, app: App | None = None, **limits: Any) -> tuple[bytes, bytes, Wire]:
    """One exchange: what the origin got, what the client got, and the client."""
    bench = Bench(app or App(), **limits)
    client = bench.client()
    client.send(request)
    bench.origin.send(response)
    bench.assert_clean()
    return bench.origin.take(), client.take(), client


def status_of(response: bytes) -> int:
    """The status of the first head."""
    assert response.startswith(b"HTTP/1.1 "), response[:80]
    return int(response[9:12])


def head_of(message: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Start line, fields by lower-case name (several joined by a comma), and what follows."""
    head, _, rest = bytes(message).partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b": ")
        name = name.lower()
        fields[name] = fields[name] + b", " + value if name in fields else value
    return start, fields, rest


def dechunk(data: bytes) -> tuple[bytes, bytes]:
    """The payload and what follows the last chunk: trailers, the blank line, and beyond."""
    payload = b""
    while True:
        size_line, _, data = data.partition(b"\r\n")
        size = int(size_line, 16)
        if size == 0:
            return payload, data
        payload, data = payload + data[:size], data[size + 2 :]
