"""Small machines for the tests of the adapter, and what serves them."""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

from sansio_pingora.limits import Limits
from sansio_pingora.listeners import ServerAddress
from sansio_pingora.machine import Closing, Dial, Endpoint, Lane, RunFilter
from sansio_pingora.transport import SocketAddr
from sansio_pingora_asyncio import run, serve
from sansio_pingora_posix import Control

WAIT = 20.0
"""Seconds until a test gives up; none waits that long when it passes."""


class Wire:
    """A connection that writes down what happens to it; subclasses and tests say what it does."""

    def __init__(self) -> None:
        self.endpoint: Endpoint | None = None
        self.deadline = math.inf
        self.want_read = True
        self.shut_write = False
        self.closing = Closing.NO
        self.starved = False
        self.stalled = False
        self.out: list[bytes] = []
        self.seen: list[tuple[Any, ...]] = []
        self.received = bytearray()
        self.lost = threading.Event()
        self.reason: Any = "not lost"

    def say(self, data: bytes) -> None:
        self.out.append(data)
        self.changed()

    def changed(self) -> None:
        self.endpoint.lane.enlist(self.endpoint)

    def names(self) -> list[str]:
        return [entry[0] for entry in self.seen]

    # ── the contract ─────────────────────────────────────────────────────────────────

    def receive_data(self, data, now):
        self.received += data
        return []

    def receive_eof(self, now):
        self.seen.append(("eof",))
        self.closing = Closing.AFTER_FLUSH
        return []

    def transport_lost(self, reason, now):
        self.seen.append(("lost", reason))
        self.deadline = math.inf
        self.reason = reason
        self.lost.set()
        return []

    def handle_timeout(self, now):
        if now >= self.deadline:
            self.seen.append(("timeout",))
            self.deadline = math.inf
            self.closing = Closing.ABORT
        return []

    def data_to_send(self):
        out, self.out = self.out, []
        return out

    def write_paused(self, now):
        self.seen.append(("paused",))

    def write_resumed(self, now):
        self.seen.append(("resumed",))
        return []

    def write_progressed(self, now):
        self.seen.append(("progressed",))

    def drain(self, now):
        self.seen.append(("drain",))
        self.closing = Closing.AFTER_FLUSH

    def abort(self, now):
        self.seen.append(("abort",))
        self.closing = Closing.ABORT


class Echo(Wire):
    """Sends back what it gets; while it cannot write, it does not read."""

    def receive_data(self, data, now):
        self.out.append(data)
        return []

    def write_paused(self, now):
        super().write_paused(now)
        self.want_read = False

    def write_resumed(self, now):
        self.want_read = True
        return super().write_resumed(now)


class Nobody:
    """A receiver without interest."""

    def receive_event(self, stream_id, value, now):
        pass


class App:
    """An application whose every transport gets a connection of *factory*; it keeps them."""

    def __init__(self, factory: Callable[[], Wire] = Wire, **limits: Any) -> None:
        self.limits = Limits(**limits)
        self.factory = factory
        self.connections: list[Wire] = []
        self.accepted = threading.Semaphore(0)
        self.lane: Lane | None = None
        self.drained = 0

    def open(self, lane, now, wall):
        self.lane = lane
        return self

    def check(self, runtime, *, can_await):
        assert (runtime, can_await) == ("asyncio", True)

    def accept(self, info, now):
        connection = self.factory()
        self.connections.append(connection)
        self.accepted.release()
        return Endpoint(self.lane, connection, Nobody(), info)

    def take_leave(self, now):
        pass

    def drain(self, now):
        self.drained += 1
        for connection in self.connections:
            if not connection.lost.is_set():
                connection.drain(now)
                connection.changed()

    def first(self) -> Wire:
        """The connection that was accepted next, from the test's thread."""
        assert self.accepted.acquire(timeout=WAIT)
        return self.connections[-1]


class Served:
    """A server in a thread."""

    def __init__(self, app: App, control: Control, thread: threading.Thread, failures: list[BaseException]) -> None:
        self.app = app
        self.control = control
        self.thread = thread
        self.failures = failures

    @property
    def address(self) -> SocketAddr:
        return SocketAddr.parse(self.control.addresses[0])

    def connect(self, *, rcvbuf: int | None = None) -> socket.socket:
        address = self.address
        unix = address.path is not None
        sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        sock.settimeout(WAIT)
        if rcvbuf is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        try:
            sock.connect(address.path if unix else (address.host, address.port))
        except BaseException:
            sock.close()
            raise
        return sock

    def end(self, *, graceful: bool) -> None:
        self.control.stop(graceful=graceful)
        self.thread.join(WAIT)
        assert not self.thread.is_alive()


@contextlib.contextmanager
def served(app: App, address: str | ServerAddress = "127.0.0.1:0", **options: Any) -> Iterator[Served]:
    """*app* on *address*, stopped at once at the end unless it has ended already."""
    where = ServerAddress.parse(address) if isinstance(address, str) else address
    control = Control()
    failures: list[BaseException] = []

    def main() -> None:
        try:
            serve(app, [where], control=control, **options)
        except BaseException as exc:
            failures.append(exc)

    thread = threading.Thread(target=main)
    thread.start()
    try:
        assert control.ready.wait(WAIT), failures
        yield Served(app, control, thread, failures)
    finally:
        control.stop(graceful=False)
        thread.join(WAIT)
    assert not thread.is_alive()
    assert failures == []


def reset(sock: socket.socket) -> None:
    """Close so that the other side sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_all(sock: socket.socket) -> bytes:
    """Everything until the end."""
    chunks = []
    while data := sock.recv(65_536):
        chunks.append(data)
    return b"".join(chunks)


class Client(Wire):
    """A connection of our own making: says *hello* once connected, and keeps what it hears until the end."""

    def __init__(self, hello: bytes = b"") -> None:
        super().__init__()
        if hello:
            self.out.append(hello)


class Steps:
    """A coordinator whose story is a generator: it yields commands, and gets an answer for those that have one.

    An answer is the value, or the :class:`Error`; ``answers`` keeps them all.
    """

    def __init__(self, story: Callable[[Steps], Any]) -> None:
        self.deadline = math.inf
        self.listed = False
        self.armed = math.inf
        self.lane: Lane | None = None
        self.commands: list[Any] = []
        self.answers: list[tuple[int, Any]] = []
        self._story = story(self)
        self._failure: Exception | None = None

    def run(self, uvloop: bool) -> None:
        """Run the story by itself to its end. What is wrong in it is raised here: the adapter would log it and go on."""
        run(self.start, uvloop=uvloop)
        self.check()

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def start(self, lane: Lane, now: float) -> None:
        self.lane = lane
        self.go(None)

    def go(self, value: Any) -> None:
        """On with the story, up to the next command that is answered (or a None, to wait for anything)."""
        try:
            command = self._story.send(value)
            while command is not None:
                self.commands.append(command)
                if isinstance(command, Dial | RunFilter):
                    break
                command = self._story.send(None)
        except StopIteration:
            pass
        except Exception as exc:
            self._failure = exc
        self.lane.enlist(self)

    def endpoint(self, connection: Wire) -> Endpoint:
        return Endpoint(self.lane, connection, Nobody())

    def take_commands(self):
        commands, self.commands = self.commands, []
        return commands

    def resume(self, token, value, now):
        self.answers.append((token, value))
        self.go(value)

    def fail(self, token, error, now):
        self.answers.append((token, error))
        self.go(error)

    def handle_timeout(self, now):
        if now >= self.deadline:
            self.deadline = math.inf
            self.go("timeout")
