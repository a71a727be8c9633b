"""Where a body ends: every row of RFC 9112 section 6.3, and what leaves two readings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.wire import (
    CHUNKED,
    UNTIL_CLOSE,
    Fields,
    MessageFault,
    RequestHeader,
    ResponseHeader,
    content_length,
    request_framing,
    response_framing,
)

TE = "Transfer-Encoding"
CL = "Content-Length"

REQUESTS = [
    ([], 0),
    ([(CL, "0")], 0),
    ([(CL, "5")], 5),
    ([(CL, "007")], 7),
    ([(CL, str(2**63 - 1))], 2**63 - 1),
    ([(TE, "chunked")], CHUNKED),
    ([(TE, "CHUNKED")], CHUNKED),
    ([(CL, str(2**63))], 400),
    ([(CL, "9" * 20)], 400),
    ([(CL, "")], 400),
    ([(CL, "-1")], 400),
    ([(CL, "+1")], 400),
    ([(CL, "1_0")], 400),
    ([(CL, "0x10")], 400),
    ([(CL, "1.0")], 400),
    ([(CL, "5, 5")], 400),
    ([(CL, "5"), (CL, "5")], 400),
    ([(CL, "5"), (CL, "6")], 400),
    ([(CL, b"\xb2")], 400),  # a digit to str.isdigit
    ([(TE, "chunked"), (CL, "5")], 400),
    ([(CL, "5"), (TE, "chunked")], 400),
    ([(CL, "5"), (TE, "gzip")], 400),
    ([(TE, "")], 400),
    ([(TE, "identity")], 400),
    ([(TE, "chunked, chunked")], 400),
    ([(TE, "chunked"), (TE, "chunked")], 400),
    ([(TE, "chunked"), (TE, "identity")], 400),
    ([(TE, "chunked,")], 400),
    ([(TE, ", chunked")], 400),
    ([(TE, "\x0bchunked".strip())], CHUNKED),
    ([(TE, "xchunked")], 501),
    ([(TE, "gzip, chunked")], 501),
    ([(TE, "gzip"), (TE, "chunked")], 501),
    ([(TE, "chunked, gzip")], 501),
    ([(TE, "chunked;q=1")], 400),
    ([(TE, '"chunked"')], 400),
    ([(TE, b"chun\xe9ed")], 400),
]


def outcome(framing, *arguments):
    try:
        return framing(*arguments)
    except MessageFault as fault:
        assert fault.reason
        assert str(fault) == fault.reason
        return fault.status


@pytest.mark.parametrize(("fields", "expected"), REQUESTS, ids=lambda value: repr(value)[:60])
def test_requests(fields, expected):
    assert outcome(request_framing, RequestHeader("POST", "/", fields)) == expected


@pytest.mark.parametrize(("fields", "expected"), REQUESTS, ids=lambda value: repr(value)[:60])
def test_responses_are_read_alike_but_end_with_the_connection_when_they_declare_nothing(fields, expected):
    assert outcome(response_framing, ResponseHeader(200, fields), b"GET") == (expected if fields else UNTIL_CLOSE)


@pytest.mark.parametrize("value", ["chunked", "gzip", "gzip, chunked"])
def test_no_transfer_coding_in_http_1_0(value):
    assert outcome(request_framing, RequestHeader("POST", "/", [(TE, value)], version=b"1.0")) == 400
    assert outcome(response_framing, ResponseHeader(200, [(TE, value)], version=b"1.0"), b"GET") == 400


@pytest.mark.parametrize(
    ("status", "method"),
    [(200, b"HEAD"), (404, b"HEAD"), (204, b"GET"), (304, b"GET"), (100, b"GET"), (101, b"GET"), (199, b"POST")],
)
@pytest.mark.parametrize("fields", [[], [(CL, "5")], [(TE, "chunked")]], ids=["nothing", "length", "chunked"])
def test_responses_without_a_body_whatever_they_declare(status, method, fields):
    assert outcome(response_framing, ResponseHeader(status, fields), method) == 0


@pytest.mark.parametrize("status", [204, 304])
def test_framing_is_checked_even_where_no_body_follows(status):
    """The fields are passed on, to somebody who may read them otherwise."""
    assert outcome(response_framing, ResponseHeader(status, [(CL, "5"), (CL, "6")]), b"GET") == 400
    assert outcome(response_framing, ResponseHeader(status, [(CL, "5"), (TE, "chunked")]), b"HEAD") == 400


@pytest.mark.parametrize("method", [b"head", b"Head"])
def test_methods_are_case_sensitive(method):
    assert outcome(response_framing, ResponseHeader(200, [(CL, "5")]), method) == 5


names = st.sampled_from([TE, CL, TE.lower(), CL.upper(), "Host"])
values = st.sampled_from(["chunked", "Chunked", "gzip", "identity", "0", "5", "05", "5,5", "x y", ""])


@given(st.lists(st.tuples(names, values), max_size=3), st.sampled_from([b"1.0", b"1.1"]))
def test_a_body_has_one_reading_or_none(pairs, version):
    """Accepted framing is declared by at most one line, and that line says exactly what was understood."""
    declared = [(name, value) for name, value in pairs if name.lower() in (TE.lower(), CL.lower())]
    result = outcome(request_framing, RequestHeader("POST", "/", pairs, version=version))
    if result in (400, 501):
        assert declared
    elif not declared:
        assert result == 0
    else:
        ((name, value),) = declared
        if name.lower() == TE.lower():
            assert (version, value.lower(), result) == (b"1.1", "chunked", CHUNKED)
        else:
            assert result == int(value)


def test_content_length_alone():
    assert content_length(Fields()) is None
    assert content_length(Fields([(CL, "0")])) == 0


def test_a_long_value_is_not_repeated_in_full():
    for name in (TE, CL):
        with pytest.raises(MessageFault) as caught:
            request_framing(RequestHeader("POST", "/", [(name, "x " * 5_000 + "x")]))
        assert len(caught.value.reason) < 200
