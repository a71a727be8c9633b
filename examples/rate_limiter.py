"""One request per second for each application, known by its header; more is answered 429.

python examples/rate_limiter.py [asyncio|gevent|threads]
"""

import sys
from secrets import token_bytes

from sansio_pingora import HttpPeer, ProxyHttp, ResponseHeader, serve
from sansio_pingora.estimators import Rate


class Limited(ProxyHttp):
    most = 1
    peer = HttpPeer("127.0.0.1:9000")
    rate = Rate(1.0, token_bytes(16))

    def request_filter(self, session, ctx):
        app = session.get_header("appid")
        if app is None or self.rate.observe(app, 1, session.now) <= self.most:
            return False  # there is no reason to refuse it
        limit = str(self.most)
        head = ResponseHeader(429, [("X-Rate-Limit-Limit", limit), ("X-Rate-Limit-Remaining", "0")])
        head.insert("X-Rate-Limit-Reset", "1")
        session.write_error_response(head, b"too many requests\n")
        return True

    def upstream_peer(self, session, ctx):
        return self.peer


if __name__ == "__main__":
    serve(Limited(), listen="127.0.0.1:6188", runtime=sys.argv[1] if sys.argv[1:] else "asyncio")
