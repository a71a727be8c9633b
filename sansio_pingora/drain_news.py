"""Who on a lane hears that the server drains, and how long idle clients may stay then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

__all__ = ["DrainNews"]


class DrainNews:
    """The part of a lane that is about its end."""

    __slots__ = ("_listeners", "drain_patience")

    def __init__(self) -> None:
        self.drain_patience = 5.0
        """Seconds that a draining server leaves to idle clients: a request may be on its way."""
        self._listeners: list[Callable[[float], None]] | None = []  # None: they were told

    def on_drain(self, tell: Callable[[float], None], now: float) -> None:
        """Call *tell* with the time when the server drains, behind its acceptor; at once if it does already."""
        if self._listeners is None:
            tell(now)
        else:
            self._listeners.append(tell)

    def announce_drain(self, now: float) -> None:
        """The server drains. What one of those who asked for the news raises passes, once all were told."""
        listeners, self._listeners = self._listeners or [], None
        with ExitStack() as stack:
            for tell in reversed(listeners):
                stack.callback(tell, now)
