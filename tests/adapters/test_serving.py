"""A server on every runtime: order, bodies, back-pressure, ends."""

from __future__ import annotations

import socket
import threading

import pytest

from sansio_pingora import serve
from sansio_pingora.session import Sleep
from sansio_pingora_posix import Control
from tests.adapters.harness import GET, PATIENCE, RUNTIMES, Echo, Endless, Peer, client, post, served, until

MIB = 1 << 20
TEN = 10 * MIB


def refuses(address):
    try:
        with client(address):
            return False
    except ConnectionError:
        return True


@pytest.fixture
def echo(runtime):
    with served(Echo(), runtime) as server:
        yield server


def test_keep_alive(echo):
    with client(echo.address) as peer:
        for number in range(10):
            body = b"%d" % number
            peer.send(post(len(body), body))
            start, fields, got = peer.message()
            assert (start, got) == (b"HTTP/1.1 200 OK", body)
            assert b"date" in fields
        peer.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert peer.message()[1][b"connection"] == b"close"
        assert peer.ended()


def test_pipelined_requests_are_answered_in_order(echo):
    with client(echo.address) as peer:
        peer.send(b"".join(post(3, b"%03d" % number) for number in range(200)))
        for number in range(200):
            assert peer.message()[2] == b"%03d" % number


def test_pipelined_requests_before_a_half_close(echo):
    with client(echo.address) as peer:
        peer.send(b"".join(post(3, b"%03d" % number) for number in range(50)))
        peer.shut()
        for number in range(50):
            assert peer.message()[2] == b"%03d" % number
        assert peer.ended()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_ten_megabytes_both_ways(echo, framing):
    payload = bytes(range(256)) * (TEN // 256)
    with client(echo.address) as peer:

        def upload():
            if framing == "length":
                peer.send(post(TEN), payload)
            else:
                peer.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
                for at in range(0, TEN, 50_000):
                    piece = payload[at : at + 50_000]
                    peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                peer.send(b"0\r\n\r\n")

        writer = threading.Thread(target=upload)
        writer.start()
        _, fields, body = peer.message()
        writer.join(PATIENCE)
        assert body == payload
        assert (b"content-length" in fields) is (framing == "length")
        if fields.get(b"connection") != b"close":
            peer.send(GET)
            assert peer.status() == 200


def test_a_request_in_many_small_pieces(echo):
    with client(echo.address) as peer:
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post(5, b"hello"):
            peer.send(bytes([byte]))
        assert peer.message()[2] == b"hello"


def test_a_client_that_does_not_read_stops_the_application(runtime):
    app = Endless(256 * MIB)
    with served(app, runtime) as server, client(server.address, receive_buffer=32_768) as peer:
        peer.send(GET)
        peer.head()
        seen = -1
        while seen != app.sent:  # it has come to a halt when nothing moved between two looks
            seen = app.sent
            threading.Event().wait(0.1)
        assert seen < 32 * MIB
        assert len(peer.take(48 * MIB)) == 48 * MIB  # and goes on when there is room
        peer.reset()


def test_an_upload_that_nobody_reads_is_not_taken(runtime):
    class Deaf(Echo):
        def process_new_http(self, session):
            yield Sleep(100)

    with served(Deaf(), runtime) as server, client(server.address) as peer:
        peer.send(post(256 * MIB))
        assert peer.push(b"x" * 65_536, 256 * MIB) < 32 * MIB
        peer.reset()


def test_a_half_close_is_answered(echo):
    with client(echo.address) as peer:
        peer.send(post(5, b"hello"))
        peer.shut()
        assert peer.message()[2] == b"hello"
        assert peer.ended()


def test_a_half_close_amid_a_body_is_the_end(echo):
    with client(echo.address) as peer:
        peer.send(post(5, b"he"))
        peer.shut()
        assert b"hello" not in peer.rest()


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", post(100, b"half"), post(4, b"full"), post(MIB, b"x" * MIB)],
    ids=["nothing", "amid_the_head", "amid_the_body", "complete", "amid_the_answer"],
)
def test_a_reset_in_every_phase_harms_nobody_else(echo, sent):
    with client(echo.address) as other:
        other.send(post(4, b"ab"))
        for _ in range(5):
            with client(echo.address) as peer:
                peer.send(sent)
                peer.reset()
        other.send(b"cd")
        assert other.message()[2] == b"abcd"


