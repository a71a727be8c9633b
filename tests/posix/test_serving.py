"""``serve`` on the two runtimes that drive sockets by readiness, over real ones."""

import errno
import os
import select
import socket
import sys
import threading
import time

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.limits import Limits
from sansio_pingora.listeners import AcceptPolicy, ServerAddress
from sansio_pingora.machine import Closing
from sansio_pingora.wire import UpgradedBody
from sansio_pingora_posix import Control
from sansio_pingora_threads import serving as threads_serving
from sansio_pingora_threads.lane import ThreadLane
from tests.posix.harness import PATIENCE, RUNTIMES, Server, read_all, reset, runtime_of
from tests.posix.machines import Application, Echo, RawConnection

BIG = os.urandom(4096) * 4096  # 16 MiB
each_runtime = pytest.mark.parametrize("name", RUNTIMES)


@each_runtime
def test_echo_on_every_kind_of_address(name, tmp_path):
    application = Application()
    with Server(name, application, ["127.0.0.1:0", f"unix:{tmp_path}/s", "localhost:0"]) as server:
        assert application.checked == (name, False)
        for index in range(3):
            with server.connect(index) as client:
                client.sendall(b"hello")
                assert client.recv(10) == b"hello"
        server.control.stop()
        server.join()
    assert list(tmp_path.iterdir()) == []


@each_runtime
def test_many_at_once(name):
    with Server(name, Application()) as server:
        clients = [server.connect() for _ in range(200)]
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number)
        for number, client in enumerate(clients):
            assert client.recv(10) == b"%d" % number
            client.close()


def test_lanes_share_the_work():
    application = Application()
    with Server("threads", application, threads=3) as server:
        for _ in range(60):
            with server.connect() as client:
                client.sendall(b"x")
                assert client.recv(1) == b"x"
        assert len(application.lanes) == 3
        server.control.stop()
        server.join()


def test_lanes_share_the_ceiling():
    application = Application(limits=Limits(max_connections=3))
    with Server("threads", application, threads=2) as server:
        clients = [server.connect() for _ in range(4)]
        for client in clients:
            client.sendall(b"x")
        served = []
        while len(served) < 3:
            ready, _, _ = select.select([client for client in clients if client not in served], [], [], PATIENCE)
            served += ready
        assert len(application.endpoints) == 3
        (waiting,) = (client for client in clients if client not in served)
        for client in served:
            client.close()
        assert waiting.recv(1) == b"x"
        waiting.close()


@each_runtime
def test_a_slow_reader_gets_every_byte_and_back_pressure_reaches_the_sender(name):
    with Server(name, application := Application()) as server, server.connect() as client:
        sender = threading.Thread(target=lambda: (client.sendall(BIG), client.shutdown(socket.SHUT_WR)))
        sender.start()
        (connection,) = (endpoint.connection for endpoint in _accepted(application))
        while connection.paused == 0:  # until the way back is full
            sender.join(0.01)
        assert connection.received < len(BIG)
        assert read_all(client) == BIG
        sender.join()
        assert connection.resumed >= 1


def _accepted(application, count=1):
    for _ in range(1000):
        if len(application.endpoints) >= count:
            return application.endpoints
        time.sleep(0.01)
    raise AssertionError("nobody was accepted")


@each_runtime
def test_half_close_and_the_answer_after_it(name):
    class Late(Echo):
        def receive_event(self, stream_id, value, now):
            if isinstance(value, UpgradedBody) and value.end:
                self.connection.send(1, UpgradedBody(b"after the end", end=True), now)
                self.connection.close(Closing.AFTER_FLUSH)

    with Server(name, Application(Late)) as server, server.connect() as client:
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"after the end"


@each_runtime
def test_lingering_reads_on_after_our_end(name):
    class Linger(Echo):
        def receive_event(self, stream_id, value, now):
            if isinstance(value, UpgradedBody) and value.data == b"request":
                self.connection.send(1, UpgradedBody(b"answer", end=True), now)
            elif isinstance(value, UpgradedBody) and value.end:
                self.connection.close(Closing.AFTER_FLUSH)

    with Server(name, application := Application(Linger)) as server, server.connect() as client:
        client.sendall(b"request")
        assert read_all(client) == b"answer"
        client.sendall(b"rest of it")
        client.shutdown(socket.SHUT_WR)
        (endpoint,) = _accepted(application)
        while endpoint.driver is not None:
            time.sleep(0.005)
        assert endpoint.connection.received == 17


@each_runtime
def test_a_reset_ends_one_connection(name):
    with Server(name, application := Application()) as server, server.connect() as honest:
        client = server.connect()
        client.sendall(b"x")
        client.recv(1)
        reset(client)
        (endpoint,) = (endpoint for endpoint in _accepted(application, 2) if endpoint.connection.received)
        while endpoint.driver is not None:
            time.sleep(0.005)
        honest.sendall(b"y")
        assert honest.recv(1) == b"y"


@each_runtime
def test_an_abort_is_seen_as_a_reset(name):
    class Cut(Echo):
        def receive_event(self, stream_id, value, now):
            if isinstance(value, UpgradedBody):
                self.connection.send(1, UpgradedBody(b"half of"), now)
                self.connection.close(Closing.ABORT)

    with Server(name, Application(Cut)) as server, server.connect() as client:
        client.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            read_all(client)


@each_runtime
def test_a_bug_in_a_receiver_resets_its_connection_alone(name, caplog):
    class Broken(Echo):
        def receive_event(self, stream_id, value, now):
            if isinstance(value, UpgradedBody) and value.data == b"bug":
                raise ZeroDivisionError
            super().receive_event(stream_id, value, now)

    with Server(name, Application(Broken)) as server, server.connect() as honest, server.connect() as client:
        client.sendall(b"bug")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        honest.sendall(b"y")
        assert honest.recv(1) == b"y"
    assert "ZeroDivisionError" in caplog.text


