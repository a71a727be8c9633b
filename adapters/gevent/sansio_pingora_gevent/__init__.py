"""The gevent runtime: gevent's hub drives the lane; greenlets run what may wait."""

from sansio_pingora_gevent.serving import CAN_AWAIT, NAME, connect, run, serve

__all__ = ["CAN_AWAIT", "NAME", "connect", "run", "serve"]
