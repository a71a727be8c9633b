"""``sansio-pingora serve``: exit codes, what is said, and a run with every signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from sansio_pingora.cli import main, serving
from tests.adapters.harness import GET, PATIENCE, client

CONF = """\
runtime: {runtime}
error_log: {dir}/error.log
upgrade_sock: {dir}/up.sock
limits: {{max_per_peer: 10}}
services:
  - name: origin
    kind: origin
    listeners: [{{uds: {dir}/origin.sock}}]
  - name: edge
    kind: proxy
    listeners: [{{tcp: "127.0.0.1:0"}}, {{uds: {dir}/edge.sock, h2c: true}}]
    upstreams: [{{address: "unix:{dir}/{origin}.sock"}}]
    access_log: {{path: {dir}/access.log, format: "{{method}} {{target}} {{status}} {{upstream}}"}}
"""


def write(tmp_path, *, runtime: str = "threads", origin: str = "origin", more: str = "") -> str:
    path = tmp_path / "conf.yaml"
    path.write_text(more + CONF.format(dir=tmp_path, runtime=runtime, origin=origin))
    return str(path)


def test_a_good_configuration_is_checked_and_nothing_is_made(tmp_path, capsys):
    path = write(tmp_path)

    assert main(["serve", "-c", path, "-t"]) == 0
    assert capsys.readouterr().out == f"{path} can be used\n"
    assert [one.name for one in tmp_path.iterdir()] == ["conf.yaml"]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("threads: no\n", "conf.yaml:1:10 threads takes a whole number"),
        ("client_bind_to_ipv4: [192.0.2.1]\n", "conf.yaml:1:23 192.0.2.1: no interface"),
    ],
)
def test_a_bad_one_is_refused_in_a_line_by_a_test_and_by_a_start(tmp_path, capsys, more, line):
    path = write(tmp_path, more=more)

    for arguments in (["-t"], []):
        assert main(["serve", "-c", path, *arguments]) == 78
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert line in captured.err


def test_values_combinations_and_files_are_looked_at_in_one_go(tmp_path, capsys):
    path = write(tmp_path, more="threads: 0\nclient_bind_to_ipv4: [192.0.2.1]\npid_file: /none/pid\n")
    text = (tmp_path / "conf.yaml").read_text()
    (tmp_path / "conf.yaml").write_text(f"{text}    balance_key: host\n")

    assert main(["serve", "-c", path, "-t"]) == 78
    err = capsys.readouterr().err
    for line in (
        "conf.yaml:1:10 threads takes a whole number",
        "conf.yaml:2:23 192.0.2.1: no interface",
        "conf.yaml:3:11 the directory /none does not exist",
        "balance_key has no effect with balance: round_robin",
    ):
        assert line in err
    assert err.count("conf.yaml:") == 4


def test_a_runtime_that_cannot_have_lanes_or_is_unknown(tmp_path, capsys):
    assert main(["serve", "-c", write(tmp_path, runtime="asyncio", more="threads: 2\n"), "-t"]) == 78
    assert "'asyncio' has one lane: write 1, or choose the threads runtime" in capsys.readouterr().err
    assert main(["serve", "-c", write(tmp_path, runtime="asyncoi"), "-t"]) == 78
    assert "conf.yaml:1:10 runtime is one of asyncio, gevent, threads, not 'asyncoi'" in capsys.readouterr().err


def test_no_services(tmp_path, capsys):
    (tmp_path / "conf.yaml").write_text("version: 1\n")

    assert main(["serve", "-c", str(tmp_path / "conf.yaml")]) == 78
    assert "there are no services" in capsys.readouterr().err


def test_the_schema(capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "sansio-pingora"


def wait_for(condition) -> None:
    give_up = time.monotonic() + 2 * PATIENCE
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_a_run_with_every_signal(tmp_path):
    path = write(tmp_path)
    error_log, access_log = tmp_path / "error.log", tmp_path / "access.log"

    def logged(text: str) -> bool:
        return error_log.exists() and text in error_log.read_text()

    unread, pipe = os.pipe()
    os.close(unread)  # who has started it has gone: what it prints breaks the pipe
    with subprocess.Popen([sys.executable, "-m", "sansio_pingora", "serve", "-c", path], stdout=pipe) as server:
        os.close(pipe)
        try:
            wait_for(lambda: logged("phase Running") or server.poll() is not None)
            with client(str(tmp_path / "edge.sock")) as peer:
                peer.send(GET)
                assert peer.message()[2] == b"Hello, world!"
            wait_for(access_log.read_text)
            assert access_log.read_text() == f"GET / 200 unix:{tmp_path}/origin.sock\n"

            access_log.rename(tmp_path / "access.1")
            server.send_signal(signal.SIGUSR1)
            wait_for(access_log.exists)

            write(tmp_path, more="threads: no\n")
            server.send_signal(signal.SIGHUP)
            wait_for(lambda: logged("nothing is reloaded: "))
            assert logged("conf.yaml:1:10 threads takes a whole number")

            write(tmp_path, origin="nobody", more="threads: 2\n")
            server.send_signal(signal.SIGHUP)
            wait_for(lambda: logged("what has changed in threads takes effect with an upgrade"))
            with client(str(tmp_path / "edge.sock")) as peer:
                peer.send(GET)
                assert peer.status() == 502

            text = (tmp_path / "conf.yaml").read_text().replace("max_per_peer: 10", "max_per_peer: 11")
            (tmp_path / "conf.yaml").write_text(f"{text}    via: edge\n")
            server.send_signal(signal.SIGHUP)
            wait_for(lambda: logged("in threads, limits.max_per_peer, services.edge.via takes effect with an upgrade"))

            server.send_signal(signal.SIGTERM)
            assert server.wait(PATIENCE) == 0
        finally:
            server.kill()
    assert logged("standard output cannot be written: [Errno 32] Broken pipe")
    assert logged("phase Terminated")
    assert not (tmp_path / "edge.sock").exists()


def test_an_access_log_follows_a_clock_that_is_set(monkeypatch):
    clocks = SimpleNamespace(time=lambda: 1_000.0, monotonic=lambda: 10.0)
    monkeypatch.setattr(serving, "time", clocks)
    assert serving._wall(9.5) == 999.5
    clocks.time = lambda: 5_000.0
    assert serving._wall(9.5) == 4_999.5
