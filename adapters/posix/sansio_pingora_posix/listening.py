"""The listening sockets of one server, over all its lanes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from sansio_pingora.listeners import ConnectionFilter, ServerAddress
from sansio_pingora_posix.binding import bind
from sansio_pingora_posix.control import Control
from sansio_pingora_posix.listener import Listener

__all__ = ["ListeningSet"]


class ListeningSet:
    """Listeners that close together: when the last of *lanes* has let go of them."""

    def __init__(self, listeners: list[Listener], *, lanes: int = 1) -> None:
        self.listeners = listeners
        self._lanes = lanes
        self._lock = threading.Lock()

    @classmethod
    def bind(
        cls,
        addresses: Sequence[ServerAddress],
        control: Control,
        *,
        connection_filter: ConnectionFilter | None = None,
        lanes: int = 1,
        sleep: Callable[[float], object] = time.sleep,
    ) -> ListeningSet:
        """Bind every address, then tell *control* where that is.

        :raises Error: one cannot be bound; nothing is left open.
        """
        listening = cls([], lanes=lanes)
        try:
            for address in addresses:
                listening.listeners.append(Listener(bind(address, sleep=sleep), address, connection_filter))
        except BaseException:
            listening.close()
            raise
        control.addresses = [str(listener) for listener in listening.listeners]
        control.ready.set()
        return listening

    def let_go(self) -> None:
        """One lane accepts no more. May be called from any thread, once for each lane."""
        with self._lock:
            self._lanes -= 1
            last = self._lanes == 0
        if last:
            self.close()

    def close(self) -> None:
        """Listen no more; repeated calls are harmless."""
        for listener in self.listeners:
            listener.close()
