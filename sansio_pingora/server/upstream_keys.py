"""The keys of an upstream, and of what watches over several."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sansio_pingora.balancing import MAX_WEIGHT, OutlierDetection
from sansio_pingora.errors import Error
from sansio_pingora.server.conf import HealthCheckConf, UpstreamConf, UpstreamTls
from sansio_pingora.server.kinds import Choice, Flag, ListOf, Number, Record, Text, Whole
from sansio_pingora.transport import SocketAddr
from sansio_pingora.upstreams import ALPN, HttpPeer
from sansio_pingora.wire import RequestHeader

__all__ = ["HEALTH_CHECK", "OUTLIER_DETECTION", "UPSTREAM"]


def _address(text: str) -> str:
    SocketAddr.parse(text)
    return text


def _tls(cert: str | None = None, key: str | None = None, **settings: str | bool) -> UpstreamTls:
    if (cert is None) != (key is None):
        raise ValueError("cert and key belong together: what is shown to an upstream that asks, and its private key")
    return UpstreamTls(cert=cert, key=key, **settings)  # type: ignore[arg-type]  # as the table below says


_TLS = Record(
    {
        "sni": Text(),
        "verify": Flag(),
        "verify_hostname": Flag(),
        "alternative_cn": Text(),
        "ca": Text(),
        "cert": Text(),
        "key": Text(),
    },
    _tls,
)


def _upstream(
    address: str, weight: int = 1, alpn: tuple[str, ...] | None = None, tls: UpstreamTls | None = None
) -> UpstreamConf:
    if tls is None:
        if alpn is not None and len(alpn) != 1:
            raise ValueError("alpn without tls names the one version that is spoken: [http/1.1] or [h2]")
        return UpstreamConf(address, weight, ALPN.H1 if alpn is None else ALPN(alpn))
    HttpPeer(address, True, tls.sni)  # what cannot be checked by any name is said here
    return UpstreamConf(address, weight, ALPN.H2H1 if alpn is None else ALPN(alpn), tls)


UPSTREAM = Record(
    {
        "address": Text(_address, 'an address like "127.0.0.1:9000"'),
        "weight": Whole(1, MAX_WEIGHT),
        "alpn": ListOf(Choice(("http/1.1", "h2")), 1),
        "tls": _TLS,
    },
    _upstream,
    ("address",),
)


def _check_health_check(given: Mapping[str, Any], present: Collection[str]) -> Iterator[tuple[str, str]]:
    kind = given.get("kind") if "kind" in present else "tcp"
    if kind == "http" and "host" not in present:
        yield "", "a check of kind: http needs host: add the name that its requests are for, like app.internal"
    for key in ("host", "path"):
        if kind == "tcp" and key in present:
            yield key, f"{key} belongs to a check of kind: http: leave it out, or write that"


def _target(text: str) -> str:
    try:
        RequestHeader("GET", text)
    except Error as exc:
        raise ValueError(exc.context) from None
    return text


HEALTH_CHECK = Record(
    {
        "kind": Choice(("tcp", "http")),
        "host": Text(),
        "path": Text(_target, "a path"),
        "frequency": Number(0.1),
        "timeout": Number(0.1),
        "success_threshold": Whole(1),
        "failure_threshold": Whole(1),
        "parallel": Whole(1),
    },
    HealthCheckConf,
    check=_check_health_check,
)

OUTLIER_DETECTION = Record(
    {
        "consecutive_failures": Whole(1),
        "base_ejection_time": Number(0.1),
        "max_ejection_time": Number(0.1),
        "max_ejection_percent": Whole(0, 100),
    },
    OutlierDetection,
)
