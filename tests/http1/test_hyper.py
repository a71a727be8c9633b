"""The reference engine: h11's syntax under our policy, and what of h11 must not come through."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.http1.hyper import HyperCodec
from sansio_pingora.limits import Limits
from sansio_pingora.wire import Body, Fields, Header, RequestHeader, ResponseHeader
from tests.http1.runs import make_client, make_server, plain, run_client, run_server

GET = b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n"
CHUNKED = GET.replace(b"%b", b"Transfer-Encoding: chunked\r\n")
OK = b"HTTP/1.1 200 OK\r\n%bContent-Length: 0\r\n\r\n"


def statuses(raw: bytes, **limits: int) -> list[int]:
    run = run_server([raw], engine="hyper", limits=Limits(**limits))
    assert run.seen == [] or not run.failures
    return run.statuses


@pytest.mark.parametrize(
    ("raw", "limits", "status"),
    [
        (GET % b"X: 1\r\nY: 2\r\n", {"max_fields": 2}, 431),
        (GET % (b"X: " + b"y" * 50 + b"\r\n"), {"max_line": 40}, 431),
        (GET % (b"X: " + b"y" * 500 + b"\r\n"), {"max_head": 400}, 431),
        (b"GET /" + b"y" * 50 + b" HTTP/1.1\r\nHost: a\r\n\r\n", {"max_line": 40}, 414),
        (GET % b"X: \x01\r\n", {}, 400),
        (b'GET /" HTTP/1.1\r\nHost: a\r\n\r\n', {}, 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", {}, 505),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", {}, 505),
        (b"GET / HTTP/1.1\r\n\r\n", {}, 400),
        (b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", {}, 400),
        (GET % b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", {}, 400),
        (GET % b"Transfer-Encoding: gzip\r\n", {}, 501),
        (CHUNKED + b"0\r\nX: 1\r\nY: 2\r\n\r\n", {"max_trailer_fields": 1}, 431),
        (CHUNKED + b"0\r\nX: " + b"y" * 50 + b"\r\n\r\n", {"max_trailers": 40}, 431),
        (CHUNKED + b"0\r\nX: \x01\r\n\r\n", {}, 400),
        (CHUNKED + b"0\r\nHost: x\r\n\r\n", {}, 400),
        (CHUNKED + b"1;" + b"y" * 50 + b"\r\nx\r\n0\r\n\r\n", {"max_chunk_overhead": 30, "max_trailers": 10}, 400),
    ],
)
def test_our_limits_and_rules_on_top(raw, limits, status):
    assert statuses(raw, **limits) == [status]


@pytest.mark.parametrize(
    "raw",
    [
        OK % b"X: \x01\r\n",
        (OK % b"").replace(b"200 OK", b"200 O\x01K"),
        (OK % b"").replace(b"200", b"099"),
        (OK % b"").replace(b"1.1", b"1.2"),
        OK % b"Content-Length: 1\r\n",
    ],
)
def test_answers(raw):
    assert run_client([raw], engine="hyper").failures


def test_the_payload_before_a_fault_is_told():
    for raw in (b"5\r\nhelloXX", b"5\r\nhello\r\n0\r\nHost: x\r\n\r\n"):
        run = run_server([CHUNKED + raw], engine="hyper")
        assert [event[1] for event in run.events] == ["request", "body", "failed", "closed"]


def test_what_h11_refuses_to_send_is_the_callers_mistake():
    codec = HyperCodec(Limits(), server=True)
    with pytest.raises(LocalProtocolError, match="h11 refuses"):
        codec.write_response(ResponseHeader.received(200, b"", b"1.1", Fields.received([(b"X", b"\x00")])), b"", 0)
    client = HyperCodec(Limits(), server=False)
    head = RequestHeader.received(b"GET", b"/ x", b"1.1", Fields([("Host", "a")]))
    with pytest.raises(LocalProtocolError, match="h11 refuses"):
        client.write_request(head, b"", 0)
    client.write_request(RequestHeader("GET", "/", [("Host", "a")]), b"", 0)
    with pytest.raises(LocalProtocolError, match="h11 refuses"):
        client.write_request(RequestHeader("GET", "/", [("Host", "a")]), b"", 0)


def test_bytes_that_another_protocol_has_are_counted_once():
    codec = HyperCodec(Limits(), server=True)
    codec.receive(GET.replace(b"%b", b"Connection: upgrade\r\nUpgrade: x\r\n") + b"raw")
    assert codec.read_request() is not None
    assert codec.buffered == 3
    assert codec.take_rest() == b"raw"
    assert codec.buffered == 0
    assert codec.take_rest() == b""


@pytest.mark.parametrize("cut", range(1, 6))
def test_blank_lines_before_a_request(cut):
    """h11 refuses them; RFC 9112 section 2.2 wants one ignored."""
    raw = b"\r\n\r\n" + GET.replace(b"%b", b"")
    assert run_server([raw[:cut], raw[cut:]], engine="hyper").statuses == [200]
    assert run_server([b"\r\n", raw], engine="hyper").statuses == [400]


def test_half_a_blank_line_is_counted():
    codec = HyperCodec(Limits(), server=True)
    codec.receive(b"\r")
    assert codec.buffered == 1
    assert codec.read_request() is None
    codec.receive(b"\n")
    assert codec.buffered == 0


def test_both_engines_put_out_the_same_requests():
    """h11 places Host first, and so do most clients."""
    out = []
    for engine in ("native", "hyper"):
        client = make_client(engine)
        client.open_stream(0.0)
        head = RequestHeader("POST", "/x", [("Host", "a"), ("X-Case", "y"), ("Content-Length", "2")])
        client.send(1, Header(head, False), 0.0)
        client.send(1, Body(b"ok"), 0.0)
        out.append(b"".join(client.data_to_send()))
    assert out[0] == out[1]


def test_the_connection_does_not_know_the_engine():
    told = []
    for engine in ("native", "hyper"):
        server = make_server(engine)
        told.append([plain(event) for event in server.receive_data(CHUNKED + b"2;a=b\r\nok\r\n0\r\nX: y\r\n\r\n", 0.0)])
    assert told[0] == told[1]
