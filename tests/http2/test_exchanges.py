"""Exchanges from end to end, in either role: what the application says reaches the peer, and the other way round."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.machine import Closing
from sansio_pingora.wire import Body, Done, Failed, Fields, Header, RequestHeader, ResponseHeader, Trailer, UpgradedBody
from tests.http2.peer import LARGEST, Code, Set, literal, request_fields
from tests.http2.runs import (
    BROKEN,
    LIMITS,
    Session,
    answer,
    ask,
    is_over,
    make_client,
    make_server,
    request_head,
    trailer,
)

LOST = Error(ErrorType.READ_ERROR, "the network is gone")


def head_of(session: Session, stream: int) -> dict[bytes, bytes]:
    """The fields of the last head that the peer got on *stream*."""
    return dict(
        next(frame.value for frame in reversed(session.frames) if frame.kind == "HEADERS" and frame.stream == stream)
    )


def kinds(session: Session, stream: int) -> list[str]:
    return [frame.kind for frame in session.frames if frame.stream == stream and frame.kind != "WINDOW_UPDATE"]


def ok(*fields: tuple[str, str], end: bool = False) -> Header:
    return Header(ResponseHeader(200, fields), end)


# ── a server ─────────────────────────────────────────────────────────────────────────


def test_a_get_is_answered():
    session = make_server()
    session.deliver(session.peer.request(1, "GET", "/a?b=c", ("accept", "*/*")))
    session.send(1, ok(("Content-Type", "text/plain"), ("Content-Length", "5")), Body(b"hel"), Body(b"lo", True))

    assert session.of(1) == [(1, "request", b"GET", b"/a?b=c", [(b"host", b"a.test"), (b"accept", b"*/*")], True)]
    assert head_of(session, 1) == {b":status": b"200", b"content-type": b"text/plain", b"content-length": b"5"}
    assert session.data(1) == b"hello"
    assert session.frames[-1].end
    assert session.machine.idle
    assert session.closed is None


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("tasks", [[Body(b"ignored"), Done()], [Body(b"", True)], [Done()], [Body(b"ignored", True)]])
def test_a_head_has_no_body(declared, tasks):
    """An application may answer HEAD as it would answer GET."""
    session = make_server()
    session.deliver(session.peer.request(1, "HEAD"))
    length = [("Content-Length", "7")] if declared and b"".join(t.data for t in tasks if isinstance(t, Body)) else []
    session.send(1, ok(*length), *tasks)

    assert kinds(session, 1) == ["HEADERS"]
    assert session.frames[-1].end
    assert (b"content-length" in head_of(session, 1)) is bool(length)
    session.useful()


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_content(status):
    session = make_server()
    session.deliver(session.peer.request(1))
    session.send(1, Header(ResponseHeader(status), False), Body(b"x", True))

    assert kinds(session, 1) == ["HEADERS"]
    assert session.frames[-1].end
    session.useful()


def test_an_answer_that_may_have_no_length_is_sent_without_one():
    """RFC 9110 section 8.6."""
    session = make_server()
    session.deliver(session.peer.request(1))
    session.send(1, Header(ResponseHeader(204, [("Content-Length", "0"), ("X", "y")]), True))

    assert head_of(session, 1) == {b":status": b"204", b"x": b"y"}


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
@pytest.mark.parametrize("ending", ["data", "empty-data"])
def test_a_post(declared, ending):
    session = make_server()
    peer = session.peer
    fields = [("content-length", "6")] if declared else []
    session.deliver(peer.request(1, "POST", "/", *fields, end=False), peer.data(1, b"abc"))
    session.deliver(peer.data(1, b"def", end=ending == "data"))
    if ending != "data":
        session.deliver(peer.data(1, end=True))

    assert session.of(1)[0][5] is False
    assert session.body(1) == b"abcdef"
    assert session.ends(1) == 1
    assert session.of(1)[-1][1] in {"body", "done"}
    answer(session, 1, 201, b"made")
    assert session.status(1) == b"201"
    assert session.data(1) == b"made"
    session.useful()


def test_a_post_of_declared_length_0_that_does_not_end():
    session = make_server()
    session.deliver(session.peer.request(1, "POST", "/", ("content-length", "0"), end=False))
    session.deliver(session.peer.data(1, end=True))

    assert session.ends(1) == 1
    assert session.body(1) == b""
    session.useful()


def test_trailers_both_ways():
    session = make_server()
    peer = session.peer
    session.deliver(
        peer.request(1, "POST", end=False), peer.data(1, b"x"), peer.headers(1, [("x-sum", "1"), ("x-sum", "2")])
    )
    session.send(1, ok(), Body(b"y"), trailer(("X-Sum", "3"), ("grpc-status", "0")))

    assert session.of(1)[1:] == [(1, "body", b"x", False), (1, "trailer", [(b"x-sum", b"1"), (b"x-sum", b"2")])]
    assert session.frames[-1].value == [(b"x-sum", b"3"), (b"grpc-status", b"0")]
    assert kinds(session, 1) == ["HEADERS", "DATA", "HEADERS"]
    session.useful()


def test_trailers_behind_a_body_that_waits_for_a_window():
    session = make_server({Set.WINDOW: 0})
    session.deliver(session.peer.request(1))
    session.send(1, ok(), Body(b"hello"), trailer(("x-sum", "1")))
    assert kinds(session, 1) == ["HEADERS"]
    session.deliver(session.peer.window_update(1, 3))
    assert kinds(session, 1) == ["HEADERS", "DATA"]
    session.deliver(session.peer.window_update(1, 3))

    assert session.data(1) == b"hello"
    assert kinds(session, 1) == ["HEADERS", "DATA", "DATA", "HEADERS"]
    session.alive()


def test_empty_trailers_end_the_stream():
    session = make_server()
    session.deliver(session.peer.request(1))
    session.send(1, ok(), Body(b"x"), trailer())

    assert session.frames[-1].end
    session.useful()


def test_streams_are_answered_in_any_order():
    session = make_server()
    peer = session.peer
    session.deliver(*(peer.request(stream, "GET", f"/{stream}") for stream in (1, 3, 5)))
    for stream in (3, 5, 1):
        answer(session, stream, 200, b"%d" % stream)

    assert [session.data(stream) for stream in (1, 3, 5)] == [b"1", b"3", b"5"]
    assert session.machine.active == 0


def test_the_date_is_added():
    session = make_server(options={"wall_offset": 1_000_000_000.0})
    session.now = 5.0
    session.deliver(session.peer.request(1), session.peer.request(3))
    answer(session, 1)
    session.send(3, Header(ResponseHeader(200, [("Date", "mine")]), True))

    assert head_of(session, 1)[b"date"] == b"Sun, 09 Sep 2001 01:46:45 GMT"
    assert head_of(session, 3)[b"date"] == b"mine"


# ── 1xx and expectations ─────────────────────────────────────────────────────────────


def test_informational_answers():
    session = make_server()
    session.deliver(session.peer.request(1))
    session.send(1, Header(ResponseHeader(103, [("Link", "</a>")]), False))
    session.send(1, Header(ResponseHeader(103, [("Link", "</b>")]), False), ok(), Body(b"x", True))

    assert [frame.value[0][1] for frame in session.frames if frame.kind == "HEADERS"] == [b"103", b"103", b"200"]
    assert session.data(1) == b"x"


def test_a_body_that_waits_is_invited():
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1, "POST", "/", ("expect", "100-continue"), end=False))
    assert kinds(session, 1) == []
    session.machine.invite_body(1, 0.0)
    session.machine.invite_body(1, 0.0)
    session.settle()

    assert [frame.value for frame in session.frames if frame.kind == "HEADERS"] == [[(b":status", b"100")]]
    session.deliver(peer.data(1, b"x", end=True))
    answer(session, 1)
    assert session.body(1) == b"x"
    session.useful()


@pytest.mark.parametrize("fields", [[], [("expect", "100-continue")]], ids=["unexpected", "body-is-there"])
def test_nothing_is_invited_that_does_not_wait(fields):
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1, "POST", "/", *fields, end=False), peer.data(1, b"x"))
    session.machine.invite_body(1, 0.0)
    session.settle()

    assert kinds(session, 1) == []


def test_an_application_that_invites_by_itself():
    session = make_server()
    session.deliver(session.peer.request(1, "POST", "/", ("expect", "100-continue"), end=False))
    session.send(1, Header(ResponseHeader(100), False))
    session.machine.invite_body(1, 0.0)
    session.settle()

    assert kinds(session, 1) == ["HEADERS"], "once"
    session.wait(10.0)
    assert session.status(1) == b"408", "from here on the body is due"


def test_an_answer_instead_of_an_invitation():
    """The body is not wanted: the client is told so, since it may not come to that by itself."""
    session = make_server()
    session.deliver(
        session.peer.request(1, "POST", "/", ("expect", "100-continue"), ("content-length", "9"), end=False)
    )
    session.send(1, Header(ResponseHeader(403), True))

    assert session.status(1) == b"403"
    assert kinds(session, 1) in (["HEADERS", "RST_STREAM"], ["HEADERS"])
    assert [frame.value for frame in session.frames if frame.kind == "RST_STREAM"] in ([], [Code.NO_ERROR])
    session.useful()


def test_an_unknown_expectation_is_answered_417():
    session = make_server()
    session.deliver(session.peer.request(1, "POST", "/", ("expect", "the best"), end=False))

    assert session.status(1) == b"417"
    session.useful()


# ── resets ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", [Code.CANCEL, Code.NO_ERROR, Code.INTERNAL_ERROR, 0xABCDEF])
@pytest.mark.parametrize("answering", [False, True])
def test_a_client_that_resets(code, answering):
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False), peer.data(1, b"x"))
    session.send(1, ok(), Body(b"y")) if answering else None
    frames = len(session.frames)
    session.deliver(peer.rst(1, code))

    assert session.failure(1) is not None
    assert session.failure(1).esource.value == "Downstream"
    assert session.machine.idle
    assert session.send(1, Body(b"late")) > 0
    assert session.send(1, Failed(BROKEN)) > 0
    session.machine.consumed(1, 1, 0.0)
    assert len(session.frames) == frames, "nothing answers a reset"
    session.useful()


def test_a_reset_drops_what_was_queued():
    session = make_server({Set.WINDOW: 0})
    session.deliver(session.peer.request(1))
    session.send(1, ok(), Body(bytes(1000), True))
    session.deliver(session.peer.rst(1), session.peer.window_update(0, 1000))

    assert session.data(1) == b""
    session.alive()


@pytest.mark.parametrize("when", ["before the head", "amid the body", "behind a queued end"])
def test_an_application_that_breaks_off(when):
    """The peer must not take what it got for complete."""
    session = make_server({Set.WINDOW: 10})
    session.deliver(session.peer.request(1))
    if when != "before the head":
        session.send(1, ok(), Body(b"0123456789"))
    if when == "behind a queued end":
        session.send(1, Body(b"never", True))
    session.send(1, Failed(BROKEN))

    assert session.frames[-1].kind == "RST_STREAM"
    assert session.frames[-1].value in {Code.INTERNAL_ERROR, Code.CANCEL}
    assert session.failure(1) is None, "who broke it off knows"
    assert session.data(1) == (b"" if when == "before the head" else b"0123456789")
    session.alive()


def test_breaking_off_twice_is_harmless():
    session = make_server()
    session.deliver(session.peer.request(1))
    session.send(1, Failed(BROKEN), Failed(BROKEN))

    assert kinds(session, 1) == ["RST_STREAM"]


# ── early answers ────────────────────────────────────────────────────────────────────


def early(*fields: tuple[str, str]) -> Session:
    """The request's body is on its way, and its answer is complete."""
    session = make_server()
    session.deliver(session.peer.request(1, "POST", "/", *fields, end=False), session.peer.data(1, b"part"))
    answer(session, 1, 413)
    session.told()
    return session


