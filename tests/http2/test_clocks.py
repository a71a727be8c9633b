"""Every deadline of an HTTP/2 connection: exactly on time, told beforehand by ``deadline``, and only while the peer owes us something."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from sansio_pingora.http2 import PREFACE
from sansio_pingora.machine import Closing
from sansio_pingora.wire import Body, Header, ResponseHeader, UpgradedBody
from tests.http2.peer import Code, Kind, Set, block_of, raw
from tests.http2.runs import (
    LIMITS,
    Session,
    answer,
    ask,
    is_connection_error,
    is_over,
    make_client,
    make_server,
    request_head,
)

BEFORE = 1 / 1024  # binary floating point adds it exactly


def expires(session: Session, after: float, happened: Callable[[Session], Any]) -> None:
    """*happened* becomes true *after* seconds from now, and not before; the machine asks to be called just then."""
    due = session.now + after
    session.wait(after - BEFORE)
    assert not happened(session), "too early"
    assert session.machine.deadline == pytest.approx(due)
    assert session.machine.next_reason() not in {"", "nothing"}
    session.wait(BEFORE)
    assert happened(session), "too late"


def over(session: Session) -> bool:
    return session.over


def reset(stream: int) -> Callable[[Session], bool]:
    return lambda session: any(frame.kind == "RST_STREAM" and frame.stream == stream for frame in session.frames)


def failed(stream: int) -> Callable[[Session], bool]:
    return lambda session: session.failure(stream) is not None


# ── of the connection ────────────────────────────────────────────────────────────────


def test_first_byte():
    session = make_server(greet=False)
    expires(session, LIMITS.first_byte_timeout, lambda s: s.machine.closing)

    assert session.frames == []
    assert session.closed is True


@pytest.mark.parametrize("sent", [PREFACE[:1], PREFACE[:-1], PREFACE, PREFACE + b"\0\0"], ids=len)
def test_preface_and_settings(sent):
    """However often bytes arrive: a beginning has its head_timeout from its first byte."""
    session = make_server(greet=False)
    session.now = 5.0
    for at in range(len(sent)):
        session.deliver(sent[at : at + 1])
    expires(session, LIMITS.head_timeout, over)


def test_a_head_in_pieces():
    session = make_server()
    session.now = 3.0
    session.peer.highest = 1
    session.deliver(raw(Kind.HEADERS, 1, 1, block_of([(b":method", b"GET")])))
    session.wait(5.0)
    session.deliver(raw(Kind.CONTINUATION, 0, 1, block_of([(b":path", b"/")])))
    expires(session, LIMITS.head_timeout - 5.0, over)

    is_connection_error(session, Code.ENHANCE_YOUR_CALM, Code.PROTOCOL_ERROR)


def test_a_head_in_pieces_amid_other_streams():
    session = make_server()
    session.deliver(session.peer.request(1))
    session.peer.highest = 3
    session.deliver(raw(Kind.HEADERS, 1, 3, b""))
    expires(session, LIMITS.head_timeout, over)

    assert session.failure(1) is not None


def test_half_a_frame_is_under_a_clock():
    """A frame that was begun is under some clock; the keep-alive clock of an idle connection will do."""
    session = make_server()
    session.deliver(session.peer.request(1)[:12])

    assert math.isfinite(session.machine.deadline)
    session.wait(LIMITS.keepalive_timeout + BEFORE)
    assert session.over


def test_settings_acknowledgement():
    session = make_server(greet=False)
    session.deliver(session.peer.hello())
    session.deliver(session.peer.request(1))
    expires(session, LIMITS.h2_settings_timeout, over)

    is_connection_error(session, Code.SETTINGS_TIMEOUT)
    assert session.failure(1) is not None


def test_keepalive_of_an_idle_connection():
    session = make_server()
    expires(session, LIMITS.keepalive_timeout, over)

    assert session.frames[-1].value[:2] == (0, Code.NO_ERROR)
    assert session.closed is True
    is_over(session)


def test_keepalive_begins_when_the_last_stream_ends():
    session = make_server()
    peer = session.peer
    session.wait(50.0)
    session.deliver(peer.request(1))
    session.wait(50.0)
    answer(session, 1)
    session.wait(50.0)
    session.deliver(peer.request(3))
    answer(session, 3)
    expires(session, LIMITS.keepalive_timeout, over)

    assert session.frames[-1].value[:2] == (3, Code.NO_ERROR)


def test_keepalive_is_not_for_busy_connections():
    session = make_server()
    session.deliver(session.peer.request(1))
    session.wait(10 * LIMITS.keepalive_timeout)

    assert not session.over
    answer(session, 1)
    assert session.status(1) == b"200"


def test_pings_do_not_keep_an_idle_connection():
    session = make_server()
    for _ in range(int(LIMITS.keepalive_timeout) - 1):
        session.wait(1.0)
        session.deliver(session.peer.ping())
    expires(session, 1.0, over)


def test_linger():
    """After an error the connection is read on for a while, then closed."""
    session = make_server()
    session.deliver(raw(Kind.PING, 0, 0, b"x"))
    assert session.machine.shut_write
    expires(session, LIMITS.linger_timeout, lambda s: s.machine.closing is Closing.AFTER_FLUSH)


def test_linger_has_an_end_in_bytes():
    session = make_server()
    session.deliver(raw(Kind.PING, 0, 0, b"x"))
    session.machine.receive_data(bytes(LIMITS.linger_bytes), 0.0)
    assert not session.machine.closing
    session.machine.receive_data(b"x", 0.0)

    assert session.machine.closing is Closing.AFTER_FLUSH


def test_a_peer_that_takes_no_bytes():
    """The driver is paused: nothing leaves for write_idle_timeout."""
    session = make_server()
    session.deliver(session.peer.request(1))
    session.machine.write_paused(0.0)
    session.reads = False
    session.send(1, Header(ResponseHeader(200), False), Body(bytes(100_000)))
    session.wait(20.0)
    session.machine.write_progressed(session.now)
    expires(session, LIMITS.write_idle_timeout, lambda s: s.machine.closing is Closing.ABORT)

    assert session.failure(1).type_str == "WriteTimedout"
    assert session.closed is not None


@pytest.mark.parametrize("paused_before", [True, False])
def test_a_peer_that_takes_no_bytes_of_the_last_words(paused_before):
    """The connection has ended, and waits in vain for its output to leave."""
    session = make_server()
    session.reads = False
    session.machine.write_paused(0.0) if paused_before else None
    session.deliver(raw(Kind.PING, 0, 0, b"x"))
    session.machine.write_paused(0.0)
    assert session.over
    session.wait(LIMITS.write_idle_timeout + LIMITS.linger_timeout)

    assert session.machine.closing


def test_a_closed_connection_whose_last_words_nobody_takes():
    session = make_server()
    session.deliver(raw(Kind.PING, 0, 0, b"x"))
    session.wait(LIMITS.linger_timeout)
    assert session.machine.closing is Closing.AFTER_FLUSH
    session.machine.write_paused(session.now)
    session.wait(LIMITS.write_idle_timeout)

    assert session.machine.closing is Closing.ABORT


def test_a_peer_that_takes_bytes_again():
    session = make_server()
    session.deliver(session.peer.request(1))
    session.machine.write_paused(0.0)
    session.reads = False
    session.send(1, Header(ResponseHeader(200), False), Body(bytes(30_000), True))
    session.wait(20.0)
    session.reads = True
    session.take(session.machine.write_resumed(session.now))
    session.wait(50.0)

    assert len(session.data(1)) == 30_000
    session.alive()


@pytest.mark.parametrize("role", ["server", "client"])
def test_pings(role):
    session = make_server(h2_ping_interval=7.0) if role == "server" else make_client(options={"ping_interval": 7.0})
    session.deliver(session.peer.request(1)) if role == "server" else ask(session)

    def pinged(number: int) -> Callable[[Session], bool]:
        return lambda s: len([frame for frame in s.frames if frame.kind == "PING"]) == number

    expires(session, 7.0, pinged(1))
    session.wait(2.0)
    session.deliver(session.peer.pong(session.frames[-1].value))
    expires(session, 7.0, pinged(2))
    expires(session, LIMITS.h2_ping_timeout, lambda s: s.closed)

    assert session.failure(1).type_str == "PingTimedout"
    assert session.closed.type_str == "PingTimedout"
    assert session.machine.closing


def test_pings_are_for_quiet_connections():
    session = make_client(options={"ping_interval": 7.0})
    ask(session)
    for _ in range(10):
        session.wait(5.0)
        session.deliver(session.peer.ping())

    assert not [frame for frame in session.frames if frame.kind == "PING"]


def test_another_answer_than_the_one_that_is_due_is_none():
    session = make_client(options={"ping_interval": 7.0})
    ask(session)
    session.wait(7.0)
    session.deliver(session.peer.pong(b"whatever"))
    session.wait(LIMITS.h2_ping_timeout)

    assert session.closed is not None


def test_a_client_s_settings_acknowledgement():
    session = make_client(greet=False)
    session.deliver(session.peer.hello())
    ask(session)
    expires(session, LIMITS.h2_settings_timeout, over)

    is_connection_error(session, Code.SETTINGS_TIMEOUT)


# ── of a stream, towards a server ────────────────────────────────────────────────────


def uploading(**limits: Any) -> Session:
    session = make_server(**limits)
    session.deliver(session.peer.request(1, "POST", end=False))
    return session.begin()


def test_body_idle():
    session = uploading(min_body_rate=None)
    session.wait(20.0)
    session.deliver(session.peer.data(1, b"x"))
    expires(session, LIMITS.body_idle_timeout, failed(1))

    assert session.failure(1).status == 408
    assert session.status(1) == b"408"
    session.useful()


def test_body_idle_behind_the_answer_s_head():
    session = uploading(min_body_rate=None)
    session.send(1, Header(ResponseHeader(200), False))
    expires(session, LIMITS.body_idle_timeout, failed(1))

    assert reset(1)(session)
    session.useful()


def test_body_rate():
    """500 bytes per second after ten seconds: who sends 100 has ten seconds."""
    session = uploading()
    for _ in range(9):
        session.deliver(session.peer.data(1, b"x" * 100))
        session.wait(1.0)
    expires(session, 1.0, failed(1))

    assert session.failure(1).status == 408
    session.useful()


def test_body_rate_that_is_kept():
    session = uploading()
    for _ in range(60):
        session.deliver(session.peer.data(1, b"x" * 600))
        session.wait(1.0)

    assert session.failure(1) is None


def test_no_clock_runs_while_we_withhold_credit():
    session = make_server(consumes=False)
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False))
    for _ in range(LIMITS.h2_window // 16_384):
        session.deliver(peer.data(1, bytes(16_384)))
    session.wait(1000.0)
    assert session.failure(1) is None
    session.machine.consumed(1, LIMITS.h2_window, session.now)
    session.settle()
    expires(session, LIMITS.body_idle_timeout, failed(1))


def test_no_clock_runs_while_the_connection_withholds_credit():
    """The window of the connection is used up by others: this stream's client cannot send."""
    session = make_server(consumes=False, h2_connection_window=65_535, h2_window=65_535)
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False), peer.request(3, "POST", end=False))
    for size in (16_384, 16_384, 16_384, 16_383):
        session.deliver(peer.data(3, bytes(size)))
    session.wait(1000.0)

    assert session.failure(1) is None
    session.machine.consumed(3, 65_535, session.now)
    session.settle()
    session.wait(LIMITS.body_idle_timeout + BEFORE)
    assert session.failure(1) is not None


