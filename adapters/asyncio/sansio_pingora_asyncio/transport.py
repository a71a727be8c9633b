"""One transport of an event loop, bound to its endpoint: the data path."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Protocol, cast

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.machine import READ_SIZE, Closing, Endpoint
from sansio_pingora_posix import contain, lost_error, unsent_bytes

__all__ = ["Settler", "Transport"]

_HIGH_WATER = 65_536
"""Bytes of ours in a transport past which the connection is told to wait."""
_LOW_WATER = 16_384
"""Bytes of ours in a transport below which it may go on."""
_TURN = 8
"""Writes in a row, of 64 KiB or so each, before a fast reader of an endless body lets others have a turn."""
_LAST_READS = 4
"""Reads after a fault: an origin's early answer is 256 KiB at most, or is cut."""
_GIVEN_UP = "the event loop gave up the transport"
_RESET = struct.pack("ii", 1, 0)


class Settler(Protocol):
    """What serves the lane of a transport."""

    loop: asyncio.AbstractEventLoop
    scatters: bool
    """Whether the loop writes a list of chunks as cheaply as one chunk."""
    buffer: memoryview
    """What the loop reads to, for one transport after the other: nothing comes between a reading and its being told."""

    def settle(self, now: float) -> None:
        """Serve all of the lane that wants attention; called from within itself, leave it to the call under way."""


