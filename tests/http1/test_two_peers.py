"""Our client and our server pushed through each other, cut anywhere: what one sends, the other tells, to the last byte."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Closing, Writable
from sansio_pingora.wire import Body, Done, Failed, Fields, Header, RequestHeader, ResponseHeader, Trailer, UpgradedBody
from tests.http1.runs import LIMITS, make_client, make_server, merged, plain


@dataclass
class Wire:
    """Two connections and the bytes between them; time stands still."""

    dice: Random
    engine: str = "native"
    limits: Limits = LIMITS
    options: dict[str, Any] = field(default_factory=dict)
    deaf: tuple[str, ...] = ()
    """Sides to which nothing is delivered."""

    def __post_init__(self) -> None:
        self.client = make_client(self.engine, self.limits)
        self.server = make_server(self.engine, self.limits, **self.options)
        self.told: dict[str, list[tuple[Any, ...]]] = {"client": [], "server": []}
        self.pending = {"client": b"", "server": b""}  # bytes on the way to each
        self.shut = {"client": False, "server": False}  # the other side's end was delivered to it

    def side(self, name: str) -> Any:
        return self.client if name == "client" else self.server

    def take(self, name: str, events: list[Any]) -> None:
        side = self.side(name)
        for stream, value in events:
            if isinstance(value, Writable):
                continue
            self.told[name].append(plain((stream, value)))
            if isinstance(value, Body | UpgradedBody):
                side.consumed(stream, len(value.data), 0.0)

    def settle(self, name: str) -> None:
        side = self.side(name)
        while side.deadline == AT_ONCE:
            self.take(name, side.handle_timeout(0.0))
        self.pending["server" if name == "client" else "client"] += b"".join(side.data_to_send())
        self.take(name, side.write_resumed(0.0))

    def run(self) -> None:
        """Deliver pieces in random order until nothing moves."""
        while True:
            for name in ("client", "server"):
                self.settle(name)
            names = [name for name in ("client", "server") if name not in self.deaf]
            movable = [name for name in names if self.pending[name] and self.side(name).want_read]
            if not movable:
                if not self._deliver_ends():
                    return
                continue
            name = self.dice.choice(movable)
            size = self.dice.choice((1, 3, 10, 100, 10_000))
            piece, self.pending[name] = self.pending[name][:size], self.pending[name][size:]
            self.take(name, self.side(name).receive_data(piece, 0.0))

    def _deliver_ends(self) -> bool:
        for name, other in (("client", self.server), ("server", self.client)):
            side = self.side(name)
            over = other.shut_write or other.closing is Closing.AFTER_FLUSH
            if name in self.deaf:
                continue
            if over and not self.shut[name] and not side.closing and not self.pending[name]:
                self.shut[name] = True
                self.take(name, side.receive_eof(0.0))
                return True
        return False

    def ask(self, head: RequestHeader, *body: Any) -> int:
        stream = self.client.open_stream(0.0)
        assert stream is not None
        self.client.send(stream, Header(head, not body), 0.0)
        for task in body:
            self.client.send(stream, task, 0.0)
        return stream

    def heard(self, name: str) -> list[tuple[Any, ...]]:
        return merged(self.told[name])


def request(method: str = "GET", target: str = "/", *fields: tuple[str, str]) -> RequestHeader:
    return RequestHeader(method, target, [("Host", "a.test"), *fields])


def bodies_of(events: list[tuple[Any, ...]], stream: int) -> bytes:
    return b"".join(event[2] for event in events if event[0] == stream and event[1] == "body")


dices = st.integers(0, 2**32).map(Random)


class Large(bytes):
    """A piece with a short repr."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


PIECES = [b"a", b"0\r\n\r\n", b"\r\n", b"x" * 700, b"HTTP/1.1 200 OK\r\n\r\n", Large(b"\x00" * 90_000)]
TRAILERS = [None, Fields([("X-Sum", "1")]), Fields([("x", ""), ("X", "2")])]


