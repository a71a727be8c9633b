"""What is said behind a handshake, over any byte stream: WebSocket conversations, and plain tunnels.

The same script runs over HTTP/1 and over a stream of HTTP/2. What comes back is read by
wsproto, a second and strict judge of frames.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Message, Ping, Pong, TextMessage
from wsproto.utilities import RemoteProtocolError

from sansio_pingora.websocket.frames import Opcode, write_frame

if TYPE_CHECKING:
    from sansio_pingora.testing.prng import Random
    from sansio_pingora.testing.world import World

__all__ = ["Channel", "Conversation", "Step", "plan_tunnel", "plan_websocket"]

Step = tuple[str, object]
"""What to do, and with what: ``say`` bytes, ``wait`` seconds, ``echoes`` (until all came back), ``end``, ``cut``."""


class Channel(Protocol):
    """The byte stream that a conversation has."""

    def write(self, data: bytes) -> None:
        """Send *data*."""

    def end(self) -> None:
        """Nothing more is sent."""

    def cut(self) -> None:
        """Reset it, and be done."""


@dataclass(slots=True)
class Conversation:
    """One side of a conversation with an echo, what it said and what it heard."""

    name: str
    websocket: bool
    steps: deque[Step]
    said: list[str | bytes] = field(default_factory=list)
    """Whole messages, or of a tunnel pieces, as far as they were sent."""
    heard: list[str | bytes] = field(default_factory=list)
    fault: str = ""
    """Which rule the other side broke."""
    outcome: str = ""
    """``ended`` by the peer, ``cut`` by this side, or ``lost``."""
    code: int | None = None
    """The peer's close code."""
    rude: bool = False
    """It breaks a rule on purpose, or asks for a failure, so no echo is owed."""
    closed: bool = False
    """This side sent its close frame."""
    world: World | None = None
    channel: Channel | None = None
    reader: Connection | None = None
    parts: list[str | bytes] = field(default_factory=list)
    waits: bool = False

    def begin(self, world: World, channel: Channel) -> None:
        """The handshake is done."""
        self.world, self.channel = world, channel
        if self.websocket:
            self.reader = Connection(ConnectionType.CLIENT)
        self._go_on(None)

    def received(self, data: bytes) -> None:
        """Bytes of the other side."""
        if self.fault or self.outcome:
            return
        if self.reader is None:
            self.heard.append(data)
        else:
            try:
                self.reader.receive_data(data)
                for event in self.reader.events():
                    self._take(event)
            except RemoteProtocolError as exc:
                self.fault = f"{type(exc).__name__}: {exc}"
        if self.waits and self.echoed:
            self._go_on(None)

    @property
    def echoed(self) -> bool:
        """All that was said came back."""
        if self.reader is None:
            return sum(map(len, self.heard)) >= sum(map(len, self.said))
        return len(self.heard) >= len(self.said)

    def ended(self) -> None:
        """The other side is done."""
        self._finish("ended")

    def lost(self) -> None:
        """The stream broke."""
        self._finish("lost")

    def _finish(self, outcome: str) -> None:
        self.outcome = self.outcome or outcome

    def _take(self, event: Event) -> None:
        if isinstance(event, Message):
            self.parts.append(event.data)
            if event.message_finished:
                kind = str if isinstance(event, TextMessage) else bytes
                self.heard.append(kind().join(self.parts))  # type: ignore[arg-type]  # all of one kind
                self.parts = []
        elif isinstance(event, Ping) and not self.closed:
            self._write(_frame(Opcode.PONG, bytes(event.payload)))
        elif isinstance(event, CloseConnection):
            self.code = int(event.code)
            if not self.closed:
                self.closed = True
                self._write(_frame(Opcode.CLOSE, self.code.to_bytes(2, "big") if self.code != 1005 else b""))
            self.steps.clear()
        else:
            assert isinstance(event, Pong | Ping), event

    def _write(self, data: bytes) -> None:
        assert self.channel is not None  # it has begun
        self.channel.write(data)

    def _go_on(self, _: None) -> None:
        world, channel = self.world, self.channel
        assert world is not None
        assert channel is not None
        self.waits = False
        while self.steps and not self.outcome:
            kind, value = self.steps.popleft()
            if kind == "wait":
                assert isinstance(value, float)
                world.after(value, self._go_on)
                return
            if kind == "echoes":
                if not self.echoed:
                    self.waits = True
                    return
            elif kind == "said":
                assert isinstance(value, str | bytes)
                self.said.append(value)
            elif kind == "count":
                world.faults.count(str(value))
            elif kind == "close":
                self.closed = True
            elif kind == "end":
                channel.end()
            elif kind == "cut":
                self._finish("cut")
                channel.cut()
            else:
                assert isinstance(value, bytes)
                self._write(value)


