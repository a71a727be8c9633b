"""One process with services of every kind: python examples/server.py CERT.pem KEY.pem [asyncio|gevent|threads]"""

import sys

from sansio_pingora import HttpPeer, ProxyHttp, Response
from sansio_pingora.apps import EchoApp, Metrics, PrometheusApp
from sansio_pingora.server import Server, ServerConf
from sansio_pingora.services import BackgroundService, Service


class Ticks(BackgroundService):
    def start(self, shutdown):
        while not shutdown.wait(1.0):
            print("tick")


class Proxy(ProxyHttp):
    def upstream_peer(self, session, ctx):
        return HttpPeer("127.0.0.1:6145")


def make_server(runtime, cert, key):
    def add(port, *what, **options):
        server.add_service(service := Service(*what, **options))
        service.add_tcp(f"127.0.0.1:{port}")
        return service

    server, metrics = Server(conf=ServerConf(runtime=runtime)), Metrics()
    add(6142, "tcp", EchoApp())
    web = add(6145, "web", lambda request: Response(200, body=request.body), metrics=metrics.service("web"))
    web.add_tls("127.0.0.1:6148", cert, key)
    add(6141, "proxy", Proxy(), metrics=metrics.service("proxy"))
    add(6150, "prometheus", PrometheusApp(metrics))
    server.add_service(Ticks("ticks"))
    return server


if __name__ == "__main__":
    sys.exit(make_server((sys.argv[3:] or ["asyncio"])[0], sys.argv[1], sys.argv[2]).run_forever())
