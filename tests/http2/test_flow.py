"""Flow control both ways (RFC 9113 section 6.9), settings that change amid streams, and scheduling (RFC 9218)."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.wire import Body, Done, Failed, Header, ResponseHeader
from tests.http2.peer import DEFAULT_FRAME, DEFAULT_WINDOW, LARGEST, Code, Set, request_fields
from tests.http2.runs import BROKEN, LIMITS, Session, ask, is_stream_error, make_client, make_server

KIB = 1024
MIB = 1024 * KIB


def serving(values: dict[int, int] | None = None, streams: int = 1, **limits: int) -> Session:
    """A server with so many requests, whose heads are answered."""
    session = make_server(values, **limits)
    for stream in range(1, 2 * streams, 2):
        session.deliver(session.peer.request(stream))
        session.send(stream, Header(ResponseHeader(200), False))
    return session.begin()


def sizes(session: Session, stream: int) -> list[int]:
    return [len(frame.value) for frame in session.frames if frame.kind == "DATA" and frame.stream == stream]


# ── what we send ─────────────────────────────────────────────────────────────────────


def test_6_9_1_a_window_of_one_byte():
    """h2spec 6.9.1/1."""
    session = serving({Set.WINDOW: 1})
    session.send(1, Body(b"hello", True))
    assert sizes(session, 1) == [1]
    session.deliver(session.peer.window_update(1, 1))
    assert sizes(session, 1) == [1, 1]
    session.deliver(session.peer.window_update(1, 1000))

    assert sizes(session, 1) == [1, 1, 3]
    assert session.frames[-1].end
    session.alive()


def test_6_9_2_a_window_that_grows_amid_a_stream():
    """h2spec 6.9.2/1."""
    session = serving({Set.WINDOW: 0})
    session.send(1, Body(b"hello", True))
    assert sizes(session, 1) == []
    session.deliver(session.peer.set({Set.WINDOW: 1}))
    assert sizes(session, 1) == [1]


def test_6_9_2_a_window_that_becomes_negative():
    """h2spec 6.9.2/2: what was sent already counts against the smaller window."""
    session = serving({Set.WINDOW: 3})
    peer = session.peer
    session.send(1, Body(b"hello", True))
    assert session.data(1) == b"hel"
    session.deliver(peer.set({Set.WINDOW: 2}))  # -1
    session.deliver(peer.window_update(1, 1))  # 0
    assert session.data(1) == b"hel"
    session.deliver(peer.window_update(1, 1))

    assert session.data(1) == b"hell"
    session.deliver(peer.set({Set.WINDOW: 0}))  # -2
    session.deliver(peer.window_update(1, 2))
    assert session.data(1) == b"hell"
    session.deliver(peer.set({Set.WINDOW: 1}))
    assert session.data(1) == b"hello"


def test_a_window_that_becomes_very_negative():
    session = serving({Set.WINDOW: 60_000})
    peer = session.peer
    session.send(1, Body(bytes(60_000)), Body(b"more", True))
    session.deliver(peer.set({Set.WINDOW: 0}), peer.window_update(0, MIB))
    session.deliver(peer.window_update(1, 60_000))
    assert len(session.data(1)) == 60_000
    session.deliver(peer.window_update(1, 4))

    assert session.data(1)[-4:] == b"more"


def test_settings_change_the_windows_of_streams_but_not_the_connection_s():
    session = serving({Set.WINDOW: MIB})
    session.send(1, Body(bytes(60_000)), Body(bytes(10_000), True))
    assert len(session.data(1)) == DEFAULT_WINDOW
    session.deliver(session.peer.set({Set.WINDOW: 2 * MIB}))
    assert len(session.data(1)) == DEFAULT_WINDOW
    session.deliver(session.peer.window_update(0, 4465))

    assert len(session.data(1)) == 70_000


def test_the_connection_s_window_is_shared():
    session = serving({Set.WINDOW: MIB}, streams=3)
    for stream in (1, 3, 5):
        session.send(stream, Body(bytes(40_000), True))
    sent = sum(len(session.data(stream)) for stream in (1, 3, 5))
    assert sent == DEFAULT_WINDOW
    session.deliver(session.peer.window_update(0, 120_000))

    assert [len(session.data(stream)) for stream in (1, 3, 5)] == [40_000] * 3


def test_windows_that_are_opened_before_there_is_anything_to_send():
    session = make_server({Set.WINDOW: 0})
    peer = session.peer
    session.deliver(peer.request(1), peer.window_update(1, 5))
    session.send(1, Header(ResponseHeader(200), False), Body(b"hello", True))

    assert session.data(1) == b"hello"


@pytest.mark.parametrize("empty", [Done(), Body(b"", True)], ids=["done", "empty"])
def test_an_end_needs_no_window(empty):
    """RFC 9113 section 6.9.1: frames without a byte are not held back."""
    session = serving({Set.WINDOW: 5})
    session.send(1, Body(b"hello"), empty)

    assert session.frames[-1] == ("DATA", 1, b"", True)


def test_heads_need_no_window():
    session = make_server({Set.WINDOW: 0})
    session.deliver(session.peer.request(1))
    session.send(1, Header(ResponseHeader(200), True))

    assert session.status(1) == b"200"


def test_a_stream_that_has_room_passes_one_that_has_none():
    session = serving({Set.WINDOW: 10}, streams=2)
    session.send(1, Body(bytes(100), True))
    session.send(3, Body(b"hello", True))

    assert len(session.data(1)) == 10
    assert session.data(3) == b"hello"


def test_data_is_cut_to_the_largest_frame():
    session = serving({Set.WINDOW: MIB})
    session.send(1, Body(bytes(40_000), True))
    assert sizes(session, 1) == [DEFAULT_FRAME, DEFAULT_FRAME, 40_000 - 2 * DEFAULT_FRAME]
    assert [frame.end for frame in session.frames if frame.kind == "DATA"] == [False, False, True]


def test_a_larger_frame_may_be_used():
    session = serving({Set.WINDOW: MIB, Set.FRAME: 20_000})
    session.send(1, Body(bytes(40_000), True))

    assert max(sizes(session, 1)) <= 20_000
    assert sum(sizes(session, 1)) == 40_000


def test_a_frame_size_that_shrinks_again():
    session = serving({Set.WINDOW: MIB, Set.FRAME: 30_000})
    session.deliver(session.peer.set({Set.FRAME: DEFAULT_FRAME}))
    session.send(1, Body(bytes(40_000), True))

    assert max(sizes(session, 1)) == DEFAULT_FRAME


def test_room_is_what_the_contract_says():
    session = serving({Set.WINDOW: 0}, streams=2, high_water=1000, h2_send_buffer=1500)
    assert session.send(1, Body(b"")) == 1000
    assert session.send(1, Body(bytes(400))) == 600
    assert session.send(1, Body(bytes(600))) == 0
    assert session.send(3, Body(bytes(100))) == 400
    assert session.send(3, Body(bytes(500))) == -100
    session.told()
    session.deliver(session.peer.window_update(1, 600))

    rooms = {event[0]: event[2] for event in session.told() if event[1] == "writable"}
    assert rooms[1] == 500  # the connection's buffer has as much
    assert all(0 < room <= 1000 for room in rooms.values())


def test_who_has_sent_all_is_told_of_little_room_as_well():
    """What others hold of the connection's buffer may stay there for long."""
    session = serving({Set.WINDOW: 0}, streams=3, high_water=1000, h2_send_buffer=2000)
    session.send(1, Body(bytes(1000)))
    session.send(3, Body(bytes(1000)))
    assert session.send(5, Body(b"")) == 0
    session.told()
    session.deliver(session.peer.window_update(1, 200))

    assert [event for event in session.told() if event[0] == 5] == [(5, "writable", 200)]


