"""How the network cuts the bytes changes nothing: neither what is told nor what is put out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.testing import cut_everywhere
from sansio_pingora.testing import strategies as pingora
from sansio_pingora.wire import Body, Header, ResponseHeader
from tests.http2.inputs import Op, bytes_of, inputs
from tests.http2.peer import Peer
from tests.http2.runs import Session, ask, make_client, make_server
from tests.http2.situations import SITUATIONS
from tests.http2.test_frames_rfc9113 import SECTION_4, SECTION_5, SECTION_6

TIGHT = {
    "max_body": 20,
    "max_head": 2000,
    "max_fields": 6,
    "max_trailers": 20,
    "h2_reset_burst": 3,
    "h2_max_streams": 2,
}
LIMITS = st.sampled_from([{}, TIGHT])


def joined(events: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Adjacent bodies of a stream in one."""
    result: list[tuple[Any, ...]] = []
    for event in events:
        last = result[-1] if result else None
        if last and event[1] in {"body", "raw"} and last[:2] == event[:2] and not last[3]:
            result[-1] = (*event[:2], last[2] + event[2], event[3])
        else:
            result.append(event)
    return result


def outcome(session: Session, pieces: Iterable[bytes], *, answers: bool = True) -> tuple[Any, ...]:
    """Everything that may depend on the input; the application answers when all of it has come."""
    for piece in filter(None, pieces):
        session.take(session.machine.receive_data(piece, 0.0))
    if answers and not session.over:
        for stream in {event[0]: None for event in session.events if event[1] == "request"}:
            session.machine.send(stream, Header(ResponseHeader(200), False), 0.0)
            session.machine.send(stream, Body(b"ok", True), 0.0)
        session.settle()
    machine = session.machine
    return joined(session.events), session.out, session.over, machine.closing, machine.active


def sent(ops: list[Op], *, server: bool) -> bytes:
    peer = Peer(watches_server=server)
    peer.hello()
    return b"".join(bytes_of(peer, op) for op in ops)


def listening_server(limits: dict[str, Any]) -> Session:
    """One that is not watched: what it answers is compared, and proved elsewhere."""
    session = make_server(consumes=False, **limits)
    session.peer.read = lambda _: []
    return session


def asking_client() -> Session:
    session = make_client(consumes=False)
    ask(session)
    ask(session, "POST", end=False)
    ask(session, "HEAD")
    session.peer.read = lambda _: []
    return session


@given(inputs(server=True), pingora.cuts(), LIMITS)
def test_towards_a_server(ops, cuts, limits):
    raw = sent(ops, server=True)

    assert outcome(listening_server(limits), cuts(raw)) == outcome(listening_server(limits), [raw])


@given(inputs(server=False), pingora.cuts())
def test_towards_a_client(ops, cuts):
    raw = sent(ops, server=False)

    assert outcome(asking_client(), cuts(raw)) == outcome(asking_client(), [raw])


@given(st.binary(max_size=100), pingora.cuts(), st.booleans())
def test_noise(noise, cuts, greeted):
    def server() -> Session:
        session = make_server(greet=greeted)
        session.peer.read = lambda _: []
        return session

    assert outcome(server(), cuts(noise), answers=False) == outcome(server(), [noise], answers=False)


@given(inputs(server=True, garbage=False), st.integers(0, 2**16), st.integers(0, 255), pingora.cuts())
def test_a_byte_that_is_flipped(ops, at, byte, cuts):
    raw = bytearray(sent(ops, server=True))
    if raw:
        raw[at % len(raw)] ^= byte
    raw = bytes(raw)

    assert outcome(listening_server({}), cuts(raw)) == outcome(listening_server({}), [raw])


WHOLE = [
    ("request", 1, "POST", [("x-a", "1")], [3, 4], False),
    ("data", 1, 5, False, 3),
    ("ping", b"12345678"),
    ("request", 3, "GET", [("X-Upper", "1")], [], True),
    ("trailers", 1, [("x-b", "2")], [1]),
    ("set", {}),
    ("request", 5, "HEAD", [], [], True),
    ("rst", 5),
]


def test_every_cut_of_a_connection():
    raw = Peer(watches_server=True).hello() + sent(WHOLE, server=True)

    def server() -> Session:
        session = make_server(greet=False)
        session.peer.read = lambda _: []
        return session

    expected = outcome(server(), [raw])
    assert [event[1] for event in expected[0]] == ["request", "body", "failed", "trailer", "request", "failed"]
    for pieces in cut_everywhere(raw):
        assert outcome(server(), pieces) == expected


@pytest.mark.parametrize(
    ("situation", "make"),
    [pytest.param(*param.values[:2], id=param.id) for param in SECTION_4 + SECTION_5 + SECTION_6],
)
def test_every_case_of_the_rfc_in_single_bytes(situation, make):
    whole, bytewise = SITUATIONS[situation](), SITUATIONS[situation]()
    raw, again = make(whole.peer), make(bytewise.peer)
    assert raw == again
    if len(raw) > 2000:
        pieces = [raw[:9], raw[9:10], raw[10:-1], raw[-1:]]
    else:
        pieces = [raw[at : at + 1] for at in range(len(raw))]
    for session in (whole, bytewise):
        session.peer.read = lambda _: []

    assert outcome(whole, [raw], answers=False) == outcome(bytewise, pieces, answers=False)