def test_the_rest_of_a_request_that_was_answered_is_read_and_dropped():
    session = early()
    peer = session.peer
    session.deliver(peer.data(1, bytes(10_000)), peer.data(1, b"end", end=True))

    assert session.told() == []
    assert kinds(session, 1) == ["HEADERS"]
    assert peer.credit >= LIMITS.h2_connection_window - 20_000
    session.useful()


def test_a_request_that_goes_on_is_stopped_without_reproach():
    """RFC 9113 section 8.1: NO_ERROR, so that the answer is not thrown away."""
    session = early()
    peer = session.peer
    sent = 0
    while not peer.streams[1].theirs_reset:
        session.deliver(peer.data(1, bytes(10_000)))
        sent += 10_000
        assert sent <= 2 * LIMITS.linger_bytes
    assert session.frames[-1] == ("RST_STREAM", 1, Code.NO_ERROR, False)
    session.deliver(peer.data(1, bytes(10_000)))
    assert session.told() == []
    session.useful()


def test_a_request_that_stays_open_is_stopped_in_time():
    session = early()
    session.wait(LIMITS.linger_timeout - 0.001)
    assert kinds(session, 1) == ["HEADERS"]
    session.wait(0.001)

    assert session.frames[-1] == ("RST_STREAM", 1, Code.NO_ERROR, False)
    session.useful()


