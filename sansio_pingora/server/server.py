"""The server: services, what they wait for, and the way from bootstrap to the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Protocol

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.server.conf import ServerConf
from sansio_pingora.server.loading import load_conf
from sansio_pingora.server.opt import Opt
from sansio_pingora.server.phases import ExecutionPhase, ShutdownSignal
from sansio_pingora.services import AnyService, ServiceGraph, ServiceHandle

__all__ = ["RunArgs", "Server", "ShutdownSignalWatch"]


class ShutdownSignalWatch(Protocol):
    """Where a server hears that it is to end, when not from the system's signals."""

    def recv(self) -> ShutdownSignal:
        """Block until something is asked. Called again afterwards, in a thread of its own: a second one escalates."""


@dataclass(frozen=True, slots=True)
class RunArgs:
    """How to run a server."""

    shutdown_signal: ShutdownSignalWatch | None = None
    """None: SIGINT, SIGTERM and SIGQUIT, where the server runs in the main thread."""


class Server:
    """Holds services and runs them, as often as it is asked to; nothing in here ends the process.

    *conf*: instead of the file that *opt* names.

    :raises ConfError: the file cannot be used.
    :raises LocalProtocolError: both are given.
    """

    def __init__(self, opt: Opt | None = None, conf: ServerConf | None = None) -> None:
        self.opt = Opt() if opt is None else opt
        if conf is not None and self.opt.conf is not None:
            raise LocalProtocolError("a configuration and the path of one are given: leave one of them out")
        if conf is None:
            conf = ServerConf() if self.opt.conf is None else load_conf(self.opt.conf)
        self.configuration = replace(conf, daemon=True) if self.opt.daemon and not conf.daemon else conf
        self.services: dict[str, AnyService] = {}
        self.graph = ServiceGraph()
        self.observers: list[Callable[[ExecutionPhase], object]] = []
        self.on_reload: list[Callable[[], object]] = [self.reload]
        """Called at SIGHUP, in the server's thread; with workers in the one that leads them, then in each of them."""
        self.on_reopen: list[Callable[[], object]] = []
        """Called at SIGUSR1, in the same threads."""
        self.sockets: list[tuple[str, Any]] = []
        """Listening sockets to use instead of binding, with the text of their addresses. The next run takes them."""
        self.addresses: dict[str, list[str]] = {}
        """By service: where it listens, with real ports, while it runs and is ready."""
        self.phase = self.previous = ExecutionPhase.SETUP
        self._runner: Any = None

    def add_service(self, service: AnyService) -> ServiceHandle:
        """Run *service* too, from the next run on.

        :raises LocalProtocolError: there is one of that name.
        :raises TypeError: *service* is none.
        """
        if not isinstance(service, AnyService):
            raise TypeError(f"a server runs a Service(name, app) or a BackgroundService, not {service!r}")
        handle = self.graph.add(service.name)
        self.services[service.name] = service
        return handle

    def add_services(self, services: Iterable[AnyService]) -> list[ServiceHandle]:
        """Run all of *services* too."""
        return [self.add_service(service) for service in services]

    def subscribe(self, observer: Callable[[ExecutionPhase], object]) -> None:
        """Call *observer* with every phase that is entered, in the server's thread. It must not block.

        What it raises is logged, and changes nothing.
        """
        self.observers.append(observer)

    def bootstrap(self) -> None:
        """Find out now what the run would otherwise fail for: options, runtime, forms of callbacks.

        :raises ConfError: the configuration was made in code, of values that a file would be refused for.
        :raises ValueError: an option that does not go.
        :raises TypeError: a callback that the runtime cannot run.
        :raises ImportError: the runtime is not installed.
        """
        import_module("sansio_pingora._run").check_services(self)

    def run_forever(self) -> int:
        """:meth:`run` with the system's signals: it returns when one of them has ended the server."""
        return self.run(RunArgs())

    def run(self, args: RunArgs | None = None) -> int:
        """Start every service, wait for the end, and return the exit code: 0, or 1 when a service failed.

        With ``daemon`` it returns twice: 0 in the process that has called it, once the daemon is ready, and in the
        daemon at its end. With ``workers`` this process leads them; a worker ends without returning.

        :raises LocalProtocolError: it runs already, or has no services, or has to fork and other threads run.
        :raises ChildProcessError: the daemon did not get ready; the text says why.
        :raises Error: with ``workers`` or ``user``: an address cannot be bound.
        :raises OSError: the ``pid_file`` cannot be written, or this process may not become ``user``.
        """
        if self._runner is not None:
            raise LocalProtocolError("this server runs already: wait until it has ended, or make another one")
        code: int = import_module("sansio_pingora._run").run_server(self, RunArgs() if args is None else args)
        return code

    def shutdown(self, signal: ShutdownSignal = ShutdownSignal.GRACEFUL_TERMINATE) -> None:
        """Ask a running server for something, from any thread; one that does not run is not asked."""
        runner = self._runner
        if runner is not None:
            runner.signal(signal)

    def reload(self) -> None:
        """Read the certificates of all services again: handshakes that begin from here on take them, nothing drops.

        :raises Error: a file cannot be read or used; nothing has changed for any service.
        """
        runner = self._runner
        if runner is not None:
            runner.reload()

    def post(self, act: Callable[[float], object]) -> None:
        """Call *act* with the monotonic time in the server's thread, soon; nothing where it does not run."""
        runner = self._runner
        if runner is not None:
            runner.post(act)

    def entered(self, phase: ExecutionPhase) -> list[Exception]:
        """A runner's: tell the observers. Returns what they have raised, for the log: clients have no part in it."""
        self.previous, self.phase = self.phase, phase
        failures: list[Exception] = []
        for observer in self.observers:
            try:
                observer(phase)
            except Exception as exc:
                failures.append(exc)
        return failures

    def runs_by(self, runner: Any) -> None:
        """A runner's: it runs, or, with None, no longer does."""
        self._runner = runner
