"""Servers of several processes, on every runtime: a worker killed under load, signals, and upgrades."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.harness import PATIENCE, Peer, client, until
from tests.adapters.test_server import Load

ROOT = Path(__file__).parents[2]
PROGRAM = """
import logging, os, sys
from pathlib import Path
from sansio_pingora.apps import HttpServerApp
from sansio_pingora.server import ExecutionPhase, Opt, Server, ServerConf
from sansio_pingora.services import BackgroundService, Service
from sansio_pingora.session import ReadBody, Sleep
from sansio_pingora.wire import ResponseHeader

runtime, workers, place, *what = sys.argv[1:]
place = Path(place)
logging.basicConfig(level="INFO", format="%(process)d %(message)s")


class App(HttpServerApp):
    def process_new_http(self, session):
        while session.req_header.target == b"/wait" and not (place / "go").exists():
            yield Sleep(0.01)
        body = b"Hello, world!" if session.req_header.target == b"/" else b"%d" % os.getpid()
        if session.req_header.method == b"POST":
            body = b""
            while (data := (yield ReadBody())) is not None:
                body += data
        session.write_response_header(ResponseHeader(200, [(b"Content-Length", b"%d" % len(body))]), False)
        session.write_response_body(body, True)


class Breaks(BackgroundService):
    def start_with_ready_notifier(self, shutdown, ready):
        raise OSError("there is no cache")


def announce(phase):
    if phase is ExecutionPhase.RUNNING and server.previous is ExecutionPhase.BOOTSTRAP_COMPLETE:
        print(*server.addresses["web"], flush=True)


def note(text):
    with open(place / text, "a") as file:
        file.write(f"{os.getpid()}\\n")


server = Server(
    Opt(upgrade="upgrade" in what),
    ServerConf(runtime=runtime, workers=int(workers), upgrade_sock=str(place / "up.sock"), grace_period_seconds=10.0),
)
web = Service("web", App())
web.add_tcp("127.0.0.1:0")
server.add_service(web)
if "breaks" in what:
    server.add_service(Breaks("cache"))
server.subscribe(announce)
server.on_reload.append(lambda: note("reloaded"))
server.on_reopen.append(lambda: note("reopened"))
code = server.run_forever()
print("returned", os.getpid(), flush=True)
sys.exit(code)
"""
every_runtime = pytest.mark.parametrize("runtime", ["asyncio", "gevent", "threads"])


class Program:
    """A server in processes of its own."""

    def __init__(self, place: Path, runtime: str, *what: str, workers: int = 2) -> None:
        command = [sys.executable, "-c", PROGRAM, runtime, str(workers), str(place), *what]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def up(self) -> tuple[str, int]:
        assert self.process.stdout is not None
        host, _, port = self.process.stdout.readline().strip().rpartition(":")
        return host, int(port)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=2 * PATIENCE)
        return self.process.returncode, out, err


@contextlib.contextmanager
def program(place: Path, runtime: str, *what: str, workers: int = 2) -> Iterator[Program]:
    made = Program(place, runtime, *what, workers=workers)
    try:
        yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(made.process.pid, signal.SIGKILL)
        made.process.communicate(timeout=PATIENCE)


def ask(peer: Peer, target: bytes = b"/pid") -> int:
    peer.send(b"GET %b HTTP/1.1\r\nHost: a.test\r\n\r\n" % target)
    return int(peer.message()[2])


def both(address: tuple[str, int], ended: contextlib.ExitStack) -> list[Peer]:
    """Clients, of which both workers have some."""
    peers: list[Peer] = []
    pids: set[int] = set()
    while len(pids) < 2:
        assert len(peers) < 1000
        peers.append(ended.enter_context(client(address)))
        pids.add(ask(peers[-1]))
    return peers


class Clients:
    """They keep a connection for a while and ask who answers; one that breaks is noted and replaced."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self.address = address
        self.over = threading.Event()
        self.broken: list[int | None] = []
        """Of each broken connection who had answered on it before."""
        self.answered: set[int] = set()
        self.threads = [threading.Thread(target=self._run) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self) -> None:
        while not self.over.is_set():
            last: int | None = None
            try:
                with client(self.address) as peer:
                    for _ in range(20):  # then a new one: workers that came later get their part
                        last = ask(peer)
                        self.answered.add(last)
                        time.sleep(0.002)
            except (OSError, EOFError):
                self.broken.append(last)

    def end(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(PATIENCE)


@every_runtime
def test_the_life_of_two_workers(runtime, tmp_path):
    with program(tmp_path, runtime) as server, contextlib.ExitStack() as ended:
        address = server.up()
        clients = Clients(address, 12)
        ended.callback(clients.end)
        until(lambda: len(clients.answered) == 2)

        # One is killed: its connections break, no other does, and there are two again.
        victim, other = clients.answered
        clients.answered.clear()
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(clients.answered - {victim}) == 2)
        assert set(clients.broken) <= {victim, None}, "connections of the other worker broke"
        # None: it was accepted by the one that was killed, or waits in its place for the first answer.
        assert victim in clients.broken

        # Signals reach all, once, and nobody notices.
        broken = len(clients.broken)
        for number, name in ((signal.SIGHUP, "reloaded"), (signal.SIGUSR1, "reopened")):
            server.process.send_signal(number)
            until(lambda name=name: (tmp_path / name).exists() and (tmp_path / name).read_text().count("\n") == 3)
            pids = {int(line) for line in (tmp_path / name).read_text().splitlines()}
            assert other in pids
            assert server.process.pid in pids
        clients.answered.clear()
        until(lambda: len(clients.answered) == 2)
        assert len(clients.broken) == broken
        clients.end()

        # The end: what is under way is answered by both, and nobody listens any more.
        peers = both(address, ended)
        for peer in peers:
            peer.send(b"GET /wait HTTP/1.1\r\nHost: a.test\r\n\r\n")
        time.sleep(0.1)  # until they are being served
        server.process.send_signal(signal.SIGTERM)
        until(lambda: not _connects(address))
        (tmp_path / "go").touch()
        for peer in peers:
            start, fields, _ = peer.message()
            assert start.startswith(b"HTTP/1.1 200")
            assert fields[b"connection"] == b"close"
        code, out, err = server.end()
        assert (code, out) == (0, f"returned {server.process.pid}\n"), err


