"""The life of a WebSocket, as a table: what is absent is illegal (RFC 6455 section 7)."""

from __future__ import annotations

from enum import IntEnum, auto

__all__ = ["MOVES", "Move", "State"]


class State(IntEnum):
    """Where a WebSocket stands."""

    OPEN = auto()
    CLOSING = auto()  # our close frame was sent, the peer's is to come
    CLOSED = auto()


class Move(IntEnum):
    """What takes it from one to the next."""

    CLOSE = auto()  # we begin the closing handshake
    END = auto()  # the peer's close frame, a fault, the end of the transport, or nobody answers


# CLOSED has no row: nothing leaves it.
MOVES: dict[tuple[State, Move], State] = {
    (State.OPEN, Move.CLOSE): State.CLOSING,
    (State.OPEN, Move.END): State.CLOSED,
    (State.CLOSING, Move.END): State.CLOSED,
}