@st.composite
def messages(draw: st.DrawFn) -> tuple[list[tuple[str, str]], list[Any]]:
    """Fields and body tasks, in one of the framings that a sender may choose; the tasks come to an end."""
    pieces = draw(st.lists(st.sampled_from(PIECES), max_size=4))
    framing = draw(st.sampled_from(["none", "length", "chunked", "unsaid"]))
    if framing == "none":
        return [], []
    tasks: list[Any] = [Body(piece) for piece in pieces]
    if framing == "length" and tasks and draw(st.booleans()):
        tasks[-1].end = True
    elif framing == "length" or (trailers := draw(st.sampled_from(TRAILERS))) is None:
        tasks.append(draw(st.sampled_from([Done(), Body(b"", True)])))
    else:
        tasks.append(Trailer(trailers))
    length = [("Content-Length", str(len(payload_of(tasks))))]
    return {"length": length, "chunked": [("Transfer-Encoding", "chunked")], "unsaid": []}[framing], tasks


def payload_of(tasks: list[Any]) -> bytes:
    return b"".join(task.data for task in tasks if isinstance(task, Body))


@given(
    dices,
    st.lists(
        st.tuples(
            messages(), messages(), st.sampled_from(["GET", "POST", "HEAD"]), st.sampled_from([200, 204, 304, 404])
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_exchanges(engine, dice, exchanges):
    wire = Wire(dice, engine)
    for number, ((fields, tasks), (back, answer), method, status) in enumerate(exchanges, 1):
        assert wire.client.reusable
        payload, content = payload_of(tasks), payload_of(answer)
        wire.ask(request(method, f"/{number}", *fields), *tasks)
        wire.run()
        heard = [event for event in wire.heard("server") if event[0] == number]
        assert heard[0][:4] == (number, "request", method.encode(), b"/%d" % number)
        assert bodies_of(heard, number) == payload
        if tasks and isinstance(tasks[-1], Trailer):
            assert heard[-1][1] == "trailer"
        bodiless = method == "HEAD" or status in {204, 304}
        if bodiless and engine == "hyper" and method == "HEAD" and not back:
            back = [("Content-Length", str(len(content)))]  # h11 makes chunks of an unsaid length
            answer = [task for task in answer if not isinstance(task, Trailer)] or []
        wire.server.send(number, Header(ResponseHeader(status, back), not answer), 0.0)
        for task in answer:
            wire.server.send(number, task, 0.0)
        wire.run()
        told = [event for event in wire.heard("client") if event[0] == number]
        assert told[0][1:3] == ("response", status)
        assert bodies_of(told, number) == (b"" if bodiless else content)
        assert sum(event[1] == "response" for event in told) == 1
        assert not wire.server.closing
    assert not any(event[1] in {"failed", "closed"} for events in wire.told.values() for event in events)


@given(dices, messages())
def test_answers_to_http_10_last_until_the_close(dice, answer):
    """Where no length is known: what arrives is whole, and the end is an orderly one."""
    _, tasks = answer
    wire = Wire(dice)
    wire.take("server", wire.server.receive_data(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 0.0))
    wire.ask(request())
    wire.client.data_to_send()
    wire.server.send(1, Header(ResponseHeader(200), False), 0.0)
    for task in tasks or [Done()]:
        wire.server.send(1, task, 0.0)
    wire.run()

    assert bodies_of(wire.heard("client"), 1) == payload_of(tasks)
    assert (1, "done") in wire.told["client"]
    assert wire.server.closing is Closing.AFTER_FLUSH or wire.server.shut_write
    assert not wire.client.reusable


@given(dices, st.integers(1, 6), st.integers(1, 7))
def test_pipelined_requests_are_served_in_order(dice, count, limit):
    wire = Wire(dice, limits=Limits(keepalive_request_limit=limit), deaf=("client",))
    raw = b"".join(b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi" % n for n in range(1, count + 1))
    wire.pending["server"] = raw
    served = 0
    while True:
        wire.run()
        waiting = [event[0] for event in wire.told["server"] if event[1] == "body" and event[3]]
        if len(waiting) == served:
            break
        served += 1
        assert waiting[-1] == served, "one at a time, in order"
        wire.server.send(served, Header(ResponseHeader(200, [("X", str(served))]), True), 0.0)
    out = wire.pending["client"]

    assert served == min(count, limit)
    assert out.count(b"HTTP/1.1 200 OK") == served
    assert out.count(b"Connection: close") == (served == limit)


@given(dices, st.booleans(), st.booleans())
def test_expect_continue(dice, invited, answers_first):
    wire = Wire(dice)
    wire.ask(request("POST", "/", ("Content-Length", "5"), ("Expect", "100-continue")), Body(b""))
    wire.run()
    assert wire.told["client"] == []
    if invited:
        wire.server.invite_body(1, 0.0)
        wire.server.invite_body(1, 0.0)
        wire.run()
        assert [event[2] for event in wire.told["client"]] == [100]
    if answers_first:
        wire.server.send(1, Header(ResponseHeader(403), True), 0.0)
        wire.run()
        assert [event[2] for event in wire.told["client"] if event[1] == "response"][-1] == 403
        # Uninvited, the body may or may not come, so nothing may be read behind it; invited, it comes.
        assert wire.server.keep is invited
    elif invited:
        wire.client.send(1, Body(b"hello"), 0.0)
        wire.run()
        assert bodies_of(wire.heard("server"), 1) == b"hello"


@given(dices, st.lists(st.sampled_from([102, 103]), max_size=5))
def test_informational_heads(dice, early):
    wire = Wire(dice)
    wire.ask(request())
    wire.run()
    for status in early:
        wire.server.send(1, Header(ResponseHeader(status, [("Link", "</a>"), ("Content-Length", "5")]), False), 0.0)
    wire.server.send(1, Header(ResponseHeader(200), True), 0.0)
    wire.run()

    assert [event[2] for event in wire.told["client"]] == [*early, 200]
    assert all((b"content-length", b"5") not in event[4] for event in wire.told["client"])
    assert wire.client.reusable


SWITCH = ResponseHeader(101, [("Connection", "upgrade"), ("Upgrade", "echo")])
OFFER = (("Connection", "upgrade"), ("Upgrade", "echo"))


@given(dices, messages(), st.booleans(), st.booleans())
def test_upgrades(engine, dice, message, early, client_ends_first):
    """The declared body to its end, and opaque bytes behind it, whichever comes first."""
    fields, tasks = message
    wire = Wire(dice, engine)
    assert wire.client.open_stream(0.0) == 1
    wire.client.send(1, Header(request("POST", "/", *fields, *OFFER), not tasks), 0.0)
    if not early:
        for task in tasks:
            wire.client.send(1, task, 0.0)
    wire.run()
    wire.server.send(1, Header(SWITCH, False), 0.0)
    wire.server.send(1, UpgradedBody(b"greeting"), 0.0)
    wire.run()
    if early:
        for task in tasks:
            wire.client.send(1, task, 0.0)
    wire.client.send(1, UpgradedBody(b"GET / HTTP/1.1\r\n\r\n" * 100), 0.0)
    wire.run()
    first, second = ("client", "server") if client_ends_first else ("server", "client")
    wire.side(first).send(1, UpgradedBody(b"bye", True), 0.0)
    wire.run()
    assert not wire.side(second).closing
    wire.side(second).send(1, UpgradedBody(b"late"), 0.0)
    wire.run()
    wire.side(second).send(1, UpgradedBody(b"", True), 0.0)
    wire.run()

    server, client = wire.heard("server"), wire.heard("client")
    assert bodies_of(server, 1) == payload_of(tasks)
    client_said = b"GET / HTTP/1.1\r\n\r\n" * 100 + (b"bye" if client_ends_first else b"late")
    server_said = b"greeting" + (b"late" if client_ends_first else b"bye")
    assert server[-1] == (1, "raw", client_said, True)
    assert client[-1] == (1, "raw", server_said, True)
    assert wire.server.closing is Closing.AFTER_FLUSH
    assert wire.client.closing is Closing.AFTER_FLUSH


@given(dices, st.binary(max_size=50), st.binary(max_size=50))
def test_tunnels(engine, dice, up, down):
    wire = Wire(dice, engine, options={"allow_connect": True})
    wire.ask(RequestHeader("CONNECT", "b.test:443", [("Host", "b.test:443")]))
    wire.run()
    wire.server.send(1, Header(ResponseHeader(200), False), 0.0)
    wire.server.send(1, UpgradedBody(down, True), 0.0)
    wire.run()
    wire.client.send(1, UpgradedBody(up, True), 0.0)
    wire.run()

    assert wire.heard("server")[-1] == (1, "raw", up, True)
    assert wire.heard("client")[-1] == (1, "raw", down, True)
    assert wire.client.closing
    assert wire.server.closing


@given(dices)
def test_a_refused_tunnel_ends_the_connection(dice):
    """What an eager client sent behind its CONNECT was meant for the tunnel."""
    wire = Wire(dice, options={"allow_connect": True})
    wire.ask(RequestHeader("CONNECT", "b.test:443", [("Host", "b.test:443")]))
    wire.settle("client")
    wire.pending["server"] += b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    wire.run()
    wire.server.send(1, Header(ResponseHeader(403), True), 0.0)
    wire.run()

    assert [event[1] for event in wire.told["server"] if event[0]] == ["request"]
    assert wire.told["client"][0][2] == 403
    assert not wire.client.reusable


@given(dices, st.integers(0, 3000), st.booleans())
def test_an_early_answer(dice, unsent, keeps):
    """Both directions flow on; the connection survives when the request comes to its end within measure."""
    wire = Wire(dice, limits=Limits(linger_bytes=2000))
    size = 4000
    stream = wire.client.open_stream(0.0)
    assert stream
    head = request("POST", "/", *((("Content-Length", str(size)),) if keeps else ()))
    wire.client.send(1, Header(head, False), 0.0)
    wire.client.send(1, Body(b"x" * (size - unsent)), 0.0) if unsent < size else None
    wire.run()
    wire.server.send(1, Header(ResponseHeader(413, [("Content-Length", "3")]), False), 0.0)
    wire.server.send(1, Body(b"big", True), 0.0)
    wire.run()
    assert bodies_of(wire.heard("client"), 1) == b"big"
    announced = (b"connection", b"close") in next(event for event in wire.told["client"] if event[1] == "response")[4]
    assert announced == (keeps and unsent > 2000)
    if not wire.client.closing and unsent:
        wire.client.send(1, Body(b"x" * unsent), 0.0)
    if not wire.client.closing and not keeps:
        wire.client.send(1, Done(), 0.0)
    wire.run()
    if unsent <= 1900:
        assert wire.client.reusable
        wire.ask(request("GET", "/next"))
        wire.run()
        assert wire.told["server"][-1][:4] == (2, "request", b"GET", b"/next")
    if unsent > 2000:
        assert not wire.client.reusable
    assert not any(event[1] == "failed" for event in wire.told["client"])


@given(dices, st.booleans(), st.booleans())
def test_a_message_that_is_broken_off_is_seen_to_be(dice, from_server, chunked):
    wire = Wire(dice)
    error = Error(ErrorType.INTERNAL_ERROR)
    fields = () if chunked else (("Content-Length", "10"),)
    if from_server:
        wire.ask(request())
        wire.run()
        wire.server.send(1, Header(ResponseHeader(200, list(fields)), False), 0.0)
        wire.server.send(1, Body(b"part"), 0.0)
        wire.server.send(1, Failed(error), 0.0)
    else:
        wire.client.open_stream(0.0)
        wire.client.send(1, Header(request("POST", "/", *fields), False), 0.0)
        wire.client.send(1, Body(b"part"), 0.0)
        wire.client.send(1, Failed(error), 0.0)
    wire.run()

    told = wire.told["client" if from_server else "server"]
    assert "failed" in [event[1] for event in told]
    assert "done" not in [event[1] for event in told]


@given(dices, st.booleans())
def test_draining(dice, busy):
    wire = Wire(dice)
    wire.ask(request())
    if busy:
        wire.run()
        wire.server.drain(0.0)
    else:  # the request is on its way
        wire.server.drain(0.0)
        wire.run()
    wire.server.send(1, Header(ResponseHeader(200), True), 0.0)
    wire.run()

    response = wire.told["client"][0]
    assert (b"connection", b"close") in response[4]
    assert not wire.client.reusable
    assert wire.server.closing or wire.server.shut_write


@given(dices)
def test_a_client_that_shuts_its_side_is_answered(dice):
    wire = Wire(dice, deaf=("client",))
    wire.pending["server"] = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
    wire.run()
    wire.take("server", wire.server.receive_eof(0.0))
    assert not wire.server.want_read
    wire.server.send(1, Header(ResponseHeader(200), True), 0.0)
    wire.run()
    wire.server.send(2, Header(ResponseHeader(200), True), 0.0)
    wire.run()
    first, second = wire.pending["client"].split(b"\r\n\r\n")[:2]

    assert b"Connection: close" not in first
    assert b"Connection: close" in second
    assert wire.server.closing is Closing.AFTER_FLUSH
