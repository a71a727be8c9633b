"""Clients and origins of both versions of HTTP with one face: what they say, and what was said to them.

Those of HTTP/2 stand on the h2 library, which minds the rules of RFC 9113 on its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
from hpack.struct import NeverIndexedHeaderTuple

from sansio_pingora.apps import HttpOptions
from sansio_pingora.limits import Limits
from sansio_pingora.upstreams import ALPN, HttpPeer, PeerOptions
from tests.proxy.harness import ORIGIN, App, Bench, Wire, dechunk

PAIRS = [(client, origin) for client in ("h1", "h2") for origin in ("h1", "h2")]
PAIR_IDS = [f"{client}-to-{origin}" for client, origin in PAIRS]

Pairs = tuple[tuple[str, str], ...]


@dataclass
class Message:
    """A request or response as far as it has come."""

    start: tuple[Any, ...] = ()
    """``(method, target)`` or ``(status,)``; empty: no head has come."""
    fields: dict[bytes, bytes] = field(default_factory=dict)
    """By lower-case name; several joined by a comma."""
    body: bytes = b""
    trailers: dict[bytes, bytes] | None = None
    informational: list[tuple[int, dict[bytes, bytes]]] = field(default_factory=list)
    state: str = "none"
    """``none``, ``open``, ``whole`` or ``cut``: broken off so that it shows."""
    protocol: bytes | None = None
    """Of an extended CONNECT, or an upgrade that is asked for or granted."""
    code: int | None = None
    """With which the stream was reset."""

    @property
    def status(self) -> int | None:
        return self.start[0] if self.start else None


def table(lines: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in lines:
        name = bytes(name).lower()
        found[name] = found[name] + b", " + bytes(value) if name in found else bytes(value)
    return found


def parse_head(raw: bytes) -> tuple[bytes, dict[bytes, bytes], bytes] | None:
    head, blank, rest = raw.partition(b"\r\n\r\n")
    if not blank:
        return None
    start, *lines = head.split(b"\r\n")
    return start, table([tuple(line.split(b": ", 1)) for line in lines]), rest  # type: ignore[misc]


def parse_body(message: Message, rest: bytes, *, until_close: bool, ended: bool) -> bytes:
    """Fill *message* from *rest*; what is left of that."""
    message.state = "cut" if ended else "open"
    if b"transfer-encoding" in message.fields:
        try:
            message.body, rest = dechunk(rest)
        except ValueError:
            message.body = b"".join(whole_chunks(rest))
            return b""
        if not rest.startswith(b"\r\n"):
            lines, blank, rest = rest.partition(b"\r\n\r\n")
            if not blank:
                return b""
            message.trailers = table([tuple(line.split(b": ", 1)) for line in lines.split(b"\r\n")])  # type: ignore[misc]
        else:
            rest = rest[2:]
        message.state = "whole"
    elif b"content-length" in message.fields or not until_close:
        size = int(message.fields.get(b"content-length", b"0"))
        message.body, rest = rest[:size], rest[size:]
        if len(message.body) == size:
            message.state = "whole"
    else:
        message.body, rest = rest, b""
        if ended:
            message.state = "whole"
    return rest


def whole_chunks(data: bytes) -> list[bytes]:
    """The chunks that have come, of a body that has not."""
    pieces = []
    while b"\r\n" in data:
        line, _, data = data.partition(b"\r\n")
        size = int(line, 16)
        pieces.append(data[:size])
        data = data[size + 2 :]
    return pieces


# ── HTTP/1 ───────────────────────────────────────────────────────────────────────────


class _H1:
    def __init__(self, bench: Bench, wire: Wire) -> None:
        self.bench = bench
        self.wire = wire
        self.chunking = False

    def more(self, data: bytes = b"", *, end: bool = False, trailers: Any = None) -> None:
        """A further piece of the body."""
        if not self.chunking:
            self.wire.send(data)
            return
        out = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        if end or trailers:
            lines = b"".join(b"%b: %b\r\n" % line for line in (trailers or ()))
            out += b"0\r\n" + lines + b"\r\n"
        self.wire.send(out)

    def raw(self, data: bytes = b"", *, end: bool = False) -> None:
        """Opaque bytes of a tunnel."""
        if data:
            self.wire.send(data)
        if end:
            self.wire.eof()

    def reset(self) -> None:
        self.wire.reset()

    def leave(self) -> None:
        """An end of what is said, in good order."""
        self.wire.eof()

    def stop_reading(self) -> None:
        self.wire.open_window(0)

    def open_window(self, size: int | None) -> None:
        self.wire.open_window(size)

    @property
    def ended(self) -> bool:
        return bool(self.wire.closed) or self.wire.seen_eof or not self.wire.alive

    def _send_message(
        self, start: bytes, fields: Any, body: bytes | None, length: Any, end: bool, trailers: Any
    ) -> None:
        lines = [b"%b: %b" % line for line in fields]
        self.chunking = False
        payload = b""
        if body is not None and length is not False:
            lines.append(b"Content-Length: %d" % (len(body) if length is True else length))
            payload = body
        elif body is not None:
            lines.append(b"Transfer-Encoding: chunked")
            self.chunking = True
            payload = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if end:
                payload += b"0\r\n" + b"".join(b"%b: %b\r\n" % line for line in (trailers or ())) + b"\r\n"
        self.wire.send(b"\r\n".join([start, *lines, b"", b""]) + payload)


class H1Client(_H1):
    """One exchange after the other."""

    version = "h1"

    def ask(
        self,
        method: bytes = b"GET",
        target: bytes = b"/",
        fields: Any = (),
        body: bytes | None = None,
        *,
        length: bool | int = True,
        end: bool = True,
        trailers: Any = None,
        http: bytes = b"1.1",
    ) -> None:
        self.method = method
        self.wire.take()
        start = b"%b %b HTTP/%b" % (method, target, http)
        self._send_message(start, [(b"Host", b"a.test"), *fields], body, length, end, trailers)

    @property
    def answer(self) -> Message:
        message = Message()
        rest = bytes(self.wire.got)
        while (parsed := parse_head(rest)) is not None:
            start, fields, rest = parsed
            status = int(start[9:12])
            if status < 200 and status != 101:
                message.informational.append((status, fields))
                continue
            message.start, message.fields = (status,), fields
            if status == 101 or (self.method == b"CONNECT" and status < 300):
                message.protocol = fields.get(b"upgrade")
                message.body = rest
                message.state = "cut" if self.wire.closed == 2 else "whole" if self.ended else "open"
            elif self.method == b"HEAD" or status in (204, 304):
                message.state = "whole"
                assert not rest
            else:
                rest = parse_body(message, rest, until_close=True, ended=self.ended)
                assert not rest
            return message
        if self.ended:
            message.state = "cut"
        return message


class H1Origin(_H1):
    """Answers one request after the other."""

    version = "h1"

    @property
    def request(self) -> Message:
        message = Message()
        raw = bytes(self.wire.got)
        parsed = parse_head(raw)
        if parsed is None:
            return message
        start, message.fields, rest = parsed
        method, target, version = start.split(b" ")
        assert version == b"HTTP/1.1"
        message.start = (method, target)
        message.protocol = message.fields.get(b"upgrade")
        if message.protocol is not None or method == b"CONNECT":
            message.body, message.state = rest, "cut" if self.wire.closed == 2 else "whole" if self.ended else "open"
        else:
            rest = parse_body(message, rest, until_close=False, ended=self.ended)
            assert not rest
        return message

    @property
    def tunnelled(self) -> bytes:
        return self.request.body

    def inform(self, status: int, fields: Any = ()) -> None:
        self._send_message(b"HTTP/1.1 %d Early" % status, fields, None, False, False, None)

    def answer(
        self,
        status: int = 200,
        fields: Any = (),
        body: bytes | None = b"ok",
        *,
        length: bool | int = True,
        end: bool = True,
        trailers: Any = None,
        http: bytes = b"1.1",
    ) -> None:
        self._send_message(b"HTTP/%b %d Answer" % (http, status), fields, body, length, end, trailers)

    def accept(self, fields: Any = ()) -> None:
        """Switch to the protocol that the request asks for."""
        request = self.request
        if request.start[0] == b"CONNECT":
            self.wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
            return
        lines = [(b"Connection", b"upgrade"), (b"Upgrade", request.protocol), *fields]
        self._send_message(b"HTTP/1.1 101 Switching Protocols", lines, None, False, False, None)


# ── HTTP/2 ───────────────────────────────────────────────────────────────────────────


class _H2:
    def __init__(self, bench: Bench, wire: Wire, *, client: bool, settings: Any = None) -> None:
        self.bench = bench
        self.wire = wire
        self.client = client
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client))
        self.messages: dict[int, Message] = {}
        self.stream = 0
        self.reading = True
        """False: credit is withheld."""
        self.goaway: int | None = None
        self.never_indexed: list[bytes] = []
        """The values that came so marked (RFC 7541 section 6.2.3), in order."""
        self.ended = False
        self._unread: dict[int, int] = {}
        self._settings = settings or {}

    def begin(self) -> None:
        self.h2.local_settings = h2.settings.Settings(client=self.client, initial_values=self._settings)
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Until nothing moves any more."""
        while True:
            self.wire.send(self.h2.data_to_send())
            got = self.wire.take()
            if self.wire.closed or self.wire.seen_eof or not self.wire.alive:
                self.ended = True
            if not got:
                return
            for event in self.h2.receive_data(got):
                self.take(event)

    def take(self, event: Any) -> None:
        fields = getattr(event, "headers", None) or ()
        self.never_indexed += [field[1] for field in fields if isinstance(field, NeverIndexedHeaderTuple)]
        match event:
            case h2.events.RequestReceived() | h2.events.ResponseReceived():
                self._head(event.stream_id, event.headers)
            case h2.events.InformationalResponseReceived():
                fields = dict(event.headers)
                status = int(fields.pop(b":status"))
                self.messages[event.stream_id].informational.append((status, fields))
            case h2.events.DataReceived():
                self.messages[event.stream_id].body += event.data
                size = event.flow_controlled_length
                if self.reading:
                    self.h2.acknowledge_received_data(size, event.stream_id)
                else:
                    self._unread[event.stream_id] = self._unread.get(event.stream_id, 0) + size
            case h2.events.TrailersReceived():
                self.messages[event.stream_id].trailers = table(event.headers)
            case h2.events.StreamEnded():
                self.messages[event.stream_id].state = "whole"
            case h2.events.StreamReset():
                message = self.messages[event.stream_id]
                message.code = int(event.error_code)
                if message.state != "whole":
                    message.state = "cut"
            case h2.events.ConnectionTerminated():
                self.goaway = int(event.error_code)

    def _head(self, stream_id: int, headers: Any) -> None:
        raise NotImplementedError

    def more(self, data: bytes = b"", *, end: bool = False, trailers: Any = None, stream: int = 0) -> None:
        stream = stream or self.stream
        self.h2.send_data(stream, data, end_stream=end and not trailers)
        if trailers:
            self.h2.send_headers(stream, [(name.lower(), value) for name, value in trailers], end_stream=True)
        self.flush()

    raw = more

    def reset(self, code: int = 8, stream: int = 0) -> None:
        """CANCEL by default."""
        self.h2.reset_stream(stream or self.stream, code)
        self.flush()

    def stop_reading(self) -> None:
        """Withhold credit."""
        self.reading = False

    def open_window(self, size: int | None) -> None:
        """Let *size* more bytes come on every stream, or withhold no credit from here on."""
        self.flush()
        if size is None:
            self.reading = True
            for stream, unread in self._unread.items():
                self.h2.acknowledge_received_data(unread, stream)
            self._unread.clear()
        else:
            for stream, message in self.messages.items():
                if message.state == "open":
                    self.h2.increment_flow_control_window(size, stream)
        self.flush()

    def _send_message(
        self, stream: int, head: Any, fields: Any, body: bytes | None, length: Any, end: bool, trailers: Any
    ) -> None:
        lines = [*head, *((name.lower(), value) for name, value in fields)]
        if body is not None and length is not False:
            lines.append((b"content-length", b"%d" % (len(body) if length is True else length)))
        self.h2.send_headers(stream, lines, end_stream=body is None and end and not trailers)
        if body:
            self.h2.send_data(stream, body, end_stream=end and not trailers)
        elif body is not None and end and not trailers:
            self.h2.send_data(stream, b"", end_stream=True)
        if trailers and end:
            self.h2.send_headers(stream, [(name.lower(), value) for name, value in trailers], end_stream=True)
        self.flush()


