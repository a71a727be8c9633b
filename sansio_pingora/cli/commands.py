"""The commands themselves."""

from __future__ import annotations

import json
import platform
import threading
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, assert_never

from sansio_pingora import __version__
from sansio_pingora._runtimes import runtimes
from sansio_pingora.cli.kit import draw_machines, replay_transcript
from sansio_pingora.cli.logs import set_up_logging
from sansio_pingora.cli.output import say
from sansio_pingora.errors import Error, ErrorType

if TYPE_CHECKING:
    from sansio_pingora._serve import App, ServeControl
    from sansio_pingora.listeners import ServerAddress, Tls

__all__ = ["CONFIGURATION", "OK", "RUNTIME_FAILURE", "Misconfigured", "run"]

OK = 0
RUNTIME_FAILURE = 1
CONFIGURATION = 78  # EX_CONFIG of sysexits.h


class Misconfigured(Exception):
    """What was asked for cannot be done as it was asked."""

    code = CONFIGURATION


def run(arguments: Namespace) -> int:
    """Run the command of *arguments*; returns its exit code.

    :raises Misconfigured: an option or a runtime that is not there.
    :raises Error: the server could not be started.
    """
    # Each command loads what it needs, and nothing of the others.
    match arguments.command:
        case "demo":
            return _demo(arguments.runtime)
        case "proxy":
            from sansio_pingora.cli.forwarding import RoundRobin

            try:
                app = RoundRobin(arguments.to)
            except ValueError as exc:
                raise Misconfigured(exc) from exc
            return _serve(app, arguments)
        case "origin":
            from sansio_pingora.apps import OriginApp

            return _serve(OriginApp(), arguments, OriginApp.limits)
        case "serve":
            from sansio_pingora.cli.serving import run_configured
            from sansio_pingora.server import ConfError

            try:
                return run_configured(arguments)
            except ConfError as exc:
                raise Misconfigured(exc) from exc
        case "diagram":
            draw_machines(arguments)
            return OK
        case "replay":
            return OK if replay_transcript(arguments) else RUNTIME_FAILURE
        case "schema":
            from sansio_pingora.server import json_schema

            print(json.dumps(json_schema(), indent=2))
            return OK
        case "version":
            print(f"sansio-pingora {__version__}, Python {platform.python_version()}, {', '.join(runtimes())}")
            return OK
        case command:
            assert_never(command)


def _demo(runtime: str | None) -> int:
    from sansio_pingora.cli.demo import demonstrate

    installed = runtimes()
    if runtime is not None and runtime not in installed:
        raise Misconfigured(f"runtime {runtime!r} is not installed: pip install 'sansio-pingora[{runtime}]'")
    return OK if demonstrate([runtime] if runtime is not None else installed) else RUNTIME_FAILURE


def _serve(app: App, arguments: Namespace, defaults: Mapping[str, Any] | None = None) -> int:
    from sansio_pingora._serve import new_control, serve

    set_up_logging()
    options: dict[str, Any] = {}
    for key, value in arguments.options:
        if key in options:
            raise Misconfigured(f"option {key!r} is given twice")
        options[key] = value
    if arguments.h2c:
        options["h2c"] = True
    options = {**(defaults or {}), **options}
    control = new_control()
    control.ready = _Announcement(control, arguments.command)
    try:
        serve(
            app,
            listen=_listen(arguments),
            runtime=arguments.runtime,
            control=control,
            record=arguments.record,
            **options,
        )
    except (ImportError, TypeError, ValueError) as exc:
        if control.ready.is_set():
            raise
        raise Misconfigured(exc) from exc
    except Error as exc:
        if exc.etype is not ErrorType.FILE_READ_ERROR or control.ready.is_set():
            raise
        raise Misconfigured(exc.context) from exc
    return OK


def _listen(arguments: Namespace) -> list[ServerAddress | Tls]:
    """Where to listen: over TLS on all of them where there is a certificate."""
    from sansio_pingora.listeners import Tls

    cert, key = arguments.cert, arguments.key
    if (cert is None) != (key is None):
        raise Misconfigured("--cert and --key belong together: a certificate and its private key")
    return list(arguments.listen) if cert is None else [Tls(at, cert=cert, key=key) for at in arguments.listen]


class _Announcement(threading.Event):
    """Set when the server listens: says where."""

    def __init__(self, control: ServeControl, what: str) -> None:
        super().__init__()
        self._control = control
        self._what = what

    def set(self) -> None:
        for address in self._control.addresses:
            say(f"{self._what} listens on {address}")
        super().set()
