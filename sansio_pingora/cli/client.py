"""A small HTTP client: our own client machine over a socket, made for showing what came back."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable
from time import monotonic
from typing import Self

from sansio_pingora.errors import Error
from sansio_pingora.http1 import Http1Client
from sansio_pingora.limits import Limits
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
    """One connection to *address*, ``host:port``. Counts its bytes either way."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._sock = socket.create_connection((host, int(port)), _PATIENCE)
        self._sock.setblocking(False)
        self._connection = Http1Client(Limits())
        self.sent = 0
        self.received = 0

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
        stream = connection.open_stream(monotonic())
        if stream is None:
            raise ConnectionError("the connection was closed after the last answer")
        body = list(pieces)
        head = RequestHeader(method, target, [("Host", "demo.example"), *fields])
        tasks: list[HttpTask] = [Header(head, not body), *map(Body, body)]
        if body:
            tasks.append(Done() if trailers is None else Trailer(trailers))
        answer = Answer()
        collected: list[bytes] = []
        out = b""
        tasks.reverse()
        waits = b"expect" in head.fields.index  # for an answer to the head: a 100, or a final one
        while True:
            held_back = waits and not answer.informational
            while tasks and not out and (isinstance(tasks[-1], Header) or not held_back):
                connection.send(stream, tasks.pop(), monotonic())
                out = b"".join(connection.data_to_send())
            data, out = self._exchange(out)
            if data is None:
                continue
            for _, value in connection.receive_data(data, monotonic()):
                if self._take(value, answer, collected):
                    answer.body = b"".join(collected)
                    return answer

    def _exchange(self, out: bytes) -> tuple[bytes | None, bytes]:
        """Write some of *out* and read what is there: what was read, if anything, and what is left to write."""
        sock = self._sock
        readable, writable, _ = select.select([sock], [sock] if out else [], [], _PATIENCE)
        if not readable and not writable:
            raise TimeoutError(f"nothing happened for {_PATIENCE:g} s")
        if writable:
            size = sock.send(out)
            self.sent += size
            out = out[size:]
        if not readable:
            return None, out
        data = sock.recv(65_536)
        self.received += len(data)
        return data, out

    def _take(self, value: object, answer: Answer, collected: list[bytes]) -> bool:
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
                self._connection.consumed(self._connection.stream, len(data), monotonic())
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
