"""Raw streams on one lane: from the events of a connection to the callbacks of a :class:`ServerApp`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from sansio_pingora.apps.handshakes import HandshakeLog
from sansio_pingora.apps.http_exchanges import routine_of
from sansio_pingora.apps.reading import BodyRoutines
from sansio_pingora.digests import Digest
from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.layers import Layer, stack_layers
from sansio_pingora.limits import Limits
from sansio_pingora.machine import (
    Connection,
    ConnectionClosed,
    Endpoint,
    Established,
    Lane,
    LogLine,
    Receiver,
    Writable,
)
from sansio_pingora.session import Form, RawConnection, ReadBody, Routines, traceback_of
from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora.wire import Failed, UpgradedBody

if TYPE_CHECKING:
    from sansio_pingora.apps.server_app import ServerApp

__all__ = ["RawStream", "StreamAcceptor"]


class RawStream:
    """Our handle on one connection. Nothing here blocks: what is written is queued."""

    __slots__ = ("_connection", "_digest", "_pushed", "closed", "done", "info", "now", "room")

    def __init__(
        self, connection: RawConnection, info: TransportInfo, now: float, digest: Digest | None = None
    ) -> None:
        self._connection = connection
        self._digest = digest
        self._pushed: list[bytes] = []
        self.info = info
        self.now = now
        """Monotonic time of the input that is being handled."""
        self.room = connection.limits.high_water
        """Bytes that should be written at most before waiting for more room."""
        self.closed: Error | None = None
        """Why the connection broke; what is written then goes nowhere."""
        self.done = False
        """This side has finished."""

    def write(self, data: bytes) -> int:
        """Send *data*; returns the room left, 0 or less when the sender should wait.

        :raises LocalProtocolError: this side has finished already.
        """
        if self.done:
            raise LocalProtocolError("this side of the stream has finished: write before finish()")
        if data and self.closed is None:
            self.room = self._connection.send(1, UpgradedBody(data), self.now)
        return self.room

    def finish(self) -> None:
        """Send no more. The peer sees the end behind what was written, and may go on sending."""
        if not self.done:
            self.done = True
            if self.closed is None:
                self._connection.send(1, UpgradedBody(b"", True), self.now)

    def abort(self) -> None:
        """Break the connection off, by a reset where that is possible."""
        self.done = True
        self._connection.abort(self.now)

    def push_back(self, data: bytes) -> None:
        """Read *data* again, before what comes next and what was pushed back before it.

        :raises LocalProtocolError: more than ``high_water`` bytes would wait: who needs as much keeps them itself.
        """
        ceiling = self._connection.limits.high_water
        if sum(map(len, self._pushed)) + len(data) > ceiling:
            raise LocalProtocolError(f"more than high_water, {ceiling} bytes, pushed back: keep what is not read yet")
        if data:
            self._pushed.append(data)

    def take_pushed_back(self) -> bytes | None:
        """The piece that was pushed back last, which is not read again then; None when there is none."""
        return self._pushed.pop() if self._pushed else None

    def consumed(self, size: int) -> None:
        """*size* bytes were used: the peer may send as many more."""
        self._connection.consumed(1, size, self.now)

    def invite_body(self) -> None:
        """Nobody waits to be invited."""

    def close(self) -> None:
        """Both sides are done with: what is queued is sent, what still comes is thrown away."""
        self.done = True
        self._connection.finish_reading(self.now)

    def digest(self) -> Digest:
        """What is known of the transport: its ends, TLS."""
        if self._digest is None:
            self._digest = Digest.of(self.info)
        return self._digest

    @property
    def client_addr(self) -> SocketAddr | None:
        """The client's address; None over a Unix socket."""
        return self.info.peer

    @property
    def server_addr(self) -> SocketAddr | None:
        """The address that the client connected to."""
        return self.info.local


class StreamAcceptor:
    """See :class:`sansio_pingora.machine.Acceptor`."""

    def __init__(self, app: ServerApp, name: str, form: Form, limits: Limits, lane: Lane, now: float) -> None:
        self.app = app
        self.name = name
        self.lane = lane
        self._form = form
        self._limits = limits
        self._begin: Callable[[RawStream], Any] = app.process_new
        self._log = Routines(lane, now)
        self._handshakes: HandshakeLog | None = None

    def accept(self, info: TransportInfo, now: float) -> Endpoint:
        """The machines for a connection that was accepted."""
        if info.layers:
            limits, digest = self._limits, Digest.of(info)
            layers = stack_layers(info.layers, self._above, limits, digest, now + limits.handshake_timeout)
            if self._handshakes is None:
                self._handshakes = HandshakeLog(self.lane, now)
            return Endpoint(self.lane, layers, _Arriving(self, partial(self._handshakes.failed, info)), info)
        connection = RawConnection(now, self._limits)
        return Endpoint(self.lane, connection, self.receiver(connection, info, None, now), info)

    def _above(self, layer: Layer, now: float) -> Connection:
        return RawConnection(now, self._limits)

    def receiver(self, connection: RawConnection, info: TransportInfo, digest: Digest | None, now: float) -> Receiver:
        """Who gets the events of a stream that begins."""
        stream = RawStream(connection, info, now, digest)
        receiver: Receiver = _PlainReceiver(self, stream)
        try:
            begun = self._begin(stream)
            if begun is not None:
                receiver = waiting = _WaitingReceiver(self, stream, now)
                waiting.run(routine_of(begun, waiting, self._form, self.name))
        except Exception as exc:
            self.failed(stream, exc)
        return receiver

    def failed(self, stream: RawStream, error: BaseException) -> None:
        """A callback raised: end the connection, so that the peer cannot take it for complete."""
        if error is stream.closed:
            return
        self._log.give(LogLine("ERROR", f"{self.name} failed: {error}, {stream.client_addr}\n{traceback_of(error)}"))
        stream.abort()

    def drain(self, now: float) -> None:
        """Idle connections close soon, the others when they end."""
        for endpoint in list(self.lane.endpoints):
            if type(endpoint.receiver) in _RECEIVERS:
                endpoint.connection.drain(now)

    def take_leave(self, now: float) -> None:
        """Bytes have no word for it."""


