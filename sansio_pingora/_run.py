"""Running a Server: what its configuration means to a runtime."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Generator, Mapping
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from typing import Any

from sansio_pingora._runtimes import load_runtime
from sansio_pingora._serve import is_in_force, serve_with
from sansio_pingora.errors import Error, LocalProtocolError
from sansio_pingora.listeners import ServerAddress, Tls
from sansio_pingora.machine import Lane
from sansio_pingora.proxy import ProxyHttp
from sansio_pingora.server import ConfError, ExecutionPhase, RunArgs, Server, ServerLifecycle, ShutdownSignal
from sansio_pingora.server.loading import check_values
from sansio_pingora.services import BackgroundService, FailurePolicy, Service, ServiceGraph
from sansio_pingora.session import Form, Routines, check_form, form_of

__all__ = ["check_services", "run_server"]

_LOG = logging.getLogger("sansio_pingora")
_SIGNALS = {
    signal.SIGINT: ShutdownSignal.FAST_SHUTDOWN,
    signal.SIGTERM: ShutdownSignal.GRACEFUL_TERMINATE,
    signal.SIGQUIT: ShutdownSignal.GRACEFUL_UPGRADE,
}


def check_services(server: Server) -> None:
    """See :meth:`Server.bootstrap`."""
    _prepare(server)
    import_module("sansio_pingora_posix").Identity.of(server.configuration.user, server.configuration.group)


def run_server(server: Server, args: RunArgs) -> int:
    """See :meth:`Server.run`."""
    if not server.services:
        raise LocalProtocolError("this server has no services: add_service(...) first")
    posix = import_module("sansio_pingora_posix")
    conf = server.configuration
    prepared = _prepare(server)
    identity = posix.Identity.of(conf.user, conf.group)
    if conf.working_directory is not None:
        os.chdir(conf.working_directory)
    daemon = None
    if conf.daemon:
        daemon = posix.Daemon(conf.daemon_ready_timeout_seconds, conf.error_log, identity)
        if not daemon.detach():
            return 0
    run = _Run(server, args, prepared, identity, daemon)
    try:
        code = run.supervised() if conf.workers > 1 else run.alone()
    except BaseException as exc:
        run.failure = str(exc) or type(exc).__name__
        raise
    finally:
        run.end()
    return code


class _Run:
    """One run of *server*: what surrounds its runner, in one process or in several."""

    def __init__(
        self, server: Server, args: RunArgs, prepared: dict[str, Callable[[Any], None]], identity: Any, daemon: Any
    ) -> None:
        self._posix = import_module("sansio_pingora_posix")
        self._server = server
        self._conf = conf = server.configuration
        self._args = args
        self._prepared = prepared
        self._beside = partial(_drive, conf.runtime)
        self._identity = identity
        self._daemon = daemon
        self._pid_file = None if conf.pid_file is None else self._posix.PidFile(conf.pid_file, identity)
        self._reopening = server.on_reopen if daemon is None else [*server.on_reopen, daemon.reopen]
        self._tallies = {
            name: self._posix.Tally(conf.workers, service.threads or conf.threads)
            for name, service in server.services.items()
            if isinstance(service, Service) and conf.workers > 1
        }
        self._is_up = False
        self.failure: str | None = None
        """Why it has failed."""
        self._table = self._posix.DescriptorTable(identity)
        while server.sockets:
            self._table.inherit(*server.sockets.pop())

    def alone(self) -> int:
        """In this process."""
        launcher = self._posix.ServiceThreads(self._server.services, self._table, self._serve, self._beside)

        def bind() -> None:
            if self._identity.is_other:
                for address in self._addresses():
                    self._table.prepare(address)

        def on_up() -> None:
            self._server.addresses = _addresses_of(launcher)

        runner = self._runner(self._lifecycle(upgrade=self._server.opt.upgrade), launcher, bind, on_up)
        return self._drive(runner, _listening_for(self._server, self._args, runner, self._reopening))

    def supervised(self) -> int:
        """In worker processes, which this one starts and leads."""
        if self._args.shutdown_signal is not None:
            raise LocalProtocolError("workers are led by the system's signals: leave shutdown_signal out, or workers")
        launcher = self._posix.WorkerProcesses(self._table, self._tallies.values(), self._work)
        names = self._posix.worker_names(self._conf.workers)
        graph = ServiceGraph()
        for name in names:
            graph.add(name)
        # A worker keeps its own time; it has a second more for that before it is killed.
        stop_timeout = self._conf.graceful_shutdown_timeout_seconds + 1.0
        lifecycle = ServerLifecycle(
            graph,
            dict.fromkeys(names, FailurePolicy.RESTART),
            grace_period=self._conf.grace_period_seconds + stop_timeout,
            stop_timeout=stop_timeout,
            upgrade=self._server.opt.upgrade,
        )

        def bind() -> None:
            self._server.addresses = {
                name: launcher.hold(_bare(service))
                for name, service in self._server.services.items()
                if isinstance(service, Service)
            }

        runner = self._runner(lifecycle, launcher, bind, lambda: None)

        def reload() -> None:
            if _call(self._server.on_reload):
                launcher.order_reload()

        def reopen() -> None:
            _call(self._reopening)
            launcher.order_reopen()

        more = {
            signal.SIGHUP: lambda: runner.post(lambda _now: reload()),
            signal.SIGUSR1: lambda: runner.post(lambda _now: reopen()),
            signal.SIGCHLD: lambda: runner.post(lambda _now: launcher.reap(runner)),
        }
        try:
            return self._drive(runner, _listening_for(self._server, self._args, runner, self._reopening, more))
        finally:
            launcher.close()

    def end(self) -> None:
        """Leave nothing behind, and tell who still waits that it came to nothing."""
        if self._pid_file is not None:
            self._pid_file.remove(was_up=self._is_up)
        if self._daemon is not None:
            self._daemon.failed(self.failure or "it ended before it was ready")

    def _work(self, number: int, leash: Any, table: Any) -> int:
        """The life of a worker."""
        server = self._server
        places = {name: (tally, number) for name, tally in self._tallies.items()}
        launcher = self._posix.ServiceThreads(server.services, table, self._serve, self._beside, places)

        def on_up() -> None:
            server.addresses = _addresses_of(launcher)

        runner = self._posix.WorkerRunner(
            self._lifecycle(upgrade=False),
            launcher,
            table,
            leash,
            on_up=on_up,
            on_reload=lambda: _call(server.on_reload),
            on_reopen=lambda: _call(self._reopening),
        )
        return self._drive(runner, nullcontext())

    def _drive(self, runner: Any, signals: Any) -> int:
        self._server.runs_by(runner)
        try:
            with signals:
                code: int = runner.run()
            self.failure = runner.failure
            return code
        finally:
            self._server.runs_by(None)

    def _runner(
        self, lifecycle: ServerLifecycle, launcher: Any, bind: Callable[[], None], on_up: Callable[[], None]
    ) -> Any:
        def enter(phase: ExecutionPhase) -> None:
            if phase is ExecutionPhase.BOOTSTRAP_COMPLETE:
                # What takes root's rights happens here, and only then what clients have a part in.
                bind()
                if self._pid_file is not None:
                    self._pid_file.write()
                self._identity.become()
            for failure in self._server.entered(phase):
                _LOG.error("an observer of phase %s failed", phase.value, exc_info=failure)

        def up() -> None:
            on_up()
            self._is_up = True
            if self._daemon is not None:
                self._daemon.ready()

        return self._posix.ServerRunner(
            lifecycle,
            launcher,
            self._table,
            upgrade_sock=self._conf.upgrade_sock,
            upgrade_retries=self._conf.upgrade_sock_connect_accept_max_retries,
            upgrade_owner=self._identity.uid,
            on_phase=enter,
            on_up=up,
        )

    def _lifecycle(self, *, upgrade: bool) -> ServerLifecycle:
        return ServerLifecycle(
            self._server.graph,
            {name: service.failure for name, service in self._server.services.items()},
            grace_period=self._conf.grace_period_seconds,
            stop_timeout=self._conf.graceful_shutdown_timeout_seconds,
            upgrade=upgrade,
        )

    def _serve(self, service: Service, control: Any) -> None:
        self._prepared[service.name](control)

    def _addresses(self) -> list[ServerAddress]:
        services = self._server.services.values()
        return [address for one in services if isinstance(one, Service) for address in _bare(one)]


def _bare(service: Service) -> list[ServerAddress]:
    """Where *service* listens, below TLS."""
    found = [one.address if isinstance(one, Tls) else one for one in service.addresses]
    return [ServerAddress.parse(one) if isinstance(one, str) else one for one in found]


def _addresses_of(launcher: Any) -> dict[str, list[str]]:
    return {name: control.addresses for name, control in launcher.controls.items()}


def _prepare(server: Server) -> dict[str, Callable[[Any], None]]:
    """What serves each service that listens; everything that can be checked before is checked now, and files read."""
    if not server.configuration.places:  # made in code
        check_values(server.configuration)
    prepared = {}
    for name, service in server.services.items():
        if isinstance(service, Service):
            prepared[name] = _serving(server, service)
        else:
            _check_background(server, service)
    return prepared


def _serving(server: Server, service: Service) -> Callable[[Any], None]:
    conf = server.configuration
    options = dict(service.options)
    for limit, value in conf.common_limits.items():
        if is_in_force(service.app, limit):
            options.setdefault(limit, value)
    if isinstance(service.app, ProxyHttp):
        for name in ("ca_file", "upstream_debug_ssl_keylog"):
            if getattr(conf, name):
                options.setdefault(name, getattr(conf, name))
    runtime = options.pop("runtime", conf.runtime)
    threads = service.threads or conf.threads
    if runtime == "threads":
        options["threads"] = threads
    elif threads > 1:
        raise ValueError(
            f"service {service.name!r} has threads: {threads}, and runtime {runtime!r} has one lane: "
            "write 1, or choose the threads runtime"
        )
    return serve_with(
        service.app,
        listen=service.addresses,
        runtime=runtime,
        grace_period=conf.grace_period_seconds,
        connection_filter=service.connection_filter,
        **options,
    )


def _check_background(server: Server, service: BackgroundService) -> None:
    runtime = server.configuration.runtime
    for callback in (service.start, service.start_with_ready_notifier):
        form = form_of(callback, service)
        if form is Form.ASYNC:
            can_await = getattr(load_runtime(runtime), "CAN_AWAIT", False)
            check_form(f"{type(service).__name__}.{callback.__name__}", form, runtime, can_await=can_await)


def _drive(runtime: str, begun: Any) -> None:
    """Run what a background service has begun on a lane of its own.

    :raises Error: it has failed.
    """
    failures: list[Error] = []

    def ended(_: Any, error: Error | None) -> None:
        if error is not None:
            failures.append(error)

    def begin(lane: Lane, now: float) -> None:
        routines = Routines(lane, now)
        form = Form.GENERATOR if isinstance(begun, Generator) else Form.ASYNC
        routines.start(routines.run_form(form, lambda: begun), ended)

    load_runtime(runtime).run(begin)
    if failures:
        raise failures[0]


def _listening_for(
    server: Server,
    args: RunArgs,
    runner: Any,
    reopening: list[Callable[[], object]],
    more: Mapping[signal.Signals, Callable[[], None]] | None = None,
) -> Any:
    """A context in which *runner* hears what is asked of it; *more* goes before what is done at signals."""
    posix = import_module("sansio_pingora_posix")
    if args.shutdown_signal is not None:
        return posix.watch_shutdown(args.shutdown_signal, runner.signal)

    def act(asked: ShutdownSignal) -> Callable[[], None]:
        return lambda: runner.signal(asked)

    def call(callbacks: list[Callable[[], object]]) -> Callable[[], None]:
        return lambda: runner.post(lambda _now: _call(callbacks))

    actions: dict[signal.Signals, Callable[[], None]] = {signum: act(asked) for signum, asked in _SIGNALS.items()}
    actions[signal.SIGHUP] = call(server.on_reload)
    actions[signal.SIGUSR1] = call(reopening)
    return posix.handle_signals({**actions, **(more or {})})


def _call(callbacks: list[Callable[[], object]]) -> bool:
    """Whether all went well."""
    well = True
    for callback in callbacks:
        try:
            callback()
        except ConfError as exc:
            well = False
            for problem in exc.problems:
                _LOG.error("nothing is reloaded: %s", problem)
        except Error as exc:
            well = False
            _LOG.error("nothing is reloaded: %s", exc)
        except Exception:
            well = False
            _LOG.exception("reloading or reopening failed; what was in force stays so")
    return well
