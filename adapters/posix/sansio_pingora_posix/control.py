"""The handle on a running server: where it listens, whether it is up, and how to stop it."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import IntEnum

from sansio_pingora.limits import Limits
from sansio_pingora.listeners import AcceptPolicy, ServerAddress
from sansio_pingora_posix.binding import bind
from sansio_pingora_posix.server_signals import handle_signals
from sansio_pingora_posix.tally import Tally, lane_policy

__all__ = ["Control", "Stop", "install_signals"]


class Stop(IntEnum):
    """What has been asked of a running server."""

    NO = 0
    GRACEFUL = 1
    """Accept no more, finish what is under way."""
    NOW = 2
    """Abort what is under way."""


class Control:
    """Give it to ``serve`` and keep it: every method may be called from any thread and from signal handlers."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        """Where the server listens, with real ports; complete once ``ready`` is set."""
        self.ready = threading.Event()
        """Set when all addresses are bound."""
        self.asked = Stop.NO
        """For runtimes: what was asked so far."""
        self.keep_idle = False
        """For runtimes: at a graceful end, idle clients keep their connections until they speak or time out."""
        self.place: tuple[Tally, int] | None = None
        """Where other processes accept at the same sockets: the tally of their clients, and which of them this is."""
        self._done = threading.Event()
        self._wake: tuple[Callable[[], object], ...] = ()
        self._reloads: tuple[Callable[[], Callable[[], object]], ...] = ()
        self._registering = threading.Lock()  # never taken by stop

    def stop(self, *, graceful: bool = True) -> None:
        """End the server: gracefully, or at once. It can be sharpened, and not taken back."""
        # No lock: a signal handler may run in the middle of another call of the same thread.
        asked = Stop.GRACEFUL if graceful else Stop.NOW
        if asked > self.asked:
            self.asked = asked
            for wake in self._wake:
                wake()

    def reload(self) -> None:
        """Read the certificates again: handshakes that begin from here on take them, and nothing else notices.

        :raises Error: a file cannot be read or used; what was read before stays in force.
        """
        for take in self.prepare_reload():
            take()

    def prepare_reload(self) -> list[Callable[[], object]]:
        """Read the certificates again, without taking them: that is done by calling what is returned.

        :raises Error: as above.
        """
        return [prepare() for prepare in self._reloads]

    def on_reload(self, prepare: Callable[[], Callable[[], object]]) -> None:
        """For who reads files: call *prepare* whenever they are to be read again, then what it returns.

        So either everything that was read is taken, or nothing.
        """
        with self._registering:
            self._reloads = (*self._reloads, prepare)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the server has ended; False when *timeout* seconds were not enough."""
        return self._done.wait(timeout)

    def bind(self, address: ServerAddress, sleep: Callable[[float], object] = time.sleep) -> socket.socket:
        """For runtimes: the socket that listens on *address*. *sleep*: the runtime's, between two attempts.

        :raises Error: it cannot be bound.
        """
        return bind(address, sleep=sleep)

    def accept_policy(self, limits: Limits, lane: int = 0, lanes: int = 1) -> AcceptPolicy:
        """For runtimes: that of the lane with the number *lane* of *lanes*."""
        return lane_policy(limits, lane, lanes, self.place)

    def await_admission(self) -> None:
        """For runtimes: blocks between the bind and the first accept, for as long as accepting is held back."""

    def on_stop(self, wake: Callable[[], object]) -> None:
        """For runtimes: call *wake*, which must be safe in a signal handler, whenever more is asked than before."""
        with self._registering:
            self._wake = (*self._wake, wake)
        if self.asked:
            wake()

    def finish(self) -> None:
        """For runtimes: the server has ended, or never came up; nothing is woken any more."""
        self._wake = ()
        self._done.set()


def install_signals(control: Control) -> AbstractContextManager[None]:
    """Let SIGTERM and SIGINT stop *control* gracefully, and a second one of either at once.

    Nothing is done outside the main thread, which alone gets signals. The handlers from before come back at the end.
    """

    def stop() -> None:
        control.stop(graceful=control.asked is Stop.NO)

    return handle_signals({signal.SIGTERM: stop, signal.SIGINT: stop})
