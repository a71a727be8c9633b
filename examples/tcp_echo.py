"""TCP without HTTP: sends back what it gets, and finishes when the client does.

python examples/tcp_echo.py [asyncio|gevent|threads]
"""

import sys

from sansio_pingora import ServerApp, serve
from sansio_pingora.session import Drain, ReadBody


class Echo(ServerApp):
    def process_new(self, stream):
        while (data := (yield ReadBody())) is not None:
            if stream.write(data) <= 0:
                yield Drain()


if __name__ == "__main__":
    serve(Echo(), listen="127.0.0.1:8080", runtime=sys.argv[1] if sys.argv[1:] else "asyncio")
