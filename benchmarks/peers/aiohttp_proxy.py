"""The reverse proxy that people write by hand on aiohttp: streaming both ways, pooled, hop-by-hop fields removed."""

import sys

import uvloop
from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web

HOP_BY_HOP = {"connection", "keep-alive", "te", "trailers", "transfer-encoding", "upgrade", "proxy-connection"}
ORIGIN = f"http://127.0.0.1:{sys.argv[2]}"


def end_to_end(fields):
    return {name: value for name, value in fields.items() if name.lower() not in HOP_BY_HOP}


async def forward(request: web.Request) -> web.StreamResponse:
    session = request.app["session"]
    body = request.content if request.body_exists else None
    url = ORIGIN + request.path_qs
    async with session.request(
        request.method, url, headers=end_to_end(request.headers), data=body, allow_redirects=False
    ) as answer:
        response = web.StreamResponse(status=answer.status, headers=end_to_end(answer.headers))
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


async def client(app: web.Application):
    connector = TCPConnector(limit=0)
    app["session"] = ClientSession(connector=connector, auto_decompress=False, cookie_jar=DummyCookieJar())
    yield
    await app["session"].close()


uvloop.install()
app = web.Application()
app.cleanup_ctx.append(client)
app.router.add_route("*", "/{path:.*}", forward)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
