"""A WebSocket handshake that changes its version on the way."""

from __future__ import annotations

from base64 import b64decode

import pytest

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.session import bridge, websocket_accept
from sansio_pingora.wire import RequestHeader, ResponseHeader

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def upgrade(*fields, method="GET", version=b"1.1", key=KEY, offer="websocket", connection="Upgrade"):
    own = [("Host", "a"), ("Connection", connection), ("Upgrade", offer), ("Sec-WebSocket-Version", "13")]
    if key is not None:
        own.append(("Sec-WebSocket-Key", key))
    return RequestHeader(method, "/ws?x", [*own, *fields], version=version)


def extended(*fields, number="13"):
    own = [("host", "a"), ("sec-websocket-version", number), *fields]
    return RequestHeader("CONNECT", "/ws?x", own, version=b"2", protocol=b"websocket")


def lines(head):
    return {name.lower(): value for name, value in head.fields}


def test_the_accept_of_rfc_6455():
    assert websocket_accept(KEY.encode()) == ACCEPT


# ── HTTP/1 to HTTP/2 ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("offer", "connection"), [("websocket", "Upgrade"), ("WebSocket", "keep-alive, upgrade")])
def test_an_upgrade_becomes_an_extended_connect(offer, connection):
    head = upgrade(("Sec-WebSocket-Protocol", "chat"), ("X-A", "1"), offer=offer, connection=connection)
    before = list(head.fields)
    made = bridge(head, b"2", b"")
    assert (made.request.method, made.request.target, made.request.protocol) == (b"CONNECT", b"/ws?x", b"websocket")
    assert lines(made.request) == {
        b"host": b"a",
        b"sec-websocket-version": b"13",
        b"sec-websocket-protocol": b"chat",
        b"x-a": b"1",
    }
    assert list(head.fields) == before
    assert (head.method, head.protocol) == (b"GET", None)


@pytest.mark.parametrize("status", [200, 204, 299])
def test_its_success_is_a_101(status):
    made = bridge(upgrade(), b"2", b"")
    head = made.response(ResponseHeader(status, [("sec-websocket-protocol", "chat")]))
    assert head.status == 101
    assert lines(head) == {
        b"connection": b"upgrade",
        b"upgrade": b"websocket",
        b"sec-websocket-accept": ACCEPT,
        b"sec-websocket-protocol": b"chat",
    }


@pytest.mark.parametrize("status", [300, 404, 501])
def test_its_refusal_stays_what_it_is(status):
    head = ResponseHeader(status, [("x-a", "1")])
    assert bridge(upgrade(), b"2", b"").response(head) is head
    assert (head.status, list(head.fields)) == (status, [(b"x-a", b"1")])


@pytest.mark.parametrize(
    "head",
    [
        upgrade(key=None),
        upgrade(("Content-Length", "5")),
        upgrade(("Transfer-Encoding", "chunked")),
    ],
    ids=["no_key", "length", "chunked"],
)
def test_a_handshake_that_is_none(head):
    with pytest.raises(Error) as caught:
        bridge(head, b"2", b"")
    assert (caught.value.status, caught.value.esource) == (400, ErrorSource.DOWNSTREAM)


def test_a_body_of_no_bytes_is_none():
    made = bridge(upgrade(("Content-Length", "0")), b"2", b"")
    assert made.request.method == b"CONNECT"
    assert "content-length" not in made.request.fields, "it would be of the bytes that follow (RFC 9113 section 8.1.1)"


NOT_BRIDGED = {
    "Sec-WebSocket-Accept": "x",
    "Keep-Alive": "timeout=5",
    "TE": "trailers",
    "HTTP2-Settings": "AAMAAABkAAQCAAAAAAIAAAAA",
}


@pytest.mark.parametrize("name", NOT_BRIDGED)
@pytest.mark.parametrize(
    "made", [lambda field: bridge(upgrade(field), b"2", b""), lambda field: bridge(extended(field), b"1.1", b"seed")]
)
def test_fields_of_a_handshake_or_a_connection_end_here(name, made):
    assert name not in made((name, NOT_BRIDGED[name])).request.fields


