"""Running a Server: what its configuration means to a runtime."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from typing import Any

from sansio_pingora._runtimes import load_runtime
from sansio_pingora._serve import serve_with
from sansio_pingora.errors import Error
from sansio_pingora.machine import Lane
from sansio_pingora.proxy import ProxyHttp
from sansio_pingora.server import RunArgs, Server, ServerLifecycle, ShutdownSignal
from sansio_pingora.services import BackgroundService, Service
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
    for service in server.services.values():
        if isinstance(service, Service):
            _serving(server, service)
        else:
            _check_background(server, service)


def run_server(server: Server, args: RunArgs) -> int:
    """See :meth:`Server.run`."""
    posix = import_module("sansio_pingora_posix")
    conf = server.configuration
    check_services(server)
    table = posix.DescriptorTable()
    while server.sockets:
        table.inherit(*server.sockets.pop())

    def serve(service: Service, control: Any) -> None:
        _serving(server, service)(control)

    launcher = posix.ServiceThreads(server.services, table, serve, partial(_drive, conf.runtime))
    lifecycle = ServerLifecycle(
        server.graph,
        {name: service.failure for name, service in server.services.items()},
        grace_period=conf.grace_period_seconds,
        stop_timeout=conf.graceful_shutdown_timeout_seconds,
        upgrade=server.opt.upgrade,
    )

    def on_up() -> None:
        server.addresses = {name: control.addresses for name, control in launcher.controls.items()}

    runner = posix.ServerRunner(
        lifecycle,
        launcher,
        table,
        upgrade_sock=conf.upgrade_sock,
        upgrade_retries=conf.upgrade_sock_connect_accept_max_retries,
        on_phase=server.entered,
        on_up=on_up,
    )
    server.runs_by(runner)
    try:
        with _listening_for(server, args, runner):
            code: int = runner.run()
        return code
    finally:
        server.runs_by(None)


def _serving(server: Server, service: Service) -> Callable[[Any], None]:
    """What serves *service* under a control; everything that can be checked before is checked now."""
    conf = server.configuration
    options = dict(service.options)
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


def _listening_for(server: Server, args: RunArgs, runner: Any) -> Any:
    if args.shutdown_signal is not None:
        watch = args.shutdown_signal

        def listen() -> None:
            while True:
                runner.signal(watch.recv())

        threading.Thread(target=listen, name="sansio-pingora-shutdown", daemon=True).start()
        return nullcontext()

    def act(asked: ShutdownSignal) -> Callable[[], None]:
        return lambda: runner.signal(asked)

    def call(callbacks: list[Callable[[], object]]) -> Callable[[], None]:
        return lambda: runner.post(lambda _now: _call(callbacks))

    actions: dict[signal.Signals, Callable[[], None]] = {signum: act(asked) for signum, asked in _SIGNALS.items()}
    actions[signal.SIGHUP] = call(server.on_reload)
    actions[signal.SIGUSR1] = call(server.on_reopen)
    return import_module("sansio_pingora_posix").handle_signals(actions)


def _call(callbacks: list[Callable[[], object]]) -> None:
    for callback in callbacks:
        try:
            callback()
        except Error as exc:
            _LOG.error("nothing is reloaded: %s", exc)
        except Exception:
            _LOG.exception("reloading or reopening failed; what was in force stays so")
