"""Machines under test with their peers: driven by frames, and what both sides say is written down and proved."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.http2 import Http2Client, Http2Server
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Closing, ConnectionClosed, Writable
from sansio_pingora.wire import (
    Body,
    Done,
    Failed,
    Fields,
    Header,
    HttpTask,
    RequestHeader,
    ResponseHeader,
    Trailer,
    UpgradedBody,
)
from tests.http2.peer import Code, Peer, Seen

LIMITS = Limits()
BROKEN = Error(ErrorType.INTERNAL_ERROR, "the test breaks it off")


def plain(event: tuple[int, Any]) -> tuple[Any, ...]:
    """An event as a tuple that compares by what it says."""
    stream, value = event
    match value:
        case Header(head=RequestHeader() as head):
            return (stream, "request", head.method, head.target, list(head.fields), value.end)
        case Header(head=ResponseHeader() as head):
            return (stream, "response", head.status, list(head.fields), value.end)
        case Body():
            return (stream, "body", value.data, value.end)
        case UpgradedBody():
            return (stream, "raw", value.data, value.end)
        case Trailer():
            return (stream, "trailer", list(value.fields))
        case Done():
            return (stream, "done")
        case Failed():
            return (stream, "failed", value.error.type_str, value.error.status)
        case ConnectionClosed():
            return (stream, "closed", value.error and value.error.type_str)
        case Writable():
            return (stream, "writable", value.room)
    raise AssertionError(f"unknown event {event!r}")


class Order:
    """``Header(1xx)* Header (Body* | UpgradedBody*) [Trailer] [Done]``; ``Failed`` anywhere, and nothing behind it.

    Nothing comes behind the end of an answer. A request that has ended may still fail, while its answer is due.
    """

    def __init__(self, *, of_requests: bool) -> None:
        self.of_requests = of_requests
        self.stages: dict[int, str] = {}
        self.closed = False

    def prove(self, event: tuple[int, Any]) -> None:
        stream, value = event
        assert not self.closed, f"{event} behind ConnectionClosed"
        if isinstance(value, ConnectionClosed):
            assert stream == 0
            self.closed = True
            return
        assert stream > 0
        if isinstance(value, Writable):
            assert value.room > 0
            return
        stage = self.stages.get(stream, "begins")
        assert stage != "failed", f"{event} behind the end"
        if stage == "over":
            assert self.of_requests, f"{event} behind the end"
            assert isinstance(value, Failed), f"{event} behind the end"
        match value:
            case Header():
                assert stage == "begins", event
                assert value.head.version == b"2"
                informational = isinstance(value.head, ResponseHeader) and value.head.status < 200
                assert not (informational and value.end)
                self.stages[stream] = "begins" if informational else "over" if value.end else "body"
                if isinstance(value.head, RequestHeader) and value.head.method == b"CONNECT":
                    assert value.end
                    self.stages[stream] = "raw"
            case Body():
                assert stage == "body", event
                assert value.data, "an empty body that is not Done"
                self.stages[stream] = "over" if value.end else "body"
            case UpgradedBody():
                assert stage in {"body", "raw"}, event
                self.stages[stream] = "over" if value.end else "raw"
            case Trailer() | Done():
                assert stage == "body", event
                self.stages[stream] = "over"
            case Failed():
                self.stages[stream] = "failed"


class Session:
    """A machine, its peer, and what both of them said."""

    def __init__(self, machine: Any, peer: Peer, *, consumes: bool = True) -> None:
        self.machine = machine
        self.peer = peer
        self.now = 0.0
        self.consumes = consumes
        """Body bytes are used up as they come."""
        self.reads = True
        """The peer reads what is put out."""
        self.raw: list[tuple[int, Any]] = []
        self.events: list[tuple[Any, ...]] = []
        self.frames: list[Seen] = []
        self.out = b""
        self._order = Order(of_requests=peer.watches_server)
        self.begun = 0
        """Frames before this one belong to the preparation."""
        self._mark = 0
        self._fresh = 0

    # ── driving ──────────────────────────────────────────────────────────────────────

    def take(self, events: Iterable[tuple[int, Any]]) -> None:
        for event in events:
            self._order.prove(event)
            self.raw.append(event)
            self.events.append(plain(event))
            stream, value = event
            if self.consumes and isinstance(value, Body | UpgradedBody):
                self.machine.consumed(stream, len(value.data), self.now)
        self.settle()

    def settle(self) -> None:
        """What is due at once, and what is to go out."""
        for _ in range(100):
            if self.machine.deadline != AT_ONCE:
                break
            self.take(self.machine.handle_timeout(self.now))
        else:
            raise AssertionError("never settles")
        if self.reads:
            self.flush()

    def flush(self) -> None:
        for _ in range(1000):
            pieces = self.machine.data_to_send()
            assert all(type(piece) is bytes and piece for piece in pieces)
            data = b"".join(pieces)
            if data:
                self.out += data
                self.frames += self.peer.read(data)
            if self.machine.starved:
                # As an endpoint does whose transport took everything at once.
                self.take_quietly(self.machine.write_resumed(self.now))
            elif not data:
                return
        raise AssertionError("never flushed")

    def take_quietly(self, events: Iterable[tuple[int, Any]]) -> None:
        for event in events:
            self._order.prove(event)
            self.raw.append(event)
            self.events.append(plain(event))

    def deliver(self, *parts: bytes) -> list[Seen]:
        """All *parts* in one read; the frames that were put out since the last look."""
        self.take(self.machine.receive_data(b"".join(parts), self.now))
        return self.fresh()

    def send(self, stream: int, *tasks: HttpTask) -> int:
        room = 0
        for task in tasks:
            room = self.machine.send(stream, task, self.now)
            self.settle()
        return room

    def fresh(self) -> list[Seen]:
        """The frames since the last look."""
        self._fresh, start = len(self.frames), self._fresh
        return self.frames[start:]

    def told(self) -> list[tuple[Any, ...]]:
        """The events since the last look."""
        self._mark, start = len(self.events), self._mark
        return self.events[start:]

    def begin(self) -> Session:
        """What is expected concerns what comes from here on."""
        self.begun = len(self.frames)
        self.fresh()
        self.told()
        return self

    def wait(self, seconds: float) -> list[Seen]:
        """Time passes; the machine is called exactly when it asks to be."""
        until = self.now + seconds
        for _ in range(10_000):
            deadline = self.machine.deadline
            if deadline > until:
                break
            self.now = max(self.now, deadline)
            self.take(self.machine.handle_timeout(self.now))
            assert self.machine.deadline > self.now, f"called for nothing: {self.machine.next_reason()}"
        self.now = until
        return self.fresh()

    def eof(self) -> list[Seen]:
        self.take(self.machine.receive_eof(self.now))
        return self.fresh()

    # ── looking ──────────────────────────────────────────────────────────────────────

    def of(self, stream: int) -> list[tuple[Any, ...]]:
        """The events of one stream, adjacent bodies joined."""
        joined: list[tuple[Any, ...]] = []
        for event in self.events:
            if event[0] != stream or event[1] == "writable":
                continue
            last = joined[-1] if joined else None
            if last and event[1] in {"body", "raw"} and last[1] == event[1] and not last[3]:
                joined[-1] = (*event[:2], last[2] + event[2], event[3])
            else:
                joined.append(event)
        return joined

    def body(self, stream: int) -> bytes:
        return b"".join(event[2] for event in self.events if event[0] == stream and event[1] in {"body", "raw"})

    def ends(self, stream: int) -> int:
        """How many ends the message on *stream* has had, but for its failure."""
        found = 0
        for key, value in self.raw:
            if key == stream and not isinstance(value, Writable | Failed):
                tunnel = isinstance(value, Header) and getattr(value.head, "method", b"") == b"CONNECT"
                found += bool(value.end and not tunnel)
        return found

    def failure(self, stream: int) -> Error | None:
        """The error of the stream's Failed."""
        for key, value in self.raw:
            if key == stream and isinstance(value, Failed):
                return value.error
        return None

    @property
    def closed(self) -> Error | bool | None:
        """The error of ConnectionClosed, True for an orderly end; None before it."""
        for key, value in self.raw:
            if key == 0 and isinstance(value, ConnectionClosed):
                return value.error or True
        return None

    @property
    def over(self) -> bool:
        """No request is taken any more: the connection ends."""
        return bool(self.machine.closing) or self.machine.shut_write

    def data(self, stream: int) -> bytes:
        """What the peer got on *stream*."""
        return b"".join(frame.value for frame in self.frames if frame.kind == "DATA" and frame.stream == stream)

    def status(self, stream: int) -> bytes | None:
        """The final status that the peer got on *stream*."""
        for frame in self.frames:
            if frame.kind == "HEADERS" and frame.stream == stream and frame.value[0][0] == b":status":
                if not frame.value[0][1].startswith(b"1"):
                    return frame.value[0][1]
        return None

    def alive(self) -> None:
        """The connection works on: PINGs are answered, and nothing says that it ends."""
        assert not self.over, self.events[-3:]
        assert self.closed is None
        assert [frame.kind for frame in self.deliver(self.peer.ping(b"alive...")) if frame.kind == "PONG"] == ["PONG"]

    def useful(self) -> None:
        """Another exchange succeeds."""
        self.alive()
        stream = self.peer.highest + 2 if self.peer.highest else 1
        if self.peer.watches_server:
            self.deliver(
                self.peer.request(stream, "POST", "/useful", end=False), self.peer.data(stream, b"x", end=True)
            )
            assert self.of(stream)[0][:4] == (stream, "request", b"POST", b"/useful")
            assert self.of(stream)[1:] == [(stream, "body", b"x", True)]
            self.send(stream, Header(ResponseHeader(200, [("content-length", "2")]), False), Body(b"ok", True))
            assert self.status(stream) == b"200"
            assert self.data(stream) == b"ok"
            return
        key = self.machine.open_stream(self.now)
        assert key is not None
        self.send(key, Header(request_head(), True))
        self.deliver(self.peer.response(stream, 200, end=False), self.peer.data(stream, b"x", end=True))
        assert [event[1] for event in self.of(key)] == ["response", "body"]


