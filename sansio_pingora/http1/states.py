"""The life of one message in one direction, as a table: what is absent is illegal.

Every HTTP/1 connection has two of these, for what it receives and for what it sends.
Both being COMPLETE ends an exchange: the connection starts the next one or closes.
IntEnum, because its members hash in C: the table is looked up several times a request.
"""

from __future__ import annotations

from enum import IntEnum, auto

__all__ = [
    "BEGIN",
    "BODY",
    "CLOSE",
    "CLOSED",
    "COMPLETE",
    "END",
    "HEAD",
    "HEAD_ONLY",
    "HEAD_THEN_BODY",
    "IDLE",
    "INFORMATIONAL",
    "MOVES",
    "NEXT",
    "RAW",
    "SWITCH",
    "Half",
    "Move",
]


class Half(IntEnum):
    """Where one direction stands."""

    IDLE = auto()  # nothing of a message has passed; when sending: nothing is owed
    HEAD = auto()  # part of a head arrived; when sending: a head is owed
    BODY = auto()
    COMPLETE = auto()
    RAW = auto()  # after a 101 or in a tunnel: opaque bytes
    CLOSED = auto()  # no more bytes count


class Move(IntEnum):
    """What happens to one direction."""

    BEGIN = auto()  # the first byte of a head arrived, or a head is owed now
    HEAD_ONLY = auto()  # a head that no body follows
    HEAD_THEN_BODY = auto()
    INFORMATIONAL = auto()  # a 1xx head: another head follows
    END = auto()  # the body is complete
    SWITCH = auto()  # the message gave the connection over to another protocol
    NEXT = auto()  # the exchange is over and the connection goes on
    CLOSE = auto()


# By their bare names: finding a member in its class costs more than comparing it (50 ns on 3.11).
IDLE, HEAD, BODY, COMPLETE, RAW, CLOSED = Half
BEGIN, HEAD_ONLY, HEAD_THEN_BODY, INFORMATIONAL, END, SWITCH, NEXT, CLOSE = Move

MOVES: dict[tuple[Half, Move], Half] = {
    (IDLE, BEGIN): HEAD,
    (HEAD, BEGIN): HEAD,
    (IDLE, HEAD_ONLY): COMPLETE,
    (HEAD, HEAD_ONLY): COMPLETE,
    (IDLE, HEAD_THEN_BODY): BODY,
    (HEAD, HEAD_THEN_BODY): BODY,
    (IDLE, INFORMATIONAL): HEAD,
    (HEAD, INFORMATIONAL): HEAD,
    (BODY, END): COMPLETE,
    (HEAD, SWITCH): RAW,
    (COMPLETE, SWITCH): RAW,  # a request that was complete when its 101 came
    (COMPLETE, NEXT): IDLE,
    # Everything may be closed, once more too: a fault can follow a fault.
    (IDLE, CLOSE): CLOSED,
    (HEAD, CLOSE): CLOSED,
    (BODY, CLOSE): CLOSED,
    (COMPLETE, CLOSE): CLOSED,
    (RAW, CLOSE): CLOSED,
    (CLOSED, CLOSE): CLOSED,
}
