"""Conditions of requests, evaluated where the origin did not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.modules import ConditionalRequests
from sansio_pingora.modules.conditional import not_modified_filter, precondition_failed
from sansio_pingora.wire import RequestHeader, ResponseHeader
from tests.modules.moduled import through

BEFORE, AT, AFTER = (b"Thu, 01 Jan 1970 00:00:0%d GMT" % second for second in (1, 2, 3))
TAG, DATED = [(b"ETag", b'"a"')], [(b"Last-Modified", AT)]


def asked(*fields, method="GET"):
    return RequestHeader(method, "/", fields)


@pytest.mark.parametrize(
    ("said", "fields", "expected"),
    [
        ([(b"If-None-Match", b'"a"')], TAG, True),
        ([(b"If-None-Match", b'W/"a"')], TAG, True),
        ([(b"If-None-Match", b'"a"')], [(b"ETag", b'W/"a"')], True),
        ([(b"If-None-Match", b'"b", W/"a"')], TAG, True),
        ([(b"If-None-Match", b'"b"'), (b"If-None-Match", b'"a"')], TAG, True),
        ([(b"If-None-Match", b'"b"')], TAG, False),
        ([(b"If-None-Match", b"a")], TAG, False),
        ([(b"If-None-Match", b'"x, "a"')], TAG, False),
        ([(b"If-None-Match", b"*")], [], True),
        ([(b"If-None-Match", b'"a"')], [], False),
        ([(b"If-None-Match", b'",,,"')], [(b"ETag", b'",,,"')], True),
        ([(b"If-None-Match", b'"a,b"')], [(b"ETag", b'"a')], False),
        ([(b"If-None-Match", b'"b"'), (b"If-Modified-Since", AFTER)], [*TAG, *DATED], False),
        ([(b"If-Modified-Since", AT)], DATED, True),
        ([(b"If-Modified-Since", AFTER)], DATED, True),
        ([(b"If-Modified-Since", BEFORE)], DATED, False),
        ([(b"If-Modified-Since", b"yesterday")], DATED, False),
        ([(b"If-Modified-Since", AT)], [], False),
        ([], [*TAG, *DATED], False),
    ],
)
def test_not_modified(said, fields, expected):
    assert not_modified_filter(asked(*said), ResponseHeader(200, fields)) is expected
    assert not not_modified_filter(asked(*said), ResponseHeader(404, fields))


@pytest.mark.parametrize(
    ("said", "fields", "expected"),
    [
        ([(b"If-Match", b'"a"')], TAG, False),
        ([(b"If-Match", b'"b", "a"')], TAG, False),
        ([(b"If-Match", b'"b"')], TAG, True),
        ([(b"If-Match", b'W/"a"')], TAG, True),
        ([(b"If-Match", b'"a"')], [(b"ETag", b'W/"a"')], True),
        ([(b"If-Match", b"*")], TAG, False),
        ([(b"If-Match", b'"b"')], [], False),
        ([(b"If-Match", b'"a"'), (b"If-Unmodified-Since", BEFORE)], [*TAG, *DATED], False),
        ([(b"If-Unmodified-Since", AT)], DATED, False),
        ([(b"If-Unmodified-Since", BEFORE)], DATED, True),
        ([(b"If-Unmodified-Since", BEFORE)], [], False),
        ([], [*TAG, *DATED], False),
    ],
)
def test_precondition_failed(said, fields, expected):
    assert precondition_failed(asked(*said), ResponseHeader(200, fields)) is expected


TAGS = st.sampled_from([b'"a"', b'"b"', b'W/"a"', b'W/"b"', b'"a,b"', b'""'])


@given(st.lists(TAGS, min_size=1, max_size=5), TAGS, st.sampled_from([b",", b", ", b" ,\t", b",,"]))
def test_a_list_is_any_of_its_members(tags, tag, comma):
    weak = {known.removeprefix(b"W/") for known in tags}
    response = ResponseHeader(200, [(b"ETag", tag)])
    assert not_modified_filter(asked((b"If-None-Match", comma.join(tags))), response) is (
        tag.removeprefix(b"W/") in weak
    )


def answer(fields=b'ETag: "a"\r\n', status=b"200 OK"):
    return b"HTTP/1.1 %b\r\n%bContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello" % (status, fields)


def test_through_a_proxy():
    start, fields, body = through(ConditionalRequests, b'If-None-Match: "a"\r\n', answer())
    assert start == b"HTTP/1.1 304 Not Modified"
    assert fields[b"etag"] == b'"a"'
    assert not {b"content-type", b"content-length"} & fields.keys()
    assert body == b""


def test_a_condition_that_fails():
    start, fields, body = through(ConditionalRequests, b'If-Match: "b"\r\n', answer())
    assert start == b"HTTP/1.1 412 Precondition Failed"
    assert fields[b"content-length"] == b"0"
    assert body == b""


@pytest.mark.parametrize("method", [b"POST", b"PUT"])
def test_what_has_been_done_is_not_undone(method):
    start, _, body = through(ConditionalRequests, b'If-None-Match: "a"\r\nIf-Match: "b"\r\n', answer(), method)
    assert (start, body) == (b"HTTP/1.1 200 OK", b"hello")


def test_what_the_origin_has_evaluated_passes():
    start, _, _ = through(ConditionalRequests, b'If-None-Match: "a"\r\n', answer(status=b"404 Not Found"))
    assert start == b"HTTP/1.1 404 Not Found"


def test_head():
    start, _, body = through(ConditionalRequests, b'If-None-Match: "a"\r\n', answer()[:-5], b"HEAD")
    assert (start, body) == (b"HTTP/1.1 304 Not Modified", b"")
