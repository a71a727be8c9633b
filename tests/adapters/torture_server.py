"""A proxy in a process of its own, to be tortured: ``python -m tests.adapters.torture_server RUNTIME ORIGIN``.

Prints where it listens. One connection to the origin at a time: a lease that is lost is missed by the next request.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import Any

from sansio_pingora import HttpPeer, ProxyHttp, serve
from sansio_pingora.session import blocking
from sansio_pingora_posix import Control
from tests.adapters.harness import RUNTIMES

LIMITS: dict[str, Any] = {
    "max_per_peer": 1,
    "pool_wait_timeout": 4.0,
    "connection_timeout": 1.0,
    "total_connection_timeout": 1.0,
    "read_timeout": 1.0,
    "write_timeout": 1.0,
    "write_idle_timeout": 1.0,
    "body_idle_timeout": 1.0,
    "first_byte_timeout": 2.0,
    "head_timeout": 2.0,
    "keepalive_timeout": 2.0,
    "linger_timeout": 0.2,
    "idle_timeout": 60.0,
}


class Tortured(ProxyHttp):
    """Passes everything on, after a call in another thread or greenlet."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    @blocking
    def request_filter(self, session: Any, ctx: Any) -> None:
        pass

    def upstream_peer(self, session: Any, ctx: Any) -> HttpPeer:
        return HttpPeer(self.origin)


def main(runtime: str, origin: str) -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    control = Control()
    signal.signal(signal.SIGTERM, lambda *_: control.stop())

    def tell() -> None:
        control.ready.wait()
        sys.stdout.write(f"{control.addresses[0]}\n")
        sys.stdout.flush()

    def outlive_nobody() -> None:
        sys.stdin.read()
        os._exit(3)

    threading.Thread(target=tell).start()
    threading.Thread(target=outlive_nobody, daemon=True).start()
    options = {**RUNTIMES[runtime], **LIMITS}
    serve(Tortured(origin), listen="127.0.0.1:0", control=control, signals=False, grace_period=3.0, h2c=True, **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
