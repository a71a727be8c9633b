"""Back-pressure, early answers, and two directions that do not know each other. Numbers: Pingora's test inventory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_pingora.session import Sleep, blocking
from tests.proxy.harness import GET, HIGH_WATER, OK, App, Bench, chunked, dechunk, head_of, inbox, post, status_of

CHUNK = 65_536
MIB = 1 << 20


def held(bench, direction):
    """Bytes of one direction in our hands, but for what the adapter holds."""
    exchange = bench.exchanges[-1]
    client, origin = bench.clients[-1], bench.origins[-1] if bench.origins else None
    pump = getattr(exchange, f"{direction}_pump", None)
    receiving, sending = (client, origin) if direction == "request" else (origin, client)
    late = sum(len(getattr(task, "data", b"")) for task in (getattr(pump, "_late", None) or ()))
    queued = 0 if sending is None else sending.connection._queued
    return inbox(exchange, direction) + late + queued + receiving.connection._codec.buffered


BOUND = HIGH_WATER + CHUNK + 1024  # high_water, one chunk, and framing


# ── one side does not read ───────────────────────────────────────────────────────────


def test_a_client_that_does_not_read():
    bench = Bench(App(), write_idle_timeout=1e6)
    client = bench.client()
    client.send(GET)
    client.window = 0
    bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (8 * MIB))
    for _ in range(128):
        bench.origin.send(b"r" * CHUNK)
        assert held(bench, "response") <= BOUND
        assert client.held <= HIGH_WATER + CHUNK + 1024
    assert bench.origin.unread > 7 * MIB
    assert not bench.origin.connection.want_read
    for _ in range(1000):
        client.open_window(10_000)
        assert held(bench, "response") <= BOUND
    client.open_window(None)
    assert len(head_of(client.take())[2]) == 8 * MIB
    bench.assert_clean()


def test_an_origin_that_does_not_read():
    bench = Bench(App(), write_timeout=1e6)
    client = bench.client()
    client.send(post(8 * MIB, b""))
    bench.origin.window = 0
    for _ in range(128):
        client.send(b"q" * CHUNK)
        assert held(bench, "request") <= BOUND
        assert bench.origin.held <= HIGH_WATER + CHUNK + 1024
    assert client.unread > 7 * MIB
    assert not client.connection.want_read
    for _ in range(1000):
        bench.origin.open_window(10_000)
        assert held(bench, "request") <= BOUND
    bench.origin.open_window(None)
    assert len(head_of(bench.origin.take())[2]) == 8 * MIB
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    bench.assert_clean()


def test_no_clock_runs_over_a_side_that_we_do_not_read():
    bench = Bench(App(), body_idle_timeout=5.0, write_timeout=1e6, read_timeout=5.0)
    client = bench.client()
    client.send(post(8 * MIB, b""))
    bench.origin.window = 0
    for _ in range(128):
        client.send(b"q" * CHUNK)
    bench.advance(1000)
    bench.origin.open_window(None)
    bench.origin.send(OK)
    assert status_of(client.take()) == 200


def test_row_47_a_client_that_stalls_is_given_up():
    bench = Bench(app := App(), write_idle_timeout=5.0)
    client = bench.client()
    client.send(GET)
    client.window = 1000
    bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MIB)
    for _ in range(16):
        bench.origin.send(b"r" * CHUNK)
    bench.advance(4)
    client.open_window(1000)  # progress
    bench.advance(4)
    assert client.alive
    bench.advance(7)
    assert not client.alive
    assert not bench.origin.alive
    assert app.ended[0][1].type_str == "WriteTimedout"
    bench.assert_clean()


@pytest.mark.parametrize("side", ["client", "origin"])
def test_a_parked_filter_queues_boundedly(side):
    name = "request_body_filter" if side == "client" else "response_body_filter"
    direction = "request" if side == "client" else "response"
    bench = Bench(type("Parks", (App,), {name: blocking(lambda self, session, body, end, ctx: None)})())
    bench.hold_filters = True
    client = bench.client()
    size = 4 * MIB
    if side == "client":
        client.send(post(size, b""))
        source = client
    else:
        client.send(GET)
        bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        source = bench.origin
    for _ in range(64):
        source.send(b"b" * CHUNK)
        assert held(bench, direction) <= BOUND
    assert len(bench.pending) == 1
    assert source.unread > 3 * MIB
    while bench.pending:
        bench.pending[0].run()
        assert held(bench, direction) <= BOUND
    if side == "client":
        assert len(head_of(bench.origin.take())[2]) == size
        bench.origin.send(OK)
    assert status_of(client.take()) == 200
    bench.assert_clean()


@pytest.mark.parametrize("phase", ["request_filter", "upstream_peer", "upstream_request_filter", "fail_to_proxy"])
def test_a_body_that_comes_before_there_is_somebody_to_take_it(phase):
    def waits(self, session, *rest):
        yield Sleep(100)
        return 502 if phase == "fail_to_proxy" else App.upstream_peer(self, session, None)

    members = {phase: waits}
    if phase == "request_filter":

        def waits_only(self, session, ctx):
            yield Sleep(100)

        members = {phase: waits_only}
    bench = Bench(type("Waits", (App,), members)(), body_idle_timeout=1e6)
    if phase == "fail_to_proxy":
        from sansio_pingora.errors import Error, ErrorType

        bench.dial_outcomes.append(Error(ErrorType.CONNECT_REFUSED, "nobody"))
    client = bench.client()
    client.send(post(4 * MIB, b""))
    for _ in range(64):
        client.send(b"b" * CHUNK)
        assert held(bench, "request") <= BOUND
    assert client.unread > 3 * MIB
    bench.advance(101)
    if phase == "fail_to_proxy":
        assert status_of(client.take()) == 502
        bench.advance(5)
    else:
        assert len(head_of(bench.origin.take())[2]) == 4 * MIB
        bench.origin.send(OK)
        assert status_of(client.take()) == 200
    bench.assert_clean()


def test_parking_one_direction_leaves_the_other_alone():
    class Slow(App):
        def request_body_filter(self, session, body, end_of_stream, ctx):
            yield Sleep(60)

    bench = Bench(Slow())
    client = bench.client()
    client.send(post(5, b"12345"))
    bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    assert client.got.endswith(b"\r\n\r\n12345")
    assert bench.origin.take().endswith(b"\r\n\r\n")
    bench.advance(61)
    assert bench.origin.take() == b"12345"
    bench.origin.send(b"67890")
    assert client.take().endswith(b"1234567890")
    bench.assert_clean()


# ── both directions at once ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("framing", ["length", "chunked", "upgraded"])
@pytest.mark.parametrize("window", [1_000, 50_000])
def test_an_echo_through_narrow_pipes_does_not_lock_up(framing, window):
    size = 2 * MIB if window == 1_000 else 10 * MIB
    bench = Bench(App(), write_idle_timeout=1e9, write_timeout=1e9)
    client = bench.client()
    payload = bytes(range(256)) * (size // 256)
    if framing == "length":
        client.send(post(size, b""))
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
        pieces = [payload[at : at + CHUNK] for at in range(0, size, CHUNK)]
    elif framing == "chunked":
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        pieces = [b"%x\r\n%b\r\n" % (CHUNK, payload[at : at + CHUNK]) for at in range(0, size, CHUNK)]
        pieces.append(b"0\r\n\r\n")
    else:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        answer = b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
        pieces = [payload[at : at + CHUNK] for at in range(0, size, CHUNK)]
    origin = bench.origin
    origin.take()
    origin.window = client.window = 0
    origin.send(answer)
    for piece in pieces:  # all of it lies in the client's hands
        client._in.append(piece)
    bench.settle()
    got = bytearray()
    for _ in range(100_000):
        before = len(got), len(client._in), len(origin._in)
        if origin.unread < 4 * window:  # the origin echoes, and reads no more than it can say
            origin.open_window(window)
            echoed = origin.take()
            if echoed:
                origin.send(echoed)
        client.open_window(window)
        got += client.take()
        assert held(bench, "request") <= BOUND
        assert held(bench, "response") <= BOUND
        if before == (len(got), len(client._in), len(origin._in)) and not client.held and not origin.held:
            break
    body = head_of(got)[2]
    if framing == "chunked":
        body, rest = dechunk(bytes(body))
        assert rest == b"\r\n"
    assert bytes(body) == payload
    if framing == "upgraded":
        client.eof()
        origin.eof()
    client.open_window(None)
    origin.open_window(None)
    bench.assert_clean()


# ── early answers ────────────────────────────────────────────────────────────────────


def test_row_38_an_answer_without_reading_the_upload():
    bench = Bench(app := App())
    client = bench.client()
    client.send(post(60_000, b"x" * 10_000))
    bench.origin.send(OK)
    assert client.take().endswith(b"ok")
    assert app.ended[0][1] is None
    assert not bench.origin.alive  # nobody can say where its next request would begin
    client.send(b"x" * 50_000 + GET)  # the connection goes on behind the rest of the upload
    assert bench.origin.take() == GET
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    bench.assert_clean()


def test_row_42_a_long_upload_is_not_read_to_its_end():
    bench = Bench(app := App())
    client = bench.client()
    client.send(post(MIB, b"x" * 10_000))
    bench.origin.send(OK)
    got = client.take()
    assert got.endswith(b"ok")
    assert head_of(got)[1][b"connection"] == b"close"
    assert client.seen_eof
    assert client.alive  # it lingers, so that no reset destroys the answer
    client.send(b"x" * 60_000)
    assert client.alive
    client.send(b"x" * 60_000)
    assert not client.alive
    assert app.ended[0][1] is None
    bench.assert_clean()


def test_lingering_ends_with_time():
    bench = Bench(App(), linger_timeout=1.0)
    client = bench.client()
    client.send(post(MIB, b"x" * 10_000))
    bench.origin.send(OK)
    bench.advance(1.1)
    assert not client.alive
    bench.assert_clean()


def test_lingering_ends_when_the_client_closes():
    bench = Bench(App())
    client = bench.client()
    client.send(post(MIB, b"x" * 10_000))
    bench.origin.send(OK)
    client.eof()
    assert not client.alive


def test_reading_on_ends_with_time_as_well():
    bench = Bench(App(), linger_timeout=1.0)
    client = bench.client()
    client.send(post(60_000, b"x" * 10_000))
    bench.origin.send(OK)
    bench.advance(1.1)
    assert client.seen_eof
    bench.advance(1.1)
    assert not client.alive
    bench.assert_clean()


def test_both_directions_flow_on_while_the_answer_is_incomplete():
    bench = Bench(App())
    client = bench.client()
    client.send(post(20, b"x" * 5))
    bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    assert client.got.endswith(b"12345")
    bench.origin.take()
    client.send(b"y" * 15)
    assert bench.origin.take() == b"y" * 15
    bench.origin.send(b"67890")
    assert client.take().endswith(b"1234567890")
    assert client.alive
    assert bench.origin.alive
    bench.assert_clean()


@pytest.mark.parametrize("how", ["eof", "reset"])
def test_row_40_the_origin_answers_closes_and_the_client_is_slow(how):
    bench = Bench(app := App(), write_idle_timeout=1e6)
    client = bench.client()
    client.send(post(MIB, b"x" * 10_000))
    client.window = 0
    bench.origin.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 200000\r\n\r\n" + b"r" * 60_000)
    bench.origin.send(b"r" * 60_000)
    bench.origin.send(b"r" * 80_000)
    while bench.origin.unread:
        client.open_window(30_000)
    getattr(bench.origin, how)()  # everything was read: the answer is complete, though not at the client
    client.send(b"x" * 50_000)
    client.send(b"x" * 50_000)
    client.open_window(None)
    got = client.take()
    assert status_of(got) == 413
    assert len(head_of(got)[2]) == 200_000
    assert app.ended[0][1] is None
    bench.advance(5)
    assert not client.alive
    bench.assert_clean()


@pytest.mark.parametrize("how", ["eof", "reset"])
def test_the_origin_is_gone_while_a_filter_holds_its_complete_answer(how):
    class Holds(App):
        @blocking
        def response_filter(self, session, response, ctx):
            pass

    bench = Bench(app := Holds())
    bench.hold_filters = True
    client = bench.client()
    client.send(post(MIB, b"x" * 10_000))
    bench.origin.send(OK)
    getattr(bench.origin, how)()
    for _ in range(10):
        client.send(b"x" * 50_000)  # nobody is there to take it
    assert app.ended == []
    bench.pending[0].run()
    assert client.take().endswith(b"ok")
    assert app.ended[0][1] is None
    bench.advance(5)
    bench.assert_clean()


def test_row_41_an_upload_that_is_read():
    bench = Bench(App())
    client = bench.client()
    client.send(post(15 * MIB, b""))
    for _ in range(240):
        client.send(b"x" * CHUNK)
    assert len(head_of(bench.origin.take())[2]) == 15 * MIB
    bench.origin.send(OK)
    assert client.take().endswith(b"ok")
    assert client.alive
    assert bench.origin.alive
    bench.assert_clean()


# ── one connection after the other ───────────────────────────────────────────────────


def test_pipelined_requests_are_answered_in_order():
    bench = Bench(App())
    client = bench.client()
    client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(5)))
    for number in range(5):
        assert bench.origin.take() == b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number
        bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
    got = client.take()
    assert got.count(b"HTTP/1.1 200") == 5
    assert [got.index(b"\r\n\r\n%d" % number) for number in range(5)] == sorted(
        got.index(b"\r\n\r\n%d" % number) for number in range(5)
    )
    assert len(bench.origins) == 1
    bench.assert_clean()


def test_pipelined_bodies():
    bench = Bench(App())
    client = bench.client()
    client.send(
        post(3, b"abc") + b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"de") + GET
    )
    for body in (b"abc", b"2\r\nde\r\n0\r\n\r\n", b""):
        assert head_of(bench.origin.take())[2] == body
        bench.origin.send(OK)
    assert client.take().count(b"HTTP/1.1 200") == 3
    bench.assert_clean()


@pytest.mark.parametrize(
    "surplus", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"], ids=["junk", "an_answer_nobody_asked_for"]
)
@pytest.mark.parametrize("later", [False, True], ids=["same_read", "next_read"])
@pytest.mark.parametrize(
    "answer",
    [OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"ok"), b"HTTP/1.1 204 No Content\r\n\r\n"],
    ids=["length", "chunked", "204"],
)
def test_row_93_surplus_bytes_of_an_origin_reach_nobody(answer, later, surplus):
    bench = Bench(App())
    client = bench.client()
    client.send(GET)
    if later:
        bench.origin.send(answer)
        bench.origin.send(surplus)
    else:
        bench.origin.send(answer + surplus)
    assert not bench.origin.alive
    other = bench.client()
    other.send(GET)
    assert len(bench.origins) == 2
    bench.origin.send(OK)
    assert b"evil" not in client.take() + other.take()
    assert client.alive
    bench.assert_clean()


def test_an_idle_origin_that_closes_is_forgotten():
    bench = Bench(App())
    client = bench.client()
    client.send(GET)
    bench.origin.send(OK)
    bench.origin.eof()
    assert bench.connector.idle == 0
    client.send(GET)
    assert len(bench.origins) == 2
    bench.origin.send(OK)
    bench.assert_clean()


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from([0, 1, 100, 65_535, 65_536, 70_000, 200_000]), min_size=1, max_size=4),
    st.lists(st.integers(4_000, 100_000), min_size=1, max_size=20),
    st.booleans(),
    st.sampled_from([None, "request_body_filter", "response_body_filter"]),
)
def test_whatever_the_sizes_cuts_and_windows(sizes, cuts, narrow, phase):
    def waits(self, session, body, end_of_stream, ctx):
        yield Sleep(0.1)

    bench = Bench(type("Made", (App,), {} if phase is None else {phase: waits})(), write_idle_timeout=1e9)
    client = bench.client()
    for turn, size in enumerate(sizes):
        body = bytes([65 + turn]) * size
        message = post(size, body)
        at = number = 0
        if narrow and bench.origins and bench.origin.alive:
            bench.origin.window = 0
        while at < len(message):
            cut = cuts[number % len(cuts)]
            client.send(message[at : at + cut])
            if narrow and bench.origins:
                bench.origin.open_window(cut)
            at += cut
            number += 1
            bench.advance(0.01)
        bench.origin.open_window(None)
        bench.advance(30)
        assert head_of(bench.origin.take())[2] == body
        client.window = 0 if narrow else None
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body
        for at in range(0, len(answer), CHUNK):
            bench.origin.send(answer[at : at + CHUNK])
            bench.advance(0.01)
        client.open_window(None)
        bench.advance(30)
        assert head_of(client.take())[2] == body
    assert len(bench.origins) == 1
    bench.assert_clean()
