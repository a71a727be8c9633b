"""The collected hostile and valid requests get the verdict that is demanded."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.http2.peer import Code, block_of
from tests.http2.runs import Session, answer, is_refused, make_server

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "h2_requests.json"
# What they are said to be holds for a server that has not announced it; ours always does (RFC 8441).
ANNOUNCED = {"ext-connect-off"}


def load() -> list[Any]:
    vectors = json.loads(VECTORS.read_text("utf-8"))["vectors"]
    return [pytest.param(vector, id=vector["id"]) for vector in vectors]


def fields_of(pairs: list[list[str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


def play(vector: dict[str, Any], *, cut: bool, plain: bool) -> Session:
    """Deliver the request, in one read or in single bytes; *plain*: without Huffman codes and the table."""
    session = make_server()
    peer = session.peer
    fields = fields_of(vector["headers"])
    body = None if vector["body_b64"] is None else base64.b64decode(vector["body_b64"])
    block = block_of(fields) if plain else None
    raw = peer.headers(1, fields, block=block, end=body is None and vector["trailers"] is None)
    if body is not None:
        raw += peer.data(1, body, end=vector["trailers"] is None)
    if vector["trailers"] is not None:
        raw += peer.headers(1, fields_of(vector["trailers"]))
    if not cut:
        session.deliver(raw)
    for at in range(len(raw) if cut else 0):
        session.deliver(raw[at : at + 1])
    return session


@pytest.mark.parametrize("plain", [True, False], ids=["literal", "compressed"])
@pytest.mark.parametrize("vector", load())
def test_request(vector, plain):
    whole, bytewise = (play(vector, cut=cut, plain=plain) for cut in (False, True))

    assert whole.events == bytewise.events
    assert whole.out == bytewise.out
    verdict(vector, whole)


def verdict(vector: dict[str, Any], session: Session) -> None:
    if vector["id"] in ANNOUNCED:
        assert session.of(1)[0][:4] == (1, "request", b"CONNECT", b"/")
        assert session.raw[0][1].head.protocol == b"websocket"
        return
    policy = vector["policy"]
    complete = session.ends(1) == 1 and session.failure(1) is None
    if policy == "reject" or (policy == "either" and not complete):
        assert not session.ends(1), "the application never sees it whole"
        assert session.failure(1) is not None
        if not [event for event in session.of(1) if event[1] == "request"]:
            is_refused(session, 1, Code.PROTOCOL_ERROR)
        else:  # found out in its body: nobody may take what came for all of it
            assert session.peer.streams[1].theirs_reset
            session.useful()
        return
    assert complete
    given = dict(fields_of(vector["headers"]))
    seen = session.of(1)
    assert seen[0][1:4] == ("request", given[b":method"], given[b":path"])
    assert seen[0][4][0] == (b"host", given[b":authority"])
    assert session.body(1) == base64.b64decode(vector["body_b64"] or "")
    if vector["trailers"]:
        assert seen[-1] == (1, "trailer", fields_of(vector["trailers"]))
    answer(session, 1)
    assert session.status(1) == b"200"
    session.useful()


def test_every_verdict_is_met():
    """The file holds what the tests take for granted."""
    assert {param.values[0]["policy"] for param in load()} == {"reject", "either", "accept"}