class H2Client(_H2):
    """As many exchanges at once as are asked for; the last one is meant where none is named."""

    version = "h2"

    def __init__(self, bench: Bench, wire: Wire, settings: Any = None) -> None:
        super().__init__(bench, wire, client=True, settings=settings)
        self.begin()

    def ask(
        self,
        method: bytes = b"GET",
        target: bytes = b"/",
        fields: Any = (),
        body: bytes | None = None,
        *,
        length: bool | int = True,
        end: bool = True,
        trailers: Any = None,
        protocol: bytes | None = None,
        authority: bytes = b"a.test",
    ) -> int:
        self.stream = stream = self.h2.get_next_available_stream_id()
        self.messages[stream] = Message()
        head = [(b":method", method), (b":authority", target if method == b"CONNECT" and not protocol else authority)]
        if method != b"CONNECT" or protocol:
            head += [(b":scheme", b"http"), (b":path", target)]
        if protocol:
            head.append((b":protocol", protocol))
        self._send_message(stream, head, fields, body, length, end and method != b"CONNECT", trailers)
        return stream

    def _head(self, stream_id: int, headers: Any) -> None:
        message = self.messages[stream_id]
        fields = dict(table(headers))
        message.start = (int(fields.pop(b":status")),)
        message.fields = fields
        message.state = "open"

    def answer_to(self, stream: int) -> Message:
        self.flush()
        return self.messages[stream]

    @property
    def answer(self) -> Message:
        return self.answer_to(self.stream)


