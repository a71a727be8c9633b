"""Every key of the configuration, and what it takes: the one table that is read, documented and given to editors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from types import UnionType
from typing import Any, get_args, get_type_hints

import yaml

from sansio_pingora.balancing import MAX_WEIGHT, SELECTIONS
from sansio_pingora.limits import Limits
from sansio_pingora.listeners import ServerAddress, TcpSocketOptions
from sansio_pingora.proxy import ProxyOptions
from sansio_pingora.server.access_format import AccessFormat
from sansio_pingora.server.conf import AccessLogConf, ListenerConf, ServerConf, ServiceConf, UpstreamConf
from sansio_pingora.server.kinds import Choice, Flag, Kind, ListOf, Number, Reading, Record, Refused, Text, Whole
from sansio_pingora.transport import SocketAddr, TcpKeepalive
from sansio_pingora.upstreams import ALPN

__all__ = ["KEYS", "ROOT"]

KINDS = ("proxy", "origin")
BALANCE_KEYS = ("path", "client", "host")
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
_OF_PROXIES = ("upstreams", "balance", "balance_key", "access_log", *_PROXY_OPTIONS)


def _limit_kind(kind: Any) -> Kind:
    optional = isinstance(kind, UnionType)
    number = next(one for one in get_args(kind) if one is not type(None)) if optional else kind
    return Whole(0, optional=optional) if number is int else Number(0.0, optional=optional)


LIMITS = Record({name: _limit_kind(kind) for name, kind in get_type_hints(Limits).items()}, dict)


def _tcp(text: str) -> SocketAddr:
    addr = SocketAddr.parse(text)
    if addr.path is not None:
        raise ValueError("a Unix socket goes under uds")
    return addr


def _sun_path(path: str) -> str:
    if len(path.encode()) > _MAX_SUN_PATH:
        raise ValueError(f"it is longer than the {_MAX_SUN_PATH} bytes that a Unix socket's path may have")
    return path


def _uds(path: str) -> SocketAddr:
    return SocketAddr(path=_sun_path(path))


_MAX_SUN_PATH = 107


class _Permissions(Text):
    """A mode in octal digits, as text or as YAML 1.2's 0o660; a plain 660 is a number of ten digits' kind."""

    __slots__ = ()

    @property
    def wanted(self) -> str:  # type: ignore[override]  # as its parent's
        """What people are told."""
        return "a mode like '0660' or 0o660"

    def check(self, value: Any) -> int:
        """See above."""
        if isinstance(value, int) and not isinstance(value, bool):
            return _mode(value)
        if isinstance(value, str):
            return _mode(int(value.removeprefix("0o"), 8) if value.removeprefix("0o").isdigit() else -1)
        raise ValueError

    def schema(self) -> dict[str, Any]:
        """See :class:`Kind`."""
        return {"type": ["string", "integer"]}


def _mode(value: int) -> int:
    if not 0 <= value <= 0o777:
        raise ValueError("three octal digits in quotes")
    return value


_SOCKET_OPTIONS: dict[str, Kind] = {
    "ipv6_only": Flag(),
    "so_reuseport": Flag(),
    "tcp_fastopen": Whole(0, 2**31 - 1),
    "dscp": Whole(0, 255),
    "tcp_snd_buf": Whole(1, 2**31 - 1),
    "tcp_recv_buf": Whole(1, 2**31 - 1),
    "backlog": Whole(1, 2**31 - 1),
    "tcp_keepalive": Record(
        {"idle": Number(), "interval": Number(), "count": Whole(1), "user_timeout": Number(optional=True)},
        TcpKeepalive,
        ("idle", "interval", "count"),
    ),
}


def _listener(
    tcp: SocketAddr | None = None,
    uds: SocketAddr | None = None,
    h2c: bool = False,
    permissions: int | None = None,
    proxy_protocol: tuple[str, ...] | None = None,
    **options: Any,
) -> ListenerConf:
    addr = tcp or uds
    if addr is None or (tcp is not None and uds is not None):
        raise ValueError('a listener has either tcp, like "127.0.0.1:6188", or uds, the path of a Unix socket')
    if uds is not None and options:
        raise ValueError(f"{min(options)} belongs to tcp: leave it out")
    if tcp is not None and permissions is not None:
        raise ValueError("permissions belong to uds: leave them out")
    address = ServerAddress(addr, TcpSocketOptions(**options), permissions)
    if proxy_protocol is not None:
        address = address.with_proxy_protocol(proxy_protocol)
    return ListenerConf(address, h2c)


LISTENER = Record(
    {
        "tcp": Text(_tcp, 'an address like "127.0.0.1:6188"'),
        "uds": Text(_uds, "the path of a Unix socket"),
        "h2c": Flag(),
        "permissions": _Permissions(),
        "proxy_protocol": ListOf(Text(), 1),
        **_SOCKET_OPTIONS,
    },
    _listener,
)


def _upstream_address(text: str) -> str:
    SocketAddr.parse(text)
    return text


def _upstream(address: str, weight: int = 1, alpn: tuple[str, ...] = ("http/1.1",)) -> UpstreamConf:
    if len(alpn) != 1:
        raise ValueError("alpn without TLS names the one version that is spoken: [http/1.1] or [h2]")
    return UpstreamConf(address, weight, ALPN(alpn))


UPSTREAM = Record(
    {
        "address": Text(_upstream_address, 'an address like "127.0.0.1:9000"'),
        "weight": Whole(1, MAX_WEIGHT),
        "alpn": ListOf(Choice(("http/1.1", "h2")), 1),
    },
    _upstream,
    ("address",),
)


def _access_format(text: str) -> str:
    AccessFormat(text)
    return text


ACCESS_LOG = Record(
    {"path": Text(), "format": Text(_access_format, "combined, json or a text with {fields}")}, AccessLogConf, ("path",)
)


def _service(name: str, kind: str, listeners: tuple[ListenerConf, ...], **rest: Any) -> ServiceConf:
    if kind == "proxy":
        upstreams = rest.get("upstreams", ())
        if not upstreams:
            raise ValueError('a proxy needs upstreams: add upstreams: [{address: "127.0.0.1:9000"}]')
        if len({one.alpn for one in upstreams}) > 1:
            raise ValueError("the upstreams of a service speak one version: make two services of them")
        addresses = [one.address for one in upstreams]
        for address in addresses:
            if addresses.count(address) > 1:
                raise ValueError(f"upstream {address} is there twice: give it a weight")
    else:
        for key in _OF_PROXIES:
            if key in rest:
                raise ValueError(f"{key} belongs to kind: proxy, and this is kind: {kind}: leave it out")
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
        "balance": Choice(SELECTIONS),
        "balance_key": Choice(BALANCE_KEYS),
        "threads": Whole(1),
        "limits": LIMITS,
        "access_log": ACCESS_LOG,
        **_APP_OPTIONS,
        **_PROXY_OPTIONS,
    },
    _service,
    ("name", "kind", "listeners"),
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
        names: set[str] = set()
        taken: dict[str, str] = {}
        for at, service in enumerate(services):
            if service is None:
                continue
            item = node.value[at]
            if service.name in names:
                reading.wrong(item, f"the service {service.name!r} is there twice: give one another name")
            names.add(service.name)
            for listener in service.listeners:
                text = str(listener.address)
                if text in taken and not text.endswith(":0"):
                    reading.wrong(item, f"{service.name!r} listens on {text}, as {taken[text]!r} does: change one")
                taken[text] = service.name
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
_NO_DAEMON = "this version does not put itself into the background: let systemd or another supervisor do that"
KEYS: Mapping[str, Kind] = {
    "version": Whole(1, 1),
    "runtime": Text(),
    "grace_period_seconds": Number(),
    "graceful_shutdown_timeout_seconds": Number(),
    "threads": Whole(1),
    "listener_tasks_per_fd": _Warned(
        Whole(1), 1, "listener_tasks_per_fd above 1 has no effect: a lane accepts in batches"
    ),
    "work_stealing": _Warned(Flag(), False, "work_stealing: true has no effect: a connection stays with its lane"),
    "error_log": Text(),
    "upgrade_sock": Text(_sun_path, "the path of a Unix socket"),
    "upgrade_sock_connect_accept_max_retries": Whole(0),
    "upstream_keepalive_pool_size": Whole(0),
    "max_retries": Whole(1),
    "client_bind_to_ipv4": ListOf(Text(_ip(IPv4Address), "an IPv4 address")),
    "client_bind_to_ipv6": ListOf(Text(_ip(IPv6Address), "an IPv6 address")),
    "limits": LIMITS,
    "services": _Services(SERVICE),
    "daemon": Refused(_NO_DAEMON),
    "pid_file": Refused(_NO_DAEMON),
    "user": Refused(_NO_DAEMON),
    "group": Refused(_NO_DAEMON),
    "working_directory": Refused(_NO_DAEMON),
    "daemon_wait_for_ready": Refused(_NO_DAEMON),
    "daemon_ready_timeout_seconds": Refused(_NO_DAEMON),
    "daemon_notify_timeout_seconds": Refused(_NO_DAEMON),
    "workers": Refused("this version runs one process: use threads, or several servers with so_reuseport"),
    "ca_file": Refused("this version reads no TLS settings from a file: remove it"),
    "upstream_debug_ssl_keylog": Refused("this version reads no TLS settings from a file: remove it"),
    "s2n_config_cache_size": Refused("there is no s2n here: remove it"),
    "upstream_connect_offload_threadpools": Refused(_OFFLOAD),
    "upstream_connect_offload_thread_per_pool": Refused(_OFFLOAD),
    "max_blocking_threads": Refused("the pool for blocking calls has a fixed size: remove it"),
    "blocking_threads_ttl_seconds": Refused("threads for blocking calls stay until the server ends: remove it"),
}
"""In the order of the documentation."""

ROOT = Record(KEYS, ServerConf, open=True)
