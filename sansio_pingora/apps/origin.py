"""The built-in origin: something to put a proxy before, with routes for what HTTP can do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator
from typing import Any, ClassVar
from zlib import crc32

from sansio_pingora.apps.http_exchanges import Handover
from sansio_pingora.apps.http_server_app import HttpServerApp
from sansio_pingora.apps.websocket_app import WebSocketApp, serve_websocket
from sansio_pingora.apps.websocket_exchange import WebSocket
from sansio_pingora.session import Drain, ReadBody, ServerSession, Sleep
from sansio_pingora.websocket import MessagePart
from sansio_pingora.wire import Body, Fields, Header, ResponseHeader, Text, join_piece, reason_phrase

__all__ = ["OriginApp"]

_MAX_BYTES = 10**12
_MAX_SECONDS = 3600.0
_MAX_DRIPS = 100_000
_BLOCK = bytes(range(256)) * 256  # 64 KiB, high_water's default: as much as is queued at once

_HELLO = Body(b"Hello, world!", True)
_HELLO_HEAD = Header(ResponseHeader(200, [("Content-Type", "text/plain"), ("Content-Length", "13")]), False)

_Answering = Generator[Any, Any, None] | Handover | None
_Route = Callable[[ServerSession, str], _Answering]


class _Refused(Exception):
    """The request does not fit the route."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class OriginApp(HttpServerApp):
    """Answers, on every runtime:

    * ``/``: ``Hello, world!``
    * ``/echo``: the request's body, as it comes, with its length if that was declared
    * ``/bytes/N``: N bytes, the values 0 to 255 over and over; N up to 10**12
    * ``/status/N``: an answer with that status
    * ``/headers``: what was received, as JSON: ``method``, ``target``, ``version``, and
      ``headers``, a list of ``[name, value]`` in their order
    * ``/delay/SECONDS``: an answer after that time
    * ``/drip?n=5&interval=0.1``: n chunks, an interval in seconds before each but the first
    * ``/trailers``: a body with its CRC-32 in a trailer
    * ``/ws``: a WebSocket that sends back what it gets, frame by frame
    * ``/early-hints``: a 103 (Early Hints) before the answer
    """

    limits: ClassVar[dict[str, int]] = {"ws_max_message": 1 << 30, "ws_max_fragments": 1 << 24}
    """What ``sansio-pingora origin`` serves it with where nothing else is asked for: ``/ws`` keeps no message whole."""

    def process_new_http(self, session: ServerSession) -> _Answering:
        """Route by the first segment of the path."""
        head = session.req_header
        assert head is not None  # an exchange begins with a head
        method = head.method
        if head.target == b"/" and (method == b"GET" or method == b"HEAD"):
            session.write_task(_HELLO_HEAD)
            session.write_task(_HELLO)
            return None
        _, name, *rest = head.path.decode("latin-1").split("/", 2)
        found = _ROUTES.get(name)
        argument = rest[0] if rest else None
        if found is None or (argument is not None) is not found[2]:
            _text(session, 404, f"there is nothing at {head.path.decode('latin-1')}\n")
            return None
        methods, route, _ = found
        if method not in methods:
            allow = b", ".join(methods)
            _text(session, 405, f"this route takes {allow.decode()}\n", [("Allow", allow)])
            return None
        try:
            return route(session, argument or "")
        except _Refused as refused:
            _text(session, refused.status, refused.text)
            return None


def _text(session: ServerSession, status: int, text: str, fields: list[tuple[Text, Text]] | None = None) -> None:
    """Answer with *text*."""
    head = ResponseHeader(status, fields or [])
    if status in (204, 304):
        session.write_response_header(head, end=True)
        return
    body = text.encode("utf-8")
    head.insert("Content-Type", "text/plain; charset=utf-8")
    head.set_content_length(len(body))
    session.write_response_header(head)
    session.write_response_body(body, end=True)


