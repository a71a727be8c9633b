"""Floods: what each is made of, what it takes until the connection ends, and what is kept meanwhile.

Stand-alone it prints a table, of which docs/performance.md has the gist::

    python -m tests.http2.floods
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any

from sansio_pingora.machine import AT_ONCE
from tests.http2.peer import (
    ACK,
    GET,
    LARGEST,
    Code,
    Kind,
    Peer,
    Set,
    literal,
    raw,
    request_fields,
)
from tests.http2.runs import LIMITS, Session, is_connection_error
from tests.http2.situations import SITUATIONS

KIB = 1024
MIB = 1024 * KIB


def flood(session: Session, blows: Iterator[bytes], limit: int, *, code: int = Code.ENHANCE_YOUR_CALM) -> int:
    """Blow after blow until the connection ends; how many it took. Time stands still."""
    for taken, blow in enumerate(blows, 1):
        session.deliver(blow)
        if session.over:
            is_connection_error(session, code)
            assert taken <= 2 * limit + 1, f"{taken} where {limit} are allowed"
            return taken
        assert taken <= 2 * limit + 1, f"{taken} and no end where {limit} are allowed"
    raise AssertionError("the flood dried up")


def repeated(make: Callable[[], bytes]) -> Iterator[bytes]:
    while True:
        yield make()


def odd() -> Iterator[int]:
    return count(3, 2)


def grown(play: Callable[[], Any]) -> int:
    """By how many bytes the memory in use grew at most while *play* ran."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        play()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def cancelled(peer: Peer, streams: Iterator[int]) -> Iterator[bytes]:
    for stream in streams:
        yield peer.request(stream) + peer.rst(stream)


def opened(peer: Peer, stream: int, *, end: bool = True) -> bytes:
    return peer.request(stream, "POST", end=end)


PROVOCATIONS: dict[str, Callable[[Peer, int], bytes]] = {
    "window update of 0": lambda p, s: opened(p, s) + raw(Kind.WINDOW_UPDATE, 0, s, bytes(4)),
    "window that overflows": lambda p, s: opened(p, s) + raw(8, 0, s, LARGEST.to_bytes(4, "big")),
    "DATA behind the end": lambda p, s: opened(p, s) + raw(Kind.DATA, 0, s, b"x"),
    "HEADERS behind the end": lambda p, s: opened(p, s) + raw(Kind.HEADERS, 5, s, GET),
    "PRIORITY of 4 bytes": lambda p, s: opened(p, s) + raw(Kind.PRIORITY, 0, s, bytes(4)),
    "a stream that depends on itself": lambda p, s: opened(p, s) + p.priority(s, s),
    "HEADERS that depend on themselves": lambda p, s: p.headers(s, request_fields(), priority=(s, 1, False)),
    "a body too long": lambda p, s: p.request(s, "POST", "/", ("content-length", "1"), end=False) + p.data(s, b"xy"),
    "a body too short": lambda p, s: (
        p.request(s, "POST", "/", ("content-length", "2"), end=False) + p.data(s, b"x", end=True)
    ),
    "no body": lambda p, s: p.headers(s, request_fields("GET", "/", ("content-length", "2"))),
    "a malformed head": lambda p, s: p.headers(s, request_fields("GET", "/", ("X-Upper", "1"))),
    "no path": lambda p, s: p.headers(s, [(":method", "GET"), (":scheme", "http"), (":authority", "a.test")]),
    "malformed trailers": lambda p, s: opened(p, s, end=False) + p.headers(s, [(":path", "/")]),
    "trailers that end nothing": lambda p, s: opened(p, s, end=False) + raw(Kind.HEADERS, 4, s, GET),
    "DATA behind their own reset": lambda p, s: opened(p, s, end=False) + p.rst(s) + raw(Kind.DATA, 0, s, b"x"),
    "empty names": lambda p, s: p.headers(s, block=GET + literal(b"", b"")),
}


