"""What must hold of a proxy, judged by what its clients and origins saw, and by what it wrote."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sansio_pingora.testing.ledger import IDEMPOTENT, Asked, token_of
from sansio_pingora.testing.oracles import Oracle
from sansio_pingora.testing.reader import Message, StrictReader, Uncanonical, reference_body

if TYPE_CHECKING:
    from sansio_pingora.limits import Limits
    from sansio_pingora.testing.clients import Client
    from sansio_pingora.testing.conversations import Conversation
    from sansio_pingora.testing.http2_clients import Http2Client, Http2Turn
    from sansio_pingora.testing.http2_scripts import Http2Script, ScriptedRequest
    from sansio_pingora.testing.ledger import Ledger
    from sansio_pingora.testing.origins import Origin, OriginConnection
    from sansio_pingora.testing.talkers import TalkClient
    from sansio_pingora.testing.tls_peers import SimulatedTls
    from sansio_pingora.testing.world import World

__all__ = [
    "AnswerOnce",
    "CanonicalOut",
    "Case",
    "FilterContract",
    "HandOver",
    "Http2Answers",
    "Http2Upstreams",
    "HttpOracle",
    "NoCrossTalk",
    "Order",
    "PoolHygiene",
    "RetrySafety",
]


@dataclass(slots=True)
class Case:
    """Who takes part in a world around a proxy."""

    ledger: Ledger
    limits: Limits
    clients: list[Client] = field(default_factory=list)
    http2_clients: list[Http2Client] = field(default_factory=list)
    talks: list[Conversation] = field(default_factory=list)
    """What is said behind handshakes, over either version."""
    talkers: list[TalkClient] = field(default_factory=list)
    """The clients of HTTP/1 that have them."""
    tls: SimulatedTls | None = None
    """TLS, if there is any."""
    talk_origins: dict[str, str] = field(default_factory=dict)
    """Addresses for ``websocket`` and ``tunnel``."""
    http2_origins: list[str] = field(default_factory=list)
    """Addresses of origins that are spoken to in HTTP/2."""
    http2_scripts: list[Http2Script] = field(default_factory=list)
    """Those of them that are scripted."""
    origins: list[Origin] = field(default_factory=list)
    exchanges: list[list[str]] = field(default_factory=list)
    """Of each exchange of the proxy: the phases that ran, in order."""
    calm: bool = False
    """No fault at all: every request must be answered by an origin."""
    handed_over: bool = False
    """Another proxy has taken over the address."""
    drained: bool = False
    """The proxy is told to end at some time."""

    def upstreams(self) -> list[tuple[OriginConnection, bytes]]:
        """Every origin's connection, with all that the proxy wrote to it."""
        found = []
        for origin in self.origins:
            for connection in origin.connections:
                audit = connection.end.other.audit
                if audit is not None:
                    found.append((connection, b"".join([data for _, _, data in audit])))
        return found


# What may keep the proxy from writing so much as an error page.
_MUTING = (
    "before a timer",  # the request may have arrived that late
    "at a timer",
    "past a timer",
    "filter never",
    "filter error",
    "filter cancelled",
    "exception in fail_to_proxy",
    "exception in response_filter",
)


class HttpOracle(Oracle):
    """A judge of a case around a proxy."""

    def __init__(self, case: Case) -> None:
        self.case = case


