"""One direction of a subrequest: where its message stands, what of it waits, and its credit."""

from __future__ import annotations

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.http1.states import BODY, END, MOVES, RAW, Half
from sansio_pingora.wire import (
    CHUNKED,
    FORBIDDEN_TRAILERS,
    Body,
    Done,
    HttpTask,
    MessageFault,
    RequestHeader,
    ResponseHeader,
    Trailer,
    UpgradedBody,
    request_framing,
    response_framing,
)

__all__ = ["Flow", "clear_request_body_headers", "request_length", "response_length"]

_BODY_FIELDS = frozenset({b"content-length", b"transfer-encoding", b"content-type", b"content-encoding"})


def clear_request_body_headers(head: RequestHeader) -> None:
    """Make *head* that of a request without a body."""
    head.fields.remove_all(_BODY_FIELDS)


def request_length(head: RequestHeader) -> int:
    """The bytes of the body that follows *head*, or :data:`CHUNKED` where its end alone tells.

    :raises LocalProtocolError: its framing is ambiguous.
    """
    try:
        framing = request_framing(head)
    except MessageFault as fault:
        raise LocalProtocolError(f"request head: {fault.reason}") from None
    return CHUNKED if framing == 0 and b"content-length" not in head.fields.index else framing


def response_length(head: ResponseHeader) -> int:
    """As :func:`request_length`, whatever the request.

    :raises LocalProtocolError: its framing is ambiguous.
    """
    try:
        framing = response_framing(head, b"GET")
    except MessageFault as fault:
        raise LocalProtocolError(f"response head: {fault.reason}") from None
    return framing if framing >= 0 else CHUNKED


class Flow:
    """One message, from who sends it to who takes it."""

    __slots__ = ("_high_water", "left", "mute", "pending", "queue", "starved", "state")

    def __init__(self, state: Half, left: int, high_water: int) -> None:
        self._high_water = high_water
        self.state = state
        self.left = left
        """Bytes still due, or :data:`CHUNKED`."""
        self.mute = False
        """A message without a body: what is sent as one goes nowhere."""
        self.queue: list[object] = []
        """What its taker has not been told yet."""
        self.pending = 0
        """Bytes sent, and not used by their taker."""
        self.starved = False
        """Its sender was told that there is no room."""

    @property
    def room(self) -> int:
        """Bytes that may be sent; 0 or less: wait."""
        return self._high_water - self.pending

    def offer_room(self) -> int:
        """The room, to be told to the sender."""
        room = self._high_water - self.pending
        if room <= 0:
            self.starved = True
        return room

    def take_credit(self, size: int) -> bool:
        """*size* bytes were used; True: the sender waits to hear of it.

        :raises LocalProtocolError: that many were not delivered.
        """
        if not 0 <= size <= self.pending:
            raise LocalProtocolError(f"{size} bytes consumed where {self.pending} were delivered and not returned")
        self.pending -= size
        if not self.starved or self.room <= 0:
            return False
        self.starved = False
        return True

    def missing(self, task: HttpTask) -> int:
        """How many bytes fewer than declared the message has, if *task* ends it."""
        if self.mute or self.left <= 0 or not task.end:
            return 0
        return max(self.left - (len(task.data) if type(task) is Body else 0), 0)

    def pass_on(self, task: HttpTask) -> None:
        """A Body, Trailer or Done, in the one normal form; of more bytes than declared, those that were.

        :raises LocalProtocolError: trailers that hold what belongs into a head.
        """
        if type(task) is Body:
            end = self._pass_body(task.data, task.end)
        else:
            end = True
            if type(task) is Trailer:
                if task.fields.has_any(FORBIDDEN_TRAILERS):
                    raise LocalProtocolError(f"trailers {task.fields!r} hold a field that belongs into a head")
                task = Trailer(task.fields.copy())
            if not self.mute:
                self.queue.append(task)
        if end:
            self.state = MOVES[BODY, END]

    def _pass_body(self, data: bytes, end: bool) -> bool:
        if self.mute:
            return end
        if self.left < 0:
            if data:
                self._deliver(Body(data))
            if end:
                self.queue.append(Done())
            return end
        if len(data) > self.left:
            data = data[: self.left]
        self.left -= len(data)
        end = self.left == 0
        if data or end:
            self._deliver(Body(data, end))
        return end

    def pass_raw(self, task: UpgradedBody) -> None:
        """Opaque bytes.

        :raises LocalProtocolError: this direction is no tunnel.
        """
        if self.state is not RAW:
            raise LocalProtocolError(f"upgraded bytes cannot be sent now: this side is {self.state.name}")
        if task.data or task.end:
            self._deliver(task)

    def _deliver(self, task: Body | UpgradedBody) -> None:
        self.pending += len(task.data)
        self.queue.append(task)
