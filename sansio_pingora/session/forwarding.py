"""What a message keeps when it is passed on, from one version of HTTP to the same or another.

======================  ==========================================  ==============================================
of a message            towards HTTP/1 (RFC 9112)                   towards HTTP/2 (RFC 9113, by section)
======================  ==========================================  ==============================================
method, target, status  the start line                              ``:method``, ``:path``, ``:status`` (8.3)
authority               ``Host``                                    ``:authority`` (8.3.1)
scheme                  –                                           ``:scheme``, of our connection to the origin
version, reason         ours; the customary phrase if it had none   – (8.3.2)
names of fields         spelled as they came                        in lower case (8.2.1)
fields of a connection  end here (RFC 9110 section 7.6.1)           end here, and none is put in (8.2.2)
framing                 Content-Length as it came, else chunks,     DATA up to END_STREAM; a Content-Length that
                        else the end of the connection (1.0)        came stays, and must be right (8.1.1)
trailers                behind the last chunk; none to HTTP/1.0     the head that ends the stream (8.1)
``TE: trailers``        with ``Connection: TE``                     ``te: trailers`` (8.2.2)
crumbs of ``Cookie``    one field                                   one field (8.2.3 allows it)
``Expect``              as it came; none to an origin of 1.0        as it came
``Max-Forwards``        of OPTIONS and TRACE one less               one less (RFC 9110 section 7.6.2)
look-alikes             ``X_Forwarded_For`` … end here              end here
1xx                     as they came; none to a client of 1.0       as they came; never 101 (8.6)
``Upgrade``             of a WebSocket, or what is not HTTP         of a WebSocket: an extended CONNECT (RFC 8441);
                                                                    of anything else it ends here (8.6)
CONNECT                 the authority as target                     ``:method``, ``:authority`` (8.5)
everything else         as it came: ``Via``, ``Forwarded`` …        as it came
======================  ==========================================  ==============================================

Both sides meet in one form of head: the authority is its Host field, pseudo-header fields are its
attributes, and the crumbs of a cookie were joined as they came in. So what stands here is what is neither
read nor written by the connections themselves. The WebSocket is :mod:`sansio_pingora.session.bridging`.
"""

from __future__ import annotations

from itertools import product

from sansio_pingora.wire import Fields, RequestHeader, ResponseHeader

__all__ = [
    "HEARSAY",
    "HOP_BY_HOP",
    "LOOKALIKES",
    "forwarded_request",
    "forwarded_response",
    "max_forwards",
    "settle_connection_options",
]

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
HEARSAY = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-forwarded-ssl",
        b"x-real-ip",
    }
)
"""What proxies say of the client before them."""
# What a Connection field may not take away: framing, routing, and what proxies vouch for (CVE-2022-31813).
_PROTECTED = HEARSAY | {b"host", b"content-length", b"transfer-encoding", b"via", b"authorization", b"cookie"}


def _lookalikes(name: bytes) -> list[bytes]:
    first, *others = name.split(b"-")
    spelled = [first + b"".join(pieces) for pieces in product(*[(b"-" + other, b"_" + other) for other in others])]
    return spelled[1:]


LOOKALIKES = frozenset(
    spelled for name in HEARSAY | HOP_BY_HOP | {b"content-length", b"content-type"} for spelled in _lookalikes(name)
)
"""Names that origins which turn hyphens into underscores, as CGI and WSGI do, take for others that decide something."""
_SELDOM = LOOKALIKES | {b"max-forwards"}
_CHANGED = HOP_BY_HOP | _SELDOM
_TRACED = (b"OPTIONS", b"TRACE")


def settle_connection_options(head: RequestHeader) -> None:
    """Take away what the ``Connection`` of a request names (RFC 9110 section 7.6.1), and the naming with it.

    As it comes in: what is added to *head* later is not the client's to take away.
    """
    fields = head.fields
    options = fields.tokens(b"connection")
    kept = [option for option in options if option in HOP_BY_HOP or option == b"close"]
    if len(kept) == len(options):
        return
    _remove_named(fields, options)
    if kept:
        fields.insert(b"Connection", b", ".join(kept))
    else:
        fields.remove(b"connection")


def max_forwards(head: RequestHeader) -> int | None:
    """How often *head* may be passed on still; None: without end (RFC 9110 section 7.6.2)."""
    said = head.fields.get(b"max-forwards")
    return int(said) if said is not None and head.method in _TRACED and said.isdigit() and len(said) < 10 else None


def forwarded_request(head: RequestHeader, version: bytes = b"1.1") -> RequestHeader:
    """A copy of *head* as it goes to an origin that speaks *version*: framing is the connection's to add."""
    out = head.clone()
    out.scheme = b"http"
    fields = out.fields
    if not fields.has_any(_CHANGED):
        return out
    if fields.has_any(_SELDOM):
        left = max_forwards(head)
        if left is not None:
            fields.insert(b"Max-Forwards", b"%d" % max(0, left - 1))
        fields.remove_all(LOOKALIKES)
    if fields.index.get(b"connection") == b"keep-alive" and b"te" not in fields.index:  # what most clients say
        fields.remove_all(HOP_BY_HOP)
        return out
    options = fields.tokens(b"connection")
    upgrade = fields.get(b"upgrade") if head.version == b"1.1" and b"upgrade" in options else None
    wants_trailers = (b"te" in options or head.version == b"2") and b"trailers" in fields.tokens(b"te")
    _strip(fields, options)
    if version == b"2":
        if wants_trailers:
            fields.insert(b"te", b"trailers")
    elif upgrade is not None and not _is_http(upgrade):
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
    _remove_named(fields, options)


def _remove_named(fields: Fields, options: list[bytes]) -> None:
    for name in options:
        if name in fields.index and not (name in HOP_BY_HOP or name in _PROTECTED or name.startswith(b"x-forwarded-")):
            fields.remove(name)


def _is_http(upgrade: bytes) -> bool:
    """An upgrade to another HTTP would smuggle requests past this proxy (h2c smuggling)."""
    return any(
        name.strip(b" \t").partition(b"/")[0] in (b"h2c", b"h2", b"http", b"tls")
        for name in upgrade.lower().split(b",")
    )
