"""Heads and trailers of HTTP/2 as lists of fields: the one place where pseudo-header fields are read and made.

Strict both ways, with the grammar that HTTP/1 is read with: what comes in here may leave
as HTTP/1 (RFC 9113 section 10.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sansio_pingora.http2.priority import DEFAULT_URGENCY, parse_priority
from sansio_pingora.wire import (
    FORBIDDEN_TRAILERS,
    Authority,
    Fields,
    MessageFault,
    RequestHeader,
    ResponseHeader,
    content_length,
    reason_phrase,
)
from sansio_pingora.wire.grammar import FIELD_VALUE, METHOD, TARGET

__all__ = [
    "Items",
    "Request",
    "field_count",
    "request_items",
    "request_of",
    "response_items",
    "response_of",
    "trailer_items",
    "trailers_of",
]

Items = list[tuple[bytes, bytes]]

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]++")  # RFC 9113 section 8.2.1: no capitals
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*+")
_STATUS = re.compile(rb"[1-9][0-9][0-9]")
_COLON = 0x3A
_SLASH = 0x2F
_CONNECTION_SPECIFIC = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
# What stays behind when a message of another version is sent here (RFC 9113 section 8.2.2); Host is :authority.
_NOT_SENT = _CONNECTION_SPECIFIC | {b"http2-settings", b"te"}
_NOT_SENT_IN_REQUESTS = _NOT_SENT | {b"host"}
_NOT_SENT_TO_TUNNEL = _NOT_SENT_IN_REQUESTS | {b"content-length"}  # it would be that of the DATA (section 8.1.1)
_REQUEST_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path", b":protocol"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head, proved, with what the connection wants to know of it."""

    head: RequestHeader
    length: int | None
    """Its declared Content-Length."""
    urgency: int
    incremental: bool


# ── received ─────────────────────────────────────────────────────────────────────────


def request_of(items: Items, never_indexed: frozenset[bytes] = frozenset()) -> Request:
    """The request that *items* are (RFC 9113 section 8.3.1), with what the peer lets nobody index.

    :raises MessageFault: they are malformed.
    """
    pseudo, at = _pseudo(items, _REQUEST_PSEUDO)
    method = pseudo.get(b":method")
    if method is None or not METHOD.fullmatch(method):
        raise MessageFault(400, f"method {method!r}")
    fields = _regular(items, at)
    protocol = pseudo.get(b":protocol")
    authority = _authority(pseudo.get(b":authority"), fields)
    if method == b"CONNECT" and protocol is None:
        if pseudo.keys() != {b":method", b":authority"}:
            raise MessageFault(400, "CONNECT has :method and :authority, and no other pseudo-header field")
        target, scheme = authority, b"http"
        if (parsed := Authority.parse(authority)) is None or parsed.port is None:
            raise MessageFault(400, f"CONNECT needs host:port, not {authority[:80]!r}")
    else:
        target, scheme = _target(method, pseudo)
    if protocol is not None and (method != b"CONNECT" or not METHOD.fullmatch(protocol)):
        raise MessageFault(400, ":protocol outside CONNECT")  # RFC 8441 section 4
    head = RequestHeader.received(method, target, b"2", _joined(authority, fields))
    head.fields.never_indexed = never_indexed
    head.scheme = scheme
    head.protocol = protocol
    signalled = head.fields.get(b"priority")
    # Deviation: without a signal all streams take turns, where RFC 9218 section 10 would let them queue.
    urgency, incremental = (DEFAULT_URGENCY, True) if signalled is None else parse_priority(signalled)
    return Request(head, content_length(head.fields), urgency, incremental)


def field_count(items: Items) -> int:
    """How many lines of *items* are fields, crumbs of cookies each by itself; pseudo-header fields are none."""
    return len([None for name, _ in items if name[:1] != b":"])


def response_of(items: Items, never_indexed: frozenset[bytes] = frozenset()) -> tuple[ResponseHeader, int | None]:
    """The response that *items* are (RFC 9113 section 8.3.2), and its declared Content-Length.

    :raises MessageFault: they are malformed.
    """
    pseudo, at = _pseudo(items, frozenset({b":status"}))
    raw = pseudo.get(b":status", b"")
    if not _STATUS.fullmatch(raw) or raw == b"101":
        raise MessageFault(502, f"status {raw[:40]!r}")
    status = int(raw)
    fields = Fields.received(_regular(items, at))
    fields.never_indexed = never_indexed
    return ResponseHeader.received(status, reason_phrase(status), b"2", fields), content_length(fields)


def trailers_of(items: Items, max_fields: int, never_indexed: frozenset[bytes] = frozenset()) -> Fields:
    """The trailers that *items* are (RFC 9113 section 8.1).

    :raises MessageFault: they are malformed, or hold what belongs into a head.
    """
    if len(items) > max_fields:
        raise MessageFault(400, f"more than {max_fields} trailer fields")
    lines = _regular(items, 0)
    for name, _ in lines:
        if name in FORBIDDEN_TRAILERS:
            raise MessageFault(400, f"trailer field {name!r} belongs into a head")
    fields = Fields.received(lines)
    fields.never_indexed = never_indexed
    return fields


