"""Threads for calls that may block."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue

from sansio_pingora.errors import Error, ErrorSource, ErrorType

__all__ = ["Workers"]


class Workers:
    """At most *limit* threads, each started when a call finds none free.

    Not ``ThreadPoolExecutor``, which at the end of the program waits for a call that never returns.
    What waits for a thread is not bounded here: each waiting call belongs to a live connection.
    """

    def __init__(self, limit: int = 32, name: str = "sansio-pingora-worker") -> None:
        self._limit = limit
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._size = 0
        self._free = 0  # idle threads less waiting calls

    def submit(self, call: Callable[[], None]) -> None:
        """Run *call*, which must not raise, in one of the threads; after :meth:`close` in none.

        :raises Error: ``INTERNAL_ERROR``: there is no thread yet, and the system gives none.
        """
        with self._lock:
            if self._free <= 0 and self._size < self._limit:
                self._start()
            self._free -= 1
            self._calls.put(call)

    def close(self) -> None:
        """End the threads, each after the call that it runs. Calls that wait for a thread are nobody's, and dropped."""
        with self._lock:
            with contextlib.suppress(Empty):
                while True:
                    self._calls.get_nowait()
            for _ in range(self._size):
                self._calls.put(None)
            self._size = 0
            self._limit = 0

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}-{self._size + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:
            if self._size:
                return  # the call waits for one of those that there are
            text = (
                f"no thread can be started for a call that may block ({exc}): allow more of them, by ulimit -u, "
                "TasksMax= of systemd, or pids.max of the control group"
            )
            raise Error(ErrorType.INTERNAL_ERROR, text, cause=exc, esource=ErrorSource.INTERNAL) from exc
        self._size += 1
        self._free += 1

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            copy_context().run(call)  # what it sets there ends with it
            del call  # or a worker that idles keeps what the last one held
            with self._lock:
                self._free += 1
