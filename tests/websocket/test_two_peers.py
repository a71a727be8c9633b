"""A client and a server that talk to each other at random, against a simple model of what each must hear."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_pingora.limits import Limits
from sansio_pingora.websocket import Closed, Deflate, MessagePart, Pong, State, WebSocketSession
from tests.websocket.traffic import MASK, told

LIMITS = Limits(ws_max_message=1 << 20, ws_max_fragments=1 << 10)
DEFLATES = st.none() | st.builds(
    Deflate,
    server_no_context_takeover=st.booleans(),
    client_no_context_takeover=st.booleans(),
    server_max_window_bits=st.integers(9, 15),
    client_max_window_bits=st.integers(9, 15),
)
PIECES = (
    st.text(max_size=9) | st.binary(max_size=9) | st.sampled_from(["grüße " * 99, bytes(range(256)) * 9, bytes(90_000)])
)


class Side:
    """One end: its session, what it has said, and what it has heard."""

    def __init__(self, session: WebSocketSession) -> None:
        self.session = session
        self.said: list = []
        self.heard: list = []
        self.amid: type | None = None  # amid a message of this kind
        self.said_part: list = []
        self.heard_part: list = []
        self.pings: list[bytes] = []
        self.pongs: list[bytes] = []
        self.closed: Closed | None = None
        self.wire = b""
        """On its way to the other end."""

    @property
    def open(self) -> bool:
        return self.session.state is State.OPEN

    def put_out(self) -> None:
        self.wire += b"".join(self.session.data_to_send())

    def hear(self, events: list) -> None:
        for event in events:
            assert self.closed is None, "something behind the last event"
            if isinstance(event, MessagePart):
                self.heard_part.append(event.data)
                if event.last:
                    self.heard.append(type(event.data)().join(self.heard_part))
                    self.heard_part = []
            elif isinstance(event, Pong):
                self.pongs.append(event.data)
            elif isinstance(event, Closed):
                self.closed = event


class Conversation(RuleBasedStateMachine):
    """Nothing is lost, doubled or reordered, and every closing handshake comes to its end."""

    sides: tuple[Side, Side]

    @initialize(deflate=DEFLATES)
    def begin(self, deflate):
        self.now = 0.0
        self.sides = (
            Side(WebSocketSession(0.0, LIMITS, deflate=deflate, mask=lambda: MASK)),
            Side(WebSocketSession(0.0, LIMITS, deflate=deflate)),
        )

    @rule(which=st.integers(0, 1), data=PIECES, last=st.booleans())
    def say(self, which, data, last):
        side = self.sides[which]
        if not side.open:
            return
        if side.amid is not None and not isinstance(data, side.amid):
            data = side.amid()
        side.session.send(data, last=last)
        side.said_part.append(data)
        side.amid = None if last else type(data)
        if last:
            side.said.append(type(data)().join(side.said_part))
            side.said_part = []

    @rule(which=st.integers(0, 1), data=st.binary(max_size=5).map(b"?".__add__))
    def ping(self, which, data):
        side = self.sides[which]
        if side.open:
            side.session.ping(data)
            side.pings.append(data)

    @rule(which=st.integers(0, 1), code=st.sampled_from([1000, 1001, 4000]))
    def close(self, which, code):
        self.sides[which].session.close(code, "bye", now=self.now)

    @rule(which=st.integers(0, 1), size=st.integers(1, 200) | st.just(1 << 20))
    def carry(self, which, size):
        """Some of what *which* has put out arrives."""
        side, other = self.sides[which], self.sides[1 - which]
        side.put_out()
        data, side.wire = side.wire[:size], side.wire[size:]
        if data:
            other.hear(told(other.session, data, self.now))

    @precondition(lambda self: all(side.open for side in self.sides))
    @rule(seconds=st.floats(0, 9))
    def wait(self, seconds):
        """Time passes, and nobody is silent for so long that he is given up."""
        self.now += seconds
        for side in self.sides:
            side.hear(side.session.handle_timeout(self.now))
        for which in (0, 1):
            self.carry(which, 1 << 30)

    @invariant()
    def what_is_heard_was_said(self):
        if not hasattr(self, "sides"):
            return
        for side, other in (self.sides, self.sides[::-1]):
            assert other.heard == side.said[: len(other.heard)]
            pings = iter(side.pings)
            assert all(data in pings for data in side.pongs if data[:1] == b"?")  # in order, some left out perhaps

    def teardown(self):
        if not hasattr(self, "sides"):
            return
        for _ in range(4):
            for which in (0, 1):
                self.carry(which, 1 << 30)
        closing = [side for side in self.sides if not side.open]
        for side, other in (self.sides, self.sides[::-1]):
            if not closing:
                assert other.heard == side.said
                kind = side.amid or str
                assert kind().join(other.heard_part) == kind().join(side.said_part)
            else:
                assert side.session.finished
                assert side.closed is not None
                assert side.closed.code in (1000, 1001, 4000)


TestConversation = Conversation.TestCase
