"""Driving a lane: commands, timers, faults and the end, under the test's hand."""

import errno
import math
import select
import socket

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.listeners import AcceptPolicy, ServerAddress
from sansio_pingora.machine import CancelDial, Closing, Dial, Endpoint, LogLine, RunFilter
from sansio_pingora.transport import DialOptions, SocketAddr, TransportInfo
from sansio_pingora.wire import UpgradedBody
from sansio_pingora_posix import ClientCall, Control, ListeningSet, lane_runner
from tests.posix.harness import PATIENCE, HandLane, readable, rig
from tests.posix.machines import Application, Asker, Echo, RawConnection


@pytest.fixture
def lane():
    made = HandLane()
    yield made
    made.abort(0.0)
    made.close()


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def dial(lane, address, **options):
    asker = Asker(lane.lane)
    connection = RawConnection()
    endpoint = Endpoint(lane.lane, connection, Echo(connection))
    asker.give(Dial(7, address, endpoint, DialOptions(**options)))
    lane.settle(0.0)
    return asker, endpoint


def wait_connected(lane):
    """Play the poller for the one dial that is under way."""
    ((descriptor, wanted),) = lane.poller.watched.items()
    assert wanted == (False, True)
    select.select([], [descriptor], [], PATIENCE)
    lane.poller.waked[descriptor].on_writable(0.0)
    lane.settle(0.0)


def test_a_dial_connects_and_its_endpoint_lives(lane, server):
    address = SocketAddr(*server.getsockname())
    asker, endpoint = dial(lane, address)
    assert endpoint not in lane.lane.endpoints
    wait_connected(lane)
    assert asker.answers[7] == endpoint.info
    assert endpoint.info.peer == address
    assert endpoint in lane.lane.endpoints
    peer, _ = server.accept()
    with peer:
        endpoint.connection.send(1, UpgradedBody(b"hello"), 0.0)
        lane.settle(0.0)
        assert peer.recv(10) == b"hello"


def test_what_was_sent_before_the_connect_goes_out_after_it(lane, server):
    connection = RawConnection()
    connection.send(1, UpgradedBody(b"early"), 0.0)
    endpoint = Endpoint(lane.lane, connection, Echo(connection))
    asker = Asker(lane.lane)
    asker.give(Dial(1, SocketAddr(*server.getsockname()), endpoint))
    lane.lane.enlist(endpoint)
    lane.settle(0.0)
    wait_connected(lane)
    with server.accept()[0] as peer:
        assert peer.recv(10) == b"early"


def test_a_refused_dial_fails(lane, server):
    address = SocketAddr(*server.getsockname())
    server.close()
    asker, endpoint = dial(lane, address)
    if 7 not in asker.answers:
        wait_connected(lane)
    assert asker.answers[7].etype is ErrorType.CONNECT_REFUSED
    assert lane.poller.watched == {}
    assert endpoint not in lane.lane.endpoints


def test_a_cancelled_dial_is_closed_and_never_answers(lane, server):
    asker, _ = dial(lane, SocketAddr(*server.getsockname()))
    asker.give(CancelDial(7))
    asker.give(CancelDial(7))  # stale by now
    asker.give(CancelDial(3))  # never was
    lane.settle(0.0)
    assert lane.poller.watched == {}
    assert asker.answers == {}
    assert lane.idle(0.0)


def test_a_name_is_resolved_off_the_lane_and_its_addresses_are_tried_in_turn(lane, server, monkeypatch):
    port = server.getsockname()[1]
    found = [SocketAddr("192.0.2.1", port), SocketAddr("127.0.0.1", port)]
    monkeypatch.setattr(lane, "resolve", lambda address: list(found))
    # A source address on the loopback has no way to the first.
    asker, endpoint = dial(lane, SocketAddr("service.test", port), bind_to=SocketAddr("127.0.0.1", 0))
    assert not lane.idle(0.0)
    lane.run_offloaded(0.0)
    if lane.poller.watched:
        wait_connected(lane)
    assert isinstance(asker.answers[7], TransportInfo)
    assert endpoint.info.peer == found[1]


@pytest.mark.parametrize(
    ("outcome", "etype", "text"),
    [
        (socket.gaierror(socket.EAI_NONAME, "not known"), ErrorType.CONNECT_NO_ROUTE, "'service.test'"),
        (ZeroDivisionError(), ErrorType.INTERNAL_ERROR, "ZeroDivisionError"),
        ([], ErrorType.CONNECT_ERROR, "no address"),
    ],
    ids=["unknown", "bug", "empty"],
)
def test_a_name_that_leads_nowhere(lane, monkeypatch, outcome, etype, text):
    def resolve(address):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(lane, "resolve", resolve)
    asker, _ = dial(lane, SocketAddr("service.test", 80))
    lane.run_offloaded(0.0)
    assert asker.answers[7].etype is etype
    assert text in str(asker.answers[7])


def test_a_dial_cancelled_while_its_name_is_resolved(lane, monkeypatch):
    monkeypatch.setattr(lane, "resolve", lambda address: [SocketAddr("127.0.0.1", 1)])
    asker, _ = dial(lane, SocketAddr("service.test", 80))
    asker.give(CancelDial(7))
    lane.settle(0.0)
    lane.run_offloaded(0.0)
    assert asker.answers == {}
    assert lane.poller.watched == {}


