"""The table of moves, and machines that are driven at random: whatever is done to them, the contract holds."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.http1 import Http1Connection, NativeCodec
from sansio_pingora.http1.chunked_reader import ChunkedReader
from sansio_pingora.http1.head_reader import HeadReader
from sansio_pingora.http1.lines import LineReader
from sansio_pingora.http1.states import BODY, COMPLETE, HEAD, IDLE, MOVES, RAW, Half, Move
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Closing, ConnectionClosed
from sansio_pingora.wire import (
    Body,
    Done,
    Failed,
    Fields,
    Header,
    ReceiveBuffer,
    RequestHeader,
    ResponseHeader,
    Trailer,
    UpgradedBody,
)
from tests.http1.runs import make_client, make_server, plain

# ── the table ────────────────────────────────────────────────────────────────────────

TABLE = """
               IDLE      HEAD      BODY      COMPLETE  RAW     CLOSED
BEGIN          HEAD      HEAD      .         .         .       .
HEAD_ONLY      COMPLETE  COMPLETE  .         .         .       .
HEAD_THEN_BODY BODY      BODY      .         .         .       .
INFORMATIONAL  HEAD      HEAD      .         .         .       .
END            .         .         COMPLETE  .         .       .
SWITCH         .         RAW       .         RAW       .       .
NEXT           .         .         .         IDLE      .       .
CLOSE          CLOSED    CLOSED    CLOSED    CLOSED    CLOSED  CLOSED
"""
_COLUMNS, *_ROWS = [line.split() for line in TABLE.strip().splitlines()]
CELLS = [(half, row[0], cell) for row in _ROWS for half, cell in zip(_COLUMNS, row[1:], strict=True)]


@pytest.mark.parametrize(("half", "move", "then"), CELLS)
def test_every_cell(half, move, then):
    found = MOVES.get((Half[half], Move[move]))

    assert (found.name if found else ".") == then


def test_the_table_is_whole():
    assert {(half, move) for half, move, _ in CELLS} == {(half.name, move.name) for half in Half for move in Move}


# ── machines at random ───────────────────────────────────────────────────────────────

SMALL = Limits(
    high_water=64,
    max_body=600,
    max_head=400,
    max_line=200,
    max_fields=8,
    max_trailers=100,
    max_chunk_overhead=200,
    linger_bytes=100,
    keepalive_request_limit=6,
    max_informational=3,
)
PARTS = (Http1Connection, ChunkedReader, HeadReader, LineReader, NativeCodec, ReceiveBuffer)


def snapshot(value: Any) -> Any:
    """Everything that a machine remembers, as values that compare."""
    if isinstance(value, PARTS):
        names = {name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())}
        return {name: snapshot(getattr(value, name)) for name in names - {"limits", "_limits", "endpoint"}}
    if isinstance(value, list):
        return [snapshot(item) for item in value]
    return bytes(value) if isinstance(value, bytearray) else value


class ConnectionModel(RuleBasedStateMachine):
    """What both roles owe to their driver and their application."""

    engine = "native"

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.connection = self.make()
        self.ended: set[int] = set()  # streams whose message is complete or failed
        self.raw_ended: set[int] = set()
        self.failed: set[int] = set()
        self.upgraded: set[int] = set()
        self.begun: set[int] = set()
        self.held: dict[int, int] = {}  # payload delivered and not returned, by stream
        self.closed = 0
        self.lost = False
        self.paused = False
        self.worst = Closing.NO
        self.drained_after_closing = False

    def make(self) -> Http1Connection:
        raise NotImplementedError

    # what comes out

    def take(self, events: list[Any]) -> None:
        assert not self.lost or not events
        for stream, value in events:
            assert self.closed == 0, "nothing follows the end of the connection"
            if isinstance(value, ConnectionClosed):
                assert stream == 0
                self.closed += 1
                continue
            self.judge(stream, value)

    def judge(self, stream: int, value: Any) -> None:
        """The order of tasks on a stream."""
        if isinstance(value, Failed):
            assert stream not in self.failed
            assert self.may_fail(stream)
            self.failed.add(stream)
        elif isinstance(value, Header | Body | UpgradedBody | Trailer | Done):
            assert isinstance(value, Header) or stream in self.begun, "a head comes first"
            opaque = isinstance(value, UpgradedBody)
            assert not opaque or stream in self.upgraded, "opaque bytes behind a switch alone"
            assert stream not in (self.raw_ended if opaque else self.ended), "nothing follows an end"
            assert stream not in self.failed, "nothing follows a failure"
            self.begun.add(stream)
            if isinstance(value, Body | UpgradedBody):
                assert value.data or value.end, "no empty pieces"
                self.held[stream] = self.held.get(stream, 0) + len(value.data)
            if value.end:
                (self.raw_ended if opaque else self.ended).add(stream)

    def may_fail(self, stream: int) -> bool:
        """Its holder has not seen it end."""
        raise NotImplementedError

    def attempt(self, call: Any, *args: Any) -> Any:
        """A move of the caller: legal, or refused with nothing changed."""
        before = snapshot(self.connection)
        try:
            return call(*args)
        except LocalProtocolError:
            assert snapshot(self.connection) == before, "a refused move has changed the machine"
            return None

    # inputs of every connection

    @precondition(lambda self: not self.lost)
    @rule(data=st.binary(min_size=1, max_size=20))
    def noise(self, data: bytes) -> None:
        if not self.connection._peer_ended:
            self.take(self.connection.receive_data(data, self.now))

    @precondition(lambda self: not self.lost)
    @rule()
    def eof(self) -> None:
        self.take(self.connection.receive_data(b"", self.now))

    @precondition(lambda self: not self.lost)
    @rule(reason=st.sampled_from([None, Error(ErrorType.READ_ERROR, "reset")]))
    def lose(self, reason: Error | None) -> None:
        if reason is not None or self.connection.closing:
            events = self.connection.transport_lost(reason, self.now)
            self.take(events)
            self.lost = True
            assert self.closed == 1

    @rule(seconds=st.sampled_from([0.0, 0.5, 4.0, 11.0, 31.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.connection.handle_timeout(self.now))

    @rule()
    def read_again(self) -> None:
        """Repeated calls are harmless."""
        self.take(self.connection.handle_timeout(self.now))
        if self.connection.deadline > self.now:
            before = snapshot(self.connection)
            assert self.connection.handle_timeout(self.now) == []
            assert snapshot(self.connection) == before

    @rule()
    def flush(self) -> None:
        data = self.connection.data_to_send()
        assert all(data)
        assert self.connection.data_to_send() == [], "handed out once"
        if self.connection.closing:
            assert not (self.drained_after_closing and data), "nothing is put out behind the end"
            self.drained_after_closing = True

    @precondition(lambda self: not self.lost)
    @rule()
    def pause(self) -> None:
        self.paused = True
        self.connection.write_paused(self.now)

    @precondition(lambda self: not self.lost)
    @rule()
    def resume(self) -> None:
        self.paused = False
        self.connection.data_to_send()
        for stream, value in self.connection.write_resumed(self.now):
            assert value.room > 0
            assert stream == self.connection.stream
        assert not self.connection.starved

    @precondition(lambda self: self.paused and not self.lost)
    @rule()
    def progress(self) -> None:
        self.connection.write_progressed(self.now)

    @rule(share=st.sampled_from([0.0, 0.3, 1.0]), stray=st.sampled_from([0, 0, 0, 1, -1]))
    def consume(self, share: float, stray: int) -> None:
        for stream, size in list(self.held.items()):
            used = int(size * share) + stray
            current = stream == self.connection.stream
            if current and not 0 <= used <= size:
                with pytest.raises(LocalProtocolError):
                    self.connection.consumed(stream, used, self.now)
                continue
            self.connection.consumed(stream, used, self.now)
            self.held[stream] = max(size - used, 0)

    @rule()
    def drain(self) -> None:
        self.connection.drain(self.now)

    @precondition(lambda self: self.connection.stream > 3)
    @rule()
    def abort(self) -> None:
        self.connection.abort(self.now)
        assert self.connection.closing is Closing.ABORT
        assert self.connection.data_to_send() == []

    # what always holds

    @invariant()
    def it_closes_once(self) -> None:
        assert self.closed <= 1
        assert self.connection.closing >= self.worst
        self.worst = self.connection.closing
        if self.lost:
            assert self.connection.closing is Closing.ABORT
            assert self.connection.deadline == math.inf

    @invariant()
    def credit_is_conserved(self) -> None:
        connection = self.connection
        held = self.held.get(connection.stream, 0)
        if connection.stream in self.begun:
            assert connection._unconsumed == held
        reading = connection.receiving in {BODY, RAW} and not connection._peer_ended
        busy = connection.closing or connection.deadline == AT_ONCE  # it has bytes that were sent before the switch
        if reading and held < connection.limits.high_water and not busy:
            assert connection.want_read, "all that may be withheld is credit that was not returned"

    @invariant()
    def someone_is_waited_for_with_a_deadline(self) -> None:
        connection = self.connection
        if connection.closing is Closing.ABORT:
            assert connection.deadline == math.inf
            return
        if self.paused or connection.closing:
            assert connection.deadline < math.inf
            return
        if connection.deadline == math.inf:
            assert self.owed_by_us() or not connection.want_read, f"{connection!r} waits for ever"

    @invariant()
    def what_is_queued_is_counted(self) -> None:
        connection = self.connection
        size = sum(map(len, connection._out))
        assert connection._queued == size

    @invariant()
    def it_tells_of_itself(self) -> None:
        assert self.connection.next_reason()
        assert repr(self.connection)

    def owed_by_us(self) -> bool:
        raise NotImplementedError


REQUESTS = [
    b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\nExpect: 100-continue\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 30\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
]
PIECES = [
    b"x" * 10,
    b"x" * 50,
    b"x" * 100,
    b"a\r\n0123456789\r\n",
    b"0\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"\r\n",
    b"GET ",
    b"5\r\nhello",
]
DATA = st.sampled_from([b"", b"x", b"y" * 30, b"z" * 100])
ENDS = st.booleans()


def head_fields() -> st.SearchStrategy[list[tuple[str, str]]]:
    known = [
        ("Content-Length", "0"),
        ("Content-Length", "30"),
        ("Content-Length", "100"),
        ("Transfer-Encoding", "chunked"),
    ]
    return st.lists(st.sampled_from([*known, ("Connection", "close"), ("X", "y"), ("Upgrade", "x")]), max_size=2)


class ServerModel(ConnectionModel):
    def make(self) -> Http1Connection:
        return make_server(self.engine, SMALL, now=self.now, allow_connect=True, wall_offset=1e9)

    def may_fail(self, stream: int) -> bool:
        """A request that was complete has an answer that is not."""
        return stream == self.connection.stream and self.connection._sent != stream

    @precondition(lambda self: not self.lost)
    @rule(raw=st.sampled_from(REQUESTS + PIECES * 2), cut=st.integers(0, 200))
    def receive(self, raw: bytes, cut: int) -> None:
        if self.connection._peer_ended:
            return
        for piece in (raw[:cut], raw[cut:]):
            if piece:
                self.take(self.connection.receive_data(piece, self.now))

    @rule(stray=st.sampled_from([0, 0, 0, -1, 1]))
    def invite(self, stray: int) -> None:
        self.connection.invite_body(self.connection.stream + stray, self.now)

    @rule(
        status=st.sampled_from([100, 101, 103, 200, 200, 204, 304, 404]),
        fields=head_fields(),
        end=ENDS,
        stray=st.sampled_from([0, 0, 0, 1]),
    )
    def send_head(self, status: int, fields: list[tuple[str, str]], end: bool, stray: int) -> None:
        task = Header(ResponseHeader(status, fields), end)
        stream = self.connection.stream + stray
        switching = status == 101 or (self.connection._method == b"CONNECT" and 200 <= status < 300)
        if self.attempt(self.connection.send, stream, task, self.now) is not None and switching:
            self.upgraded.add(stream)

    @rule(data=DATA, end=ENDS)
    def send_body(self, data: bytes, end: bool) -> None:
        self.attempt(self.connection.send, self.connection.stream, Body(data, end), self.now)

    @rule(data=DATA, end=ENDS)
    def send_raw(self, data: bytes, end: bool) -> None:
        self.attempt(self.connection.send, self.connection.stream, UpgradedBody(data, end), self.now)

    @rule(task=st.sampled_from([Done(), Trailer(Fields([("X", "y")])), Trailer(Fields([("Host", "y")]))]))
    def send_end(self, task: Any) -> None:
        self.attempt(self.connection.send, self.connection.stream, task, self.now)

    @rule(chance=st.integers(0, 5))
    def give_up(self, chance: int) -> None:
        if chance == 0:
            self.attempt(
                self.connection.send, self.connection.stream, Failed(Error(ErrorType.INTERNAL_ERROR)), self.now
            )

    @rule()
    def serve(self) -> None:
        """The ordinary answer, so that exchanges complete often."""
        connection = self.connection
        if connection.sending is HEAD and connection._active and connection.receiving is COMPLETE:
            head = ResponseHeader(404, [("Content-Length", "2")])  # one that CONNECT may have as well
            connection.send(connection.stream, Header(head, False), self.now)
            connection.send(connection.stream, Body(b"ok", True), self.now)

    def owed_by_us(self) -> bool:
        connection = self.connection
        return connection.sending in {HEAD, BODY} and (connection.receiving is COMPLETE or connection._continue_due)


ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123456789",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
]


class ClientModel(ConnectionModel):
    def make(self) -> Http1Connection:
        return make_client(self.engine, SMALL)

    @precondition(lambda self: not self.lost)
    @rule(raw=st.sampled_from(ANSWERS * 2 + PIECES), cut=st.integers(0, 200))
    def receive(self, raw: bytes, cut: int) -> None:
        if self.connection._peer_ended:
            return
        for piece in (raw[:cut], raw[cut:]):
            if piece:
                self.take(self.connection.receive_data(piece, self.now))

    def may_fail(self, stream: int) -> bool:
        """An answer that was complete stays so; of a tunnel the other direction may go on."""
        return stream == self.connection.stream and (stream not in self.ended or stream in self.upgraded)

    def judge(self, stream: int, value: Any) -> None:
        if isinstance(value, Header) and (
            value.head.status == 101 or (self.connection._method == b"CONNECT" and 200 <= value.head.status < 300)
        ):
            self.upgraded.add(stream)
        super().judge(stream, value)

    @rule()
    def open(self) -> None:
        reusable = self.connection.reusable
        assert (self.connection.open_stream(self.now) is not None) == reusable

    @rule(
        method=st.sampled_from(["GET", "HEAD", "POST", "CONNECT"]),
        fields=head_fields(),
        end=ENDS,
        host=st.sampled_from([1, 1, 1, 0, 2]),
    )
    def send_head(self, method: str, fields: list[tuple[str, str]], end: bool, host: int) -> None:
        head = RequestHeader(method, "a:1" if method == "CONNECT" else "/", [*[("Host", "a:1")] * host, *fields])
        self.attempt(self.connection.send, self.connection.stream, Header(head, end), self.now)

    @rule()
    def ask(self) -> None:
        """The ordinary request, so that exchanges complete often."""
        stream = self.connection.open_stream(self.now)
        if stream is not None:
            self.connection.send(
                stream, Header(RequestHeader("GET", "/", [("Host", "a"), ("Upgrade", "x")]), True), self.now
            )

    @rule(data=DATA, end=ENDS)
    def send_body(self, data: bytes, end: bool) -> None:
        self.attempt(self.connection.send, self.connection.stream, Body(data, end), self.now)

    @rule(data=DATA, end=ENDS)
    def send_raw(self, data: bytes, end: bool) -> None:
        self.attempt(self.connection.send, self.connection.stream, UpgradedBody(data, end), self.now)

    @rule(task=st.sampled_from([Done(), Trailer(Fields([("X", "y")])), Trailer(Fields([("Host", "y")]))]))
    def send_end(self, task: Any) -> None:
        self.attempt(self.connection.send, self.connection.stream, task, self.now)

    def owed_by_us(self) -> bool:
        """Idle connections are the pool's to watch; a request that is not whole is ours to send."""
        connection = self.connection
        return connection.sending in {HEAD, BODY} or (connection.receiving is IDLE and connection.sending is IDLE)

    @invariant()
    def what_may_be_reused_is_clean(self) -> None:
        connection = self.connection
        if connection.reusable:
            assert connection.receiving is IDLE
            assert connection._codec.buffered == 0
            assert not connection.closing
            assert self.closed == 0


class HyperServerModel(ServerModel):
    engine = "hyper"


class HyperClientModel(ClientModel):
    engine = "hyper"


@pytest.mark.parametrize("model", [ServerModel, ClientModel, HyperServerModel, HyperClientModel])
def test_whatever_is_done(model):
    run_state_machine_as_test(model, settings=settings(stateful_step_count=40, max_examples=150, deadline=None))


def test_plain_events_compare():
    """What the other tests rely on: equal events are equal tuples, and others are not."""
    server, other = make_server(), make_server()
    first = [plain(event) for event in server.receive_data(REQUESTS[0], 0.0)]

    assert first == [plain(event) for event in other.receive_data(REQUESTS[0], 0.0)]
    assert first != [plain(event) for event in make_server().receive_data(REQUESTS[2], 0.0)]
    assert server.deadline != AT_ONCE
