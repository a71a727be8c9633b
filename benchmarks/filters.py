"""What filters cost a proxy: none, five plain ones, five that may wait, over HTTP/1 and HTTP/2, on each runtime.

``python benchmarks/filters.py``: CPU per request of the proxy's process, all cases in turn in one run, medians.
The filters do nothing, so that what they cost is the engine's. Those that may wait are ``async def`` on asyncio, where
one alone shows what the first costs, and generators everywhere. wrk and h2load make the load, and the built-in origin
on asyncio answers.
"""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import ExitStack
from itertools import product
from statistics import median
from typing import Any

from end_to_end import RUNTIMES, cpu, free_port, load, ours, server

from sansio_pingora import HttpPeer, ProxyHttp, serve

PHASES = (
    "early_request_filter",
    "request_filter",
    "upstream_request_filter",
    "upstream_response_filter",
    "response_filter",
)
FORMS = ("none", "plain", "generator", "async", "one async")
ROUNDS, SECONDS = 3, 2


class Forward(ProxyHttp):
    """To the origin."""

    peer = ""

    def upstream_peer(self, session: Any, ctx: Any) -> HttpPeer:
        """It."""
        return HttpPeer(self.peer)


def plain(*args: Any) -> None:
    """A plain filter."""


def generator(*args: Any) -> Any:  # noqa: ARG001 - what a filter is given
    """One that may wait."""
    yield from ()


async def coroutine(*args: Any) -> None:
    """One that may await."""


def app_with(form: str) -> ProxyHttp:
    phases = {"none": (), "one async": PHASES[:1]}.get(form, PHASES)
    call = {"plain": plain, "generator": generator}.get(form, coroutine)
    made: ProxyHttp = type("Filtered", (Forward,), dict.fromkeys(phases, call))()
    return made


def load_h2(port: int, seconds: int) -> int:
    """Requests answered."""
    command = ["h2load", "-c4", "-m32", f"-D{seconds}", "-p", "h2c", f"http://127.0.0.1:{port}/"]
    done = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    match = re.search(r"(\d+) succeeded, 0 failed, 0 errored", done)
    if match is None:
        raise RuntimeError(f"h2load against port {port} failed:\n{done}")
    return int(match[1])


def main(rounds: int = ROUNDS) -> None:
    cases = [
        (version, runtime, form)
        for version, runtime, form in product(("h1", "h2"), RUNTIMES, FORMS)
        if "async" not in form or runtime == "asyncio"
    ]
    samples: dict[tuple[str, str, str], list[float]] = {case: [] for case in cases}
    with ExitStack() as stack:
        origin = free_port()
        stack.enter_context(server("origin", ours("origin", "asyncio", origin), origin))
        running = {}
        for runtime, form in {(runtime, form): None for _, runtime, form in cases}:
            port = free_port()
            command = [sys.executable, __file__, "serve", runtime, form, str(port), str(origin)]
            running[runtime, form] = stack.enter_context(server(f"{runtime} {form}", command, port)), port
        for number in range(rounds + 1):  # the first one warms up
            for version, runtime, form in cases:
                process, port = running[runtime, form]
                before = cpu(process.pid)
                requests = (load if version == "h1" else load_h2)(port, SECONDS if number else 1)
                if number:
                    samples[version, runtime, form].append((cpu(process.pid) - before) / requests)
    print(f"proxy, CPU µs per request, median of {rounds} interleaved rounds of {SECONDS} s")
    for case, spent in samples.items():
        base = median(samples[(*case[:2], "none")])
        print(f"  {case[0]} {case[1]:8} {case[2]:10} {median(spent):7.1f}  {median(spent) / base:5.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        _, _, runtime, form, port, Forward.peer = [*sys.argv[:5], f"127.0.0.1:{sys.argv[5]}"]
        options = {"upstream_keepalive_pool_size": 1024, "h2c": True}
        serve(app_with(form), listen=f"127.0.0.1:{port}", runtime=runtime, **options)
    else:
        main()
