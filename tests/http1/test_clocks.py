"""Slow peers: every wait for one has a deadline, and none runs while we are the ones who wait (attacks D1 to D4)."""

from __future__ import annotations

import math

import pytest

from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Closing
from sansio_pingora.wire import Body, Done, Header, RequestHeader, ResponseHeader, UpgradedBody
from tests.http1.runs import make_client, make_server, plain, read_responses

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
OK = Header(ResponseHeader(200, [("Content-Length", "2")]), False)
UPGRADE = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
SWITCH = Header(ResponseHeader(101, [("Connection", "upgrade"), ("Upgrade", "x")]), False)


def post(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % size


def statuses(machine) -> list[int]:
    return [status for status, _, _ in read_responses(b"".join(machine.data_to_send()))]


# ── D1: heads ────────────────────────────────────────────────────────────────────────


def test_d1_slowloris(engine):
    """The time for a head is absolute: another byte does not renew it."""
    server = make_server(engine)
    now = 5.0
    for at in range(len(GET) - 5):
        assert server.receive_data(GET[at : at + 1], now) == []
        assert server.deadline == 15.0
        now += 0.2
    assert server.next_reason() == "head_timeout"
    assert server.handle_timeout(14.9) == []
    (failed,) = map(plain, server.handle_timeout(15.0))

    assert failed == (1, "failed", "ReadTimedout", 408)
    assert statuses(server) == [408]
    assert server.shut_write
    server.handle_timeout(16.0)
    assert server.closing is Closing.AFTER_FLUSH


def test_d1_of_a_second_request(engine):
    server = make_server(engine)
    server.receive_data(GET + b"G", 0.0)
    server.send(1, Header(ResponseHeader(200), True), 50.0)
    assert server.deadline == AT_ONCE
    server.handle_timeout(50.0)

    assert server.deadline == 60.0
    assert server.next_reason() == "head_timeout"


def test_d1_a_blank_line_is_no_head(engine):
    server = make_server(engine)
    server.receive_data(b"\r\n", 3.0)

    assert server.deadline == 10.0
    assert server.next_reason() == "first_byte_timeout"


# ── D2: bodies ───────────────────────────────────────────────────────────────────────


def test_d2_no_body_comes(engine):
    server = make_server(engine, Limits(min_body_rate=None))
    server.receive_data(post(100), 1.0)
    assert server.deadline == 31.0
    server.receive_data(b"x", 20.0)
    assert server.deadline == 50.0
    (failed,) = map(plain, server.handle_timeout(50.0))

    assert failed[1:] == ("failed", "ReadTimedout", 408)
    assert statuses(server) == [408]


def test_d2_a_body_slower_than_the_least_rate(engine):
    """500 bytes a second on average, after ten seconds: a byte now and then does not help."""
    server = make_server(engine)
    server.receive_data(post(100_000), 0.0)
    now = 0.0
    while server.deadline > now + 1:
        now += 1.0
        assert not any(event[1] == "failed" for event in map(plain, server.receive_data(b"x" * 10, now)))
        server.consumed(1, 10, now)
    assert now == pytest.approx(9.0, abs=1.0)
    assert statuses(server) == []
    server.handle_timeout(server.deadline)
    assert statuses(server) == [408]


def test_d2_a_body_at_the_least_rate(engine):
    server = make_server(engine)
    server.receive_data(post(100_000), 0.0)
    for second in range(1, 100):
        server.receive_data(b"x" * 600, float(second))
        server.consumed(1, 600, float(second))
        assert server.deadline > second + 1


def test_d2_the_time_in_which_we_do_not_read_is_not_the_clients(engine):
    server = make_server(engine)
    server.receive_data(post(200_000), 0.0)
    server.receive_data(b"x" * 70_000, 1.0)
    assert not server.want_read
    assert server.deadline == math.inf
    server.receive_data(b"x" * 1000, 2.0)  # it was on its way
    server.consumed(1, 71_000, 1000.0)
    assert server.want_read
    assert server.deadline == 1030.0


def test_d2_the_grace_of_the_least_rate_counts_the_clients_time_alone(engine):
    server = make_server(engine, Limits(high_water=100))
    server.receive_data(post(1000), 0.0)
    server.receive_data(b"x" * 150, 1.0)
    assert not server.want_read
    server.receive_data(b"x" * 10, 2.0)  # it was on its way: we had stopped reading before
    server.consumed(1, 160, 1000.0)
    assert server.deadline == 1009.0  # ten seconds, of which one was used before we stopped


def test_d2_a_client_that_waits_for_its_invitation_is_not_slow(engine):
    server = make_server(engine)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n", 0.0)
    assert server.deadline == math.inf
    server.invite_body(1, 100.0)
    assert server.deadline == 110.0
    server.receive_data(b"x", 105.0)
    assert server.deadline == 110.0  # the grace of ten seconds began with the invitation


def test_d2_a_client_that_goes_on_without_its_invitation_is_not_slow(engine):
    """It may wait for its 100 as long as it likes (RFC 9110 section 10.1.1): the body begins when it comes."""
    server = make_server(engine)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n"
    server.receive_data(head, 0.0)
    assert server.deadline == math.inf
    server.receive_data(b"x", 50.0)
    assert server.deadline == 60.0
    server.receive_data(b"x" * 9_999, 59.0)
    assert server.deadline == 70.0


# ── D3: output ───────────────────────────────────────────────────────────────────────


def test_d3_a_client_that_takes_nothing(engine):
    server = make_server(engine)
    server.receive_data(GET, 0.0)
    server.send(1, Header(ResponseHeader(200), False), 0.0)
    server.write_paused(1.0)
    assert server.stalled
    assert server.deadline == 31.0
    server.write_paused(20.0)  # said again: no new grace
    assert server.deadline == 31.0
    server.write_progressed(25.0)
    assert server.deadline == 55.0
    assert server.next_reason() == "write_idle_timeout"
    (failed,) = map(plain, server.handle_timeout(55.0))

    assert failed[1:3] == ("failed", "WriteTimedout")
    assert server.closing is Closing.ABORT
    assert server.data_to_send() == []


def test_d3_room_and_its_return(engine):
    limits = Limits(high_water=1000)
    server = make_server(engine, limits)
    server.receive_data(GET, 0.0)
    room = server.send(1, Header(ResponseHeader(200), False), 0.0)
    assert 0 < room < 1000
    assert server.send(1, Body(b"x" * 2000), 0.0) < 0
    assert server.starved
    assert server.write_resumed(0.0) == []  # nothing was written yet
    assert server.starved
    server.data_to_send()
    assert list(map(plain, server.write_resumed(0.0))) == [(1, "writable", 1000)]
    assert not server.starved
    server.write_paused(0.0)
    assert server.send(1, Body(b"x"), 0.0) < 0


def test_d3_the_least_rate_counts_what_is_on_its_way_alone():
    """What a client took in the past is no reason to be patient with it now."""
    server = make_server(limits=Limits(min_send_rate=1000.0))
    server.receive_data(GET, 0.0)
    server.send(1, Header(ResponseHeader(200), False), 0.0)
    for _ in range(100):
        server.send(1, Body(b"x" * 10_000), 0.0)
        server.data_to_send()
    server.write_paused(0.0)
    assert server.deadline < 11.0
    server.write_progressed(5.0)
    assert server.deadline < 11.0


def test_d3_while_closing(engine):
    """An answer that is not taken does not keep a connection for ever."""
    server = make_server(engine)
    server.receive_data(b"GET / HTTP/1.0\r\n\r\n", 0.0)
    server.send(1, Header(ResponseHeader(200), True), 0.0)
    assert server.closing is Closing.AFTER_FLUSH
    server.write_paused(1.0)
    server.write_resumed(2.0)
    assert server.deadline == 31.0
    server.handle_timeout(31.0)
    assert server.closing is Closing.ABORT
    assert server.deadline == math.inf


# ── D4: idle connections ─────────────────────────────────────────────────────────────


def test_d4_no_first_byte(engine):
    server = make_server(engine, now=100.0)
    assert server.deadline == 110.0
    assert list(map(plain, server.handle_timeout(110.0))) == [(0, "closed", None)]
    assert server.data_to_send() == []
    assert server.closing is Closing.AFTER_FLUSH


def test_d4_between_requests(engine):
    server = make_server(engine)
    for at in (0.0, 100.0, 200.0):
        server.receive_data(GET, at)
        server.send(server.stream, OK, at)
        assert server.deadline == math.inf
        server.send(server.stream, Body(b"ok"), at)
        assert server.deadline == at + 60.0
        assert server.next_reason() == "keepalive_timeout"
    server.data_to_send()
    assert list(map(plain, server.handle_timeout(260.0))) == [(0, "closed", None)]
    assert server.data_to_send() == []


def test_d4_a_draining_connection_waits_less(engine):
    server = make_server(engine)
    server.receive_data(GET, 0.0)
    server.send(1, Header(ResponseHeader(200), True), 0.0)
    server.drain(10.0)
    server.drain(12.0)
    assert server.deadline == 15.0
    server.receive_data(GET, 14.0)
    server.send(2, Header(ResponseHeader(200), True), 14.0)
    assert read_responses(b"".join(server.data_to_send()))[-1][1]["connection"] == "close"


def test_while_we_owe_the_answer_no_clock_runs(engine):
    server = make_server(engine)
    server.receive_data(GET, 0.0)
    assert server.deadline == math.inf
    assert server.next_reason() == "nothing"
    server.receive_data(GET, 1000.0)
    assert server.deadline == math.inf
    server.send(1, OK, 2000.0)
    assert server.deadline == math.inf


# ── lingering ────────────────────────────────────────────────────────────────────────


def test_linger(engine):
    """A refused request is read on a while, or the kernel's reset would destroy the answer."""
    server = make_server(engine)
    server.receive_data(b"GET /\x00 HTTP/1.1\r\n\r\n", 0.0)
    assert server.shut_write
    assert not server.closing
    assert server.want_read
    assert server.deadline == 1.0
    assert server.receive_data(b"x" * 60_000, 0.5) == []
    assert not server.closing
    server.receive_data(b"x" * 60_000, 0.6)
    assert server.closing is Closing.AFTER_FLUSH
    assert not server.want_read


def test_linger_until_the_client_ends(engine):
    server = make_server(engine)
    server.receive_data(b"GET /\x00 HTTP/1.1\r\n\r\n", 0.0)
    assert list(map(plain, server.receive_eof(0.5))) == [(0, "closed", None)]
    assert server.closing is Closing.AFTER_FLUSH


def test_linger_waits_for_a_slow_reader(engine):
    server = make_server(engine)
    server.receive_data(b"GET /\x00 HTTP/1.1\r\n\r\n", 0.0)
    server.write_paused(0.0)
    server.handle_timeout(1.0)
    assert not server.closing
    server.write_resumed(1.5)
    server.handle_timeout(2.0)
    assert server.closing is Closing.AFTER_FLUSH


def test_linger_is_left_out_when_the_client_has_ended(engine):
    """Nothing more can come that would make the kernel reset."""
    server = make_server(engine)
    server.receive_data(GET + b"GET /\x00 HTTP/1.1\r\n\r\n", 0.0)
    server.receive_eof(0.0)
    server.send(1, Header(ResponseHeader(200), True), 0.0)
    server.handle_timeout(0.0)
    assert statuses(server) == [200, 400]
    assert server.closing is Closing.AFTER_FLUSH


def test_the_rest_of_a_body_is_read_within_measure(engine):
    server = make_server(engine)
    server.receive_data(post(1000), 0.0)
    server.send(1, Header(ResponseHeader(200), True), 5.0)
    assert server.deadline == 6.0
    server.receive_data(b"x" * 500, 5.5)
    assert server.deadline == 6.0
    server.handle_timeout(6.0)
    assert server.shut_write
    assert server.deadline == 7.0


# ── origins ──────────────────────────────────────────────────────────────────────────


def request(client, *fields: tuple[str, str], end: bool = True) -> None:
    assert client.open_stream(0.0) is not None
    client.send(client.stream, Header(RequestHeader("POST", "/", [("Host", "a"), *fields]), end), 0.0)


def test_an_origin_that_does_not_answer(engine):
    client = make_client(engine, read_timeout=7.0)
    assert client.deadline == math.inf
    request(client)
    assert client.deadline == 7.0
    (failed,) = map(plain, client.handle_timeout(7.0))
    assert failed[1:3] == ("failed", "ReadTimedout")
    assert client.closing is Closing.ABORT


def test_an_origin_owes_nothing_before_the_request_is_whole(engine):
    client = make_client(engine)
    request(client, end=False)
    assert client.deadline == math.inf
    client.send(1, Body(b"x"), 50.0)
    assert client.deadline == math.inf
    client.send(1, Done(), 100.0)
    assert client.deadline == 160.0


EXPECT = ("Expect", "100-continue")


def test_an_origin_owes_a_word_to_who_expects_one(engine):
    client = make_client(engine, read_timeout=7.0)
    request(client, EXPECT, end=False)
    assert client.deadline == 7.0
    (failed,) = map(plain, client.handle_timeout(7.0))
    assert failed[1:3] == ("failed", "ReadTimedout")


def test_an_origin_owes_no_word_once_the_body_comes(engine):
    """It may omit the 100 then (RFC 9110 section 10.1.1)."""
    client = make_client(engine, read_timeout=7.0)
    request(client, EXPECT, end=False)
    client.send(1, Body(b""), 1.0)
    assert client.deadline == 7.0, "that is no body yet"
    client.send(1, Body(b"x"), 2.0)
    assert client.deadline == math.inf
    client.send(1, Body(b"y"), 50.0)
    assert client.deadline == math.inf
    client.send(1, Done(), 100.0)
    assert client.deadline == 107.0, "it owes an answer"


@pytest.mark.parametrize("declared", ["1", None])
def test_an_origin_owes_an_answer_to_who_expected_one_and_sent_all(engine, declared):
    client = make_client(engine, read_timeout=7.0)
    request(client, EXPECT, *([("Content-Length", declared)] if declared else []), end=False)
    client.send(1, Body(b"x", True), 2.0)
    assert client.deadline == 9.0


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_what_an_origin_says_before_its_100_is_not_yet_that(engine, first):
    client = make_client(engine, read_timeout=7.0)
    request(client, EXPECT, end=False)
    client.receive_data(first, 3.0) if first else None
    assert client.deadline == (10.0 if first else 7.0)
    client.receive_data(b"HTTP/1.1 100 Continue\r\n\r\n", 4.0)
    assert client.deadline == math.inf
    client.receive_data(b"HTTP/1.1 103 Early Hints\r\n\r\n", 5.0)
    assert client.deadline == math.inf
    client.send(1, Body(b"x"), 6.0)
    assert client.deadline == math.inf
    client.send(1, Done(), 8.0)
    assert client.deadline == 15.0


@pytest.mark.parametrize("informed", [False, True])
def test_a_head_that_has_begun_is_due_whatever_is_sent_meanwhile(engine, informed):
    client = make_client(engine, read_timeout=7.0)
    request(client, EXPECT, end=False)
    if informed:
        client.receive_data(b"HTTP/1.1 103 Early Hints\r\n\r\n", 1.0)
    client.receive_data(b"HTTP/1.1 100 Con", 3.0)
    client.send(1, Body(b"x"), 4.0)
    assert client.deadline == 10.0
    client.receive_data(b"tinue\r\n\r\n", 5.0)
    assert client.deadline == math.inf


def test_an_answer_that_has_begun_is_due_whatever_is_sent_meanwhile(engine):
    client = make_client(engine, read_timeout=7.0)
    request(client, EXPECT, end=False)
    client.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", 3.0)
    client.send(1, Body(b"x"), 4.0)
    assert client.deadline == 10.0


def test_a_switch_amid_the_body_of_who_expected_a_word(engine):
    client = make_client(engine, read_timeout=7.0)
    request(client, EXPECT, ("Connection", "upgrade"), ("Upgrade", "x"), end=False)
    client.receive_data(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", 3.0)
    client.send(1, Body(b"x"), 4.0)
    assert client.deadline == 10.0


def test_no_clock_over_an_origin_that_we_do_not_read(engine):
    client = make_client(engine)
    request(client, end=False)
    client.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 70_000, 1.0)
    assert not client.want_read
    assert client.deadline == math.inf
    client.send(1, Done(), 2.0)
    assert client.deadline == math.inf, "the end of the request is no reason to start it"
    client.consumed(1, 70_000, 100.0)
    assert client.want_read
    assert client.deadline == 160.0


def test_an_idle_origin_has_no_clock(engine):
    """How long it may idle is the pool's to say."""
    client = make_client(engine)
    request(client)
    client.receive_data(b"HTTP/1.1 204 No Content\r\n\r\n", 1.0)
    assert client.reusable
    assert client.deadline == math.inf


# ── tunnels ──────────────────────────────────────────────────────────────────────────


def tunnel(engine):
    server = make_server(engine)
    server.receive_data(UPGRADE, 0.0)
    server.send(1, SWITCH, 0.0)
    return server


def test_a_silent_tunnel_ends(engine):
    server = tunnel(engine)
    assert server.deadline == 60.0
    server.receive_data(b"x", 50.0)
    assert server.deadline == 110.0
    server.send(1, UpgradedBody(b"y"), 100.0)
    assert server.deadline == 160.0
    (failed,) = map(plain, server.handle_timeout(160.0))
    assert failed[1:3] == ("failed", "ReadTimedout")
    assert server.closing is Closing.ABORT


def test_a_half_closed_tunnel_lives_while_the_other_half_does(engine):
    server = tunnel(engine)
    assert list(map(plain, server.receive_eof(10.0))) == [(1, "raw", b"", True)]
    assert server.deadline == 70.0
    assert not server.want_read
    for at in (60.0, 120.0, 180.0):
        server.send(1, UpgradedBody(b"y"), at)
        assert server.deadline == at + 60.0
    server.send(1, UpgradedBody(b"", True), 200.0)
    assert server.closing is Closing.AFTER_FLUSH


def test_no_clock_over_a_tunnel_that_we_do_not_read(engine):
    server = tunnel(engine)
    server.receive_data(b"x" * 70_000, 1.0)
    assert not server.want_read
    assert server.deadline == math.inf
    server.send(1, UpgradedBody(b"y"), 2.0)
    assert server.deadline == math.inf
    server.consumed(1, 70_000, 3.0)
    assert server.deadline == 63.0
