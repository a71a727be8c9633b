"""What goes over the wire, as values: tasks, heads, fields, and the grammar that they obey."""

from sansio_pingora.wire.authority import Authority
from sansio_pingora.wire.dates import http_date, parse_http_date
from sansio_pingora.wire.error_pages import error_page
from sansio_pingora.wire.fields import Fields, Text
from sansio_pingora.wire.framing import (
    CHUNKED,
    UNTIL_CLOSE,
    MessageFault,
    content_length,
    request_framing,
    response_framing,
)
from sansio_pingora.wire.heads import RequestHeader, ResponseHeader, reason_phrase
from sansio_pingora.wire.joining import join_piece, join_task
from sansio_pingora.wire.octets import octets
from sansio_pingora.wire.receive_buffer import ReceiveBuffer
from sansio_pingora.wire.tasks import Body, Done, Failed, Header, HttpTask, Trailer, UpgradedBody
from sansio_pingora.wire.trailers import FORBIDDEN_TRAILERS

__all__ = [
    "CHUNKED",
    "FORBIDDEN_TRAILERS",
    "UNTIL_CLOSE",
    "Authority",
    "Body",
    "Done",
    "Failed",
    "Fields",
    "Header",
    "HttpTask",
    "MessageFault",
    "ReceiveBuffer",
    "RequestHeader",
    "ResponseHeader",
    "Text",
    "Trailer",
    "UpgradedBody",
    "content_length",
    "error_page",
    "http_date",
    "join_piece",
    "join_task",
    "octets",
    "parse_http_date",
    "reason_phrase",
    "request_framing",
    "response_framing",
]
