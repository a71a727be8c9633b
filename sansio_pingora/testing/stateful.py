"""State machines for hypothesis, to be subclassed: a server of HTTP/1, and two ends of a WebSocket.

Override ``make`` (or ``make_client`` and ``make_server``) for an implementation of your own, add rules, and run it
as ``TestName = Name.TestCase``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE
from sansio_pingora.session import ServerConnection
from sansio_pingora.testing.feeding import Feedable, drain
from sansio_pingora.testing.reader import StrictReader
from sansio_pingora.testing.strategies import http1_requests, websocket_deflates
from sansio_pingora.websocket import Closed, Deflate, MessagePart, Pong, State, WebSocketEvent, WebSocketSession
from sansio_pingora.wire import Body, Failed, Header, RequestHeader, ResponseHeader, UpgradedBody

__all__ = ["HttpServerMachine", "WebSocketMachine", "WebSocketSide"]


class HttpServerMachine(RuleBasedStateMachine):
    """A server of HTTP/1: each request is told once and in order, each answer goes out once, in order and canonical.

    Time passes only as far as keeps a client within the time-outs of ``Limits()``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.connection: Feedable = self.make()
        self.reader = StrictReader(requests=False)
        self.sent = 0
        """Requests that were delivered whole."""
        self.complete: list[int] = []
        """Streams whose request was told to its end, in that order."""
        self.answered = 0
        self._heads: dict[int, bytes] = {}

    def make(self) -> Feedable:
        """The connection under test."""
        return ServerConnection(now=0.0)

    def deliver(self, data: bytes) -> None:
        """Give *data* to the connection, and take what it tells and sends."""
        self.take(self.connection.receive_data(data, self.now))
        while self.connection.deadline == AT_ONCE and not self.connection.closing:
            self.take(self.connection.handle_timeout(self.now))

    def take(self, events: Sequence[tuple[int, object]]) -> None:
        """Events of the connection."""
        for stream, value in events:
            assert not isinstance(value, Failed), f"a legal request failed: {value!r}"
            if isinstance(value, Header) and isinstance(value.head, RequestHeader):
                assert stream not in self._heads, "a second head of the same request"
                self._heads[stream] = value.head.method
            if isinstance(value, Body | UpgradedBody):
                self.connection.consumed(stream, len(value.data), self.now)
            if stream in self._heads and getattr(value, "end", type(value).__name__ in ("Trailer", "Done")):
                assert stream not in self.complete, "a request that ended twice"
                self.complete.append(stream)
        self.collect()

    def collect(self) -> None:
        """Read what the connection has put out."""
        self.reader.feed(drain(self.connection))

    @precondition(lambda self: self.sent - self.answered < 4)
    @rule(raw=http1_requests(keep_alive=True), places=st.lists(st.integers(1, 4_096), max_size=3))
    def ask(self, raw: bytes, places: list[int]) -> None:
        """A client sends a request, perhaps before the last one was answered."""
        self.sent += 1
        bounds = sorted({0, len(raw), *(place % len(raw) for place in places)})
        for start, end in pairwise(bounds):
            self.deliver(raw[start:end])

    @precondition(lambda self: self.answered < len(self.complete))
    @rule(size=st.integers(0, 3), chunked=st.booleans())
    def answer(self, size: int, chunked: bool) -> None:
        """The application answers the oldest request that it has."""
        stream = self.complete[self.answered]
        self.answered += 1
        self.reader.methods.append(self._heads[stream])
        body = b"x" * size
        fields = [] if chunked else [("Content-Length", str(size))]
        bare = self._heads[stream] == b"HEAD"
        self.connection.send(stream, Header(ResponseHeader(200, fields), bare), self.now)
        if not bare:
            self.connection.send(stream, Body(body, True), self.now)
        self.take(self.connection.handle_timeout(self.now))

    @rule(seconds=st.floats(0.0, 1.0))
    def wait(self, seconds: float) -> None:
        """Time passes, up to the next deadline."""
        if self.connection.deadline > self.now + seconds:
            self.now += seconds
        self.take(self.connection.handle_timeout(self.now))

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        """Whatever came whole was told, the next in line when the one before it is answered; answers are whole."""
        assert self.answered <= len(self.complete) <= self.sent
        if self.answered < self.sent:
            assert len(self.complete) > self.answered, "a request that came whole was not told"
        assert self.complete == sorted(self.complete)
        assert len(self.reader.messages) == self.answered
        assert self.reader.message is None


_MASK = b"\x11\x22\x33\x44"
_LIMITS = Limits(ws_max_message=1 << 20, ws_max_fragments=1 << 10)
_PIECES = (
    st.text(max_size=9) | st.binary(max_size=9) | st.sampled_from(["grüße " * 99, bytes(range(256)) * 9, bytes(90_000)])
)


