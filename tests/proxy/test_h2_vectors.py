"""The hostile and valid requests of HTTP/2 through a proxy: what reaches an origin of either version.

What a strict reader of HTTP/1 would take for another message must never leave (RFC 9113 section 10.3).
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import hpack
import pytest

from tests.proxy.ends import Message, World

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "h2_requests.json").read_text("utf-8"))["vectors"]
# Refused by a server that has not announced it; ours does (RFC 8441).
ANNOUNCED = {"ext-connect-off"}


def frame(kind: int, flags: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags, 0, 0, 0, 1]) + payload


def raw_request(vector) -> bytes:
    """Without the h2 library, which would refuse to say most of it."""
    encoder = hpack.Encoder()

    def block(pairs):
        return encoder.encode([(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs])

    body = None if vector["body_b64"] is None else base64.b64decode(vector["body_b64"])
    trailers = vector["trailers"]
    out = frame(1, 4 | (body is None and trailers is None), block(vector["headers"]))
    if body is not None:
        out += frame(0, trailers is None, body)
    if trailers is not None:
        out += frame(1, 5, block(trailers))
    return out


def ask(vector, origin: str, *, bytewise: bool):
    world = World(("h2", origin))
    client = world.client
    client.stream = 1
    client.messages[1] = Message()
    # The library is told of a request that it would allow, and what is sent is another.
    head_only = [":method", "HEAD"] in vector["headers"]
    usual = [(":method", "HEAD" if head_only else "GET"), (":authority", "a"), (":scheme", "http"), (":path", "/")]
    client.h2.send_headers(1, usual, end_stream=True)
    client.h2.data_to_send()
    raw = raw_request(vector)
    client.wire.send(*((raw[at : at + 1] for at in range(len(raw))) if bytewise else (raw,)))
    return world


def whole_requests(world) -> list[Message]:
    """What the origins could take for complete, and no byte beside it: :class:`H1Origin` sees to that."""
    if world.pair[1] == "h1":
        return [message for message in (end.request for end in world.origins) if message.state == "whole"]
    world.settle()
    return [message for end in world.origins for message in end.messages.values() if message.state == "whole"]


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("origin", ["h1", "h2"])
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['policy']}-{vector['id']}")
def test_request(vector, origin, bytewise):
    world = ask(vector, origin, bytewise=bytewise)
    requests = whole_requests(world)
    if vector["id"] in ANNOUNCED:
        assert world.client.answer.status in (400, None)
        return
    if vector["policy"] == "reject":
        assert requests == []
        answer = world.client.answer
        assert answer.state == "cut" or answer.status >= 400
        if answer.state == "cut":
            assert answer.code == 1  # PROTOCOL_ERROR
        world.bench.advance(2)
        world.assert_clean()
        return
    if vector["policy"] == "either" and not requests:
        assert world.client.answer.state == "cut" or world.client.answer.status >= 400
        return
    (request,) = requests
    assert_faithful(vector, request, origin)
    world.origin.answer(
        204 if request.start[0] == b"HEAD" else 200, body=None if request.start[0] == b"HEAD" else b"ok"
    )
    assert world.client.answer.status in (200, 204)
    assert world.ended == [None]
    world.assert_clean()


def assert_faithful(vector, request: Message, origin: str) -> None:
    """The origin was told what the client has said, and nothing else."""
    said = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in vector["headers"]]
    pseudo = dict(item for item in said if item[0].startswith(b":"))
    assert request.start == (pseudo[b":method"], pseudo[b":path"])
    body = b"" if vector["body_b64"] is None else base64.b64decode(vector["body_b64"])
    assert request.body == body
    expected: dict[bytes, bytes] = {}
    for name, value in said:
        if name.startswith(b":") or name == b"host" or name == b"te":
            continue
        joint = b"; " if name == b"cookie" else b", "
        expected[name] = expected[name] + joint + value if name in expected else value
    hosts = [value for name, value in said if name in (b":authority", b"host")]
    assert request.fields.pop(b"host") == hosts[0]
    for name in (b"te", b"connection", b"transfer-encoding"):
        request.fields.pop(name, None)
    if b"content-length" not in expected:
        assert request.fields.pop(b"content-length", b"0") == b"0"
    assert request.fields == expected
    trailers = vector["trailers"]
    assert (request.trailers or {}) == {
        name.encode("latin-1"): value.encode("latin-1") for name, value in (trailers or ())
    }
