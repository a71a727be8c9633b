"""Bytes, back-pressure, ends and faults of one transport, over real sockets."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.machine import Closing, Writable
from tests.asyncio_adapter.machines import WAIT, App, Echo, Wire, read_all, reset, served

PAYLOAD = bytes(range(256)) * 4_096 * 8
"""8 MiB: more than both kernels' buffers take."""


@pytest.fixture(params=["127.0.0.1:0", "unix"])
def address(request, tmp_path):
    return f"unix:{tmp_path}/socket" if request.param == "unix" else request.param


def test_echo(uv, address):
    with served(App(Echo), address, uvloop=uv) as server, server.connect() as sock:
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""


def test_echo_of_more_than_the_buffers_hold(uv, address):
    """The machine stops reading while it cannot write; nothing is lost and nothing stands still."""
    app = App(Echo)
    with served(app, address, uvloop=uv) as server, server.connect() as sock:
        writer = threading.Thread(target=lambda: (sock.sendall(PAYLOAD), sock.shutdown(socket.SHUT_WR)))
        writer.start()
        assert app.first() is not None
        first = sock.recv(1)
        assert first + read_all(sock) == PAYLOAD
        writer.join(WAIT)


def test_chunks_are_written_in_order(uv):
    class Many(Wire):
        def receive_data(self, data, now):
            self.out += [b"a", b"b" * 40_000, b"", b"c"]
            return []

    with served(App(Many), uvloop=uv) as server, server.connect() as sock:
        sock.sendall(b"go")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"a" + b"b" * 40_000 + b"c"


class Flood(Wire):
    """Writes 8 MiB at once when asked, and goes on reading."""

    def __init__(self):
        super().__init__()
        self.paused = threading.Event()
        self.resumed = threading.Event()
        self.heard = threading.Event()

    def receive_data(self, data, now):
        super().receive_data(data, now)
        if data == b"flood":
            self.out.append(PAYLOAD)
        else:
            self.heard.set()
        return []

    def write_paused(self, now):
        self.paused.set()

    def write_resumed(self, now):
        self.resumed.set()
        return []


def test_reading_goes_on_while_writing_is_paused(uv):
    app = App(Flood)
    with served(app, uvloop=uv) as server, server.connect(rcvbuf=8_192) as sock:
        sock.sendall(b"flood")
        wire = app.first()
        assert wire.paused.wait(WAIT)
        sock.sendall(b"still there?")
        assert wire.heard.wait(WAIT)
        assert not wire.resumed.is_set()
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == PAYLOAD
        assert wire.resumed.is_set() or wire.closing


def test_a_slow_reader_is_seen_to_resume(uv):
    app = App(Flood)
    with served(app, uvloop=uv) as server, server.connect(rcvbuf=8_192) as sock:
        sock.sendall(b"flood")
        wire = app.first()
        assert wire.paused.wait(WAIT)
        left = len(PAYLOAD)
        while left:
            left -= len(sock.recv(65_536))
        assert wire.resumed.wait(WAIT)


def test_a_machine_that_does_not_want_to_read_holds_its_peer_back(uv):
    class Deaf(Wire):
        def __init__(self):
            super().__init__()
            self.want_read = False

    app = App(Deaf)
    with served(app, uvloop=uv) as server, server.connect() as sock:
        wire = app.first()
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):  # noqa: PT012 - how many it takes is the kernels' affair
            while True:
                sock.send(bytes(65_536))
        # uvloop starts to read before it can be stopped: one piece may slip through.
        assert len(wire.received) <= (256_000 if uv else 0)


def test_reading_is_stopped_and_taken_up_again(uv):
    class Steps(Wire):
        """Reads one piece, waits for its deadline, reads on."""

        def receive_data(self, data, now):
            super().receive_data(data, now)
            self.want_read = False
            self.deadline = now + 0.001
            return []

        def handle_timeout(self, now):
            if now >= self.deadline:
                self.deadline = float("inf")
                self.want_read = True
            return []

        def receive_eof(self, now):
            self.out.append(b"%d" % len(self.received))
            return super().receive_eof(now)

    with served(App(Steps), uvloop=uv) as server, server.connect() as sock:
        sock.sendall(bytes(1_000_000))
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"1000000"


