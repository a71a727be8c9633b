"""The services that a configuration describes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sansio_pingora.apps import OriginApp
from sansio_pingora.balancing import Backend, Below, LoadBalancer, selection
from sansio_pingora.errors import Error
from sansio_pingora.proxy import ProxyHttp
from sansio_pingora.server.access_format import AccessFormat
from sansio_pingora.server.conf import ConfError, ServerConf, ServiceConf
from sansio_pingora.services import Service
from sansio_pingora.transport import BindTo, SocketAddr
from sansio_pingora.upstreams import ALPN, HttpPeer, PeerOptions

if TYPE_CHECKING:
    from sansio_pingora.session import ServerSession

__all__ = ["AccessLog", "BalancedProxy", "configured_services"]


@dataclass(frozen=True, slots=True)
class AccessLog:
    """Where the lines of one service go."""

    format: AccessFormat
    write: Callable[[str], object]
    """Takes a line without its end; it must not block."""
    wall_offset: float
    """Unix time less the monotonic clock."""


class _Attempts:
    """What was tried for one request."""

    __slots__ = ("key", "tried", "turn")

    def __init__(self, key: bytes, turn: int) -> None:
        self.key = key
        self.turn = turn
        self.tried: set[Backend] = set()


class BalancedProxy(ProxyHttp):
    """Sends requests to the upstreams of a service as its ``balance`` says, and on to another that can be reached."""

    def __init__(
        self, conf: ServiceConf, server: ServerConf, below: Below, access_log: AccessLog | None = None
    ) -> None:
        self._balancer = LoadBalancer(_backends(conf), selection(conf.balance, below))
        self._key = _KEYS[conf.balance_key]
        self._access_log = access_log
        self._options = _peer_options(conf, server)
        self._turn = 0

    def reconfigure(self, conf: ServiceConf) -> bool:
        """Send to the upstreams of *conf* from here on; whether they are others than before."""
        return self._balancer.update(_backends(conf))

    def new_ctx(self) -> _Attempts:
        """Nothing was tried."""
        self._turn += 1
        return _Attempts(b"", self._turn)

    def upstream_peer(self, session: ServerSession, ctx: _Attempts) -> HttpPeer:
        """The next one for this request."""
        if not ctx.tried:
            ctx.key = self._key(session)
        options = self._options[ctx.turn % len(self._options)]
        return self._balancer.peer(ctx.key, tried=ctx.tried, options=options)

    def fail_to_connect(self, session: ServerSession, peer: HttpPeer, ctx: _Attempts, error: Error) -> Error:
        """Try each upstream once."""
        return error.with_retry(len(ctx.tried) < len(self._balancer.backends.states))

    def logging(self, session: ServerSession, error: Error | None, ctx: _Attempts) -> None:
        """Write a line of the access log, if there is one."""
        log = self._access_log
        if log is not None:
            addr = session.client_addr
            client = "unix" if addr is None or addr.path is not None else addr.host
            log.write(log.format.line(session, session.record, client, session.now + log.wall_offset))


def _path(session: ServerSession) -> bytes:
    return session.req_header.target if session.req_header is not None else b""


def _client(session: ServerSession) -> bytes:
    addr = session.client_addr
    return b"" if addr is None else addr.host.encode()


def _host(session: ServerSession) -> bytes:
    return session.get_header("host") or b""


_KEYS: dict[str, Callable[[ServerSession], bytes]] = {"path": _path, "client": _client, "host": _host}


def _backends(conf: ServiceConf) -> list[Backend]:
    return [Backend(one.address, one.weight) for one in conf.upstreams]


def _peer_options(conf: ServiceConf, server: ServerConf) -> list[PeerOptions | None]:
    """One for each source address, in turn."""
    alpn = conf.upstreams[0].alpn
    base: dict[str, Any] = {} if alpn is ALPN.H1 else {"alpn": alpn, "max_h2_streams": 100}
    is_ipv6 = any(SocketAddr.parse(one.address).host.count(":") for one in conf.upstreams)
    sources = server.client_bind_to_ipv6 if is_ipv6 else server.client_bind_to_ipv4
    if sources:
        return [PeerOptions(**base, bind_to=BindTo(SocketAddr(source, 0))) for source in sources]
    return [PeerOptions(**base)] if base else [None]


def configured_services(
    conf: ServerConf,
    below: Below,
    access_log: Callable[[ServiceConf], AccessLog | None],
    in_force: Callable[[Any, str], bool],
) -> dict[str, list[Service]]:
    """The services of *conf*, by its own names; one whose listeners differ in ``h2c`` is two.

    *below*: see :func:`sansio_pingora.balancing.selection`. *access_log* opens one. *in_force*: whether a
    limit has a use for an application; of the file's limits for all services the others are left out.

    :raises ConfError: a service cannot be made.
    """
    found: dict[str, list[Service]] = {}
    for at, service in enumerate(conf.services):
        try:
            app: Any = (
                BalancedProxy(service, conf, below, access_log(service)) if service.kind == "proxy" else OriginApp()
            )
        except ValueError as exc:
            raise ConfError([f"{conf.place(f'services[{at}]')} {exc}"]) from exc
        kinds = sorted({listener.h2c for listener in service.listeners})
        found[service.name] = []
        for h2c in kinds:
            name = f"{service.name} h2c" if h2c and len(kinds) > 1 else service.name
            common = {key: value for key, value in conf.common_limits.items() if in_force(app, key)}
            own = OriginApp.limits if service.kind == "origin" else {}
            limits = {**own, **common, **service.limits}
            made = Service(name, app, threads=service.threads, **service.options, **limits)
            if h2c:
                made.options["h2c"] = True
            for listener in service.listeners:
                if listener.h2c is h2c:
                    made.add_address(listener.address)
            found[service.name].append(made)
    return found
