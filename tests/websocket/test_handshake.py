"""Handshakes: who is let in, and what an answer must say."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error
from sansio_pingora.websocket import (
    Deflate,
    handshake_request,
    judge_request,
    judge_response,
    offered_subprotocols,
)
from sansio_pingora.wire import RequestHeader, ResponseHeader

KEY = b"the sample nonce"  # whose base64 is the example of RFC 6455


def request(**changes) -> RequestHeader:
    fields = {
        "Host": "server.example.com",
        "Upgrade": "websocket",
        "Connection": "keep-alive, Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        **changes,
    }
    return RequestHeader("GET", "/chat", [(name, value) for name, value in fields.items() if value is not None])


def test_the_example_of_the_rfc():
    accepted = judge_request(request())

    assert accepted.head.status == 101
    assert accepted.head.get("sec-websocket-accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert accepted.head.get("upgrade") == b"websocket"
    assert accepted.subprotocol is None
    assert accepted.deflate is None


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Upgrade": None}, 426),
        ({"Upgrade": "h2c"}, 426),
        ({"Connection": "keep-alive"}, 426),
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Version": None}, 426),
        ({"Sec-WebSocket-Key": None}, 400),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ="}, 400),
    ],
    ids=repr,
)
def test_who_is_not_let_in(changes, status):
    with pytest.raises(Error) as caught:
        judge_request(request(**changes))

    assert caught.value.status == status


def test_another_method():
    head = request()
    head.set_method("POST")
    with pytest.raises(Error) as caught:
        judge_request(head)

    assert caught.value.status == 405


@pytest.mark.parametrize(
    ("offered", "ours", "chosen"),
    [
        (None, ["chat"], None),
        ("chat", [], None),
        ("chat, superchat", ["superchat", "chat"], "chat"),
        ("other, superchat", ["superchat"], "superchat"),
        ("other", ["chat"], None),
    ],
)
def test_the_clients_first_subprotocol_that_is_ours(offered, ours, chosen):
    accepted = judge_request(request(**{"Sec-WebSocket-Protocol": offered}), ours)

    assert accepted.subprotocol == chosen
    assert accepted.head.get("sec-websocket-protocol") == (None if chosen is None else chosen.encode())


@pytest.mark.parametrize("version", [b"1.1", b"2"])
def test_both_ends_agree(version):
    head = handshake_request("a.test", "/ws", KEY, version=version, subprotocols=["a", "b"])
    head.version = version
    accepted = judge_request(head, ["b"])
    agreed = judge_response(head, accepted.head)

    assert accepted.head.status == (200 if version == b"2" else 101)
    assert agreed.subprotocol == accepted.subprotocol == "b"
    assert agreed.deflate == Deflate()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda head: head.set_status(200),
        lambda head: head.insert("Sec-WebSocket-Accept", "wrong"),
        lambda head: head.remove("Upgrade"),
        lambda head: head.remove("Connection"),
        lambda head: head.insert("Sec-WebSocket-Protocol", "never-offered"),
        lambda head: head.insert("Sec-WebSocket-Extensions", "foo"),
        lambda head: head.insert("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits=8"),
    ],
    ids=["status", "accept", "upgrade", "connection", "subprotocol", "extension", "parameters"],
)
def test_answers_that_a_client_refuses(spoil):
    head = handshake_request("a.test", "/ws", KEY)
    answer: ResponseHeader = judge_request(head).head
    spoil(answer)

    with pytest.raises(Error, match="handshake"):
        judge_response(head, answer)


def test_an_older_version_of_http():
    head = request()
    head.version = b"1.0"
    with pytest.raises(Error) as caught:
        judge_request(head)

    assert caught.value.status == 400


def test_two_subprotocols_of_a_server():
    head = handshake_request("a.test", "/ws", KEY, subprotocols=["a", "b"])
    answer = judge_request(head, ["a"]).head
    answer.append("Sec-WebSocket-Protocol", "b")

    with pytest.raises(Error, match="not offered"):
        judge_response(head, answer)


@pytest.mark.parametrize(
    ("offered", "names"),
    [
        ([], []),
        (["a"], ["a"]),
        (["a, b", "c"], ["a", "b", "c"]),
        (["a,,\tb ,"], ["a", "b"]),
    ],
)
def test_subprotocols_over_several_lines(offered, names):
    head = request()
    for value in offered:
        head.append("Sec-WebSocket-Protocol", value)

    assert offered_subprotocols(head) == names


def test_an_extended_connect_for_something_else():
    head = RequestHeader("CONNECT", "/", [("Host", "a.test")], version=b"2", protocol=b"webtransport")
    with pytest.raises(Error) as caught:
        judge_request(head)

    assert caught.value.status == 426
