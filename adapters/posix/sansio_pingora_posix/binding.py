"""Listening sockets: made, and taken away again."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
import time
from collections.abc import Callable

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.listeners import ServerAddress
from sansio_pingora.transport import SocketAddr
from sansio_pingora_posix.addresses import resolve, sockaddr
from sansio_pingora_posix.identity import ITSELF, Identity
from sansio_pingora_posix.socket_options import set_dscp

__all__ = ["bind", "close_listener"]

_LOG = logging.getLogger("sansio_pingora")
_PAUSE = 1.0
"""Seconds between two attempts at an address that is in use, as in Pingora."""
_HINTS = {
    errno.EADDRINUSE: "another program listens there: stop it or choose another address",
    errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE, and a Unix socket a directory that may be written",
    errno.EADDRNOTAVAIL: "no interface of this host has that address",
    errno.ENOENT: "the directory of the Unix socket does not exist",
    errno.EEXIST: "a file that is not a socket is in the way: remove it or choose another path",
}


def bind(
    address: ServerAddress,
    *,
    retries: int = 3,
    sleep: Callable[[float], object] = time.sleep,
    identity: Identity = ITSELF,
) -> socket.socket:
    """A non-blocking socket that listens on *address*.

    An address in use is tried *retries* times, a second apart (Pingora: 30), for a process that
    is about to go; a name is resolved anew each time, and its first address counts. The file of a Unix socket belongs
    to *identity*.

    :raises Error: ``BIND_ERROR`` with the address, the reason and what to do.
    """
    attempt = 1
    while True:
        try:
            return _bind_once(address, identity)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE or attempt >= retries:
                raise _bind_error(exc, address) from exc
            _LOG.warning("%s is in use, attempt %d of %d", address, attempt, retries)
        attempt += 1
        sleep(_PAUSE)


def close_listener(sock: socket.socket, address: ServerAddress) -> None:
    """Close a socket of :func:`bind`; the file of a Unix socket goes with it, if nobody else is there for certain."""
    sock.close()
    path = address.addr.path
    if path is not None and _is_left_behind(path):
        with contextlib.suppress(OSError):  # removed already, or the directory is read-only by now
            os.unlink(path)


def _bind_once(address: ServerAddress, identity: Identity) -> socket.socket:
    if address.addr.path is not None:
        return _bind_unix(address.addr.path, address, identity)
    return _bind_tcp(resolve(address.addr)[0], address)


def _bind_tcp(addr: SocketAddr, address: ServerAddress) -> socket.socket:
    options = address.options
    family, value = sockaddr(addr)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if options.ipv6_only is not None and family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, options.ipv6_only)
        if options.so_reuseport is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, options.so_reuseport)
        if options.tcp_fastopen is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, options.tcp_fastopen)
        if options.dscp is not None:
            set_dscp(sock, options.dscp)
        sock.bind(value)
        sock.listen(options.backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_unix(path: str, address: ServerAddress, identity: Identity) -> socket.socket:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(path)
        # Before listen: nobody gets in while the mode is what the umask left.
        os.chmod(path, 0o666 if address.permissions is None else address.permissions)
        identity.own(path)  # or it could not see later whether others still listen there, nor remove it
        sock.listen(address.options.backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket's file that a dead process left behind. Pingora removes whatever is there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    if not _is_left_behind(path):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _is_left_behind(path: str) -> bool:
    """Whether it is certain that no process listens on a Unix socket any more.

    A full backlog, a socket of another type, a file that we may not use and a want of descriptors prove nothing.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            probe.connect(path)
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except OSError:
        return False
    return False


def _bind_error(exc: OSError, address: ServerAddress) -> Error:
    if isinstance(exc, socket.gaierror):
        text = f"cannot listen on {address}: the name cannot be resolved ({exc.strerror})"
    else:
        text = f"cannot listen on {address}: {exc.strerror or exc}"
        if hint := _HINTS.get(exc.errno or 0):
            text += f" ({hint})"
    return Error(ErrorType.BIND_ERROR, text, cause=exc, esource=ErrorSource.INTERNAL)
