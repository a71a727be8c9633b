"""Priority signals (RFC 9218 section 4): what they say, and that nonsense says nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.http2.priority import parse_priority


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", (3, False)),
        (b"u=0", (0, False)),
        (b"u=7, i", (7, True)),
        (b"i", (3, True)),
        (b"i=?1", (3, True)),
        (b"i=?0", (3, False)),
        (b"i, u=5", (5, True)),
        (b" u=5 , i ", (5, True)),
        (b"u=2;x=1, i;y", (2, True)),
        (b"u=1, foo=bar, i", (1, True)),
        (b"u=8", (3, False)),
        (b"u=-1", (3, False)),
        (b"u=high", (3, False)),
        (b"u=55", (3, False)),
        (b"u", (3, False)),
        (b"i=1", (3, False)),
        (b"u=1, u=4", (4, False)),
        (b"U=1", (3, False)),
        (b"u=1 i", (3, False)),
        (b"\x00", (3, False)),
    ],
    ids=repr,
)
def test_signals(value, expected):
    assert parse_priority(value) == expected


@given(st.binary(max_size=40) | st.text("ui=?01, 7;x", max_size=40).map(str.encode))
def test_any_bytes_mean_something_legal(value):
    urgency, incremental = parse_priority(value)

    assert 0 <= urgency <= 7
    assert isinstance(incremental, bool)
