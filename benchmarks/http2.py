"""HTTP/2: what an exchange costs the engine, beside the h2 library, and a whole server, beside hypercorn.

CPU time, interleaved. h2load makes the load for the servers, over 10 connections of 100 streams.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from end_to_end import HERE, RUNTIMES, free_port, ours, rounds_of, show
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived
from hpack import Encoder
from hyperframe.frame import HeadersFrame, SettingsFrame

from sansio_pingora.http2 import PREFACE, Http2Server
from sansio_pingora.limits import Limits
from sansio_pingora.wire import Body, Header, ResponseHeader

FIELDS = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"www.example.com"),
    (b":path", b"/path/to/page?x=1"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64)"),
    (b"accept", b"text/html,application/xhtml+xml"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"cookie", b"session=0123456789abcdef"),
]
GREETING = PREFACE + SettingsFrame(0).serialize()
RESPONSE = [("Content-Type", "text/plain"), ("Content-Length", "13")]
BODY = b"Hello, world!"
EXCHANGES = 1000


def requests(*, varied: bool) -> list[bytes]:
    """HEADERS of one connection, the path different in each or not."""
    encoder = Encoder()
    frames = []
    for number in range(EXCHANGES):
        fields = [(name, b"/item/%d" % number if varied and name == b":path" else value) for name, value in FIELDS]
        block = encoder.encode(fields)
        frames.append(HeadersFrame(2 * number + 1, block, flags=["END_HEADERS", "END_STREAM"]).serialize())
    return frames


def native(frames: list[bytes]) -> Callable[[], None]:
    head, body = Header(ResponseHeader(200, RESPONSE), False), Body(BODY, True)

    def run() -> None:
        server = Http2Server(0.0, Limits(), wall_offset=1e9)
        server.receive_data(GREETING, 1.0)
        server.data_to_send()
        for frame in frames:
            for stream, _ in server.receive_data(frame, 1.0):
                server.send(stream, head, 1.0)
                server.send(stream, body, 1.0)
            server.data_to_send()

    return run


def h2_alone(frames: list[bytes]) -> Callable[[], None]:
    fields = [(b":status", b"200"), (b"content-type", b"text/plain"), (b"content-length", b"13")]
    fields.append((b"date", b"Thu, 01 Jan 1970 00:00:01 GMT"))

    def run() -> None:
        connection = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        connection.initiate_connection()
        connection.receive_data(GREETING)
        connection.data_to_send()
        for frame in frames:
            for event in connection.receive_data(frame):
                if isinstance(event, RequestReceived):
                    connection.send_headers(event.stream_id, fields)
                    connection.send_data(event.stream_id, BODY, end_stream=True)
            connection.data_to_send()

    return run


def engines(rounds: int) -> None:
    same, varied = requests(varied=False), requests(varied=True)
    runs = {
        "native, a client that repeats itself": native(same),
        "h2 alone, the same": h2_alone(same),
        "native, every path differs": native(varied),
        "h2 alone, every path differs": h2_alone(varied),
    }
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.process_time()
            run()
            best[name] = min(best[name], (time.process_time() - start) / EXCHANGES * 1e6)
    print(f"one small GET with eight fields on a server, CPU µs per exchange, least of {rounds} interleaved rounds")
    for name, value in best.items():
        print(f"  {name:40} {value:7.1f}")
    names = [*best]
    for ours_, theirs in (names[:2], names[2:]):
        print(f"  {ours_} / h2: {best[ours_] / best[theirs]:.3f}")


def load(port: int, seconds: int) -> int:
    """Requests answered."""
    url = f"http://127.0.0.1:{port}/"
    done = subprocess.run(
        ["h2load", "-D", str(seconds), "-c", "10", "-m", "100", url], check=True, capture_output=True, text=True
    ).stdout
    match = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", done)
    if match is None or match[2] != "0" or match[3] != "0":
        raise RuntimeError(f"h2load against port {port} failed:\n{done}")
    return int(match[1])


def main(rounds: int = 3, seconds: int = 3) -> None:
    engines(20)
    if shutil.which("h2load") is None:
        raise SystemExit("the figures of whole servers need h2load on PATH (Debian: apt-get install nghttp2-client)")
    servers = {f"origin on {runtime}": (ours("origin", runtime, p := free_port(), "--h2c"), p) for runtime in RUNTIMES}
    port = free_port()
    app = f"asgi:{HERE / 'peers' / 'asgi_hello.py'}:app"
    servers["hypercorn"] = (
        [sys.executable, "-m", "hypercorn", "--worker-class", "uvloop", "--bind", f"127.0.0.1:{port}", app],
        port,
    )
    show(
        "server, GET / over HTTP/2 → 13 bytes, CPU per request", rounds_of(servers, rounds, seconds, load), "hypercorn"
    )


if __name__ == "__main__":
    main()
