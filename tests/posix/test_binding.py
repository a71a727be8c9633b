"""Listening sockets, made and taken away."""

import errno
import os
import socket
import stat
import sys

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.listeners import ServerAddress, TcpSocketOptions
from sansio_pingora.transport import SocketAddr
from sansio_pingora_posix import Identity, bind, close_listener, resolve

linux = pytest.mark.skipif(sys.platform != "linux", reason="an option of Linux")
LOOPBACK = "127.0.0.1:0"


@pytest.fixture
def opened():
    pairs = []

    def open_(address, **options):
        sock = bind(address, **options)
        pairs.append((sock, address))
        return sock

    yield open_
    for sock, address in pairs:
        close_listener(sock, address)


def never(_seconds):
    raise AssertionError("it is not tried again")


def test_listens_without_blocking(opened):
    sock = opened(ServerAddress.parse(LOOPBACK))
    assert sock.gettimeout() == 0
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    with pytest.raises(BlockingIOError):
        sock.accept()


def test_listens_on_a_name(opened):
    sock = opened(ServerAddress.parse("localhost:0"))
    assert sock.getsockname()[0] in {"127.0.0.1", "::1"}


@linux
def test_every_option_reaches_the_kernel(opened):
    options = TcpSocketOptions(so_reuseport=True, tcp_fastopen=7, dscp=0x28)
    sock = opened(ServerAddress.tcp(LOOPBACK, options))
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN) == 7
    assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 0x28


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
@pytest.mark.parametrize("only", [True, False])
def test_ipv6_only(opened, only):
    options = TcpSocketOptions(ipv6_only=only, dscp=0x28)
    sock = opened(ServerAddress.tcp("[::]:0", options))
    assert bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)) is only
    assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 0x28


def test_two_share_a_port_with_reuseport(opened):
    options = TcpSocketOptions(so_reuseport=True)
    port = opened(ServerAddress.tcp(LOOPBACK, options)).getsockname()[1]
    assert opened(ServerAddress.tcp(f"127.0.0.1:{port}", options)).getsockname()[1] == port


def test_an_address_in_use_is_tried_again_and_then_explained(opened):
    port = opened(ServerAddress.parse(LOOPBACK)).getsockname()[1]
    address = ServerAddress.parse(f"127.0.0.1:{port}")
    waits = []
    with pytest.raises(Error, match=f"127.0.0.1:{port}.*in use.*another program") as caught:
        bind(address, retries=4, sleep=waits.append)
    assert caught.value.etype is ErrorType.BIND_ERROR
    assert waits == [1.0, 1.0, 1.0]


def test_an_address_that_becomes_free_is_taken(opened):
    first = bind(ServerAddress.parse(LOOPBACK))
    address = ServerAddress.parse(f"127.0.0.1:{first.getsockname()[1]}")
    assert opened(address, sleep=lambda _: first.close()).getsockname()[1] == address.addr.port


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("192.0.2.1:0", "no interface"),
        ("does-not-exist.invalid:0", "cannot be resolved"),
        ("unix:/nowhere/x", "directory"),
    ],
)
def test_what_cannot_be_bound_is_explained_at_once(text, hint):
    with pytest.raises(Error, match=hint) as caught:
        bind(ServerAddress.parse(text), sleep=never)
    assert caught.value.etype is ErrorType.BIND_ERROR
    assert text in caught.value.context


def test_a_path_too_long_is_a_bind_error(tmp_path):
    with pytest.raises(Error, match="too long"):
        bind(ServerAddress.uds(str(tmp_path / ("x" * 120))))


@pytest.mark.parametrize(("permissions", "mode"), [(None, 0o666), (0o600, 0o600)])
def test_the_mode_of_a_unix_socket(tmp_path, opened, permissions, mode):
    path = tmp_path / "s"
    opened(ServerAddress.uds(str(path), permissions))
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_the_file_goes_with_the_listener(tmp_path):
    address = ServerAddress.uds(str(tmp_path / "s"))
    close_listener(bind(address), address)
    assert list(tmp_path.iterdir()) == []


def test_a_file_left_behind_is_replaced(tmp_path, opened):
    path = tmp_path / "s"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    opened(ServerAddress.uds(str(path)), sleep=never)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_socket_that_somebody_answers_on_is_left_alone(tmp_path, opened):
    path = tmp_path / "s"
    opened(ServerAddress.uds(str(path)))
    with pytest.raises(Error, match="in use"):
        bind(ServerAddress.uds(str(path)), retries=2, sleep=lambda _: None)
    assert path.is_socket()


def test_a_socket_with_a_full_backlog_is_in_use(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as client:
        busy.bind(str(path))
        busy.listen(0)
        client.connect(str(path))
        with pytest.raises(Error, match="in use"):
            bind(ServerAddress.uds(str(path)), retries=1)


def test_a_socket_of_another_type_is_in_use(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as busy:
        busy.bind(str(path))
        with pytest.raises(Error, match="in use"):
            bind(ServerAddress.uds(str(path)), retries=1)
    assert path.is_socket()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE])
def test_a_file_that_cannot_be_tried_is_left_alone(tmp_path, monkeypatch, number):
    path = tmp_path / "s"
    address = ServerAddress.uds(str(path))

    def connect(_sock, _path):
        raise OSError(number, os.strerror(number))

    sock = bind(address)
    with sock.dup():  # another process's
        with monkeypatch.context() as patched:
            patched.setattr(socket.socket, "connect", connect)
            close_listener(sock, address)
        assert path.is_socket()
    close_listener(bind(address), address)
    assert not path.exists()


def test_the_file_belongs_to_who_the_process_is_going_to_be(tmp_path, opened, monkeypatch):
    given = []
    monkeypatch.setattr(os, "lchown", lambda *of: given.append(of))
    path = str(tmp_path / "s")
    opened(ServerAddress.uds(path), identity=Identity(user="other", uid=os.geteuid() + 1))
    opened(ServerAddress.uds(f"{path}2"), identity=Identity(uid=os.geteuid()))
    assert given == [(path, os.geteuid() + 1, -1)]


def test_any_other_file_is_left_alone(tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(Error, match="not a socket"):
        bind(ServerAddress.uds(str(path)))
    assert path.read_text() == "data"


def test_the_file_of_a_successor_is_left_alone(tmp_path, opened):
    path = tmp_path / "s"
    address = ServerAddress.uds(str(path))
    old = bind(address)
    path.unlink()
    opened(address)
    close_listener(old, address)
    assert path.is_socket()


def test_a_file_that_is_gone_already_is_no_matter(tmp_path):
    path = tmp_path / "s"
    address = ServerAddress.uds(str(path))
    sock = bind(address)
    path.unlink()
    close_listener(sock, address)


def test_nothing_is_left_open_by_a_failure():
    before = os.listdir("/proc/self/fd") if sys.platform == "linux" else []
    with pytest.raises(Error):
        bind(ServerAddress.parse("192.0.2.1:0"))
    after = os.listdir("/proc/self/fd") if sys.platform == "linux" else []
    assert len(after) == len(before)


def test_resolve_leaves_numbers_and_paths_alone():
    for address in (SocketAddr("127.0.0.1", 1), SocketAddr("::1", 1), SocketAddr(path="/x")):
        assert resolve(address, never) == [address]


def test_resolve_gives_every_address():
    assert SocketAddr("127.0.0.1", 80) in resolve(SocketAddr("localhost", 80))


def test_resolve_raises_what_the_resolver_raises():
    with pytest.raises(socket.gaierror) as caught:
        resolve(SocketAddr("does-not-exist.invalid", 1))
    assert caught.value.errno not in errno.errorcode
