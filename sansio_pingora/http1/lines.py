"""Lines from a receive buffer, judged byte by byte as they arrive, each byte looked at once."""

from __future__ import annotations

from sansio_pingora.wire import MessageFault, ReceiveBuffer
from sansio_pingora.wire.grammar import LINE_BREAKER

__all__ = ["LineReader"]


class LineReader:
    """Walks the CRLF lines at the front of *buffer* without removing them."""

    __slots__ = ("_buffer", "end", "scan")

    def __init__(self, buffer: ReceiveBuffer) -> None:
        self._buffer = buffer
        self.restart()

    def restart(self) -> None:
        """Begin again at the front of the buffer, from which something was taken."""
        self.end = 0  # offset just past the last finished line
        self.scan = 0  # offset up to which every byte was looked at

    def next_line(self, max_line: int, max_total: int, too_long: int) -> bytes | None:
        """The next finished line without its CRLF, or None while it is not finished.

        :raises MessageFault: a control byte (400), or past a limit (*too_long*).
        """
        buffer = self._buffer
        at = buffer.search(LINE_BREAKER, self.scan)
        stop = len(buffer) if at < 0 else at
        if stop - self.end > max_line or stop > max_total:
            raise MessageFault(too_long, f"a line longer than {max_line} bytes, or a section longer than {max_total}")
        if at < 0:
            self.scan = stop
            return None
        mark = buffer.slice(at, at + 2)
        if mark == b"\r":
            self.scan = at
            return None
        if mark != b"\r\n":
            raise MessageFault(400, f"control byte {mark[:1]!r} in a line")
        line = buffer.slice(self.end, at)
        self.end = self.scan = at + 2
        return line
