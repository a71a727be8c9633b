"""What a trailer section may not hold."""

from __future__ import annotations

__all__ = ["FORBIDDEN_TRAILERS"]

# Fields that frame, route, authenticate or describe the content: known too late in a trailer,
# and dangerous to merge (RFC 9110 section 6.5.1).
FORBIDDEN_TRAILERS = frozenset(
    {
        b"authorization",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"expect",
        b"host",
        b"keep-alive",
        b"max-forwards",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"range",
        b"set-cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"www-authenticate",
    }
)
