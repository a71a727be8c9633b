"""``sansio-pingora serve -d``, looked at as a system administrator would."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sansio_pingora.cli import main
from tests.adapters.harness import GET, PATIENCE, client

CONF = """\
runtime: threads
daemon: true
workers: {workers}
pid_file: {dir}/run/pid
error_log: {dir}/run/error.log
upgrade_sock: {dir}/run/up.sock
{more}
services:
  - name: origin
    kind: origin
    listeners: [{{uds: {dir}/run/origin.sock}}, {{tcp: "127.0.0.1:{port}"}}]
    access_log: {{path: {dir}/run/access.log}}
"""
IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can become somebody else")


def _known(names: list[str], look_up: object) -> str | None:
    for name in names:
        with contextlib.suppress(KeyError):
            look_up(name)  # type: ignore[operator]
            return name
    return None


USER = _known(["nobody", "daemon"], pwd.getpwnam)
GROUP = _known(["daemon", "games", "users"], grp.getgrnam)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory where other users get to, with one that is theirs; what has left its number there is killed."""
    made = Path(tempfile.mkdtemp(prefix="sansio-pingora-"))
    made.chmod(0o755)
    (made / "run").mkdir()
    yield made
    with contextlib.suppress(OSError, ValueError):
        os.kill(int((made / "run" / "pid").read_text()), signal.SIGKILL)
    shutil.rmtree(made)


def write(place: Path, *, port: int = 0, workers: int = 1, more: str = "") -> str:
    path = place / "conf.yaml"
    path.write_text(CONF.format(dir=place, port=port, workers=workers, more=more))
    return str(path)


def start(path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As from a shell: it returns when the daemon is ready, and holds neither of the pipes."""
    command = [sys.executable, "-m", "sansio_pingora", "serve", "-c", path, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)


def status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}


def wait_for(condition) -> None:
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def answers(place: Path) -> bool:
    with client(str(place / "run" / "origin.sock")) as peer:
        peer.send(GET)
        return peer.message()[2] == b"Hello, world!"


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"  # no init reaps it here


def test_a_daemon(place):
    run = place / "run"
    done = start(write(place))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pid = int((run / "pid").read_text())
    assert answers(place)  # at once: it was ready

    assert os.getsid(pid) not in (pid, os.getsid(0))  # a session of its own that it does not lead
    assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4] == "0"  # no terminal
    assert status(pid)["Umask"] == ["0007"]
    streams = [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)]
    assert streams == ["/dev/null", str(run / "error.log"), str(run / "error.log")]

    # Its logs are moved away, and made again.
    (run / "error.log").rename(run / "error.1")
    os.kill(pid, signal.SIGUSR1)
    wait_for(lambda: os.readlink(f"/proc/{pid}/fd/2") == str(run / "error.log"))

    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: is_gone(pid))
    assert sorted(one.name for one in run.iterdir()) == ["access.log", "error.1", "error.log"]
    assert "phase Terminated" in (run / "error.log").read_text()


@needs_root
@pytest.mark.skipif(USER is None or GROUP is None, reason="this host has no such user or group")
def test_a_daemon_that_was_root_is_so_no_more(place):
    run = place / "run"
    os.chown(run, pwd.getpwnam(USER).pw_uid, -1)
    done = start(write(place, port=0, workers=2, more=f"user: {USER}\ngroup: {GROUP}"))
    assert (done.returncode, done.stderr) == (0, "")
    pid = int((run / "pid").read_text())
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(workers) == 2
    uid, gid = str(pwd.getpwnam(USER).pw_uid), str(grp.getgrnam(GROUP).gr_gid)
    for one in (pid, *map(int, workers)):
        seen = status(one)
        assert seen["Uid"] == [uid] * 4  # real, effective, saved, of files
        assert seen["Gid"] == [gid] * 4
        assert "0" not in seen["Groups"]
        assert seen["CapEff"] == seen["CapPrm"] == ["0" * 16]
    for name in ("pid", "error.log", "access.log", "origin.sock"):
        assert str((run / name).stat().st_uid) == uid
    assert answers(place)

    os.kill(pid, signal.SIGHUP)  # what it may no longer do was done at the start
    wait_for(lambda: (run / "error.log").read_text().count("the configuration is reloaded") == 3)

    new = subprocess.Popen([sys.executable, "-m", "sansio_pingora", "serve", "-c", str(place / "conf.yaml"), "-u"])
    wait_for((run / "up.sock").exists)
    os.kill(pid, signal.SIGQUIT)
    assert new.wait(PATIENCE) == 0
    wait_for(lambda: is_gone(pid))
    assert answers(place)
    successor = int((run / "pid").read_text())
    assert successor != pid
    os.kill(successor, signal.SIGTERM)
    wait_for(lambda: not (run / "pid").exists())
    assert not (run / "origin.sock").exists()


def test_a_daemon_that_does_not_get_ready_says_why(place):
    (place / "run" / "pid").write_text("1234567\n")
    with somebody_in_the_way() as port:
        done = start(write(place, port=port))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (place / "run" / "pid").read_text() == "1234567\n"  # of who is still there


@contextlib.contextmanager
def somebody_in_the_way() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("user: nobody-here", "conf.yaml:7:7 this host has no user 'nobody-here': add it, or name another"),
        ("group: nobody-here", "conf.yaml:7:8 this host has no group 'nobody-here': add it, or name another"),
        ("working_directory: /nowhere", "conf.yaml:7:20 the directory /nowhere does not exist: make it"),
        ("working_directory: here", "conf.yaml:7:20 working_directory takes an absolute path, not 'here'"),
        (
            "daemon_notify_timeout_seconds: 5",
            "conf.yaml:7:32 daemon_notify_timeout_seconds cannot be set: a daemon tells",
        ),
    ],
)
def test_what_does_not_go_is_found_before_anything_happens(place, capsys, more, line):
    path = write(place, more=more)
    assert main(["serve", "-c", path, "-t"]) == 78
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1


def test_a_directory_for_the_number_that_is_not_there(place, capsys):
    (place / "run").rmdir()
    assert main(["serve", "-c", write(place), "-t"]) == 78
    assert f"conf.yaml:4:11 the directory {place}/run does not exist: make it" in capsys.readouterr().err


def test_a_daemon_without_a_log_is_warned_about(place, capsys):
    path = place / "conf.yaml"
    path.write_text(Path(write(place)).read_text().replace(f"error_log: {place}/run/error.log\n", ""))
    assert main(["serve", "-c", str(path), "-t"]) == 0
    assert "a daemon without error_log tells nobody what goes wrong: set it to a file" in capsys.readouterr().err
