"""A client, a server and a transport between them: bodies both ways, credit, room, and who waits for whom."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sansio_pingora.http1 import Http1Client, Http1Server
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Event, Writable
from sansio_pingora.testing.contracts import check_contract
from sansio_pingora.testing.feeding import Feedable, drain
from sansio_pingora.wire import Body, Done, Header, RequestHeader, ResponseHeader, Trailer

__all__ = ["FlowMachine", "FlowSide", "Flowlike"]

_PIECE = 60_000  # bytes, more than any send at once
_READ = 65_536
_WINDOW = 66_000  # hardly more than the least that HTTP/2 allows: so stories come to its end


class Flowlike(Feedable, Protocol):
    """What :class:`FlowMachine` asks of both ends; see :class:`~sansio_pingora.machine.Connection`."""

    @property
    def version(self) -> bytes:
        """b"2" where each message has a window of limits.h2_window; else limits.high_water bounds what is held."""

    @property
    def want_read(self) -> bool:
        """False: nothing more is delivered, until enough was consumed."""

    @property
    def starved(self) -> bool:
        """A sender waits for Writable, and write_resumed is to be called when everything was taken."""

    def write_paused(self, now: float) -> None:
        """The transport holds as much as it will."""

    def write_resumed(self, now: float) -> list[Event]:
        """The transport takes bytes again: Writable for each stream that waits and may go on."""

    def open_stream(self, now: float) -> int | None:
        """Of a client: a stream for a request, or None while there is none."""


class _Message:
    """One body, as its sender and its receiver know it."""

    def __init__(self) -> None:
        self.said = 0
        self.heard = 0
        self.unused = 0
        """Delivered, and its credit not returned."""
        self.waits = False
        """Its sender was told that there is no room, and not yet that there is."""
        self.ended = False
        self.complete = False
        """The receiver was told of its end."""


def _bytes(number: int, at: int, size: int) -> bytes:
    """The bytes of a body: which they are says where they belong."""
    period = bytes((number * 37 + i) % 251 for i in range(251))
    begin = at % 251
    return (period * (2 + size // 251))[begin : begin + size]


class FlowSide:
    """One end: its connection, what it has put out, and its transport."""

    def __init__(self, name: str, connection: Flowlike) -> None:
        self.name = name
        self.connection = connection
        self.wire = b""
        """On its way to the other end."""
        self.paused = False
        self.messages: dict[int, _Message] = {}
        """What this side sends, by the number of the exchange."""
        self.numbers: dict[int, int] = {}
        """The number of the exchange on each stream."""
        self.unanswered: list[int] = []
        """Of a server: exchanges whose answer has not begun."""

    def stream(self, number: int) -> int:
        """What this end calls the exchange."""
        return next(stream for stream, known in self.numbers.items() if known == number)


class FlowMachine(RuleBasedStateMachine):
    """What is sent arrives, in order and once; who waits is told to go on; nobody holds more than the limits say.

    Override :meth:`make` for connections of your own: it gives a client and a server whose bytes go to each other.
    docs/own-machines.md has what they must do.
    At the end of each story everything that was received is used up, and every message has to come to its end.
    """

    sides: tuple[FlowSide, FlowSide] | tuple[()] = ()

    def make(self, limits: Limits) -> tuple[Flowlike, Flowlike]:
        """The client and the server under test."""
        return Http1Client(limits), Http1Server(0.0, limits)

    @initialize(high_water=st.sampled_from([1_000, 65_536]), mark=st.sampled_from([0, 3_000, 1_000_000]))
    def begin(self, high_water: int, mark: int) -> None:
        """A connection, over a transport that takes *mark* bytes before it asks for a pause."""
        self.limits = Limits(high_water=high_water, h2_window=_WINDOW, h2_connection_window=_WINDOW + 10_000)
        self.mark = mark
        made: Any = self.make(self.limits)
        said = f"{type(self).__name__}.make() returned"
        if not isinstance(made, tuple) or len(made) != 2:
            raise TypeError(f"{said} {made!r}, and a pair is asked for: the client, and the server")
        client, server = made
        check_contract(client, Flowlike, f"{said} as the client")
        check_contract(server, Flowlike, f"{said} as the server", without=["open_stream"])
        self.sides = (FlowSide("the client", client), FlowSide("the server", server))
        self.asked = 0
        self.steady = True
        with self.step():
            pass

    @contextmanager
    def step(self) -> Iterator[None]:
        """What is done is followed by the drivers' turn, and judged."""
        self.steady = False
        yield
        self.settle()
        self.judge()
        self.steady = True

    # ── the drivers ──────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """Both drivers take what there is to be sent, and say how their transports are."""
        for side in self.sides:
            connection = side.connection
            while connection.deadline == AT_ONCE:
                self.take(side, connection.handle_timeout(0.0))
            side.wire += drain(connection)
            if len(side.wire) > self.mark:
                if not side.paused:
                    side.paused = True
                    connection.write_paused(0.0)
            elif side.paused:
                side.paused = False
                self.take(side, connection.write_resumed(0.0))
            elif connection.starved:
                self.take(side, connection.write_resumed(0.0))
            side.wire += drain(connection)

    def take(self, side: FlowSide, events: Sequence[Event]) -> None:
        """Events of one end."""
        client, server = self.sides  # type: ignore[misc]  # there are two
        other = server if side is client else client
        for stream, value in events:
            if isinstance(value, Header) and isinstance(value.head, RequestHeader):
                number = int(value.head.target[1:])
                side.numbers[stream] = number
                side.unanswered.append(number)
            number = side.numbers.get(stream, 0)
            if isinstance(value, Writable):
                message = side.messages[number]
                assert message.waits, f"{side.name} is told of room for {number} that it does not wait for"
                message.waits = False
                continue
            assert isinstance(value, Header | Body | Done | Trailer), f"{side.name} is told {value!r} of {number}"
            message = other.messages[number]
            assert not message.complete, f"{side.name} is told {value!r} behind the end of {number}"
            if isinstance(value, Body):
                size = len(value.data)
                assert value.data == _bytes(number, message.heard, size), f"other bytes for {number}, or other order"
                message.heard += size
                message.unused += size
            message.complete = getattr(value, "end", True)

    def open_messages(self, *, sends: Callable[[_Message], bool]) -> list[tuple[FlowSide, int]]:
        """The messages for which *sends* is true."""
        return [(side, number) for side in self.sides for number, message in side.messages.items() if sends(message)]

    def may_end(self, side: FlowSide, number: int) -> bool:
        """Who answers early reads no more, and the rest of the request is told to nobody."""
        client = self.sides[0]  # type: ignore[misc]  # there are two
        return side is client or client.messages[number].complete

    # ── rules ────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: sum(not message.complete for message in self.sides[0].messages.values()) < 3)
    @rule()
    def ask(self) -> None:
        """The client begins a request, if there is a stream for it."""
        client = self.sides[0]  # type: ignore[misc]  # there are two
        with self.step():
            stream = client.connection.open_stream(0.0)
            if stream is None:
                return
            self.asked += 1
            client.numbers[stream] = self.asked
            client.messages[self.asked] = message = _Message()
            head = RequestHeader("POST", f"/{self.asked}", [("Host", "h")])
            message.waits = client.connection.send(stream, Header(head, False), 0.0) <= 0

    @precondition(lambda self: self.sides and self.sides[1].unanswered)
    @rule()
    def answer(self) -> None:
        """The server begins its answer to the oldest request."""
        server = self.sides[1]  # type: ignore[misc]  # there are two
        with self.step():
            number = server.unanswered.pop(0)
            server.messages[number] = message = _Message()
            head = Header(ResponseHeader(200), False)
            message.waits = server.connection.send(server.stream(number), head, 0.0) <= 0

    @precondition(lambda self: self.open_messages(sends=_may_send))
    @rule(pick=st.integers(0, 9), size=st.sampled_from([1, 700, 3_000, _PIECE]), end=st.booleans())
    def say(self, pick: int, size: int, end: bool) -> None:
        """An end sends a piece of a body, which may be the last: of an answer only behind the whole request."""
        found = self.open_messages(sends=_may_send)
        side, number = found[pick % len(found)]
        self.send(side, number, size, end and self.may_end(side, number))

    @precondition(lambda self: self.open_messages(sends=_may_send))
    @rule(pick=st.integers(0, 9))
    def flood(self, pick: int) -> None:
        """An end sends as much as it may, up to four large pieces."""
        found = self.open_messages(sends=_may_send)
        side, number = found[pick % len(found)]
        for _ in range(4):
            if _may_send(side.messages[number]):
                self.send(side, number, _PIECE, False)

    def send(self, side: FlowSide, number: int, size: int, end: bool) -> None:
        """Send *size* bytes, and the end."""
        message = side.messages[number]
        with self.step():
            piece = _bytes(number, message.said, size)
            message.said += size
            message.ended = end
            room = side.connection.send(side.stream(number), Body(piece, end), 0.0)
            message.waits = room <= 0 and not end

    @precondition(lambda self: any(side.wire for side in self.sides))
    @rule(which=st.integers(0, 1), size=st.sampled_from([1, 100, 5_000, _READ, _READ]))
    def carry(self, which: int, size: int) -> None:
        """Some of what an end has put out arrives, if the other end reads."""
        side, other = self.sides[which], self.sides[1 - which]
        data, rest = side.wire[:size], side.wire[size:]
        if data and other.connection.want_read:
            with self.step():
                side.wire = rest
                self.take(other, other.connection.receive_data(data, 0.0))

    @precondition(lambda self: self.open_messages(sends=_has_unused))
    @rule(pick=st.integers(0, 9), share=st.sampled_from([1.0, 0.5, 0.01]))
    def use(self, pick: int, share: float) -> None:
        """A receiver uses some of what it was given up."""
        found = self.open_messages(sends=_has_unused)
        side, number = found[pick % len(found)]
        client, server = self.sides  # type: ignore[misc]  # there are two
        receiver = server if side is client else client
        message = side.messages[number]
        with self.step():
            size = math.ceil(message.unused * share)
            message.unused -= size
            receiver.connection.consumed(receiver.stream(number), size, 0.0)

    # ── after every step ─────────────────────────────────────────────────────────────

    def judge(self) -> None:
        """A receiver is given no more than the window, and one reading, before it uses any; a server has a clock."""
        client, server = self.sides  # type: ignore[misc]  # there are two
        for side in (client, server):
            assert not side.connection.closing, f"{side.name} closes: {side.connection!r}"
            for number, message in side.messages.items():
                most = _READ + (_WINDOW if side.connection.version == b"2" else self.limits.high_water)
                assert message.unused <= most, f"{message.unused} bytes of {number} are given to who has used none"
        connection = server.connection
        for number in (*server.messages, *server.unanswered):
            message = client.messages[number]
            if not message.complete and not message.unused and connection.want_read:
                assert connection.deadline < math.inf, f"no clock over the request of exchange {number}"

    def progress(self) -> list[tuple[int, int, int, int]]:
        """What has been done so far."""
        return [
            (len(side.wire), message.heard, message.unused, message.ended + message.complete + message.waits)
            for side in self.sides
            for message in side.messages.values()
        ]

    def teardown(self) -> None:
        """Everything is used up, everything ends, and everything arrives."""
        if not self.sides or not self.steady:
            return
        before = None
        while before != (before := self.progress()):
            for which in (0, 1):
                self.carry(which, _READ)
            while self.sides[1].unanswered:
                self.answer()
            while self.open_messages(sends=_has_unused):
                self.use(0, 1.0)
            for side, number in self.open_messages(sends=_may_send):
                if self.may_end(side, number):
                    self.send(side, number, 0, True)
        for side, number in self.open_messages(sends=_is_under_way):
            message = side.messages[number]
            told = "waits for room" if message.waits else "has ended it" if message.ended else "may go on"
            raise AssertionError(
                f"the body of {side.name} in exchange {number} never comes to its end: {message.said} bytes sent, "
                f"{message.heard} arrived, the sender {told}"
            )


def _may_send(message: _Message) -> bool:
    return not message.waits and not message.ended


def _has_unused(message: _Message) -> bool:
    return message.unused > 0


def _is_under_way(message: _Message) -> bool:
    return not message.complete
