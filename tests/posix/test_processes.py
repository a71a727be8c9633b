"""Servers in a process of their own: signals, descriptors used up, gevent's patches."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from tests.posix.harness import PATIENCE, RUNTIMES

each_runtime = pytest.mark.parametrize("name", RUNTIMES)


def program(name, body, *, before=""):
    """A server in a process of its own, which prints its address."""
    source = f"""
{textwrap.dedent(before)}
import logging, sys, threading
logging.basicConfig(stream=sys.stderr, level="INFO", format="%(levelname)s %(message)s")
from sansio_pingora.listeners import ServerAddress
from sansio_pingora_posix import Control
from tests.posix.machines import *
import sansio_pingora_{name} as runtime

control = Control()
def announce():
    control.ready.wait()
    print(*control.addresses, flush=True)
threading.Thread(target=announce, daemon=True).start()
{textwrap.dedent(body)}
"""
    return subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=_ROOT
    )


_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_SERVE = 'runtime.serve(Application(), [ServerAddress.parse("127.0.0.1:0")], control=control)'


def dial_program(process):
    host, _, port = process.stdout.readline().strip().rpartition(":")
    return lambda: socket.create_connection((host, int(port)), PATIENCE)


@each_runtime
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_gracefully(name, number):
    with program(name, _SERVE + '\nprint("returned")') as process:
        dial_program(process)().close()
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (0, "returned\n", "")


@each_runtime
def test_a_second_signal_ends_it_at_once(name):
    deaf = "RawConnection.drain = lambda self, now: None\n"
    with program(name, deaf + _SERVE + '\nprint("returned")') as process, dial_program(process)() as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        process.send_signal(signal.SIGTERM)
        while True:  # until the first one has been heard
            client.sendall(b"x")
            client.recv(1)
            try:
                socket.create_connection(client.getpeername(), PATIENCE).close()
            except (ConnectionRefusedError, ConnectionResetError):  # reset: amid the listener's close
                break
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "returned\n")


@each_runtime
def test_with_every_descriptor_used_up_it_rests_says_so_and_comes_back(name):
    body = """
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    """
    with program(name, textwrap.dedent(body) + _SERVE) as process:
        dial = dial_program(process)
        hoard = [dial() for _ in range(60)]
        before = _cpu_seconds(process.pid)
        time.sleep(1.5)
        used = _cpu_seconds(process.pid) - before
        for client in hoard:
            client.close()
        with dial() as client:
            client.sendall(b"back")
            assert client.recv(10) == b"back"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
    lines = [line for line in err.splitlines() if "EMFILE" in line]
    assert 1 <= len(lines) <= 4
    assert "ulimit -n" in lines[0]
    assert used < 0.5


def _cpu_seconds(pid):
    if sys.platform != "linux":
        return 0.0
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    ("patch", "name", "outcome"),
    [
        ("patch_all()", "gevent", "served"),
        ("patch_all(thread=False)", "gevent", "replaced socket and not threading"),
        ("patch_all(socket=False)", "gevent", "replaced threading and not socket"),
        ("patch_all()", "threads", "use the gevent runtime"),
        ("patch_socket()", "threads", "served"),
    ],
)
def test_a_patched_process(patch, name, outcome):
    before = f"from gevent import monkey\nmonkey.{patch}"
    body = """
    try:
        runtime.connect(SocketAddr("127.0.0.1", 1), RawConnection(), None)
    except Error as error:
        print("served", error.etype)
    """
    with program(
        name, "from sansio_pingora.transport import SocketAddr\n" + textwrap.dedent(body), before=before
    ) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert outcome in out + err
