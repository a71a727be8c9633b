"""``sansio-pingora serve``: a configuration, checked, run, and reloaded."""

from __future__ import annotations

import logging
import os
import random
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

from sansio_pingora._runtimes import runtime_names
from sansio_pingora.cli.logs import set_up_logging
from sansio_pingora.cli.output import say
from sansio_pingora.errors import Error
from sansio_pingora.server import (
    AccessFormat,
    AccessLog,
    BalancedProxy,
    ConfError,
    ExecutionPhase,
    Opt,
    Server,
    ServerConf,
    ServiceConf,
    Surroundings,
    changed_keys,
    configured_services,
    load_conf,
)
from sansio_pingora.services import Service

__all__ = ["run_configured"]

_LOG = logging.getLogger("sansio_pingora")


def run_configured(arguments: Namespace) -> int:
    """Check or run the configuration of *arguments*; returns the exit code.

    :raises ConfError: it cannot be used.
    """
    path = os.path.abspath(arguments.conf)
    conf = _load(arguments)
    opt = Opt(upgrade=arguments.upgrade, daemon=arguments.daemon)
    if arguments.test:
        # Never opened: a test must not make log files.
        _server(opt, conf, {}).bootstrap()
        for warning in conf.warnings:
            print(f"sansio-pingora: warning: {warning}", file=sys.stderr)
        print(f"{arguments.conf} can be used")
        return 0
    arguments.conf = path  # to be read again, wherever the process is then
    posix = import_module("sansio_pingora_posix")
    identity = posix.Identity.of(conf.user, conf.group)
    error_log = None if conf.error_log is None else posix.ReopeningHandler(conf.error_log, identity)
    set_up_logging(handler=error_log)
    files: dict[str, Any] = {}
    for service in conf.services:
        if service.access_log is not None and service.access_log.path not in files:
            files[service.access_log.path] = posix.LineFile(service.access_log.path, identity)
    for warning in conf.warnings:
        _LOG.warning("%s", warning)
    server = _server(opt, conf, files)
    if arguments.record is not None:
        for served in server.services.values():
            if isinstance(served, Service):
                served.options["record"] = arguments.record
    server.bootstrap()
    manager = posix.ServiceManager(os.environ)
    server.sockets += posix.inherited_sockets(os.environ)
    server.subscribe(lambda phase: _announce(server, phase))
    server.subscribe(lambda phase: _tell_manager(manager, server, phase))
    server.on_reopen += [file.reopen for file in files.values()]
    if error_log is not None:
        server.on_reopen.append(error_log.reopen)
    server.on_reload += [
        _while_running(server, manager.reloading),
        lambda: _reload(server, arguments),
        _while_running(server, manager.ready),
    ]
    try:
        return server.run_forever()
    finally:
        for file in files.values():
            file.close()
        logging.shutdown()


def _load(arguments: Namespace, *, is_start: bool = True) -> ServerConf:
    problems: list[str] = []
    try:
        conf = load_conf(arguments.conf, os.environ)
    except ConfError as exc:
        if exc.rest is None:
            raise
        conf, problems = exc.rest, exc.problems
    typed = {name: getattr(arguments, name) for name in ("runtime", "workers") if getattr(arguments, name) is not None}
    conf = replace(conf, **typed, daemon=conf.daemon or arguments.daemon)
    if conf.working_directory is not None and os.path.isdir(conf.working_directory):
        os.chdir(conf.working_directory)
    if conf.runtime not in runtime_names():
        problems.append(f"{conf.place('runtime')} runtime is one of {', '.join(runtime_names())}, not {conf.runtime!r}")
    if not conf.services and not problems:
        problems.append(f"{conf.place('services')} there are no services: add some, as docs/configuration.md shows")
    posix = import_module("sansio_pingora_posix")
    problems = [*problems, *posix.check_conf(conf, is_start=is_start)]
    of_certificates, warnings = posix.check_certificates(conf, time.time(), os.environ)
    if conf.daemon and conf.error_log is None:
        warnings = [*warnings, "a daemon without error_log tells nobody what goes wrong: set it to a file"]
    if problems := [*problems, *of_certificates]:
        raise ConfError(problems)
    return replace(conf, warnings=(*conf.warnings, *warnings))


