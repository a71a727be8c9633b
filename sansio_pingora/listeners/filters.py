"""Who may connect."""

from __future__ import annotations

from typing import Protocol

from sansio_pingora.transport import SocketAddr

__all__ = ["AcceptAll", "ConnectionFilter"]


class ConnectionFilter(Protocol):
    """Decides over each accepted transport before anything is spent on it."""

    def should_accept(self, peer: SocketAddr | None) -> bool:
        """False closes the transport without a word. Called in the accept loop: it must not block.

        *peer* is None for a Unix client.
        """


class AcceptAll:
    """Let everybody in."""

    __slots__ = ()

    def should_accept(self, peer: SocketAddr | None) -> bool:
        """Always true."""
        return True