class H2Origin(_H2):
    """Answers as many requests at once as come; the newest is meant where none is named."""

    version = "h2"

    def __init__(self, bench: Bench, wire: Wire, settings: Any = None) -> None:
        super().__init__(bench, wire, client=False, settings=settings)
        self.begin()

    def _head(self, stream_id: int, headers: Any) -> None:
        fields = dict(table(headers))
        message = self.messages[stream_id] = Message(state="open")
        message.start = (fields.pop(b":method"), fields.pop(b":path", None) or fields.get(b":authority"))
        message.protocol = fields.pop(b":protocol", None)
        fields.pop(b":scheme", None)
        fields[b"host"] = fields.pop(b":authority")
        message.fields = fields
        self.stream = stream_id

    def request_on(self, stream: int) -> Message:
        self.flush()
        return self.messages[stream]

    @property
    def request(self) -> Message:
        self.flush()
        return self.messages[self.stream] if self.stream else Message()

    @property
    def tunnelled(self) -> bytes:
        return self.request.body

    def inform(self, status: int, fields: Any = ()) -> None:
        self.flush()
        lines = [(b":status", b"%d" % status), *((name.lower(), value) for name, value in fields)]
        self.h2.send_headers(self.stream, lines)
        self.flush()

    def answer(
        self,
        status: int = 200,
        fields: Any = (),
        body: bytes | None = b"ok",
        *,
        length: bool | int = True,
        end: bool = True,
        trailers: Any = None,
        stream: int = 0,
    ) -> None:
        self.flush()
        self._send_message(stream or self.stream, [(b":status", b"%d" % status)], fields, body, length, end, trailers)

    def accept(self, fields: Any = ()) -> None:
        self.answer(200, fields, None, end=False)

    def leave(self) -> None:
        """GOAWAY: what is under way is served, nothing else."""
        self.flush()
        self.h2.close_connection(last_stream_id=self.stream)
        self.flush()


