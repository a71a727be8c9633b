"""Two clusters behind one proxy, chosen by the path: one by turns, one by the client's address.

python examples/multi_lb.py [asyncio|gevent|threads]
"""

import sys

from sansio_pingora import ProxyHttp, serve
from sansio_pingora.balancing import Consistent, LoadBalancer, TcpHealthCheck


def cluster(addresses, selection=None):
    return LoadBalancer(addresses, selection, health_check=TcpHealthCheck(), health_check_frequency=1.0)


class Router(ProxyHttp):
    one = cluster(["127.0.0.1:9001", "127.0.0.1:9002"])
    two = cluster(["127.0.0.1:9003", "127.0.0.1:9004"], Consistent())

    def new_ctx(self):
        return set()

    def upstream_peer(self, session, ctx):
        if session.req_header.target.startswith(b"/one/"):
            return self.one.peer(tried=ctx)
        return self.two.peer(session.client_addr.host.encode(), tried=ctx)

    def fail_to_connect(self, session, peer, ctx, error):
        return error.with_retry(True)


if __name__ == "__main__":
    app, runtime = Router(), sys.argv[1] if sys.argv[1:] else "asyncio"
    serve(app, listen="127.0.0.1:6188", runtime=runtime, background=[app.one, app.two])