def test_no_clock_runs_while_nothing_is_read():
    """A peer that is slow to take its answers is not read from, so that nothing can be due from it."""
    session = make_server(h2_ping_interval=25.0)
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False), peer.request(3))
    session.machine.write_paused(0.0)
    session.reads = False
    for stream in range(5, 105, 2):
        session.deliver(peer.request(stream))
        session.send(stream, Header(ResponseHeader(200, [("x", "y" * 4000)]), True))
    assert not session.machine.want_read
    for _ in range(20):
        session.wait(10.0)
        session.machine.write_progressed(session.now)
    assert not session.over
    assert session.failure(1) is None
    session.reads = True
    session.take(session.machine.write_resumed(session.now))
    assert session.machine.want_read
    pings = [frame for frame in session.frames if frame.kind == "PING"]
    session.deliver(*(peer.pong(ping.value) for ping in pings))

    expires(session, 10.0, failed(1))  # from here on it is, at the least rate
    assert session.failure(1).status == 408


def test_no_clock_runs_while_the_client_waits_for_us():
    session = make_server()
    session.deliver(session.peer.request(1, "POST", "/", ("expect", "100-continue"), end=False))
    session.wait(1000.0)
    assert session.failure(1) is None
    session.machine.invite_body(1, session.now)
    session.settle()
    expires(session, LIMITS.body_idle_timeout if LIMITS.min_body_rate is None else 10.0, failed(1))


