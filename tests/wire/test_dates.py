"""HTTP dates against the standard library's, and against themselves."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.wire import http_date, parse_http_date

LAST = 253_402_300_799  # the end of the year 9999


@given(st.integers(0, LAST))
def test_writes_what_the_standard_library_writes(second):
    assert http_date(second) == formatdate(second, usegmt=True).encode()


@given(st.integers(0, LAST))
def test_reads_what_it_writes(second):
    assert parse_http_date(http_date(second)) == second


@given(st.data())
def test_takes_only_what_it_could_have_written(data):
    """Nearly a date is none: each has one spelling, so equal bytes and equal instants are the same thing."""
    raw = bytearray(http_date(data.draw(st.integers(0, LAST))))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at : at + data.draw(st.integers(0, 2))] = data.draw(
        st.sampled_from([b"", b"0", b"_", b"+", b" ", b"9", b"A", b"\xff"])
    )
    found = parse_http_date(bytes(raw))

    assert found is None or http_date(found) == raw


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"0",
        b"Sun, 06 Nov 1994 08:49:37",
        b"Sun, 06 Nov 1994 08:49:37 UTC",
        b"Sun, 06 Nov 1994 08:49:60 GMT",
        b"Sun, 31 Feb 1994 08:49:37 GMT",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 8:49:37 GMT",
        b"Mon, 06 Nov 1994 08:49:37 GMT",
        b"sun, 06 nov 1994 08:49:37 gmt",
        b"Sun, 06 Nov 0000 08:49:37 GMT",
        b"Sun, 06 Nov 19_4 08:49:37 GMT",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
        b"Sun Nov  6 08:49:37 1994",
    ],
)
def test_refuses(raw):
    assert parse_http_date(raw) is None


def test_the_example_of_the_rfc():
    assert http_date(784_111_777) == b"Sun, 06 Nov 1994 08:49:37 GMT"
