"""Every deadline over a client, on every runtime. Nothing here asserts how long anything took."""

from __future__ import annotations

import socket
import threading

from sansio_pingora.session import ReadBody, Sleep
from tests.adapters.harness import GET, Echo, Endless, client, post, served, until

MIB = 1 << 20
SOON = 0.15


def test_first_byte(runtime):
    with served(Echo(), runtime, first_byte_timeout=SOON) as server, client(server.address) as peer:
        assert peer.ended()  # without a word


def test_head(runtime):
    with served(Echo(), runtime, head_timeout=SOON) as server, client(server.address) as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nX: ")
        assert peer.status() == 408
        assert peer.ended()


def test_the_head_deadline_is_absolute(runtime):
    with served(Echo(), runtime, head_timeout=SOON) as server, client(server.address) as peer:
        peer.send(b"GET / HTTP/1.1\r\n")
        peer.sock.settimeout(SOON / 10)
        while True:  # a line now and then does not help
            try:
                if not peer.more() or b"\r\n\r\n" in peer.buffer:
                    break
            except TimeoutError:
                peer.send(b"X: y\r\n")
        assert peer.buffer.startswith(b"HTTP/1.1 408 ")


def test_keep_alive(runtime):
    with served(Echo(), runtime, keepalive_timeout=SOON) as server, client(server.address) as peer:
        peer.send(GET)
        assert peer.status() == 200
        assert peer.ended()


def test_the_next_head(runtime):
    with served(Echo(), runtime, head_timeout=SOON) as server, client(server.address) as peer:
        peer.send(GET + b"GET / HT")
        assert peer.status() == 200
        assert peer.status() == 408


def test_body(runtime):
    class Waits(Echo):
        def process_new_http(self, session):
            yield ReadBody()
            yield ReadBody()

    with served(Waits(), runtime, body_idle_timeout=SOON) as server, client(server.address) as peer:
        peer.send(post(10, b"01234"))
        assert peer.status() == 408
        assert peer.ended()


def test_a_body_that_nobody_waits_for_has_no_deadline(runtime):
    asked = []

    class Thinks(Echo):
        def process_new_http(self, session):
            asked.append(session)
            yield Sleep(3 * SOON)
            yield from super().process_new_http(session)

    limits = {"body_idle_timeout": SOON, "high_water": 1000}
    with served(Thinks(), runtime, **limits) as server, client(server.address) as peer:
        peer.send(post(100_000, b"x" * 50_000))
        until(lambda: asked)
        _, fields = peer.head()
        peer.send(b"x" * 50_000)
        assert peer.body(fields) == b"x" * 100_000


def test_a_client_that_takes_nothing(runtime):
    app = Endless(256 * MIB)
    limits = {"write_idle_timeout": SOON}
    with served(app, runtime, **limits) as server, client(server.address, receive_buffer=32_768) as peer:
        peer.send(GET)
        # Not read until the server has given up: then what the kernel still has, and no more.
        until(lambda: _gave_up(peer.sock))
    assert app.sent < 64 * MIB


def _gave_up(sock: socket.socket) -> bool:
    """The other side has closed with unread bytes on their way: an error is pending on the socket."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def test_a_slow_client_is_not_a_stuck_one(runtime):
    app = Endless(8 * MIB)
    limits = {"write_idle_timeout": 2 * SOON}
    with served(app, runtime, **limits) as server, client(server.address, receive_buffer=32_768) as peer:
        peer.send(GET)
        _, fields = peer.head()
        left = int(fields[b"content-length"])
        pauses = 4  # longer together than the deadline
        while left:
            left -= len(peer.take(min(left, 512 * 1024)))
            if pauses:
                pauses -= 1
                threading.Event().wait(SOON)


def test_lingering_ends(runtime):
    with served(Echo(), runtime, linger_timeout=SOON) as server, client(server.address) as peer:
        peer.send(b"nonsense\r\n\r\n")
        assert peer.status() == 400
        assert peer.ended()
        # The client keeps its side open: the server closes all the same, and its reset is seen by a later write.
        until(lambda: _refused(peer))


def _refused(peer) -> bool:
    try:
        peer.send(b"x")
    except OSError:
        return True
    return False
