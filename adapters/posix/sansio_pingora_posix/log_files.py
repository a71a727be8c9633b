"""Log files that are opened again when they were moved away, and never hold up who writes to them."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque

__all__ = ["LineFile", "ReopeningHandler"]

_LOG = logging.getLogger("sansio_pingora")
_MAX_WAITING = 100_000
"""Lines that wait for the disk, at 200 B or so each 20 MB; what comes then is counted and thrown away."""
_BATCH = 1000


class LineFile:
    """Lines appended to a file by a thread of its own; :meth:`write` is for any thread and never waits.

    :raises OSError: the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = _open(path)
        self._lines: deque[str] = deque()
        self._work = threading.Event()
        self._reopen = False
        self._closing = False
        self._thrown_away = 0
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def write(self, line: str) -> None:
        """Append *line* and a line break, soon."""
        if len(self._lines) >= _MAX_WAITING:
            self._thrown_away += 1
            return
        self._lines.append(line)
        if not self._work.is_set():
            if self._thread is None:
                self._start()
            self._work.set()

    def reopen(self) -> None:
        """Go on in a new file of the same name."""
        self._reopen = True
        if self._thread is None:
            self._start()
        self._work.set()

    def close(self) -> None:
        """Write what is left, and close. Waits for the disk."""
        self._closing = True
        self._work.set()
        if self._thread is not None:
            self._thread.join()
        else:
            os.close(self._file)

    def _start(self) -> None:
        # Not before the first line: a thread would not outlive a fork.
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sansio-pingora-log", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._work.wait()
            self._work.clear()
            while self._lines:
                batch = [self._lines.popleft() for _ in range(min(len(self._lines), _BATCH))]
                self._put(("\n".join(batch) + "\n").encode("utf-8", "backslashreplace"))
            if self._thrown_away:
                count, self._thrown_away = self._thrown_away, 0
                _LOG.error("%s: %d lines were thrown away, the disk is too slow", self._path, count)
            if self._reopen:
                self._reopen = False
                try:
                    file = _open(self._path)
                except OSError as exc:
                    _LOG.error("%s cannot be opened again, the old file is written on: %s", self._path, exc)
                else:
                    os.close(self._file)
                    self._file = file
            if self._closing and not self._lines:
                os.close(self._file)
                return

    def _put(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as exc:
            _LOG.error("%s cannot be written: %s", self._path, exc)


class ReopeningHandler(logging.Handler):
    """A handler of the logging module over a :class:`LineFile`."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._file = LineFile(path)

    def emit(self, record: logging.LogRecord) -> None:
        """Append *record*, soon."""
        try:
            self._file.write(self.format(record))
        except Exception:
            self.handleError(record)

    def reopen(self) -> None:
        """Go on in a new file of the same name."""
        self._file.reopen()

    def close(self) -> None:
        """Write what is left."""
        with contextlib.suppress(OSError):
            self._file.close()
        super().close()


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
