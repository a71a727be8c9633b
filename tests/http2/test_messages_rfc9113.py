"""Messages as RFC 9113 section 8 (and 8441, 9110) demand: what a request, a response and a trailer section may be.

A request that breaks the rules never reaches the application: its stream is reset, or it is answered with an
error, and the connection works on. A response that does fails its stream.
"""

from __future__ import annotations

from typing import Any

import pytest

from sansio_pingora.errors import Error, LocalProtocolError
from sansio_pingora.wire import Body, Done, Fields, Header, RequestHeader, ResponseHeader, Trailer, UpgradedBody
from tests.http2.peer import Code, Kind, block_of, request_fields
from tests.http2.runs import (
    Session,
    answer,
    ask,
    is_refused,
    is_stream_error,
    make_client,
    make_server,
    request_head,
    trailer,
)

CONNECT = [(":method", "CONNECT"), (":authority", "a.test:443")]
BASE = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/")]
METHOD, SCHEME, AUTHORITY, PATH = BASE


def changed(**values: bytes | None) -> list[tuple[bytes, bytes]]:
    """The ordinary request with other pseudo-header fields; None leaves one out."""
    fields = []
    for name, value in BASE:
        other = values.get(name[1:].decode(), value)
        if other is not None:
            fields.append((name, other))
    return fields


def row(name: str, *fields: tuple[bytes, bytes]) -> Any:
    return pytest.param(list(fields), id=name)


