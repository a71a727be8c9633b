"""A folder for transcripts of connections: a file for each, which nobody else may read."""

from __future__ import annotations

import logging
import os
import time

from sansio_pingora.errors import Error, ErrorType

__all__ = ["TranscriptFolder"]

_LOG = logging.getLogger("sansio_pingora")


class TranscriptFolder:
    """*path* is made if it is not there; files in it begin with the time and the process.

    :raises Error: ``FILE_CREATE_ERROR``, it cannot be made.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._started = int(time.time())
        try:
            os.makedirs(path, 0o700, exist_ok=True)
        except OSError as exc:
            raise Error(ErrorType.FILE_CREATE_ERROR, f"transcripts cannot be kept in {path}: {exc}", cause=exc) from exc

    def begin(self, name: str) -> _TranscriptFile:
        """A new file; see :class:`sansio_pingora.testing.recording.Sink`."""
        # Asked here: workers are forked from the process that has made this.
        return _TranscriptFile(os.path.join(self._path, f"{self._started}-{os.getpid()}-{name}"))


class _TranscriptFile:
    """Written as it comes. A disk that is full ends the transcript, and nothing else."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = -1
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            self._give_up(exc)

    def write(self, line: str) -> None:
        """One line more."""
        data = line.encode() + b"\n"
        try:
            while data and self._file >= 0:
                data = data[os.write(self._file, data) :]
        except OSError as exc:
            self._give_up(exc)

    def close(self) -> None:
        """There are no more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _give_up(self, exc: OSError) -> None:
        _LOG.error("the transcript %s cannot be written, and is left as it is: %s", self._path, exc)
        self.close()