def test_what_came_before_an_early_answer_may_be_used_up_behind_it():
    session = make_server(consumes=False)
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False), peer.data(1, bytes(10_000)))
    answer(session, 1, 413)
    session.machine.consumed(1, 4_000, 0.0)
    session.machine.consumed(1, 6_000, 0.0)
    session.deliver(peer.data(1, b"", end=True))

    assert peer.credit >= LIMITS.h2_connection_window - 10_000
    session.useful()


def test_the_rest_finds_the_window_that_an_early_answer_left_unread():
    """The application will not use up what it had not yet: its credit is the client's to finish with."""
    session = make_server(consumes=False)
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False))
    while peer.streams[1].credit >= 16_000:
        session.deliver(peer.data(1, bytes(16_000)))
    answer(session, 1, 413)

    assert peer.streams[1].credit >= LIMITS.h2_window // 2
    session.deliver(peer.data(1, bytes(16_000)), peer.data(1, bytes(14_000), end=True))
    assert kinds(session, 1) == ["HEADERS"]
    session.useful()


def test_a_client_that_stops_by_itself():
    session = early()
    session.deliver(session.peer.rst(1))

    assert session.told() == []
    assert session.machine.idle
    session.useful()


def test_trailers_behind_an_early_answer():
    session = early()
    session.deliver(session.peer.headers(1, [("x-sum", "1")]))

    assert session.told() == []
    assert kinds(session, 1) == ["HEADERS"]
    session.useful()


# ── ceilings of bodies ───────────────────────────────────────────────────────────────


def test_a_body_too_large_by_its_own_account():
    session = make_server(max_body=10)
    session.deliver(session.peer.request(1, "POST", "/", ("content-length", "11"), end=False))

    assert session.status(1) == b"413"
    assert [event[1] for event in session.of(1)] == ["failed"]
    session.useful()


def test_a_body_that_grows_too_large():
    session = make_server(max_body=10)
    session.deliver(session.peer.request(1, "POST", end=False), session.peer.data(1, b"0123456789"))
    session.deliver(session.peer.data(1, b"x"))

    assert session.body(1) == b"0123456789"
    assert session.failure(1).status == 413
    assert session.status(1) == b"413"
    session.useful()


def test_a_body_of_exactly_the_ceiling():
    session = make_server(max_body=10)
    session.deliver(session.peer.request(1, "POST", end=False), session.peer.data(1, b"0123456789", end=True))

    assert session.ends(1) == 1
    session.useful()


def test_trailers_too_large():
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False), peer.headers(1, [("x", "y" * LIMITS.max_trailers)]))

    assert session.failure(1) is not None
    assert not session.ends(1)
    session.useful()


def test_trailers_of_too_many_fields():
    session = make_server()
    peer = session.peer
    fields = [("x", "y")] * (LIMITS.max_trailer_fields + 1)
    session.deliver(peer.request(1, "POST", end=False), peer.headers(1, fields))

    assert session.failure(1) is not None
    session.useful()


# ── a server's end ───────────────────────────────────────────────────────────────────


def drained(session: Session) -> None:
    session.machine.drain(session.now)
    session.settle()


def test_drain_in_two_steps():
    """RFC 9113 section 6.8: first the last id of all, and when the client has heard it, the last one served."""
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1))
    drained(session)
    first, ping = session.fresh()[-2:]
    assert first.value[:2] == (LARGEST, Code.NO_ERROR)
    assert ping.kind == "PING"
    session.deliver(peer.request(3, "POST", end=False))  # it was on its way
    assert session.of(3)[0][1] == "request"
    second = session.deliver(peer.pong(ping.value))[-1]
    assert second.value[:2] == (3, Code.NO_ERROR)
    refused = session.deliver(peer.request(5))
    assert refused in ([], [("RST_STREAM", 5, Code.REFUSED_STREAM, False)])
    assert session.of(5) == []

    answer(session, 1, 200, b"one")
    session.deliver(peer.data(3, b"x", end=True))
    assert not session.over
    answer(session, 3, 200, b"three")
    assert (session.data(1), session.data(3)) == (b"one", b"three")
    assert session.over
    assert session.frames[-1].end, "nothing but what was asked for"
    session.eof()
    assert session.machine.closing is Closing.AFTER_FLUSH


def test_drain_does_not_wait_for_a_client_that_does_not_answer():
    session = make_server()
    session.deliver(session.peer.request(1))
    drained(session)
    session.wait(LIMITS.h2_drain_timeout - 0.001)
    assert session.frames[-1].kind == "PING"
    session.wait(0.001)

    assert session.frames[-1].value[:2] == (1, Code.NO_ERROR)
    answer(session, 1)
    assert session.status(1) == b"200"
    assert session.over


def test_drain_of_an_idle_connection_ends_it():
    session = make_server()
    drained(session)
    ping = session.fresh()[-1]
    assert not session.machine.closing
    session.deliver(session.peer.pong(ping.value))

    assert session.frames[-1].value[:2] == (0, Code.NO_ERROR)
    assert session.over
    session.wait(LIMITS.linger_timeout)
    assert session.machine.closing is Closing.AFTER_FLUSH