class AnswerOnce(HttpOracle):
    """I-1: one final response or one visible failure for each request, and nothing cut looks complete."""

    invariant = "I-1"

    def quiescent(self, world: World) -> None:
        """See :class:`Oracle`."""
        for client in self.case.clients:
            self.judged(world, client.begun)
            for turn, message in zip(client.plan.turns, client.reader.messages, strict=False):
                self._complete(world, client, turn.asked, message)
            self._answered(world, client)
        for origin in self.case.origins:
            for connection in origin.connections:
                for message in connection.reader.messages:
                    self._taken(world, origin.name, message)

    def _answered(self, world: World, client: Client) -> None:
        messages = client.reader.messages
        turns = client.plan.turns
        counts = world.faults.counts
        said = f"{client.name}: {len(messages)} of {len(turns)} requests were answered"
        if self.case.calm and not self.case.handed_over:  # the old proxy closes what it keeps alive
            from_origins = sum(1 for message in messages if b"x-answer" in message.fields)
            if from_origins < len(turns):
                world.broken(self.invariant, f"{said}, {from_origins} by an origin, though nothing failed")
        if client.outcome == "patience" and not counts["filter never"]:
            world.broken(self.invariant, f"{said}, and it waits for ever")
        if client.outcome != "eof" or messages or client.reader.message is not None:
            return
        asked = turns[0].asked
        excused = (
            turns[0].pauses
            or self.case.drained
            or (
                self.case.tls is not None and self.case.handed_over
            )  # a record comes whole, and a drain has less patience
            or self.case.limits.first_byte_timeout < (3.0 if self.case.tls is None else 10.0)
            or any(counts[name] for name in _MUTING)
        )
        if asked.sent and asked.valid and not excused:
            world.broken(self.invariant, f"{client.name}: {asked.token!r} got neither an answer nor a reset")

    def _taken(self, world: World, name: str, message: Message) -> None:
        asked = self.case.ledger.asked.get(token_of(message.target))
        if asked is not None and asked.valid and bytes(message.body) != asked.body:
            size = f"{len(message.body)} bytes for the whole body of {asked.token!r}, which has {len(asked.body)}"
            world.broken(self.invariant, f"{name} took {size}")
        most = self.case.limits.max_body
        if asked is not None and asked.valid and most is not None and len(message.body) > most:
            world.broken(self.invariant, f"{name} took {len(message.body)} bytes where {most} are allowed")

    def _complete(self, world: World, client: Client, asked: Asked, message: Message) -> None:
        number = message.get(b"x-answer")
        if number is None:
            most = self.case.limits.max_body
            if asked.valid and message.status == 413 and (most is None or len(asked.body) <= most):
                size = f"the {len(asked.body)} bytes of {asked.token!r}"
                world.broken(self.invariant, f"{client.name}: {size} are refused as too many, where {most} are allowed")
            if asked.valid and message.status < 400 and message.status != 204:
                world.broken(
                    self.invariant, f"{client.name}: {asked.token!r} got a {message.status} that no origin gave"
                )
            return
        answered = self.case.ledger.answered[int(number)]
        if asked.method == b"HEAD":
            return
        if not answered.complete:
            world.broken(
                self.invariant, f"{client.name}: the cut answer {int(number)} to {asked.token!r} looks complete"
            )
        if bytes(message.body) != answered.body:
            world.broken(
                self.invariant,
                f"{client.name}: the body of answer {int(number)} to {asked.token!r} has {len(message.body)} bytes "
                f"of {len(answered.body)}, or others",
            )


class Http2Answers(HttpOracle):
    """I-1, I-3, I-6, I-12 for clients of HTTP/2: legal frames within the windows, each answer whole or broken."""

    invariant = "I-6"
    also = ("I-1", "I-3", "I-12")

    def quiescent(self, world: World) -> None:
        """See :class:`Oracle`."""
        for client in self.case.http2_clients:
            for invariant in ("", *self.also):
                self.judged(world, sum(bool(turn.stream) for turn in client.plan.turns), invariant)
            if client.fault:
                world.broken(self.invariant, f"{client.name}: the h2 library refuses what it got: {client.fault}")
            if client.outcome == "patience" and not world.faults.counts["filter never"]:
                world.broken("I-1", f"{client.name} waits for ever: {client.plan.turns!r}")
            for turn in client.plan.turns:
                if turn.talk is None:
                    self._judge(world, client.name, turn)

    def _judge(self, world: World, name: str, turn: Http2Turn) -> None:
        asked = turn.asked
        number = turn.fields.get(b"x-answer")
        if self.case.calm and not self.case.handed_over and (turn.outcome != "complete" or number is None):
            world.broken("I-1", f"{name}: {asked.token!r} got {turn.outcome} {turn.status}, though nothing failed")
        if number is None:
            if turn.outcome == "complete" and turn.status < 400:
                world.broken("I-1", f"{name}: {asked.token!r} got a {turn.status} that no origin gave")
            return
        answered = self.case.ledger.answered[int(number)]
        if answered.token != asked.token or turn.fields.get(b"x-token") != asked.token:
            world.broken("I-3", f"{name}: {asked.token!r} got the answer to {answered.token!r}")
        if asked.method == b"HEAD":
            return
        if not answered.body.startswith(bytes(turn.body)):
            world.broken("I-3", f"{name}: {asked.token!r} got bytes that are not of its answer")
        if turn.outcome == "complete" and (not answered.complete or answered.body != turn.body):
            world.broken(
                "I-1",
                f"{name}: the cut answer {int(number)} to {asked.token!r} looks complete: {len(turn.body)} bytes "
                f"of {len(answered.body)}",
            )


