"""CONNECT to a proxy: its bytes, the bounds of its answer, and what is left for the tunnel."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError
from sansio_pingora.layers import ConnectProxyError, RawConnect
from sansio_pingora.limits import Limits
from sansio_pingora.upstreams import Proxy

OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


def connecting(**limits):
    return RawConnect(Proxy("127.0.0.1:1", "a.test", 443).request(), Limits(**limits))


def hear(tunnel, answer, step):
    for start in range(0, len(answer), step):
        tunnel.receive_data(answer[start : start + step])


def test_the_request():
    head = Proxy("127.0.0.1:1", "pingora.org", 123, [("foo", "Bar")]).request()

    assert RawConnect(head, Limits()).request() == (
        b"CONNECT pingora.org:123 HTTP/1.1\r\nHost: pingora.org:123\r\nfoo: Bar\r\n\r\n"
    )


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 204\r\nVia: 1.1 p\r\n\r\n",
        b"HTTP/1.1 299 Fine\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 16 + OK,
    ],
    ids=repr,
)
@given(data=st.data())
def test_an_answer_that_opens_the_tunnel_from_any_cut(answer, data):
    tail = data.draw(st.binary(max_size=30))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1), max_size=6)))
    tunnel = connecting()
    opened = [
        tunnel.receive_data((answer + tail)[start:end])
        for start, end in zip([0, *cuts], [*cuts, len(answer) + len(tail)], strict=True)
    ]

    assert opened == [False] * len(cuts) + [True]
    assert tunnel.rest == tail
    assert 200 <= tunnel.response.status <= 299


def test_bytes_of_the_tunnel_are_not_for_it():
    tunnel = connecting()
    tunnel.receive_data(OK)

    with pytest.raises(LocalProtocolError, match="the tunnel is open"):
        tunnel.receive_data(b"x")
    assert tunnel.rest == b""


REFUSED = {
    "404": (b"HTTP/1.1 404 Not Found\r\n\r\n", "the proxy refused", "status 404, no proxy-status"),
    "407": (
        b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 3\r\n\r\nabc",
        "the proxy refused",
        "status 407",
    ),
    "told": (
        b"HTTP/1.1 502 Bad\r\nProxy-Status: p; error=dns_error\r\n\r\n",
        "the proxy refused",
        "status 502, proxy-status p; error=dns_error",
    ),
    "redirect": (b"HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", "the proxy refused", "status 301"),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "the proxy refused", "status 101"),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "a transfer coding", "status 200"),
    "many informational": (b"HTTP/1.1 100 C\r\n\r\n" * 17, "more than 16 informational responses", None),
    "not HTTP": (b"SSH-2.0-OpenSSH\r\n", "status line b'SSH-2.0-OpenSSH' is not HTTP/1", None),
    "HTTP/2": (b"HTTP/2 200\r\n\r\n", "is not HTTP/1", None),
    "TLS": (b"\x15\x03\x01\0\2\2\x28", "control byte b'\\x15' in a line", None),
    "bare LF": (b"HTTP/1.1 200 OK\n\n", "control byte b'\\n' in a line", None),
    "no colon": (b"HTTP/1.1 200 OK\r\nx\r\n\r\n", "field line b'x' is not", None),
    "folded": (b"HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n", "field line b' 2' is not", None),
    "long line": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, "a line longer than 16384 bytes", None),
    "long head": (b"HTTP/1.1 200 OK\r\n" + b"X: 1234567890123456\r\n" * 5_000, "field lines", None),
    "endless head": (
        b"HTTP/1.1 200 OK\r\n" + (b"X: " + b"x" * 16_000 + b"\r\n") * 5,
        "a section longer than 65536",
        None,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("step", [1, 1_000_000], ids=["byte by byte", "at once"])
def test_an_answer_that_opens_none(name, step):
    answer, text, cause = REFUSED[name]
    tunnel = connecting()
    with pytest.raises(Error, match=re.escape(text)) as caught:
        hear(tunnel, answer, step)

    error = caught.value
    assert error.etype is ErrorType.CONNECT_PROXY_FAILURE
    assert error.esource is ErrorSource.UPSTREAM
    assert not error.retry
    assert "CONNECT a.test:443" in str(error)
    assert tunnel.response is None
    if cause is None:
        assert error.cause is None
    else:
        assert isinstance(error.cause, ConnectProxyError)
        assert cause in str(error)
        assert f"status {error.cause.response.status}" in cause


@pytest.mark.parametrize(
    ("heard", "stage"),
    [(b"", "before it answered"), (b"HTTP/1.1 200 OK\r\n", "in the middle of its answer to")],
    ids=["nothing", "half an answer"],
)
@pytest.mark.parametrize("reason", [None, Error(ErrorType.READ_ERROR, "reset")], ids=["closed", "reset"])
def test_a_proxy_that_leaves(heard, stage, reason):
    tunnel = connecting()
    if heard:
        tunnel.receive_data(heard)

    error = tunnel.closed(reason)

    assert error.etype is ErrorType.CONNECTION_CLOSED
    assert not error.retry
    assert f"{stage} CONNECT a.test:443" in str(error)
    assert error.cause is reason


def test_the_limits_are_the_service_s():
    tunnel = connecting(max_head=100, max_line=100, max_fields=1, max_informational=0)

    with pytest.raises(Error, match="more than 1 field lines"):
        tunnel.receive_data(b"HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\n\r\n")
    with pytest.raises(Error, match="more than 0 informational"):
        connecting(max_informational=0).receive_data(b"HTTP/1.1 100 C\r\n\r\n")