class WebSocketSide:
    """One end: its session, what it has said, and what it has heard."""

    def __init__(self, session: WebSocketSession) -> None:
        self.session = session
        self.said: list[str | bytes] = []
        self.heard: list[str | bytes] = []
        self.amid: type[str | bytes] | None = None
        """It is amid a message of this kind."""
        self.said_part: list[str | bytes] = []
        self.heard_part: list[str | bytes] = []
        self.pings: list[bytes] = []
        self.pongs: list[bytes] = []
        self.closed: Closed | None = None
        self.wire = b""
        """On its way to the other end."""

    @property
    def open(self) -> bool:
        """It may say something."""
        return self.session.state is State.OPEN

    def receive(self, data: bytes, now: float) -> None:
        """Bytes of the other end, and all that the session tells of them."""
        self.hear(self.session.receive_data(data, now))
        while self.session.deadline == AT_ONCE:
            self.hear(self.session.handle_timeout(now))

    def hear(self, events: list[WebSocketEvent]) -> None:
        """Events of the session."""
        for event in events:
            assert self.closed is None, "something behind the last event"
            if isinstance(event, MessagePart):
                self.heard_part.append(event.data)
                if event.last:
                    self.heard.append(_joined(self.heard_part, type(event.data)))
                    self.heard_part = []
            elif isinstance(event, Pong):
                self.pongs.append(event.data)
            elif isinstance(event, Closed):
                self.closed = event


def _joined(parts: list[str | bytes], kind: type[str | bytes]) -> str | bytes:
    return kind().join(parts)  # type: ignore[arg-type]  # all of one kind


class WebSocketMachine(RuleBasedStateMachine):
    """Nothing is lost, doubled or reordered, and every closing handshake comes to its end."""

    now: float
    sides: tuple[WebSocketSide, WebSocketSide] | tuple[()] = ()

    def make_client(self, deflate: Deflate | None) -> WebSocketSession:
        """The client."""
        return WebSocketSession(0.0, _LIMITS, deflate=deflate, mask=lambda: _MASK)

    def make_server(self, deflate: Deflate | None) -> WebSocketSession:
        """The server."""
        return WebSocketSession(0.0, _LIMITS, deflate=deflate)

    @initialize(deflate=websocket_deflates())
    def begin(self, deflate: Deflate | None) -> None:
        """A handshake has settled *deflate*."""
        self.now = 0.0
        self.sides = (WebSocketSide(self.make_client(deflate)), WebSocketSide(self.make_server(deflate)))

    @rule(which=st.integers(0, 1), data=_PIECES, last=st.booleans())
    def say(self, which: int, data: str | bytes, last: bool) -> None:
        """An end sends a message, or a part of one."""
        side = self.sides[which]
        if not side.open:
            return
        if side.amid is not None and not isinstance(data, side.amid):
            data = side.amid()
        side.session.send(data, last=last)
        side.said_part.append(data)
        side.amid = None if last else type(data)
        if last:
            side.said.append(_joined(side.said_part, type(data)))
            side.said_part = []

    @rule(which=st.integers(0, 1), data=st.binary(max_size=5).map(b"?".__add__))
    def ping(self, which: int, data: bytes) -> None:
        """An end asks for a pong."""
        side = self.sides[which]
        if side.open:
            side.session.ping(data)
            side.pings.append(data)

    @rule(which=st.integers(0, 1), code=st.sampled_from([1000, 1001, 4000]))
    def close(self, which: int, code: int) -> None:
        """An end begins the closing handshake."""
        self.sides[which].session.close(code, "bye", now=self.now)

    @rule(which=st.integers(0, 1), size=st.integers(1, 200) | st.just(1 << 20))
    def carry(self, which: int, size: int) -> None:
        """Some of what an end has put out arrives."""
        side, other = self.sides[which], self.sides[1 - which]
        side.wire += b"".join(side.session.data_to_send())
        data, side.wire = side.wire[:size], side.wire[size:]
        if data:
            other.receive(data, self.now)

    @precondition(lambda self: all(side.open for side in self.sides))
    @rule(seconds=st.floats(0, 9))
    def wait(self, seconds: float) -> None:
        """Time passes, and nobody is silent for so long that he is given up."""
        self.now += seconds
        for side in self.sides:
            side.hear(side.session.handle_timeout(self.now))
        for which in (0, 1):
            self.carry(which, 1 << 30)

    @invariant()
    def what_is_heard_was_said(self) -> None:
        """Messages arrive whole and in order, and pongs are answers to pings."""
        for which, side in enumerate(self.sides):
            other = self.sides[1 - which]
            assert other.heard == side.said[: len(other.heard)]
            pings = iter(side.pings)
            assert all(data in pings for data in side.pongs if data[:1] == b"?")  # in order, some left out perhaps

    def teardown(self) -> None:
        """Everything that is under way arrives: then all is said, or all is closed."""
        if not self.sides:
            return
        for _ in range(4):
            for which in (0, 1):
                self.carry(which, 1 << 30)
        closing = [side for side in self.sides if not side.open]
        for which, side in enumerate(self.sides):
            other = self.sides[1 - which]
            if not closing:
                assert other.heard == side.said
                kind = side.amid or str
                assert _joined(other.heard_part, kind) == _joined(side.said_part, kind)
            else:
                assert side.session.finished
                assert side.closed is not None
                assert side.closed.code in (1000, 1001, 4000)
