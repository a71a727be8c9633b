"""One WebSocket behind its handshake: frames, messages, the closing handshake, pings, and time."""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable
from enum import IntEnum, auto

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.limits import Limits
from sansio_pingora.websocket.deflate import Deflate, Deflater, Inflater
from sansio_pingora.websocket.events import (
    CloseCode,
    Closed,
    MessagePart,
    Ping,
    Pong,
    WebSocketEvent,
    WebSocketFault,
    may_be_sent,
)
from sansio_pingora.websocket.frames import FrameReader, Opcode, Piece, write_frame

__all__ = ["State", "WebSocketSession"]

_MAX_REASON = 123
_MAX_PONGS = 16
"""Pongs that wait to be sent: of more pings than that the latest are answered (RFC 6455 section 5.5.3)."""
_WORTH_DEFLATING = 32
"""Bytes of a message below which compressing it costs more than it saves."""
_new_decoder = codecs.getincrementaldecoder("utf-8")


class State(IntEnum):
    """Where a WebSocket stands."""

    OPEN = auto()
    CLOSING = auto()  # our close frame was sent, the peer's is to come
    CLOSED = auto()


class WebSocketSession:
    """Bytes and the time in, events and bytes out. It knows nothing of HTTP: a handshake came before.

    *mask*: gives four random bytes for each frame; a client has it, a server has None.
    When ``finished`` is true, end the transport behind what :meth:`data_to_send` gives.
    """

    __slots__ = (
        "_decoder",
        "_deflater",
        "_deflating",
        "_fragments",
        "_heard",
        "_inflater",
        "_inflating",
        "_limits",
        "_mask",
        "_message",
        "_next_ping",
        "_out",
        "_pings",
        "_pongs",
        "_reader",
        "_sending",
        "_size",
        "_unanswered",
        "deadline",
        "finished",
        "state",
    )

    def __init__(
        self,
        now: float,
        limits: Limits,
        *,
        deflate: Deflate | None = None,
        mask: Callable[[], bytes] | None = None,
    ) -> None:
        server = mask is None
        self._limits = limits
        self._mask = mask
        self._reader = FrameReader(server=server, extension=deflate is not None)
        self._inflater: Inflater | None = None
        self._deflater: Deflater | None = None
        if deflate is not None:
            theirs, ours = deflate.client_no_context_takeover, deflate.server_no_context_takeover
            bits = deflate.server_max_window_bits
            if not server:
                theirs, ours, bits = ours, theirs, deflate.client_max_window_bits
            # The peer's window is taken for the largest: it may be, and a larger one reads a smaller.
            self._inflater = Inflater(15, keep=not theirs, ceiling=limits.ws_max_message)
            self._deflater = Deflater(bits, keep=not ours)
        self.state = State.OPEN
        self.finished = False
        """Nothing more is to be sent: our side ends behind what is queued."""
        self._out: list[bytes] = []
        self._pongs: list[bytes] = []
        # receiving
        self._message: Opcode | None = None  # TEXT or BINARY: amid a message
        self._inflating = False
        self._size = self._fragments = 0
        self._decoder = _new_decoder()
        # sending
        self._sending: Opcode | None = None  # amid a message of ours
        self._deflating = False
        # time
        self._heard = now
        self._pings = 0
        self._unanswered = False  # our last ping, by anything at all
        interval = limits.ws_ping_interval
        self._next_ping = math.inf if interval is None else now + interval
        self.deadline = self._next_ping

    # ── input ────────────────────────────────────────────────────────────────────────

    def receive_data(self, data: bytes, now: float) -> list[WebSocketEvent]:
        """Bytes from the peer; ``b""`` is :meth:`receive_eof`."""
        if not data:
            return self.receive_eof(now)
        events: list[WebSocketEvent] = []
        if self.state is State.CLOSED:
            return events
        self._unanswered = False
        self._heard = now
        reader = self._reader
        reader.receive(data)
        try:
            while not self.finished and (piece := reader.read()) is not None:
                if piece.opcode >= Opcode.CLOSE:
                    self._control(piece, events, now)
                elif self.state is State.OPEN:
                    self._data(piece, events)
        except WebSocketFault as fault:
            self._fail(fault.code, fault.reason, events, now)
        return events

    def receive_eof(self, now: float) -> list[WebSocketEvent]:
        """The peer ended its side, or the transport is gone."""
        events: list[WebSocketEvent] = []
        if self.state is not State.CLOSED:
            self._closed(CloseCode.ABNORMAL, "the connection ended without a close frame", events)
        self.finished = True
        return events

    def _data(self, piece: Piece, events: list[WebSocketEvent]) -> None:
        if piece.starts:
            self._frame_starts(piece)
        ends = piece.ends
        last = piece.fin and ends
        if self._inflating:
            assert self._inflater is not None  # RSV1 is refused without the extension
            held = b""
            for data in self._inflater.inflate(piece.data, last):
                if held:
                    self._part(held, False, False, events)
                held = data
            self._part(held, last, ends, events)
        else:
            self._size += len(piece.data)
            self._part(piece.data, last, ends, events)
        if last:
            self._message = None

    def _frame_starts(self, piece: Piece) -> None:
        if piece.opcode is Opcode.CONTINUATION:
            if self._message is None:
                raise WebSocketFault(CloseCode.PROTOCOL_ERROR, "a continuation of nothing")
            self._fragments += 1
            if self._fragments > self._limits.ws_max_fragments:
                raise WebSocketFault(
                    CloseCode.TOO_BIG, f"more than {self._limits.ws_max_fragments} frames of a message"
                )
        else:
            if self._message is not None:
                raise WebSocketFault(CloseCode.PROTOCOL_ERROR, "a message amid a message")
            self._message = piece.opcode
            self._inflating = piece.compressed
            self._size = 0
            self._fragments = 1
        if not self._inflating and self._size + piece.length > self._limits.ws_max_message:
            raise WebSocketFault(CloseCode.TOO_BIG, f"a message of more than {self._limits.ws_max_message} bytes")

    def _part(self, data: bytes, last: bool, ends: bool, events: list[WebSocketEvent]) -> None:
        part: str | bytes = data
        if self._message is Opcode.TEXT:
            try:
                part = self._decoder.decode(data, last)
            except UnicodeDecodeError as exc:
                raise WebSocketFault(CloseCode.INVALID_DATA, f"text that is not UTF-8: {exc.reason}") from None
            if data and data[-1] >= 0x80 and self._decoder.getstate()[0][:1] == b"\xed":
                self._judge_surrogate(self._decoder.getstate()[0])
        if part or ends:
            events.append(MessagePart(part, last, ends))

    def _judge_surrogate(self, begun: bytes) -> None:
        """Python's decoder waits for the third byte of a surrogate, which its second has given away."""
        if len(begun) > 1 and begun[1] > 0x9F:
            raise WebSocketFault(CloseCode.INVALID_DATA, "text that is not UTF-8: a surrogate")

    def _control(self, piece: Piece, events: list[WebSocketEvent], now: float) -> None:
        if piece.opcode is Opcode.CLOSE:
            self._peer_closes(piece.data, events, now)
        elif self.state is not State.OPEN:
            return
        elif piece.opcode is Opcode.PING:
            if len(self._pongs) == _MAX_PONGS:
                del self._pongs[0]
            self._pongs.append(piece.data)
            events.append(Ping(piece.data))
        else:
            events.append(Pong(piece.data))

    def _peer_closes(self, data: bytes, events: list[WebSocketEvent], now: float) -> None:
        code, reason = CloseCode.NO_STATUS.value, ""
        if data:
            code = int.from_bytes(data[:2], "big")
            if len(data) < 2 or not may_be_sent(code):
                raise WebSocketFault(CloseCode.PROTOCOL_ERROR, f"a close frame with {data[:2].hex()}")
            try:
                reason = data[2:].decode("utf-8")
            except UnicodeDecodeError:
                raise WebSocketFault(CloseCode.INVALID_DATA, "a close reason that is not UTF-8") from None
        if self.state is State.OPEN:
            self._put(Opcode.CLOSE, data[:2])
        self._closed(code, reason, events)

    # ── output ───────────────────────────────────────────────────────────────────────

    def send(self, data: str | bytes, *, last: bool = True) -> None:
        """Send a message, or with *last* False a part of one that goes on with the next call.

        :raises LocalProtocolError: it is closing, or *data* is of another kind than the message that it goes on with.
        """
        if self.state is not State.OPEN:
            raise LocalProtocolError(f"the WebSocket is {self.state.name}: nothing can be sent")
        kind = Opcode.TEXT if isinstance(data, str) else Opcode.BINARY
        if self._sending is not None and self._sending is not kind:
            raise LocalProtocolError(f"a message of {self._sending.name} goes on with {kind.name}")
        raw = data.encode("utf-8") if isinstance(data, str) else data
        first = self._sending is None
        if first:
            self._deflating = self._deflater is not None and (not last or len(raw) >= _WORTH_DEFLATING)
        if self._deflating:
            assert self._deflater is not None
            raw = self._deflater.deflate(raw, last)
        opcode = kind if first else Opcode.CONTINUATION
        self._put(opcode, raw, fin=last, compressed=self._deflating and first)
        self._sending = None if last else kind

    def ping(self, data: bytes = b"") -> None:
        """Ask for a pong with the same *data*, 125 bytes at most.

        :raises LocalProtocolError: it is closing, or *data* is too long.
        """
        if self.state is not State.OPEN or len(data) > 125:
            raise LocalProtocolError(f"the WebSocket is {self.state.name}, the ping of {len(data)} bytes: up to 125")
        self._put(Opcode.PING, data)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "", *, now: float) -> None:
        """Begin the closing handshake; nothing when it has begun.

        :raises LocalProtocolError: *code* is none that may be sent, or *reason* is longer than 123 bytes.
        """
        raw = reason.encode("utf-8")
        if not may_be_sent(code) or len(raw) > _MAX_REASON:
            raise LocalProtocolError(f"a close frame with code {code} and a reason of {len(raw)} bytes (of 123)")
        if self.state is State.OPEN:
            self._put(Opcode.CLOSE, code.to_bytes(2, "big") + raw)
            self.state = State.CLOSING
            self.deadline = now + self._limits.ws_close_timeout

    def data_to_send(self) -> list[bytes]:
        """What to write, in order; handed out once. Pongs first."""
        if self._pongs and self.state is not State.CLOSED:
            out = [self._frame(Opcode.PONG, data) for data in self._pongs] + self._out
            self._pongs = []
        else:
            out = self._out
        if out:
            self._out = []
        return out

    def _put(self, opcode: Opcode, data: bytes, *, fin: bool = True, compressed: bool = False) -> None:
        self._out.append(self._frame(opcode, data, fin=fin, compressed=compressed))

    def _frame(self, opcode: Opcode, data: bytes, *, fin: bool = True, compressed: bool = False) -> bytes:
        mask = None if self._mask is None else self._mask()
        return write_frame(opcode, data, fin=fin, compressed=compressed, mask=mask)

    # ── time and ends ────────────────────────────────────────────────────────────────

    def handle_timeout(self, now: float) -> list[WebSocketEvent]:
        """Time has passed. Early or repeated calls are harmless."""
        events: list[WebSocketEvent] = []
        if now < self.deadline:
            return events
        if self.state is State.CLOSING:
            self._closed(CloseCode.ABNORMAL, "no close frame within ws_close_timeout", events)
        elif self.state is State.OPEN:
            self._ping_due(events, now)
        return events

    def _ping_due(self, events: list[WebSocketEvent], now: float) -> None:
        interval = self._limits.ws_ping_interval
        assert interval is not None  # it has a deadline
        if self._unanswered:
            self._fail(CloseCode.INTERNAL_ERROR, "no answer to a ping within ws_ping_interval", events, now)
        elif self._heard + interval > now:
            self.deadline = self._heard + interval  # whoever speaks need not be asked
        else:
            self._pings += 1
            self._put(Opcode.PING, b"%d" % self._pings)
            self._unanswered = True
            self.deadline = now + interval

    def _fail(self, code: CloseCode, reason: str, events: list[WebSocketEvent], now: float) -> None:
        """Fail the WebSocket (RFC 6455 section 7.1.7)."""
        if self.state is State.OPEN:
            self._put(Opcode.CLOSE, code.to_bytes(2, "big") + reason.encode("utf-8")[:_MAX_REASON])
        self._closed(code, reason, events)

    def _closed(self, code: int, reason: str, events: list[WebSocketEvent]) -> None:
        self.state = State.CLOSED
        self.finished = True
        self.deadline = math.inf
        events.append(Closed(code, reason))
