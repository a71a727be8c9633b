"""What one small GET exchange costs an engine, without any I/O: ours native, ours on h11, h11 alone.

CPU time, the three interleaved round by round, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import h11

from sansio_pingora.http1 import Http1Client, Http1Server
from sansio_pingora.http1.hyper import HyperCodec
from sansio_pingora.limits import Limits
from sansio_pingora.wire import Body, Header, RequestHeader, ResponseHeader

REQUEST = (
    b"GET /path/to/page?x=1 HTTP/1.1\r\n"
    b"Host: www.example.com\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    b"Accept: text/html,application/xhtml+xml\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\n"
    b"Cookie: session=0123456789abcdef\r\n"
    b"Cache-Control: no-cache\r\n"
    b"Connection: keep-alive\r\n\r\n"
)
RESPONSE_FIELDS = [("Content-Type", "text/plain"), ("Content-Length", "13")]
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:01 GMT\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"
)
BODY = b"Hello, world!"
EXCHANGES = 1000


def ours(engine: str, *, varied: bool = False) -> Callable[[], None]:
    """*varied*: no two heads are alike, as from clients that number their requests."""
    limits = Limits()
    codec = HyperCodec(limits, server=True) if engine == "hyper" else None
    server = Http1Server(0.0, limits, codec=codec, wall_offset=1e9)
    head = ResponseHeader(200, RESPONSE_FIELDS)
    requests = itertools.cycle(
        [REQUEST.replace(b"0123456789abcdef", b"%016x" % number) for number in range(5000)] if varied else [REQUEST]
    )

    def exchange() -> None:
        ((stream, _),) = server.receive_data(next(requests), 1.0)
        server.send(stream, Header(head, False), 1.0)
        server.send(stream, Body(BODY, True), 1.0)
        server.data_to_send()

    return exchange


def h11_alone() -> Callable[[], None]:
    connection = h11.Connection(h11.SERVER)
    fields = [*RESPONSE_FIELDS, ("Date", "Thu, 01 Jan 1970 00:00:01 GMT")]

    def exchange() -> None:
        connection.receive_data(REQUEST)
        connection.next_event()
        connection.next_event()
        connection.send(h11.Response(status_code=200, headers=fields))
        connection.send(h11.Data(data=BODY))
        connection.send(h11.EndOfMessage())
        connection.start_next_cycle()

    return exchange


def our_client() -> Callable[[], None]:
    client = Http1Client(Limits())
    fields = [line.split(b": ", 1) for line in REQUEST.split(b"\r\n")[1:-2]]
    head = RequestHeader("GET", "/path/to/page?x=1", [(name, value) for name, value in fields])

    def exchange() -> None:
        stream = client.open_stream(1.0)
        assert stream is not None
        client.send(stream, Header(head, True), 1.0)
        client.data_to_send()
        client.receive_data(RESPONSE, 1.0)

    return exchange


def microseconds(exchange: Callable[[], None]) -> float:
    start = time.process_time()
    for _ in range(EXCHANGES):
        exchange()
    return (time.process_time() - start) / EXCHANGES * 1e6


def main(rounds: int = 40) -> dict[str, float]:
    engines = {
        "server, native": ours("native"),
        "server, native, every head differs": ours("native", varied=True),
        "server, on h11 (engine='hyper')": ours("hyper"),
        "h11 alone": h11_alone(),
        "client, native": our_client(),
    }
    samples: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, exchange in engines.items():
            samples[name].append(microseconds(exchange))
    print(f"one small GET with eight fields, CPU µs per exchange, {rounds} interleaved rounds of {EXCHANGES}")
    best = {name: min(values) for name, values in samples.items()}
    for name, values in samples.items():
        print(f"  {name:34} min {min(values):7.1f}   median {sorted(values)[len(values) // 2]:7.1f}")
    for name in ("server, native", "server, native, every head differs"):
        print(f"  {name} / h11 alone: {best[name] / best['h11 alone']:.3f}")
    return best


if __name__ == "__main__":
    main()