class Http2Upstreams(HttpOracle):
    """I-1, I-3, I-6, I-12 for scripted origins of HTTP/2: legal frames within the windows, each request as it was."""

    invariant = "I-6"
    also = ("I-1", "I-3", "I-12")

    def quiescent(self, world: World) -> None:
        """See :class:`Oracle`."""
        for script in self.case.http2_scripts:
            for invariant in ("", *self.also):
                self.judged(world, len(script.requests), invariant)
            for fault in script.faults:
                world.broken(self.invariant, f"{script.name}: the h2 library refuses what it got: {fault}")
            for request in script.requests:
                asked = self.case.ledger.asked.get(request.token)
                if asked is None or not asked.valid:
                    continue
                if request.fields.get(b"x-token", request.token) != request.token:
                    world.broken("I-3", f"{script.name} got a head mixed of {request.fields!r}")
                whole = bytes(request.body) == asked.body
                if request.refused is None and not asked.body.startswith(bytes(request.body)):
                    world.broken("I-3", f"{script.name} took bytes that are not of {request.token!r}")
                if request.complete and request.refused is None and not request.reset and not whole:
                    world.broken(
                        "I-1",
                        f"{script.name} took {len(request.body)} bytes for the whole body of {request.token!r}, "
                        f"which has {len(asked.body)}",
                    )


class HandOver(HttpOracle):
    """I-13: while one proxy takes over from another, nobody is refused for want of a listener."""

    invariant = "I-13"

    def quiescent(self, world: World) -> None:
        """See :class:`Oracle`."""
        self.judged(world, self.case.handed_over and not self.case.drained)
        if self.case.handed_over and not self.case.drained and world.unheard:
            world.broken(self.invariant, f"nobody listened at {world.unheard[0]}")


class NoCrossTalk(HttpOracle):
    """I-3: no byte of one exchange appears in another."""

    invariant = "I-3"

    def quiescent(self, world: World) -> None:
        """See :class:`Oracle`."""
        case = self.case
        for client in case.clients:
            tokens = {turn.asked.token for turn in client.plan.turns}
            under_way = [client.reader.message] if client.reader.message is not None else []
            for message in client.reader.messages + under_way:
                token = message.get(b"x-token")
                if token is None:
                    continue
                self.judged(world)
                if token not in tokens and all(turn.asked.valid for turn in client.plan.turns):
                    world.broken(self.invariant, f"{client.name} got the answer to {token!r}, which it never asked")
                number = int(message.get(b"x-answer") or -1)
                answered = case.ledger.answered[number] if number >= 0 else None
                if answered is None or answered.token != token or not answered.body.startswith(bytes(message.body)):
                    world.broken(
                        self.invariant, f"{client.name} got bytes in the answer to {token!r} that are not of it"
                    )
        for origin in case.origins:
            for connection in origin.connections:
                for message in connection.reader.messages:
                    self.judged(world)
                    token = token_of(message.target)
                    if token.startswith(b"smuggled"):
                        world.broken(
                            self.invariant,
                            f"{origin.name} was reached by a request hidden in another: {message.target!r}",
                        )
                    asked = case.ledger.asked.get(token)
                    if asked is not None and (message.get(b"x-token") or token) != token:
                        world.broken(
                            self.invariant,
                            f"{origin.name} got a head mixed of {token!r} and {message.get(b'x-token')!r}",
                        )


