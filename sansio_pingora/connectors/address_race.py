"""Which of a host's addresses to connect to, and when: Happy Eyeballs (RFC 8305)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from itertools import chain, zip_longest

from sansio_pingora.errors import Error
from sansio_pingora.machine import AT_ONCE
from sansio_pingora.transport import SocketAddr

__all__ = ["AddressRace", "interleaved"]

_DELAY = 0.25
"""Seconds that an attempt has alone before the next begins beside it (section 8: Connection Attempt Delay)."""
_MOST = 16
"""Addresses that are tried: whoever answers for a name must not choose how long we try."""


def interleaved(addresses: Iterable[SocketAddr]) -> list[SocketAddr]:
    """*addresses* with the families in turns, each in the resolver's order, that of the first first (section 4)."""
    families: dict[bool, list[SocketAddr]] = {}
    for address in dict.fromkeys(addresses):
        families.setdefault(":" in address.host, []).append(address)
    return [address for address in chain.from_iterable(zip_longest(*families.values())) if address is not None]


class AddressRace:
    """Tries *addresses* one beside the other: the first that connects has won.

    Take addresses to try from :meth:`start` until it gives none, again at :attr:`deadline` and after each
    :meth:`failed`. Nothing is done for who has won: the caller gives the others up.
    """

    __slots__ = ("_left", "_running", "_tried", "deadline", "error")

    def __init__(self, addresses: Iterable[SocketAddr]) -> None:
        self._left = deque(interleaved(addresses)[:_MOST])
        self._running = 0
        self._tried = 0
        self.deadline = AT_ONCE if self._left else math.inf
        """When to begin the next attempt; ``math.inf`` when none is left."""
        self.error: Error | None = None
        """Why the last attempt failed."""

    def start(self, now: float) -> SocketAddr | None:
        """The address to try now, beside those that are being tried."""
        if now < self.deadline or not self._left:
            return None
        address = self._left.popleft()
        self._running += 1
        self._tried += 1
        self.deadline = now + _DELAY if self._left else math.inf
        return address

    def failed(self, error: Error, now: float) -> None:
        """One of the attempts failed: the next begins at once."""
        self._running -= 1
        self.error = error
        if self._left:
            self.deadline = now

    @property
    def lost(self) -> bool:
        """No address is left, and none is being tried."""
        return not self._left and not self._running

    @property
    def tried(self) -> int:
        """How many attempts were begun."""
        return self._tried
