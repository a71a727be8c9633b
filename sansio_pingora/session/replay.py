"""The beginning of a request body, kept for another attempt."""

from __future__ import annotations

from sansio_pingora.wire import Body, Fields

__all__ = ["ReplayBuffer"]


class ReplayBuffer:
    """The beginning of a body, up to *ceiling* bytes; a longer one cannot be sent again."""

    __slots__ = ("_ceiling", "_pieces", "complete", "end", "size", "trailers")

    def __init__(self, ceiling: int) -> None:
        self._ceiling = ceiling
        self._pieces: list[bytes] = []
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
        else:
            # A copy when the piece is a small part of a read: a slice would not pin it, but bytes are cheap to join.
            self._pieces.append(data)

    def release(self) -> None:
        """Keep nothing any more."""
        self._pieces = []
        self.size = 0
        self.complete = False

    def body(self) -> Body | None:
        """What is to be sent again, or None when nothing was."""
        if not self._pieces:
            return None
        return Body(b"".join(self._pieces))
