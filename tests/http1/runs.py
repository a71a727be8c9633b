"""Connections under test: driven with bytes, answered by a plain application, and read by an independent reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sansio_pingora.errors import ErrorType
from sansio_pingora.http1 import Http1Client, Http1Connection, Http1Server
from sansio_pingora.http1.hyper import HyperCodec
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Closing, ConnectionClosed, Event, Writable
from sansio_pingora.wire import (
    Body,
    Done,
    Failed,
    Header,
    RequestHeader,
    ResponseHeader,
    Trailer,
    UpgradedBody,
)

ENGINES = ("native", "hyper")
LIMITS = Limits()


def make_server(engine: str = "native", limits: Limits = LIMITS, *, now: float = 0.0, **options: Any) -> Http1Server:
    codec = HyperCodec(limits, server=True) if engine == "hyper" else None
    return Http1Server(now, limits, codec=codec, **options)


def make_client(engine: str = "native", limits: Limits = LIMITS, **options: Any) -> Http1Client:
    codec = HyperCodec(limits, server=False) if engine == "hyper" else None
    return Http1Client(limits, codec=codec, **options)


# ── ways to deliver ──────────────────────────────────────────────────────────────────


def whole(raw: bytes) -> list[bytes]:
    return [raw] if raw else []


def bytewise(raw: bytes, at_most: int = 4096) -> list[bytes]:
    """Byte by byte; a long message only at both ends, since each piece costs a call."""
    if len(raw) <= at_most:
        return [raw[at : at + 1] for at in range(len(raw))]
    half = at_most // 2
    return [*bytewise(raw[:half]), raw[half:-half], *bytewise(raw[-half:])]


def at_random(raw: bytes, seed: int) -> list[bytes]:
    """Cut at random places, which the seed decides."""
    dice = Random(seed)
    pieces = []
    while raw:
        size = dice.choice((1, 2, 3, 7, 20, 100, 1000, 20_000))
        pieces.append(raw[:size])
        raw = raw[size:]
    return pieces


def segmentations(raw: bytes) -> Iterator[tuple[str, list[bytes]]]:
    yield "whole", whole(raw)
    yield "byte by byte", bytewise(raw)
    yield "at random", at_random(raw, len(raw))


# ── events that compare ──────────────────────────────────────────────────────────────


def plain(event: Event) -> tuple[Any, ...]:
    """An event as a tuple that compares by what it says."""
    stream, value = event
    match value:
        case Header(head=RequestHeader() as head):
            return (stream, "request", head.method, head.target, head.version, lower(head), value.end)
        case Header(head=ResponseHeader() as head):
            return (stream, "response", head.status, head.version, lower(head), value.end)
        case Body():
            return (stream, "body", value.data, value.end)
        case UpgradedBody():
            return (stream, "raw", value.data, value.end)
        case Trailer():
            return (stream, "trailer", lower(value))
        case Done():
            return (stream, "done")
        case Failed():
            return (stream, "failed", value.error.etype.value, value.error.status)
        case ConnectionClosed():
            return (stream, "closed", value.error and value.error.etype.value)
        case Writable():
            return (stream, "writable", value.room)
    raise AssertionError(f"unknown event {event!r}")


def lower(holder: Any) -> list[tuple[bytes, bytes]]:
    """Fields with lower-case names, and transfer codings, which compare without case, in lower case."""
    lines = [(name.lower(), value) for name, value in holder.fields]
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in lines]


def merged(events: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Adjacent bodies of a stream joined: what no segmentation may change."""
    result: list[tuple[Any, ...]] = []
    for event in events:
        last = result[-1] if result else None
        if last and event[1] in {"body", "raw"} and last[:2] == event[:2] and not last[3]:
            result[-1] = (*event[:2], last[2] + event[2], event[3])
        else:
            result.append(event)
    return result


# ── servers ──────────────────────────────────────────────────────────────────────────

Answer = Callable[[Http1Connection, int, list[Any]], None]


def answer_ok(connection: Http1Connection, stream: int, request: list[Any], now: float = 0.0) -> None:
    connection.send(stream, Header(ResponseHeader(200, [("Content-Length", "2")]), False), now)
    connection.send(stream, Body(b"ok", True), now)


@dataclass
class Run:
    """What became of a connection."""

    connection: Http1Connection
    events: list[tuple[Any, ...]] = field(default_factory=list)
    out: bytes = b""
    seen: list[list[Any]] = field(default_factory=list)
    """``[method, target, body]`` of each request that was complete, as the vectors have it."""
    over: bool = False
    """Nothing that the peer sends counts any more."""
    reusable: bool = False
    reasons: list[str] = field(default_factory=list)
    """Why the peer was refused: the texts of faults, but not of a peer that left too early."""

    def note(self, failed: Failed) -> None:
        if failed.error.etype is ErrorType.INVALID_HTTP_HEADER:
            self.reasons.append(failed.error.context.removeprefix("the origin's answer breaks the rules: "))

    @property
    def failures(self) -> list[tuple[Any, ...]]:
        return [event for event in self.events if event[1] == "failed"]

    @property
    def refused(self) -> bool:
        """A fault was told, or nothing was: and the connection is not used again."""
        return self.over and bool(self.failures)

    def finish(self, now: float) -> Run:
        """Take the transport away: so a connection that lingers and one that closed at once end alike."""
        connection = self.connection
        self.over = connection.closing is not Closing.NO or connection.shut_write
        self.reusable = getattr(connection, "reusable", False)
        if self.over:
            self.events += map(plain, connection.transport_lost(None, now))
        self.events = merged(self.events)
        return self

    @property
    def statuses(self) -> list[int]:
        return [status for status, _, _ in read_responses(self.out, [method for method, _, _ in self.seen])]