class Source(Wire):
    """An endless body by room: what a streaming sender above a connection does."""

    SIZE = 64 * 65_536

    def __init__(self):
        super().__init__()
        self.left = self.SIZE

    def receive_data(self, data, now):
        self._fill()
        return []

    def write_resumed(self, now):
        self.starved = False
        return [(1, Writable(65_536))] if self._fill() else []

    def _fill(self):
        if self.left:
            self.left -= 65_536
            self.out.append(bytes(65_536))
            self.starved = True
        else:
            self.closing = Closing.AFTER_FLUSH
        return self.left


def test_a_starved_sender_is_told_of_room_until_it_is_done(uv):
    with served(App(Source), uvloop=uv) as server, server.connect() as sock:
        sock.sendall(b"go")
        assert len(read_all(sock)) == Source.SIZE


def test_a_fast_reader_of_an_endless_body_leaves_turns_to_others(uv):
    class Endless(Wire):
        def receive_data(self, data, now):
            if data == b"ping":
                self.out.append(b"pong")
            else:
                self.write_resumed(now)
            return []

        def write_resumed(self, now):
            self.starved = True
            self.out.append(bytes(65_536))
            return []

    app = App(Endless)
    with served(app, uvloop=uv) as server, server.connect() as greedy, server.connect() as modest:
        greedy.sendall(b"flood")
        stop = threading.Event()

        def swallow():
            while not stop.is_set():
                greedy.recv(1 << 20)

        reader = threading.Thread(target=swallow)
        reader.start()
        try:
            for _ in range(20):
                modest.sendall(b"ping")
                assert modest.recv(10) == b"pong"
        finally:
            stop.set()
            reader.join(WAIT)


# ── ends ─────────────────────────────────────────────────────────────────────────────


def test_half_close_is_the_machines_to_decide(uv, address):
    """After the peer's end the machine reads nothing, and may write for as long as it likes."""

    class Later(Wire):
        def receive_eof(self, now):
            self.seen.append(("eof",))
            self.want_read = False
            self.deadline = now + 0.001
            return []

        def handle_timeout(self, now):
            if now >= self.deadline:
                self.want_read = not self.want_read  # obeyed without the end being reported again
                self.out.append(b"x" * 100_000)
                self.deadline = now + 0.001
                if self.names().count("step") == 3:
                    self.closing = Closing.AFTER_FLUSH
                    self.deadline = float("inf")
                self.seen.append(("step",))
            return []

    app = App(Later)
    with served(app, address, uvloop=uv) as server, server.connect() as sock:
        sock.shutdown(socket.SHUT_WR)
        assert len(read_all(sock)) == 400_000
        wire = app.first()
        assert wire.lost.wait(WAIT)
        # A reader that is slower than the steps has the writer pause.
        names = [name for name in wire.names() if name not in ("paused", "resumed", "progressed")]
        assert names == ["eof", "step", "step", "step", "step", "lost"]
        assert wire.reason is None


def test_shut_write_leaves_the_other_direction_open(uv, address):
    """Lingering close: the peer sees the end of our bytes, and what it still sends is read."""

    class Lingering(Wire):
        def receive_data(self, data, now):
            super().receive_data(data, now)
            if not self.shut_write:
                self.out.append(b"answer" * 20_000)
                self.shut_write = True
            return []

    app = App(Lingering)
    with served(app, address, uvloop=uv) as server, server.connect() as sock:
        sock.sendall(b"request")
        assert read_all(sock) == b"answer" * 20_000
        sock.sendall(b" and more")
        sock.shutdown(socket.SHUT_WR)
        wire = app.first()
        assert wire.lost.wait(WAIT)
        assert wire.received == b"request and more"
        assert wire.reason is None


