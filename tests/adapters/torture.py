"""Torture: the k-th system call of a proxy fails, for every k, and nothing may leak, hang or break down.

The proxy is a process with ``torture.c`` preloaded, so that each runtime meets the same faults, whatever
it makes its calls with. All of it, for an hour or so::

    python -m tests.adapters.torture --runtimes asyncio,uvloop,gevent,threads
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from mmap import mmap
from pathlib import Path

from tests.adapters.harness import GET, Origin, Peer, client, post

__all__ = ["ERRORS", "KINDS", "SCENARIOS", "Tortured", "can_torture", "preloaded", "tortured"]

ROOT = Path(__file__).parents[2]
KINDS = (
    *("accept", "recv", "send", "connect", "getsockopt", "setsockopt", "shutdown", "close"),
    *("wait", "wake", "hear", "socket", "name", "watch"),
)
"""As torture.c numbers them: wait is for readiness; wake and hear are between threads; watch is epoll_ctl."""
SHORT = -1
_ALWAYS = (errno.EINTR, errno.EAGAIN)
ERRORS: dict[str, tuple[int, ...]] = {
    "accept": (*_ALWAYS, errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM),
    "recv": (*_ALWAYS, SHORT, errno.ECONNRESET, errno.ETIMEDOUT, errno.ENOBUFS, errno.EHOSTUNREACH),
    "send": (*_ALWAYS, SHORT, errno.ECONNRESET, errno.EPIPE, errno.ENOBUFS, errno.ETIMEDOUT),
    "connect": (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EMFILE),
    "getsockopt": (errno.ENOBUFS, errno.EINVAL),
    "setsockopt": (errno.EINVAL, errno.ENOBUFS),
    "shutdown": (errno.ENOTCONN, errno.ENOBUFS),
    "close": (errno.EINTR, errno.EIO),
    "wait": (errno.EINTR,),
    "wake": (errno.EINTR, errno.ENOBUFS),
    "hear": (errno.EINTR, errno.EAGAIN),
    "socket": (errno.EMFILE, errno.ENFILE, errno.ENOBUFS),
    "name": (errno.EINVAL, errno.ENOBUFS),
    "watch": (errno.ENOMEM, errno.ENOSPC),
}
_LAYOUT = struct.Struct(f"5i{len(KINDS)}i")
_HANGS = 8.0
"""Seconds that nothing may take: longer than any time-out of the proxy."""
_BUGS = ("Traceback", "a bug stopped", "broke down")
_RECORD = re.compile(r"^(?=[A-Z]+:[\w.]+:)", re.MULTILINE)
# asyncio calls close() and epoll_ctl() from callbacks of its own, too. What they raise it logs; the protocol has been
# told before, or a deadline of ours ends the connection.
_EXCUSED = re.compile(
    r"ERROR:asyncio:Exception in callback _Selector\w*Transport\._(call_connection_lost|add_reader|read_ready|write_ready)"
)
NOT_ON = {
    ("gevent", "watch"): "libev drops the watchers of a descriptor that epoll refuses, and tells nobody",
    ("uvloop", "wake"): "libuv aborts the process when it cannot write to its own event counter",
}
"""Kinds of calls that may not fail."""


def can_torture() -> bool:
    """There is a compiler, and a system that the library is written for."""
    return sys.platform == "linux" and shutil.which("cc") is not None


def preloaded(folder: Path) -> Path:
    """The library that strikes, built in *folder*."""
    built = folder / "torture.so"
    source = Path(__file__).with_name("torture.c")
    command = ["cc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(built), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return built


# ── what clients do ──────────────────────────────────────────────────────────────────


def pooled(address: tuple[str, int]) -> None:
    """Two requests on a connection, and one on another: the origin's is used again."""
    with client(address) as peer:
        peer.send(GET)
        peer.message()
        peer.send(GET)
        peer.message()
    with client(address) as peer:
        peer.send(GET)
        peer.message()


def upload(address: tuple[str, int]) -> None:
    """A body in pieces, which the origin sends back."""
    with client(address) as peer:
        peer.send(post(60_000))
        for _ in range(3):
            peer.send(b"u" * 20_000)
        peer.message()


def download(address: tuple[str, int]) -> None:
    """An answer that does not fit the buffers, to a client that takes its time."""
    with client(address, receive_buffer=4_096) as peer:
        peer.send(b"GET /big HTTP/1.1\r\nHost: a.test\r\n\r\n")
        time.sleep(0.02)
        peer.message()


