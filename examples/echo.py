"""An echo server: the runtime is one word.

python examples/echo.py [asyncio|gevent|threads]
"""

import sys

from sansio_pingora import Request, Response, serve


def echo(request: Request) -> Response:
    return Response(200, body=request.body)


if __name__ == "__main__":
    serve(echo, listen="127.0.0.1:8080", runtime=sys.argv[1] if sys.argv[1:] else "asyncio")
