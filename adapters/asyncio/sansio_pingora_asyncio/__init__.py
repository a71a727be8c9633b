"""The asyncio runtime: machines driven by an event loop, uvloop's where it is installed."""

from sansio_pingora_asyncio.lane import AsyncioLane
from sansio_pingora_asyncio.serving import CAN_AWAIT, NAME, connect, run, run_async, serve, serve_async

__all__ = ["CAN_AWAIT", "NAME", "AsyncioLane", "connect", "run", "run_async", "serve", "serve_async"]
