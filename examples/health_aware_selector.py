"""Each path has its backend, by consistent hashing; where that is down, the next on the ring, within 16 steps.

python examples/health_aware_selector.py [asyncio|gevent|threads]
"""

import sys

from sansio_pingora import ProxyHttp, serve
from sansio_pingora.balancing import Consistent, HttpHealthCheck, LoadBalancer

upstreams = LoadBalancer(
    ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003", "127.0.0.1:9004"],
    Consistent(),
    health_check=HttpHealthCheck(host="app.internal", path="/"),
    health_check_frequency=1.0,
)


class Sticky(ProxyHttp):
    upstreams = upstreams

    def upstream_peer(self, session, ctx):
        return self.upstreams.peer(session.req_header.target, max_iterations=16)


if __name__ == "__main__":
    runtime = sys.argv[1] if sys.argv[1:] else "asyncio"
    serve(Sticky(), listen="127.0.0.1:6188", runtime=runtime, background=upstreams)
