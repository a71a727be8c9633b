"""State of one request and of all: some users get the new version of a service, and both are counted.

python examples/ctx.py [asyncio|gevent|threads]
"""

import sys
from collections import Counter

from sansio_pingora import HttpPeer, ProxyHttp, serve


class Beta(ProxyHttp):
    stable, beta = "127.0.0.1:9001", "127.0.0.1:9002"

    def __init__(self):
        self.served = Counter()  # of all requests

    def new_ctx(self):
        return {"version": "stable"}  # of one

    def request_filter(self, session, ctx):
        if session.get_header("x-beta") == b"1":
            ctx["version"] = "beta"

    def upstream_peer(self, session, ctx):
        return HttpPeer(getattr(self, ctx["version"]))

    def response_filter(self, session, response, ctx):
        response.insert("X-Version", ctx["version"])

    def logging(self, session, error, ctx):
        self.served[ctx and ctx["version"]] += 1


if __name__ == "__main__":
    serve(Beta(), listen="127.0.0.1:6188", runtime=sys.argv[1] if sys.argv[1:] else "asyncio")
