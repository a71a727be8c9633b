"""What an exchange through the proxy costs its machines, for the four pairs of versions: no sockets, no kernel.

A small GET with eight fields and its answer of 13 bytes, over one connection on either side. What the client and the
origin say is made beforehand. CPU time, least of the rounds, interleaved.
"""

from __future__ import annotations

import time
from itertools import product
from typing import Any

from hpack import Encoder
from http2 import BODY, FIELDS
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame

from sansio_pingora.apps import HttpOptions
from sansio_pingora.http2 import PREFACE
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Dial, Endpoint, Lane
from sansio_pingora.proxy import HttpProxy, ProxyHttp
from sansio_pingora.session import ServerSession
from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora.upstreams import ALPN, HttpPeer, PeerOptions

EXCHANGES = 1000
HERE, THERE = SocketAddr("10.0.0.1", 80), SocketAddr("10.0.0.2", 80)
SETTINGS = SettingsFrame(0).serialize() + SettingsFrame(0, flags=["ACK"]).serialize()


def requests(version: str) -> list[bytes]:
    if version == "h1":
        lines = [b"GET /path/to/page?x=1 HTTP/1.1", b"Host: www.example.com"]
        lines += [name + b": " + value for name, value in FIELDS if name[:1] != b":"]
        return [b"\r\n".join([*lines, b"", b""])] * EXCHANGES
    encoder = Encoder()
    blocks = [encoder.encode(FIELDS) for _ in range(EXCHANGES)]
    flags = ["END_HEADERS", "END_STREAM"]
    return [HeadersFrame(2 * at + 1, block, flags=flags).serialize() for at, block in enumerate(blocks)]


def answers(version: str) -> list[bytes]:
    if version == "h1":
        return [b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n" + BODY] * EXCHANGES
    encoder = Encoder()
    said = []
    for stream in range(1, 2 * EXCHANGES, 2):
        block = encoder.encode([(":status", "200"), ("content-type", "text/plain"), ("content-length", "13")])
        head = HeadersFrame(stream, block, flags=["END_HEADERS"]).serialize()
        said.append(head + DataFrame(stream, BODY, flags=["END_STREAM"]).serialize())
    return said


class Forward(ProxyHttp):
    """To one origin."""

    def __init__(self, version: str) -> None:
        options = PeerOptions(alpn=ALPN.H2, max_h2_streams=100) if version == "h2" else PeerOptions()
        self._peer = HttpPeer("10.0.0.2:80", options=options)

    def upstream_peer(self, session: ServerSession, ctx: Any) -> HttpPeer:
        """It."""
        return self._peer


def run(client: str, origin: str, asked: list[bytes], answered: list[bytes]) -> float:
    """CPU seconds of all exchanges."""
    lane = Lane()
    app = HttpProxy(Forward(origin), Limits(), HttpOptions(h2c=client == "h2"))
    acceptor = app.open(lane, 1.0, 1e9)
    downstream = acceptor.accept(TransportInfo(THERE, HERE, 1.0), 1.0)
    assert downstream is not None
    lane.attach(downstream)
    upstream: list[Endpoint] = []
    sent: dict[Endpoint, int] = {}

    def settle() -> None:
        while members := lane.drain(1.0):
            for member in members:
                if isinstance(member, Endpoint):
                    sent[member] = sent.get(member, 0) + sum(map(len, member.connection.data_to_send()))
                    if member.connection.starved:
                        member.flushed(1.0)
                    continue
                for command in member.take_commands():
                    assert isinstance(command, Dial), command
                    upstream.append(command.endpoint)
                    lane.attach(command.endpoint)
                    member.resume(command.token, TransportInfo(command.address, HERE, 1.0), 1.0)

    if client == "h2":
        downstream.receive_data(PREFACE + SETTINGS, 1.0)
        settle()
    began = time.process_time()
    for request, answer in zip(asked, answered, strict=True):
        downstream.receive_data(request, 1.0)
        settle()
        if origin == "h2" and answer is answered[0]:
            upstream[0].receive_data(SETTINGS, 1.0)
        before = sent[downstream]
        upstream[0].receive_data(answer, 1.0)
        settle()
        assert sent[downstream] - before > len(BODY), "no answer came"
    return time.process_time() - began


def main(rounds: int = 10) -> None:
    pairs = list(product(("h1", "h2"), repeat=2))
    best = dict.fromkeys(pairs, float("inf"))
    said = {version: (requests(version), answers(version)) for version in ("h1", "h2")}
    for _ in range(rounds):
        for client, origin in pairs:
            spent = run(client, origin, said[client][0], said[origin][1]) / EXCHANGES * 1e6
            best[client, origin] = min(best[client, origin], spent)
    print(f"a small GET through the proxy's machines, CPU µs per exchange, least of {rounds} interleaved rounds")
    for (client, origin), spent in best.items():
        print(f"  {client} -> {origin} {spent:7.1f}")


if __name__ == "__main__":
    main()
