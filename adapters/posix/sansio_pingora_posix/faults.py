"""What a failed system call means in the project's own errors."""

from __future__ import annotations

import errno
import socket

from sansio_pingora.errors import Error, ErrorSource, ErrorType, RetryType
from sansio_pingora.transport import SocketAddr

__all__ = ["connect_error", "errno_name", "lost_error"]

_CONNECT = {
    errno.ECONNREFUSED: ErrorType.CONNECT_REFUSED,
    errno.ETIMEDOUT: ErrorType.CONNECT_TIMEDOUT,
    errno.ENETUNREACH: ErrorType.CONNECT_NO_ROUTE,
    errno.EHOSTUNREACH: ErrorType.CONNECT_NO_ROUTE,
    errno.EADDRNOTAVAIL: ErrorType.BIND_ERROR,
    errno.EACCES: ErrorType.INTERNAL_ERROR,
    errno.EPERM: ErrorType.INTERNAL_ERROR,
    errno.EADDRINUSE: ErrorType.INTERNAL_ERROR,
}
_HINTS = {
    errno.EADDRNOTAVAIL: "the source address is not one of this host, or no local port is free",
    errno.EAGAIN: "the backlog of the Unix socket is full",
    errno.EACCES: "check the permissions of the Unix socket, or the firewall",
    errno.EPERM: "a local firewall rule forbids it",
    errno.ENOPROTOOPT: "a range of source ports needs Linux 6.3",
    errno.EMFILE: "no descriptor is free: raise the limit (ulimit -n)",
}


def errno_name(exc: OSError) -> str:
    """The symbol of an error number, like ``"EMFILE"``."""
    return errno.errorcode.get(exc.errno or 0, str(exc.errno))


def connect_error(exc: OSError, address: SocketAddr) -> Error:
    """Why *address* could not be connected to. Only the types and their mapping are Pingora's."""
    if isinstance(exc, socket.gaierror):
        text = f"cannot resolve {address.host!r}: {exc.strerror}"
        return Error(ErrorType.CONNECT_NO_ROUTE, text, cause=exc, esource=ErrorSource.UPSTREAM)
    number = exc.errno or (errno.ETIMEDOUT if isinstance(exc, TimeoutError) else 0)
    text = f"cannot connect to {address}: {exc.strerror or exc}"
    if hint := _HINTS.get(number):
        text += f" ({hint})"
    return Error(_CONNECT.get(number, ErrorType.CONNECT_ERROR), text, cause=exc, esource=ErrorSource.UPSTREAM)


def lost_error(exc: OSError, *, writing: bool | None = None) -> Error:
    """How a live transport was lost. Who is to blame is for the layer above to say.

    Whether it was by reading or *writing* shows in the type; None, unknown, leaves it to the kind of *exc*.
    Retry may follow where the connection was a reused one: an origin closes idle ones at will.
    """
    if writing is None:
        writing = isinstance(exc, BrokenPipeError)
    etype = ErrorType.WRITE_ERROR if writing else ErrorType.READ_ERROR
    text = f"{'writing' if writing else 'reading'} failed: {exc.strerror or exc}"
    return Error(etype, text, cause=exc, retry=RetryType.REUSED_ONLY)
