"""The keys of a listener."""

from __future__ import annotations

from typing import Any

from sansio_pingora.listeners import ServerAddress, TcpSocketOptions, Tls
from sansio_pingora.server.conf import ListenerConf
from sansio_pingora.server.kinds import Choice, Flag, Kind, ListOf, MapOf, Number, Record, Text, Whole
from sansio_pingora.tls import ClientAuth
from sansio_pingora.transport import SocketAddr, TcpKeepalive

__all__ = ["LISTENER", "sun_path"]

TLS_VERSIONS = ("TLSv1.2", "TLSv1.3")


def _tcp(text: str) -> SocketAddr:
    addr = SocketAddr.parse(text)
    if addr.path is not None:
        raise ValueError("a Unix socket goes under uds")
    return addr


def sun_path(path: str) -> str:
    """*path*, of a Unix socket.

    :raises ValueError: it is too long for one.
    """
    if len(path.encode()) > _MAX_SUN_PATH:
        raise ValueError(f"it is longer than the {_MAX_SUN_PATH} bytes that a Unix socket's path may have")
    return path


def _uds(path: str) -> SocketAddr:
    return SocketAddr(path=sun_path(path))


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


def _pair(cert: str, key: str) -> tuple[str, str]:
    return cert, key


def _listener(
    tcp: SocketAddr | None = None,
    uds: SocketAddr | None = None,
    h2c: bool = False,
    permissions: int | None = None,
    proxy_protocol: tuple[str, ...] | None = None,
    tls: dict[str, Any] | None = None,
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
    if tls is None:
        return ListenerConf(address, h2c)
    if h2c:
        raise ValueError("h2c is HTTP/2 without TLS: leave it out, alpn of tls says which versions are spoken")
    return ListenerConf(address, tls=Tls(address, **tls))


_TLS = Record(
    {
        "cert": Text(),
        "key": Text(),
        "password": Text(),
        "names": MapOf(Record({"cert": Text(), "key": Text()}, _pair, ("cert", "key")), "host name"),
        "strict_names": Flag(),
        "client_ca": Text(),
        "client_auth": Choice(tuple(one.value for one in ClientAuth)),
        "alpn": ListOf(Choice(("h2", "http/1.1")), 1),
        "min_version": Choice(TLS_VERSIONS),
        "max_version": Choice(TLS_VERSIONS),
        "ciphers": Text(),
        "curves": Text(),
        "tickets": Whole(0, 16),
        "offload": Flag(),
    },
    dict,
    ("cert", "key"),
)

LISTENER = Record(
    {
        "tcp": Text(_tcp, 'an address like "127.0.0.1:6188"'),
        "uds": Text(_uds, "the path of a Unix socket"),
        "h2c": Flag(),
        "permissions": _Permissions(),
        "proxy_protocol": ListOf(Text(), 1),
        "tls": _TLS,
        **_SOCKET_OPTIONS,
    },
    _listener,
)
