"""The native engine against the reference engine on the same bytes, frame by frame, and cut anywhere.

What the native engine accepts, the reference reads identically; where one refuses and the
other does not, or refuses otherwise, the reason is in the table. Stand-alone, for long runs::

    python -m tests.http2.differential --inputs 100000
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from random import Random
from time import monotonic
from typing import Any, NamedTuple

from hpack import Decoder

from sansio_pingora.http2 import PREFACE, ErrorCode, Http2Client, Http2Server
from sansio_pingora.http2.hyper import HyperHttp2Client, HyperHttp2Server
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, ConnectionClosed, Writable
from sansio_pingora.wire import Body, Done, Failed, Header, RequestHeader, ResponseHeader, UpgradedBody
from tests.http2.differences import READ_OTHERWISE, Row
from tests.http2.generated import Asked, conversation, cut, mutated, split
from tests.http2.peer import ACK, END_HEADERS, Kind, Set, raw
from tests.http2.runs import plain

__all__ = ["Said", "Tally", "compare", "described", "disagreement", "first_difference", "read", "report", "row_of"]

SERVERS: dict[str, Callable[..., Any]] = {"native": Http2Server, "hyper": HyperHttp2Server}
CLIENTS: dict[str, Callable[..., Any]] = {"native": Http2Client, "hyper": HyperHttp2Client}

# How an application answers, by stream: not at all, when the head is there, when the message is, its head alone, by a
# reset.
ANSWERS = ("never", "never", "head", "head", "end", "end", "half", "reset")
PROFILES: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"max_fields": 6, "max_head": 2_000, "max_trailers": 20, "max_trailer_fields": 1},
    {"h2_max_streams": 2, "max_body": 40},
    {"h2_window": 4_000, "h2_connection_window": 65_535},
    {"h2_window": 65_535, "h2_connection_window": 65_535, "linger_bytes": 10},
)


class Said(NamedTuple):
    """One thing that a machine said, to its application or to its peer, and why."""

    what: tuple[Any, ...]
    why: str = ""


class Machine:
    """A machine under test with an application above it, both told everything at the same instant."""

    def __init__(self, engine: str, asked: list[Asked] | None, limits: dict[str, Any], salt: int) -> None:
        options = Limits(**limits)
        self.is_server = asked is None
        self.salt = salt
        self.said: list[Said] = []
        self.statuses: dict[int, list[bytes]] = {}
        self.broken = False
        self._answered: set[int] = set()
        self._decoder = Decoder()
        self._rest = b""
        self._block = b""
        self.over = False
        if asked is None:
            self.machine = SERVERS[engine](0.0, options, allow_connect=salt % 2 == 0)
        else:
            self.machine = CLIENTS[engine](0.0, options)
            self._rest = b"".join(self.machine.data_to_send())[len(PREFACE) :]
            self._greet()
            for request in asked:
                self._ask(request)
        self._look()

    def _greet(self) -> None:
        """The origin takes extended CONNECTs and as many streams as there are; what it says beyond is the input."""

    def _ask(self, request: Asked) -> None:
        stream = self.machine.open_stream(0.0)
        if request.method == "CONNECT":
            head = RequestHeader("CONNECT", "a.test:443", [("Host", "a.test:443")])
        else:
            head = RequestHeader(request.method, "/", [("Host", "a.test")])
        self.machine.send(stream, Header(head, request.end), 0.0)

    # ── input ────────────────────────────────────────────────────────────────────────

    def receive(self, piece: bytes) -> None:
        if self.over:
            return
        events = self.machine.receive_data(piece, 0.0)
        end: Said | None = None
        failed: set[int] = set()
        heard = [value for stream, value in events if isinstance(value, ConnectionClosed) and value.error is not None]
        for stream, value in events:
            if isinstance(value, Writable):
                continue
            if isinstance(value, Failed):
                # Those that fail with the connection are not told one by one.
                if not (heard and value.error.context == heard[0].error.context):
                    self.said.append(Said((stream, "failed"), value.error.context))
                failed.add(stream)
                continue
            if isinstance(value, ConnectionClosed):
                end = Said((0, "closed" if value.error is None else "broken"), value.error and value.error.context or "")
                continue
            self.said.append(Said(plain((stream, value))))
        self._look(failed)
        if end is not None:
            self.said.append(end)
            self.over = True
            return
        self._use(events)
        self._look(failed)

    def _use(self, events: list[tuple[int, Any]]) -> None:
        for stream, value in events:
            if isinstance(value, Body | UpgradedBody) and self.salt % 3:
                self.machine.consumed(stream, len(value.data), 0.0)
            elif isinstance(value, Failed):
                self._answered.add(stream)
            if self.is_server and stream and not isinstance(value, Failed | Writable):
                self._answer(stream, value)
        while self.machine.deadline == AT_ONCE:
            more = self.machine.handle_timeout(0.0)
            self.said += [Said(plain(event)) for event in more if not isinstance(event[1], Writable)]

    def _answer(self, stream: int, value: Any) -> None:
        how = ANSWERS[(stream // 2 * 5 + self.salt) % len(ANSWERS)]
        if how == "never" or stream in self._answered or (how == "end" and not value.end):
            return
        self._answered.add(stream)
        send = self.machine.send
        if how == "reset":
            send(stream, Failed(None), 0.0)  # type: ignore[arg-type]  # nobody reads it
            return
        send(stream, Header(ResponseHeader(200), False), 0.0)
        if how == "half" or (isinstance(value, Header) and value.head.method == b"CONNECT"):
            return
        send(stream, Body(b"ok" * 20), 0.0)
        send(stream, Done(), 0.0)

    # ── output ───────────────────────────────────────────────────────────────────────

    def _look(self, failed: set[int] | frozenset[int] = frozenset()) -> None:
        """What was said to the peer: answers, and streams and connections that are given up."""
        for _ in range(100):
            data = b"".join(self.machine.data_to_send())
            self._rest += data
            if self.machine.starved:
                self.machine.write_resumed(0.0)
            elif not data:
                break
        while len(self._rest) >= 9 and len(self._rest) >= 9 + int.from_bytes(self._rest[:3], "big"):
            stop = 9 + int.from_bytes(self._rest[:3], "big")
            frame, self._rest = self._rest[:stop], self._rest[stop:]
            kind, flags, stream = frame[3], frame[4], int.from_bytes(frame[5:9], "big")
            if kind in {Kind.HEADERS, Kind.CONTINUATION}:
                self._block += frame[9:]
                if flags & END_HEADERS:
                    fields = self._decoder.decode(self._block, raw=True)
                    self._block = b""
                    if self.is_server and fields and fields[0][0] == b":status":
                        self.said.append(Said((stream, "status", bytes(fields[0][1]))))
            elif kind == Kind.RST_STREAM and stream not in failed:
                code = int.from_bytes(frame[9:], "big")
                self.said.append(Said((stream, "reset"), ErrorCode(code).name))


def read(
    engine: str, pieces: list[bytes], asked: list[Asked] | None, *, limits: dict[str, Any] | None = None, salt: int = 0
) -> list[Said]:
    """All that a machine says about *pieces*; *asked* makes it a client."""
    machine = Machine(engine, asked, limits or {}, salt)
    for piece in pieces:
        machine.receive(piece)
    return machine.said


# ── comparing ────────────────────────────────────────────────────────────────────────


@dataclass
class Tally:
    """What a run has found."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    listed: Counter[Row] = field(default_factory=Counter)
    seen: dict[Row, Counter[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.inputs} inputs: {self.accepted} accepted by both and read alike, "
            f"{self.refused} refused by both alike, {self.listed.total()} read otherwise for a listed reason, "
            f"{len(self.faults)} unexplained"
        )


