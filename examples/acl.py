"""A proxy that only some networks may use, by a module of its own.

python examples/acl.py [asyncio|gevent|threads]
"""

import sys
from functools import partial

from sansio_pingora import Error, HttpPeer, ProxyHttp, serve
from sansio_pingora.modules import HttpModule
from sansio_pingora.proxy_protocol import TrustedSources


class Acl(HttpModule):
    order = 100  # before other modules have any work

    def __init__(self, allowed):
        self.allowed = allowed

    def request_header_filter(self, session, request):
        if session.client_addr not in self.allowed:
            raise Error.http_status(403, f"{session.client_addr} may not use this").into_down()


class Guarded(ProxyHttp):
    peer = "127.0.0.1:9000"
    allowed = TrustedSources(["127.0.0.0/8", "::1", "unix"])

    def init_downstream_modules(self, modules):
        modules.add_module(partial(Acl, self.allowed))

    def upstream_peer(self, session, ctx):
        return HttpPeer(self.peer)


if __name__ == "__main__":
    serve(Guarded(), listen="127.0.0.1:8080", runtime=sys.argv[1] if sys.argv[1:] else "asyncio")