def early(address: tuple[str, int]) -> None:
    """The origin answers in the middle of a body, and leaves."""
    with client(address) as peer:
        peer.send(b"POST /early HTTP/1.1\r\nHost: a.test\r\nContent-Length: 400000\r\n\r\n" + b"e" * 200_000)
        peer.message()


def gone(address: tuple[str, int]) -> None:
    """The client resets in the middle of an answer; the next one half-closes."""
    with client(address) as peer:
        peer.send(b"GET /big HTTP/1.1\r\nHost: a.test\r\n\r\n")
        peer.take(1_000)
        peer.reset()
    with client(address) as peer:
        peer.send(GET)
        peer.shut()
        peer.message()
        peer.rest()


def upgraded(address: tuple[str, int]) -> None:
    """A connection becomes raw bytes, both ways."""
    with client(address) as peer:
        peer.send(b"GET /raw HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n")
        peer.head()
        peer.send(b"x" * 100)
        peer.take(100)
        peer.shut()
        peer.rest()


SCENARIOS: dict[str, Callable[[tuple[str, int]], None]] = {
    scenario.__name__: scenario for scenario in (pooled, upload, download, early, gone, upgraded)
}


def _script(peer: Peer) -> None:
    """The origin: what it does is in the target."""
    while True:
        start, fields = peer.head()
        target = start.split(b" ")[1]
        if target == b"/early":
            peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
            return
        if target == b"/raw":
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n")
            while data := peer.buffer or peer.sock.recv(65_536):
                peer.buffer = b""
                peer.send(data)
            return
        body = peer.body(fields) or (b"b" * 300_000 if target == b"/big" else b"ok")
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)


# ── striking ─────────────────────────────────────────────────────────────────────────