def test_closing_after_flush_loses_nothing(uv, address):
    class Answer(Wire):
        def receive_data(self, data, now):
            self.out.append(PAYLOAD)
            self.closing = Closing.AFTER_FLUSH
            return []

    app = App(Answer)
    with served(app, address, uvloop=uv) as server, server.connect() as sock:
        sock.sendall(b"go")
        assert read_all(sock) == PAYLOAD
        wire = app.first()
        assert wire.lost.wait(WAIT)
        assert wire.reason is None


def test_abort_is_a_reset(uv):
    class Abort(Wire):
        def receive_data(self, data, now):
            self.out.append(b"half an ans")
            self.closing = Closing.ABORT
            return []

    app = App(Abort)
    with served(app, uvloop=uv) as server, server.connect() as sock:
        sock.sendall(b"go")
        with pytest.raises(ConnectionResetError):
            read_all(sock)
        wire = app.first()
        assert wire.lost.wait(WAIT)
        assert wire.reason is None
        assert wire.names() == ["lost"]


def test_abort_of_a_unix_socket_is_an_end(uv, tmp_path):
    class Abort(Wire):
        def receive_data(self, data, now):
            self.closing = Closing.ABORT
            return []

    with served(App(Abort), f"unix:{tmp_path}/socket", uvloop=uv) as server, server.connect() as sock:
        sock.sendall(b"go")
        assert sock.recv(10) == b""


def test_a_peer_that_does_not_read_the_last_bytes_meets_the_deadline(uv):
    """AFTER_FLUSH cannot last for ever: the machine is told that output waits, and may then abort."""

    class Stuck(Wire):
        def receive_data(self, data, now):
            self.out.append(PAYLOAD)
            self.closing = Closing.AFTER_FLUSH
            return []

        def write_paused(self, now):
            super().write_paused(now)
            self.stalled = True
            self.deadline = now + 0.01

        def write_progressed(self, now):
            super().write_progressed(now)
            self.deadline = now + 0.01

    app = App(Stuck)
    with served(app, uvloop=uv) as server, server.connect(rcvbuf=8_192) as sock:
        sock.sendall(b"go")
        wire = app.first()
        assert wire.lost.wait(WAIT)
        # A busy kernel may still move some of it from one buffer to the other at first.
        assert [name for name in wire.names() if name != "progressed"] == ["paused", "timeout", "lost"]
        assert wire.endpoint.driver is None
        with pytest.raises(ConnectionResetError):
            read_all(sock)


def test_a_slow_peer_makes_progress_and_a_stuck_one_does_not(uv):
    """Before a write deadline fires, the kernel is asked what the peer took meanwhile."""

    class Clocked(Wire):
        def __init__(self):
            super().__init__()
            self.fired = threading.Semaphore(0)

        def receive_data(self, data, now):
            self.out.append(PAYLOAD)
            return []

        def write_paused(self, now):
            self.stalled = True
            self.deadline = now + 0.02

        def write_progressed(self, now):
            super().write_progressed(now)
            self.deadline = now + 0.02

        def handle_timeout(self, now):
            if now >= self.deadline:
                self.seen.append(("stuck",))
                self.deadline = now + 0.02
            self.fired.release()
            return []

    app = App(Clocked)
    with served(app, uvloop=uv) as server, server.connect(rcvbuf=8_192) as sock:
        sock.sendall(b"go")
        wire = app.first()
        for _ in range(8):
            assert wire.fired.acquire(timeout=WAIT)
        assert "stuck" in wire.names()
        seen = wire.names().count("progressed")
        deadline = time.monotonic() + WAIT
        while wire.names().count("progressed") == seen and time.monotonic() < deadline:
            sock.recv(65_536)
        assert wire.names().count("progressed") > seen


