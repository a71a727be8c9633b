"""A small HTTP client: our own client machine over a socket, made for showing what came back."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from time import monotonic
from typing import Self

from sansio_pingora.digests import Digest
from sansio_pingora.errors import Error
from sansio_pingora.http1 import Http1Client
from sansio_pingora.http2 import Http2Client
from sansio_pingora.layers import Layer, LayerMaker
from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE, Connection, ConnectionClosed, Event, Writable
from sansio_pingora.websocket import Closed, MessagePart, WebSocketSession, handshake_request, judge_response
from sansio_pingora.wire import (
    Body,
    Done,
    Failed,
    Fields,
    Header,
    HttpTask,
    RequestHeader,
    ResponseHeader,
    Text,
    Trailer,
    UpgradedBody,
)

__all__ = ["Answer", "Client"]

_PATIENCE = 10.0


class Answer:
    """What came back for one request."""

    def __init__(self) -> None:
        self.informational: list[ResponseHeader] = []
        self.head = ResponseHeader(500)
        self.body = b""
        self.trailers: Fields | None = None

    @property
    def status(self) -> int:
        """Of the final head."""
        return self.head.status


class Client:
    """One connection to *address*, ``host:port``, of HTTP/1.1 or HTTP/2. Counts its bytes either way.

    *tls* makes the layer below it; then ALPN settles the version.

    :raises Error: the handshake failed.
    """

    def __init__(
        self, address: str, *, http2: bool = False, tls: LayerMaker | None = None, limits: Limits | None = None
    ) -> None:
        host, _, port = address.rpartition(":")
        self._sock = socket.create_connection((host, int(port)), _PATIENCE)
        self._sock.setblocking(False)
        self._limits = limits or Limits()
        self._out = b""  # taken from the connection, not written yet
        self.sent = 0
        self.received = 0
        self._connection = self._above(http2=http2)
        self._bottom: Connection = self._connection
        if tls is not None:
            self._shake_hands(tls)

    def _above(self, *, http2: bool) -> Http1Client | Http2Client:
        return Http2Client(monotonic(), self._limits) if http2 else Http1Client(self._limits)

    def _shake_hands(self, tls: LayerMaker) -> None:
        def above(layer: Layer, _: float) -> Http1Client | Http2Client:
            self._connection = self._above(http2=layer.alpn == "h2")
            return self._connection

        layer = self._bottom = tls(above, self._limits, Digest(), monotonic() + _PATIENCE)
        while layer.inner is None:
            for _, value in self._turn():
                if isinstance(value, ConnectionClosed) and value.error is not None:
                    raise value.error

    @property
    def version(self) -> bytes:
        """Of HTTP, as it is spoken."""
        return self._connection.version

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def ask(
        self,
        method: str,
        target: str,
        pieces: Iterable[bytes] = (),
        fields: Iterable[tuple[Text, Text]] = (),
        trailers: Fields | None = None,
    ) -> Answer:
        """Send a request, its body in *pieces*, and wait for the whole answer.

        :raises Error: the connection failed, or broke off amid the answer.
        :raises TimeoutError: nothing happened for ten seconds.
        """
        connection = self._connection
        stream = self._open()
        body = list(pieces)
        head = RequestHeader(method, target, [("Host", "demo.example"), *fields])
        tasks: list[HttpTask] = [Header(head, not body), *map(Body, body)]
        if body:
            tasks.append(Done() if trailers is None else Trailer(trailers))
        answer = Answer()
        collected: list[bytes] = []
        tasks.reverse()
        waits = b"expect" in head.fields.index  # for an answer to the head: a 100, or a final one
        room = 1
        while True:
            held_back = waits and not answer.informational
            while tasks and room > 0 and (isinstance(tasks[-1], Header) or not held_back):
                room = connection.send(stream, tasks.pop(), monotonic())
            for stream_id, value in self._turn():
                if isinstance(value, Writable):
                    room = value.room
                elif stream_id == stream and self._take(stream, value, answer, collected):
                    answer.body = b"".join(collected)
                    return answer

    def converse(self, target: str, messages: Sequence[str | bytes], *, deflate: bool = True) -> list[str | bytes]:
        """Open a WebSocket, send *messages*, and return as many that come back; then close it in good order.

        :raises Error: the handshake was refused, or the connection failed.
        :raises TimeoutError: nothing happened for ten seconds.
        """
        connection = self._connection
        stream = self._open()
        version = b"2" if isinstance(connection, Http2Client) else b"1.1"
        request = handshake_request("demo.example", target, os.urandom(16), version=version, deflate=deflate)
        connection.send(stream, Header(request, True), monotonic())
        session: WebSocketSession | None = None
        parts: list[str | bytes] = []
        found: list[str | bytes] = []
        while True:
            for _, value in self._turn():
                match value:
                    case Failed(error=error):
                        raise error
                    case Header(head=ResponseHeader() as head):
                        accepted = judge_response(request, head)
                        session = WebSocketSession(
                            monotonic(), self._limits, deflate=accepted.deflate, mask=lambda: os.urandom(4)
                        )
                        for message in messages:
                            session.send(message)
                    case UpgradedBody(data=data) if session is not None:
                        connection.consumed(stream, len(data), monotonic())
                        events = session.receive_data(data, monotonic())
                        while session.deadline == AT_ONCE:
                            events += session.handle_timeout(monotonic())
                        for event in events:
                            if isinstance(event, MessagePart):
                                parts.append(event.data)
                                if event.last:
                                    found.append(_joined(parts))
                                    parts = []
                            elif isinstance(event, Closed):
                                connection.send(stream, UpgradedBody(b"", True), monotonic())
                                return found
                    case _:
                        pass
            if session is not None:
                if len(found) == len(messages):
                    session.close(now=monotonic())
                if out := b"".join(session.data_to_send()):
                    connection.send(stream, UpgradedBody(out), monotonic())

    def _open(self) -> int:
        stream = self._connection.open_stream(monotonic())
        if stream is None:
            raise ConnectionError("the connection was closed after the last answer")
        return stream

    def _turn(self) -> list[Event]:
        """Write what is to be written and read what is there: what came of it."""
        connection = self._bottom
        if not self._out:
            self._out = b"".join(connection.data_to_send())
            if not self._out and connection.starved:
                return connection.write_resumed(monotonic())
        data, self._out = self._exchange(self._out)
        return [] if data is None else connection.receive_data(data, monotonic())

    def _exchange(self, out: bytes) -> tuple[bytes | None, bytes]:
        """Write some of *out* and read what is there: what was read, if anything, and what is left to write."""
        sock = self._sock
        with DefaultSelector() as selector:
            selector.register(sock, EVENT_READ | EVENT_WRITE if out else EVENT_READ)
            ready = selector.select(_PATIENCE)
        if not ready:
            raise TimeoutError(f"nothing happened for {_PATIENCE:g} s")
        readable, writable = (bool(ready[0][1] & event) for event in (EVENT_READ, EVENT_WRITE))
        if writable:
            try:
                size = sock.send(out)
            except (BrokenPipeError, ConnectionResetError):  # it may have answered before it closed
                size, readable = len(out), True
            self.sent += size
            out = out[size:]
        if not readable:
            return None, out
        data = sock.recv(65_536)
        self.received += len(data)
        return data, out

    def _take(self, stream: int, value: object, answer: Answer, collected: list[bytes]) -> bool:
        """Account for one event; whether the answer is complete."""
        match value:
            case Failed(error=error):
                raise error
            case Header(head=ResponseHeader() as head, end=end):
                if head.informational:
                    answer.informational.append(head)
                    return False
                answer.head = head
                return end
            case Body(data=data, end=end):
                collected.append(data)
                self._connection.consumed(stream, len(data), monotonic())
                return end
            case Trailer(fields=fields):
                answer.trailers = fields
                return True
            case Done():
                return True
            case _:
                raise Error.custom("Unexpected", f"{value!r} instead of an answer")

    def send_raw(self, raw: bytes) -> bytes:
        """Send *raw* as it is, and return everything that comes until the server closes."""
        out: bytes = raw
        collected: list[bytes] = []
        while True:
            data, out = self._exchange(out)
            if data:
                collected.append(data)
            elif data is not None:
                return b"".join(collected)


def _joined(parts: list[str | bytes]) -> str | bytes:
    if isinstance(parts[0], str):
        return "".join(part for part in parts if isinstance(part, str))
    return b"".join(part for part in parts if isinstance(part, bytes))
