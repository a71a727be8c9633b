"""Times of what passes: the kernel's stamps, and waiting that is the peer's alone."""

from __future__ import annotations

import contextlib
import socket
import sys
import time

import pytest

from sansio_pingora_posix.timed_socket import TimedProbe, TimedSocket
from tests.posix.harness import readable, tcp_pair

linux = pytest.mark.skipif(sys.platform != "linux", reason="stamps are Linux's")


@pytest.fixture
def timed():
    ours, theirs = tcp_pair()
    probe = TimedProbe(ours)
    yield TimedSocket(ours, probe), theirs, probe
    ours.close()
    theirs.close()


@linux
def test_the_kernel_s_stamp_and_not_the_time_of_the_read(timed):
    sock, theirs, probe = timed
    assert probe.rx_timestamp() is None
    while probe.rx_timestamp() is None:  # the kernel begins to stamp a little after the first socket has asked
        theirs.sendall(b"x")
        readable(sock)
        sock.recv(1)
    probe.read_pending = 0.0
    begun = sock._read_at
    theirs.sendall(b"early")
    readable(sock)
    there = time.time()
    time.sleep(0.01)  # we are late, which is not the peer's doing
    assert sock.recv(100) == b"early"

    assert begun - 0.01 <= probe.rx_timestamp() <= there
    assert probe.read_pending_time() == max(0.0, probe.rx_timestamp() - begun)
    assert probe.write_pending_time() == 0.0


def test_waiting_for_room_is_counted(timed):
    sock, theirs, probe = timed
    piece = b"x" * 65_536
    with contextlib.suppress(BlockingIOError):
        while sock.send(piece):
            pass
    theirs.setblocking(False)
    drained = 0
    while not probe.write_pending_time():
        try:
            drained += len(theirs.recv(1 << 20))
        except BlockingIOError:
            time.sleep(0.001)
        with contextlib.suppress(BlockingIOError):
            sock.sendmsg([piece, piece])

    assert drained


def test_a_unix_socket_has_no_stamps():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        probe = TimedProbe(ours)
        sock = TimedSocket(ours, probe)
        theirs.sendall(b"x")
        assert sock.recv(1) == b"x"
        assert probe.rx_timestamp() is None
        assert probe.read_pending_time() >= 0.0
        assert sock.fileno() == ours.fileno()


def test_errors_pass(timed):
    sock, _, _ = timed
    with pytest.raises(BlockingIOError):
        sock.recv(1)
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        sock.send(b"x")