MALFORMED = [
    # 8.2: fields
    row("8.1.2/1-upper-case-name", *BASE, (b"X-TEST", b"ok")),
    row("upper-case-in-the-middle", *BASE, (b"x-tEst", b"ok")),
    row("empty-name", *BASE, (b"", b"ok")),
    row("name-with-blank", *BASE, (b"x test", b"ok")),
    row("name-with-blank-behind", *BASE, (b"content-length ", b"0")),
    row("name-with-tab", *BASE, (b"x\ttest", b"ok")),
    row("name-with-colon", *BASE, (b"x:test", b"ok")),
    row("name-with-nul", *BASE, (b"x\0", b"ok")),
    row("name-with-newline", *BASE, (b"x\r\ny", b"ok")),
    row("name-with-del", *BASE, (b"x\x7f", b"ok")),
    row("name-with-high-byte", *BASE, (b"x\xe9", b"ok")),
    row("name-with-separator", *BASE, (b"x(y", b"ok")),
    row("value-with-nul", *BASE, (b"x", b"a\0b")),
    row("value-with-lf", *BASE, (b"x", b"a\nb")),
    row("value-with-cr", *BASE, (b"x", b"a\rb")),
    row("value-with-crlf", *BASE, (b"x", b"a\r\ny: z")),
    row("value-with-blank-before", *BASE, (b"x", b" a")),
    row("value-with-blank-behind", *BASE, (b"x", b"a ")),
    row("value-with-tab-before", *BASE, (b"x", b"\ta")),
    row("value-with-tab-behind", *BASE, (b"x", b"a\t")),
    # 8.2.2: what belongs to one connection
    row("8.1.2.2/1-connection", *BASE, (b"connection", b"keep-alive")),
    row("connection-close", *BASE, (b"connection", b"close")),
    row("proxy-connection", *BASE, (b"proxy-connection", b"keep-alive")),
    row("keep-alive", *BASE, (b"keep-alive", b"timeout=5")),
    row("transfer-encoding", *BASE, (b"transfer-encoding", b"chunked")),
    row("upgrade", *BASE, (b"upgrade", b"websocket")),
    row("8.1.2.2/2-te", *BASE, (b"te", b"trailers, deflate")),
    row("te-gzip", *BASE, (b"te", b"gzip")),
    row("te-chunked", *BASE, (b"te", b"chunked")),
    row("te-twice", *BASE, (b"te", b"trailers"), (b"te", b"gzip")),
    # 8.3: pseudo-header fields
    row("8.1.2.1/1-unknown-pseudo", *BASE, (b":test", b"ok")),
    row("8.1.2.1/2-pseudo-of-responses", *BASE, (b":status", b"200")),
    row("8.1.2.1/4-pseudo-behind-a-field", METHOD, SCHEME, AUTHORITY, (b"x", b"y"), PATH),
    row("pseudo-behind-a-field-of-its-own", *BASE, (b"x", b"y"), (b":path", b"/admin")),
    row("bare-colon", *BASE, (b":", b"x")),
    row("pseudo-in-capitals", *changed(method=None), (b":METHOD", b"GET")),
    row("8.1.2.3/1-empty-path", *changed(path=b"")),
    row("8.1.2.3/2-no-method", *changed(method=None)),
    row("8.1.2.3/3-no-scheme", *changed(scheme=None)),
    row("8.1.2.3/4-no-path", *changed(path=None)),
    row("8.1.2.3/5-method-twice", *BASE, METHOD),
    row("8.1.2.3/6-scheme-twice", *BASE, SCHEME),
    row("8.1.2.3/7-path-twice", *BASE, PATH),
    row("authority-twice", *BASE, AUTHORITY),
    row("authority-twice-and-another", *BASE, (b":authority", b"b.test")),
    row("nothing-at-all"),
    row("no-pseudo", (b"x", b"y")),
    row("empty-method", *changed(method=b"")),
    row("method-with-blank", *changed(method=b"GET /")),
    row("method-with-newline", *changed(method=b"GET\r\n")),
    row("method-with-separator", *changed(method=b"GE(T")),
    row("empty-scheme", *changed(scheme=b"")),
    row("scheme-with-path", *changed(scheme=b"http://a.test/x?")),
    row("scheme-with-newline", *changed(scheme=b"http\r\n")),
    row("path-without-slash", *changed(path=b"index.html")),
    row("path-absolute-form", *changed(path=b"http://b.test/")),
    row("path-of-a-query", *changed(path=b"?x=y")),
    row("path-with-blank", *changed(path=b"/a b")),
    row("path-with-newline", *changed(path=b"/\r\nx: y")),
    row("path-with-nul", *changed(path=b"/\0")),
    row("path-with-fragment", *changed(path=b"/a#b")),
    row("path-with-high-byte", *changed(path=b"/\xe9")),
    row("path-with-del", *changed(path=b"/\x7f")),
    row("asterisk-of-a-get", *changed(path=b"*")),
    row("asterisk-and-more", *changed(method=b"OPTIONS", path=b"*/")),
    row("no-authority", *changed(authority=None)),
    row("authority-with-userinfo", *changed(authority=b"user@a.test")),
    row("authority-with-userinfo-and-password", *changed(authority=b"u:p@a.test:80")),
    row("authority-with-path", *changed(authority=b"a.test/x")),
    row("authority-with-blank", *changed(authority=b"a.test b.test")),
    row("authority-list", *changed(authority=b"a.test,b.test")),
    row("authority-with-newline", *changed(authority=b"a.test\r\nx: y")),
    row("authority-with-nul", *changed(authority=b"a.test\0")),
    row("authority-with-port-out-of-range", *changed(authority=b"a.test:65536")),
    row("authority-with-port-that-is-none", *changed(authority=b"a.test:http")),
    row("authority-with-half-an-address", *changed(authority=b"[::1")),
    row("host-that-differs", *BASE, (b"host", b"b.test")),
    row("host-that-differs-by-port", *BASE, (b"host", b"a.test:81")),
    row("host-that-is-empty", *BASE, (b"host", b"")),
    row("host-twice", *changed(authority=None), (b"host", b"a.test"), (b"host", b"b.test")),
    row("host-twice-the-same-and-another", *BASE, (b"host", b"a.test"), (b"host", b"b.test")),
    row("host-with-userinfo", *changed(authority=None), (b"host", b"user@a.test")),
    row("host-list", *changed(authority=None), (b"host", b"a.test, b.test")),
    # 8.5 and RFC 8441: CONNECT
    row("connect-with-path", (b":method", b"CONNECT"), (b":authority", b"a.test:443"), (b":path", b"/")),
    row("connect-with-scheme", (b":method", b"CONNECT"), (b":authority", b"a.test:443"), (b":scheme", b"https")),
    row("connect-without-authority", (b":method", b"CONNECT")),
    row("connect-without-port", (b":method", b"CONNECT"), (b":authority", b"a.test")),
    row("connect-in-full", *changed(method=b"CONNECT", authority=b"a.test:443")),
    row("protocol-of-a-get", *BASE, (b":protocol", b"websocket")),
    row("protocol-that-is-empty", *changed(method=b"CONNECT"), (b":protocol", b"")),
    row("protocol-with-newline", *changed(method=b"CONNECT"), (b":protocol", b"websocket\r\nx: y")),
    row("protocol-twice", *changed(method=b"CONNECT"), *[(b":protocol", b"websocket")] * 2),
    row("extended-connect-without-path", *changed(method=b"CONNECT", path=None), (b":protocol", b"websocket")),
    row("extended-connect-without-scheme", *changed(method=b"CONNECT", scheme=None), (b":protocol", b"websocket")),
    row(
        "extended-connect-without-authority", *changed(method=b"CONNECT", authority=None), (b":protocol", b"websocket")
    ),
    # 8.1.1: Content-Length of a request that has no body, or is no number
    row("length-without-a-body", *BASE, (b"content-length", b"5")),
    *(
        row(f"length-{value!r}", *BASE, (b"content-length", value))
        for value in (b"", b"+0", b"-0", b"0x0", b"0,0", b"0 0", b"0.0", b"a", b"\xd9\xa0", b"0" * 20, b"9" * 400)
    ),
    row("length-twice", *BASE, (b"content-length", b"0"), (b"content-length", b"0")),
]


