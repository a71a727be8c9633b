"""Targets in the simulator: the whole proxy, between peers that do what the bytes of an input say."""

from __future__ import annotations

from typing import Any

from fuzz.target import Target
from sansio_pingora.apps import HttpOptions
from sansio_pingora.http2 import PREFACE
from sansio_pingora.limits import Limits
from sansio_pingora.proxy import HttpProxy, ProxyHttp
from sansio_pingora.testing import BoundedMemory, LinkProfile, NoTimerlessWait, Termination, Weather, World
from sansio_pingora.testing.link import End
from sansio_pingora.testing.prng import Random
from sansio_pingora.testing.scenario import build_world
from sansio_pingora.upstreams import ALPN, HttpPeer, PeerOptions

__all__ = ["TARGETS"]

_LIMITS = Limits(
    head_timeout=3.0,
    first_byte_timeout=3.0,
    keepalive_timeout=4.0,
    read_timeout=2.0,
    body_idle_timeout=2.0,
    idle_timeout=3.0,
    high_water=2_000,
    max_body=50_000,
    max_retries=2,
)
_SAID_BY_CLIENTS = (
    b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
    b"POST /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"PUT /%d HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    b"HEAD /%d HTTP/1.0\r\n\r\n",
    b"GET /%d HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
    b"hello",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\nX-Sum: 1\r\n\r\n",
    b"b" * 3_000,
    b"\r\n",
    b"GET / HTT",
    PREFACE + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)),
    bytes((0, 0, 7, 1, 5, 0, 0, 0, 1)) + b"\x82\x86\x84\x41\x02a",
    bytes((0, 0, 6, 1, 5, 0, 0, 0, 1)) + b"\x82\x86\x84\x41\x01a",
    bytes((0, 0, 6, 1, 4, 0, 0, 0, 3)) + b"\x83\x86\x84\x41\x01a",
    bytes((0, 0, 5, 0, 1, 0, 0, 0, 3)) + b"hello",
    bytes((0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8)),
    bytes((0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 64, 0)),
)
_SAID_BY_ORIGINS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\n",
    b"hello",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\nX-Sum: 1\r\n\r\n",
    b"b" * 30_000,
    b"\r\n",
    bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)),
    bytes((0, 0, 0, 4, 1, 0, 0, 0, 0)),
    bytes((0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88)),
    bytes((0, 0, 1, 1, 5, 0, 0, 0, 3, 0x88)),
    bytes((0, 0, 5, 0, 1, 0, 0, 0, 1)) + b"hello",
    bytes((0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7)),
    bytes((0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0)),
)
_PAUSES = (0.0, 0.01, 0.5, 1.99, 2.0, 3.0, 4.0, 20.0)


class _Peer:
    """One end that does what it is told."""

    def __init__(self) -> None:
        self.ends: list[End] = []
        self.shut: set[int] = set()

    def accept(self, end: End) -> None:
        self.connected(end)

    def connected(self, end: End) -> None:
        self.ends.append(end)
        end.owner = self
        end.set_reading(True)

    def refused(self, error: Any) -> None:
        pass

    def received(self, data: bytes) -> None:
        pass

    def ended(self) -> None:
        pass

    def lost(self, error: Any) -> None:
        pass

    def progressed(self) -> None:
        pass

    def act(self, how: int, what: int, said: tuple[bytes, ...], data: bytes) -> None:
        open_ends = [end for end in self.ends if not end.closed and not end.dead]
        if not open_ends:
            return
        end = open_ends[what % 3 % len(open_ends)]
        if how < 3 and id(end) in self.shut:
            return
        if how == 0:
            words = said[what % len(said)]
            end.write(words.replace(b"%d", b"%d" % what))
        elif how == 1:
            end.write(data or b"\0")
        elif how == 2:
            end.shut()
            self.shut.add(id(end))
        elif how == 3:
            end.abort()
        else:
            end.set_reading(what % 2 == 0)


class _Forward(ProxyHttp):
    def upstream_peer(self, session: Any, ctx: Any) -> HttpPeer:
        path: bytes = session.req_header.target
        h2 = path.endswith((b"1", b"3", b"5"))
        return HttpPeer("10.0.1.1:80", options=PeerOptions(alpn=ALPN.H2) if h2 else None)


