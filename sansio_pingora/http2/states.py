"""What each frame means in each state of a stream, as a table (RFC 9113 section 5.1): what is absent is illegal."""

from __future__ import annotations

from enum import IntEnum, auto

from sansio_pingora.http2.frames import DATA, HEADERS, PRIORITY, RST_STREAM, WINDOW_UPDATE

__all__ = [
    "CLOSED",
    "HALF_CLOSED_LOCAL",
    "HALF_CLOSED_REMOTE",
    "IDLE",
    "LOCAL_END",
    "OPEN",
    "RECEIVED",
    "REMOTE_END",
    "RESET_LOCAL",
    "RESET_REMOTE",
    "State",
    "Verdict",
]


class State(IntEnum):
    """Where a stream stands. A closed one is remembered by how it came to be closed."""

    IDLE = auto()
    OPEN = auto()
    HALF_CLOSED_LOCAL = auto()  # we have ended our side
    HALF_CLOSED_REMOTE = auto()  # the peer has ended its side
    CLOSED = auto()  # both sides have ended
    RESET_LOCAL = auto()  # by us: what the peer sent before it heard of that is still to come
    RESET_REMOTE = auto()


class Verdict(IntEnum):
    """What becomes of a received frame."""

    TAKE = auto()
    IGNORE = auto()
    STREAM_CLOSED = auto()  # a stream error
    CONNECTION_CLOSED = auto()  # a connection error STREAM_CLOSED
    PROTOCOL_ERROR = auto()  # a connection error


# By their bare names: finding a member in its class costs more than comparing it (50 ns on 3.11).
IDLE, OPEN, HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE, CLOSED, RESET_LOCAL, RESET_REMOTE = State
_TAKE, _IGNORE, _STREAM, _CONNECTION, _PROTOCOL = Verdict

RECEIVED: dict[tuple[State, int], Verdict] = {
    (IDLE, DATA): _PROTOCOL,
    (IDLE, HEADERS): _TAKE,  # by a server; a client has no idle stream that a server may open
    (IDLE, PRIORITY): _TAKE,
    (IDLE, RST_STREAM): _PROTOCOL,
    (IDLE, WINDOW_UPDATE): _PROTOCOL,
    (OPEN, DATA): _TAKE,
    (OPEN, HEADERS): _TAKE,
    (OPEN, PRIORITY): _TAKE,
    (OPEN, RST_STREAM): _TAKE,
    (OPEN, WINDOW_UPDATE): _TAKE,
    (HALF_CLOSED_LOCAL, DATA): _TAKE,
    (HALF_CLOSED_LOCAL, HEADERS): _TAKE,
    (HALF_CLOSED_LOCAL, PRIORITY): _TAKE,
    (HALF_CLOSED_LOCAL, RST_STREAM): _TAKE,
    (HALF_CLOSED_LOCAL, WINDOW_UPDATE): _TAKE,
    (HALF_CLOSED_REMOTE, DATA): _STREAM,
    (HALF_CLOSED_REMOTE, HEADERS): _STREAM,
    (HALF_CLOSED_REMOTE, PRIORITY): _TAKE,
    (HALF_CLOSED_REMOTE, RST_STREAM): _TAKE,
    (HALF_CLOSED_REMOTE, WINDOW_UPDATE): _TAKE,
    (CLOSED, DATA): _CONNECTION,
    (CLOSED, HEADERS): _CONNECTION,
    (CLOSED, PRIORITY): _TAKE,
    # A peer may send both before it has our END_STREAM.
    (CLOSED, RST_STREAM): _IGNORE,
    (CLOSED, WINDOW_UPDATE): _IGNORE,
    (RESET_LOCAL, DATA): _IGNORE,
    (RESET_LOCAL, HEADERS): _IGNORE,
    (RESET_LOCAL, PRIORITY): _TAKE,
    (RESET_LOCAL, RST_STREAM): _IGNORE,
    (RESET_LOCAL, WINDOW_UPDATE): _IGNORE,
    (RESET_REMOTE, DATA): _STREAM,
    (RESET_REMOTE, HEADERS): _STREAM,
    (RESET_REMOTE, PRIORITY): _TAKE,
    (RESET_REMOTE, RST_STREAM): _IGNORE,
    (RESET_REMOTE, WINDOW_UPDATE): _IGNORE,
}

# One side of an open stream has ended.
LOCAL_END: dict[State, State] = {OPEN: HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE: CLOSED}
REMOTE_END: dict[State, State] = {OPEN: HALF_CLOSED_REMOTE, HALF_CLOSED_LOCAL: CLOSED}
