"""The services that a configuration describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sansio_pingora.apps import Metrics, OriginApp, PrometheusApp
from sansio_pingora.errors import Error
from sansio_pingora.proxy import ExchangeRecord
from sansio_pingora.server.balanced import AccessLog, BalancedProxy, Surroundings
from sansio_pingora.server.conf import ConfError, ServerConf, ServiceConf
from sansio_pingora.services import Service

if TYPE_CHECKING:
    from sansio_pingora.session import ServerSession

__all__ = ["configured_services"]


def configured_services(conf: ServerConf, around: Surroundings) -> dict[str, list[Service]]:
    """The services of *conf*, by its own names; one whose listeners differ in ``h2c`` is two.

    The limits for all services come to each when it is run. Where one is of kind ``prometheus``, the
    others count for it.

    :raises ConfError: a service cannot be made.
    """
    found: dict[str, list[Service]] = {}
    metrics = Metrics() if any(one.kind == "prometheus" for one in conf.services) else None
    for at, service in enumerate(conf.services):
        place = conf.place(f"services[{at}]")
        try:
            app, options = _application(service, conf, around, metrics)
        except ValueError as exc:
            raise ConfError([f"{place} {exc}"]) from exc
        except Error as exc:
            raise ConfError([f"{place} {exc.context}"]) from exc
        own = {} if service.kind != "origin" else {k: v for k, v in OriginApp.limits.items() if k not in conf.limits}
        options = {**service.options, **own, **service.limits, **options}
        kinds = sorted({listener.h2c for listener in service.listeners})
        found[service.name] = []
        for h2c in kinds:
            name = f"{service.name} h2c" if h2c and len(kinds) > 1 else service.name
            made = Service(name, app, threads=service.threads, failure=service.failure, **options)
            if h2c:
                made.options["h2c"] = True
            if isinstance(app, BalancedProxy) and not found[service.name]:  # its work is done once
                made.options["background"] = app.balancer
            for listener in service.listeners:
                if listener.h2c is h2c:
                    made.add_address(listener.listen)
            found[service.name].append(made)
    return found


def _application(
    service: ServiceConf, conf: ServerConf, around: Surroundings, metrics: Metrics | None
) -> tuple[Any, dict[str, Any]]:
    """What serves, and the options that come with it."""
    options: dict[str, Any] = {}
    if service.kind == "prometheus":
        assert metrics is not None  # there is one for a service of this kind
        app: Any = PrometheusApp(metrics)
    else:
        app = BalancedProxy(service, conf, around) if service.kind == "proxy" else OriginApp()
        if metrics is not None:
            options["metrics"] = metrics.service(service.name)
    if service.kind != "proxy" and (log := around.access_log(service)) is not None:
        options["access_log"] = _Telling(log)
    return app, options


class _Telling:
    """The access log of a service that is no proxy."""

    __slots__ = ("_log",)

    def __init__(self, log: AccessLog) -> None:
        self._log = log

    def __call__(self, session: ServerSession, error: Error | None) -> None:
        self._log.tell(session, ExchangeRecord(session, error, None))
