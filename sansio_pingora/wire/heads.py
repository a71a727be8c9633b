"""Request and response heads: the start line and the fields, for every HTTP version."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.wire.fields import Fields, Text, as_bytes
from sansio_pingora.wire.grammar import METHOD, REASON, TARGET

__all__ = ["Head", "RequestHeader", "ResponseHeader", "reason_phrase"]

# The IANA registry's; not http.HTTPStatus, whose phrases differ between Python versions.
_REASONS = {
    100: b"Continue",
    101: b"Switching Protocols",
    102: b"Processing",
    103: b"Early Hints",
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    203: b"Non-Authoritative Information",
    204: b"No Content",
    205: b"Reset Content",
    206: b"Partial Content",
    207: b"Multi-Status",
    208: b"Already Reported",
    226: b"IM Used",
    300: b"Multiple Choices",
    301: b"Moved Permanently",
    302: b"Found",
    303: b"See Other",
    304: b"Not Modified",
    305: b"Use Proxy",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    407: b"Proxy Authentication Required",
    408: b"Request Timeout",
    409: b"Conflict",
    410: b"Gone",
    411: b"Length Required",
    412: b"Precondition Failed",
    413: b"Content Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    416: b"Range Not Satisfiable",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    422: b"Unprocessable Content",
    423: b"Locked",
    424: b"Failed Dependency",
    425: b"Too Early",
    426: b"Upgrade Required",
    428: b"Precondition Required",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    451: b"Unavailable For Legal Reasons",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
    506: b"Variant Also Negotiates",
    507: b"Insufficient Storage",
    508: b"Loop Detected",
    510: b"Not Extended",
    511: b"Network Authentication Required",
}
_STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, reason) for status, reason in _REASONS.items()}
_VERSIONS = (b"1.0", b"1.1", b"2")


def reason_phrase(status: int) -> bytes:
    """The customary reason phrase of *status*; empty for one that has none."""
    return _REASONS.get(status, b"")


class Head:
    """What requests and responses share: a version and fields."""

    __slots__ = ("fields", "version")

    fields: Fields
    version: bytes
    """``b"1.0"``, ``b"1.1"`` or ``b"2"``."""

    def get(self, name: Text) -> bytes | None:
        """The first value of the field *name*, or None."""
        return self.fields.get(name)

    def append(self, name: Text, value: Text) -> None:
        """Add a field line. See :meth:`Fields.append`."""
        self.fields.append(name, value)

    def insert(self, name: Text, value: Text) -> None:
        """Replace every line of the field *name* by one. See :meth:`Fields.insert`."""
        self.fields.insert(name, value)

    def remove(self, name: Text) -> bytes | None:
        """Drop the field *name*; the first value it had, or None."""
        return self.fields.remove(name)

    def _set_version(self, version: bytes) -> None:
        if version not in _VERSIONS:
            raise Error(ErrorType.INVALID_HTTP_HEADER, f"HTTP version {version!r}: one of {_VERSIONS} is needed")
        self.version = version


class RequestHeader(Head):
    """A request's head.

    ``target`` is as it is sent: origin-form (``/path?query``), ``*`` for OPTIONS, or
    ``host:port`` for CONNECT. An absolute-form target that a client sent has been split:
    its authority is the Host field and ``scheme`` says what it began with. The pseudo-header
    fields of HTTP/2 are the same parts: ``:authority`` is the Host field.
    """

    __slots__ = ("method", "protocol", "scheme", "target")

    protocol: bytes | None
    """What an extended CONNECT asks for (RFC 8441 ``:protocol``), as ``b"websocket"``; ``target`` is then a path."""

    def __init__(
        self,
        method: Text,
        target: Text,
        fields: Iterable[tuple[Text, Text]] = (),
        *,
        version: bytes = b"1.1",
        scheme: bytes = b"http",
        protocol: bytes | None = None,
    ) -> None:
        """Build a head to send.

        :raises Error: ``INVALID_HTTP_HEADER``, a part of it is not legal.
        """
        self.set_method(method)
        self.set_target(target)
        self._set_version(version)
        self.scheme = scheme
        self.protocol = protocol
        self.fields = Fields(fields)

    @classmethod
    def received(cls, method: bytes, target: bytes, version: bytes, fields: Fields) -> Self:
        """A head whose parts the grammar has already proved."""
        self = cls.__new__(cls)
        self.method = method
        self.target = target
        self.version = version
        self.scheme = b"http"
        self.protocol = None
        self.fields = fields
        return self

    def set_method(self, method: Text) -> None:
        """Change the method.

        :raises Error: ``INVALID_HTTP_HEADER``, not a token.
        """
        raw = as_bytes(method)
        if not METHOD.fullmatch(raw):
            raise Error(ErrorType.INVALID_HTTP_HEADER, f"method {raw!r} is not a token")
        self.method = raw

    def set_target(self, target: Text) -> None:
        """Change the request target.

        :raises Error: ``INVALID_HTTP_HEADER``, bytes that no URI holds: escape them first.
        """
        raw = as_bytes(target)
        if not TARGET.fullmatch(raw):
            raise Error(
                ErrorType.INVALID_HTTP_HEADER, f"request target {raw[:80]!r} holds bytes that must be percent-encoded"
            )
        self.target = raw

    @property
    def path(self) -> bytes:
        """The target up to the query."""
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """The target after the first ``?``; empty when there is none."""
        return self.target.partition(b"?")[2]

    def clone(self) -> RequestHeader:
        """An independent copy."""
        other = RequestHeader.__new__(RequestHeader)
        other.method = self.method
        other.target = self.target
        other.version = self.version
        other.scheme = self.scheme
        other.protocol = self.protocol
        other.fields = self.fields.copy()
        return other

    def summary(self) -> str:
        """``METHOD target, Host: host``, for logs."""
        host = self.fields.get(b"host") or b"-"
        return f"{self.method.decode('ascii')} {self.target.decode('latin-1')}, Host: {host.decode('latin-1')}"

    def to_bytes(self, extra: bytes = b"") -> bytes:
        """The head as HTTP/1.1 sends it, whatever version it came with, with *extra* field lines."""
        return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (self.method, self.target, self.fields.to_bytes(), extra)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RequestHeader)
            and (self.method, self.target, self.version, self.scheme, self.protocol)
            == (other.method, other.target, other.version, other.scheme, other.protocol)
            and self.fields == other.fields
        )

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"<RequestHeader {self.method!r} {self.target!r} {self.version.decode()} {self.fields.items!r}>"


class ResponseHeader(Head):
    """A response's head. ``reason`` is the customary phrase unless another is given."""

    __slots__ = ("reason", "status")

    def __init__(
        self,
        status: int,
        fields: Iterable[tuple[Text, Text]] = (),
        *,
        reason: Text | None = None,
        version: bytes = b"1.1",
    ) -> None:
        """Build a head to send.

        :raises Error: ``INVALID_HTTP_HEADER``, a part of it is not legal.
        """
        self.set_status(status, reason)
        self._set_version(version)
        self.fields = Fields(fields)

    @classmethod
    def received(cls, status: int, reason: bytes, version: bytes, fields: Fields) -> Self:
        """A head whose parts the grammar has already proved."""
        self = cls.__new__(cls)
        self.status = status
        self.reason = reason
        self.version = version
        self.fields = fields
        return self

    def set_status(self, status: int, reason: Text | None = None) -> None:
        """Change the status code, and the reason with it.

        :raises Error: ``INVALID_HTTP_HEADER``, outside 100–999, or a reason with control bytes.
        """
        if not 100 <= status <= 999:
            raise Error(ErrorType.INVALID_HTTP_HEADER, f"status {status} is not between 100 and 999")
        raw = reason_phrase(status) if reason is None else as_bytes(reason)
        if not REASON.fullmatch(raw):
            raise Error(ErrorType.INVALID_HTTP_HEADER, f"reason phrase {raw!r} holds a control byte")
        self.status = status
        self.reason = raw

    def set_content_length(self, size: int) -> None:
        """Declare a body of *size* bytes; drops Transfer-Encoding."""
        self.fields.remove(b"transfer-encoding")
        self.fields.insert(b"Content-Length", b"%d" % size)

    @property
    def informational(self) -> bool:
        """A 1xx that another head follows: any but 101 (RFC 9110 section 15.2)."""
        return self.status < 200 and self.status != 101

    def clone(self) -> ResponseHeader:
        """An independent copy."""
        return ResponseHeader.received(self.status, self.reason, self.version, self.fields.copy())

    def to_bytes(self, extra: bytes = b"") -> bytes:
        """The head as HTTP/1.1 sends it, whatever version it came with, with *extra* field lines."""
        status = self.status
        line = _STATUS_LINES.get(status)
        if line is None or self.reason != _REASONS[status]:
            line = b"HTTP/1.1 %d %b\r\n" % (status, self.reason)
        return b"%b%b%b\r\n" % (line, self.fields.to_bytes(), extra)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ResponseHeader)
            and (self.status, self.reason, self.version) == (other.status, other.reason, other.version)
            and self.fields == other.fields
        )

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"<ResponseHeader {self.status} {self.version.decode()} {self.fields.items!r}>"