# ── both ─────────────────────────────────────────────────────────────────────────────


class World:
    """A client, the proxy, and the origins that it connects to."""

    def __init__(
        self,
        pair: tuple[str, str],
        app: App | None = None,
        *,
        streams: int = 100,
        connect: bool = False,
        client_settings: Any = None,
        origin_settings: Any = None,
        peer: PeerOptions | None = None,
        **limits: Any,
    ) -> None:
        self.pair = pair
        self.app = app or App()
        if peer is None and pair[1] == "h2":
            peer = PeerOptions(alpn=ALPN.H2, max_h2_streams=streams)
        if type(self.app).upstream_peer is App.upstream_peer:
            self.app.upstream_peer = lambda session, ctx: HttpPeer(ORIGIN, options=peer)  # type: ignore[method-assign]
        options = HttpOptions(h2c=pair[0] == "h2", allow_connect_method_proxying=connect)
        self.bench = Bench(self.app, Limits(**limits), options)
        self._client_settings = client_settings
        # Before anything is said: a websocket is refused otherwise.
        self._origin_settings = {h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1, **(origin_settings or {})}
        self._origins: dict[Wire, Any] = {}
        self.client = self.new_client()

    def new_client(self) -> Any:
        wire = self.bench.client()
        if self.pair[0] == "h1":
            return H1Client(self.bench, wire)
        return H2Client(self.bench, wire, self._client_settings)

    @property
    def origins(self) -> list[Any]:
        """Every connection to an origin so far."""
        for wire in self.bench.origins:
            if wire not in self._origins:
                self._origins[wire] = (
                    H1Origin(self.bench, wire)
                    if self.pair[1] == "h1"
                    else H2Origin(self.bench, wire, self._origin_settings)
                )
        return list(self._origins.values())

    @property
    def origin(self) -> Any:
        """The newest one."""
        return self.origins[-1]

    @property
    def ended(self) -> list[Any]:
        """The errors that exchanges ended with, in order."""
        return [error for _, error in self.app.ended]

    def settle(self) -> None:
        """Let the ends of HTTP/2 take what came."""
        for end in (self.client, *self.origins):
            if isinstance(end, _H2):
                end.flush()

    def assert_clean(self) -> None:
        self.settle()
        self.bench.assert_clean()
