"""What a proxy holds for HTTP/2 clients that take nothing, and what a large download through it costs.

``python benchmarks/http2_memory.py [RUNTIME ...]``: 20 connections of 100 streams ask for 4 MiB each, and their windows
stay as the row says; before origins of both versions. RSS of one process, and what its Python objects take in another.
The download is one stream of 256 MiB over each pair of versions, as CPU time of the proxy.
"""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from end_to_end import RUNTIMES, cpu, free_port, ours, server
from hpack import Encoder
from hyperframe.frame import HeadersFrame, SettingsFrame, WindowUpdateFrame

from sansio_pingora.http2 import PREFACE

CONNECTIONS = 20
STREAMS = 100
SIZE = 4 * 1024 * 1024
MIB = 1024 * 1024
HEADERS = 0x1
DOWNLOAD = 256 * MIB

CLIENTS = {
    "a window of 0": (0, 0),
    "a window of 64 KiB, used up, and no more": (65_535, 0),
    "windows wide open, and nothing is read": (2**31 - 1, 2**30),
}


def opening(stream_window: int, more: int) -> bytes:
    """All that a client says: its settings, and its requests."""
    encoder = Encoder()
    settings = SettingsFrame(0)
    settings.settings = {SettingsFrame.INITIAL_WINDOW_SIZE: stream_window}
    said = PREFACE + settings.serialize() + SettingsFrame(0, flags=["ACK"]).serialize()
    if more:
        said += WindowUpdateFrame(0, window_increment=more).serialize()
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", f"/bytes/{SIZE}")]
    for number in range(STREAMS):
        block = encoder.encode(fields)
        said += HeadersFrame(2 * number + 1, block, flags=["END_HEADERS", "END_STREAM"]).serialize()
    return said


class Client:
    """One that asks for much and takes nothing."""

    def __init__(self, port: int, said: bytes) -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.connect(("127.0.0.1", port))
        self.sock.sendall(said)
        self.sock.setblocking(False)
        self._rest = b""
        self.heads = 0

    def read(self) -> None:
        try:
            self._rest += self.sock.recv(65_536)
        except BlockingIOError:
            return
        while len(self._rest) >= 9:
            size = int.from_bytes(self._rest[:3], "big")
            if len(self._rest) < 9 + size:
                return
            self.heads += self._rest[3] == HEADERS
            self._rest = self._rest[9 + size :]


def attacked(port: int, stream_window: int, more: int) -> list[Client]:
    """The clients, once the proxy has all that it will hold for them."""
    said = opening(stream_window, more)
    clients = [Client(port, said) for _ in range(CONNECTIONS)]
    until = time.monotonic() + (6 if more else 25)
    while time.monotonic() < until and any(client.heads < STREAMS for client in clients):
        for client in clients if not more else ():
            client.read()
        time.sleep(0.02)
    if not more and any(client.heads < STREAMS for client in clients):
        raise RuntimeError(f"heads that came: {[client.heads for client in clients]}")
    time.sleep(1)
    return clients


def rss(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def traced(arguments: list[str], port: int) -> Iterator[subprocess.Popen[str]]:
    """The command line in a process that tells what its Python objects take."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--traced", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        stderr=None if "TOP" in os.environ else subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def taken(process: subprocess.Popen[str]) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    while not (line := process.stdout.readline()).startswith("taken "):
        pass
    return int(line.split()[1])


def run_traced(arguments: list[str]) -> None:
    from sansio_pingora.cli import main

    def tell() -> None:
        for _ in sys.stdin:
            gc.collect()
            print("taken", tracemalloc.get_traced_memory()[0], flush=True)
            if "TOP" in os.environ:
                for line in tracemalloc.take_snapshot().statistics("lineno")[:25]:
                    print(line, file=sys.stderr)

    tracemalloc.start()
    threading.Thread(target=tell, daemon=True).start()
    sys.exit(main(arguments))


def memory(runtime: str, targets: dict[str, str], idle: float = 0.5) -> None:
    for version, target in targets.items():
        for what, (stream_window, more) in CLIENTS.items():
            figures = []
            port = free_port()
            command = ours("proxy", runtime, port, "--h2c", "--to", target)
            with server("proxy", command, port) as process:
                time.sleep(idle)
                before = rss(process.pid)
                clients = attacked(port, stream_window, more)
                figures.append((rss(process.pid) - before) / CONNECTIONS / MIB)
                for client in clients:
                    client.sock.close()
            with traced(command[3:], port) as traced_process:
                time.sleep(idle)
                before = taken(traced_process)
                clients = attacked(port, stream_window, more)
                figures.append((taken(traced_process) - before) / CONNECTIONS / MIB)
                for client in clients:
                    client.sock.close()
            print(
                f"  {runtime:8} {version} origin, {what:42} {figures[0]:6.2f} MiB RSS, {figures[1]:6.2f} MiB of objects"
                " a connection",
                flush=True,
            )


def downloads(targets: dict[str, str], rounds: int = 5) -> None:
    """One stream after another, each pair in turn."""
    with ExitStack() as stack:
        proxies = {}
        for runtime in RUNTIMES:
            for version, target in targets.items():
                port = free_port()
                process = stack.enter_context(
                    server("proxy", ours("proxy", runtime, port, "--h2c", "--to", target), port)
                )
                for client, flags in (("h1", []), ("h2", ["--http2-prior-knowledge"])):
                    proxies[f"{client} -> {version} on {runtime}"] = process, port, flags
        best: dict[str, tuple[float, float]] = {}
        for _ in range(rounds):
            for name, (process, port, flags) in proxies.items():
                spent, began = cpu(process.pid), time.monotonic()
                url = f"http://127.0.0.1:{port}/bytes/{DOWNLOAD}"
                subprocess.run(["curl", "-sSf", *flags, "-o", "/dev/null", url], check=True)
                taken = (cpu(process.pid) - spent) / 1e3, (time.monotonic() - began) * 1e3
                best[name] = min(best.get(name, taken), taken)
        for name, (spent, took) in best.items():
            print(f"  {name:24} {spent:7.0f} ms of CPU in the proxy, {took:7.0f} ms in all")


def main(runtimes: list[str]) -> None:
    port = free_port()
    with server("origin", ours("origin", "asyncio", port, "--h2c"), port):
        targets = {"h1": f"127.0.0.1:{port}", "h2": f"h2c://127.0.0.1:{port}"}
        print(f"{CONNECTIONS} connections that ask for {STREAMS} x 4 MiB each, what the proxy holds")
        for runtime in runtimes or RUNTIMES:
            memory(runtime, targets)
        print(f"one download of {DOWNLOAD // MIB} MiB, least of 5 interleaved rounds")
        downloads(targets)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--traced"]:
        run_traced(sys.argv[2:])
    else:
        main(sys.argv[1:])
