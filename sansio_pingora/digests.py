"""What is known of the transport under an exchange, by Pingora's names: plain values, filled by who knows them.

A digest belongs to a connection: the streams of one HTTP/2 connection share it, and a subrequest gets a copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from sansio_pingora.proxy_protocol import ProxyHeader
from sansio_pingora.tcp_info import TcpInfo
from sansio_pingora.transport import Probe, SocketAddr, TransportInfo
from sansio_pingora.wire import ResponseHeader

__all__ = ["Digest", "ProxyDigest", "SocketDigest", "SslDigest", "SslDigestExtension", "TimingDigest"]

_T = TypeVar("_T")


@dataclass(slots=True)
class TimingDigest:
    """When one layer of a transport was ready."""

    established_ts: float
    """In monotonic seconds: TCP when it was accepted or connected, TLS when its handshake was complete."""


@dataclass(slots=True)
class SocketDigest:
    """The ends of a transport; the rest is asked of the kernel when it is looked at.

    None: not known, the socket has no such thing, or it is closed.
    """

    peer_addr: SocketAddr | None = None
    local_addr: SocketAddr | None = None
    probe: Probe | None = field(default=None, compare=False, repr=False)
    """The driver's."""

    @property
    def original_dst(self) -> SocketAddr | None:
        """Where the client was going before the kernel redirected it here (SO_ORIGINAL_DST)."""
        return None if self.probe is None else self.probe.original_dst()

    @property
    def recv_buf(self) -> int | None:
        """SO_RCVBUF in bytes, as the kernel reports it."""
        return None if self.probe is None else self.probe.recv_buf()

    @property
    def send_buf(self) -> int | None:
        """SO_SNDBUF in bytes, as the kernel reports it."""
        return None if self.probe is None else self.probe.send_buf()

    @property
    def rx_timestamp(self) -> float | None:
        """When the kernel got what was read last, in Unix time; where the listener keeps ``timestamps``."""
        return None if self.probe is None else self.probe.rx_timestamp()

    @property
    def read_pending_time(self) -> float | None:
        """Seconds, so far, in which nothing had come that could be read; as above."""
        return None if self.probe is None else self.probe.read_pending_time()

    @property
    def write_pending_time(self) -> float | None:
        """Seconds, so far, in which the kernel took no more; as above."""
        return None if self.probe is None else self.probe.write_pending_time()

    def tcp_info(self) -> TcpInfo | None:
        """The kernel's figures: round-trip time, congestion window, retransmissions and more."""
        return None if self.probe is None else self.probe.tcp_info()


@dataclass(slots=True)
class SslDigestExtension:
    """One value of the application's own, found again by its type."""

    value: Any = None

    def get(self, kind: type[_T]) -> _T | None:
        """The value, if it is of *kind*."""
        return self.value if isinstance(self.value, kind) else None


@dataclass(slots=True)
class SslDigest:
    """What a TLS handshake has settled."""

    cipher: str
    version: str
    """As OpenSSL spells it: ``TLSv1.3``."""
    organization: str | None = None
    """Of the peer's certificate, if it showed one."""
    serial_number: str | None = None
    """In hexadecimal digits."""
    cert_digest: bytes = b""
    """SHA-256 of the peer's certificate as DER; empty when it showed none."""
    extension: SslDigestExtension = field(default_factory=SslDigestExtension)


@dataclass(slots=True)
class ProxyDigest:
    """How a tunnel through a proxy was opened by CONNECT."""

    response: ResponseHeader
    user_data: Any = None


@dataclass(slots=True)
class Digest:
    """What is known of a transport; None where a layer is not there."""

    timing_digest: list[TimingDigest | None] = field(default_factory=list)
    """The lowest layer first: the transport, then TLS."""
    socket_digest: SocketDigest | None = None
    ssl_digest: SslDigest | None = None
    proxy_digest: ProxyDigest | None = None
    proxy_protocol: ProxyHeader | None = None
    """What a trusted proxy told of the client. The addresses of ``socket_digest`` stay those of the socket."""

    @classmethod
    def of(cls, info: TransportInfo | None) -> Digest:
        """A new one, with what *info* says."""
        if info is None:
            return cls()
        digest = cls()
        digest.connected(info)
        return digest

    def connected(self, info: TransportInfo) -> None:
        """The transport stands, as *info* says."""
        self.timing_digest.insert(0, TimingDigest(info.established))
        self.socket_digest = SocketDigest(info.peer, info.local, info.probe)

    def clone(self) -> Digest:
        """A copy that has layers added without the first one seeing them."""
        return Digest(
            list(self.timing_digest), self.socket_digest, self.ssl_digest, self.proxy_digest, self.proxy_protocol
        )