class PoolHygiene(HttpOracle):
    """I-4: a connection is used again only after a complete, clean exchange that leaves it open."""

    invariant = "I-4"

    def quiescent(self, world: World) -> None:
        """See :class:`Oracle`."""
        for connection, raw in self.case.upstreams():
            starts = _starts(raw)
            if len(starts) < 2:
                continue
            audit = connection.end.other.audit or []
            for index, start in enumerate(starts[1:]):
                self.judged(world)
                _, seen, _ = next(entry for entry in reversed(audit) if entry[0] <= start)
                where = f"{connection.end.name}: request {index + 2} was written"
                if index >= len(connection.replies):
                    world.broken(self.invariant, f"{where} before request {index + 1} was answered")
                end, reusable = connection.replies[index]
                if not reusable and seen >= end:
                    world.broken(self.invariant, f"{where} although the answer before it had spoilt the connection")
                if seen < end:
                    world.broken(
                        self.invariant, f"{where} when {end - seen} bytes of the answer before it were still to come"
                    )
                if seen > end:
                    world.broken(
                        self.invariant, f"{where} although {seen - end} bytes had come behind the answer before it"
                    )


def _starts(raw: bytes) -> list[int]:
    reader = StrictReader(requests=True)
    try:
        reader.feed(raw)
    except Uncanonical:
        pass  # CanonicalOut says so
    starts = [message.start for message in reader.messages]
    return starts if reader.message is None else [*starts, reader.message.start]


class CanonicalOut(HttpOracle):
    """I-5: an independent strict reader and h11 take everything that was put out, with one framing each."""

    invariant = "I-5"

    def quiescent(self, world: World) -> None:
        """See :class:`Oracle`."""
        for client in self.case.clients:
            if client.fault:
                world.broken(self.invariant, f"{client.name} cannot read what it got: {client.fault}")
            raw = bytes(client.received_bytes)
            for message in client.reader.messages:
                self._check(world, client.name, raw[message.start : message.end], message, message.method)
        for connection, raw in self.case.upstreams():
            reader = StrictReader(requests=True)
            try:
                reader.feed(raw)
            except Uncanonical as exc:
                world.broken(
                    self.invariant, f"{connection.end.name}: what was written to the origin is not canonical: {exc}"
                )
            for message in reader.messages:
                self._check(world, connection.end.name, raw[message.start : message.end], message, None)

    def _check(self, world: World, name: str, raw: bytes, message: Message, method: bytes | None) -> None:
        self.judged(world)
        try:
            body = reference_body(raw, method)
        except Uncanonical as exc:
            world.broken(self.invariant, f"{name}: {message!r}: {exc}")
            return
        if body != message.body:
            world.broken(self.invariant, f"{name}: {message!r}: h11 reads {len(body)} bytes")


class Order(HttpOracle):
    """I-6: answers come in the order of the requests."""

    invariant = "I-6"

    def quiescent(self, world: World) -> None:
        """See :class:`Oracle`."""
        for client in self.case.clients:
            if not all(turn.asked.valid for turn in client.plan.turns):
                continue  # how many requests hostile bytes hold is a matter of opinion
            for turn, message in zip(client.plan.turns, client.reader.messages, strict=False):
                self.judged(world)
                token = message.get(b"x-token")
                if token is not None and token != turn.asked.token:
                    world.broken(self.invariant, f"{client.name}: {turn.asked.token!r} got the answer to {token!r}")


