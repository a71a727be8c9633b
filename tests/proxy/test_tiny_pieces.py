"""Bodies that come in pieces of a byte or two: what waits takes memory of about its size, and is passed on whole."""

from __future__ import annotations

import struct

import pytest

from sansio_pingora.apps import HttpOptions
from tests.memory import counting, cut
from tests.proxy.ends import H1Client, H1Origin, H2Client
from tests.proxy.harness import HANGING, App, Bench, inbox

LITTLE = 30_000
"""What may be held beside the payload: a pump, two connections, a head."""
BODY = bytes(range(256)) * 12

sizes = pytest.mark.parametrize("size", [1, 2])


def data_frames(stream: int, pieces: list[bytes]) -> bytes:
    return b"".join(struct.pack(">IBI", len(piece) << 8, 0, stream) + piece for piece in pieces)


@sizes
def test_http2_frames_wait_for_a_dial(size):
    bench = Bench(App(), options=HttpOptions(h2c=True))
    bench.dial_outcomes.append(HANGING)
    client = H2Client(bench, bench.client())
    stream = client.ask(b"POST", body=b"", length=False, end=False)
    frames = data_frames(stream, cut(BODY, size))
    with counting() as held:
        client.wire.send(frames)
        assert held() < 1.5 * len(BODY) + LITTLE
    bench.connect_hanging()
    assert client.wire.connection._streams[stream].unconsumed == 0
    client.more(b"end", trailers=[(b"x-sum", b"1")])
    request = H1Origin(bench, bench.origin).request
    assert (request.body, request.trailers, request.state) == (BODY + b"end", {b"x-sum": b"1"}, "whole")


@sizes
def test_http1_reads_wait_for_a_dial(size):
    bench = Bench(App())
    bench.dial_outcomes.append(HANGING)
    client = H1Client(bench, bench.client())
    client.ask(b"POST", body=b"", length=len(BODY))
    pieces = cut(BODY, size)
    with counting() as held:
        client.wire.send(*pieces)
        assert held() < 1.5 * len(BODY) + LITTLE
    assert not client.wire.unread
    bench.connect_hanging()
    origin = H1Origin(bench, bench.origin)
    assert (origin.request.body, origin.request.state) == (BODY, "whole")
    origin.answer()
    assert client.answer.body == b"ok"
    bench.assert_clean()


@sizes
def test_an_answer_waits_for_its_client(size):
    bench = Bench(App())
    client = H1Client(bench, bench.client())
    client.stop_reading()
    client.ask()
    origin = H1Origin(bench, bench.origin)
    origin.answer(body=b"", length=False, end=False)
    sent = 0
    while not inbox(bench.exchanges[0], "response"):
        origin.more(bytes(4096))
        sent += 4096
    pieces = cut(BODY, size)
    with counting() as held:
        for piece in pieces:
            origin.more(piece)
        assert held() < 1.5 * len(BODY) + LITTLE
    assert inbox(bench.exchanges[0], "response") > len(BODY)
    origin.more(end=True, trailers=[(b"x-sum", b"1")])
    client.open_window(None)
    assert client.answer.body == bytes(sent) + BODY
    assert client.answer.trailers == {b"x-sum": b"1"}
    bench.assert_clean()
