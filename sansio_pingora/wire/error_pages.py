"""The answers that we make up ourselves: a status, no body, nothing to cache."""

from __future__ import annotations

from sansio_pingora.wire.heads import ResponseHeader

__all__ = ["error_page"]


def error_page(status: int) -> ResponseHeader:
    """The head of an empty answer with *status*."""
    return ResponseHeader(
        status,
        [("Server", "sansio-pingora"), ("Content-Length", "0"), ("Cache-Control", "private, no-store")],
    )
