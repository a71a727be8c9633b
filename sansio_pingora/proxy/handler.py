"""A proxy on one lane, and as a whole: what adapters serve."""

from __future__ import annotations

from functools import partial
from typing import Any

from sansio_pingora.apps import HttpAcceptor, HttpOptions
from sansio_pingora.connectors import Connector, HttpClients
from sansio_pingora.errors import Error
from sansio_pingora.layers import upstream_layers
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Acceptor, Lane, LogLine
from sansio_pingora.proxy.budget import RetryBudget
from sansio_pingora.proxy.exchange import ProxyExchange
from sansio_pingora.proxy.filter_table import FilterTable
from sansio_pingora.proxy.options import ProxyOptions
from sansio_pingora.proxy.proxy_http import ProxyHttp
from sansio_pingora.proxy.pumps import FIRST_WINDOW
from sansio_pingora.proxy.record import ExchangeRecord
from sansio_pingora.session import Exchange, Routine, Routines, ServerSession
from sansio_pingora.tls import TlsBackend

__all__ = ["HttpProxy", "ProxyHandler"]


class HttpProxy:
    """A :class:`ProxyHttp` as an application that an adapter serves."""

    def __init__(
        self,
        app: ProxyHttp,
        limits: Limits | None = None,
        options: HttpOptions | None = None,
        proxy_options: ProxyOptions | None = None,
        tls: TlsBackend | None = None,
    ) -> None:
        """Settle the filter table. *tls* makes what peers over TLS need; :func:`serve` gives it.

        :raises TypeError: see :class:`FilterTable`.
        """
        self.limits = limits or Limits()
        self.options = options or HttpOptions()
        self._filters = FilterTable(app, proxy_options)
        self._tls = tls
        self._budget = RetryBudget(self.limits.retry_budget)

    def check(self, runtime: str, *, can_await: bool) -> None:
        """See :meth:`sansio_pingora.machine.Application.check`."""
        self._filters.check(runtime, can_await=can_await)

    def open(self, lane: Lane, now: float, wall: float) -> Acceptor:
        """See :meth:`sansio_pingora.machine.Application.open`."""
        return HttpAcceptor(lane, self.handler(lane, now), self.limits, self.options, wall - now)

    def handler(self, lane: Lane, now: float) -> ProxyHandler:
        """The proxy on *lane*, for connections of one's own making and for subrequests."""
        return ProxyHandler(lane, self._filters, self.limits, self.options, self._budget, self._tls)


class ProxyHandler:
    """Makes the exchanges of one lane; they share its connector. The retry budget is the service's."""

    def __init__(
        self,
        lane: Lane,
        filters: FilterTable,
        limits: Limits,
        options: HttpOptions,
        budget: RetryBudget,
        tls: TlsBackend | None = None,
    ) -> None:
        from sansio_pingora.tls import upstream_tls  # the library of TLS, when there is something to be served

        self.lane = lane
        self.filters = filters
        self.limits = limits
        clients = HttpClients(limits, options.engine, first_window=FIRST_WINDOW)
        self.connector = Connector(lane, limits, clients, partial(upstream_layers, tls=upstream_tls(tls, limits)))
        self.budget = budget
        self.meter: Any = None

    def begin(self, session: ServerSession, now: float) -> Exchange:
        """See :class:`sansio_pingora.session.HttpHandler`."""
        exchange = ProxyExchange(self, session, now)
        exchange.start(exchange.spine)
        return exchange

    def refused(self, session: ServerSession, error: Error, now: float) -> None:
        """A head broke the rules: ``new_ctx`` and ``logging`` alone hear of it."""
        session.closed = error
        routines = Routines(self.lane, now)

        def story() -> Routine:
            ctx = self.filters.app.new_ctx()
            logging = self.filters.logging
            if logging is not None:
                session.record = ExchangeRecord(session, error, None)
                if not logging.inline:
                    session.await_log()
                yield from routines.run_form(logging.form, partial(logging.call, session, error, ctx))

        def ended(_: object, fault: Error | None) -> None:
            if fault is not None:
                routines.give(LogLine("ERROR", f"logging raised: {fault}"))
            session.now = routines.now
            session.release()
            routines.stop_routines()

        routines.start(story(), ended)

    def drain(self, now: float) -> None:
        """Keep no upstream connections from here on."""
        self.connector.drain(now)

    def take_leave(self, now: float) -> None:
        """What passes through a tunnel is not ours to end with words."""
