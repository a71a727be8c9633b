"""serve(): any application on any runtime, in one call."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Protocol

from sansio_pingora._runtimes import load_runtime
from sansio_pingora.apps import (
    Background,
    Beside,
    HttpOptions,
    HttpServerApp,
    HttpService,
    RawService,
    Request,
    ServeHttp,
    ServerApp,
    ServiceMetrics,
    WebSocketApp,
)
from sansio_pingora.limits import Limits
from sansio_pingora.listeners import ConnectionFilter, ServerAddress, Tls
from sansio_pingora.machine import Application
from sansio_pingora.proxy import ProxyHttp, ProxyOptions
from sansio_pingora.tls import TlsBackend

__all__ = [
    "App",
    "ServeControl",
    "is_in_force",
    "make_application",
    "new_control",
    "serve",
    "serve_with",
]

App = ProxyHttp | HttpServerApp | WebSocketApp | ServerApp | ServeHttp | Callable[[Request], Any]
Listen = str | ServerAddress | Tls | Iterable[str | ServerAddress | Tls]

# Limits that only some applications have a use for: elsewhere they would be ignored, so they are refused.
_OF_PROXIES = frozenset(
    {
        "alpn_cache_size",
        "alpn_cache_timeout",
        "connection_timeout",
        "idle_timeout",
        "max_decoded_body",
        "max_expansion",
        "max_informational",
        "max_per_peer",
        "max_retries",
        "max_retry_backoff",
        "pool_wait_timeout",
        "replay_buffer",
        "request_timeout",
        "retry_backoff",
        "retry_budget",
        "tls_session_cache_size",
        "total_connection_timeout",
        "upstream_keepalive_pool_size",
        "write_timeout",
    }
)
_OF_HANDLERS = frozenset({"max_buffered_body"})
_OF_WEBSOCKETS = frozenset({"ws_close_timeout", "ws_max_fragments", "ws_max_message", "ws_ping_interval"})
_OF_STREAMS = frozenset(
    {
        "accept_rate",
        "handshake_timeout",
        "high_water",
        "linger_bytes",
        "linger_timeout",
        "max_client_hello",
        "max_connections",
        "min_send_rate",
        "read_timeout",
        "tls_context_cache_size",
        "write_idle_timeout",
    }
)
_HTTP_OPTIONS = {option.name: option.type for option in fields(HttpOptions)}
_PROXY_OPTIONS = tuple(option.name for option in fields(ProxyOptions))
_TLS_OPTIONS = ("ca_file", "upstream_debug_ssl_keylog")
_RUNTIME_OPTIONS = {"threads": "threads", "uvloop": "asyncio"}
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


class ServeControl(Protocol):
    """The handle on a running server; ``sansio_pingora_posix.Control`` is one. All of it is for any thread."""

    addresses: list[str]
    """Where the server listens, with real ports, once ``ready`` is set."""
    ready: Any
    """A :class:`threading.Event`: all addresses are bound."""

    def stop(self, *, graceful: bool = True) -> None:
        """End the server."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended."""

    def reload(self) -> None:
        """Read the certificates again, for handshakes that begin from here on."""

    def on_reload(self, prepare: Callable[[], Callable[[], object]]) -> None:
        """Have *prepare* called then, and what it returns once everything was read."""


