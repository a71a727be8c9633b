"""Targets over HTTP/1: the bytes of a connection, as its peer sends them."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from random import Random
from zlib import crc32

from fuzz.target import Target
from sansio_pingora.testing.known_bad import KNOWN_BAD
from sansio_pingora.wire import RequestHeader
from tests.http1.differential import Tally, disagreement
from tests.http1.generated import pipeline, response
from tests.http1.runs import Run, at_random, merged, read_chunks, read_responses, run_client, run_server, whole

__all__ = ["TARGETS"]

_VECTORS = Path(__file__).parents[2] / "tests" / "vectors"
_CHUNKED_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
_METHODS = ("GET", "GET", "HEAD", "CONNECT")

WORDS = (
    *b"\r\n|\n|: |:|\t|GET / HTTP/1.1\r\n|POST|HEAD|CONNECT a:80|OPTIONS *|http://a.test/|https://| HTTP/1.0".split(
        b"|"
    ),
    *b"Host: a\r\n|Content-Length: |Transfer-Encoding: chunked\r\n|Connection: |close|keep-alive|upgrade".split(b"|"),
    *b"Upgrade: websocket\r\n|Upgrade: h2c\r\n|Expect: 100-continue\r\n|TE: trailers|Trailer: |gzip, chunked".split(
        b"|"
    ),
    *b'0\r\n\r\n|5\r\nhello\r\n|;a="b"|HTTP/1.1 200 OK\r\n|HTTP/1.1 100 Continue\r\n\r\n|HTTP/1.1 204 \r\n'.split(b"|"),
    *b"HTTP/1.1 101 Switching Protocols\r\n|HTTP/1.0 304 Not\r\n|[::1]|%00|\x0b|\x7f|PRI * HTTP/2.0\r\n\r\n".split(
        b"|"
    ),
)


def vectors(name: str) -> list[bytes]:
    """The messages of a file of vectors."""
    return [b64decode(vector["b64"]) for vector in json.loads((_VECTORS / name).read_text())["vectors"]]


def _requests() -> list[bytes]:
    return [*(pipeline(Random(seed)) for seed in range(60)), *KNOWN_BAD.values(), *vectors("h1_requests.json")]


def _responses() -> list[bytes]:
    return [*(response(Random(seed)) for seed in range(60)), *vectors("h1_responses.json")]


def _facts(data: bytes) -> tuple[int, bool]:
    """A seed for the cuts, and whether the peer ends its side: both follow from the bytes, which stay as they are."""
    seed = crc32(data)
    return seed, seed % 3 == 0


def server(data: bytes) -> None:
    """Any bytes, however cut, tell a server the same requests; what it puts out is the same, and answers, each whole."""
    seed, eof = _facts(data)
    one = run_server(whole(data), eof=eof)
    other = run_server(at_random(data, seed), eof=eof)
    assert (one.events, one.out) == (other.events, other.out)
    read_responses(one.out, [event[2].decode() for event in one.events if event[1] == "request"])


def client(data: bytes) -> None:
    """Any bytes, however cut, tell a client the same answer, and it has one end at most."""
    seed, eof = _facts(data)
    method = _METHODS[seed // 3 % 4]
    request = RequestHeader(method, "a.test:80" if method == "CONNECT" else "/", [("Host", "a.test")])
    one = run_client(whole(data), request=request, eof=eof)
    other = run_client(at_random(data, seed), request=request, eof=eof)
    assert one.events == other.events
    assert len([event for event in one.events if event[1] in {"failed", "done"} or event[-1] is True]) <= 1


def chunked(data: bytes) -> None:
    """A chunked body that is taken is the one that a plain reader finds, and what is behind it begins where that says."""
    one = run_server(whole(_CHUNKED_HEAD + data))
    other = run_server(at_random(_CHUNKED_HEAD + data, crc32(data)))
    assert (one.events, one.out) == (other.events, other.out)
    if one.seen:
        body, rest = read_chunks(data)
        assert one.seen[0][2].encode("latin-1") == body
        assert merged(run_server(whole(rest)).events) == _shifted(one)


def _shifted(run: Run) -> list[tuple[object, ...]]:
    """The events behind the first request, numbered as if there had been none before."""
    behind = [event for event in run.events if event[0] != 1]
    return [(event[0] - 1 if event[0] else 0, *event[1:]) for event in behind]


def engines(data: bytes) -> None:
    """What the native engine takes, h11 reads alike; where one of them alone refuses, the reason is in the table."""
    seed, eof = _facts(data)
    run = run_client if data.startswith(b"HTTP/") else run_server
    native, reference = (run(at_random(data, seed), engine=engine, eof=eof) for engine in ("native", "hyper"))
    fault = disagreement(native, reference, Tally())
    assert fault is None, f"{fault}\n  native    {native.events}\n  reference {reference.events}"


TARGETS = (
    Target("http1-server", server, _requests, WORDS),
    Target("http1-client", client, _responses, WORDS),
    Target(
        "http1-chunked",
        chunked,
        lambda: [raw.partition(b"\r\n\r\n")[2] for raw in _requests() if b"hunked" in raw],
        WORDS,
    ),
    Target("http1-engines", engines, lambda: _requests() + _responses(), WORDS),
)