def test_draining_twice_is_draining_once():
    session = make_server()
    drained(session)
    drained(session)

    assert [frame.kind for frame in session.fresh()].count("GOAWAY") == 1


def test_drain_before_the_first_byte():
    session = make_server(greet=False)
    drained(session)
    session.wait(LIMITS.h2_drain_timeout + LIMITS.linger_timeout)

    assert session.machine.closing


def test_a_connection_with_a_limit_of_requests():
    session = make_server(keepalive_request_limit=2)
    peer = session.peer
    said = session.deliver(peer.request(1), peer.request(3))
    assert [frame.value[:2] for frame in said if frame.kind == "GOAWAY"] == [(LARGEST, Code.NO_ERROR)]
    session.wait(LIMITS.h2_drain_timeout)
    assert session.frames[-1].value[:2] == (3, Code.NO_ERROR)
    answer(session, 1)
    answer(session, 3)

    assert session.over


def test_a_client_that_leaves_is_served_to_the_end():
    """A GOAWAY of a client is about streams of ours, which there are none of."""
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1), peer.leave(0))
    assert session.failure(1) is None
    answer(session, 1, 200, b"bye")

    assert session.data(1) == b"bye"


def test_the_end_of_the_client_s_side():
    """Requests that came whole are answered; the others cannot become whole any more."""
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1), peer.request(3, "POST", end=False), peer.data(3, b"x"))
    session.eof()
    assert session.failure(1) is None
    assert session.failure(3) is not None
    assert not session.machine.closing
    answer(session, 1, 200, b"still here")

    assert session.data(1) == b"still here"
    assert session.machine.closing is Closing.AFTER_FLUSH


def test_no_bytes_are_the_end():
    """As sockets have it."""
    server, client = make_server(), make_client()
    server.take(server.machine.receive_data(b"", 0.0))
    client.take(client.machine.receive_data(b"", 0.0))

    assert server.closed is True
    assert client.closed is True


def test_the_end_of_an_idle_client():
    session = make_server()
    session.eof()

    assert session.closed is True
    assert session.machine.closing is Closing.AFTER_FLUSH


@pytest.mark.parametrize("reason", [LOST, None], ids=["error", "as-asked"])
@pytest.mark.parametrize("role", ["server", "client"])
def test_a_transport_that_is_lost(role, reason):
    session = make_server() if role == "server" else make_client()
    if role == "server":
        session.deliver(session.peer.request(1), session.peer.request(3, "POST", end=False))
    else:
        ask(session)
        ask(session, "POST", end=False)
    session.take(session.machine.transport_lost(reason, 0.0))
    again = session.machine.transport_lost(reason, 0.0)

    keys = (1, 3) if role == "server" else (1, 2)
    assert [session.failure(key) is not None for key in keys] == [True, True]
    assert session.events[-1][:2] == (0, "closed")
    assert again == []
    assert session.machine.closing
    assert session.machine.data_to_send() == []
    assert session.machine.receive_data(b"x", 1.0) == []
    assert session.machine.handle_timeout(1000.0) == []


@pytest.mark.parametrize("role", ["server", "client"])
def test_abort(role):
    session = make_server() if role == "server" else make_client()
    session.deliver(session.peer.request(1)) if role == "server" else ask(session)
    session.machine.abort(0.0)

    assert session.machine.closing is Closing.ABORT
    assert session.machine.data_to_send() == []


# ── a client ─────────────────────────────────────────────────────────────────────────


def test_a_request_goes_out():
    session = make_client()
    key = session.machine.open_stream(0.0)
    session.send(key, Header(request_head("GET", "/a?b", ("Accept", "*/*"), scheme=b"https"), True))

    assert key == 1
    assert dict(session.frames[-1].value) == {
        b":method": b"GET",
        b":scheme": b"https",
        b":authority": b"a.test",
        b":path": b"/a?b",
        b"accept": b"*/*",
    }
    assert session.frames[-1].end
    session.deliver(
        session.peer.response(1, 200, ("X-A".lower(), "1"), end=False), session.peer.data(1, b"ok", end=True)
    )
    assert session.of(1) == [(1, "response", 200, [(b"x-a", b"1")], False), (1, "body", b"ok", True)]
    assert session.raw[0][1].head.reason == b"OK"
    assert session.machine.idle


def test_an_asterisk_goes_out():
    session = make_client()
    ask(session, "OPTIONS", "*")

    assert dict(session.frames[-1].value)[b":path"] == b"*"


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
@pytest.mark.parametrize("end", [Done(), Body(b"", True)], ids=["done", "empty-body"])
def test_a_body_goes_out(declared, end):
    session = make_client()
    key = ask(session, "POST", "/", *([("Content-Length", "6")] if declared else []), end=False)
    session.send(key, Body(b"abc"), Body(b"def"), end)

    assert session.data(1) == b"abcdef"
    assert session.frames[-1].end
    assert len([frame for frame in session.frames if frame.kind == "DATA"]) == 3, "trailers might have followed"


def test_trailers_of_a_request_and_of_its_answer():
    session = make_client()
    key = ask(session, "POST", end=False)
    session.send(key, Body(b"x"), trailer(("X-Sum", "1")))
    session.deliver(session.peer.response(1, 200, end=False), session.peer.headers(1, [("x-sum", "2")]))

    assert session.frames[-1].value == [(b"x-sum", b"1")]
    assert [event[1] for event in session.of(key)] == ["response", "trailer"]
    session.useful()


@pytest.mark.parametrize("many", [True, False])
def test_trailers_of_an_origin_that_are_too_many(many):
    session = make_client()
    key = ask(session)
    fields = [("x", "y")] * (LIMITS.max_trailer_fields + 1) if many else [("x", "y" * LIMITS.max_trailers)]
    session.deliver(session.peer.response(1, 200, end=False), session.peer.headers(1, fields))

    assert session.failure(key).type_str == "InvalidH2"
    assert not session.ends(key)
    session.useful()


def test_an_answer_that_is_a_head_with_trailers_alone():
    session = make_client()
    key = ask(session)
    session.deliver(session.peer.response(1, 200, ("grpc-status", "12")))

    assert session.of(key) == [(key, "response", 200, [(b"grpc-status", b"12")], True)]


