"""Which HTTP versions a peer may be spoken to in, named as TLS offers them (RFC 7301)."""

from __future__ import annotations

from enum import Enum

__all__ = ["ALPN"]


class ALPN(Enum):
    """The versions that a peer may be spoken to in."""

    H1 = "http/1.1"
    H2 = "h2"
    H2H1 = "h2, http/1.1"

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

    @property
    def protocols(self) -> tuple[str, ...]:
        """The names that TLS offers, the preferred one first."""
        return tuple(self.value.split(", "))

    @property
    def min_http_version(self) -> int:
        """The lowest version offered."""
        return 2 if self is ALPN.H2 else 1

    @property
    def max_http_version(self) -> int:
        """The highest version offered."""
        return 1 if self is ALPN.H1 else 2
