"""Bytes that have arrived and are not used yet; nothing is searched twice."""

from __future__ import annotations

import re

__all__ = ["ReceiveBuffer"]


class ReceiveBuffer:
    """Received bytes in order.

    While one read is all there is, its own bytes object is kept, so that a body chunk
    passes through without a copy; only a second read on top of a rest makes a bytearray.
    """

    __slots__ = ("_data", "_searched", "_start", "size")

    def __init__(self) -> None:
        self.size = 0
        """Bytes held."""
        self._data: bytes | bytearray = b""
        self._start = 0
        self._searched = 0

    def append(self, data: bytes) -> None:
        """Put *data* behind what is there."""
        self.size += len(data)
        held = self._data
        if self._start == len(held):
            self._data = data
            self._start = self._searched = 0
        elif type(held) is bytearray:
            if self._start > 65536:  # drop the used part now and then, not at every take
                del held[: self._start]
                self._searched -= self._start
                self._start = 0
            held += data
        else:
            fresh = bytearray(memoryview(held)[self._start :])
            fresh += data
            self._searched -= self._start
            self._start = 0
            self._data = fresh

    def find(self, mark: bytes) -> int:
        """Offset just past the first *mark*, or -1. Searches only what no call before it did.

        One mark at a time: :meth:`take` starts a new search.
        """
        data = self._data
        at = data.find(mark, max(self._start, self._searched - len(mark) + 1))
        if at < 0:
            self._searched = len(data)
            return -1
        return at + len(mark) - self._start

    def peek(self, size: int) -> bytes:
        """The first *size* bytes, or all there are when fewer, left in place."""
        start = self._start
        data = self._data
        if start == 0 and size >= len(data) and type(data) is bytes:
            return data
        if type(data) is bytes:
            return data[start : start + size]
        return bytes(memoryview(data)[start : start + size])

    def take(self, size: int) -> bytes:
        """Remove and return the first *size* bytes, or all there are when fewer."""
        taken = self.peek(size)
        self.skip(len(taken))
        return taken

    def upto(self, mark: bytes, limit: int) -> bytes:
        """The bytes up to the end of the first *mark*, left in place; none when that is past *limit* or not there."""
        data, start = self._data, self._start
        at = data.find(mark, max(start, self._searched - len(mark) + 1))
        if at < 0:
            self._searched = len(data)
            return b""
        end = at + len(mark)
        if end - start > limit:
            return b""
        if start == 0 and end == len(data) and type(data) is bytes:
            return data
        return data[start:end] if type(data) is bytes else bytes(memoryview(data)[start:end])

    def search(self, pattern: re.Pattern[bytes], start: int) -> int:
        """Offset of the first match of *pattern* at or behind offset *start*, or -1."""
        match = pattern.search(self._data, self._start + start)
        return -1 if match is None else match.start() - self._start

    def slice(self, start: int, end: int) -> bytes:
        """The bytes from offset *start* up to *end*, left in place."""
        return bytes(memoryview(self._data)[self._start + start : self._start + end])

    def take_all(self) -> bytes:
        """Remove and return everything."""
        return self.take(len(self._data))

    def skip(self, size: int) -> None:
        """Remove the first *size* bytes, which must be there."""
        self.size -= size
        if self.size == 0:
            self._data = b""
            self._start = self._searched = 0
            return
        self._start = self._searched = self._start + size

    def __len__(self) -> int:
        return self.size
