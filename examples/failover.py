"""A proxy that tries a second origin where the first cannot be reached, and rewrites the host.

python examples/failover.py [asyncio|gevent|threads]
"""

import sys

from sansio_pingora import HttpPeer, ProxyHttp, serve


class Failover(ProxyHttp):
    peers = ("127.0.0.1:9001", "127.0.0.1:9002")

    def new_ctx(self):
        return {"tries": 0}

    def upstream_peer(self, session, ctx):
        return HttpPeer(self.peers[ctx["tries"]])

    def fail_to_connect(self, session, peer, ctx, error):
        ctx["tries"] += 1
        return error.with_retry(ctx["tries"] < len(self.peers))

    def upstream_request_filter(self, session, request, ctx):
        request.insert("host", "app.internal")


if __name__ == "__main__":
    serve(Failover(), listen="127.0.0.1:8080", runtime=sys.argv[1] if sys.argv[1:] else "asyncio")