def _frame(opcode: int, data: bytes, *, fin: bool = True) -> bytes:
    # A mask that depends on nothing but the payload keeps a world reproducible.
    return write_frame(opcode, data, fin=fin, mask=bytes((len(data) & 0xFF, 0x5A, opcode, 0xC3)))


_BREACHES = (
    b"\x83\x80\x00\x00\x00\x00",  # an opcode that is not defined
    b"\xc1\x80\x00\x00\x00\x00",  # RSV1 without an extension
    b"\x81\x01x",  # not masked
    b"\x80\x80\x00\x00\x00\x00",  # a continuation of nothing
    b"\x89\xfe\x00\x7e\x00\x00\x00\x00" + bytes(126),  # a ping of 126 bytes
    b"\x81\x81\x00\x00\x00\x00\xff",  # text that is not UTF-8
    b"\x88\x81\x00\x00\x00\x00\x03",  # a close code of one byte
)


def plan_websocket(rng: Random, name: str, *, misbehaves: bool) -> Conversation:
    """Messages with the name of their client in them, in fragments and with pings between; then an end."""
    steps: list[Step] = []
    for number in range(1 + rng.below(6)):
        text = f"{name}-{number} " + "grüße " * rng.pick((0, 3, 200, 5_000))
        message: str | bytes = text if rng.chance(0.6) else text.encode()
        steps += _message(rng, message)
        if rng.chance(0.3):
            steps += [("count", "ws client pings"), ("say", _frame(Opcode.PING, b"?%d" % number))]
        if rng.chance(0.4):
            steps.append(("wait", rng.uniform(0.0, 0.5)))
        elif rng.chance(0.5):
            steps.append(("echoes", None))
    talk = Conversation(name, True, deque())
    ways: tuple[str, ...] = ("closes", "closes", "asks")
    if misbehaves:
        ways = ("closes", "asks", "breaks", "ends", "cuts", "raises")
    how = rng.pick(ways)
    if how in ("closes", "asks") and not misbehaves:
        steps.append(("echoes", None))
    elif misbehaves:
        steps = steps[: rng.below(len(steps) + 1)]
    talk.steps = deque(steps + _ending(talk, how))
    return talk


def _message(rng: Random, message: str | bytes) -> list[Step]:
    raw = message.encode() if isinstance(message, str) else message
    opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
    steps: list[Step] = []
    if rng.chance(0.4):
        steps.append(("count", "ws client fragments"))
        for _ in range(1 + rng.below(4)):
            size = rng.below(len(raw) + 1)
            steps.append(("say", _frame(opcode, raw[:size], fin=False)))
            raw, opcode = raw[size:], Opcode.CONTINUATION
            if rng.chance(0.3):
                steps.append(("say", _frame(Opcode.PING, b"between")))
    # Said before its last frame is: the echo may come in the same step.
    return [*steps, ("said", message), ("say", _frame(opcode, raw))]


def _ending(talk: Conversation, how: str) -> list[Step]:
    if how == "closes":
        return [("count", "ws client closes"), ("close", None), ("say", _frame(Opcode.CLOSE, b"\x03\xe8bye"))]
    if how == "asks":
        return [("count", "ws server closes"), ("say", _frame(Opcode.TEXT, b"close"))]
    talk.rude = True
    if how == "raises":
        return [("count", "ws server raises"), ("say", _frame(Opcode.TEXT, b"raise"))]
    if how == "breaks":
        breach = _BREACHES[len(talk.name) * 7 % len(_BREACHES)]
        return [("count", "ws client breaks the rules"), ("say", breach)]
    if how == "ends":
        return [("count", "ws client half-closes"), ("end", None)]
    return [("count", "ws link cut"), ("cut", None)]


def plan_tunnel(rng: Random, name: str, *, misbehaves: bool) -> Conversation:
    """Pieces of bytes with the name of their client in them, then a half-close, or a cut."""
    talk = Conversation(name, False, deque())
    steps: list[Step] = []
    for number in range(1 + rng.below(6)):
        piece = (b"%b-%d;" % (name.encode(), number)) * rng.pick((1, 50, 3_000))
        steps += [("said", piece), ("say", piece)]
        if rng.chance(0.5):
            steps.append(("wait", rng.uniform(0.0, 0.5)))
    if misbehaves and rng.chance(0.5):
        talk.rude = True
        steps = [*steps[: rng.below(len(steps) + 1)], ("count", "tunnel cut"), ("cut", None)]
    else:
        steps += [("count", "tunnel half-close"), ("end", None)]
    talk.steps = deque(steps)
    return talk
