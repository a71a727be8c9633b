"""The reference engine: h2's protocol under our policy, and what of h2 must not come through."""

from __future__ import annotations

import pytest
from h2.connection import H2Connection

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.http2.hyper import HyperHttp2Client, HyperHttp2Server
from sansio_pingora.limits import Limits
from sansio_pingora.session.server_connection import ServerMaker, client_http2
from sansio_pingora.wire import Body, Done, Header, ResponseHeader
from tests.http2 import runs
from tests.http2.peer import LARGEST, Code, Kind, Peer, Set, raw, request_fields
from tests.http2.runs import BROKEN, LIMITS, Session, answer, ask, is_over, make_client, make_server, trailer

NATIVE = runs.Http2Server, runs.Http2Client


@pytest.fixture(autouse=True)
def the_reference_engine(monkeypatch):
    monkeypatch.setattr(runs, "Http2Server", HyperHttp2Server)
    monkeypatch.setattr(runs, "Http2Client", HyperHttp2Client)


def kinds(session: Session) -> list[str]:
    return [event[1] for event in session.events]


def test_it_is_selected_by_name():
    assert type(ServerMaker(LIMITS, engine="hyper").http2(0.0)) is HyperHttp2Server
    assert type(client_http2("hyper", 0.0, LIMITS, max_streams=3)) is HyperHttp2Client


def test_h2_is_the_one_who_speaks():
    """Every byte that goes out has passed an H2Connection, and one of the other side takes it."""
    server, client = HyperHttp2Server(0.0, LIMITS), HyperHttp2Client(0.0, LIMITS)
    assert isinstance(server._h2, H2Connection)
    stream = client.open_stream(0.0)
    client.send(stream, Header(runs.request_head("POST"), False), 0.0)
    client.send(stream, Body(b"hello", True), 0.0)
    assert [event[1].data for event in server.receive_data(b"".join(client.data_to_send()), 0.0)[1:]] == [b"hello"]
    server.send(1, Header(ResponseHeader(200), False), 0.0)
    server.send(1, trailer(("x-sum", "1")), 0.0)
    told = client.receive_data(b"".join(server.data_to_send()), 0.0)

    assert [runs.plain(event) for event in told] == [
        (1, "response", 200, [], False),
        (1, "trailer", [(b"x-sum", b"1")]),
    ]
    assert client.idle
    assert server.idle


# ── what h2 forgets when it raises ───────────────────────────────────────────────────


def test_what_came_before_a_fault_is_told():
    session = make_server()
    peer = session.peer
    session.deliver(
        peer.request(1), peer.request(3, "POST", end=False), peer.data(3, b"x"), peer.request(5, "GET", "/", ("X", "1"))
    )

    assert kinds(session) == ["request", "request", "body", "failed", "failed", "closed"]
    is_over(session)
    goaway = session.frames[-1]
    assert goaway.value[1] == Code.PROTOCOL_ERROR
    assert b"uppercase" in goaway.value[2]


@pytest.mark.parametrize("role", ["server", "client"])
def test_no_byte_of_a_broken_connection_counts(role):
    session = make_server() if role == "server" else make_client()
    session.deliver(raw(Kind.PING, 0, 0, b"short"))
    is_over(session)


# ── what h2 ends too early ───────────────────────────────────────────────────────────


def test_an_origin_that_leaves_answers_what_it_has_promised():
    session = make_client()
    peer = session.peer
    first, second = ask(session), ask(session)
    session.deliver(peer.leave(1), peer.response(1, 200, end=False))
    session.deliver(peer.data(1, b"hello", end=True))

    assert session.body(first) == b"hello"
    assert session.failure(second).unprocessed
    assert session.failure(second).retry
    assert session.closed is True


