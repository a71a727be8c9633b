"""Targets over HTTP/2: raw bytes, sequences of frames, and HPACK."""

from __future__ import annotations

from random import Random
from typing import Any
from zlib import crc32

import hpack

from fuzz.target import Target
from sansio_pingora.http2 import PREFACE
from sansio_pingora.http2.hpack import Decoder, Encoder, HpackFault
from tests.http2.differential import Tally, by_stream, disagreement, read
from tests.http2.generated import Asked, conversation, cut, mutated, split

__all__ = ["TARGETS"]

_CEILING = 4_096
_ASKED = [Asked("GET", True), Asked("POST", False), Asked("HEAD", True), Asked("CONNECT", False)]
_LIMITS: tuple[dict[str, Any], ...] = (
    {},
    {"max_fields": 6, "max_head": 2_000, "max_trailers": 20, "h2_max_streams": 2, "max_body": 40},
)

WORDS = (
    PREFACE,
    *(bytes((0, 0, size, kind, flags, 0, 0, 0, 1)) for kind in range(10) for size, flags in ((0, 0), (4, 1), (8, 4))),
    bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)),
    bytes((0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0)),
    bytes((0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF)),
    b"\x82\x86\x84\x41\x06a.test",
    b"\x88",
    b"\x3f\xe1\x1f",
    b"\x20",
)


def _frames(dice: Random, data: bytes) -> bytes:
    """One to three frames changed, their lengths kept true mostly."""
    frames = split(data, client=True)
    return b"".join(mutated(dice, frames)) if frames else data


def _conversations(*, client: bool) -> list[bytes]:
    return [b"".join(conversation(Random(seed), client=client)[1]) for seed in range(60)]


def _cutting(data: bytes, asked: list[Asked] | None) -> None:
    """What is told of each stream does not depend on the cuts."""
    seed = crc32(data)
    limits = _LIMITS[seed % 2]
    whole = by_stream(read("native", [data] if data else [], asked, limits=limits, answers=False))
    pieces = by_stream(read("native", cut(Random(seed), data), asked, limits=limits, answers=False))
    assert whole == pieces
    # Answered, by what its seed says: nothing may be raised, and what goes out can be read.
    read("native", split(data, client=asked is None), asked, limits=limits, salt=seed % 24)


def server(data: bytes) -> None:
    """Any bytes, however cut, tell a server the same of each stream; it answers in blocks that hpack can read."""
    _cutting(data, None)


def client(data: bytes) -> None:
    """Any bytes, however cut, tell a client the same of each stream."""
    _cutting(data, _ASKED)


def engines(data: bytes) -> None:
    """What both engines accept they read alike, frame by frame; every other disagreement is in the table."""
    asked = None if data.startswith(PREFACE[:8]) else _ASKED
    seed = crc32(data)
    pieces = split(data, client=asked is None)
    native, reference = (
        read(engine, pieces, asked, limits=_LIMITS[seed % 2], salt=seed % 24, answers=seed % 3 > 0)
        for engine in ("native", "hyper")
    )
    fault = disagreement(native, reference, Tally())
    assert fault is None, fault


def decoder(data: bytes) -> None:
    """Any blocks are to our decoder what they are to hpack's: the same fields, or a fault; and what we read we can write."""
    ours, theirs = Decoder(), hpack.Decoder(4 * _CEILING)
    for block in data.split(b"\xff\x00\xff"):  # several blocks over one table
        try:
            expected = [(bytes(name), bytes(value)) for name, value in theirs.decode(block, raw=True)]
        except (hpack.HPACKError, hpack.exceptions.HPACKError):
            expected = None
        try:
            found = ours.decode(block, _CEILING)
        except HpackFault as fault:
            assert expected is None or _stricter(fault), f"{fault}: hpack reads {expected}"
            return
        assert expected is not None or found.truncated or _laxer(block), f"hpack refuses what we read as {found}"
        if expected is None:
            return
        if not found.truncated:
            assert found.items == expected
            again = Decoder().decode(Encoder().encode(found.items), 4 * _CEILING)
            assert again.items == [(name.lower(), value) for name, value in expected]


def _stricter(fault: HpackFault) -> bool:
    """What we refuse and hpack takes, by RFC 7541: more than two size updates (4.2), long integers, much too large."""
    text = str(fault)
    return any(words in text for words in ("table size update", "an integer of", "where 4096 are allowed", "a table"))


def _laxer(_block: bytes) -> bool:
    return False


TARGETS = (
    Target("http2-server", server, lambda: _conversations(client=True), WORDS, _frames),
    Target("http2-client", client, lambda: _conversations(client=False), WORDS, _frames),
    Target(
        "http2-engines",
        engines,
        lambda: _conversations(client=True) + _conversations(client=False),
        WORDS,
        _frames,
        replays=False,  # a new version of h2 may differ in new ways
    ),
    Target(
        "hpack-decoder",
        decoder,
        lambda: [
            Encoder().encode([(b":method", b"GET"), (b"x-a", b"b" * 40), (b"cookie", b"secret")]),
            hpack.Encoder().encode([(b":status", b"200"), (b"etag", b'"x"')], huffman=True),
            b"\x3f\xe1\x1f\x20\x82\x86\x84",
            b"\x40\x01a\x01b\xff\x00\xff\xbe",
        ],
        WORDS,
    ),
)
