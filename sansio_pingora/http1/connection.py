"""What both roles of an HTTP/1 connection share: moving messages and raw bytes, and read credit.

Keeps the contract of :class:`sansio_pingora.machine.Connection`. Syntax is the codec's
(``codec``), the life of one message a table (``states``); the roles are ``server`` and
``client``.
"""

from __future__ import annotations

import math

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.http1.channel import FOR_LINGER, FOR_NOTHING, FOR_TUNNEL, HAS_MORE, Channel
from sansio_pingora.http1.codec import Codec
from sansio_pingora.http1.states import BODY, CLOSED, COMPLETE, END, HEAD, IDLE, MOVES, RAW, SWITCH
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Closing, Event
from sansio_pingora.wire import (
    CHUNKED,
    FORBIDDEN_TRAILERS,
    UNTIL_CLOSE,
    Body,
    Done,
    Failed,
    Header,
    HttpTask,
    MessageFault,
    Trailer,
    UpgradedBody,
)

__all__ = ["Http1Connection"]


class Http1Connection(Channel):
    """One HTTP/1.x connection. Make a :class:`Http1Server` or :class:`Http1Client`."""

    __slots__ = (
        "_expects",
        "_left_to_send",
        "_max_body",
        "_mute",
        "_peer_ended",
        "_read_framing",
        "_received",
        "_sent",
        "_unconsumed",
        "_window",
    )

    def __init__(self, codec: Codec, limits: Limits) -> None:
        super().__init__(codec, limits)
        self._peer_ended = False
        self._expects = False  # of a client: the body may wait for the origin's word
        self._sent = 0  # the last stream whose message this side completed
        self._received = 0  # payload bytes of the message being read
        self._max_body: int | None = None
        self._unconsumed = 0  # payload bytes delivered, whose credit was not returned
        self._window = limits.high_water  # how many of those there may be before reading stops
        self._read_framing = 0
        self._mute = False  # an answer without a body: what the application sends as one is counted and goes nowhere
        self._left_to_send = 0  # payload still due of the message being sent, or CHUNKED, or UNTIL_CLOSE

    # ── input ────────────────────────────────────────────────────────────────────────

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """See :meth:`Connection.receive_data`."""
        if not data:
            return self.receive_eof(now)
        events: list[Event] = []
        receiving = self.receiving
        if receiving is CLOSED:
            self._discard(len(data), now)
        elif receiving is RAW:
            if self._codec.buffered:  # what came before the switch goes first
                data = self._codec.take_rest() + data
                self._stop_clock(now)  # HAS_MORE is over, and must not keep another clock from starting
            self._raw_received(data, events, now)
        else:
            self._codec.receive(data)
            if receiving is not COMPLETE:
                self._advance(events, now)
            elif self._codec.buffered >= self.limits.high_water:
                self.want_read = False  # the next requests wait for this answer
        return events

    def handle_timeout(self, now: float) -> list[Event]:
        """See :meth:`Connection.handle_timeout`."""
        events: list[Event] = []
        if self._write_deadline <= now:
            self._write_timed_out(events, now)
        elif self._read_deadline <= now:
            reason, self._read_reason = self._read_reason, FOR_NOTHING
            self._read_deadline = math.inf
            if reason is HAS_MORE:
                self._resume_reading(events, now)
            elif reason is FOR_LINGER:
                if self._paused:
                    self._watch(FOR_LINGER, now + self.limits.linger_timeout)  # the answer itself is still on its way
                else:
                    self._close(now)
            else:
                self._read_timed_out(reason, events, now)
        self._arm()
        return events

    def transport_lost(self, reason: Error | None, now: float) -> list[Event]:
        """See :meth:`Connection.transport_lost`."""
        events: list[Event] = []
        self._codec.receive_eof()
        error = reason or Error(ErrorType.CONNECTION_CLOSED, "the transport was closed")
        self._fail(error, events)
        self._say_closed(reason, events)
        self._close(now, Closing.ABORT)
        return events

    def _resume_reading(self, events: list[Event], now: float) -> None:
        """Go on with bytes that were kept back until this exchange allowed for them."""
        self.want_read = not self._peer_ended
        if self.receiving is RAW:
            self._raw_received(self._codec.take_rest(), events, now)
            if self._peer_ended:
                self._raw_eof(events, now)
        else:
            self._advance(events, now)

    # ── output ───────────────────────────────────────────────────────────────────────

    def send(self, stream_id: int, task: HttpTask, now: float) -> int:
        """See :meth:`Connection.send`."""
        kind = type(task)
        if stream_id != self.stream or not self._active:
            self._send_late(stream_id, task)
        elif kind is Body:
            self._send_body(task.data, task.end, now)  # type: ignore[union-attr]  # a Body
        elif kind is Header:
            self._send_head(task.head, task.end, now)  # type: ignore[union-attr]  # a Header
        elif kind is UpgradedBody:
            self._send_raw(task.data, task.end, now)  # type: ignore[union-attr]  # an UpgradedBody
        elif kind is Trailer or kind is Done:
            self._send_end(task, now)
        else:
            self._cut(now)
        self._touch()
        room = (0 if self._paused else self.limits.high_water) - self._queued
        if room <= 0:
            if self._sent == stream_id and self.sending is not RAW:
                return self.limits.high_water  # nothing follows: there is nothing to wait for
            self.starved = True
        return room

    def _send_late(self, stream_id: int, task: HttpTask) -> None:
        """A task for a stream that is not open.

        Dropped when the connection itself broke the stream off, whose Failed is on its way up; and
        an end behind the end of a message is legal and says nothing new, and neither does a failure: the peer has
        the whole message.
        """
        if 0 < stream_id == self._broken:
            return
        known = 0 < stream_id <= self._sent
        if isinstance(task, Body):
            known = known and (not task.data or (self._mute and stream_id == self.stream))
        elif not isinstance(task, Done | Trailer | Failed):
            known = False
        if not known:
            raise LocalProtocolError(f"stream {stream_id} is not open; the last one was {self.stream}: {self!r}")

    def _send_head(self, head: object, end: bool, now: float) -> None:
        raise NotImplementedError

    def _send_body(self, data: bytes, end: bool, now: float) -> None:
        if self.sending is not BODY:
            if data or self._sent != self.stream:
                self._refuse_send("body bytes")
            return  # the message is complete: its end once more
        left = self._left_to_send
        if left >= 0:
            size = len(data)
            if size > left:
                if not self._mute:
                    raise LocalProtocolError(
                        f"{size} body bytes where Content-Length leaves {left}: send no more than declared"
                    )
                size = left
            if end and size < left and not self._mute:
                raise LocalProtocolError(
                    f"the body ends {left - size} bytes short of its Content-Length: send Failed to cut it"
                )
            self._left_to_send = left - size
            if size == left:
                end = True
        if not self._mute:
            self._queued += self._codec.write_body(data, end, self._out)
        if self._expects and data:
            self._expects = False  # it did not wait, and the 100 may be omitted (RFC 9110 section 10.1.1)
            if not self._codec.buffered:  # else a head has begun, and is due
                self._stop_clock(now)
                self._arm()
        if end:
            self.sending = MOVES[BODY, END]
            self._sent_message(now)

    def _send_end(self, task: HttpTask, now: float) -> None:
        if self.sending is not BODY:
            if self._sent != self.stream:
                self._refuse_send("the end of a body")
            return
        if type(task) is Trailer and task.fields.has_any(FORBIDDEN_TRAILERS):
            raise LocalProtocolError(f"trailers {task.fields!r} hold a field that belongs into a head")
        if not self._mute:
            if self._left_to_send > 0:
                raise LocalProtocolError(
                    f"the body ends {self._left_to_send} bytes short of its Content-Length: send Failed to cut it"
                )
            if type(task) is Trailer:
                self._queued += self._codec.write_trailers(task.fields, self._out)
            else:
                self._queued += self._codec.write_body(b"", True, self._out)
        self.sending = MOVES[BODY, END]
        self._sent_message(now)

    def _sent_message(self, now: float) -> None:
        raise NotImplementedError

    def _refuse_send(self, what: str) -> None:
        raise LocalProtocolError(
            f"{what} cannot be sent now: this side is {self.sending.name}, the peer's is {self.receiving.name}"
        )

    def _cut(self, now: float) -> None:
        """End the exchange so that the peer cannot take it for complete."""
        self._active = False
        # What only the end of the connection ends would look whole after an orderly one.
        until_close = self.sending is BODY and self._left_to_send == UNTIL_CLOSE and not self._mute
        self._close(now, Closing.ABORT if until_close or self.sending is RAW else Closing.AFTER_FLUSH)

    # ── read credit ─────────────────────────────────────────────────────────────────────

    def consumed(self, stream_id: int, size: int, now: float) -> None:
        """See :meth:`Connection.consumed`."""
        if stream_id != self.stream:
            return  # credit of an exchange that is over
        if not 0 <= size <= self._unconsumed:
            raise LocalProtocolError(f"{size} bytes consumed where {self._unconsumed} were delivered and not returned")
        self._unconsumed -= size
        if not self.want_read and self._unconsumed < self._window and self.receiving in (BODY, RAW):
            self.want_read = True
            self._start_clock(now)
            self._arm()
            self._touch()

    def _take_credit(self, size: int, now: float) -> None:
        self._unconsumed += size
        if self._unconsumed >= self._window:
            self.want_read = False
            self._stop_clock(now)
        else:
            self._start_clock(now)

    # ── reading a body, or raw bytes ─────────────────────────────────────────────────

    def _advance(self, events: list[Event], now: float) -> None:
        """Read as much as the bytes and the exchange allow."""
        try:
            while True:
                if self.receiving is BODY:
                    if not self._read_body(events, now):
                        break
                elif self.receiving is IDLE or self.receiving is HEAD:
                    if not self._read_head(events, now):
                        break
                else:
                    break
        except MessageFault as fault:
            self._refuse(fault, events, now)
        self._arm()

    def _read_head(self, events: list[Event], now: float) -> bool:
        raise NotImplementedError

    def _read_body(self, events: list[Event], now: float) -> bool:
        data, end = self._codec.read_body()
        size = len(data)
        if size:
            received = self._received = self._received + size
            if self._max_body is not None and received > self._max_body:
                allowed = data[: size - (received - self._max_body)]
                if allowed and self._active:  # as if it had come alone
                    events.append((self.stream, Body(allowed)))
                    self._unconsumed += len(allowed)
                raise MessageFault(413, f"a body of more than {self._max_body} bytes")
        if not self._active:  # the answer is complete and nobody listens: read on to keep the connection
            self._linger_left -= size
            if self._linger_left < 0:
                self._linger(now)
                return False
        elif self._read_framing >= 0:
            if data:
                events.append((self.stream, Body(data, end)))
        else:
            if data:
                events.append((self.stream, Body(data)))
            if end:
                trailers = self._codec.trailers
                events.append((self.stream, Done() if trailers is None else Trailer(trailers)))
        if end:
            if self._active:
                self._unconsumed += size
            self._read_deadline = math.inf
            self.receiving = MOVES[self.receiving, END]
            self._received_message(events, now)
            return self._codec.buffered > 0
        if self._active:
            self._take_credit(size, now)
        # Behind the data of a chunk there may be a fault, which must not wait for more bytes.
        return size > 0 and self._read_framing == CHUNKED and self._codec.buffered > 0

    def _received_message(self, events: list[Event], now: float) -> None:
        raise NotImplementedError

    def _raw_received(self, data: bytes, events: list[Event], now: float) -> None:
        if not data:
            return
        events.append((self.stream, UpgradedBody(data)))
        self._take_credit(len(data), now)
        self._arm()

    def _send_raw(self, data: bytes, end: bool, now: float) -> None:
        if self.sending is not RAW:
            self._refuse_send("upgraded bytes")
        if data:
            self._put(data)
        if self.receiving is CLOSED or (self.receiving is RAW and self.want_read):
            self._start_clock(now)  # traffic either way keeps a tunnel
        if end:
            self.sending = CLOSED
            self.shut_write = True
            if self.receiving is CLOSED:
                self._end_tunnel(now)
        self._arm()

    def _raw_eof(self, events: list[Event], now: float) -> None:
        if self._codec.buffered:
            self._raw_received(self._codec.take_rest(), events, now)
        events.append((self.stream, UpgradedBody(b"", True)))
        self.receiving = CLOSED
        self.want_read = False
        self._read_deadline = math.inf
        self._start_clock(now)  # the other direction may go on, but not silent for ever
        if self.sending is CLOSED:
            self._end_tunnel(now)
        self._arm()

    def _end_tunnel(self, now: float) -> None:
        self._active = False
        self._close(now)

    def _start_raw(self, now: float) -> None:
        """Both directions may switch as soon as their message is complete."""
        for name in ("sending", "receiving"):
            half = getattr(self, name)
            if half is COMPLETE or half is HEAD:
                setattr(self, name, MOVES[half, SWITCH])
        if self.receiving is RAW:
            self.want_read = self._unconsumed < self._window  # what waited for the answer goes on
            self._start_clock(now)
            if self._codec.buffered or self._peer_ended:
                self._watch(HAS_MORE, AT_ONCE)
        self.keep = False

    # ── clocks ───────────────────────────────────────────────────────────────────────

    def _start_clock(self, now: float) -> None:
        """The peer owes bytes and we read them."""
        if self._read_deadline != AT_ONCE:  # what has arrived already goes first
            self._watch(FOR_TUNNEL, now + self.limits.read_timeout)

    def _read_timed_out(self, reason: str, events: list[Event], now: float) -> None:
        raise NotImplementedError

    # ── ends ─────────────────────────────────────────────────────────────────────────

    def receive_eof(self, now: float) -> list[Event]:
        """See :meth:`Connection.receive_eof`."""
        raise NotImplementedError

    def _refuse(self, fault: MessageFault, events: list[Event], now: float) -> None:
        raise NotImplementedError
