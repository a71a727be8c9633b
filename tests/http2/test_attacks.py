"""One named test per known attack on HTTP/2, in each direction that it has: H1 to H11 of the attack catalogue.

A flood ends with GOAWAY(ENHANCE_YOUR_CALM) no later than at twice its documented limit; honest traffic just below
the limit passes. What is held for a hostile peer is bounded, whatever it does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from sansio_pingora.http2 import Http2Server, priority
from sansio_pingora.http2.outflow import Outflow
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing
from sansio_pingora.wire import Body, Failed, Header, ResponseHeader
from tests.http2.floods import (
    KIB,
    MIB,
    OF_CLIENTS,
    PROVOCATIONS,
    SMALL,
    bomb,
    cancelled,
    flood,
    grown,
    odd,
    repeated,
)
from tests.http2.peer import (
    DEFAULT_FRAME,
    DEFAULT_WINDOW,
    GET,
    LARGEST,
    OK,
    Code,
    Kind,
    Peer,
    Set,
    block_of,
    literal,
    raw,
    request_fields,
)
from tests.http2.runs import (
    BROKEN,
    LIMITS,
    Session,
    answer,
    ask,
    is_connection_error,
    is_stream_error,
    make_client,
    make_server,
)
from tests.http2.situations import SITUATIONS
from tests.http2.work import calls_of


def withstood(session: Session, blows: Iterator[bytes], number: int) -> None:
    """So many pass."""
    for _ in range(number):
        session.deliver(next(blows))
        assert not session.over, session.frames[-1]


# ── H1: what would become another message in HTTP/1 ──────────────────────────────────
# The classes of malformed heads and trailers, both ways: test_messages_rfc9113, test_vectors.


@pytest.mark.parametrize(
    "field",
    [
        (b"x", b"a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        (b"x\r\n\r\nGET /smuggled HTTP/1.1\r\nx", b"y"),
        (b"transfer-encoding", b"chunked"),
        (b"content-length", b"0\r\ntransfer-encoding: chunked"),
        (b"host", b"b.test"),
        (b":path", b"/smuggled"),
    ],
    ids=["value", "name", "transfer-encoding", "length", "host", "path"],
)
def test_h1_a_request_that_hides_another(field):
    session = make_server()
    block = block_of(
        [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/"), field]
    )
    session.deliver(session.peer.headers(1, block=block, end=False))

    assert [event[1] for event in session.of(1)] == ["failed"]
    is_stream_error(session, 1, Code.PROTOCOL_ERROR)


# ── H2: a declared length that is not the body's ─────────────────────────────────────


@pytest.mark.parametrize("length", ["0", "3", "5", "4294967300"])
def test_h2_a_body_of_another_length(length):
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1, "POST", "/", ("content-length", length), end=False))
    session.deliver(peer.data(1, b"test", end=True))

    assert not session.ends(1)
    assert len(session.body(1)) <= int(length)
    is_stream_error(session, 1, Code.PROTOCOL_ERROR)


# ── H3: rapid reset (CVE-2023-44487) ─────────────────────────────────────────────────


def test_h3_rapid_reset():
    session = make_server()
    flood(session, cancelled(session.peer, odd()), LIMITS.h2_reset_burst)


def test_h3_rapid_reset_in_one_read():
    """A thousand pairs in one read: what is behind the end does not count."""
    session = make_server()
    blows = cancelled(session.peer, odd())
    session.deliver(b"".join(next(blows) for _ in range(1000)))

    is_connection_error(session, Code.ENHANCE_YOUR_CALM)
    assert len([event for event in session.events if event[1] == "request"]) <= 2 * LIMITS.h2_reset_burst + 1


def test_h3_rapid_reset_with_bodies():
    session = make_server()
    peer = session.peer
    blows = (
        peer.request(stream, "POST", end=False) + peer.data(stream, b"x") + peer.rst(stream, Code.NO_ERROR)
        for stream in odd()
    )
    flood(session, blows, LIMITS.h2_reset_burst)


def test_h3_as_many_as_the_burst_pass():
    session = make_server()
    withstood(session, cancelled(session.peer, odd()), LIMITS.h2_reset_burst)
    session.useful()


def test_h3_a_client_that_cancels_now_and_then_is_honest():
    session = make_server()
    blows = cancelled(session.peer, odd())
    for _ in range(20):
        withstood(session, blows, int(LIMITS.h2_reset_rate))
        session.wait(1.0)
    session.useful()


def test_h3_who_cancels_late_or_what_is_being_answered_is_honest():
    session = make_server()
    peer, streams = session.peer, odd()
    for _ in range(LIMITS.h2_reset_burst // 50 * 2):
        batch = [next(streams) for _ in range(100)]
        session.deliver(*map(peer.request, batch))
        session.wait(1.001)
        session.deliver(*map(peer.rst, batch))
    for _ in range(2 * LIMITS.h2_reset_burst):
        stream = next(streams)
        session.deliver(peer.request(stream))
        session.send(stream, Header(ResponseHeader(200), False))
        session.deliver(peer.rst(stream))
    session.useful()


def test_h3_late_frames_of_streams_that_we_gave_up_are_no_fault():
    """They were on their way."""
    session = make_server()
    peer = session.peer
    for stream, _ in zip(odd(), range(2 * LIMITS.h2_reset_burst), strict=False):
        session.deliver(peer.request(stream, "POST", end=False))
        session.send(stream, Failed(BROKEN))
        session.deliver(peer.data(stream, b"late"), peer.headers(stream, [("x-sum", "1")]))
    session.useful()


def test_h3_the_limit_can_be_set():
    session = make_server(h2_reset_burst=5, h2_reset_rate=0.0)

    assert 5 <= flood(session, cancelled(session.peer, odd()), 5) <= 11


# ── H4: made you reset (CVE-2025-8671) ───────────────────────────────────────────────


@pytest.mark.parametrize("name", PROVOCATIONS)
def test_h4_made_you_reset(name):
    session = make_server()
    blows = (PROVOCATIONS[name](session.peer, stream) for stream in odd())
    flood(session, blows, LIMITS.h2_reset_burst)


def test_h4_all_of_them_share_one_bucket_with_rapid_reset():
    session = make_server()
    peer = session.peer
    makes = [*PROVOCATIONS.values(), lambda p, s: p.request(s) + p.rst(s)]
    flood(session, (makes[stream // 2 % len(makes)](peer, stream) for stream in odd()), LIMITS.h2_reset_burst)


def test_h4_streams_beyond_the_limit():
    """Each is refused, and each refusal counts: but a client that misjudges now and then goes on."""
    session = make_server(h2_max_streams=2)
    peer = session.peer
    session.deliver(peer.request(1), peer.request(3))
    blows = (peer.request(stream) for stream in count(5, 2))
    withstood(session, blows, 50)
    flood(session, blows, LIMITS.h2_reset_burst)


def test_h4_a_window_that_data_exceeds():
    session = make_server(consumes=False, h2_window=DEFAULT_WINDOW, h2_connection_window=64 * MIB)
    peer = session.peer

    def blow(stream: int) -> bytes:
        return peer.request(stream, "POST", end=False) + b"".join(
            raw(Kind.DATA, 0, stream, bytes(DEFAULT_FRAME)) for _ in range(5)
        )

    flood(session, map(blow, odd()), LIMITS.h2_reset_burst)


# ── H5: CONTINUATION (VU#421644) ─────────────────────────────────────────────────────


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize(
    "piece", [b"", literal(b"x", b"y"), literal(b"x", bytes(16_000))], ids=["empty", "small", "large"]
)
def test_h5_continuation_flood(role, piece):
    session = SITUATIONS["server_open" if role == "server" else "client_half_closed"]()
    session.deliver(raw(Kind.HEADERS, 0, 3 if role == "server" else 1, GET if role == "server" else OK))
    session.peer.highest = 3 if role == "server" else 1
    stream = 3 if role == "server" else 1
    flood(session, repeated(lambda: raw(Kind.CONTINUATION, 0, stream, piece)), LIMITS.h2_max_continuations)
    assert all(event[0] != 3 for event in session.events)


@pytest.mark.parametrize("size", [1, 2000])
def test_h5_as_many_as_allowed_pass(size):
    session = make_server()
    pieces = (4, *[5] * (LIMITS.h2_max_continuations - 1))
    session.deliver(
        session.peer.request(1), session.peer.headers(3, request_fields("GET", "/", ("x", "y" * size)), pieces=pieces)
    )

    assert session.of(3)[0][1] == "request"
    session.useful()


def test_h5_what_is_held_of_a_head_is_bounded():
    session = make_server(h2_max_continuations=10_000)
    session.deliver(raw(Kind.HEADERS, 0, 3, GET))
    session.peer.highest = 3
    block = literal(b"x", bytes(16_000))
    held = grown(lambda: flood(session, repeated(lambda: raw(Kind.CONTINUATION, 0, 3, block)), 100))

    assert held < MIB


def test_h5_every_head_is_counted_anew():
    session = make_server()
    for stream in (1, 3, 5):
        session.deliver(session.peer.headers(stream, request_fields(), pieces=[2] * LIMITS.h2_max_continuations))
        answer(session, stream)
    session.useful()


# ── H6: floods of small frames (CVE-2019-9511 to 9518, CVE-2020-11080) ───────────────


@pytest.mark.parametrize("name", [*SMALL, *OF_CLIENTS])
def test_h6_small_frames_towards_a_server(name):
    make, limit = (SMALL | OF_CLIENTS)[name]
    session = SITUATIONS["server_open"]()
    flood(session, repeated(lambda: make(session.peer)), limit)


@pytest.mark.parametrize("name", SMALL)
def test_h6_small_frames_towards_a_client(name):
    make, limit = SMALL[name]
    session = SITUATIONS["client_answered"]()
    flood(session, repeated(lambda: make(session.peer)), limit)


HONEST = {
    "PING": LIMITS.h2_ping_burst - 1,  # the last is for the proof that the connection works on
    "SETTINGS": LIMITS.h2_settings_burst - 1,
    "empty DATA": LIMITS.h2_max_empty_frames,
    "PRIORITY": 2 * LIMITS.h2_max_priority_frames,
    "WINDOW_UPDATE": 7,
    "unknown frames": LIMITS.h2_max_unknown_frames,
}


@pytest.mark.parametrize("name", HONEST)
@pytest.mark.parametrize("role", ["server_open", "client_answered"])
def test_h6_as_many_as_documented_pass(role, name):
    session = SITUATIONS[role]()
    withstood(session, repeated(lambda: SMALL[name][0](session.peer)), HONEST[name])
    session.useful()


@pytest.mark.parametrize("role", ["server_open", "client_answered"])
def test_h6_a_little_content_does_not_hide_empty_frames(role):
    """Each frame with content makes up for one without, not for all before it."""
    session = SITUATIONS[role]()
    peer = session.peer

    def blows() -> Iterator[bytes]:
        for number in count():
            yield peer.data(1, b"x") if number % 20 == 19 else raw(Kind.DATA, 0, 1)

    flood(session, blows(), LIMITS.h2_max_empty_frames)


@pytest.mark.parametrize("role", ["server_open", "client_answered"])
def test_h6_one_empty_frame_now_and_then_is_honest(role):
    session = SITUATIONS[role]()
    peer = session.peer
    for _ in range(3 * LIMITS.h2_max_empty_frames):
        session.deliver(peer.data(1, b"x"), raw(Kind.DATA, 0, 1))
    session.useful()


def test_h6_what_is_forgiven_per_second():
    session = make_server()
    for _ in range(30):
        for _ in range(int(LIMITS.h2_ping_rate)):
            session.deliver(session.peer.ping())
        for _ in range(int(LIMITS.h2_settings_rate)):
            session.deliver(session.peer.set({}))
        session.wait(1.0)
    session.useful()


def test_h6_a_client_that_takes_much_may_update_windows_often():
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1))
    session.send(1, Header(ResponseHeader(200), False))
    for _ in range(300):
        session.send(1, Body(b"x" * 100))
        for _ in range(5):
            session.deliver(peer.window_update(0, 10), peer.window_update(1, 10))
    session.useful()


@pytest.mark.parametrize(
    ("situation", "make", "limit"),
    [
        pytest.param("server_reset_by_us", lambda p: raw(Kind.DATA, 0, 1), 100, id="empty-data"),
        pytest.param("server_reset_by_us", lambda p: raw(Kind.HEADERS, 4, 1, b""), 100, id="empty-heads"),
        pytest.param("server_answered", lambda p: raw(Kind.DATA, 0, 1), 100, id="empty-data-behind-the-answer"),
        pytest.param("server_closed", lambda p: p.window_update(1, 1), 30, id="window-updates"),
    ],
)
def test_h6_floods_on_streams_that_are_over(situation, make, limit):
    """What must be ignored there is not free either."""
    session = SITUATIONS[situation]()
    flood(session, repeated(lambda: make(session.peer)), limit)


@pytest.mark.parametrize(
    ("situation", "make"),
    [
        ("server_closed", lambda p: raw(Kind.RST_STREAM, 0, 1, bytes(4))),
        ("server_reset_by_us", lambda p: raw(Kind.RST_STREAM, 0, 1, bytes(4))),
        ("server_open", lambda p: raw(Kind.GOAWAY, 0, 0, bytes(8))),
    ],
    ids=["reset-closed", "reset-reset", "goaway"],
)
def test_h6_what_is_never_answered_leaves_nothing_behind(situation, make):
    session = SITUATIONS[situation]()
    frame = make(session.peer)
    told, out = len(session.events), len(session.out)
    held = grown(lambda: session.deliver(frame * 10_000))

    assert held < 1.5 * MIB  # the frames themselves
    assert session.over or (len(session.events), len(session.out)) == (told, out)


@pytest.mark.parametrize("role", ["server_open", "client_answered"])
@pytest.mark.parametrize(
    "make",
    [lambda p: raw(Kind.PING, 0, 0, bytes(8)), lambda p: raw(Kind.SETTINGS)],
    ids=["PING", "SETTINGS"],
)
def test_h6_answers_that_nobody_reads(role, make):
    """Whatever the bursts are: no more answers are kept for a peer that does not read them."""
    limits = dict(h2_ping_burst=10**9, h2_settings_burst=10**9, h2_window=65_535, h2_connection_window=65_535)
    session = (make_server if role == "server_open" else make_client)(**limits)
    session.reads = False
    session.machine.write_paused(0.0)
    blow = make(session.peer) * 100
    blows = 0
    while not session.over:
        session.take(session.machine.receive_data(blow, 0.0))
        blows += 100
        assert blows <= 2 * LIMITS.h2_max_control_queue

    queued = sum(map(len, session.machine.data_to_send()))
    assert blows >= LIMITS.h2_max_control_queue
    assert queued <= (LIMITS.h2_max_control_queue + 100) * 17 + 100


def unread(session: Session, blows: Iterator[bytes], play: Callable[[], Any] = lambda: None) -> tuple[int, int]:
    """Thousands of *blows* at a machine whose driver can write nothing; the bytes and frames that wait to be written."""
    session.reads = False
    session.machine.write_paused(0.0)
    for _ in range(4000):
        if session.over or not session.machine.want_read:
            break
        session.take(session.machine.receive_data(next(blows), 0.0))
        play()
    waiting = b"".join(session.machine.data_to_send())
    return len(waiting), len(session.peer.read(waiting))


ANSWERS: dict[str, Callable[[Peer, int], bytes]] = {
    "resets": lambda p, s: p.headers(s, [(":method", "GET")]),
    "pages of a refused method": lambda p, s: p.headers(s, [(":method", "CONNECT"), (":authority", "a:1")]),
    "pages of a head too large": lambda p, s: p.headers(s, block=GET + literal(b"x", b"y") * 150),
    "pages of an expectation": lambda p, s: p.headers(s, request_fields("GET", "/", ("expect", "the best"))),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_h6_answers_of_the_machine_that_nobody_reads(name):
    """A request that is refused with an answer costs as much as one that is reset."""
    session = make_server(h2_reset_burst=10**9, high_water=4 * KIB)
    queued, answers = unread(session, (ANSWERS[name](session.peer, stream) for stream in odd()))

    assert queued <= 3 * 4 * KIB
    assert answers <= 2 * LIMITS.h2_max_control_queue


def test_h6_credit_that_nobody_reads():
    """Updates of windows for a peer that sends bodies, and reads nothing."""
    session = make_server()
    peer = session.peer

    def blow(stream: int) -> bytes:
        body = b"".join(peer.data(stream, bytes(DEFAULT_FRAME)) for _ in range(15))
        return peer.request(stream, "POST", end=False) + body + peer.rst(stream)

    _, frames = unread(session, map(blow, odd()))

    assert frames <= 2 * LIMITS.h2_max_control_queue


def test_h9_heads_of_answers_that_nobody_reads():
    """Answers without a body close their streams, so that no ceiling of streams holds them up."""
    session = make_server()
    peer = session.peer

    def serve() -> None:
        for event in session.told():
            if event[1] == "request" and not session.over:
                session.machine.send(event[0], Header(ResponseHeader(204, [("x", "y" * 4000)]), True), 0.0)

    queued, _ = unread(session, (peer.request(stream) for stream in odd()), serve)

    assert queued <= LIMITS.h2_send_buffer + 100 * 4100


def test_h6_settings_that_reach_every_stream(monkeypatch):
    """Half a megabyte of windows that change, over a hundred streams: each frame changes each stream once."""
    session = make_server()
    peer = session.peer
    session.deliver(*(peer.request(stream) for stream in range(1, 200, 2)))
    values = b"".join(b"\0\4" + (1000 + n % 2).to_bytes(4, "big") for n in range(DEFAULT_FRAME // 6))
    frame = raw(Kind.SETTINGS, 0, 0, values)
    changes = []
    grant = Outflow.grant_stream
    monkeypatch.setattr(Outflow, "grant_stream", lambda *args: (changes.append(args), grant(*args))[1])
    for _ in range(LIMITS.h2_settings_burst - 2):
        session.machine.receive_data(frame, 0.0)

    assert len(changes) == 100 * (LIMITS.h2_settings_burst - 2)


@pytest.mark.parametrize(
    "value",
    [
        b"a=" + b" " * 16_000 + b'"',
        b'a="' + b'\\"' * 8000,
        b"a," * 8000 + b"?",
        b"a;" + b" " * 16_000 + b"?",
        b" " * 16_000 + b"?",
    ],
    ids=["blanks", "quotes", "members", "parameters", "before"],
)
def test_h6_priorities_that_take_long_to_understand(value):
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1))
    frame = peer.priority_update(1, value)

    assert calls_of(lambda: session.machine.receive_data(frame, 0.0)) <= 6 * len(value)


def test_h6_no_member_of_a_priority_is_read_twice():
    """Every quantifier is possessive: what was read is not given back to be read otherwise."""
    bare = re.sub(rb"\[[^\]]*\]|\\.", b"x", priority._MEMBER.pattern)  # without classes and escapes
    quantifiers = re.findall(rb"[*+]\+?", bare)

    assert quantifiers
    assert set(quantifiers) <= {b"*+", b"++"}


def test_h6_single_bytes_cost_no_more_than_their_number(monkeypatch):
    """D15: cutting never makes the cost quadratic. A frame of 16 KiB in single bytes, ten times, is taken up twice."""
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False))
    sent = b"".join(peer.data(1, bytes(DEFAULT_FRAME)) for _ in range(10))
    machine = session.machine
    takings = []
    read = Http2Server._read
    monkeypatch.setattr(Http2Server, "_read", lambda *args: (takings.append(len(args[1])), read(*args))[1])
    for at in range(len(sent)):
        for stream, value in machine.receive_data(sent[at : at + 1], 0.0):
            machine.consumed(stream, len(value.data), 0.0)

    assert sum(takings) <= 2 * len(sent)


# ── H7: compression bombs (CVE-2016-6581) ────────────────────────────────────────────


def test_h7_a_bomb_is_answered_431():
    session = make_server()
    session.deliver(bomb(session.peer, 1, 20))

    assert [event[1:4] for event in session.of(1)] == [("failed", "InvalidHTTPHeader", 431)]
    assert session.status(1) == b"431"
    session.useful()


@pytest.mark.parametrize("times", [200, 5000, 15_000])
def test_h7_a_large_bomb_is_bounded_while_it_is_decoded(times):
    session = make_server()
    sent = bomb(session.peer, 1, times) if times < 12_000 else _long_bomb(session.peer, times)
    held = grown(lambda: session.deliver(sent))

    assert held < 5 * 64 * KIB + 4 * len(sent), f"{held} bytes for {len(sent)}"
    assert [event[1] for event in session.of(1)] in ([], ["failed"])
    assert session.over or session.status(1) == b"431"


def _long_bomb(peer: Peer, times: int) -> bytes:
    block = GET + literal(b"x", b"y" * 3900, first=0x40) + b"\xbe" * times
    return peer.headers(1, block=block, pieces=(DEFAULT_FRAME,))


def test_h7_beyond_four_times_the_limit_the_connection_ends():
    session = make_server()
    session.deliver(bomb(session.peer, 1, 80))

    is_connection_error(session, Code.ENHANCE_YOUR_CALM, Code.COMPRESSION_ERROR, Code.PROTOCOL_ERROR)


def test_h7_the_table_is_kept_through_a_head_that_is_too_large():
    session = make_server()
    peer = session.peer
    session.deliver(
        peer.request(1, "GET", "/", ("x-first", "1"), *((f"x-{n}", "y" * 900) for n in range(80)), ("x-last", "1"))
    )
    session.deliver(peer.request(3, "GET", "/", ("x-first", "1"), ("x-last", "1")))

    assert session.status(1) == b"431"
    assert session.of(3)[0][4][1:] == [(b"x-first", b"1"), (b"x-last", b"1")]


@pytest.mark.parametrize(("size", "served"), [(65_000, True), (66_000, False)])
def test_h7_the_limit_counts_names_values_and_overhead(size, served):
    """Name, value and 32 for each field (RFC 9113 section 6.5.2)."""
    session = make_server()
    size -= sum(len(name) + len(value) + 32 for name, value in request_fields()) + 2 * 33
    session.deliver(session.peer.request(1, "GET", "/", ("x", "y" * (size // 2)), ("z", "y" * (size - size // 2))))

    assert (session.status(1) == b"431") is not served
    assert (session.of(1)[0][1] == "request") is served


def test_h7_huffman_codes_that_blow_up():
    """Eight bits make at most one character of five: no more than 1.6 times, and all of it counts."""
    session = make_server()
    value = b"0" * 100_000
    sent = session.peer.headers(1, request_fields("GET", "/", ("x", value.decode())), pieces=(16_000,) * 4)
    held = grown(lambda: session.deliver(sent))

    assert held < 8 * 64 * KIB + 4 * len(sent)
    assert session.status(1) == b"431"


def test_h7_a_bomb_of_an_origin():
    session = make_client()
    ask(session)
    block = OK + literal(b"x", b"y" * 3900, first=0x40) + b"\xbe" * 20
    session.deliver(session.peer.headers(1, block=block))

    assert [event[1] for event in session.of(1)] == ["failed"]
    is_stream_error(session, 1, Code.PROTOCOL_ERROR, Code.ENHANCE_YOUR_CALM, Code.CANCEL, Code.INTERNAL_ERROR)


@pytest.mark.parametrize("size", [0, 100, 4096, 2**16, 2**32 - 1])
def test_h7_a_table_that_the_peer_offers_to_keep(size):
    """Its memory is ours as well: no more than 4,096 bytes of it are used."""
    session = make_server({Set.TABLE: size})
    peer = session.peer

    def serve() -> None:
        for stream in range(1, 200, 2):
            session.machine.receive_data(peer.request(stream), 0.0)
            session.machine.send(stream, Header(ResponseHeader(200, [(f"x-{stream}", "y" * 500)]), True), 0.0)
        session.flush()

    serve()
    assert peer.decoder.header_table_size <= min(size, 4096)
    session.useful()


def test_h7_a_table_size_that_changes_all_the_time():
    session = make_server(h2_settings_burst=1000)
    peer = session.peer
    for stream, size in zip(range(1, 200, 2), [0, 4096, 64, 100] * 100, strict=False):
        session.deliver(peer.set({Set.TABLE: size}), peer.set({Set.TABLE: 4096 - size}), peer.request(stream))
        session.send(stream, Header(ResponseHeader(200, [("x", "y" * 50), ("server", "here")]), True))
        assert session.status(stream) == b"200"
    session.useful()


# ── H8: many small fields (CVE-2026-49975, CVE-2026-47774) ───────────────────────────


@pytest.mark.parametrize("name", ["cookie", "x"])
def test_h8_fields_are_counted_before_crumbs_are_joined(name):
    session = make_server()
    fields = [(name, "a=b")] * (LIMITS.max_fields + 1)
    session.deliver(session.peer.request(1, "GET", "/", *fields))

    assert session.status(1) == b"431"
    assert [event[1] for event in session.of(1)] == ["failed"]
    session.useful()


@pytest.mark.parametrize("name", ["cookie", "x"])
def test_h8_as_many_as_allowed_pass(name):
    session = make_server()
    session.deliver(session.peer.request(1, "GET", "/", *[(name, "a")] * (LIMITS.max_fields - 1)))

    assert session.of(1)[0][1] == "request"


def test_h8_ten_thousand_empty_crumbs():
    session = make_server()
    block = GET + b"\x60\x00" * 1 + b"\xbe" * 10_000  # cookie with an empty value, then its index
    sent = session.peer.headers(1, block=block)
    held = grown(lambda: session.deliver(sent))

    assert held < 300 * KIB
    assert session.over or session.status(1) == b"431"


def test_h8_heads_of_stalled_streams_are_not_kept():
    """The published attack: small indexed fields on many streams, whose answers no window lets out."""
    session = make_server({Set.WINDOW: 0})
    peer = session.peer
    value = "v" * 500
    session.deliver(peer.request(1, "GET", "/", *((f"x-{n}", value) for n in range(6))))
    answer(session, 1)

    def attack() -> None:
        for stream in range(3, 203, 2):
            fields = [(f"x-{n % 6}", value) for n in range(100)]
            for key, task in session.machine.receive_data(peer.request(stream, "GET", "/", *fields), 0.0):
                assert isinstance(task, Header)
                session.machine.send(key, Header(ResponseHeader(200), False), 0.0)
                session.machine.send(key, Body(b"x" * 16), 0.0)
            session.machine.data_to_send()

    assert grown(attack) < 1.5 * MIB
    assert session.machine.active == 100


# ── H9: output that nobody lets out (CVE-2019-9517, 9511, CVE-2016-1546) ─────────────


def hoarding(values: dict[int, int], streams: int = 100, size: int = 4 * MIB, **limits: Any) -> tuple[Session, int]:
    """So many answers of *size* each, sent as room allows; and how many bytes were taken from the application."""
    session = make_server(values, **limits)
    peer = session.peer
    taken = 0
    chunk = bytes(16 * KIB)
    for stream in range(1, 2 * streams, 2):
        session.deliver(peer.request(stream))
    rooms = {
        stream: session.send(stream, Header(ResponseHeader(200, [("content-length", str(size))]), False))
        for stream in range(1, 2 * streams, 2)
    }
    for stream, room in rooms.items():
        while room > 0:
            room = session.send(stream, Body(chunk))
            taken += len(chunk)
    return session, taken


def test_h9_a_window_of_zero_and_a_hundred_answers_of_4_mib():
    session, taken = hoarding({Set.WINDOW: 0})

    # Each stream may hand over one chunk before it is told that the connection is full.
    assert taken <= LIMITS.h2_send_buffer + 100 * 16 * KIB
    assert session.data(1) == b""
    session.wait(LIMITS.h2_stall_timeout - 0.001)
    assert not [frame for frame in session.frames if frame.kind == "RST_STREAM"]
    session.wait(0.002)
    resets = [frame.stream for frame in session.frames if frame.kind == "RST_STREAM"]
    assert sorted(resets) == list(range(1, 200, 2))
    assert all(session.failure(stream).type_str == "WriteTimedout" for stream in resets)
    assert not session.over


def test_h9_what_is_queued_is_bounded():
    """Whatever the application hands over, once told to wait it waits: a megabyte, and a chunk of each stream."""
    held = grown(lambda: hoarding({Set.WINDOW: 0}, streams=100))

    assert held < LIMITS.h2_send_buffer + 100 * 16 * KIB + MIB


def test_h9_senders_are_told_when_there_is_room_again():
    session, taken = hoarding({Set.WINDOW: 0}, streams=10, size=80 * KIB)
    peer = session.peer
    session.told()
    session.deliver(peer.window_update(0, MIB), *(peer.window_update(stream, MIB) for stream in range(1, 20, 2)))

    assert sum(len(session.data(stream)) for stream in range(1, 20, 2)) == taken
    assert sorted(event[0] for event in session.told() if event[1] == "writable") == list(range(1, 20, 2))


def test_h9_a_connection_without_window():
    session, _ = hoarding({Set.WINDOW: LARGEST}, streams=3)

    assert sum(len(session.data(stream)) for stream in (1, 3, 5)) == DEFAULT_WINDOW
    session.wait(LIMITS.h2_connection_stall_timeout - 0.01)
    assert not session.over
    session.wait(0.02)
    goaway = session.frames[-1]
    assert goaway.kind == "GOAWAY"
    assert goaway.value[:2] == (5, Code.ENHANCE_YOUR_CALM)
    assert [session.failure(stream).type_str for stream in (1, 3, 5)] == ["WriteTimedout"] * 3
    session.wait(2.0)
    assert session.machine.closing is Closing.AFTER_FLUSH


def test_h9_a_byte_now_and_then_is_no_progress():
    session, _ = hoarding({Set.WINDOW: 0}, streams=1)
    peer = session.peer
    for _ in range(int(2 * LIMITS.h2_stall_timeout)):
        session.wait(1.0)
        if peer.streams[1].theirs_reset or session.over:
            break
        session.deliver(peer.window_update(1, 1))

    assert peer.streams[1].theirs_reset or session.over
    assert session.now <= 2 * LIMITS.h2_stall_timeout


def test_h9_a_byte_now_and_then_for_the_connection_is_no_progress():
    session, _ = hoarding({Set.WINDOW: LARGEST}, streams=1)
    peer = session.peer
    while session.now <= 2 * LIMITS.h2_connection_stall_timeout and not session.over:
        session.wait(1.0)
        if not session.over:
            session.deliver(peer.window_update(0, 1))

    assert session.over
    assert session.now <= 2 * LIMITS.h2_connection_stall_timeout


def test_h9_a_slow_reader_is_honest():
    session, taken = hoarding({Set.WINDOW: 0}, streams=1, size=80 * KIB)
    peer = session.peer
    for _ in range(taken // 1000 + 1):
        session.wait(10.0)
        session.deliver(peer.window_update(1, 1000), peer.window_update(0, 1000), peer.ping())

    assert len(session.data(1)) == taken
    session.alive()


def test_h9_windows_of_one_byte():
    """The dribble: every byte a frame. It is the client's own cost, and its updates are counted."""
    session = make_server({Set.WINDOW: 1})
    peer = session.peer
    session.deliver(peer.request(1))
    session.send(1, Header(ResponseHeader(200), False), Body(b"x" * 50_000))
    for _ in range(200):
        session.deliver(peer.window_update(1, 1))

    assert session.data(1) == b"x" * 201
    assert all(len(frame.value) == 1 for frame in session.frames if frame.kind == "DATA")


