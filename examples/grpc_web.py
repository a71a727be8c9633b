"""Browsers speak gRPC-Web, the origin gRPC: a module translates.

python examples/grpc_web.py [asyncio|gevent|threads]
"""

import sys

from sansio_pingora import ALPN, HttpPeer, PeerOptions, ProxyHttp, serve
from sansio_pingora.modules import GrpcWebBridge


class Grpc(ProxyHttp):
    origin = "127.0.0.1:50051"
    options = PeerOptions(alpn=ALPN.H2, max_h2_streams=100)

    def init_downstream_modules(self, modules):
        modules.add_module(GrpcWebBridge)

    def upstream_peer(self, session, ctx):
        return HttpPeer(self.origin, options=self.options)


if __name__ == "__main__":
    serve(Grpc(), listen="127.0.0.1:6194", runtime=sys.argv[1] if sys.argv[1:] else "asyncio", h2c=True)
