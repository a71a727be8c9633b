"""Conversations of many streams, made by a seeded generator: legal ones, and such as are a step away from it.

Not hypothesis: a hundred thousand of them in a few minutes, the same on every Python. Fields are
compressed by hpack, with a dynamic table that both sides have to keep.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from hpack import Encoder, NeverIndexedHeaderTuple

from tests.http2.peer import ACK, END_HEADERS, END_STREAM, PADDED, PREFACE, PRIORITY_FLAG, Kind, Set, literal, raw

__all__ = ["Asked", "conversation", "cut", "mutated", "of_client", "of_server", "split"]

Fields = list[tuple[bytes, bytes]]


class Asked(NamedTuple):
    """A request that the client under test sends, before it is answered."""

    method: str
    end: bool


_METHODS = (b"GET", b"GET", b"GET", b"POST", b"POST", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"M-SEARCH")
_PATHS = (b"/", b"/", b"/a/b?c=d", b"/%20?", b"//x//y/../z/.", b"/a|b^c`d{e}", b"/" + b"p" * 300)
_AUTHORITIES = (b"a.test", b"a.test:80", b"[::1]:8080", b"127.0.0.1", b"my_app.test")
_FIELDS = (
    (b"accept", b"*/*"),
    (b"x", b""),
    (b"x-long", b"v" * 700),
    (b"cookie", b"a=b; c=d"),
    (b"cookie", b"e=f"),
    (b"x-obs", b"caf\xe9 \t mixed"),
    (b"!#$%&'*+-.^_`|~0", b"odd name"),
    (b"te", b"trailers"),
    (b"via", b"1.1 x"),
    (b"x-comma", b"a,,b, ,c"),
    (b"authorization", b"secret"),
    (b"priority", b"u=1, i"),
    (b"set-cookie", b"g=h"),
    (b"x-many", b"1"),
)
_TRAILERS = ((b"x-sum", b"1"), (b"etag", b'"x"'), (b"x-empty", b""), (b"grpc-status", b"0"))
_STATUSES = (b"200", b"200", b"200", b"201", b"204", b"206", b"301", b"304", b"404", b"500", b"599", b"999")
_BODIES = (b"", b"x", b"hello", b"\x00\xff" * 40, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"b" * 3000, b"c" * 30_000)
_SETTINGS = (
    (Set.WINDOW, (0, 1, 5, 100, 65_535, 2**20, 2**31 - 1)),
    (Set.FRAME, (16_384, 20_000, 2**24 - 1)),
    (Set.TABLE, (0, 100, 4096, 10_000)),
    (Set.STREAMS, (0, 1, 100)),
    (Set.LIST, (0, 1000, 2**31)),
    (Set.CONNECT, (0, 1)),
    (Set.PUSH, (0, 0, 1)),
    (0x55, (7,)),
)

_ALTSVC, _UNKNOWN = 0x0A, 0x77
_CONTROL = (
    Kind.SETTINGS,
    Kind.SETTINGS,
    Kind.PING,
    Kind.GOAWAY,
    Kind.PRIORITY_UPDATE,
    Kind.WINDOW_UPDATE,
    Kind.WINDOW_UPDATE,
    Kind.PRIORITY,
    Kind.RST_STREAM,
    _ALTSVC,
    _UNKNOWN,
)

# What makes a header list bad: replace or add one field. The first item is where: None for behind the others.
_BAD_FIELDS: tuple[tuple[bytes | None, bytes, bytes], ...] = (
    (None, b"X-Upper", b"1"),
    (None, b"", b"1"),
    (None, b"x y", b"1"),
    (None, b"x:y", b"1"),
    (None, b"x\x00", b"1"),
    (None, b"x\xe9", b"1"),
    (None, b"x\x7f", b"1"),
    (None, b"x(", b"1"),
    (None, b"x-nul", b"a\x00b"),
    (None, b"x-lf", b"a\nb"),
    (None, b"x-cr", b"a\rb"),
    (None, b"x-ctl", b"a\x01b"),
    (None, b"x-del", b"a\x7fb"),
    (None, b"x-blank", b" a"),
    (None, b"x-blank", b"a\t"),
    (None, b"connection", b"close"),
    (None, b"keep-alive", b"timeout=5"),
    (None, b"proxy-connection", b"close"),
    (None, b"transfer-encoding", b"chunked"),
    (None, b"upgrade", b"h2c"),
    (None, b"te", b"gzip"),
    (None, b"te", b"trailers, deflate"),
    (None, b"te", b"Trailers"),
    (None, b"content-length", b"7"),
    (None, b"content-length", b"0"),
    (None, b"content-length", b"+5"),
    (None, b"content-length", b"5, 5"),
    (None, b"content-length", b""),
    (None, b"content-length", b"5 "),
    (None, b"content-length", b"99999999999999999999999"),
    (None, b"content-length", b"\xb2"),
    (None, b"host", b"a.test"),
    (None, b"host", b"A.test"),
    (None, b"host", b"other.test"),
    (None, b"host", b""),
    (None, b"expect", b"100-continue"),
    (None, b"expect", b"100-Continue"),
    (None, b"expect", b"wonders"),
    (None, b":late", b"1"),
    (None, b":path", b"/late"),
    (None, b":status", b"200"),
    (b":status", b":status", b"101"),
    (b":status", b":status", b"099"),
    (b":status", b":status", b"1"),
    (b":status", b":status", b"20"),
    (b":status", b":status", b"2000"),
    (b":status", b":status", b"abc"),
    (b":status", b":status", b"100"),
    (b":status", b":status", b"103"),
    (b":status", b":method", b"GET"),
    (b":method", b":method", b"get"),
    (b":method", b":method", b""),
    (b":method", b":method", b"G T"),
    (b":method", b":method", b"CONNECT"),
    (b":method", b":method", b"PRI"),
    (b":scheme", b":scheme", b"http"),
    (b":scheme", b":scheme", b"HTTPS"),
    (b":scheme", b":scheme", b"ftp"),
    (b":scheme", b":scheme", b""),
    (b":scheme", b":Scheme", b"http"),
    (b":authority", b":authority", b""),
    (b":authority", b":authority", b"u@a.test"),
    (b":authority", b":authority", b"a b"),
    (b":authority", b":authority", b"a.test:"),
    (b":authority", b":authority", b"a.test:99999"),
    (b":path", b":path", b""),
    (b":path", b":path", b"*"),
    (b":path", b":path", b"x"),
    (b":path", b":path", b"http://a.test/"),
    (b":path", b":path", b"/a b"),
    (b":path", b":path", b"/a#b"),
    (b":path", b":path", b"/\xc3\xa9"),
    (b":path", b":path", b"/\x00"),
    (b":path", b":protocol", b"websocket"),
)


class _Side:
    """One side of a connection, as far as it sends."""

    def __init__(self, dice: Random) -> None:
        self.dice = dice
        self.encoder = Encoder()
        self.slips = 0.06 if dice.random() < 0.5 else 0.0
        """How often a header list, or a size, is not as it should be."""

    def _block(self, fields: Fields) -> bytes:
        dice = self.dice
        if dice.random() < 0.05:
            self.encoder.header_table_size = dice.choice((0, 100, 4096))
        if dice.random() < 0.1:
            return b"".join(literal(name, value, first=dice.choice((0x00, 0x10))) for name, value in fields)
        listed = [NeverIndexedHeaderTuple(*field) if dice.random() < 0.1 else field for field in fields]
        # hpack needs time for a long string's code that grows with its square.
        short = all(len(value) < 5_000 for _, value in fields)
        return bytes(self.encoder.encode(listed, huffman=short and dice.random() < 0.7))

    def head(self, stream: int, fields: Fields, *, end: bool) -> list[bytes]:
        """HEADERS, perhaps padded, with priority, and in pieces."""
        dice = self.dice
        block = self._block(fields)
        flags = END_STREAM if end else 0
        pieces = [block]
        if dice.random() < 0.15 or len(block) > 16_000:
            size = dice.choice((16_000, 7_000, len(block) // 3 + 1, len(block) // 9 + 1))
            pieces = [block[at : at + size] for at in range(0, len(block), size)] or [b""]
        first = pieces[0]
        if dice.random() < 0.1:
            flags |= PRIORITY_FLAG
            first = dice.choice((0, 1, 3, stream + 2, 2**31 + 5)).to_bytes(4, "big") + b"\x0f" + first
        if dice.random() < 0.1:
            flags |= PADDED
            pad = dice.choice((0, 1, 200))
            first = bytes((pad,)) + first + bytes(pad)
        frames = [raw(Kind.HEADERS, flags, stream, first)]
        frames += [raw(Kind.CONTINUATION, 0, stream, piece) for piece in pieces[1:]]
        last = frames[-1]
        frames[-1] = last[:4] + bytes((last[4] | END_HEADERS,)) + last[5:]
        return frames

    def body(self, stream: int, body: bytes, *, end: bool) -> Iterator[list[bytes]]:
        """DATA that makes up *body*."""
        dice = self.dice
        while body or end:
            size = min(len(body), dice.choice((1, 100, 16_000)) if len(body) < 5_000 else 16_000)
            last = size == len(body) and end and (size == 0 or dice.random() < 0.6)
            payload, flags = body[:size], END_STREAM if last else 0
            if dice.random() < 0.15:
                flags |= PADDED
                pad = dice.choice((0, 1, 255))
                payload = bytes((pad,)) + payload + bytes(pad)
            yield [raw(Kind.DATA, flags, stream, payload)]
            body = body[size:]
            if last:
                return

    def message(self, stream: int, pseudo: Fields, *, may_end: bool = True) -> Iterator[list[bytes]]:
        """A head, a body and trailers."""
        dice = self.dice
        fields = pseudo + [dice.choice(_FIELDS) for _ in range(dice.choice((0, 0, 1, 2, 5)))]
        body = dice.choice(_BODIES) if dice.random() < 0.5 else b""
        if dice.random() < self.slips / 2:
            fields += [(b"x-flood", b"%d" % number) for number in range(dice.choice((10, 130, 1500)))]
        if dice.random() < self.slips / 2:
            fields.append((b"x-large", b"l" * dice.choice((3_000, 40_000, 70_000, 280_000))))
        if body and dice.random() < 0.5:
            fields.append((b"content-length", b"%d" % len(body)))
        if dice.random() < self.slips:
            fields = bad(dice, fields)
        ends = may_end and not body and dice.random() < 0.8
        yield self.head(stream, fields, end=ends)
        if ends:
            return
        trailed = dice.random() < 0.2
        yield from self.body(stream, body, end=not trailed)
        if trailed:
            trailers = list(dice.sample(_TRAILERS, dice.choice((0, 1, 2))))
            if dice.random() < 3 * self.slips:
                trailers = bad(dice, trailers)
            yield self.head(stream, trailers, end=dice.random() >= self.slips)

    def settings(self) -> bytes:
        dice = self.dice
        chosen = dice.sample(_SETTINGS, dice.choice((0, 0, 1, 2)))
        payload = b"".join(
            int(key).to_bytes(2, "big") + dice.choice(values).to_bytes(4, "big") for key, values in chosen
        )
        return raw(Kind.SETTINGS, 0, 0, payload)

    def control(self, streams: list[int]) -> bytes:
        """A frame that is about the connection, or about a stream beside its message."""
        dice = self.dice
        stream = dice.choice([*streams, 0, 99])
        kind = dice.choice(_CONTROL)
        match kind:
            case Kind.SETTINGS:
                return self.settings() if dice.random() < 0.6 else raw(kind, ACK)
            case Kind.PING:
                return raw(kind, dice.choice((0, 0, ACK)), 0, b"12345678")
            case Kind.GOAWAY:
                last, code = dice.choice((0, 1, 3, 2**31 - 1)), dice.choice((0, 0, 2, 13))
                return raw(kind, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big"))
            case Kind.PRIORITY_UPDATE:
                return raw(kind, 0, 0, stream.to_bytes(4, "big") + dice.choice((b"u=0", b"i", b"?", b"")))
            case Kind.WINDOW_UPDATE:
                increment = dice.choice((1, 10, 65_535, 2**31 - 1))
                return raw(kind, 0, dice.choice((0, stream)), increment.to_bytes(4, "big"))
            case Kind.PRIORITY:
                return raw(kind, 0, stream or 1, dice.choice((0, 1, 3)).to_bytes(4, "big") + b"\x0f")
            case Kind.RST_STREAM:
                return raw(kind, 0, stream or 1, dice.choice((0, 1, 7, 8, 13, 99)).to_bytes(4, "big"))
        return raw(kind, dice.randrange(256), stream, dice.choice((b"", b'\x00\x00h2=":1"', b"\x00\x09short")))


def bad(dice: Random, fields: Fields) -> Fields:
    """*fields* with one thing about them that is not as it should be, or seldom is."""
    fields = list(fields)
    how = dice.randrange(8)
    if how == 0 and fields:
        del fields[dice.randrange(len(fields))]
    elif how == 1 and fields:
        fields.append(dice.choice(fields))
    elif how == 2:
        dice.shuffle(fields)
    else:
        place, name, value = dice.choice(_BAD_FIELDS)
        at = next((at for at, field in enumerate(fields) if field[0] == place), None)
        if at is not None and dice.random() < 0.8:
            fields[at] = name, value
        elif at is not None:
            fields.insert(at, (name, value))
        else:
            fields.insert(dice.randint(max(len(fields) - 1, 0), len(fields)), (name, value))
    return fields


def _request(dice: Random) -> Fields:
    method = dice.choice(_METHODS)
    authority = dice.choice(_AUTHORITIES)
    if dice.random() < 0.04:
        return [(b":method", b"CONNECT"), (b":authority", dice.choice((b"a.test:443", authority)))]
    fields = [(b":method", method), (b":scheme", dice.choice((b"http", b"https"))), (b":path", dice.choice(_PATHS))]
    if dice.random() < 0.04:
        fields = [(b":method", b"CONNECT"), *fields[1:], (b":protocol", dice.choice((b"websocket", b"h2x")))]
    if dice.random() < 0.1:
        return [*fields, (b"host", authority)]
    fields.append((b":authority", authority))
    if dice.random() < 0.3:
        dice.shuffle(fields)
    return fields


def _interleaved(
    dice: Random, side: _Side, waiting: list[tuple[int, Iterator[list[bytes]]]], frames: list[bytes]
) -> None:
    """The messages of *waiting*, opened in order, mixed frame by frame, with control frames in between."""
    live: list[tuple[int, Iterator[list[bytes]]]] = []
    known: list[int] = []
    eagerness = dice.choice((0.2, 0.5, 1.0))
    chatter = dice.choice((0.0, 0.05, 0.3)) if side.slips else 0.0
    while waiting or live:
        if waiting and (not live or dice.random() < eagerness):
            live.append(waiting.pop(0))
            known.append(live[-1][0])
        entry = live[-1] if dice.random() < 0.5 else dice.choice(live)
        step = next(entry[1], None)
        if step is None:
            live.remove(entry)
        else:
            frames += step
            if len(step) == 1 and dice.random() < chatter:
                frames.append(side.control(known))


def of_client(dice: Random) -> list[bytes]:
    """What a client sends: the preface, and frames."""
    side = _Side(dice)
    frames = [PREFACE, side.settings()]
    if dice.random() < 0.8:
        frames.append(raw(Kind.SETTINGS, ACK))
    count = dice.choice((1, 1, 2, 3, 5, 8))
    step = dice.choice((2, 2, 2, 4))
    waiting = [(1 + step * number, side.message(1 + step * number, _request(dice))) for number in range(count)]
    _interleaved(dice, side, waiting, frames)
    return frames


def _answer(dice: Random, side: _Side, stream: int) -> Iterator[list[bytes]]:
    while dice.random() < 0.15:
        fields = [
            (b":status", dice.choice((b"100", b"103", b"103", b"199"))),
            *dice.sample(_FIELDS, dice.choice((0, 1))),
        ]
        yield side.head(stream, bad(dice, fields) if dice.random() < side.slips else fields, end=False)
    yield from side.message(stream, [(b":status", dice.choice(_STATUSES))])


def of_server(dice: Random) -> tuple[list[Asked], list[bytes]]:
    """What a client asks, and what a server answers."""
    asked = [
        Asked(dice.choice(("GET", "GET", "GET", "HEAD", "POST", "CONNECT")), dice.random() < 0.7)
        for _ in range(dice.choice((1, 1, 2, 3, 5, 8)))
    ]
    side = _Side(dice)
    frames = [side.settings()]
    if dice.random() < 0.8:
        frames.append(raw(Kind.SETTINGS, ACK))
    waiting = [(stream, _answer(dice, side, stream)) for stream in range(1, 2 * len(asked), 2)]
    if dice.random() < 0.3:
        dice.shuffle(waiting)
    _interleaved(dice, side, waiting, frames)
    return asked, frames


def conversation(dice: Random, *, client: bool) -> tuple[list[Asked], list[bytes]]:
    """What a client is to ask, and the frames of its peer; *client*: the side that sends them is the client."""
    return ([], of_client(dice)) if client else of_server(dice)


def mutated(dice: Random, frames: list[bytes]) -> list[bytes]:
    """*frames* with one to three things changed; now and then they are legal still."""
    frames = list(frames)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        if len(frames) < 2:
            break
        at = dice.randrange(len(frames) - 1) + (dice.random() < 0.95)  # seldom the preface
        frame = frames[at]
        if len(frame) < 9:  # it was cut before
            continue
        how = dice.randrange(11)
        if how == 0:
            del frames[at]
        elif how == 1:
            frames.insert(dice.randint(at, len(frames)), frame)
        elif how == 2:
            other = dice.randrange(len(frames))
            frames[at], frames[other] = frames[other], frame
        elif how == 3:  # shorter, or longer, and its length says so
            payload = frame[9:]
            payload = payload[: dice.randint(0, len(payload))] if dice.random() < 0.7 else payload + b"\x00" * 5
            frames[at] = len(payload).to_bytes(3, "big") + frame[3:9] + payload
        elif how == 4:
            frames[at] = frame[:4] + bytes((frame[4] ^ dice.choice((1, 1, 4, 8, 32, 0x42)),)) + frame[5:]
        elif how == 5:
            frames[at] = frame[:3] + bytes((dice.choice((*range(12), 16, 0x77)),)) + frame[4:]
        elif how == 6:
            stream = dice.choice((0, 1, 2, 3, 5, 7, 101, 2**31 + 1))
            frames[at] = frame[:5] + stream.to_bytes(4, "big") + frame[9:]
        elif how == 7:
            frames[at] = dice.choice((0, 1, 4, 16_385, 2**24 - 1)).to_bytes(3, "big") + frame[3:]
        elif how == 8 and len(frame) > 9:
            place = dice.randrange(9, min(len(frame), 200))
            frames[at] = frame[:place] + bytes((frame[place] ^ (1 << dice.randrange(8)),)) + frame[place + 1 :]
        elif how == 9:
            frames.insert(at, _Side(dice).control([1, 3, 5]))
        else:
            frames = [*frames[:at], frame[: dice.randint(1, len(frame))]]
    return frames


def split(data: bytes, *, client: bool) -> list[bytes]:
    """*data* frame by frame, as a reader of the lengths cuts it; the rest is the last piece."""
    at = len(PREFACE) if client and data.startswith(PREFACE) else 0
    pieces = [data[:at]] if at else []
    while len(data) - at >= 9:
        stop = at + 9 + int.from_bytes(data[at : at + 3], "big")
        if stop > len(data):
            break
        pieces.append(data[at:stop])
        at = stop
    return [*pieces, data[at:]] if data[at:] else pieces


def cut(dice: Random, data: bytes) -> list[bytes]:
    """*data* in pieces: whole, in two, in a few, or the beginning of it in many."""
    how = dice.randrange(4)
    if how == 0 or len(data) < 2:
        return [data] if data else []
    if how == 3:
        size = dice.choice((1, 2, 3, 11))
        return [data[at : at + size] for at in range(0, min(len(data), 400), size)] + (
            [data[400 + -400 % size :]] if data[400 + -400 % size :] else []
        )
    places = sorted({dice.randrange(1, len(data)) for _ in range(1 if how == 1 else 6)})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
