"""permessage-deflate: what is agreed upon, and what inflates to what."""

from __future__ import annotations

import itertools
import zlib

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory

from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE
from sansio_pingora.websocket import Closed, Deflate, MessagePart, WebSocketSession
from sansio_pingora.websocket.frames import Opcode, write_frame

MASK = b"\x11\x22\x33\x44"
TAIL = b"\x00\x00\xff\xff"


def server(deflate: Deflate | None = None, **limits) -> WebSocketSession:
    return WebSocketSession(0.0, Limits(**limits), deflate=deflate or Deflate())


def frame(data: bytes, *, opcode=Opcode.BINARY, fin=True) -> bytes:
    """A compressed frame of a client, or one that goes on with it."""
    return write_frame(opcode, data, fin=fin, compressed=opcode is not Opcode.CONTINUATION, mask=MASK)


def deflated(data: bytes, *, bits: int = 15) -> bytes:
    """One message by itself."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -bits)
    return (deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


def told(session: WebSocketSession, data: bytes) -> list:
    events = session.receive_data(data, 0.0)
    while session.deadline == AT_ONCE:
        events += session.handle_timeout(0.0)
    return events


def received(session: WebSocketSession, data: bytes) -> bytes:
    """The one binary message in *data*."""
    events = told(session, data)
    assert all(isinstance(event, MessagePart) for event in events), events
    assert [event.last for event in events].index(True) == len(events) - 1
    return b"".join(event.data for event in events)


# ── what is agreed upon ──────────────────────────────────────────────────────────────

NO_SERVER, NO_CLIENT = "server_no_context_takeover", "client_no_context_takeover"


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=15"),
        ("permessage-deflate; client_max_window_bits=15", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits=8", "permessage-deflate; client_max_window_bits=8"),
        ('permessage-deflate; client_max_window_bits="9"', "permessage-deflate; client_max_window_bits=9"),
        (f"permessage-deflate ;\t{NO_CLIENT} ; {NO_SERVER}", f"permessage-deflate; {NO_SERVER}; {NO_CLIENT}"),
        ("permessage-deflate; client_max_window_bits = 10", "permessage-deflate; client_max_window_bits=10"),
        ('permessage-deflate; server_max_window_bits="10', None),
        ('permessage-deflate; server_max_window_bits=10"', None),
        ('permessage-deflate; server_max_window_bits=""', None),
        ("permessage-deflate; server_max_window_bits=", None),
        ("permessage-deflate; server_max_window_bits=+9", None),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; server_max_window_bits=010", None),
        ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", None),
        ("permessage-deflate;", None),
        ("permessage-deflate;;" + NO_CLIENT, None),
        ("permessage-deflate; CLIENT_NO_CONTEXT_TAKEOVER", None),
        ('permessage-deflate; x="a, permessage-deflate"', None),
        ('permessage-deflate; x="a,b", permessage-deflate', "permessage-deflate"),
        (", ,permessage-deflate,", "permessage-deflate"),
        ("", None),
    ],
)
def test_what_a_server_answers(offers, answer):
    chosen = Deflate.choose(offers)

    assert (None if chosen is None else chosen.answer().decode()) == answer


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [
        ("permessage-deflate", Deflate()),
        (f"permessage-deflate; {NO_SERVER}", Deflate(server_no_context_takeover=True)),
        (f"permessage-deflate; {NO_CLIENT}", Deflate(client_no_context_takeover=True)),
        (
            "permessage-deflate; server_max_window_bits=8",
            Deflate(server_max_window_bits=8, server_bits_named=True),
        ),
        (
            "permessage-deflate; client_max_window_bits=9",
            Deflate(client_max_window_bits=9, client_bits_named=True),
        ),
        ("permessage-deflate; client_max_window_bits=8", None),
        ("permessage-deflate; client_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; more", None),
        ("permessage-deflate, permessage-deflate", None),
        ("x-webkit-deflate-frame", None),
    ],
)
def test_what_a_client_takes_for_an_answer(answer, agreed):
    assert Deflate.accepted(answer) == agreed


def written(parameters) -> str:
    """A field as the websockets library would write it."""
    return "; ".join(
        ["permessage-deflate", *(name if value is None else f"{name}={value}" for name, value in parameters)]
    )


def parsed(field: str) -> list:
    """The parameters of a field as the websockets library would read it."""
    pairs = [part.strip().partition("=") for part in field.split(";")[1:]]
    return [(name, value if equals else None) for name, equals, value in pairs]


BITS = [None, 9, 12, 15]


@pytest.mark.parametrize("no_server", [False, True])
@pytest.mark.parametrize("no_client", [False, True])
@pytest.mark.parametrize("server_bits", BITS)
@pytest.mark.parametrize("client_bits", [*BITS, True])
def test_the_websockets_library_takes_our_answer(no_server, no_client, server_bits, client_bits):
    factory = ClientPerMessageDeflateFactory(no_server, no_client, server_bits, client_bits)
    ours = Deflate.choose(written(factory.get_request_params()))
    theirs = factory.process_response_params(parsed(ours.answer().decode()), [])

    assert theirs.remote_no_context_takeover == ours.server_no_context_takeover
    assert theirs.local_no_context_takeover == ours.client_no_context_takeover
    assert theirs.remote_max_window_bits == ours.server_max_window_bits
    assert theirs.local_max_window_bits == ours.client_max_window_bits


@pytest.mark.parametrize(
    "options",
    list(itertools.product([False, True], [False, True], BITS, BITS)),
    ids=lambda options: "-".join(map(str, options)),
)
def test_we_take_the_answer_of_the_websockets_library(options):
    factory = ServerPerMessageDeflateFactory(*options)
    offer = "permessage-deflate; client_max_window_bits"
    answer, theirs = factory.process_request_params(parsed(offer), [])
    ours = Deflate.accepted(written(answer))

    assert theirs.remote_no_context_takeover == ours.client_no_context_takeover
    assert theirs.local_no_context_takeover == ours.server_no_context_takeover
    assert theirs.remote_max_window_bits == ours.client_max_window_bits
    assert theirs.local_max_window_bits == ours.server_max_window_bits


# ── what inflates ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073, 196_608, 1_000_000])
@pytest.mark.parametrize("cut", [None, 1, 7])
def test_every_byte_comes_and_none_is_left_for_the_next(size, cut):
    """zlib may hold bytes back though it has taken all that it was given."""
    session = server()
    for data in (bytes(size), b"next", b"x" * size):
        raw = frame(deflated(data))
        pieces = [raw] if cut is None else [raw[at : at + cut] for at in range(0, len(raw), cut)]
        events = [event for piece in pieces for event in told(session, piece)]
        assert b"".join(event.data for event in events) == data
        assert events[-1].last


@pytest.mark.parametrize("bits", range(9, 16))
def test_any_window_of_a_client(bits):
    data = bytes(number * number >> 3 & 0xFF for number in range(100_000))
    assert received(server(Deflate(client_max_window_bits=bits)), frame(deflated(data, bits=bits))) == data


def test_a_message_is_inflated_by_itself_where_that_was_agreed():
    session = server(Deflate(client_no_context_takeover=True))
    first = deflated(b"hello" * 10)
    assert received(session, frame(first)) == b"hello" * 10
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflate.compress(b"hello" * 10)
    deflate.flush(zlib.Z_SYNC_FLUSH)
    leaning = (deflate.compress(b"hello" * 10) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]

    assert told(session, frame(leaning))[-1].code == 1007
    kept = server()
    assert received(kept, frame(first)) == received(kept, frame(leaning))


def test_a_message_is_deflated_by_itself_where_that_was_agreed():
    for takeover in (True, False):
        session = server(Deflate(server_no_context_takeover=not takeover))
        outs = []
        for _ in range(2):
            session.send(bytes(range(256)))
            outs += session.data_to_send()
        assert (len(outs[1]) < len(outs[0])) is takeover
        assert (outs[0] == outs[1]) is not takeover


def test_short_messages_are_not_deflated():
    session = server()
    session.send("short")
    session.send("x" * 100)
    short, long = session.data_to_send()
    assert short == b"\x81\x05short"
    assert long[0] == 0xC1
    assert len(long) < 20


@pytest.mark.parametrize("behind", [b"", b"\x00", deflated(b" more")], ids=["nothing", "a byte", "more"])
def test_a_block_that_calls_itself_the_last(behind):
    """RFC 7692 section 7.2.3.4: a 0x00 is to be behind it, and the next message is none the worse where it is not."""
    final = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = final.compress(b"hello") + final.flush(zlib.Z_FINISH)
    session = server()

    assert received(session, frame(data + behind)) == b"hello" + (b" more" if len(behind) > 1 else b"")
    assert received(session, frame(deflated(b"next"))) == b"next"


def test_two_blocks_of_which_each_calls_itself_the_last():
    final = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = final.compress(b"hello") + final.flush(zlib.Z_FINISH)
    session = server()

    assert received(session, frame(data, fin=False) + frame(data + b"\x00", opcode=Opcode.CONTINUATION)) == b"hello" * 2


def test_many_blocks_of_which_each_calls_itself_the_last(monkeypatch):
    """Each is of two bytes, and at its end zlib copies what is behind it: a whole reading, 100,000 times over."""
    given = []
    make = zlib.decompressobj

    class Counting:
        def __init__(self, wbits):
            self._inner = make(wbits)

        def decompress(self, data, most):
            given.append(len(data))
            return self._inner.decompress(data, most)

        def __getattr__(self, name):
            return getattr(self._inner, name)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    blocks = 50_000
    assert received(server(), frame(b"\x03\x00" * blocks + deflated(b"the end"))) == b"the end"
    assert len(given) <= blocks + 10
    assert sum(given) <= blocks * 16_384


def test_a_compressed_message_without_a_byte():
    session = server()

    assert received(session, frame(b"")) == b""
    assert received(session, frame(deflated(b"next"))) == b"next"


def test_frames_that_inflate_to_nothing():
    """A block may be cut anywhere; a frame that completes nothing is told of as it ends."""
    raw = deflated(b"hello")
    session = server()
    events = told(session, frame(raw[:1], fin=False) + frame(raw[1:], opcode=Opcode.CONTINUATION))

    assert events == [MessagePart(b"", last=False, ends=True), MessagePart(b"hello")]


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x07", b"\x00\x01\x02\x03\x04"], ids=bytes.hex)
def test_what_is_not_deflated(data):
    assert told(server(), frame(data))[-1].code == 1007


# ── ceilings ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("size", "is_taken"), [(99_999, True), (100_000, True), (100_001, False), (10**8, False)])
def test_the_ceiling_is_on_what_it_inflates_to(size, is_taken):
    session = server(ws_max_message=100_000)
    events = told(session, frame(deflated(bytes(size))))
    if is_taken:
        assert sum(len(event.data) for event in events) == size
        assert not session.finished
    else:
        assert events[-1].code == 1009
        assert sum(len(event.data) for event in events[:-1]) <= 100_000
        assert b"".join(session.data_to_send())[2:4] == (1009).to_bytes(2, "big")


def test_the_ceiling_is_on_the_message_not_on_its_frames():
    session = server(ws_max_message=100_000)
    raw = frame(deflated(bytes(60_000)) + TAIL, fin=False) + frame(deflated(bytes(60_000)), opcode=Opcode.CONTINUATION)

    assert told(session, raw)[-1].code == 1009


def test_the_next_message_counts_anew():
    session = server(ws_max_message=100_000)
    for _ in range(3):
        assert received(session, frame(deflated(bytes(90_000)))) == bytes(90_000)


def test_little_is_told_at_a_time():
    """However much 64 KiB would inflate to: 64 MiB, in messages of which each is within the ceiling."""
    session = server(ws_max_message=1 << 20)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = b"".join(frame((deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]) for _ in range(60))
    assert len(raw) < 65_536
    total = turns = 0
    events = session.receive_data(raw, 0.0)
    while True:
        size = sum(len(event.data) for event in events)
        assert size <= 200_000
        total += size
        turns += 1
        if session.deadline != AT_ONCE:
            break
        events = session.handle_timeout(0.0)
    assert total == 60 << 20
    assert turns > 300


def test_what_is_held_back_is_dropped_when_we_close():
    session = server()
    session.receive_data(frame(deflated(bytes(1 << 20))), 0.0)
    assert session.deadline == AT_ONCE
    session.close(now=0.0)
    assert session.handle_timeout(0.0) == []
    assert session.deadline == Limits().ws_close_timeout
    assert session.receive_data(write_frame(Opcode.CLOSE, b"\x03\xe8", mask=MASK), 0.0) == [Closed(1000)]


def test_more_bytes_may_come_while_some_are_held_back():
    session = server()
    events = session.receive_data(frame(deflated(bytes(500_000))), 0.0)
    events += session.receive_data(frame(deflated(b"next")), 0.0)
    while session.deadline == AT_ONCE:
        events += session.handle_timeout(0.0)
    data = b"".join(event.data for event in events)

    assert data == bytes(500_000) + b"next"
    assert sum(event.last for event in events) == 2