SMALL: dict[str, tuple[Callable[[Peer], bytes], int]] = {
    "PING": (lambda p: p.ping(), LIMITS.h2_ping_burst),
    "PING answered without being asked": (lambda p: p.pong(b"unasked!"), LIMITS.h2_max_unasked_acks),
    "SETTINGS": (lambda p: p.set({}), LIMITS.h2_settings_burst),
    "SETTINGS with values": (lambda p: p.set({Set.WINDOW: 1000, Set.TABLE: 0}), LIMITS.h2_settings_burst),
    "SETTINGS acknowledged without being asked": (lambda p: raw(Kind.SETTINGS, ACK), LIMITS.h2_max_unasked_acks),
    "empty DATA": (lambda p: raw(Kind.DATA, 0, 1), LIMITS.h2_max_empty_frames),
    "DATA of padding alone": (lambda p: p.data(1, b"", pad=10), LIMITS.h2_max_empty_frames),
    "PRIORITY": (lambda p: p.priority(1), 2 * LIMITS.h2_max_priority_frames),
    "PRIORITY of idle streams": (lambda p: p.priority(101), 2 * LIMITS.h2_max_priority_frames),
    "WINDOW_UPDATE": (lambda p: p.window_update(0, 1), 5 + 2),
    "WINDOW_UPDATE of a stream": (lambda p: p.window_update(1, 1), 5 + 2),
    "unknown frames": (lambda p: raw(0x99), LIMITS.h2_max_unknown_frames),
    "unknown frames of a stream": (lambda p: raw(0x99, 0, 1, b"x" * 9), LIMITS.h2_max_unknown_frames),
}
OF_CLIENTS: dict[str, tuple[Callable[[Peer], bytes], int]] = {
    "PRIORITY_UPDATE": (lambda p: p.priority_update(1, b"u=1"), 2 * LIMITS.h2_max_priority_frames),
    "PRIORITY_UPDATE of idle streams": (lambda p: p.priority_update(99, b"u=1"), 2 * LIMITS.h2_max_priority_frames),
}


def bomb(peer: Peer, stream: int, times: int) -> bytes:
    """A field of 4,000 bytes put into the table, and *times* its index."""
    name, value = b"x", b"y" * 3900
    block = GET + literal(name, value, first=0x40) + b"\xbe" * times
    return peer.headers(stream, block=block)


# ── the table ────────────────────────────────────────────────────────────────────────

CONTINUATIONS = {"empty CONTINUATION": b"", "CONTINUATION of 16 KB": literal(b"x", bytes(16_000))}


def floods() -> Iterator[tuple[str, str, Iterator[bytes], int]]:
    """Name, the situation that it begins in, its blows, and the documented limit."""
    peer = Peer(watches_server=True)
    yield "rapid reset", "server_idle", cancelled(peer, odd()), LIMITS.h2_reset_burst
    for name, provoke in PROVOCATIONS.items():
        peer = Peer(watches_server=True)
        blows = (provoke(peer, stream) for peer, stream in zip(repeated(lambda peer=peer: peer), odd(), strict=False))
        yield f"made you reset: {name}", "server_idle", blows, LIMITS.h2_reset_burst
    for name, piece in CONTINUATIONS.items():
        frame = raw(Kind.CONTINUATION, 0, 3, piece)
        blows = (frame if number else raw(Kind.HEADERS, 0, 3, GET) for number in count())
        yield name, "server_open", blows, LIMITS.h2_max_continuations
    for name, (make, limit) in (SMALL | OF_CLIENTS).items():
        peer = SITUATIONS["server_open"]().peer
        yield name, "server_open", repeated(lambda peer=peer, make=make: make(peer)), limit
    yield "a bomb of HPACK, 60 MB from 19 KB", "server_idle", repeated(_large_bomb), 1


def _large_bomb() -> bytes:
    block = GET + literal(b"x", b"y" * 3900, first=0x40) + b"\xbe" * 15_000
    return Peer(watches_server=True).headers(1, block=block, pieces=(16_384,))


def endured(situation: str, blows: list[bytes]) -> tuple[int, int]:
    """How many of *blows* a server took, and by how many bytes its memory grew meanwhile at most."""
    machine = SITUATIONS[situation]().machine
    taken = 0

    def play() -> None:
        nonlocal taken
        for blow in blows:
            machine.receive_data(blow, 0.0)
            while machine.deadline == AT_ONCE:
                machine.handle_timeout(0.0)
            machine.data_to_send()
            taken += 1
            if machine.closing or machine.shut_write:
                return

    held = grown(play)
    return taken, held


def main() -> None:
    sys.stdout.write("| flood | limit | ended at | memory, KiB |\n|---|---|---|---|\n")
    for name, situation, blows, limit in floods():
        taken, held = endured(situation, list(islice(blows, 2 * limit + 2)))
        sys.stdout.write(f"| {name} | {limit:,} | {taken:,} | {held / KIB:.0f} |\n")


if __name__ == "__main__":
    main()
