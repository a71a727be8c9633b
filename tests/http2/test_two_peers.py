"""Our client and our server against each other, over a transport that cuts at random.

Frames pass between them as bytes only; each direction is read on its way by an eye that knows nothing of either.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.http2 import Http2Client, Http2Server
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Closing, Writable
from sansio_pingora.wire import Body, Done, Failed, Header, RequestHeader, ResponseHeader, UpgradedBody
from tests.http2.runs import BROKEN, Order, plain, request_head, trailer

CAUSES = ("client", "server")


class Books:
    """What flowed on the wire, seen from outside: DATA bytes and the credit that was given for them."""

    def __init__(self) -> None:
        self.sent = {"client": 0, "server": 0}
        self.credit = {"client": 65_535, "server": 65_535}
        self.raw = {"client": b"", "server": b""}
        self.kinds: list[tuple[str, int, int]] = []

    def note(self, who: str, data: bytes) -> None:
        raw = self.raw[who] + data
        if raw.startswith(b"PRI * "):
            raw = raw[24:]
        other = "server" if who == "client" else "client"
        while len(raw) >= 9 and len(raw) >= 9 + int.from_bytes(raw[:3], "big"):
            size, kind = int.from_bytes(raw[:3], "big"), raw[3]
            stream = int.from_bytes(raw[5:9], "big")
            self.kinds.append((who, kind, stream))
            if kind == 0:
                self.sent[who] += size
                assert self.sent[who] <= self.credit[who], f"{who} sends beyond the window of the connection"
            elif kind == 8 and not stream:
                self.credit[other] += int.from_bytes(raw[9:13], "big")
            raw = raw[9 + size :]
        self.raw[who] = raw


class Wire:
    """Both ends and what is between them."""

    def __init__(self, dice: Random, limits: Limits, **options: Any) -> None:
        self.dice = dice
        self.limits = limits
        self.server = Http2Server(0.0, limits, allow_connect=True)
        self.client = Http2Client(0.0, limits, **options)
        self.pending = {"client": b"", "server": b""}
        """Bytes on their way to each end."""
        self.told: dict[str, list[tuple[Any, ...]]] = {"client": [], "server": []}
        self.raw: dict[str, list[Any]] = {"client": [], "server": []}
        self.orders = {"client": Order(of_requests=False), "server": Order(of_requests=True)}
        self.unused: dict[tuple[str, int], int] = {}
        self.books = Books()
        self.rooms: dict[tuple[str, int], int] = {}
        self.settle("client")

    def side(self, name: str) -> Any:
        return self.client if name == "client" else self.server

    def take(self, name: str, events: list[Any]) -> None:
        for event in events:
            self.orders[name].prove(event)
            self.told[name].append(plain(event))
            self.raw[name].append(event)
            stream, value = event
            if isinstance(value, Body | UpgradedBody):
                self.unused[name, stream] = self.unused.get((name, stream), 0) + len(value.data)
            elif isinstance(value, Writable):
                self.rooms[name, stream] = value.room
        self.settle(name)

    def settle(self, name: str) -> None:
        machine = self.side(name)
        while machine.deadline == AT_ONCE:
            self.take(name, machine.handle_timeout(0.0))
        while data := b"".join(machine.data_to_send()):
            self.books.note(name, data)
            self.pending["server" if name == "client" else "client"] += data
            if machine.starved:
                events = machine.write_resumed(0.0)
                if events:
                    self.take(name, events)

    def send(self, name: str, stream: int, task: Any) -> None:
        self.rooms[name, stream] = self.side(name).send(stream, task, 0.0)
        self.settle(name)

    def use(self, name: str, stream: int, size: int) -> None:
        self.unused[name, stream] -= size
        self.side(name).consumed(stream, size, 0.0)
        self.settle(name)

    def move(self) -> bool:
        """A piece of what is pending arrives."""
        names = [name for name in CAUSES if self.pending[name] and self.side(name).want_read]
        if not names:
            return False
        name = self.dice.choice(names)
        size = self.dice.choice((1, 5, 9, 50, 1000, 100_000))
        piece, self.pending[name] = self.pending[name][:size], self.pending[name][size:]
        self.take(name, self.side(name).receive_data(piece, 0.0))
        return True

    def run(self) -> None:
        while self.move():
            pass

    def heard(self, name: str, stream: int) -> list[tuple[Any, ...]]:
        joined: list[tuple[Any, ...]] = []
        for event in self.told[name]:
            if event[0] != stream or event[1] == "writable":
                continue
            if joined and event[1] in {"body", "raw"} and joined[-1][1] == event[1] and not joined[-1][3]:
                joined[-1] = (*event[:2], joined[-1][2] + event[2], event[3])
            else:
                joined.append(event)
        return joined


class Message:
    """One side of an exchange as it is to be sent: its tasks, one after the other, as room allows."""

    def __init__(self, dice: Random, head: Any, *, silent: bool = False) -> None:
        self.sizes = [dice.choice((1, 10, 1000, 16_384, 40_000)) for _ in range(dice.randint(0, 4))]
        self.payload = b"".join(bytes([65 + n % 26]) * size for n, size in enumerate(self.sizes))
        self.silent = silent
        self.declared = dice.random() < 0.5
        self.trailers = dice.random() < 0.3 and not silent and not self.declared
        bare = not self.sizes and not self.trailers and (self.declared or dice.random() < 0.5)
        if self.declared:
            head.insert("content-length", str(len(self.payload)))
        self.tasks: list[Any] = [Header(head, bare)]
        if not bare:
            at = 0
            for size in self.sizes:
                at += size
                self.tasks.append(Body(self.payload[at - size : at], self.declared and at == len(self.payload)))
            if self.trailers:
                self.tasks.append(trailer(("x-sum", str(len(self.payload)))))
            elif not self.tasks[-1].end:
                self.tasks.append(Done())
        if silent:
            self.payload = b""


LIMITS = [
    Limits(),
    Limits(h2_window=65_535, h2_connection_window=65_535, high_water=3_000),
    Limits(h2_window=1_000, h2_connection_window=65_535, high_water=10_000, h2_send_buffer=12_000),
    Limits(h2_window=200_000, h2_connection_window=100_000, h2_max_streams=2),
]


@given(st.integers(0, 2**32).map(Random), st.sampled_from(LIMITS), st.integers(1, 7))
def test_exchanges_in_any_interleaving(dice, limits, number):
    """Every request and every answer arrives whole, in the order of its pieces, whatever passes it by."""
    wire = Wire(dice, limits)
    wire.run()
    waiting = list(range(number))
    uploads: dict[int, Message] = {}
    downloads: dict[int, Message] = {}
    asked: dict[bytes, tuple[Message, int]] = {}
    answered: dict[bytes, Message] = {}
    methods: dict[bytes, str] = {}
    seen = 0
    for _ in range(20_000):
        moves = []
        if waiting and wire.client.reusable:
            moves.append("open")
        moves += [("up", key) for key in uploads if wire.rooms.get(("client", key), 1) > 0]
        moves += [
            ("down", stream)
            for stream, message in downloads.items()
            if wire.rooms.get(("server", stream), 1) > 0
            # An answer that ends before its request does would stop the request.
            and ((len(message.tasks) > 1 and not message.silent) or wire.orders["server"].stages[stream] == "over")
        ]
        moves += [("use", *owner) for owner, size in wire.unused.items() if size]
        if wire.pending["client"] or wire.pending["server"]:
            moves += ["move"] * 3
        if not moves:
            break
        move = dice.choice(moves)
        if move == "move":
            wire.move()
        elif move == "open":
            path = b"/%d" % waiting.pop()
            method = dice.choice(["GET", "POST", "HEAD", "PUT"])
            message = Message(dice, request_head(method, path.decode()))
            key = wire.client.open_stream(0.0)
            methods[path] = method
            asked[path] = (message, key)
            uploads[key] = message
        elif move[0] == "use":
            wire.use(move[1], move[2], dice.randint(1, wire.unused[move[1], move[2]]))
        else:
            side, book = ("client", uploads) if move[0] == "up" else ("server", downloads)
            wire.send(side, move[1], book[move[1]].tasks.pop(0))
            if not book[move[1]].tasks:
                del book[move[1]]
        for event in wire.told["server"][seen:]:
            if event[1] == "request":
                message = Message(dice, ResponseHeader(200), silent=methods[event[3]] == "HEAD")
                answered[event[3]] = message
                downloads[event[0]] = message
        seen = len(wire.told["server"])

    assert not waiting
    assert len(answered) == number
    for path, (message, key) in asked.items():
        stream = next(event[0] for event in wire.told["server"] if event[1] == "request" and event[3] == path)
        for name, number_, sent in (("server", stream, message), ("client", key, answered[path])):
            heard = wire.heard(name, number_)
            body = b"".join(event[2] for event in heard if event[1] == "body")
            assert body == sent.payload
            assert not any(event[1] == "failed" for event in heard)
            ends = [event for event in heard if event[1] in {"done", "trailer"} or event[-1] is True]
            assert len(ends) == 1, heard
            assert (heard[-1][1] == "trailer") is sent.trailers
    for name in CAUSES:
        other = "server" if name == "client" else "client"
        used = sum(len(event[2]) for event in wire.told[other] if event[1] == "body")
        assert wire.books.sent[name] == used
        # Credit is given for what was used, and for nothing else; what is kept back is less than half a window.
        first = max(65_535, limits.h2_connection_window)
        assert first + used - limits.h2_connection_window / 2 <= wire.books.credit[name] <= first + used
    assert wire.client.idle
    assert wire.server.idle
    assert not wire.server.closing


@given(st.integers(0, 2**32).map(Random), st.sampled_from(LIMITS), st.integers(1, 6), st.booleans())
def test_resets_at_any_moment(dice, limits, number, drains):
    """Either side gives up when it likes: each side hears of every stream exactly one end, and the rest is unharmed."""
    wire = Wire(dice, limits)
    wire.run()
    keys: dict[int, Message] = {}
    streams: dict[int, Message] = {}
    given_up: set[tuple[str, int]] = set()
    finished: set[tuple[str, int]] = set()
    seen = 0
    opened = 0
    for _ in range(3_000):
        if drains and opened == number and dice.random() < 0.01:
            dice.choice([wire.client, wire.server]).drain(0.0)
            for name in CAUSES:
                wire.settle(name)
        if opened < number and wire.client.reusable:
            key = wire.client.open_stream(0.0)
            keys[key] = Message(dice, request_head("POST", f"/{key}"))
            opened += 1
        for name, book in (("client", keys), ("server", streams)):
            for stream, message in list(book.items()):
                if dice.random() < 0.03:
                    wire.send(name, stream, Failed(BROKEN))
                    given_up.add((name, stream))
                    del book[stream]
                elif wire.rooms.get((name, stream), 1) > 0 and dice.random() < 0.5:
                    wire.send(name, stream, message.tasks.pop(0))
                    if not message.tasks:
                        finished.add((name, stream))
                        del book[stream]
        for name, stream in list(wire.unused):
            if wire.unused[name, stream] and dice.random() < 0.5:
                wire.use(name, stream, wire.unused[name, stream])
        for _ in range(dice.randint(0, 4)):
            wire.move()
        for stream, value in wire.raw["server"][seen:]:
            if isinstance(value, Header):
                streams[stream] = Message(dice, ResponseHeader(200))
            elif isinstance(value, Failed):
                streams.pop(stream, None)
        seen = len(wire.raw["server"])
        for stream, value in wire.raw["client"]:
            if isinstance(value, Failed):
                keys.pop(stream, None)
        quiet = not any(wire.pending.values()) and not any(wire.unused.values())
        if opened == number and not keys and not streams and quiet:
            break
    wire.run()

    for key in range(1, opened + 1):
        heard = [event for event in wire.raw["client"] if event[0] == key and not isinstance(event[1], Writable)]
        ends = [value for _, value in heard if value.end and not _informational(value)]
        if ("client", key) not in given_up:
            assert len(ends) == 1, heard
        else:
            assert len(ends) <= 1
    assert wire.client.active == 0
    for name in CAUSES:
        assert wire.books.sent[name] <= wire.books.credit[name]
    if not drains:
        wire.client.drain(0.0)
        wire.settle("client")
        wire.run()
    for stream, value in wire.raw["client"]:
        if isinstance(value, Failed):
            assert str(value.error), stream


def _informational(value: Any) -> bool:
    return isinstance(value, Header) and isinstance(value.head, ResponseHeader) and value.head.status < 200


@given(st.integers(0, 2**32).map(Random), st.booleans(), st.booleans())
def test_tunnels(dice, extended, refused):
    wire = Wire(dice, LIMITS[1])
    wire.run()
    head = (
        request_head("CONNECT", "/chat", protocol=b"websocket")
        if extended
        else RequestHeader("CONNECT", "b.test:443", [("Host", "b.test:443")])
    )
    key = wire.client.open_stream(0.0)
    wire.send("client", key, Header(head, True))
    wire.run()
    assert [event[1] for event in wire.told["server"]] == ["request"]
    wire.send("server", 1, Header(ResponseHeader(403 if refused else 200), refused))
    wire.run()
    if refused:
        assert wire.heard("client", key)[0][2] == 403
        assert wire.client.idle
        return
    up = b"".join(bytes([n % 256]) * dice.choice((1, 100, 5_000)) for n in range(dice.randint(0, 20)))
    down = up[::-1] * 2
    flows = {"client": up, "server": down}
    for _ in range(20_000):
        for name, stream in (("client", key), ("server", 1)):
            if name in flows and wire.rooms.get((name, stream), 1) > 0:
                piece, flows[name] = flows[name][:2000], flows[name][2000:]
                wire.send(name, stream, UpgradedBody(piece, not flows[name]))
                if not flows[name]:
                    del flows[name]
        for owner, size in wire.unused.items():
            if size and dice.random() < 0.7:
                wire.use(*owner, size)
        if not wire.move() and not flows and not any(wire.unused.values()):
            break

    assert b"".join(event[2] for event in wire.told["server"] if event[1] == "raw") == up
    assert b"".join(event[2] for event in wire.told["client"] if event[1] == "raw") == down
    assert wire.heard("server", 1)[-1][3] is True
    assert wire.heard("client", key)[-1][3] is True
    assert wire.client.idle
    assert wire.server.idle


@given(st.integers(0, 2**32).map(Random), st.integers(0, 5), st.booleans())
def test_draining_loses_no_request(dice, number, client_drains):
    """Whatever was asked before the client heard of the end is answered, or known not to have been seen."""
    wire = Wire(dice, LIMITS[0])
    wire.run()
    keys = []
    for at in range(number):
        key = wire.client.open_stream(0.0)
        if key is None:
            break
        keys.append(key)
        wire.send("client", key, Header(request_head("GET", f"/{at}"), True))
        if dice.random() < 0.3:
            wire.move()
        if dice.random() < 0.4:
            (wire.client if client_drains else wire.server).drain(0.0)
            wire.settle("client")
            wire.settle("server")
    if not client_drains:
        wire.server.drain(0.0)
    else:
        wire.client.drain(0.0)
    wire.settle("client")
    wire.settle("server")
    wire.run()
    for stream in [event[0] for event in wire.told["server"] if event[1] == "request"]:
        wire.send("server", stream, Header(ResponseHeader(200), True))
    wire.run()

    for key in keys:
        heard = wire.heard("client", key)
        if heard[0][1] == "failed":
            failure = next(value for stream, value in wire.raw["client"] if stream == key and isinstance(value, Failed))
            assert failure.error.unprocessed
        else:
            assert heard[0][1:3] == ("response", 200)
    assert wire.client.open_stream(0.0) is None
    assert wire.client.idle
    assert wire.server.shut_write or wire.server.closing is Closing.AFTER_FLUSH or wire.client.shut_write
    assert wire.told["client"][-1][:2] == (0, "closed")


def test_the_limits_of_both_are_announced():
    wire = Wire(Random(1), LIMITS[3])
    wire.run()

    assert wire.client.peer_max_streams == 2
    assert wire.books.credit["client"] == 100_000
