"""The native engine against the reference engine on the same bytes, frame by frame, and cut anywhere.

What both accept they read identically; where one refuses what the other does not, or refuses it
otherwise, the reason is in the table. Stand-alone, for long runs::

    python -m tests.http2.differential --inputs 100000
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import zip_longest
from random import Random
from typing import Any, NamedTuple

from hpack import Decoder

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.http2 import PREFACE, Http2Client, Http2Server
from sansio_pingora.http2.codes import code_name
from sansio_pingora.http2.hyper import HyperHttp2Client, HyperHttp2Server
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, ConnectionClosed, Event, Writable
from sansio_pingora.wire import Body, Done, Failed, Header, RequestHeader, ResponseHeader, UpgradedBody
from tests.http2.differences import READ_OTHERWISE, Row
from tests.http2.generated import Asked, conversation, cut, mutated, split
from tests.http2.peer import END_HEADERS, END_STREAM, Kind
from tests.http2.runs import plain
from tests.seeds import run_seeds

__all__ = [
    "Said",
    "Tally",
    "by_stream",
    "compare",
    "described",
    "disagreement",
    "first_difference",
    "read",
    "report",
    "row_of",
]

SERVERS: dict[str, Callable[..., Any]] = {"native": Http2Server, "hyper": HyperHttp2Server}
CLIENTS: dict[str, Callable[..., Any]] = {"native": Http2Client, "hyper": HyperHttp2Client}

READS_ON = "reads on"
GAVE_UP = Error(ErrorType.INTERNAL_ERROR, "the application gives up")
_VALUES = re.compile(r"""b?'(?:[^'\\]|\\.)*'|b"(?:[^"\\]|\\.)*"|-?\b[0-9]+""", re.DOTALL)
# How a stream is answered: not at all, as soon as its head or its end is there, with a head alone, or by a reset.
ANSWERS = ("never", "never", "head", "head", "end", "end", "half", "reset")
PROFILES: tuple[dict[str, Any], ...] = (
    {},
    {},
    {},
    {"max_fields": 6, "max_head": 2_000, "max_trailers": 20, "max_trailer_fields": 1},
    {"h2_max_streams": 2, "max_body": 40},
    {"h2_window": 4_000, "h2_connection_window": 65_535},
    {"h2_window": 65_535, "h2_connection_window": 65_535, "linger_bytes": 10},
)


class Said(NamedTuple):
    """One thing that a machine said, to its application or to its peer, why, and on which piece of the input."""

    what: tuple[Any, ...]
    why: str = ""
    at: int = 0