@pytest.mark.parametrize("fields", MALFORMED)
@pytest.mark.parametrize("end", [True, False], ids=["whole", "with-a-body"])
def test_a_malformed_request_is_refused(fields, end):
    if not end and (b"content-length", b"5") in fields:
        end = True
    session = make_server(options={"allow_connect": True})
    session.deliver(session.peer.headers(1, block=block_of(fields), end=end))
    if not end and not session.over and not session.peer.streams[1].over:
        session.deliver(session.peer.data(1, b"smuggled", end=True))

    is_refused(session, 1, Code.PROTOCOL_ERROR)
    assert session.failure(1) is not None, "what was refused can be logged"


TAKEN = [
    row("ordinary", *BASE),
    row("https", *changed(scheme=b"https")),
    row("asterisk-of-options", *changed(method=b"OPTIONS", path=b"*")),
    row("te-trailers", *BASE, (b"te", b"trailers")),
    row("host-alone", *changed(authority=None), (b"host", b"a.test")),
    row("host-that-is-the-same", *BASE, (b"host", b"a.test")),
    row("port", *changed(authority=b"a.test:8080")),
    row("address", *changed(authority=b"[::1]:8080")),
    row("query", *changed(path=b"/?a=b&c=%20")),
    row("path-of-two-slashes", *changed(path=b"//x")),
    row("unknown-method", *changed(method=b"PURGE")),
    row("empty-value", *BASE, (b"x", b"")),
    row("value-of-high-bytes", *BASE, (b"x", b"\xc3\xa9\xff")),
    row("value-with-tab", *BASE, (b"x", b"a\tb")),
    row("field-twice", *BASE, (b"x", b"1"), (b"x", b"2")),
    row("pseudo-in-another-order", PATH, AUTHORITY, SCHEME, METHOD),
    row("length-of-0", *BASE, (b"content-length", b"0")),
    row("name-of-every-tchar", *BASE, (b"!#$%&'*+-.^_`|~09az", b"1")),
]


@pytest.mark.parametrize("fields", TAKEN)
def test_a_legal_request_is_taken(fields):
    session = make_server()
    session.deliver(session.peer.headers(1, block=block_of(fields)))
    given = dict(fields)
    pseudo = [(name, value) for name, value in fields if not name.startswith(b":") and name != b"host"]

    assert session.of(1) == [
        (
            1,
            "request",
            given[b":method"],
            given[b":path"],
            [(b"host", given.get(b":authority", given.get(b"host"))), *pseudo],
            True,
        )
    ]
    head = session.raw[0][1].head
    assert head.version == b"2"
    assert head.scheme == given[b":scheme"]
    assert head.protocol is None
    session.useful()


