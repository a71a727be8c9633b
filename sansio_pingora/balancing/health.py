"""What a health check asks of a backend, and how it judges the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sansio_pingora.balancing.backend import Backend
from sansio_pingora.errors import Error
from sansio_pingora.upstreams import BasicPeer, HttpPeer, Peer, PeerOptions
from sansio_pingora.wire import RequestHeader, ResponseHeader

__all__ = ["HealthCheck", "HttpHealthCheck", "TcpHealthCheck"]

_SECOND = PeerOptions(connection_timeout=1.0, total_connection_timeout=1.0, read_timeout=1.0, idle_timeout=None)


@dataclass(frozen=True, kw_only=True)
class _Check:
    success_threshold: int = 1
    """Successes in a row that make a backend healthy again."""
    failure_threshold: int = 1
    """Failures in a row that make it unhealthy."""
    timeout: float = 5.0
    """Seconds for the whole check, whatever the options of the peer allow for its parts."""
    options: PeerOptions = _SECOND
    """How the backend is connected to: a second for each part, unless said otherwise."""
    health_changed: Callable[[Backend, bool], object] | None = None
    """Called when a backend has become healthy (True) or unhealthy; it must not block."""

    def __post_init__(self) -> None:
        if self.success_threshold < 1 or self.failure_threshold < 1:
            raise ValueError("thresholds are 1 or more: the number of findings in a row that change a health")
        if not self.timeout > 0:
            raise ValueError(f"timeout of a health check is seconds above 0, not {self.timeout!r}")

    def threshold(self, healthy: bool) -> int:
        """How many findings in a row change the health to *healthy*."""
        return self.success_threshold if healthy else self.failure_threshold


@dataclass(frozen=True, kw_only=True)
class TcpHealthCheck(_Check):
    """A backend is healthy when it can be connected to; *sni*: and a TLS handshake for that name succeeds."""

    sni: str = ""

    def peer(self, backend: Backend) -> Peer:
        """Where to connect."""
        if self.sni:
            return HttpPeer(backend.addr, tls=True, sni=self.sni, options=self.options)
        return BasicPeer(backend.addr, options=self.options)


@dataclass(frozen=True, kw_only=True)
class HttpHealthCheck(_Check):
    """A backend is healthy when it answers a GET with 200, or as *validator* says."""

    host: str
    """The Host of the request; with *tls* also the name that the certificate must bear."""
    path: str = "/"
    tls: bool = False
    request: RequestHeader | None = None
    """The request instead of the GET for *path*."""
    validator: Callable[[ResponseHeader], Any] | None = None
    """Given the head of the answer: False, or an exception, is a failure."""
    port_override: int | None = None
    """Ask another port than the one that gets the requests."""
    reuse_connection: bool = False
    """Keep the connection for the next check."""
    max_body: int = 65_536
    """Bytes of an answer that are read; more is a failure."""

    def peer(self, backend: Backend) -> Peer:
        """Where to connect."""
        addr = backend.addr
        if self.port_override is not None and addr.path is None:
            addr = replace(addr, port=self.port_override)
        return HttpPeer(addr, tls=self.tls, sni=self.host if self.tls else "", options=self.options)

    def head(self) -> RequestHeader:
        """The request."""
        if self.request is not None:
            return self.request.clone()
        return RequestHeader("GET", self.path, [("Host", self.host)])

    def judge(self, head: ResponseHeader) -> None:
        """Nothing for a good answer.

        :raises Error: it is none.
        """
        if self.validator is None:
            if head.status != 200:
                raise Error.custom("non 200 code", code=head.status).into_up()
        elif self.validator(head) is False:
            raise Error.custom("refused by the validator", code=head.status).into_up()


HealthCheck = TcpHealthCheck | HttpHealthCheck
