"""The beginning of a request body, kept for another attempt."""

from __future__ import annotations

from sansio_pingora.wire import Body, Fields

__all__ = ["ReplayBuffer"]


class ReplayBuffer:
    """The beginning of a body, up to *ceiling* bytes; a longer one cannot be sent again."""

    __slots__ = ("_ceiling", "_kept", "complete", "end", "size", "trailers")

    def __init__(self, ceiling: int) -> None:
        self._ceiling = ceiling
        self._kept: bytes | bytearray = b""  # the one piece itself, or a copy of all
        self.size = 0
        self.complete = True
        """All that was added is here."""
        self.end = False
        self.trailers: Fields | None = None

    def add(self, data: bytes) -> None:
        """Keep *data*, or give up keeping when it is too much."""
        if not self.complete:
            return
        self.size += len(data)
        if self.size > self._ceiling:
            self.release()
        elif not self._kept:
            self._kept = data
        else:
            if not isinstance(self._kept, bytearray):
                self._kept = bytearray(self._kept)
            self._kept += data

    def release(self) -> None:
        """Keep nothing any more."""
        self._kept = b""
        self.size = 0
        self.complete = False

    def body(self) -> Body | None:
        """What is to be sent again, or None when nothing was."""
        return Body(bytes(self._kept)) if self._kept else None