class Transport(asyncio.BufferedProtocol):
    """The driver of one endpoint.

    *made* is called once the loop's transport stands, and must :meth:`bind` an endpoint or
    :meth:`drop` the transport; *gone* when nothing of it is left, perhaps more than once.
    """

    __slots__ = (
        "_base",
        "_bound",
        "_closing",
        "_endpoint",
        "_eof",
        "_made",
        "_paused",
        "_reading",
        "_scatters",
        "_settler",
        "_shut",
        "_sock",
        "_writes",
        "gone",
    )

    _base: asyncio.Transport
    _endpoint: Endpoint

    def __init__(
        self,
        sock: socket.socket,
        settler: Settler,
        made: Callable[[Transport, float], None],
        gone: Callable[[float], None],
    ) -> None:
        self._sock = sock  # for options and questions only: the loop reads and writes it
        self._settler = settler
        self._scatters = settler.scatters
        self._made = made
        self.gone = gone
        self._bound = False
        self._paused = False
        self._reading = True
        self._eof = False
        self._shut = False
        self._closing = Closing.NO
        self._writes = 0

    def bind(self, endpoint: Endpoint) -> None:
        """Give *endpoint* this transport: from here on it is in its lane."""
        self._endpoint = endpoint
        self._bound = True
        endpoint.driver = self
        endpoint.lane.attach(endpoint)

    def forget(self, now: float) -> None:
        """The loop gave it up while making it, and may say no more about it, or say it too late."""
        self._closing = Closing.ABORT
        if self._bound:
            self._end(Error(ErrorType.CONNECTION_CLOSED, _GIVEN_UP, esource=ErrorSource.INTERNAL), now)
        self.gone(now)

    def drop(self) -> None:
        """Nobody wants it any more: reset it."""
        self._closing = Closing.ABORT
        if self._sock.family != socket.AF_UNIX:
            with suppress(OSError):  # gone already
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._base.abort()

    # ── what the loop calls ──────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop's transport stands."""
        self._base = cast("asyncio.Transport", transport)
        if self._closing:
            self._base.abort()
            return
        self._base.set_write_buffer_limits(_HIGH_WATER, _LOW_WATER)
        now = monotonic()
        self._made(self, now)
        self._settler.settle(now)
        if not self._reading:
            # uvloop starts to read after this call, whatever was paused in it: it is told once more.
            self._settler.loop.call_soon(self._pause_again)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the loop is to read to: in between nothing else is read."""
        size = self._endpoint.read_size if self._bound else READ_SIZE
        buffer = self._settler.buffer
        return buffer if size >= READ_SIZE else buffer[:size]

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes from the peer."""
        now = monotonic()
        try:
            self._endpoint.receive_data(self._settler.buffer[:nbytes].tobytes(), now)
        except Exception as exc:
            contain(self._endpoint, exc, now)
        self._settler.settle(now)

    def eof_received(self) -> bool:
        """The peer shut its write side. The transport stays open: when it closes is the connection's decision."""
        # Neither loop watches the socket from here on, but reading that is resumed would report the end again.
        if not self._eof:
            self._eof = True
            now = monotonic()
            try:
                self._endpoint.receive_eof(now)
            except Exception as exc:
                contain(self._endpoint, exc, now)
            self._settler.settle(now)
        return True

    def pause_writing(self) -> None:
        """More than the high-water mark waits. Called from within a write in :meth:`serve`, or when the loop writes."""
        if not self._paused and self._bound:
            self._pause(monotonic())

    def resume_writing(self) -> None:
        """Less than the low-water mark waits."""
        if self._closing or not self._bound:
            return
        self._paused = False
        now = monotonic()
        try:
            self._endpoint.write_resumed(now)
        except Exception as exc:
            contain(self._endpoint, exc, now)
        self._settler.settle(now)

    def connection_lost(self, exc: Exception | None) -> None:
        """The loop's transport is closed; the socket will be after this call."""
        now = monotonic()
        try:
            if self._bound:
                self._lose(exc, now)
        except Exception as bug:
            contain(self._endpoint, bug, now)
        finally:
            self.gone(now)
            self._settler.settle(now)

    # ── what the lane runner calls ───────────────────────────────────────────────────

    def serve(self, now: float) -> None:
        """Write the output of the connection, and obey its flags."""
        try:
            self._obey(now)
        except OSError as exc:  # the kernel lets the loop watch no more
            self.fault(lost_error(exc), now)

    def unsent(self) -> int:
        """Bytes that the peer has not taken: ours, and the kernel's."""
        return self._base.get_write_buffer_size() + unsent_bytes(self._sock)

    def fault(self, error: Error | None, now: float) -> None:
        """End the transport by reset, and tell the endpoint why."""
        self.drop()
        self._end(error, now)

    # ── inside ───────────────────────────────────────────────────────────────────────

    def _obey(self, now: float) -> None:
        connection = self._endpoint.connection
        if chunks := connection.data_to_send():
            if len(chunks) == 1:
                self._base.write(chunks[0])
            elif self._scatters:
                self._base.writelines(chunks)
            else:
                self._base.write(b"".join(chunks))
            if connection.starved and not self._paused:
                self._writes += 1
                if self._writes % _TURN:
                    # It is enlisted by this: its flags are obeyed, and its new output is written, the next time round.
                    self._endpoint.flushed(now)
                    return
                self._settler.loop.call_soon(self._go_on)
        if connection.want_read is not self._reading:
            self._reading = connection.want_read
            if not self._eof:
                if self._reading:
                    self._base.resume_reading()
                else:
                    self._base.pause_reading()
        if connection.shut_write and not self._shut:
            self._shut = True
            with suppress(OSError):  # the peer is gone, as the next read will say
                self._base.write_eof()
        if connection.closing:
            self._close(connection.closing, now)

    def _close(self, closing: Closing, now: float) -> None:
        if closing is Closing.ABORT:
            self.fault(None, now)
        elif not self._closing:
            self._closing = closing
            self._base.close()  # once the loop has written what it still holds
            if not self._paused and self._base.get_write_buffer_size():
                self._pause(now)  # or nobody had a clock over a peer that does not read

    def _pause(self, now: float) -> None:
        self._paused = True
        self._endpoint.write_paused(now, self.unsent())
        self._settler.settle(now)

    def _pause_again(self) -> None:
        if not self._reading and not self._eof and not self._closing:
            self._base.pause_reading()

    def _go_on(self) -> None:
        """The others had their turn."""
        if self._bound and not self._paused and not self._closing:
            now = monotonic()
            try:
                self._endpoint.flushed(now)
            except Exception as exc:
                contain(self._endpoint, exc, now)
            self._settler.settle(now)

    def _lose(self, exc: Exception | None, now: float) -> None:
        if exc is None:
            self._end(None, now)
        elif not isinstance(exc, OSError):
            self._end(Error(ErrorType.INTERNAL_ERROR, _GIVEN_UP, cause=exc, esource=ErrorSource.INTERNAL), now)
        else:
            # An origin that answers early and closes makes our next write fail while its answer lies in the
            # socket, which either loop would close unread: what the peer said before it reset us is heard first.
            for _ in range(0 if self._eof or self._closing else _LAST_READS):
                try:
                    data = self._sock.recv(65_536)
                except OSError:
                    break
                if not data:
                    break
                self._endpoint.receive_data(data, now)
            self._end(lost_error(exc), now)

    def _end(self, error: Error | None, now: float) -> None:
        self._bound = False
        self._endpoint.transport_lost(error, now)
