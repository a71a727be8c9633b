"""What names tell about their values: worth an entry, worth keeping for other connections, or neither."""

from __future__ import annotations

__all__ = ["NEVER_INDEXED", "SHARED", "VARYING"]

NEVER_INDEXED = frozenset({b"authorization", b"proxy-authorization", b"set-cookie"})
"""Secrets, which no hop may index, or they could be guessed by watching sizes (RFC 7541 section 7.1.3)."""

VARYING = frozenset(
    {
        b"age",
        b"content-length",
        b"content-range",
        b"date",
        b"etag",
        b"expires",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"last-modified",
        b"location",
        b"range",
        b"referer",
        b"retry-after",
        b"traceparent",
        b"x-request-id",
    }
)
"""Another value in nearly every message: an entry would be in the way of those that last."""

SHARED = frozenset(
    {
        b":authority",
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"accept-ranges",
        b"access-control-allow-headers",
        b"access-control-allow-methods",
        b"access-control-allow-origin",
        b"allow",
        b"alt-svc",
        b"cache-control",
        b"content-encoding",
        b"content-language",
        b"content-security-policy",
        b"content-type",
        b"date",
        b"expect",
        b"host",
        b"permissions-policy",
        b"pragma",
        b"priority",
        b"referrer-policy",
        b"sec-ch-ua",
        b"sec-ch-ua-mobile",
        b"sec-ch-ua-platform",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-fetch-user",
        b"server",
        b"strict-transport-security",
        b"te",
        b"upgrade-insecure-requests",
        b"user-agent",
        b"vary",
        b"via",
        b"x-content-type-options",
        b"x-frame-options",
        b"x-xss-protection",
    }
)
"""The same values on many connections, and no secrets: what is worked out for one is kept for all.

A list of what may be kept, since nobody can list all fields that hold a key or a token.
"""
