"""systemd's protocols: sd_notify(3), sd_listen_fds(3) and the watchdog, without its library."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping

from sansio_pingora_posix.addresses import socket_addr

__all__ = ["ServiceManager", "inherited_sockets"]

_LOG = logging.getLogger("sansio_pingora")
_FIRST_DESCRIPTOR = 3
_MAX_DESCRIPTORS = 1024
_PATIENCE = 1.0
"""Seconds for a manager whose queue is full to read, before it is left untold."""
_OF_SOCKETS = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_OF_NOTIFICATION = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


class ServiceManager:
    """Tells the service manager of *environ* how this process is; without one, nothing is told to nobody.

    Its variables are taken out of *environ*, so that children do not speak in this process's name. Nor do processes
    that are forked from the one that was first :meth:`ready`: what they say here is not passed on.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        given = {name: environ.pop(name, "") for name in _OF_NOTIFICATION}
        self._path = given["NOTIFY_SOCKET"]
        self._speaker: int | None = None
        usec, pid = given["WATCHDOG_USEC"], given["WATCHDOG_PID"]
        self._interval = int(usec) / 2_000_000 if usec.isdigit() and pid in ("", str(os.getpid())) else 0.0

    def ready(self) -> None:
        """It is up; after an upgrade this is the main process."""
        if self._speaker is None:
            self._speaker = os.getpid()
        self._tell(f"READY=1\nMAINPID={os.getpid()}")

    def reloading(self) -> None:
        """It reads its configuration again; :meth:`ready` follows."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """It ends."""
        self._tell("STOPPING=1")

    def watch(self, ask: Callable[[Callable[[float], object]], object]) -> None:
        """If the manager wants to hear from us, tell it twice in its interval, as long as *ask* has its call run.

        *ask* is :meth:`ServerRunner.post`, or passes it on: so a server's thread that hangs is found.
        """
        if self._interval <= 0.0:
            return

        def beat() -> None:
            while True:
                # The next one follows soon: none is waited for.
                ask(lambda _now: self._tell("WATCHDOG=1", waits=False))
                time.sleep(self._interval)

        threading.Thread(target=beat, name="sansio-pingora-watchdog", daemon=True).start()

    def _tell(self, text: str, *, waits: bool = True) -> None:
        if not self._path or self._speaker not in (None, os.getpid()):
            return
        # An @ is a name in Linux's abstract space.
        address = f"\0{self._path[1:]}" if self._path.startswith("@") else self._path
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_PATIENCE if waits else 0.0)
                sock.sendto(text.encode(), address)
        except OSError as exc:
            _LOG.warning("the service manager at %s is not told %s: %s", self._path, text.partition("\n")[0], exc)


def inherited_sockets(environ: MutableMapping[str, str]) -> Iterator[tuple[str, socket.socket]]:
    """The listening sockets that a service manager has opened for this process, by the text of their addresses.

    Their variables are taken out of *environ*: they hold for one process, once.
    """
    pid, count, _ = (environ.pop(name, "") for name in _OF_SOCKETS)
    if pid != str(os.getpid()) or not count.isdigit():
        return
    for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + min(int(count), _MAX_DESCRIPTORS)):
        sock = socket.socket(fileno=descriptor)
        os.set_inheritable(descriptor, False)
        if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            _LOG.warning("descriptor %d of the service manager is no listening stream socket: it is closed", descriptor)
            sock.close()
            continue
        yield str(socket_addr(sock.getsockname(), sock.family)), sock