def serve(
    app: App,
    *,
    listen: Listen,
    runtime: str = "asyncio",
    signals: bool = True,
    control: ServeControl | None = None,
    grace_period: float = 30.0,
    connection_filter: ConnectionFilter | None = None,
    record: str | None = None,
    **options: Any,
) -> None:
    """Serve *app* until a signal or *control* stops it, then return.

    *app* is a :class:`ProxyHttp`, an :class:`HttpServerApp`, a :class:`WebSocketApp`, a :class:`ServerApp`, a
    :class:`ServeHttp`, or a handler ``Request -> Response``. *listen*: one address or several, like
    ``127.0.0.1:8080``, ``[::1]:8080`` or ``unix:/run/x.sock``, over TLS where it is a
    :class:`~sansio_pingora.listeners.Tls`. *signals*: in the main thread, SIGINT and SIGTERM
    end it gracefully within *grace_period* seconds, a second one at once. *connection_filter* decides who may
    connect. *record*: a folder for transcripts of connections, to clients and upstreams; they hold all that passes
    (docs/testing.md). *options* are the fields of
    :class:`~sansio_pingora.limits.Limits`, ``engine``, ``h2c``, ``metrics``,
    ``access_log``, ``allow_connect_method_proxying``, ``abort_on_close``; of a proxy those of
    :class:`~sansio_pingora.proxy.ProxyOptions`, ``ca_file`` (PEM: whom to trust instead of the system's authorities)
    and ``upstream_debug_ssl_keylog`` (append the secrets of TLS sessions with peers to the file that SSLKEYLOGFILE
    names); ``threads`` (lanes of the threads runtime) and ``uvloop`` (of asyncio: True, False, or None for where it is
    installed); ``background``: works that run beside the application on its first lane, like a
    :class:`~sansio_pingora.balancing.LoadBalancer`.

    :raises ValueError: an address or option that is not known, of the wrong kind, or without effect here.
    :raises TypeError: *app* is none of these, or it or the filter has a callback that *runtime* cannot run.
    :raises ImportError: *runtime* is not installed; the text says how to.
    :raises Error: an address cannot be bound, or a file not read; nothing is left open.
    """
    serve_with(
        app,
        listen=listen,
        runtime=runtime,
        grace_period=grace_period,
        connection_filter=connection_filter,
        signals=signals,
        record=record,
        **options,
    )(control)


def serve_with(
    app: App,
    *,
    listen: Listen,
    runtime: str,
    grace_period: float,
    connection_filter: ConnectionFilter | None = None,
    signals: bool = False,
    record: str | None = None,
    **options: Any,
) -> Callable[[ServeControl | None], None]:
    """:func:`serve` in two steps: everything is checked now; what is returned serves under the control given to it."""
    _check_seconds("grace_period", grace_period)
    module = load_runtime(runtime)
    is_proxy = isinstance(app, ProxyHttp)
    given = list(listen) if isinstance(listen, Iterable) and not isinstance(listen, str) else [listen]
    if connection_filter is not None and not hasattr(connection_filter, "should_accept"):
        raise TypeError(f"a connection_filter is an object with should_accept(peer), not {connection_filter!r}")
    needed = (
        is_proxy or any(isinstance(address, Tls) for address in given) or not options.keys().isdisjoint(_TLS_OPTIONS)
    )
    tls = _tls_backend(options, is_proxy=is_proxy) if needed else None
    addresses, reloads = _addresses(given, tls, runtime, module)
    extra = {name: options.pop(name) for name in _RUNTIME_OPTIONS if name in options}
    for name, value in extra.items():
        if _RUNTIME_OPTIONS[name] != runtime:
            raise ValueError(f"option {name!r} belongs to runtime {_RUNTIME_OPTIONS[name]!r}, not to {runtime!r}")
        extra[name] = _count(name, value) if name == "threads" else _flag(name, value, optional=True)
    application = make_application(app, options, tls)
    application.check(runtime, can_await=getattr(module, "CAN_AWAIT", False))
    recorder = None
    if record is not None:
        from sansio_pingora.testing.recording import Recorded, Recorder  # deferred: it loads the test kit

        recorder = Recorder(import_module("sansio_pingora_posix").TranscriptFolder(record).begin)
        application = Recorded(application, recorder)

    def run(control: ServeControl | None) -> None:
        if reloads:
            control = new_control() if control is None else control
            for reload in reloads:
                control.on_reload(reload)
        try:
            module.serve(
                application,
                addresses,
                control=control,
                signals=signals,
                grace_period=grace_period,
                connection_filter=connection_filter,
                **extra,
            )
        finally:
            if recorder is not None:
                recorder.close()

    return run