def test_a_tweak_that_raises_fails_the_dial(lane):
    asker, _ = dial(lane, SocketAddr("127.0.0.1", 1), tweak=lambda sock: 1 / 0)
    assert asker.answers[7].etype is ErrorType.INTERNAL_ERROR
    assert lane.idle(0.0)


def test_a_dial_without_a_descriptor_fails(lane, monkeypatch):
    def no_socket(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", no_socket)
        asker, _ = dial(lane, SocketAddr("127.0.0.1", 1))
    assert "ulimit" in asker.answers[7].context


def test_calls_run_off_the_lane(lane):
    asker = Asker(lane.lane)
    good, bad, own = asker.ask(lambda: 42), asker.ask(lambda: 1 / 0), asker.ask(_fail)
    lane.settle(0.0)
    assert asker.answers == {}
    assert not lane.idle(0.0)
    lane.run_offloaded(0.0)
    assert asker.answers[good] == 42
    assert asker.answers[bad].etype is ErrorType.INTERNAL_ERROR
    assert isinstance(asker.answers[bad].cause, ZeroDivisionError)
    assert asker.answers[own].status == 403
    assert lane.idle(0.0)


def _fail():
    raise Error.http_status(403)


def test_log_lines_and_the_end_of_filters(lane, caplog):
    asker = Asker(lane.lane)
    asker.give(LogLine("ERROR", "it happened"))
    asker.stop_filters()
    lane.settle(0.0)
    assert "it happened" in caplog.text


def test_timers_fire_and_are_armed_again(lane):
    asker = Asker(lane.lane)
    asker.deadline = 3.0
    lane.lane.enlist(asker)
    lane.settle(0.0)
    assert lane.deadline == 3.0
    lane.fire(2.0)
    assert asker.timeouts == []
    lane.fire(3.0)
    assert asker.timeouts == [3.0]
    assert lane.deadline == math.inf


def test_idle_sees_through_a_timer_that_means_nothing_any_more(lane):
    asker = Asker(lane.lane)
    asker.deadline = 3.0
    lane.lane.enlist(asker)
    lane.settle(0.0)
    assert not lane.idle(0.0)
    assert lane.deadline == 3.0  # looking did not lose it
    asker.deadline = math.inf
    assert lane.idle(0.0)


@pytest.mark.parametrize("where", ["take_commands", "handle_timeout", "resume"])
def test_a_broken_coordinator_is_logged_and_nobody_else_is_harmed(lane, caplog, where, monkeypatch):
    asker, other = Asker(lane.lane, [lambda: 1]), Asker(lane.lane, [lambda: 2])
    asker.deadline = 1.0
    monkeypatch.setattr(asker, where, lambda *_: 1 / 0)
    lane.lane.enlist(other)
    lane.settle(0.0)
    lane.fire(1.0)
    lane.run_offloaded(1.0)
    assert 2 in other.answers.values()
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("where", ["data_to_send", "handle_timeout"])
def test_a_broken_connection_is_reset(caplog, where):
    with rig() as r:
        setattr(r.connection, where, lambda *_: 1 / 0)
        r.connection.deadline = 1.0
        r.lane.lane.enlist(r.endpoint)
        r.lane.settle(0.0)
        r.lane.fire(1.0)
        assert not r.alive
        with pytest.raises(ConnectionResetError):
            r.theirs.recv(1)
        assert "ZeroDivisionError" in caplog.text


def test_a_connection_broken_twice_is_closed_all_the_same(caplog):
    with rig() as r:
        r.connection.data_to_send = lambda: 1 / 0
        r.connection.transport_lost = lambda *_: 1 / 0
        r.lane.lane.enlist(r.endpoint)
        r.lane.settle(0.0)
        assert r.ours.fileno() == -1
        assert r.ended == [0.0]
        assert "did not take the news" in caplog.text


# ── accepting and the end ────────────────────────────────────────────────────────────


class Serving:
    def __init__(self, **policy):
        self.lane = HandLane(policy=AcceptPolicy(**policy))
        self.application = Application()
        self.control = Control()
        self.listening = ListeningSet.bind([ServerAddress.parse("127.0.0.1:0")], self.control)
        self.sock = self.listening.listeners[0].sock
        self.descriptor = self.sock.fileno()
        self.address = self.sock.getsockname()
        self.lane.open(self.application.open(self.lane.lane, 0.0, 0.0), self.listening)

    @property
    def watching(self):
        return self.descriptor in self.lane.poller.watched

    def connect(self, now=0.0):
        peer = socket.create_connection(self.address)
        if self.watching:
            readable(self.sock)
            self.lane.poller.waked[self.descriptor].on_readable(now)
            self.lane.settle(now)
        return peer

    def close(self):
        self.lane.abort(0.0)
        self.lane.close()
        self.listening.close()


@pytest.fixture
def serving(request):
    made = Serving(**getattr(request, "param", {}))
    yield made
    made.close()


def test_the_control_knows_where(serving):
    assert serving.control.ready.is_set()
    assert serving.control.addresses == [f"127.0.0.1:{serving.address[1]}"]


def test_an_application_that_fails_over_a_connection_closes_it(serving, monkeypatch, caplog):
    monkeypatch.setattr(RawConnection, "__init__", lambda *_, **__: 1 / 0)
    with serving.connect() as peer:
        assert peer.recv(1) == b""
    assert serving.lane.policy.open == 0
    assert serving.watching
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("serving", [{"max_connections": 2}], indirect=True)
def test_at_the_ceiling_the_listener_is_not_watched(serving):
    peers = [serving.connect() for _ in range(3)]
    assert not serving.watching
    assert len(serving.lane.lane.endpoints) == 2
    serving.application.endpoints[0].connection.close(Closing.AFTER_FLUSH)
    serving.lane.settle(0.0)
    assert serving.watching
    for peer in peers:
        peer.close()


@pytest.mark.parametrize("serving", [{"accept_rate": 1.0}], indirect=True)
def test_above_the_rate_the_listener_is_not_watched_for_a_while(serving):
    peer = serving.connect(now=5.0)
    assert not serving.watching
    assert serving.lane.deadline == 6.0
    serving.lane.fire(5.5)
    assert not serving.watching
    serving.lane.fire(6.0)
    assert serving.watching
    peer.close()


def test_draining_refuses_at_once_and_waits_for_those_inside(serving, monkeypatch):
    monkeypatch.setattr(RawConnection, "drain", lambda self, now: None)
    with serving.connect() as peer:
        serving.lane.drain(30.0, 10.0)
        serving.lane.drain(90.0, 11.0)  # asked again: the first one holds
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(serving.address)
        assert not serving.lane.drained
        assert serving.lane.deadline == 39.0  # those who still talk are told then
        serving.lane.fire(39.0)
        assert not serving.lane.drained
        assert serving.lane.deadline == 40.0
        serving.lane.fire(40.0)
        assert serving.lane.drained
        with pytest.raises(ConnectionResetError):
            peer.recv(1)


def test_drained_when_the_last_one_ends(serving):
    with serving.connect() as peer:
        serving.lane.drain(30.0, 10.0)
        assert serving.lane.drained
        assert peer.recv(1) == b""


@pytest.mark.parametrize("stubborn", [lambda *_: None, lambda *_: 1 / 0], ids=["deaf", "broken"])
def test_aborting_does_not_ask_twice(serving, monkeypatch, stubborn):
    monkeypatch.setattr(RawConnection, "abort", stubborn)
    with serving.connect() as peer:
        serving.lane.abort(0.0)
        assert serving.lane.drained
        with pytest.raises(ConnectionResetError):
            peer.recv(1)


def test_lanes_that_share_listeners_close_them_together():
    control = Control()
    listening = ListeningSet.bind([ServerAddress.parse("127.0.0.1:0")], control, lanes=2)
    sock = listening.listeners[0].sock
    listening.let_go()
    assert sock.fileno() != -1
    listening.let_go()
    assert sock.fileno() == -1


def test_a_failed_bind_leaves_nothing_open(tmp_path):
    control = Control()
    addresses = [ServerAddress.uds(str(tmp_path / "s")), ServerAddress.parse("192.0.2.1:0")]
    with pytest.raises(Error, match="192"):
        ListeningSet.bind(addresses, control)
    assert list(tmp_path.iterdir()) == []
    assert not control.ready.is_set()


# ── one client connection ────────────────────────────────────────────────────────────


def test_a_client_call_gives_up_in_time(lane):
    call = ClientCall(SocketAddr("service.test", 80), RawConnection(), Echo(None), timeout=4.0)
    call.start(lane.lane, 1.0)
    lane.settle(1.0)
    lane.fire(4.9)
    call.raise_for_error()
    lane.fire(5.0)
    with pytest.raises(Error, match=r"service\.test:80.*4 s") as caught:
        call.raise_for_error()
    assert caught.value.etype is ErrorType.CONNECT_TIMEDOUT


def test_a_filter_under_way_is_waited_for_as_a_transport_is(lane):
    asker = Asker(lane.lane)
    asker.give(RunFilter(3, lambda: "logged"))
    lane.settle(0.0)
    lane.drain(30.0, 0.0)
    assert not lane.drained
    lane.run_offloaded(1.0)
    assert lane.drained
    assert asker.answers[3] == "logged"


def test_a_filter_that_takes_too_long_is_not_waited_for(lane):
    Asker(lane.lane).give(RunFilter(3, lambda: None))
    lane.settle(0.0)
    lane.drain(30.0, 0.0)
    lane.fire(29.0)
    assert not lane.drained
    lane.fire(30.0)
    assert lane.drained


def test_the_wall_clock_is_read_whenever_somebody_comes(lane, monkeypatch):
    for wall in (1e9, 2e9):
        monkeypatch.setattr(lane_runner, "time", lambda wall=wall: wall)
        lane.admit(None, None, lambda now: None, 7.0)
        assert lane.lane.wall_offset == wall - 7.0
