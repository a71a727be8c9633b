"""Streams of a program's own between a socket and their threads."""

from __future__ import annotations

import socket
import threading

import pytest

from sansio_pingora.transport import SocketAddr
from sansio_pingora_posix.custom_l4 import open_custom
from tests.posix.harness import PATIENCE

ADDRESS = SocketAddr("127.0.0.1", 80)


class Wrapped(socket.socket):
    """A socket that is read and written by methods of its own, as an SSLSocket is."""

    def do_handshake(self):
        pass

    def read(self, size):
        return self.recv(size)

    def write(self, data):
        return self.send(data)


@pytest.fixture
def bridged():
    ours, theirs = socket.socketpair()
    before = set(threading.enumerate())
    stream = Wrapped(fileno=ours.detach())
    sock = open_custom(lambda _: stream, ADDRESS)
    sock.setblocking(True)
    theirs.settimeout(PATIENCE)
    yield sock, theirs, stream
    sock.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert stream.fileno() == -1
    theirs.close()


def test_both_ways(bridged):
    sock, theirs, _ = bridged
    sock.sendall(b"there")
    assert theirs.recv(9) == b"there"
    theirs.sendall(b"and back")
    assert sock.recv(9) == b"and back"
    theirs.shutdown(socket.SHUT_WR)
    assert sock.recv(9) == b""


def test_nothing_is_left_of_one_that_is_given_up_while_the_other_side_is_silent(bridged):
    sock, theirs, _ = bridged
    sock.sendall(b"asked")
    assert theirs.recv(9) == b"asked"
    sock.close()
    assert theirs.recv(9) == b""
