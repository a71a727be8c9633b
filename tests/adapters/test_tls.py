"""TLS over real sockets, on every runtime, against curl and OpenSSL's own client and server."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from sansio_pingora import blocking
from sansio_pingora.apps import OriginApp
from sansio_pingora.upstreams import ALPN, PeerOptions
from tests.adapters.harness import CAN_AWAIT, To, served, until
from tests.tls.certs import ca, cert, self_signed
from tests.tls.files import Files, listen

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
CLIENT = cert("me", by="clients", organization="Client Ltd")


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def curl(server, *args, path="/", host="localhost"):
    port = server.peer.rpartition(":")[2]
    run = subprocess.run(
        [
            *("curl", "-s", "-S", "--max-time", "10", "--resolve", f"{host}:{port}:127.0.0.1"),
            *("-w", "\n%{http_version} %{http_code}", *args, f"https://{host}:{port}{path}"),
        ],
        capture_output=True,
        encoding="latin-1",
        check=False,
    )
    body, _, told = run.stdout.rpartition("\n")
    return body, told, run.stderr


def get(server, files, version="--http1.1", **options):
    return curl(server, version, "--cacert", files.ca(), **options)


@needs_curl
@pytest.mark.parametrize(("version", "told"), [("--http1.1", "1.1 200"), ("--http2", "2 200")])
def test_curl_with_the_version_that_alpn_settles(runtime, files, version, told):
    with served(OriginApp(), runtime, listen=listen(files)) as server:
        assert get(server, files, version)[:2] == ("Hello, world!", told)
        assert len(get(server, files, version, path="/bytes/1000000")[0]) == 1_000_000
        assert get(server, files, version, path="/status/404")[1] == told.replace("200", "404")


@needs_curl
@pytest.mark.parametrize("alpn", [ALPN.H1, ALPN.H2, ALPN.H2H1])
def test_a_proxy_over_tls_both_ways(runtime, files, alpn):
    with served(OriginApp(), runtime, listen=listen(files)) as origin:
        peer = origin.peer
        app = To(peer, tls=True, sni="localhost", options=PeerOptions(alpn=alpn, ca=ca(), max_h2_streams=10))
        with served(app, runtime, listen=listen(files)) as server:
            assert get(server, files, "--http2")[:2] == ("Hello, world!", "2 200")
            body = get(server, files, "--http2", path="/headers")[0]
            assert f'"version": "{"1.1" if alpn is ALPN.H1 else "2"}"' in body
            assert len(get(server, files, path="/bytes/1000000")[0]) == 1_000_000


@needs_curl
@pytest.mark.parametrize(
    ("shown", "changes", "text"),
    [
        (cert(expired=True), {}, "certificate has expired"),
        (self_signed(), {}, "self-signed certificate"),
        (cert("elsewhere.example"), {}, "hostname mismatch: it is for elsewhere.example, not for 'localhost'"),
        (cert(by="other"), {}, "unable to get local issuer certificate"),
        (cert(expired=True), {"verify_cert": False}, None),
        (self_signed(), {"verify_cert": False}, None),
        (cert("elsewhere.example"), {"verify_hostname": False}, None),
        (cert("elsewhere.example"), {"alternative_cn": "elsewhere.example"}, None),
    ],
    ids=["expired", "self-signed", "wrong host", "unknown", "not verified", "not verified 2", "no name", "alternative"],
)
def test_certificates_of_origins(runtime, files, shown, changes, text):
    with served(OriginApp(), runtime, listen=listen(files, shown)) as origin:
        app = To(origin.peer, tls=True, sni="localhost", options=PeerOptions(**{"ca": ca(), **changes}))
        with served(app, runtime, listen=listen(files, name="proxy")) as server:
            told = get(server, files)[1]
            until(lambda: app.ended)
        if text is None:
            assert told == "1.1 200"
        else:
            assert told == "1.1 502"
            assert "InvalidCert" in str(app.ended[0])
            assert text in str(app.ended[0])


@needs_curl
def test_client_certificates(runtime, files):
    mine = files.write("client", CLIENT)
    wrong = files.write("wrong", cert("me", by="other"))
    at = listen(files, client_ca=files.ca("clients"))
    with served(OriginApp(), runtime, listen=at) as server:
        good = curl(server, "--cacert", files.ca(), "--cert", mine[0], "--key", mine[1])
        bad = curl(server, "--cacert", files.ca(), "--cert", wrong[0], "--key", wrong[1])
        none = curl(server, "--cacert", files.ca())
    assert good[:2] == ("Hello, world!", "2 200")
    assert bad[1].endswith(" 000")
    assert none[1].endswith(" 000")


@needs_curl
def test_a_proxy_shows_a_certificate(runtime, files):
    at = listen(files, client_ca=files.ca("clients"))
    with served(OriginApp(), runtime, listen=at) as origin:
        for shown, told in ((CLIENT, "1.1 200"), (None, "1.1 502")):
            app = To(origin.peer, tls=True, sni="localhost", client_cert_key=shown, options=PeerOptions(ca=ca()))
            with served(app, runtime, listen=listen(files, name="proxy")) as server:
                assert get(server, files)[1] == told
                until(lambda app=app: app.ended)
            assert shown is not None or "the server refused our certificate, or wants one" in str(app.ended[0])


@needs_openssl
def test_which_certificate_is_shown(runtime, files):
    names = {
        "www.a.test": files.write("exact", cert("www.a.test")),
        "*.a.test": files.write("wild", cert("*.a.test")),
    }
    with served(OriginApp(), runtime, listen=listen(files, names=names)) as server:
        for asked, shown in (("www.a.test", "www.a.test"), ("x.a.test", "*.a.test"), ("b.test", "localhost")):
            run = subprocess.run(
                ["openssl", "s_client", "-connect", server.peer, "-servername", asked, "-showcerts"],
                input=b"",
                capture_output=True,
                check=False,
                timeout=10,
            )
            pem = re.search(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", run.stdout, re.DOTALL)
            from sansio_pingora.tls import Certificate

            assert Certificate.parse(ssl.PEM_cert_to_DER_cert(pem[0].decode())).dns_names[0] == shown


@needs_openssl
def test_an_openssl_server_as_origin(runtime, files):
    certificate, key = files.write("s_server", cert())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        "openssl",
        "s_server",
        "-accept",
        f"127.0.0.1:{port}",
        "-cert",
        certificate,
        "-key",
        key,
        "-www",
        "-quiet",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: _listens(port))
            app = To(f"127.0.0.1:{port}", tls=True, sni="localhost", options=PeerOptions(ca=ca()))
            with served(app, runtime) as server:
                run = subprocess.run(
                    ["curl", "-s", "--max-time", "10", f"http://{server.peer}/"],
                    capture_output=True,
                    text=True,
                    check=False,
                )
            assert "TLSv1.3" in run.stdout
        finally:
            process.kill()


def _listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def tls_client(server, files):
    context = ssl.create_default_context(cafile=files.ca())
    host, port = server.peer.split(":")
    return context.wrap_socket(socket.create_connection((host, int(port)), 10), server_hostname="localhost")


def test_certificates_are_changed_in_place_under_load(runtime, files):
    at = listen(files, cert(organization="Old"))
    stop, failures, seen = threading.Event(), [], set()
    files.ca()

    def load():
        while not stop.is_set():
            try:
                with tls_client(server, files) as sock:
                    subject = dict(pair for (pair,) in sock.getpeercert()["subject"])
                    for _ in range(3):
                        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                        data = b""
                        while b"world!" not in data:
                            piece = sock.recv(65_536)
                            assert piece
                            data += piece
                    seen.add(subject["organizationName"])
            except Exception as exc:
                failures.append(exc)

    with served(OriginApp(), runtime, listen=at) as server, tls_client(server, files) as old:
        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: "Old" in seen)
        files.write("server", cert(organization="New"))
        server.control.reload()
        until(lambda: "New" in seen)
        old.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert old.recv(65_536).startswith(b"HTTP/1.1 200")
        (files.folder / "server.pem").write_text("nonsense")
        with pytest.raises(Exception, match="has no -----BEGIN"):
            server.control.reload()
        with tls_client(server, files):
            pass  # what was read before is still in force
        stop.set()
        for thread in threads:
            thread.join(10)
    assert not failures


@needs_curl
@pytest.mark.parametrize("form", ["plain", "blocking", "async"])
def test_a_callback_chooses_the_certificate(runtime, files, form):
    if form == "async" and runtime not in CAN_AWAIT:
        with (
            pytest.raises(TypeError, match="async def"),
            served(OriginApp(), runtime, listen=listen(files, choose=_later)),
        ):
            pass
        return
    with served(OriginApp(), runtime, listen=listen(files, cert("nobody.test"), choose=FORMS[form])) as server:
        assert get(server, files)[:2] == ("Hello, world!", "1.1 200")
        assert curl(server, "-k", host="refused.test")[1].endswith(" 000")


def test_handshakes_off_the_loop(runtime, files):
    at = listen(files, offload=True)
    if runtime == "gevent":
        with pytest.raises(ValueError, match="no effect on gevent"), served(OriginApp(), runtime, listen=at):
            pass
        return
    threads = []
    answers = []
    with served(OriginApp(), runtime, listen=at) as server:

        def ask():
            with tls_client(server, files) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answers.append(sock.recv(65_536))

        files.ca()
        for _ in range(8):
            threads.append(threading.Thread(target=ask))
            threads[-1].start()
        for thread in threads:
            thread.join(10)
    assert len(answers) == 8
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)


def _choose(hello):
    if hello.server_name == "refused.test":
        from sansio_pingora import Error, ErrorType

        raise Error(ErrorType.CUSTOM, "not you", name="Refused")
    assert "TLSv1.3" in hello.version_names
    return cert()


@blocking
def _block(hello):
    return _choose(hello)


async def _later(hello):
    return _choose(hello)


FORMS = {"plain": _choose, "blocking": _block, "async": _later}


def test_a_thousand_handshakes_that_stall_hold_nothing(runtime, files):
    threads = threading.active_count()
    with served(OriginApp(), runtime, listen=listen(files), handshake_timeout=1.0) as server:
        host, port = server.peer.split(":")
        stalled = []
        for number in range(1000):
            sock = socket.create_connection((host, int(port)), 10)
            if number % 2:
                sock.sendall(b"\x16\x03\x01\x02\x00\x01")  # the first bytes of a ClientHello, and no more
            stalled.append(sock)
        assert threading.active_count() <= threads + 4
        with tls_client(server, files) as sock:  # others are served meanwhile
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(65_536).startswith(b"HTTP/1.1 200")
        for sock in stalled:
            try:
                while sock.recv(4096):
                    pass
            except ConnectionResetError:
                pass
            sock.close()


@pytest.mark.parametrize("raw", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x00\x01\x02\x03\x04\x05", b"SSH-2.0-x\r\n"])
def test_what_is_no_tls_is_closed(runtime, files, raw):
    with served(OriginApp(), runtime, listen=listen(files)) as server:
        host, port = server.peer.split(":")
        with socket.create_connection((host, int(port)), 10) as sock:
            sock.sendall(raw)
            answer = b""
            while piece := sock.recv(4096):
                answer += piece
    assert answer.startswith(b"HTTP/1.1 400 ") if raw[:3] == b"GET" else answer == b""
