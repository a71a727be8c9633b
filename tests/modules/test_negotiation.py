"""Accept-Encoding, cell by cell and against a slow reading of RFC 9110."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.modules.negotiation import accepted_codings, choose_coding, compressible_type, may_have
from sansio_pingora.wire import Fields

OFFERED = ("zstd", "br", "gzip")


def accepted(*lines):
    return accepted_codings(Fields([("Accept-Encoding", line) for line in lines]))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], None),
        ([""], None),
        (["gzip"], "gzip"),
        (["GzIp"], "gzip"),
        (["x-gzip"], "gzip"),
        (["gzip, br"], "br"),
        (["br", "zstd"], "zstd"),
        (["gzip;q=1, br;q=0.9, zstd;q=0.899"], "gzip"),
        (["gzip;q=0"], None),
        (["gzip;q=0.000, br"], "br"),
        (["gzip ; q=0.5 , br ; Q=0.6"], "br"),
        (["*"], "zstd"),
        (["*;q=0"], None),
        (["*, zstd;q=0"], "br"),
        (["zstd;q=0.1, *;q=0.2"], "br"),
        (["identity"], None),
        (["identity;q=1, gzip;q=0.5"], None),
        (["identity;q=0.5, gzip"], "gzip"),
        (["identity;q=0, gzip;q=0.1"], "gzip"),
        (["identity, gzip"], "gzip"),
        (["gzip;q=2"], None),
        (["gzip;q=0.1234"], None),
        (["gzip;q=abc, br"], "br"),
        (["gzip;level=3, br"], "br"),
        ([",,gzip,,"], "gzip"),
        (["deflate"], None),
    ],
)
def test_what_is_chosen(lines, expected):
    assert choose_coding(accepted(*lines), OFFERED) == expected


def test_what_a_client_can_read():
    said = accepted("gzip, br;q=0, *;q=0.1")
    assert [may_have(said, coding) for coding in ("gzip", "br", "zstd")] == [True, False, True]
    assert not may_have({}, "gzip")


WEIGHTS = st.sampled_from(["", ";q=0", ";q=0.5", ";q=0.501", ";q=1", ";q=1.000"])


@given(st.dictionaries(st.sampled_from([*OFFERED, "identity", "*", "other"]), WEIGHTS))
def test_none_is_chosen_that_the_client_likes_less(said):
    weights = {name: float(text[3:] or 1) for name, text in said.items()}
    chosen = choose_coding(accepted(", ".join(name + text for name, text in said.items())), OFFERED)
    liked = {name: weights.get(name, weights.get("*", 0.0)) for name in OFFERED}
    best = max(liked.values())
    if best == 0 or weights.get("identity", 0.0) > best:
        assert chosen is None
    else:
        assert chosen == next(name for name in OFFERED if liked[name] == best)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (None, False),
        (b"text/html", True),
        (b"TEXT/HTML; charset=utf-8", True),
        (b"application/json", True),
        (b"application/wasm", True),
        (b"image/svg+xml", True),
        (b"font/ttf", True),
        (b"font/woff2", False),
        (b"image/jpg", False),
        (b"image/png", False),
        (b"video/mp4", False),
        (b"text/html+zip", False),
        (b"application/zip", False),
        (b"application/octet-stream", False),
        (b"application/grpc", False),
        (b"application/grpc-web-text", False),
        (b"application/vnd.openxmlformats-officedocument.wordprocessingml.document", False),
        (b"text/event-stream", True),
        (b"", False),
    ],
)
def test_what_gets_smaller(kind, expected):
    assert compressible_type(kind) is expected
