"""``run`` and ``connect``: lanes without listeners, over real sockets."""

import math
import os
import socket
import threading

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.machine import CancelDial, Closing, ConnectionClosed, Dial, Endpoint
from sansio_pingora.transport import SocketAddr
from sansio_pingora.wire import UpgradedBody
from sansio_pingora_posix import Control
from tests.posix.harness import RUNTIMES, Server, runtime_of
from tests.posix.machines import Application, Asker, Echo, RawConnection

BIG = os.urandom(4096) * 4096  # 16 MiB
each_runtime = pytest.mark.parametrize("name", RUNTIMES)


class Client:
    """Sends *request*, collects the answer until the end of the other side."""

    def __init__(self, request=b""):
        self.connection = RawConnection()
        if request:
            self.connection.send(1, UpgradedBody(request, end=True), 0.0)
        self.answer = b""
        self.lost = None

    def receive_event(self, stream_id, value, now):
        if isinstance(value, ConnectionClosed):
            self.lost = value
        if isinstance(value, UpgradedBody):
            self.answer += value.data
            self.connection.consumed(1, len(value.data), now)
            if value.end:
                self.connection.close(Closing.AFTER_FLUSH)


@each_runtime
@pytest.mark.parametrize("size", [5, len(BIG)])
def test_connect_drives_one_connection_to_its_end(name, size):
    with Server(name, Application()) as server:
        client = Client(BIG[:size])
        runtime_of(name).connect(SocketAddr.parse(server.control.addresses[0]), client.connection, client)
        assert client.answer == BIG[:size]
        assert client.lost.error is None


@each_runtime
def test_connect_resolves_names(name):
    with Server(name, Application(), ["localhost:0"]) as server:
        port = SocketAddr.parse(server.control.addresses[0]).port
        client = Client(b"x")
        runtime_of(name).connect(SocketAddr("localhost", port), client.connection, client)
        assert client.answer == b"x"


@each_runtime
def test_connect_refused(name):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = SocketAddr(*server.getsockname())
    client = Client()
    with pytest.raises(Error) as caught:
        runtime_of(name).connect(address, client.connection, client)
    assert caught.value.etype is ErrorType.CONNECT_REFUSED


@each_runtime
def test_connect_to_an_unknown_name(name):
    client = Client()
    with pytest.raises(Error, match="does-not-exist") as caught:
        runtime_of(name).connect(SocketAddr("does-not-exist.invalid", 1), client.connection, client)
    assert caught.value.etype is ErrorType.CONNECT_NO_ROUTE


@pytest.fixture
def black_hole():
    """An address that does not answer: a backlog that is full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
            fillers.append(filler)
        yield SocketAddr(*server.getsockname())
        for filler in fillers:
            filler.close()


@each_runtime
def test_connect_gives_up(name, black_hole):
    client = Client()
    with pytest.raises(Error, match=r"within 0\.1 s") as caught:
        runtime_of(name).connect(black_hole, client.connection, client, timeout=0.1)
    assert caught.value.etype is ErrorType.CONNECT_TIMEDOUT


@each_runtime
def test_a_dial_can_be_cancelled(name, black_hole):
    askers = []

    def start(lane, now):
        client = Client()
        asker = Asker(lane)
        asker.give(Dial(1, black_hole, Endpoint(lane, client.connection, client)))
        asker.handle_timeout = lambda now: _cancel(asker)
        asker.deadline = now + 0.05
        askers.append(asker)

    runtime_of(name).run(start)
    assert askers[0].answers == {}


def _cancel(asker):
    asker.deadline = math.inf
    asker.give(CancelDial(1))


@each_runtime
def test_run_ends_when_there_is_nothing_to_do(name):
    control = Control()
    runtime_of(name).run(lambda lane, now: None, control=control)
    assert control.wait(0)


@each_runtime
def test_run_ends_when_it_is_told_to(name):
    control = Control()

    def start(lane, now):
        asker = Asker(lane)
        asker.deadline = now + 3600.0
        lane.enlist(asker)
        threading.Thread(target=control.stop).start()

    runtime_of(name).run(start, control=control)


@each_runtime
def test_run_passes_on_what_start_raises(name):
    control = Control()
    with pytest.raises(ZeroDivisionError):
        runtime_of(name).run(lambda lane, now: 1 / 0, control=control)
    assert control.wait(0)


@each_runtime
def test_run_keeps_its_time(name):
    askers = []

    def start(lane, now):
        for delay in (0.03, 0.01, 0.02):
            asker = Asker(lane)
            asker.deadline = now + delay
            lane.enlist(asker)
            askers.append((asker, asker.deadline))

    runtime_of(name).run(start)
    assert all(asker.timeouts == [deadline] for asker, deadline in askers)


@each_runtime
def test_calls_run_and_answer(name):
    askers = []
    threads = set()

    def call(value):
        threads.add(threading.get_ident())
        if isinstance(value, BaseException):
            raise value
        return value

    def start(lane, now):
        values = [1, ZeroDivisionError(), Error.http_status(403), SystemExit(3), *range(100)]
        askers.append(Asker(lane, [lambda value=value: call(value) for value in values]))

    runtime_of(name).run(start)
    answers = askers[0].answers
    assert answers[1] == 1
    assert isinstance(answers[2].cause, ZeroDivisionError)
    assert answers[3].status == 403
    assert "SystemExit" in str(answers[4])
    assert len(answers) == 104
    assert (threading.get_ident() in threads) is (name == "gevent")
    assert len(threads) <= 32


def test_calls_that_block_do_not_hold_up_a_lane_of_threads():
    release = threading.Event()

    class Ask(Echo):
        def receive_event(self, stream_id, value, now):
            if isinstance(value, UpgradedBody) and value.data == b"block":
                Asker(self.connection.endpoint.lane, [release.wait] * 40)
            super().receive_event(stream_id, value, now)

    with Server("threads", Application(Ask)) as server, server.connect() as client:
        client.sendall(b"block")
        assert client.recv(10) == b"block"
        client.sendall(b"still here")
        assert client.recv(10) == b"still here"
        release.set()


def test_a_greenlet_that_waits_does_not_hold_up_the_hub_and_can_be_stopped():
    import gevent

    askers = []
    killed = []

    def wait():
        try:
            gevent.sleep(3600)
        except gevent.GreenletExit:
            killed.append(True)
            raise

    def start(lane, now):
        asker = Asker(lane, [wait])
        asker.handle_timeout = lambda now: _stop(asker)
        asker.deadline = now + 0.05
        askers.append(asker)

    runtime_of("gevent").run(start)
    assert killed == [True]
    assert askers[0].answers == {}


def _stop(asker):
    asker.deadline = math.inf
    asker.stop_filters()
