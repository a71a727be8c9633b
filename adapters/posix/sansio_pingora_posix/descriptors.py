"""The listening sockets of a whole server, by the text of their addresses: to be bound, inherited and handed over."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable

from sansio_pingora.listeners import ServerAddress
from sansio_pingora_posix.binding import bind
from sansio_pingora_posix.identity import ITSELF, Identity

__all__ = ["DescriptorTable"]


class DescriptorTable:
    """May be used from any thread. The files of Unix sockets that it binds belong to *identity*."""

    def __init__(self, identity: Identity = ITSELF) -> None:
        self._identity = identity
        self._inherited: dict[str, list[socket.socket]] = {}
        self._used: list[tuple[str, socket.socket]] = []
        self._lock = threading.Lock()

    def inherit(self, name: str, sock: socket.socket) -> None:
        """Have *sock* taken by the next service that listens on the address *name*."""
        with self._lock:
            self._inherited.setdefault(name, []).append(sock)

    def take(self, address: ServerAddress, sleep: Callable[[float], object] = time.sleep) -> socket.socket:
        """The socket for *address*: an inherited one, or one that is bound now. It is the caller's to close.

        :raises Error: it cannot be bound.
        """
        name = str(address)
        with self._lock:
            waiting = self._inherited.get(name)
            sock = waiting.pop(0) if waiting else None
        if sock is None:
            sock = bind(address, sleep=sleep, identity=self._identity)
        else:
            sock.setblocking(False)
            if address.addr.path is not None:
                with contextlib.suppress(OSError):  # the file is somebody else's; the socket works all the same
                    os.chmod(address.addr.path, 0o666 if address.permissions is None else address.permissions)
            sock.listen(address.options.backlog)  # the old process may have had another backlog
        with self._lock:
            self._used = [(one, used) for one, used in self._used if used.fileno() != -1 and used is not sock]
            self._used.append((name, sock))
        return sock

    def prepare(self, address: ServerAddress) -> None:
        """Have the socket for *address* now: the service that listens there takes it later.

        :raises Error: it cannot be bound.
        """
        self.inherit(str(address), self.take(address))

    def in_use(self) -> list[tuple[str, socket.socket]]:
        """The sockets that services listen on, for a hand-over."""
        with self._lock:
            return [(name, sock) for name, sock in self._used if sock.fileno() != -1]

    def close_unclaimed(self) -> list[str]:
        """Close what was inherited and nobody has taken: its backlog would wait for ever. Returns the names."""
        with self._lock:
            left, self._inherited = self._inherited, {}
        for socks in left.values():
            for sock in socks:
                sock.close()
        return [name for name, socks in left.items() if socks]