def test_a_client_that_goes_away_amid_the_answer(runtime):
    app = Endless(256 * MIB)
    with served(app, runtime) as server:
        for _ in range(3):
            with client(server.address) as peer:
                peer.send(GET)
                peer.head()
                peer.reset()
        app.size = app.sent + 65_536  # each begins where the one before ended
        with client(server.address) as peer:
            peer.send(GET)
            assert peer.head()[0] == b"HTTP/1.1 200 OK"
    assert app.sent < 128 * MIB


@pytest.mark.parametrize("graceful", [True, False])
def test_an_idle_server_ends(runtime, graceful):
    with served(Echo(), runtime) as server:
        server.stop(graceful=graceful)
        server.join()
        with pytest.raises(ConnectionError), client(server.address):
            pass


def test_a_graceful_stop_finishes_what_is_under_way(runtime):
    with served(Echo(), runtime) as server, client(server.address) as peer:
        peer.send(post(10, b"01234"))
        assert peer.head()[0] == b"HTTP/1.1 200 OK"
        server.stop()
        until(lambda: refuses(server.address))
        assert server.thread.is_alive()
        peer.send(b"56789")
        assert peer.take(10) == b"0123456789"
        assert peer.ended()
        peer.close()
        server.join()


def test_a_graceful_stop_says_so_in_the_next_answer(runtime):
    with served(Echo(), runtime) as server, client(server.address) as peer:
        peer.send(GET)
        peer.message()
        server.stop()
        until(lambda: refuses(server.address))
        peer.send(GET)
        assert peer.message()[1][b"connection"] == b"close"
        assert peer.ended()
        peer.close()
        server.join()


def test_a_stop_at_once_cuts_what_is_under_way(runtime):
    with served(Echo(), runtime) as server, client(server.address) as peer:
        peer.send(post(10, b"01234"))
        peer.head()
        server.stop(graceful=False)
        server.join()
        assert peer.rest() in (b"", b"01234")


def test_grace_has_an_end(runtime):
    with served(Echo(), runtime, grace_period=0.2) as server, client(server.address) as peer:
        peer.send(post(10, b"01234"))
        peer.head()
        server.stop()
        server.join()
        assert b"56789" not in peer.rest()


def test_a_thousand_connections(runtime):
    with served(Echo(), runtime) as server:
        socks = [socket.create_connection(server.address, PATIENCE) for _ in range(1_000)]
        try:
            for turn in range(2):
                body = b"%03d" % turn
                for sock in socks:
                    sock.sendall(post(3, body))
                for sock in socks:
                    data = b""
                    while not data.endswith(b"\r\n\r\n" + body):
                        piece = sock.recv(4096)
                        assert piece
                        data += piece
        finally:
            for sock in socks:
                sock.close()


def test_max_connections(runtime):
    with (
        served(Echo(), runtime, max_connections=2) as server,
        client(server.address) as first,
        client(server.address) as second,
        client(server.address) as third,
    ):
        for peer in (first, second):
            peer.send(GET)
            peer.message()
        third.send(GET)
        third.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            third.head()
        third.sock.settimeout(PATIENCE)
        first.close()
        assert third.status() == 200


def test_several_addresses(runtime, tmp_path):
    control = Control()
    listen = ["127.0.0.1:0", "127.0.0.1:0", f"unix:{tmp_path}/s"]
    thread = threading.Thread(
        target=lambda: serve(Echo(), listen=listen, control=control, signals=False, **RUNTIMES[runtime])
    )
    thread.start()
    try:
        assert control.ready.wait(PATIENCE)
        for address in control.addresses:
            if address.startswith("unix:"):
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(address[5:])
            else:
                host, _, port = address.rpartition(":")
                sock = socket.create_connection((host, int(port)))
            with sock:
                peer = Peer(sock)
                peer.send(post(2, b"hi"))
                assert peer.message()[2] == b"hi"
    finally:
        control.stop(graceful=False)
        thread.join(PATIENCE)
    assert not thread.is_alive()