def test_a_client_that_goes_on_without_its_invitation_is_not_slow():
    """It may wait for its 100 as long as it likes (RFC 9110 section 10.1.1): the body begins when it comes."""
    session = make_server()
    session.deliver(session.peer.request(1, "POST", "/", ("expect", "100-continue"), end=False))
    session.wait(50.0)
    session.deliver(session.peer.data(1, b"x"))
    session.wait(9.0)
    session.deliver(session.peer.data(1, bytes(9_999)))
    expires(session, 11.0, failed(1))


def test_no_clock_runs_once_the_request_is_complete():
    session = uploading()
    session.deliver(session.peer.data(1, b"x", end=True))
    session.wait(1000.0)

    assert session.failure(1) is None


def test_two_streams_have_clocks_of_their_own():
    session = uploading(min_body_rate=None)
    session.wait(10.0)
    session.deliver(session.peer.request(3, "POST", end=False))
    expires(session, LIMITS.body_idle_timeout - 10.0, failed(1))
    assert session.failure(3) is None
    expires(session, 10.0, failed(3))


# ── output that waits ────────────────────────────────────────────────────────────────


def test_a_stalled_stream():
    session = make_server({Set.WINDOW: 0})
    session.deliver(session.peer.request(1))
    session.wait(5.0)
    session.send(1, Header(ResponseHeader(200), False), Body(b"hello"))
    expires(session, LIMITS.h2_stall_timeout, reset(1))

    assert session.failure(1).type_str == "WriteTimedout"
    session.alive()