def test_h9_unread_input_is_bounded_by_the_windows():
    """An application that takes nothing: the peer may send a window, and one byte more is its fault."""
    session = make_server(consumes=False)
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False))
    for _ in range(LIMITS.h2_window // DEFAULT_FRAME):
        session.deliver(peer.data(1, bytes(DEFAULT_FRAME)))
    assert len(session.body(1)) == LIMITS.h2_window
    session.deliver(raw(Kind.DATA, 0, 1, b"x"))

    assert session.failure(1) is not None
    is_stream_error(session, 1, Code.FLOW_CONTROL_ERROR)


def test_h9_unread_input_of_all_streams_is_bounded():
    session = make_server(consumes=False)
    peer = session.peer
    for stream in range(1, 2 * LIMITS.h2_connection_window // LIMITS.h2_window, 2):
        session.deliver(peer.request(stream, "POST", end=False))
        for _ in range(LIMITS.h2_window // DEFAULT_FRAME):
            session.deliver(peer.data(stream, bytes(DEFAULT_FRAME)))
    assert sum(len(session.body(stream)) for stream in peer.streams) == LIMITS.h2_connection_window
    session.deliver(peer.request(99, "POST", end=False), raw(Kind.DATA, 0, 99, b"x"))

    is_connection_error(session, Code.FLOW_CONTROL_ERROR)


def test_h9_input_of_streams_that_are_over_comes_back_to_the_connection():
    """What nobody will use up must not eat the connection's window."""
    session = make_server(consumes=False)
    peer = session.peer
    sent = 0
    for stream in count(1, 2):
        session.deliver(peer.request(stream, "POST", end=False), peer.data(stream, bytes(16_000)))
        if stream % 4 == 1:
            session.send(stream, Failed(BROKEN))
            session.deliver(peer.data(stream, bytes(300)))  # on its way already
        else:
            session.wait(1.5)  # no rapid reset
            session.deliver(peer.rst(stream))
        sent += 16_000
        assert peer.credit >= LIMITS.h2_connection_window // 2 - 16_300
        if sent > 4 * LIMITS.h2_connection_window:
            break
    session.useful()


# ── H10: ids, GOAWAY, SETTINGS ───────────────────────────────────────────────────────


def test_h10_the_last_stream_of_all():
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(LARGEST))
    answer(session, LARGEST)

    assert session.status(LARGEST) == b"200"
    session.alive()


def test_h10_refused_streams_leave_nothing_behind():
    """A client that is refused all day long, at a rate that is forgiven."""
    session = make_server(h2_max_streams=1)
    machine, peer = session.machine, session.peer
    session.deliver(peer.request(1))

    def refuse() -> None:
        now = 0.0
        for stream in range(3, 12_003, 2):
            now += 0.04
            machine.receive_data(peer.request(stream), now)
            assert not machine.shut_write
            machine.data_to_send()
            del peer.streams[stream]

    assert grown(refuse) < 64 * KIB


def test_h10_ids_that_leap_cost_nothing():
    session = make_server()
    peer = session.peer
    held = grown(
        lambda: [session.deliver(peer.request(stream), peer.rst(stream)) for stream in (1, 2**20 + 1, 2**30 + 1)]
    )

    assert held < 100 * KIB
    session.alive()


@pytest.mark.parametrize("role", ["server", "client"])
def test_h10_settings_that_are_not_acknowledged(role):
    session = (make_server if role == "server" else make_client)(greet=False)
    session.deliver(session.peer.hello())
    session.wait(LIMITS.h2_settings_timeout - 0.001)
    assert not session.over
    session.wait(0.001)

    is_connection_error(session, Code.SETTINGS_TIMEOUT)


def test_h10_thousands_of_requests_leave_nothing_behind():
    session = make_server()
    peer = session.peer

    def serve(streams: range) -> None:
        machine = session.machine
        for stream in streams:
            for key, _ in machine.receive_data(peer.request(stream), 0.0):
                machine.send(key, Header(ResponseHeader(200), False), 0.0)
                machine.send(key, Body(b"ok", True), 0.0)
            machine.data_to_send()
            del peer.streams[stream]

    serve(range(1, 2001, 2))
    assert grown(lambda: serve(range(2001, 6001, 2))) < 64 * KIB


# ── H11: CONNECT ─────────────────────────────────────────────────────────────────────


def test_h11_connect_is_off():
    session = make_server()
    session.deliver(session.peer.headers(1, [(":method", "CONNECT"), (":authority", "127.0.0.1:22")], end=False))

    assert session.status(1) == b"405"
    assert not [event for event in session.of(1) if event[1] == "request"]
    session.deliver(session.peer.data(1, b"SSH-2.0"))
    assert session.body(1) == b""
    session.useful()


@pytest.mark.parametrize("protocol", ["h2c", "tcp", "connect-udp", "webtransport"])
def test_h11_a_protocol_that_is_not_spoken(protocol):
    session = make_server(options={"allow_connect": True})
    session.deliver(session.peer.headers(1, [*request_fields("CONNECT", "/chat"), (":protocol", protocol)], end=False))

    assert session.status(1) == b"501"
    assert not [event for event in session.of(1) if event[1] == "request"]
    session.useful()


def test_h11_nothing_passes_a_tunnel_that_is_not_accepted():
    session = make_server(options={"allow_connect": True})
    peer = session.peer
    session.deliver(peer.headers(1, [(":method", "CONNECT"), (":authority", "a.test:443")], end=False))
    session.deliver(peer.data(1, b"early"))
    assert session.body(1) == b""
    session.send(1, Header(ResponseHeader(403), True))
    session.deliver(peer.data(1, b"late", end=True))

    assert session.body(1) == b""
    assert session.status(1) == b"403"
    session.useful()


# ── D12: informational responses without end ─────────────────────────────────────────


def test_d12_a_flood_of_informational_responses():
    session = make_client()
    key = ask(session)
    peer = session.peer
    sent = 0
    while not peer.streams[1].theirs_reset:
        session.deliver(peer.headers(1, [(":status", "103"), ("link", "</a>")], end=False))
        sent += 1
        assert sent <= 2 * LIMITS.max_informational
    assert sent > LIMITS.max_informational
    assert session.failure(key) is not None


def test_d12_informational_responses_that_are_large():
    """Few of them, of fields that fill a head each: what they bring in all has a ceiling of its own."""
    session = make_client()
    key = ask(session)
    peer = session.peer
    sent = 0
    while not peer.streams[1].theirs_reset:
        session.deliver(peer.headers(1, [(":status", "103"), ("link", "x" * 10_000)], end=False))
        sent += 1
        assert sent * 10_000 <= LIMITS.max_informational_size + 10_000
    assert sent < LIMITS.max_informational
    assert session.failure(key) is not None
    is_stream_error(session, 1, Code.PROTOCOL_ERROR, Code.ENHANCE_YOUR_CALM, Code.CANCEL)


def test_d12_as_many_as_allowed_pass():
    session = make_client()
    key = ask(session)
    for _ in range(LIMITS.max_informational):
        session.deliver(session.peer.headers(1, [(":status", "103"), ("link", "</a>")], end=False))
    session.deliver(session.peer.response(1, 200))

    assert [event[2] for event in session.of(key)] == [103] * LIMITS.max_informational + [200]
    session.useful()


def test_the_limits_are_those_of_the_catalogue():
    limits = Limits()

    assert (limits.h2_reset_burst, limits.h2_reset_rate) == (200, 33)
    assert (limits.h2_settings_burst, limits.h2_settings_rate) == (32, 5)
    assert (limits.h2_ping_burst, limits.h2_ping_rate) == (100, 10)
    assert (limits.h2_max_control_queue, limits.h2_max_continuations, limits.h2_max_empty_frames) == (1000, 8, 100)
    assert (limits.h2_max_priority_frames, limits.h2_max_unknown_frames, limits.h2_max_streams) == (100, 1000, 100)
    assert (limits.h2_stall_timeout, limits.h2_connection_stall_timeout, limits.h2_settings_timeout) == (30, 60, 10)
    assert (limits.high_water, limits.max_fields, limits.max_head) == (65_536, 128, 65_536)
    assert limits.h2_send_buffer <= MIB
