"""WebSocket frames as a peer might send them, legal and not (RFC 6455, RFC 7692)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from hypothesis import strategies as st

from sansio_pingora.websocket import Deflate, handshake_request, judge_request
from sansio_pingora.websocket.deflate import Deflater
from sansio_pingora.websocket.frames import Opcode, frame_head, masked
from sansio_pingora.wire import RequestHeader, ResponseHeader

__all__ = [
    "ILLEGAL_FRAMES",
    "Says",
    "WebSocketConversation",
    "illegal_websocket_frames",
    "websocket_conversations",
    "websocket_deflates",
    "websocket_frame",
    "websocket_frames",
]

_MASK = b"\x11\x22\x33\x44"

_TEXTS = st.text(max_size=12) | st.sampled_from(["é" * 300, "x" * 126, "\U0001f40d" * 70])
_BYTES = st.binary(max_size=12) | st.sampled_from([b"\xfe" * 125, b"y" * 126, bytes(range(256)) * 20, bytes(70_000)])
_LEGAL_CODES = [1000, 1001, 1011, 1013, 3000, 4999]
_CODES = st.sampled_from([*_LEGAL_CODES, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000])


def websocket_frame(opcode: int, data: bytes, *, fin: bool = True, rsv: int = 0, mask: bytes | None = _MASK) -> bytes:
    """Any frame, legal or not; *mask* is None for one of a server."""
    head = bytearray(frame_head(opcode, len(data), fin=fin, mask=mask))
    head[0] |= rsv << 4
    return bytes(head) + (data if mask is None else masked(data, mask))


def _pieces(data: bytes, places: list[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(place * len(data) // 100 for place in places)})
    return [data[start:end] for start, end in pairwise(bounds)] or [b""]


def _packer(deflate: Deflate | None, *, server: bool) -> Callable[[bytes], bytes] | None:
    """What compresses the messages towards that end, each with what came before it where that was settled."""
    if deflate is None:
        return None
    if server:
        bits, alone = deflate.client_max_window_bits, deflate.client_no_context_takeover
    else:
        bits, alone = deflate.server_max_window_bits, deflate.server_no_context_takeover
    deflater = Deflater(bits, keep=not alone)
    return lambda data: deflater.deflate(data, True)


@st.composite
def websocket_frames(
    draw: st.DrawFn,
    *,
    server: bool,
    deflate: Deflate | None = None,
    amid: bool = True,
    ends: bool = True,
    faults: bool = False,
) -> list[bytes]:
    """Legal frames towards a *server* or a client: messages in any number of frames, pings, pongs, perhaps a close.

    *deflate*: what was settled about compression, as :func:`websocket_deflates` gives it: some messages are
    compressed; None: none is. *amid*: pings come between the frames of a message, too. *ends*: a close may be the
    last. *faults*: anything may come of what is illegal, closes with any code and frames behind them too.
    """
    if deflate is not None and not isinstance(deflate, Deflate):
        raise TypeError(
            f"deflate={deflate!r}: a Deflate of sansio_pingora.websocket is asked for, as websocket_deflates() gives "
            f"it, or None for no compression"
        )
    mask = _MASK if server else None
    pack = _packer(deflate, server=server)
    frames: list[bytes] = []
    for kind, *what in draw(_steps(ends, faults)):
        if kind == "message":
            frames += _message(mask, amid, pack, *what)
        elif kind == "fault":
            opcode, data, fin, rsv, masked_as = what
            other = (mask, mask, _MASK, None)[masked_as]
            frames.append(websocket_frame(opcode, data, fin=fin, rsv=rsv, mask=other))
        else:
            frames.append(websocket_frame(Opcode[kind], what[0], mask=mask))
            if kind == "CLOSE" and not faults:
                break
    return frames


def _message(
    mask: bytes | None,
    amid: bool,
    pack: Callable[[bytes], bytes] | None,
    message: str | bytes,
    shape: int,
) -> Iterator[bytes]:
    places = [place * 3 for place in (shape & 31, shape >> 5 & 31) if place]
    pinged, packed = shape >> 10 & 1, shape >> 11 & 1
    data = message.encode() if isinstance(message, str) else message
    rsv = 0
    if pack is not None and packed:
        data, rsv = pack(data), 4
    pieces = _pieces(data, places)
    for at, piece in enumerate(pieces):
        opcode = Opcode.CONTINUATION if at else Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
        yield websocket_frame(opcode, piece, fin=at == len(pieces) - 1, rsv=0 if at else rsv, mask=mask)
        if amid and pinged:
            yield websocket_frame(Opcode.PING, b"%d" % at, mask=mask)


@cache
def _steps(ends: bool, faults: bool) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """What the frames come from: each by itself, so that any of them can be left out."""
    shapes = st.integers(0, (1 << 12) - 1)  # one draw, with which a message has no more than can be left out in one go
    messages = st.tuples(st.just("message"), _TEXTS | _BYTES, shapes)
    short = st.binary(max_size=9)
    kinds = [messages, messages, messages, st.tuples(st.just("PING"), short), st.tuples(st.just("PONG"), short)]
    if faults or ends:
        said: list[bytes] = [b"", b"bye", "é".encode(), *([b"\xff"] if faults else [])]
        reasons = st.sampled_from(said)
        codes = (_CODES if faults else st.sampled_from(_LEGAL_CODES)).map(lambda code: code.to_bytes(2, "big"))
        bodies = st.sampled_from([b"", *([b"\x03"] if faults else [])]) | st.tuples(codes, reasons).map(b"".join)
        kinds.append(st.tuples(st.just("CLOSE"), bodies))
    if faults:
        odd = st.binary(max_size=6) | st.just(b"z" * 126)
        kinds.append(
            st.tuples(st.just("fault"), st.integers(0, 15), odd, st.booleans(), st.integers(0, 7), st.integers(0, 3))
        )
    return st.lists(st.one_of(kinds), max_size=8)


_TEXT, _BINARY, _GOES_ON, _CLOSE, _PING = Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION, Opcode.CLOSE, Opcode.PING
_Illegal = tuple[int, bytes, bool, int]
"""The opcode of a frame, its data, FIN, and the reserved bits."""
ILLEGAL_FRAMES: dict[str, tuple[tuple[_Illegal, ...], ...]] = {
    "text is not UTF-8": (
        ((_TEXT, b"a\xc3", True, 0),),  # ends amid a character
        ((_TEXT, b"\xf0\x9f\x90", True, 0),),
        ((_TEXT, b"\xe2\x82", False, 0), (_GOES_ON, b"", True, 0)),
        ((_TEXT, b"\xe2\x82", False, 0), (_GOES_ON, b"a", True, 0)),
        ((_TEXT, b"\x80", True, 0),),
        ((_TEXT, b"\xc0\xaf", True, 0),),  # longer than it need be
        ((_TEXT, b"\xed\xa0\x80", True, 0),),  # a surrogate
        ((_TEXT, b"\xf4\x90\x80\x80", True, 0),),  # beyond Unicode
    ),
    "a message in the wrong place": (
        ((_GOES_ON, b"a", True, 0),),  # goes on where there is none
        ((_TEXT, b"a", False, 0), (_TEXT, b"b", True, 0)),  # amid another
        ((_BINARY, b"a", False, 0), (_BINARY, b"b", True, 0)),
    ),
    "an unknown opcode": (((3, b"", True, 0),), ((15, b"", True, 0),)),
    "a reserved bit": (((_TEXT, b"a", True, 1),), ((_BINARY, b"a", True, 2),), ((_PING, b"", True, 4),)),
    "a control frame in pieces or too long": (((_PING, b"", False, 0),), ((_PING, b"p" * 126, True, 0),)),
    "a close": (
        ((_CLOSE, b"\x03", True, 0),),  # half a code
        ((_CLOSE, b"\x03\xed", True, 0),),  # 1005, which is never sent
        ((_CLOSE, b"\x03\xe7", True, 0),),  # 999
        ((_CLOSE, b"\x03\xe8\xc3", True, 0),),  # a reason that ends amid a character
    ),
    "masked by the wrong end": (((_TEXT, b"a", True, 0),),),
    "a length": (((_BINARY, b"a", True, 0),), ((_TEXT, b"", True, 0),)),
}
"""What of a WebSocket must be answered with a close of 1002 or 1007: the frames, by what is wrong with them."""
# The mark of how many bytes a length has, and what is added to it: longer than it need be, or beyond 63 bits.
_LENGTHS = ((126, 0), (127, 0), (127, 1 << 63))


def _illegal(kind: str, frames: tuple[_Illegal, ...], form: int, *, server: bool) -> list[bytes]:
    mask = _MASK if server is not (kind == "masked by the wrong end") else None
    raws = [websocket_frame(opcode, data, fin=fin, rsv=rsv, mask=mask) for opcode, data, fin, rsv in frames]
    if kind == "a length":
        mark, more = _LENGTHS[form % len(_LENGTHS)]
        (raw,) = raws
        length = (raw[1] & 127 | more).to_bytes(2 if mark == 126 else 8, "big")
        raws = [raw[:1] + bytes([raw[1] & 128 | mark]) + length + raw[2:]]
    return raws


@st.composite
def illegal_websocket_frames(draw: st.DrawFn, *, server: bool) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Legal frames, one or two that every end must answer with a close of 1002 or 1007, and legal frames again.

    What is wrong is one of :data:`ILLEGAL_FRAMES`. Messages of the first are whole; no extension was agreed on.
    """
    kind = draw(_KINDS_OF_ILLEGAL)  # first: behind the others it would hardly vary
    which = draw(st.integers(0, 23))
    variants = ILLEGAL_FRAMES[kind]
    illegal = _illegal(kind, variants[which % len(variants)], which // len(variants), server=server)
    legal = websocket_frames(server=server, ends=False)
    return draw(legal), illegal, draw(legal)


_KINDS_OF_ILLEGAL = st.sampled_from([*ILLEGAL_FRAMES])


def websocket_deflates() -> st.SearchStrategy[Deflate | None]:
    """What a handshake may have settled about compression: for ``WebSocketSession`` and :func:`websocket_frames`."""
    return st.none() | st.builds(
        Deflate,
        server_no_context_takeover=st.booleans(),
        client_no_context_takeover=st.booleans(),
        server_max_window_bits=st.integers(9, 15),
        client_max_window_bits=st.integers(9, 15),
    )


class Says(NamedTuple):
    """What one end of a WebSocket says."""

    side: str
    """``client`` or ``server``."""
    data: str | bytes | int
    """A message of text or of bytes; for a close its code."""
    kind: str = "message"
    """``message``, ``ping`` or ``close``."""
    frames: int = 1
    """In how many frames a message goes."""

    def __repr__(self) -> str:
        rest = ""
        if self.kind != "message":
            rest = f", {self.kind!r}"
        elif self.frames != 1:
            rest = f", frames={self.frames}"
        return f"Says({self.side!r}, {self.data!r}{rest})"


def _head(line: bytes, head: RequestHeader | ResponseHeader) -> bytes:
    return b"\r\n".join([line, *(b"%b: %b" % field for field in head.fields.items), b"", b""])


class WebSocketConversation:
    """A WebSocket from its handshake to its close, as both ends put it on the wire.

    Pings are answered by pongs and a close by a close; what is said behind a close is left out. Nothing is compressed.
    """

    def __init__(self, says: Sequence[Says]) -> None:
        self.says = list(says)

    def pieces(self) -> Iterator[tuple[str, bytes]]:
        """Who sends, and what, in order: the two heads, then frame by frame."""
        request = handshake_request("a.test", "/chat", b"0123456789abcdef", deflate=False)
        yield "client", _head(b"GET %b HTTP/1.1" % request.target, request)
        yield "server", _head(b"HTTP/1.1 101 Switching Protocols", judge_request(request).head)
        for said in self.says:
            yield from self._frames(said)
            if said.kind == "close":
                return

    def _frames(self, said: Says) -> Iterator[tuple[str, bytes]]:
        masks = {"client": _MASK, "server": None}
        other = "server" if said.side == "client" else "client"
        mask = masks[said.side]
        if isinstance(said.data, int):
            code = said.data.to_bytes(2, "big")
            yield said.side, websocket_frame(Opcode.CLOSE, code, mask=mask)
            yield other, websocket_frame(Opcode.CLOSE, code, mask=masks[other])
            return
        raw = said.data.encode() if isinstance(said.data, str) else said.data
        if said.kind == "ping":
            yield said.side, websocket_frame(Opcode.PING, raw, mask=mask)
            yield other, websocket_frame(Opcode.PONG, raw, mask=masks[other])
            return
        size = -(-len(raw) // said.frames)
        for at in range(said.frames):
            opcode = Opcode.CONTINUATION if at else Opcode.TEXT if isinstance(said.data, str) else Opcode.BINARY
            piece = raw[at * size : (at + 1) * size]
            yield said.side, websocket_frame(opcode, piece, fin=at == said.frames - 1, mask=mask)

    def sent(self, side: str) -> bytes:
        """All that *side* sends."""
        return b"".join(data for who, data in self.pieces() if who == side)

    def messages(self, side: str) -> list[str | bytes]:
        """The messages that *side* says, as far as it comes to it."""
        found: list[str | bytes] = []
        for said in self.says:
            if said.kind == "close":
                break
            if said.kind == "message" and said.side == side and not isinstance(said.data, int):
                found.append(said.data)
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WebSocketConversation) and self.says == other.says

    __hash__ = None  # type: ignore[assignment]  # its list can be changed

    def __repr__(self) -> str:
        return f"WebSocketConversation({self.says!r})"


@st.composite
def websocket_conversations(draw: st.DrawFn, *, most: int = 6) -> WebSocketConversation:
    """A whole exchange: a handshake, up to *most* messages and pings of both ends, and perhaps a close of one."""
    sides = st.sampled_from(["client", "server"])
    messages = st.builds(Says, sides, _TEXTS | _BYTES, st.just("message"), st.integers(1, 4))
    pings = st.builds(Says, sides, st.binary(max_size=9), st.just("ping"))
    says = draw(st.lists(messages | pings, max_size=most))
    if draw(st.booleans()):
        says.append(Says(draw(sides), draw(st.sampled_from([1000, 1001, 3000, 4999])), "close"))
    return WebSocketConversation(says)
