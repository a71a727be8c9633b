"""The native engine against llhttp, a third implementation: see :mod:`.llhttp` for long runs."""

from __future__ import annotations

import pytest

from tests.http1.llhttp import (
    CODING,
    METHOD,
    REFUSED_BY_LLHTTP,
    WAITS,
    Tally,
    by_llhttp,
    compare,
    native_reading,
    report,
)
from tests.http1.runs import run_client, run_server

SEEDS = 600


@pytest.fixture(scope="module")
def tally():
    told = Tally()
    for seed in range(SEEDS):
        compare(seed, told)
    return told


def test_what_we_accept_llhttp_reads_alike(tally):
    assert tally.faults == []
    assert tally.messages > SEEDS // 3


def test_the_report_names_every_reason(tally):
    assert report(tally).startswith(f"{SEEDS} inputs")
    assert set(tally.listed) <= set(REFUSED_BY_LLHTTP)


CHUNKS = b"Transfer-Encoding: chunked\t\r\n\r\n1\r\nx\r\n0\r\n\r\n"
# One input for each row, so that a row whose reason has gone is noticed.
REFUSED = {
    METHOD: b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    CODING: b"POST / HTTP/1.1\r\nHost: a\r\n" + CHUNKS,
    WAITS: b"HTTP/1.1 200 OK\r\n" + CHUNKS,
}


@pytest.mark.parametrize("row", REFUSED_BY_LLHTTP)
def test_what_llhttp_alone_refuses(row):
    raw = REFUSED[row]
    of_requests = not raw.startswith(b"HTTP/")
    run = run_server([raw]) if of_requests else run_client([raw])

    assert len(native_reading(run)) == 1
    assert by_llhttp(raw, of_requests=of_requests) == ([], "" if row == WAITS else row)


def test_a_disagreement_is_found(monkeypatch):
    monkeypatch.setattr("tests.http1.llhttp.native_reading", lambda run: [(("PUT",), [], b"", [])])
    told = Tally()
    for seed in range(20):
        compare(seed, told)

    assert told.faults