def test_informational_answers_come_one_by_one():
    session = make_client()
    key = ask(session, "POST", "/", ("Expect", "100-continue"), end=False)
    peer = session.peer
    session.deliver(peer.headers(1, [(":status", "100")], end=False))
    session.deliver(peer.headers(1, [(":status", "103"), ("link", "</a>")], end=False))
    session.send(key, Body(b"x", True))
    session.deliver(peer.response(1, 200))

    assert [event[2] for event in session.of(key)] == [100, 103, 200]
    session.useful()


def test_an_answer_before_the_request_is_complete():
    """RFC 9113 section 8.1: what the origin does not want is dropped, and the answer counts."""
    session = make_client()
    key = ask(session, "POST", end=False)
    session.send(key, Body(b"x"))
    session.deliver(session.peer.response(1, 413, end=False), session.peer.data(1, b"big", end=True))
    session.deliver(session.peer.rst(1, Code.NO_ERROR))

    assert [event[1] for event in session.of(key)] == ["response", "body"]
    assert session.failure(key) is None
    assert session.send(key, Body(b"more")) > 0
    assert session.data(1) == b"x"
    session.useful()


def test_a_request_that_goes_on_behind_its_answer():
    session = make_client()
    key = ask(session, "POST", end=False)
    session.deliver(session.peer.response(1, 200))
    session.send(key, Body(b"x"), Done())

    assert session.data(1) == b"x"
    assert session.machine.idle
    session.useful()


def test_a_caller_that_gives_up():
    session = make_client()
    key = ask(session)
    peer = session.peer
    session.send(key, Failed(BROKEN))
    assert session.frames[-1] == ("RST_STREAM", 1, Code.CANCEL, False)
    session.deliver(peer.response(1, 200, end=False), peer.data(1, bytes(5000), end=True))

    assert session.of(key) == []
    session.useful()
    assert session.machine.idle


def test_a_caller_that_gives_up_before_its_head():
    """The wire never hears of the stream."""
    session = make_client()
    key = session.machine.open_stream(0.0)
    session.send(key, Failed(BROKEN))

    assert session.fresh() == []
    assert session.machine.idle
    session.useful()


def test_ids_rise_in_the_order_of_the_heads():
    session = make_client()
    first, second, third = (session.machine.open_stream(0.0) for _ in range(3))
    session.send(third, Header(request_head("GET", "/3"), True))
    session.send(first, Header(request_head("GET", "/1"), True))
    session.send(second, Failed(BROKEN))

    assert [(frame.stream, dict(frame.value)[b":path"]) for frame in session.frames if frame.kind == "HEADERS"] == [
        (1, b"/3"),
        (3, b"/1"),
    ]
    session.deliver(session.peer.response(1, 203), session.peer.response(3, 201))
    assert session.of(third)[0][2] == 203
    assert session.of(first)[0][2] == 201


# ── how many streams ─────────────────────────────────────────────────────────────────


def test_no_more_streams_than_one_wants():
    session = make_client(options={"max_streams": 2})
    ask(session)
    assert session.machine.reusable
    ask(session)
    assert not session.machine.reusable
    assert session.machine.accepting
    assert session.machine.open_stream(0.0) is None
    assert session.machine.active == 2
    session.deliver(session.peer.response(1, 200))
    assert session.machine.open_stream(0.0) is not None


def test_no_more_streams_than_the_origin_allows():
    session = make_client({Set.STREAMS: 1})
    ask(session)
    assert session.machine.open_stream(0.0) is None
    session.deliver(session.peer.set({Set.STREAMS: 3}))
    ask(session)
    ask(session)
    assert session.machine.open_stream(0.0) is None
    session.deliver(session.peer.set({Set.STREAMS: 0}), session.peer.response(1, 200))
    assert session.machine.open_stream(0.0) is None
    assert session.machine.accepting
    session.deliver(session.peer.set({Set.STREAMS: 100}))
    assert session.machine.reusable


def test_streams_that_were_opened_but_not_used_keep_to_what_the_origin_allows():
    """The ceiling comes with the origin's SETTINGS, which may come behind ``open_stream``."""
    session = make_client(greet=False)
    keys = [session.machine.open_stream(0.0) for _ in range(3)]
    session.deliver(session.peer.hello({Set.STREAMS: 1}))
    for key in keys:
        session.send(key, Header(request_head(), True))
    for stream in (1, 3, 5):
        if stream in session.peer.streams:
            session.deliver(session.peer.response(stream, 200))

    outcomes = [session.of(key)[0][1] for key in keys if session.of(key)]
    assert set(outcomes) <= {"response", "failed"}
    assert outcomes.count("response") >= 1


def test_a_server_s_ceiling_frees_with_its_streams():
    session = make_server(h2_max_streams=2)
    peer = session.peer
    session.deliver(peer.request(1), peer.request(3), peer.request(5))
    assert session.of(5) == []
    answer(session, 1)
    session.deliver(peer.request(7))
    assert session.of(7)[0][1] == "request"
    session.deliver(peer.rst(3))
    session.deliver(peer.request(9))

    assert session.of(9)[0][1] == "request"
    assert session.machine.active == 2


# ── a client's end ───────────────────────────────────────────────────────────────────


def test_an_origin_that_leaves_in_two_steps():
    session = make_client()
    keys = [ask(session), ask(session), ask(session)]
    peer = session.peer
    session.deliver(peer.leave(LARGEST))
    assert not session.machine.reusable
    assert not session.machine.accepting
    assert session.machine.open_stream(0.0) is None
    assert session.closed is None
    session.deliver(peer.leave(3))

    assert session.failure(keys[2]).unprocessed
    session.deliver(peer.response(1, 200), peer.response(3, 200, end=False), peer.data(3, b"x", end=True))
    assert [session.of(key)[0][1] for key in keys] == ["response", "response", "failed"]
    assert session.closed is True
    is_over(session)


def test_an_idle_origin_that_leaves():
    session = make_client()
    session.deliver(session.peer.leave(0))

    assert session.closed is True
    assert not session.machine.accepting
    is_over(session)