@dataclass
class Tortured:
    """A proxy whose calls fail on demand."""

    process: subprocess.Popen[str]
    order: mmap
    log: Path
    address: tuple[str, int]
    strikes: int = 0
    """Faults that fired."""
    furthest: Counter[str] = field(default_factory=Counter)
    """The last call of each kind that failed, over all scenarios."""
    missed: int = 0
    """Faults that did not, for the calls were fewer this time."""
    complaints: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    """How the client's scripts ended, when not well."""
    _read: int = 0
    _open: int = 0
    _threads: int = 0

    def counts(self, scenario: str) -> dict[str, int]:
        """How many calls of each kind *scenario* takes; nothing fails."""
        self._arm(len(KINDS), 0, 0)
        self._try(scenario)
        return dict(zip(KINDS, self._disarm()[1:], strict=True))

    def settle(self) -> None:
        """What is open now is open for good: what comes on top of it later has leaked."""
        for scenario in SCENARIOS:
            self._try(scenario)
        self._recovers("nothing")
        time.sleep(0.3)
        self._open, self._threads = self._descriptors(), self._tasks()

    def strike(self, scenario: str, kind: str, at: int, error: int) -> bool:
        """Run *scenario* with the *at*-th call of *kind* failing by *error*, and see that all is well behind it.

        False: there were not so many calls.
        """
        what = f"{scenario}: {kind} {at} {'SHORT' if error == SHORT else errno.errorcode[error]}"
        self._arm(KINDS.index(kind), at, error)
        outcome = self._try(scenario)
        fired = self._disarm()[0]
        self.strikes += fired
        self.missed += not fired
        if not fired:
            return False
        self.furthest[kind] = max(self.furthest[kind], at)
        if outcome == "hangs":
            self.complaints.append(f"{what}: the client got neither an answer nor an end")
        self.refused[outcome] += outcome != ""
        self._recovers(what)
        self._until(lambda: self._descriptors() <= self._open, f"{what}: descriptors leak")
        self._until(lambda: self._tasks() <= self._threads + 4, f"{what}: threads leak")
        self._listen(what)
        return True

    def end(self) -> None:
        """Stop it, gracefully."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(_HANGS)
        except subprocess.TimeoutExpired:
            self.complaints.append("it does not end")
            self.process.kill()
            self.process.wait()
        else:
            if code:
                self.complaints.append(f"it ends with {code}")
        self._listen("the end")

    def _arm(self, kind: int, at: int, error: int) -> None:
        self.order[:] = _LAYOUT.pack(1, kind, at, error, 0, *[0] * len(KINDS))

    def _disarm(self) -> tuple[int, ...]:
        told = _LAYOUT.unpack(self.order[: _LAYOUT.size])[4:]
        self.order[:4] = bytes(4)
        return told

    def _try(self, scenario: str) -> str:
        try:
            SCENARIOS[scenario](self.address)
        except TimeoutError:
            return "hangs"
        except (OSError, EOFError) as exc:
            return type(exc).__name__
        return ""

    def _recovers(self, what: str) -> None:
        """A new client is served, from the only connection that the origin may have."""
        try:
            with client(self.address) as peer:
                peer.sock.settimeout(_HANGS)
                peer.send(GET)
                status = peer.status()
        except (OSError, EOFError) as exc:
            self.complaints.append(f"{what}: the next client gets {exc!r}")
        else:
            if status != 200:
                self.complaints.append(f"{what}: the next client gets {status}: a lease has leaked")

    def _until(self, condition: Callable[[], bool], complaint: str) -> None:
        give_up = time.monotonic() + _HANGS
        while not condition():
            if time.monotonic() > give_up:
                self.complaints.append(complaint)
                self._open = max(self._open, self._descriptors())  # told once
                return
            time.sleep(0.005)

    def _descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def _tasks(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def _listen(self, what: str) -> None:
        """What it logged since the last look."""
        said = self.log.read_text()[self._read :]
        self._read += len(said)
        for record in _RECORD.split(said):
            if any(bug in record for bug in _BUGS) and not _EXCUSED.match(record):
                self.complaints.append(f"{what}: it broke down:\n{record[-3_000:]}")


@contextlib.contextmanager
def tortured(runtime: str, library: Path, folder: Path) -> Iterator[Tortured]:
    """A proxy on *runtime*, with *library* preloaded; its complaints are complete afterwards."""
    path = folder / f"order-{runtime}"
    path.write_bytes(bytes(_LAYOUT.size))
    log = folder / f"log-{runtime}"
    origin = Origin(_script)
    with path.open("r+b") as file, log.open("w") as errors:
        order = mmap(file.fileno(), _LAYOUT.size)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.adapters.torture_server", runtime, origin.peer],
            cwd=ROOT,
            env={**os.environ, "LD_PRELOAD": str(library), "TORTURE": str(path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            host, _, port = process.stdout.readline().strip().rpartition(":")
            assert port, log.read_text()
            proxy = Tortured(process, order, log, (host, int(port)))
            proxy.settle()
            yield proxy
            proxy.end()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()
            process.stdin.close()
            origin.close()


def _all_of_it(proxy: Tortured, kinds: list[str], scenarios: list[str], most: int) -> None:
    for scenario in scenarios:
        counts = proxy.counts(scenario)
        for kind in kinds:
            for error in ERRORS[kind]:
                # How many calls there are depends on how bytes arrive: it goes on while there are more than were counted.
                at, reached = 1, 0
                while at <= most and at <= max(counts[kind], reached + 2):
                    if proxy.strike(scenario, kind, at, error) or proxy.strike(scenario, kind, at, error):
                        reached = at
                    at += 1
        told = ", ".join(f"{kind} {count}" for kind, count in counts.items() if count)
        sys.stdout.write(f"  {scenario}: {told}; {proxy.strikes} strikes, {len(proxy.complaints)} complaints so far\n")
        sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtimes", default="asyncio,uvloop,gevent,threads")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    parser.add_argument("--most", type=int, default=10_000, help="no more calls of a kind in a scenario fail than that")
    options = parser.parse_args()
    complaints = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = preloaded(folder)
        for runtime in options.runtimes.split(","):
            began = time.monotonic()
            with tortured(runtime, library, folder) as proxy:
                kinds = [kind for kind in options.kinds.split(",") if (runtime, kind) not in NOT_ON]
                _all_of_it(proxy, kinds, options.scenarios.split(","), options.most)
            complaints += len(proxy.complaints)
            ended = ", ".join(f"{count} {how}" for how, count in proxy.refused.items() if how)
            sys.stdout.write(
                f"{runtime}: {proxy.strikes} calls failed ({proxy.missed} more were not reached), "
                f"{time.monotonic() - began:.0f} s; scripts that ended early: {ended or 'none'}; "
                f"furthest: {', '.join(f'{kind} {at}' for kind, at in proxy.furthest.items())}; "
                f"{len(proxy.complaints)} complaints\n" + "".join(f"  {text}\n" for text in proxy.complaints)
            )
            sys.stdout.flush()
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
