"""A chunked body from bytes (RFC 9112 section 7.1): sizes, extensions and trailers by the grammar, nothing else."""

from __future__ import annotations

from enum import Enum, auto

from sansio_pingora.http1.line_memo import LINES, UnprovedLineError
from sansio_pingora.http1.lines import LineReader
from sansio_pingora.limits import Limits
from sansio_pingora.wire import FORBIDDEN_TRAILERS, Fields, MessageFault, ReceiveBuffer
from sansio_pingora.wire.grammar import CHUNK_LINE

__all__ = ["CHUNK_ALLOWANCE", "ChunkedReader"]

_MAX_SIZE = 2**63 - 1
_MAX_CHUNK_LINE = 256  # size and extensions, without CRLF (CVE-2023-39326)
CHUNK_ALLOWANCE = 16
"""Bytes of framing that any chunk may have, and twice its size on top: the rule of Go's net/http.

A plain size line takes no more. So a stream of single bytes goes on for as long as it likes; padded sizes and
extensions of small chunks add up.
"""


class _At(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()


class ChunkedReader:
    """Reads one chunked body from *buffer*."""

    __slots__ = ("_at", "_buffer", "_left", "_limits", "_lines", "_overhead", "_trailer_lines", "trailers")

    def __init__(self, buffer: ReceiveBuffer, limits: Limits) -> None:
        self._buffer = buffer
        self._limits = limits
        self._lines = LineReader(buffer)
        self._at = _At.SIZE
        self._left = 0
        self._overhead = 0  # framing beyond what its chunks are allowed
        self._trailer_lines: list[tuple[bytes, bytes]] = []
        self.trailers: Fields | None = None
        """The trailer fields, once the body is complete; None when there were none."""

    def read(self) -> tuple[bytes, bool]:
        """The payload bytes that are there, and whether the body is complete.

        A fault behind payload is raised by the next call: it uses nothing up, so it is met again.

        :raises MessageFault: it breaks the rules.
        """
        pieces: list[bytes] = []
        buffer = self._buffer
        try:
            while buffer.size:
                at = self._at
                if at is _At.DATA:
                    piece = buffer.take(self._left)
                    pieces.append(piece)
                    self._left -= len(piece)
                    if self._left == 0:
                        self._at = _At.DATA_END
                elif at is _At.DATA_END:
                    mark = buffer.peek(2)
                    if mark == b"\r":
                        break
                    if mark != b"\r\n":
                        raise MessageFault(400, "chunk data is not followed by CRLF")
                    buffer.skip(2)
                    self._at = _At.SIZE
                elif at is _At.SIZE:
                    if not self._read_size():
                        break
                elif self._read_trailers():
                    return _join(pieces), True
                else:
                    break
        except MessageFault:
            if not pieces:
                raise
            self._lines.restart()
            self._trailer_lines = []
        return _join(pieces), False

    def _read_size(self) -> bool:
        buffer = self._buffer
        raw = buffer.upto(b"\r\n", _MAX_CHUNK_LINE + 2)
        match = CHUNK_LINE.fullmatch(raw) if raw else None
        if match is None:
            # Judges what there is of it, so that a bare LF or an endless extension is refused now.
            self._lines.restart()
            line = self._lines.next_line(_MAX_CHUNK_LINE, _MAX_CHUNK_LINE, 400)
            if line is None:
                return False
            raise MessageFault(400, f"chunk size line {line[:80]!r} is not hex digits and extensions")
        size = int(match[1], 16)
        if size > _MAX_SIZE:
            raise MessageFault(400, f"chunk size {match[1]!r} exceeds 63 bits")
        overhead = self._overhead + len(raw) + 2 - CHUNK_ALLOWANCE - 2 * size
        if overhead > self._limits.max_chunk_overhead:
            raise MessageFault(
                400, f"chunk extensions or padded sizes add up to more than {self._limits.max_chunk_overhead} bytes"
            )
        buffer.skip(len(raw))
        self._overhead = overhead if overhead > 0 else 0
        self._left = size
        if size:
            self._at = _At.DATA
        else:
            self._at = _At.TRAILERS
            self._lines.restart()
        return True

    def _read_trailers(self) -> bool:
        limits, lines = self._limits, self._lines
        while (line := lines.next_line(limits.max_line, limits.max_trailers, 431)) is not None:
            if line:
                self._judge_trailer(line)
                continue
            self._buffer.skip(lines.end)
            if self._trailer_lines:
                self.trailers = Fields.received(self._trailer_lines)
            return True
        return False

    def _judge_trailer(self, line: bytes) -> None:
        try:
            item, name = LINES[line]
        except UnprovedLineError:
            raise MessageFault(400, f"trailer line {line[:80]!r} is not 'name: value'") from None
        if name in FORBIDDEN_TRAILERS:
            raise MessageFault(400, f"field {name!r} is not allowed in trailers")
        self._trailer_lines.append(item)
        if len(self._trailer_lines) > self._limits.max_trailer_fields:
            raise MessageFault(431, f"more than {self._limits.max_trailer_fields} trailer lines")


def _join(pieces: list[bytes]) -> bytes:
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
