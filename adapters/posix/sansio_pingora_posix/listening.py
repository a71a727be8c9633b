"""The listening sockets of one server, over all its lanes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from sansio_pingora.listeners import Admission, ConnectionGate, ServerAddress
from sansio_pingora.machine import Lane
from sansio_pingora_posix.control import Control
from sansio_pingora_posix.listener import Listener

__all__ = ["ListeningSet"]

_ACCEPTS = 64
_SHARED_ACCEPTS = 4
"""Accepted at a wake-up when lanes or processes share a socket, so that a burst is spread over them."""


class ListeningSet:
    """Listeners that close together: when the last of *lanes* has let go of them."""

    def __init__(self, listeners: list[Listener], *, lanes: int = 1) -> None:
        self.listeners = listeners
        self._admission: Admission | None = None
        self._patience = 0.0
        self._lanes = lanes
        self._lock = threading.Lock()

    @classmethod
    def bind(
        cls,
        addresses: Sequence[ServerAddress],
        control: Control,
        *,
        admission: Admission | None = None,
        patience: float = 5.0,
        lanes: int = 1,
        sleep: Callable[[float], object] = time.sleep,
    ) -> ListeningSet:
        """Bind every address, then tell *control* where that is.

        *admission*: by the connection filter, which has *patience* seconds where it waits.

        :raises Error: one cannot be bound; nothing is left open.
        """
        listening = cls([], lanes=lanes)
        listening._admission = admission
        listening._patience = patience
        admits = None if admission is None else admission.at_once
        limit = _SHARED_ACCEPTS if control.place is not None or lanes > 1 else _ACCEPTS
        try:
            for address in addresses:
                listening.listeners.append(Listener(control.bind(address, sleep), address, admits, limit))
        except BaseException:
            listening.close()
            raise
        control.addresses = [str(listener) for listener in listening.listeners]
        control.ready.set()
        control.await_admission()
        return listening

    def gate(self, lane: Lane) -> ConnectionGate | None:
        """Where those whom *lane* has accepted wait for the connection filter, if it is one that waits."""
        return None if self._admission is None else self._admission.gate(lane, self._patience)

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