def make_server(
    values: dict[int, int] | None = None,
    *,
    greet: bool = True,
    consumes: bool = True,
    options: Any = None,
    **limits: Any,
) -> Session:
    """A server that has shaken hands with its peer, which announced *values*."""
    rules = Limits(**limits)
    machine = Http2Server(0.0, rules, **(options or {}))
    peer = Peer(watches_server=True, target=rules.h2_connection_window)
    session = Session(machine, peer, consumes=consumes)
    if greet:
        session.deliver(peer.hello(values))
        assert [frame.kind for frame in session.frames if frame.kind != "WINDOW_UPDATE"] == ["SETTINGS", "ACK"]
        session.deliver(peer.acknowledge())
    return session.begin()


def make_client(
    values: dict[int, int] | None = None,
    *,
    greet: bool = True,
    consumes: bool = True,
    options: Any = None,
    **limits: Any,
) -> Session:
    """A client that has shaken hands with its peer, which announced *values*."""
    rules = Limits(**limits)
    machine = Http2Client(0.0, rules, **(options or {}))
    target = (options or {}).get("connection_window") or rules.h2_connection_window
    peer = Peer(watches_server=False, target=target)
    session = Session(machine, peer, consumes=consumes)
    session.flush()
    if greet:
        session.deliver(peer.hello(values))
        assert [frame.kind for frame in session.frames if frame.kind != "WINDOW_UPDATE"] == ["SETTINGS", "ACK"]
        session.deliver(peer.acknowledge())
    return session.begin()


