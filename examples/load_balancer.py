"""A load balancer: TCP checks every second, requests in turn, and the next backend where one cannot be reached.

python examples/load_balancer.py [asyncio|gevent|threads]
"""

import sys

from sansio_pingora import ProxyHttp, serve
from sansio_pingora.balancing import LoadBalancer, TcpHealthCheck

upstreams = LoadBalancer.try_from_iter(["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"])
upstreams.health_check = TcpHealthCheck()
upstreams.health_check_frequency = 1.0


class Balanced(ProxyHttp):
    upstreams = upstreams

    def new_ctx(self):
        return set()  # the backends that were tried

    def upstream_peer(self, session, ctx):
        return self.upstreams.peer(tried=ctx)

    def fail_to_connect(self, session, peer, ctx, error):
        return error.with_retry(True)


if __name__ == "__main__":
    runtime = sys.argv[1] if sys.argv[1:] else "asyncio"
    serve(Balanced(), listen="127.0.0.1:6188", runtime=runtime, background=upstreams)
