"""HTTP/2 frames as a client might send them, legal and not (RFC 9113)."""

from __future__ import annotations

from collections.abc import Iterator

from hpack import Encoder
from hypothesis import strategies as st

from sansio_pingora.http2 import PREFACE
from sansio_pingora.testing.strategies.http1 import bodies, field_names, field_values, targets

__all__ = ["http2_frame", "http2_frames", "illegal_http2_frames"]

_DATA, _HEADERS, _PRIORITY, _RST_STREAM, _SETTINGS = range(5)
_PUSH_PROMISE, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = range(5, 10)
_END_STREAM, _END_HEADERS = 0x1, 0x4
_MOST = 8_000  # bytes of a body: four of them fit the windows that a connection begins with
_CONNECTION_SPECIFIC = frozenset(b"proxy-connection keep-alive connection transfer-encoding upgrade te".split())


def http2_frame(
    kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", *, length: int | None = None
) -> bytes:
    """Any frame, legal or not; *length* is what its head declares, if that is not the truth."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _fields() -> st.SearchStrategy[list[tuple[bytes, bytes]]]:
    names = field_names().map(bytes.lower).filter(lambda name: name not in _CONNECTION_SPECIFIC)
    pairs = st.tuples(names, field_values()).filter(lambda pair: pair != (b"cookie", b""))  # a crumb of nothing
    return st.lists(pairs, max_size=4)


@st.composite
def _between(draw: st.DrawFn) -> bytes:
    """A frame that may stand between any two others, but not amid a head."""
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return http2_frame(_PING, payload=draw(st.binary(min_size=8, max_size=8)))
    if kind == 1:
        return http2_frame(_WINDOW_UPDATE, payload=draw(st.integers(1, 1_000)).to_bytes(4, "big"))
    return http2_frame(0x20, 0xFF, 0, b"unknown") if kind == 2 else http2_frame(_SETTINGS)


def _head(draw: st.DrawFn, encoder: Encoder, stream: int, fields: list[tuple[bytes, bytes]], end: bool) -> bytes:
    """HEADERS and its CONTINUATIONs, of which nothing may stand between."""
    block = encoder.encode(fields)
    at = draw(st.integers(0, len(block))) if draw(st.integers(0, 3)) == 3 else len(block)
    first, rest = block[:at], block[at:]
    flags = (_END_STREAM if end else 0) | (0 if rest else _END_HEADERS)
    frames = http2_frame(_HEADERS, flags, stream, first)
    return frames + (http2_frame(_CONTINUATION, _END_HEADERS, stream, rest) if rest else b"")


def _request(draw: st.DrawFn, encoder: Encoder, stream: int) -> Iterator[bytes]:
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"DELETE"]))
    fields = [
        (b":method", method),
        (b":scheme", b"http"),
        (b":authority", draw(st.sampled_from([b"a.test", b"a.test:8080", b"[::1]"]))),
        (b":path", draw(targets())),
        *draw(_fields()),
    ]
    body = draw(bodies())[:_MOST] if method in (b"POST", b"PUT") else None
    trailers = body is not None and draw(st.booleans())
    if body is not None and not trailers and draw(st.booleans()):
        fields.append((b"content-length", b"%d" % len(body)))
    yield _head(draw, encoder, stream, fields, body is None)
    if body is None:
        return
    cut = draw(st.integers(0, len(body)))
    yield http2_frame(_DATA, 0, stream, body[:cut])
    yield http2_frame(_DATA, 0 if trailers else _END_STREAM, stream, body[cut:])
    if trailers:
        yield _head(draw, encoder, stream, [(b"x-check", draw(field_values()))], True)


@st.composite
def http2_frames(draw: st.DrawFn) -> list[bytes]:
    """One to four legal requests, interleaved, behind a preface and SETTINGS.

    Each piece is one frame, or one head with its CONTINUATIONs. Bodies fit the windows of the start.
    """
    encoder = Encoder()
    frames = [PREFACE, http2_frame(_SETTINGS)]
    waiting = [_request(draw, encoder, 2 * number + 1) for number in range(draw(st.integers(1, 4)))]
    under_way: list[Iterator[bytes]] = []
    while waiting or under_way:
        # A new stream has a higher number than all before it, so they begin in their order.
        if waiting and (not under_way or draw(st.booleans())):
            story = waiting.pop(0)
            under_way.append(story)
        else:
            story = draw(st.sampled_from(under_way))
        frame = next(story, None)
        if frame is None:
            under_way.remove(story)
        else:
            frames.append(frame)
            if draw(st.integers(0, 4)) == 4:
                frames.append(draw(_between()))
    return frames


_ILLEGAL = (
    http2_frame(_DATA, 0, 0, b"x"),  # on the connection
    http2_frame(_DATA, 0, 101, b"x"),  # on an idle stream
    http2_frame(_HEADERS, _END_HEADERS | _END_STREAM, 0, b"\x82"),
    http2_frame(_HEADERS, _END_HEADERS | _END_STREAM, 2, b"\x82\x86\x84"),  # of a server's number
    http2_frame(_HEADERS, _END_HEADERS, 103, b"\xff\xff\xff\xff\xff\xff"),  # that HPACK cannot read
    http2_frame(_PRIORITY, 0, 0, bytes(5)),
    http2_frame(_RST_STREAM, 0, 0, bytes(4)),
    http2_frame(_RST_STREAM, 0, 105, bytes(4)),
    http2_frame(_RST_STREAM, 0, 1, bytes(3)),
    http2_frame(_SETTINGS, 0, 1),
    http2_frame(_SETTINGS, 0, 0, bytes(5)),
    http2_frame(_SETTINGS, 1, 0, bytes(6)),  # an ACK with a payload
    http2_frame(_SETTINGS, 0, 0, b"\x00\x04\x80\x00\x00\x00"),  # a window of 2**31
    http2_frame(_PUSH_PROMISE, _END_HEADERS, 1, bytes(4)),
    http2_frame(_PING, 0, 1, bytes(8)),
    http2_frame(_PING, 0, 0, bytes(7)),
    http2_frame(_GOAWAY, 0, 1, bytes(8)),
    http2_frame(_WINDOW_UPDATE, 0, 0, bytes(4)),
    http2_frame(_WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"),  # beyond the largest window
    http2_frame(_CONTINUATION, _END_HEADERS, 1),  # of no head
    http2_frame(_DATA, 0, 1, length=16_777_215),  # larger than any frame may be
)


@st.composite
def illegal_http2_frames(draw: st.DrawFn) -> list[bytes]:
    """Legal frames with one among them that every server must answer with GOAWAY and an error."""
    illegal = draw(st.sampled_from(_ILLEGAL))  # first: behind the others it would hardly vary
    frames = draw(http2_frames())
    frames.insert(draw(st.integers(2, len(frames))), illegal)
    return frames