def peers(data: bytes) -> None:
    """Whatever peers do, and when: memory is bounded, every wait has a clock, all ends, nothing undeclared is raised."""
    first = data[0] if data else 0
    profile = LinkProfile(
        segment=(536, 7, 65_536)[first % 3],
        send_buffer=(65_536, 1)[first & 4 > 0],
        receive_buffer=(65_536, 500)[first & 8 > 0],
    )
    world = World(first, Weather((profile,)))
    origin, clients = _Peer(), _Peer()
    world.listen("10.0.1.1:80", origin)  # type: ignore[arg-type]  # it accepts
    options = HttpOptions(h2c=True, allow_connect_method_proxying=first & 16 > 0)
    driver = world.listen("10.0.0.2:80", HttpProxy(_Forward(), _LIMITS, options))
    for oracle in (BoundedMemory(_LIMITS), NoTimerlessWait(), Termination()):
        world.watch(oracle)
    world.client("10.0.0.2:80", clients, "c")
    world.run(until=0.1)
    for at in range(1, len(data) - 1, 2):
        verb, what = data[at], data[at + 1]
        kind = verb % 16
        if kind < 6:
            clients.act((0, 0, 0, 1, 2, 3)[kind], what, _SAID_BY_CLIENTS, data[at + 2 : at + 2 + what % 40])
        elif kind < 12:
            origin.act((0, 0, 0, 1, 2, 3)[kind - 6], what, _SAID_BY_ORIGINS, data[at + 2 : at + 2 + what % 40])
        elif kind == 12:
            clients.act(4, what, (), b"")
        elif kind == 13:
            world.client("10.0.0.2:80", clients, "c")
        elif what == 255:
            driver.drain()
        world.run(until=world.now + _PAUSES[(verb >> 4) % len(_PAUSES)])
    for peer in (clients, origin):
        for end in peer.ends:
            end.set_reading(True)
    world.settle()


class _Guided(Random):
    """A generator whose high bits come from the input: one byte changed there changes few decisions."""

    __slots__ = ("_at", "_data")

    def __init__(self, seed: int, data: bytes, at: int = 0) -> None:
        super().__init__(seed)
        self._data = data
        self._at = at

    def bits(self) -> int:
        drawn = super().bits()
        if not self._data:
            return drawn
        byte = self._data[self._at % len(self._data)]
        self._at += 1
        return drawn ^ (byte << 56)

    def below(self, n: int) -> int:
        return (self.bits() * n) >> 64

    def chance(self, p: float) -> bool:
        return (self.bits() >> 11) * 2.0**-53 < p

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * ((self.bits() >> 11) * 2.0**-53)

    def fork(self, label: str) -> Random:
        drawn = super().fork(label)
        return _Guided(drawn.seed, self._data, drawn.seed % (len(self._data) or 1))


def worlds(data: bytes) -> None:
    """In every world of the simulator, whose decisions the bytes are, all of its oracles are content (I-1 to I-15)."""
    world, _ = build_world(0, rng=_Guided(int.from_bytes(data[:2]), data[2:]))
    try:
        world.settle()
    finally:
        for driver in world.drivers:
            driver.stop()


TARGETS = (
    Target(
        "proxy-peers",
        peers,
        lambda: [
            bytes((0, 0, 0, 6, 0, 6, 9)),
            bytes((0, 0, 1, 0, 7, 6, 1, 6, 10, 6, 11)),
            bytes((0, 0, 2, 0, 8, 0, 9, 6, 0, 6, 9)),
            bytes((0, 0, 5, 6, 7, 0, 7, 6, 9, 2, 0, 10, 0)),
            bytes((0, 0, 14, 0, 16, 6, 0, 6, 9, 0, 17, 0, 18)),
            bytes((16, 0, 6, 0, 7, 6, 9)),
            bytes((0, 0, 1, 0, 7, 6, 15, 6, 16, 6, 17, 6, 19)),
        ],
    ),
    Target("worlds", worlds, lambda: [bytes((0, n)) + Random(n).data(60) for n in range(40)], replays=False),
)
