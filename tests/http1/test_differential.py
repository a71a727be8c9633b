"""A small differential run; ``python -m tests.http1.differential`` makes long ones."""

from __future__ import annotations

import pytest

from tests.http1.differential import NATIVE_REFUSES, REFERENCE_REFUSES, Tally, category, compare, disagreement, report
from tests.http1.runs import run_client, run_server

SEEDS = 1_500


@pytest.fixture(scope="module")
def tally():
    found = Tally()
    for seed in range(SEEDS):
        compare(seed, found)
    return found


def test_the_engines_agree(tally):
    assert tally.faults == []
    assert tally.inputs == SEEDS


def test_the_inputs_are_worth_it(tally):
    """Not all of them are refused, nor all accepted."""
    assert tally.accepted > SEEDS // 3
    assert tally.both_refuse > SEEDS // 5
    assert tally.native_alone.total() > 10


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
# One input for each row, so that a row whose reason has gone is noticed.
REFUSED_BY_NATIVE = {
    "control byte b'\\n' in a line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "control byte in a chunk line": CHUNKED + b"5;a\x01\r\nhello\r\n0\r\n\r\n",
    "a line longer than 256": CHUNKED + b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n",
    "chunk size line": CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
    "chunk size exceeds 63 bits": CHUNKED + b"ffffffffffffffff\r\nhello",
    "field line begins with a blank": HEAD + b"X: y\r\n z\r\n\r\n",
    "trailer line begins with a blank": CHUNKED + b"0\r\nX: y\r\n z\r\n\r\n",
    "more than one Content-Length": HEAD + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "Content-Length": HEAD + b"Content-Length: 0, 0\r\n\r\n",
}


@pytest.mark.parametrize("row", NATIVE_REFUSES)
def test_what_the_native_engine_alone_refuses(row):
    raw = REFUSED_BY_NATIVE[row]
    native, reference = run_server([raw]), run_server([raw], engine="hyper")

    assert category(native.reasons[0]) == row
    assert reference.reasons == []
    assert reference.events


@pytest.mark.parametrize("row", REFERENCE_REFUSES)
def test_what_the_reference_alone_refuses(row):
    native, reference = run_client([b"\r"]), run_client([b"\r"], engine="hyper")

    assert native.reasons == []
    assert category(reference.reasons[0]) == row
    assert run_client([b"\r", b"\n"]).reasons


def test_a_disagreement_is_found():
    """The comparison sees what it is there for."""
    raw = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    one, other = run_server([raw]), run_server([raw.replace(b"GET", b"PUT")])
    refused = run_server([b"GET /"])

    assert disagreement(one, one, Tally()) is None
    assert disagreement(one, other, Tally()) == "both accept and read differently"
    assert disagreement(run_server([b"GET / HTTP/1.1\r\n\r\n"]), one, Tally()) is not None
    assert disagreement(one, refused, Tally()) is not None


def test_the_report_names_every_reason(tally):
    told = report(tally)

    assert told.startswith(f"{SEEDS} inputs")
    assert all(reason in told for reason in tally.native_alone)
    assert "not in the table" not in told
