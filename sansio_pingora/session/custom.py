"""Connections of a protocol of the user's own, which sessions and the dispatcher work on like any other.

:class:`CustomServer` and :class:`CustomClient` are what a machine needs to have; :class:`CustomConnection`
is one that has it all but the bytes. ``head.informational`` tells the heads that another one follows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, Connection, Event
from sansio_pingora.session.custom_channel import CustomChannel, CustomStream
from sansio_pingora.session.messages import CustomMessages
from sansio_pingora.wire import Body, Failed, Header, HttpTask, RequestHeader, ResponseHeader, UpgradedBody

__all__ = ["CustomClient", "CustomConnection", "CustomServer"]


class CustomServer(Connection, Protocol):
    """The server's side of a protocol of one's own. ``version`` is its name, none of ours."""

    def custom_messages(self, stream_id: int) -> CustomMessages | None:
        """The messages beside *stream_id*; None where there are none."""


class CustomClient(CustomServer, Protocol):
    """The client's side."""

    peer_version: bytes
    """The version of HTTP that the origin's answers are taken for."""

    @property
    def reusable(self) -> bool:
        """``open_stream`` would return a stream."""

    def hold(self, stream_id: int, now: float) -> None:
        """Read no more of an answer than has come, as far as that is possible, until credit is returned."""

    def widen(self, stream_id: int, window: int, now: float) -> int:
        """Let the origin send about *window* bytes of the answer before what came is used up; returns what it may."""

    @property
    def timeouts(self) -> tuple[float, float]:
        """The read and the write time-out in force; one that shares them among its streams has no such thing."""

    def set_timeouts(self, read_timeout: float | None, write_timeout: float | None) -> None:
        """Take these time-outs; None for the service's."""


