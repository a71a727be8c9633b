"""What a peer writes into a field costs work in proportion to its length, in every parser of field values.

Calls are counted, not time. What a single regular expression does is not seen here: see
tests/architecture/test_patterns.py.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from itertools import product

import pytest

from sansio_pingora.errors import Error
from sansio_pingora.http2.priority import parse_priority
from sansio_pingora.modules.conditional import not_modified_filter, precondition_failed
from sansio_pingora.modules.grpc_web import GrpcWebBridge
from sansio_pingora.modules.negotiation import accepted_codings, compressible_type
from sansio_pingora.modules.ranges import satisfiable_ranges
from sansio_pingora.proxy_protocol import read_proxy_header
from sansio_pingora.session import bridge, forwarded_request, forwarded_response
from sansio_pingora.websocket.deflate import Deflate
from sansio_pingora.websocket.handshake import judge_request, judge_response
from sansio_pingora.wire import Fields, MessageFault, RequestHeader, ResponseHeader, request_framing
from sansio_pingora.wire.authority import Authority
from sansio_pingora.wire.dates import parse_http_date

UNITS = [
    b" ", b"\t ", b",", b", ", b'"', b'"",', b'"a", ', b";", b"; ", b"1", b"\\", b'\\"', b"a", b"a,", b"a, ", b"a;", b"=",
    b"a=1;", b"1-2,", b"-1,", b":", b".", b"permessage-deflate,", b"gzip;q=0,",
]  # fmt: skip
FRAMES = list(product((b"", b"a", b'"', b"bytes=", b"W/"), (b"", b"!", b",", b'"')))


def request(name, value):
    fields = [(b"host", b"a.test"), (b"connection", b"upgrade"), (b"upgrade", b"websocket"), (name, value)]
    return RequestHeader.received(b"GET", b"/", b"1.1", Fields.received(fields))


def response(name, value, status=200):
    return ResponseHeader.received(status, b"OK", b"1.1", Fields.received([(b"etag", b'"v"'), (name, value)]))


def handshake(name, value):
    head = request(name, value)
    for other, said in (("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")):
        if head.get(other) is None:
            head.append(other, said)
    return head


def answered(name, value):
    head = response(name, value, 101)
    for other, said in (("Upgrade", "websocket"), ("Connection", "upgrade")):
        if head.get(other) is None:
            head.append(other, said)
    return judge_response(handshake(b"x", b""), head)


PARSERS = {
    "accept-encoding": lambda value: accepted_codings(request(b"accept-encoding", value).fields),
    "authority": Authority.parse,
    "connection": lambda value: forwarded_request(request(b"connection", value)),
    "connection of a response": lambda value: forwarded_response(response(b"connection", value)),
    "content-encoding": lambda value: response(b"content-encoding", value).fields.tokens(b"content-encoding"),
    "content-length": lambda value: request_framing(request(b"content-length", value)),
    "content-type": compressible_type,
    "content-type of gRPC-Web": lambda value: GrpcWebBridge().request_header_filter(
        None, request(b"content-type", b"application/grpc-web;" + value)
    ),
    "date": parse_http_date,
    "if-match": lambda value: precondition_failed(request(b"if-match", value), response(b"x", b"")),
    "if-modified-since": lambda value: not_modified_filter(request(b"if-modified-since", value), response(b"x", b"")),
    "if-none-match": lambda value: not_modified_filter(request(b"if-none-match", value), response(b"x", b"")),
    "priority": parse_priority,
    "proxy header": lambda value: read_proxy_header(b"PROXY " + value),
    "range": lambda value: satisfiable_ranges(value, 10**6, 16),
    "range of bytes": lambda value: satisfiable_ranges(b"bytes=" + value, 10**6, 10**6),
    "sec-websocket-accept": lambda value: answered(b"sec-websocket-accept", value),
    "sec-websocket-extensions": lambda value: judge_request(handshake(b"sec-websocket-extensions", value)),
    "sec-websocket-extensions of a response": lambda value: Deflate.accepted(value.decode("latin-1")),
    "sec-websocket-key": lambda value: bridge(request(b"sec-websocket-key", value), b"2", b"seed"),
    "sec-websocket-protocol": lambda value: judge_request(handshake(b"sec-websocket-protocol", value), ("chat",)),
    "te": lambda value: forwarded_request(request(b"te", value)),
    "transfer-encoding": lambda value: request_framing(request(b"transfer-encoding", value)),
    "upgrade": lambda value: forwarded_request(request(b"upgrade", value)),
}


def calls(parse, value):
    """How many functions, of Python and of C, *parse* calls."""
    count = 0

    def count_one(frame, event, arg):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count_one)
    try:
        with suppress(Error, MessageFault):
            parse(value)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("name", PARSERS)
def test_four_times_as_long_costs_no_more_than_four_times_as_much(name):
    parse = PARSERS[name]
    calls(parse, b"")  # what is made when it is first needed
    for unit, (begin, end) in product(UNITS, FRAMES):
        short, long = (calls(parse, begin + unit * times + end) for times in (50, 200))
        assert long <= 4 * short + 40, (begin, unit, end)


def test_what_costs_more_is_found():
    def slow(value):
        seen = []
        for byte in value:
            [one.bit_length() for one in seen]
            seen.append(byte)

    assert calls(slow, b"a" * 200) > 4 * calls(slow, b"a" * 50) + 40
