"""The hostile and valid messages through a proxy: what reaches the origin, and what a client gets of an origin's."""

from __future__ import annotations

import base64
import json
import random
import re
from pathlib import Path

import pytest

from tests.proxy.harness import GET, OK, App, Bench, dechunk, head_of

VECTORS = Path(__file__).parents[1] / "vectors"
CUTS = ["whole", "bytewise", "random"]


def load(name):
    return json.loads((VECTORS / name).read_text("utf-8"))["vectors"]


def cut(raw, how):
    if how == "whole":
        return [raw]
    if how == "bytewise":
        return [raw[at : at + 1] for at in range(len(raw))]
    dice = random.Random(len(raw))
    pieces = []
    while raw:
        size = dice.randint(1, 9)
        pieces.append(raw[:size])
        raw = raw[size:]
    return pieces


class Origin:
    """Answers each request that it understands, and is strict about it."""

    def __init__(self, wire):
        self.wire = wire
        self.seen = []

    def step(self):
        data = bytes(self.wire.got)
        head, blank, rest = data.partition(b"\r\n\r\n")
        if not blank:
            return False
        start, fields, _ = head_of(data)
        method, target, version = start.split(b" ")
        assert version == b"HTTP/1.1"
        names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]]
        assert names.count(b"host") == 1, head
        assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1, head
        assert not {b"keep-alive", b"proxy-connection"} & set(names)
        if b"transfer-encoding" in fields:
            assert fields[b"transfer-encoding"] == b"chunked"
            try:
                body, rest = dechunk(rest)
            except ValueError:
                return False  # the rest of it has not come
            _, blank, rest = (b"\r\n" + rest).partition(b"\r\n\r\n")
            assert blank
        else:
            length = fields.get(b"content-length", b"0")
            assert length.isdigit()
            if len(rest) < int(length):
                return False
            body, rest = rest[: int(length)], rest[int(length) :]
        self.wire.got[:] = rest
        self.seen.append([method.decode(), target.decode(), body.decode("latin-1")])
        self.wire.send(b"HTTP/1.1 204 No Content\r\n\r\n" if method == b"HEAD" else OK)
        return True


def serve(bench, origins):
    """Let the origins answer until nothing is left to answer."""
    moved = True
    while moved:
        while len(origins) < len(bench.origins):
            origins.append(Origin(bench.origins[len(origins)]))
        moved = sum(origin.step() for origin in origins if origin.wire.alive) > 0


def through_the_proxy(raw, how):
    bench = Bench(App())
    client = bench.client()
    origins = []
    for piece in cut(raw, how):
        client.send(piece)
        serve(bench, origins)
    return bench, client, origins


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("vector", load("h1_requests.json"), ids=lambda vector: f"{vector['policy']}-{vector['id']}")
def test_request(vector, how):
    raw = base64.b64decode(vector["b64"])
    bench, client, origins = through_the_proxy(raw, how)
    seen = [request for origin in origins for request in origin.seen]
    for request, wanted in zip(seen, vector["seen"] or [], strict=False):
        if wanted[2] is None:  # whatever its body is
            request[2] = None
    got = bytes(client.got)
    statuses = [int(digits) for digits in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", got)]
    refused = any(400 <= status < 600 for status in statuses) or (client.closed and not seen)
    if vector["policy"] == "reject":
        # Requests of the same connection before the bad one are served; the bad one reaches nobody whole.
        assert seen == (vector["seen"] or [])[: len(seen)]
        if vector["stage"] != "wait":
            assert refused, (statuses, seen)
        if refused:
            assert not client.alive or client.seen_eof, "the connection is not reused"
    elif vector["policy"] == "accept":
        assert seen == vector["seen"]
        assert not any(status >= 400 for status in statuses)
        assert len([status for status in statuses if status >= 200]) == len(seen)
    elif not refused:
        assert seen == vector["seen"]
    else:
        assert seen == (vector["seen"] or [])[: len(seen)]
    client.eof()
    for wire in bench.origins:
        if wire.alive and not wire.connection.reusable:
            wire.eof()
    bench.advance(200)
    assert not client.alive
    assert len(bench.app.ended) == len(bench.exchanges) + sum(
        session.req_header is None for session, _ in bench.app.ended
    )
    bench.assert_clean()


@pytest.mark.parametrize(
    "vector",
    [vector for vector in load("h1_requests.json") if vector["policy"] == "reject"],
    ids=lambda vector: vector["id"],
)
def test_a_refused_request_looks_the_same_however_it_is_cut(vector):
    raw = base64.b64decode(vector["b64"])
    answers = set()
    for how in CUTS:
        _, client, origins = through_the_proxy(raw, how)
        client.eof()
        answers.add((bytes(client.got), tuple(map(str, (seen for origin in origins for seen in origin.seen)))))
    assert len(answers) == 1


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("vector", load("h1_responses.json"), ids=lambda vector: f"{vector['policy']}-{vector['id']}")
def test_response(vector, how):
    raw = base64.b64decode(vector["b64"])
    bench = Bench(App())
    client = bench.client()
    head_only = vector["id"] == "ok-head-cl"
    client.send(GET.replace(b"GET", b"HEAD") if head_only else GET)
    origin = bench.origin
    for piece in cut(raw, how):
        if origin.alive:
            origin.send(piece)
    if origin.alive and vector["half_close"]:
        origin.eof()
    got = client.take()
    start, fields, rest = head_of(got) if got else (b"", {}, b"")
    while start.startswith(b"HTTP/1.1 1") and rest:
        start, fields, rest = head_of(rest)
    status = int(start[9:12]) if start else None
    if head_only or status in (204, 304):
        whole = not rest
    elif b"content-length" in fields:
        whole = len(rest) == int(fields[b"content-length"])
    elif b"transfer-encoding" in fields:
        whole = rest.endswith(b"0\r\n\r\n")
    else:
        whole = False
    cut_off = bool(client.closed) and not whole
    if vector["policy"] == "reject":
        assert status == 502 or cut_off
        assert not origin.alive
    elif vector["policy"] == "accept":
        assert status is not None
        assert status != 502
        assert whole
    else:
        waiting = origin.alive and not origin.connection.reusable
        assert status == 502 or cut_off or whole or waiting
        if waiting:
            origin.eof()
    # Whatever it was, a second client never gets a byte of it.
    other = bench.client()
    other.send(GET)
    bench.origin.take()
    bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")
    assert head_of(other.take())[2] == b"second"
    if bench.origin is origin:
        assert vector["policy"] != "reject"
    bench.assert_clean()


@pytest.mark.parametrize(
    ("oversized", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"a" * (1 << 20)), 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"X: y\r\n" * 2_000), 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"X: y\r\n" * 20_000), 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n%b: y\r\n\r\n" % (b"n" * 65_536), 431),
        (b"\r\n" * 51_200 + GET, 400),
        (b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"t" * 102_400), 414),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;%b\r\nhello\r\n0\r\n\r\n"
            % (b"e" * 65_536),
            400,
        ),
    ],
    ids=["field_line", "2000_fields", "20000_fields", "field_name", "leading_crlf", "target", "chunk_extension"],
)
@pytest.mark.parametrize("piece", [65_536, 1_000])
def test_oversized_requests(oversized, status, piece):
    bench = Bench(App())
    client = bench.client()
    for at in range(0, len(oversized), piece):
        client.send(oversized[at : at + piece])
        assert client.connection.held < 200_000
    got = client.take()
    assert int(got[9:12]) == status
    assert all(b"0\r\n\r\n" not in wire.got for wire in bench.origins)
    client.eof()
    bench.advance(5)
    assert not client.alive
    bench.assert_clean()
