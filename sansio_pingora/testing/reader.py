"""A strict reader of HTTP/1 messages that shares nothing with the engines, to judge what they put out.

It is more than strict: it takes only the canonical form that we promise to emit.
"""

from __future__ import annotations

import re
from collections import deque

__all__ = ["Message", "StrictReader", "Uncanonical", "reference_body"]

_LINE = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)"
)
_REQUEST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/1\.1")
_STATUS = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)")
_CHUNK = re.compile(rb"[0-9A-Fa-f]{1,16}")


class Uncanonical(Exception):
    """The bytes are not a message in canonical form."""


class Message:
    """A request or response, perhaps still incomplete."""

    __slots__ = (
        "body",
        "complete",
        "end",
        "fields",
        "framing",
        "informational",
        "method",
        "start",
        "status",
        "target",
        "trailers",
    )

    def __init__(self, start: int) -> None:
        self.start = start
        """Offset of its first byte in the stream."""
        self.end = -1
        """Offset behind its last one, once complete."""
        self.method = b""
        self.target = b""
        self.status = 0
        self.fields: dict[bytes, list[bytes]] = {}
        """Values by lower-case name."""
        self.framing = "none"
        """``none``, ``length``, ``chunked``, ``close``, or ``raw`` after a switch of protocols."""
        self.body = bytearray()
        self.trailers: dict[bytes, list[bytes]] = {}
        self.informational: list[int] = []
        self.complete = False

    def get(self, name: bytes) -> bytes | None:
        """The first value of the field *name*."""
        values = self.fields.get(name)
        return values[0] if values else None

    def __repr__(self) -> str:
        what = f"{self.method!r} {self.target!r}" if self.method else str(self.status)
        return f"<Message {what} {self.framing} {len(self.body)} bytes{'' if self.complete else ', incomplete'}>"


class StrictReader:
    """Reads one direction of a connection."""

    __slots__ = ("_buffer", "_left", "_requests", "_state", "_used", "message", "messages", "methods")

    def __init__(self, *, requests: bool) -> None:
        self._requests = requests
        self._buffer = bytearray()
        self._used = 0
        self._state = "idle"
        self._left = 0
        self.messages: list[Message] = []
        """Complete ones."""
        self.message: Message | None = None
        """The one under way."""
        self.methods: deque[bytes] = deque()
        """For responses: the methods of the requests that wait for theirs."""

    def feed(self, data: bytes) -> None:
        """Take bytes.

        :raises Uncanonical: they are no canonical message.
        """
        self._buffer += data
        while self._step():
            pass

    def end(self) -> None:
        """The stream ended: this completes a body that lasts until the close, and nothing else."""
        if self._state == "close":
            self._finish()

    def _step(self) -> bool:
        state = self._state
        if state == "idle":
            if not self._buffer:
                return False
            if self.message is None:
                self.message = Message(self._used)
            at = self._buffer.find(b"\r\n\r\n")
            if at < 0:
                return False
            self._head(self._take(at + 4)[:-4])
            return True
        if state in ("length", "data"):
            if not self._buffer:
                return False
            piece = self._take(min(self._left, len(self._buffer)))
            self._body(piece)
            self._left -= len(piece)
            if self._left:
                return False
            if state == "length":
                self._finish()
            else:
                self._state = "data-end"
            return True
        if state in ("close", "raw"):
            self._body(self._take(len(self._buffer)))
            return False
        return self._chunked(state)

    def _chunked(self, state: str) -> bool:
        at = self._buffer.find(b"\r\n")
        if at < 0:
            return False
        line = self._take(at + 2)[:-2]
        if state == "data-end":
            if line:
                raise Uncanonical(f"{line[:40]!r} behind chunk data")
            self._state = "chunk"
        elif state == "chunk":
            if not _CHUNK.fullmatch(line):
                raise Uncanonical(f"chunk line {line[:40]!r}")
            self._left = int(line, 16)
            self._state = "data" if self._left else "trailers"
        elif line:
            self._field(line, self._current().trailers)
        else:
            self._finish()
        return True

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._used += size
        return taken

    def _current(self) -> Message:
        assert self.message is not None
        return self.message

    def _body(self, data: bytes) -> None:
        self._current().body += data

    def _field(self, line: bytes, into: dict[bytes, list[bytes]]) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            raise Uncanonical(f"field line {line[:80]!r}")
        into.setdefault(match[1].lower(), []).append(match[2])

    def _head(self, raw: bytes) -> None:
        message = self._current()
        start, *lines = raw.split(b"\r\n")
        match = (_REQUEST if self._requests else _STATUS).fullmatch(start)
        if match is None:
            raise Uncanonical(f"start line {start[:80]!r}")
        message.fields = {}
        for line in lines:
            self._field(line, message.fields)
        lengths = message.fields.get(b"content-length", [])
        codings = message.fields.get(b"transfer-encoding", [])
        if len(lengths) + len(codings) > 1:
            raise Uncanonical(f"{lengths!r} and {codings!r}: more than one framing")
        if codings and codings != [b"chunked"]:
            raise Uncanonical(f"transfer codings {codings!r}")
        if lengths and not (lengths[0].isdigit() and len(lengths[0]) < 20):
            raise Uncanonical(f"content length {lengths!r}")
        if self._requests:
            message.method, message.target = match[1], match[2]
            if len(message.fields.get(b"host", [])) != 1:
                raise Uncanonical(f"hosts {message.fields.get(b'host')!r}")
        else:
            message.status = int(match[1])
            if self._response_head(message, lengths, codings):
                return
        if codings:
            message.framing, self._state = "chunked", "chunk"
        elif lengths and int(lengths[0]):
            message.framing, self._state = "length", "length"
            self._left = int(lengths[0])
        elif lengths or self._requests:
            message.framing = "length" if lengths else "none"
            self._finish()
        else:
            message.framing, self._state = "close", "close"

    def _response_head(self, message: Message, lengths: list[bytes], codings: list[bytes]) -> bool:
        """Whether this head needs no look at its framing."""
        status = message.status
        if not self.methods:
            raise Uncanonical(f"a {status} that nobody asked for")
        bare = status < 200 or status == 204
        if bare and (codings or lengths):
            raise Uncanonical(f"a {status} with framing")
        if 100 <= status < 200 and status != 101:
            message.informational.append(status)
            return True
        method = self.methods.popleft()
        message.method = method
        if status == 101 or (method == b"CONNECT" and 200 <= status < 300):
            message.framing = self._state = "raw"
            return True
        if bare or status == 304 or method == b"HEAD":
            self._finish()
            return True
        return False

    def _finish(self) -> None:
        message = self._current()
        message.complete = True
        message.end = self._used
        self.messages.append(message)
        self.message = None
        self._state = "idle"


def reference_body(raw: bytes, method: bytes | None) -> bytes:
    """What h11 makes of one whole message: its body. *method* is None for a request, else the one it answers.

    :raises Uncanonical: h11 refuses it, or finds it incomplete.
    """
    import h11  # deferred: only the oracles want it

    connection = h11.Connection(h11.SERVER if method is None else h11.CLIENT, max_incomplete_event_size=1 << 20)
    try:
        if method is not None:
            connection.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"h")]))
        connection.receive_data(raw)
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(b"")
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return bytes(body)
            elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                raise Uncanonical(f"h11 reads {event!r} before the end of the message")
    except h11.RemoteProtocolError as exc:
        raise Uncanonical(f"h11 refuses it: {exc}") from exc
