"""A bare aiohttp server that says hello."""

import sys

import uvloop
from aiohttp import web


async def hello(_: web.Request) -> web.Response:
    return web.Response(body=b"Hello, world!", content_type="text/plain")


uvloop.install()
app = web.Application()
app.router.add_get("/", hello)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
