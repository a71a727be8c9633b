"""``serve`` as systemd would run it, against a socket of the test."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys

import pytest

from sansio_pingora.cli import serving
from sansio_pingora.server import ExecutionPhase, Server
from sansio_pingora_posix import ServiceManager, inherited_sockets, systemd
from tests.adapters.harness import GET, PATIENCE, client

CONF = """\
runtime: threads
services:
  - {{name: web, kind: origin, listeners: [{{tcp: "127.0.0.1:{port}"}}]}}
"""


def test_a_run_as_its_service_manager_sees_it(tmp_path):
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.create_server(("127.0.0.1", 0)) as listening,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(2 * PATIENCE)
        address = listening.getsockname()
        conf = tmp_path / "conf.yaml"
        conf.write_text(CONF.format(port=address[1]))
        # The process's own id belongs into its environment.
        script = (
            f"import os, sys; os.dup2({listening.fileno()}, 3); os.environ['LISTEN_PID'] = str(os.getpid())\n"
            f"os.execv(sys.executable, [sys.executable, '-m', 'sansio_pingora', 'serve', '-c', {str(conf)!r}])"
        )
        environ = {
            **os.environ,
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "100000",
            "LISTEN_FDS": "1",
        }
        with subprocess.Popen([sys.executable, "-c", script], env=environ, pass_fds=[listening.fileno()]) as server:
            try:
                assert manager.recv(1000).decode() == f"READY=1\nMAINPID={server.pid}"
                assert [manager.recv(1000) for _ in range(3)] == [b"WATCHDOG=1"] * 3
                with client(address) as peer:
                    peer.send(GET)
                    assert peer.message()[2] == b"Hello, world!"

                server.send_signal(signal.SIGHUP)
                said = told(manager, 2)
                assert said[0].startswith("RELOADING=1\nMONOTONIC_USEC=")
                assert said[1].startswith("READY=1")

                server.send_signal(signal.SIGTERM)
                assert told(manager, 1) == ["STOPPING=1"]
                assert server.wait(PATIENCE) == 0
            finally:
                server.kill()


def told(manager: socket.socket, count: int) -> list[str]:
    """What comes, without the watchdog's beats."""
    said: list[str] = []
    while len(said) < count:
        text = manager.recv(1000).decode()
        if text != "WATCHDOG=1":
            said.append(text)
    return said


def test_without_a_manager_nothing_is_told():
    manager = ServiceManager({})
    manager.ready()
    manager.stopping()
    manager.watch(lambda _: pytest.fail("nobody wants to hear"))


@pytest.fixture
def listening(tmp_path):
    """A manager that reads when it is told to, and a ServiceManager that speaks to it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock, ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3600000000"})


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of threads of pytest-xdist
def test_workers_do_not_speak_for_who_leads_them(listening):
    sock, manager = listening
    manager.ready()
    child = os.fork()
    if child == 0:
        manager.ready()
        manager.reloading()
        os._exit(0)
    os.waitpid(child, 0)
    manager.stopping()
    assert sock.recv(1000).decode() == f"READY=1\nMAINPID={os.getpid()}"
    assert sock.recv(1000) == b"STOPPING=1"


def test_a_manager_that_does_not_read_holds_nobody_up(listening, monkeypatch, caplog):
    sock, manager = listening
    monkeypatch.setattr(systemd, "_PATIENCE", 0.01)
    asked = queue.SimpleQueue()
    manager.watch(asked.put)
    beat = asked.get(timeout=PATIENCE)
    while "is not told WATCHDOG=1" not in caplog.text:
        beat(0.0)
    manager.stopping()
    assert "is not told STOPPING=1" in caplog.text
    sock.recv(1000)
    manager.stopping()  # there is room
    assert caplog.text.count("is not told STOPPING=1") == 1


def test_a_reload_is_told_by_a_server_that_runs_alone():
    server, told = Server(), []
    tell = serving._while_running(server, lambda: told.append(server.phase))
    for phase in (ExecutionPhase.BOOTSTRAP, ExecutionPhase.RUNNING, ExecutionPhase.GRACEFUL_UPGRADE_TRANSFERRING_FDS):
        server.entered(phase)
        tell()
    assert told == [ExecutionPhase.RUNNING]


def test_variables_of_another_process_are_not_ours_and_are_taken_away():
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "3", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "1", "HOME": "/"}

    assert list(inherited_sockets(environ)) == []
    ServiceManager(environ).watch(lambda _: pytest.fail("nobody wants to hear"))
    assert environ == {"HOME": "/"}


def test_a_manager_that_is_gone_is_no_reason_to_end(tmp_path, caplog):
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()

    assert "is not told READY=1" in caplog.text
