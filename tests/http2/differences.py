"""What the reference engine does otherwise than the native one, with the reason: in tests, and on the same bytes."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DIFFERENCES", "READ_OTHERWISE", "Row"]

WINDOW = "h2 takes DATA beyond the window of a stream for the fault of the connection"
FULL = "h2 takes one stream too many for the fault of the connection"
UPDATES = "h2 does not know PRIORITY_UPDATE (RFC 9218)"

# Tests of the behaviour suite that fail over the reference engine; each is tried all the same.
DIFFERENCES: dict[str, str] = {
    "test_a_server_s_ceiling_frees_with_its_streams": FULL,
    "test_no_clock_runs_while_nothing_is_read": "h2 indexes large fields: said again they take a byte, and no queue grows",
    "test_one_byte_beyond_the_window_is_a_fault": WINDOW,
    "test_once_settings_are_acknowledged_the_smaller_window_counts": WINDOW,
    "test_no_credit_is_given_to_a_stream_whose_peer_has_ended": "h2 gives credit to a stream that needs none any more",
    "test_a_length_that_an_origin_declares_for_a_tunnel_counts_for_nothing": "h2 keeps to Content-Length in a tunnel",
    "test_a_priority_that_is_changed": UPDATES,
    "test_a_priority_that_comes_before_its_stream_is_kept": UPDATES,
    "test_priorities_that_come_before_their_streams_are_kept_for_so_many": UPDATES,
    "test_a_priority_update_from_a_server": UPDATES,
    "test_a_priority_update_that_is_too_short[0]": UPDATES,
    "test_a_priority_update_that_is_too_short[3]": UPDATES,
}


class Row(NamedTuple):
    """How the engines part on the same bytes: patterns for what ``differential.described`` says of each."""

    native: str
    reference: str


BAD_LIST = "h2 takes a bad header list for the fault of the connection; RFC 9113 section 8.1.1 lets it be the stream's"
LENGTH = "h2 takes a body of another length than declared for the fault of the connection"
SIZES = "hyperframe takes any frame of a wrong size for the fault of the connection"
OVER = (
    "the frame that broke the rules was the last of its stream: for h2 it has ended, for the native engine it was reset"
)
PADDING = (
    "hyperframe takes padding that leaves nothing of a head for too long; and on a stream that is over"
    " the native engine does not look at it"
)

_READS = "reads on"
_STREAM = "(stream|reset): .*"
_LISTS = (
    "Header block missing mandatory … header",
    "Received pseudo-header field out of sequence: …",
    "Received pseudo-header in trailer .*",
    "Received duplicate pseudo-header field …",
    "Received custom pseudo-header field …",
    "Encountered (request|response|connect-request)-only headers .*",
    "Illegal character … in header (name|value): …",
    r"Received uppercase header name …\.",
    r"Received header name with zero length\.",
    "Received header value surrounded by whitespace …",
    r"Connection-specific header field present: …\.",
    "Invalid value for TE header: …",
    r"Request header block does not have an :authority or Host header\.",
    r"Request header block has multiple Host headers\.",
    "Request header block has mismatched :authority and Host headers: … / …",
    "An empty :path header is forbidden",
    "Ordinary CONNECT MUST NOT include :scheme or :path",
    "(Invalid|Conflicting) content-length header.*",
    "Cannot set END_STREAM on informational responses",
    "Invalid input StreamInputs.RECV_INFORMATIONAL_HEADERS in state …",  # a request with a :status
    "Trailers must have END_STREAM set",
    "Informational response after final response",
)
READ_OTHERWISE: dict[Row, str] = {
    **{Row(_STREAM, f"connection: PROTOCOL_ERROR: {text}"): BAD_LIST for text in _LISTS},
    Row(_READS, "connection: PROTOCOL_ERROR: Request header block has mismatched :authority and Host headers: … / …"): (
        "h2 minds the case of an authority"
    ),
    Row(
        "connection: PROTOCOL_ERROR: setting … of …", _READS
    ): "h2 lets a peer take SETTINGS_ENABLE_CONNECT_PROTOCOL back",
    Row(_STREAM, "connection: PROTOCOL_ERROR: InvalidBodyLengthError: .*"): LENGTH,
    Row(_READS, "connection: PROTOCOL_ERROR: InvalidBodyLengthError: .*"): (
        "h2 keeps to Content-Length in a CONNECT and behind a 304, where it declares nothing"
    ),
    Row("reset: REFUSED_STREAM", "connection: PROTOCOL_ERROR: Max inbound streams is …, … open"): FULL,
    Row(f"{_STREAM}|{_READS}", "connection: PROTOCOL_ERROR: Max inbound streams is …, … open"): (
        "h2 counts trailers on a stream that was reset as one stream more"
    ),
    Row(_STREAM, "connection: FLOW_CONTROL_ERROR: Flow control window shrunk below …"): WINDOW,
    Row("(stream|reset): FRAME_SIZE_ERROR.*", "connection: FRAME_SIZE_ERROR: Frame data missing or invalid"): SIZES,
    Row(_READS, "connection: FRAME_SIZE_ERROR: Frame data missing or invalid"): (
        "hyperframe reads ALTSVC (RFC 7838), which the native engine passes over as any unknown frame"
    ),
    Row(f"{_STREAM}|{_READS}", "connection: PROTOCOL_ERROR: Received frame with non-compliant data"): (
        "hyperframe does not ignore the reserved bit of a window's increment"
    ),
    Row(f"{_STREAM}|{_READS}", "connection: PROTOCOL_ERROR: Stream … may not depend on itself"): (
        "h2 takes a stream that depends on itself for the fault of the connection, in trailers too"
    ),
    Row(f"{_STREAM}|{_READS}", r"connection: PROTOCOL_ERROR: Received frame with invalid padding\."): PADDING,
    Row("connection: PROTOCOL_ERROR: the first frame is not SETTINGS", f"{_READS}|{_STREAM}"): (
        "h2 lets a connection begin with any frame"
    ),
    Row("connection: STREAM_CLOSED: frame type … on stream …, which is CLOSED", "reset: STREAM_CLOSED"): (
        "h2 takes DATA on a stream that has ended for the fault of the stream"
    ),
    Row("connection: PROTOCOL_ERROR: frame type … on stream …, which is IDLE", _READS): (
        "h2 ignores RST_STREAM on a stream that was never opened"
    ),
    Row("connection: PROTOCOL_ERROR: (frame type … on stream …|PRIORITY_UPDATE from a server)", _READS): UPDATES,
    Row("connection: FRAME_SIZE_ERROR: PRIORITY_UPDATE of fewer than … bytes", _READS): UPDATES,
    Row("connection: ENHANCE_YOUR_CALM: a head of too many frames or bytes", f"{_READS}|{_STREAM}"): (
        "h2 takes 64 CONTINUATION frames"
    ),
    Row("reset: (NO|PROTOCOL)_ERROR", _READS): OVER,
    Row(_READS, "connection: STREAM_CLOSED: …"): OVER,
    Row("connection: PROTOCOL_ERROR: (PUSH_PROMISE, which is disabled|CONTINUATION without a head)", _READS): (
        "h2 judges a PUSH_PROMISE when it is complete, and no CONTINUATION on a stream that was reset"
    ),
    Row(
        _READS,
        "connection: PROTOCOL_ERROR: (Invalid input StreamInputs.RECV_INFORMATIONAL_HEADERS in state …"
        "|Cannot set END_STREAM on informational responses)",
    ): ("h2 has no place for a late 1xx on a stream that was reset"),
    Row(_READS, "connection: FLOW_CONTROL_ERROR: May not increment flow control window past …"): (
        "h2 still counts the windows of streams that are over when the initial window is changed"
    ),
    Row("reset: STREAM_CLOSED", f"{_READS}|connection: PROTOCOL_ERROR: cannot receive data before headers"): (
        "what still comes on a stream that a GOAWAY has passed over: the native engine resets it"
    ),
}