def test_nobody_is_told_of_room_who_was_not_told_to_wait():
    session = serving({Set.WINDOW: 0}, high_water=1000)
    session.send(1, Body(bytes(999)))
    session.deliver(session.peer.window_update(1, 999))

    assert not [event for event in session.told() if event[1] == "writable"]


def test_a_paused_transport_gets_no_more_bodies():
    """What the driver cannot write waits in the machine, where it can still be dropped."""
    session = serving({Set.WINDOW: MIB}, streams=2)
    session.machine.write_paused(0.0)
    session.send(1, Body(bytes(10_000)))
    assert session.machine.stalled
    session.take(session.machine.write_resumed(0.0))
    assert len(session.data(1)) == 10_000


def test_a_client_keeps_to_windows_as_well():
    session = make_client({Set.WINDOW: 5})
    key = ask(session, "POST", end=False)
    session.send(key, Body(b"hello world", True))
    assert session.data(1) == b"hello"
    session.deliver(session.peer.window_update(1, 100))

    assert session.data(1) == b"hello world"
    assert session.frames[-1].end


def test_a_client_s_first_window_is_the_default_until_settings_come():
    session = make_client(greet=False)
    key = ask(session, "POST", end=False)
    session.send(key, Body(bytes(DEFAULT_WINDOW)), Body(b"more", True))
    assert len(session.data(1)) == DEFAULT_WINDOW
    session.deliver(session.peer.hello({Set.WINDOW: 10}))
    session.deliver(session.peer.window_update(0, 100), session.peer.window_update(1, DEFAULT_WINDOW - 10))
    assert len(session.data(1)) == DEFAULT_WINDOW
    session.deliver(session.peer.window_update(1, 4))

    assert session.data(1)[-4:] == b"more"


