"""An event loop that cannot make a transport: the connection is lost, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from sansio_pingora.errors import ErrorType
from sansio_pingora.machine import Dial
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
    assert "the event loop failed over a new connection" in caplog.text


def test_a_dial_fails(failing_once):
    with served(App(Echo), uvloop=False) as server:
        failing_once.append(None)  # not the server's
        with server.connect() as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            failing_once.clear()
        wire = Client()
        steps = Steps(lambda steps: (yield Dial(1, server.address, steps.endpoint(wire))))
        steps.run(uvloop=False)
    [(_, error)] = steps.answers
    assert error.etype is ErrorType.CONNECT_ERROR
    assert wire.seen == []
