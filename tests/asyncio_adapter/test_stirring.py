"""Machines that are called between two turns of the lane have one soon."""

from __future__ import annotations

import asyncio
import socket

from sansio_pingora import HttpServerApp, ResponseHeader
from tests.adapters.harness import served


class Waiting(HttpServerApp):
    """Writes, and awaits something of asyncio's own before the answer is complete."""

    def __init__(self):
        self.loop = None
        self.go = asyncio.Event()

    async def process_new_http(self, session):
        self.loop = asyncio.get_running_loop()
        session.write_response_header(ResponseHeader(200, [("Content-Length", "2")]))
        session.write_response_body(b"1")
        await self.go.wait()
        session.write_response_body(b"2")


def test_what_was_written_goes_out_while_the_callback_awaits(uv):
    app = Waiting()
    with served(app, "asyncio", uvloop=uv) as server, socket.create_connection(server.address, 20) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        data = b""
        while not data.endswith(b"\r\n\r\n1"):
            data += sock.recv(1000)
        app.loop.call_soon_threadsafe(app.go.set)
        assert sock.recv(10) == b"2"
