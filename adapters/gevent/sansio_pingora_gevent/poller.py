"""Readiness by the watchers of gevent's event loop."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from sansio_pingora_posix import Watched

__all__ = ["HubPoller"]

_READ = 1
_WRITE = 2

Dispatch = Callable[[Callable[[float], None], Watched], None]


class HubPoller:
    """One watcher for each direction of a socket, made when it is first wanted.

    *dispatch* is called in the hub with the method to call and what it belongs to.
    """

    def __init__(self, loop: Any, dispatch: Dispatch) -> None:
        self._loop = loop
        self._dispatch = dispatch
        self._watchers: dict[int, list[Any]] = {}

    def watch(self, sock: socket.socket, read: bool, write: bool, watched: Watched) -> None:
        """See :class:`~sansio_pingora_posix.Poller`."""
        descriptor = sock.fileno()
        pair = self._watchers.get(descriptor)
        if pair is None:
            pair = self._watchers[descriptor] = [None, None]
        if read:
            if pair[0] is None:
                pair[0] = self._loop.io(descriptor, _READ)
            if not pair[0].active:
                pair[0].start(self._dispatch, watched.on_readable, watched)
        elif pair[0] is not None:
            pair[0].stop()
        if write:
            if pair[1] is None:
                pair[1] = self._loop.io(descriptor, _WRITE)
            if not pair[1].active:
                pair[1].start(self._dispatch, watched.on_writable, watched)
        elif pair[1] is not None:
            pair[1].stop()

    def forget(self, sock: socket.socket) -> None:
        """See :class:`~sansio_pingora_posix.Poller`."""
        for watcher in self._watchers.pop(sock.fileno(), ()):
            if watcher is not None:
                watcher.stop()
                watcher.close()
