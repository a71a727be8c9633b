"""The native engine against llhttp, by way of httptools: whole messages of the same bytes, both roles.

What the native engine accepts llhttp reads alike, and where it does not, the reason is in the table; what the native
engine refuses llhttp need not. Stand-alone, for long runs::

    python -m tests.http1.llhttp --inputs 100000
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httptools

from tests.http1.generated import mutated, pipeline, response
from tests.http1.runs import Run, run_client, run_server
from tests.seeds import run_seeds

__all__ = ["REFUSED_BY_LLHTTP", "Tally", "by_llhttp", "compare", "native_reading", "report"]

# What llhttp refuses and the native engine takes: its words → why we do.
METHOD = "Invalid method encountered"
CODING = "Request has invalid `Transfer-Encoding`"
WAITS = "waits"
REFUSED_BY_LLHTTP: dict[str, str] = {
    METHOD: "llhttp has a list of methods; any token is one (RFC 9110 section 9.1)",
    CODING: "llhttp takes a tab behind the coding for a part of it; it is blank (RFC 9110 section 5.5)",
    WAITS: "the same in a response: for llhttp its body lasts until the close",
}
_TAB = re.compile(rb"chunked *\t", re.IGNORECASE)

_ABSOLUTE = re.compile(rb"http://([^/?]*)(.*)", re.IGNORECASE)

Message = tuple[Any, ...]
"""First line, fields, body, trailers."""


class _Reader:
    """Collects what httptools tells."""

    def __init__(self, *, of_requests: bool) -> None:
        self.found: list[Message] = []
        self._parser = httptools.HttpRequestParser(self) if of_requests else httptools.HttpResponseParser(self)
        self._of_requests = of_requests
        self._start: tuple[Any, ...] = ()

    def on_message_begin(self) -> None:
        self._url = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._trailers: list[tuple[bytes, bytes]] = []
        self._body = b""
        self._past_head = False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        (self._trailers if self._past_head else self._fields).append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self._past_head = True
        version = self._parser.get_http_version().encode()
        if self._of_requests:
            absolute = _ABSOLUTE.fullmatch(self._url)
            if absolute is not None:  # as the native engine tells it (RFC 9112 section 3.2.2)
                self._url = (b"" if absolute[2][:1] == b"/" else b"/") + absolute[2]
                named = [(name, absolute[1] if name == b"host" else value) for name, value in self._fields]
                self._fields = named if dict(named).get(b"host") else [*named, (b"host", absolute[1])]
            self._start = (self._parser.get_method(), self._url, version)
        else:
            self._start = (self._parser.get_status_code(), version)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.found.append((self._start, _codings(self._fields), self._body, self._trailers))

    def feed(self, data: bytes) -> str:
        """Take it all; what was wrong with it."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return "upgrade"
        except httptools.HttpParserError as exc:
            return str(exc)
        return ""


def _codings(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in fields]


def by_llhttp(raw: bytes, *, of_requests: bool) -> tuple[list[Message], str]:
    """The complete messages that llhttp finds, and why it stopped, if it did."""
    reader = _Reader(of_requests=of_requests)
    return reader.found, reader.feed(raw)


def native_reading(run: Run) -> list[Message]:
    """The complete messages that the native engine told of."""
    found: list[Message] = []
    start: tuple[Any, ...] = ()
    fields: Any = []
    body = b""
    for event in run.events:
        kind = event[1]
        if kind == "request":
            start, fields, body = event[2:5], event[5], b""
        elif kind == "response":
            start, fields, body = event[2:4], event[4], b""
        elif kind == "body":
            body += event[2]
        elif kind == "trailer":
            found.append((start, fields, body, event[2]))
            continue
        informational = kind == "response" and start[0] < 200
        if informational or kind == "done" or (kind in {"request", "response", "body"} and event[-1] is True):
            found.append((start, fields, body, []))
    return found


@dataclass
class Tally:
    """What a run has found."""

    inputs: int = 0
    messages: int = 0
    refused_by_native: int = 0
    upgrades: int = 0
    listed: Counter[str] = field(default_factory=Counter)
    lenient: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.inputs} inputs: {self.messages} messages read alike, {self.refused_by_native} inputs refused by us, "
            f"{self.listed.total()} by llhttp alone for a listed reason, {len(self.faults)} unexplained"
        )


def compare(seed: int, tally: Tally) -> None:
    """One input, made from *seed*, through both."""
    dice = Random(seed)
    of_requests = dice.random() < 0.75
    raw = pipeline(dice) if of_requests else response(dice)
    if dice.random() < 0.6:
        raw = mutated(dice, raw)
    tally.inputs += 1
    run = run_server([raw]) if of_requests else run_client([raw])
    ours = native_reading(run)
    theirs, why = by_llhttp(raw, of_requests=of_requests)
    tally.refused_by_native += bool(run.reasons)
    if why == "upgrade":
        tally.upgrades += 1
        return
    shared = min(len(ours), len(theirs))
    if ours[:shared] != theirs[:shared]:
        tally.faults.append(f"seed {seed}: read differently: {ours[:shared]} and {theirs[:shared]} for {raw!r}")
    elif len(ours) > shared:
        why = why or WAITS
        if why == METHOD or (why in REFUSED_BY_LLHTTP and _TAB.search(raw)):
            tally.listed[why] += 1
        else:
            tally.faults.append(f"seed {seed}: llhttp stops by {why!r} where we read {ours[shared]} in {raw!r}")
    else:
        tally.messages += shared
        if len(theirs) > shared and run.reasons:
            tally.lenient[run.reasons[-1].partition(" b'")[0][:40]] += 1


def report(tally: Tally) -> str:
    """What a run has found, in full."""
    lines = [str(tally)]
    lines += [
        f"  llhttp alone refuses {count:6}  {why}: {REFUSED_BY_LLHTTP[why]}"
        for why, count in tally.listed.most_common()
    ]
    lines += [f"  we alone refuse      {count:6}  {reason}…" for reason, count in tally.lenient.most_common()]
    return "\n".join(lines + tally.faults)


if __name__ == "__main__":
    sys.exit(run_seeds(__doc__, Tally(), compare, report))