def make_application(app: App, options: dict[str, Any], tls: TlsBackend | None = None) -> Application:
    """*app* with *options* as adapters serve it. See :func:`serve`. *tls*: for peers of a proxy.

    :raises ValueError: an option that is not known, of the wrong kind, or without effect here.
    :raises TypeError: *app* is none of the kinds that are served.
    """
    if "background" in options:
        works = _works(options["background"], tls)
        return Beside(make_application(app, {k: v for k, v in options.items() if k != "background"}, tls), works)
    if isinstance(app, type):
        raise TypeError(f"{app.__name__} is a class: give an object of it, {app.__name__}()")
    http = {name: options[name] for name in _HTTP_OPTIONS if name in options}
    proxy = {name: options[name] for name in _PROXY_OPTIONS if name in options}
    rest = {name: value for name, value in options.items() if name not in http and name not in proxy}
    _refuse_unknown(rest)
    if not isinstance(app, ProxyHttp):
        _refuse(proxy, "proxies, and this application is none")
    if isinstance(app, ServerApp):
        _refuse(http, "HTTP, and this application is a ServerApp")
        _refuse(rest.keys() - _OF_STREAMS, "HTTP, and this application is a ServerApp")
        return RawService(app, Limits.from_options(rest))
    http_options = HttpOptions(**{name: _http_option(name, value) for name, value in http.items()})
    if isinstance(app, ProxyHttp):
        from sansio_pingora.proxy import HttpProxy  # all that a proxy needs, when there is one

        _refuse(rest.keys() & _OF_HANDLERS, "handlers, and this application is a ProxyHttp")
        _refuse(rest.keys() & _OF_WEBSOCKETS, "WebSocket applications, and this application is a ProxyHttp")
        return HttpProxy(app, Limits.from_options(rest), http_options, ProxyOptions(**proxy), tls)
    _refuse(rest.keys() & _OF_PROXIES, "proxies, and this application is none")
    if isinstance(app, HttpServerApp | WebSocketApp):
        _refuse(rest.keys() & _OF_HANDLERS, f"handlers, and this application is {_kind(app)}")
        return HttpService(app, Limits.from_options(rest), http_options)
    _refuse(rest.keys() & _OF_WEBSOCKETS, "WebSocket applications, and this application is a handler")
    if not isinstance(app, ServeHttp):
        if not callable(app):
            raise TypeError(
                f"{app!r} cannot be served: a ProxyHttp, an HttpServerApp, a WebSocketApp, a ServerApp, or a callable "
                "that takes a Request and returns a Response"
            )
        app = ServeHttp(app)
    return HttpService(app, Limits.from_options(rest), http_options)


def _works(background: Any, tls: TlsBackend | None) -> Sequence[Background]:
    works = list(background) if isinstance(background, Iterable) else [background]
    for work in works:
        if not callable(getattr(work, "start", None)) or not callable(getattr(work, "stop", None)):
            raise TypeError(f"{work!r} is no background work: it needs start(lane, now) and stop(now)")
        if getattr(work, "tls", tls) is None:  # a load balancer's checks need it
            work.tls = tls
    return works


def is_in_force(app: App, limit: str) -> bool:
    """Whether *limit* has a use for *app*; :func:`serve` refuses it where it has none."""
    if isinstance(app, ServerApp):
        return limit in _OF_STREAMS
    if limit in _OF_PROXIES:
        return isinstance(app, ProxyHttp)
    if limit in _OF_WEBSOCKETS:
        return isinstance(app, HttpServerApp | WebSocketApp)
    return limit not in _OF_HANDLERS or not isinstance(app, ProxyHttp | HttpServerApp | WebSocketApp)


def _kind(app: App) -> str:
    return "a WebSocketApp" if isinstance(app, WebSocketApp) else "an HttpServerApp"


def new_control() -> ServeControl:
    """A handle to give to :func:`serve`."""
    control: ServeControl = import_module("sansio_pingora_posix").Control()
    return control


