"""Frames and streams as RFC 9113 sections 3 to 7 (and RFC 7541) demand, a case per sentence.

The order and most cases are those of h2spec; unlike it, the cases ask for the exact code, for the last stream id,
and for what becomes of the connection, and they run in either role where the rule binds both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from sansio_pingora.http2 import PREFACE, ErrorCode
from sansio_pingora.machine import Closing
from sansio_pingora.wire import Body, Header, ResponseHeader
from tests.http2 import peer as peers
from tests.http2.peer import (
    ACK,
    DEFAULT_FRAME,
    END_HEADERS,
    END_STREAM,
    GET,
    LARGEST,
    OK,
    PADDED,
    PRIORITY_FLAG,
    Code,
    Kind,
    Peer,
    Set,
    literal,
    raw,
    request_fields,
)
from tests.http2.runs import (
    Session,
    is_connection_error,
    is_ignored,
    is_over,
    is_stream_error,
    make_client,
    make_server,
)
from tests.http2.situations import BOTH, EVERY, SITUATIONS

Make = Callable[[Peer], bytes]
Expect = Callable[[Session], None]

PROTOCOL, CLOSED, SIZE, FLOW, COMPRESSION = (
    Code.PROTOCOL_ERROR,
    Code.STREAM_CLOSED,
    Code.FRAME_SIZE_ERROR,
    Code.FLOW_CONTROL_ERROR,
    Code.COMPRESSION_ERROR,
)


def gone(*codes: int) -> Expect:
    """The connection ends with one of *codes*."""
    return lambda session: is_connection_error(session, *codes)


def reset(*codes: int, stream: int = 1) -> Expect:
    """The stream is reset with one of *codes*, and nothing else."""

    def expect(session: Session) -> None:
        is_stream_error(session, stream, *codes)

    return expect


def reset_or_gone(*codes: int, stream: int = 1) -> Expect:
    """A stream error, which may be treated as one of the connection (RFC 9113 section 5.4.2)."""

    def expect(session: Session) -> None:
        if session.over:
            is_connection_error(session, *codes)
        else:
            is_stream_error(session, stream, *codes)

    return expect


def ignored(session: Session) -> None:
    is_ignored(session)


def ignored_or(other: Expect) -> Expect:
    def expect(session: Session) -> None:
        said = any(frame.kind in {"GOAWAY", "RST_STREAM"} for frame in session.frames[session.begun :])
        (other if said else is_ignored)(session)

    return expect


def cases(*rows: tuple[str, str | Iterable[str], Make, Expect]) -> list[Any]:
    """Parameters: name, the situations in which it is tried, the bytes, and what is expected."""
    params = []
    for name, situations, make, expect in rows:
        for situation in [situations] if isinstance(situations, str) else situations:
            params.append(pytest.param(situation, make, expect, id=f"{name}-{situation}"))
    return params


def head(stream: int, flags: int = END_HEADERS, payload: bytes = GET, kind: int = Kind.HEADERS) -> bytes:
    return raw(kind, flags, stream, payload)


UNKNOWN = 0x99

# ── 4: frames ────────────────────────────────────────────────────────────────────────

SECTION_4 = cases(
    ("4.1/1-unknown-type", EVERY, lambda p: raw(UNKNOWN, 0, 0, bytes(8)), ignored),
    ("4.1/1-unknown-type-on-a-stream", EVERY, lambda p: raw(UNKNOWN, 0xFF, 1, bytes(8)), ignored),
    ("4.1/1-unknown-type-on-an-idle-stream", EVERY, lambda p: raw(UNKNOWN, 0, 101, b""), ignored),
    ("4.1/2-undefined-flags-of-ping", BOTH, lambda p: _flagged(p.ping(), 0x16), ignored),
    ("4.1/3-reserved-bit", BOTH, lambda p: _reserved(p.ping()), ignored),
    ("4.1/3-reserved-bit-of-a-stream", "server_open", lambda p: _reserved(p.data(1, b"x")), ignored),
    ("4.2/1-data-of-the-largest-size", BOTH, lambda p: p.data(1, bytes(DEFAULT_FRAME)), ignored),
    ("4.2/2-data-too-large", BOTH, lambda p: raw(Kind.DATA, 0, 1, bytes(DEFAULT_FRAME + 1)), reset_or_gone(SIZE)),
    (
        "4.2/3-headers-too-large",
        BOTH,
        lambda p: head(3, payload=GET + literal(b"x", bytes(DEFAULT_FRAME))),
        gone(SIZE),
    ),
    ("4.2/settings-too-large", BOTH, lambda p: raw(Kind.SETTINGS, 0, 0, bytes(6 * 2800)), gone(SIZE)),
    ("4.2/unknown-type-too-large", BOTH, lambda p: raw(UNKNOWN, 0, 0, bytes(DEFAULT_FRAME + 1)), gone(SIZE)),
    ("4.2/largest-length-of-all", BOTH, lambda p: raw(Kind.DATA, 0, 1, length=2**24 - 1), reset_or_gone(SIZE)),
    ("4.3/1-invalid-block", "server_open", lambda p: head(3, payload=b"\xff\xff\xff\xff\xff\xff"), gone(COMPRESSION)),
    ("4.3/1-invalid-block", "client_half_closed", lambda p: head(1, payload=b"\xff" * 9), gone(COMPRESSION)),
    ("4.3/1-invalid-trailers", BOTH, lambda p: head(1, 5, b"\xff" * 9), gone(COMPRESSION)),
    (
        "4.3/1-invalid-block-on-a-stream-that-we-reset",
        ("server_reset_by_us", "client_reset_by_us"),
        lambda p: head(1, 5, b"\xff" * 9),
        gone(COMPRESSION),
    ),
    ("4.3/2-priority-amid-a-block", BOTH, lambda p: head(1, 1) + p.priority(1), gone(PROTOCOL)),
    ("4.3/3-headers-amid-a-block", BOTH, lambda p: head(1, 1) + head(3), gone(PROTOCOL)),
)


def _flagged(frame: bytes, flags: int) -> bytes:
    return frame[:4] + bytes((frame[4] | flags,)) + frame[5:]


def _reserved(frame: bytes) -> bytes:
    return frame[:5] + bytes((frame[5] | 0x80,)) + frame[6:]


# ── 5: streams ───────────────────────────────────────────────────────────────────────

IDLE = ("server_idle", "client_idle", "server_open", "client_answered")
HALF = "server_half_closed"

SECTION_5 = cases(
    ("5.1/1-idle-data", IDLE, lambda p: raw(Kind.DATA, END_STREAM, 5, b"x"), gone(PROTOCOL)),
    ("5.1/2-idle-rst-stream", IDLE, lambda p: p.rst(5), gone(PROTOCOL)),
    ("5.1/3-idle-window-update", IDLE, lambda p: p.window_update(5, 100), gone(PROTOCOL)),
    ("5.1/4-idle-continuation", IDLE, lambda p: head(5, kind=Kind.CONTINUATION), gone(PROTOCOL)),
    ("5.1/idle-response-head", ("client_idle", "client_open"), lambda p: head(5, payload=OK), gone(PROTOCOL)),
    ("5.1/idle-data-on-an-even-stream", BOTH, lambda p: raw(Kind.DATA, 0, 2, b"x"), gone(PROTOCOL)),
    ("5.1/5-half-closed-data", HALF, lambda p: raw(Kind.DATA, 0, 1, b"x"), reset_or_gone(CLOSED)),
    ("5.1/5-half-closed-empty-data", HALF, lambda p: raw(Kind.DATA, END_STREAM, 1), reset_or_gone(CLOSED)),
    ("5.1/6-half-closed-headers", HALF, lambda p: head(1, 5), reset_or_gone(CLOSED)),
    ("5.1/7-half-closed-continuation", HALF, lambda p: head(1, kind=9), gone(PROTOCOL, CLOSED)),
    ("5.1/half-closed-data", "client_uploading", lambda p: raw(Kind.DATA, 0, 1, b"x"), reset_or_gone(CLOSED)),
    ("5.1/half-closed-headers", "client_uploading", lambda p: head(1, 5, OK), reset_or_gone(CLOSED)),
    (
        "5.1/8-reset-data",
        ("server_reset_by_peer", "client_reset_by_peer"),
        lambda p: raw(Kind.DATA, 0, 1, b"x"),
        reset_or_gone(CLOSED),
    ),
    ("5.1/9-reset-headers", "server_reset_by_peer", lambda p: head(1, 5), reset_or_gone(CLOSED)),
    ("5.1/9-reset-headers", "client_reset_by_peer", lambda p: head(1, 5, OK), reset_or_gone(CLOSED)),
    (
        "5.1/10-reset-continuation",
        ("server_reset_by_peer", "client_reset_by_peer"),
        lambda p: head(1, kind=9),
        gone(PROTOCOL, CLOSED),
    ),
    (
        "5.1/11-closed-data",
        ("server_closed", "client_closed"),
        lambda p: raw(Kind.DATA, 0, 1, b"x"),
        reset_or_gone(CLOSED),
    ),
    ("5.1/12-closed-headers", "server_closed", lambda p: head(1, 5), gone(CLOSED, PROTOCOL)),
    ("5.1/12-closed-headers", "client_closed", lambda p: head(1, 5, OK), reset_or_gone(CLOSED, PROTOCOL)),
    (
        "5.1/13-closed-continuation",
        ("server_closed", "client_closed"),
        lambda p: head(1, kind=9),
        gone(PROTOCOL, CLOSED),
    ),
    ("5.1/closed-window-update", ("server_closed", "client_closed"), lambda p: p.window_update(1, 9), ignored),
    ("5.1/closed-rst-stream", ("server_closed", "client_closed"), lambda p: p.rst(1), ignored),
    ("5.1/reset-rst-stream", ("server_reset_by_peer", "client_reset_by_peer"), lambda p: p.rst(1), ignored),
    *(
        (f"5.1/reset-by-us-{name}", ("server_reset_by_us", "client_reset_by_us"), make, _only_its_reset)
        for name, make, _only_its_reset in (
            ("data", lambda p: p.data(1, bytes(1000)), lambda s: s.useful()),
            ("trailers", lambda p: p.headers(1, [("x-sum", "1")]), lambda s: s.useful()),
            ("window-update", lambda p: p.window_update(1, 5), lambda s: s.useful()),
            ("rst-stream", lambda p: p.rst(1), lambda s: s.useful()),
        )
    ),
    ("2/1-priority-on-an-idle-stream", EVERY, lambda p: p.priority(101), ignored),
    ("2/2-window-update-on-a-half-closed-stream", HALF, lambda p: p.window_update(1, 100), ignored),
    ("2/3-priority-on-a-half-closed-stream", HALF, lambda p: p.priority(1), ignored),
    ("2/4-rst-stream-on-a-half-closed-stream", HALF, lambda p: p.rst(1), ignored),
    ("2/5-priority-on-a-closed-stream", EVERY, lambda p: p.priority(1), ignored),
    ("5.1.1/1-even-stream", ("server_idle", "server_open"), lambda p: head(2, 5), gone(PROTOCOL)),
    ("5.1.1/1-even-stream", ("client_idle", "client_open"), lambda p: head(2, 5, OK), gone(PROTOCOL)),
    (
        "5.1.1/2-smaller-stream",
        "server_open",
        lambda p: p.request(7) + raw(Kind.HEADERS, 5, 5, GET),
        gone(PROTOCOL, CLOSED),
    ),
    (
        "5.1.1/passed-over-data",
        "server_open",
        lambda p: p.request(7) + raw(Kind.DATA, 0, 5, b"x"),
        gone(CLOSED, PROTOCOL),
    ),
    ("5.1.1/passed-over-priority", "server_open", lambda p: p.request(7) + p.priority(5), ignored),
    (
        "5.3.1/1-headers-that-depend-on-themselves",
        "server_open",
        lambda p: p.headers(3, request_fields(), priority=(3, 15, False)),
        reset(PROTOCOL, stream=3),
    ),
    ("5.3.1/2-priority-that-depends-on-itself", BOTH, lambda p: p.priority(1, 1), reset_or_gone(PROTOCOL)),
    ("5.3.1/2-idle-priority-that-depends-on-itself", BOTH, lambda p: p.priority(9, 9), ignored_or(gone(PROTOCOL))),
    ("5.4.1/1-invalid-ping", EVERY, lambda p: raw(Kind.PING, 0, 0, b"short"), gone(SIZE)),
    ("5.5/1-unknown-extension", BOTH, lambda p: raw(0x16, 0, 0, bytes(8)), ignored),
    ("5.5/2-unknown-extension-amid-a-block", BOTH, lambda p: head(1, 1) + raw(UNKNOWN), gone(PROTOCOL)),
    (
        "5.5/2-unknown-extension-amid-a-block-of-its-stream",
        BOTH,
        lambda p: head(1, 1) + raw(UNKNOWN, 4, 1),
        gone(PROTOCOL),
    ),
)

# ── 6: frame definitions ─────────────────────────────────────────────────────────────

SECTION_6 = cases(
    ("6.1/1-data-on-stream-0", BOTH, lambda p: raw(Kind.DATA, 0, 0, b"x"), gone(PROTOCOL)),
    ("6.1/2-data-on-a-stream-that-is-not-open", HALF, lambda p: raw(Kind.DATA, 0, 1, b"x"), reset_or_gone(CLOSED)),
    ("6.1/3-padding-beyond-data", BOTH, lambda p: raw(Kind.DATA, PADDED, 1, b"\x06hello"), gone(PROTOCOL)),
    ("6.1/3-padding-that-is-data", BOTH, lambda p: raw(Kind.DATA, PADDED, 1, b"\x05hello"), ignored),
    ("6.1/padding-without-its-length", BOTH, lambda p: raw(Kind.DATA, PADDED, 1), gone(PROTOCOL, SIZE)),
    (
        "6.1/data-before-the-head",
        ("client_open", "client_half_closed"),
        lambda p: p.data(1, b"x"),
        reset_or_gone(PROTOCOL),
    ),
    ("6.2/1-headers-then-priority", "server_open", lambda p: head(3, 1) + p.priority(3), gone(PROTOCOL)),
    ("6.2/2-headers-then-another-stream's", "server_open", lambda p: head(3, 1) + head(5), gone(PROTOCOL)),
    ("6.2/3-headers-on-stream-0", BOTH, lambda p: head(0), gone(PROTOCOL)),
    ("6.2/4-padding-beyond-headers", BOTH, lambda p: raw(1, PADDED | 5, 1, b"\xff" + GET), gone(PROTOCOL)),
    ("6.2/padding-without-its-length", BOTH, lambda p: raw(1, PADDED | 5, 1), gone(PROTOCOL, SIZE)),
    ("6.2/priority-without-its-bytes", BOTH, lambda p: raw(1, PRIORITY_FLAG | 5, 1, bytes(4)), gone(SIZE)),
    (
        "6.2/padding-beyond-what-priority-leaves",
        BOTH,
        lambda p: raw(1, PADDED | PRIORITY_FLAG | 5, 1, b"\x03" + bytes(5) + b"xy"),
        gone(PROTOCOL),
    ),
    ("6.3/1-priority-on-stream-0", BOTH, lambda p: raw(Kind.PRIORITY, 0, 0, bytes(5)), gone(PROTOCOL)),
    ("6.3/2-priority-of-4-bytes", BOTH, lambda p: raw(Kind.PRIORITY, 0, 1, bytes(4)), reset_or_gone(SIZE)),
    ("6.3/2-priority-of-6-bytes", BOTH, lambda p: raw(Kind.PRIORITY, 0, 1, bytes(6)), reset_or_gone(SIZE)),
    ("6.3/2-idle-priority-of-4-bytes", IDLE, lambda p: raw(Kind.PRIORITY, 0, 9, bytes(4)), ignored_or(gone(SIZE))),
    ("6.4/1-rst-stream-on-stream-0", BOTH, lambda p: raw(Kind.RST_STREAM, 0, 0, bytes(4)), gone(PROTOCOL)),
    ("6.4/2-rst-stream-on-an-idle-stream", BOTH, lambda p: p.rst(7), gone(PROTOCOL)),
    *(
        (f"6.4/3-rst-stream-of-{size}-bytes", BOTH, lambda p, size=size: raw(3, 0, 1, bytes(size)), gone(SIZE))
        for size in (0, 3, 5, 8)
    ),
    ("6.5/1-acknowledgement-with-settings", BOTH, lambda p: raw(Kind.SETTINGS, ACK, 0, bytes(6)), gone(SIZE)),
    ("6.5/2-settings-on-a-stream", BOTH, lambda p: raw(Kind.SETTINGS, 0, 1), gone(PROTOCOL)),
    ("6.5/2-acknowledgement-on-a-stream", BOTH, lambda p: raw(Kind.SETTINGS, ACK, 1), gone(PROTOCOL)),
    ("6.5/3-settings-of-3-bytes", BOTH, lambda p: raw(Kind.SETTINGS, 0, 0, bytes(3)), gone(SIZE)),
    ("6.5/3-settings-of-7-bytes", BOTH, lambda p: raw(Kind.SETTINGS, 0, 0, b"\0\x03\0\0\0\1\0"), gone(SIZE)),
    ("6.5.2/1-enable-push-of-2", BOTH, lambda p: p.set({Set.PUSH: 2}), gone(PROTOCOL)),
    ("6.5.2/enable-push-of-a-server", "client_answered", lambda p: p.set({Set.PUSH: 1}), gone(PROTOCOL)),
    ("6.5.2/enable-push-of-0", BOTH, lambda p: p.set({Set.PUSH: 0}), ignored),
    ("6.5.2/2-window-too-large", BOTH, lambda p: p.set({Set.WINDOW: LARGEST + 1}), gone(FLOW)),
    ("6.5.2/2-largest-window", BOTH, lambda p: p.set({Set.WINDOW: LARGEST}), ignored),
    ("6.5.2/3-frame-size-too-small", BOTH, lambda p: p.set({Set.FRAME: DEFAULT_FRAME - 1}), gone(PROTOCOL)),
    ("6.5.2/4-frame-size-too-large", BOTH, lambda p: p.set({Set.FRAME: 2**24}), gone(PROTOCOL)),
    ("6.5.2/4-largest-frame-size", BOTH, lambda p: p.set({Set.FRAME: 2**24 - 1}), ignored),
    ("6.5.2/5-unknown-setting", BOTH, lambda p: p.set({0x99: 5, 0xFFFF: LARGEST}), ignored),
    ("6.5.2/connect-protocol-of-2", "client_answered", lambda p: p.set({Set.CONNECT: 2}), gone(PROTOCOL)),
    (
        "6.5.2/connect-protocol-taken-back",  # RFC 8441 section 3
        "client_answered",
        lambda p: p.set({Set.CONNECT: 1}) + p.set({Set.CONNECT: 0}),
        gone(PROTOCOL),
    ),
    ("6.5.2/no-priorities-of-2", BOTH, lambda p: p.set({Set.NO_PRIORITIES: 2}), ignored_or(gone(PROTOCOL))),
    ("6.5.3/acknowledged-at-once", BOTH, lambda p: p.set({Set.LIST: 100}), lambda s: _acknowledged(s)),  # noqa: PLW0108
    ("6.6/push-promise-of-a-client", "server_open", lambda p: raw(5, 4, 1, bytes((0, 0, 0, 2)) + GET), gone(PROTOCOL)),
    (
        "6.6/push-promise-when-disabled",
        "client_answered",
        lambda p: raw(5, 4, 1, bytes((0, 0, 0, 2)) + GET),
        gone(PROTOCOL),
    ),
    ("6.6/push-promise-on-stream-0", BOTH, lambda p: raw(5, 4, 0, bytes((0, 0, 0, 2)) + GET), gone(PROTOCOL)),
    ("6.7/1-ping", BOTH, lambda p: p.ping(b"\0\xffping\0\1"), lambda s: _ponged(s, b"\0\xffping\0\1")),
    ("6.7/2-ping-answered-is-not-answered", BOTH, lambda p: p.pong(b"unasked!"), ignored),
    ("6.7/3-ping-on-a-stream", BOTH, lambda p: raw(Kind.PING, 0, 1, bytes(8)), gone(PROTOCOL)),
    ("6.7/3-pong-on-a-stream", BOTH, lambda p: raw(Kind.PING, ACK, 1, bytes(8)), gone(PROTOCOL)),
    ("6.7/4-ping-of-6-bytes", BOTH, lambda p: raw(Kind.PING, 0, 0, bytes(6)), gone(SIZE)),
    ("6.7/4-ping-of-9-bytes", BOTH, lambda p: raw(Kind.PING, 0, 0, bytes(9)), gone(SIZE)),
    ("6.7/4-pong-of-0-bytes", BOTH, lambda p: raw(Kind.PING, ACK, 0), gone(SIZE)),
    ("6.8/1-goaway-on-a-stream", BOTH, lambda p: raw(Kind.GOAWAY, 0, 1, bytes(8)), gone(PROTOCOL)),
    ("6.8/goaway-of-7-bytes", BOTH, lambda p: raw(Kind.GOAWAY, 0, 0, bytes(7)), gone(SIZE)),
    ("6.9/1-window-update-of-0", BOTH, lambda p: raw(8, 0, 0, bytes(4)), gone(PROTOCOL)),
    ("6.9/1-window-update-of-0-with-the-reserved-bit", BOTH, lambda p: raw(8, 0, 0, b"\x80\0\0\0"), gone(PROTOCOL)),
    ("6.9/2-window-update-of-0-on-a-stream", BOTH, lambda p: raw(8, 0, 1, bytes(4)), reset_or_gone(PROTOCOL)),
    ("6.9/3-window-update-of-3-bytes", BOTH, lambda p: raw(8, 0, 0, bytes(3)), gone(SIZE)),
    ("6.9/3-window-update-of-5-bytes-on-a-stream", BOTH, lambda p: raw(8, 0, 1, bytes(5)), gone(SIZE)),
    ("6.9/reserved-bit-of-the-increment", BOTH, lambda p: raw(8, 0, 0, b"\x80\0\0\1"), ignored),
    (
        "6.9.1/2-window-of-the-connection-too-large",
        BOTH,
        lambda p: p.window_update(0, LARGEST) + p.window_update(0, LARGEST),
        gone(FLOW),
    ),
    (
        "6.9.1/2-by-one",
        BOTH,
        lambda p: p.window_update(0, LARGEST - p.window + 1),
        gone(FLOW),
    ),
    ("6.9.1/2-exactly-the-largest", BOTH, lambda p: p.window_update(0, LARGEST - p.window), ignored),
    ("6.9.1/3-window-of-a-stream-too-large", BOTH, lambda p: p.window_update(1, LARGEST), reset_or_gone(FLOW)),
    ("6.9.1/3-by-one", BOTH, lambda p: p.window_update(1, LARGEST - p.streams[1].window + 1), reset_or_gone(FLOW)),
    ("6.9.1/3-exactly-the-largest", BOTH, lambda p: p.window_update(1, LARGEST - p.streams[1].window), ignored),
    ("6.9.2/3-window-too-large", BOTH, lambda p: p.set({Set.WINDOW: 2**32 - 1}), gone(FLOW)),
    (
        "6.9.2/a-setting-that-overflows-a-stream",
        BOTH,
        lambda p: p.window_update(1, LARGEST - p.streams[1].window) + p.set({Set.WINDOW: 65_536}),
        gone(FLOW),
    ),
    (
        "6.10/1-continuations",
        "server_open",
        lambda p: p.headers(3, request_fields(), pieces=(1, 2, 3)),
        lambda s: _asked(s, 3),
    ),
    (
        "6.10/2-continuation-then-data",
        BOTH,
        lambda p: head(1, 1) + head(1, 0, b"", 9) + p.data(1, b"x"),
        gone(PROTOCOL),
    ),
    ("6.10/3-continuation-on-stream-0", BOTH, lambda p: head(1, 1) + head(0, kind=9), gone(PROTOCOL)),
    ("6.10/continuation-on-another-stream", BOTH, lambda p: head(1, 1) + head(3, kind=9), gone(PROTOCOL)),
    (
        "6.10/4-continuation-behind-a-complete-head",
        "server_idle",
        lambda p: p.request(1) + head(1, kind=9),
        gone(PROTOCOL),
    ),
    (
        "6.10/5-continuation-behind-the-last",
        "server_idle",
        lambda p: p.headers(1, request_fields(), pieces=(3,)) + head(1, kind=9),
        gone(PROTOCOL),
    ),
    ("6.10/6-continuation-behind-data", BOTH, lambda p: p.data(1, b"x") + head(1, kind=9), gone(PROTOCOL)),
    ("7/1-goaway-with-an-unknown-code", "server_open", lambda p: p.leave(0, 0xFF), ignored),
    ("7/2-rst-stream-with-an-unknown-code", BOTH, lambda p: p.rst(1, 0xFF), ignored),
    ("8.4/push-promise-of-a-client", "server_idle", lambda p: raw(5, 4, 1, bytes((0, 0, 0, 2)) + GET), gone(PROTOCOL)),
)


def _acknowledged(session: Session) -> None:
    assert [frame.kind for frame in session.frames].count("ACK") == 2
    session.useful()


def _ponged(session: Session, payload: bytes) -> None:
    assert [frame.value for frame in session.frames if frame.kind == "PONG"] == [payload]
    session.useful()


def _asked(session: Session, stream: int) -> None:
    assert session.of(stream)[0][:4] == (stream, "request", b"GET", b"/")
    session.useful()


@pytest.mark.parametrize(("situation", "make", "expect"), SECTION_4 + SECTION_5 + SECTION_6)
def test_rfc_9113(situation, make, expect):
    session = SITUATIONS[situation]().begin()
    session.deliver(make(session.peer))

    expect(session)


@pytest.mark.parametrize(
    ("situation", "make", "expect"),
    [param for param in SECTION_4 + SECTION_5 + SECTION_6 if param.id.startswith(("4.3", "5.1/1", "6.7/4", "6.9/1-w"))],
)
def test_nothing_behind_a_connection_error_counts(situation, make, expect):
    """Frames in the same read as the one that ends the connection."""
    session = SITUATIONS[situation]().begin()
    told = session.told()
    late = max(session.peer.highest, 101) + 2
    sent = make(session.peer)
    session.deliver(sent, Peer(watches_server=True).request(late), session.peer.ping(b"tooolate"))
    session.peer.highest = 1 if session.peer.highest else 0

    assert not [event for event in session.events if event[0] == late], told
    assert not [frame for frame in session.frames if frame.kind == "PONG"]
    if any(frame.kind == "GOAWAY" for frame in session.frames):
        is_over(session)


# ── 3.4: the preface ─────────────────────────────────────────────────────────────────


def test_a_server_speaks_only_after_the_preface():
    """RFC 9113 section 3.4 lets it speak first; a client of HTTP/1 would read that as an answer."""
    session = make_server(greet=False)

    assert session.frames == []
    session.deliver(session.peer.hello())
    assert session.frames[0].kind == "SETTINGS"


def test_settings_are_the_first_frame_of_both_sides():
    server, client = make_server(), make_client()

    assert server.frames[0].kind == "SETTINGS"
    assert client.out.startswith(PREFACE)
    assert client.frames[0].kind == "SETTINGS"


def test_the_names_of_the_package():
    assert PREFACE == peers.PREFACE
    assert {code.name: code.value for code in ErrorCode} == {code.name: code.value for code in Code}


@pytest.mark.parametrize(
    "preface",
    [
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\x00",
        b"PRI * HTTP/2.0\n\nSM\n\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"INVALID CONNECTION PREFACE\r\n\r\n",
    ],
    ids=["http/1", "version", "last-byte", "bare-lf", "tls", "h2spec"],
)
@pytest.mark.parametrize("cut", [0, 1, 3])
def test_3_4_2_an_invalid_preface_ends_the_connection(preface, cut):
    session = make_server(greet=False)
    session.deliver(preface[:cut]) if cut else None
    session.deliver(preface[cut:])

    assert [frame.kind for frame in session.frames] in ([], ["SETTINGS", "GOAWAY"])  # it may be left out
    assert session.over
    assert session.closed
    assert not [event for event in session.events if event[0]]
    session.wait(3.0)
    assert session.machine.closing is not Closing.NO


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(lambda p: p.ping(), id="ping"),
        pytest.param(lambda p: p.acknowledge(), id="acknowledgement"),
        pytest.param(lambda p: p.window_update(0, 10), id="window-update"),
        pytest.param(lambda p: raw(UNKNOWN), id="unknown"),
        pytest.param(lambda p: raw(Kind.HEADERS, 5, 1, GET), id="headers"),
        pytest.param(lambda p: b"HTTP/1.1 400 Bad Request\r\n\r\n", id="http/1"),
    ],
)
@pytest.mark.parametrize("role", ["server", "client"])
def test_3_4_the_first_frame_must_be_settings(role, first):
    session = (make_server if role == "server" else make_client)(greet=False)
    peer = session.peer
    sent = first(peer)
    peer.pings.clear()
    session.deliver((peers.PREFACE if role == "server" else b"") + sent)

    is_connection_error(session, PROTOCOL, SIZE)
    assert [event for event in session.events if event[0]] == []


def test_an_origin_of_http_1_is_recognised_by_a_client():
    """The commonest wrong port: not a frame size to wonder about, but a peer that does not speak HTTP/2."""
    session = make_client(greet=False)
    session.deliver(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    assert session.closed.type_str == "InvalidH2"


def test_5_4_1_a_connection_error_is_told_to_every_stream():
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1), peer.request(3, "POST", end=False), peer.request(5))
    session.send(5, Header(ResponseHeader(200), False), Body(b"part"))
    session.deliver(raw(Kind.PING, 0, 0, b"short"))

    assert [event[0] for event in session.events if event[1] == "failed"] == [1, 3, 5]
    assert session.events[-1][:2] == (0, "closed")
    is_connection_error(session, SIZE)
    assert session.send(5, Body(b"more")) > 0, "what is sent to a stream that was broken off is dropped"


# ── 5.1.2: concurrency ───────────────────────────────────────────────────────────────


def test_5_1_2_a_stream_too_many_is_refused():
    session = make_server(h2_max_streams=3)
    peer = session.peer
    session.deliver(*(peer.request(stream) for stream in (1, 3, 5, 7)))

    assert [event[0] for event in session.events] == [1, 3, 5]
    assert [(frame.stream, frame.value) for frame in session.frames if frame.kind == "RST_STREAM"] == [
        (7, Code.REFUSED_STREAM)
    ]
    session.deliver(peer.rst(3))
    session.useful()


def test_5_1_2_what_is_refused_still_counts_for_compression():
    session = make_server(h2_max_streams=1)
    peer = session.peer
    session.deliver(peer.request(1), peer.request(3, "GET", "/", ("x-new", "in the table")))
    session.send(1, Header(ResponseHeader(200), True))
    session.deliver(peer.request(5, "GET", "/", ("x-new", "in the table")))

    assert (b"x-new", b"in the table") in session.of(5)[0][4]


# ── 6.5.3 and 6.9.2: settings in their order ─────────────────────────────────────────


def test_6_5_3_1_the_last_value_of_a_setting_counts():
    session = make_server({})
    peer = session.peer
    twice = raw(Kind.SETTINGS, 0, 0, b"\0\4\0\0\0\x64\0\4\0\0\0\1")
    peer.unacked.append({Set.WINDOW: 1})
    session.deliver(twice, peer.request(1))
    session.send(1, Header(ResponseHeader(200), False), Body(b"hello", True))

    assert session.data(1) == b"h"


def test_6_5_3_a_value_amid_others_that_is_wrong_ends_the_connection():
    session = make_server()
    session.deliver(raw(Kind.SETTINGS, 0, 0, b"\0\4\0\0\0\x64\0\5\0\0\0\1\0\4\0\0\0\1"))

    is_connection_error(session, PROTOCOL)


# ── RFC 7541 ─────────────────────────────────────────────────────────────────────────

BLOCKS = [
    pytest.param(b"\xff\x80\x01", COMPRESSION, id="2.3.3/1-indexed-beyond-the-table"),
    pytest.param(b"\x7f\x80\x01\x01a", COMPRESSION, id="2.3.3/2-literal-name-beyond-the-table"),
    pytest.param(b"\xfe", COMPRESSION, id="2.3.3-dynamic-index-into-an-empty-table"),
    pytest.param(b"\x80", COMPRESSION, id="6.1/1-index-0"),
    pytest.param(GET + b"\x3f\x01", COMPRESSION, id="4.2/1-table-size-behind-a-field"),
    pytest.param(b"\x3f\xff\x3f" + GET, COMPRESSION, id="6.3/1-table-size-beyond-the-setting"),
    pytest.param(b"\x3f\xe1\xff\xff\xff\xff\xff\xff\x7f" + GET, COMPRESSION, id="6.3-table-size-of-63-bits"),
    pytest.param(GET + b"\x40\x01x\x82\x1c\x3f\xff", COMPRESSION, id="5.2/1-padding-of-more-than-7-bits"),
    pytest.param(GET + b"\x40\x01x\x81\x18", COMPRESSION, id="5.2/2-padding-of-zeroes"),
    pytest.param(GET + b"\x40\x01x\x84\xff\xff\xff\xff", COMPRESSION, id="5.2/3-end-of-string-in-a-string"),
    pytest.param(GET + b"\x40", COMPRESSION, id="cut-in-a-field"),
    pytest.param(GET + b"\x40\x05ab", COMPRESSION, id="cut-in-a-name"),
    pytest.param(GET + b"\x40\x01x\x0aab", COMPRESSION, id="cut-in-a-value"),
    pytest.param(GET + b"\x40\x01x\x7f", COMPRESSION, id="cut-in-a-length"),
    pytest.param(GET + b"\x40\x01x\x7f" + b"\xff" * 20 + b"\x7f", COMPRESSION, id="5.1-length-without-end"),
    pytest.param(b"\xff" + b"\x80" * 30 + b"\x00", COMPRESSION, id="5.1-index-of-many-zeroes"),
]


@pytest.mark.parametrize(("block", "code"), BLOCKS)
@pytest.mark.parametrize("role", ["server", "client"])
def test_rfc_7541(role, block, code):
    session = SITUATIONS["server_open" if role == "server" else "client_half_closed"]()
    session.peer.highest = 3 if role == "server" else 1
    session.deliver(raw(Kind.HEADERS, 5, 3 if role == "server" else 1, block))

    is_connection_error(session, code)


FORMS = [
    pytest.param(b"\x82\x86\x84\x41\x06a.test", id="indexed"),
    pytest.param(b"\x42\x03GET\x46\x04http\x44\x01/\x41\x06a.test", id="5/2-incremental-indexing-indexed-name"),
    pytest.param(
        b"\x40\x07:method\x03GET\x40\x07:scheme\x04http\x40\x05:path\x01/\x40\x0a:authority\x06a.test",
        id="5/3-incremental-indexing-new-name",
    ),
    pytest.param(b"\x02\x03GET\x06\x04http\x04\x01/\x01\x06a.test", id="5/4-without-indexing-indexed-name"),
    pytest.param(GET.replace(b"\x10", b"\x00"), id="5/5-without-indexing-new-name"),
    pytest.param(b"\x12\x03GET\x16\x04http\x14\x01/\x11\x06a.test", id="5/6-never-indexed-indexed-name"),
    pytest.param(GET, id="5/7-never-indexed-new-name"),
    pytest.param(b"\x20" + GET, id="5/8-table-size-of-0"),
    pytest.param(b"\x20\x3f\xe1\x1f" + GET, id="5/8-two-table-sizes"),
    pytest.param(b"\x82\x86\x84\x41\x85\x1d\x14\x94\x84\xa9"[:4] + b"\x41\x06a.test"[1:], id="5/9-mixed"),
    pytest.param(b"\x82\x86\x84\x01\x85" + bytes.fromhex("1ae4a2a13f"), id="5/9-huffman"),
]


@pytest.mark.parametrize("block", FORMS)
def test_5_every_form_of_a_field_is_read(block):
    session = make_server()
    session.deliver(session.peer.headers(1, request_fields(), block=block))

    assert session.of(1)[0][:4] == (1, "request", b"GET", b"/")
    assert session.of(1)[0][4][0][0] == b"host"
    session.useful()


# ── generic: whatever is legal is taken ──────────────────────────────────────────────

REQUESTS = [
    pytest.param(lambda p: p.headers(1, request_fields()), b"", id="3.2/1-headers"),
    pytest.param(lambda p: p.headers(1, request_fields(), pad=255), b"", id="3.2/2-padded-headers"),
    pytest.param(lambda p: p.headers(1, request_fields(), priority=(0, 255, False)), b"", id="3.2/3-priority"),
    pytest.param(lambda p: p.headers(1, request_fields(), priority=(3, 0, True), pad=1), b"", id="3.2-both"),
    pytest.param(lambda p: p.request(1, "POST", end=False) + p.data(1, b"test", end=True), b"test", id="3.1/1-data"),
    pytest.param(
        lambda p: p.request(1, "POST", end=False) + p.data(1, b"te") + p.data(1, b"") + p.data(1, b"st", end=True),
        b"test",
        id="3.1/2-multiple-data",
    ),
    pytest.param(
        lambda p: p.request(1, "POST", end=False) + p.data(1, b"test", end=True, pad=7), b"test", id="3.1/3-padded-data"
    ),
    pytest.param(
        lambda p: p.request(1, "POST", end=False) + p.data(1, b"test", pad=0) + p.data(1, b"", pad=255, end=True),
        b"test",
        id="3.1-only-padding",
    ),
    pytest.param(lambda p: p.headers(1, request_fields(), pieces=(0,)), b"", id="3.10/1-continuation"),
    pytest.param(lambda p: p.headers(1, request_fields(), pieces=(5, 5)), b"", id="3.10/2-continuations"),
    pytest.param(
        lambda p: p.request(1, "POST", end=False) + p.data(1, b"test") + p.headers(1, [("x-sum", "1")]),
        b"test",
        id="4/4-post-with-trailers",
    ),
    pytest.param(
        lambda p: p.request(1, "POST", end=False) + p.data(1, b"test") + p.headers(1, [("x-sum", "1")], pieces=(1, 1)),
        b"test",
        id="4/4-trailers-in-pieces",
    ),
    pytest.param(
        lambda p: p.request(1, "POST", "/", ("content-length", "4"), end=False) + p.data(1, b"test", end=True),
        b"test",
        id="4/3-post",
    ),
    pytest.param(lambda p: p.priority(1, 0, 0) + p.request(1), b"", id="3.3/1-priority-of-weight-1"),
    pytest.param(lambda p: p.priority(1, 0, 255) + p.request(1), b"", id="3.3/2-priority-of-weight-256"),
    pytest.param(lambda p: p.priority(3, 1) + p.request(1), b"", id="3.3/3-dependency"),
    pytest.param(lambda p: p.priority(3, 1, exclusive=True) + p.request(1), b"", id="3.3/4-exclusive"),
    pytest.param(lambda p: p.priority(5) + p.request(1), b"", id="3.3/5-priority-of-a-higher-idle-stream"),
    pytest.param(lambda p: p.set({}) + p.request(1), b"", id="3.5-settings"),
    pytest.param(lambda p: p.ping() + p.request(1), b"", id="3.7-ping"),
    pytest.param(lambda p: p.window_update(0, 1) + p.request(1), b"", id="3.9/1-window-update"),
    pytest.param(lambda p: p.request(1) + p.window_update(1, 1), b"", id="3.9/2-window-update-of-a-stream"),
    pytest.param(lambda p: p.request(1) + p.leave(0), b"", id="3.8-goaway"),
]


@pytest.mark.parametrize(("make", "body"), REQUESTS)
def test_generic_requests_are_served(make, body):
    session = make_server()
    session.deliver(make(session.peer))

    assert session.of(1)[0][1] == "request"
    assert session.body(1) == body
    assert session.ends(1) == 1
    session.send(1, Header(ResponseHeader(200, [("content-length", "2")]), False), Body(b"ok", True))
    assert session.status(1) == b"200"
    assert session.data(1) == b"ok"
    assert [frame.end for frame in session.frames if frame.stream == 1 and frame.kind != "WINDOW_UPDATE"] == [
        False,
        True,
    ]
    assert not session.over


def test_3_4_an_rst_stream_ends_its_stream_alone():
    session = make_server()
    peer = session.peer
    session.deliver(peer.request(1), peer.request(3), peer.rst(1))

    assert session.failure(1) is not None
    assert session.failure(3) is None
    session.useful()