class Station:
    """A machine under test with an application above it: both engines are told the same at the same instant."""

    def __init__(
        self, engine: str, asked: list[Asked] | None, limits: dict[str, Any], salt: int, answers: bool
    ) -> None:
        self.is_server = asked is None
        self.salt = salt
        self.answers = answers
        self.said: list[Said] = []
        self.pieces = 0
        self.over = False
        self._done: set[int] = set()
        self._decoder = Decoder()
        self._decoder.max_allowed_table_size = 2**32  # as the input may have announced
        self._rest = self._block = b""
        if asked is None:
            self.machine = SERVERS[engine](0.0, Limits(**limits), allow_connect=salt % 2 == 0)
            return
        self.machine = CLIENTS[engine](0.0, Limits(**limits))
        self._rest = b"".join(self.machine.data_to_send())[len(PREFACE) :]
        for request in asked:
            target, host = ("a.test:443", "a.test:443") if request.method == "CONNECT" else ("/", "a.test")
            stream = self.machine.open_stream(0.0)
            self.machine.send(stream, Header(RequestHeader(request.method, target, [("Host", host)]), request.end), 0.0)
        self._look(set())

    def _say(self, what: tuple[Any, ...], why: str = "") -> None:
        self.said.append(Said(what, why, self.pieces))

    def receive(self, piece: bytes) -> None:
        self.pieces += 1
        if self.over:
            return
        events = self.machine.receive_data(piece, 0.0)
        failed = self._note(events)
        self._look(failed)
        if not self.over:
            self._use(events)
            while self.machine.deadline == AT_ONCE:
                failed |= self._note(self.machine.handle_timeout(0.0))
            self._look(failed)
        if self.machine.closing and not self.over:
            self._note(self.machine.transport_lost(None, 0.0))

    def _note(self, events: list[Event]) -> set[int]:
        """Write *events* down; the streams that failed, by their ids on the wire."""
        end = next((value for _, value in events if isinstance(value, ConnectionClosed)), None)
        broken = end.error if end else None
        failed = set()
        for stream, value in events:
            match value:
                case Failed():
                    failed.add(stream if self.is_server else 2 * stream - 1)
                    # Those that fail with the connection are not told one by one.
                    if broken is None or value.error.context != broken.context:
                        self._say((stream, "failed"), value.error.context)
                case Writable() | ConnectionClosed():
                    pass
                case _:
                    self._say(plain((stream, value)))
        if end is not None:
            self._say((0, "broken"), broken.context) if broken else self._say((0, "closed"))
            self.over = True
        return failed

    def _use(self, events: Iterable[Event]) -> None:
        for stream, value in events:
            if isinstance(value, Failed):
                self._done.add(stream)
            if isinstance(value, Body | UpgradedBody) and self.answers and self.salt % 3:
                self.machine.consumed(stream, len(value.data), 0.0)
            if self.answers and self.is_server and not isinstance(value, Failed | Writable):
                self._answer(stream, value)

    def _answer(self, stream: int, value: Any) -> None:
        how = ANSWERS[(stream // 2 * 5 + self.salt) % len(ANSWERS)]
        if how == "never" or stream in self._done or (how == "end" and not value.end):
            return
        self._done.add(stream)
        send = self.machine.send
        if how == "reset":
            send(stream, Failed(GAVE_UP), 0.0)
            return
        send(stream, Header(ResponseHeader(200), False), 0.0)
        if how != "half" and not (isinstance(value, Header) and getattr(value.head, "method", b"") == b"CONNECT"):
            send(stream, Body(bytes(40 if self.salt % 5 else 70_000)), 0.0)
            send(stream, Done(), 0.0)

    def _look(self, failed: set[int]) -> None:
        """What was said to the peer: answers, and the streams that are given up without a word above."""
        for _ in range(1_000):
            data = b"".join(self.machine.data_to_send())
            self._rest += data
            if self.machine.starved:
                self.machine.write_resumed(0.0)
            elif not data:
                break
        while len(self._rest) >= 9 and len(self._rest) >= (stop := 9 + int.from_bytes(self._rest[:3], "big")):
            frame, self._rest = self._rest[:stop], self._rest[stop:]
            kind, flags, stream = frame[3], frame[4], int.from_bytes(frame[5:9], "big")
            if kind == Kind.RST_STREAM and stream not in failed:
                self._say((stream, "reset"), code_name(int.from_bytes(frame[9:], "big")))
            elif kind == Kind.DATA:
                self._sent(stream, len(frame) - 9, bool(flags & END_STREAM))
            elif kind in {Kind.HEADERS, Kind.CONTINUATION}:
                self._block += frame[9:]
                if flags & END_HEADERS:
                    fields, self._block = self._decoder.decode(self._block, raw=True), b""
                    self.said += [
                        Said((stream, "status", bytes(value))) for name, value in fields if name == b":status"
                    ]

    def _sent(self, stream: int, size: int, end: bool) -> None:
        """DATA; whether its end goes along or right behind it is a matter of what else waits."""
        last = self.said[-1] if self.said else None
        if end and not size and last is not None and last.what[:2] == (stream, "sent") and last.at == self.pieces:
            size = self.said.pop().what[2]
        self._say((stream, "sent", size, end))


def read(
    engine: str,
    pieces: list[bytes],
    asked: list[Asked] | None,
    *,
    limits: dict[str, Any] | None = None,
    salt: int = 1,
    answers: bool = True,
) -> list[Said]:
    """All that a machine says about *pieces*; *asked* makes it a client."""
    station = Station(engine, asked, limits or {}, salt, answers)
    for piece in pieces:
        station.receive(piece)
    return station.said


# ── comparing ────────────────────────────────────────────────────────────────────────


@dataclass
class Tally:
    """What a run has found."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    listed: Counter[Row] = field(default_factory=Counter)
    unlisted: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.inputs} inputs: {self.accepted} accepted by both and read alike, "
            f"{self.refused} refused by both in the same way, {self.listed.total()} read otherwise for a listed reason, "
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
    how: dict[str, Any] = {"limits": dice.choice(PROFILES), "salt": dice.randrange(24), "answers": dice.random() < 0.7}
    who = None if client else asked
    whole = split(data, client=client)
    native, reference = (read(engine, whole, who, **how) for engine in ("native", "hyper"))
    tally.inputs += 1
    if (fault := disagreement(native, reference, tally)) is not None:
        tally.faults.append(f"seed {seed}: {fault}")
    if how["answers"] or dice.random() < 0.3:
        return
    pieces = cut(dice, data)
    for engine, one in (("native", native), ("hyper", reference)):
        whole_told, cut_told = by_stream(one), by_stream(read(engine, pieces, who, **how))
        for stream in whole_told.keys() | cut_told.keys():
            if whole_told.get(stream) != cut_told.get(stream):
                told = f"{whole_told.get(stream)} and {cut_told.get(stream)}"
                tally.faults.append(f"seed {seed}: cutting matters to {engine} on stream {stream}: {told}")


def disagreement(native: list[Said], reference: list[Said], tally: Tally) -> str | None:
    """What is wrong with two readings of the same bytes, if anything; counted in *tally*."""
    pair = first_difference(native, reference)
    if pair is None:
        if any(said.what[1] in {"broken", "failed", "reset"} for said in native):
            tally.refused += 1
        else:
            tally.accepted += 1
        return None
    names = described(pair[0]), described(pair[1])
    row = row_of(*names)
    if row is not None:
        tally.listed[row] += 1
        return None
    tally.unlisted[names] += 1
    return f"{names}: native {pair[0]}, reference {pair[1]}"


def first_difference(native: list[Said], reference: list[Said]) -> tuple[Said | None, Said | None] | None:
    """Where two readings part: what each says there, None for nothing; None: nowhere."""
    for one, other in zip_longest(native, reference):
        if one is None or other is None or (one.what, one.at) != (other.what, other.at):
            at = min(said.at for said in (one, other) if said is not None)
            return (one if one and one.at == at else None), (other if other and other.at == at else None)
    return None


def described(said: Said | None) -> str:
    """What kind of outcome it is, as the table names it."""
    if said is None or said.what[1] not in {"broken", "failed", "reset"}:
        return READS_ON
    kind = {"broken": "connection", "failed": "stream", "reset": "reset"}[said.what[1]]
    return f"{kind}: {_VALUES.sub('…', said.why)}"


def row_of(native: str, reference: str) -> Row | None:
    """The row of the table that explains why the engines part as they do."""
    for row in READ_OTHERWISE:
        if re.fullmatch(row.native, native) and re.fullmatch(row.reference, reference):
            return row
    return None


def by_stream(said: list[Said]) -> dict[int, list[tuple[Any, ...]]]:
    """What was said of each stream, with adjacent bodies in one: so it is the same however the input is cut."""
    streams: dict[int, list[tuple[Any, ...]]] = {}
    for what, _, _ in said:
        if what[1] in {"reset", "sent"}:  # noted by ids on the wire, and resets not beside a failure in the same piece
            continue
        told = streams.setdefault(what[0], [])
        last = told[-1] if told else ()
        if what[1] in {"body", "raw"} and last[1:2] == what[1:2] and not last[3]:
            told[-1] = (*what[:2], last[2] + what[2], what[3])
        else:
            told.append(what)
    return streams


# ── reporting ────────────────────────────────────────────────────────────────────────


def report(tally: Tally) -> str:
    """What a run has found, in full."""
    lines = [str(tally)]
    for row, reason in READ_OTHERWISE.items():
        lines.append(f"  {tally.listed[row]:7}  native {row.native!r}, reference {row.reference!r}: {reason}")
    lines += [f"  {count:7}  UNLISTED {names}" for names, count in tally.unlisted.most_common()]
    if idle := [row for row in READ_OTHERWISE if not tally.listed[row]]:
        lines.append(f"  {len(idle)} rows never fired: {idle}")
    return "\n".join(lines + tally.faults[:40])


if __name__ == "__main__":
    sys.exit(run_seeds(__doc__, Tally(), compare, report))
