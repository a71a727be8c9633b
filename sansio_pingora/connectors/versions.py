"""Which HTTP version origins have agreed on, remembered for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

__all__ = ["VersionMemory"]


class VersionMemory:
    """What was learnt under each reuse key, for *lifetime* seconds, of *size* keys at most; the oldest goes first.

    It spares those who wait for a connection the wait for one that cannot be shared, and keeps an origin that took
    HTTP/2 back from being offered it again at once. Pingora's grows without bound and never asks again.
    """

    __slots__ = ("_known", "_lifetime", "_size")

    def __init__(self, size: int, lifetime: float) -> None:
        self._size = size
        self._lifetime = lifetime
        # Each is put behind the others when it is learnt, so that the first is the oldest.
        self._known: OrderedDict[Hashable, tuple[bytes, bool, float]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._known)

    def learn(self, key: Hashable, version: bytes, now: float) -> None:
        """An origin agreed on *version*. One that is demoted stays so."""
        if not self.is_demoted(key, now):
            self._remember(key, version, demoted=False, now=now)

    def demote(self, key: Hashable, now: float) -> None:
        """Offer HTTP/1 alone from here on."""
        self._remember(key, b"1.1", demoted=True, now=now)

    def recall(self, key: Hashable, now: float) -> bytes | None:
        """What the origin agreed on when it was asked last; None: it was not, or long ago."""
        known = self._known.get(key)
        return None if known is None or known[2] <= now else known[0]

    def is_demoted(self, key: Hashable, now: float) -> bool:
        """HTTP/1 alone is to be offered."""
        known = self._known.get(key)
        return known is not None and known[1] and known[2] > now

    def _remember(self, key: Hashable, version: bytes, *, demoted: bool, now: float) -> None:
        self._known.pop(key, None)
        self._known[key] = version, demoted, now + self._lifetime
        while len(self._known) > self._size:
            self._known.popitem(last=False)