def test_deadlines_fire_in_their_order(uv):
    order: list[int] = []
    done = threading.Event()

    class Timed(Wire):
        number = 0

        def receive_data(self, data, now):
            self.number = int(data)
            self.deadline = now + self.number / 100
            return []

        def handle_timeout(self, now):
            if now >= self.deadline:
                order.append(self.number)
                if len(order) == 3:
                    done.set()
            return super().handle_timeout(now)

    with (
        served(App(Timed), uvloop=uv) as server,
        server.connect() as first,
        server.connect() as second,
        server.connect() as third,
    ):
        third.sendall(b"9")
        first.sendall(b"1")
        second.sendall(b"5")
        assert done.wait(WAIT)
        assert sorted(order) == [1, 5, 9]
        assert order[-1] == 9


# ── faults ───────────────────────────────────────────────────────────────────────────


def test_a_reset_by_the_peer_is_a_read_error(uv):
    app = App(Wire)
    with served(app, uvloop=uv) as server:
        sock = server.connect()
        sock.sendall(b"hello")
        wire = app.first()
        reset(sock)
        assert wire.lost.wait(WAIT)
        assert isinstance(wire.reason, Error)
        assert wire.reason.etype is ErrorType.READ_ERROR


def test_what_came_before_a_failed_write_is_heard(uv):
    """A peer that answers early and goes away: our write fails, its answer still counts."""

    class Writer(Wire):
        def __init__(self):
            super().__init__()
            self.want_read = False
            self.deadline = 0.0  # at once, and then again and again

        def handle_timeout(self, now):
            self.out.append(bytes(100_000))
            self.deadline = now + 0.002
            return []

        def transport_lost(self, reason, now):
            return super().transport_lost(reason, now)

    app = App(Writer)
    with served(app, uvloop=uv) as server:
        sock = server.connect()
        wire = app.first()
        sock.sendall(b"413 in short")
        reset(sock)
        assert wire.lost.wait(WAIT)
        assert wire.received == b"413 in short"
        assert isinstance(wire.reason, Error)


def test_shutting_the_write_side_of_a_lost_transport_harms_nobody(uv):
    class Shut(Wire):
        def __init__(self):
            super().__init__()
            self.want_read = False
            self.go = threading.Event()
            self.deadline = 0.0

        def handle_timeout(self, now):
            self.deadline = now + 0.002
            if self.go.is_set() and not self.shut_write:
                self.shut_write = True
            elif self.shut_write:
                self.want_read = True
            return []

    app = App(Shut)
    with served(app, uvloop=uv) as server:
        sock = server.connect()
        wire = app.first()
        reset(sock)
        wire.go.set()
        assert wire.lost.wait(WAIT)


def test_a_bug_in_a_machine_ends_its_own_transport_alone(uv, caplog):
    class Buggy(Echo):
        def receive_data(self, data, now):
            if data == b"bug":
                raise ZeroDivisionError
            return super().receive_data(data, now)

        def data_to_send(self):
            out = super().data_to_send()
            if out == [b"late bug"]:
                raise ZeroDivisionError
            return out

    app = App(Buggy)
    with served(app, uvloop=uv) as server, server.connect() as honest:
        for bug in (b"bug", b"late bug"):
            with server.connect() as sock:
                sock.sendall(bug)
                with pytest.raises(ConnectionResetError):
                    sock.recv(10)
        honest.sendall(b"hello")
        assert honest.recv(10) == b"hello"
        reasons = [wire.reason.etype for wire in app.connections if wire.lost.is_set()]
        assert reasons == [ErrorType.INTERNAL_ERROR] * 2
    assert "a bug stopped Endpoint" in caplog.text


def test_a_bug_in_the_application_costs_one_connection(uv, caplog):
    class Picky(App):
        def accept(self, info, now):
            if not self.drained:
                self.drained = 1
                raise ZeroDivisionError
            return super().accept(info, now)

    app = Picky(Echo)
    with served(app, uvloop=uv) as server:
        with pytest.raises(ConnectionResetError), server.connect() as sock:
            sock.recv(10)
        with server.connect() as sock:
            sock.sendall(b"hello")
            assert sock.recv(10) == b"hello"
    assert "the application failed over a new connection" in caplog.text
