"""A whole request and a whole response, as handlers of :class:`~sansio_pingora.apps.ServeHttp` see them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from sansio_pingora.transport import SocketAddr
from sansio_pingora.wire import Fields, RequestHeader, ResponseHeader, Text, octets, reason_phrase

__all__ = ["Request", "Response"]


class Request:
    """What a client asked for. Text is as it was sent: nothing is percent-decoded."""

    __slots__ = ("body", "client", "head")

    def __init__(
        self,
        method: str,
        target: str = "/",
        headers: Iterable[tuple[Text, Text]] | Mapping[str, str] = (),
        body: bytes = b"",
        *,
        client: SocketAddr | None = None,
        version: str = "1.1",
    ) -> None:
        """Build one, for tests of handlers.

        :raises Error: ``INVALID_HTTP_HEADER``, a part of it is not legal.
        """
        self.head = RequestHeader(method, target, _pairs(headers), version=version.encode("latin-1"))
        self.body = body
        self.client = client

    @classmethod
    def received(cls, head: RequestHeader, body: bytes, client: SocketAddr | None) -> Self:
        """The request with *head*, which the grammar has already proved."""
        self = cls.__new__(cls)
        self.head = head
        self.body = body
        self.client = client
        return self

    @property
    def method(self) -> str:
        """``GET``, ``POST``, …"""
        return self.head.method.decode("ascii")

    @property
    def target(self) -> str:
        """Path and query."""
        return self.head.target.decode("latin-1")

    @property
    def path(self) -> str:
        """The target up to the query."""
        return self.head.target.partition(b"?")[0].decode("latin-1")

    @property
    def query(self) -> str:
        """The target after the first ``?``; empty when there is none."""
        return self.head.target.partition(b"?")[2].decode("latin-1")

    @property
    def headers(self) -> Fields:
        """The fields: names without regard to case, values as bytes."""
        return self.head.fields

    @property
    def version(self) -> str:
        """``1.0``, ``1.1`` or ``2``."""
        return self.head.version.decode("ascii")

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target} {len(self.body)} bytes>"


class Response:
    """An answer: *body* as bytes, or as text that is sent in UTF-8.

    Content-Length is set. Content-Type is ``text/plain; charset=utf-8`` for text and
    ``application/octet-stream`` for bytes, unless *headers* say otherwise. To HEAD, the body is
    left out by the connection. The same object may answer many requests.
    """

    __slots__ = ("body", "head")

    def __init__(
        self,
        status: int = 200,
        body: bytes | str = b"",
        headers: Iterable[tuple[Text, Text]] | Mapping[str, str] = (),
    ) -> None:
        """Check everything here, where a mistake is easy to find.

        :raises Error: ``INVALID_HTTP_HEADER``, a part of the head is not legal.
        :raises ValueError: an informational status, or framing that contradicts *body*.
        :raises TypeError: *status* is no int, or *body* neither text nor bytes.
        """
        if not isinstance(status, int):
            raise TypeError(f"a status is an int, not {status!r}: Response(status, body, headers)")
        if not 200 <= status <= 999:
            raise ValueError(f"status {status} is not from 200 to 999: a 1xx is streamed with HttpServerApp")
        data = body.encode() if isinstance(body, str) else octets(body, "a body")
        self.body = data
        fields = Fields(_pairs(headers)) if headers else Fields.received([])
        self.head = ResponseHeader.received(status, reason_phrase(status), b"1.1", fields)
        if b"transfer-encoding" in fields.index:
            raise ValueError("leave Transfer-Encoding to the connection: a Response has its length")
        bodiless = status == 204 or status == 304
        if data and bodiless:
            raise ValueError(f"a response with status {status} has no body (RFC 9110 section 6.4.1)")
        if b"content-length" in fields.index:
            if data and fields.get_all(b"content-length") != [b"%d" % len(data)]:
                raise ValueError(f"Content-Length {fields.get(b'content-length')!r} over a body of {len(data)} bytes")
        elif not bodiless:
            _add(fields, b"content-length", b"Content-Length", b"%d" % len(data))
        if data and b"content-type" not in fields.index:
            _add(fields, b"content-type", b"Content-Type", _TEXT if isinstance(body, str) else _BYTES)

    @property
    def status(self) -> int:
        """The status code."""
        return self.head.status

    @property
    def headers(self) -> Fields:
        """The fields."""
        return self.head.fields

    def __repr__(self) -> str:
        return f"<Response {self.status} {len(self.body)} bytes>"


_TEXT = b"text/plain; charset=utf-8"
_BYTES = b"application/octet-stream"


def _pairs(headers: Iterable[tuple[Text, Text]] | Mapping[str, str]) -> Iterable[tuple[Text, Text]]:
    return headers.items() if isinstance(headers, Mapping) else headers


def _add(fields: Fields, key: bytes, name: bytes, value: bytes) -> None:
    """A line of our own making, which needs no proof."""
    fields.items.append((name, value))
    fields.index[key] = value