def test_cookie_crumbs_are_joined():
    """RFC 9113 section 8.2.3."""
    session = make_server()
    session.deliver(
        session.peer.request(1, "GET", "/", ("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("cookie", "e=f"))
    )

    assert session.of(1)[0][4] == [(b"host", b"a.test"), (b"cookie", b"a=b; c=d; e=f"), (b"x", b"y")]


def test_empty_crumbs_of_a_cookie_leave_no_blank_at_its_end():
    session = make_server()

    session.deliver(session.peer.request(1, "GET", "/", ("cookie", "a=b"), ("cookie", ""), ("cookie", "")))

    assert session.of(1)[0][4] == [(b"host", b"a.test"), (b"cookie", b"a=b")]


# ── 8.1.1: Content-Length and DATA ───────────────────────────────────────────────────

SHORT_OR_LONG = [
    pytest.param(b"1", [b"test"], id="8.1.2.6/1-longer"),
    pytest.param(b"1", [b"te", b"st"], id="8.1.2.6/2-longer-in-two"),
    pytest.param(b"5", [b"test"], id="shorter"),
    pytest.param(b"5", [b"te", b"st", b""], id="shorter-in-three"),
    pytest.param(b"5", [], id="nothing"),
    pytest.param(b"0", [b"x"], id="more-than-nothing"),
    pytest.param(b"18446744073709551620", [b"test"], id="wraps-at-64-bits"),
    pytest.param(b"4294967300", [b"test"], id="wraps-at-32-bits"),
]


@pytest.mark.parametrize(("length", "pieces"), SHORT_OR_LONG)
def test_8_1_1_a_request_of_another_length_than_declared(length, pieces):
    session = make_server()
    peer = session.peer
    session.deliver(
        peer.headers(1, block=block_of([(b":method", b"POST"), *BASE[1:], (b"content-length", length)]), end=False)
    )
    for at, piece in enumerate(pieces or [b""]):
        if not peer.streams[1].over:
            session.deliver(peer.data(1, piece, end=at >= len(pieces) - 1))

    assert session.failure(1) is not None
    assert not session.ends(1), "never a clean end"
    assert len(session.body(1)) <= int(length)
    is_stream_error(session, 1, Code.PROTOCOL_ERROR)


@pytest.mark.parametrize(("length", "pieces"), [row for row in SHORT_OR_LONG if "wraps-at-64" not in row.id])
def test_8_1_1_a_response_of_another_length_than_declared(length, pieces):
    session = make_client()
    key = ask(session)
    peer = session.peer
    session.deliver(peer.response(1, 200, ("content-length", length.decode()), end=False))
    for at, piece in enumerate(pieces or [b""]):
        if not peer.streams[1].theirs_reset:
            session.deliver(peer.data(1, piece, end=at >= len(pieces) - 1))

    assert session.failure(key).type_str == "InvalidH2"
    assert not session.ends(key)
    is_stream_error(session, 1, Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("role", ["server", "client"])
def test_8_1_1_trailers_behind_too_few_bytes(role):
    session = make_server() if role == "server" else make_client()
    peer = session.peer
    if role == "server":
        session.deliver(peer.request(1, "POST", "/", ("content-length", "5"), end=False))
    else:
        ask(session)
        session.deliver(peer.response(1, 200, ("content-length", "5"), end=False))
    session.deliver(peer.data(1, b"four"), peer.headers(1, [("x-sum", "1")]))

    assert session.failure(1) is not None
    assert not session.ends(1)
    is_stream_error(session, 1, Code.PROTOCOL_ERROR)


# ── trailers ─────────────────────────────────────────────────────────────────────────

BAD_TRAILERS = [
    row("8.1.2.1/3-pseudo", (b":method", b"GET")),
    row("pseudo-of-responses", (b":status", b"200")),
    row("pseudo-behind-a-field", (b"x", b"y"), (b":path", b"/")),
    row("transfer-encoding", (b"transfer-encoding", b"chunked")),
    row("connection", (b"connection", b"close")),
    row("content-length", (b"content-length", b"4")),
    row("host", (b"host", b"evil.test")),
    row("authorization", (b"authorization", b"x")),
    row("upper-case", (b"X-Sum", b"1")),
    row("newline", (b"x-sum", b"1\r\ny: z")),
    row("empty-name", (b"", b"1")),
]


@pytest.mark.parametrize("fields", BAD_TRAILERS)
@pytest.mark.parametrize("role", ["server", "client"])
def test_malformed_trailers_fail_the_message(role, fields):
    session = make_server() if role == "server" else make_client()
    peer = session.peer
    if role == "server":
        session.deliver(peer.request(1, "POST", end=False))
    else:
        ask(session)
        session.deliver(peer.response(1, 200, end=False))
    session.deliver(peer.data(1, b"test"), peer.headers(1, block=block_of(fields)))

    assert session.failure(1) is not None
    assert not session.ends(1)
    is_stream_error(session, 1, Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("role", ["server", "client"])
def test_8_1_1_a_second_head_without_an_end(role):
    """h2spec 8.1/1."""
    session = make_server() if role == "server" else make_client()
    peer = session.peer
    if role == "server":
        session.deliver(peer.request(1, "POST", end=False))
        session.deliver(peer.headers(1, request_fields(), end=False))
    else:
        ask(session)
        session.deliver(peer.response(1, 200, end=False))
        session.deliver(peer.response(1, 200, end=False))

    assert session.failure(1) is not None
    is_stream_error(session, 1, Code.PROTOCOL_ERROR)


def test_the_trailers_are_read_with_the_table_whatever_becomes_of_them():
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False), peer.headers(1, [("x-new", "in the table"), ("host", "x")]))
    session.deliver(peer.request(3, "GET", "/", ("x-new", "in the table")))

    assert (b"x-new", b"in the table") in session.of(3)[0][4]


# ── responses ────────────────────────────────────────────────────────────────────────

STATUS = (b":status", b"200")
BAD_RESPONSES = [
    row("no-status"),
    row("no-status-but-a-field", (b"x", b"y")),
    row("status-behind-a-field", (b"x", b"y"), STATUS),
    row("status-twice", STATUS, STATUS),
    row("status-twice-another", STATUS, (b":status", b"404")),
    row("pseudo-of-requests", STATUS, (b":path", b"/")),
    row("unknown-pseudo", STATUS, (b":test", b"1")),
    *(
        row(f"status-{value!r}", (b":status", value))
        for value in (b"", b"20", b"2000", b"abc", b"+200", b"-20", b" 200", b"2 0", b"200 OK", b"099", b"000", b"101")
    ),
    row("upper-case-name", STATUS, (b"X-Test", b"1")),
    row("connection", STATUS, (b"connection", b"close")),
    row("keep-alive", STATUS, (b"keep-alive", b"timeout=5")),
    row("transfer-encoding", STATUS, (b"transfer-encoding", b"chunked")),
    row("upgrade", STATUS, (b"upgrade", b"h2c")),
    row("value-with-newline", STATUS, (b"x", b"a\r\nset-cookie: b")),
    row("value-with-nul", STATUS, (b"x", b"\0")),
    row("name-with-newline", STATUS, (b"x: y\r\nz", b"1")),
    row("name-with-blank", STATUS, (b"x y", b"1")),
    row("empty-name", STATUS, (b"", b"1")),
    row("length-without-a-body", STATUS, (b"content-length", b"5")),
    row("length-that-is-none", STATUS, (b"content-length", b"5a")),
    row("length-twice", STATUS, (b"content-length", b"0"), (b"content-length", b"1")),
    row("1xx-that-ends", (b":status", b"103")),
]


@pytest.mark.parametrize("fields", BAD_RESPONSES)
def test_a_malformed_response_fails_its_stream(fields):
    session = make_client()
    key = ask(session)
    session.deliver(session.peer.headers(1, block=block_of(fields)))

    assert [event[:3] for event in session.of(key)] == [(key, "failed", "InvalidH2")]
    is_stream_error(session, 1, Code.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    ("method", "status", "length"),
    [("HEAD", 200, "5"), ("GET", 304, "5"), ("GET", 204, None), ("HEAD", 200, None), ("GET", 205, "0")],
)
@pytest.mark.parametrize("end", [True, False], ids=["with-the-head", "apart"])
def test_a_response_without_content(method, status, length, end):
    session = make_client()
    key = ask(session, method)
    fields = [("content-length", length)] if length is not None else []
    session.deliver(session.peer.response(1, status, *fields, end=end))
    session.deliver(session.peer.data(1, end=True)) if not end else None

    assert session.of(key)[0][1:3] == ("response", status)
    assert session.ends(key) == 1
    assert session.failure(key) is None
    session.useful()


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304), ("GET", 204)])
def test_content_where_there_is_none(method, status):
    session = make_client()
    key = ask(session, method)
    session.deliver(session.peer.response(1, status, end=False), session.peer.data(1, b"poison", end=True))

    assert session.failure(key) is not None
    assert session.body(key) == b""
    is_stream_error(session, 1, Code.PROTOCOL_ERROR)


