"""What a kernel tells of a connected socket, asked when somebody wants to know."""

from __future__ import annotations

import socket
import struct

from sansio_pingora.tcp_info import SIZE, TcpInfo
from sansio_pingora.transport import SocketAddr

__all__ = ["SocketProbe"]

_SO_ORIGINAL_DST = 80
"""Of netfilter, for both families: SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST."""


class SocketProbe:
    """Asks the socket itself and not its number, so that one that is closed is never taken for its successor."""

    __slots__ = ("_sock",)

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def tcp_info(self) -> TcpInfo | None:
        """The kernel's figures; None for a Unix socket, a closed one, and where there is no TCP_INFO."""
        if self._sock.family == socket.AF_UNIX or not hasattr(socket, "TCP_INFO"):
            return None
        raw = self._ask(socket.IPPROTO_TCP, socket.TCP_INFO, SIZE)
        return TcpInfo.parse(raw) if raw else None

    def recv_buf(self) -> int | None:
        """SO_RCVBUF."""
        return self._size(socket.SO_RCVBUF)

    def send_buf(self) -> int | None:
        """SO_SNDBUF."""
        return self._size(socket.SO_SNDBUF)

    def original_dst(self) -> SocketAddr | None:
        """Where the client was going before netfilter sent it here."""
        if self._sock.family == socket.AF_INET:
            raw = self._ask(socket.IPPROTO_IP, _SO_ORIGINAL_DST, 16)
            if raw is not None and len(raw) >= 8:
                return SocketAddr(socket.inet_ntop(socket.AF_INET, raw[4:8]), int.from_bytes(raw[2:4], "big"))
        elif self._sock.family == socket.AF_INET6:
            raw = self._ask(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28)
            if raw is not None and len(raw) >= 24:
                return SocketAddr(socket.inet_ntop(socket.AF_INET6, raw[8:24]), int.from_bytes(raw[2:4], "big"))
        return None

    def rx_timestamp(self) -> float | None:
        """See :class:`~sansio_pingora.transport.Probe`: nobody keeps it."""
        return None

    def read_pending_time(self) -> float | None:
        """See :class:`~sansio_pingora.transport.Probe`: nobody keeps it."""
        return None

    def write_pending_time(self) -> float | None:
        """See :class:`~sansio_pingora.transport.Probe`: nobody keeps it."""
        return None

    def _size(self, option: int) -> int | None:
        raw = self._ask(socket.SOL_SOCKET, option, 4)
        return None if raw is None else int(struct.unpack("i", raw)[0])

    def _ask(self, level: int, option: int, size: int) -> bytes | None:
        try:
            return self._sock.getsockopt(level, option, size)
        except OSError:  # closed, or the kernel has no such thing
            return None