def _server(opt: Opt, conf: ServerConf, files: dict[str, Any]) -> Server:
    """:raises ConfError: a service cannot be made, or not on this runtime."""

    def access_log(service: ServiceConf) -> AccessLog | None:
        log = service.access_log
        if log is None or log.path not in files:
            return None
        return AccessLog(AccessFormat(log.format), files[log.path].write, _wall)

    server = _Configured(opt, conf)
    below = random.randrange  # the module's own: seeded anew in every worker; and which upstream is next is no secret
    posix = import_module("sansio_pingora_posix")
    around = Surroundings(below, access_log, posix.read_ca, posix.read_cert_key)
    server.made = configured_services(conf, around)
    for services in server.made.values():
        server.add_services(services)
    return server


def _wall(now: float) -> float:
    return time.time() - (time.monotonic() - now)


class _Configured(Server):
    """A server of a file: what does not go in it is said with its place."""

    made: dict[str, list[Service]]

    def bootstrap(self) -> None:
        """See :meth:`Server.bootstrap`."""
        try:
            super().bootstrap()
        except (ImportError, TypeError, ValueError) as exc:
            raise ConfError([f"{self.configuration.place('services')} {exc}"]) from exc
        except Error as exc:
            raise ConfError([f"{self.configuration.place('services')} {exc.context}"]) from exc


def _announce(server: Server, phase: ExecutionPhase) -> None:
    _LOG.info("phase %s", phase.value)
    if phase is ExecutionPhase.RUNNING and server.previous is ExecutionPhase.BOOTSTRAP_COMPLETE:
        for name, addresses in server.addresses.items():
            for address in addresses:
                say(f"{name} listens on {address}")


def _while_running(server: Server, tell: Callable[[], object]) -> Callable[[], object]:
    """*tell*, unless another process is, or is about to be, the one that the service manager knows."""
    return lambda: tell() if server.phase is ExecutionPhase.RUNNING else None


def _tell_manager(manager: Any, server: Server, phase: ExecutionPhase) -> None:
    if phase is ExecutionPhase.RUNNING and server.previous is ExecutionPhase.BOOTSTRAP_COMPLETE:
        manager.ready()
        manager.watch(server.post)
    elif phase is ExecutionPhase.SHUTDOWN_STARTED and server.previous is not _HANDED_OVER:
        manager.stopping()  # after a hand-over the service goes on, in the new process


_HANDED_OVER = ExecutionPhase.GRACEFUL_UPGRADE_CLOSE_TIMEOUT


def _reload(server: Server, arguments: Namespace) -> None:
    """Take over what can be changed in a running server, and say what cannot.

    :raises ConfError: what is there now does not go; nothing has changed.
    :raises Error: a certificate does not.
    """
    assert isinstance(server, _Configured)
    old = server.configuration
    taken: list[tuple[str, Callable[[], bool]]] = []
    try:
        new = _load(arguments, is_start=False)
        rest = [replace(one, upstreams=()) for one in new.services]
        is_same = [replace(one, upstreams=()) for one in old.services] == rest
        if is_same:
            for service in new.services:
                app = server.made[service.name][0].app
                if isinstance(app, BalancedProxy):
                    taken.append((service.name, app.prepare(service, old)))
        server.reload()
    except ValueError as exc:
        raise exc if isinstance(exc, ConfError) else ConfError([str(exc)]) from exc
    if is_same:
        for name, take in taken:
            if take():
                _LOG.info("service %r has other upstreams from here on", name)
        server.configuration = replace(old, services=new.services)
    if later := changed_keys(server.configuration, new):
        _LOG.warning(
            "what has changed in %s takes effect with an upgrade: start serve -u, then SIGQUIT this process",
            ", ".join(later),
        )
    else:
        _LOG.info("the configuration is reloaded, with its certificates")
