"""Transcripts of connections as they are driven: every call, and what came of it.

A connection that is recorded becomes one of a class of its own, made for the purpose, whose methods write down what
they are given and what they return. So whoever holds it, a driver below or a session above, is heard, and what is not
recorded costs nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from itertools import count
from typing import Any, Protocol

from sansio_pingora.http1 import Http1Client, Http1Server
from sansio_pingora.http1.codec import NativeCodec
from sansio_pingora.http2 import Http2Client, Http2Server
from sansio_pingora.http2.channel import Timer
from sansio_pingora.layers import Layer, PrefaceSniff
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Acceptor, Application, Connection, Endpoint, Event, Lane
from sansio_pingora.testing.transcripts import VERSION, Step, encode

__all__ = ["Recorded", "Recorder", "Sink", "record"]

MAX_CONNECTIONS = 1_000
"""Transcripts of one recorder: at the most of each, 1 GB."""
MAX_BYTES = 1 << 20
"""Characters of one transcript. What comes then is left out, and the last line says so."""

_CALLS = (
    "abort",
    "consumed",
    "data_to_send",
    "drain",
    "handle_timeout",
    "hold",
    "invite_body",
    "open_stream",
    "receive_data",
    "receive_eof",
    "send",
    "set_timeouts",
    "transport_lost",
    "tune",
    "widen",
    "write_paused",
    "write_progressed",
    "write_resumed",
)


class Sink(Protocol):
    """Where one transcript goes."""

    def write(self, line: str, /) -> object:
        """One line more, without a break at its end."""

    def close(self) -> object:
        """There are no more."""


class _Transcript:
    """What is being written about one connection."""

    __slots__ = ("inside", "left", "sink")

    def __init__(self, sink: Sink, left: int) -> None:
        self.sink: Sink | None = sink
        self.left = left
        self.inside = False
        """It is amid a call: what it calls of itself is no input."""

    def write(self, line: str) -> None:
        if self.sink is None:
            return
        self.left -= len(line)
        if self.left < 0:
            line = json.dumps({"call": "cut", "with": []})
        self.sink.write(line)
        if self.left < 0:
            self.close()

    def close(self) -> None:
        if self.sink is not None:
            self.sink.close()
            self.sink = None


class Recorder:
    """Records connections, each in a transcript of its own that *begin* opens under the name given to it.

    *begin* may be called from any lane's thread. At most *max_connections* are recorded, each up to *max_bytes*.
    """

    def __init__(
        self, begin: Callable[[str], Sink], *, max_connections: int = MAX_CONNECTIONS, max_bytes: int = MAX_BYTES
    ) -> None:
        self._begin = begin
        self._max_connections = max_connections
        self._max_bytes = max_bytes
        self._numbers = count(1)
        self._open: dict[int, _Transcript] = {}
        self._kinds: dict[type, type] = {}

    def watch(self, lane: Lane) -> None:
        """Record every connection of *lane*, whether it is accepted or dialled, and what layers make of it."""
        attach = type(lane).attach

        def attached(lane: Lane, endpoint: Endpoint) -> None:
            self._watch_endpoint(endpoint)
            attach(lane, endpoint)

        self._become(lane, attach=attached)

    def _watch_endpoint(self, endpoint: Endpoint) -> None:
        replace = type(endpoint).replace

        def replaced(endpoint: Endpoint, connection: Connection) -> None:
            replace(endpoint, connection)
            self.record(connection)

        self._become(endpoint, replace=replaced)
        self.record(endpoint.connection)

    def _watch_layer(self, layer: Layer) -> None:
        establish = type(layer)._establish

        def established(layer: Layer, now: float) -> list[Event]:
            events = establish(layer, now)
            if layer.inner is not None:
                self.record(layer.inner)
            return events

        self._become(layer, _establish=established)

    def record(self, connection: Connection) -> None:
        """Write down what *connection* is called with from here on, to its end."""
        kind = type(connection)
        if isinstance(connection, Layer):
            self._watch_layer(connection)
        if id(connection) in self._open or isinstance(connection, Layer | PrefaceSniff):
            return  # what stands on a layer will be recorded
        number = next(self._numbers)
        if number > self._max_connections:
            return
        sink = self._begin(f"{number:06d}-{kind.__name__}.jsonl")
        transcript = self._open[id(connection)] = _Transcript(sink, self._max_bytes)
        transcript.write(json.dumps({"version": VERSION, "machine": _describe(connection)}))
        self._become(
            connection, **{name: self._heard(name, getattr(kind, name)) for name in _CALLS if hasattr(kind, name)}
        )

    def _become(self, thing: Any, **methods: Callable[..., Any]) -> None:
        """Have *thing* be of a class with *methods* in the place of its own."""
        kind = type(thing)
        if kind in self._kinds.values():
            return
        made = self._kinds.get(kind)
        if made is None:
            made = type(kind.__name__, (kind,), {"__slots__": (), "__module__": kind.__module__, **methods})
            self._kinds[kind] = made
        thing.__class__ = made

    def close(self) -> None:
        """Nothing more is written down."""
        for transcript in list(self._open.values()):
            transcript.close()

    def _heard(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(connection: Any, *arguments: Any, **options: Any) -> Any:
            transcript = self._open.get(id(connection))
            if transcript is None or transcript.inside:
                return method(connection, *arguments, **options)
            given = tuple(encode(argument) for argument in arguments)
            named = {key: encode(value) for key, value in options.items()}
            transcript.inside = True
            try:
                result = method(connection, *arguments, **options)
            except Exception as exc:
                transcript.write(Step(name, given, named, {"raises": repr(exc)}).line())
                raise
            finally:
                transcript.inside = False
            told = b"".join(result) if name == "data_to_send" else result
            if told or name != "data_to_send":
                transcript.write(Step(name, given, named, encode(told)).line())
            if name == "transport_lost":  # the last thing that is ever told to it
                transcript.close()
                del self._open[id(connection)]
            return result

        return call


def record(connection: Connection, write: Callable[[str], object], *, max_bytes: int = MAX_BYTES) -> None:
    """Give *write* the lines of a transcript of *connection*, which nobody has used yet; each without a break."""
    Recorder(lambda _: _Lines(write), max_bytes=max_bytes).record(connection)


class _Lines:
    def __init__(self, write: Callable[[str], object]) -> None:
        self.write = write

    def close(self) -> None:
        """It ends where it ends."""


class Recorded:
    """*application*, with every connection of its lanes recorded, those to its upstreams too."""

    def __init__(self, application: Application, recorder: Recorder) -> None:
        self.limits: Limits = application.limits
        self._application = application
        self._recorder = recorder

    def check(self, runtime: str, *, can_await: bool) -> None:
        """See :meth:`sansio_pingora.machine.Application.check`."""
        self._application.check(runtime, can_await=can_await)

    def open(self, lane: Lane, now: float, wall: float) -> Acceptor:
        """See :meth:`sansio_pingora.machine.Application.open`."""
        self._recorder.watch(lane)
        return self._application.open(lane, now, wall)


# ── how a machine was made ───────────────────────────────────────────────────────────


def _describe(connection: Any) -> Mapping[str, Any]:
    """What makes the same machine again."""
    kind = type(connection)
    entry: dict[str, Any] = {"kind": kind.__name__, "limits": _changed(connection.limits)}
    options = _MACHINES.get(kind)
    if options is None:
        entry["why"] = f"transcripts of a {kind.__name__} are for people"
    elif connection.stream if isinstance(connection, Http1Client | Http1Server) else connection._last_key:
        entry["why"] = "it had been used before"
    else:
        entry["options"] = options(connection)
    codec = getattr(connection, "_codec", None)
    if isinstance(codec, NativeCodec):
        entry["codec"] = {"lenient_length": codec._lenient_length, "secure": codec._heads._secure}
    elif codec is not None:
        entry["why"] = f"its engine is {type(codec).__name__}"
    return entry


def _changed(limits: Limits) -> dict[str, Any]:
    usual = Limits()
    pairs = [(each.name, getattr(limits, each.name)) for each in fields(limits)]
    return {name: value for name, value in pairs if value != getattr(usual, name)}


def _made_at(deadline: float, after: float) -> float:
    """The time to which *after* was added."""
    made = deadline - after
    for near in (made, math.nextafter(made, math.inf), math.nextafter(made, -math.inf)):
        if near + after == deadline:
            return near
    return made


def _http1_server(server: Any) -> dict[str, Any]:
    return {
        "now": _made_at(server._read_deadline, server.limits.first_byte_timeout),
        "wall_offset": server._wall_offset,
        "allow_connect": server.allow_connect,
        "abort_on_close": server.abort_on_close,
        "quiet": server.quiet,
    }


def _http1_client(client: Any) -> dict[str, Any]:
    return {"read_timeout": client._read_timeout, "write_timeout": client._write_timeout}


def _http2_server(server: Any) -> dict[str, Any]:
    return {
        "now": _made_at(server._timers[Timer.FIRST_BYTE], server.limits.first_byte_timeout),
        "wall_offset": server._wall_offset,
        "allow_connect": server.allow_connect,
        "abort_on_close": server.abort_on_close,
    }


def _http2_client(client: Any) -> dict[str, Any]:
    return {
        "now": _made_at(client._timers[Timer.SETTINGS], client.limits.h2_settings_timeout),
        "max_streams": client._max_streams,
        "read_timeout": client._read_timeout,
        "write_timeout": client._write_timeout,
        "stream_window": client._max_window,
        "connection_window": client._window,
        "first_window": client._own_window,
        "ping_interval": client._ping_interval,
    }


_MACHINES: dict[type, Callable[[Any], dict[str, Any]]] = {
    Http1Server: _http1_server,
    Http1Client: _http1_client,
    Http2Server: _http2_server,
    Http2Client: _http2_client,
}
