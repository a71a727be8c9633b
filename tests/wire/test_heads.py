"""Request and response heads: what they take, refuse, and put on the wire."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.wire import Fields, RequestHeader, ResponseHeader, error_page, reason_phrase
from sansio_pingora.wire.grammar import FIELD_LINE, REQUEST_LINE, STATUS_LINE
from tests.wire import slow_grammar as slow

FIELDS = [("Host", "a"), (b"X", b"1"), ("x", "2")]
names = st.sampled_from(["Host", "X-A", "via"])
texts = st.sampled_from(["", "1", "a b", "é"])
fields = st.lists(st.tuples(names, texts), max_size=4)


def read_back(lines: list[bytes]) -> Fields:
    """The fields of *lines*, behind which a blank one ends the head."""
    assert lines[-2:] == [b"", b""]
    return Fields.received([FIELD_LINE.fullmatch(line).groups() for line in lines[:-2]])


@given(st.sampled_from(["GET", "M-SEARCH"]), st.sampled_from(["/", "*", "h:1", "/a?b"]), fields)
def test_a_request_reads_back_as_it_was_built(method, target, pairs):
    head = RequestHeader(method, target, pairs)
    first, *lines = head.to_bytes().split(b"\r\n")
    match = REQUEST_LINE.fullmatch(first)

    assert match is not None
    line = (method.encode(), target.encode(), b"1.1")
    assert match.groups() == line
    assert RequestHeader.received(*line, read_back(lines)) == head


@given(st.integers(100, 999), st.none() | st.sampled_from(["", "Fine", "a\tb \xff"]), fields)
def test_a_response_reads_back_as_it_was_built(status, reason, pairs):
    head = ResponseHeader(status, pairs, reason=reason)
    first, *lines = head.to_bytes().split(b"\r\n")
    match = STATUS_LINE.fullmatch(first)

    assert match is not None
    version, digits, phrase = match.groups()
    assert (version, int(digits), phrase) == (b"1.1", status, head.reason)
    assert ResponseHeader.received(status, phrase, version, read_back(lines)) == head


@given(st.binary(max_size=6), st.binary(max_size=6))
def test_a_request_line_can_hold_nothing_else(method, target):
    try:
        line = RequestHeader(method, target).to_bytes().partition(b"\r\n")[0]
    except Error as error:
        assert error.etype is ErrorType.INVALID_HTTP_HEADER
        assert not (slow.is_token(method) and slow.is_target(target))
    else:
        assert slow.request_line(line) == (method, target, b"1.1")


def test_a_refused_change_changes_nothing():
    request = RequestHeader("GET", "/", FIELDS)
    response = ResponseHeader(200, FIELDS)
    before = request.clone(), response.clone()
    for refused in (
        lambda: request.set_method("G T"),
        lambda: request.set_target("/ä"),
        lambda: request.set_target("/a b"),
        lambda: request.append("a b", "x"),
        lambda: response.set_status(99),
        lambda: response.set_status(1000),
        lambda: response.set_status(201, "a\r\nb"),
        lambda: response.insert("Host", "a\n"),
    ):
        with pytest.raises(Error) as caught:
            refused()
        assert caught.value.etype is ErrorType.INVALID_HTTP_HEADER

    assert (request, response) == before


@pytest.mark.parametrize("version", [b"1.0", b"1.1", b"2"])
def test_versions(version):
    assert RequestHeader("GET", "/", version=version).version == version
    # The version that a head came with is a fact about its sender; HTTP/1 always sends its own.
    assert RequestHeader("GET", "/", version=version).to_bytes().startswith(b"GET / HTTP/1.1\r\n")
    assert ResponseHeader(200, version=version).to_bytes().startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("version", [b"1.2", b"0.9", b"HTTP/1.1", b""])
def test_refuses_other_versions(version):
    with pytest.raises(Error, match="HTTP version"):
        RequestHeader("GET", "/", version=version)
    with pytest.raises(Error, match="HTTP version"):
        ResponseHeader(200, version=version)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [("/", b"/", b""), ("/a?b=c", b"/a", b"b=c"), ("/a?b?c", b"/a", b"b?c"), ("/?", b"/", b""), ("*", b"*", b"")],
)
def test_path_and_query(target, path, query):
    head = RequestHeader("GET", target)

    assert (head.path, head.query) == (path, query)


def test_a_clone_is_independent():
    request = RequestHeader("GET", "/", FIELDS, scheme=b"https")
    other = request.clone()
    other.set_method("POST")
    other.set_target("/b")
    other.append("x", "3")

    assert request == RequestHeader("GET", "/", FIELDS, scheme=b"https")
    assert other.scheme == b"https"

    response = ResponseHeader(200, FIELDS, reason="Fine")
    copy = response.clone()
    copy.set_status(404)
    copy.remove("x")
    assert response == ResponseHeader(200, FIELDS, reason="Fine")
    assert response != copy


def test_field_methods_reach_the_fields():
    head = ResponseHeader(200, FIELDS)

    assert head.get("X") == b"1"
    head.insert("x", "9")
    head.append("Via", "b")
    assert head.fields.items == [(b"Host", b"a"), (b"x", b"9"), (b"Via", b"b")]
    assert head.remove("via") == b"b"
    assert head.remove("via") is None


# RFC 9110 renamed three; the standard library did so later, and 418 was never registered.
@pytest.mark.parametrize("status", sorted(set(HTTPStatus) - {413, 414, 416, 418, 422}))
def test_customary_reasons(status):
    assert reason_phrase(status) == status.phrase.encode()
    assert ResponseHeader(status).to_bytes() == b"HTTP/1.1 %d %b\r\n\r\n" % (status, status.phrase.encode())


def test_status_lines_of_our_own():
    assert ResponseHeader(299).to_bytes() == b"HTTP/1.1 299 \r\n\r\n"
    assert ResponseHeader(200, reason="Fine").to_bytes() == b"HTTP/1.1 200 Fine\r\n\r\n"
    assert ResponseHeader(200, reason="").to_bytes() == b"HTTP/1.1 200 \r\n\r\n"


@pytest.mark.parametrize(("status", "expected"), [(100, True), (103, True), (199, True), (101, False), (200, False)])
def test_informational(status, expected):
    assert ResponseHeader(status).informational is expected


def test_a_declared_length_replaces_every_framing():
    head = ResponseHeader(200, [("Transfer-Encoding", "chunked"), ("content-length", "1"), ("Content-Length", "2")])
    head.set_content_length(7)

    assert head.fields.items == [(b"Content-Length", b"7")]


def test_for_people():
    request = RequestHeader("GET", "/a?b", [("Host", "h")])

    assert request.summary() == "GET /a?b, Host: h"
    assert RequestHeader("GET", "/").summary() == "GET /, Host: -"
    assert repr(request) == "<RequestHeader b'GET' b'/a?b' 1.1 [(b'Host', b'h')]>"
    assert repr(ResponseHeader(204)) == "<ResponseHeader 204 1.1 []>"


@pytest.mark.parametrize("head", [RequestHeader("GET", "/"), ResponseHeader(200)], ids=["request", "response"])
def test_heads_are_values_that_change(head):
    with pytest.raises(TypeError):
        hash(head)
    assert head != "head"


def test_an_error_page_is_an_empty_answer_that_nobody_keeps():
    page = error_page(502)

    assert page.to_bytes() == (
        b"HTTP/1.1 502 Bad Gateway\r\nServer: sansio-pingora\r\nContent-Length: 0\r\n"
        b"Cache-Control: private, no-store\r\n\r\n"
    )
    assert error_page(502) is not page
