"""The threads runtime: selector lanes that own the sockets, workers for what may block."""

from sansio_pingora_threads.serving import CAN_AWAIT, NAME, connect, run, serve

__all__ = ["CAN_AWAIT", "NAME", "connect", "run", "serve"]
