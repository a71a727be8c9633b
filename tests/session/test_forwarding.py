"""The table of what is passed on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.session import (
    HEARSAY,
    HOP_BY_HOP,
    LOOKALIKES,
    forwarded_request,
    forwarded_response,
    max_forwards,
    settle_connection_options,
)
from sansio_pingora.wire import RequestHeader, ResponseHeader

PROTECTED = ["Host", "Content-Length", "Transfer-Encoding", "Forwarded", "Via", "X-Real-IP", "Authorization", "Cookie"]


def request(*fields, version=b"1.1"):
    return RequestHeader("GET", "/", [("Host", "a"), *fields], version=version)


def test_nothing_to_remove():
    head = request(("X-A", "1"))
    out = forwarded_request(head)
    assert out == head
    assert out is not head
    out.insert("x-a", "2")
    assert head.get("x-a") == b"1"


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_every_hop_by_hop_field_ends_here(name):
    head = request((name, "x"), ("X-A", "1"))
    out = forwarded_request(head)
    assert [field for field, _ in out.fields] == [b"Host", b"X-A"]
    assert name in head.fields  # it is a copy that lost it
    answer = ResponseHeader(200, [(name, "x"), ("X-A", "1")])
    assert [field for field, _ in forwarded_response(answer).fields] == [b"X-A"]


@pytest.mark.parametrize("name", [name for name in PROTECTED if name != "Transfer-Encoding"])
def test_protected_fields_stay_though_connection_names_them(name):
    head = request(("Connection", f"{name}, X-Gone"), ("X-Gone", "1"))
    head.insert(name, "kept")
    out = forwarded_request(head)
    assert out.get(name) == b"kept"
    assert "x-gone" not in out.fields


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Forwarded-Proto", "x-forwarded-anything"])
def test_forwarding_fields_stay(name):
    assert forwarded_request(request(("Connection", name), (name, "1"))).get(name) == b"1"


@pytest.mark.parametrize(
    ("connection", "upgrade", "version", "kept"),
    [
        ("upgrade", "websocket", b"1.1", b"websocket"),
        ("keep-alive, Upgrade", "websocket", b"1.1", b"websocket"),
        ("Upgrade", "WebSocket/13", b"1.1", b"WebSocket/13"),
        ("close", "websocket", b"1.1", None),
        ("upgrade", "websocket", b"1.0", None),
        ("upgrade", "h2c", b"1.1", None),
        ("upgrade", "H2C", b"1.1", None),
        ("upgrade", "h2", b"1.1", None),
        ("upgrade", "HTTP/2.0", b"1.1", None),
        ("upgrade", "TLS/1.3, HTTP/1.1", b"1.1", None),
        ("upgrade", "websocket, h2c", b"1.1", None),
        ("upgrade", "websocket,\th2c", b"1.1", None),
    ],
)
def test_upgrade(connection, upgrade, version, kept):
    out = forwarded_request(request(("Connection", connection), ("Upgrade", upgrade), version=version))
    assert out.get("upgrade") == kept
    assert out.get("connection") == (None if kept is None else b"upgrade")


def test_a_second_upgrade_line_cannot_smuggle_h2c():
    out = forwarded_request(request(("Connection", "upgrade"), ("Upgrade", "websocket"), ("Upgrade", "h2c")))
    assert out.fields.get_all("upgrade") == [b"websocket"]


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ([("Connection", "TE"), ("TE", "trailers")], b"trailers"),
        ([("Connection", "TE"), ("TE", "gzip, Trailers")], b"trailers"),
        ([("Connection", "TE"), ("TE", "gzip")], None),
        ([("Connection", "keep-alive"), ("TE", "trailers")], None),
        ([("TE", "trailers")], None),
    ],
)
def test_te(fields, kept):
    out = forwarded_request(request(*fields))
    assert out.get("te") == kept
    assert out.get("connection") == (None if kept is None else b"TE")


def test_the_usual_connection_field_is_gone_as_well():
    out = forwarded_request(request(("Connection", "keep-alive"), ("Keep-Alive", "timeout=5"), ("Upgrade", "h2c")))
    assert [name for name, _ in out.fields] == [b"Host"]


def test_responses_lose_what_their_connection_names():
    head = ResponseHeader(200, [("Connection", "X-A, content-length"), ("X-A", "1"), ("Content-Length", "5")])
    assert forwarded_response(head) is head
    assert list(head.fields) == [(b"Content-Length", b"5")]


def test_a_101_keeps_its_upgrade():
    head = forwarded_response(ResponseHeader(101, [("Connection", "Upgrade, X-A"), ("Upgrade", "ws"), ("X-A", "1")]))
    assert dict(head.fields) == {b"Connection": b"upgrade", b"Upgrade": b"ws"}


@pytest.mark.parametrize("status", [200, 426, 103])
def test_any_other_status_loses_it(status):
    head = forwarded_response(ResponseHeader(status, [("Connection", "upgrade"), ("Upgrade", "h2c")]))
    assert len(head.fields) == 0


def test_an_http_10_answer_is_passed_on_as_11():
    assert forwarded_response(ResponseHeader(200, version=b"1.0")).version == b"1.1"


SPELLINGS = st.sampled_from(sorted(HEARSAY | HOP_BY_HOP | {b"content-length", b"x-other-name"}))


@given(SPELLINGS, st.data())
def test_only_names_that_decide_something_have_look_alikes(name, data):
    spelled = b"".join(
        data.draw(st.sampled_from([b"-", b"_"])) if byte == b"-" else byte
        for byte in (name[at : at + 1] for at in range(len(name)))
    )
    is_lookalike = b"_" in spelled and name != b"x-other-name"
    assert (spelled in LOOKALIKES) is is_lookalike
    out = forwarded_request(request((spelled.title(), "1"), ("X-A", "2")))
    assert (spelled in out.fields) is not (is_lookalike or name in HOP_BY_HOP)
    assert out.get("x-a") == b"2"


def test_what_a_client_names_goes_at_once_with_the_naming():
    head = request(("Connection", "X-A, close, x-b, upgrade, Cookie"), ("X-A", "1"), ("Cookie", "c"))
    settle_connection_options(head)
    assert list(head.fields) == [(b"Host", b"a"), (b"Connection", b"close, upgrade"), (b"Cookie", b"c")]
    head.insert("X-B", "ours")
    assert forwarded_request(head).get("x-b") == b"ours"
    head = request(("Connection", "X-A"), ("Connection", "host"))
    settle_connection_options(head)
    assert list(head.fields) == [(b"Host", b"a")]


@pytest.mark.parametrize(
    ("method", "said", "left", "sent"),
    [
        ("OPTIONS", "1", 1, b"0"),
        ("TRACE", "10", 10, b"9"),
        ("OPTIONS", "0", 0, b"0"),
        ("GET", "1", None, b"1"),
        ("OPTIONS", "-1", None, b"-1"),
        ("OPTIONS", "many", None, b"many"),
        ("OPTIONS", "9" * 5000, None, b"9" * 5000),
    ],
)
def test_max_forwards(method, said, left, sent):
    head = RequestHeader(method, "/", [("Host", "a"), ("Max-Forwards", said)])
    assert max_forwards(head) == left
    assert forwarded_request(head).get("max-forwards") == sent


NAMES = st.sampled_from(
    [*(name.decode() for name in sorted(HOP_BY_HOP)), *PROTECTED[1:2], "X-A", "X-B", "Cookie", "X-Forwarded-For"]
)


@given(
    st.lists(st.tuples(NAMES, st.sampled_from(["1", "x-a", "upgrade, x-b", "h2c", "trailers", "cookie"])), max_size=8)
)
def test_what_comes_out_is_never_hop_by_hop(fields):
    head = request(*fields)
    options = set(head.fields.tokens("connection"))
    out = forwarded_request(head)
    for name, value in out.fields:
        name = name.lower()
        if name == b"connection":
            assert value in (b"upgrade", b"TE")
            assert value.lower() in out.fields
        elif name in (b"upgrade", b"te"):
            assert name in options
            assert value != b"h2c"
        else:
            assert name not in HOP_BY_HOP
    for name, value in head.fields:
        lower = name.lower()
        if lower not in HOP_BY_HOP and lower not in options:
            assert (name, value) in list(out.fields)


# ── between versions ─────────────────────────────────────────────────────────────────

# What came in which version, what leaves towards which, and why.
CONVERSIONS = {
    "connection fields end towards h2": (
        "1.1",
        [("Connection", "keep-alive, X-A"), ("Keep-Alive", "5"), ("Proxy-Connection", "x"), ("X-A", "1"), ("X-B", "2")],
        "2",
        [("X-B", "2")],
    ),
    "framing of chunks ends towards h2": ("1.1", [("Transfer-Encoding", "chunked")], "2", []),
    "a length stays": ("1.1", [("Content-Length", "3")], "2", [("Content-Length", "3")]),
    "a length stays towards h1": ("2", [("content-length", "3")], "1.1", [("content-length", "3")]),
    "te of h1 to h2": ("1.1", [("Connection", "TE"), ("TE", "trailers, gzip")], "2", [("te", "trailers")]),
    "te of h1 that is not of the connection": ("1.1", [("TE", "trailers")], "2", []),
    "te of h2 to h1": ("2", [("te", "trailers")], "1.1", [("Connection", "TE"), ("TE", "trailers")]),
    "te of h2 to h2": ("2", [("te", "trailers")], "2", [("te", "trailers")]),
    "an upgrade to h2": ("1.1", [("Connection", "upgrade"), ("Upgrade", "foo")], "2", []),
    "an upgrade to h2c": (
        "1.1",
        [("Connection", "upgrade, http2-settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAA")],
        "2",
        [],
    ),
    "cookies": ("2", [("cookie", "a=1; b=2")], "1.1", [("cookie", "a=1; b=2")]),
    "expect to h2": ("1.1", [("Expect", "100-continue")], "2", [("Expect", "100-continue")]),
    "expect to h1": ("2", [("expect", "100-continue")], "1.1", [("expect", "100-continue")]),
    "what proxies say": (
        "2",
        [("via", "2 a"), ("forwarded", "for=b"), ("x-forwarded-for", "c")],
        "1.1",
        [("via", "2 a"), ("forwarded", "for=b"), ("x-forwarded-for", "c")],
    ),
    "credentials": ("1.1", [("Proxy-Authorization", "x")], "2", [("Proxy-Authorization", "x")]),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_requests_between_versions(name):
    came_in, fields, leaves_in, kept = CONVERSIONS[name]
    out = forwarded_request(request(*fields, version=came_in.encode()), leaves_in.encode())
    assert list(out.fields) == [(b"Host", b"a"), *((one.encode(), two.encode()) for one, two in kept)]
    assert (out.method, out.target, out.scheme) == (b"GET", b"/", b"http")


def test_the_scheme_is_that_of_our_own_connection():
    head = request(version=b"2")
    head.scheme = b"https"
    assert forwarded_request(head, b"2").scheme == b"http"


@pytest.mark.parametrize("protocol", [None, b"websocket"])
def test_an_extended_connect_stays_one(protocol):
    head = RequestHeader("CONNECT", "/ws", [("Host", "a")], version=b"2", protocol=protocol)
    out = forwarded_request(head, b"2")
    assert (out.method, out.target, out.protocol) == (b"CONNECT", b"/ws", protocol)


@pytest.mark.parametrize("version", [b"1.0", b"1.1", b"2"])
def test_an_answer_of_any_version(version):
    head = ResponseHeader(200, [("Content-Length", "1"), ("Connection", "close")], version=version)
    assert forwarded_response(head).version == b"1.1"
    assert list(head.fields) == [(b"Content-Length", b"1")]
