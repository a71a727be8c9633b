"""A server that closes connections from elsewhere before it has spent anything on them.

python examples/connection_filter.py [asyncio|gevent|threads]
"""

import sys

from sansio_pingora import Response, serve
from sansio_pingora.proxy_protocol import TrustedSources


class Networks:
    def __init__(self, *networks):
        self.allowed = TrustedSources(networks)

    def should_accept(self, peer):
        return peer in self.allowed


if __name__ == "__main__":
    runtime = sys.argv[1] if sys.argv[1:] else "asyncio"
    serve(
        lambda request: Response(200, body=b"hello, neighbour\n"),
        listen="[::]:8080",
        runtime=runtime,
        connection_filter=Networks("127.0.0.0/8", "10.0.0.0/8", "::1"),
    )