def _tls_backend(options: dict[str, Any], *, is_proxy: bool) -> TlsBackend:
    """What makes TLS contexts, after taking its options out of *options*.

    :raises ValueError: they are not of a proxy, or do not go.
    :raises Error: the file of authorities cannot be read.
    """
    posix = import_module("sansio_pingora_posix")
    given = {name: options.pop(name) for name in _TLS_OPTIONS if options.get(name) is not None}
    if not is_proxy:
        _refuse(given, "proxies, and this application is none")
    keylog = None
    if _flag("upstream_debug_ssl_keylog", given.get("upstream_debug_ssl_keylog", False)):
        keylog = os.environ.get("SSLKEYLOGFILE")
        if not keylog:
            raise ValueError("option 'upstream_debug_ssl_keylog' needs a file: name it in the variable SSLKEYLOGFILE")
    ca = posix.read_ca(given["ca_file"]) if "ca_file" in given else None
    size = Limits.from_options(
        {name: options[name] for name in ("tls_context_cache_size",) if name in options}
    ).tls_context_cache_size
    backend: TlsBackend = posix.StdlibTls(size, ca=ca, keylog=keylog)
    return backend


def _addresses(
    given: Sequence[str | ServerAddress | Tls], tls: TlsBackend | None, runtime: str, module: Any
) -> tuple[list[ServerAddress], list[Callable[[], Callable[[], object]]]]:
    """Where to listen, and what reads the files of that again."""
    if not given:
        raise ValueError("listen names no address: '127.0.0.1:8080', '[::1]:8080' or 'unix:/run/x.sock'")
    addresses: list[ServerAddress] = []
    reloads: list[Callable[[], Callable[[], object]]] = []
    for address in given:
        if isinstance(address, Tls):
            address.check(runtime, can_await=getattr(module, "CAN_AWAIT", False))
            listening = import_module("sansio_pingora_posix").TlsListening(address, tls)
            reloads.append(listening.prepare)
            addresses.append(listening.address)
        else:
            addresses.append(address if isinstance(address, ServerAddress) else ServerAddress.parse(address))
    return addresses, reloads


def _refuse(names: Iterable[str], why: str) -> None:
    for name in sorted(names):
        raise ValueError(f"option {name!r} belongs to {why}: leave it out")


def _refuse_unknown(options: dict[str, Any]) -> None:
    """Before anything else is said of them; limits answer for the names that they know of."""
    limits = {limit.name for limit in fields(Limits)}
    others = [
        "background",
        *_HTTP_OPTIONS,
        *_PROXY_OPTIONS,
        *_RUNTIME_OPTIONS,
        *_TLS_OPTIONS,
        "grace_period",
        "listen",
        "record",
        "runtime",
        "signals",
    ]
    for name in options.keys() - limits:
        close = get_close_matches(name, [*others, *limits], n=1)
        if close and close[0] in others:
            raise ValueError(f"unknown option {name!r} (did you mean {close[0]!r}?)")


def _http_option(name: str, value: Any) -> Any:
    if name == "metrics":
        if not isinstance(value, ServiceMetrics):
            raise TypeError(f"option 'metrics' is made by Metrics().service(name), not {value!r}")
        return value
    if name == "access_log":
        if not callable(value):
            raise TypeError(f"option 'access_log' is called with a session and an error or None, not {value!r}")
        return value
    if name != "engine":
        return _flag(name, value)
    if value not in ("native", "hyper"):
        raise ValueError(f"option 'engine' is 'native' or 'hyper', not {value!r}")
    return value


def _flag(name: str, value: Any, *, optional: bool = False) -> bool | None:
    if isinstance(value, bool) or (optional and value is None):
        return value
    text = value.lower() if isinstance(value, str) else None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(f"option {name!r} is true or false, not {value!r}")


def _check_seconds(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{name} is a number of seconds, 0 or more, not {value!r}")


def _count(name: str, value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"option {name!r} is a whole number of 1 or more, not {value!r}")
    return value
