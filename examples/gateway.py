"""A gateway: who may log in, which origin answers which path, and metrics at http://127.0.0.1:6192/metrics.

python examples/gateway.py [asyncio|gevent|threads]
"""

import sys

from sansio_pingora import Error, HttpPeer, ProxyHttp
from sansio_pingora.apps import Metrics, PrometheusApp
from sansio_pingora.server import Server, ServerConf
from sansio_pingora.services import Service


class Gateway(ProxyHttp):
    family, others = "127.0.0.1:9001", "127.0.0.1:9002"

    def request_filter(self, session, ctx):
        if session.req_header.target.startswith(b"/login") and session.get_header("authorization") != b"password":
            raise Error.http_status(403)

    def upstream_peer(self, session, ctx):
        return HttpPeer(self.family if session.req_header.target.startswith(b"/family/") else self.others)

    def response_filter(self, session, response, ctx):
        response.insert("Server", "gateway")
        response.remove("Alt-Svc")


def make_server(runtime, proxy="127.0.0.1:6191", prometheus="127.0.0.1:6192"):
    server, metrics = Server(conf=ServerConf(runtime=runtime)), Metrics()
    server.add_service(gateway := Service("gateway", Gateway(), metrics=metrics.service("gateway")))
    server.add_service(figures := Service("prometheus", PrometheusApp(metrics)))
    gateway.add_tcp(proxy)
    figures.add_tcp(prometheus)
    return server


if __name__ == "__main__":
    sys.exit(make_server(sys.argv[1] if sys.argv[1:] else "asyncio").run_forever())
