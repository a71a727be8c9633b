"""Applications: what is served over a connection."""

from sansio_pingora.apps.acceptor import HttpAcceptor, HttpOptions, LaneHandler
from sansio_pingora.apps.background import Background, Beside
from sansio_pingora.apps.http_server_app import HttpApp, HttpServerApp, HttpService
from sansio_pingora.apps.messages import Request, Response
from sansio_pingora.apps.metrics import Family, Metrics, ServiceMetrics
from sansio_pingora.apps.origin import OriginApp
from sansio_pingora.apps.prometheus import PrometheusApp, openmetrics_text, prometheus_text
from sansio_pingora.apps.serve_http import ServeHttp
from sansio_pingora.apps.server_app import EchoApp, RawService, ServerApp
from sansio_pingora.apps.streams import RawStream
from sansio_pingora.apps.websocket_app import WebSocketApp, serve_websocket
from sansio_pingora.apps.websocket_exchange import Receive, WebSocket

__all__ = [
    "Background",
    "Beside",
    "EchoApp",
    "Family",
    "HttpAcceptor",
    "HttpApp",
    "HttpOptions",
    "HttpServerApp",
    "HttpService",
    "LaneHandler",
    "Metrics",
    "OriginApp",
    "PrometheusApp",
    "RawService",
    "RawStream",
    "Receive",
    "Request",
    "Response",
    "ServeHttp",
    "ServerApp",
    "ServiceMetrics",
    "WebSocket",
    "WebSocketApp",
    "openmetrics_text",
    "prometheus_text",
    "serve_websocket",
]
