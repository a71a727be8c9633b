"""Log files that are opened again when they were moved away, and never hold up who writes to them."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections import deque
from weakref import WeakSet

from sansio_pingora_posix.identity import ITSELF, Identity

__all__ = ["LineFile", "ReopeningHandler", "open_log", "rest_log_files"]

_LOG = logging.getLogger("sansio_pingora")
_MAX_WAITING = 100_000
"""Lines that wait for the disk, at 200 B or so each 20 MB; what comes then is counted and thrown away."""
_BATCH = 1000
_ABOUT = "log_file"
"""Of a record: the file that cannot be written, which is so no place for it."""


class LineFile:
    """Lines appended to a file by a thread of its own; :meth:`write` is for any thread and never waits.

    A file that is made for it belongs to *identity*.

    :raises OSError: the file cannot be opened.
    """

    def __init__(self, path: str, identity: Identity = ITSELF) -> None:
        self._path = path
        self._file = open_log(path, identity)
        self._lines: deque[str] = deque()
        self._work = threading.Event()
        self._reopen = False
        self._resting = False
        self._closed = False
        self._thrown_away = 0
        self._lost = 0
        self._failing = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        _FILES.add(self)

    def write(self, line: str) -> None:
        """Append *line* and a line break, soon; nothing behind :meth:`close`.

        Lines that cannot be written are counted and lost, and that is logged: when it begins, and when it is over.
        """
        if self._closed:
            return
        if len(self._lines) >= _MAX_WAITING:
            self._thrown_away += 1
            return
        self._lines.append(line)
        if self._thread is None:
            self._start()
        if not self._work.is_set():
            self._work.set()

    def reopen(self) -> None:
        """Go on in a new file of the same name."""
        if self._closed:
            return
        self._reopen = True
        if self._thread is None:
            self._start()
        self._work.set()

    def rest(self) -> None:
        """Write what is left, and have no thread until the next line. Waits for the disk."""
        with self._starting:
            thread = self._thread
            if thread is not None:
                self._resting = True
                self._work.set()
                thread.join()
                self._thread = None
                self._resting = False
            if self._file != -1:
                self._write_out()

    def close(self) -> None:
        """Write what is left, and close. Waits for the disk; repeated calls are harmless."""
        self._closed = True
        self.rest()
        if self._lost:
            self._tell("%s: %d lines were lost", self._lost)
            self._lost = 0
        if self._file != -1:
            os.close(self._file)
            self._file = -1

    def _start(self) -> None:
        # Not before the first line: a thread does not outlive a fork.
        if not self._starting.acquire(blocking=False):
            return  # another thread starts it, or has it rest; nobody waits here
        try:
            if self._thread is None and not self._closed:
                thread = threading.Thread(target=self._run, name="sansio-pingora-log", daemon=True)
                thread.start()
                self._thread = thread
        except RuntimeError:
            return  # the system has none left: the next line tries again
        finally:
            self._starting.release()

    def _run(self) -> None:
        while True:
            self._work.wait()
            self._work.clear()
            self._write_out()
            if self._thrown_away:
                count, self._thrown_away = self._thrown_away, 0
                _LOG.error("%s: %d lines were thrown away, the disk is too slow", self._path, count)
            if self._reopen:
                self._reopen = False
                try:
                    file = open_log(self._path)
                except OSError as exc:
                    _LOG.error("%s cannot be opened again, the old file is written on: %s", self._path, exc)
                else:
                    os.close(self._file)
                    self._file = file
            if self._resting and not self._lines:
                return

    def _write_out(self) -> None:
        while self._lines:
            batch = [self._lines.popleft() for _ in range(min(len(self._lines), _BATCH))]
            self._put(("\n".join(batch) + "\n").encode("utf-8", "backslashreplace"))

    def _put(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as exc:
            self._lost += data.count(b"\n")
            if not self._failing:
                self._failing = True
                self._tell("%s cannot be written, and lines are lost until it can: %s", exc)
            return
        if self._failing:
            self._failing = False
            count, self._lost = self._lost, 0
            _LOG.error("%s can be written again; %d lines were lost", self._path, count)

    def _tell(self, text: str, *values: object) -> None:
        _LOG.error(text, self._path, *values, extra={_ABOUT: self})


class ReopeningHandler(logging.Handler):
    """A handler of the logging module over a :class:`LineFile`."""

    def __init__(self, path: str, identity: Identity = ITSELF) -> None:
        super().__init__()
        self._file = LineFile(path, identity)

    def emit(self, record: logging.LogRecord) -> None:
        """Append *record*, soon."""
        try:
            if getattr(record, _ABOUT, None) is self._file:
                _write_to_standard_error(self.format(record))
            else:
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


def _write_to_standard_error(line: str) -> None:
    # Past its buffer: what stays there would be tried again at the end, and cost the exit code.
    with contextlib.suppress(OSError, ValueError, AttributeError):  # it goes nowhere, or there is none
        os.write(sys.stderr.fileno(), f"{line}\n".encode("utf-8", "backslashreplace"))


_FILES: WeakSet[LineFile] = WeakSet()


def rest_log_files() -> None:
    """Let every :class:`LineFile` write what is left and be without a thread: before a fork, and before a hard end."""
    for file in list(_FILES):
        file.rest()


def open_log(path: str, identity: Identity = ITSELF) -> int:
    """A descriptor that appends to the file at *path*. One that is made for it belongs to *identity*.

    One that was there keeps its owner: it may be a link to something that is nobody's to give away.

    :raises OSError: it cannot be opened.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        made = os.open(path, flags | os.O_EXCL, 0o640)
    except FileExistsError:
        return os.open(path, flags, 0o640)
    identity.own(made)
    return made