def test_what_comes_for_streams_that_a_goaway_passed_over_is_passed_over():
    session = make_client()
    peer = session.peer
    first, second = ask(session), ask(session)
    session.deliver(peer.leave(1), peer.response(3, 200, end=False), peer.data(3, bytes(10_000)), peer.response(1, 200))

    assert session.ends(first) == 1
    assert [event[1] for event in session.of(second)] == ["failed"]


def test_a_server_that_drains_goes_on_with_what_it_has():
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False))
    session.machine.drain(0.0)
    session.settle()
    assert [frame.kind for frame in session.fresh()] == ["GOAWAY", "PING"]
    session.deliver(peer.request(3), peer.pong(b"draining"), peer.data(1, b"x", end=True))
    session.deliver(peer.request(5))
    answer(session, 1, 200, b"one")
    answer(session, 3, 200, b"three")

    assert [session.data(stream) for stream in (1, 3)] == [b"one", b"three"]
    assert session.of(5) == []
    assert [frame.value for frame in session.frames if frame.kind == "RST_STREAM"] == [Code.REFUSED_STREAM]
    assert session.machine.shut_write


# ── limits of ours on top ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fields", "limits"),
    [
        ([("x", "y" * 3000)], {"max_head": 2_000}),
        ([("x", "y")] * 10, {"max_fields": 5}),
        ([("cookie", "a=b")] * 10, {"max_fields": 5}),
    ],
    ids=["bytes", "fields", "crumbs"],
)
def test_a_head_too_large_is_answered(fields, limits):
    session = make_server(**limits)
    session.deliver(session.peer.request(1, "GET", "/", *fields))

    assert session.status(1) == b"431"
    session.useful()


def test_a_head_that_is_beyond_all_measure_ends_the_connection():
    session = make_server(max_head=2_000)
    session.deliver(session.peer.request(1, "GET", "/", *[("x", "y" * 900)] * 10))

    is_over(session)
    assert session.frames[-1].value[1] == Code.ENHANCE_YOUR_CALM


def test_the_limit_of_a_head_stays_when_the_settings_are_acknowledged():
    session = make_server(max_head=2_000, greet=False)
    session.deliver(session.peer.hello(), session.peer.acknowledge())
    session.deliver(session.peer.request(1, "GET", "/", ("x", "y" * 3000)))

    assert session.status(1) == b"431"


def test_crumbs_are_joined_where_the_first_is():
    session = make_server()
    session.deliver(session.peer.request(1, "GET", "/", ("cookie", "a=b"), ("x", "1"), ("cookie", "c=d")))

    assert session.of(1)[0][4] == [(b"host", b"a.test"), (b"cookie", b"a=b; c=d"), (b"x", b"1")]


def test_the_table_that_a_peer_offers_is_not_filled():
    session = make_server({Set.TABLE: 2**20})
    for stream in range(1, 41, 2):
        session.deliver(session.peer.request(stream))
        session.send(stream, Header(ResponseHeader(200, [("x", "y" * 1000 + str(stream))]), True))

    assert session.machine._h2.encoder.header_table_size == 4_096
    session.useful()


# ── windows ──────────────────────────────────────────────────────────────────────────


def test_padding_is_given_back_at_once():
    session = make_server(consumes=False, h2_window=65_535, h2_connection_window=65_535)
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False))
    for _ in range(400):
        session.deliver(peer.data(1, b"x", pad=255))

    assert not session.over
    assert session.body(1) == b"x" * 400


def test_a_window_that_overflows_fails_its_stream():
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1), raw(Kind.WINDOW_UPDATE, 0, 1, LARGEST.to_bytes(4, "big")))

    assert session.failure(1).etype.value == "InvalidH2"
    assert session.frames[-1].value == Code.FLOW_CONTROL_ERROR
    session.useful()


