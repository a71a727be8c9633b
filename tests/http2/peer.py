"""A peer of one's own: frames by hyperframe, fields by hpack, and a strict eye on whatever comes back.

Nothing here comes from the package under test, so that both cannot be wrong in the same way. A frame is
given as bytes by the method that is named after it; making one is taken for sending it. :meth:`Peer.read`
takes what the other side puts out, proves that it may be sent now, and gives it back as :class:`Seen`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from hpack import Decoder, Encoder
from hpack.hpack import encode_integer
from hyperframe import frame as frames

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGEST = 2**31 - 1
DEFAULT_WINDOW = 65_535
DEFAULT_FRAME = 16_384

Field = tuple[str, str] | tuple[bytes, bytes]


class Code(IntEnum):
    """RFC 9113 section 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Set(IntEnum):
    """RFC 9113 section 6.5.2, RFC 8441, RFC 9218."""

    TABLE = 1
    PUSH = 2
    STREAMS = 3
    WINDOW = 4
    FRAME = 5
    LIST = 6
    CONNECT = 8
    NO_PRIORITIES = 9


class Kind(IntEnum):
    """Frame types."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9
    PRIORITY_UPDATE = 16


END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY_FLAG = 1, 1, 4, 8, 32


class Seen(NamedTuple):
    """A frame that the other side sent; a head of several frames counts as one."""

    kind: str
    stream: int = 0
    value: Any = None
    end: bool = False

    def __repr__(self) -> str:
        value = f"<{len(self.value)} bytes>" if isinstance(self.value, bytes) and len(self.value) > 60 else self.value
        return f"{self.kind}({self.stream}, {value!r}{', end' if self.end else ''})"


def raw(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """Any frame, however wrong."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes, *, first: int = 0x10, huffman: bool = False) -> bytes:
    """A field with a literal name, in one of the literal forms (0x00, 0x10, 0x40), whatever it holds."""
    return bytes((first,)) + _string(name) + _string(value)


def _string(text: bytes) -> bytes:
    return bytes(encode_integer(len(text), 7)) + text


