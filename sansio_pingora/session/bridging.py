"""A WebSocket between versions of HTTP: Upgrade and 101 on one side, extended CONNECT and 2xx on the other.

The bytes behind the handshake are the same (RFC 8441 section 5): only the heads change.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from typing import Protocol

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.session.forwarding import forwarded_request
from sansio_pingora.wire import RequestHeader, ResponseHeader

__all__ = ["Bridge", "bridge", "websocket_accept"]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HANDSHAKE = frozenset({b"connection", b"upgrade", b"sec-websocket-accept"})
# What a request of neither version brings to the other: the bytes that follow are no body, and each makes its own key.
_NOT_BRIDGED = frozenset({b"content-length", b"te", b"sec-websocket-key", b"sec-websocket-accept"})


def websocket_accept(key: bytes) -> bytes:
    """What answers *key* in a handshake (RFC 6455 section 4.2.2)."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


class Bridge(Protocol):
    """A handshake that changes its version on the way."""

    request: RequestHeader
    """What the origin is sent."""

    def response(self, head: ResponseHeader) -> ResponseHeader:
        """What the client is sent for the origin's final *head*.

        :raises Error: the origin's answer is none to this handshake.
        """


def bridge(head: RequestHeader, version: bytes, seed: bytes) -> Bridge | None:
    """The bridge that *head* needs to an origin that speaks *version*; None: it needs none.

    *seed*: any bytes that differ between handshakes, for the key that HTTP/1 wants.

    :raises Error: ``HTTP_STATUS`` 400, the client's handshake is none.
    """
    if version == b"2":
        if head.version == b"1.1" and head.method == b"GET" and _offers_websocket(head):
            return _Http1ToHttp2(head)
    elif head.protocol is not None:
        return _Http2ToHttp1(head, seed)
    return None


def _offers_websocket(head: RequestHeader) -> bool:
    fields = head.fields
    return (
        b"upgrade" in fields.index
        and b"upgrade" in fields.tokens(b"connection")
        and b"websocket" in fields.tokens(b"upgrade")
    )


class _Http1ToHttp2:
    """The client upgrades, the origin takes an extended CONNECT."""

    __slots__ = ("_accept", "request")

    def __init__(self, head: RequestHeader) -> None:
        key = head.get(b"sec-websocket-key")
        if key is None:
            raise Error.http_status(400, "a WebSocket handshake without Sec-WebSocket-Key").into_down()
        if b"transfer-encoding" in head.fields.index or head.get(b"content-length") not in (None, b"0"):
            raise Error.http_status(400, "a WebSocket handshake with a body, which CONNECT cannot have").into_down()
        self._accept = websocket_accept(key)
        self.request = request = forwarded_request(head, b"2")
        request.fields.remove_all(_NOT_BRIDGED)
        request.method = b"CONNECT"
        request.protocol = b"websocket"

    def response(self, head: ResponseHeader) -> ResponseHeader:
        if not 200 <= head.status < 300:
            return head
        head.set_status(101)
        head.insert(b"Connection", b"upgrade")
        head.insert(b"Upgrade", b"websocket")
        head.insert(b"Sec-WebSocket-Accept", self._accept)
        return head


class _Http2ToHttp1:
    """The client sends an extended CONNECT, the origin upgrades."""

    __slots__ = ("_accept", "request")

    def __init__(self, head: RequestHeader, seed: bytes) -> None:
        if head.get(b"sec-websocket-version") != b"13":
            raise Error.http_status(400, "a WebSocket handshake without Sec-WebSocket-Version: 13").into_down()
        # Not random: the key proves that the origin speaks WebSocket and no cache answers, and need not be guarded.
        key = b64encode(sha1(seed, usedforsecurity=False).digest()[:16])
        self._accept = websocket_accept(key)
        self.request = request = forwarded_request(head)
        request.method = b"GET"
        request.protocol = None
        fields = request.fields
        fields.remove_all(_NOT_BRIDGED)
        fields.insert(b"Connection", b"upgrade")
        fields.insert(b"Upgrade", b"websocket")
        fields.insert(b"Sec-WebSocket-Key", key)

    def response(self, head: ResponseHeader) -> ResponseHeader:
        if head.status == 101:
            if head.get(b"sec-websocket-accept") != self._accept:
                raise _refused("101 with a wrong Sec-WebSocket-Accept")
            head.set_status(200)
            head.fields.remove_all(_HANDSHAKE)
        elif head.status < 300:
            raise _refused(f"{head.status} to a WebSocket handshake")  # a 2xx would be taken for its success
        return head


def _refused(what: str) -> Error:
    return Error(ErrorType.INVALID_HTTP_HEADER, f"the origin answered {what}").into_up()
