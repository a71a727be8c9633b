"""Hand-overs between real processes under load: ``python -m tests.adapters.upgrades`` for the long form.

Ten hand-overs in a row over changing runtimes; a new process killed (SIGKILL) at every step before it has acknowledged; two
new processes at once; a socket file that was left behind; and the ends: SIGTERM, a second one, SIGINT, SIGHUP.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import cycle, islice
from pathlib import Path

from tests.adapters.upgrade_load import Load

__all__ = ["STEPS", "Process", "Servers", "killed_at"]

_PATIENCE = 60.0
_ROOT = Path(__file__).parents[2]
_CONF = """\
runtime: {runtime}
error_log: {dir}/error.log
upgrade_sock: {dir}/up.sock
grace_period_seconds: {grace}
services:
  - name: origin
    kind: origin
    listeners: [{{tcp: "127.0.0.1:{port}", h2c: true}}]
    limits: {{{limits}}}
"""

STEPS = {
    "it listens": ("handover", "Receiver.receive"),
    "the old one has come": ("handover", "_receive_sockets"),
    "it has the sockets": ("descriptors", "DescriptorTable.inherit"),
    "it takes them": ("descriptors", "DescriptorTable.take"),
    "it is up": ("handover", "Receiver.acknowledge"),
}
"""Where a new process is killed: instead of this call, of a module of sansio_pingora_posix."""
_DYING = """\
import os, signal, sys
import sansio_pingora_posix.{module} as module
at = module
*path, name = {name!r}.split(".")
for one in path:
    at = getattr(at, one)