# ── what we send ─────────────────────────────────────────────────────────────────────


def test_what_belongs_to_one_connection_is_not_sent():
    """RFC 9113 section 8.2.2: an application written for HTTP/1 works unchanged."""
    fields = [
        ("Connection", "close, x-hop"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "close"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ("TE", "gzip, trailers"),
        ("X-Kept", "Yes"),
    ]
    session = make_client()
    session.send(session.machine.open_stream(0.0), Header(request_head("GET", "/", *fields), True))
    sent = session.frames[-1].value
    server = make_server()
    server.deliver(server.peer.request(1))
    server.send(1, Header(ResponseHeader(200, fields), True))

    assert sent[:4] == BASE[:2] + BASE[2:] or {*sent[:4]} == {*BASE}
    assert sorted(sent[4:]) == [(b"te", b"trailers"), (b"x-kept", b"Yes")]
    assert [item for item in server.frames[-1].value if item[0] != b"date"] == [STATUS, (b"x-kept", b"Yes")]


@pytest.mark.parametrize(
    ("head", "why"),
    [
        pytest.param(RequestHeader("GET", "/"), "no Host", id="no-host"),
        pytest.param(RequestHeader("GET", "/", [("Host", "a"), ("Host", "b")]), "two Hosts", id="two-hosts"),
        pytest.param(request_head("POST", "/", ("Content-Length", "5a")), "a length", id="length"),
        pytest.param(request_head("POST", "/", ("Content-Length", "5"), ("Content-Length", "6")), "two", id="lengths"),
        pytest.param(ResponseHeader(200), "a response", id="response"),
    ],
)
def test_a_request_head_that_breaks_the_rules_is_not_sent(head, why):
    session = make_client()
    key = session.machine.open_stream(0.0)
    with pytest.raises(LocalProtocolError):
        session.machine.send(key, Header(head, False), 0.0)

    assert session.machine.data_to_send() == [], why
    session.send(key, Header(request_head(), True))
    assert session.frames[-1].stream == 1, "the machine is unchanged"


@pytest.mark.parametrize(
    ("method", "status", "fields", "end"),
    [
        pytest.param("GET", 101, [], False, id="101"),
        pytest.param("GET", 200, [("Content-Length", "x")], False, id="length"),
        pytest.param("GET", 200, [("Content-Length", "5")], True, id="length-without-body"),
        pytest.param("GET", 200, [("Content-Length", "5"), ("Content-Length", "6")], False, id="lengths"),
    ],
)
def test_a_response_head_that_breaks_the_rules_is_not_sent(method, status, fields, end):
    session = make_server()
    session.deliver(session.peer.request(1, method))
    with pytest.raises(LocalProtocolError):
        session.machine.send(1, Header(ResponseHeader(status, fields), end), 0.0)

    assert session.machine.data_to_send() == []
    answer(session, 1)
    assert session.status(1) == b"200"


@pytest.mark.parametrize(
    "tasks",
    [
        pytest.param([Body(b"1234"), Body(b"56")], id="too-long"),
        pytest.param([Body(b"123456", True)], id="too-long-at-once"),
        pytest.param([Body(b"1234", True)], id="too-short"),
        pytest.param([Body(b"1234"), Done()], id="done-too-early"),
        pytest.param([Body(b"1234"), trailer(("x", "y"))], id="trailers-too-early"),
    ],
)
@pytest.mark.parametrize("role", ["server", "client"])
def test_a_body_of_another_length_than_declared_is_not_sent(role, tasks):
    session = prepared(role)
    for task in tasks[:-1]:
        session.send(1, task)
    frames = len(session.frames)
    with pytest.raises(LocalProtocolError):
        session.machine.send(1, tasks[-1], 0.0)

    session.settle()
    assert len(session.frames) == frames


@pytest.mark.parametrize("role", ["server", "client"])
def test_what_is_sent_behind_the_declared_end_does_not_leave(role):
    session = prepared(role)
    session.send(1, Body(b"12345"))
    assert not session.frames[-1].end, "trailers may follow"
    with pytest.raises(LocalProtocolError):
        session.machine.send(1, Body(b"6"), 0.0)
    assert session.machine.data_to_send() == []
    session.send(1, Done())
    assert session.frames[-1].end
    assert session.data(1) == b"12345"


@pytest.mark.parametrize("role", ["server", "client"])
def test_trailers_follow_a_body_of_declared_length(role):
    session = prepared(role)
    session.send(1, Body(b"12345"), Trailer(Fields([("X-Sum", "1")])))
    assert session.frames[-1].kind == "HEADERS"
    assert session.frames[-1].end


@pytest.mark.parametrize("role", ["server", "client"])
def test_a_body_that_says_that_it_ends_is_not_waited_for(role):
    session = prepared(role)
    session.send(1, Body(b"12345", True))
    assert session.frames[-1].end
    assert session.frames[-1].kind == "DATA"


def prepared(role: str, length: str | None = "5") -> Session:
    """Stream 1 with a head sent that declares five bytes."""
    fields = [("Content-Length", length)] if length else []
    if role == "server":
        session = make_server()
        session.deliver(session.peer.request(1))
        session.send(1, Header(ResponseHeader(200, fields), False))
    else:
        session = make_client()
        ask(session, "POST", "/", *fields, end=False)
    return session


@pytest.mark.parametrize(
    "fields",
    [[("Content-Length", "5")], [("Transfer-Encoding", "chunked")], [("Host", "x")], [("Connection", "close")]],
    ids=lambda fields: fields[0][0],
)
@pytest.mark.parametrize("role", ["server", "client"])
def test_trailers_that_break_the_rules_are_not_sent(role, fields):
    session = prepared(role, length=None)
    session.send(1, Body(b"1234"))
    with pytest.raises(LocalProtocolError):
        session.machine.send(1, trailer(*fields), 0.0)
    session.send(1, trailer(("x-sum", "1")))

    assert session.frames[-1].value == [(b"x-sum", b"1")]


def test_moves_that_are_not_legal_raise_and_change_nothing():
    server, client = make_server(options={"allow_connect": True}), make_client()
    server.deliver(server.peer.request(1), server.peer.request(5), server.peer.headers(7, CONNECT, end=False))
    server.send(5, Header(ResponseHeader(200), False))
    first, second = client.machine.open_stream(0.0), client.machine.open_stream(0.0)
    client.send(first, Header(request_head("POST"), False))
    for session, stream, task in (
        (server, 9, Header(ResponseHeader(200), True)),
        (server, 0, Header(ResponseHeader(200), True)),
        (server, -1, Done()),
        (server, 1, Body(b"before the head")),
        (server, 1, Done()),
        (server, 1, trailer(("x", "y"))),
        (server, 1, Header(request_head(), True)),
        (server, 1, UpgradedBody(b"x")),
        (server, 5, Header(ResponseHeader(200), True)),
        (server, 5, UpgradedBody(b"x")),
        (server, 7, UpgradedBody(b"too early")),
        (server, 7, Header(ResponseHeader(200, [("Content-Length", "0")]), False)),
        (client, 99, Header(request_head(), True)),
        (client, first, Header(request_head(), True)),
        (client, second, Header(request_head("POST", "/", ("Content-Length", "5")), True)),
        (client, second, Body(b"before the head")),
    ):
        with pytest.raises(LocalProtocolError):
            session.machine.send(stream, task, 0.0)
        assert session.machine.data_to_send() == []
    assert server.machine.open_stream(0.0) is None
    assert server.machine.active == 3
    assert client.machine.active == 2
    server.alive()
    client.alive()


def test_a_caller_cannot_inject_fields():
    """Heads prove their parts when they are made; a template that was made by hand is proved here."""
    for name, value in ((b"x\r\ny", b"z"), (b"x", b"a\r\nb: c"), (b"x y", b"z"), (b"", b"z")):
        with pytest.raises(Error):
            ResponseHeader(200, [(name, value)])


def test_fields_keep_their_order_and_names_are_lowered():
    session = make_server()
    session.deliver(session.peer.request(1))
    session.send(
        1,
        Header(
            ResponseHeader(200, [("B", "1"), ("a", "2"), ("B", "3"), ("Set-Cookie", "x"), ("set-cookie", "y")]), True
        ),
    )

    assert [item for item in session.frames[-1].value if item[0] != b"date"] == [
        STATUS,
        (b"b", b"1"),
        (b"a", b"2"),
        (b"b", b"3"),
        (b"set-cookie", b"x"),
        (b"set-cookie", b"y"),
    ]


def test_a_large_head_is_sent_in_pieces_that_nothing_comes_between():
    session = make_server()
    session.deliver(session.peer.request(1))
    session.send(1, Header(ResponseHeader(200, [(f"x-{n}", "y" * 999) for n in range(60)]), True))

    assert len(session.frames[-1].value) >= 61
    assert session.out.count(bytes((Kind.CONTINUATION, 4)) + (1).to_bytes(4, "big")) == 1
