"""The smallest machines that keep the contracts: raw bytes, an echo, and an application around them."""

import math

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, ConnectionClosed, Endpoint, RunFilter, StopFilters, Writable
from sansio_pingora.wire import UpgradedBody

HIGH_WATER = 65_536


class RawConnection:
    """Bytes in, bytes out, with credit both ways; stream 1 is all there is."""

    def __init__(self, write_timeout=math.inf, read_timeout=math.inf):
        self.endpoint = None
        self.deadline = math.inf
        self.want_read = True
        self.shut_write = False
        self.closing = Closing.NO
        self.starved = False
        self.stalled = False
        self.write_timeout = write_timeout
        self.read_timeout = read_timeout
        self.paused = 0
        self.resumed = 0
        self.received = 0
        self._held = 0
        self._out = []
        self._queued = 0

    def set_deadline(self, now):
        self.deadline = now + (self.write_timeout if self.stalled else self.read_timeout)
        self._enlist()

    def receive_data(self, data, now):
        if not data:
            return self.receive_eof(now)
        self.received += len(data)
        self._held += len(data)
        self.want_read = self._held < HIGH_WATER
        if not self.stalled:
            self.deadline = now + self.read_timeout
        return [(1, UpgradedBody(data))]

    def receive_eof(self, now):
        return [(1, UpgradedBody(b"", end=True))]

    def transport_lost(self, reason, now):
        self.deadline = math.inf
        return [(0, ConnectionClosed(reason))]

    def handle_timeout(self, now):
        if now >= self.deadline:
            self.deadline = math.inf
            self.closing = Closing.ABORT
        return []

    def data_to_send(self):
        out, self._out = self._out, []
        self._queued = 0
        return out

    def write_paused(self, now):
        self.paused += 1
        self.stalled = True
        self.deadline = now + self.write_timeout

    def write_progressed(self, now):
        self.deadline = now + self.write_timeout

    def write_resumed(self, now):
        self.resumed += self.stalled
        self.stalled = False
        self.deadline = now + self.read_timeout
        if not self.starved:
            return []
        self.starved = False
        return [(1, Writable(HIGH_WATER))]

    def open_stream(self, now):
        return 1

    def send(self, stream_id, task, now):
        if task.data:
            self._out.append(task.data)
            self._queued += len(task.data)
        if task.end:
            self.shut_write = True
        self._enlist()
        room = 0 if self.stalled else HIGH_WATER - self._queued
        self.starved = room <= 0
        return room

    def invite_body(self, stream_id, now):
        pass

    def consumed(self, stream_id, size, now):
        self._held -= size
        self.want_read = self._held < HIGH_WATER
        self._enlist()

    def drain(self, now):
        self.close(Closing.AFTER_FLUSH)

    def abort(self, now):
        self.close(Closing.ABORT)

    def close(self, closing):
        self.closing = closing
        self._enlist()

    def next_reason(self):
        return "idle"

    def _enlist(self):
        if self.endpoint is not None:
            self.endpoint.lane.enlist(self.endpoint)


class Echo:
    """Sends back what comes; holds what finds no room, and its credit with it."""

    def __init__(self, connection):
        self.connection = connection
        self.closed = []
        self._held = []
        self._blocked = False

    def receive_event(self, stream_id, value, now):
        if isinstance(value, UpgradedBody):
            self._held.append(value)
        elif isinstance(value, Writable):
            self._blocked = False
        elif isinstance(value, ConnectionClosed):
            self.closed.append(value.error)
            return
        while self._held and not self._blocked:
            body = self._held.pop(0)
            self._blocked = self.connection.send(1, body, now) <= 0
            self.connection.consumed(1, len(body.data), now)
            if body.end:
                self.connection.close(Closing.AFTER_FLUSH)


class Application:
    """Gives each transport a raw connection and a receiver made by *receiver(connection)*."""

    def __init__(self, receiver=Echo, *, limits=None, **timeouts):
        self.limits = Limits() if limits is None else limits
        self.receiver = receiver
        self.timeouts = timeouts
        self.endpoints = []
        self.lanes = []

    def check(self, runtime, *, can_await):
        self.checked = runtime, can_await

    def open(self, lane, now, wall):
        self.lanes.append(lane)
        return Acceptor(self, lane)


class Acceptor:
    def __init__(self, application, lane):
        self.application = application
        self.lane = lane

    def accept(self, info, now):
        connection = RawConnection(**self.application.timeouts)
        connection.deadline = now + connection.read_timeout
        endpoint = Endpoint(self.lane, connection, self.application.receiver(connection), info)
        self.application.endpoints.append(endpoint)
        return endpoint

    def take_leave(self, now):
        pass

    def drain(self, now):
        for endpoint in self.lane.endpoints:
            endpoint.connection.drain(now)


class Asker:
    """A coordinator that runs calls off the lane and keeps the answers."""

    def __init__(self, lane, calls=()):
        self.lane = lane
        self.deadline = math.inf
        self.listed = False
        self.armed = math.inf
        self.answers = {}
        self.timeouts = []
        self.commands = []
        for call in calls:
            self.ask(call)

    def ask(self, call):
        token = len(self.commands) + len(self.answers) + 1
        self.give(RunFilter(token, call))
        return token

    def give(self, command):
        self.commands.append(command)
        self.lane.enlist(self)

    def stop_filters(self):
        self.give(StopFilters())

    def take_commands(self):
        commands, self.commands = self.commands, []
        return commands

    def resume(self, token, value, now):
        self.answers[token] = value

    def fail(self, token, error, now):
        assert isinstance(error, Error)
        self.answers[token] = error

    def handle_timeout(self, now):
        if now >= self.deadline:
            self.timeouts.append(self.deadline)
            self.deadline = math.inf


INTERNAL = ErrorType.INTERNAL_ERROR
