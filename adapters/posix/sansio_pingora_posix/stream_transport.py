"""A non-blocking socket below an endpoint: the data path of every runtime that drives sockets by readiness."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable
from itertools import islice
from time import monotonic
from typing import Protocol

from sansio_pingora.errors import Error
from sansio_pingora.machine import Closing, Endpoint
from sansio_pingora.wire import join_piece
from sansio_pingora_posix.faults import lost_error
from sansio_pingora_posix.lane_runner import contain
from sansio_pingora_posix.socket_options import unsent_bytes

__all__ = ["Poller", "StreamTransport", "Watched"]

_READ_SIZE = 65_536
"""Bytes read at a wake-up, at most."""
_HIGH_WATER = 65_536
_LOW_WATER = 16_384
_JOIN_UP_TO = 16_384
"""Chunks of fewer bytes in all are copied into one: cheaper than a scatter list."""
_SLICES = 64
"""In one scatter list; Pingora's figure, and far below IOV_MAX."""
_TURN = 8
"""Writes in a row, of 64 KiB or so each, before a fast reader of an endless body lets others have a turn."""
_LAST_READS = 16
"""Reads after a failed write: so 1 MiB of an early answer are heard, whatever the back-pressure."""
_RESET = struct.pack("ii", 1, 0)
_CLOSE_AT_ONCE = Closing.ABORT


class Watched(Protocol):
    """What a poller wakes."""

    def on_readable(self, now: float) -> None:
        """The socket can be read."""

    def on_writable(self, now: float) -> None:
        """The socket can be written."""

    def on_bug(self, exc: Exception, now: float) -> None:
        """One of the two raised *exc*."""


class Poller(Protocol):
    """Readiness, as a runtime supplies it."""

    def watch(self, sock: socket.socket, read: bool, write: bool, watched: Watched) -> None:
        """Wake *watched* when *sock* is ready for what is wanted, over and over; both False is none."""

    def forget(self, sock: socket.socket) -> None:
        """Watch *sock* no more, before it is closed; one that is not watched is nothing."""


