"""One WebSocket behind its handshake: frames, messages, the closing handshake, pings, and time."""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE
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
from sansio_pingora.websocket.frames import FrameReader, Opcode, frame_head, write_frame
from sansio_pingora.websocket.states import MOVES, Move, State
from sansio_pingora.wire import octets

__all__ = ["WebSocketSession"]

_MAX_REASON = 123
_MAX_PONGS = 16
"""Pongs that wait to be sent: of more pings than that the latest are answered (RFC 6455 section 5.5.3)."""
_WORTH_DEFLATING = 32
"""Bytes of a message below which compressing it costs more than it saves."""
_BATCH = 65_536
"""Inflated bytes that one input tells of, about; the rest waits. 64 KiB can hold 64 messages of 1 MiB each."""
_LARGE = 65_536
"""Bytes of a payload that is put out beside its head, rather than copied behind it."""
_CONTROL = 0x8
_new_decoder = codecs.getincrementaldecoder("utf-8")


class WebSocketSession:
    """Bytes and the time in, events and bytes out. It knows nothing of HTTP: a handshake came before.

    *mask*: gives four random bytes for each frame; a client has it, a server has None.
    *patient*: what ends it, the peer's close frame or its fault, takes effect by :meth:`finish` alone, so that
    answers to what came before can go first (RFC 6455 section 5.5.1). Otherwise it does at once.
    When ``finished`` is true, end the transport behind what :meth:`data_to_send` gives.
    """

    __slots__ = (
        "_compressed",
        "_decoder",
        "_deflater",
        "_due",
        "_fragments",
        "_heard",
        "_inflater",
        "_last",
        "_limits",
        "_mask",
        "_message",
        "_out",
        "_patient",
        "_pings",
        "_pongs",
        "_reader",
        "_sending",
        "_size",
        "_unanswered",
        "deadline",
        "ending",
        "finished",
        "queued",
        "state",
    )

    def __init__(
        self,
        now: float,
        limits: Limits,
        *,
        deflate: Deflate | None = None,
        mask: Callable[[], bytes] | None = None,
        patient: bool = False,
    ) -> None:
        server = mask is None
        self._limits = limits
        self._mask = mask
        self._patient = patient
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
        self.ending = False
        """Nothing more comes, and :meth:`finish` is due."""
        self._last = (b"", 0, "")
        self._out: list[bytes] = []
        self.queued = 0
        """Bytes that :meth:`data_to_send` would give, pongs aside."""
        self._pongs: list[bytes] = []
        # receiving
        self._message: Opcode | None = None  # TEXT or BINARY: amid a message
        self._compressed = False
        self._size = self._fragments = 0
        self._decoder = _new_decoder()
        # sending
        self._sending: Opcode | None = None  # amid a message of ours
        # time
        self._heard = now
        self._pings = 0
        self._unanswered = False  # our last ping, by anything at all
        interval = limits.ws_ping_interval
        self._due = math.inf if interval is None else now + interval
        self.deadline = self._due
        """When to call :meth:`handle_timeout`; :data:`AT_ONCE`: it has more to tell of what has come."""

    # ── input ────────────────────────────────────────────────────────────────────────

    def receive_data(self, data: bytes, now: float) -> list[WebSocketEvent]:
        """Bytes from the peer; ``b""`` is :meth:`receive_eof`."""
        if not data:
            return self.receive_eof(now)
        events: list[WebSocketEvent] = []
        if self.state is State.CLOSED or self.ending:
            return events
        self._unanswered = False
        self._heard = now
        self._reader.receive(data)
        self._read(events)
        return events

    def receive_eof(self, now: float) -> list[WebSocketEvent]:
        """The peer ended its side, or the transport is gone."""
        events = self.finish()
        if self.state is not State.CLOSED:
            self._closed(CloseCode.ABNORMAL, "the connection ended without a close frame", events)
        self.finished = True
        return events

    def _read(self, events: list[WebSocketEvent]) -> None:
        """Tell of what has come, but of what inflates only so much at a time."""
        reader, inflater = self._reader, self._inflater
        room = _BATCH
        try:
            while not (self.finished or self.ending):
                if inflater is not None and inflater.pending:
                    if self.state is not State.OPEN:
                        inflater.drop()
                    elif room <= 0:
                        break
                    else:
                        room -= self._inflate(inflater, events)
                    continue
                data = reader.read()
                if data is None:
                    break
                if reader.opcode >= _CONTROL:
                    self._control(data, events)
                elif self.state is State.OPEN:
                    self._data(data, events)
        except WebSocketFault as fault:
            self._end(_farewell(fault.code, fault.reason), fault.code, fault.reason, events)
        self._arm()

    def _data(self, data: bytes, events: list[WebSocketEvent]) -> None:
        reader = self._reader
        if reader.starts:
            self._frame_starts()
        last = reader.fin and reader.ends
        if self._compressed:
            assert self._inflater is not None  # RSV1 is refused without the extension
            self._inflater.give(data, last)
        else:
            self._size += len(data)
            self._part(data, last, reader.ends, events)

    def _inflate(self, inflater: Inflater, events: list[WebSocketEvent]) -> int:
        """Tell of the next piece of a compressed frame; its size."""
        reader = self._reader
        data = inflater.take()
        ends = reader.ends and not inflater.pending
        self._part(data, reader.fin and ends, ends, events)
        return len(data)

    def _frame_starts(self) -> None:
        reader, limits = self._reader, self._limits
        if reader.opcode is Opcode.CONTINUATION:
            if self._message is None:
                raise WebSocketFault(CloseCode.PROTOCOL_ERROR, "a continuation of nothing")
            self._fragments += 1
            if self._fragments > limits.ws_max_fragments:
                raise WebSocketFault(CloseCode.TOO_BIG, f"more than {limits.ws_max_fragments} frames of a message")
        else:
            if self._message is not None:
                raise WebSocketFault(CloseCode.PROTOCOL_ERROR, "a message amid a message")
            self._message = reader.opcode
            self._compressed = reader.compressed
            self._size = 0
            self._fragments = 1
        if self._size + reader.length > limits.ws_max_message and not self._compressed:
            raise WebSocketFault(CloseCode.TOO_BIG, f"a message of more than {limits.ws_max_message} bytes")

    def _part(self, data: bytes, last: bool, ends: bool, events: list[WebSocketEvent]) -> None:
        part: str | bytes = data
        if self._message is Opcode.TEXT:
            decoder = self._decoder
            try:
                part = decoder.decode(data, last)
            except UnicodeDecodeError as exc:
                raise WebSocketFault(CloseCode.INVALID_DATA, f"text that is not UTF-8: {exc.reason}") from None
            if data and data[-1] >= 0x80:
                self._judge_surrogate(decoder.getstate()[0])
        if last:
            self._message = None
        if part or ends:
            events.append(MessagePart(part, last, ends))

    def _judge_surrogate(self, begun: bytes) -> None:
        """Python's decoder waits for the third byte of a surrogate, which its second has given away."""
        if len(begun) > 1 and begun[0] == 0xED and begun[1] > 0x9F:
            raise WebSocketFault(CloseCode.INVALID_DATA, "text that is not UTF-8: a surrogate")

    def _control(self, data: bytes, events: list[WebSocketEvent]) -> None:
        opcode = self._reader.opcode
        if opcode is Opcode.CLOSE:
            self._peer_closes(data, events)
        elif opcode is Opcode.PING:
            # Also behind our own close frame: it is the peer's that ends this duty (RFC 6455 section 5.5.2).
            if len(self._pongs) == _MAX_PONGS:
                del self._pongs[0]
            self._pongs.append(data)
            if self.state is State.OPEN:
                events.append(Ping(data))
        elif self.state is State.OPEN:
            events.append(Pong(data))

    def _peer_closes(self, data: bytes, events: list[WebSocketEvent]) -> None:
        code, reason = CloseCode.NO_STATUS.value, ""
        if data:
            code = int.from_bytes(data[:2], "big")
            if len(data) < 2 or not may_be_sent(code):
                raise WebSocketFault(CloseCode.PROTOCOL_ERROR, f"a close frame with {data[:2].hex()}")
            try:
                reason = data[2:].decode("utf-8")
            except UnicodeDecodeError:
                raise WebSocketFault(CloseCode.INVALID_DATA, "a close reason that is not UTF-8") from None
        self._end(data[:2], code, reason, events)

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
        raw = _encoded(data) if isinstance(data, str) else octets(data, "a message")
        opcode = kind
        compressed = False
        deflater = self._deflater
        if self._sending is not None:
            opcode = Opcode.CONTINUATION
        elif deflater is not None:
            deflater.deflating = compressed = not last or len(raw) >= _WORTH_DEFLATING
        if deflater is not None and deflater.deflating:
            raw = deflater.deflate(raw, last)
        self._put(opcode, raw, fin=last, compressed=compressed)
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
        raw = _encoded(reason)
        if not may_be_sent(code) or len(raw) > _MAX_REASON:
            raise LocalProtocolError(f"a close frame with code {code} and a reason of {len(raw)} bytes (of 123)")
        if self.state is State.OPEN:
            self._put(Opcode.CLOSE, code.to_bytes(2, "big") + raw)
            self.state = MOVES[self.state, Move.CLOSE]
            self.await_close(now)

    def await_close(self, now: float) -> None:
        """The peer's time to answer our close frame begins *now*; nothing when it need not."""
        if self.state is State.CLOSING:
            self._due = now + self._limits.ws_close_timeout
            self._arm()

    def data_to_send(self) -> list[bytes]:
        """What to write, in order; handed out once. Pongs first, so that no close frame stands before one."""
        out = self._out
        if self._pongs:
            out = [self._frame(Opcode.PONG, data) for data in self._pongs] + out
            self._pongs = []
        if out:
            self._out = []
            self.queued = 0
        return out

    def _put(self, opcode: Opcode, data: bytes, *, fin: bool = True, compressed: bool = False) -> None:
        size = len(data)
        if size >= _LARGE and self._mask is None:
            self._out += frame_head(opcode, size, fin=fin, compressed=compressed, mask=None), data
        else:
            self._out.append(self._frame(opcode, data, fin=fin, compressed=compressed))
        self.queued += size + 2

    def _frame(self, opcode: Opcode, data: bytes, *, fin: bool = True, compressed: bool = False) -> bytes:
        mask = None if self._mask is None else self._mask()
        return write_frame(opcode, data, fin=fin, compressed=compressed, mask=mask)

    # ── time and ends ────────────────────────────────────────────────────────────────

    def handle_timeout(self, now: float) -> list[WebSocketEvent]:
        """Time has passed. Early or repeated calls are harmless."""
        events: list[WebSocketEvent] = []
        if self.deadline == AT_ONCE:
            self._read(events)
        elif now >= self.deadline:
            if self.state is State.CLOSING:
                self._closed(CloseCode.ABNORMAL, "no close frame within ws_close_timeout", events)
            else:
                self._ping_due(events, now)
            self._arm()
        return events

    def _ping_due(self, events: list[WebSocketEvent], now: float) -> None:
        interval = self._limits.ws_ping_interval
        assert interval is not None  # it has a deadline
        if self._unanswered:
            reason = "no answer to a ping within ws_ping_interval"
            self._put(Opcode.CLOSE, _farewell(CloseCode.INTERNAL_ERROR, reason))
            self._closed(CloseCode.INTERNAL_ERROR, reason, events)
        elif self._heard + interval > now:
            self._due = self._heard + interval  # whoever speaks need not be asked
        else:
            self._pings += 1
            self._put(Opcode.PING, b"%d" % self._pings)
            self._unanswered = True
            self._due = now + interval

    def _arm(self) -> None:
        inflater = self._inflater
        self.deadline = AT_ONCE if inflater is not None and inflater.pending else self._due

    def _end(self, farewell: bytes, code: int, reason: str, events: list[WebSocketEvent]) -> None:
        """The peer has ended it; *farewell* is what our close frame is to say."""
        self._last = farewell, code, reason
        self.ending = True
        self._due = math.inf
        if self._inflater is not None:
            self._inflater.drop()
        if not self._patient:
            events += self.finish()

    def finish(self) -> list[WebSocketEvent]:
        """What is ``ending`` it has taken effect; nothing if nothing is."""
        events: list[WebSocketEvent] = []
        if self.ending:
            self.ending = False
            farewell, code, reason = self._last
            if self.state is State.OPEN:
                self._put(Opcode.CLOSE, farewell)
            self._closed(code, reason, events)
        return events

    def _closed(self, code: int, reason: str, events: list[WebSocketEvent]) -> None:
        self.state = MOVES[self.state, Move.END]
        self.finished = True
        self._due = math.inf
        if self._inflater is not None:
            self._inflater.drop()
        self._arm()
        events.append(Closed(code, reason))


def _farewell(code: int, reason: str) -> bytes:
    """A close frame's payload."""
    return code.to_bytes(2, "big") + reason.encode("utf-8")[:_MAX_REASON]


def _encoded(text: str) -> bytes:
    """*text* as UTF-8.

    :raises LocalProtocolError: it holds half of a surrogate pair.
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise LocalProtocolError(f"text that UTF-8 cannot hold: {exc.reason}") from None