def compare(seed: int, tally: Tally) -> None:
    """One input, made from *seed*, through both engines."""
    dice = Random(seed)
    client = dice.random() < 0.6
    asked, frames = conversation(dice, client=client)
    if dice.random() < 0.6:
        frames = mutated(dice, frames)
    data = b"".join(frames)
    who = None if client else asked
    limits = dice.choice(PROFILES)
    salt = dice.randrange(24)
    whole = split(data, client=client)
    native = read("native", whole, who, limits=limits, salt=salt)
    reference = read("hyper", whole, who, limits=limits, salt=salt)
    tally.inputs += 1
    if (fault := disagreement(native, reference, tally)) is not None:
        tally.faults.append(f"seed {seed}: {fault}")
    if dice.random() < 0.3:
        _compare_cuts(dice, data, who, limits, tally, seed)


def _compare_cuts(
    dice: Random, data: bytes, asked: list[Asked] | None, limits: dict[str, Any], tally: Tally, seed: int
) -> None:
    """Nothing depends on how the bytes are cut, as long as nobody answers in between."""
    pieces = cut(dice, data)
    for engine in ("native", "hyper"):
        one, other = (
            _by_stream(read(engine, each, asked, limits=limits, salt=_SILENT))
            for each in (split(data, client=asked is None), pieces)
        )
        if one != other:
            tally.faults.append(f"seed {seed}: cutting matters to {engine}: {one} and {other}")


_SILENT = 3  # a salt by which nothing is consumed

