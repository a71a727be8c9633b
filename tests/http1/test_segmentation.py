"""How the network cuts its bytes changes nothing: neither what is told nor what is put out. And it costs no more."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_pingora.http1 import Http1Client, Http1Server, NativeCodec
from sansio_pingora.http1 import codec as codec_module
from sansio_pingora.limits import Limits
from sansio_pingora.testing import cut_everywhere, feed
from sansio_pingora.testing import strategies as pingora
from sansio_pingora.wire import Header, ReceiveBuffer, RequestHeader
from tests.http1.runs import bytewise, make_client, make_server, run_client, run_server, whole

LIMITS = st.sampled_from([Limits(), Limits(max_body=20, max_line=60, max_head=200, max_fields=4, max_trailers=20)])


@given(pingora.http1_pipelines(), pingora.cuts())
def test_pipelines(engine, raw, cuts):
    assert feed(make_server(engine), [raw]) == feed(make_server(engine), cuts(raw))


@given(pingora.almost_valid_requests(), pingora.cuts(), LIMITS, st.booleans())
def test_almost_valid_requests(raw, cuts, limits, eof):
    """Limits as well: what is told before one is passed is the same, to the byte."""
    one, other = run_server(whole(raw), limits=limits, eof=eof), run_server(cuts(raw), limits=limits, eof=eof)

    assert (one.events, one.out, one.over) == (other.events, other.out, other.over)


@given(pingora.http1_responses(), pingora.cuts(), st.binary(max_size=3), st.booleans())
def test_responses(engine, raw, cuts, surplus, eof):
    one = run_client(whole(raw + surplus), engine=engine, eof=eof)
    other = run_client(cuts(raw + surplus), engine=engine, eof=eof)

    assert (one.events, one.over, one.reusable) == (other.events, other.over, other.reusable)


@given(st.binary(max_size=200), pingora.cuts())
@settings(max_examples=300)
def test_noise(raw, cuts):
    one, other = run_server(whole(raw)), run_server(cuts(raw))
    assert (one.events, one.out) == (other.events, other.out)
    first, second = run_client(whole(raw)), run_client(cuts(raw))
    assert first.events == second.events


TWO = (
    b"\r\nPOST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"
    b"GET http://b/2?x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
)


def test_every_cut_of_a_pipeline(engine):
    expected = feed(make_server(engine), [TWO])
    for pieces in cut_everywhere(TWO):
        assert feed(make_server(engine), pieces) == expected


# ── the cost of it ───────────────────────────────────────────────────────────────────


class CountingBuffer(ReceiveBuffer):
    """Counts the bytes that are searched, matched or copied."""

    __slots__ = ()
    work = 0

    def append(self, data):
        held = len(self._data)
        super().append(data)
        # A bytearray grows by amortised copies; what it drops in front is counted by its length.
        CountingBuffer.work += len(data) + (held if len(self._data) < held else 0)

    def find(self, mark):
        before = max(self._start, self._searched - len(mark) + 1)
        at = super().find(mark)
        CountingBuffer.work += (len(self._data) if at < 0 else self._start + at) - before
        return at

    def upto(self, mark, limit):
        before = max(self._start, self._searched - len(mark) + 1)
        found = super().upto(mark, limit)
        CountingBuffer.work += max(len(found), self._searched - before)
        return found

    def search(self, pattern, start):
        at = super().search(pattern, start)
        CountingBuffer.work += (self.size if at < 0 else at) - start
        return at

    def peek(self, size):
        found = super().peek(size)
        CountingBuffer.work += len(found)
        return found

    def slice(self, start, end):
        found = super().slice(start, end)
        CountingBuffer.work += len(found)
        return found


def work_of(build, raw: bytes, pieces, monkeypatch) -> int:
    monkeypatch.setattr(codec_module, "ReceiveBuffer", CountingBuffer)
    CountingBuffer.work = 0
    connection = build()
    for piece in pieces:
        if connection.closing or connection.shut_write:
            break
        connection.receive_data(piece, 0.0)
        connection._unconsumed = 0  # somebody reads it
    return CountingBuffer.work


WIDE = Limits(
    max_head=10**7,
    max_line=10**7,
    max_fields=10**6,
    max_chunk_overhead=10**7,
    max_trailers=10**7,
    max_trailer_fields=10**6,
)


def server():
    return Http1Server(0.0, WIDE, codec=NativeCodec(WIDE, server=True))


def client():
    connection = Http1Client(WIDE, codec=NativeCodec(WIDE, server=False))
    connection.open_stream(0.0)
    connection.send(1, Header(RequestHeader("GET", "/", [("Host", "a")]), True), 0.0)
    return connection


COSTLY = {
    "a long target": (server, lambda n: b"GET /" + b"a" * n),
    "a long value": (server, lambda n: b"GET / HTTP/1.1\r\nX: " + b"a" * n),
    "a long name": (server, lambda n: b"GET / HTTP/1.1\r\n" + b"a" * n),
    "many fields": (server, lambda n: b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * (n // 6)),
    "a whole head": (server, lambda n: b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * (n // 6) + b"\r\n"),
    "blanks in a value": (server, lambda n: b"GET / HTTP/1.1\r\nX:" + b" " * n + b"\r\n"),
    "a body": (server, lambda n: b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (2 * n) + b"x" * n),
    "tiny chunks": (
        server,
        lambda n: b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * (n // 6),
    ),
    "chunk extensions": (
        server,
        lambda n: (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;a=bcdefgh\r\nx\r\n" * (n // 16)
        ),
    ),
    "trailers": (
        server,
        lambda n: b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * (n // 6),
    ),
    "one chunk": (
        server,
        lambda n: b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % (2 * n) + b"x" * n,
    ),
    "a reason": (client, lambda n: b"HTTP/1.1 200 " + b"a" * n),
    "a body until the close": (client, lambda n: b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * n),
}


@pytest.mark.parametrize("kind", COSTLY)
def test_d15_twice_the_bytes_cost_twice_the_work(kind, monkeypatch):
    """In pieces of one byte, counted in bytes looked at: linear, and at most some forty looks at each."""
    build, make = COSTLY[kind]
    small, large = make(4_000), make(8_000)
    first = work_of(build, small, bytewise(small, len(small)), monkeypatch)
    second = work_of(build, large, bytewise(large, len(large)), monkeypatch)

    assert second <= 2.2 * first
    assert second <= 40 * len(large)


@pytest.mark.parametrize("kind", COSTLY)
def test_d15_a_megabyte_in_one_piece(kind, monkeypatch):
    build, make = COSTLY[kind]
    raw = make(2**20)

    assert work_of(build, raw, [raw], monkeypatch) <= 6 * len(raw)


def test_the_clients_buffer_is_counted_too(monkeypatch):
    """What the two tests above rely on."""
    assert work_of(client, b"", [b"HTTP/1.1 200 OK\r\n"], monkeypatch) > 0
    assert make_client()._codec.buffered == 0
