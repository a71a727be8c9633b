"""What the reference engine does otherwise than the native one, with the reason: in tests, and on the same bytes."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["READ_OTHERWISE", "Row"]


class Row(NamedTuple):
    """How the engines part, as patterns for what :func:`tests.http2.differential.described` says of each."""

    native: str
    reference: str


BAD_LIST = "h2 takes a bad header list for the fault of the connection; RFC 9113 section 8.1.1 lets it be the stream's"

_STREAM = r"stream: .*|reset: PROTOCOL_ERROR"
_LISTS = (
    r"Header block missing mandatory … header",
    r"Received pseudo-header field out of sequence: …",
    r"Received pseudo-header in trailer .*",
    r"Received duplicate pseudo-header field …",
    r"Received custom pseudo-header field …",
    r"Encountered (request|response)-only headers .*",
    r"Illegal character … in header (name|value): …",
    r"Received uppercase header name …\.",
    r"Received header name with zero length\.",
    r"Received header value surrounded by whitespace …",
    r"Connection-specific header field present: …\.",
    r"Invalid value for TE header: …",
    r"Request header block does not have an :authority or Host header\.",
    r"Request header block has mismatched :authority and Host headers: … / …",
    r"An empty :path header is forbidden",
    r"Ordinary CONNECT MUST NOT include :scheme or :path",
    r"(Invalid|Conflicting) content-length header.*",
)
READ_OTHERWISE: dict[Row, str] = {
    **{Row(_STREAM, f"connection: PROTOCOL_ERROR: {text}"): BAD_LIST for text in _LISTS},
}
