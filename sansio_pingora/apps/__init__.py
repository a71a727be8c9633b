"""Applications: what is served over a connection."""

from sansio_pingora.apps.acceptor import HttpAcceptor, HttpOptions, LaneHandler

__all__ = ["HttpAcceptor", "HttpOptions", "LaneHandler"]
