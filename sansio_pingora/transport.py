"""What machines know of sockets: plain values, no descriptor.

An adapter turns them into system calls. Addresses are text as users type it:
``127.0.0.1:8080``, ``[::1]:8080``, ``localhost:8080``, ``unix:/run/x.sock``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from sansio_pingora.tcp_info import TcpInfo

__all__ = [
    "BindTo",
    "DialOptions",
    "Probe",
    "Resolve",
    "ResolveService",
    "ServiceRecord",
    "SocketAddr",
    "TcpKeepalive",
    "Tracer",
    "TransportInfo",
]


@dataclass(frozen=True, slots=True)
class SocketAddr:
    """An internet address (``host`` and ``port``) or the ``path`` of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str | None = None

    @classmethod
    def parse(cls, text: str) -> SocketAddr:
        """Read an address as a user types it.

        :raises ValueError: not an address; the message shows the forms.
        :raises TypeError: not text.
        """
        if not isinstance(text, str):
            raise TypeError(
                f"an address is text like '127.0.0.1:8080', '[::1]:8080' or 'unix:/run/x.sock', not {text!r}"
            )
        if text.startswith("unix:"):
            if len(text) == 5:
                raise ValueError("address 'unix:' names no path: write unix:/run/x.sock")
            return cls(path=text[5:])
        host, colon, digits = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            colon = ""  # an IPv6 address without brackets leaves its port ambiguous
        if "[" in host or "]" in host:
            colon = ""
        if not colon or not host or not (digits.isascii() and digits.isdigit()) or int(digits) > 65535:
            raise ValueError(f"address {text!r}: write host:port, [IPv6]:port or unix:/path")
        return cls(host, int(digits))

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Probe(Protocol):
    """What a driver can ask the kernel about a transport; None: not known, or there is no such thing."""

    def tcp_info(self) -> TcpInfo | None:
        """The kernel's figures of a TCP connection."""

    def recv_buf(self) -> int | None:
        """SO_RCVBUF in bytes."""

    def send_buf(self) -> int | None:
        """SO_SNDBUF in bytes."""

    def original_dst(self) -> SocketAddr | None:
        """Where the client was going before it was redirected."""

    def rx_timestamp(self) -> float | None:
        """When the kernel got what was read last, in Unix time."""

    def read_pending_time(self) -> float | None:
        """Seconds in which nothing had come that could be read."""

    def write_pending_time(self) -> float | None:
        """Seconds in which the kernel took no more."""


@dataclass(frozen=True, slots=True)
class TransportInfo:
    """The ends of a transport, as its driver found them."""

    peer: SocketAddr | None
    """The other side; None for a Unix client, which has no name."""
    local: SocketAddr | None
    """Our side."""
    established: float
    """When, in monotonic seconds."""
    layers: tuple[Any, ...] = ()
    """Of a transport that was accepted: the makers of what stands between it and HTTP, the lowest first
    (:class:`sansio_pingora.layers.LayerMaker`).
    """
    probe: Probe | None = field(default=None, compare=False, repr=False)
    """Asks the kernel; None where there is none to ask."""


class Tracer(Protocol):
    """Told of the transports of upstream connections; each method once, and in this order."""

    def on_connected(self, info: TransportInfo) -> None:
        """It is connected; layers like TLS come later."""

    def on_disconnected(self, info: TransportInfo) -> None:
        """It is gone."""


@dataclass(frozen=True, slots=True)
class TcpKeepalive:
    """Kernel probes on an idle TCP connection. Seconds, but for ``count``; ``user_timeout`` on Linux alone."""

    idle: float
    interval: float
    count: int
    user_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class BindTo:
    """Where a connection comes from.

    :raises ValueError: no range of ports, or a fall-back from none.
    """

    addr: SocketAddr | None = None
    """Source address; port 0 lets the kernel choose. None: the kernel chooses both."""
    port_range: tuple[int, int] | None = None
    """First and last source port to choose from; ``(0, 0)`` is the system's own range. Linux 6.3 and later."""
    fallback: bool = False
    """Where no port of the range is free, or the kernel knows no ranges: connect without the range."""

    def __post_init__(self) -> None:
        if self.port_range is not None:
            low, high = self.port_range
            if (low, high) != (0, 0) and not 0 < low <= high <= 65_535:
                raise ValueError(f"port_range goes from 1 to 65535, the first not above the last, not {low} to {high}")
        elif self.fallback:
            raise ValueError("fallback takes effect with a port_range: set one, or leave it out")


@dataclass(frozen=True, slots=True)
class DialOptions:
    """How an upstream socket is prepared before it connects."""

    bind_to: SocketAddr | None = None
    """Source address; port 0 lets the kernel choose."""
    tcp_keepalive: TcpKeepalive | None = None
    tcp_recv_buf: int | None = None
    """SO_RCVBUF in bytes; the kernel doubles it."""
    dscp: int | None = None
    """The whole TOS byte, as Pingora takes it."""
    tcp_fast_open: bool = False
    bind_port_range: tuple[int, int] | None = None
    """First and last source port; see :class:`BindTo`."""
    bind_fallback: bool = False
    """Connect without the range where it has no free port."""
    custom: Callable[[SocketAddr], Any] | None = field(default=None, compare=False)
    """Connects instead, and may block; gives a socket, or an object with ``read(size)`` and ``write(data)``."""
    tweak: Callable[[Any], None] | None = field(default=None, compare=False)
    """Called with the socket just before it connects."""


@dataclass(frozen=True, slots=True)
class Resolve:
    """Command of a coordinator: look *address* up.

    Answered by ``resume(token, addresses)``, a list of numeric ones, or ``fail(token, error)``.
    """

    token: int
    address: SocketAddr


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One address of a service in DNS (RFC 2782)."""

    priority: int
    """The lower ones are to be used first."""
    weight: int
    """The share among those of the same priority; 0 is next to nothing."""
    address: SocketAddr
    """Numeric."""


@dataclass(frozen=True, slots=True)
class ResolveService:
    """Command of a coordinator: look up the SRV records of *name*, and the addresses of their targets.

    Answered by ``resume(token, records)``, a list of :class:`ServiceRecord`, or ``fail(token, error)``. *servers*:
    name servers to ask, numeric; none is the system's.
    """

    token: int
    name: str
    servers: tuple[SocketAddr, ...] = ()
