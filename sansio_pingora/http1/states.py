"""The life of one message in one direction, as a table: what is absent is illegal.

Every HTTP/1 connection has two of these, for what it receives and for what it sends.
Both being COMPLETE ends an exchange: the connection starts the next one or closes.
"""

from __future__ import annotations

from enum import Enum, auto

__all__ = ["MOVES", "Half", "Move"]


class Half(Enum):
    """Where one direction stands."""

    IDLE = auto()  # nothing of a message has passed; when sending: nothing is owed
    HEAD = auto()  # part of a head arrived; when sending: a head is owed
    BODY = auto()
    COMPLETE = auto()
    RAW = auto()  # after a 101 or in a tunnel: opaque bytes
    CLOSED = auto()  # no more bytes count


class Move(Enum):
    """What happens to one direction."""

    BEGIN = auto()  # the first byte of a head arrived, or a head is owed now
    HEAD_ONLY = auto()  # a head that no body follows
    HEAD_THEN_BODY = auto()
    INFORMATIONAL = auto()  # a 1xx head: another head follows
    END = auto()  # the body is complete
    SWITCH = auto()  # the message gave the connection over to another protocol
    NEXT = auto()  # the exchange is over and the connection goes on
    CLOSE = auto()


_I, _H, _B, _C, _R, _X = Half.IDLE, Half.HEAD, Half.BODY, Half.COMPLETE, Half.RAW, Half.CLOSED

MOVES: dict[tuple[Half, Move], Half] = {
    (_I, Move.BEGIN): _H,
    (_H, Move.BEGIN): _H,
    (_I, Move.HEAD_ONLY): _C,
    (_H, Move.HEAD_ONLY): _C,
    (_I, Move.HEAD_THEN_BODY): _B,
    (_H, Move.HEAD_THEN_BODY): _B,
    (_I, Move.INFORMATIONAL): _H,
    (_H, Move.INFORMATIONAL): _H,
    (_B, Move.END): _C,
    (_H, Move.SWITCH): _R,
    (_C, Move.SWITCH): _R,  # a request that was complete when its 101 came
    (_C, Move.NEXT): _I,
    # Everything may be closed, once more too: a fault can follow a fault.
    (_I, Move.CLOSE): _X,
    (_H, Move.CLOSE): _X,
    (_B, Move.CLOSE): _X,
    (_C, Move.CLOSE): _X,
    (_R, Move.CLOSE): _X,
    (_X, Move.CLOSE): _X,
}
