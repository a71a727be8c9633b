"""Into the background: a session of its own, standard streams, a word to who waits, and the file with the number."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora_posix.identity import Identity
from sansio_pingora_posix.log_files import open_log, rest_log_files

__all__ = ["Daemon", "PidFile", "fork", "refuse_threads"]

_UMASK = 0o007
"""Pingora's: nothing for those outside the group."""
_READY = b"ready"


def fork() -> int:
    """:func:`os.fork`, while no thread of the log files is in the middle of something."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or there is none
            stream.flush()
    rest_log_files()
    return os.fork()


def refuse_threads() -> None:
    """Make sure that nothing is lost by a fork, after which only the thread goes on that has called it.

    :raises LocalProtocolError: this is not the main thread, or not the only one.
    """
    rest_log_files()
    me = threading.current_thread()
    others = [thread.name for thread in threading.enumerate() if thread is not me]
    if others or me is not threading.main_thread():
        raise LocalProtocolError(
            "a daemon and workers are forked from the main thread, and no other may run before: here "
            + (f"there is {', '.join(others)}" if others else f"it is {me.name}")
            + "; start threads in a BackgroundService"
        )


class Daemon:
    """Make it, then :meth:`detach`; the caller waits there until the daemon has called :meth:`ready`.

    *timeout*: seconds for that. *error_log*: where standard output and error go; None is nowhere.

    :raises LocalProtocolError: other threads run.
    """

    def __init__(self, timeout: float, error_log: str | None, identity: Identity) -> None:
        refuse_threads()
        self._timeout = timeout
        self._error_log = error_log
        self._identity = identity
        # There before the fork: whatever the daemon has to say finds an ear.
        self._ear, self._mouth = os.pipe()

    def detach(self) -> bool:
        """True in the daemon; False in the process that has called this, once the daemon is ready.

        :raises ChildProcessError: in the calling process: it did not get ready; the text says why.
        """
        if child := fork():
            os.close(self._mouth)
            with contextlib.suppress(ChildProcessError):  # who has started this process had SIGCHLD ignored
                os.waitpid(child, 0)
            self._wait()
            return False
        os.close(self._ear)
        os.setsid()
        if fork():
            os._exit(0)  # the daemon leads no session, and so can never get a terminal
        os.write(self._mouth, b"%d\n" % os.getpid())
        os.umask(_UMASK)
        with open(os.devnull, "rb") as null:
            os.dup2(null.fileno(), 0)
        self.reopen()
        return True

    def reopen(self) -> None:
        """Let standard output and error go on in a new file of the same name.

        :raises OSError: it cannot be opened; they stay where they are.
        """
        if self._error_log is None:
            target = os.open(os.devnull, os.O_WRONLY)
        else:
            target = open_log(self._error_log, self._identity)
        for descriptor in (1, 2):
            os.dup2(target, descriptor)
        os.close(target)

    def ready(self) -> None:
        """Let the calling process end well. Only the first of this and :meth:`failed` counts."""
        self._say(_READY)

    def failed(self, reason: str) -> None:
        """Let the calling process end with *reason*."""
        self._say(reason.encode() or b"it failed")

    def _say(self, text: bytes) -> None:
        if self._mouth != -1:
            with contextlib.suppress(BrokenPipeError):  # nobody waits any more
                os.write(self._mouth, text)
            os.close(self._mouth)
            self._mouth = -1

    def _wait(self) -> None:
        give_up = time.monotonic() + self._timeout
        said = b""
        ear = select.poll()  # select.select refuses descriptors above 1023
        ear.register(self._ear, select.POLLIN)
        while ear.poll(max(0.0, give_up - time.monotonic()) * 1000):
            data = os.read(self._ear, 4096)
            said += data
            if not data or said.endswith(b"\n" + _READY):
                os.close(self._ear)
                break
        else:
            os.close(self._ear)
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(said.partition(b"\n")[0]), signal.SIGTERM)
            raise ChildProcessError(f"the daemon was not ready within {self._timeout:g} s, and was ended")
        reason = said.partition(b"\n")[2]
        if reason != _READY:
            where = "" if self._error_log is None else f": see {self._error_log}"
            raise ChildProcessError(reason.decode() or f"the daemon ended before it was ready{where}")


class PidFile:
    """The file at *path* with the number of this process; it belongs to *identity*, so that it can be removed."""

    def __init__(self, path: str, identity: Identity) -> None:
        self._path = path
        self._identity = identity
        self._before: bytes | None = None
        self._written = False

    def write(self) -> None:
        """Put the number there, in one step: nobody ever reads half of it.

        :raises OSError: it cannot be written.
        """
        with contextlib.suppress(OSError), open(self._path, "rb") as file:
            self._before = file.read(32)
        beside = f"{self._path}.{os.getpid()}"
        # Made anew: a link that somebody has put there is not followed.
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(descriptor, 0o644)  # whatever the umask
            self._identity.own(descriptor)
            os.write(descriptor, b"%d\n" % os.getpid())
            os.rename(beside, self._path)
        except BaseException:
            os.unlink(beside)
            raise
        finally:
            os.close(descriptor)
        self._written = True

    def remove(self, *, was_up: bool) -> None:
        """Take it away, unless another process has put its own there; of one that never was *was_up*, the old is back.

        Where the directory belongs to another user it is emptied.
        """
        if not self._written:
            return
        with contextlib.suppress(OSError):
            with open(self._path, "rb") as file:
                if file.read(32) != b"%d\n" % os.getpid():
                    return
            if self._before is not None and not was_up:
                with open(self._path, "wb") as file:
                    file.write(self._before)
                return
            try:
                os.unlink(self._path)
            except PermissionError:
                os.truncate(self._path, 0)
