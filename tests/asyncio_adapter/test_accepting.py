"""Accepting follows the core's policy, and nothing of the event loop's own."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import threading

import pytest

from sansio_pingora.listeners import ServerAddress, TcpSocketOptions
from sansio_pingora.transport import SocketAddr
from tests.asyncio_adapter.machines import WAIT, App, Echo, Served, served


def test_a_thousand_connections_at_once(uv):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, max(soft, 4_096))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        app = App(Echo)
        with served(app, uvloop=uv) as server, contextlib.ExitStack() as stack:
            socks = [stack.enter_context(server.connect()) for _ in range(1_000)]
            for number, sock in enumerate(socks):
                sock.sendall(b"%d" % number)
            for number, sock in enumerate(socks):
                assert sock.recv(10) == b"%d" % number
            assert len(app.connections) == 1_000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_ends_of_a_transport_are_known(uv, tmp_path):
    class Knowing(App):
        def accept(self, info, now):
            self.info = info
            return super().accept(info, now)

    app = Knowing(Echo)
    with served(app, uvloop=uv) as server, server.connect() as sock:
        app.first()
        assert app.info.peer == SocketAddr(*sock.getsockname())
        assert app.info.local == server.address

    app = Knowing(Echo)
    with served(app, f"unix:{tmp_path}/s", uvloop=uv) as server, server.connect():
        app.first()
        assert app.info.peer is None
        assert app.info.local == server.address


def test_no_more_than_max_connections(uv):
    app = App(Echo, max_connections=2)
    with served(app, uvloop=uv) as server:
        first, second, third = server.connect(), server.connect(), server.connect()
        with first, second, third:
            for sock in (first, second):
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
            third.sendall(b"patience")
            third.settimeout(0.02)
            with pytest.raises(TimeoutError):
                third.recv(10)
            assert len(app.connections) == 2
            first.close()
            third.settimeout(WAIT)
            assert third.recv(10) == b"patience"


def test_the_rate_of_accepting_holds_later_ones_back_for_a_while(uv):
    """A bucket of one second's worth; afterwards the policy's own deadline lets the next ones in."""
    app = App(Echo, accept_rate=50.0)
    with served(app, uvloop=uv) as server, contextlib.ExitStack() as stack:
        for sock in [stack.enter_context(server.connect()) for _ in range(55)]:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"


def test_a_connection_filter_turns_clients_away(uv):
    class Odd:
        def __init__(self):
            self.peers = []

        def should_accept(self, peer):
            self.peers.append(peer)
            return len(self.peers) % 2 == 0

    odd = Odd()
    app = App(Echo)
    with served(app, uvloop=uv, connection_filter=odd) as server:
        with server.connect() as sock:
            assert sock.recv(1) == b""
        with server.connect() as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            assert odd.peers[1] == SocketAddr(*sock.getsockname())
        assert len(app.connections) == 1


def test_without_descriptors_it_waits_and_comes_back(uv, caplog):
    """EMFILE neither spins nor kills the server; with relief, service is back."""
    app = App(Echo)
    with served(app, uvloop=uv) as server, contextlib.ExitStack() as stack:
        before = [stack.enter_context(server.connect()) for _ in range(2)]
        for sock in before:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
        late = stack.enter_context(socket.socket())
        late.settimeout(WAIT)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, limits[1]))
        hoard = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    hoard.append(os.open(os.devnull, os.O_RDONLY))
            late.connect((server.address.host, server.address.port))
            assert late.recv(1) == b""  # turned away at once, not left hanging
            before[0].sendall(b"y")
            assert before[0].recv(1) == b"y"
        finally:
            for number in hoard:
                os.close(number)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        with server.connect() as sock:
            sock.sendall(b"z")
            assert sock.recv(1) == b"z"
    assert "EMFILE" in caplog.text


def test_options_of_accepted_sockets_are_set(uv):
    class Looking(Echo):
        """Asks its socket, as an operator would with ss."""

        asked: tuple = ()

        def receive_data(self, data, now):
            base = self.endpoint.driver._base
            sock = base.get_extra_info("socket")
            self.asked = (
                sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS),
                sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
            )
            return super().receive_data(data, now)

    app = App(Looking)
    address = ServerAddress.tcp("127.0.0.1:0", TcpSocketOptions(dscp=0x20))
    with served(app, address, uvloop=uv) as server, server.connect() as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        assert app.connections[0].asked == (0x20, 1)


def test_connections_come_and_go_from_many_threads(uv):
    app = App(Echo)
    with served(app, uvloop=uv) as server:
        threads = [threading.Thread(target=_visit, args=(server,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert len(app.connections) == 8 * 50
        for wire in app.connections:
            assert wire.lost.wait(WAIT)


def _visit(server: Served) -> None:
    for _ in range(50):
        with server.connect() as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
