"""The command line: what may be typed, what it answers, and its exit codes."""

import fcntl
import logging
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading

import pytest

import sansio_pingora
from sansio_pingora.apps import OriginApp
from sansio_pingora.cli import commands, demo, main
from sansio_pingora.cli.arguments import make_parser
from sansio_pingora.cli.client import Client
from sansio_pingora.cli.forwarding import HTTP2, RoundRobin
from sansio_pingora.cli.logs import OneLine
from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.upstreams import ALPN, HttpPeer
from tests.apps.serving import PATIENCE, RUNTIMES, ask, serving
from tests.tls.certs import cert

ROOT = sansio_pingora.__path__[0] + "/.."


@pytest.fixture(autouse=True)
def logging_as_before():
    """The command sets logging up; the tests after it want theirs."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_client_beyond_a_thousand_descriptors(monkeypatch):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 2000:
        pytest.skip("so many descriptors are not to be had here")

    def connect(*args):
        with real(*args) as sock:
            return socket.socket(fileno=fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, 1500))

    real = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", connect)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(2000, before[0]), before[1]))
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = Client("{}:{}".format(*server.getsockname()))
            with server.accept()[0] as peer:
                peer.sendall(b"answer")
            with client:
                assert client.send_raw(b"") == b"answer"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# ── usage ────────────────────────────────────────────────────────────────────────────


def test_version(capsys):
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith(f"sansio-pingora {sansio_pingora.__version__}, Python 3.")


@pytest.mark.parametrize(
    "argv", [["--help"], ["proxy", "--help"], ["origin", "--help"], ["demo", "--help"]], ids=" ".join
)
def test_help(argv, capsys):
    assert main(argv) == 0
    assert "usage: sansio-pingora" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], "required: COMMAND"),
        (["prxy"], "invalid choice: 'prxy'"),
        (["origin"], "required: --listen"),
        (["origin", "--listen", "8080"], "write host:port"),
        (["proxy", "--listen", "127.0.0.1:0"], "required: --to"),
        (["proxy", "--listen", "127.0.0.1:0", "--to", "ftp://a:1"], "write [http://]HOST:PORT, or https://, h2c://"),
        (["proxy", "--listen", "127.0.0.1:0", "--to", "a"], "write host:port"),
        (["proxy", "--listen", "127.0.0.1:0", "--to", "http://a:1/path"], "write host:port"),
        (["origin", "--listen", "127.0.0.1:0", "--runtime", "twisted"], "unknown runtime 'twisted': asyncio"),
        (["origin", "--listen", "127.0.0.1:0", "-o", "head_timeout"], "write KEY=VALUE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_2(argv, text, capsys):
    assert main(argv) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["-o", "head_timout=5"], "did you mean 'head_timeout'?"),
        (["-o", "head_timeout=soon"], "takes a number, not 'soon'"),
        (["-o", "head_timeout=5", "-o", "head-timeout=6"], "'head_timeout' is given twice"),
        (["-o", "max_retries=5"], "'max_retries' belongs to proxies"),
        (["-o", "threads=2"], "'threads' belongs to runtime 'threads'"),
        (["--cert", "c.pem"], "--cert and --key belong together"),
        (["--cert", "/none/c.pem", "--key", "/none/k.pem"], "/none/c.pem: No such file"),
        (["-o", "ca_file=x"], "'ca_file' belongs to proxies"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_configuration_is_78(options, text, capsys):
    assert main(["origin", "--listen", "127.0.0.1:0", *options]) == 78
    assert text in capsys.readouterr().err


def test_a_key_of_another_certificate_is_78(tmp_path, capsys):
    files = [tmp_path / "a.pem", tmp_path / "b.key"]
    files[0].write_bytes(cert("a.test").cert)
    files[1].write_bytes(cert("b.test").key)

    assert main(["origin", "--listen", "127.0.0.1:0", "--cert", str(files[0]), "--key", str(files[1])]) == 78
    text = "the private key does not belong to the certificate: name two that belong together"
    assert f"{files[0]}, {files[1]}: {text}" in capsys.readouterr().err


def test_a_runtime_that_is_not_installed_is_78(monkeypatch, capsys):
    monkeypatch.setattr(commands, "runtimes", lambda: ["asyncio", "threads"])
    assert main(["demo", "--runtime", "gevent"]) == 78
    assert "pip install 'sansio-pingora[gevent]'" in capsys.readouterr().err


def test_an_address_in_use_is_1(capsys):
    with serving(OriginApp(), "threads") as server:
        assert main(["origin", "--listen", server.addresses[0], "--runtime", "threads"]) == 1
    assert f"cannot listen on {server.addresses[0]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        ("http://127.0.0.1:9000", "127.0.0.1:9000"),
        ("http://example.com", "example.com:80"),
        ("http://example.com/", "example.com:80"),
        ("http://[::1]", "[::1]:80"),
        ("http://[::1]:81/", "[::1]:81"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
    ],
)
def test_origins_as_they_are_typed(text, address):
    arguments = make_parser().parse_args(["proxy", "--listen", "127.0.0.1:0", "--to", text])
    assert [str(peer.address) for peer in arguments.to] == [address]
    assert arguments.to[0].options.alpn is ALPN.H1


@pytest.mark.parametrize(
    ("text", "address", "alpn"),
    [
        ("https://example.com", "example.com:443", ALPN.H2H1),
        ("https://[::1]:81/", "[::1]:81", ALPN.H2H1),
        ("h2://example.com", "example.com:443", ALPN.H2),
    ],
)
def test_origins_over_tls(text, address, alpn):
    (peer,) = make_parser().parse_args(["proxy", "--listen", "127.0.0.1:0", "--to", text]).to
    assert (str(peer.address), peer.tls, peer.options.alpn) == (address, True, alpn)


@pytest.mark.parametrize("address", ["127.0.0.1:9000", "[::1]:81", "unix:/run/x.sock"])
def test_origins_that_speak_http_2(address):
    arguments = make_parser().parse_args(["proxy", "--listen", "127.0.0.1:0", "--to", f"h2c://{address}"])
    (peer,) = arguments.to
    assert str(peer.address) == address
    assert (peer.options.alpn, peer.options.max_h2_streams) == (ALPN.H2, 100)


# ── serving ──────────────────────────────────────────────────────────────────────────


class Command:
    """A serving command in a process of its own."""

    def __init__(self, *argv):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sansio_pingora", *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        line = self.process.stdout.readline()
        assert " listens on " in line, self.process.stderr.read()
        self.address = line.split()[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=PATIENCE)

    def end(self, signum=signal.SIGTERM):
        """Its exit code and what it logged."""
        self.process.send_signal(signum)
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, err


def test_the_ceilings_of_the_origin_are_defaults(monkeypatch):
    """It echoes WebSocket frames of any size, unless it is told otherwise."""
    asked = []
    monkeypatch.setattr("sansio_pingora._serve.serve", lambda app, **options: asked.append(options))
    main(["origin", "--listen", "127.0.0.1:0", "-o", "ws_max_fragments=5"])

    assert asked[0]["ws_max_message"] == OriginApp.limits["ws_max_message"]
    assert asked[0]["ws_max_fragments"] == "5"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_proxy_before_an_origin(runtime):
    with Command("origin", "--listen", "127.0.0.1:0", "--runtime", runtime, "-o", "keepalive_timeout=5") as origin:
        with Command(
            "proxy", "--listen", "127.0.0.1:0", "--to", f"http://{origin.address}", "--runtime", runtime
        ) as proxy:
            assert ask(proxy.address) == (200, b"Hello, world!")
            assert ask(proxy.address, "POST", "/echo", b"hello") == (200, b"hello")
            assert proxy.end(signal.SIGINT) == (0, "")
        assert origin.end() == (0, "")


def test_a_failure_is_one_line_of_log():
    with (
        serving(OriginApp(), "threads") as origin,
        Command("proxy", "--listen", "127.0.0.1:0", "--to", origin.addresses[0], "-o", "read_timeout=0.2") as proxy,
    ):
        assert ask(proxy.address, "GET", "/delay/60")[0] == 504
        code, err = proxy.end()
    assert code == 0
    (line,) = err.splitlines()
    assert re.match(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ERROR sansio_pingora: failed to proxy: Upstream ReadTimedout", line
    )


def test_records_stay_on_their_line():
    record = logging.LogRecord("a", logging.ERROR, "", 0, "one\r\ntwo %s", ("\nthree\\n",), None)
    assert OneLine().format(record).endswith(r" ERROR a: one\r\ntwo \nthree\\n")


def test_requests_go_round_and_on_to_the_next():
    peers = [HttpPeer(f"127.0.0.1:{port}") for port in (1, 2, 3)]
    app = RoundRobin(peers)
    ctxs = [app.new_ctx() for _ in range(4)]
    assert [str(app.upstream_peer(None, ctx).address) for ctx in ctxs] == [
        "127.0.0.1:1",
        "127.0.0.1:2",
        "127.0.0.1:3",
        "127.0.0.1:1",
    ]
    tried, ctx = [], app.new_ctx()
    for _ in peers:
        peer = app.upstream_peer(None, ctx)
        tried.append(peer.address.port)
        error = app.fail_to_connect(None, peer, ctx, Error(ErrorType.CONNECT_REFUSED))
    assert sorted(tried) == [1, 2, 3]
    assert not error.retry


def test_a_peer_that_is_named_twice_has_two_turns():
    one, other = HttpPeer("127.0.0.1:1"), HttpPeer("127.0.0.1:2")
    app = RoundRobin([one, other, HttpPeer("127.0.0.1:1")])
    ports = [app.upstream_peer(None, app.new_ctx()).address.port for _ in range(6)]
    assert ports.count(1) == 4
    with pytest.raises(ValueError, match="twice, with different schemes"):
        RoundRobin([one, HttpPeer("127.0.0.1:1", options=HTTP2)])


# ── the demo ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_demo_shows_that_all_is_right(runtime, capsys):
    assert main(["demo", "--runtime", runtime]) == 0
    out = capsys.readouterr().out
    assert out.count("✓") == len(demo.STEPS)
    assert out.endswith(f"{len(demo.STEPS)} of {len(demo.STEPS)} right on {runtime}\n")


def test_the_demo_says_what_is_wrong(monkeypatch, capsys):
    def wrong(stage, traffic):
        demo._expect("the answer", 41, 42)

    monkeypatch.setattr(demo, "STEPS", (("something", wrong), ("GET", demo.STEPS[0][1])))
    monkeypatch.setattr(commands, "runtimes", lambda: ["threads"])
    assert main(["demo"]) == 1
    out = capsys.readouterr().out
    assert "✗ something" in out
    assert "the answer is 41, not 42" in out
    assert out.endswith("1 of 2 right on threads\n")


def test_a_server_of_the_demo_that_cannot_start(monkeypatch):
    monkeypatch.setattr(demo, "serve", lambda *_, **__: 1 / 0)
    with pytest.raises(OSError, match="did not start: division by zero"):
        demo._Server(OriginApp(), "threads")


def test_the_client_is_told_when_a_server_breaks_off():
    with serving(OriginApp(), "threads") as server, Client(server.addresses[0]) as client:
        assert client.ask("GET", "/", fields=[("Connection", "close")]).body == b"Hello, world!"
        with pytest.raises((ConnectionError, Error)):
            client.ask("GET", "/")


def test_no_thread_is_left_behind():
    before = threading.active_count()
    assert main(["demo", "--runtime", "asyncio"]) == 0
    assert threading.active_count() <= before
