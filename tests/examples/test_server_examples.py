"""Counterparts of the examples of Pingora's core, and of what embeds the engines, on every runtime that they name."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading

import h2.config
import h2.connection
import h2.events
import pytest

from sansio_pingora import Limits, Response
from sansio_pingora.apps import OriginApp
from sansio_pingora.listeners import ServerAddress, Tls
from sansio_pingora.server import ExecutionPhase, ShutdownSignal
from sansio_pingora.services import Service
from tests.adapters.harness import until
from tests.apps.serving import PATIENCE, RUNTIMES, ask, connect, read_all, serving
from tests.examples.running import load_example, run_example
from tests.tls.certs import ca, cert
from tests.tls.files import Files

each_runtime = pytest.mark.parametrize("runtime", RUNTIMES)


@contextlib.contextmanager
def running(server):
    """The server, on ports of its own, until the end of the block."""
    for service in server.services.values():
        for at, address in enumerate(service.addresses if isinstance(service, Service) else ()):
            if isinstance(address, Tls):
                service.addresses[at] = Tls("127.0.0.1:0", cert=address.cert, key=address.key)
            else:
                service.addresses[at] = ServerAddress.tcp("127.0.0.1:0")
    phases, codes = [], []
    server.subscribe(phases.append)
    thread = threading.Thread(target=lambda: codes.append(server.run()))
    thread.start()
    try:
        until(lambda: ExecutionPhase.RUNNING in phases or codes)
        yield server
    finally:
        server.shutdown(ShutdownSignal.FAST_SHUTDOWN)
        thread.join(PATIENCE)
    assert codes == [0]


@each_runtime
def test_server(runtime, tmp_path, monkeypatch):
    names = load_example("server.py")
    made = names["make_server"](runtime, *Files(tmp_path).write("server", cert()))
    peer = names["HttpPeer"]
    with running(made) as server:
        with connect(server.addresses["tcp"][0]) as raw:
            raw.sendall(b"hello")
            raw.shutdown(socket.SHUT_WR)
            assert read_all(raw) == b"hello"
        plain, secure = server.addresses["web"]
        assert ask(plain, "POST", "/", b"hello") == (200, b"hello")
        context = ssl.create_default_context(cadata=ca().pem.decode())
        with connect(secure) as raw, context.wrap_socket(raw, server_hostname="localhost") as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert read_all(sock).startswith(b"HTTP/1.1 200 ")
        monkeypatch.setitem(names["Proxy"].upstream_peer.__globals__, "HttpPeer", lambda address: peer(plain))
        assert ask(server.addresses["proxy"][0], "POST", "/", b"through") == (200, b"through")
        assert b'requests_total{service="proxy"' in ask(server.addresses["prometheus"][0], "GET", "/metrics")[1]


@each_runtime
def test_gateway(runtime):
    names = load_example("gateway.py")
    with serving(OriginApp(), runtime) as family, serving(lambda request: Response(200, "others"), runtime) as others:
        names["Gateway"].family, names["Gateway"].others = family.addresses[0], others.addresses[0]
        with running(names["make_server"](runtime)) as server:
            (address,) = server.addresses["gateway"]
            assert ask(address, "GET", "/login")[0] == 403
            assert ask(address, "GET", "/login", headers={"Authorization": "password"}) == (200, b"others")
            assert ask(address, "GET", "/family/") != (200, b"others")
            assert b'status="4xx"' in ask(server.addresses["prometheus"][0], "GET", "/metrics")[1]


@each_runtime
def test_service_dependencies(runtime, capsys):
    with running(load_example("service_dependencies.py")["make_server"](runtime)) as server:
        assert ask(server.addresses["api"][0]) == (200, b"all there\n")
    assert "the api has waited 0." in capsys.readouterr().out


@each_runtime
def test_graceful_upgrade(runtime, tmp_path):
    """The whole of an upgrade has tests of its own; here are the first process and what the second would check."""
    names = load_example("graceful_upgrade.py")
    names["Warm"].seconds = 0.1
    names["make_server"](runtime, True, sock=str(tmp_path / "upgrade.sock")).bootstrap()
    with running(names["make_server"](runtime, False, sock=str(tmp_path / "upgrade.sock"))) as server:
        assert ask(server.addresses["web"][0], "GET", "/?0.01") == (200, b"slept well\n")


@each_runtime
def test_client_cert(monkeypatch, runtime, tmp_path):
    files = Files(tmp_path)
    mine = files.write("client", cert("me.test", by="clients", organization="Client Ltd"))
    argv = (*files.write("server", cert()), files.ca("clients"), runtime)
    app, options = run_example(monkeypatch, "client_cert.py", *argv)
    at = options["listen"]
    listen = Tls("127.0.0.1:0", cert=at.cert, key=at.key, client_ca=at.client_ca, completed=at.completed)
    context = ssl.create_default_context(cadata=ca().pem.decode())
    context.load_cert_chain(*mine)
    with (
        serving(app, runtime, listen=listen) as server,
        connect(server.addresses[0]) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as sock,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        told = read_all(sock)
    assert b"asked for localhost; " in told
    assert b"O Client Ltd; names me.test\n" in told


@each_runtime
@pytest.mark.parametrize("h2", [False, True])
def test_client(runtime, h2):
    fetch = load_example("client.py")["fetch"]
    with serving(OriginApp(), runtime, h2c=True) as server:
        host, _, port = server.addresses[0].rpartition(":")
        assert fetch(host, int(port), "/", h2=h2) == (200, b"Hello, world!")
        assert fetch(host, int(port), "/status/404", h2=h2)[0] == 404
        assert len(fetch(host, int(port), "/bytes/1000000", h2=h2)[1]) == 1_000_000


# ── an engine in a loop of one's own ─────────────────────────────────────────────────


def embedded(talk, limits=None):
    """What *talk*, a coroutine of a reader and a writer, makes of the example, and that the example ends then."""

    async def main():
        serve_client = load_example("embed_asyncio.py")["serve_client"]
        tasks = []

        async def serve(reader, writer):
            tasks.append(asyncio.current_task())
            await serve_client(reader, writer, limits)

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            async with asyncio.timeout(PATIENCE):
                answer = await talk(reader, writer)
                writer.close()
                await asyncio.gather(*tasks)
            return answer

    return asyncio.run(main())


def sending(*pieces):
    async def talk(reader, writer):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await reader.read()

    return talk


def test_embedded_in_asyncio():
    answers = embedded(
        sending(
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
            bytes(1_000_000),
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
    )
    assert answers.count(b"HTTP/1.1 204 No Content\r\n") == 3


def test_embedded_in_asyncio_over_http_2():
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    for stream_id in (1, 3):
        head = {":method": "GET", ":scheme": "http", ":authority": "a.test", ":path": "/"}
        client.send_headers(stream_id, head.items(), end_stream=True)

    async def talk(reader, writer):
        statuses = []
        while len(statuses) < 2:
            writer.write(client.data_to_send())
            for event in client.receive_data(await reader.read(65_536)):
                if isinstance(event, h2.events.ResponseReceived):
                    statuses.append(dict(event.headers)[b":status"])
        return statuses

    assert embedded(talk) == [b"204", b"204"]


def test_embedded_in_asyncio_a_client_that_is_too_slow():
    limits = Limits(head_timeout=0.1, linger_timeout=0.1)
    assert embedded(sending(b"GET / HTTP/1.1\r\nHost:"), limits).startswith(b"HTTP/1.1 408 ")
