"""Which faults of an origin allow another attempt: fresh or from the pool, by method, each cell."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, ErrorType
from tests.proxy.harness import GET, OK, App, Bench, post, status_of


def ends(origin):
    origin.eof()


def resets(origin):
    origin.reset()


def breaks(origin):
    origin.lose(Error(ErrorType.WRITE_ERROR, "EPIPE"))


def is_silent(origin):
    origin.bench.advance(61)


def answers_nonsense(origin):
    origin.send(b"nonsense\r\n\r\n")


def answers_a_part(origin):
    origin.send(b"HTTP/1.1 2")
    origin.eof()


def hints_and_ends(origin):
    origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    origin.eof()


def takes_nothing(origin):
    origin.bench.advance(61)


# What it is, whether it proves that the connection was dead before we came, and what it is answered with otherwise.
FAULTS = [
    (ends, True, 502),
    (resets, True, 502),
    (breaks, True, 502),
    (is_silent, False, 504),
    (answers_nonsense, False, 502),
    (answers_a_part, False, 502),
    (hints_and_ends, False, 502),
    (takes_nothing, False, 504),
]
CELLS = [  # a window is closed on a connection that is there
    pytest.param(*row, pooled, id=f"{row[0].__name__}-{'pooled' if pooled else 'fresh'}")
    for row in FAULTS
    for pooled in (False, True)
    if pooled or row[0] is not takes_nothing
]


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"POST", b"PATCH"])
@pytest.mark.parametrize(("fault", "dead", "status", "pooled"), CELLS)
def test_cell(fault, dead, status, pooled, method):
    bench = Bench(App(), read_timeout=60.0, write_timeout=60.0, keepalive_timeout=1000.0, idle_timeout=1000.0)
    client = bench.client()
    if pooled:
        client.send(GET)
        bench.origin.send(OK)
        client.take()
    if fault is takes_nothing:
        bench.origin.window = 0
    client.send(post(100_000 if fault is takes_nothing else 5, method=method))
    fault(bench.origin)
    again = pooled and dead and method in (b"GET", b"PUT")
    assert len(bench.dials) == 1 + again
    if again:
        assert bench.origin.take().endswith(b"xxxxx")
        bench.origin.send(OK)
        assert status_of(client.take()) == 200
    else:
        got = client.take().removeprefix(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        assert status_of(got) == status
    assert len(bench.app.ended) == 1 + pooled
