"""A listening socket whose accepts follow the policy, with every descriptor in use as well."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable

from sansio_pingora.listeners import AcceptPolicy, ServerAddress
from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora_posix.addresses import socket_addr
from sansio_pingora_posix.binding import close_listener
from sansio_pingora_posix.faults import errno_name
from sansio_pingora_posix.logs import write_log
from sansio_pingora_posix.socket_options import prepare_accepted
from sansio_pingora_posix.socket_probe import SocketProbe
from sansio_pingora_posix.tally import SharedPolicy
from sansio_pingora_posix.timed_socket import TimedProbe

__all__ = ["Listener"]

_LOG = logging.getLogger("sansio_pingora")


class Listener:
    """A bound socket of *address*.

    It keeps a spare descriptor: when no other is left, that one is let go for a moment, so that a
    waiting client is closed at once instead of hanging in the backlog. *admits* is asked about each client
    before anything is spent on it, and must not block. *limit*: so many are accepted at a wake-up.
    """

    __slots__ = ("_admits", "_limit", "_options", "_probe", "_spare", "_turning_away", "address", "sock")

    def __init__(
        self,
        sock: socket.socket,
        address: ServerAddress,
        admits: Callable[[SocketAddr | None], bool] | None = None,
        limit: int = 64,
    ) -> None:
        self.sock = sock
        self.address = address
        self._options = address.options
        self._probe = TimedProbe if address.options.timestamps else SocketProbe
        self._admits = admits
        self._limit = limit
        self._spare: int | None = _spare_descriptor()
        self._turning_away = threading.Lock()  # lanes share a listener

    def __str__(self) -> str:
        """The address that it is bound to, with the real port."""
        return str(socket_addr(self.sock.getsockname(), self.sock.family) or self.address)

    def accept(self, policy: AcceptPolicy, now: float) -> list[tuple[socket.socket, TransportInfo]]:
        """Accept what waits, up to the limit and as the policy allows: non-blocking sockets, their options applied.

        Every one returned is counted: report its end with ``policy.closed``. Afterwards look at
        ``policy.accepting``, and do not watch the socket while that is false.
        """
        accepted: list[tuple[socket.socket, TransportInfo]] = []
        if isinstance(policy, SharedPolicy):
            policy.look_around(now)
        for _ in range(self._limit):
            if not policy.accepting:
                break
            try:
                sock, peer_value = self.sock.accept()
            except BlockingIOError:
                break
            except OSError as exc:
                name = errno_name(exc)
                if name in ("EMFILE", "ENFILE"):
                    self._turn_away()
                self._report(policy, name, now)
                continue
            peer = socket_addr(peer_value, sock.family)
            if self._admits is not None and not _admitted(self._admits, peer):
                sock.close()
                continue
            try:
                sock.setblocking(False)
                prepare_accepted(sock, self._options)
                info = TransportInfo(
                    peer, socket_addr(sock.getsockname(), sock.family), now, self.address.layers, self._probe(sock)
                )
            except OSError:
                # The client reset it meanwhile; some systems then refuse any option with EINVAL.
                sock.close()
                self._report(policy, "ECONNABORTED", now)
                continue
            policy.accepted(now)
            accepted.append((sock, info))
        return accepted

    def close(self) -> None:
        """Listen no more; repeated calls are harmless."""
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        if self.sock.fileno() != -1:
            close_listener(self.sock, self.address)

    def _turn_away(self) -> None:
        """Close one waiting client with the help of the spare descriptor, and take the spare back."""
        with self._turning_away:
            if self._spare is not None:
                os.close(self._spare)
                with contextlib.suppress(OSError):  # nobody waits any more, or another thread was faster
                    self.sock.accept()[0].close()
            self._spare = _spare_descriptor()

    def _report(self, policy: AcceptPolicy, name: str, now: float) -> None:
        line = policy.failed(name, now)
        if line is not None:
            write_log(line)


def _admitted(admits: Callable[[SocketAddr | None], bool], peer: SocketAddr | None) -> bool:
    try:
        admitted = admits(peer)
    except Exception:  # whatever a user's filter does, the others are still to be let in
        _LOG.exception("the connection filter failed over %s, which is refused", peer)
        return False
    if not admitted:
        _LOG.debug("the connection filter refused %s", peer)
    return admitted


def _spare_descriptor() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
