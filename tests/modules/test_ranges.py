"""Ranges of what an origin gave whole."""

from __future__ import annotations

from email import message_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_pingora.modules import ConditionalRequests, RangeRequests, ResponseCompression
from sansio_pingora.modules.ranges import satisfiable_ranges
from tests.modules.moduled import through

BODY = bytes(range(256)) * 4


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"bytes=0-0", [(0, 1)]),
        (b"bytes=0-9", [(0, 10)]),
        (b"Bytes = 5-", [(5, 100)]),
        (b"bytes=-1", [(99, 100)]),
        (b"bytes=-1000", [(0, 100)]),
        (b"bytes=90-1000", [(90, 100)]),
        (b"bytes=0-0, 2-3,, -1", [(0, 1), (2, 4), (99, 100)]),
        (b"bytes=100-", []),
        (b"bytes=-0", []),
        (b"bytes=0-1, 100-", [(0, 2)]),
        (b"bytes=5-4", None),
        (b"bytes=", None),
        (b"bytes=-", None),
        (b"bytes=a-b", None),
        (b"bytes=1", None),
        (b"bytes", None),
        (b"lines=0-1", None),
        (b"bytes=0-5, 3-9", None),
        (b"bytes=5-9, 0-3", None),
        (b"bytes=0-,0-,0-,0-,0-", None),
        (b"bytes=99999999999999999999-", None),
    ],
)
def test_what_is_asked_for(said, expected):
    assert satisfiable_ranges(said, 100, 4) == expected


def answer(body=BODY, fields=b"", status=b"200 OK", kind=b"Content-Type: text/plain\r\n"):
    return b"HTTP/1.1 %b\r\n%b%bContent-Length: %d\r\n\r\n%b" % (status, kind, fields, len(body), body)


@given(
    start=st.integers(0, len(BODY) - 1),
    size=st.integers(1, len(BODY) + 10),
    cuts=st.lists(st.integers(0, 2000), max_size=6),
)
@settings(deadline=None)
def test_one_range(start, size, cuts):
    last = start + size - 1
    first, fields, body = through(RangeRequests, b"Range: bytes=%d-%d\r\n" % (start, last), answer(), cuts=cuts)
    assert first == b"HTTP/1.1 206 Partial Content"
    assert body == BODY[start : last + 1]
    assert fields[b"content-range"] == b"bytes %d-%d/1024" % (start, min(last, 1023))
    assert fields[b"content-type"] == b"text/plain"


@given(
    marks=st.lists(st.integers(0, len(BODY)), min_size=4, max_size=12, unique=True),
    cuts=st.lists(st.integers(0, 2000), max_size=6),
)
@settings(deadline=None)
def test_several_ranges(marks, cuts):
    marks = sorted(marks)
    ranges = [(start, stop) for start, stop in zip(marks[::2], marks[1::2], strict=False)]
    said = b", ".join(b"%d-%d" % (start, stop - 1) for start, stop in ranges)
    first, fields, body = through(RangeRequests, b"Range: bytes=%b\r\n" % said, answer(), cuts=cuts)
    assert first == b"HTTP/1.1 206 Partial Content"
    message = message_from_bytes(b"Content-Type: " + fields[b"content-type"] + b"\r\n\r\n" + body)
    parts = message.get_payload()
    assert [part["content-range"] for part in parts] == [f"bytes {start}-{stop - 1}/1024" for start, stop in ranges]
    assert [part.get_content_type() for part in parts] == ["text/plain"] * len(ranges)
    boundary = fields[b"content-type"].partition(b"boundary=")[2]
    pieces = [piece.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for piece in body.split(b"--" + boundary)[1:-1]]
    assert pieces == [BODY[start:stop] for start, stop in ranges]
    assert int(fields[b"content-length"]) == len(body)


def test_none_that_can_be_satisfied():
    first, fields, body = through(RangeRequests, b"Range: bytes=2000-\r\n", answer(fields=b'ETag: "a"\r\n'))
    assert first == b"HTTP/1.1 416 Range Not Satisfiable"
    assert fields[b"content-range"] == b"bytes */1024"
    assert body == b""
    assert not {b"content-type", b"etag"} & fields.keys()


WHOLE = [
    ("not asked for", b"", b"GET", answer()),
    ("HEAD", b"Range: bytes=0-1\r\n", b"HEAD", answer()[: -len(BODY)]),
    ("POST", b"Range: bytes=0-1\r\n", b"POST", answer()),
    ("not found", b"Range: bytes=0-1\r\n", b"GET", answer(status=b"404 Not Found")),
    ("a part already", b"Range: bytes=0-1\r\n", b"GET", answer(status=b"206 Partial Content")),
    ("it says none", b"Range: bytes=0-1\r\n", b"GET", answer(fields=b"Accept-Ranges: none\r\n")),
    ("of no known length", b"Range: bytes=0-1\r\n", b"GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
    ("twice", b"Range: bytes=0-1\r\nRange: bytes=0-1\r\n", b"GET", answer()),
    ("another version", b'Range: bytes=0-1\r\nIf-Range: "b"\r\n', b"GET", answer(fields=b'ETag: "a"\r\n')),
    ("a weak one", b'Range: bytes=0-1\r\nIf-Range: W/"a"\r\n', b"GET", answer(fields=b'ETag: W/"a"\r\n')),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "method", "whole"), [row[1:] for row in WHOLE], ids=[row[0] for row in WHOLE])
def test_the_whole_is_served(fields, method, whole):
    first, known, body = through(RangeRequests, fields, whole, method)
    assert first == whole.partition(b"\r\n")[0]
    assert b"content-range" not in known
    assert len(body) in (0, 1, 1024)


@pytest.mark.parametrize(
    ("condition", "fields"),
    [
        (b'"a"', b'ETag: "a"\r\n'),
        (b"Thu, 01 Jan 1970 00:00:02 GMT", b"Last-Modified: Thu, 01 Jan 1970 00:00:02 GMT\r\n"),
    ],
)
def test_the_version_that_the_client_has_a_part_of(condition, fields):
    said = b"Range: bytes=0-1\r\nIf-Range: %b\r\n" % condition
    assert through(RangeRequests, said, answer(fields=fields))[0] == b"HTTP/1.1 206 Partial Content"


def test_it_says_what_it_can():
    assert through(RangeRequests, b"", answer())[1][b"accept-ranges"] == b"bytes"


def test_beside_the_other_modules():
    modules = [ResponseCompression, RangeRequests, ConditionalRequests]
    said = b"Accept-Encoding: gzip\r\nRange: bytes=0-1\r\n"
    first, fields, body = through(modules, said, answer(fields=b'ETag: "a"\r\n'))
    assert (first, body) == (b"HTTP/1.1 206 Partial Content", BODY[:2])
    assert fields[b"etag"] == b'"a"'
    first, _, _ = through(modules, said + b'If-None-Match: W/"a"\r\n', answer(fields=b'ETag: "a"\r\n'))
    assert first == b"HTTP/1.1 304 Not Modified"