def _pseudo(items: Items, known: frozenset[bytes]) -> tuple[dict[bytes, bytes], int]:
    """The pseudo-header fields, and where they end."""
    pseudo: dict[bytes, bytes] = {}
    at = 0
    for name, value in items:
        if name[:1] != b":":
            break
        if name not in known or name in pseudo:
            raise MessageFault(400, f"pseudo-header field {name[:40]!r} is unknown here, or there twice")
        pseudo[name] = value
        at += 1
    return pseudo, at


def _regular(items: Items, at: int) -> Items:
    """The fields behind the pseudo-header fields, proved."""
    fields = items[at:]
    for name, value in fields:
        if not _NAME.fullmatch(name):
            raise MessageFault(400, f"field name {name[:40]!r} is not a lower-case token, or comes too late")
        if not FIELD_VALUE.fullmatch(value):
            raise MessageFault(400, f"value of {name!r} holds a control byte or an outer blank: {value[:80]!r}")
        if name in _CONNECTION_SPECIFIC or (name == b"te" and value.lower() != b"trailers"):
            raise MessageFault(400, f"{name!r} is of one connection alone")
    return fields


def _authority(authority: bytes | None, fields: Items) -> bytes:
    """The authority, of :authority and Host, which may say the same (RFC 9113 section 8.3.1)."""
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) > 1:
        raise MessageFault(400, "more than one Host")
    if authority is None:
        authority = hosts[0] if hosts else b""
    elif hosts and hosts[0].lower() != authority.lower():
        raise MessageFault(400, f"Host {hosts[0][:80]!r} is not the :authority {authority[:80]!r}")
    if Authority.parse(authority) is None:
        raise MessageFault(400, f"authority {authority[:80]!r} is not host[:port]")
    return authority


def _target(method: bytes, pseudo: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    scheme, path = pseudo.get(b":scheme", b""), pseudo.get(b":path", b"")
    if not _SCHEME.fullmatch(scheme) or scheme.lower() not in (b"http", b"https"):
        # https too: what ends TLS before us says so.
        raise MessageFault(400, f"scheme {scheme[:40]!r} is not http or https")
    if not TARGET.fullmatch(path) or (path[0] != _SLASH and not (path == b"*" and method == b"OPTIONS")):
        raise MessageFault(400, f"path {path[:80]!r}")
    return path, scheme.lower()


def _joined(authority: bytes, fields: Items) -> Fields:
    """*fields* behind the authority as Host, with the crumbs of a cookie as one (RFC 9113 section 8.2.3).

    Empty crumbs are left out: the value that they would leave ends in a blank, and no field's may.
    """
    if len([None for name, _ in fields if name == b"cookie"]) > 1:
        cookie = b"; ".join([value for name, value in fields if name == b"cookie" and value])
        first = next(at for at, item in enumerate(fields) if item[0] == b"cookie")
        fields = [
            item if at != first else (b"cookie", cookie)
            for at, item in enumerate(fields)
            if at <= first or item[0] != b"cookie"
        ]
    return Fields.received([(b"host", authority), *(item for item in fields if item[0] != b"host")])


# ── sent ─────────────────────────────────────────────────────────────────────────────


def request_items(head: RequestHeader) -> Items:
    """*head* as it is sent; the encoder spells the names.

    :raises MessageFault: it has not exactly one Host.
    """
    fields = head.fields
    hosts = fields.get_all(b"host")
    if len(hosts) != 1:
        raise MessageFault(400, "a request needs exactly one Host field")
    if head.method == b"CONNECT" and head.protocol is None:
        items = [(b":method", b"CONNECT"), (b":authority", head.target)]
    else:
        items = [
            (b":method", head.method),
            (b":scheme", head.scheme),
            (b":authority", hosts[0]),
            (b":path", head.target),
        ]
        if head.protocol is not None:
            items.append((b":protocol", head.protocol))
    items += _sendable(fields, _NOT_SENT_TO_TUNNEL if head.method == b"CONNECT" else _NOT_SENT_IN_REQUESTS)
    if b"te" in fields.index and b"trailers" in fields.tokens(b"te"):
        items.append((b"te", b"trailers"))
    return items


def response_items(head: ResponseHeader) -> Items:
    """*head* as it is sent; the encoder spells the names."""
    return [(b":status", b"%d" % head.status), *_sendable(head.fields, _NOT_SENT)]


def trailer_items(fields: Fields) -> Items:
    """Trailers as they are sent.

    :raises MessageFault: they hold what belongs into a head.
    """
    if fields.has_any(FORBIDDEN_TRAILERS):
        raise MessageFault(400, f"trailers {fields!r} hold a field that belongs into a head")
    return fields.items


def _sendable(fields: Fields, without: frozenset[bytes]) -> Items:
    """The lines of *fields* but those in *without*."""
    if not fields.has_any(without):
        return fields.items
    return [item for item in fields.items if item[0].lower() not in without]
