"""What a message keeps when it is passed on: hop-by-hop fields end here (RFC 9110 section 7.6.1)."""

from __future__ import annotations

from sansio_pingora.wire import Fields, RequestHeader, ResponseHeader

__all__ = ["HOP_BY_HOP", "forwarded_request", "forwarded_response"]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
# What a Connection field may not take away: framing, routing, and what proxies vouch for (CVE-2022-31813).
_PROTECTED = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"forwarded", b"via", b"x-real-ip", b"authorization", b"cookie"}
)


def forwarded_request(head: RequestHeader) -> RequestHeader:
    """A copy of *head* as it goes to the origin: framing is the connection's to add."""
    out = head.clone()
    fields = out.fields
    if not fields.has_any(HOP_BY_HOP):
        return out
    if fields.index.get(b"connection") == b"keep-alive" and b"te" not in fields.index:  # what most clients say
        fields.remove_all(HOP_BY_HOP)
        return out
    options = fields.tokens(b"connection")
    upgrade = fields.get(b"upgrade") if head.version == b"1.1" and b"upgrade" in options else None
    wants_trailers = b"te" in options and b"trailers" in fields.tokens(b"te")
    _strip(fields, options)
    if upgrade is not None and not _is_http(upgrade):
        fields.insert(b"Connection", b"upgrade")
        fields.insert(b"Upgrade", upgrade)
    elif wants_trailers:
        fields.insert(b"Connection", b"TE")
        fields.insert(b"TE", b"trailers")
    return out


def forwarded_response(head: ResponseHeader) -> ResponseHeader:
    """*head* as it goes to the client, changed in place: framing is the connection's to add."""
    fields = head.fields
    if fields.index.get(b"connection") == b"keep-alive" and head.status != 101:  # what most origins say, if anything
        fields.remove_all(HOP_BY_HOP)
    elif fields.has_any(HOP_BY_HOP):
        options = fields.tokens(b"connection")
        upgrade = fields.get(b"upgrade") if head.status == 101 else None
        _strip(fields, options)
        if upgrade is not None:
            fields.insert(b"Connection", b"upgrade")
            fields.insert(b"Upgrade", upgrade)
    head.version = b"1.1"
    return head


def _strip(fields: Fields, options: list[bytes]) -> None:
    fields.remove_all(HOP_BY_HOP)
    for name in options:
        if name in fields.index and name not in _PROTECTED and not name.startswith(b"x-forwarded-"):
            fields.remove(name)


def _is_http(upgrade: bytes) -> bool:
    """An upgrade to another HTTP would smuggle requests past this proxy (h2c smuggling)."""
    return any(
        name.strip(b" \t").partition(b"/")[0] in (b"h2c", b"h2", b"http", b"tls")
        for name in upgrade.lower().split(b",")
    )