def test_a_length_of_0_ends_with_the_extended_connect():
    made = bridge(extended(("content-length", "0")), b"1.1", b"seed")
    assert "content-length" not in made.request.fields


# ── HTTP/2 to HTTP/1 ─────────────────────────────────────────────────────────────────


def test_an_extended_connect_becomes_an_upgrade():
    made = bridge(extended(("sec-websocket-protocol", "chat"), ("x-a", "1")), b"1.1", b"seed")
    assert (made.request.method, made.request.target, made.request.protocol) == (b"GET", b"/ws?x", None)
    fields = lines(made.request)
    assert len(b64decode(fields.pop(b"sec-websocket-key"), validate=True)) == 16
    assert fields == {
        b"host": b"a",
        b"connection": b"upgrade",
        b"upgrade": b"websocket",
        b"sec-websocket-version": b"13",
        b"sec-websocket-protocol": b"chat",
        b"x-a": b"1",
    }


def test_a_key_of_the_client_is_not_taken_over():
    made = bridge(extended(("sec-websocket-key", KEY)), b"1.1", b"seed")
    assert made.request.fields.get_all("sec-websocket-key") != [KEY.encode()]


def test_the_key_follows_the_seed():
    keys = [bridge(extended(), b"1.1", seed).request.get("sec-websocket-key") for seed in (b"a", b"a", b"b")]
    assert keys[0] == keys[1] != keys[2]


def test_its_101_is_a_200():
    made = bridge(extended(), b"1.1", b"seed")
    accept = websocket_accept(made.request.get("sec-websocket-key"))
    fields = [("Connection", "upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Accept", accept), ("X-A", "1")]
    head = made.response(ResponseHeader(101, fields))
    assert (head.status, list(head.fields)) == (200, [(b"X-A", b"1")])


@pytest.mark.parametrize(
    ("status", "fields"),
    [(101, [("Sec-WebSocket-Accept", ACCEPT)]), (101, []), (200, []), (204, [])],
    ids=["another_accept", "no_accept", "200", "204"],
)
def test_what_would_look_like_a_success_and_is_none(status, fields):
    with pytest.raises(Error) as caught:
        bridge(extended(), b"1.1", b"seed").response(ResponseHeader(status, fields))
    assert caught.value.esource is ErrorSource.UPSTREAM
    assert caught.value.etype is ErrorType.INVALID_HTTP_HEADER


@pytest.mark.parametrize("status", [302, 401, 426])
def test_a_refusal_stays_what_it_is(status):
    head = ResponseHeader(status, [("X-A", "1")])
    assert bridge(extended(), b"1.1", b"seed").response(head) is head


@pytest.mark.parametrize("number", ["8", "14"])
def test_another_version_of_the_protocol_is_not_made_up_for(number):
    with pytest.raises(Error) as caught:
        bridge(extended(number=number), b"1.1", b"seed")
    assert caught.value.status == 400


# ── nothing to bridge ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("head", "version"),
    [
        (upgrade(), b"1.1"),
        (extended(), b"2"),
        (RequestHeader("GET", "/", [("Host", "a")]), b"2"),
        (upgrade(offer="foo"), b"2"),
        (upgrade(connection="close"), b"2"),
        (upgrade(version=b"1.0"), b"2"),
        (upgrade(method="POST"), b"2"),
        (RequestHeader("GET", "/", [("Host", "a")], version=b"2"), b"1.1"),
        (RequestHeader("CONNECT", "a:1", [("Host", "a:1")], version=b"2"), b"1.1"),
    ],
    ids=[
        "h1_to_h1",
        "h2_to_h2",
        "no_upgrade",
        "another_protocol",
        "not_of_the_connection",
        "1.0",
        "post",
        "h2_get",
        "h2_connect",
    ],
)
def test_what_needs_no_bridge(head, version):
    assert bridge(head, version, b"") is None
