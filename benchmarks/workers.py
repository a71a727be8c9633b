"""Two workers against one: CPU time per request, and how their clients are split. ``python benchmarks/workers.py``

The load is wrk's; one worker and two are visited in turns, and the medians are printed. The split is that of the
connections that stand during the load, by the sockets that each worker has open.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from end_to_end import RUNTIMES, children, cpu, free_port, load, server

CONNECTIONS = 64
CONF = """
runtime: {runtime}
workers: {workers}
upgrade_sock: {dir}/up.sock
services: [{{name: origin, kind: origin, listeners: [{{tcp: "127.0.0.1:{port}"}}]}}]
"""


@contextmanager
def serving(runtime: str, workers: int) -> Iterator[tuple[int, int]]:
    """A server's port and process."""
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        path = Path(directory, "conf.yaml")
        path.write_text(CONF.format(runtime=runtime, workers=workers, dir=directory, port=port))
        command = [sys.executable, "-m", "sansio_pingora", "serve", "-c", str(path)]
        with server(f"{workers} on {runtime}", command, port) as process:
            yield port, process.pid


def sockets(pid: int) -> int:
    """How many a process has open."""
    found = 0
    for one in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += os.readlink(one).startswith("socket:")
        except FileNotFoundError:
            continue
    return found


def measure(port: int, pid: int, seconds: int) -> tuple[float, float]:
    """CPU µs per request, and the part of the clients that the first worker has."""
    workers = children(pid)
    idle = [sockets(worker) for worker in workers]
    before = cpu(pid)
    with ThreadPoolExecutor(1) as pool:
        requests = pool.submit(load, port, seconds, CONNECTIONS)
        time.sleep(seconds / 2)
        taken = [sockets(worker) - none for worker, none in zip(workers, idle, strict=True)]
        answered = requests.result()
    return (cpu(pid) - before) / answered, taken[0] / max(1, sum(taken)) if taken else 1.0


def main(rounds: int = 5, seconds: int = 2) -> None:
    """Print a line for each runtime."""
    for runtime in RUNTIMES:
        with serving(runtime, 1) as one, serving(runtime, 2) as two:
            alone, shared, split = [], [], []
            for at in (one, two):
                load(at[0], 1, CONNECTIONS)  # warm
            for _ in range(rounds):
                alone.append(measure(*one, seconds)[0])
                cost, part = measure(*two, seconds)
                shared.append(cost)
                split.append(part)
        ratio = median(shared) / median(alone)
        print(
            f"{runtime:8} {median(alone):6.1f} µs with one worker, {median(shared):6.1f} with two ({ratio - 1:+.0%}); "
            f"the first has {min(split):.0%} to {max(split):.0%} of {CONNECTIONS} clients",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