# ── what we receive ──────────────────────────────────────────────────────────────────


def test_credit_follows_consumption():
    session = make_server(consumes=False)
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False))
    for _ in range(8):
        session.deliver(peer.data(1, bytes(16_000)))
    assert not [frame for frame in session.frames[session.begun :] if frame.kind == "WINDOW_UPDATE"]
    session.machine.consumed(1, 128_000, 0.0)
    session.settle()
    assert session.fresh() == [], "less than half a window"
    session.deliver(peer.data(1, bytes(4000)))
    session.machine.consumed(1, 4000, 0.0)
    session.settle()

    assert [frame[:3] for frame in session.fresh()] == [("WINDOW_UPDATE", 1, 132_000)]
    assert peer.streams[1].credit == LIMITS.h2_window


def test_the_connection_s_credit_comes_back_by_the_half():
    session = make_server()
    peer = session.peer
    total = 0
    for stream in range(1, 100, 2):
        session.deliver(peer.request(stream, "POST", end=False))
        session.deliver(*(peer.data(stream, bytes(15_000)) for _ in range(4)), peer.data(stream, end=True))
        total += 60_000
        assert peer.credit >= LIMITS.h2_connection_window // 2
    updates = [
        frame.value for frame in session.frames[session.begun :] if frame.kind == "WINDOW_UPDATE" and not frame.stream
    ]
    assert peer.returned <= total
    assert min(updates) >= LIMITS.h2_connection_window // 2


def test_padding_is_paid_for_and_comes_back():
    session = make_server(consumes=False)
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False))
    for _ in range(900):
        session.deliver(peer.data(1, b"x", pad=255))
    session.machine.consumed(1, 900, 0.0)
    session.settle()

    assert session.body(1) == b"x" * 900
    assert peer.streams[1].returned >= 900 * 257 - LIMITS.h2_window // 2
    assert peer.credit >= LIMITS.h2_connection_window // 2


def test_one_byte_beyond_the_window_is_a_fault():
    session = make_server(consumes=False, h2_window=DEFAULT_WINDOW)
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False))
    for _ in range(4):
        session.deliver(peer.data(1, bytes(16_000)))
    session.deliver(peer.data(1, bytes(DEFAULT_WINDOW - 64_000)))
    assert session.failure(1) is None
    session.deliver(peer.data(1, b"x"))

    assert session.failure(1) is not None
    is_stream_error(session, 1, Code.FLOW_CONTROL_ERROR)


def test_before_settings_are_acknowledged_either_window_counts():
    """RFC 9113 section 6.9.2: what was sent before the acknowledgement was sent under the default window."""
    session = make_server(greet=False, consumes=False, h2_window=1000)
    peer = session.peer
    session.deliver(peer.hello())
    session.deliver(peer.request(1, "POST", end=False), peer.data(1, bytes(16_000)), peer.data(1, bytes(16_000)))
    assert session.failure(1) is None
    session.deliver(peer.acknowledge())
    assert session.failure(1) is None
    session.machine.consumed(1, 32_000, 0.0)
    session.settle()

    assert len(session.body(1)) == 32_000


def test_once_settings_are_acknowledged_the_smaller_window_counts():
    session = make_server(greet=False, consumes=False, h2_window=1000)
    peer = session.peer
    session.deliver(peer.hello())
    session.deliver(peer.request(1, "POST", end=False), peer.data(1, bytes(600)), peer.acknowledge())
    session.deliver(peer.data(1, bytes(400)))
    assert session.failure(1) is None
    session.deliver(peer.data(1, b"x"))

    assert session.failure(1) is not None
    is_stream_error(session, 1, Code.FLOW_CONTROL_ERROR)


def test_what_is_consumed_must_have_come():
    session = make_server(consumes=False)
    session.deliver(session.peer.request(1, "POST", end=False), session.peer.data(1, b"hello"))
    for size in (6, -1):
        with pytest.raises(LocalProtocolError):
            session.machine.consumed(1, size, 0.0)
    session.machine.consumed(1, 5, 0.0)
    with pytest.raises(LocalProtocolError):
        session.machine.consumed(1, 1, 0.0)


