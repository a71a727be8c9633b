"""What obeys the lifecycle machine of a server, whatever its services are run by."""

from __future__ import annotations

import logging
import math
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol, assert_never

from sansio_pingora.server import (
    AbortService,
    Acknowledge,
    DrainService,
    EnterPhase,
    ExecutionPhase,
    Exit,
    LifecycleCommand,
    ReceiveDescriptors,
    Report,
    SendDescriptors,
    ServerLifecycle,
    ShutdownSignal,
    StartService,
    StopSending,
)
from sansio_pingora_posix.descriptors import DescriptorTable
from sansio_pingora_posix.handover import HandOverFailed, Receiver, Sender
from sansio_pingora_posix.server_signals import wake_at_signals

__all__ = ["Launcher", "ServerRunner"]

_LOG = logging.getLogger("sansio_pingora")
_LONGEST_WAIT = 3600.0


class Launcher(Protocol):
    """Runs services: in threads, or in processes. Every method is called by the runner's thread."""

    def start(self, name: str, delay: float | None, runner: ServerRunner) -> None:
        """Start a service; report with ``runner.ready(name)`` and ``runner.ended(name, error)``."""

    def drain(self, name: str, *, handed_over: bool) -> None:
        """Let it finish."""

    def abort(self, name: str) -> None:
        """End it at once."""

    def admit(self) -> None:
        """Every service is up, and accepts from here on."""

    def reload(self) -> None:
        """Read the certificates of all services again.

        :raises Error: a file cannot be used; nothing has changed for any of them.
        """


