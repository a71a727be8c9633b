"""The native engine: HTTP/1 syntax only. What may happen when is the connection's business.

:class:`Codec` is what a connection asks of an engine; the reference engine in ``hyper``
answers the same questions by way of h11.
"""

from __future__ import annotations

from typing import Protocol

from sansio_pingora.http1.chunked_reader import ChunkedReader
from sansio_pingora.http1.head_reader import HeadReader
from sansio_pingora.limits import Limits
from sansio_pingora.wire import (
    CHUNKED,
    Fields,
    MessageFault,
    ReceiveBuffer,
    RequestHeader,
    ResponseHeader,
    request_framing,
    response_framing,
)

__all__ = ["Codec", "NativeCodec"]


class Codec(Protocol):
    """The syntax of one connection, both directions. Every ``read_*`` may raise :class:`MessageFault`."""

    trailers: Fields | None
    """Those of the body that was read last."""

    def receive(self, data: bytes) -> None:
        """Bytes from the peer."""

    def receive_eof(self) -> None:
        """The peer sends no more."""

    @property
    def buffered(self) -> int:
        """Bytes received and not read yet."""

    def read_request(self) -> tuple[RequestHeader, int] | None:
        """The next request's head and the framing of its body; None while incomplete."""

    def read_response(self, method: bytes) -> tuple[ResponseHeader, int] | None:
        """The next head of the response to *method* and its framing; None while incomplete."""

    def start_body(self, framing: int) -> None:
        """Read a body of this framing next."""

    def read_body(self) -> tuple[bytes, bool]:
        """Payload bytes that are there, perhaps none, and whether the body is complete."""

    def take_rest(self) -> bytes:
        """Everything received and not read, for another protocol."""

    def write_request(self, head: RequestHeader, extra: bytes, framing: int) -> bytes:
        """A request's head with *extra* field lines; its body follows in *framing*."""

    def write_response(self, head: ResponseHeader, extra: bytes, framing: int) -> bytes:
        """A response's head with *extra* field lines; its body follows in *framing*."""

    def write_body(self, data: bytes, end: bool, out: list[bytes]) -> int:
        """Put *data*, and the end of the body with it, on *out* as the framing wants it; how many bytes that made."""

    def write_trailers(self, trailers: Fields, out: list[bytes]) -> int:
        """Put the end of the body with *trailers* on *out*; how many bytes that made."""

    def next_message(self) -> None:
        """Both directions are complete; another exchange follows."""


class NativeCodec:
    """Compiled patterns for heads, counters for bodies."""

    __slots__ = (
        "_buffer",
        "_chunked",
        "_heads",
        "_left",
        "_lenient_length",
        "_limits",
        "_send_chunked",
        "receive",
        "trailers",
    )

    def __init__(self, limits: Limits, *, server: bool, lenient_length: bool = False, secure: bool = False) -> None:
        self._limits = limits
        self._lenient_length = lenient_length
        self._buffer = ReceiveBuffer()
        self.receive = self._buffer.append
        """Take bytes from the peer."""
        self._heads = HeadReader(self._buffer, limits, request=server, secure=secure)
        self._chunked: ChunkedReader | None = None
        self._left = 0
        self._send_chunked = False
        self.trailers: Fields | None = None

    def receive_eof(self) -> None:
        """Nothing to note: the connection knows what was due."""

    @property
    def buffered(self) -> int:
        """Bytes received and not read yet."""
        return self._buffer.size

    def read_request(self) -> tuple[RequestHeader, int] | None:
        """See :meth:`Codec.read_request`."""
        head = self._heads.read()
        if head is None:
            return None
        return head, request_framing(head)  # type: ignore[arg-type,return-value]  # a server reads requests

    def read_response(self, method: bytes) -> tuple[ResponseHeader, int] | None:
        """See :meth:`Codec.read_response`."""
        head = self._heads.read()
        if head is None:
            return None
        try:
            return head, response_framing(head, method)  # type: ignore[arg-type,return-value]  # a client reads responses
        except MessageFault:
            # PeerOptions.allow_h1_response_invalid_content_length, as Pingora's: the body ends with the connection.
            if not self._lenient_length or b"transfer-encoding" in head.fields:
                raise
            head.fields.remove(b"content-length")
            return head, response_framing(head, method)  # type: ignore[arg-type,return-value]  # as above

    def start_body(self, framing: int) -> None:
        """See :meth:`Codec.start_body`."""
        self._left = framing
        self.trailers = None
        self._chunked = ChunkedReader(self._buffer, self._limits) if framing == CHUNKED else None

    def read_body(self) -> tuple[bytes, bool]:
        """See :meth:`Codec.read_body`."""
        if self._chunked is not None:
            data, end = self._chunked.read()
            if end:
                self.trailers = self._chunked.trailers
            return data, end
        if self._left >= 0:
            data = self._buffer.take(self._left)
            self._left -= len(data)
            return data, self._left == 0
        return self._buffer.take_all(), False

    def take_rest(self) -> bytes:
        """See :meth:`Codec.take_rest`."""
        return self._buffer.take_all()

    def write_request(self, head: RequestHeader, extra: bytes, framing: int) -> bytes:
        """See :meth:`Codec.write_request`."""
        self._send_chunked = framing == CHUNKED
        return head.to_bytes(extra)

    def write_response(self, head: ResponseHeader, extra: bytes, framing: int) -> bytes:
        """See :meth:`Codec.write_response`."""
        self._send_chunked = framing == CHUNKED
        return head.to_bytes(extra)

    def write_body(self, data: bytes, end: bool, out: list[bytes]) -> int:
        """See :meth:`Codec.write_body`."""
        size = len(data)
        if not self._send_chunked:
            if size:
                out.append(data)
            return size
        if size:
            line = b"%x\r\n" % size
            out += (line, data, b"\r\n0\r\n\r\n" if end else b"\r\n")
            return len(line) + size + (7 if end else 2)
        if end:
            out.append(b"0\r\n\r\n")
            return 5
        return 0

    def write_trailers(self, trailers: Fields, out: list[bytes]) -> int:
        """See :meth:`Codec.write_trailers`."""
        if not self._send_chunked:
            return 0  # over a length or a close there is no place for them (RFC 9110 section 6.5.1)
        section = b"0\r\n%b\r\n" % trailers.to_bytes()
        out.append(section)
        return len(section)

    def next_message(self) -> None:
        """Nothing to note: the buffer holds what comes next."""
