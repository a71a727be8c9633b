"""Random clients and origins for a world around a proxy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from sansio_pingora.testing.clients import Plan, Turn
from sansio_pingora.testing.faults import PARTS
from sansio_pingora.testing.known_bad import KNOWN_BAD
from sansio_pingora.testing.ledger import Asked, token_of
from sansio_pingora.testing.messages import Labelled, request
from sansio_pingora.testing.origins import Origin, Reply, reply_message

if TYPE_CHECKING:
    from sansio_pingora.limits import Limits
    from sansio_pingora.testing.faults import Faults
    from sansio_pingora.testing.prng import Random
    from sansio_pingora.testing.reader import Message

__all__ = ["Mood", "plan_client", "random_behaviour"]


@dataclass(frozen=True, slots=True)
class Mood:
    """How bad things are in a world."""

    clients: float
    """Probability that a client does something other than behave."""
    origins: float
    """Probability that an answer is something other than correct."""


# ── clients ──────────────────────────────────────────────────────────────────────────

_SIZES = (0, 1, 5, 60, 700, 4_000, 20_000)


def _body(rng: Random, token: bytes, limits: Limits, faults: Faults) -> bytes:
    size = rng.pick(_SIZES)
    if limits.max_body is not None:
        if rng.chance(0.3):
            faults.count("body limit hit")
            size = limits.max_body
        elif rng.chance(0.1):
            faults.count("body over the limit")
            size = limits.max_body + 1
    elif rng.chance(0.05):
        size = 100_000
    return (b"%b," % token * (size // (len(token) + 1) + 1))[:size]


_CHUNKED = ("chunk-line", "chunk-data", "chunk-end", "trailers")
"""Parts that only a chunked body has."""


def _place(rng: Random, message: Labelled, part: str = "") -> int:
    """An offset in *part* of *message* if it has that, else in one of the parts that it has, each as likely."""
    first = PARTS.index(part) if part else rng.below(len(PARTS))
    for name in PARTS[first:] + PARTS[:first]:
        if places := message.offsets(name):
            return rng.pick(places)
    raise AssertionError("every message has a start line")


_WHERE = (*PARTS, *PARTS, *PARTS[1:], "fields")
"""Where to stop: parts that few stops fall into, because a message has none or fails before it, more often."""
_STOPS = (*["reset"] * 4, *["half-close"] * 4, "stall", "close")


def _split(rng: Random, data: bytes, most: int) -> list[bytes]:
    pieces: list[bytes] = []
    while data:
        size = 1 + rng.below(len(data)) if len(pieces) < most else len(data)
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def _turn(rng: Random, name: str, number: int, limits: Limits, faults: Faults, *, last: bool, part: str = "") -> Turn:
    """A request; one that has *part*, if that is given."""
    token = f"{name}-{number}".encode()
    method = rng.weighted([(6, b"GET"), (4, b"POST"), (2, b"PUT"), (1, b"HEAD"), (1, b"DELETE"), (1, b"OPTIONS")])
    if part == "body" or part in _CHUNKED:
        method = b"POST"
    # What HTTP/1.0 asks for may well be answered until the close, so nothing can follow it.
    version = b"1.0" if last and not part and rng.chance(0.15) else b"1.1"
    fields = [(b"Host", b"proxy.example"), (b"X-Token", token)]
    expects = False
    body: bytes | None = None
    chunked = False
    if method in (b"POST", b"PUT"):
        body = _body(rng, token, limits, faults) or (token if part else b"")
        chunked = version == b"1.1" and (part in _CHUNKED if part else rng.chance(0.5))
        if version == b"1.1" and body and rng.chance(0.15):
            expects = True
            fields.append((b"Expect", b"100-continue"))
    if rng.chance(0.2):
        fields.append((b"X-Padding", b"p" * rng.below(2_000)))
    if version == b"1.0" and rng.chance(0.5):
        fields.append((b"Connection", b"keep-alive"))
    trailers = [(b"X-Check", token)] if chunked and (part or rng.chance(0.2)) else []
    pieces = None if body is None else _split(rng, body, 5) if chunked else [body]
    message = request(
        method, b"/t/%b?n=%d" % (token, number), fields, pieces, chunked=chunked, trailers=trailers, version=version
    )
    turn = Turn(Asked(token, name, method, body or b""), message, expects=expects)
    if expects:
        turn.pauses.append((message.raw.index(b"\r\n\r\n") + 4, 1.0))
    return turn


_HIDDEN = b"GET /t/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
_HOSTILE = (
    # The first of them: with more, every seed would be another story.
    *(raw.replace(b" / ", b" /t/%b ", 1) for raw in islice(KNOWN_BAD.values(), 12)),
    b"GET /t/%b HTTP/1.1\r\nHost: h\r\nConnection: Host, X-Token, Content-Length\r\n\r\n",
    b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\nX: %b\r\n\r\n" + _HIDDEN,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n%b",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03%b",
    b"%b\r\n\r\n\r\n",
)


def _hostile(rng: Random, name: str) -> Plan:
    token = f"{name}-h".encode()
    raw = rng.pick(_HOSTILE).replace(b"%b", token).replace(b"%%", b"%")
    pauses = []
    if rng.chance(0.5):
        pauses = [(1 + rng.below(len(raw) - 1), rng.uniform(0.0, 0.2)) for _ in range(3)]
    turn = Turn(Asked(token, name, b"GET", b"", valid=False), Labelled([("start-line", raw)]), pauses)
    return Plan([turn], stays=rng.chance(0.5), gives_up=rng.uniform(1.0, 40.0))


def plan_client(rng: Random, name: str, limits: Limits, mood: Mood, faults: Faults) -> Plan:
    """What one client will do."""
    if rng.chance(mood.clients * 0.2):
        faults.count("client hostile")
        return _hostile(rng, name)
    count = 1 + rng.below(5)
    misbehaves = rng.chance(mood.clients)
    stops, part = -1, ""
    if misbehaves and rng.chance(0.78):  # in the middle of a request, mostly an early one
        stops, part = rng.below(1 + rng.below(count)), rng.pick(_WHERE)
    plan = Plan(
        [
            _turn(rng, name, number, limits, faults, last=number == count - 1, part=part if number == stops else "")
            for number in range(count)
        ]
    )
    if len(plan.turns) > 1 and rng.chance(0.35):
        faults.count("client pipelines")
        plan.pipelined = True
        for turn in plan.turns:
            turn.expects = False
    plan.stays = rng.chance(0.15)
    plan.shuts = rng.chance(0.1)
    if rng.chance(0.3):
        turn = rng.pick(plan.turns)
        for _ in range(1 + rng.below(4)):
            if at := _place(rng, turn.message):
                turn.pauses.append((at, rng.uniform(0.0, 0.05)))
    if not misbehaves:
        return plan
    if stops >= 0:
        turn = plan.turns[stops]
        turn.stop = (_place(rng, turn.message, part), rng.pick(_STOPS))
        return plan
    kind = rng.below(3)
    turn = rng.pick(plan.turns)
    if kind == 0:
        faults.count("client drips")
        size = len(turn.message)
        turn.pauses += [(1 + rng.below(size - 1), rng.uniform(0.1, 4.0)) for _ in range(1 + rng.below(10))]
    elif kind == 1:
        plan.slow_read = rng.uniform(0.01, 1.5)
    else:
        plan.gives_up = rng.uniform(0.0, 6.0)
    return plan


# ── origins ──────────────────────────────────────────────────────────────────────────

EVIL = b"HTTP/1.1 200 OK\r\nx-token: evil\r\nx-answer: 0\r\nContent-Length: 4\r\n\r\nevil"

_LIES = (
    b"HTTP/1.1 200 OK\r\nx-token: %b\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx-token: %b\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"HTTP/1.1 200 OK\r\nx-token: %b\r\nContent-Length: -1\r\n\r\nabcd",
    b"HTTP/1.1 200 OK\r\nx-token : %b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\nx-token: %b\nContent-Length: 0\n\n",
    b"HTTP/1.1 200 OK\r\nx-token: %b\r\n folded\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx-token: %b\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 20 OK\r\nx-token: %b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/2.0 200 OK\r\nx-token: %b\r\nContent-Length: 0\r\n\r\n",
    b"hello %b\r\n\r\n",
    b"\r\n\r\nHTTP/1.1 200 OK\x00\r\nx-token: %b\r\n\r\n",
)


def random_behaviour(rng: Random, mood: Mood, faults: Faults) -> Callable[[Origin, Message], Reply]:
    """Answers that are mostly correct in some way or other, and otherwise wrong in one."""

    def behave(origin: Origin, message: Message) -> Reply:
        if rng.chance(mood.origins):
            return _misbehave(rng, mood, faults, origin, message)
        return _behave(rng, mood, origin, message)

    return behave


def _behave(rng: Random, mood: Mood, origin: Origin, message: Message, part: str = "") -> Reply:
    """A correct answer; one that has *part*, if that is given and the method allows for it."""
    answered = origin.ledger.answer(token_of(message.target))
    answered.status = rng.weighted([(12, 200), (2, 404), (1, 204), (1, 304), (1, 500)])
    size = rng.weighted([(4, 40), (3, 600), (2, 6_000), (1, 70_000)])
    answered.body = (b"%b;" % answered.token * (size // (len(answered.token) + 1) + 1))[: rng.below(size)]
    answered.complete = True
    trailed = origin.world.faults.enabled("exception in response_trailer_filter")  # few answers come so far
    framing = rng.weighted([(2 if trailed else 5, "length"), (7 if trailed else 4, "chunked"), (1, "close")])
    if part:
        answered.status = 200
        answered.body = answered.body or answered.token
        framing = "chunked" if part in _CHUNKED else "length" if part == "body" else framing
    version = b"1.0" if framing != "chunked" and rng.chance(0.1) else b"1.1"
    extra: tuple[tuple[bytes, bytes], ...] = ()
    closes = framing == "close" and message.method != b"HEAD" and answered.status not in (204, 304)
    if rng.chance(0.1):
        extra = ((b"Connection", b"close"),)
        closes = True
    trailers = ((b"X-Sum", answered.token),) if part == "trailers" or rng.chance(0.9 if trailed else 0.2) else ()
    labelled = reply_message(answered, message, framing=framing, trailers=trailers, version=version, extra=extra)
    informational = 0
    if rng.chance(0.08):
        informational = 1 + rng.below(3)
    if informational:
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * informational
        labelled = Labelled([("start-line", early), *labelled.parts()])
    reply = Reply(labelled, reusable=not closes and version == b"1.1", closes=closes or version == b"1.0")
    reply.continues = b"expect" in message.fields and rng.chance(0.7)
    reply.early = rng.chance(0.15 if mood.origins else 0.0)
    if rng.chance(0.3):
        reply.delay = rng.uniform(0.0, 0.2)
    if rng.chance(0.2):
        for _ in range(1 + rng.below(3)):
            if at := _place(rng, labelled):
                reply.pauses.append((at, rng.uniform(0.0, 0.1)))
    return reply


def _misbehave(rng: Random, mood: Mood, faults: Faults, origin: Origin, message: Message) -> Reply:
    part = rng.pick(_WHERE) if rng.chance(0.7) else ""
    reply = _behave(rng, mood, origin, message, part)
    answered = origin.ledger.answered[-1]
    kind = rng.weighted([(1, 0), (7, 1), (1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (1, 7)])
    if part:  # stops somewhere
        faults.count("origin truncates")
        reply.stop = (_place(rng, reply.message, part), rng.pick(_STOPS))
        answered.complete = False
        reply.reusable = False
        if answered.until_close and reply.stop[1] in ("half-close", "close"):
            sent = reply.message.raw[: reply.stop[0]]
            if b"x-answer" in sent:
                # A body that lasts until the close was simply shorter.
                _, end, answered.body = sent[sent.index(b"x-answer") :].partition(b"\r\n\r\n")
                answered.complete = bool(end)
    elif kind == 0:
        faults.count("origin extra bytes")
        # No whole response: one that arrives when the connection is already in use again cannot be told from the
        # right one, by anybody. What can be told, that bytes had come too many, I-4 sees in any bytes.
        surplus = rng.pick((b"x", b"\r\n", b"HTTP/1.1 "))
        reply.message = Labelled([*reply.message.parts(), ("body", surplus)])
        reply.surplus = len(surplus)
        if answered.until_close:  # then it is not extra
            answered.body += surplus
    elif kind == 1:
        reply.later = (rng.uniform(0.0, 0.4), rng.pick((b"", b"", b"junk", b"HTTP/1.1 ")))
    elif kind == 2:
        faults.count("origin 1xx burst")
        burst = b"HTTP/1.1 103 Early Hints\r\n\r\n" * (10 + rng.below(30))
        reply.message = Labelled([("start-line", burst), *reply.message.parts()])
    elif kind == 3:
        faults.count("origin lies")
        answered.complete = False
        reply.message = Labelled([("start-line", rng.pick(_LIES).replace(b"%b", answered.token))])
        reply.reusable = False
    elif kind == 4:
        reply.silent = True
        reply.reusable = False
    elif kind == 5:
        faults.count("origin switches unasked")
        answered.complete = False
        reply.message = Labelled(
            [("start-line", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: evil\r\nConnection: upgrade\r\n\r\n" + EVIL)]
        )
        reply.reusable = False
    elif kind == 6:
        reply.delay = rng.uniform(0.0, 10.0)
    else:
        reply.pauses += [
            (1 + rng.below(len(reply.message) - 1), rng.uniform(0.1, 4.0)) for _ in range(1 + rng.below(5))
        ]
    return reply