def request_head(method: str = "GET", target: str = "/", *fields: tuple[str, str], **options: Any) -> RequestHeader:
    return RequestHeader(method, target, [("Host", "a.test"), *fields], **options)


def ask(session: Session, method: str = "GET", target: str = "/", *fields: tuple[str, str], end: bool = True) -> int:
    """The machine, a client, sends a head; its stream."""
    key = session.machine.open_stream(session.now)
    assert key is not None
    session.send(key, Header(request_head(method, target, *fields), end))
    return key


def answer(session: Session, stream: int, status: int = 200, body: bytes = b"") -> None:
    """The machine, a server, answers in full."""
    if body:
        session.send(stream, Header(ResponseHeader(status), False), Body(body, True))
    else:
        session.send(stream, Header(ResponseHeader(status), True))


def trailer(*fields: tuple[str, str]) -> Trailer:
    return Trailer(Fields(fields))


# ── what is expected of a peer's fault ───────────────────────────────────────────────


def is_connection_error(session: Session, *codes: int) -> None:
    """GOAWAY with one of *codes* is the last that is said; streams and connection are told; nothing counts any more."""
    goaways = [frame for frame in session.frames if frame.kind == "GOAWAY"]
    assert goaways, f"no GOAWAY; {session.frames[-3:]}"
    assert session.frames[-1] is goaways[-1], f"{session.frames[-1]} behind GOAWAY"
    last, code, _ = goaways[-1].value
    assert code in codes, f"GOAWAY({Code(code).name})"
    if session.peer.watches_server:
        served = [event[0] for event in session.events if event[1] == "request"]
        assert max(served, default=0) <= last <= session.peer.highest, f"last stream {last}"
    else:
        assert last == 0, "nobody but a pushing server opens streams to a client"
    is_over(session)
    assert isinstance(session.closed, Error)


