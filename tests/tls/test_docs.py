"""The examples of the page on TLS are programs."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest

import sansio_pingora
from sansio_pingora.machine import ConnectionClosed, Established
from sansio_pingora.session import ServerConnection
from tests.pages import blocks, page, run_blocks
from tests.tls.certs import ca, cert
from tests.tls.files import Files
from tests.tls.pairs import client, pump, server

PAGE = page("tls.md")
EXAMPLES = blocks(PAGE)
(LOOP,) = (source for source in EXAMPLES if "ServerConnection" in source)


@pytest.mark.parametrize("source", [source for source in EXAMPLES if source is not LOOP])
def test_an_example_runs(source, monkeypatch):
    served = []
    monkeypatch.setattr(sansio_pingora, "serve", lambda app, **options: served.append((app, options)))
    names = run_blocks("tls.md", [source])

    if served:
        assert str(served[0][1]["listen"][0].address) == "127.0.0.1:8443"
    else:
        assert names["Edge"]().upstream_peer(None, None).tls


@pytest.fixture
def loop(tmp_path, monkeypatch):
    """The example of a loop of one's own; gives a client's TLS socket to it for the protocols offered."""
    Files(tmp_path).write("cert", cert())
    (tmp_path / "key.pem").write_bytes((tmp_path / "cert.key").read_bytes())
    monkeypatch.chdir(tmp_path)
    serve_client = run_blocks("tls.md", [LOOP])["serve_client"]
    threads = []

    def serve(sock):
        with sock:
            serve_client(sock)

    def connect(*alpn):
        ours, theirs = socket.socketpair()
        ours.settimeout(10)
        threads.append(threading.Thread(target=serve, args=(theirs,)))
        threads[-1].start()
        context = ssl.create_default_context(cadata=ca().pem.decode())
        context.set_alpn_protocols(list(alpn))
        return context.wrap_socket(ours, server_hostname="localhost")

    yield connect
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_the_loop_answers_over_http1(loop):
    with loop("http/1.1") as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        data = b""
        while piece := sock.recv(4096):
            data += piece
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert data.endswith(b"hello")


def test_the_loop_answers_over_http2(loop):
    from h2.connection import H2Connection
    from h2.events import DataReceived

    h2 = H2Connection()
    h2.initiate_connection()
    h2.send_headers(1, [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/")], end_stream=True)
    body = b""
    with loop("h2", "http/1.1") as sock:
        assert sock.selected_alpn_protocol() == "h2"
        while body != b"hello":
            sock.sendall(h2.data_to_send())
            body += b"".join(
                event.data for event in h2.receive_data(sock.recv(65_536)) if isinstance(event, DataReceived)
            )
        sock.unwrap()


def test_a_connection_says_what_stands_on_tls_and_when_it_never_will():
    maker = server().layer._tls
    conn = ServerConnection(now=0.0, tls=maker)
    assert (conn.version, conn.machine, conn.timeout(0.0)) == (b"", conn._inner, 5.0)
    ours = client(alpn=("h2",))

    told = []

    class Wire:
        """The server's end, as the pump wants it."""

        endpoint = None

        def take(self):
            return b"".join(conn.data_to_send())

        def receive_data(self, data, now):
            told.extend(conn.receive_data(data, now))

    wire = Wire()
    wire.endpoint = wire
    pump(ours, wire)
    assert [type(value) for _, value in told][:1] == [Established]
    assert conn.version == conn.machine.version == b"2"

    late = ServerConnection(now=0.0, tls=maker)
    ((stream, value),) = late.handle_timeout(5.0)
    assert (stream, type(value)) == (0, ConnectionClosed)
    assert "5 s while the TLS handshake was waited for" in str(value.error)
    assert late.closing
