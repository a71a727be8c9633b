"""Whether a connection outlives an exchange: a pure predicate over facts (RFC 9112 section 9.3)."""

from __future__ import annotations

from sansio_pingora.wire import RequestHeader, ResponseHeader

__all__ = ["may_persist"]


def may_persist(head: RequestHeader | ResponseHeader) -> bool:
    """Whether the sender of *head* is willing to go on after its exchange.

    The Connection field decides, over all its lines; without it HTTP/1.1 goes on and
    HTTP/1.0 does not. ``close`` wins over ``keep-alive``.
    """
    fields = head.fields
    option = fields.index.get(b"connection")
    if option is None:
        return head.version == b"1.1"
    if option == b"keep-alive":
        return True
    options = fields.tokens(b"connection")
    if b"close" in options:
        return False
    return head.version == b"1.1" or b"keep-alive" in options
