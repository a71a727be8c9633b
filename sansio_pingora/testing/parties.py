"""Scripts of remote parties, as values: what a client asks and what an origin answers, and how they go about it.

``world.client(address, script)`` and ``world.listen(address, script)`` make the
:class:`.clients.Client` or :class:`.origins.Origin` that follows one, and return it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from sansio_pingora._reprs import brief
from sansio_pingora.testing.clients import Client, Plan, Turn
from sansio_pingora.testing.ledger import Asked, Ledger
from sansio_pingora.testing.messages import labelled
from sansio_pingora.testing.origins import Origin, Reply

if TYPE_CHECKING:
    from sansio_pingora.testing.reader import Message
    from sansio_pingora.testing.world import World

__all__ = ["STOPS", "Answers", "Asks", "ClientScript", "OriginScript"]

STOPS = ("close", "half-close", "reset", "stall")
"""What a party can do instead of going on."""


@dataclass(frozen=True, slots=True, repr=False)
class Asks:
    """A client sends a request, *raw*, or any bytes.

    :raises TypeError: they are not bytes.
    :raises ValueError: an offset is beyond them, a pause is below 0, or the stop is not one of :data:`STOPS`.
    """

    raw: bytes
    pauses: tuple[tuple[int, float], ...] = ()
    """Offsets before which it waits, and for how many seconds."""
    stop: tuple[int, str] | None = None
    """An offset, and what it does there instead of going on."""

    def __post_init__(self) -> None:
        if not isinstance(self.raw, bytes):
            raise TypeError(f"{type(self).__name__} takes the bytes of a message, as b'GET / …', not {self.raw!r}")
        offsets = [at for at, _ in self.pauses]
        if any(not seconds >= 0 for _, seconds in self.pauses):
            raise ValueError(f"pauses {self.pauses!r}: each is an offset and 0 seconds or more")
        if self.stop is not None:
            offsets.append(self.stop[0])
            if self.stop[1] not in STOPS:
                raise ValueError(f"a party stops by one of {', '.join(STOPS)}, not {self.stop[1]!r}")
        if any(not 0 <= at <= len(self.raw) for at in offsets):
            raise ValueError(f"offsets {offsets} are not all within the {len(self.raw)} bytes")

    def __repr__(self) -> str:
        return brief(self)


@dataclass(frozen=True, slots=True, repr=False)
class Answers(Asks):
    """An origin answers a request with *raw*, or any bytes; to HEAD it sends the head alone."""

    delay: float = 0.0
    """It takes so many seconds."""
    early: bool = False
    """It begins when it has the head, without waiting for the body."""
    continues: bool = False
    """It sends 100 (Continue) when it has the head and the body is still to come."""
    closes: bool = False
    """It shuts its write side behind the answer."""
    silent: bool = False
    """It never answers."""
    later: tuple[float, bytes] | None = None
    """So many seconds behind the answer, these bytes unasked; ``b""`` is a close."""

    def reply(self, method: bytes) -> Reply:
        """It, as the answer to *method*."""
        raw = self.raw
        if method == b"HEAD":
            head, end, _ = raw.partition(b"\r\n\r\n")
            raw = head + end
        return Reply(
            labelled(raw),
            early=self.early,
            continues=self.continues,
            delay=self.delay,
            pauses=list(self.pauses),
            stop=self.stop,
            closes=self.closes,
            silent=self.silent,
            later=self.later,
            reusable=not self.closes,
        )


@dataclass(frozen=True, slots=True, repr=False)
class ClientScript:
    """A client that asks one after the other, each behind the answer to the one before."""

    asks: tuple[Asks, ...]
    pipelined: bool = False
    """It sends everything at once."""
    slow_read: float = 0.0
    """It waits for so many seconds after each read."""
    gives_up: float = math.inf
    """It closes after so many seconds, whatever happens."""
    patience: float = 1000.0
    """It resets after so many seconds in which nothing happens."""
    shuts: bool = False
    """It shuts its write side behind the last request."""
    stays: bool = False
    """It leaves the connection open when everything is answered, until the server closes it."""

    def enter(self, world: World, name: str) -> Client:
        """The client that does it in *world*."""
        turns = [
            Turn(
                Asked(b"%d" % number, name, ask.raw.partition(b" ")[0], b""),
                labelled(ask.raw),
                list(ask.pauses),
                ask.stop,
            )
            for number, ask in enumerate(self.asks, 1)
        ]
        plan = Plan(turns, self.pipelined, self.slow_read, self.gives_up, self.patience, self.shuts, self.stays)
        return Client(world, name, plan)

    def __repr__(self) -> str:
        return brief(self)


@dataclass(frozen=True, slots=True, repr=False)
class OriginScript:
    """An origin that gives these answers in turn, over all its connections, and then begins anew.

    :raises ValueError: there is none.
    """

    answers: tuple[Answers, ...]
    slow_read: float = 0.0
    """It waits for so many seconds after each read."""

    def __post_init__(self) -> None:
        if not self.answers:
            raise ValueError("an origin needs an answer; Answers(b'', silent=True) is none")

    def enter(self, world: World, name: str) -> Origin:
        """The origin that does it in *world*."""
        turn = count()

        def behave(_: Origin, message: Message) -> Reply:
            return self.answers[next(turn) % len(self.answers)].reply(message.method)

        return Origin(world, name, Ledger(), behave, slow_read=self.slow_read)

    def __repr__(self) -> str:
        return brief(self)
