"""The rules of RFC 6455 and 7692, each as a table, for a server and for a client."""

from __future__ import annotations

import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE
from sansio_pingora.websocket import CloseCode, Closed, Deflate, MessagePart, Ping, Pong, WebSocketSession
from sansio_pingora.websocket.frames import Opcode, write_frame

MASK = b"\x11\x22\x33\x44"
TEXT, BINARY, CONT, CLOSE, PING, PONG = (
    Opcode.TEXT,
    Opcode.BINARY,
    Opcode.CONTINUATION,
    Opcode.CLOSE,
    Opcode.PING,
    Opcode.PONG,
)


def server(**options) -> WebSocketSession:
    deflate = options.pop("deflate", None)
    return WebSocketSession(0.0, Limits(**options), deflate=deflate)


def client(**options) -> WebSocketSession:
    deflate = options.pop("deflate", None)
    return WebSocketSession(0.0, Limits(**options), deflate=deflate, mask=lambda: MASK)


def frame(opcode, data=b"", *, fin=True, compressed=False) -> bytes:
    """As a client sends it."""
    return write_frame(opcode, data, fin=fin, compressed=compressed, mask=MASK)


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def told(session: WebSocketSession, data: bytes, now: float = 0.0) -> list:
    """All that *session* has to tell of *data*."""
    events = session.receive_data(data, now)
    while session.deadline == AT_ONCE:
        events += session.handle_timeout(now)
    return events


def sent(session: WebSocketSession) -> bytes:
    return b"".join(session.data_to_send())


def messages(events) -> list:
    """Whole messages, and the other events as they are."""
    found, parts = [], []
    for event in events:
        if isinstance(event, MessagePart):
            parts.append(event.data)
            if event.last:
                found.append(type(event.data)().join(parts))
                parts = []
        else:
            found.append(event)
    return found


# ── what is legal ────────────────────────────────────────────────────────────────────

