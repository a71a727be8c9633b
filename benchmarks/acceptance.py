"""The origin and the proxy as processes, met by curl and by hostile clients, on every runtime.

``python benchmarks/acceptance.py [RUNTIME ...]``

Prints a line per check and ends with 1 when one failed. Needs curl.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

RUNTIMES = ("asyncio", "gevent", "threads")
TICKS = os.sysconf("SC_CLK_TCK")
MB = 1_000_000


class Program:
    """A ``sansio-pingora`` process and what it logged."""

    def __init__(self, *arguments: str, descriptors: int | None = None) -> None:
        command = [sys.executable, "-m", "sansio_pingora.cli", *arguments]
        if descriptors is not None:
            command = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *command]
        self.log: list[str] = []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        match = re.search(r"127\.0\.0\.1:(\d+)", first)
        if match is None:
            raise RuntimeError(f"{' '.join(command)}: {first}{self.process.stdout.read()}")
        self.port = int(match[1])
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log.append(line)

    def status(self, key: str) -> int:
        """A figure of /proc/PID/status, in bytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{key}:\s+(\d+)", text)[1]) * 1024  # type: ignore[index]  # the kernel always says it

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(8)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def program(*arguments: str, **options: int) -> Iterator[Program]:
    started = Program(*arguments, **options)
    try:
        yield started
    finally:
        started.stop()


def curl(*arguments: str) -> bytes:
    return subprocess.run(["curl", "-sS", "--max-time", "60", *arguments], check=True, capture_output=True).stdout


def get(port: int, path: str = "/", timeout: float = 10) -> bytes:
    """One answer whole, over a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    pieces = []
    try:
        while piece := sock.recv(65536):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


@contextmanager
def scripted(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """An origin that does *answer* with every connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


class Report:
    """What was found, and whether all of it is right."""

    def __init__(self) -> None:
        self.failed = 0

    def __call__(self, runtime: str, what: str, right: bool, figure: str = "") -> None:
        self.failed += not right
        print(f"{'ok  ' if right else 'FAIL'} {runtime:8} {what:58} {figure}", flush=True)


