"""Sockets on their way to an upstream, and what a failure means."""

import errno
import os
import socket
import sys

import pytest

from sansio_pingora.errors import ErrorSource, ErrorType, RetryType
from sansio_pingora.transport import DialOptions, SocketAddr, TcpKeepalive
from sansio_pingora_posix import (
    connect_error,
    connect_result,
    dial_socket,
    errno_name,
    is_numeric,
    lost_error,
    prepare_connected,
    sockaddr,
    socket_addr,
    start_connect,
    transport_info,
    unsent_bytes,
)
from tests.posix.harness import tcp_pair

linux = pytest.mark.skipif(sys.platform != "linux", reason="an option of Linux")
LOOPBACK = SocketAddr("127.0.0.1", 1)


@pytest.mark.parametrize(
    ("host", "numeric"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("fe80::1%lo", True),
        ("::ffff:1.2.3.4", True),
        ("localhost", False),
        ("127.1", False),
        ("1.2.3.4.5", False),
        ("", False),
    ],
)
def test_is_numeric(host, numeric):
    assert is_numeric(host) is numeric


@pytest.mark.parametrize(
    ("address", "family", "value"),
    [
        (LOOPBACK, socket.AF_INET, ("127.0.0.1", 1)),
        (SocketAddr("::1", 2), socket.AF_INET6, ("::1", 2, 0, 0)),
        (SocketAddr(path="/x"), socket.AF_UNIX, "/x"),
    ],
    ids=str,
)
def test_addresses_there_and_back(address, family, value):
    assert sockaddr(address) == (family, value)
    assert socket_addr(value, family) == address


@pytest.mark.parametrize("value", ["", b"", b"\0abstract"])
def test_a_unix_client_has_no_name(value):
    assert socket_addr(value, socket.AF_UNIX) is None


def test_a_name_has_no_socket_value():
    with pytest.raises(socket.gaierror):
        sockaddr(SocketAddr("localhost", 1))


def test_connects_with_its_options():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = SocketAddr(*server.getsockname())
        tweaked = []
        keepalive = TcpKeepalive(idle=60, interval=5, count=3, user_timeout=2.5)
        options = DialOptions(
            bind_to=SocketAddr("127.0.0.1", 0),
            tcp_recv_buf=30_000,
            dscp=0x28,
            tcp_keepalive=keepalive,
            tweak=tweaked.append,
        )
        with dial_socket(address, options) as sock:
            assert sock.gettimeout() == 0
            assert tweaked == [sock]
            if not start_connect(sock, address):
                sock.settimeout(20)
                server.accept()[0].close()
                connect_result(sock)
            prepare_connected(sock, options)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 30_000
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 0x28
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
            info = transport_info(sock, 7.0)
            assert (info.peer, info.local, info.established) == (address, SocketAddr(*sock.getsockname()), 7.0)


@linux
def test_fast_open_is_asked_for():
    with dial_socket(LOOPBACK, DialOptions(tcp_fast_open=True)) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, 30) == 1


@linux
def test_the_user_timeout_of_keepalive_is_in_milliseconds():
    ours, theirs = tcp_pair()
    with ours, theirs:
        prepare_connected(ours, DialOptions(tcp_keepalive=TcpKeepalive(1, 1, 1, user_timeout=2.5)))
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2500


def test_a_source_of_another_family_is_refused():
    with pytest.raises(OSError, match="family"):
        dial_socket(LOOPBACK, DialOptions(bind_to=SocketAddr("::1", 0)))


def test_a_source_that_is_not_ours_is_a_bind_error():
    with pytest.raises(OSError) as caught:
        dial_socket(LOOPBACK, DialOptions(bind_to=SocketAddr("192.0.2.1", 0)))
    assert connect_error(caught.value, LOOPBACK).etype is ErrorType.BIND_ERROR


def test_a_tweak_that_raises_leaves_no_socket_open():
    made = []

    def tweak(sock):
        made.append(sock)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        dial_socket(LOOPBACK, DialOptions(tweak=tweak))
    assert made[0].fileno() == -1


def test_a_missing_unix_socket_fails_at_once(tmp_path):
    address = SocketAddr(path=str(tmp_path / "none"))
    with dial_socket(address, DialOptions(dscp=1)) as sock, pytest.raises(FileNotFoundError):
        start_connect(sock, address)


@pytest.mark.parametrize(
    ("number", "etype"),
    [
        (errno.ECONNREFUSED, ErrorType.CONNECT_REFUSED),
        (errno.ETIMEDOUT, ErrorType.CONNECT_TIMEDOUT),
        (errno.ENETUNREACH, ErrorType.CONNECT_NO_ROUTE),
        (errno.EHOSTUNREACH, ErrorType.CONNECT_NO_ROUTE),
        (errno.EADDRNOTAVAIL, ErrorType.BIND_ERROR),
        (errno.EACCES, ErrorType.INTERNAL_ERROR),
        (errno.EPERM, ErrorType.INTERNAL_ERROR),
        (errno.EADDRINUSE, ErrorType.INTERNAL_ERROR),
        (errno.ECONNRESET, ErrorType.CONNECT_ERROR),
        (errno.EMFILE, ErrorType.CONNECT_ERROR),
        (errno.EAGAIN, ErrorType.CONNECT_ERROR),
    ],
    ids=lambda value: errno.errorcode.get(value, str(value)),
)
def test_the_mapping_of_connect_errors(number, etype):
    cause = OSError(number, os.strerror(number))
    error = connect_error(cause, LOOPBACK)
    assert (error.etype, error.esource, error.cause) == (etype, ErrorSource.UPSTREAM, cause)
    assert "127.0.0.1:1" in error.context
    assert os.strerror(number) in error.context


def test_a_timeout_without_a_number_is_a_timeout():
    assert connect_error(TimeoutError(), LOOPBACK).etype is ErrorType.CONNECT_TIMEDOUT


def test_a_name_that_cannot_be_resolved_is_named():
    exc = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    error = connect_error(exc, SocketAddr("nowhere.invalid", 80))
    assert error.etype is ErrorType.CONNECT_NO_ROUTE
    assert "'nowhere.invalid'" in error.context


@pytest.mark.parametrize(
    ("exc", "writing", "etype"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), None, ErrorType.READ_ERROR),
        (BrokenPipeError(errno.EPIPE, "broken"), None, ErrorType.WRITE_ERROR),
        (ConnectionResetError(errno.ECONNRESET, "reset"), True, ErrorType.WRITE_ERROR),
        (TimeoutError(errno.ETIMEDOUT, "timed out"), False, ErrorType.READ_ERROR),
    ],
)
def test_a_lost_transport(exc, writing, etype):
    error = lost_error(exc, writing=writing)
    assert (error.etype, error.retry_type, error.cause) == (etype, RetryType.REUSED_ONLY, exc)


def test_the_symbol_of_an_error():
    assert errno_name(OSError(errno.EMFILE, "")) == "EMFILE"
    assert errno_name(OSError("no number")) == "None"


@linux
def test_unsent_bytes_counts_what_the_peer_has_not_taken():
    ours, theirs = tcp_pair()
    with ours, theirs:
        assert unsent_bytes(ours) == 0
        while True:
            try:
                ours.send(bytes(65_536))
            except BlockingIOError:
                break
        assert unsent_bytes(ours) > 0
    assert unsent_bytes(ours) == 0
