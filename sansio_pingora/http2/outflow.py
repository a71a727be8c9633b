"""What waits to be sent: a queue per stream, the windows over them, and whose turn it is.

Memory is charged to the connection: ``pending`` is all that waits, whatever stream it is for.
A turn is one frame. Streams of the lowest urgency go first (RFC 9218 section 10); among them an
incremental one goes to the end of the line behind its frame, another keeps its place.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from sansio_pingora.http2.codes import ConnectionFault, ErrorCode, StreamFault
from sansio_pingora.http2.frames import DATA, END_STREAM, FRAME_HEADER
from sansio_pingora.http2.stream import Stream
from sansio_pingora.wire import join_piece

__all__ = ["MAX_WINDOW", "Outflow"]

MAX_WINDOW = 2**31 - 1


class Outflow:
    """The sending side of one connection."""

    __slots__ = ("_lines", "blocked", "pending", "window")

    def __init__(self) -> None:
        self.window = 65_535
        """The connection's window: what the peer still takes, over all streams."""
        self.pending = 0
        """Bytes that wait, over all streams."""
        self.blocked: list[Stream] = []
        """Streams that used their own window up since somebody last looked."""
        self._lines: dict[int, OrderedDict[Stream, None]] = {}

    @property
    def ready(self) -> bool:
        """Something waits that may be sent now."""
        return self.window > 0 and bool(self._lines)

    def push(self, stream: Stream, data: bytes) -> None:
        """Queue *data*, which is not empty, behind what waits on *stream*."""
        if stream.queue is None:
            stream.queue = deque((data,))
            if stream.send_window > 0:
                self._line_up(stream)
        else:
            join_piece(stream.queue, data)
        stream.pending += len(data)
        self.pending += len(data)

    def drop(self, stream: Stream) -> None:
        """Forget what waits on *stream*."""
        if stream.queue is not None:
            self.pending -= stream.pending
            stream.queue = None
            stream.pending = stream.offset = 0
            self._leave(stream)

    def grant(self, increment: int) -> None:
        """The peer takes more on the connection.

        :raises ConnectionFault: more than a window can hold.
        """
        self.window += increment
        if self.window > MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a connection window above 2^31-1")

    def grant_stream(self, stream: Stream, increment: int) -> None:
        """The peer takes more on *stream*; less, where its initial window was lowered.

        :raises StreamFault: more than a window can hold.
        """
        stream.send_window += increment
        if stream.send_window > MAX_WINDOW:
            raise StreamFault(stream.id, ErrorCode.FLOW_CONTROL_ERROR, "a stream window above 2^31-1")
        if stream.queue is None:
            return
        if stream.send_window > 0:
            self._line_up(stream)
        else:
            self._leave(stream)

    def reprioritise(self, stream: Stream, urgency: int, incremental: bool) -> None:
        """The peer changed its mind about *stream* (RFC 9218 section 7)."""
        lined_up = stream in self._lines.get(stream.urgency, ())
        self._leave(stream)
        stream.urgency = urgency
        stream.incremental = incremental
        if lined_up:
            self._line_up(stream)

    def take(self, out: list[bytes], budget: int, max_frame: int) -> list[Stream]:
        """Move frames into *out* until about *budget* bytes, or the windows, are used up.

        Returns the streams whose queue is empty now: their end goes out behind it. The frame that
        empties a queue ends the stream where no trailers follow.
        """
        emptied = []
        lines = self._lines
        while budget > 0 and self.window > 0 and lines:
            urgency = min(lines) if len(lines) > 1 else next(iter(lines))
            line = lines[urgency]
            stream = next(iter(line))
            size = self._take_frame(stream, out, max_frame)
            budget -= size
            if stream.queue is None:
                emptied.append(stream)
                self._leave(stream)
            elif stream.send_window <= 0:
                self._leave(stream)
                self.blocked.append(stream)
            elif stream.incremental and len(line) > 1:
                line.move_to_end(stream)
        return emptied

    def _take_frame(self, stream: Stream, out: list[bytes], max_frame: int) -> int:
        queue = stream.queue
        assert queue is not None  # it is in line
        room = min(stream.send_window, self.window, max_frame)
        data = queue[0]
        at = stream.offset
        size = len(data) - at
        if size > room:
            size = room
            stream.offset = at + room
            data = data[at : at + room]
        else:
            queue.popleft()
            if at:
                data = data[at:]
                stream.offset = 0
        flags = 0
        if not queue:
            stream.queue = None
            if stream.ending and stream.trailers is None:
                flags = END_STREAM
        out += (FRAME_HEADER.pack(size >> 8, size & 0xFF, DATA, flags, stream.id), data)
        stream.send_window -= size
        stream.pending -= size
        stream.progress += size
        self.window -= size
        self.pending -= size
        return size

    def _line_up(self, stream: Stream) -> None:
        line = self._lines.get(stream.urgency)
        if line is None:
            line = self._lines[stream.urgency] = OrderedDict()
        line[stream] = None

    def _leave(self, stream: Stream) -> None:
        line = self._lines.get(stream.urgency)
        if line is not None and stream in line:
            del line[stream]
            if not line:
                del self._lines[stream.urgency]