def test_a_stalled_stream_that_moves_again():
    session = make_server({Set.WINDOW: 0})
    session.deliver(session.peer.request(1))
    session.send(1, Header(ResponseHeader(200), False), Body(bytes(8000)))
    session.wait(20.0)
    session.deliver(session.peer.window_update(1, 4000))
    session.wait(20.0)
    assert not reset(1)(session)
    session.deliver(session.peer.window_update(1, 4000))
    session.wait(1000.0)
    assert not reset(1)(session), "nothing waits"
    session.send(1, Body(b"x"))
    expires(session, LIMITS.h2_stall_timeout, reset(1))


def test_a_slow_connection_is_not_stalled():
    session = make_server({Set.WINDOW: 2**20})
    peer = session.peer
    session.deliver(peer.request(1))
    session.send(1, Header(ResponseHeader(200), False), Body(bytes(60_000)), Body(bytes(60_000)))
    for _ in range(20):
        session.wait(LIMITS.h2_connection_stall_timeout - 10)
        session.deliver(peer.window_update(0, 2_000))
        session.wait(5.0)

    assert not session.over
    assert len(session.data(1)) == 65_535 + 40_000


def test_a_stalled_connection():
    session = make_server({Set.WINDOW: 2**20})
    session.deliver(session.peer.request(1))
    session.send(1, Header(ResponseHeader(200), False), Body(bytes(60_000)))
    session.wait(5.0)
    session.send(1, Body(bytes(60_000)))
    expires(session, LIMITS.h2_connection_stall_timeout, over)

    assert session.frames[-1].kind == "GOAWAY"
    assert session.failure(1).type_str == "WriteTimedout"
    assert session.closed is not None