def run_server(
    pieces: Iterable[bytes],
    *,
    engine: str = "native",
    limits: Limits = LIMITS,
    answer: Answer = answer_ok,
    eof: bool = False,
    now: float = 0.0,
    **options: Any,
) -> Run:
    """Deliver *pieces*, answering each request when it is complete; a target that begins with /noread at once."""
    connection = make_server(engine, limits, **options)
    run = Run(connection)
    held: dict[int, list[Any]] = {}

    def take(events: list[Event]) -> None:
        for event in events:
            stream, value = event
            run.events.append(plain(event))
            ended = False
            if isinstance(value, Header):
                held[stream] = [value.head.method.decode("latin-1"), value.head.target.decode("latin-1"), ""]
                ended = value.end
                if value.head.target.startswith(b"/noread"):
                    held[stream][2] = None
                    run.seen.append(held.pop(stream))
                    answer(connection, stream, run.seen[-1])
                    continue
            elif isinstance(value, Body | UpgradedBody):
                connection.consumed(stream, len(value.data), now)
                if stream in held:
                    held[stream][2] += value.data.decode("latin-1")
                ended = value.end
            elif isinstance(value, Trailer | Done):
                ended = True
            elif isinstance(value, Failed):
                held.pop(stream, None)
                run.note(value)
            if ended and stream in held:
                run.seen.append(held.pop(stream))
                answer(connection, stream, run.seen[-1])

    def settle() -> None:
        while connection.deadline == AT_ONCE:
            take(connection.handle_timeout(now))
        run.out += b"".join(connection.data_to_send())

    for piece in pieces:
        if connection.closing:
            break
        take(connection.receive_data(piece, now))
        settle()
    if eof and not connection.closing:
        take(connection.receive_eof(now))
        settle()
    return run.finish(now)


# ── clients ──────────────────────────────────────────────────────────────────────────


def run_client(
    pieces: Iterable[bytes],
    *,
    engine: str = "native",
    limits: Limits = LIMITS,
    request: RequestHeader | None = None,
    eof: bool = False,
    now: float = 0.0,
) -> Run:
    """Send one request, deliver *pieces* as the answer, and perhaps the end behind them."""
    connection = make_client(engine, limits)
    run = Run(connection)
    stream = connection.open_stream(now)
    assert stream is not None
    connection.send(stream, Header(request or RequestHeader("GET", "/", [("Host", "a.test")]), True), now)
    run.out = b"".join(connection.data_to_send())

    def take(events: list[Event]) -> None:
        for event in events:
            run.events.append(plain(event))
            if isinstance(event[1], Body | UpgradedBody):
                connection.consumed(event[0], len(event[1].data), now)
            if isinstance(event[1], Failed):
                run.note(event[1])
        while connection.deadline == AT_ONCE:
            take(connection.handle_timeout(now))

    for piece in pieces:
        if connection.closing:
            break
        take(connection.receive_data(piece, now))
    if eof and not connection.closing:
        take(connection.receive_eof(now))
    return run.finish(now)


# ── an independent reader of what servers put out ────────────────────────────────────


def read_responses(raw: bytes, methods: Iterable[str] = ()) -> list[tuple[int, dict[str, str], bytes]]:
    """``(status, fields, body)`` of each response in *raw*: simple, and trusting in nothing but CRLF."""
    found = []
    asked = iter(methods)
    while raw:
        head, mark, raw = raw.partition(b"\r\n\r\n")
        assert mark, f"half a head: {head!r}"
        first, *lines = head.decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/1.1 "), first
        status = int(first[9:12])
        fields = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in fields, f"{name} twice"
            fields[name.lower()] = value
        body = b""
        if 100 <= status < 200:
            found.append((status, fields, body))
            continue
        if next(asked, "GET") == "HEAD" or status in {204, 304}:
            pass
        elif fields.get("transfer-encoding") == "chunked":
            body, raw = read_chunks(raw)
        elif "content-length" in fields:
            size = int(fields["content-length"])
            body, raw = raw[:size], raw[size:]
            assert len(body) == size, "a body is cut"
        else:
            body, raw = raw, b""
        found.append((status, fields, body))
    return found


def read_chunks(raw: bytes) -> tuple[bytes, bytes]:
    """A chunked body, and what is behind it; trailers are skipped."""
    body = b""
    while True:
        line, _, raw = raw.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            break
        body += raw[:size]
        assert raw[size : size + 2] == b"\r\n"
        raw = raw[size + 2 :]
    while not raw.startswith(b"\r\n"):
        line, mark, raw = raw.partition(b"\r\n")
        assert mark
    return body, raw[2:]
