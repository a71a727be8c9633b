"""The handshake: heads only, for HTTP/1.1 (RFC 6455 section 4) and HTTP/2 (RFC 8441 section 5). Pure functions."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.session import websocket_accept
from sansio_pingora.websocket.deflate import Deflate
from sansio_pingora.wire import RequestHeader, ResponseHeader, Text

__all__ = ["Accepted", "handshake_request", "judge_request", "judge_response", "offered_subprotocols"]

_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_OFFER = b"permessage-deflate; client_max_window_bits"


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a handshake has settled."""

    head: ResponseHeader
    """The answer that accepts it: a 101, or the 200 to an extended CONNECT."""
    deflate: Deflate | None
    subprotocol: str | None


def judge_request(head: RequestHeader, subprotocols: Sequence[str] = (), *, deflate: bool = True) -> Accepted:
    """A client's handshake as a server takes it: its first subprotocol that is among *subprotocols*, which are ours.

    :raises Error: ``HTTP_STATUS``: 426 for no WebSocket or another version, 405 for another method, 400 for a
        handshake that is malformed.
    """
    fields = head.fields
    http2 = head.version == b"2"
    if http2:
        if head.protocol is None or head.protocol.lower() != b"websocket":
            raise Error.http_status(426, "not a WebSocket handshake")
    else:
        if b"websocket" not in fields.tokens(b"upgrade") or b"upgrade" not in fields.tokens(b"connection"):
            raise Error.http_status(426, "not a WebSocket handshake")
        if head.version != b"1.1":
            raise Error.http_status(400, "a WebSocket handshake is of HTTP/1.1 or later")
        if head.method != b"GET":
            raise Error.http_status(405, "a WebSocket handshake is a GET")
    if fields.get_all(b"sec-websocket-version") != [b"13"]:
        raise Error.http_status(426, "version 13 of WebSocket is spoken here")
    answer = ResponseHeader(200 if http2 else 101)
    if not http2:
        keys = fields.get_all(b"sec-websocket-key")
        if len(keys) != 1 or not _KEY.fullmatch(keys[0]) or len(b64decode(keys[0])) != 16:
            raise Error.http_status(400, "Sec-WebSocket-Key is not 16 bytes in base64")
        answer.append(b"Upgrade", b"websocket")
        answer.append(b"Connection", b"Upgrade")
        answer.append(b"Sec-WebSocket-Accept", websocket_accept(keys[0]))
    chosen = next((name for name in offered_subprotocols(head) if name in subprotocols), None)
    if chosen is not None:
        answer.append(b"Sec-WebSocket-Protocol", chosen)
    offers = b",".join(fields.get_all(b"sec-websocket-extensions")).decode("latin-1")
    settled = Deflate.choose(offers) if deflate and offers else None
    if settled is not None:
        answer.append(b"Sec-WebSocket-Extensions", settled.answer())
    return Accepted(answer, settled, chosen)


def offered_subprotocols(head: RequestHeader) -> list[str]:
    """Those that a client speaks, in the order in which it would have them."""
    named = b",".join(head.fields.get_all(b"sec-websocket-protocol")).decode("latin-1").split(",")
    return [name for name in map(str.strip, named) if name]


def handshake_request(
    host: Text,
    target: Text,
    key: bytes,
    *,
    version: bytes = b"1.1",
    subprotocols: Sequence[str] = (),
    deflate: bool = True,
) -> RequestHeader:
    """The handshake that a client sends over HTTP of *version*. *key*: 16 random bytes, which HTTP/2 needs not.

    :raises Error: ``INVALID_HTTP_HEADER``, a part of it is not legal.
    """
    fields: list[tuple[Text, Text]] = [("Host", host)]
    if version == b"2":
        head = RequestHeader("CONNECT", target, fields, version=b"2", protocol=b"websocket")
    else:
        fields += [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", b64encode(key))]
        head = RequestHeader("GET", target, fields)
    head.append("Sec-WebSocket-Version", "13")
    if subprotocols:
        head.append("Sec-WebSocket-Protocol", ", ".join(subprotocols))
    if deflate:
        head.append("Sec-WebSocket-Extensions", _OFFER)
    return head


def judge_response(request: RequestHeader, head: ResponseHeader) -> Accepted:
    """The server's answer to *request*, which :func:`handshake_request` made.

    :raises Error: ``INVALID_HTTP_HEADER``: it refuses, or agrees to what was not offered.
    """
    fields = head.fields
    if request.version == b"2":
        if not 200 <= head.status < 300:
            raise _refused(f"status {head.status}")
    else:
        if head.status != 101:
            raise _refused(f"status {head.status}")
        if fields.get(b"sec-websocket-accept") != websocket_accept(request.get(b"sec-websocket-key") or b""):
            raise _refused("a wrong Sec-WebSocket-Accept")
        if fields.tokens(b"upgrade") != [b"websocket"] or b"upgrade" not in fields.tokens(b"connection"):
            raise _refused("no Upgrade to websocket")
    chosen = b",".join(fields.get_all(b"sec-websocket-protocol")) or None
    if chosen is not None and chosen.decode("latin-1") not in offered_subprotocols(request):
        raise _refused(f"subprotocol {chosen[:40]!r}, which was not offered")
    extensions = b",".join(fields.get_all(b"sec-websocket-extensions"))
    deflate = None
    if extensions:
        deflate = Deflate.accepted(extensions.decode("latin-1"))
        if deflate is None or b"sec-websocket-extensions" not in request.fields.index:
            raise _refused(f"extensions {extensions[:80]!r}, which were not offered")
    return Accepted(head, deflate, None if chosen is None else chosen.decode("latin-1"))


def _refused(what: str) -> Error:
    return Error(ErrorType.INVALID_HTTP_HEADER, f"the server answered the WebSocket handshake with {what}")
