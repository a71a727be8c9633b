"""An HTTP application on one lane: the machines of every accepted connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from sansio_pingora.apps.handshakes import HandshakeLog
from sansio_pingora.apps.metrics import LaneMeter, ServiceMetrics
from sansio_pingora.digests import Digest
from sansio_pingora.errors import Error
from sansio_pingora.layers import Layer, stack_layers
from sansio_pingora.limits import Limits
from sansio_pingora.listeners import LogLimit
from sansio_pingora.machine import Connection, Endpoint, Lane, LogLine
from sansio_pingora.session import (
    Dispatcher,
    Engine,
    HttpHandler,
    Meter,
    Routines,
    ServerMaker,
    ServerSession,
    traceback_of,
)
from sansio_pingora.transport import TransportInfo

__all__ = ["HttpAcceptor", "HttpOptions", "LaneHandler"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """How a service speaks HTTP, beyond its limits."""

    engine: Engine = "native"
    """``native``, or ``hyper`` for the reference engines on h11 and h2."""
    h2c: bool = False
    """Clients may speak HTTP/2 without TLS, with prior knowledge."""
    allow_connect_method_proxying: bool = False
    """CONNECT makes a tunnel; otherwise it is answered 405."""
    abort_on_close: bool = False
    """A client that shuts its side while it waits for an answer has given up."""
    metrics: ServiceMetrics | None = None
    """Where the service counts what it does."""
    access_log: Callable[[ServerSession, Error | None], object] | None = None
    """Called with every exchange that is over, and with what broke it off; it must not block.

    What it raises is logged.
    """


class LaneHandler(HttpHandler, Protocol):
    """A handler that may hold resources of its lane."""

    meter: Any
    """Told of what it does, by handlers that have more to say than the beginning and the end; None: nobody is."""

    def drain(self, now: float) -> None:
        """Let go of what is not in use, and keep nothing from here on."""

    def take_leave(self, now: float) -> None:
        """See :meth:`sansio_pingora.machine.Acceptor.take_leave`."""


class _Logging:
    """A :class:`~sansio_pingora.session.Meter` that passes everything on, and tells *log*."""

    __slots__ = ("_lane", "_limit", "_log", "_meter", "_own")

    def __init__(self, log: Callable[[ServerSession, Error | None], object], meter: Meter | None, lane: Lane) -> None:
        self._log = log
        self._meter = meter
        self._lane = lane
        self._limit = LogLimit()
        self._own: Routines | None = None  # what says that *log* is broken

    def finished(self, session: ServerSession) -> None:
        if self._meter is not None:
            self._meter.finished(session)
        self._tell(session, session.closed)

    def refused(self, session: ServerSession, error: Error) -> None:
        if self._meter is not None:
            self._meter.refused(session, error)
        self._tell(session, error)

    def _tell(self, session: ServerSession, error: Error | None) -> None:
        try:
            self._log(session, error)
        except Exception as exc:
            if self._own is None:
                self._own = Routines(self._lane, session.now)
            if self._limit.passes(session.now):
                text = self._limit.complete(f"access_log raised {type(exc).__name__}: {exc}")
                self._own.give(LogLine("ERROR", f"{text}\n{traceback_of(exc)}"))

    def broke(self, scope: str, error: Error) -> None:
        if self._meter is not None:
            self._meter.broke(scope, error)


class HttpAcceptor:
    """See :class:`sansio_pingora.machine.Acceptor`."""

    def __init__(
        self, lane: Lane, handler: LaneHandler, limits: Limits, options: HttpOptions, wall_offset: float
    ) -> None:
        self._lane = lane
        self._limits = limits
        self._handler = handler
        self._meter: LaneMeter | None = None
        if options.metrics is not None:
            self._meter = options.metrics.open(lane)
            self._meter.connector = getattr(handler, "connector", None)
            handler.meter = self._meter
        self._told: Meter | None = self._meter
        if options.access_log is not None:
            self._told = _Logging(options.access_log, self._meter, lane)
        self._h2c = options.h2c
        lane.wall_offset = wall_offset
        self._log: HandshakeLog | None = None
        self._make = ServerMaker(
            limits,
            engine=options.engine,
            wall_offset=wall_offset,
            allow_connect=options.allow_connect_method_proxying,
            abort_on_close=options.abort_on_close,
        )

    def accept(self, info: TransportInfo, now: float) -> Endpoint:
        """The machines for a connection that was accepted."""
        if self._meter is not None:
            self._meter.accepted += 1
        self._make.wall_offset = self._lane.wall_offset
        if info.layers:
            return self._accept_layered(info, now)
        if not self._h2c:
            connection = self._make.http1(now)
            return Endpoint(self._lane, connection, Dispatcher(connection, self._handler, info, meter=self._told), info)

        def switch(connection: Connection) -> None:
            dispatcher.connection = connection
            endpoint.replace(connection)

        sniff = self._make.sniffed(now, switch)
        dispatcher = Dispatcher(sniff, self._handler, info, meter=self._told)
        endpoint = Endpoint(self._lane, sniff, dispatcher, info)
        return endpoint

    def _accept_layered(self, info: TransportInfo, now: float) -> Endpoint:
        def above(layer: Layer, now: float) -> Connection:
            if layer.alpn == "h2":
                return self._make.http2(now)
            if layer.secure or not self._h2c:
                return self._make.http1(now, secure=layer.secure)

            def switch(connection: Connection) -> None:
                dispatcher.connection = connection
                layer.replace(connection)

            return self._make.sniffed(now, switch)

        limits = self._limits
        layers = stack_layers(info.layers, above, limits, Digest.of(info), now + limits.handshake_timeout)
        if self._log is None:
            self._log = HandshakeLog(self._lane, now)
        dispatcher = Dispatcher(layers, self._handler, info, partial(self._log.failed, info), self._told)
        return Endpoint(self._lane, layers, dispatcher, info)

    def drain(self, now: float) -> None:
        """Announce the end on every client's connection, and let go of what is idle."""
        for endpoint in list(self._lane.endpoints):
            if type(endpoint.receiver) is Dispatcher:
                endpoint.connection.drain(now)
        self._handler.drain(now)

    def take_leave(self, now: float) -> None:
        """See :meth:`sansio_pingora.machine.Acceptor.take_leave`."""
        self._handler.take_leave(now)
