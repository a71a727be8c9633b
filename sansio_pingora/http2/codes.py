"""Error codes of HTTP/2 (RFC 9113 section 7), and the two kinds of faults that carry them."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ConnectionFault", "ErrorCode", "StreamFault", "code_name"]


class ErrorCode(IntEnum):
    """Why a stream was reset or a connection ended."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


def code_name(code: int) -> str:
    """The code's name; its number where it has none."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"error code {code:#x}"


class ConnectionFault(Exception):
    """The peer broke the rules so that the connection cannot go on (RFC 9113 section 5.4.1)."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class StreamFault(Exception):
    """The peer broke the rules on one stream (RFC 9113 section 5.4.2)."""

    def __init__(self, stream_id: int, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.stream_id = stream_id
        self.code = code
        self.reason = reason