class _Arriving:
    """Waits until the layers of a connection are through."""

    __slots__ = ("_acceptor", "_failed")

    def __init__(self, acceptor: StreamAcceptor, failed: Callable[[Error | None, float], None]) -> None:
        self._acceptor = acceptor
        self._failed = failed

    def receive_event(self, stream_id: int, value: Any, now: float) -> None:
        """Take one event of the layers."""
        if type(value) is Established:
            endpoint = value.connection.endpoint
            assert endpoint is not None  # accept made one
            assert endpoint.info is not None  # of a transport that was accepted
            assert isinstance(value.connection, RawConnection)  # as it was made above the layers
            endpoint.receiver = self._acceptor.receiver(value.connection, endpoint.info, value.digest, now)
        elif type(value) is ConnectionClosed:
            self._failed(value.error, now)


class _PlainReceiver:
    """Calls back for every event."""

    __slots__ = ("_acceptor", "_ended", "_owed", "_stream")

    def __init__(self, acceptor: StreamAcceptor, stream: RawStream) -> None:
        self._acceptor = acceptor
        self._stream = stream
        self._ended = False
        self._owed = 0  # read credit held back until there is room

    def receive_event(self, stream_id: int, value: Any, now: float) -> None:
        """Take one event of the connection."""
        stream = self._stream
        if stream.closed is not None or (stream.done and type(value) is Writable):
            return
        stream.now = now
        try:
            self._dispatch(value)
        except Exception as exc:
            self._acceptor.failed(stream, exc)
        if self._owed and (stream.room > 0 or stream.done):
            owed, self._owed = self._owed, 0
            stream.consumed(owed)

    def _dispatch(self, value: Any) -> None:
        stream, app = self._stream, self._acceptor.app
        kind = type(value)
        if kind is UpgradedBody:
            if value.data:
                self._owed += len(value.data)
                data = value.data
                if stream._pushed:
                    data = b"".join([*reversed(stream._pushed), data])
                    stream._pushed.clear()
                app.received(stream, data)
            if value.end:
                self._ended = True
                app.finished(stream)
        elif kind is Writable:
            stream.room = value.room
            app.writable(stream)
        elif kind is Failed or not (stream.done and self._ended):
            error = stream.closed = value.error or _aborted()
            app.lost(stream, error)


def _aborted() -> Error:
    """Why a connection ended of which nobody says why, while somebody still had to do with it."""
    return Error(ErrorType.CONNECTION_CLOSED, "the connection was aborted").into_in()


class _WaitingReceiver(BodyRoutines):
    """Runs a callback that waits."""

    __slots__ = ("_acceptor", "_stream")

    def __init__(self, acceptor: StreamAcceptor, stream: RawStream, now: float) -> None:
        super().__init__(acceptor.lane, stream, now)
        self._acceptor = acceptor
        self._stream = stream

    def receive_event(self, stream_id: int, value: Any, now: float) -> None:
        """Take one event of the connection."""
        stream = self._stream
        self.now = stream.now = now
        kind = type(value)
        if kind is UpgradedBody:
            self.arrived(value.data, value.end)
        elif kind is Writable:
            stream.room = value.room
            self.room_came()
        elif stream.closed is None and (kind is Failed or not (stream.done and self._ended)):
            error = stream.closed = value.error or _aborted()
            self.broken_off(error)

    def perform(self, effect: Any) -> tuple[int, Any]:
        """See :meth:`Routines.perform`."""
        if type(effect) is ReadBody and (data := self._stream.take_pushed_back()) is not None:
            return 0, data
        return super().perform(effect)

    def _is_written(self) -> bool:
        return self._stream.done

    def _concluded(self, value: Any, error: Error | None) -> None:
        stream = self._stream
        if error is not None:
            self._acceptor.failed(stream, error)
        elif stream.closed is None:
            stream.close()
        self.stop_routines()


_RECEIVERS = frozenset({_Arriving, _PlainReceiver, _WaitingReceiver})