def test_what_waits_is_sent_as_h2_allows():
    session = make_server({Set.WINDOW: 10})
    peer = session.peer
    session.deliver(peer.request(1), peer.request(3))
    for stream in (1, 3):
        session.send(stream, Header(ResponseHeader(200), False), Body(bytes(25)), Done())
    assert [len(session.data(stream)) for stream in (1, 3)] == [10, 10]
    session.deliver(peer.set({Set.WINDOW: 20}))
    assert [len(session.data(stream)) for stream in (1, 3)] == [20, 20]
    session.deliver(peer.window_update(3, 100))

    assert [len(session.data(stream)) for stream in (1, 3)] == [20, 25]
    assert session.machine.active == 1


def test_what_a_stream_held_comes_back_when_it_is_broken_off():
    session = make_server(consumes=False, h2_window=65_535, h2_connection_window=65_535)
    peer = session.peer
    for stream in range(1, 21, 2):
        session.deliver(peer.request(stream, "POST", end=False), peer.data(stream, bytes(15_000)))
        session.send(stream, runs.Failed(BROKEN))

    assert not session.over
    assert peer.credit > 0


# ── what goes out ────────────────────────────────────────────────────────────────────


def test_a_stream_is_reset_once():
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False))
    session.send(1, runs.Failed(BROKEN))
    session.deliver(peer.data(1, b"x"), peer.data(1, b"y"), peer.headers(1, [("x", "1")]))

    assert [frame.kind for frame in session.frames].count("RST_STREAM") == 1


def test_trailers_without_a_field():
    """h2 has no HEADERS without one."""
    session = make_server()
    session.deliver(session.peer.request(1))
    session.send(1, Header(ResponseHeader(200), False), trailer())

    assert session.frames[-1].end
    session.useful()


def test_what_h2_refuses_to_send_is_the_callers_mistake():
    session = make_server()
    session.deliver(session.peer.request(1))
    stream = session.machine._streams[1]
    with pytest.raises(LocalProtocolError, match="h2 refuses"):
        session.machine._put_head(stream, [(b":status", b"200"), (b":path", b"/")], False)


def test_more_cannot_be_consumed_than_came():
    session = make_server(consumes=False)
    session.deliver(session.peer.request(1, "POST", end=False), session.peer.data(1, b"hello"))
    with pytest.raises(LocalProtocolError, match="6 bytes consumed"):
        session.machine.consumed(1, 6, 0.0)


def test_both_engines_say_the_same():
    """Frame by frame, though each compresses in its own way."""
    said = []
    for server, client in (NATIVE, (HyperHttp2Server, HyperHttp2Client)):
        one = Session(server(0.0, Limits(), wall_offset=0.0), Peer(watches_server=True))
        one.deliver(one.peer.hello(), one.peer.acknowledge())
        one.deliver(one.peer.request(1))
        answer(one, 1, 200, b"hello")
        other = Session(client(0.0, Limits()), Peer(watches_server=False))
        other.flush()
        other.deliver(other.peer.hello(), other.peer.acknowledge())
        ask(other, "POST", "/x", ("X-Case", "y"), ("Connection", "close"), end=False)
        other.send(1, Body(b"hello", True))
        said.append([frame for frame in one.frames + other.frames if frame.kind != "ACK"])
    assert said[0] == said[1]


def test_the_connection_does_not_know_the_engine():
    told = []
    for server in (NATIVE[0], HyperHttp2Server):
        session = Session(server(0.0, Limits()), Peer(watches_server=True))
        peer = session.peer
        session.deliver(peer.hello(), peer.acknowledge())
        session.deliver(
            peer.headers(1, request_fields("POST", "/"), end=False, pad=9, priority=(0, 5, False), pieces=[3, 4]),
            peer.data(1, b"hel", pad=3),
            peer.data(1, b"lo"),
            peer.headers(1, [("x-sum", "1")], pieces=[1]),
            peer.request(3, "HEAD", "/x", ("cookie", "a=b"), ("x", "1"), ("cookie", "c=d")),
            peer.ping(),
        )
        told.append(session.events)
    assert told[0] == told[1]
