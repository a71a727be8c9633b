"""What goes over the wire, as values: tasks, heads, fields, and the grammar that they obey."""

from sansio_pingora.wire.authority import Authority
from sansio_pingora.wire.dates import http_date, parse_http_date
from sansio_pingora.wire.fields import Fields, Text
from sansio_pingora.wire.heads import RequestHeader, ResponseHeader, reason_phrase
from sansio_pingora.wire.receive_buffer import ReceiveBuffer
from sansio_pingora.wire.tasks import Body, Done, Failed, Header, HttpTask, Trailer, UpgradedBody

__all__ = [
    "Authority",
    "Body",
    "Done",
    "Failed",
    "Fields",
    "Header",
    "HttpTask",
    "ReceiveBuffer",
    "RequestHeader",
    "ResponseHeader",
    "Text",
    "Trailer",
    "UpgradedBody",
    "http_date",
    "parse_http_date",
    "reason_phrase",
]
