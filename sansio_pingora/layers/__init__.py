"""What stands between a transport and an HTTP connection."""

from sansio_pingora.layers.sniff import PrefaceSniff

__all__ = ["PrefaceSniff"]