class RetrySafety(HttpOracle):
    """I-7: a request that is not idempotent is written to at most one origin connection."""

    invariant = "I-7"

    def quiescent(self, world: World) -> None:
        """See :class:`Oracle`."""
        written: dict[bytes, str] = {}
        for connection, raw in self.case.upstreams():
            for start in _starts(raw):
                method, _, rest = raw[start : start + 200].partition(b" ")
                token = token_of(rest.partition(b" ")[0])
                if not token or method in IDEMPOTENT:
                    continue
                self.judged(world)
                if token in written:
                    world.broken(
                        self.invariant,
                        f"{method!r} {token!r} was written to {written[token]} and to {connection.end.name}",
                    )
                written[token] = connection.end.name
        self._http2(world, written)

    def _http2(self, world: World, written: dict[bytes, str]) -> None:
        """Over HTTP/2 an origin can say that it has not processed a request; before that it is not sent again.

        Which was the first to be refused counts, not which came first: one may still be on its way when the GOAWAY
        that refuses it has been heard, and the next is there sooner.
        """
        before: dict[bytes, ScriptedRequest] = {}
        for request in sorted(
            (request for script in self.case.http2_scripts for request in script.requests),
            key=lambda request: (math.inf if request.refused is None else request.refused, request.arrived),
        ):
            token = request.token
            if not token or request.method in IDEMPOTENT:
                continue
            self.judged(world)
            last = before.get(token)
            if last is not None and (last.refused is None or last.refused > request.arrived):
                world.broken(self.invariant, f"{token!r} came again over HTTP/2, though nobody had refused it before")
            if request.refused is None and token in written:
                world.broken(self.invariant, f"{token!r} was written to {written[token]} and over HTTP/2")
            before[token] = request


# What may come after what; phases that may repeat are listed behind themselves.
_ONCE = ("new_ctx", "early_request_filter", "request_filter", "proxy_upstream_filter", "fail_to_proxy", "logging")
_STORY = ("new_ctx", "early_request_filter", "request_filter", "proxy_upstream_filter", "upstream_peer", "logging")
_PER_ATTEMPT = (
    "upstream_peer",
    "fail_to_connect",
    "connected_to_upstream",
    "upstream_request_filter",
    "error_while_proxy",
)


class FilterContract(HttpOracle):
    """I-11: phases in their order, each at most once (or once per attempt); logging exactly once, and last."""

    invariant = "I-11"

    def quiescent(self, world: World) -> None:
        """See :class:`Oracle`."""
        forgotten = any(driver.filters for driver in world.drivers)  # never answered: then the story has no end
        self.judged(world, len(self.case.exchanges))
        for phases in self.case.exchanges:
            complaint = _judge(phases)
            if complaint and not (forgotten and "logging" not in phases):
                world.broken(self.invariant, f"{complaint}: {' '.join(phases)}")


def _judge(phases: list[str]) -> str:
    for phase in _ONCE:
        if phases.count(phase) > 1:
            return f"{phase} ran {phases.count(phase)} times"
    if phases.count("logging") != 1:
        return "logging did not run"
    if phases[0] != "new_ctx":
        return f"{phases[0]} ran before new_ctx"
    ranks = [_STORY.index(phase) for phase in phases if phase in _STORY]
    if ranks != sorted(ranks):
        return "out of order"
    if any(
        phase not in ("logging", "request_summary", "suppress_error_log") for phase in phases[phases.index("logging") :]
    ):
        return "a phase ran behind logging"
    return _judge_attempts(phases)


def _judge_attempts(phases: list[str]) -> str:
    attempt: list[str] = []
    for phase in phases:
        if phase == "upstream_peer":
            attempt = [phase]
        elif phase in _PER_ATTEMPT:
            if not attempt:
                return f"{phase} ran without an attempt"
            if phase in attempt:
                return f"{phase} ran twice in one attempt"
            if _PER_ATTEMPT.index(phase) < _PER_ATTEMPT.index(attempt[-1]):
                return f"{phase} ran behind {attempt[-1]}"
            if phase == "connected_to_upstream" and "fail_to_connect" in attempt:
                return "connected_to_upstream ran behind fail_to_connect"
            attempt.append(phase)
    return ""
