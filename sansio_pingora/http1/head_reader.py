"""Heads from bytes: split at once when the head is there whole, line by line while it is not.

The verdict depends on the bytes alone, never on how they were cut: while a head is
incomplete each line is judged when it ends, and a whole head with a line that the grammar
refuses is walked the same way to name the first offence.
"""

from __future__ import annotations

import re

from sansio_pingora.http1.line_memo import LINES, UnprovedLineError
from sansio_pingora.http1.lines import LineReader
from sansio_pingora.limits import Limits
from sansio_pingora.wire import (
    Authority,
    Fields,
    MessageFault,
    ReceiveBuffer,
    RequestHeader,
    ResponseHeader,
    reason_phrase,
)
from sansio_pingora.wire.grammar import (
    FIELD_LINE,
    LINE_BREAKER,
    REQUEST_LINE,
    STATUS_LINE,
    VERSIONED_LINE,
)

__all__ = ["HeadReader", "judge_routing"]

_ABSOLUTE = re.compile(rb"(https?)://([^/?]*+)([/?].*+)?", re.IGNORECASE)
# RFC 9112 section 2.2 wants at least one blank line before a request line ignored: an old
# client's extra CRLF behind a body. More than two are nobody's habit.
_MAX_BLANK_LINES = 2
_SLASH = ord("/")
# Field lines that an idle connection keeps, in bytes: most heads are shorter.
_MAX_REPEATED = 2048


class HeadReader:
    """Reads one head after the other from *buffer*."""

    __slots__ = (
        "_blank",
        "_block",
        "_buffer",
        "_count",
        "_fast",
        "_limits",
        "_lines",
        "_repeated",
        "_request",
        "_secure",
        "_start_line",
    )

    def __init__(self, buffer: ReceiveBuffer, limits: Limits, *, request: bool, secure: bool = False) -> None:
        self._secure = secure
        self._buffer = buffer
        self._limits = limits
        self._request = request
        self._start_line = REQUEST_LINE if request else STATUS_LINE
        self._lines = LineReader(buffer)
        self._fast = min(limits.max_line, limits.max_head)  # in a head so short no line can be too long
        # A client that keeps its connection often sends the same field lines again and again,
        # and so does an origin within a second: from the second time on they are copied.
        self._block = b""
        self._repeated: Fields | None = None
        self._count = 0  # lines judged so far
        self._blank = 0  # blank lines skipped before this head

    def read(self) -> RequestHeader | ResponseHeader | None:
        """The next head, or None while it is not complete.

        :raises MessageFault: it breaks the rules, even though incomplete.
        """
        buffer = self._buffer
        raw = buffer.upto(b"\r\n\r\n", self._fast)
        parsed = self._parse(raw) if raw else None
        if parsed is None:
            if not self._walk():
                return None
            raw = buffer.peek(self._lines.end)
            parsed = self._parse(raw)
            if parsed is None:
                raise AssertionError(f"a head passed line by line but not whole: {raw!r}")
        start, fields = parsed
        if len(fields.items) > self._limits.max_fields:
            raise MessageFault(431, f"more than {self._limits.max_fields} field lines")
        buffer.skip(len(raw))
        if self._lines.scan or self._blank:
            self._lines.restart()
            self._count = self._blank = 0
        first, second, third = start.groups()
        if self._request:
            head = RequestHeader.received(first, second, third, fields)
            judge_routing(head, secure=self._secure)
            return head
        status = int(second)
        return ResponseHeader.received(status, reason_phrase(status) if third is None else third, first, fields)

    def _parse(self, raw: bytes) -> tuple[re.Match[bytes], Fields] | None:
        """The start line's parts and the fields of a whole head; None when a line breaks the grammar."""
        at = raw.find(b"\r\n")
        start = self._start_line.fullmatch(raw, 0, at)
        if start is None:
            return None
        block = raw[at:]
        if block != self._block:
            self._block, self._repeated = block if len(block) <= _MAX_REPEATED else b"", None
            fields = _fields(block)
        elif self._repeated is not None:
            return start, self._repeated.copy()
        else:
            fields = _fields(block)
            if fields is not None:
                self._repeated = fields.copy()
        return None if fields is None else (start, fields)

    def _walk(self) -> bool:
        """Judge the lines that have ended and what there is of the next; True at the end of the head."""
        limits = self._limits
        # The status is that of the limit which the bytes meet first.
        start_line_first = limits.max_line < limits.max_head
        while True:
            too_long = 414 if self._request and self._count == 0 and start_line_first else 431
            try:
                line = self._lines.next_line(limits.max_line, limits.max_head, too_long)
                if line:
                    self._judge(line)
            except MessageFault as fault:
                fault.not_http = self._count == 0 and b"HTTP/" not in self._first_text()
                raise
            if line is None:
                return False
            if line:
                self._count += 1
            elif self._count:
                return True
            else:
                self._skip_blank_line()

    def _first_text(self) -> bytes:
        """What came up to the first byte that no line holds."""
        return LINE_BREAKER.split(self._buffer.peek(self._limits.max_line), maxsplit=1)[0]

    def _skip_blank_line(self) -> None:
        self._blank += 1
        if not self._request or self._blank > _MAX_BLANK_LINES:
            raise MessageFault(400, "blank lines before a head")
        self._buffer.skip(2)
        self._lines.restart()

    def _judge(self, line: bytes) -> None:
        if self._count == 0:
            if self._request:
                _judge_request_line(line)
            elif not STATUS_LINE.fullmatch(line):
                raise MessageFault(502, f"status line {line[:80]!r} is not HTTP/1")
        elif not FIELD_LINE.fullmatch(line):
            raise MessageFault(400, f"field line {line[:80]!r} is not 'name: value'")
        elif self._count > self._limits.max_fields:
            raise MessageFault(431, f"more than {self._limits.max_fields} field lines")


