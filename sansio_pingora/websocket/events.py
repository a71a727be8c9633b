"""What a WebSocket session tells the application."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CloseCode", "Closed", "MessagePart", "Ping", "Pong", "WebSocketEvent", "WebSocketFault", "may_be_sent"]


class CloseCode(IntEnum):
    """Why a WebSocket ended (RFC 6455 section 7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED = 1003
    NO_STATUS = 1005
    """Not on the wire: the peer's close frame gave none."""
    ABNORMAL = 1006
    """Not on the wire: the connection ended without a close frame."""
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014


_NOT_ON_THE_WIRE = frozenset({1004, 1005, 1006, 1015})


def may_be_sent(code: int) -> bool:
    """Whether a close frame may bear *code*."""
    return (1000 <= code <= 1014 and code not in _NOT_ON_THE_WIRE) or 3000 <= code <= 4999


class WebSocketFault(Exception):
    """The peer broke the rules; *code* is what it is told."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class MessagePart:
    """Part of a message as it came: a frame, or a piece of one. Text is whole characters, already checked.

    ``last``: the message is complete; ``ends``: its frame is. A part may be empty, where it ends something.
    """

    __slots__ = ("data", "ends", "last")

    def __init__(self, data: str | bytes, last: bool = True, ends: bool = True) -> None:
        self.data = data
        self.last = last
        self.ends = ends

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MessagePart) and (
            (self.data, self.last, self.ends) == (other.data, other.last, other.ends)
        )

    __hash__ = None  # type: ignore[assignment]  # values are compared, not kept

    def __repr__(self) -> str:
        return f"MessagePart({self.data!r}, last={self.last}, ends={self.ends})"


class _Control:
    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Control) and type(self) is type(other) and self.data == other.data

    __hash__ = None  # type: ignore[assignment]  # as above

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.data!r})"


class Ping(_Control):
    """A ping came, and its pong is queued."""

    __slots__ = ()


class Pong(_Control):
    """A pong came, asked for or not."""

    __slots__ = ()


class Closed:
    """The last event: nothing more comes. ``code`` is the peer's, or why we gave it up."""

    __slots__ = ("code", "reason")

    def __init__(self, code: int, reason: str = "") -> None:
        self.code = code
        self.reason = reason

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Closed) and (self.code, self.reason) == (other.code, other.reason)

    __hash__ = None  # type: ignore[assignment]  # as above

    def __repr__(self) -> str:
        return f"Closed({self.code}, {self.reason!r})"


WebSocketEvent = MessagePart | Ping | Pong | Closed
