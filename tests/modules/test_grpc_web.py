"""gRPC-Web to an origin that speaks gRPC over HTTP/2."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_pingora.errors import Error
from sansio_pingora.modules import GrpcWebBridge
from sansio_pingora.wire import Fields, RequestHeader, ResponseHeader


def module_for(kind=b"application/grpc-web+proto", version=b"1.1", **fields):
    module = GrpcWebBridge()
    request = RequestHeader("POST", "/pkg.Service/Method", [("content-type", kind), *fields.items()], version=version)
    assert module.request_header_filter(None, request) is None
    return module, request


def response_of(module, kind=b"application/grpc+proto", end=False):
    response = ResponseHeader(200, [("content-type", kind), ("content-length", "10")])
    module.response_header_filter(None, response, end)
    return response


@pytest.mark.parametrize(
    ("kind", "becomes", "back"),
    [
        (b"application/grpc-web", b"application/grpc", b"application/grpc-web+proto"),
        (b"application/grpc-web+proto", b"application/grpc+proto", b"application/grpc-web+proto"),
        (b"Application/GRPC-Web+json; a=b", b"application/grpc+json; a=b", b"application/grpc-web+proto"),
        (b"application/grpc-web-text", b"application/grpc", b"application/grpc-web-text+proto"),
        (b"application/grpc-web-text+proto", b"application/grpc+proto", b"application/grpc-web-text+proto"),
    ],
)
@pytest.mark.parametrize("version", [b"1.1", b"2"])
def test_heads_there_and_back(kind, becomes, back, version):
    module, request = module_for(kind, version)
    assert request.get("content-type") == becomes
    assert request.get("te") == b"trailers"
    assert (b"te" in request.fields.tokens("connection")) is (version == b"1.1")
    response = response_of(module)
    assert response.get("content-type") == back
    assert response.get("content-length") is None


@pytest.mark.parametrize("kind", [b"application/grpc", b"application/grpc-webby", b"text/plain", b""])
def test_others_pass(kind):
    module, request = module_for(kind)
    assert request.get("content-type") == kind
    assert request.get("te") is None
    assert module.request_body_filter(None, b"abc", True) is None
    response = response_of(module)
    assert response.get("content-type") == b"application/grpc+proto"
    assert module.response_body_filter(None, b"abc", False) is None
    assert module.response_trailer_filter(None, Fields([("grpc-status", "0")])) is None


def test_an_answer_that_is_no_grpc_passes():
    module, _ = module_for(b"application/grpc-web-text")
    assert response_of(module, b"text/html").get("content-type") == b"text/html"
    assert module.response_body_filter(None, b"abc", False) is None
    assert module.response_trailer_filter(None, Fields([("grpc-status", "0")])) is None


def test_trailers_as_pingora_writes_them():
    module, _ = module_for()
    response_of(module)
    trailers = Fields([("grpc-status", "0"), ("Grpc-Message", "OK")])
    expected = bytes.fromhex("8000000020") + b"grpc-status:0\r\ngrpc-message:OK\r\n"
    assert module.response_trailer_filter(None, trailers) == expected


def test_trailers_in_text_mode():
    module, _ = module_for(b"application/grpc-web-text")
    response_of(module)
    frame = module.response_trailer_filter(None, Fields([("grpc-status", "0")]))
    assert b64decode(frame) == b"\x80\x00\x00\x00\x0fgrpc-status:0\r\n"


@given(pieces=st.lists(st.binary(max_size=20), max_size=6), cuts=st.lists(st.integers(0, 300), max_size=8))
@settings(deadline=None)
def test_base64_of_requests_in_any_pieces(pieces, cuts):
    module, _ = module_for(b"application/grpc-web-text")
    coded = b"".join(map(b64encode, pieces))  # each padded by itself
    ends = sorted({0, len(coded), *(cut % (len(coded) + 1) for cut in cuts)})
    parts = [coded[start:end] for start, end in pairwise(ends)] or [b""]
    decoded = [module.request_body_filter(None, part, at == len(parts) - 1) for at, part in enumerate(parts)]
    assert b"".join(decoded) == b"".join(pieces)


@pytest.mark.parametrize("coded", [b"abc", b"ab!d", b"a===", b"====", b"ab=d", b"abcd\n"])
def test_what_is_no_base64(coded):
    module, _ = module_for(b"application/grpc-web-text")
    with pytest.raises(Error, match="not in base64") as caught:
        module.request_body_filter(None, coded, True)
    assert caught.value.status == 400


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_base64_of_responses_can_be_read_piece_by_piece(pieces):
    module, _ = module_for(b"application/grpc-web-text")
    response_of(module)
    coded = b"".join(module.response_body_filter(None, piece, False) for piece in pieces)
    groups = re.findall(rb"[^=]{2}==|[^=]{3}=|[^=]{4}", coded)
    assert b"".join(map(b64decode, groups)) == b"".join(pieces)


def test_text_mode_has_no_length_for_the_origin():
    _, request = module_for(b"application/grpc-web-text", **{"content-length": "8"})
    assert request.get("content-length") is None
    _, request = module_for(b"application/grpc-web", **{"content-length": "8"})
    assert request.get("content-length") == b"8"


def test_connection_close_stays_said():
    _, request = module_for(connection="close")
    assert request.get("connection") == b"close, TE"
