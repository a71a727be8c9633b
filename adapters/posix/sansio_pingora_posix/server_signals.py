"""The signals of a server.

A signal sets a flag, and Python calls its handler when the main thread runs bytecode again. One that comes just before
that thread waits for sockets, or to another thread, does not end the waiting: that takes a byte at a socket.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sansio_pingora.server import ShutdownSignal, ShutdownSignalWatch

__all__ = ["forget_waker", "handle_signals", "hear_signals", "wake_at_signals", "watch_shutdown"]


_LOG = logging.getLogger("sansio_pingora")


@contextlib.contextmanager
def handle_signals(actions: Mapping[signal.Signals, Callable[[], object]]) -> Iterator[None]:
    """Have *actions* called, which must be safe in a signal handler; what was before comes back at the end.

    Nothing is done outside the main thread, which alone gets signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def act(signum: int, _frame: FrameType | None) -> None:
        actions[signal.Signals(signum)]()

    before = {signum: signal.signal(signum, act) for signum in actions}
    try:
        yield
    finally:
        for signum, handler in before.items():
            # None: a handler that was not set from Python, which cannot be put back.
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)


@contextlib.contextmanager
def wake_at_signals(bell: socket.socket) -> Iterator[None]:
    """Have every signal that has a handler write a byte to *bell*, which does not block, so that whoever waits at its
    other end wakes up.

    Nothing is done outside the main thread, nor where the program, or its event loop, has seen to that itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    mine = bell.fileno()
    before = signal.set_wakeup_fd(mine, warn_on_full_buffer=False)
    if before != -1:
        signal.set_wakeup_fd(before)
        yield
        return
    try:
        yield
    finally:
        if (now := signal.set_wakeup_fd(-1)) != mine:
            signal.set_wakeup_fd(now)  # somebody else's, meanwhile


@contextlib.contextmanager
def hear_signals(
    watch: Callable[[Callable[[], object], socket.socket], Callable[[], object]],
) -> Iterator[None]:
    """:func:`wake_at_signals` for a loop without a bell.

    *watch* has the function called whenever there is something to read at the socket, until what it returns is called.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ear, bell = socket.socketpair()
    with ear, bell:
        ear.setblocking(False)
        bell.setblocking(False)

        def hear() -> None:
            with contextlib.suppress(BlockingIOError):
                ear.recv(64)

        forget = watch(hear, ear)
        try:
            with wake_at_signals(bell):
                yield
        finally:
            forget()


def forget_waker() -> None:
    """In a forked process: its signals wake nobody of the parent."""
    signal.set_wakeup_fd(-1)


class _Watching:
    """The thread at a watch: one, whatever runs follow each other, as nothing ends its waiting."""

    def __init__(self, watch: ShutdownSignalWatch) -> None:
        self._watch = watch
        self.acts: list[Callable[[ShutdownSignal], object]] = []
        self.unheard: ShutdownSignal | None = None
        """What was asked last when nothing ran: of the next run."""

    def listen(self) -> None:
        try:
            while True:
                asked = self._watch.recv()
                with _REGISTERING:
                    acts = list(self.acts)
                    self.unheard = None if acts else asked
                for act in acts:
                    act(asked)
        except Exception:
            _LOG.exception("a shutdown_signal failed, and is not heard until the next run")
        finally:
            with _REGISTERING:
                del _WATCHED[id(self._watch)]


_REGISTERING = threading.Lock()
_WATCHED: dict[int, _Watching] = {}
"""By the identity of the watch, which its thread holds."""


@contextlib.contextmanager
def watch_shutdown(watch: ShutdownSignalWatch, act: Callable[[ShutdownSignal], object]) -> Iterator[None]:
    """Have *act* called, in a thread, with all that *watch* says meanwhile, and with the last of what it said before
    while nobody listened.
    """
    with _REGISTERING:
        watching = _WATCHED.get(id(watch))
        if watching is None:
            watching = _Watching(watch)
            threading.Thread(target=watching.listen, name="sansio-pingora-shutdown", daemon=True).start()
            _WATCHED[id(watch)] = watching
        watching.acts.append(act)
        unheard, watching.unheard = watching.unheard, None
    try:
        if unheard is not None:
            act(unheard)
        yield
    finally:
        with _REGISTERING:
            watching.acts.remove(act)
