"""CPU time per request of whole servers and proxies over loopback, interleaved with what people would use instead.

CPU time (user and system, from /proc, of the process and its children) rather than wall
time: the load generator shares the machine. Each round visits every server once; the
medians are printed. wrk makes the load; nginx takes part where it is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
TICK = 1e6 / os.sysconf("SC_CLK_TCK")
RUNTIMES = ("asyncio", "gevent", "threads")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu(pid: int) -> float:
    """CPU seconds of a process and its children so far, in µs."""
    total = 0.0
    for one in (pid, *children(pid)):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) * TICK
    return total


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


@contextmanager
def server(name: str, command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        give_up = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > give_up:
                    raise RuntimeError(f"{name} did not start: {' '.join(command)}") from None
                time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(8)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def load(port: int, seconds: int, connections: int = 32) -> int:
    """Requests answered."""
    url = f"http://127.0.0.1:{port}/"
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", url], check=True, capture_output=True, text=True
    ).stdout
    match = re.search(r"(\d+) requests in", done)
    if match is None or "Non-2xx" in done:
        raise RuntimeError(f"wrk against port {port} failed:\n{done}")
    return int(match[1])


def nginx(port: int, origin: int | None, folder: Path) -> list[str]:
    where = (
        "proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection '';"
        if origin
        else ("default_type text/plain; return 200 'Hello, world!';")
    )
    upstream = f"upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; }}" if origin else ""
    config = folder / f"nginx-{port}.conf"
    config.write_text(
        f"daemon off; master_process off; pid {folder}/nginx-{port}.pid; error_log /dev/null;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off; keepalive_requests 100000000; {upstream}\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ {where} }} }} }}\n"
    )
    return ["nginx", "-c", str(config), "-p", str(folder)]


def ours(kind: str, runtime: str, port: int, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "sansio_pingora.cli",
        kind,
        "--listen",
        f"127.0.0.1:{port}",
        "--runtime",
        runtime,
        *more,
    ]


def rounds_of(
    servers: dict[str, tuple[list[str], int]], rounds: int, seconds: int, load: Callable[[int, int], int] = load
) -> dict[str, float]:
    samples: dict[str, list[float]] = {name: [] for name in servers}
    running = {}
    contexts = []
    try:
        for name, (command, port) in servers.items():
            context = server(name, command, port)
            running[name] = context.__enter__(), port
            contexts.append(context)
            load(port, 1)
        for number in range(rounds):
            for name, (process, port) in running.items():
                before = cpu(process.pid)
                requests = load(port, seconds)
                samples[name].append((cpu(process.pid) - before) / requests)
            print(f"  round {number + 1} of {rounds} done", file=sys.stderr)
    finally:
        for context in contexts:
            context.__exit__(None, None, None)
    return {name: median(values) for name, values in samples.items()}


def show(title: str, figures: dict[str, float], base: str) -> None:
    print(title)
    for name, value in sorted(figures.items(), key=lambda item: item[1]):
        print(f"  {name:44} {value:7.1f} µs   {value / figures[base]:5.2f} of {base}")


def main(rounds: int = 3, seconds: int = 3) -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("the end-to-end figures need wrk on PATH (Debian: apt-get install wrk nginx-light)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port = free_port()
        servers = {f"origin on {runtime}": (ours("origin", runtime, p := free_port()), p) for runtime in RUNTIMES}
        servers["uvicorn + httptools"] = (
            [
                sys.executable,
                "-m",
                "uvicorn",
                "--app-dir",
                str(HERE / "peers"),
                "asgi_hello:app",
                "--port",
                str(port),
                "--log-level",
                "error",
                "--no-access-log",
                "--loop",
                "uvloop",
                "--http",
                "httptools",
            ],
            port,
        )
        servers["aiohttp"] = ([sys.executable, str(HERE / "peers" / "aiohttp_server.py"), str(p := free_port())], p)
        if shutil.which("nginx"):
            servers["nginx"] = (nginx(p := free_port(), None, folder), p)
        show("server, GET / → 13 bytes, CPU per request", rounds_of(servers, rounds, seconds), "uvicorn + httptools")

        back = free_port()
        origin = nginx(back, None, folder) if shutil.which("nginx") else ours("origin", "asyncio", back)
        with server("origin", origin, back):
            proxies = {
                f"proxy on {runtime}": (ours("proxy", runtime, p := free_port(), "--to", f"127.0.0.1:{back}"), p)
                for runtime in RUNTIMES
            }
            proxies["hand-made aiohttp proxy"] = (
                [sys.executable, str(HERE / "peers" / "aiohttp_proxy.py"), str(p := free_port()), str(back)],
                p,
            )
            if shutil.which("nginx"):
                proxies["nginx"] = (nginx(p := free_port(), back, folder), p)
            show(
                "reverse proxy, h1 to h1, CPU per request",
                rounds_of(proxies, rounds, seconds),
                "hand-made aiohttp proxy",
            )


if __name__ == "__main__":
    main()