def _connects(address: tuple[str, int]) -> bool:
    try:
        with client(address):
            return True
    except ConnectionRefusedError:
        return False


@pytest.mark.parametrize("signals", [[signal.SIGTERM, signal.SIGTERM], [signal.SIGINT]], ids=["twice", "at-once"])
def test_nobody_is_waited_for(signals, tmp_path):
    with program(tmp_path, "threads") as server, contextlib.ExitStack() as ended:
        address = server.up()
        peers = both(address, ended)
        for peer in peers:
            peer.send(b"GET /wait HTTP/1.1\r\nHost: a.test\r\n\r\n")
        for number in signals:
            server.process.send_signal(number)
            until(lambda: not _connects(address))
        assert server.end()[0] == 0
        assert all(peer.ended() for peer in peers)


def test_workers_do_not_outlive_who_leads_them_and_hear_nobody_else(tmp_path):
    with contextlib.ExitStack() as ended, program(tmp_path, "asyncio") as server:
        address = server.up()
        peers = both(address, ended)
        pids = {ask(peer) for peer in peers}
        for pid in pids:
            os.kill(pid, signal.SIGTERM)  # as systemctl stop may do it beside its main process
        assert {ask(peer) for peer in peers} == pids
        ended.close()
        server.process.kill()
        until(lambda: not _connects(address))
        _, _, err = server.end()  # the pipe ends with the last of them
        assert err.count("the supervisor is gone, so this worker ends") == 2


def test_workers_that_cannot_start_fail_the_start(tmp_path):
    with program(tmp_path, "threads", "breaks") as server:
        code, out, err = server.end()
    assert (code, out) == (1, f"returned {server.process.pid}\n")
    assert "service 'cache' failed: there is no cache" in err


def test_workers_take_over_from_workers_and_leave_to_one_without_a_lost_request(tmp_path):
    with contextlib.ExitStack() as ended:
        old = ended.enter_context(program(tmp_path, "asyncio"))
        load = Load(old.up(), 8)
        try:
            for runtime, workers in (("threads", 2), ("gevent", 1)):
                load.more()
                new = ended.enter_context(program(tmp_path, runtime, "upgrade", workers=workers))
                until((tmp_path / "up.sock").exists)
                old.process.send_signal(signal.SIGQUIT)
                new.up()
                assert old.end()[0] == 0
                old = new
            load.more()
        finally:
            load.end()
