"""``sansio-pingora serve`` over TLS: what a check finds in files, and certificates that change under a reload."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import subprocess
import sys
import time

import pytest

from sansio_pingora.cli import main
from sansio_pingora.upstreams import CertKey
from tests.adapters.harness import PATIENCE, client
from tests.tls.certs import ca, cert

CONF = """\
runtime: {runtime}
error_log: {dir}/error.log
upgrade_sock: {dir}/up.sock
services:
  - name: origin
    kind: origin
    listeners: [{{uds: {dir}/origin.sock, tls: {{cert: {dir}/app.pem, key: {dir}/app.key, client_ca: {dir}/ca.pem}}}}]
    access_log: {{path: {dir}/origin.log, format: "{{method}} {{target}} {{status}}"}}
  - name: edge
    kind: proxy
    listeners:
      - tcp: "127.0.0.1:0"
        tls:
          cert: {dir}/edge.pem
          key: {dir}/edge.key
          names: {{www.a.test: {{cert: {dir}/a.pem, key: {dir}/a.key}}}}
    upstreams:
      - address: "unix:{dir}/origin.sock"
        tls: {{sni: app.test, ca: {dir}/ca.pem, cert: {dir}/client.pem, key: {dir}/client.key}}
    health_check: {{kind: http, host: app.test, path: /, frequency: 60}}
    outlier_detection: {{consecutive_failures: 3}}
  - name: metrics
    kind: prometheus
    listeners: [{{uds: {dir}/metrics.sock}}]
"""


def put(tmp_path, name: str, pair: CertKey) -> None:
    (tmp_path / f"{name}.pem").write_bytes(pair.cert)
    (tmp_path / f"{name}.key").write_bytes(pair.key)


@pytest.fixture
def conf(tmp_path) -> str:
    (tmp_path / "ca.pem").write_bytes(ca().pem)
    for name, host in (("edge", "localhost"), ("app", "app.test"), ("a", "www.a.test"), ("client", "client.test")):
        put(tmp_path, name, cert(host))
    path = tmp_path / "conf.yaml"
    path.write_text(CONF.format(dir=tmp_path, runtime="threads"))
    return str(path)


def no_file(tmp_path) -> None:
    (tmp_path / "edge.key").unlink()


def another_key(tmp_path) -> None:
    (tmp_path / "a.key").write_bytes(cert("b.test").key)


def no_pem(tmp_path) -> None:
    (tmp_path / "edge.pem").write_text("nonsense")


def no_authorities(tmp_path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def key_of_client(tmp_path) -> None:
    (tmp_path / "client.key").write_bytes(cert("b.test").key)


@pytest.mark.parametrize(
    ("spoil", "lines"),
    [
        (no_file, ["conf.yaml:15:16 {dir}/edge.key cannot be read: No such file or directory: name a PEM file"]),
        (another_key, ["{dir}/a.key: the private key does not belong to the certificate: name two that belong"]),
        (
            no_pem,
            [
                "conf.yaml:15:16 {dir}/edge.pem, {dir}/edge.key: the certificate has no -----BEGIN CERTIFICATE-----: name two"
            ],
        ),
        (
            no_authorities,
            ["{dir}/ca.pem: the authorities cannot be read", "{dir}/ca.pem: the authorities cannot be read"],
        ),
        (key_of_client, ["conf.yaml:19:", "{dir}/client.key: the private key does not belong"]),
    ],
)
def test_files_that_do_not_go_are_refused_with_their_place(conf, tmp_path, capsys, spoil, lines):
    spoil(tmp_path)

    assert main(["serve", "-c", conf, "-t"]) == 78
    said = capsys.readouterr().err
    assert said.count("\n") == (2 if spoil is no_authorities else 1)
    for line in lines:
        assert line.format(dir=tmp_path) in said


def test_a_certificate_that_has_expired_is_warned_about(conf, tmp_path, capsys):
    put(tmp_path, "edge", cert("localhost", expired=True))

    assert main(["serve", "-c", conf, "-t"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{conf} can be used\n"
    assert f"conf.yaml:14:17 {tmp_path}/edge.pem has expired on 2020-01-02: clients will refuse it" in captured.err


def test_keys_of_sessions_need_a_file(conf, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    text = (tmp_path / "conf.yaml").read_text()
    (tmp_path / "conf.yaml").write_text(f"upstream_debug_ssl_keylog: true\nca_file: {tmp_path}/nobody.pem\n{text}")

    assert main(["serve", "-c", conf, "-t"]) == 78
    said = capsys.readouterr().err
    assert "conf.yaml:1:28 the variable SSLKEYLOGFILE names no file: set it" in said
    assert f"conf.yaml:2:10 {tmp_path}/nobody.pem cannot be read" in said


def test_a_run_with_a_reload(conf, tmp_path):
    command = [sys.executable, "-m", "sansio_pingora", "serve", "-c", conf]
    with contextlib.ExitStack() as ended, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            said = [server.stdout.readline() for _ in range(3)]
            port = int(next(line for line in said if line.startswith("edge")).rpartition(":")[2])
            old = ended.enter_context(connect(tmp_path, port, "localhost"))
            assert ask(old) == b"Hello, world!"
            with connect(tmp_path, port, "www.a.test") as other:
                assert ask(other) == b"Hello, world!"

            put(tmp_path, "edge", cert("localhost", organization="New"))
            server.send_signal(signal.SIGHUP)
            wait_for(lambda: organization(tmp_path, port) == "New")

            (tmp_path / "a.pem").write_text("nonsense")
            put(tmp_path, "edge", cert("localhost", organization="Newer"))
            server.send_signal(signal.SIGHUP)
            wait_for(lambda: "nothing is reloaded: " in (tmp_path / "error.log").read_text())
            assert organization(tmp_path, port) == "New"
            assert ask(old) == b"Hello, world!"

            with client(str(tmp_path / "metrics.sock")) as peer:
                peer.send(b"GET /metrics HTTP/1.1\r\nHost: a.test\r\n\r\n")
                text = peer.message()[2].decode()
            assert 'sansio_pingora_http_requests_total{service="edge",status="2xx",version="1.1"} 3' in text
            server.send_signal(signal.SIGTERM)
            old.close()
            assert server.wait(PATIENCE) == 0
        finally:
            server.kill()
    assert (tmp_path / "origin.log").read_text().count("GET / 200\n") == 4  # three, and a check


def connect(tmp_path, port: int, name: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), PATIENCE), server_hostname=name)


def ask(sock: ssl.SSLSocket) -> bytes:
    sock.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    data = b""
    while not data.endswith(b"world!"):
        piece = sock.recv(65_536)
        assert piece, data
        data += piece
    return data.rpartition(b"\r\n\r\n")[2]


def organization(tmp_path, port: int) -> str:
    with connect(tmp_path, port, "localhost") as sock:
        return dict(pair for (pair,) in sock.getpeercert()["subject"])["organizationName"]


def wait_for(condition) -> None:
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)
