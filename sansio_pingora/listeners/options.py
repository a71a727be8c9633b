"""How a listening TCP socket and the ones that it accepts are prepared."""

from __future__ import annotations

from dataclasses import dataclass

from sansio_pingora.transport import TcpKeepalive

__all__ = ["TcpSocketOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSocketOptions:
    """Socket options; None leaves the kernel's own value.

    SO_REUSEADDR on the listening socket and TCP_NODELAY on every accepted one are always set.
    """

    ipv6_only: bool | None = None
    """IPV6_V6ONLY, before bind: True keeps IPv4 clients off an IPv6 address."""
    so_reuseport: bool | None = None
    """SO_REUSEPORT, before bind: several sockets share one port and the kernel spreads the clients."""
    tcp_fastopen: int | None = None
    """TCP_FASTOPEN, before bind: how many connections may wait with data in their SYN."""
    dscp: int | None = None
    """The whole TOS byte (IP_TOS or IPV6_TCLASS), as Pingora takes it: shift a six-bit DSCP left by two."""
    tcp_keepalive: TcpKeepalive | None = None
    """Kernel probes on accepted sockets."""
    tcp_snd_buf: int | None = None
    """SO_SNDBUF of accepted sockets in bytes; the kernel doubles it."""
    tcp_recv_buf: int | None = None
    """SO_RCVBUF of accepted sockets in bytes; the kernel doubles it. Window scaling is settled before."""
    timestamps: bool = False
    """Keep for each accepted socket when the kernel got what was read (Linux), and how long either side was waited for:
    ``session.digest().socket_digest`` tells. Costs a few µs a read. Not on asyncio, whose loops read by themselves.
    """
    backlog: int = 65_535
    """Connections that wait to be accepted, at most; the kernel caps it (net.core.somaxconn). Pingora's figure."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("tcp_fastopen", 0, 2**31 - 1),
            ("dscp", 0, 255),
            ("tcp_snd_buf", 1, 2**31 - 1),
            ("tcp_recv_buf", 1, 2**31 - 1),
            ("backlog", 1, 2**31 - 1),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name} must be from {low} to {high}, not {value!r}")
