"""Whatever a peer may send, legal or not, as data: so that it can be drawn, cut, and sent to either role."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.http2.peer import END_STREAM, LARGEST, Kind, Peer, Set, raw, request_fields

Op = tuple[Any, ...]

STREAMS = st.sampled_from([1, 3, 5, 7, 9, 3, 5])
FIELDS = st.lists(
    st.sampled_from(
        [
            ("x-a", "1"),
            ("x-b", "2"),
            ("cookie", "a=b"),
            ("content-length", "5"),
            ("content-length", "0"),
            ("te", "trailers"),
            ("priority", "u=1, i"),
            ("X-Upper", "1"),
            ("connection", "close"),
            ("x-long", "y" * 3000),
            ("expect", "100-continue"),
        ]
    ),
    max_size=3,
)
PIECES = st.lists(st.integers(0, 20), max_size=3)
SIZES = st.sampled_from([0, 0, 1, 5, 100, 4000, 16_384])
PADS = st.none() | st.integers(0, 255)
SETTINGS = st.dictionaries(
    st.sampled_from([Set.WINDOW, Set.FRAME, Set.TABLE, Set.STREAMS, Set.LIST, 0x55]),
    st.sampled_from([0, 1, 100, 16_384, 65_535, 2**20, LARGEST, LARGEST + 1]),
    max_size=3,
)
INCREMENTS = st.sampled_from([1, 10, 65_535, LARGEST])

COMMON = [
    st.tuples(st.just("data"), STREAMS, SIZES, st.booleans(), PADS),
    st.tuples(st.just("data"), STREAMS, SIZES, st.booleans(), PADS),
    st.tuples(st.just("trailers"), STREAMS, FIELDS, PIECES),
    st.tuples(st.just("rst"), STREAMS),
    st.tuples(st.just("window_update"), st.just(0) | STREAMS, INCREMENTS),
    st.tuples(st.just("ping"), st.binary(min_size=8, max_size=8)),
    st.tuples(st.just("set"), SETTINGS),
    st.tuples(st.just("priority"), STREAMS, STREAMS),
    st.tuples(st.just("leave"), st.just(0) | STREAMS),
    st.tuples(st.just("unknown"), st.just(0) | STREAMS, st.binary(max_size=20)),
]
REQUESTS = [
    st.tuples(st.just("request"), STREAMS, st.sampled_from(["GET", "POST", "HEAD"]), FIELDS, PIECES, st.booleans()),
    st.tuples(
        st.just("request"), STREAMS, st.sampled_from(["GET", "POST", "HEAD"]), st.just([]), PIECES, st.booleans()
    ),
    st.tuples(st.just("priority_update"), STREAMS, st.sampled_from([b"u=0", b"i", b"?", b""])),
]
RESPONSES = [
    st.tuples(st.just("response"), STREAMS, st.sampled_from([200, 204, 304, 103, 100]), FIELDS, PIECES, st.booleans()),
    st.tuples(st.just("response"), STREAMS, st.just(200), st.just([]), PIECES, st.booleans()),
]
# Of those that change windows or open streams only forms that can never be taken, so that the peer's books stay right.
GARBAGE = [
    st.tuples(
        st.just("raw"),
        st.sampled_from([Kind.DATA, Kind.PRIORITY, Kind.PING, Kind.GOAWAY, Kind.CONTINUATION, Kind.PUSH_PROMISE]),
        st.integers(0, 255),
        st.integers(0, 11),
        st.binary(max_size=12).filter(lambda payload: len(payload) != 8),  # no PING that is answered
    ),
    st.tuples(
        st.just("raw"),
        st.sampled_from([Kind.RST_STREAM, Kind.SETTINGS, Kind.WINDOW_UPDATE]),
        st.integers(0, 255),
        st.integers(0, 11),
        st.binary(min_size=5, max_size=5),
    ),
    st.tuples(st.just("block"), STREAMS, st.binary(max_size=12)),
]


def inputs(*, server: bool, garbage: bool = True) -> st.SearchStrategy[list[Op]]:
    """What a server, or a client, may be sent."""
    kinds = [*COMMON, *(REQUESTS * 2 if server else RESPONSES * 2)]
    return st.lists(st.one_of([*kinds, *GARBAGE] if garbage else kinds), max_size=12)


def _data(peer: Peer, op: Op) -> bytes:
    _, stream, size, end, pad = op
    size = min(size, 16_384 - (0 if pad is None else pad + 1))
    return peer.data(stream, bytes(size), end=end, pad=pad)


def _raw(peer: Peer, op: Op) -> bytes:
    _, kind, flags, stream, payload = op
    if kind == Kind.DATA:
        peer.spend(stream, len(payload), end=bool(flags & END_STREAM))
    return raw(kind, flags, stream, payload)


def _window_update(peer: Peer, op: Op) -> bytes:
    return peer.window_update(op[1], op[2])


_MAKES: dict[str, Callable[[Peer, Op], bytes]] = {
    "data": _data,
    "trailers": lambda peer, op: peer.headers(op[1], op[2], pieces=op[3]),
    "rst": lambda peer, op: peer.rst(op[1]),
    "window_update": _window_update,
    "ping": lambda peer, op: peer.ping(op[1]),
    "set": lambda peer, op: peer.set(op[1]),
    "priority": lambda peer, op: peer.priority(op[1], op[2]),
    "leave": lambda peer, op: peer.leave(op[1]),
    "unknown": lambda peer, op: raw(0x77, 0, op[1], op[2]),
    "request": lambda peer, op: peer.headers(op[1], request_fields(op[2], "/", *op[3]), pieces=op[4], end=op[5]),
    "response": lambda peer, op: peer.headers(op[1], [(":status", str(op[2])), *op[3]], pieces=op[4], end=op[5]),
    "priority_update": lambda peer, op: peer.priority_update(op[1], op[2]),
    "raw": _raw,
    "block": lambda peer, op: peer.headers(op[1], block=op[2]),
}


def bytes_of(peer: Peer, op: Op) -> bytes:
    """The bytes of *op*, as *peer* would send them now."""
    return _MAKES[op[0]](peer, op)