class StreamTransport:
    """Carries bytes between a connected non-blocking socket and an endpoint, and obeys its flags.

    Writes first and waits for room only when something is left over. Reading and writing know
    nothing of each other: a blocked write does not stop the reading.
    """

    __slots__ = (
        "_endpoint",
        "_eof",
        "_on_closed",
        "_paused",
        "_poller",
        "_queue",
        "_queued",
        "_reading",
        "_shut",
        "_sock",
        "_writes",
        "_writing",
    )

    def __init__(
        self,
        sock: socket.socket,
        endpoint: Endpoint,
        poller: Poller,
        on_closed: Callable[[float], None] | None = None,
    ) -> None:
        self._sock = sock
        self._endpoint = endpoint
        self._poller = poller
        self._on_closed = on_closed
        self._queue: deque[bytes | memoryview] | None = None  # an empty one takes 760 bytes, on every idle connection
        self._queued = 0
        self._reading = False
        self._writing = False
        self._paused = False
        self._eof = False
        self._shut = False
        self._writes = 0

    # ── input ────────────────────────────────────────────────────────────────────────

    def on_readable(self, now: float) -> None:
        """Read once, so that a fast peer does not starve the others, and hand it up. Settle the lane afterwards."""
        try:
            data = self._sock.recv(min(self._endpoint.read_size, _READ_SIZE))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._end(lost_error(exc, writing=False), now)
            return
        if data:
            self._endpoint.receive_data(data, now)
        elif not self._eof:
            self._eof = True
            self._endpoint.receive_eof(now)

    def on_writable(self, now: float) -> None:
        """Write what is left over. Settle the lane afterwards."""
        if not self._flush(now):
            return
        if self._paused and self._queued < _LOW_WATER and not self._endpoint.connection.closing:
            self._paused = False
            self._endpoint.write_resumed(now)
        self._endpoint.lane.enlist(self._endpoint)

    def on_bug(self, exc: Exception, now: float) -> None:
        """A machine broke down over input of this transport."""
        contain(self._endpoint, exc, now)

    # ── what the lane runner calls ───────────────────────────────────────────────────

    def serve(self, now: float) -> None:
        """Write the output of the connection, and obey its flags."""
        connection = self._endpoint.connection
        chunks = connection.data_to_send()
        if chunks and not self._put(chunks, now):
            return
        queue = self._queue
        yields = False
        if queue and not self._paused and (self._queued > _HIGH_WATER or connection.closing):
            # On the way to the close as well: or nobody had a clock over a peer that does not read.
            self._paused = True
            self._endpoint.write_paused(now, self.unsent())
        elif connection.starved and not self._paused:
            self._writes += 1
            if self._writes % _TURN:
                # It is enlisted by this: its new output is written, and its flags are obeyed, the next time round.
                self._endpoint.flushed(now)
                return
            # Not by waiting until it can be written: a kernel that is nearly full says so late, and no clock runs.
            self._endpoint.lane.post(self._go_on)
            yields = True
        if connection.closing:
            if connection.closing == _CLOSE_AT_ONCE:
                self._abort(None, now)
                return
            if not queue and not yields:
                self._end(None, now)
                return
        if connection.shut_write and not queue and not yields and not self._shut:
            self._shut = True
            with contextlib.suppress(OSError):  # the peer is gone, as the next read will say
                self._sock.shutdown(socket.SHUT_WR)
        read = connection.want_read and not self._eof
        write = bool(queue)
        if read is not self._reading or write is not self._writing:
            self._reading = read
            self._writing = write
            try:
                self._poller.watch(self._sock, read, write, self)
            except OSError as exc:  # the kernel has no memory, or no place, for one more
                self._end(lost_error(exc, writing=False), now)

    def unsent(self) -> int:
        """Bytes that the peer has not taken: ours, and the kernel's."""
        return self._queued + unsent_bytes(self._sock)

    def fault(self, error: Error, now: float) -> None:
        """End the transport by reset, and tell the endpoint why."""
        self._abort(error, now)

    # ── inside ───────────────────────────────────────────────────────────────────────

    def _go_on(self) -> None:
        """The others had their turn."""
        if self._sock.fileno() != -1 and not self._paused:
            now = monotonic()
            try:
                self._endpoint.flushed(now)
            except Exception as exc:
                contain(self._endpoint, exc, now)

    def _put(self, chunks: list[bytes], now: float) -> bool:
        """Write *chunks* as far as the kernel takes them and queue the rest; False when the transport was lost."""
        if self._queue is not None:  # the kernel is full, and its readiness is watched
            for chunk in chunks:
                join_piece(self._queue, chunk)
            self._queued += sum(map(len, chunks))
            return True
        if len(chunks) > 1:
            size = sum(map(len, chunks))
            if size > _JOIN_UP_TO:
                self._queue = deque(chunks)
                self._queued = size
                return self._flush(now)
            data = b"".join(chunks)
        else:
            data = chunks[0]
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as exc:
            self._break(exc, now)
            return False
        if sent != len(data):
            self._queue = deque((memoryview(data)[sent:],))
            self._queued = len(data) - sent
        return True

    def _flush(self, now: float) -> bool:
        """Write the queue as far as the kernel takes it; False when the transport was lost."""
        queue = self._queue
        while queue:
            try:
                sent = self._sock.sendmsg(list(islice(queue, _SLICES)))
            except (BlockingIOError, InterruptedError):
                return True
            except OSError as exc:
                self._break(exc, now)
                return False
            self._queued -= sent
            while queue and sent >= len(queue[0]):
                sent -= len(queue.popleft())
            if sent:
                queue[0] = memoryview(queue[0])[sent:]
                return True  # it took less than it was offered: there is no more room
        self._queue = None
        return True

    def _break(self, exc: OSError, now: float) -> None:
        """A write failed. What the peer said before it reset us is heard first: it may be an early answer."""
        for _ in range(0 if self._eof else _LAST_READS):
            try:
                data = self._sock.recv(_READ_SIZE)
            except OSError:
                break
            if not data:
                break
            self._endpoint.receive_data(data, now)
        self._end(lost_error(exc, writing=True), now)

    def _abort(self, error: Error | None, now: float) -> None:
        """Close so that the peer sees a reset, where the transport can do that."""
        if self._sock.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._end(error, now)

    def _end(self, error: Error | None, now: float) -> None:
        if self._sock.fileno() == -1:
            return
        self._poller.forget(self._sock)
        with contextlib.suppress(OSError):  # the descriptor is gone all the same, and the endpoint is to hear of it
            self._sock.close()
        self._queue = None
        self._queued = 0
        try:
            self._endpoint.transport_lost(error, now)
        finally:
            if self._on_closed is not None:
                self._on_closed(now)
