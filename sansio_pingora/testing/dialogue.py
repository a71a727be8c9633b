r"""Scripts for connections: a test reads as a dialogue, and a mismatch shows where in it.

::

    Dialogue(Http1Server(0.0, Limits())) \
        .receives(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n") \
        .emits(Header(request, True)) \
        .sends(Header(ResponseHeader(204), True)) \
        .writes(b"HTTP/1.1 204 No Content\r\n\r\n") \
        .at(60.0).times_out() \
        .emits(ConnectionClosed) \
        .closes() \
        .ends()

Each step runs when it is called. What a connection emits and writes has to be claimed
before the next input: an unexpected event or byte is a failure, never overlooked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Self

from sansio_pingora.errors import Error, LocalProtocolError
from sansio_pingora.machine import Closing, Connection, Event
from sansio_pingora.wire import HttpTask

__all__ = ["Dialogue", "DialogueMismatch"]

Expected = Any
"""A value, its type, or a function that says whether the value is right; with a stream id before it in a tuple."""


class DialogueMismatch(AssertionError):
    """The connection did something else; the text is the dialogue so far, with the step marked."""


class Dialogue:
    """A conversation with *connection*, beginning at *now*."""

    def __init__(self, connection: Connection, *, now: float = 0.0, stream: int = 1) -> None:
        self.connection = connection
        self.now = now
        self.stream = stream
        """The stream of steps that name none."""
        self._events: list[Event] = []
        self._bytes = b""
        self._lines: list[str] = []

    # ── inputs ───────────────────────────────────────────────────────────────────────

    def receives(self, data: bytes) -> Self:
        """The transport delivers *data*."""
        return self._input(f"receives({data!r})", lambda: self.connection.receive_data(data, self.now))

    def receives_eof(self) -> Self:
        """The peer shuts its write side."""
        return self._input("receives_eof()", lambda: self.connection.receive_eof(self.now))

    def loses(self, reason: Error | None = None) -> Self:
        """The transport is gone."""
        return self._input(f"loses({reason!r})", lambda: self.connection.transport_lost(reason, self.now))

    def at(self, now: float) -> Self:
        """The time is *now* from here on."""
        if now < self.now:
            raise ValueError(f"time does not run backwards: it is {self.now} already")
        self.now = now
        self._lines.append(f"at({now})")
        return self

    def times_out(self) -> Self:
        """A deadline of the connection has come by now: it is told."""
        line = "times_out()"
        deadline = self.connection.deadline
        if deadline > self.now:
            self._fail(line, f"a deadline at {self.now} or before", f"{deadline} ({self.connection.next_reason()})")
        return self._input(line, lambda: self.connection.handle_timeout(self.now))

    def waits(self, until: float) -> Self:
        """The connection's deadline is exactly *until* (``math.inf`` for none)."""
        return self._state(f"waits({until})", self.connection.deadline, until)

    def pauses(self) -> Self:
        """The transport is above its high-water mark."""
        return self._input("pauses()", lambda: self.connection.write_paused(self.now))

    def resumes(self) -> Self:
        """The transport is below its low-water mark again."""
        return self._input("resumes()", lambda: self.connection.write_resumed(self.now))

    # ── the application's side ───────────────────────────────────────────────────────

    def opens(self) -> Self:
        """The application opens a stream; steps that name none mean it from here on."""

        def open_stream() -> None:
            stream = self.connection.open_stream(self.now)
            if stream is None:
                self._fail("opens()", "a stream", None)
            else:
                self.stream = stream

        return self._input("opens()", open_stream)

    def sends(self, task: HttpTask, *, stream: int | None = None, room: bool | None = None) -> Self:
        """The application sends *task*; *room*: whether there is room for more then."""
        line = f"sends({task!r})"

        def send() -> None:
            left = self.connection.send(stream or self.stream, task, self.now)
            if room is not None and room is not (left > 0):
                self._fail(line, "room left" if room else "no room left", left)

        return self._input(line, send)

    def may_not_send(self, task: HttpTask, *, stream: int | None = None) -> Self:
        """Sending *task* is the application's mistake."""
        line = f"may_not_send({task!r})"

        def send() -> None:
            try:
                self.connection.send(stream or self.stream, task, self.now)
            except LocalProtocolError:
                return
            self._fail(line, "LocalProtocolError", "it was taken")

        return self._input(line, send)

    def invites(self, *, stream: int | None = None) -> Self:
        """The application wants the body."""
        return self._input("invites()", lambda: self.connection.invite_body(stream or self.stream, self.now))

    def consumes(self, size: int, *, stream: int | None = None) -> Self:
        """The application has used *size* bytes."""
        return self._input(f"consumes({size})", lambda: self.connection.consumed(stream or self.stream, size, self.now))

    def drains(self) -> Self:
        """The application announces the end."""
        return self._input("drains()", lambda: self.connection.drain(self.now))

    def aborts(self) -> Self:
        """The application gives the connection up."""
        return self._input("aborts()", lambda: self.connection.abort(self.now))

    # ── expectations ─────────────────────────────────────────────────────────────────

    def emits(self, *expected: Expected) -> Self:
        """These events come next, in this order."""
        line = f"emits({', '.join(map(_show, expected))})"
        for want in expected:
            stream, wanted = want if isinstance(want, tuple) else (None, want)
            if not self._events:
                self._fail(line, _show(want), "no event")
            got_stream, got = self._events.pop(0)
            if (stream is not None and stream != got_stream) or not _matches(wanted, got):
                self._fail(line, _show(want), (got_stream, got))
        self._lines.append(line)
        return self

    def writes(self, expected: bytes | re.Pattern[bytes]) -> Self:
        """These bytes come next (a pattern: at the beginning of what is left)."""
        line = f"writes({expected!r})"
        self._take_bytes()
        if isinstance(expected, bytes):
            if not self._bytes.startswith(expected):
                self._fail(line, expected, self._bytes)
            self._bytes = self._bytes[len(expected) :]
        else:
            match = expected.match(self._bytes)
            if match is None:
                self._fail(line, expected.pattern, self._bytes)
            else:
                self._bytes = self._bytes[match.end() :]
        self._lines.append(line)
        return self

    def reads(self, flag: bool = True) -> Self:
        """Whether the connection wants to read."""
        return self._state(f"reads({flag})", self.connection.want_read, flag)

    def shuts_write(self, flag: bool = True) -> Self:
        """Whether the connection shuts its write side."""
        return self._state(f"shuts_write({flag})", self.connection.shut_write, flag)

    def closes(self, how: Closing = Closing.AFTER_FLUSH) -> Self:
        """The connection is to be closed."""
        return self._state(f"closes({how.name})", self.connection.closing, how)

    def stays_open(self) -> Self:
        """The connection is not to be closed."""
        return self._state("stays_open()", self.connection.closing, Closing.NO)

    def ends(self) -> None:
        """Nothing is left that no step has claimed."""
        self._nothing_left("ends()")

    # ── inside ───────────────────────────────────────────────────────────────────────

    def _input(self, line: str, call: Callable[[], list[Event] | None]) -> Self:
        self._nothing_left(line)
        events = call()
        self._lines.append(line)
        if events:
            self._events.extend(events)
        return self

    def _state(self, line: str, got: object, expected: object) -> Self:
        if got != expected:
            self._fail(line, expected, got)
        self._lines.append(line)
        return self

    def _take_bytes(self) -> None:
        self._bytes += b"".join(self.connection.data_to_send())

    def _nothing_left(self, line: str) -> None:
        self._take_bytes()
        if self._events:
            self._fail(line, "no more events before this", self._events[0])
        if self._bytes:
            self._fail(line, "no more bytes before this", self._bytes)

    def _fail(self, line: str, expected: object, got: object) -> None:
        raise DialogueMismatch(
            "\n".join(
                [
                    "the dialogue went differently:",
                    *(f"      {done}" for done in self._lines),
                    f"  --> {line}",
                    f"        expected: {_show(expected)}",
                    f"        got:      {_show(got)}",
                    f"        the connection: {self.connection!r}, now {self.now}",
                ]
            )
        )


def _show(value: object) -> str:
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, str):
        return value
    return getattr(value, "__name__", None) or repr(value)


def _matches(wanted: Expected, got: object) -> bool:
    if isinstance(wanted, type):
        return isinstance(got, wanted)
    if isinstance(wanted, HttpTask):
        return wanted == got
    if callable(wanted):
        return bool(wanted(got))
    return bool(wanted == got) or (type(wanted) is type(got) and repr(wanted) == repr(got))
