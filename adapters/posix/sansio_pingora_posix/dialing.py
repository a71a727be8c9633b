"""Sockets on their way to an upstream."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys

from sansio_pingora.transport import DialOptions, SocketAddr
from sansio_pingora_posix.addresses import sockaddr
from sansio_pingora_posix.socket_options import set_dscp

__all__ = ["connect_result", "dial_socket", "start_connect"]

_IP_BIND_ADDRESS_NO_PORT = 24
"""Linux: leave the port to connect, which may share it between destinations. The socket module has no name for it."""
_IP_LOCAL_PORT_RANGE = 51
"""Linux 6.3: the first source port in the low half, the last in the high one."""
_TCP_FASTOPEN_CONNECT = getattr(socket, "TCP_FASTOPEN_CONNECT", 30)
_LINUX = sys.platform == "linux"


def dial_socket(address: SocketAddr, options: DialOptions) -> socket.socket:
    """A non-blocking socket prepared for *address*, a numeric one or a Unix path, and not connected yet.

    :raises OSError: the system refuses; :func:`~sansio_pingora_posix.connect_error` says what it means.
    """
    family, _ = sockaddr(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family != socket.AF_UNIX:
            _prepare(sock, family, options)
        if options.tweak is not None:
            options.tweak(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def start_connect(sock: socket.socket, address: SocketAddr) -> bool:
    """Begin to connect; True when it is connected at once, False when the socket becomes writable later.

    :raises OSError: it failed at once.
    """
    number = sock.connect_ex(sockaddr(address)[1])
    if number == errno.EINPROGRESS:
        return False
    if number:
        raise OSError(number, os.strerror(number))
    return True


def connect_result(sock: socket.socket) -> None:
    """What became of a connect whose socket is writable now.

    :raises OSError: it failed.
    """
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))


def _prepare(sock: socket.socket, family: int, options: DialOptions) -> None:
    if options.bind_port_range is not None:
        low, high = options.bind_port_range
        if not _LINUX:
            raise OSError(errno.ENOPROTOOPT, "ranges of source ports are Linux's alone")
        sock.setsockopt(socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, struct.pack("I", low | high << 16))
    if options.bind_to is not None:
        if _LINUX:
            sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        source_family, source = sockaddr(options.bind_to)
        if source_family != family:
            raise OSError(errno.EADDRNOTAVAIL, f"source {options.bind_to} is of another address family")
        sock.bind(source)
    if options.tcp_fast_open and _LINUX:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_FASTOPEN_CONNECT, 1)
    if options.tcp_recv_buf is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.tcp_recv_buf)
    if options.dscp is not None:
        set_dscp(sock, options.dscp)
