"""Conditional requests, for origins that do not evaluate them (RFC 9110 section 13)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sansio_pingora.modules.http_module import HttpModule
from sansio_pingora.wire import Fields, RequestHeader, ResponseHeader
from sansio_pingora.wire.dates import parse_http_date

if TYPE_CHECKING:
    from sansio_pingora.session import ServerSession

__all__ = ["ConditionalRequests", "not_modified_filter", "precondition_failed", "to_304"]

# RFC 9110 section 8.8.3; a tag may hold commas, so a list of them is not split at these.
_ETAG = re.compile(rb'[ \t,]*+((?:W/)?"[\x21\x23-\x7e\x80-\xff]*+")(?=[ \t]*+(?:,|\Z))')
_OF_CONTENT = frozenset(
    {
        b"accept-ranges",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-range",
        b"content-type",
        b"transfer-encoding",
    }
)


class ConditionalRequests(HttpModule):
    """Answers 304 or 412 where the response to GET or HEAD shows that the client's conditions ask for it.

    The origin is asked all the same. Only 200 with an ETag or Last-Modified is looked at; what the origin has
    evaluated itself passes. The body goes to nobody, and what is long of it is not read.
    """

    order = 10

    def __init__(self) -> None:
        self._dropped = False

    def response_header_filter(self, session: ServerSession, response: ResponseHeader, end_of_stream: bool) -> None:
        """Evaluate the conditions in the order of RFC 9110 section 13.2.2."""
        request = session.req_header
        if request is None or response.status != 200 or request.method not in (b"GET", b"HEAD"):
            return
        if precondition_failed(request, response):
            response.set_status(412)
            response.fields.remove_all(_OF_CONTENT)
            response.insert("Content-Length", "0")
            self._dropped = True
        elif not_modified_filter(request, response):
            to_304(response)

    def response_body_filter(self, session: ServerSession, body: bytes, end_of_stream: bool) -> bytes | None:
        """Nothing, behind a failed condition."""
        return b"" if self._dropped else None


def precondition_failed(request: RequestHeader, response: ResponseHeader) -> bool:
    """If-Match, or without it If-Unmodified-Since, does not hold of *response*; without an ETag or date they hold."""
    if b"if-match" in request.fields.index:
        tag = response.get(b"etag")
        if tag is None or _any(request.fields, b"if-match"):
            return False
        return tag.startswith(b"W/") or tag not in _tags(request.fields, b"if-match")
    since, modified = _date(request.fields, b"if-unmodified-since"), _date(response.fields, b"last-modified")
    return since is not None and modified is not None and modified > since


def not_modified_filter(request: RequestHeader, response: ResponseHeader) -> bool:
    """If-None-Match, or without it If-Modified-Since of GET and HEAD, says that the client has *response*."""
    if response.status != 200:
        return False
    if b"if-none-match" in request.fields.index:
        tag = response.get(b"etag")
        if _any(request.fields, b"if-none-match"):
            return True
        return tag is not None and _weak(tag) in map(_weak, _tags(request.fields, b"if-none-match"))
    if request.method not in (b"GET", b"HEAD"):
        return False
    since, modified = _date(request.fields, b"if-modified-since"), _date(response.fields, b"last-modified")
    return since is not None and modified is not None and modified <= since


def to_304(response: ResponseHeader) -> None:
    """Make *response* say that nothing has changed (RFC 9110 section 15.4.5)."""
    response.set_status(304)
    response.fields.remove_all(_OF_CONTENT)


def _any(fields: Fields, name: bytes) -> bool:
    return fields.get_all(name) == [b"*"]


def _tags(fields: Fields, name: bytes) -> list[bytes]:
    """The entity tags of a list, up to the first thing that is none."""
    found: list[bytes] = []
    for line in fields.get_all(name):
        at = 0
        while (match := _ETAG.match(line, at)) is not None:
            found.append(match[1])
            at = match.end()
    return found


def _weak(tag: bytes) -> bytes:
    return tag.removeprefix(b"W/")


def _date(fields: Fields, name: bytes) -> int | None:
    said = fields.get_all(name)
    return parse_http_date(said[0]) if len(said) == 1 else None