def test_what_a_reset_takes_away_stalls_nothing():
    session = make_client({Set.WINDOW: 1000})
    key = ask(session, end=False)
    session.send(key, Body(bytes(2000)))
    session.deliver(session.peer.rst(1))
    session.wait(1000.0)

    assert session.machine.deadline == math.inf


# ── of a stream, towards an origin ───────────────────────────────────────────────────


def test_an_origin_that_does_not_answer():
    session = make_client()
    key = ask(session)
    expires(session, LIMITS.read_timeout, failed(key))

    assert session.failure(key).type_str == "ReadTimedout"
    assert session.frames[-1] == ("RST_STREAM", 1, Code.CANCEL, False) or reset(1)(session)
    assert not session.machine.accepting, "no more requests for an origin that is silent"


def test_an_origin_that_pauses_between_two_reads():
    session = make_client(options={"read_timeout": 9.0})
    key = ask(session)
    session.wait(8.0)
    session.deliver(session.peer.response(1, 200, end=False))
    session.wait(8.0)
    session.deliver(session.peer.data(1, b"x"))
    expires(session, 9.0, failed(key))


def test_an_origin_owes_nothing_before_the_request_is_complete():
    session = make_client()
    key = ask(session, "POST", end=False)
    session.wait(1000.0)
    assert session.failure(key) is None
    session.send(key, Body(b"x", True))
    expires(session, LIMITS.read_timeout, failed(key))


def test_an_origin_owes_a_word_to_who_expects_one():
    session = make_client()
    key = ask(session, "POST", "/", ("Expect", "100-continue"), end=False)
    expires(session, LIMITS.read_timeout, failed(key))


def expecting(*fields: tuple[str, str]) -> tuple[Session, int]:
    session = make_client()
    return session, ask(session, "POST", "/", ("Expect", "100-continue"), *fields, end=False)


def test_an_origin_owes_no_word_once_the_body_comes():
    """It may omit the 100 then (RFC 9110 section 10.1.1)."""
    session, key = expecting()
    session.wait(10.0)
    session.send(key, Body(b"x"))
    session.wait(1_000.0)
    session.send(key, Body(b"y"))
    session.wait(1_000.0)
    assert session.failure(key) is None
    session.send(key, Body(b"", True))
    expires(session, LIMITS.read_timeout, failed(key))


def test_a_body_of_no_bytes_yet_is_still_waited_for():
    session, key = expecting()
    session.wait(10.0)
    session.send(key, Body(b""))
    expires(session, LIMITS.read_timeout - 10.0, failed(key))


def test_an_origin_owes_an_answer_to_who_expected_one_and_sent_all():
    session, key = expecting(("Content-Length", "1"))
    session.wait(10.0)
    session.send(key, Body(b"x", True))
    expires(session, LIMITS.read_timeout, failed(key))


def test_what_an_origin_says_before_its_100_is_not_yet_that():
    session, key = expecting()
    session.wait(10.0)
    session.deliver(session.peer.response(1, 103, end=False))
    expires(session, LIMITS.read_timeout, failed(key))


def test_an_origin_owes_nothing_behind_its_100():
    session, key = expecting()
    for status in (103, 100, 103):
        session.wait(10.0)
        session.deliver(session.peer.response(1, status, end=False))
    session.wait(1_000.0)
    assert session.failure(key) is None
    session.send(key, Body(b"x"))
    session.wait(1_000.0)
    assert session.failure(key) is None


def test_an_answer_that_has_begun_is_due_whatever_is_sent_meanwhile():
    session, key = expecting()
    session.deliver(session.peer.response(1, 200, end=False))
    session.wait(10.0)
    session.send(key, Body(b"x"))
    expires(session, LIMITS.read_timeout - 10.0, failed(key))