def test_consuming_behind_the_end_is_harmless():
    session = make_server(consumes=False)
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False), peer.data(1, bytes(10_000), end=True))
    session.send(1, Header(ResponseHeader(200), True))
    session.machine.consumed(1, 10_000, 0.0)
    session.machine.consumed(99, 10_000, 0.0)

    session.useful()


def test_credit_of_a_stream_that_ended_unread_comes_back_to_the_connection():
    session = make_server(consumes=False)
    peer = session.peer
    for stream in range(1, 200, 2):
        session.deliver(peer.request(stream, "POST", end=False), peer.data(stream, bytes(16_000), end=True))
        session.send(stream, Header(ResponseHeader(200), True))
        assert peer.credit >= LIMITS.h2_connection_window // 2 - 16_000

    session.useful()


def test_a_client_gives_credit_as_well():
    session = make_client(consumes=False, options={"stream_window": 100_000, "connection_window": 150_000})
    key = ask(session)
    peer = session.peer
    session.deliver(peer.response(1, 200, end=False))
    for _ in range(6):
        session.deliver(peer.data(1, bytes(16_000)))
    session.machine.consumed(key, 96_000, 0.0)
    session.settle()

    assert [frame[:3] for frame in session.fresh()] == [("WINDOW_UPDATE", 0, 96_000), ("WINDOW_UPDATE", 1, 96_000)] or {
        frame[:3] for frame in session.frames[-2:]
    } == {("WINDOW_UPDATE", 0, 96_000), ("WINDOW_UPDATE", 1, 96_000)}


def test_no_credit_is_given_to_a_stream_whose_peer_has_ended():
    session = make_server(consumes=False)
    peer = session.peer
    session.deliver(peer.request(1, "POST", end=False))
    for _ in range(10):
        session.deliver(peer.data(1, bytes(16_000)))
    session.deliver(peer.data(1, end=True))
    session.machine.consumed(1, 160_000, 0.0)
    session.settle()

    assert not [frame for frame in session.frames if frame.kind == "WINDOW_UPDATE" and frame.stream == 1]


# ── compression ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sizes", [(0,), (0, 4096), (100, 0, 4096), (4096,), (2**20,), (64,)])
def test_a_header_table_that_changes(sizes):
    """RFC 7541 section 4.2: each change is acknowledged, and the next head begins with it."""
    session = make_server()
    peer = session.peer

    def exchange(stream: int) -> None:
        session.deliver(peer.request(stream))
        session.send(stream, Header(ResponseHeader(200, [("x-new", "value"), ("server", "s")]), True))
        assert (b"x-new", b"value") in session.frames[-1].value

    exchange(1)
    session.deliver(*(peer.set({Set.TABLE: size}) for size in sizes))
    exchange(3)
    exchange(5)
    session.deliver(peer.set({Set.TABLE: 4096}))
    exchange(7)
    exchange(9)


def test_heads_are_compressed():
    session = make_server()
    peer = session.peer
    lengths = []
    for stream in (1, 3):
        session.deliver(peer.request(stream))
        before = len(session.out)
        session.send(stream, Header(ResponseHeader(200, [("x-long", "a value that is worth keeping")]), True))
        lengths.append(len(session.out) - before)

    assert lengths[1] < 9 + 8


# ── RFC 9218: who comes first ────────────────────────────────────────────────────────


def scheduled(priorities: list[str | None], *, size: int = 3 * DEFAULT_FRAME) -> list[int]:
    """The streams in the order of their DATA frames, all of whose bodies were ready before a window opened."""
    session = make_server({Set.WINDOW: MIB})
    peer = session.peer
    session.deliver(peer.request(1))
    session.send(1, Header(ResponseHeader(200), False), Body(bytes(DEFAULT_WINDOW), True))
    session.begin()
    for stream, priority in zip(range(3, 1000, 2), priorities, strict=False):
        fields = [] if priority is None else [("priority", priority)]
        session.deliver(peer.headers(stream, request_fields("GET", "/", *fields)))
        session.send(stream, Header(ResponseHeader(200), False), Body(bytes(size), True))
    session.deliver(peer.window_update(0, len(priorities) * size))
    for stream in range(3, 2 * len(priorities) + 2, 2):
        assert len(session.data(stream)) == size
    return [frame.stream for frame in session.frames[session.begun :] if frame.kind == "DATA"]


def test_the_more_urgent_come_first():
    assert scheduled(["u=5", "u=0", "u=3", "u=7"]) == [5] * 3 + [7] * 3 + [3] * 3 + [9] * 3


def test_three_is_the_urgency_of_those_that_say_nothing():
    order = scheduled(["u=4", None, "u=2"])

    assert order == [7] * 3 + [5] * 3 + [3] * 3


