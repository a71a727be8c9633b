"""The proxy of a configuration: its upstreams, which of them is next, and how each is spoken to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sansio_pingora.balancing import (
    Backend,
    Below,
    Discovery,
    DnsDiscovery,
    HealthCheck,
    HttpHealthCheck,
    LoadBalancer,
    StaticDiscovery,
    TcpHealthCheck,
    selection,
)
from sansio_pingora.errors import Error
from sansio_pingora.proxy import ProxyHttp
from sansio_pingora.server.access_format import AccessFormat
from sansio_pingora.server.conf import HealthCheckConf, ServerConf, ServiceConf, UpstreamConf
from sansio_pingora.transport import BindTo, SocketAddr
from sansio_pingora.upstreams import ALPN, CaCerts, CertKey, HttpPeer, Peer, PeerOptions

if TYPE_CHECKING:
    from sansio_pingora.proxy.record import ExchangeRecord
    from sansio_pingora.session import ServerSession

__all__ = ["AccessLog", "BalancedProxy", "Surroundings"]


@dataclass(frozen=True, slots=True)
class AccessLog:
    """Where the lines of one service go."""

    format: AccessFormat
    write: Callable[[str], object]
    """Takes a line without its end; it must not block."""
    wall: Callable[[float], float]
    """The Unix time at an instant of the monotonic clock; asked for each line, as clocks are set and hosts sleep."""

    def tell(self, session: ServerSession, record: ExchangeRecord) -> None:
        """Write the line of an exchange that is over."""
        addr = session.client_addr
        client = "unix" if addr is None or addr.path is not None else addr.host
        self.write(self.format.line(session, record, client, self.wall(session.now)))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a configuration needs of the world to become services."""

    below: Below
    """See :func:`sansio_pingora.balancing.selection`."""
    access_log: Callable[[ServiceConf], AccessLog | None]
    """Opens the access log of a service."""
    read_ca: Callable[[str], CaCerts]
    """Authorities from a file; raises :class:`Error`."""
    read_cert_key: Callable[[str, str], CertKey]
    """A certificate and its key from two files; raises :class:`Error`."""


class _Attempts:
    """What was tried for one request."""

    __slots__ = ("key", "make", "tried")

    def __init__(self, make: Callable[[Backend], HttpPeer]) -> None:
        self.key = b""
        self.make = make
        self.tried: set[Backend] = set()


class _Upstream:
    """How one upstream is spoken to, whatever the addresses of its name."""

    __slots__ = ("_cert_key", "_host", "_options", "_sni", "_tls")

    def __init__(self, conf: UpstreamConf, server: ServerConf, around: Surroundings) -> None:
        tls = conf.tls
        options: dict[str, Any] = {} if conf.alpn is ALPN.H1 else {"alpn": conf.alpn, "max_h2_streams": 100}
        self._cert_key: CertKey | None = None
        self._tls = tls is not None
        self._sni = ""
        addr = SocketAddr.parse(conf.address)
        if tls is not None:
            self._sni = tls.sni or addr.host  # discovered addresses are those of the name
            options["verify_cert"] = tls.verify
            options["verify_hostname"] = tls.verify and tls.verify_hostname
            options["alternative_cn"] = tls.alternative_cn
            if tls.ca is not None:
                options["ca"] = around.read_ca(tls.ca)
            if tls.cert is not None and tls.key is not None:
                self._cert_key = around.read_cert_key(tls.cert, tls.key)
        sources = server.client_bind_to_ipv6 if ":" in addr.host else server.client_bind_to_ipv4
        if sources and addr.path is None:
            self._options = [PeerOptions(**options, bind_to=BindTo(SocketAddr(one, 0))) for one in sources]
        else:
            self._options = [PeerOptions(**options)]

    def peer(self, addr: SocketAddr, turn: int) -> HttpPeer:
        """A peer at *addr*; each *turn* takes the next source address."""
        options = self._options[turn % len(self._options)]
        return HttpPeer(addr, self._tls, self._sni, client_cert_key=self._cert_key, options=options)