def test_a_client_that_drains():
    session = make_client()
    key = ask(session)
    drained(session)
    assert session.machine.open_stream(0.0) is None
    assert not session.machine.accepting
    assert not session.over
    session.deliver(session.peer.response(1, 200))

    assert session.of(key)[0][1] == "response"
    assert session.closed is True
    is_over(session)


def test_a_client_that_drains_idle():
    session = make_client()
    drained(session)

    session.wait(0.0)
    assert session.over
    assert session.closed is True


def test_the_end_of_the_origin_s_side():
    session = make_client()
    key = ask(session)
    session.eof()

    assert session.failure(key) is not None
    assert session.closed is not None
    assert session.machine.closing


# ── what nobody may index (RFC 7541 section 7.1.3) ───────────────────────────────────

KEY_FIELD = literal(b"x-key", b"secret", first=0x10)


def test_a_server_keeps_the_marks_of_a_request():
    session = make_server()
    peer = session.peer
    path = literal(b":path", b"/reset?token=1", first=0x10)
    block = b"\x82\x86" + literal(b":authority", b"a.test", first=0x40) + path + KEY_FIELD
    for stream in (1, 3):
        session.deliver(peer.headers(stream, block=block, end=False))
        session.deliver(peer.headers(stream, block=literal(b"x-plain", b"1", first=0x00) + KEY_FIELD))
    heads = [value.head for _, value in session.raw if isinstance(value, Header)]
    trailers = [value.fields for _, value in session.raw if isinstance(value, Trailer)]

    assert [head.fields.never_indexed for head in heads] == [{b":path", b"x-key"}] * 2
    assert [head.clone().fields.never_indexed for head in heads] == [{b":path", b"x-key"}] * 2
    assert [fields.never_indexed for fields in trailers] == [{b"x-key"}] * 2


def test_a_client_keeps_the_marks_of_an_answer():
    session = make_client()
    peer = session.peer
    ask(session)
    session.deliver(peer.headers(1, block=b"\x88" + KEY_FIELD, end=False), peer.headers(1, block=KEY_FIELD))
    head, trailers = [value for _, value in session.raw if isinstance(value, Header | Trailer)]

    assert head.head.fields.never_indexed == {b"x-key"}
    assert trailers.fields.never_indexed == {b"x-key"}


def marked(message: Any) -> Any:
    message.never_indexed |= {b"x-key", b":path"}
    return message


def test_a_client_sends_what_is_marked_so_that_nobody_indexes_it():
    session = make_client()
    for number in range(2):
        key = session.machine.open_stream(0.0)
        head = request_head("POST", "/x?token=1", ("X-Key", "secret"), ("X-Plain", "1"))
        marked(head.fields)
        session.send(key, Header(head, False))
        assert session.peer.never_indexed[2 * number + 1] == {b"x-key", b":path"}
        trailers = Fields([("X-Key", "secret")])
        session.send(key, Trailer(marked(trailers)))
        assert session.peer.never_indexed[2 * number + 1] == {b"x-key"}
    assert session.frames[-1].value == [(b"x-key", b"secret")]


def test_a_server_sends_what_is_marked_so_that_nobody_indexes_it():
    session = make_server({Set.WINDOW: 0})
    session.deliver(session.peer.request(1))
    for status in (103, 200):
        head = ResponseHeader(status, [("X-Key", "secret"), ("X-Plain", "1")])
        marked(head.fields)
        session.send(1, Header(head, False))
        assert session.peer.never_indexed[1] == {b"x-key"}
    session.send(1, Body(b"waits"), Trailer(marked(Fields([("X-Key", "secret")]))))
    session.deliver(session.peer.window_update(1, 10))

    assert session.frames[-1].value == [(b"x-key", b"secret")]
    assert session.peer.never_indexed[1] == {b"x-key"}


def test_an_extended_connect_that_waits_keeps_its_marks():
    session = make_client(greet=False)
    key = session.machine.open_stream(0.0)
    head = request_head("CONNECT", "/chat", ("X-Key", "secret"), protocol=b"websocket")
    marked(head.fields)
    session.send(key, Header(head, True))
    session.deliver(session.peer.hello({Set.CONNECT: 1}))

    assert session.peer.never_indexed[1] == {b"x-key", b":path"}


# ── tunnels ──────────────────────────────────────────────────────────────────────────

CONNECT = [(":method", "CONNECT"), (":authority", "b.test:443")]
WEBSOCKET = [*request_fields("CONNECT", "/chat"), (":protocol", "websocket"), ("sec-websocket-version", "13")]


def tunnel(fields: list[Any]) -> Session:
    session = make_server(options={"allow_connect": True})
    session.deliver(session.peer.headers(1, fields, end=False))
    return session


@pytest.mark.parametrize("fields", [CONNECT, WEBSOCKET], ids=["plain", "extended"])
def test_a_tunnel_through_a_server(fields):
    session = tunnel(fields)
    peer = session.peer
    head = session.raw[0][1].head
    assert session.of(1)[0][5] is True, "a CONNECT has no body"
    assert head.method == b"CONNECT"
    assert (head.protocol, head.target) in ((None, b"b.test:443"), (b"websocket", b"/chat"))
    session.deliver(peer.data(1, b"early"))
    assert session.body(1) == b"", "nothing passes before it is accepted"
    session.send(1, Header(ResponseHeader(200), False), UpgradedBody(b"down"))
    assert session.body(1) == b"early"
    session.deliver(peer.data(1, b"up"))
    assert session.data(1) == b"down"
    session.deliver(peer.data(1, b"bye", end=True))
    assert session.of(1)[1:] == [(1, "raw", b"earlyupbye", True)]
    session.send(1, UpgradedBody(b"late"), UpgradedBody(b"", True))

    assert session.data(1) == b"downlate"
    assert session.frames[-1].end
    assert session.machine.idle
    session.useful()