def test_the_incremental_share():
    assert scheduled(["u=3, i", "u=3, i", "u=3, i=?1"]) == [3, 5, 7] * 3


def test_those_that_are_not_incremental_come_one_behind_the_other():
    assert scheduled(["u=3", "u=3", "u=3"]) == [3] * 3 + [5] * 3 + [7] * 3


@pytest.mark.parametrize(
    "value", ["u=8", "u=-1", "u=x", "u", "", "???", "u=1.5", 'u="1"', "U=1"], ids=lambda value: value or "empty"
)
def test_priorities_that_make_no_sense_count_for_nothing(value):
    assert scheduled([value, "u=2"])[0] == 5
    assert scheduled(["u=4", value])[0] == 5


@pytest.mark.parametrize("value", ["u=0, ???", "u=0,", "u=0, =1", "u=0 i", "u=0, U", "u=0;"])
def test_a_dictionary_that_cannot_be_parsed_counts_for_nothing(value):
    """RFC 8941 section 4.2: as a whole."""
    assert scheduled([value, "u=2"])[0] == 5


def test_parameters_and_unknown_members_are_passed_over():
    assert scheduled(["u=3", "foo=bar;u=7, u=1;x=y, i=?0"])[:3] == [5] * 3
    assert scheduled(["u=3", 'foo="a, u=7 \\" ,b", u=1'])[:3] == [5] * 3


def test_a_priority_that_is_changed():
    """RFC 9218 section 7.1."""
    session = serving({Set.WINDOW: MIB}, streams=3)
    peer = session.peer
    session.send(1, Body(bytes(DEFAULT_WINDOW), True))
    session.begin()
    session.send(3, Body(bytes(40_000), True))
    session.send(5, Body(bytes(40_000), True))
    session.deliver(peer.priority_update(5, b"u=0"))
    session.deliver(peer.window_update(0, 40_000))

    assert len(session.data(5)) == 40_000
    assert session.data(3) == b""


def test_a_priority_that_comes_before_its_stream_is_kept():
    """RFC 9218 section 7.1; it says more than the head does."""
    session = make_server()
    session.deliver(session.peer.priority_update(1, b"u=0"), session.peer.priority_update(3, b"u=6, i"))
    session.deliver(session.peer.request(1), session.peer.request(3), session.peer.request(5))

    kept = [(stream.urgency, stream.incremental) for stream in session.machine._streams.values()]
    assert kept == [(0, False), (6, True), (3, True)]
    assert not session.machine._foretold


def test_priorities_that_come_before_their_streams_are_kept_for_so_many():
    session = make_server(h2_max_streams=3)
    session.deliver(*(session.peer.priority_update(stream, b"u=1") for stream in (1, 3, 5, 7, 8)))
    assert list(session.machine._foretold) == [3, 5, 7]


def test_a_priority_update_from_a_server():
    session = make_client()
    session.deliver(session.peer.priority_update(1, b"u=1"))
    assert session.frames[-1].kind == "GOAWAY"
    assert session.frames[-1].value[1] == Code.PROTOCOL_ERROR


@pytest.mark.parametrize("payload", [b"", b"\0\0\0"], ids=len)
def test_a_priority_update_that_is_too_short(payload):
    session = make_server()
    session.deliver(b"\0\0" + bytes((len(payload), 16, 0)) + bytes(4) + payload)

    assert session.frames[-1].kind == "GOAWAY"
    assert session.frames[-1].value[1] in {Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR}


def test_a_urgent_stream_without_window_does_not_hold_up_the_others():
    session = make_server({Set.WINDOW: 10})
    peer = session.peer
    for stream, priority in ((1, "u=0"), (3, "u=6")):
        session.deliver(peer.headers(stream, request_fields("GET", "/", ("priority", priority))))
        session.send(stream, Header(ResponseHeader(200), False), Body(bytes(100), True))

    assert [len(session.data(stream)) for stream in (1, 3)] == [10, 10]
    session.deliver(peer.window_update(3, 90))
    assert len(session.data(3)) == 100


def test_a_stream_that_is_dropped_leaves_its_turn():
    session = serving({Set.WINDOW: MIB}, streams=3)
    session.send(1, Body(bytes(DEFAULT_WINDOW), True))
    for stream in (3, 5):
        session.send(stream, Body(bytes(20_000), True))
    session.send(3, Failed(BROKEN))
    session.deliver(session.peer.window_update(0, LARGEST // 2))

    assert session.data(3) == b""
    assert len(session.data(5)) == 20_000
