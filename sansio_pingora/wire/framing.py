"""Where a message's body ends: one validator for what is received and what is sent (RFC 9112 section 6).

Smuggling is two parties that disagree about this, so whatever leaves room for two
readings is a fault: both framing fields at once, more than one Content-Length, any
transfer coding but one ``chunked``, and every transfer coding in HTTP/1.0.
"""

from __future__ import annotations

from sansio_pingora.wire.fields import Fields
from sansio_pingora.wire.grammar import METHOD
from sansio_pingora.wire.heads import RequestHeader, ResponseHeader

__all__ = ["CHUNKED", "UNTIL_CLOSE", "MessageFault", "content_length", "request_framing", "response_framing"]

CHUNKED = -1
"""Framing: ends with the last chunk."""
UNTIL_CLOSE = -2
"""Framing: ends with the connection. Responses only."""

_MAX_LENGTH = 2**63 - 1


class MessageFault(Exception):
    """A message breaks the rules. ``status`` is what a server answers; a client gives up the connection."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.not_http = False
        """The very first line was no HTTP/1 start line: perhaps another protocol is spoken."""


def content_length(fields: Fields) -> int | None:
    """The declared length, or None when none is.

    :raises MessageFault: declared twice, even alike, or not a number of at most 63 bits.
    """
    value = fields.index.get(b"content-length")
    if value is None:
        return None
    if isinstance(value, list):
        raise MessageFault(400, "more than one Content-Length")
    # bytes.isdigit() knows ASCII digits alone; the length keeps int() from chewing on megabytes.
    if not value.isdigit() or len(value) > 19 or (length := int(value)) > _MAX_LENGTH:
        raise MessageFault(400, f"Content-Length {value[:40]!r} is not a number of bytes")
    return length


def request_framing(head: RequestHeader) -> int:
    """The length of a request's body, or :data:`CHUNKED`.

    :raises MessageFault: the framing is ambiguous or unknown.
    """
    fields = head.fields
    index = fields.index
    if b"transfer-encoding" in index:
        return _chunked(fields, head.version)
    if b"content-length" not in index:
        return 0
    return content_length(fields) or 0


def response_framing(head: ResponseHeader, method: bytes) -> int:
    """The length of the body that answers *method*, :data:`CHUNKED` or :data:`UNTIL_CLOSE`.

    Framing fields are checked even where no body can follow, since they are passed on.

    :raises MessageFault: the framing is ambiguous or unknown.
    """
    fields = head.fields
    framing = UNTIL_CLOSE
    index = fields.index
    if b"transfer-encoding" in index:
        framing = _chunked(fields, head.version)
    elif b"content-length" in index:
        framing = content_length(fields) or 0
    status = head.status
    return 0 if method == b"HEAD" or status < 200 or status == 204 or status == 304 else framing


def _chunked(fields: Fields, version: bytes) -> int:
    if b"content-length" in fields.index:
        raise MessageFault(400, "both Transfer-Encoding and Content-Length")  # RFC 9112 section 6.1
    if version == b"1.0":
        raise MessageFault(400, "Transfer-Encoding in HTTP/1.0")
    values = fields.get_all(b"transfer-encoding")
    # bytes.lower() touches ASCII letters alone, so no Kelvin sign turns into a k.
    if len(values) == 1 and values[0].lower() == b"chunked":
        return CHUNKED
    codings = [coding.strip(b" \t") for value in values for coding in value.lower().split(b",")]
    known = {b"chunked", b"identity"}
    if all(METHOD.fullmatch(coding) for coding in codings) and not known.issuperset(codings):
        raise MessageFault(501, f"transfer coding {b', '.join(values)[:80]!r} is not known here")
    raise MessageFault(400, f"Transfer-Encoding {b', '.join(values)[:80]!r} is not one 'chunked'")