def dying(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(at, name, dying)
from sansio_pingora.cli import main
sys.exit(main(sys.argv[1:]))
"""


@cache
def _bytecode() -> str:
    """Where processes find what the first of them has compiled."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return folder.name


class Process:
    """A server of its own."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
        )
        self.pid = self._process.pid

    def up(self) -> Process:
        """Wait until it listens."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith("origin listens on"), self.said()
        return self

    def said(self) -> str:
        """What it has complained about, once it has ended."""
        assert self._process.stderr is not None
        return self._process.stderr.read()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def join(self) -> int:
        """Its exit code."""
        return self._process.wait(_PATIENCE)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(_PATIENCE)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


class Servers:
    """Processes that serve one port in turn."""

    def __init__(self, folder: Path, *, grace: float = 10.0, limits: str = "") -> None:
        self.folder = folder
        self._grace = grace
        self._limits = limits
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.port: int = sock.getsockname()[1]
        self.processes: list[Process] = []
        self.write("asyncio")

    def write(self, runtime: str, more: str = "", limits: str | None = None) -> None:
        """The configuration."""
        limits = self._limits if limits is None else limits
        text = _CONF.format(dir=self.folder, port=self.port, runtime=runtime, grace=self._grace, limits=limits)
        (self.folder / "conf.yaml").write_text(more + text)

    def start(self, runtime: str, *, upgrade: bool = False, dying_at: str | None = None) -> Process:
        command = [sys.executable, "-m", "sansio_pingora"]
        if dying_at is not None:
            module, name = STEPS[dying_at]
            command = [sys.executable, "-c", _DYING.format(module=module, name=name)]
        command += ["serve", "-c", str(self.folder / "conf.yaml"), "--runtime", runtime]
        paths = [str(_ROOT), *(str(path) for path in (_ROOT / "adapters").iterdir())]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONPYCACHEPREFIX": _bytecode()}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        process = Process([*command, *(["-u"] if upgrade else [])], environ)
        self.processes.append(process)
        return process

    @property
    def waiting(self) -> bool:
        """Whether a new process waits for sockets."""
        return _answers(str(self.folder / "up.sock"))

    def upgrade(self, old: Process, runtime: str) -> Process:
        """From *old* to a process on *runtime*."""
        new = self.start(runtime, upgrade=True)
        until(lambda: self.waiting or new.ended)
        old.signal(signal.SIGQUIT)
        return new.up()

    def logged(self, text: str) -> int:
        """How often the error log of all processes has *text*."""
        path = self.folder / "error.log"
        return path.read_text().count(text) if path.exists() else 0

    def close(self) -> None:
        for process in self.processes:
            process.close()


def _answers(path: str) -> bool:
    # Whoever listens takes a stranger that says nothing for one, and waits for the next.
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except OSError:
            return False
    return True


def until(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds."""
    give_up = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < give_up, "it never came to hold"
        time.sleep(0.01)


def killed_at(servers: Servers, old: Process, runtime: str, step: str) -> None:
    """A new process that is killed at *step*: *old* goes on."""
    before = servers.logged("this process goes on serving")
    new = servers.start(runtime, upgrade=True, dying_at=step)
    if step == "it listens":
        assert new.join() == -signal.SIGKILL
    else:
        until(lambda: servers.waiting or new.ended)
    old.signal(signal.SIGQUIT)
    assert new.join() == -signal.SIGKILL
    until(lambda: servers.logged("this process goes on serving") > before)


# ── the long form ────────────────────────────────────────────────────────────────────

_RUNTIMES = ("asyncio", "gevent", "threads")


@contextlib.contextmanager
def _loaded(scale: float, **options: float) -> Iterator[tuple[Servers, Process, Load]]:
    with tempfile.TemporaryDirectory() as folder:
        servers = Servers(Path(folder), **options)  # type: ignore[arg-type]  # of numbers alone
        try:
            old = servers.start("asyncio").up()
            load = Load(
                servers.port,
                http1=int(200 * scale),
                http2=max(int(4 * scale), 1),
                websockets=max(int(20 * scale), 1),
                uploads=max(int(20 * scale), 1),
            )
            try:
                yield servers, old, load
            finally:
                load.end()
        finally:
            servers.close()


def _told(what: str, load: Load) -> list[str]:
    sys.stdout.write("\n".join([f"{what}: {load}", *load.failures[:40], ""]))
    sys.stdout.flush()
    return load.failures


def _in_a_row(scale: float, rounds: int) -> list[str]:
    with _loaded(scale) as (servers, old, load):
        first = servers.processes[0]
        for runtime in islice(cycle(("gevent", "threads", "asyncio", "threads", "gevent", "asyncio")), rounds):
            load.more(20)
            old = servers.upgrade(old, runtime)
        load.more(20)
        until(lambda: first.ended)
        codes = [process.join() for process in servers.processes[:-1]]
    assert codes == [0] * rounds, codes
    return _told(f"{rounds} hand-overs in a row", load)


def _killed(scale: float, runtime: str) -> list[str]:
    with _loaded(scale) as (servers, old, load):
        old = servers.upgrade(old, runtime)
        for step in STEPS:
            load.more(10)
            killed_at(servers, old, runtime, step)
        load.more(10)
        one, other = servers.start(runtime, upgrade=True), servers.start(runtime, upgrade=True)
        until(lambda: servers.waiting and (one.ended or other.ended))
        loser, winner = (one, other) if one.ended else (other, one)
        assert loser.join() == 1
        old.signal(signal.SIGQUIT)
        winner.up()
        load.more(10)
        with socket.socket(socket.AF_UNIX) as left:  # a socket file that nobody listens at
            left.bind(str(servers.folder / "up.sock"))
        servers.upgrade(winner, "asyncio")
        load.more(10)
    return _told(f"{runtime}: killed at {len(STEPS)} steps, two at once, a file left behind", load)


def _ended(scale: float, runtime: str) -> list[str]:
    """SIGHUP with a bad and a good configuration; then SIGTERM: what is under way is answered, and it ends with it."""
    with _loaded(scale) as (servers, old, load):
        old = servers.upgrade(old, runtime)
        for limits, text in (
            ("head_timeut: 5", "nothing is reloaded: "),
            ("head_timeout: 5", "takes effect with an upg"),
        ):
            servers.write("asyncio", limits=limits)
            old.signal(signal.SIGHUP)
            until(lambda text=text: servers.logged(text))
            load.more(10)
        load.goes_away = True
        old.signal(signal.SIGTERM)
        began = time.monotonic()
        assert old.join() == 0
        took = time.monotonic() - began
        load.end()
    failures = _told(f"{runtime}: HUP, then TERM, over in {took:.1f} s", load)
    for signals in ([signal.SIGTERM, signal.SIGTERM], [signal.SIGINT]):
        with _loaded(scale) as (servers, old, load):
            old = servers.upgrade(old, runtime)
            load.more(10)
            load.goes_away = True
            began = time.monotonic()
            for number in signals:
                old.signal(number)
                time.sleep(0.1)
            assert old.join() == 0
            names = ", ".join(number.name for number in signals)
            sys.stdout.write(f"{runtime}: {names}, over in {time.monotonic() - began:.1f} s\n")
    return failures


def main() -> int:
    """Run all of it; 1 where a request was sent and not answered, refused or cut."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="1 is 200 connections of HTTP/1 and what goes with them"
    )
    options = parser.parse_args()
    failures = _in_a_row(options.scale, options.rounds)
    for runtime in _RUNTIMES:
        failures += _killed(options.scale, runtime)
        failures += _ended(options.scale, runtime)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
