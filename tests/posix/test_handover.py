"""A hand-over where the system does not play along; the whole of it: tests/adapters/test_server.py."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from sansio_pingora_posix import HandOverFailed, Receiver, Sender


def failing(number):
    def fail(*_args):
        raise OSError(number, os.strerror(number))

    return fail


def descriptors():
    return sorted(os.listdir("/dev/fd"))


@pytest.mark.parametrize(
    ("where", "name", "number"),
    [(os, "unlink", errno.EPERM), (socket, "socket", errno.EMFILE), (None, "", errno.EISDIR)],
)
def test_a_path_where_nobody_can_wait(tmp_path, monkeypatch, where, name, number):
    path = tmp_path / "up.sock"
    if where is None:
        path.mkdir()
    else:
        monkeypatch.setattr(where, name, failing(number))  # EPERM: another user's, in /tmp
    before = descriptors()
    with pytest.raises(HandOverFailed, match=rf"up\.sock: {os.strerror(number)}; set upgrade_sock to another path"):
        Receiver(str(path))
    assert descriptors() == before


def test_nobody_can_be_let_in(tmp_path, monkeypatch):
    receiver = Receiver(str(tmp_path / "up.sock"))
    monkeypatch.setattr(socket.socket, "accept", failing(errno.EMFILE))
    with pytest.raises(HandOverFailed, match=r"nobody can be let in at .*: Too many open files"):
        receiver.receive(10.0)
    receiver.close()
    assert os.listdir(tmp_path) == ["up.sock.lock"]


def test_no_descriptor_for_the_sockets(tmp_path, monkeypatch):
    real, duplicated = socket.socket.dup, []

    def dup(sock):
        if duplicated:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        duplicated.append(real(sock))
        return duplicated[0]

    with socket.create_server(("127.0.0.1", 0)) as sock:
        monkeypatch.setattr(socket.socket, "dup", dup)
        with pytest.raises(HandOverFailed, match=r"Too many open files; raise the limit \(ulimit -n\)"):
            Sender(str(tmp_path / "up.sock"), [("one", sock), ("two", sock)], retries=0, timeout=1.0)
    assert duplicated[0].fileno() == -1
