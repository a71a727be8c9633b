"""One stream: where it stands, its windows, what waits to be sent on it, and its clocks."""

from __future__ import annotations

import math
from collections import deque

from sansio_pingora.http2.priority import DEFAULT_URGENCY
from sansio_pingora.http2.states import OPEN, State
from sansio_pingora.wire import Fields, UpgradedBody

__all__ = ["Stream"]


class Stream:
    """A stream that is not closed. ``id`` is the wire's, ``key`` the one that the layers above know it by."""

    __slots__ = (
        "armed",
        "began",
        "continue_due",
        "deadline",
        "ending",
        "expects",
        "head_received",
        "head_sent",
        "heard",
        "id",
        "incremental",
        "informational",
        "informational_size",
        "key",
        "left",
        "left_to_send",
        "linger_left",
        "method",
        "mute",
        "offset",
        "opened",
        "pending",
        "progress",
        "queue",
        "read_deadline",
        "read_timeout",
        "received",
        "recv_window",
        "refused",
        "returned",
        "send_window",
        "stall_deadline",
        "state",
        "stopped",
        "trailers",
        "tunnel",
        "unconsumed",
        "urgency",
        "waiting",
        "window",
        "withheld",
    )

    def __init__(self, stream_id: int, key: int, send_window: int, recv_window: int, now: float) -> None:
        self.id = stream_id
        self.key = key
        self.state: State = OPEN
        self.heard = True
        """Somebody above holds it and wants its events."""
        self.method = b""
        self.opened = now
        self.urgency = DEFAULT_URGENCY
        self.incremental = True
        # receiving
        self.head_received = False
        self.continue_due = False  # the client waits for a 100 before it sends its body
        self.informational = 0
        self.informational_size = 0
        self.recv_window = recv_window
        self.window = 0  # what the peer may send before what came is used up; 0 until it is told so
        self.unconsumed = 0  # payload bytes delivered, whose credit was not returned
        self.returned = 0  # credit returned, and not announced yet
        self.received = 0  # payload bytes
        self.left: int | None = None  # of a declared Content-Length
        self.linger_left = 0
        self.tunnel = False  # a CONNECT: opaque bytes once it is accepted
        self.withheld: list[UpgradedBody] | None = None  # what came for a tunnel that is not accepted yet
        self.refused = False  # of a tunnel whose refusal is being sent, nothing is heard any more but its failure
        # sending
        self.head_sent = False
        self.expects = False  # of a client: the body may wait for the origin's word
        self.send_window = send_window
        self.queue: deque[bytes] | None = None
        self.offset = 0  # of the first piece, how much is sent already
        self.pending = 0  # bytes in queue that are not sent
        self.ending = False  # END_STREAM goes out behind the queue
        self.trailers: Fields | None = None
        self.left_to_send: int | None = None
        self.mute = False  # an answer without a body: what is sent as one is counted and goes nowhere
        self.waiting = False  # its sender was told that there is no room
        # clocks
        self.read_deadline = math.inf
        self.read_timeout = math.inf  # of a client: others may come with other ones
        self.stall_deadline = math.inf
        self.began = now  # of a body, less the time in which we did not read it
        self.stopped = -math.inf  # when we last stopped reading, if we do not read now
        self.progress = 0  # bytes sent since the stall clock was started
        self.deadline = math.inf
        self.armed = math.inf

    def __repr__(self) -> str:
        return f"<Stream {self.id} {self.state.name}>"
