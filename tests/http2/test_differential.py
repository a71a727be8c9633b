"""A small differential run; ``python -m tests.http2.differential`` makes long ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.http2.differences import READ_OTHERWISE
from tests.http2.differential import (
    Said,
    Tally,
    compare,
    described,
    disagreement,
    first_difference,
    read,
    report,
    row_of,
)
from tests.http2.generated import Asked
from tests.http2.peer import ACK, END_HEADERS, END_STREAM, PADDED, PREFACE, PRIORITY_FLAG, Kind, Set, block_of, raw

SEEDS = 800


@pytest.fixture(scope="module")
def tally():
    found = Tally()
    for seed in range(SEEDS):
        compare(seed, found)
    return found


def test_the_engines_agree(tally):
    assert tally.faults == []
    assert tally.inputs == SEEDS


def test_the_inputs_are_worth_it(tally):
    """Not all of them are refused, nor all accepted, and not all disagreements are of one kind."""
    assert tally.accepted > SEEDS // 5
    assert tally.refused > SEEDS // 5
    assert len(tally.listed) > 10


# ── an input for each row, so that a row whose reason has gone is noticed ────────────


class Example(NamedTuple):
    frames: list[bytes]
    asked: list[Asked] | None = None
    limits: dict[str, Any] | None = None
    salt: int = 16
    """By it nothing is answered; by 18 each head is."""


Fields = list[tuple[bytes, bytes]]
BOTH = END_HEADERS | END_STREAM
GREETING = [PREFACE, raw(Kind.SETTINGS), raw(Kind.SETTINGS, ACK)]
PSEUDO = {b":method": b"POST", b":scheme": b"http", b":authority": b"a.test", b":path": b"/"}


def head(fields: Fields, flags: int = BOTH, stream: int = 1) -> bytes:
    return raw(Kind.HEADERS, flags, stream, block_of(fields))


def request(*fields: tuple[bytes, bytes], without: bytes = b"", flags: int = BOTH, stream: int = 1) -> bytes:
    return head([item for item in PSEUDO.items() if item[0] != without] + list(fields), flags, stream)


def to_server(*frames: bytes, **options: Any) -> Example:
    return Example([*GREETING, *frames], **options)


def behind_a_head(*frames: bytes, **options: Any) -> Example:
    return to_server(request(flags=END_HEADERS), *frames, **options)


def to_client(*frames: bytes, asks: int = 1) -> Example:
    return Example([raw(Kind.SETTINGS), raw(Kind.SETTINGS, ACK), *frames], asked=[Asked("GET", True)] * asks)


def response(status: bytes, *fields: tuple[bytes, bytes], flags: int = END_HEADERS) -> bytes:
    return head([(b":status", status), *fields], flags)


def setting(key: int, value: int) -> bytes:
    return raw(Kind.SETTINGS, 0, 0, key.to_bytes(2, "big") + value.to_bytes(4, "big"))


EXAMPLES: dict[str, Example] = {
    "no path": to_server(request(without=b":path")),
    "a pseudo-header field too late": to_server(request((b"x", b"1"), (b":scheme", b"http"), without=b":scheme")),
    "a pseudo-header field in trailers": behind_a_head(head([(b":path", b"/")])),
    "a pseudo-header field twice": to_server(request((b":path", b"/"))),
    "a pseudo-header field of one's own": to_server(request((b":mine", b"1"))),
    "a pseudo-header field of answers": to_server(request((b":status", b"200"))),
    "a newline in a value": to_server(request((b"x", b"a\nb"))),
    "capitals in a name": to_server(request((b"X", b"1"))),
    "no name": to_server(request((b"", b"1"))),
    "a blank before a value": to_server(request((b"x", b" 1"))),
    "a field of the connection": to_server(request((b"connection", b"close"))),
    "an unknown TE": to_server(request((b"te", b"gzip"))),
    "no authority": to_server(request(without=b":authority")),
    "two Hosts": to_server(request((b"host", b"a.test"), (b"host", b"a.test"), without=b":authority")),
    "another Host": to_server(request((b"host", b"b.test"))),
    "another spelling of Host": to_server(request((b"host", b"A.test"))),
    "an empty path": to_server(request((b":path", b""), without=b":path")),
    "CONNECT with a path": to_server(request((b":method", b"CONNECT"), without=b":method")),
    "a length that is none": to_server(request((b"content-length", b"+5"))),
    "a 1xx that ends": to_client(response(b"100", flags=BOTH)),
    "a request with the status of a 1xx": to_server(request((b":status", b"103"), flags=END_HEADERS)),
    "trailers that do not end": behind_a_head(head([(b"x", b"1")], END_HEADERS)),
    "a 1xx behind the answer": to_client(response(b"200"), response(b"103")),
    "SETTINGS_ENABLE_CONNECT_PROTOCOL taken back": to_client(setting(Set.CONNECT, 1), setting(Set.CONNECT, 0)),
    "a body that is too short": to_server(
        request((b"content-length", b"5"), flags=END_HEADERS), raw(Kind.DATA, END_STREAM, 1, b"x")
    ),
    "a length of a 304": to_client(response(b"304", (b"content-length", b"5")), raw(Kind.DATA, END_STREAM, 1)),
    "a stream too many": to_server(request(), request(stream=3), limits={"h2_max_streams": 1}),
    "trailers on a stream that was reset": behind_a_head(
        raw(Kind.RST_STREAM, 0, 1, bytes(4)),
        request(stream=3, flags=END_HEADERS),
        head([(b"x", b"1")]),
        limits={"h2_max_streams": 1},
    ),
    "DATA beyond the window": behind_a_head(raw(Kind.DATA, 0, 1, bytes(11)), limits={"h2_window": 10}),
    "PRIORITY of four bytes": behind_a_head(raw(Kind.PRIORITY, 0, 1, bytes(4))),
    "ALTSVC cut short": to_server(raw(0x0A, 0, 0, b"\x00\x09short")),
    "the reserved bit of an increment": to_server(raw(Kind.WINDOW_UPDATE, 0, 0, b"\x80\x00\x00\x01")),
    "a stream that depends on itself": to_server(
        raw(Kind.HEADERS, BOTH | PRIORITY_FLAG, 1, b"\x00\x00\x00\x01\x0f" + block_of(PSEUDO.items()))
    ),
    "padding that leaves nothing": behind_a_head(raw(Kind.HEADERS, BOTH | PADDED, 1, b"\x01\x00")),
    "PING before SETTINGS": Example([PREFACE, raw(Kind.PING, 0, 0, bytes(8))]),
    "DATA on a stream that has ended": to_server(request(), raw(Kind.DATA, 0, 1, b"x"), salt=18),
    "RST_STREAM on an idle stream": to_server(request(), raw(Kind.RST_STREAM, 0, 99, bytes(4))),
    "PRIORITY_UPDATE on a stream": to_server(request(), raw(Kind.PRIORITY_UPDATE, 0, 1, bytes(4))),
    "PRIORITY_UPDATE of three bytes": to_server(raw(Kind.PRIORITY_UPDATE, 0, 0, bytes(3))),
    "nine CONTINUATION frames": to_server(raw(Kind.HEADERS, 0, 1), *[raw(Kind.CONTINUATION, 0, 1, b"\x82")] * 9),
    "a field that trailers do not have, behind the answer": behind_a_head(head([(b"host", b"a.test")]), salt=18),
    "a head behind a last frame that broke the rules": to_client(
        response(b"204"), raw(Kind.DATA, END_STREAM, 1, b"x"), response(b"200")
    ),
    "half a PUSH_PROMISE": to_client(raw(Kind.PUSH_PROMISE, 0, 1, b"\x00\x00\x00\x02")),
    "a 1xx on a stream that was reset": to_client(response(b"200", (b"a(b", b"1")), response(b"103")),
    "an initial window that would be too much for a stream that is over": to_client(
        raw(Kind.WINDOW_UPDATE, 0, 1, b"\x00\x00\xff\xff"), response(b"200", flags=BOTH), setting(Set.WINDOW, 2**31 - 1)
    ),
    "DATA on a stream that a GOAWAY passed over": to_client(
        raw(Kind.GOAWAY, 0, 0, (1).to_bytes(4, "big") + bytes(4)), raw(Kind.DATA, 0, 3, b"x"), asks=2
    ),
}


def readings(example: Example) -> list[list[Said]]:
    frames, asked, limits, salt = example
    return [read(engine, frames, asked, limits=limits, salt=salt) for engine in ("native", "hyper")]


@pytest.mark.parametrize("name", EXAMPLES)
def test_how_the_engines_part(name):
    parted = first_difference(*readings(EXAMPLES[name]))
    assert parted is not None
    assert row_of(*map(described, parted)), parted


def test_every_row_has_an_example():
    found = {row_of(*map(described, first_difference(*readings(example)))) for example in EXAMPLES.values()}
    assert [row for row in READ_OTHERWISE if row not in found] == []


# ── the comparison sees what it is there for ─────────────────────────────────────────


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([request()], [request((b"x", b"1"))]),
        ([request()], []),
        ([request(flags=END_HEADERS), raw(Kind.DATA, 0, 1, b"x")], [request(flags=END_HEADERS), raw(Kind.DATA, 0, 1, b"y")]),
        ([request()], [request(flags=END_HEADERS)]),
        ([request(stream=3)], [request()]),
        ([request()], [request(), raw(Kind.PING, 0, 5, bytes(8))]),
        ([request(), raw(Kind.RST_STREAM, 0, 1, bytes(4))], [request()]),
    ],
)  # fmt: skip
def test_a_disagreement_is_found(one, other):
    mine, theirs = (read("native", [*GREETING, *frames], None) for frames in (one, other))
    found = Tally()

    assert disagreement(mine, mine, found) is None
    assert disagreement(mine, theirs, found) is not None
    assert found.unlisted.total() == 1


def test_the_report_names_every_row_and_what_is_in_none(tally):
    told = report(tally)

    assert told.startswith(f"{SEEDS} inputs")
    assert all(reason in told for reason in READ_OTHERWISE.values())
    assert "UNLISTED" not in told
    assert "rows never fired" in report(Tally())
