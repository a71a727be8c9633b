"""An ``async def`` callback puts a time-out of asyncio's own around an effect of ours."""

from __future__ import annotations

import asyncio

import pytest

from sansio_pingora.apps import HttpServerApp
from sansio_pingora.proxy import ProxyHttp
from sansio_pingora.session import Sleep
from sansio_pingora.wire import ResponseHeader
from tests.apps.serving import ask, serving


async def too_slow():
    try:
        async with asyncio.timeout(0.05):
            await Sleep(30)
    except TimeoutError:
        await asyncio.sleep(0)  # and asyncio goes on working for the callback
        await Sleep(0.01)  # as do effects
        return "timed out"
    return "slept"


class App(HttpServerApp):
    async def process_new_http(self, session):
        said = await too_slow()
        session.write_response_header(ResponseHeader(200))
        session.write_response_body(said.encode(), end=True)


class Proxy(ProxyHttp):
    async def request_filter(self, session, ctx):
        session.respond_error_with_body(403, (await too_slow()).encode())
        return True

    def upstream_peer(self, session, ctx):
        raise AssertionError("answered before")


@pytest.mark.parametrize(("app", "status"), [(App(), 200), (Proxy(), 403)], ids=["application", "proxy"])
def test_the_timeout_of_a_callback_reaches_it_amid_an_effect(app, status):
    with serving(app, "asyncio") as server:
        assert ask(server.addresses[0], "GET", "/") == (status, b"timed out")
        assert ask(server.addresses[0], "GET", "/") == (status, b"timed out")