def ordinary(report: Report, runtime: str, folder: Path) -> None:
    """curl through the proxy."""
    upload = folder / "upload"
    upload.write_bytes(os.urandom(50 * MB))
    with (
        program("origin", "--listen", "127.0.0.1:0", "--runtime", runtime) as origin,
        program("proxy", "--listen", "127.0.0.1:0", "--to", f"127.0.0.1:{origin.port}", "--runtime", runtime) as proxy,
    ):
        url = f"http://127.0.0.1:{proxy.port}"
        idle = proxy.status("VmRSS")
        report(runtime, "GET", curl(url + "/") == b"Hello, world!")
        head = curl("-I", url + "/bytes/1000")
        report(runtime, "HEAD", b" 200 " in head and b"Content-Length: 1000" in head)
        back = folder / "back"
        for how, options in (("Content-Length", []), ("chunks", ["-H", "Transfer-Encoding: chunked"])):
            curl("-X", "POST", "-T", str(upload), "-H", "Expect:", *options, "-o", str(back), url + "/echo")
            report(runtime, f"POST of 50 MB by {how} echoed", back.read_bytes() == upload.read_bytes())
        size = int(curl("-o", "/dev/null", "-w", "%{size_download}", url + "/bytes/100000000"))
        more = proxy.status("VmHWM") - idle
        report(
            runtime,
            "GET of 100 MB; peak memory over idle, uploads included",
            size == 100 * MB and more < 60 * MB,
            f"{more / MB:.1f} MB",
        )
        with socket.create_connection(("127.0.0.1", proxy.port), 10) as sock:
            sock.sendall(
                b"GET /status/201 HTTP/1.1\r\nHost: a\r\n\r\n"
                b"GET /status/404 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            )
            order = re.findall(rb"HTTP/1.1 (\d+)", read_all(sock))
        report(runtime, "two pipelined requests, in order", order == [b"201", b"404"])
        many = [socket.create_connection(("127.0.0.1", proxy.port), 20) for _ in range(1000)]
        for sock in many:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answered = sum(b"Hello, world!" in sock.recv(65536) for sock in many)
        for sock in many:
            sock.close()
        report(runtime, "1,000 keep-alive connections at once", answered == 1000, f"{answered} answered")


def broken_origins(report: Report, runtime: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = free.getsockname()[1]
    with program("proxy", "--listen", "127.0.0.1:0", "--to", f"127.0.0.1:{closed}", "--runtime", runtime) as proxy:
        answer = get(proxy.port)
        time.sleep(0.2)
        errors = [line for line in proxy.log if "failed to proxy" in line]
        report(
            runtime,
            "origin down: one 502, logged once",
            answer.count(b"HTTP/1.1 ") == 1 and b" 502 " in answer and len(errors) == 1,
        )

    def stalls(sock: socket.socket) -> None:
        sock.recv(65536)
        time.sleep(30)

    with scripted(stalls) as port:
        to = ("--to", f"127.0.0.1:{port}", "--runtime", runtime, "-o", "read_timeout=1")
        with program("proxy", "--listen", "127.0.0.1:0", *to) as proxy:
            start = time.monotonic()
            answer = get(proxy.port)
            took = time.monotonic() - start
            report(
                runtime,
                "origin stalls: 504 at the deadline of 1 s",
                b" 504 " in answer and 0.9 < took < 2,
                f"{took:.2f} s",
            )

    def dies(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        sock.close()

    with (
        scripted(dies) as port,
        program("proxy", "--listen", "127.0.0.1:0", "--to", f"127.0.0.1:{port}", "--runtime", runtime) as proxy,
    ):
        done = subprocess.run(
            ["curl", "-sS", "--max-time", "10", f"http://127.0.0.1:{proxy.port}/"], capture_output=True, check=False
        )
        report(
            runtime,
            "origin dies amid its body: curl sees it broken",
            done.returncode in (18, 56),
            f"curl exit {done.returncode}",
        )


def hostile(report: Report, runtime: str, clients: int = 1000) -> None:
    """Many clients stay idle, drip a head, stop amid a body, or do not read; honest ones are answered meanwhile."""
    deadline = 3
    options = [
        f"{key}={deadline}" for key in ("first_byte_timeout", "head_timeout", "body_idle_timeout", "write_idle_timeout")
    ]
    arguments = ["origin", "--listen", "127.0.0.1:0", "--runtime", runtime]
    for option in (*options, "linger_timeout=0.5"):
        arguments += ["-o", option]
    openings = {
        "idle": b"",
        "drip a head": b"GET / HTTP/1.1\r\nHost: a\r\n",
        "stop amid a body": b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
        "do not read": b"GET /bytes/100000000 HTTP/1.1\r\nHost: a\r\n\r\n",
    }
    for what, opening in openings.items():
        count = clients if what != "do not read" else clients // 4  # each fills two socket buffers
        with program(*arguments) as origin:
            before = origin.status("VmRSS")
            start = time.monotonic()
            socks = []
            for _ in range(count):
                sock = socket.socket()
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.connect(("127.0.0.1", origin.port))
                if opening:
                    sock.sendall(opening)
                socks.append(sock)
            opened = time.monotonic()
            while len(os.listdir(f"/proc/{origin.process.pid}/fd")) < count and time.monotonic() - opened < 1:
                time.sleep(0.05)
            each = (origin.status("VmRSS") - before) / count
            slowest, still = 0.0, count
            while time.monotonic() - opened < deadline + 2.5:
                asked = time.monotonic()
                fine = b"Hello, world!" in get(origin.port)
                slowest = max(slowest, time.monotonic() - asked) if fine else 99.0
                time.sleep(0.25)
                if what.startswith("drip a head"):
                    for sock in socks:
                        try:
                            sock.send(b"X")
                        except OSError:
                            pass
                still = len(os.listdir(f"/proc/{origin.process.pid}/fd")) - 20
                if still < 0:
                    break
            ended = time.monotonic() - opened
            for sock in socks:
                sock.close()
            figure = (
                f"closed in {ended:.1f} s (opened over {opened - start:.1f} s), slowest honest {slowest * 1e3:.0f} ms"
            )
            if what == "idle":
                figure += f", {each / 1024:.1f} KiB each"
            report(
                runtime,
                f"{count} clients {what}: closed at {deadline} s",
                still < 0 and slowest < 1 and ended < deadline + 1.2,
                figure,
            )


def descriptors(report: Report, runtime: str) -> None:
    """Every descriptor used up for five seconds."""
    with program(
        "origin", "--listen", "127.0.0.1:0", "--runtime", runtime, "-o", "first_byte_timeout=60", descriptors=200
    ) as origin:
        socks = [socket.create_connection(("127.0.0.1", origin.port), 5) for _ in range(300)]
        time.sleep(0.5)
        cpu, lines, start = origin.cpu(), len(origin.log), time.monotonic()
        time.sleep(5)
        share = (origin.cpu() - cpu) / (time.monotonic() - start)
        rate = (len(origin.log) - lines) / 5
        for sock in socks:
            sock.close()
        relief = time.monotonic()
        back = b"Hello, world!" in get(origin.port)
        figure = f"{share * 100:.1f} % CPU, {rate:.1f} log lines/s, back after {time.monotonic() - relief:.2f} s"
        report(
            runtime,
            "all descriptors used up",
            share <= 0.05 and rate <= 1.2 and back and time.monotonic() - relief < 1,
            figure,
        )


def main() -> int:
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        for runtime in sys.argv[1:] or RUNTIMES:
            ordinary(report, runtime, Path(folder))
            broken_origins(report, runtime)
            hostile(report, runtime)
            descriptors(report, runtime)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