CONVERSATIONS = {
    "an empty text": ([frame(TEXT)], [""]),
    "a text": ([frame(TEXT, b"hello")], ["hello"]),
    "125 bytes": ([frame(BINARY, b"x" * 125)], [b"x" * 125]),
    "126 bytes": ([frame(BINARY, b"x" * 126)], [b"x" * 126]),
    "65,535 bytes": ([frame(BINARY, b"x" * 65_535)], [b"x" * 65_535]),
    "65,536 bytes": ([frame(BINARY, b"x" * 65_536)], [b"x" * 65_536]),
    "fragments": ([frame(TEXT, b"a", fin=False), frame(CONT, b"b", fin=False), frame(CONT, b"c")], ["abc"]),
    "empty fragments": ([frame(TEXT, fin=False), frame(CONT, fin=False), frame(CONT)], [""]),
    "a character over two fragments": ([frame(TEXT, b"\xc3", fin=False), frame(CONT, b"\xa9")], ["é"]),
    "a ping amid a message": (
        [frame(TEXT, b"a", fin=False), frame(PING, b"p"), frame(CONT, b"b")],
        [Ping(b"p"), "ab"],
    ),
    "an unasked pong": ([frame(PONG, b"x"), frame(TEXT, b"y")], [Pong(b"x"), "y"]),
    "a ping of 125 bytes": ([frame(PING, b"x" * 125)], [Ping(b"x" * 125)]),
    "any byte as binary": ([frame(BINARY, bytes(range(256)))], [bytes(range(256))]),
    "non-characters and the last code point": (
        [frame(TEXT, "\ufffe\uffff\U0010ffff".encode())],
        ["\ufffe\uffff\U0010ffff"],
    ),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_what_is_legal(name):
    frames, expected = CONVERSATIONS[name]
    session = server()

    assert messages(session.receive_data(b"".join(frames), 0.0)) == expected


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_byte_by_byte_it_is_the_same(name):
    frames, expected = CONVERSATIONS[name]
    if sum(map(len, frames)) > 1000:
        pytest.skip("tested whole")
    session = server()
    events = [event for byte in b"".join(frames) for event in session.receive_data(bytes((byte,)), 0.0)]

    assert messages(events) == expected


# ── what is not ──────────────────────────────────────────────────────────────────────

FAULTS = {
    "rsv1 without an extension": (b"\xc1\x80" + MASK, 1002),
    "rsv2": (b"\xa1\x80" + MASK, 1002),
    "rsv3": (b"\x91\x80" + MASK, 1002),
    **{f"opcode {code:#x}": (bytes((0x80 | code, 0x80)) + MASK, 1002) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "an unmasked frame": (b"\x81\x01a", 1002),
    "a ping of 126 bytes": (b"\x89\xfe\x00\x7e" + MASK, 1002),
    "a close frame of 126 bytes": (b"\x88\xfe\x00\x7e" + MASK, 1002),
    "a ping in fragments": (frame(PING, b"x", fin=False), 1002),
    "a pong in fragments": (frame(PONG, b"x", fin=False), 1002),
    "a close frame in fragments": (frame(CLOSE, b"", fin=False), 1002),
    "a continuation of nothing": (frame(CONT, b"x"), 1002),
    "a continuation of nothing, unfinished": (frame(CONT, b"x", fin=False), 1002),
    "a continuation behind a whole message": (frame(TEXT, b"a") + frame(CONT, b"x"), 1002),
    "a message amid a message": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
    "a length of 125 in two bytes": (b"\x82\xfe\x00\x7d" + MASK, 1002),
    "a length of 65,535 in eight bytes": (b"\x82\xff" + (65_535).to_bytes(8, "big") + MASK, 1002),
    "a length of 64 bits": (b"\x82\xff" + b"\xff" * 8 + MASK, 1002),
    "text that is not UTF-8": (frame(TEXT, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"), 1007),
    "an overlong character": (frame(TEXT, b"\xc0\xaf"), 1007),
    "a code point too high": (frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
    "a character cut off at the end": (frame(TEXT, b"\xc3"), 1007),
    "a character cut off at the last fragment": (frame(TEXT, b"a", fin=False) + frame(CONT, b"\xe2\x82"), 1007),
    "more than ws_max_message": (frame(BINARY, b"x" * 1001), 1009),
    "more than ws_max_message in fragments": (frame(BINARY, b"x" * 600, fin=False) + frame(CONT, b"x" * 600), 1009),
    "a huge frame, by its head": (b"\x82\xff" + (1 << 40).to_bytes(8, "big") + MASK, 1009),
    "more than ws_max_fragments": (frame(TEXT, b"a", fin=False) + 4 * frame(CONT, b"a", fin=False), 1009),
    "a close frame of one byte": (frame(CLOSE, b"\x03"), 1002),
    "a close reason that is not UTF-8": (close(1000, b"\xce\xba\xed\xa0\x80"), 1007),
    **{
        f"close code {code}": (close(code), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    },
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
def test_what_is_not_legal(name, whole):
    raw, code = FAULTS[name]
    session = server(ws_max_message=1000, ws_max_fragments=4)
    pieces = [raw] if whole else [bytes((byte,)) for byte in raw]
    events = [event for piece in pieces for event in session.receive_data(piece, 0.0)]

    assert isinstance(events[-1], Closed)
    assert events[-1].code == code
    assert session.finished
    out = sent(session)
    assert out[0] == 0x88
    assert int.from_bytes(out[2:4], "big") == code
    assert session.receive_data(frame(TEXT, b"more"), 0.0) == []


def test_a_masked_frame_of_a_server():
    session = client()
    events = session.receive_data(frame(TEXT, b"x"), 0.0)

    assert [type(event) for event in events] == [Closed]
    assert events[0].code == 1002


@pytest.mark.parametrize(
    "pieces",
    [
        [b"\xce\xba\xe1\xbd\xb9", b"\xf4\x90", b"\x80\x80"],
        [b"ab", b"\xed\xa0", b"\x80"],
        [b"\xc0", b"\xaf", b""],
    ],
    ids=repr,
)
def test_bad_text_is_found_as_soon_as_it_is_bad(pieces):
    """Not at the end of the frame, and not at the end of the message."""
    raw = frame(TEXT, b"".join(pieces) + b"x" * 100)
    bad = 6 + len(pieces[0]) + len(pieces[1])
    session = server()
    events = session.receive_data(raw[:bad], 0.0)

    assert isinstance(events[-1], Closed)
    assert events[-1].code == 1007


# ── the closing handshake ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999])
def test_the_peer_closes(code):
    session = server()
    events = session.receive_data(close(code, "bye é".encode()) + frame(TEXT, b"too late"), 0.0)

    assert events == [Closed(code, "bye é")]
    assert sent(session) == b"\x88\x02" + code.to_bytes(2, "big")
    assert session.finished


def test_the_peer_closes_without_a_code():
    session = server()

    assert session.receive_data(frame(CLOSE), 0.0) == [Closed(CloseCode.NO_STATUS)]
    assert sent(session) == b"\x88\x00"


def test_we_close():
    session = server()
    session.send("last")
    session.close(1001, "going", now=5.0)
    assert sent(session) == b"\x81\x04last\x88\x07\x03\xe9going"
    assert not session.finished
    assert session.deadline == 5.0 + Limits().ws_close_timeout

    assert session.receive_data(frame(TEXT, b"crossed") + frame(PING, b"x"), 6.0) == []
    assert sent(session) == b"\x8a\x01x"  # the peer's close frame ends that duty, not ours
    assert session.receive_data(close(1001), 6.0) == [Closed(1001, "")]
    assert session.finished
    assert sent(session) == b""


def test_the_peer_does_not_answer_our_close():
    session = server()
    session.close(now=0.0)
    assert session.handle_timeout(9.999) == []

    events = session.handle_timeout(10.0)

    assert [event.code for event in events] == [1006]
    assert session.finished


def test_the_connection_ends_without_a_close_frame():
    session = server()

    assert [event.code for event in session.receive_data(b"", 0.0)] == [1006]
    assert session.receive_eof(0.0) == []


def test_what_may_not_be_sent():
    session = server()
    for code in (0, 999, 1005, 1006, 1015, 2000, 5000):
        with pytest.raises(LocalProtocolError, match="close frame"):
            session.close(code, now=0.0)
    with pytest.raises(LocalProtocolError, match="123"):
        session.close(1000, "x" * 124, now=0.0)
    with pytest.raises(LocalProtocolError, match="125"):
        session.ping(b"x" * 126)
    session.send("a", last=False)
    with pytest.raises(LocalProtocolError, match="TEXT goes on with BINARY"):
        session.send(b"b")
    session.close(now=0.0)
    session.close(now=0.0)
    with pytest.raises(LocalProtocolError, match="CLOSING"):
        session.send("b")
    with pytest.raises(LocalProtocolError, match="CLOSING"):
        session.ping()


# ── pings ────────────────────────────────────────────────────────────────────────────


def test_pings_are_answered_in_order_and_before_what_is_queued():
    session = server()
    session.send("queued")
    session.receive_data(b"".join(frame(PING, b"%d" % number) for number in range(10)), 0.0)

    pongs = b"".join(b"\x8a\x01%d" % number for number in range(10))
    assert sent(session) == pongs + b"\x81\x06queued"


def test_of_a_flood_of_pings_the_latest_are_answered():
    session = server()
    for number in range(1000):
        session.receive_data(frame(PING, b"%03d" % number), 0.0)

    assert sent(session) == b"".join(b"\x8a\x03%03d" % number for number in range(984, 1000))


def test_a_quiet_peer_is_asked_and_given_up():
    session = server()
    assert session.deadline == 20.0
    session.handle_timeout(20.0)
    assert sent(session) == b"\x89\x011"
    assert session.deadline == 40.0

    events = session.handle_timeout(40.0)

    assert [event.code for event in events] == [1011]
    assert sent(session)[2:4] == (1011).to_bytes(2, "big")


@pytest.mark.parametrize("life", [frame(PONG, b"1"), frame(TEXT, b"x"), b"\x81"], ids=["pong", "text", "half a frame"])
def test_any_byte_is_a_sign_of_life(life):
    session = server()
    session.handle_timeout(20.0)
    sent(session)
    session.receive_data(life, 39.0)

    assert session.handle_timeout(40.0) == []
    assert session.deadline == 59.0
    assert session.handle_timeout(59.0) == []
    assert sent(session) == b"\x89\x012"


def test_without_an_interval_there_is_no_deadline():
    assert server(ws_ping_interval=None).deadline == float("inf")


# ── deflate ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits=10", "permessage-deflate; client_max_window_bits=10"),
        ("permessage-deflate; server_max_window_bits=9", "permessage-deflate; server_max_window_bits=9"),
        ('permessage-deflate; server_max_window_bits="12"', "permessage-deflate; server_max_window_bits=12"),
        ("permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"),
        ("permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover"),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", "permessage-deflate"),
        ("foo, permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_max_window_bits=09", None),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
        ("x-webkit-deflate-frame", None),
    ],
)
def test_negotiation(offers, answer):
    chosen = Deflate.choose(offers)

    assert (None if chosen is None else chosen.answer().decode()) == answer


PARAMETERS = st.builds(
    Deflate,
    server_no_context_takeover=st.booleans(),
    client_no_context_takeover=st.booleans(),
    server_max_window_bits=st.integers(9, 15),
    client_max_window_bits=st.integers(9, 15),
)
MESSAGES = st.lists(
    st.tuples(
        st.text() | st.binary() | st.binary(min_size=200).map(lambda data: data * 50),
        st.lists(st.integers(0, 99), max_size=3),
    ),
    max_size=5,
)


@given(st.none() | PARAMETERS, MESSAGES, st.booleans(), st.lists(st.integers(1, 50), max_size=20))
def test_two_sessions_understand_each_other(deflate, conversation, from_client, cuts):
    limits = {"ws_max_message": 1 << 20, "deflate": deflate}
    speaker, listener = (client(**limits), server(**limits)) if from_client else (server(**limits), client(**limits))
    for message, places in conversation:
        bounds = sorted({0, len(message), *(place * len(message) // 100 for place in places)})
        pieces = [message[start:end] for start, end in pairwise(bounds)] or [message]
        for piece in pieces[:-1]:
            speaker.send(piece, last=False)
        speaker.send(pieces[-1])
    speaker.close(now=0.0)
    raw = sent(speaker)
    events, at = [], 0
    for cut in [*cuts, len(raw)]:
        events += told(listener, raw[at : at + cut]) if raw[at : at + cut] else []
        at += cut

    assert messages(events) == [*(message for message, _ in conversation), Closed(1000, "")]


def test_a_bomb_is_found_out_within_the_ceiling():
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = deflate.compress(bytes(100 << 20)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    session = server(deflate=Deflate(), ws_max_message=1 << 20)
    events = told(session, frame(BINARY, bomb[:-4], compressed=True))

    assert events[-1].code == 1009
    assert sum(len(event.data) for event in events[:-1]) <= 1 << 20


def test_what_is_not_deflated():
    session = server(deflate=Deflate())
    events = session.receive_data(frame(TEXT, b"\xff\xff\xff", compressed=True), 0.0)

    assert events[-1].code == 1007


def test_a_block_that_calls_itself_the_last():
    """RFC 7692 section 7.2.3.4."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    raw = deflate.compress(b"hello") + deflate.flush(zlib.Z_FINISH)
    session = server(deflate=Deflate())
    first = session.receive_data(frame(TEXT, raw + b"\x00", compressed=True), 0.0)
    second = session.receive_data(frame(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00", compressed=True), 0.0)

    assert messages(first + second) == ["hello", "Hello"]


@pytest.mark.parametrize("opcode", [CONT, PING])
def test_a_compressed_bit_where_none_may_be(opcode):
    session = server(deflate=Deflate())
    if opcode is CONT:
        session.receive_data(frame(TEXT, b"a", fin=False), 0.0)
    events = session.receive_data(frame(opcode, b"x", compressed=True), 0.0)

    assert events[-1].code == 1002


def test_the_examples_of_rfc_7692():
    session = server(deflate=Deflate())
    hello = bytes.fromhex("f248cdc9c90700")
    again = bytes.fromhex("f200110000")
    events = session.receive_data(frame(TEXT, hello, compressed=True) + frame(TEXT, again, compressed=True), 0.0)

    assert messages(events) == ["Hello", "Hello"]