@each_runtime
def test_deadlines_close_those_who_are_silent_and_those_who_do_not_read(name):
    application = Application(read_timeout=0.3, write_timeout=0.3)
    with Server(name, application) as server, server.connect() as silent, server.connect() as deaf:
        with pytest.raises(ConnectionResetError):
            silent.recv(1)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            deaf.sendall(BIG * 4)


@each_runtime
def test_the_connection_filter(name):
    class Nobody:
        def should_accept(self, peer):
            assert peer.host == "127.0.0.1"
            return False

    with Server(name, Application(), connection_filter=Nobody()) as server, server.connect() as client:
        assert client.recv(1) == b""


# ── coming up and going down ─────────────────────────────────────────────────────────


@each_runtime
def test_a_failed_bind_leaves_nothing_open(name, tmp_path):
    control = Control()
    addresses = [ServerAddress.uds(str(tmp_path / "s")), ServerAddress.parse("192.0.2.1:0")]
    with pytest.raises(Error) as caught:
        runtime_of(name).serve(Application(), addresses, control=control, signals=False)
    assert caught.value.etype is ErrorType.BIND_ERROR
    assert list(tmp_path.iterdir()) == []
    assert not control.ready.is_set()
    assert control.wait(0)


@each_runtime
@pytest.mark.parametrize("where", ["check", "open"])
def test_an_application_that_refuses_ends_it_before_it_begins(name, where, tmp_path):
    application = Application()
    setattr(application, where, lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runtime_of(name).serve(application, [ServerAddress.uds(str(tmp_path / "s"))], signals=False)
    assert list(tmp_path.iterdir()) == []


def test_one_lane_that_fails_ends_all():
    application = Application()
    opened = []

    def open_(lane, now, wall):
        opened.append(lane)
        if len(opened) == 2:
            raise ZeroDivisionError
        return Application().open(lane, now, wall)

    application.open = open_
    with pytest.raises(ZeroDivisionError):
        runtime_of("threads").serve(application, [ServerAddress.parse("127.0.0.1:0")], threads=3, signals=False)


@pytest.mark.parametrize("number", [0, 1])
def test_a_lane_that_cannot_be_made_ends_all(number, monkeypatch):
    def make(workers, policy):
        if policy is policies[number]:
            raise OSError(errno.EMFILE, "Too many open files")
        return ThreadLane(workers, policy)

    policies = [AcceptPolicy(), AcceptPolicy()]
    control = Control()
    control.accept_policy = lambda limits, lane, lanes: policies[lane]
    monkeypatch.setattr(threads_serving, "ThreadLane", make)
    with pytest.raises(OSError, match="Too many open files"):
        runtime_of("threads").serve(
            Application(), [ServerAddress.parse("127.0.0.1:0")], control=control, threads=2, signals=False
        )
    assert control.wait(0)


def test_a_thread_that_cannot_be_started_ends_all(monkeypatch):
    def start(thread):
        if thread.name == "sansio-pingora-lane-2":
            raise RuntimeError("can't start new thread")
        real(thread)

    real = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        runtime_of("threads").serve(Application(), [ServerAddress.parse("127.0.0.1:0")], threads=3, signals=False)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sansio-pingora-lane")]


class _Late(Control):
    """Is told to stop when its lane has ended and nobody knows it yet."""

    def finish(self):
        self.wakes = self._wake
        self.stop(graceful=False)
        super().finish()


@each_runtime
def test_a_stop_between_the_end_and_its_announcement(name):
    server = Server(name, Application())
    server.control = _Late()
    with server:
        server.control.stop()
        server.join()
    for wake in server.control.wakes:  # one that was about to be called then
        wake()


def test_at_least_one_thread():
    with pytest.raises(ValueError, match="threads"):
        runtime_of("threads").serve(Application(), [], threads=0)


@each_runtime
def test_a_stop_before_the_start_is_not_lost(name):
    control = Control()
    control.stop()
    runtime_of(name).serve(Application(), [ServerAddress.parse("127.0.0.1:0")], control=control, signals=False)
    assert control.wait(0)


@each_runtime
def test_a_graceful_stop_refuses_newcomers_and_lets_those_inside_finish(name, monkeypatch):
    monkeypatch.setattr(RawConnection, "drain", lambda self, now: None)
    with Server(name, Application()) as server, server.connect() as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        server.control.stop()
        while _lets_in(server):
            pass
        client.sendall(b"still served")
        assert client.recv(100) == b"still served"
        assert not server.control.wait(0)
        client.shutdown(socket.SHUT_WR)
        server.join()


def _lets_in(server):
    try:
        server.connect().close()
    except (ConnectionRefusedError, ConnectionResetError):
        return False
    return True


@each_runtime
def test_the_grace_period_ends(name, monkeypatch, caplog):
    monkeypatch.setattr(RawConnection, "drain", lambda self, now: None)
    with Server(name, Application(), grace_period=0.1) as server, server.connect() as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        server.control.stop()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        server.join()
    assert "1 connections are aborted" in caplog.text


@each_runtime
def test_a_second_stop_does_not_wait(name, monkeypatch):
    monkeypatch.setattr(RawConnection, "drain", lambda self, now: None)
    with Server(name, Application(), grace_period=3600.0) as server, server.connect() as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        server.control.stop()
        server.control.stop(graceful=False)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        server.join()


@each_runtime
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_nothing_is_left_open_when_it_has_ended(name):
    def serve_once():
        with Server(name, Application()) as server, server.connect() as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"

    serve_once()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        serve_once()
    assert len(os.listdir("/proc/self/fd")) == before
