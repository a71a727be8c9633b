"""An event loop that cannot make a transport: the connection is lost, and nothing else."""

from __future__ import annotations

import asyncio
import socket

import pytest

from sansio_pingora.errors import ErrorType
from sansio_pingora.machine import Dial
from sansio_pingora.transport import SocketAddr
from tests.asyncio_adapter.machines import App, Client, Echo, Steps, served


@pytest.fixture
def failing_once(monkeypatch):
    """The next transport of any loop of asyncio's own cannot be made."""
    real = asyncio.BaseEventLoop.connect_accepted_socket
    failed = []

    async def fail(loop, factory, sock, **options):
        if not failed:
            failed.append(sock)
            raise OSError(28, "no space for it")
        return await real(loop, factory, sock, **options)

    monkeypatch.setattr(asyncio.BaseEventLoop, "connect_accepted_socket", fail)
    return failed


def test_an_accepted_connection_is_closed(failing_once, caplog):
    app = App(Echo, max_connections=1)
    with served(app, uvloop=False) as server:
        with server.connect() as sock:
            assert sock.recv(1) == b""
        with server.connect() as sock:  # the place that the first one held is free again
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
    assert len(failing_once) == 1
    assert "a new connection was lost before it could be served: [Errno 28] no space for it" in caplog.text


def test_a_dial_fails(failing_once):
    """The origin is a bare listener: an accepting loop would race the dialling one for the failure."""
    with socket.create_server(("127.0.0.1", 0)) as origin:
        address = SocketAddr(*origin.getsockname())
        wire = Client()
        steps = Steps(lambda steps: (yield Dial(1, address, steps.endpoint(wire))))
        steps.run(uvloop=False)
    [(_, error)] = steps.answers
    assert error.etype is ErrorType.CONNECT_ERROR
    assert wire.seen == []
    assert len(failing_once) == 1
