"""Accepting, with every descriptor in use as well."""

import contextlib
import errno
import os
import socket

import pytest

from sansio_pingora.listeners import AcceptPolicy, ServerAddress, TcpSocketOptions
from sansio_pingora.transport import SocketAddr, TcpKeepalive
from sansio_pingora_posix import Listener, bind
from tests.posix.harness import readable


@contextlib.contextmanager
def listening(text="127.0.0.1:0", options=None, admits=None, **how):
    address = ServerAddress.parse(text) if options is None else ServerAddress.tcp(text, options)
    listener = Listener(bind(address), address, admits, **how)
    try:
        yield listener
    finally:
        listener.close()


def clients(listener, count):
    return [socket.create_connection(listener.sock.getsockname()) for _ in range(count)]


def take(listener, policy, now=0.0):
    readable(listener.sock)
    accepted = listener.accept(policy, now)
    for sock, _ in accepted:
        sock.close()
    return accepted


class Unwilling:
    """A listening socket whose accept fails as told, then is the real one again."""

    def __init__(self, sock, *numbers):
        self.sock = sock
        self.numbers = list(numbers)

    def accept(self):
        if self.numbers:
            number = self.numbers.pop(0)
            if number:
                raise OSError(number, os.strerror(number))
        return self.sock.accept()

    def __getattr__(self, name):
        return getattr(self.sock, name)


def test_takes_all_that_wait_with_their_options():
    options = TcpSocketOptions(tcp_keepalive=TcpKeepalive(30, 5, 2), dscp=0x28, tcp_snd_buf=20_000, tcp_recv_buf=30_000)
    with listening(options=options) as listener:
        peers = clients(listener, 3)
        policy = AcceptPolicy()
        readable(listener.sock)
        accepted = listener.accept(policy, 2.0)
        assert [info.peer for _, info in accepted] == [SocketAddr(*peer.getsockname()) for peer in peers]
        for sock, info in accepted:
            assert sock.gettimeout() == 0
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 131_072
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 0x28
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= 20_000
            assert str(info.local) == str(listener)
            assert info.established == 2.0
            sock.close()
        assert policy.open == 3
        for peer in peers:
            peer.close()


def test_a_turn_has_a_limit():
    with listening(limit=2) as listener:
        peers = clients(listener, 5)
        assert len(take(listener, AcceptPolicy())) == 2
        for peer in peers:
            peer.close()


def test_the_policy_has_the_last_word():
    with listening() as listener:
        peers = clients(listener, 5)
        policy = AcceptPolicy(max_connections=3)
        assert len(take(listener, policy)) == 3
        assert len(take(listener, policy)) == 0
        policy.closed(0.0)
        assert len(take(listener, policy)) == 1
        for peer in peers:
            peer.close()


def test_a_unix_client_has_no_name(tmp_path):
    with listening(f"unix:{tmp_path}/s") as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{tmp_path}/s")
        ((_, info),) = take(listener, AcceptPolicy())
        assert (info.peer, str(info.local)) == (None, f"unix:{tmp_path}/s")
        assert str(listener) == f"unix:{tmp_path}/s"


@pytest.mark.parametrize("verdict", [False, ZeroDivisionError], ids=["refused", "failed"])
def test_whom_the_filter_does_not_want_is_closed_and_not_counted(verdict, caplog):
    asked = []

    def admits(peer):
        asked.append(peer)
        if verdict is ZeroDivisionError:
            raise ZeroDivisionError
        return verdict

    policy = AcceptPolicy()
    with listening(admits=admits) as listener:
        (peer,) = clients(listener, 1)
        assert take(listener, policy) == []
        assert asked == [SocketAddr(*peer.getsockname())]
        assert peer.recv(1) == b""
        peer.close()
    assert policy.open == 0
    assert ("ZeroDivisionError" in caplog.text) is (verdict is ZeroDivisionError)


def test_without_a_descriptor_one_client_is_turned_away_and_the_rest_wait(caplog):
    policy = AcceptPolicy()
    with listening() as listener:
        peers = clients(listener, 3)
        real = listener.sock
        listener.sock = Unwilling(real, errno.EMFILE)
        assert take(listener, policy, 1.0) == []
        assert peers[0].recv(1) == b""
        assert not policy.accepting
        assert "EMFILE" in caplog.text
        policy.handle_timeout(policy.deadline)
        assert len(take(listener, policy, 2.0)) == 2
        listener.sock = real
        for peer in peers:
            peer.close()


def test_one_that_is_gone_does_not_keep_the_others_waiting(caplog):
    policy = AcceptPolicy()
    with listening() as listener:
        peers = clients(listener, 1)
        real = listener.sock
        listener.sock = Unwilling(real, errno.ECONNABORTED)
        assert len(take(listener, policy)) == 1
        assert caplog.text.count("ECONNABORTED") == 1
        listener.sock = real
        peers[0].close()


def test_without_a_spare_it_waits_all_the_same():
    policy = AcceptPolicy()
    with listening() as listener:
        real = listener.sock
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "open", _no_descriptor)
            listener.sock = Unwilling(real, errno.EMFILE)
            listener.accept(policy, 0.0)
            policy.handle_timeout(1.0)
            listener.sock = Unwilling(real, errno.EMFILE)
            listener.accept(policy, 2.0)
        assert not policy.accepting
        listener.sock = real


def _no_descriptor(*_):
    raise OSError(errno.EMFILE, "Too many open files")


def test_closing_twice_is_harmless():
    with listening() as listener:
        listener.close()


def test_tells_which_layers_stand_on_what_it_accepts():
    address = ServerAddress(SocketAddr.parse("127.0.0.1:0"), layers=(print,))
    listener = Listener(bind(address), address)
    try:
        peers = clients(listener, 1)
        assert [info.layers for _, info in take(listener, AcceptPolicy())] == [(print,)]
        peers[0].close()
    finally:
        listener.close()
