"""A whole server connection for people who own their event loop: bytes and time in, tasks and bytes out.

::

    conn = ServerConnection(now=monotonic())
    while not conn.closing:
        try:
            sock.settimeout(conn.timeout(monotonic()))
            events = conn.receive_data(sock.recv(65536), monotonic())  # b"" is the end
        except TimeoutError:
            events = conn.handle_timeout(monotonic())
        for stream_id, value in events:
            ...  # HttpTask values; answer with conn.send(...)
        sock.sendall(b"".join(conn.data_to_send()))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from sansio_pingora.digests import Digest
from sansio_pingora.errors import Error
from sansio_pingora.http1 import Codec, Http1Server
from sansio_pingora.http2 import Http2Client, Http2Server
from sansio_pingora.layers import Layer, LayerMaker, PrefaceSniff
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, Connection, Endpoint, Event
from sansio_pingora.wire import HttpTask

__all__ = ["Engine", "ServerConnection", "ServerMaker", "client_codec", "client_http2", "server_codec"]

Engine = Literal["native", "hyper"]


def server_codec(engine: Engine, limits: Limits, *, secure: bool = False) -> Codec | None:
    """The codec of *engine* for a server, perhaps above TLS; None stands for the native one.

    :raises ValueError: there is no such engine.
    """
    if engine == "native":
        return None
    return _reference_codec(engine, limits, server=True, secure=secure)


def client_codec(engine: Engine, limits: Limits) -> Codec | None:
    """The codec of *engine* for a client; None stands for the native one.

    :raises ValueError: there is no such engine.
    """
    return None if engine == "native" else _reference_codec(engine, limits, server=False)


def _reference_codec(engine: Engine, limits: Limits, *, server: bool, secure: bool = False) -> Codec:
    if engine != "hyper":
        raise ValueError(f"engine {engine!r}: choose 'native' or 'hyper'")
    from sansio_pingora.http1.hyper import HyperCodec  # h11 is loaded by who asks for it

    return HyperCodec(limits, server=server, secure=secure)


def client_http2(engine: Engine, now: float, limits: Limits, **options: Any) -> Http2Client:
    """The client's side of a connection that speaks HTTP/2; *options* are those of :class:`Http2Client`.

    :raises ValueError: there is no such engine.
    """
    if engine == "native":
        return Http2Client(now, limits, **options)
    if engine != "hyper":
        raise ValueError(f"engine {engine!r}: choose 'native' or 'hyper'")
    from sansio_pingora.http2.hyper import HyperHttp2Client  # h2 is loaded by who asks for it

    return HyperHttp2Client(now, limits, **options)


class ServerMaker:
    """Makes the server's side of connections, as one service wants them; ``wall_offset`` is that of those to come.

    :raises ValueError: there is no such engine.
    """

    __slots__ = ("_abort_on_close", "_allow_connect", "_engine", "_limits", "wall_offset")

    def __init__(
        self,
        limits: Limits,
        *,
        engine: Engine = "native",
        wall_offset: float | None = None,
        allow_connect: bool = False,
        abort_on_close: bool = False,
    ) -> None:
        server_codec(engine, limits)  # an unknown engine is refused here, not at the first request
        self._limits = limits
        self._engine: Engine = engine
        self.wall_offset = wall_offset
        self._allow_connect = allow_connect
        self._abort_on_close = abort_on_close

    def http1(self, now: float, *, quiet: bool = False, secure: bool = False) -> Http1Server:
        """A connection that speaks HTTP/1. *quiet*: what is no HTTP/1 from its first line on is not answered.

        *secure*: it stands on TLS, so that ``https`` is the scheme of its requests.
        """
        return Http1Server(
            now,
            self._limits,
            codec=server_codec(self._engine, self._limits, secure=secure),
            wall_offset=self.wall_offset,
            allow_connect=self._allow_connect,
            abort_on_close=self._abort_on_close,
            quiet=quiet,
            secure=secure,
        )

    def http2(self, now: float) -> Connection:
        """A connection that speaks HTTP/2."""
        server = Http2Server
        if self._engine == "hyper":
            from sansio_pingora.http2.hyper import HyperHttp2Server  # h2 is loaded by who asks for it

            server = HyperHttp2Server
        return server(
            now,
            self._limits,
            wall_offset=self.wall_offset,
            allow_connect=self._allow_connect,
            abort_on_close=self._abort_on_close,
        )

    def above(self, layer: Layer, now: float) -> Connection:
        """A connection of what *layer* has agreed on."""
        return self.http2(now) if layer.alpn == "h2" else self.http1(now, secure=layer.secure)

    def sniffed(self, now: float, switch: Callable[[Connection], None]) -> PrefaceSniff:
        """A connection that finds out what the client speaks, and then has *switch* put that in its place."""
        return PrefaceSniff(now, self._limits, partial(self.http1, quiet=True), self.http2, switch)


class ServerConnection:
    """One client's connection. Keeps the contract of :class:`sansio_pingora.machine.Connection`.

    ``wall_offset``: Unix time minus monotonic time, for the Date field; None sends none. ``h2c``: a client may
    speak HTTP/2 with prior knowledge; what comes first tells. ``version`` is empty until then.

    ``tls``: what stands below, a :class:`~sansio_pingora.tls.ServerTls` as a rule; any maker of a layer will do. Then
    bytes are those of the layer, ALPN tells the version, and the event ``(0, Established)`` what was found out. A
    handshake that is not through after ``handshake_timeout``, or fails, is ``(0, ConnectionClosed)``.
    """

    __slots__ = ("_endpoint", "_inner", "_now", "limits")

    def __init__(
        self,
        *,
        now: float,
        limits: Limits | None = None,
        engine: Engine = "native",
        wall_offset: float | None = None,
        allow_connect: bool = False,
        h2c: bool = True,
        tls: LayerMaker | None = None,
    ) -> None:
        self._now = now
        self._endpoint: Endpoint | None = None
        self.limits = limits or Limits()
        make = ServerMaker(self.limits, engine=engine, wall_offset=wall_offset, allow_connect=allow_connect)
        self._inner: Connection
        if tls is not None:
            self._inner = tls(make.above, self.limits, Digest(), now + self.limits.handshake_timeout)
        else:
            self._inner = make.sniffed(now, self._switch) if h2c else make.http1(now)

    def _switch(self, connection: Connection) -> None:
        connection.endpoint = self._endpoint
        self._inner = connection

    @property
    def version(self) -> bytes:
        """What the client speaks."""
        return self._inner.version

    @property
    def machine(self) -> Connection:
        """The connection that does the work: of HTTP/1 or of HTTP/2, as soon as that is known."""
        connection = self._inner
        while isinstance(connection, Layer) and connection.inner is not None:
            connection = connection.inner
        return connection

    def timeout(self, now: float) -> float | None:
        """Seconds until :meth:`handle_timeout` is due, for ``settimeout``: at least 0.001, None when never."""
        deadline = self._inner.deadline
        return None if deadline == math.inf else max(deadline - now, 0.001)

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Bytes from the client; ``b""`` is the end."""
        self._now = now
        return self._inner.receive_data(data, now)

    def receive_eof(self, now: float) -> list[Event]:
        """The client shut its write side."""
        self._now = now
        return self._inner.receive_eof(now)

    def transport_lost(self, reason: Error | None, now: float) -> list[Event]:
        """The transport is gone."""
        self._now = now
        return self._inner.transport_lost(reason, now)

    def handle_timeout(self, now: float) -> list[Event]:
        """Time has passed. Early or repeated calls are harmless."""
        self._now = now
        return self._inner.handle_timeout(now)

    def data_to_send(self) -> list[bytes]:
        """What to write, in order; handed out once."""
        return self._inner.data_to_send()

    def send(self, stream_id: int, task: HttpTask, now: float) -> int:
        """Queue a task of a response; returns the room left.

        :raises LocalProtocolError: not legal now; nothing was queued.
        """
        self._now = now
        return self._inner.send(stream_id, task, now)

    def consumed(self, stream_id: int, size: int, now: float | None = None) -> None:
        """*size* body bytes were used: returns read credit. *now* defaults to that of the last call."""
        self._inner.consumed(stream_id, size, self._now if now is None else now)

    def invite_body(self, stream_id: int, now: float) -> None:
        """The body is wanted now: sends the 100 (Continue) that a client waits for."""
        self._inner.invite_body(stream_id, now)

    def open_stream(self, now: float) -> int | None:
        """None: a server opens no streams."""
        return self._inner.open_stream(now)

    def write_paused(self, now: float) -> None:
        """The transport holds more than it should."""
        self._inner.write_paused(now)

    def write_resumed(self, now: float) -> list[Event]:
        """The transport has room again."""
        return self._inner.write_resumed(now)

    def write_progressed(self, now: float) -> None:
        """The client took some bytes."""
        self._inner.write_progressed(now)

    def drain(self, now: float) -> None:
        """Take no new requests, finish what is there, then close."""
        self._inner.drain(now)

    def abort(self, now: float) -> None:
        """Close without regard for what is under way."""
        self._inner.abort(now)

    def next_reason(self) -> str:
        """Which deadline is next, for people."""
        return self._inner.next_reason()

    @property
    def deadline(self) -> float:
        """Monotonic second at which :meth:`handle_timeout` is due; ``math.inf`` for never."""
        return self._inner.deadline

    @property
    def want_read(self) -> bool:
        """False: read no more for now."""
        return self._inner.want_read

    @property
    def shut_write(self) -> bool:
        """Shut the write side once the output is flushed, and go on reading."""
        return self._inner.shut_write

    @property
    def closing(self) -> Closing:
        """Truthy: close the socket, after flushing or at once."""
        return self._inner.closing

    @property
    def starved(self) -> bool:
        """A sender was told that there is no room."""
        return self._inner.starved

    @property
    def stalled(self) -> bool:
        """Output waits for the client, and the deadline over it runs."""
        return self._inner.stalled

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the connection enlists itself."""
        return self._endpoint

    @endpoint.setter
    def endpoint(self, endpoint: Endpoint | None) -> None:
        self._endpoint = endpoint
        self._inner.endpoint = endpoint
