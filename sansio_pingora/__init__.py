"""Pingora's HTTP toolkit and programmable proxy as pure state machines, on asyncio, gevent or threads.

This is the short list that most programs need; each name is loaded when it is first used.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from sansio_pingora._serve import serve
    from sansio_pingora.apps import HttpServerApp, Request, Response, ServeHttp, ServerApp, WebSocketApp
    from sansio_pingora.errors import Error, ErrorType
    from sansio_pingora.limits import Limits
    from sansio_pingora.listeners import Tls
    from sansio_pingora.proxy import ProxyHttp
    from sansio_pingora.session import Sleep, blocking
    from sansio_pingora.upstreams import ALPN, BasicPeer, CaCerts, CertKey, HttpPeer, PeerOptions
    from sansio_pingora.wire import RequestHeader, ResponseHeader

__all__ = [
    "ALPN",
    "BasicPeer",
    "CaCerts",
    "CertKey",
    "Error",
    "ErrorType",
    "HttpPeer",
    "HttpServerApp",
    "Limits",
    "PeerOptions",
    "ProxyHttp",
    "Request",
    "RequestHeader",
    "Response",
    "ResponseHeader",
    "ServeHttp",
    "ServerApp",
    "Sleep",
    "Tls",
    "WebSocketApp",
    "__version__",
    "blocking",
    "serve",
]

__version__ = "0.1.0"

_HOMES = {
    "ALPN": "upstreams",
    "BasicPeer": "upstreams",
    "CaCerts": "upstreams",
    "CertKey": "upstreams",
    "Error": "errors",
    "ErrorType": "errors",
    "HttpPeer": "upstreams",
    "HttpServerApp": "apps",
    "Limits": "limits",
    "PeerOptions": "upstreams",
    "ProxyHttp": "proxy",
    "Request": "apps",
    "RequestHeader": "wire",
    "Response": "apps",
    "ResponseHeader": "wire",
    "ServeHttp": "apps",
    "ServerApp": "apps",
    "Sleep": "session",
    "Tls": "listeners",
    "WebSocketApp": "apps",
    "blocking": "session",
    "serve": "_serve",
}


def __getattr__(name: str) -> _Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # from now on without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
