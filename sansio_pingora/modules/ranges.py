"""Ranges, for origins that do not serve them (RFC 9110 section 14)."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

from sansio_pingora.modules.http_module import HttpModule
from sansio_pingora.wire import RequestHeader, ResponseHeader

if TYPE_CHECKING:
    from sansio_pingora.session import ServerSession

__all__ = ["RangeRequests", "satisfiable_ranges"]

_RANGE = re.compile(rb"(\d{1,18}+)?-(\d{1,18}+)?")
_PAYLOAD = frozenset({b"content-encoding", b"content-language", b"content-type", b"etag", b"last-modified"})


class RangeRequests(HttpModule):
    """Answers 206, or 416, where a client asks for ranges and the origin gave it the whole.

    Only GET and 200 with a Content-Length are looked at. Several ranges must ascend and not overlap, and be no more
    than *max_ranges*; else the whole is served, so that nobody makes us send it many times over (CVE-2011-3192).
    Behind the last of them what is long of the whole is not read.
    """

    order = 5

    def __init__(self, max_ranges: int = 16) -> None:
        self._max_ranges = max_ranges
        self._slices: list[tuple[int, int, bytes]] | None = None  # from, up to, and what stands before it
        self._tail = b""
        self._at = 0  # of the body, as it comes

    def response_header_filter(self, session: ServerSession, response: ResponseHeader, end_of_stream: bool) -> None:
        """Decide what is served of the whole."""
        request = session.req_header
        length = response.get(b"content-length")
        if request is None or request.method != b"GET" or response.status != 200 or end_of_stream:
            return
        if length is None or not length.isdigit() or b"none" in response.fields.tokens(b"accept-ranges"):
            return
        size = int(length)
        ranges = self._asked(request, response, size)
        if ranges is None:
            if b"accept-ranges" not in response.fields.index:
                response.append("Accept-Ranges", "bytes")
        elif not ranges:
            self._slices = []
            response.set_status(416)
            response.fields.remove_all(_PAYLOAD)
            response.set_content_length(0)
            response.insert("Content-Range", b"bytes */%d" % size)
        elif len(ranges) == 1:
            ((start, stop),) = ranges
            self._slices = [(start, stop, b"")]
            response.set_status(206)
            response.set_content_length(stop - start)
            response.insert("Content-Range", b"bytes %d-%d/%d" % (start, stop - 1, size))
        else:
            self._several(session, response, ranges, size)

    def _asked(self, request: RequestHeader, response: ResponseHeader, size: int) -> list[tuple[int, int]] | None:
        """The ranges to serve; None: the whole."""
        said = request.fields.get_all(b"range")
        if len(said) != 1:
            return None
        condition = request.get(b"if-range")
        if condition is not None:
            tag = response.get(b"etag") if condition.startswith((b'"', b"W/")) else response.get(b"last-modified")
            if tag != condition or condition.startswith(b"W/"):
                return None  # not known to be of the same bytes (RFC 9110 section 13.1.5)
        return satisfiable_ranges(said[0], size, self._max_ranges)

    def _several(
        self, session: ServerSession, response: ResponseHeader, ranges: list[tuple[int, int]], size: int
    ) -> None:
        """multipart/byteranges (RFC 9110 section 14.6)."""
        # Nobody can know it before, for the time is in it: so no body holds it on purpose.
        seed = b"%d %r %r" % (session.stream_id, session.now, ranges)
        boundary = sha256(seed).hexdigest()[:24].encode()
        kind = response.get(b"content-type")
        line = b"" if kind is None else b"Content-Type: %b\r\n" % kind
        self._slices = []
        total = 0
        for number, (start, stop) in enumerate(ranges):
            head = b"%b--%b\r\n%bContent-Range: bytes %d-%d/%d\r\n\r\n" % (
                b"\r\n" if number else b"", boundary, line, start, stop - 1, size
            )  # fmt: skip
            self._slices.append((start, stop, head))
            total += len(head) + stop - start
        self._tail = b"\r\n--%b--\r\n" % boundary
        response.set_status(206)
        response.set_content_length(total + len(self._tail))
        response.insert("Content-Type", b"multipart/byteranges; boundary=" + boundary)

    def response_body_filter(self, session: ServerSession, body: bytes, end_of_stream: bool) -> bytes | None:
        """The parts of *body* that are in a range."""
        slices = self._slices
        if slices is None:
            return None
        begin, self._at = self._at, self._at + len(body)
        pieces: list[bytes] = []
        while slices and slices[0][0] < self._at:
            start, stop, head = slices[0]
            if head:
                pieces.append(head)
            pieces.append(body[max(start - begin, 0) : stop - begin])
            if stop > self._at:
                slices[0] = (self._at, stop, b"")
                break
            del slices[0]
            if not slices:
                pieces.append(self._tail)
        return b"".join(pieces)


def satisfiable_ranges(said: bytes, size: int, most: int) -> list[tuple[int, int]] | None:
    """The ranges of a Range field in a body of *size* bytes, each from its first byte up to the one behind its last.

    None: to be ignored, for it is not of bytes, not well-formed, too many, or out of order. Empty: none of them can
    be satisfied.
    """
    unit, equals, listed = said.partition(b"=")
    members = [member.strip(b" \t") for member in listed.split(b",")]
    members = [member for member in members if member]
    if unit.strip(b" \t").lower() != b"bytes" or not equals or not 0 < len(members) <= most:
        return None
    found: list[tuple[int, int]] = []
    behind = 0
    for member in members:
        match = _RANGE.fullmatch(member)
        if match is None or match[0] == b"-":
            return None
        first, last = match[1], match[2]
        if first is None:
            start, stop = max(size - int(last), 0), size
        else:
            start = int(first)
            if last is not None and int(last) < start:
                return None
            stop = size if last is None else min(int(last) + 1, size)
        if start >= stop:
            continue  # it lies behind the end, or asks for no bytes
        if start < behind:
            return None
        found.append((start, stop))
        behind = stop
    return found
