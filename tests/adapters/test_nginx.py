"""nginx as the other side of TLS: an origin of ours over both versions, and a client of our origin."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess

import pytest

from sansio_pingora.apps import OriginApp
from sansio_pingora.upstreams import ALPN, PeerOptions
from tests.adapters.harness import To, client, served, until
from tests.tls.certs import ca, cert
from tests.tls.files import Files, listen

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
CLIENT = cert("me", by="clients", organization="Client Ltd")
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def files(tmp_path):
    tmp_path.chmod(0o755)
    return Files(tmp_path)


@contextlib.contextmanager
def nginx(files, listens, *settings):
    """nginx with one server; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = files.folder
    config = folder / "nginx.conf"
    temporary = "".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    inside = " ".join(settings)
    config.write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        f"events {{ worker_connections 64; }}\n"
        f"http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port} {listens}; {inside} }} }}\n"
    )
    with subprocess.Popen(["nginx", "-p", str(folder), "-c", str(config)], stderr=subprocess.PIPE) as process:
        try:
            until(lambda: process.poll() is not None or _listens(port))
            assert process.poll() is None, process.stderr.read()
            yield port
        finally:
            process.terminate()


def _listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def shown(files, *more):
    """What an nginx over TLS is configured with."""
    certificate, key = files.write("nginx", cert())
    return f"ssl_certificate {certificate};", f"ssl_certificate_key {key};", "ssl_protocols TLSv1.2 TLSv1.3;", *more


def ask(address, target=b"/"):
    with client(address) as peer:
        peer.send(GET % target)
        return peer.message()


@pytest.mark.parametrize(("alpn", "told"), [(ALPN.H1, b"HTTP/1.1"), (ALPN.H2, b"HTTP/2.0"), (ALPN.H2H1, b"HTTP/2.0")])
def test_an_nginx_as_origin(runtime, files, alpn, told):
    (files.folder / "large").write_bytes(b"0123456789" * 100_000)
    says = 'location = / { return 200 "$server_protocol $ssl_protocol $ssl_server_name"; }'
    with nginx(files, "ssl http2", *shown(files, f"root {files.folder};", says)) as port:
        options = PeerOptions(alpn=alpn, ca=ca(), max_h2_streams=10)
        app = To(f"127.0.0.1:{port}", tls=True, sni="localhost", options=options)
        with served(app, runtime) as server:
            assert ask(server.address)[2] == told + b" TLSv1.3 localhost"
            assert ask(server.address, b"/large")[2] == b"0123456789" * 100_000
            assert app.ended == [None, None]


def test_an_nginx_that_wants_a_certificate(runtime, files):
    wants = f"ssl_verify_client on; ssl_client_certificate {files.ca('clients')};"
    with nginx(files, "ssl", *shown(files, wants, 'return 200 "$ssl_client_s_dn";')) as port:
        for certificate, status, text in ((CLIENT, b"200", b"O=Client Ltd"), (None, b"400", b"No required SSL")):
            app = To(
                f"127.0.0.1:{port}",
                tls=True,
                sni="localhost",
                client_cert_key=certificate,
                options=PeerOptions(ca=ca()),
            )
            with served(app, runtime) as server:
                start, _, body = ask(server.address)
                assert start.split(b" ")[1] == status
                assert text in body


def test_an_nginx_before_our_origin(runtime, files):
    mine = files.write("client", CLIENT)
    at = listen(files, client_ca=files.ca("clients"))
    with served(OriginApp(), runtime, listen=at) as origin:
        verified = (
            f"proxy_pass https://{origin.peer}; proxy_http_version 1.1; proxy_ssl_verify on;"
            f"proxy_ssl_trusted_certificate {files.ca()}; proxy_ssl_name localhost; proxy_ssl_server_name on;"
            "proxy_ssl_protocols TLSv1.2 TLSv1.3;"
        )
        shows = f"proxy_ssl_certificate {mine[0]}; proxy_ssl_certificate_key {mine[1]};"
        for certificate, status in ((shows, b"200"), ("", b"502")):
            with nginx(files, "", f"location / {{ {verified} {certificate} }}") as port:
                for _ in range(3):  # the later ones resume the session of the first
                    start, _, body = ask(("127.0.0.1", port), b"/bytes/300000")
                    assert start.split(b" ")[1] == status
                    assert status == b"502" or len(body) == 300_000
