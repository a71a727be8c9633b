"""Scripted HTTP/1 clients: correct, pipelining, slow, dripping, aborting and hostile ones. They speak raw bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sansio_pingora.testing.ledger import Asked
from sansio_pingora.testing.link import End
from sansio_pingora.testing.messages import Labelled
from sansio_pingora.testing.reader import StrictReader, Uncanonical
from sansio_pingora.testing.speaker import Speaker

if TYPE_CHECKING:
    from sansio_pingora.errors import Error
    from sansio_pingora.testing.world import World

__all__ = ["Client", "Plan", "Turn"]


@dataclass(slots=True)
class Turn:
    """One request, and how it is sent."""

    asked: Asked
    message: Labelled
    pauses: list[tuple[int, float]] = field(default_factory=list)
    """Offsets before which the client waits, and for how many seconds."""
    stop: tuple[int, str] | None = None
    """An offset, and what the client does there instead of going on."""
    expects: bool = False
    """The pause before the body ends with a 100 (Continue)."""


@dataclass(slots=True)
class Plan:
    """What one client does."""

    turns: list[Turn] = field(default_factory=list)
    pipelined: bool = False
    """Sends everything at once, rather than each request after the response before it."""
    slow_read: float = 0.0
    """Pauses for so long after each read."""
    gives_up: float = math.inf
    """Closes after so many seconds, whatever happens."""
    patience: float = 1000.0
    """Ends the session after so many seconds without an event; nobody ought to wait as long as that."""
    shuts: bool = False
    """Shuts its write side behind the last request."""
    stays: bool = False
    """Leaves the connection open when everything is answered, until the server closes it."""


class Client:
    """A client that follows a plan and remembers what it saw."""

    def __init__(self, world: World, name: str, plan: Plan) -> None:
        self.world = world
        self.name = name
        self.plan = plan
        self.end: End | None = None
        self.reader = StrictReader(requests=False)
        self.received_bytes = bytearray()
        self.outcome = ""
        """How the session ended: ``eof``, ``reset``, ``refused``, ``closed`` (by itself) or ``patience``."""
        self.fault = ""
        """Why what it received cannot be read."""
        self.begun = 0
        """Requests of which something was sent."""
        self.connected_at = math.inf
        self._speaker: Speaker | None = None
        self._last_event = 0.0

    def connected(self, end: End) -> None:
        """The link is there."""
        self.end = end
        end.owner = self
        end.set_reading(True)
        self._speaker = Speaker(self.world, end, "client")
        self._last_event = self.connected_at = self.world.now
        self.world.after(self.plan.patience, self._lose_patience)
        if self.plan.gives_up != math.inf:
            self.world.after(self.plan.gives_up, self._give_up)
        for _ in self.plan.turns if self.plan.pipelined else self.plan.turns[:1]:
            self._send_next()

    def _send_next(self) -> None:
        speaker = self._speaker
        if speaker is None or speaker.stopped or self.begun >= len(self.plan.turns):
            return
        turn = self.plan.turns[self.begun]
        self.begun += 1
        self.reader.methods.append(turn.asked.method)

        def sent() -> None:
            turn.asked.sent = True
            if self.plan.shuts and turn is self.plan.turns[-1] and self.end is not None:
                self.end.shut()

        speaker.say(turn.message, pauses=turn.pauses, stop=turn.stop, then=sent)

    def refused(self, error: Error) -> None:
        """There will be no link."""
        self._finish("refused")

    def received(self, data: bytes) -> None:
        """A piece of a response."""
        self._last_event = self.world.now
        self.received_bytes += data
        if self.fault:
            return
        reader = self.reader
        before = len(reader.messages)
        try:
            reader.feed(data)
        except Uncanonical as exc:
            self.fault = str(exc)
            return
        speaker = self._speaker
        if speaker is not None and reader.message is not None and reader.message.informational:
            if self.begun and self.plan.turns[self.begun - 1].expects:
                speaker.hurry()
        answered = len(reader.messages)
        if answered > before:
            if not self.plan.pipelined:
                for _ in range(answered - before):
                    self._send_next()
            if answered == len(self.plan.turns) and not self.plan.stays:
                self._leave()
                return
        end = self.end
        if self.plan.slow_read and end is not None and not end.closed:
            self.world.faults.count("slow reader")
            end.set_reading(False)
            self.world.after(self.plan.slow_read, self._read_on)

    def _leave(self) -> None:
        self._finish("closed")
        if self.end is not None:
            self.end.close()

    def _read_on(self, _: None) -> None:
        self._last_event = self.world.now
        if self.end is not None:
            self.end.set_reading(True)

    def ended(self) -> None:
        """The server is done."""
        self.reader.end()
        self._finish("eof")
        if self.end is not None:
            self.end.close()

    def lost(self, error: Error) -> None:
        """The link was reset."""
        self._finish("reset")

    def progressed(self) -> None:
        """The server took something: it is not stuck."""
        self._last_event = self.world.now

    def _finish(self, outcome: str) -> None:
        if not self.outcome:
            self.outcome = outcome
            self.world.note(self.name, "outcome", outcome)

    def _give_up(self, _: None) -> None:
        if not self.outcome and self.end is not None and not self.end.closed:
            self.world.faults.count("client gives up")
            self._leave()

    def _lose_patience(self, _: None) -> None:
        if self.outcome or self.end is None:
            return
        if self.end.closed:  # the script itself closed or reset it
            self._finish("closed")
            return
        rest = self._last_event + self.plan.patience - self.world.now
        if rest > 0:
            self.world.after(rest, self._lose_patience)
            return
        self._finish("patience")
        self.end.abort()
