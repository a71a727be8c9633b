"""What stands between a transport and the connection above it, until or as long as bytes pass through it.

From the wire up: PROXY protocol, CONNECT, TLS, then the connection of HTTP/1 or HTTP/2, or what sniffs which.
A layer keeps the contract of a connection towards its driver. Until it is *established* it waits for its peer;
then *above* makes what stands on it, and the receiver is told by :class:`~sansio_pingora.machine.Established`. From
there on sessions call the inner connection directly, and only bytes and facts of the transport still pass through the
layer. One that has nothing more to do steps aside: what stood on it goes on in its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from sansio_pingora.digests import Digest
from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, Connection, ConnectionClosed, Endpoint, Established, Event
from sansio_pingora.wire import HttpTask

__all__ = ["Above", "Layer", "LayerMaker", "pending_layer", "stack_layers"]


Above = Callable[["Layer", float], Connection]
"""Makes what stands on a layer that is established: the connection, or the next layer."""


class LayerMaker(Protocol):
    """Makes one layer of a transport. A listener has some of these for what it accepts, a dial for what it connects."""

    def __call__(self, above: Above, limits: Limits, digest: Digest, deadline: float) -> Layer:
        """A new layer. *deadline*: when it is to give up waiting for its peer; ``math.inf`` where others see to that.

        What it sends first may be ready at once: a driver takes it when the transport is connected.
        """


class _Holder(Protocol):
    def replace(self, connection: Connection) -> None:
        """Go on with *connection*."""


def stack_layers(makers: Sequence[LayerMaker], above: Above, limits: Limits, digest: Digest, deadline: float) -> Layer:
    """The lowest of the layers that *makers* make, lowest first; each makes the next when it is established."""
    make, *rest = makers
    if not rest:
        return make(above, limits, digest, deadline)

    def above_this(layer: Layer, _now: float) -> Connection:
        return stack_layers(rest, above, limits, layer.digest, deadline)

    return make(above_this, limits, digest, deadline)


def pending_layer(connection: Connection) -> Layer | None:
    """The layer that still waits for its peer, of those up from *connection*; None: they are through."""
    while isinstance(connection, Layer):
        if connection.inner is None:
            return connection
        connection = connection.inner
    return None


class Layer:
    """What all layers have in common.

    A layer implements :meth:`_receive`, which calls :meth:`_establish` or :meth:`_fail` in the end. One that stays,
    as TLS does, overrides what carries bytes as well.
    """

    __slots__ = (
        "_above",
        "_aside",
        "_below",
        "_closing",
        "_deadline",
        "_draining",
        "_endpoint",
        "_leaving",
        "_output",
        "_told",
        "alpn",
        "digest",
        "inner",
        "limits",
    )

    secure = False
    """What passes is encrypted."""
    waits_for = ""
    """What of its peer a layer of this kind waits for, in an error's words."""
    timeout_type = ErrorType.CONNECT_TIMEDOUT
    """What its error is when that does not come."""
    source = ErrorSource.DOWNSTREAM
    """Who its peer is."""

    def __init__(self, above: Above, limits: Limits, digest: Digest, deadline: float) -> None:
        self._above = above
        self._below: _Holder | None = None
        self._endpoint: Endpoint | None = None
        self._deadline = deadline
        self._closing = Closing.NO
        self._draining = False
        self._leaving = False
        self._aside = False
        self._told = False
        self._output: list[bytes] = []
        """What this layer itself sends, before what stands above."""
        self.inner: Connection | None = None
        """What stands on it, once it is established."""
        self.limits = limits
        self.digest = digest
        """Shared by the layers of a transport: each adds what it finds."""
        self.alpn: str | None = None
        """The protocol that was agreed on for what stands above; None: none was."""

    # ── for a layer ──────────────────────────────────────────────────────────────────

    def _receive(self, data: bytes, now: float) -> list[Event]:
        """Bytes of the peer, while it is not established."""
        raise NotImplementedError

    def _establish(self, now: float) -> list[Event]:
        """The peer did what it was to do: make what stands above."""
        inner = self.inner = self._above(self, now)
        inner.endpoint = self._endpoint
        if isinstance(inner, Layer):
            inner.stand_on(self)
            events: list[Event] = []
        else:
            events = [(0, Established(inner, self.digest))]
        if self._draining:
            inner.drain(now)
        return events

    def _step_aside(self) -> None:
        """It has nothing more to do: what stands on it goes on in its place, once its last output is taken."""
        assert self.inner is not None  # it is established
        self._leaving = True
        if self._below is not None and not self._output:
            self._aside = True
            self._below.replace(self.inner)

    def _fail(self, error: Error, now: float, how: Closing = Closing.AFTER_FLUSH) -> list[Event]:
        """It cannot go on: what is queued is sent, within ``linger_timeout``, then the transport closed."""
        if self._closing:
            return []
        self._closing = how
        self._deadline = now + self.limits.linger_timeout
        self._told = True
        if self.inner is not None:
            return self.inner.transport_lost(error, now)
        return [(0, ConnectionClosed(error))]

    def _ended(self) -> Error:
        """The peer ended the transport before the layer was established."""
        return Error(ErrorType.CONNECTION_CLOSED, f"closed while {self.waits_for} was waited for", esource=self.source)

    def timed_out(self, allowed: str) -> Error:
        """The error when the peer did not do what is waited for within *allowed*."""
        return Error(self.timeout_type, f"{allowed} while {self.waits_for} was waited for", esource=self.source)

    # ── where it stands ──────────────────────────────────────────────────────────────

    @property
    def endpoint(self) -> Endpoint | None:
        """Where it enlists itself, and all that stands above."""
        return self._endpoint

    @endpoint.setter
    def endpoint(self, endpoint: Endpoint | None) -> None:
        self._endpoint = endpoint
        self._below = endpoint
        if self.inner is not None:
            self.inner.endpoint = endpoint
            if isinstance(self.inner, Layer):
                self.inner.stand_on(self)

    def stand_on(self, below: _Holder) -> None:
        """*below* is where this stands, and what is told to go on without it."""
        self._below = below

    def replace(self, connection: Connection) -> None:
        """Go on with *connection* in the place of the one above that has done its work."""
        if self._aside and self._below is not None:
            self._below.replace(connection)
            return
        self.inner = connection
        connection.endpoint = self._endpoint
        if isinstance(connection, Layer):
            connection.stand_on(self)

    # ── input ────────────────────────────────────────────────────────────────────────

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """See :meth:`Connection.receive_data`."""
        if not data:
            return self.receive_eof(now)
        if self.inner is not None:
            return self.inner.receive_data(data, now)
        return [] if self._closing else self._receive(data, now)

    def receive_eof(self, now: float) -> list[Event]:
        """See :meth:`Connection.receive_eof`."""
        return self._fail(self._ended(), now) if self.inner is None else self.inner.receive_eof(now)

    def transport_lost(self, reason: Error | None, now: float) -> list[Event]:
        """See :meth:`Connection.transport_lost`."""
        self._closing = Closing.ABORT
        if self._told:
            return []
        self._told = True
        return [(0, ConnectionClosed(reason))] if self.inner is None else self.inner.transport_lost(reason, now)

    def handle_timeout(self, now: float) -> list[Event]:
        """See :meth:`Connection.handle_timeout`."""
        if self._closing:
            if self._closing is Closing.AFTER_FLUSH and self._deadline <= now:  # the peer does not take the last words
                self._closing = Closing.ABORT
            return []
        if self.inner is not None:
            return self.inner.handle_timeout(now)
        if self._deadline <= now:
            return self._fail(self.timed_out(f"{self.limits.handshake_timeout:g} s"), now)
        return []

    # ── output ───────────────────────────────────────────────────────────────────────

    def data_to_send(self) -> list[bytes]:
        """See :meth:`Connection.data_to_send`."""
        output = self._output
        if output:
            self._output = []
            if self._leaving:
                self._step_aside()
        return output if self.inner is None else output + self.inner.data_to_send()

    def write_paused(self, now: float) -> None:
        """See :meth:`Connection.write_paused`."""
        if self.inner is not None:
            self.inner.write_paused(now)

    def write_resumed(self, now: float) -> list[Event]:
        """See :meth:`Connection.write_resumed`."""
        return [] if self.inner is None else self.inner.write_resumed(now)

    def write_progressed(self, now: float) -> None:
        """See :meth:`Connection.write_progressed`."""
        if self.inner is not None:
            self.inner.write_progressed(now)

    # ── what the driver looks at ─────────────────────────────────────────────────────

    @property
    def version(self) -> bytes:
        """What is spoken above; empty until it is known."""
        return b"" if self.inner is None else self.inner.version

    @property
    def deadline(self) -> float:
        """When to call :meth:`handle_timeout`."""
        if self._closing:
            return self._deadline if self._closing is Closing.AFTER_FLUSH else math.inf
        return self._deadline if self.inner is None else self.inner.deadline

    @property
    def want_read(self) -> bool:
        """False: stop reading from the transport."""
        return True if self.inner is None else self.inner.want_read

    @property
    def shut_write(self) -> bool:
        """Shut the write side once the output is flushed."""
        return False if self.inner is None else self.inner.shut_write

    @property
    def closing(self) -> Closing:
        """Whether the socket may be closed."""
        return self._closing if self._closing or self.inner is None else self.inner.closing

    @property
    def starved(self) -> bool:
        """Somebody waits for room."""
        return False if self.inner is None else self.inner.starved

    @property
    def stalled(self) -> bool:
        """Output waits for the peer, and the deadline over it runs."""
        return False if self.inner is None else self.inner.stalled

    @property
    def close_delimited(self) -> bool:
        """What is being received lasts until the transport ends, or may: who stands above does not say."""
        return getattr(self.inner, "close_delimited", True)

    @property
    def held(self) -> int:
        """Bytes that it keeps in memory, and what stands above."""
        return getattr(self.inner, "held", 0)

    def next_reason(self) -> str:
        """See :meth:`Connection.next_reason`."""
        if self._closing:
            return "linger_timeout"
        return "handshake_timeout" if self.inner is None else self.inner.next_reason()

    # ── what the application's side does, for who has no better way to what stands above ─

    def open_stream(self, now: float) -> int | None:
        """See :meth:`Connection.open_stream`."""
        return None if self.inner is None else self.inner.open_stream(now)

    def send(self, stream_id: int, task: HttpTask, now: float) -> int:
        """See :meth:`Connection.send`."""
        if self.inner is None:
            raise LocalProtocolError(f"stream {stream_id} was never opened: {self.waits_for} is waited for")
        return self.inner.send(stream_id, task, now)

    def invite_body(self, stream_id: int, now: float) -> None:
        """See :meth:`Connection.invite_body`."""
        if self.inner is not None:
            self.inner.invite_body(stream_id, now)

    def consumed(self, stream_id: int, size: int, now: float) -> None:
        """See :meth:`Connection.consumed`."""
        if self.inner is not None:
            self.inner.consumed(stream_id, size, now)

    def drain(self, now: float) -> None:
        """See :meth:`Connection.drain`. Before it is established: what will stand above is told."""
        if self.inner is None:
            self._draining = True
        else:
            self.inner.drain(now)

    def abort(self, now: float) -> None:
        """See :meth:`Connection.abort`."""
        if self.inner is not None:
            self.inner.abort(now)
            return
        self._closing = Closing.ABORT
        if self._endpoint is not None:
            self._endpoint.lane.enlist(self._endpoint)
