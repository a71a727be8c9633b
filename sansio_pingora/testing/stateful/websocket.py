"""Two ends of a WebSocket that send, ping, close and wait, while bytes arrive in pieces."""

from __future__ import annotations

from typing import Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE
from sansio_pingora.testing.contracts import check_contract
from sansio_pingora.testing.strategies import websocket_deflates
from sansio_pingora.websocket import Closed, Deflate, MessagePart, Pong, State, WebSocketEvent, WebSocketSession

__all__ = ["WebSocketMachine", "WebSocketSide", "WebSocketlike"]

_MASK = b"\x11\x22\x33\x44"
_LIMITS = Limits(ws_max_message=1 << 30, ws_max_fragments=1 << 10)  # more than a story says in one message
_PIECES = (
    st.text(max_size=9) | st.binary(max_size=9) | st.sampled_from(["grüße " * 99, bytes(range(256)) * 9, bytes(90_000)])
)


class WebSocketlike(Protocol):
    """What :class:`WebSocketMachine` asks of each end; see :class:`~sansio_pingora.websocket.WebSocketSession`."""

    @property
    def deadline(self) -> float:
        """When handle_timeout is to be called, math.inf for never, AT_ONCE when there is more to tell already."""

    @property
    def state(self) -> State:
        """State.OPEN while it may send; send and ping are called in no other state."""

    @property
    def finished(self) -> bool:
        """Whether the closing handshake has come to its end."""

    def receive_data(self, data: bytes, now: float) -> list[WebSocketEvent]:
        """Bytes of the other end: MessagePart, Ping, Pong and Closed, which is the last; pings are answered here."""

    def handle_timeout(self, now: float) -> list[WebSocketEvent]:
        """Time has passed; early or repeated calls are harmless."""

    def data_to_send(self) -> list[bytes]:
        """Pieces to be written, in order, handed out once; [] for none."""

    def send(self, data: str | bytes, *, last: bool = True) -> None:
        """Send a message, or with last=False a part of one, whose others follow."""

    def ping(self, data: bytes) -> None:
        """Send a ping with *data*."""

    def close(self, code: int, reason: str, *, now: float) -> None:
        """Begin the closing handshake; called in any state, and nothing where it has begun."""


class WebSocketSide:
    """One end: its session, what it has said, and what it has heard."""

    def __init__(self, session: WebSocketlike) -> None:
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

    def make_client(self, deflate: Deflate | None) -> WebSocketlike:
        """The client."""
        return WebSocketSession(0.0, _LIMITS, deflate=deflate, mask=lambda: _MASK)

    def make_server(self, deflate: Deflate | None) -> WebSocketlike:
        """The server."""
        return WebSocketSession(0.0, _LIMITS, deflate=deflate)

    @initialize(deflate=websocket_deflates())
    def begin(self, deflate: Deflate | None) -> None:
        """A handshake has settled *deflate*."""
        self.now = 0.0
        client, server = self.make_client(deflate), self.make_server(deflate)
        check_contract(client, WebSocketlike, f"{type(self).__name__}.make_client() returned")
        check_contract(server, WebSocketlike, f"{type(self).__name__}.make_server() returned")
        self.sides = (WebSocketSide(client), WebSocketSide(server))

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