class CustomConnection(CustomChannel):
    """Order, credit, clocks and ends of a connection; a subclass reads its bytes and writes them.

    It overrides :meth:`bytes_came`, where it yields what has arrived, and :meth:`task_sent`, where it calls
    :meth:`put`. A server opens a stream with :meth:`opened` for each request. Streams are forgotten when both
    messages are complete.
    """

    version = b"custom"
    """The protocol's name."""
    peer_version = b"1.1"
    """The version of HTTP that the origin's answers are taken for."""
    max_streams: int | None = 1
    """Exchanges that a client may have under way at once; None: any number."""

    def __init__(self, now: float, limits: Limits | None = None) -> None:
        super().__init__(now, limits)
        self.last_stream = 0
        """The stream that was opened last."""
        self._unconsumed = 0
        self._leaving: list[CustomMessages] = []  # of streams that are over

    # ── for subclasses to override ───────────────────────────────────────────────────

    def bytes_came(self, data: bytes, now: float) -> Iterable[tuple[int, HttpTask]]:
        """What *data* says, behind what came before: ``(stream_id, task)``, in order.

        :raises Error: it breaks the rules: every stream fails by it, and the connection closes behind what was put out.
        """
        raise NotImplementedError

    def task_sent(self, stream_id: int, task: HttpTask, now: float) -> None:
        """Put out the bytes of *task*, which is in order.

        :raises LocalProtocolError: the protocol cannot say it; nothing was put out.
        """
        raise NotImplementedError

    def end_came(self, now: float) -> Iterable[tuple[int, HttpTask]]:
        """The peer has shut its side: what that completes."""
        return ()

    def stream_broken(self, stream_id: int, error: Error, now: float) -> None:
        """Let the peer see that *stream_id* is incomplete: unless there is a word for it, the connection ends."""
        self.abort(now)

    def message_sent(self, stream_id: int, message: bytes, now: float) -> None:
        """Put out a message beside *stream_id*, where :attr:`has_messages`."""
        raise NotImplementedError

    def invite_body(self, stream_id: int, now: float) -> None:
        """See :meth:`Connection.invite_body`. Nobody waits to be invited."""

    def hold(self, stream_id: int, now: float) -> None:
        """Nothing: a protocol without credit of its own cannot tell its peer to wait."""

    def widen(self, stream_id: int, window: int, now: float) -> int:
        """Nothing: a protocol without credit of its own has the window that ``high_water`` gives it."""
        return window

    # ── for subclasses to call ───────────────────────────────────────────────────────

    def opened(self) -> int:
        """A stream that nobody had: a request has arrived."""
        self.last_stream += 1
        self._streams[self.last_stream] = CustomStream()
        return self.last_stream

    def message_came(self, stream_id: int, message: bytes) -> None:
        """A message beside *stream_id*; dropped when the stream is over."""
        messages = self.custom_messages(stream_id)
        if messages is not None:
            messages.inbound.push(message)

    # ── sending ──────────────────────────────────────────────────────────────────────

    def open_stream(self, now: float) -> int | None:
        """See :meth:`Connection.open_stream`."""
        return self.opened() if self.reusable else None

    @property
    def reusable(self) -> bool:
        """``open_stream`` would return a stream."""
        free = self.max_streams is None or len(self._streams) < self.max_streams
        return self.client and free and not (self._draining or self._peer_ended or self.closing)

    def send(self, stream_id: int, task: HttpTask, now: float) -> int:
        """See :meth:`Connection.send`."""
        self._now = now
        stream = self._streams.get(stream_id)
        if stream is None:
            if not 0 < stream_id <= self.last_stream:
                raise LocalProtocolError(f"stream {stream_id} was never opened; the last one was {self.last_stream}")
            return self.limits.high_water  # it is over, and whoever holds it hears of that, or has
        if type(task) is Failed:
            self._forget(stream_id, stream, task.error)
            self.stream_broken(stream_id, task.error, now)
        elif self._says_something(stream, task):
            if task.end and stream.messages is not None:
                self._send_messages(stream_id, stream.messages)
            self.task_sent(stream_id, task, now)
            if type(task) is Header:
                self._head_sent(stream, task.head)
            if task.end:
                self._message_sent(stream_id, stream)
        self._update_reading(now)
        self._touch()
        room = self._room()
        if room <= 0:
            self.starved = stream.waiting = True
        return room

    def _says_something(self, stream: CustomStream, task: HttpTask) -> bool:
        """The task is in order, and no end behind an end."""
        if type(task) is Header:
            if not isinstance(task.head, RequestHeader if self.client else ResponseHeader):
                raise LocalProtocolError(f"a {'client' if self.client else 'server'} does not send {task.head!r}")
            if stream.head_sent:
                raise LocalProtocolError("a head cannot be sent now: one was sent")
        elif stream.sent:
            if isinstance(task, Body | UpgradedBody) and task.data:
                raise LocalProtocolError("body bytes cannot be sent now: the message is complete")
            return False
        elif not stream.head_sent:
            raise LocalProtocolError(f"{task!r} cannot be sent now: no head was sent")
        return True

    def _head_sent(self, stream: CustomStream, head: RequestHeader | ResponseHeader) -> None:
        if isinstance(head, RequestHeader):
            stream.method = head.method
        elif head.informational:
            return
        elif _opens_tunnel(stream, head):
            stream.tunnel = True
            stream.complete = False
        stream.head_sent = True

    def _message_sent(self, stream_id: int, stream: CustomStream) -> None:
        stream.sent = True
        if stream.complete:
            self._forget(stream_id, stream)
        elif not self.client and not stream.tunnel:
            stream.heard = False  # the rest of the request goes nowhere
            self._unconsumed -= stream.unconsumed
            stream.unconsumed = 0

    def _forget(self, stream_id: int, stream: CustomStream, error: Error | None = None) -> None:
        messages = stream.messages
        if messages is not None:
            if error is None:
                self._send_messages(stream_id, messages)
            messages.inbound.finish(error)
            messages.outbound.finish(error)
            self._leaving.append(messages)  # somebody may wait for them
            self._stir()
        del self._streams[stream_id]
        self._unconsumed -= stream.unconsumed
        if not self._streams and (self._draining or self._peer_ended):
            self._close()

    # ── receiving ────────────────────────────────────────────────────────────────────

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """See :meth:`Connection.receive_data`."""
        if not data:
            return self.receive_eof(now)
        self._now = now
        events: list[Event] = []
        if not self.closing:
            self._take(self.bytes_came(data, now), events)
            self._update_reading(now)
        return events

    def _take(self, tasks: Iterable[tuple[int, HttpTask]], events: list[Event]) -> None:
        try:
            for stream_id, task in tasks:
                self._note(stream_id, task, events)
        except Error as error:  # what was yielded before it counts
            self._fail_all(error, events)
            self._say_closed(error, events)
            self._close()

    def _note(self, stream_id: int, task: HttpTask, events: list[Event]) -> None:
        """*task* has come."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if stream.heard:
            if isinstance(task, Body | UpgradedBody):
                stream.unconsumed += len(task.data)
                self._unconsumed += len(task.data)
            events.append((stream_id, task))
        if type(task) is Failed:
            self._forget(stream_id, stream, task.error)
            return
        if type(task) is Header:
            if isinstance(task.head, RequestHeader):
                stream.method = task.head.method
            elif _opens_tunnel(stream, task.head):
                stream.tunnel = True
                stream.sent = False
        if task.end:
            stream.complete = True
            if stream.sent:
                self._forget(stream_id, stream)

    @property
    def close_delimited(self) -> bool:
        """A message may last until the transport ends: TLS is to know that it was no cut."""
        return bool(self._streams)

    def receive_eof(self, now: float) -> list[Event]:
        """See :meth:`Connection.receive_eof`."""
        self._now = now
        events: list[Event] = []
        self._peer_ended = True
        self.want_read = False
        self._take(self.end_came(now), events)
        error = Error(ErrorType.CONNECTION_CLOSED, "the peer ended amid a message")
        self._fail_all(error, events, complete_too=False)
        if not self._streams:
            self._say_closed(None, events)
            self._close()
        self._watch(now)
        return events

    def transport_lost(self, reason: Error | None, now: float) -> list[Event]:
        """See :meth:`Connection.transport_lost`."""
        self._now = now
        events: list[Event] = []
        self._fail_all(reason or Error(ErrorType.CONNECTION_CLOSED, "the transport was closed"), events)
        self._say_closed(reason, events)
        self._close(Closing.ABORT)
        return events

    def handle_timeout(self, now: float) -> list[Event]:
        """See :meth:`Connection.handle_timeout`."""
        self._now = now
        events: list[Event] = []
        if self._stirred:
            self._move_messages(now)
        if self._write_deadline <= now:
            error = Error(ErrorType.WRITE_TIMEDOUT, "the peer took no bytes for too long")
            events = self.transport_lost(error, now)
        elif self._read_deadline <= now:
            idle = not self._streams
            self._fail_all(Error(ErrorType.READ_TIMEDOUT, "the peer sent nothing for too long"), events)
            self._say_closed(None, events)
            self._close(Closing.AFTER_FLUSH if idle else Closing.ABORT)
        return events

    def _fail_all(self, error: Error, events: list[Event], *, complete_too: bool = True) -> None:
        self._blame(error)
        for stream_id, stream in list(self._streams.items()):
            if complete_too or not stream.complete:
                self._note(stream_id, Failed(error), events)

    # ── read credit ──────────────────────────────────────────────────────────────────

    def consumed(self, stream_id: int, size: int, now: float) -> None:
        """See :meth:`Connection.consumed`."""
        stream = self._streams.get(stream_id)
        if stream is None or not stream.heard:
            return
        if not 0 <= size <= stream.unconsumed:
            raise LocalProtocolError(f"{size} bytes consumed where {stream.unconsumed} were delivered and not returned")
        stream.unconsumed -= size
        self._unconsumed -= size
        self._update_reading(now)

    def _update_reading(self, now: float) -> None:
        wanted = not (self._peer_ended or self.closing) and self._unconsumed < self.limits.high_water
        if wanted and self.has_messages:
            flows = [stream.messages for stream in self._streams.values() if stream.messages is not None]
            wanted = all(flow.inbound.room > 0 for flow in flows)
        if wanted is not self.want_read:
            self.want_read = wanted
            self._touch()
        self._watch(now)

    # ── messages beside the streams ──────────────────────────────────────────────────

    def custom_messages(self, stream_id: int) -> CustomMessages | None:
        """See :class:`CustomServer`."""
        stream = self._streams.get(stream_id)
        if stream is None or not self.has_messages:
            return None
        if stream.messages is None:
            stream.messages = CustomMessages(self._stir, max_bytes=self.limits.high_water)
        return stream.messages

    def _send_messages(self, stream_id: int, messages: CustomMessages) -> None:
        """All that wait, before it is too late."""
        while (message := messages.outbound.read()) is not None:
            self.message_sent(stream_id, message, self._now)

    def _move_messages(self, now: float) -> None:
        """Put out what there is room for, and tell who waits."""
        there = [(stream_id, stream.messages) for stream_id, stream in self._streams.items() if stream.messages]
        for stream_id, messages in there:
            while (room := self._room()) > 0 and (message := messages.outbound.read()) is not None:
                self.message_sent(stream_id, message, now)
            if room <= 0:
                self.starved = True  # they go on when there is room
        self._stirred = False
        leaving, self._leaving = self._leaving, []
        for messages in (*leaving, *(messages for _, messages in there)):
            messages.inbound.tell(now)
            messages.outbound.tell(now)
        self._update_reading(now)
        self._touch()


def _opens_tunnel(stream: CustomStream, head: ResponseHeader) -> bool:
    return head.status == 101 or (stream.method == b"CONNECT" and 200 <= head.status < 300)


if TYPE_CHECKING:
    _proof: type[CustomClient] = CustomConnection
