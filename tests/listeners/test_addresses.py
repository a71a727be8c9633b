"""Where a service listens, as users type it."""

import pytest

from sansio_pingora.listeners import AcceptAll, ServerAddress, TcpSocketOptions
from sansio_pingora.transport import SocketAddr


@pytest.mark.parametrize(
    ("text", "addr"),
    [
        ("127.0.0.1:8080", SocketAddr("127.0.0.1", 8080)),
        ("[::]:443", SocketAddr("::", 443)),
        ("localhost:0", SocketAddr("localhost", 0)),
        ("unix:/run/x.sock", SocketAddr(path="/run/x.sock")),
    ],
)
def test_parse_reads_every_form_and_the_text_is_the_address(text, addr):
    address = ServerAddress.parse(text)
    assert address.addr == addr
    assert str(address) == text


def test_tcp_takes_options():
    options = TcpSocketOptions(so_reuseport=True, backlog=16)
    assert ServerAddress.tcp("127.0.0.1:1", options).options is options
    assert ServerAddress.tcp("127.0.0.1:1").options == TcpSocketOptions()


def test_tcp_refuses_a_path():
    with pytest.raises(ValueError, match="uds"):
        ServerAddress.tcp("unix:/run/x.sock")


def test_uds_takes_permissions():
    address = ServerAddress.uds("/run/x.sock", 0o600)
    assert (str(address), address.permissions) == ("unix:/run/x.sock", 0o600)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_uds_refuses_what_is_no_path(path):
    with pytest.raises(ValueError, match="path"):
        ServerAddress.uds(path)


def test_permissions_belong_to_unix_sockets():
    with pytest.raises(ValueError, match="Unix"):
        ServerAddress(SocketAddr("127.0.0.1", 1), permissions=0o600)
    with pytest.raises(ValueError, match="0o777"):
        ServerAddress.uds("/run/x.sock", 0o1777)


@pytest.mark.parametrize(
    "option",
    [{"dscp": 256}, {"dscp": -1}, {"backlog": 0}, {"tcp_snd_buf": 0}, {"tcp_recv_buf": -1}, {"tcp_fastopen": -1}],
)
def test_options_refuse_what_a_socket_cannot_take(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        TcpSocketOptions(**option)


def test_pingoras_backlog_is_the_default():
    assert TcpSocketOptions().backlog == 65_535


def test_everybody_may_connect_by_default():
    assert AcceptAll().should_accept(SocketAddr("192.0.2.1", 1))
    assert AcceptAll().should_accept(None)
