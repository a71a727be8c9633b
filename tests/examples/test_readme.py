"""Every block of code in the README runs."""

import contextlib
import re
import socket
import threading
from pathlib import Path

import pytest

import sansio_pingora
from sansio_pingora.apps import OriginApp
from sansio_pingora.cli.arguments import make_parser
from sansio_pingora.upstreams import HttpPeer
from tests.apps.serving import ask, serving

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SHELL = "".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)).splitlines()


class _Served(Exception):
    """serve() was called."""


def run(code, monkeypatch):
    """The names that *code* defines, and the application and options that it serves."""
    names, seen = {"__name__": "readme"}, {}

    def serve(app, **options):
        seen.update(options, app=app)
        raise _Served

    with monkeypatch.context() as patch, contextlib.suppress(_Served):
        patch.setattr(sansio_pingora, "serve", serve, raising=False)
        exec(compile(code, "<README>", "exec"), names)  # not the file: its lines are others
    return names, seen


def block(marker):
    """The one block with *marker* in it."""
    (found,) = (code for code in PYTHON if marker in code)
    return found


def test_it_opens_with_the_two_commands():
    assert [line.partition("#")[0].strip() for line in SHELL[:2]] == ["make demo", "make test"]
    assert README.index("make demo") < 100


def test_every_block_is_tested_here():
    assert len(PYTHON) == 4


def test_a_handler(monkeypatch):
    _, seen = run(block("lambda request"), monkeypatch)
    with serving(seen["app"], seen["runtime"]) as server:
        assert ask(server.addresses[0], "POST", "/", b"hello") == (200, b"hello")


def test_a_proxy(monkeypatch):
    _, seen = run(block("class Gateway"), monkeypatch)
    app, runtime = seen.pop("app"), seen.pop("runtime")
    assert len(seen.pop("listen")) == 2
    with serving(OriginApp(), runtime) as origin:
        assert app.upstream_peer(None, None) == HttpPeer("127.0.0.1:9000")
        type(app).upstream_peer = lambda self, session, ctx: HttpPeer(origin.addresses[0])
        with serving(app, runtime, **seen) as proxy:
            assert ask(proxy.addresses[0])[0] == 403
            status, body = ask(proxy.addresses[0], "GET", "/headers", headers={"X-Token": "secret"})
    assert status == 200
    assert b'"app.internal"' in body


def test_an_engine(monkeypatch):
    names, _ = run(block("def serve_client"), monkeypatch)
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    thread = threading.Thread(target=names["serve_client"], args=(theirs,), daemon=True)
    thread.start()
    with ours, theirs:
        ours.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while b"hello\n" not in answer:
            answer += ours.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        thread.join(20)
        assert not thread.is_alive()


def test_a_property_test(monkeypatch):
    names, _ = run(block("@given"), monkeypatch)
    names["test_cutting_never_matters"]()


@pytest.mark.parametrize("line", [line for line in SHELL if line.startswith("sansio-pingora")])
def test_the_commands_parse(line):
    argv = re.sub(r"\[--runtime .*\]", "--runtime asyncio", line).split()[1:]
    assert make_parser().parse_args(argv).command == argv[0]


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_the_links_lead_somewhere(target):
    assert (Path(__file__).parents[2] / target).exists()