def test_a_tunnel_that_the_server_ends_first():
    session = tunnel(CONNECT)
    session.send(1, Header(ResponseHeader(200), False), UpgradedBody(b"down", True))
    session.deliver(session.peer.data(1, b"up"))
    session.wait(LIMITS.linger_timeout + 1)
    session.deliver(session.peer.data(1, b"", end=True))

    assert session.frames[-1].end or session.frames[-1].kind == "WINDOW_UPDATE"
    assert session.of(1)[1:] == [(1, "raw", b"up", True)]
    session.useful()


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(lambda m, p: m.receive_data(p.rst(1), 0.0), id="reset"),
        pytest.param(lambda m, p: m.receive_data(b"\0\0\1\6\0\0\0\0\0x", 0.0), id="fault"),
        pytest.param(lambda m, p: m.receive_eof(0.0), id="eof"),
        pytest.param(lambda m, p: m.transport_lost(LOST, 0.0), id="lost"),
        pytest.param(lambda m, p: m.handle_timeout(LIMITS.read_timeout), id="timeout"),
    ],
)
def test_what_waits_to_be_said_is_said_before_what_comes_next(what):
    """The bytes that came before a tunnel was accepted, and whatever happens before they could be told."""
    session = tunnel(CONNECT)
    session.deliver(session.peer.data(1, b"early"))
    session.machine.send(1, Header(ResponseHeader(200), False), 0.0)
    session.flush()
    session.take(what(session.machine, session.peer))

    assert session.of(1)[1:3] == [(1, "raw", b"early", False), session.of(1)[-1]]
    assert session.of(1)[-1][1] == "failed"


def test_a_tunnel_that_is_reset():
    session = tunnel(CONNECT)
    session.send(1, Header(ResponseHeader(200), False))
    session.deliver(session.peer.rst(1, Code.CONNECT_ERROR))

    assert session.failure(1) is not None
    session.useful()


@pytest.mark.parametrize("end", [True, False])
def test_a_tunnel_that_is_refused(end):
    session = tunnel(CONNECT)
    session.deliver(session.peer.data(1, b"early"))
    session.send(1, Header(ResponseHeader(403, [("Content-Length", "0" if end else "2")]), end))
    session.send(1, Body(b"no", True)) if not end else None
    if not session.peer.streams[1].theirs_reset:
        session.deliver(session.peer.data(1, b"late", end=True))

    assert session.body(1) == b""
    assert session.status(1) == b"403"
    session.useful()


@pytest.mark.parametrize("fields", [CONNECT, WEBSOCKET], ids=["plain", "extended"])
@pytest.mark.parametrize("end", [True, False])
def test_a_tunnel_with_a_body_is_malformed(fields, end):
    session = make_server(options={"allow_connect": True})
    session.deliver(session.peer.headers(1, [*fields, ("content-length", "5")], end=end))

    assert [event[1] for event in session.of(1)] == ["failed"]
    assert session.frames[-1].kind == "RST_STREAM"
    session.useful()


@pytest.mark.parametrize("extended", [False, True])
def test_a_tunnel_declares_no_body(extended):
    """Its DATA would be of another length (RFC 9113 section 8.1.1)."""
    session = make_client({Set.CONNECT: 1})
    key = session.machine.open_stream(0.0)
    length = ("Content-Length", "0")
    head = request_head("CONNECT", "/c", length, protocol=b"websocket") if extended else None
    session.send(key, Header(head or request_head("CONNECT", "b.test:443", length), True))

    assert b"content-length" not in dict(session.frames[-1].value)


def refused(fields: list[Any] = CONNECT, **limits: Any) -> Session:
    """A tunnel whose refusal is still on its way: two more bytes of it are due."""
    session = make_server(options={"allow_connect": True}, **limits)
    session.deliver(session.peer.headers(1, fields, end=False))
    session.send(1, Header(ResponseHeader(403, [("Content-Length", "4")]), False), Body(b"go"))
    return session


@pytest.mark.parametrize("fields", [CONNECT, WEBSOCKET], ids=["plain", "extended"])
@pytest.mark.parametrize(
    "late",
    [
        pytest.param(lambda p: [p.data(1, b"under way")], id="data"),
        pytest.param(lambda p: [p.data(1, b"", end=True)], id="end"),
        pytest.param(lambda p: [p.data(1, b"x", pad=9), p.data(1, b"last", end=True)], id="data and end"),
        pytest.param(lambda p: [p.data(1, b"x"), p.headers(1, [("x-sum", "1")])], id="trailers"),
    ],
)
def test_nothing_follows_the_end_of_a_tunnel_that_is_refused(fields, late):
    """Its head was the end of the request, and its refusal lets nothing through that came behind it."""
    session = refused(fields)
    peer = session.peer
    session.deliver(peer.request(3))
    session.deliver(*late(peer))
    assert [event[1] for event in session.of(1)] == ["request"]
    session.send(1, Body(b"ne", True))
    if not peer.streams[1].over:
        session.deliver(peer.data(1, b"", end=True))

    assert [event[1] for event in session.of(1)] == ["request"]
    assert session.data(1) == b"gone"
    answer(session, 3, 200, b"ok")
    assert session.data(3) == b"ok"
    assert session.machine.idle
    session.useful()


def test_what_came_for_a_tunnel_before_its_refusal_is_dropped():
    session = tunnel(CONNECT)
    peer = session.peer
    session.deliver(peer.data(1, bytes(16_000)), peer.data(1, b"", end=True))
    session.send(1, Header(ResponseHeader(403), False), Body(b"no"))
    session.send(1, Body(b"", True))

    assert [event[1] for event in session.of(1)] == ["request"]
    assert session.machine.idle
    session.useful()


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda s: s.deliver(s.peer.rst(1)), id="reset"),
        pytest.param(lambda s: s.deliver(s.peer.headers(1, [("content-length", "1")])), id="trailers that are none"),
        pytest.param(lambda s: s.eof(), id="eof"),
        pytest.param(lambda s: s.take(s.machine.transport_lost(LOST, s.now)), id="lost"),
    ],
)
def test_a_client_that_does_not_wait_for_its_refusal(end):
    session = refused()
    end(session)

    assert [event[1] for event in session.of(1)] == ["request", "failed"]