def _number(text: str, what: str, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (text.isascii() and 0 <= number <= most):
        raise _Refused(400, f"{what} {text!r} is not a number from 0 to {most:g}\n")
    return number


def _whole(text: str, what: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16) or int(text) > most:
        raise _Refused(400, f"{what} {text!r} is not a whole number from 0 to {most:,}\n")
    return int(text)


# ── routes ───────────────────────────────────────────────────────────────────────────


def _hello(session: ServerSession, _: str) -> None:
    session.write_task(_HELLO_HEAD)
    session.write_task(_HELLO)


def _echo(session: ServerSession, _: str) -> Generator[Any, Any, None]:
    kind = session.get_header(b"content-type") or b"application/octet-stream"
    head = ResponseHeader(200, [("Content-Type", kind)])
    length = session.get_header(b"content-length")
    if length is not None or session.is_body_empty():
        head.insert("Content-Length", length or b"0")
    data = yield ReadBody()  # before the head: a client may wait for its 100 (Continue)
    session.write_response_header(head)
    while data is not None:
        if session.write_response_body(data) <= 0:
            yield Drain()
        data = yield ReadBody()
    session.finish_body()


def _bytes(session: ServerSession, argument: str) -> _Answering:
    size = _whole(argument, "the number of bytes", _MAX_BYTES)
    head = ResponseHeader(200, [("Content-Type", "application/octet-stream")])
    head.set_content_length(size)
    assert session.req_header is not None  # an exchange begins with a head
    nothing = size == 0 or session.req_header.method == b"HEAD"
    session.write_response_header(head, end=nothing)
    return None if nothing else _blocks(session, size)


def _blocks(session: ServerSession, left: int) -> Generator[Any, Any, None]:
    if session.room <= 0:  # other streams of the connection have filled it
        yield Drain()
    while left > len(_BLOCK):
        left -= len(_BLOCK)
        if session.write_response_body(_BLOCK) <= 0:
            yield Drain()
    session.write_response_body(_BLOCK[:left], end=True)


def _status(session: ServerSession, argument: str) -> None:
    status = _whole(argument, "status", 999)
    if status < 200:
        raise _Refused(400, f"{status} is no final status: from 200 to 999\n")
    _text(session, status, f"{status} {reason_phrase(status).decode()}\n")


def _headers(session: ServerSession, _: str) -> None:
    head = session.req_header
    assert head is not None  # an exchange begins with a head
    fields = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in head.fields]
    seen = {
        "method": head.method.decode("ascii"),
        "target": head.target.decode("latin-1"),
        "version": head.version.decode("ascii"),
        "headers": fields,
    }
    body = json.dumps(seen, indent=1).encode("ascii") + b"\n"
    response = ResponseHeader(200, [("Content-Type", "application/json")])
    response.set_content_length(len(body))
    session.write_response_header(response)
    session.write_response_body(body, end=True)


def _delay(session: ServerSession, argument: str) -> Generator[Any, Any, None]:
    return _late(session, _number(argument, "delay", _MAX_SECONDS))


def _late(session: ServerSession, seconds: float) -> Generator[Any, Any, None]:
    yield Sleep(seconds)
    _text(session, 200, f"waited {seconds:g} s\n")


def _drip(session: ServerSession, _argument: str) -> Generator[Any, Any, None]:
    assert session.req_header is not None  # an exchange begins with a head
    query = session.req_header.query.decode("latin-1")
    given = {name: value for name, _, value in (part.partition("=") for part in query.split("&") if part)}
    if unknown := given.keys() - {"n", "interval"}:
        raise _Refused(400, f"unknown parameter {min(unknown)!r}: n and interval are known\n")
    number = _whole(given.get("n", "5"), "n", _MAX_DRIPS)
    return _drops(session, number, _number(given.get("interval", "0.1"), "interval", _MAX_SECONDS))


def _drops(session: ServerSession, number: int, interval: float) -> Generator[Any, Any, None]:
    session.write_response_header(ResponseHeader(200, [("Content-Type", "text/plain")]))
    for drop in range(number):
        if drop:
            yield Sleep(interval)
        if session.write_response_body(b"drop %d\n" % (drop + 1)) <= 0:
            yield Drain()
    session.finish_body()


def _trailers(session: ServerSession, _: str) -> None:
    body = b"a body that is checked at its end\n"
    session.write_response_header(ResponseHeader(200, [("Content-Type", "text/plain"), ("Trailer", "X-Crc32")]))
    session.write_response_body(body)
    session.write_response_trailers(Fields([("X-Crc32", f"{crc32(body):08x}")]))


def _early_hints(session: ServerSession, _: str) -> None:
    session.write_response_header(ResponseHeader(103, [("Link", "</style.css>; rel=preload; as=style")]))
    _text(session, 200, "the hint came before\n")


class _Echo(WebSocketApp):
    """Sends back what it gets, frame by frame: a client may send a whole frame before it reads."""

    def on_open(self, ws: WebSocket) -> None:
        ws.data = []

    def on_part(self, ws: WebSocket, part: MessagePart) -> None:
        pieces: list[Any] = ws.data
        join_piece(pieces, part.data)
        if part.ends:
            ws.data = []
            ws.send(pieces[0] if len(pieces) == 1 else type(part.data)().join(pieces), last=part.last)


_ECHO = _Echo()


def _websocket(session: ServerSession, _: str) -> _Answering:
    return serve_websocket(session, _ECHO)


_READING = (b"GET", b"HEAD")
_WRITING = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE")

# By the first segment of the path: the methods, the route, and whether another segment follows.
_ROUTES: dict[str, tuple[tuple[bytes, ...], _Route, bool]] = {
    "": (_READING, _hello, False),
    "echo": (_WRITING, _echo, False),
    "bytes": (_READING, _bytes, True),
    "status": (_WRITING, _status, True),
    "headers": (_WRITING, _headers, False),
    "delay": (_READING, _delay, True),
    "drip": (_READING, _drip, False),
    "trailers": (_READING, _trailers, False),
    "early-hints": (_READING, _early_hints, False),
    "ws": ((b"GET", b"CONNECT"), _websocket, False),
}
