"""Scripted HTTP/1 origins: correct, slow, lying, truncating and resetting ones. They speak raw bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sansio_pingora.testing.ledger import Answered, Ledger, token_of
from sansio_pingora.testing.link import End
from sansio_pingora.testing.messages import Labelled, response
from sansio_pingora.testing.reader import Message, StrictReader, Uncanonical
from sansio_pingora.testing.speaker import Speaker

if TYPE_CHECKING:
    from sansio_pingora.errors import Error
    from sansio_pingora.testing.world import World

__all__ = ["Origin", "OriginConnection", "Reply", "correct"]


@dataclass(slots=True)
class Reply:
    """What an origin does about one request."""

    message: Labelled
    early: bool = False
    """Begins when it has the head, without waiting for the body."""
    continues: bool = False
    """Sends 100 (Continue) when it has the head and the body is still to come."""
    delay: float = 0.0
    pauses: list[tuple[int, float]] = field(default_factory=list)
    """Offsets before which it waits, and for how many seconds."""
    stop: tuple[int, str] | None = None
    """An offset, and what it does there instead of going on."""
    reusable: bool = True
    """The connection may be used again: what is sent is legal, complete and keeps it open."""
    closes: bool = False
    """Shuts its write side behind the answer."""
    silent: bool = False
    """Never answers."""
    surplus: int = 0
    """So many bytes of the message lie behind the end of the response."""
    later: tuple[float, bytes] | None = None
    """So many seconds behind the answer, these bytes unasked; ``b""`` is a close."""


_CONTINUE = Labelled([("start-line", b"HTTP/1.1 100 Continue\r\n"), ("head-end", b"\r\n")])


class OriginConnection:
    """One connection of an origin."""

    def __init__(self, origin: Origin, end: End) -> None:
        self.origin = origin
        self.end = end
        self.reader = StrictReader(requests=True)
        self.fault = ""
        """Why what it received cannot be read."""
        self.replies: list[tuple[int, bool]] = []
        """Of each reply: the offset of its end in what this origin sends, and whether the connection stays usable."""
        self._planned = 0
        self._reply: Reply | None = None
        self._begun = False
        self._answered = 0
        self._peer_done = False
        self._speaker = Speaker(origin.world, end, "origin")

    def received(self, data: bytes) -> None:
        """A piece of a request."""
        if self.fault:
            return
        try:
            self.reader.feed(data)
        except Uncanonical as exc:
            self.fault = str(exc)
            return
        while self._look():
            pass
        if self.origin.slow_read and not self.end.closed:
            self.end.set_reading(False)
            self.origin.world.after(self.origin.slow_read, self._read_on)

    def _read_on(self, _: None) -> None:
        self.end.set_reading(True)

    def _look(self) -> bool:
        """Begin the reply to the request whose turn it is, if enough of it is there; True when it is there whole."""
        reader = self.reader
        complete = len(reader.messages) > self._answered
        message = reader.messages[self._answered] if complete else reader.message
        if message is None or not message.method:
            return False
        reply = self._reply
        if reply is None:
            known = len(self.origin.ledger.answered)
            reply = self._reply = self.origin.behaviour(self.origin, message)
            if self.end.truncates:
                for answered in self.origin.ledger.answered[known:]:
                    answered.complete = answered.complete and not answered.until_close
            self._begun = False
            if reply.continues and not complete:
                self._planned += len(_CONTINUE)
                self._speaker.say(_CONTINUE)
        if (complete or reply.early) and not self._begun:
            self._begun = True
            if not complete:
                self.origin.world.faults.count("origin answers early")
            self.origin.world.after(reply.delay, self._say, reply)
        if complete:
            self._answered += 1
            self._reply = None
        return complete

    def _say(self, reply: Reply) -> None:
        world = self.origin.world
        if reply.silent:
            world.faults.count("origin stalls")
            return
        self._planned += len(reply.message)
        self.replies.append((self._planned - reply.surplus, reply.reusable))

        def said() -> None:
            if reply.closes or self._peer_done:
                self.end.shut()
            elif reply.later is not None:
                world.after(reply.later[0], self._speak_later, (self._answered, reply.later[1]))
            if self._peer_done:
                self.end.close()

        self._speaker.say(reply.message, pauses=reply.pauses, stop=reply.stop, then=said)

    def _speak_later(self, what: tuple[int, bytes]) -> None:
        turn, data = what
        world = self.origin.world
        if (
            self.end.closed
            or self.end.dead
            or turn != self._answered
            or self._speaker.stopped
            or self.reader.message is not None
        ):
            return
        self._speaker.stopped = True
        if not data:
            world.faults.count("origin closes idle")
            self.end.close()
            return
        world.faults.count("origin unsolicited bytes")
        self._planned += len(data)
        self.end.write(data)

    def ended(self) -> None:
        """The proxy has shut its write side."""
        self._peer_done = True
        if self._speaker.silent or self._speaker.stopped:
            self.end.close()

    def lost(self, error: Error) -> None:
        """The link was reset."""

    def progressed(self) -> None:
        """Nothing waits for it."""


Behaviour = Callable[["Origin", Message], Reply]


class Origin:
    """A listener whose connections answer as *behaviour* decides, once per request, when its head is there."""

    def __init__(
        self, world: World, name: str, ledger: Ledger, behaviour: Behaviour | None = None, *, slow_read: float = 0.0
    ) -> None:
        self.world = world
        self.name = name
        self.ledger = ledger
        self.behaviour = behaviour or correct
        self.slow_read = slow_read
        """Pauses for so long after each read."""
        self.connections: list[OriginConnection] = []

    def accept(self, end: End) -> None:
        """A link came in."""
        connection = OriginConnection(self, end)
        self.connections.append(connection)
        end.owner = connection
        end.set_reading(True)


def correct(origin: Origin, message: Message) -> Reply:
    """Answer 200 with the token of the request."""
    answered = origin.ledger.answer(token_of(message.target))
    answered.status = 200
    answered.body = answered.token
    answered.complete = True
    return Reply(reply_message(answered, message))


def reply_message(
    answered: Answered,
    message: Message,
    *,
    framing: str = "length",
    trailers: tuple[tuple[bytes, bytes], ...] = (),
    version: bytes = b"1.1",
    extra: tuple[tuple[bytes, bytes], ...] = (),
) -> Labelled:
    """A legal response of *answered* to *message*: no body where HTTP has none."""
    fields = ((b"x-token", answered.token), (b"x-answer", b"%d" % answered.number), *extra)
    status = answered.status
    if status in (204, 304) or status < 200:
        answered.body = b""
        return response(status, fields, None, version=version)
    if message.method == b"HEAD":
        body = answered.body
        answered.body = b""
        return response(status, (*fields, (b"Content-Length", b"%d" % len(body))), None, version=version)
    answered.until_close = framing == "close"
    cut = len(answered.body) // 3
    pieces = [answered.body[:cut], answered.body[cut:]]
    return response(status, fields, pieces, framing=framing, trailers=trailers, version=version)