def test_an_origin_whose_window_we_withhold_owes_nothing():
    session = make_client(consumes=False)
    key = ask(session)
    peer = session.peer
    session.deliver(peer.response(1, 200, end=False))
    for _ in range(LIMITS.h2_window // 16_384):
        session.deliver(peer.data(1, bytes(16_384)))
    session.wait(1000.0)
    assert session.failure(key) is None
    session.machine.consumed(key, LIMITS.h2_window, session.now)
    session.settle()
    expires(session, LIMITS.read_timeout, failed(key))


def test_an_origin_that_gives_no_window():
    session = make_client({Set.WINDOW: 0}, options={"write_timeout": 9.0})
    key = ask(session, "POST", end=False)
    session.send(key, Body(b"hello"))
    expires(session, 9.0, failed(key))

    assert session.failure(key).type_str == "WriteTimedout"
    assert session.frames[-1].kind == "RST_STREAM"


def test_an_idle_client_has_no_clock():
    """Pools count idle time."""
    session = make_client()

    assert session.machine.deadline == math.inf
    assert session.machine.next_reason()


def test_a_tunnel_that_is_quiet():
    session = make_server(options={"allow_connect": True})
    session.deliver(session.peer.headers(1, [(":method", "CONNECT"), (":authority", "a.test:1")], end=False))
    session.wait(1000.0)
    assert session.failure(1) is None, "it waits for us"
    session.send(1, Header(ResponseHeader(200), False))
    session.wait(50.0)
    session.deliver(session.peer.data(1, b"x"))
    session.wait(50.0)
    session.send(1, UpgradedBody(b"y"))
    expires(session, LIMITS.read_timeout, failed(1))

    session.useful()


def test_a_client_s_tunnel_that_is_quiet():
    session = make_client()
    key = session.machine.open_stream(0.0)
    session.send(key, Header(request_head("CONNECT", "b.test:443"), True))
    session.deliver(session.peer.headers(1, [(":status", "200")], end=False))
    session.wait(50.0)
    session.send(key, UpgradedBody(b"y"))
    expires(session, LIMITS.read_timeout, failed(key))


def test_a_tunnel_that_has_ended_has_no_clock():
    """It was armed again by its own last bytes, and woke the server every second for ever."""
    session = make_server(options={"allow_connect": True}, read_timeout=5.0)
    session.deliver(session.peer.headers(1, [(":method", "CONNECT"), (":authority", "a.test:1")], end=True))
    session.send(1, Header(ResponseHeader(200), False))
    session.send(1, UpgradedBody(b"bye", True))
    expires(session, LIMITS.keepalive_timeout, over)
    session.wait(1000.0)

    assert session.machine.deadline == math.inf


def test_a_client_that_stays_behind_an_upload_that_was_cut_off():
    """The stream was gone and nothing had a deadline: such a connection stayed for ever."""
    session = make_server(keepalive_timeout=0.5)
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False), peer.data(1, b"part"))
    answer(session, 1, 413)
    session.wait(0.6)
    while not peer.streams[1].theirs_reset:
        session.deliver(peer.data(1, bytes(10_000)))

    expires(session, 0.5, over)


# ── of every machine ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("role", ["server", "client"])
def test_early_and_repeated_calls_are_harmless(role):
    session = make_server() if role == "server" else make_client()
    session.deliver(session.peer.request(1, "POST", end=False)) if role == "server" else ask(session)
    deadline = session.machine.deadline
    for _ in range(3):
        assert session.machine.handle_timeout(0.5) == []
    assert session.machine.data_to_send() == []

    assert session.machine.deadline == deadline


def test_nothing_waits_without_a_clock():
    """I-9: in every state in which the peer owes something there is a deadline."""
    for situation in (
        make_server(greet=False),
        make_server(),
        uploading(),
        make_client(greet=False),
    ):
        assert math.isfinite(situation.machine.deadline), situation.machine
