"""Every key of the configuration, and what it takes: the one table that is read, documented and given to editors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from types import UnionType
from typing import Any, get_args, get_type_hints

import yaml

from sansio_pingora.balancing import SELECTIONS
from sansio_pingora.limits import Limits
from sansio_pingora.proxy import ProxyOptions
from sansio_pingora.server.access_format import AccessFormat
from sansio_pingora.server.conf import AccessLogConf, ListenerConf, ServerConf, ServiceConf
from sansio_pingora.server.kinds import Choice, Flag, Kind, ListOf, Number, Reading, Record, Refused, Text, Whole
from sansio_pingora.server.listener_keys import LISTENER, sun_path
from sansio_pingora.server.upstream_keys import HEALTH_CHECK, OUTLIER_DETECTION, UPSTREAM
from sansio_pingora.services import FailurePolicy

__all__ = ["KEYS", "ROOT"]

KINDS = ("proxy", "origin", "prometheus")
BALANCE_KEYS = ("path", "client", "host")
_HASHING = ("fnv_hash", "consistent")
_APP_OPTIONS: dict[str, Kind] = {
    "engine": Choice(("native", "hyper")),
    "allow_connect_method_proxying": Flag(),
    "abort_on_close": Flag(),
}
_PROXY_OPTIONS: dict[str, Kind] = {
    "via": Text(),
    "forwarded": Choice(("off", "x-forwarded", "forwarded", "both")),
    "trusted_proxies": ListOf(Text()),
    "error_page": Text(),
}
_BALANCING: dict[str, Kind] = {
    "balance": Choice(SELECTIONS),
    "balance_key": Choice(BALANCE_KEYS),
    "discovery": Choice(("static", "dns")),
    "update_frequency": Number(0.1),
    "health_check": HEALTH_CHECK,
    "outlier_detection": OUTLIER_DETECTION,
}
_OF_PROXIES = ("upstreams", *_BALANCING, *_PROXY_OPTIONS)


def _limit_kind(kind: Any, least: int) -> Kind:
    optional = isinstance(kind, UnionType)
    number = next(one for one in get_args(kind) if one is not type(None)) if optional else kind
    return Whole(least, optional=optional) if number is int else Number(float(least), optional=optional)


LIMITS = Record({name: _limit_kind(kind, Limits.least(name)) for name, kind in get_type_hints(Limits).items()}, dict)


def _access_format(text: str) -> str:
    AccessFormat(text)
    return text


ACCESS_LOG = Record(
    {"path": Text(), "format": Text(_access_format, "combined, json or a text with {fields}")}, AccessLogConf, ("path",)
)


def _check_service(given: Mapping[str, Any], present: Collection[str]) -> Iterator[tuple[str, str]]:
    kind = given.get("kind")
    if kind == "proxy":
        yield from _check_balancing(given, present)
    elif kind is not None:
        for key in _OF_PROXIES:
            if key in present:
                yield key, f"{key} belongs to kind: proxy, and this is kind: {kind}: leave it out"


def _check_balancing(given: Mapping[str, Any], present: Collection[str]) -> Iterator[tuple[str, str]]:
    if "upstreams" not in present:
        yield "", 'a proxy needs upstreams: add upstreams: [{address: "127.0.0.1:9000"}]'
    seen: set[str] = set()
    for at, upstream in enumerate(given.get("upstreams", ())):
        if upstream.address in seen:
            yield f"upstreams[{at}]", f"upstream {upstream.address} is there twice: give it a weight"
        seen.add(upstream.address)
    if "update_frequency" in present and ("discovery" not in present or given.get("discovery") == "static"):
        yield (
            "update_frequency",
            "update_frequency belongs to discovery: dns; upstreams that are listed change with the file",
        )
    balance = given.get("balance") if "balance" in present else "round_robin"
    if "balance_key" in present and balance is not None and balance not in _HASHING:
        yield (
            "balance_key",
            f"balance_key has no effect with balance: {balance}: leave it out, or choose {' or '.join(_HASHING)}",
        )


def _service(name: str, kind: str, listeners: tuple[ListenerConf, ...], **rest: Any) -> ServiceConf:
    if "failure" in rest:
        rest["failure"] = FailurePolicy(rest["failure"])
    options = {key: rest.pop(key) for key in (*_APP_OPTIONS, *_PROXY_OPTIONS) if key in rest}
    if kind == "proxy":
        ProxyOptions(**{key: value for key, value in options.items() if key in _PROXY_OPTIONS})
    return ServiceConf(name, kind, listeners, options=options, **rest)


SERVICE = Record(
    {
        "name": Text(),
        "kind": Choice(KINDS),
        "listeners": ListOf(LISTENER, 1),
        "upstreams": ListOf(UPSTREAM, 1),
        **_BALANCING,
        "threads": Whole(1),
        "failure": Choice(tuple(policy.value for policy in FailurePolicy)),
        "limits": LIMITS,
        "access_log": ACCESS_LOG,
        **_APP_OPTIONS,
        **_PROXY_OPTIONS,
    },
    _service,
    ("name", "kind", "listeners"),
    check=_check_service,
)


def _ip(of: Callable[[str], object]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        try:
            of(text)
        except ValueError:
            raise ValueError("an address without a port") from None
        return text

    return parse


class _Services(ListOf):
    """Names and addresses are there once."""

    __slots__ = ()

    def read(self, node: yaml.Node, path: str, reading: Reading) -> tuple[Any, ...]:
        """See :class:`Kind`."""
        services = super().read(node, path, reading)
        names: dict[str, str] = {}
        taken: dict[str, tuple[int, str]] = {}
        for at, service in enumerate(services):
            place = f"{path}[{at}]"
            if service.name in names:
                reading.wrong_at(
                    place,
                    f"the service {service.name!r} is there twice, first at {names[service.name]}: "
                    "give one another name",
                )
            names.setdefault(service.name, reading.places[place])
            for number, listener in enumerate(service.listeners):
                text, where = str(listener.address), f"{place}.listeners[{number}]"
                if text in taken and not text.endswith(":0"):
                    other, first = taken[text]
                    whose = "this service" if other == at else f"the service {services[other].name!r}"
                    reading.wrong_at(
                        where, f"{text} is taken by {whose} already, at {first}: remove one, or give it another address"
                    )
                taken.setdefault(text, (at, reading.places[where]))
        return services


@dataclass(frozen=True, slots=True)
class _Warned:
    """A kind of which all but *in_force* has no effect, as *text* says."""

    kind: Kind
    in_force: object
    text: str

    def read(self, node: yaml.Node, path: str, reading: Reading) -> Any:
        """See :class:`Kind`."""
        value = self.kind.read(node, path, reading)
        if value is not None and value != self.in_force:
            reading.warn(node, self.text)
        return value

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {**self.kind.schema(), "description": self.text}


_OFFLOAD = "connects never block here, on any runtime: remove it"
_MAX_WORKERS = 1024
"""Far more than cores: each is a process with everything in it."""


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("it begins with /")
    return path


KEYS: Mapping[str, Kind] = {
    "version": Whole(1, 1),
    "runtime": Text(),
    "workers": Whole(1, _MAX_WORKERS),
    "daemon": Flag(),
    "daemon_wait_for_ready": _Warned(Flag(), True, "daemon_wait_for_ready: false has no effect: it always waits"),
    "daemon_ready_timeout_seconds": Number(1.0),
    "pid_file": Text(),
    "user": Text(),
    "group": Text(),
    "working_directory": Text(_absolute, "an absolute path"),
    "grace_period_seconds": Number(),
    "graceful_shutdown_timeout_seconds": Number(),
    "threads": Whole(1),
    "listener_tasks_per_fd": _Warned(
        Whole(1), 1, "listener_tasks_per_fd above 1 has no effect: a lane accepts in batches"
    ),
    "work_stealing": _Warned(Flag(), False, "work_stealing: true has no effect: a connection stays with its lane"),
    "error_log": Text(),
    "upgrade_sock": Text(sun_path, "the path of a Unix socket"),
    "upgrade_sock_connect_accept_max_retries": Whole(0),
    "upstream_keepalive_pool_size": Whole(0),
    "max_retries": Whole(1),
    "client_bind_to_ipv4": ListOf(Text(_ip(IPv4Address), "an IPv4 address")),
    "client_bind_to_ipv6": ListOf(Text(_ip(IPv6Address), "an IPv6 address")),
    "ca_file": Text(),
    "upstream_debug_ssl_keylog": Flag(),
    "limits": LIMITS,
    "services": _Services(SERVICE),
    "daemon_notify_timeout_seconds": Refused("a daemon tells that it is ready by a pipe, in no time: remove it"),
    "s2n_config_cache_size": Refused("there is no s2n here: remove it"),
    "upstream_connect_offload_threadpools": Refused(_OFFLOAD),
    "upstream_connect_offload_thread_per_pool": Refused(_OFFLOAD),
    "max_blocking_threads": Refused("the pool for blocking calls has a fixed size: remove it"),
    "blocking_threads_ttl_seconds": Refused("threads for blocking calls stay until the server ends: remove it"),
}
"""In the order of the documentation."""

ROOT = Record(KEYS, ServerConf, open=True)
