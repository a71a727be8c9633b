"""Small machines that keep the contracts, to try the simulator on."""

from __future__ import annotations

import math
from typing import Any

from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, ConnectionClosed, Endpoint, Lane
from sansio_pingora.wire import Body


class FakeConnection:
    """A byte stream without a protocol: every read is a Body of stream 1."""

    version = b"1.1"

    def __init__(self) -> None:
        self.endpoint: Endpoint | None = None
        self.deadline = math.inf
        self.want_read = True
        self.shut_write = False
        self.closing = Closing.NO
        self.starved = False
        self.stalled = False
        self.held = 0
        self.out: list[bytes] = []
        self.calls: list[str] = []

    def receive_data(self, data, now):
        return [(1, Body(data))] if data else self.receive_eof(now)

    def receive_eof(self, now):
        self.calls.append("eof")
        self.closing = Closing.AFTER_FLUSH
        self.deadline = math.inf
        return [(0, ConnectionClosed(None))]

    def transport_lost(self, reason, now):
        self.calls.append("closed" if reason is None else "lost")
        self.deadline = math.inf
        return []

    def handle_timeout(self, now):
        if now >= self.deadline:
            self.calls.append("timed out")
            self.deadline = math.inf
            self.closing = Closing.ABORT
        return []

    def data_to_send(self):
        out, self.out = self.out, []
        return out

    def write_paused(self, now):
        self.calls.append("paused")

    def write_resumed(self, now):
        self.calls.append("resumed")
        return []

    def write_progressed(self, now):
        self.calls.append("progressed")

    def open_stream(self, now):
        return 1

    def send(self, stream_id, task, now):
        self.out.append(task.data)
        self.endpoint.lane.enlist(self.endpoint)
        return 1

    def invite_body(self, stream_id, now):
        pass

    def consumed(self, stream_id, size, now):
        pass

    def drain(self, now):
        self.closing = Closing.AFTER_FLUSH

    def abort(self, now):
        self.closing = Closing.ABORT

    def next_reason(self):
        return "idle_timeout"


class Receiver:
    """Gets events and does what *on_body* says."""

    def __init__(self, on_body=None) -> None:
        self.events: list[tuple[int, Any]] = []
        self.on_body = on_body

    def receive_event(self, stream_id, value, now):
        self.events.append((stream_id, value))
        if self.on_body is not None and isinstance(value, Body):
            self.on_body(value, now)


class FakeCoordinator:
    """Gives commands and remembers the answers."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.deadline = math.inf
        self.listed = False
        self.armed = math.inf
        self.commands: list[Any] = []
        self.answers: list[tuple[float, str, int, Any]] = []

    def give(self, *commands):
        self.commands += commands
        self.lane.enlist(self)

    def take_commands(self):
        commands, self.commands = self.commands, []
        return commands

    def resume(self, token, value, now):
        self.answers.append((now, "resume", token, value))

    def fail(self, token, error, now):
        self.answers.append((now, "fail", token, error))

    def handle_timeout(self, now):
        self.answers.append((now, "timeout", 0, None))
        self.deadline = math.inf


class Echo:
    """An application that sends back what it gets; connections live for *lifetime* seconds."""

    def __init__(self, lifetime: float = 100.0, connection: type[FakeConnection] = FakeConnection) -> None:
        self.limits = Limits()
        self.lifetime = lifetime
        self.connection = connection
        self.accepted: list[FakeConnection] = []

    def open(self, lane, now, wall):
        self.lane = lane
        self.coordinator = FakeCoordinator(lane)
        return self

    def accept(self, info, now):
        connection = self.connection()
        connection.deadline = now + self.lifetime
        self.accepted.append(connection)
        return Endpoint(self.lane, connection, Receiver(lambda body, at: connection.send(1, body, at)), info)

    def drain(self, now):
        for connection in self.accepted:
            connection.drain(now)
            self.lane.enlist(connection.endpoint)

    def check(self, runtime, *, can_await):
        pass
