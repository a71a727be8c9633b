"""Each client its share, by a module: so many requests a second, and so many at once; more is answered 429.

python examples/fair_share.py [asyncio|gevent|threads]
"""

import sys
from secrets import token_bytes

from sansio_pingora import HttpPeer, ProxyHttp, ResponseHeader, serve
from sansio_pingora.estimators import Inflight, Rate
from sansio_pingora.modules import HttpModule


class FairShare(HttpModule):
    rate, at_once = Rate(1.0, token_bytes(16)), Inflight(token_bytes(16))  # secrets: see there
    most_a_second, most_at_once = 100, 10

    def request_header_filter(self, session, request):
        client = str(session.client_addr and session.client_addr.host).encode()
        self.guard, under_way = self.at_once.incr(client)
        too_much = under_way > self.most_at_once or self.rate.observe(client, 1, session.now) > self.most_a_second
        return too_much and session.write_error_response(ResponseHeader(429, [("Retry-After", "1")]), b"not so fast\n")

    def done(self, session):
        self.guard.release()


class Shared(ProxyHttp):
    peer = "127.0.0.1:9000"

    def init_downstream_modules(self, modules):
        modules.add_module(FairShare)

    def upstream_peer(self, session, ctx):
        return HttpPeer(self.peer)


if __name__ == "__main__":
    serve(Shared(), listen="127.0.0.1:8080", runtime=sys.argv[1] if sys.argv[1:] else "asyncio")
