"""The client's side of a connection to an origin, in the version that is spoken with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sansio_pingora.connectors.lease import UpstreamConnection
from sansio_pingora.http1 import Http1Client, NativeCodec
from sansio_pingora.session import Engine, client_codec, client_http2

if TYPE_CHECKING:
    from sansio_pingora.limits import Limits
    from sansio_pingora.upstreams import Peer, PeerOptions

__all__ = ["HttpClients"]

_MAX_WINDOW = 2**31 - 1


class HttpClients:
    """Makes HTTP connections for a :class:`Connector`, as *limits* and the options of each peer say.

    *first_window* (bytes) is for who widens streams: what one of HTTP/2 begins with where its peer does not say.
    """

    __slots__ = ("_engine", "_first_window", "_limits")

    def __init__(self, limits: Limits, engine: Engine = "native", *, first_window: int | None = None) -> None:
        self._limits = limits
        self._first_window = first_window
        self._engine: Engine = engine

    def __call__(self, peer: Peer, version: bytes, now: float) -> UpstreamConnection:
        """A connection to *peer* in *version*, before it is dialled."""
        options = peer.options
        if options.custom_connection is not None:
            connection: UpstreamConnection = options.custom_connection(self._limits, now)
            connection.set_timeouts(options.read_timeout, options.write_timeout)
            return connection
        if version == b"2":
            stream_window, connection_window = self._windows(options)
            return client_http2(
                self._engine,
                now,
                self._limits,
                max_streams=options.max_h2_streams,
                read_timeout=options.read_timeout,
                write_timeout=options.write_timeout,
                stream_window=stream_window,
                connection_window=connection_window,
                first_window=self._first_window if options.h2_stream_window_size is None else None,
                ping_interval=options.h2_ping_interval,
            )
        lenient = options.allow_h1_response_invalid_content_length
        codec = client_codec(self._engine, self._limits)
        return Http1Client(
            self._limits,
            codec=codec or NativeCodec(self._limits, server=False, lenient_length=lenient),
            read_timeout=options.read_timeout,
            write_timeout=options.write_timeout,
        )

    def _windows(self, options: PeerOptions) -> tuple[int, int]:
        """What a stream, and a whole connection of HTTP/2, may receive unread.

        One that strangers share has room for all its streams at once, else a few answers that nobody
        reads would hold up all others; and each of them has what an exchange may hold over HTTP/1.
        """
        limits, streams = self._limits, options.max_h2_streams
        window, connection = options.h2_stream_window_size, options.h2_connection_window_size
        if window is None:
            window = limits.h2_window if streams == 1 else min(limits.h2_window, limits.high_water)
        if connection is None:
            connection = max(limits.h2_connection_window, min(streams * window, _MAX_WINDOW))
        return window, connection