class ServerRunner:
    """One run of a server. :meth:`signal`, :meth:`post`, :meth:`ready` and :meth:`ended` are for any thread, and for
    signal handlers.
    """

    def __init__(
        self,
        lifecycle: ServerLifecycle,
        launcher: Launcher,
        table: DescriptorTable,
        *,
        upgrade_sock: str,
        upgrade_retries: int = 5,
        upgrade_timeout: float = 60.0,
        upgrade_owner: int | None = None,
        on_phase: Callable[[ExecutionPhase], object] = lambda _phase: None,
        on_up: Callable[[], object] = lambda: None,
    ) -> None:
        self._lifecycle = lifecycle
        self._launcher = launcher
        self._table = table
        self._upgrade_sock = upgrade_sock
        self._upgrade_retries = upgrade_retries
        self._upgrade_timeout = upgrade_timeout
        self._upgrade_owner = upgrade_owner
        self._on_phase = on_phase
        self._on_up = on_up
        self._receiver: Receiver | None = None
        self._receiving: threading.Thread | None = None
        self._sender: Sender | None = None
        self._code: int | None = None
        self._inbox: deque[Callable[[float], object]] = deque()
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self.watch(self._ear, partial(self._ear.recv, 4096))
        self.failure: str | None = None
        """What went wrong, where something has."""

    # ── from anywhere ────────────────────────────────────────────────────────────────

    def post(self, act: Callable[[float], object]) -> None:
        """Call *act* with the time in the runner's thread, soon."""
        self._inbox.append(act)
        try:
            self._bell.send(b"\0")
        except OSError:  # full: it wakes anyway; closed: it is over
            return

    def signal(self, signal: ShutdownSignal) -> None:
        """Ask the server to end, or to hand over."""
        self.post(lambda now: self._lifecycle.signal(signal, now))

    def reload(self) -> None:
        """Read the certificates of all services again, in the calling thread.

        :raises Error: a file cannot be used; nothing has changed for any of them.
        """
        self._launcher.reload()

    def ready(self, name: str) -> None:
        """A launcher's: *name* is ready."""
        self.post(lambda now: self._lifecycle.service_ready(name, now))

    def ended(self, name: str, error: str | None) -> None:
        """A launcher's: *name* has ended."""
        self.post(lambda now: self._lifecycle.service_ended(name, error, now))

    # ── in the runner's thread ───────────────────────────────────────────────────────

    def watch(self, sock: socket.socket, act: Callable[[], object]) -> None:
        """Call *act* when there is something to read at *sock*, until :meth:`forget`."""
        self._selector.register(sock, selectors.EVENT_READ, act)

    def forget(self, sock: socket.socket) -> None:
        """Look no longer."""
        self._selector.unregister(sock)

    def forget_hand_over(self) -> None:
        """In a process forked from this one: its descriptors would keep locks and connections of the parent alive."""
        if self._receiver is not None:
            self._receiver.close()
        if self._sender is not None:
            self._sender.close()

    # ── driving ──────────────────────────────────────────────────────────────────────

    def run(self) -> int:
        """Run the server to its end. Returns the exit code that a process would have."""
        try:
            with wake_at_signals(self._bell):
                self._drive()
        finally:
            if self._receiver is not None:
                self._receiver.close()
            if self._sender is not None:
                self._sender.give_up()
            self._selector.close()
            self._bell.close()
            self._ear.close()
        assert self._code is not None
        return self._code

    def _drive(self) -> None:
        self._lifecycle.bootstrap(time.monotonic())
        self._obey()
        while self._code is None:
            self._wait()
            while self._inbox:
                self._inbox.popleft()(time.monotonic())
                self._obey()
            if time.monotonic() >= self._lifecycle.deadline:
                self._lifecycle.handle_timeout(time.monotonic())
                self._obey()

    def _wait(self) -> None:
        deadline = self._lifecycle.deadline
        left = _LONGEST_WAIT if deadline == math.inf else deadline - time.monotonic()
        for key, _ in self._selector.select(min(max(left, 0.001), _LONGEST_WAIT)):
            key.data()

    def _obey(self) -> None:
        while commands := self._lifecycle.take_commands():
            for command in commands:
                self._execute(command)

    def _execute(self, command: LifecycleCommand) -> None:
        match command:
            case EnterPhase(phase):
                self._on_phase(phase)
            case Report(level, text):
                if level == "ERROR":
                    self.failure = text
                _LOG.log(logging.getLevelNamesMapping()[level], "%s", text)
            case StartService(name, delay):
                self._launcher.start(name, delay, self)
            case DrainService(name, handed_over):
                self._launcher.drain(name, handed_over=handed_over)
            case AbortService(name):
                self._launcher.abort(name)
            case ReceiveDescriptors():
                self._receiving = threading.Thread(target=self._receive, name="sansio-pingora-upgrade", daemon=True)
                self._receiving.start()
            case SendDescriptors():
                self._send()
            case StopSending():
                if self._sender is not None:
                    self._sender.give_up()
            case Acknowledge():
                self._acknowledge()
            case Exit(code):
                self._code = code
            case _:
                assert_never(command)

    # ── hand-over ────────────────────────────────────────────────────────────────────

    def _receive(self) -> None:
        try:
            self._receiver = receiver = Receiver(self._upgrade_sock, self._upgrade_owner)
            for name, sock in receiver.receive(self._upgrade_timeout):
                self._table.inherit(name, sock)
        except (HandOverFailed, OSError) as exc:
            if self._receiver is not None:
                self._receiver.close()
            reason = str(exc)
            self.post(lambda now: self._lifecycle.descriptors_refused(reason, now))
        else:
            self.post(self._received)

    def _received(self, now: float) -> None:
        assert self._receiving is not None
        self._receiving.join()  # it has done its work; what follows may fork
        self._lifecycle.descriptors_received(now)

    def _send(self) -> None:
        def failed(exc: Exception) -> None:
            reason = str(exc)
            self.post(lambda now: self._lifecycle.hand_over_failed(reason, now))

        def send() -> None:
            try:
                sender.run()
            except (HandOverFailed, OSError) as exc:
                failed(exc)
            else:
                self.post(self._lifecycle.handed_over)

        try:
            sender = Sender(
                self._upgrade_sock, self._table.in_use(), retries=self._upgrade_retries, timeout=self._upgrade_timeout
            )
        except HandOverFailed as exc:
            failed(exc)
            return
        self._sender = sender
        try:
            threading.Thread(target=send, name="sansio-pingora-upgrade", daemon=True).start()
        except RuntimeError as exc:  # the system has none left
            sender.close()
            failed(exc)

    def _acknowledge(self) -> None:
        if self._receiver is not None:
            try:
                self._receiver.acknowledge()
            except HandOverFailed as exc:
                self.failure = f"{exc}, so this one ends"
                _LOG.error("%s", self.failure)
                self._lifecycle.signal(ShutdownSignal.FAST_SHUTDOWN, time.monotonic())
                return
            self._receiver.close()
        for name in self._table.close_unclaimed():
            _LOG.warning("the old process listened on %s, which no service here does: it is closed", name)
        self._launcher.admit()
        self._on_up()
