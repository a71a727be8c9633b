"""Messages beside the HTTP stream of a custom protocol: two flows, each bounded in number and bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from sansio_pingora.errors import Error, LocalProtocolError
from sansio_pingora.session.effects import LaneEffect

__all__ = ["MAX_MESSAGES", "CustomMessages", "MessageFlow", "NextMessage", "RoomForMessage"]

MAX_MESSAGES = 128
"""Messages that wait in one flow; Pingora's figure."""


class MessageFlow:
    """Messages one way, in order. Bytes of them wait here until they are read, and their writer waits with them.

    ``message = yield from flow.next_message()`` and ``yield from flow.room_for_more()`` in callbacks that wait.
    """

    __slots__ = ("_max_bytes", "_max_messages", "_queue", "_reader", "_size", "_stir", "_writer", "error", "finished")

    def __init__(self, stir: Callable[[], None], *, max_bytes: int, max_messages: int = MAX_MESSAGES) -> None:
        self._stir = stir
        self._max_bytes = max_bytes
        self._max_messages = max_messages
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._reader: tuple[Any, int] | None = None
        self._writer: tuple[Any, int] | None = None
        self.finished = False
        """Its writer writes no more."""
        self.error: Error | None = None
        """Why it broke, if it did."""

    # ── writing ──────────────────────────────────────────────────────────────────────

    @property
    def room(self) -> int:
        """Messages that may be written; 0 or less: wait."""
        if self._size >= self._max_bytes:
            return 0
        return self._max_messages - len(self._queue)

    def write(self, message: bytes) -> int:
        """Put *message* behind the others; returns the room left. It goes nowhere when the flow has broken.

        :raises LocalProtocolError: there is no room, or the flow is finished.
        """
        if self.error is not None:
            return self.room
        if self.finished:
            raise LocalProtocolError("a message behind the end of its flow")
        if self.room <= 0:
            raise LocalProtocolError(
                f"{len(self._queue)} messages wait already: wait for room_for_more() when there is 0"
            )
        self.push(message)
        return self.room

    def finish(self, error: Error | None = None) -> None:
        """No more messages are written; *error*: because it broke, and what waits is not to be taken for all."""
        if not self.finished:
            self.finished = True
            self.error = error
            self._stir()

    def push(self, message: bytes) -> None:
        """Put *message* behind the others, room or none: for a connection, whose peer has sent it already."""
        self._queue.append(message)
        self._size += len(message)
        self._stir()

    def room_for_more(self) -> RoomForMessage:
        """The effect that waits until there is room."""
        return RoomForMessage(self)

    # ── reading ──────────────────────────────────────────────────────────────────────

    @property
    def ended(self) -> bool:
        """All was read that will ever come."""
        return self.finished and not self._queue

    def read(self) -> bytes | None:
        """The next message; None when none waits.

        :raises Error: the flow has broken, and all that came before was read.
        """
        if not self._queue:
            if self.error is not None:
                raise self.error
            return None
        message = self._queue.popleft()
        self._size -= len(message)
        self._stir()
        return message

    def next_message(self) -> NextMessage:
        """The effect that brings the next message, or None behind the last."""
        return NextMessage(self)

    # ── who waits ────────────────────────────────────────────────────────────────────

    @property
    def due(self) -> bool:
        """Somebody waits, and need not any more."""
        return (self._reader is not None and bool(self._queue or self.finished)) or (
            self._writer is not None and (self.room > 0 or self.finished)
        )

    def await_message(self, waiter: Any, token: int) -> None:
        """``waiter.resume(token, message, now)`` when there is one, or None behind the last; ``fail`` when it broke."""
        self._reader = (waiter, token)

    def await_room(self, waiter: Any, token: int) -> None:
        """``waiter.resume(token, None, now)`` when there is room, or nothing can be written any more."""
        self._writer = (waiter, token)

    def withdraw(self, effect: LaneEffect) -> None:
        """Who waited by *effect* waits no more."""
        if type(effect) is NextMessage:
            self._reader = None
        else:
            self._writer = None

    def tell(self, now: float) -> None:
        """Tell who waits: the connection's to call, from no other machine's call but its driver's."""
        reader = self._reader
        if reader is not None and (self._queue or self.finished):
            self._reader = None
            if self._queue or self.error is None:
                reader[0].resume(reader[1], self.read(), now)
            else:
                reader[0].fail(reader[1], self.error, now)
        writer = self._writer
        if writer is not None and (self.room > 0 or self.finished):
            self._writer = None
            writer[0].resume(writer[1], None, now)


class _FlowEffect(LaneEffect):
    __slots__ = ("_flow",)

    def __init__(self, flow: MessageFlow) -> None:
        self._flow = flow

    def cancel(self) -> None:
        """See :class:`LaneEffect`."""
        self._flow.withdraw(self)


class NextMessage(_FlowEffect):
    """The next message of a flow, or None behind the last."""

    __slots__ = ()

    def begin(self, waiter: Any, token: int) -> tuple[int, Any]:
        """See :class:`LaneEffect`."""
        flow = self._flow
        message = flow.read()
        if message is not None or flow.ended:
            return 0, message
        flow.await_message(waiter, token)
        return token, None


class RoomForMessage(_FlowEffect):
    """Room in a flow, or its end."""

    __slots__ = ()

    def begin(self, waiter: Any, token: int) -> tuple[int, Any]:
        """See :class:`LaneEffect`."""
        flow = self._flow
        if flow.room > 0 or flow.finished:
            return 0, None
        flow.await_room(waiter, token)
        return token, None


class CustomMessages:
    """The flows of one stream: what comes in, what goes out, and who has taken them."""

    __slots__ = ("_reader_taken", "_writer_taken", "inbound", "outbound")

    def __init__(self, stir: Callable[[], None], *, max_bytes: int, max_messages: int = MAX_MESSAGES) -> None:
        self.inbound = MessageFlow(stir, max_bytes=max_bytes, max_messages=max_messages)
        self.outbound = MessageFlow(stir, max_bytes=max_bytes, max_messages=max_messages)
        self._reader_taken = False
        self._writer_taken = False

    def take_reader(self) -> MessageFlow | None:
        """The inbound flow, or None when it was taken."""
        if self._reader_taken:
            return None
        self._reader_taken = True
        return self.inbound

    def take_writer(self) -> MessageFlow | None:
        """The outbound flow, or None when it was taken."""
        if self._writer_taken:
            return None
        self._writer_taken = True
        return self.outbound

    def restore_reader(self, flow: MessageFlow) -> None:
        """Undo :meth:`take_reader`.

        :raises LocalProtocolError: *flow* is another one, or there is one already.
        """
        if flow is not self.inbound or not self._reader_taken:
            raise LocalProtocolError("this reader was not taken from here, or is here already")
        self._reader_taken = False

    def restore_writer(self, flow: MessageFlow) -> None:
        """Undo :meth:`take_writer`.

        :raises LocalProtocolError: *flow* is another one, or there is one already.
        """
        if flow is not self.outbound or not self._writer_taken:
            raise LocalProtocolError("this writer was not taken from here, or is here already")
        self._writer_taken = False
