"""The page about modules: its blocks run, and it names every method and option."""

from __future__ import annotations

import gzip
import inspect

import pytest

from sansio_pingora.modules import GrpcWebBridge, HttpModule, ResponseCompression
from sansio_pingora.proxy import HttpProxy
from sansio_pingora.upstreams import ALPN
from tests.apps.bench import get, http
from tests.pages import blocks, page, run_blocks
from tests.proxy.harness import Bench, dechunk, head_of, status_of

PAGE = page("modules.md")
BLOCKS = blocks(PAGE)


@pytest.fixture(scope="module")
def names():
    return run_blocks("modules.md", BLOCKS)


def test_modules_of_ones_own(names):
    bench = Bench(names["Edge"]())
    client = bench.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert status_of(client.take()) == 403
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Key: secret\r\nAccept-Encoding: gzip\r\n\r\n")
    assert b"X-Key" not in bench.origin.take()
    bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + b"x" * 100)
    _, fields, body = head_of(client.take())
    assert fields[b"x-user"] == b"alice"
    assert gzip.decompress(dechunk(body)[0]) == b"x" * 100
    bench.assert_clean()


def test_before_a_handler(names):
    bench = http(names["app"])
    bench.receive(get("/", "Accept-Encoding: gzip"))
    _, fields, body = head_of(bench.out)
    assert fields[b"content-encoding"] == b"gzip"
    assert gzip.decompress(dechunk(body)[0]) == b"so much to say " * 1000


def test_parts_of_files(names):
    bench = Bench(names["Files"]())
    client = bench.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\n\r\n")
    bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    assert head_of(client.take())[2] == b"el"


def test_grpc(names):
    table = HttpProxy(names["Grpc"]())._filters
    assert type(table.downstream_modules.build_ctx().modules[0]) is GrpcWebBridge
    assert names["Grpc"]().upstream_peer(None, None).options.alpn is ALPN.H2


def test_every_method_and_option_is_there():
    for name in vars(HttpModule):
        if not name.startswith("_") and name != "order":
            assert f"`{name}(" in PAGE
    for name in inspect.signature(ResponseCompression).parameters:
        assert f"| `{name}` |" in PAGE
    for name in vars(ResponseCompression):
        if name.startswith(("adjust_", "get_")):
            assert f"`{name}`" in PAGE
