"""A socket that keeps the times of what passes: when the kernel got it, and how long either side was waited for."""

from __future__ import annotations

import socket
import struct
import sys
import time
from typing import Any

from sansio_pingora_posix.socket_probe import SocketProbe

__all__ = ["TimedProbe", "TimedSocket"]

# Of linux/net_tstamp.h and asm/socket.h; the socket module has no names for them.
_SO_TIMESTAMPING = 37
_RX_SOFTWARE = 1 << 3
_SOFTWARE = 1 << 4
_ANCILLARY = socket.CMSG_SPACE(6 * 8)


class TimedProbe(SocketProbe):
    """A probe that knows the times of its socket, which :class:`TimedSocket` tells it."""

    __slots__ = ("read_pending", "received_at", "write_pending")

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.received_at: float | None = None
        self.read_pending = 0.0
        self.write_pending = 0.0

    def rx_timestamp(self) -> float | None:
        """See :class:`~sansio_pingora.transport.Probe`."""
        return self.received_at

    def read_pending_time(self) -> float | None:
        """See :class:`~sansio_pingora.transport.Probe`."""
        return self.read_pending

    def write_pending_time(self) -> float | None:
        """See :class:`~sansio_pingora.transport.Probe`."""
        return self.write_pending


class TimedSocket:
    """*sock* for a :class:`~sansio_pingora_posix.StreamTransport`, with its times told to *probe*."""

    def __init__(self, sock: socket.socket, probe: TimedProbe) -> None:
        self._sock = sock
        self._probe = probe
        self._read_at = time.time()  # the kernel's stamps are of this clock
        self._blocked_since: float | None = None
        self._stamps = sys.platform == "linux" and sock.family != socket.AF_UNIX
        if self._stamps:
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, _RX_SOFTWARE | _SOFTWARE)

    def recv(self, size: int) -> bytes:
        """As the socket's."""
        if self._stamps:
            data, ancillary, _, _ = self._sock.recvmsg(size, _ANCILLARY)
            stamp = _stamp(ancillary)
        else:
            data, stamp = self._sock.recv(size), None
        now = time.time()
        came = now if stamp is None else stamp
        if stamp is not None:
            self._probe.received_at = stamp
        # Not the time in which it lay there and nobody read it.
        self._probe.read_pending += max(0.0, came - self._read_at)
        self._read_at = now
        return data

    def send(self, data: bytes) -> int:
        """As the socket's."""
        return self._sent(len(data), self._sock.send, data)

    def sendmsg(self, buffers: list[Any]) -> int:
        """As the socket's."""
        return self._sent(sum(map(len, buffers)), self._sock.sendmsg, buffers)

    def _sent(self, size: int, send: Any, data: Any) -> int:
        try:
            sent: int = send(data)
        except BlockingIOError:
            sent = -1
        now = time.monotonic()
        if self._blocked_since is not None and sent >= 0:
            self._probe.write_pending += now - self._blocked_since
            self._blocked_since = None
        if sent < size:
            self._blocked_since = self._blocked_since or now
        if sent < 0:
            raise BlockingIOError
        return sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> float | None:
    for level, kind, raw in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPING and len(raw) >= 16:
            seconds, nanoseconds = struct.unpack_from("=qq", raw)
            return float(seconds) + float(nanoseconds) / 1e9 if seconds else None
    return None
