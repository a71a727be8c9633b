"""Services in threads of this process, each with a runtime of its own."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sansio_pingora.listeners import ServerAddress
from sansio_pingora.services import AnyService, BackgroundService, Service
from sansio_pingora_posix.control import Control
from sansio_pingora_posix.descriptors import DescriptorTable
from sansio_pingora_posix.server_runner import ServerRunner
from sansio_pingora_posix.tally import Tally

__all__ = ["ServiceControl", "ServiceThreads"]

_LOG = logging.getLogger("sansio_pingora")

Serve = Callable[[Service, Control], None]
"""Runs a service's runtime to its end, in the calling thread, under a control."""
Drive = Callable[[Any], None]
"""Runs a generator of effects, or what can be awaited, to its end, in the calling thread."""


class ServiceControl(Control):
    """Takes the sockets of the whole server, and holds accepting back until all of it is up."""

    def __init__(self, table: DescriptorTable, on_ready: Callable[[], object]) -> None:
        super().__init__()
        self._table = table
        self._admitted = threading.Event()
        self.ready = _Telling(on_ready)

    def bind(self, address: ServerAddress, sleep: Callable[[float], object] = time.sleep) -> socket.socket:
        """From the table."""
        return self._table.take(address, sleep)

    def await_admission(self) -> None:
        """Wait until :meth:`admit`, or the end."""
        self._admitted.wait()

    def admit(self) -> None:
        """Accept from here on."""
        self._admitted.set()

    def stop(self, *, graceful: bool = True) -> None:
        """See :class:`Control`."""
        super().stop(graceful=graceful)
        self._admitted.set()


class _Telling(threading.Event):
    """Tells when it is set."""

    def __init__(self, tell: Callable[[], object]) -> None:
        super().__init__()
        self._tell = tell

    def set(self) -> None:
        super().set()
        self._tell()


class _Ready:
    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell = tell

    def notify_ready(self) -> None:
        """See :class:`sansio_pingora.services.ReadyNotifier`."""
        self._tell()


class ServiceThreads:
    """A launcher of threads. Those that do not end when the server does are left behind: they are daemons.

    *places*: by the name of a service, where other processes serve it too; see :class:`Control`.
    """

    def __init__(
        self,
        services: Mapping[str, AnyService],
        table: DescriptorTable,
        serve: Serve,
        drive: Drive,
        places: Mapping[str, tuple[Tally, int]] | None = None,
    ) -> None:
        self._services = services
        self._table = table
        self._serve = serve
        self._drive = drive
        self._places = {} if places is None else places
        self._admitted = False
        self.controls: dict[str, ServiceControl] = {}
        """Of the services that listen and run."""
        self._watches: dict[str, threading.Event] = {}

    def start(self, name: str, delay: float | None, runner: ServerRunner) -> None:
        """See :class:`Launcher`."""
        service = self._services[name]
        run: Callable[[], Any]
        if isinstance(service, BackgroundService):
            watch = self._watches[name] = threading.Event()
            run = partial(service.start_with_ready_notifier, watch, _Ready(partial(runner.ready, name)))
        else:
            control = self.controls[name] = ServiceControl(self._table, partial(runner.ready, name))
            control.place = self._places.get(name)
            if self._admitted:
                control.admit()
            run = partial(self._serve, service, control)

        def work() -> None:
            error: str | None = None
            try:
                if delay is not None:
                    service.on_startup_delay(delay)
                begun = run()
                if begun is not None:
                    self._drive(begun)
            except BaseException as exc:
                _LOG.debug("service %r failed", name, exc_info=exc)
                error = str(exc) or type(exc).__name__
            runner.ended(name, error)

        try:
            threading.Thread(target=work, name=name, daemon=True).start()
        except RuntimeError as exc:  # the system has none left
            runner.ended(name, str(exc))

    def drain(self, name: str, *, handed_over: bool) -> None:
        """See :class:`Launcher`."""
        if name in self.controls:
            self.controls[name].keep_idle = handed_over
            self.controls[name].stop()
        else:
            self._watches[name].set()

    def abort(self, name: str) -> None:
        """See :class:`Launcher`."""
        if name in self.controls:
            self.controls[name].stop(graceful=False)
        else:
            self._watches[name].set()

    def admit(self) -> None:
        """See :class:`Launcher`."""
        self._admitted = True
        for control in self.controls.values():
            control.admit()

    def reload(self) -> None:
        """See :class:`Launcher`."""
        taken = [take for control in list(self.controls.values()) for take in control.prepare_reload()]
        for take in taken:
            take()
