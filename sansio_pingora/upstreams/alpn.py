"""Which protocols a peer may be spoken to in, named as TLS offers them (RFC 7301)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

__all__ = ["ALPN"]


@dataclass(frozen=True, slots=True)
class ALPN:
    """The protocols that a peer may be spoken to in: ``H1``, ``H2``, ``H2H1``, or one of one's own."""

    protocols: tuple[str, ...]
    """The names that TLS offers, the preferred one first."""

    H1: ClassVar[ALPN]
    H2: ClassVar[ALPN]
    H2H1: ClassVar[ALPN]

    @classmethod
    def new(cls, maximum: int, minimum: int) -> ALPN:
        """The offer whose HTTP versions go from *minimum* to *maximum*, each 1 or 2.

        :raises ValueError: there is no such range of versions.
        """
        if not 1 <= minimum <= maximum <= 2:
            raise ValueError(
                f"HTTP versions from {minimum} to {maximum}: write 1 or 2, the minimum not above the maximum"
            )
        if maximum == 1:
            return cls.H1
        return cls.H2 if minimum == 2 else cls.H2H1

    @classmethod
    def custom(cls, name: str) -> Self:
        """A protocol of one's own, for a connector of one's own.

        :raises ValueError: *name* is not of 1 to 255 bytes, or is one of HTTP's.
        """
        if not 1 <= len(name.encode()) <= 255 or name in ("h2", "http/1.1"):
            raise ValueError(f"protocol {name[:80]!r}: 1 to 255 bytes, and none of HTTP's own")
        return cls((name,))

    @property
    def min_http_version(self) -> int:
        """The lowest version of HTTP offered; 0 for a protocol of one's own."""
        if "http/1.1" in self.protocols:
            return 1
        return 2 if "h2" in self.protocols else 0

    @property
    def max_http_version(self) -> int:
        """The highest version of HTTP offered; 0 for a protocol of one's own."""
        if "h2" in self.protocols:
            return 2
        return 1 if "http/1.1" in self.protocols else 0

    @property
    def is_custom(self) -> bool:
        """It is a protocol of one's own."""
        return self.max_http_version == 0


ALPN.H1 = ALPN(("http/1.1",))
ALPN.H2 = ALPN(("h2",))
ALPN.H2H1 = ALPN(("h2", "http/1.1"))
