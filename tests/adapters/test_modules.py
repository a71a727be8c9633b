"""Modules over real sockets: streams that are compressed as they come, and bombs."""

from __future__ import annotations

import gzip
import zlib
from functools import partial

import pytest

from sansio_pingora.modules import RangeRequests, ResponseCompression
from tests.adapters.harness import PATIENCE, To, client, origin, served, until

EVENTS = 20
TEXT = b"the quick brown fox jumps over the lazy dog. " * 200


class Moduled(To):
    def init_downstream_modules(self, modules):
        modules.add_module(partial(ResponseCompression, decompress=True, codings=["gzip", "deflate"]))
        modules.add_module(RangeRequests)


def asking(peer, fields):
    peer.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n%b\r\n" % fields)


def test_events_arrive_one_by_one(runtime):
    """Each event is sent when the one before it has been read: none may wait for another."""
    import threading

    read = threading.Semaphore(0)

    def script(peer):
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(EVENTS):
            event = b"data: event number %d\n\n" % number
            peer.send(b"%x\r\n%b\r\n" % (len(event), event))
            assert read.acquire(timeout=PATIENCE)
        peer.send(b"0\r\n\r\n")
        peer.over.wait(PATIENCE)

    with origin(script) as upstream, served(Moduled(upstream.peer), runtime) as server, client(server.address) as peer:
        asking(peer, b"Accept-Encoding: gzip\r\n")
        _, fields = peer.head()
        assert fields[b"content-encoding"] == b"gzip"
        decoder = zlib.decompressobj(31)
        for number in range(EVENTS):
            size = int(peer.upto(b"\r\n"), 16)
            assert decoder.decompress(peer.take(size + 2)[:-2]) == b"data: event number %d\n\n" % number
            read.release()
        size = int(peer.upto(b"\r\n"), 16)
        assert decoder.decompress(peer.take(size + 2)[:-2]) == b""
        assert decoder.eof
        assert peer.upto(b"\r\n\r\n") == b"0\r\n\r\n"


@pytest.mark.parametrize("size", [5_000_000, 50_000_000])
def test_a_bomb_is_stopped_at_its_ceiling(runtime, size):
    encoder = zlib.compressobj(9, wbits=31)
    bomb = b"".join([*(encoder.compress(bytes(1_000_000)) for _ in range(size // 1_000_000)), encoder.flush()])

    def script(peer):
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb), bomb)
        peer.over.wait(PATIENCE)

    with origin(script) as upstream:
        app = Moduled(upstream.peer)
        with served(app, runtime) as server, client(server.address) as peer:
            asking(peer, b"")
            assert len(peer.rest()) < max(2_000_000, 110 * len(bomb))
            until(lambda: app.ended)
            assert app.ended[0].type_str == "DecompressionError"


def test_many_exchanges_over_one_connection(runtime):
    def script(peer):
        while True:
            peer.message()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(TEXT), TEXT)

    with origin(script) as upstream, served(Moduled(upstream.peer), runtime) as server, client(server.address) as peer:
        for turn in range(10):
            asking(peer, b"Accept-Encoding: gzip\r\n")
            assert gzip.decompress(peer.message()[2]) == TEXT
            asking(peer, b"Range: bytes=%d-%d\r\n" % (turn, turn + 9))
            start, _, body = peer.message()
            assert start == b"HTTP/1.1 206 Partial Content"
            assert body == TEXT[turn : turn + 10]


def test_a_byte_of_a_long_body_costs_no_download(runtime):
    """The origin cannot send what nobody asked for, and what is short is read to its end."""
    sent = []

    def script(peer):
        while True:
            head = peer.upto(b"\r\n\r\n")
            size = 100_000_000 if b" /long " in head else 60_000
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            if size == 60_000:
                peer.send(bytes(size))
                continue
            sent.append(peer.push(bytes(65_536), size))
            return

    with origin(script) as upstream:
        app = Moduled(upstream.peer)
        with served(app, runtime) as server, client(server.address) as peer:
            for target in (b"/short", b"/short", b"/long", b"/long", b"/short"):
                peer.send(b"GET %b HTTP/1.1\r\nHost: a.test\r\nRange: bytes=0-0\r\n\r\n" % target)
                start, _, body = peer.message()
                assert start == b"HTTP/1.1 206 Partial Content"
                assert body == b"\0"
            until(lambda: len(app.ended) == 5)
            until(lambda: len(sent) == 2)
    assert app.ended == [None] * 5
    assert upstream.connections == 3
    assert max(sent) < 50_000_000
