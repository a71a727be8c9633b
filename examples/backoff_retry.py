"""A proxy that tries again where its origin cannot be reached, and waits longer each time.

The options retry_backoff and max_retry_backoff of serve() wait without any code; this is for pauses of your own.

python examples/backoff_retry.py [asyncio|gevent|threads]
"""

import sys

from sansio_pingora import HttpPeer, ProxyHttp, Sleep, serve


class Patient(ProxyHttp):
    peer = "127.0.0.1:9000"
    most = 4

    def new_ctx(self):
        return {"failed": 0}

    def upstream_peer(self, session, ctx):
        if ctx["failed"]:
            yield Sleep(min(0.01 * 10 ** (ctx["failed"] - 1), 10))
        return HttpPeer(self.peer)

    def fail_to_connect(self, session, peer, ctx, error):
        ctx["failed"] += 1
        return error.with_retry(ctx["failed"] <= self.most)


if __name__ == "__main__":
    serve(Patient(), listen="127.0.0.1:6188", runtime=sys.argv[1] if sys.argv[1:] else "asyncio")