def test_what_is_read_behind_a_refusal_is_bounded():
    """Of what a client pushes into a tunnel that was refused, no more than linger_bytes are read, and then its window."""
    session = refused(linger_bytes=10_000, h2_window=100_000)
    peer = session.peer
    sent = 0
    while peer.streams[1].credit > 0:
        sent += (size := min(4_000, peer.streams[1].credit))
        session.deliver(peer.data(1, bytes(size)))
    assert 100_000 <= sent <= 110_000
    assert not peer.streams[1].theirs_reset, "its answer goes on"
    session.wait(1_000.0)
    session.send(1, Body(b"ne", True))

    assert session.data(1) == b"gone"
    assert [event[1] for event in session.of(1)] == ["request"]
    session.wait(LIMITS.linger_timeout)
    assert session.machine.idle
    session.useful()


@pytest.mark.parametrize("extended", [False, True])
def test_a_tunnel_through_a_client(extended):
    session = make_client({Set.CONNECT: 1})
    key = session.machine.open_stream(0.0)
    head = (
        request_head("CONNECT", "/chat", protocol=b"websocket") if extended else request_head("CONNECT", "b.test:443")
    )
    session.send(key, Header(head, True))
    sent = session.frames[-1]
    assert not sent.end, "both directions stay open"
    assert dict(sent.value).get(b":protocol") == (b"websocket" if extended else None)
    assert dict(sent.value)[b":authority"] == (b"a.test" if extended else b"b.test:443")
    peer = session.peer
    session.deliver(peer.headers(1, [(":status", "200")], end=False), peer.data(1, b"down"))
    session.send(key, UpgradedBody(b"up"), UpgradedBody(b"", True))
    session.deliver(peer.data(1, b"late", end=True))

    assert session.of(key) == [(key, "response", 200, [], False), (key, "raw", b"downlate", True)]
    assert session.data(1) == b"up"
    assert session.frames[-1].end or session.frames[-1].kind == "WINDOW_UPDATE"
    assert session.machine.idle
    session.useful()


def test_a_tunnel_that_the_origin_ends_at_once():
    session = make_client()
    key = session.machine.open_stream(0.0)
    session.send(key, Header(request_head("CONNECT", "b.test:443"), True))
    session.deliver(session.peer.response(1, 200))
    session.send(key, UpgradedBody(b"up", True))

    assert session.of(key) == [(key, "response", 200, [], False), (key, "raw", b"", True)]
    assert session.data(1) == b"up"
    assert session.machine.idle


def test_a_length_that_an_origin_declares_for_a_tunnel_counts_for_nothing():
    """RFC 9110 section 9.3.6."""
    session = make_client()
    key = session.machine.open_stream(0.0)
    session.send(key, Header(request_head("CONNECT", "b.test:443"), True))
    peer = session.peer
    session.deliver(
        peer.response(1, 200, ("content-length", "3"), ("x", "y"), end=False), peer.data(1, b"longer", end=True)
    )

    assert session.of(key) == [(key, "response", 200, [(b"x", b"y")], False), (key, "raw", b"longer", True)]


def test_a_client_whose_tunnel_is_refused():
    session = make_client({Set.CONNECT: 1})
    key = session.machine.open_stream(0.0)
    session.send(key, Header(request_head("CONNECT", "b.test:443"), True))
    session.deliver(
        session.peer.response(1, 407, ("content-length", "2"), end=False), session.peer.data(1, b"no", end=True)
    )

    assert [event[1] for event in session.of(key)] == ["response", "body"]
    assert session.failure(key) is None
    assert session.machine.idle, "nobody will say anything on it any more"


def test_an_extended_connect_waits_for_the_origin_s_settings():
    """RFC 8441 section 3: not before the origin has said that it takes it."""
    session = make_client(greet=False)
    key = session.machine.open_stream(0.0)
    session.send(key, Header(request_head("CONNECT", "/chat", protocol=b"websocket"), True))
    session.fresh()
    assert not [frame for frame in session.frames if frame.kind == "HEADERS"]
    session.deliver(session.peer.hello({Set.CONNECT: 1}))

    assert [frame.kind for frame in session.frames[-2:] if frame.kind == "HEADERS"] == ["HEADERS"]
    assert session.failure(key) is None


@pytest.mark.parametrize("greeted", [True, False])
def test_an_extended_connect_that_the_origin_does_not_take(greeted):
    session = make_client(greet=greeted)
    key = session.machine.open_stream(0.0)
    session.send(key, Header(request_head("CONNECT", "/chat", protocol=b"websocket"), True))
    session.deliver(session.peer.hello()) if not greeted else session.settle()

    assert session.failure(key) is not None
    assert not [frame for frame in session.frames if frame.kind == "HEADERS"]
    assert not session.over


def test_a_server_announces_what_it_takes():
    session = make_server(h2_max_streams=7, h2_window=100_000, max_head=10_000)
    values = session.frames[0].value

    assert values[Set.STREAMS] == 7
    assert values[Set.WINDOW] == 100_000
    assert values[Set.LIST] == 10_000
    assert values[Set.CONNECT] == 1
    assert session.frames[1] == ("WINDOW_UPDATE", 0, LIMITS.h2_connection_window - 65_535, False)


def test_a_client_announces_what_it_takes():
    session = make_client(options={"stream_window": 50_000, "connection_window": 2**21})
    values = session.frames[0].value

    assert values[Set.PUSH] == 0
    assert values[Set.WINDOW] == 50_000
    assert session.peer.first_credit == 2**21


def test_versions():
    assert make_server().machine.version == b"2"
    assert make_client().machine.version == b"2"


def test_a_head_of_another_version_is_sent_all_the_same():
    session = make_client()
    key = session.machine.open_stream(0.0)
    session.send(key, Header(RequestHeader("GET", "/", [("Host", "a.test")], version=b"1.0"), True))

    assert session.frames[-1].kind == "HEADERS"


def test_the_last_streams_of_a_connection():
    """Ids end at 2^31 (RFC 9113 section 5.1.1): long before, who holds the connection is sent to another one."""
    session = make_client()
    machine = session.machine
    machine._next_id = 2**30 - 1
    assert machine.reusable
    ask(session)
    assert not machine.accepting
    assert machine.open_stream(0.0) is None
    assert not machine.closing, "what is under way goes on"
