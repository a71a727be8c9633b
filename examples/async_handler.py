"""A handler that waits for several things at once, with asyncio's own tools.

python examples/async_handler.py
"""

import asyncio

from sansio_pingora import Request, Response, serve


async def look_up(name: str) -> str:
    await asyncio.sleep(0.01)  # a database, another service, …
    return name.upper()


async def handler(request: Request) -> Response:
    names = request.query.split(",")
    async with asyncio.timeout(5):
        found = await asyncio.gather(*map(look_up, names))
    return Response(200, " ".join(found) + "\n")


if __name__ == "__main__":
    serve(handler, listen="127.0.0.1:8080", runtime="asyncio")