def block_of(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A field block that never touches the table and holds any bytes."""
    return b"".join(literal(name, value) for name, value in fields)


GET = block_of([(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/")])
OK = block_of([(b":status", b"200")])


@dataclass
class Half:
    """What is known of one stream, from the peer's side."""

    window: int
    """What the other side may still send."""
    credit: int
    """What we may still send."""
    ours_ended: bool = False
    theirs_ended: bool = False
    ours_reset: bool = False
    theirs_reset: bool = False
    head: bool = False
    """Their final head has come."""
    method: bytes = b"GET"
    tunnel: bool = False
    length: int | None = None
    got: int = 0
    """Bytes of DATA that came."""
    gave: int = 0
    """Flow-controlled bytes that we sent."""
    returned: int = 0

    @property
    def over(self) -> bool:
        return self.ours_reset or self.theirs_reset or (self.ours_ended and self.theirs_ended)


class Peer:
    """The other end of a machine under test. ``watches_server``: that machine is a server."""

    def __init__(self, *, watches_server: bool, target: int = LARGEST) -> None:
        self.watches_server = watches_server
        self.target = target
        """No window of the connection that is offered to us may grow beyond it."""
        self.encoder = Encoder()
        self.decoder = Decoder(max_header_list_size=2**24)
        self.streams: dict[int, Half] = {}
        self.never_indexed: dict[int, set[bytes]] = {}
        """By stream, of the last head: the names whose values nobody may index (RFC 7541 section 6.2.3)."""
        self.highest = 0
        """The highest stream id of the client, whichever side that is."""
        self.settings: dict[int, int] = {}
        """What the other side announced."""
        self.window = DEFAULT_WINDOW
        """What the other side may still send, in total."""
        self.credit = DEFAULT_WINDOW
        """What we may still send, in total."""
        self.gave = 0
        self.returned = 0
        """Credit that came for the connection, beyond its first window."""
        self.first_credit = DEFAULT_WINDOW
        self.frame = DEFAULT_FRAME
        self.stream_window = DEFAULT_WINDOW
        self.max_streams = LARGEST
        self.goaway: int | None = None
        self.unacked: deque[dict[int, int]] = deque()
        self.pings: deque[bytes] = deque()
        self.acks = 0
        self._buffer = b""
        self._awaits_preface = not watches_server
        self._settings_seen = False
        self._block: tuple[int, bool, bytes] | None = None

    # ── frames to send ───────────────────────────────────────────────────────────────

    def hello(self, values: Mapping[int, int] | None = None) -> bytes:
        """What a connection begins with."""
        return (PREFACE if self.watches_server else b"") + self.set(values or {})

    def set(self, values: Mapping[int, int]) -> bytes:
        self.unacked.append(dict(values))
        return frames.SettingsFrame(0, settings=dict(values)).serialize()

    def acknowledge(self) -> bytes:
        self.acks += 1
        return frames.SettingsFrame(0, flags=["ACK"]).serialize()

    def headers(
        self,
        stream: int,
        fields: Iterable[Field] = (),
        *,
        end: bool = True,
        block: bytes | None = None,
        pieces: Iterable[int] = (),
        pad: int | None = None,
        priority: tuple[int, int, bool] | None = None,
        huffman: bool = True,
    ) -> bytes:
        """A head, cut after *pieces* bytes into frames, or where it must be; *block* is taken as it is."""
        fields = list(fields)
        self._opened(stream, fields)
        self.streams[stream].ours_ended |= end
        if block is None:
            block = self.encoder.encode(fields, huffman=huffman)
        cuts = [*pieces] or [16_000] * ((len(block) - 1) // 16_000)
        first, block = (block[: cuts[0]], block[cuts[0] :]) if cuts else (block, b"")
        head = frames.HeadersFrame(stream, first)
        if end:
            head.flags.add("END_STREAM")
        if pad is not None:
            head.flags.add("PADDED")
            head.pad_length = pad
        if priority is not None:
            head.flags.add("PRIORITY")
            head.depends_on, head.stream_weight, head.exclusive = priority
        parts = [head]
        for size in cuts[1:]:
            parts.append(frames.ContinuationFrame(stream, block[:size]))  # type: ignore[arg-type]
            block = block[size:]
        if cuts:
            parts.append(frames.ContinuationFrame(stream, block))  # type: ignore[arg-type]
        parts[-1].flags.add("END_HEADERS")
        return b"".join(part.serialize() for part in parts)

    def _opened(self, stream: int, fields: list[Any]) -> None:
        if self.watches_server:
            self.highest = max(self.highest, stream)
        half = self.streams.get(stream)
        if half is None:
            credit = self.settings.get(Set.WINDOW, DEFAULT_WINDOW)
            half = self.streams[stream] = Half(self.stream_window, credit)
            for name, value in fields if self.watches_server else ():
                if name in {":method", b":method"}:
                    half.method = value if isinstance(value, bytes) else value.encode("latin-1")

    def data(self, stream: int, payload: bytes = b"", *, end: bool = False, pad: int | None = None) -> bytes:
        frame = frames.DataFrame(stream, payload)
        if end:
            frame.flags.add("END_STREAM")
        if pad is not None:
            frame.flags.add("PADDED")
            frame.pad_length = pad
        self.spend(stream, len(payload) + (0 if pad is None else pad + 1), end=end)
        return frame.serialize()

    def spend(self, stream: int, size: int, *, end: bool = False) -> None:
        """So many flow-controlled bytes leave."""
        half = self.streams.get(stream)
        if half is not None:
            half.ours_ended |= end
            half.credit -= size
            half.gave += size
        self.credit -= size
        self.gave += size

    def rst(self, stream: int, code: int = Code.CANCEL) -> bytes:
        if stream in self.streams:
            self.streams[stream].ours_reset = True
        return frames.RstStreamFrame(stream, code).serialize()

    def window_update(self, stream: int, increment: int) -> bytes:
        if stream and stream in self.streams:
            self.streams[stream].window += increment
        elif not stream:
            self.window += increment
        return frames.WindowUpdateFrame(stream, increment).serialize()

    def ping(self, payload: bytes = b"12345678") -> bytes:
        self.pings.append(payload)
        return frames.PingFrame(0, payload).serialize()

    def pong(self, payload: bytes) -> bytes:
        return frames.PingFrame(0, payload, flags=["ACK"]).serialize()

    def leave(self, last: int, code: int = Code.NO_ERROR, debug: bytes = b"") -> bytes:
        return frames.GoAwayFrame(0, last, code, debug).serialize()

    def priority(self, stream: int, depends_on: int = 0, weight: int = 15, *, exclusive: bool = False) -> bytes:
        return frames.PriorityFrame(
            stream, depends_on=depends_on, stream_weight=weight, exclusive=exclusive
        ).serialize()

    def priority_update(self, stream: int, value: bytes) -> bytes:
        """RFC 9218 section 7.1."""
        return raw(Kind.PRIORITY_UPDATE, 0, 0, stream.to_bytes(4, "big") + value)

    def request(self, stream: int, method: str = "GET", path: str = "/", *fields: Field, end: bool = True) -> bytes:
        """The head of an ordinary request."""
        return self.headers(stream, request_fields(method, path, *fields), end=end)

    def response(self, stream: int, status: int = 200, *fields: Field, end: bool = True) -> bytes:
        """The head of an ordinary response."""
        return self.headers(stream, [(":status", str(status)), *fields], end=end)  # type: ignore[list-item]

    # ── what comes back ──────────────────────────────────────────────────────────────

    def read(self, data: bytes) -> list[Seen]:
        """The frames in *data*, each proved.

        :raises AssertionError: the other side sent what it must not send.
        """
        self._buffer += data
        seen: list[Seen] = []
        if self._awaits_preface and len(self._buffer) >= len(PREFACE):
            assert self._buffer.startswith(PREFACE), "a client begins with the preface"
            self._buffer = self._buffer[len(PREFACE) :]
            self._awaits_preface = False
        while not self._awaits_preface and len(self._buffer) >= 9:
            frame, size = frames.Frame.parse_frame_header(memoryview(self._buffer[:9]), strict=True)
            assert size <= self.frame, f"a frame of {size} bytes where {self.frame} are allowed"
            if len(self._buffer) < 9 + size:
                break
            frame.parse_body(memoryview(self._buffer[9 : 9 + size]))
            self._buffer = self._buffer[9 + size :]
            if (found := self._frame(frame, size)) is not None:
                seen.append(found)
        return seen

    @property
    def rest(self) -> bytes:
        """What is not a whole frame yet."""
        return self._buffer

    def _frame(self, frame: Any, size: int) -> Seen | None:
        stream = frame.stream_id
        if not self._settings_seen:
            assert isinstance(frame, frames.SettingsFrame), f"{frame} before SETTINGS"
            assert "ACK" not in frame.flags, "an acknowledgement before SETTINGS"
            self._settings_seen = True
        if self._block is not None:
            assert isinstance(frame, frames.ContinuationFrame), f"{frame} amid a head"
        match frame:
            case frames.HeadersFrame():
                self._block = stream, "END_STREAM" in frame.flags, frame.data
                return self._head_part(frame)
            case frames.ContinuationFrame():
                assert self._block is not None, "CONTINUATION without a head"
                assert self._block[0] == stream
                self._block = stream, self._block[1], self._block[2] + frame.data
                return self._head_part(frame)
            case frames.DataFrame():
                return self._data(stream, bytes(frame.data), "END_STREAM" in frame.flags, size)
            case frames.RstStreamFrame():
                if stream < self.highest and stream & 1:  # passed over, and so closed (RFC 9113 section 5.1.1)
                    self.streams.setdefault(stream, Half(0, 0, ours_ended=True, theirs_ended=True))
                self._known(stream, "RST_STREAM").theirs_reset = True
                return Seen("RST_STREAM", stream, _code(frame.error_code))
            case frames.SettingsFrame():
                return self._settings(frame)
            case frames.PingFrame():
                if "ACK" in frame.flags:
                    assert self.pings, "an answer to no PING"
                    assert self.pings.popleft() == frame.opaque_data, "the answer to another PING"
                    return Seen("PONG", 0, frame.opaque_data)
                return Seen("PING", 0, frame.opaque_data)
            case frames.GoAwayFrame():
                last = frame.last_stream_id
                assert self.goaway is None or last <= self.goaway, "GOAWAY takes back what the last one refused"
                self.goaway = last
                return Seen("GOAWAY", 0, (last, _code(frame.error_code), frame.additional_data))
            case frames.WindowUpdateFrame():
                return self._credited(stream, frame.window_increment)
        raise AssertionError(f"{frame} is never sent")

    def _known(self, stream: int, what: str) -> Half:
        assert stream in self.streams, f"{what} on the idle stream {stream}"
        half = self.streams[stream]
        assert not half.theirs_reset, f"{what} behind RST_STREAM on {stream}"
        return half

    def _settings(self, frame: Any) -> Seen:
        if "ACK" in frame.flags:
            assert self.unacked, "an acknowledgement of nothing"
            for key, value in self.unacked.popleft().items():
                self._apply(key, value)
            return Seen("ACK")
        values = {int(key): value for key, value in frame.settings.items()}
        assert values.get(Set.PUSH, 0) == 0, "nobody here wants pushes"
        assert values.get(Set.WINDOW, 0) <= LARGEST
        assert DEFAULT_FRAME <= values.get(Set.FRAME, DEFAULT_FRAME) < 2**24
        if Set.WINDOW in values:
            change = values[Set.WINDOW] - self.settings.get(Set.WINDOW, DEFAULT_WINDOW)
            for half in self.streams.values():
                half.credit += change
        if Set.TABLE in values:
            self.encoder.header_table_size = values[Set.TABLE]
        self.settings |= values
        return Seen("SETTINGS", 0, values)

    def _apply(self, key: int, value: int) -> None:
        if key == Set.WINDOW:
            for half in self.streams.values():
                half.window += value - self.stream_window
            self.stream_window = value
        elif key == Set.FRAME:
            self.frame = value
        elif key == Set.TABLE:
            self.decoder.max_allowed_table_size = value
        elif key == Set.STREAMS:
            self.max_streams = value

    def _credited(self, stream: int, increment: int) -> Seen:
        assert 1 <= increment <= LARGEST
        if not stream:
            self.credit += increment
            if not self.gave and not self.returned:
                self.first_credit += increment
            else:
                self.returned += increment
            assert self.credit <= max(self.target, DEFAULT_WINDOW), f"a window of {self.credit} for {self.target}"
            assert self.returned <= self.gave, "more credit than was used"
        else:
            half = self._known(stream, "WINDOW_UPDATE")
            half.credit += increment
            half.returned += increment
            assert half.credit <= LARGEST
            assert half.returned <= half.gave, f"more credit for stream {stream} than it used"
        return Seen("WINDOW_UPDATE", stream, increment)

    def _data(self, stream: int, payload: bytes, end: bool, size: int) -> Seen:
        half = self._known(stream, "DATA")
        assert not half.ours_reset, f"DATA on stream {stream}, which was reset"
        assert half.head, f"DATA before the head on stream {stream}"
        assert not half.theirs_ended, f"DATA behind the end of stream {stream}"
        self.window -= size
        half.window -= size
        # Without a byte of payload it may always be sent (RFC 9113 section 6.9.1).
        assert self.window >= 0 or not size, f"DATA beyond the connection's window by {-self.window}"
        assert half.window >= 0 or not size, f"DATA beyond the window of stream {stream} by {-half.window}"
        half.got += len(payload)
        half.theirs_ended = end
        if half.length is not None:
            assert half.got <= half.length, f"{half.got} bytes where Content-Length declares {half.length}"
            assert not end or half.got == half.length, f"{half.got} bytes of a Content-Length of {half.length}"
        return Seen("DATA", stream, payload, end)

    def _head_part(self, frame: Any) -> Seen | None:
        if "END_HEADERS" not in frame.flags:
            return None
        assert self._block is not None
        stream, end, block = self._block
        self._block = None
        decoded = self.decoder.decode(block, raw=True)
        self.never_indexed[stream] = {bytes(field[0]) for field in decoded if not field.indexable}
        fields = [(bytes(name), bytes(value)) for name, value in decoded]
        self._head(stream, fields, end)
        return Seen("HEADERS", stream, fields, end)

    def _head(self, stream: int, fields: list[tuple[bytes, bytes]], end: bool) -> None:
        if not self.watches_server and stream not in self.streams:
            assert stream & 1, "a client's stream is odd"
            assert stream > self.highest, "a client's streams rise"
            live = sum(not half.over for half in self.streams.values())
            assert live < self.max_streams, f"stream {stream} beyond {self.max_streams} at once"
            self.highest = stream
            self.streams[stream] = Half(self.stream_window, self.settings.get(Set.WINDOW, DEFAULT_WINDOW))
        half = self._known(stream, "HEADERS")
        assert not half.ours_reset, f"HEADERS on stream {stream}, which was reset"
        assert not half.theirs_ended, f"HEADERS behind the end of stream {stream}"
        if half.head:
            assert end, "trailers that end nothing"
            assert not half.tunnel, "trailers in a tunnel"
            prove_fields(fields)
            assert half.length is None or half.got == half.length, "trailers behind too few bytes"
        elif self.watches_server:
            self._response_head(half, fields, end)
        else:
            self._request_head(half, fields, end)
        half.theirs_ended = end

    def _response_head(self, half: Half, fields: list[tuple[bytes, bytes]], end: bool) -> None:
        assert fields, "a head without fields"
        assert fields[0][0] == b":status", f"{fields[0][0]!r} where :status is due"
        status = fields[0][1]
        assert re.fullmatch(rb"[1-5][0-9][0-9]", status), status
        assert status != b"101"
        prove_fields(fields[1:])
        lengths = [int(value) for name, value in fields if name == b"content-length"]
        assert len(lengths) <= 1
        if status[:1] == b"1":
            assert not end, "a 1xx that ends the stream"
            assert not lengths
            return
        half.head = True
        if half.method == b"CONNECT" and status[:1] == b"2":
            assert not lengths
            half.tunnel = True
            return
        assert not (status == b"204" and lengths)
        silent = half.method == b"HEAD" or status in {b"204", b"304"}
        half.length = 0 if silent else lengths[0] if lengths else None
        assert not end or not half.length, "a head that ends the response declares a body"

    def _request_head(self, half: Half, fields: list[tuple[bytes, bytes]], end: bool) -> None:
        pseudo = {}
        while fields and fields[0][0].startswith(b":"):
            name, value = fields[0]
            assert name not in pseudo, f"{name!r} twice"
            pseudo[name] = value
            fields = fields[1:]
        prove_fields(fields)
        half.head = True
        half.method = pseudo[b":method"]
        assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", half.method)
        if half.method == b"CONNECT" and b":protocol" not in pseudo:
            assert pseudo.keys() == {b":method", b":authority"}
        else:
            assert pseudo.keys() - {b":protocol"} == {b":method", b":scheme", b":authority", b":path"}
            assert re.fullmatch(rb"/[!-~]*|\*", pseudo[b":path"]), pseudo[b":path"]
            assert pseudo[b":scheme"] in {b"http", b"https"}
        assert re.fullmatch(rb"[!-~]+", pseudo[b":authority"])
        assert b":protocol" not in pseudo or half.method == b"CONNECT"
        assert b"host" not in dict(fields), "Host beside :authority"
        lengths = [int(value) for name, value in fields if name == b"content-length"]
        assert len(lengths) <= 1
        half.length = lengths[0] if lengths else None
        half.tunnel = half.method == b"CONNECT"
        assert not end or not half.length, "a head that ends the request declares a body"


def prove_fields(fields: Iterable[tuple[bytes, bytes]]) -> None:
    """Fields that HTTP/2 may carry (RFC 9113 section 8.2)."""
    for name, value in fields:
        assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9a-z-]+", name), f"field name {name!r}"
        assert re.fullmatch(rb"([!-~\x80-\xff]([\t -~\x80-\xff]*[!-~\x80-\xff])?)?", value), f"value {value!r}"
        assert name not in {
            b"connection",
            b"keep-alive",
            b"proxy-connection",
            b"transfer-encoding",
            b"upgrade",
            b"http2-settings",
        }, f"{name!r} is of one connection alone"
        assert name != b"te" or value == b"trailers"


def request_fields(method: str = "GET", path: str = "/", *fields: Field) -> list[Any]:
    """The fields of an ordinary request."""
    return [(":method", method), (":scheme", "http"), (":authority", "a.test"), (":path", path), *fields]


def _code(code: int) -> int:
    try:
        return Code(code)
    except ValueError:
        return code