def is_over(session: Session) -> None:
    """Every stream has had its end, the connection its own, and it is deaf and mute until it closes."""
    assert session.over
    assert session.closed is not None
    for stream in {event[0] for event in session.events if event[0]}:
        assert session.ends(stream) <= 1
    told, out = len(session.events), len(session.frames)
    if not session.machine.closing:  # it lingers
        assert session.machine.want_read
        assert math.isfinite(session.machine.deadline)
        session.take(session.machine.receive_data(session.peer.ping(b"tooolate"), session.now))
        if session.peer.watches_server:
            late = session.peer.highest + 2
            session.take(session.machine.receive_data(Peer(watches_server=True).request(late), session.now))
        session.wait(LIMITS.linger_timeout + 1)
    assert len(session.events) == told
    assert len(session.frames) == out
    assert session.machine.closing is Closing.AFTER_FLUSH


def is_stream_error(session: Session, stream: int, *codes: int) -> None:
    """RST_STREAM with one of *codes*, once; the connection works on."""
    resets = [
        frame for frame in session.frames[session.begun :] if frame.kind == "RST_STREAM" and frame.stream == stream
    ]
    assert [frame.kind for frame in resets] == ["RST_STREAM"], f"{session.frames[-3:]}"
    assert resets[0].value in codes, resets
    session.useful()


def is_refused(session: Session, stream: int, *codes: int) -> None:
    """A request that no application may see: a stream error, or an answer of 4xx or 5xx."""
    assert not [event for event in session.of(stream) if event[1] == "request"], session.of(stream)
    status = session.status(stream)
    if status is not None:
        assert status[:1] in {b"4", b"5"}
        session.useful()
    elif session.over:
        is_connection_error(session, *codes)
    else:
        is_stream_error(session, stream, *codes)


def is_ignored(session: Session) -> None:
    """No word about it; the connection works on."""
    said = session.frames[session.begun :]
    assert not [frame for frame in said if frame.kind in {"RST_STREAM", "GOAWAY"}], said[-3:]
    session.useful()
