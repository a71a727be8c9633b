"""What is asked of the kernel about a socket, live and closed."""

from __future__ import annotations

import socket
import struct

import pytest

from sansio_pingora.digests import Digest
from sansio_pingora.transport import SocketAddr
from sansio_pingora_posix import SocketProbe, transport_info


class Redirected:
    """A socket that netfilter has sent elsewhere."""

    def __init__(self, family, raw):
        self.family = family
        self.raw = raw
        self.asked = []

    def getsockopt(self, level, option, size):
        self.asked.append((level, option))
        return self.raw[:size]


def test_a_live_connection():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        digest = Digest.of(transport_info(sock, 1.0)).socket_digest

        assert digest.peer_addr == SocketAddr(*server.getsockname())
        assert digest.tcp_info().state == 1
        assert digest.recv_buf == sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert digest.send_buf == sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert digest.original_dst is None  # nobody redirected it


def test_one_that_is_closed_is_never_taken_for_its_successor():
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock = socket.create_connection(server.getsockname())
        probe = SocketProbe(sock)
        number = sock.fileno()
        sock.close()
        with socket.create_connection(server.getsockname()) as successor:
            assert successor.fileno() == number
            assert probe.tcp_info() is probe.recv_buf() is probe.send_buf() is probe.original_dst() is None


def test_a_unix_socket():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        probe = SocketProbe(ours)

        assert probe.tcp_info() is probe.original_dst() is None
        assert probe.recv_buf()


@pytest.mark.parametrize(
    ("family", "raw", "expected"),
    [
        (
            socket.AF_INET,
            struct.pack("=H", socket.AF_INET) + struct.pack("!H", 443) + socket.inet_aton("192.0.2.9") + b"\0" * 8,
            SocketAddr("192.0.2.9", 443),
        ),
        (
            socket.AF_INET6,
            struct.pack("=H", socket.AF_INET6)
            + struct.pack("!HI", 443, 0)
            + socket.inet_pton(socket.AF_INET6, "2001:db8::9")
            + b"\0" * 4,
            SocketAddr("2001:db8::9", 443),
        ),
        (socket.AF_INET, b"\2", None),
        (socket.AF_INET6, b"", None),
    ],
    ids=["IPv4", "IPv6", "short IPv4", "short IPv6"],
)
def test_where_a_client_was_going(family, raw, expected):
    sock = Redirected(family, raw)

    assert SocketProbe(sock).original_dst() == expected
    assert [option for _, option in sock.asked] == [80]