class BalancedProxy(ProxyHttp):
    """Sends requests to the upstreams of a service as its ``balance`` says, and on to another that can be reached.

    :raises Error: a file of an upstream's TLS cannot be read.
    """

    def __init__(self, conf: ServiceConf, server: ServerConf, around: Surroundings) -> None:
        self._around = around
        self._access_log = around.access_log(conf)
        self._key = _KEYS[conf.balance_key]
        self._upstreams = self._known = _upstreams(conf, server, around)
        self._turn = 0
        # Names stand for themselves until the first discovery is over: nobody is refused meanwhile.
        self.balancer = LoadBalancer(
            _backends(conf),
            selection(conf.balance, around.below),
            health_check=None if conf.health_check is None else _health_check(conf.health_check, self._peer),
            health_check_frequency=None if conf.health_check is None else conf.health_check.frequency,
            parallel_health_check=1 if conf.health_check is None else conf.health_check.parallel,
            update_frequency=conf.update_frequency if conf.discovery == "dns" else None,
            outlier_detection=conf.outlier_detection,
            jitter=0.1,
            below=around.below,
        )
        self.balancer.discovery = _discovery(conf)

    def prepare(self, conf: ServiceConf, server: ServerConf) -> Callable[[], bool]:
        """Read what *conf* says of the upstreams; the call that is returned sends to them, and tells whether they are
        others than before.

        :raises Error: a file cannot be read; nothing has changed.
        """
        upstreams = _upstreams(conf, server, self._around)

        def take() -> bool:
            # Requests that are being placed may still get one of those from before.
            self._known = {**self._upstreams, **upstreams}
            self._upstreams = upstreams
            self.balancer.discovery = _discovery(conf)
            return self.balancer.update(_backends(conf))

        return take

    def _peer(self, backend: Backend, turn: int = 0) -> HttpPeer:
        return self._known[backend.ext].peer(backend.addr, turn)

    def new_ctx(self) -> _Attempts:
        """Nothing was tried."""
        self._turn = turn = self._turn + 1
        return _Attempts(lambda backend: self._peer(backend, turn))

    def upstream_peer(self, session: ServerSession, ctx: _Attempts) -> HttpPeer:
        """The next one for this request."""
        if not ctx.tried:
            ctx.key = self._key(session)
        return self.balancer.peer(ctx.key, tried=ctx.tried, make=ctx.make)

    def fail_to_connect(self, session: ServerSession, peer: HttpPeer, ctx: _Attempts, error: Error) -> Error:
        """Try each upstream once."""
        return error.with_retry(len(ctx.tried) < len(self.balancer.backends.states))

    def logging(self, session: ServerSession, error: Error | None, ctx: _Attempts) -> None:
        """Write a line of the access log, if there is one."""
        if self._access_log is not None:
            self._access_log.tell(session, session.record)


def _path(session: ServerSession) -> bytes:
    return session.req_header.target if session.req_header is not None else b""


def _client(session: ServerSession) -> bytes:
    addr = session.client_addr
    return b"" if addr is None else addr.host.encode()


def _host(session: ServerSession) -> bytes:
    return session.get_header("host") or b""


_KEYS: dict[str, Callable[[ServerSession], bytes]] = {"path": _path, "client": _client, "host": _host}


def _upstreams(conf: ServiceConf, server: ServerConf, around: Surroundings) -> dict[str, _Upstream]:
    return {one.address: _Upstream(one, server, around) for one in conf.upstreams}


def _backends(conf: ServiceConf) -> list[Backend]:
    return [Backend(one.address, one.weight, one.address) for one in conf.upstreams]


def _discovery(conf: ServiceConf) -> Discovery:
    return DnsDiscovery(_backends(conf)) if conf.discovery == "dns" else StaticDiscovery(_backends(conf))


@dataclass(frozen=True, kw_only=True)
class _TcpCheck(TcpHealthCheck):
    make: Callable[[Backend], HttpPeer]

    def peer(self, backend: Backend) -> Peer:
        return self.make(backend)


@dataclass(frozen=True, kw_only=True)
class _HttpCheck(HttpHealthCheck):
    make: Callable[[Backend], HttpPeer]

    def peer(self, backend: Backend) -> Peer:
        return self.make(backend)


def _health_check(conf: HealthCheckConf, make: Callable[[Backend], HttpPeer]) -> HealthCheck:
    """Checks that speak to an upstream as requests do."""
    common: dict[str, Any] = {
        "make": make,
        "timeout": conf.timeout,
        "success_threshold": conf.success_threshold,
        "failure_threshold": conf.failure_threshold,
    }
    if conf.kind == "tcp":
        return _TcpCheck(**common)
    return _HttpCheck(host=conf.host, path=conf.path, **common)