def _fields(block: bytes) -> Fields | None:
    """The fields of the lines between the start line and the blank one; None when one breaks the grammar."""
    try:
        read = [LINES[line] for line in block.split(b"\r\n")[1:-2]]
    except UnprovedLineError:
        return None
    return Fields.indexed([line[0] for line in read], {line[1]: line[0][1] for line in read})


def _judge_request_line(line: bytes) -> None:
    if REQUEST_LINE.fullmatch(line):
        return
    if VERSIONED_LINE.fullmatch(line) and line[-3:] not in (b"1.0", b"1.1"):
        raise MessageFault(505, f"version {line[-8:]!r} is not served here")
    raise MessageFault(400, f"request line {line[:80]!r} is not 'METHOD target HTTP/1.x'")


def judge_routing(head: RequestHeader, *, secure: bool) -> None:
    """See that Host is in order and the target in one of the four forms (RFC 9112 section 3.2); split an absolute one.

    :raises MessageFault: they are not.
    """
    host = head.fields.index.get(b"host")
    if type(host) is list or (host is None and head.version == b"1.1"):
        raise MessageFault(400, "a request needs exactly one Host")
    if host is not None and Authority.parse(host) is None:  # type: ignore[arg-type]  # not a list
        raise MessageFault(400, f"Host {host[:80]!r} is not host[:port]")
    method, target = head.method, head.target
    if method == b"CONNECT":
        authority = Authority.parse(target)
        if authority is None or authority.port is None:
            raise MessageFault(400, f"CONNECT needs host:port, not {target[:80]!r}")
        if host != target:
            head.fields.insert(b"Host", target)  # the target's authority wins (RFC 9110 section 7.2)
    elif target[0] != _SLASH and not (target == b"*" and method == b"OPTIONS"):
        _split_absolute(head, secure=secure)
    if secure:
        head.scheme = b"https"


def _split_absolute(head: RequestHeader, *, secure: bool) -> None:
    match = _ABSOLUTE.fullmatch(head.target)
    if match is None or Authority.parse(match[2]) is None:
        raise MessageFault(400, f"target {head.target[:80]!r} is neither a path nor an http URI")
    if match[1].lower() == b"https" and not secure:
        # Deviation from nothing but habit: a plain-text connection cannot vouch for https.
        raise MessageFault(400, "an https target on a plain-text connection")
    rest = match[3] or (b"*" if head.method == b"OPTIONS" else b"/")
    head.target = rest if rest[:1] in (b"/", b"*") else b"/" + rest
    head.fields.insert(b"Host", match[2])  # the target's authority wins (RFC 9112 section 3.2.2)
