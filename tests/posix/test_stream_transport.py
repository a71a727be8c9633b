"""The data path, step by step under the test's hand."""

import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_pingora.errors import ErrorType, RetryType
from sansio_pingora.machine import Closing, Writable
from sansio_pingora.wire import UpgradedBody
from tests.memory import counting, cut
from tests.posix.harness import read_all, reset, rig
from tests.posix.machines import Echo

BIG = bytes(range(256)) * 2048 * 32  # 16 MiB: more than two socket buffers take


def unix_pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(20)
    return ours, theirs


class Silent:
    """Keeps what it is told, and answers nothing."""

    def __init__(self, connection):
        self.connection = connection
        self.events = []

    def receive_event(self, stream_id, value, now):
        self.events.append(value)

    @property
    def received(self):
        return b"".join(event.data for event in self.events if isinstance(event, UpgradedBody))

    @property
    def lost(self):
        return self.events[-1].error


def test_an_answer_goes_out_without_waiting_for_room():
    with rig() as r:
        assert r.watched == (True, False)
        r.theirs.sendall(b"hello")
        r.read()
        assert r.theirs.recv(100) == b"hello"
        assert r.watched == (True, False)


def test_nothing_is_read_too_early():
    with rig() as r:
        r.transport.on_readable(0.0)  # a false alarm
        r.lane.settle(0.0)
        assert r.connection.received == 0
        assert r.alive


@pytest.mark.parametrize("sizes", [[1, 2, 3], [20_000, 1, 20_000], [70_000], [1] * 3000], ids=str)
def test_a_scatter_list_arrives_in_order(sizes):
    chunks = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    with rig(Silent) as r:
        for chunk in chunks:
            r.connection.send(1, UpgradedBody(chunk), 0.0)
        r.connection.close(Closing.AFTER_FLUSH)
        r.lane.settle(0.0)
        got = b""
        while piece := r.theirs.recv(100_000):
            got += piece
            if r.alive:
                r.write()
        assert got == b"".join(chunks)


def test_a_peer_that_does_not_read_pauses_the_connection_once_and_reading_goes_on():
    with rig(Silent) as r:
        r.connection.send(1, UpgradedBody(BIG), 1.0)
        r.lane.settle(1.0)
        assert (r.connection.paused, r.watched) == (1, (True, True))
        assert 0 < r.transport.unsent() <= len(BIG)
        r.connection.send(1, UpgradedBody(b"more"), 1.0)
        r.lane.settle(1.0)
        assert r.connection.paused == 1
        r.theirs.sendall(b"meanwhile")
        r.read()
        assert r.receiver.received == b"meanwhile"


@pytest.mark.parametrize("size", [1, 2])
def test_what_waits_in_tiny_pieces_takes_its_own_memory(size):
    pieces = cut(BIG[: 40 * 256], size)
    with rig(Silent) as r:
        r.connection.send(1, UpgradedBody(BIG), 0.0)
        r.lane.settle(0.0)
        with counting() as held:
            for piece in pieces:
                r.connection.send(1, UpgradedBody(piece), 0.0)
                r.lane.settle(0.0)
            assert held() < 1.5 * 40 * 256 + 10_000
        r.connection.close(Closing.AFTER_FLUSH)
        r.lane.settle(0.0)
        reader = []
        thread = threading.Thread(target=lambda: reader.append(read_all(r.theirs)))
        thread.start()
        r.ours.setblocking(True)  # so that each write waits for room instead of the test
        while r.alive:
            r.write()
        thread.join()
        assert reader[0] == BIG + BIG[: 40 * 256]


def test_it_resumes_below_the_low_mark_and_loses_nothing():
    with rig(Silent) as r:
        r.connection.send(1, UpgradedBody(BIG), 0.0)
        r.connection.send(1, UpgradedBody(b"end"), 0.0)
        r.lane.settle(0.0)
        r.write()  # no room yet: nothing happens
        assert r.connection.resumed == 0
        reader = []
        thread = threading.Thread(target=lambda: reader.append(read_all(r.theirs)))
        thread.start()
        r.ours.setblocking(True)  # so that each write waits for room instead of the test
        r.write()
        r.ours.setblocking(False)
        assert r.connection.resumed == 1
        assert r.watched == (True, False)
        r.connection.close(Closing.AFTER_FLUSH)
        r.lane.settle(0.0)
        thread.join()
        assert reader[0] == BIG + b"end"


def test_a_sender_that_was_told_to_wait_hears_when_its_bytes_are_taken():
    with rig(Silent) as r:
        room = r.connection.send(1, UpgradedBody(bytes(70_000)), 0.0)
        assert room <= 0
        r.lane.settle(0.0)
        assert [type(event).__name__ for event in r.receiver.events] == ["Writable"]


def test_without_credit_nothing_is_read():
    with rig(Silent) as r:
        r.theirs.sendall(bytes(65_536))
        while r.connection.want_read:
            r.read()
        assert r.watched in {None, (False, False)}
        r.connection.consumed(1, 65_536, 0.0)
        r.lane.settle(0.0)
        assert r.watched == (True, False)


def test_the_end_of_the_peer_is_told_once_and_no_more_looked_for():
    with rig(Silent) as r:
        r.theirs.shutdown(socket.SHUT_WR)
        r.read()
        r.read()
        assert [event.end for event in r.receiver.events] == [True]
        assert r.connection.want_read
        assert r.watched in {None, (False, False)}
        r.connection.send(1, UpgradedBody(b"still here"), 0.0)
        r.lane.settle(0.0)
        assert r.theirs.recv(100) == b"still here"


def test_shut_write_ends_our_side_after_the_output_and_reading_goes_on():
    with rig(Silent) as r:
        r.connection.send(1, UpgradedBody(b"last words", end=True), 0.0)
        r.lane.settle(0.0)
        assert read_all(r.theirs) == b"last words"
        r.theirs.sendall(b"late")
        r.read()
        assert r.receiver.received == b"late"
        assert r.alive


def test_after_flush_closes_when_the_kernel_has_everything():
    with rig(Silent) as r:
        r.connection.send(1, UpgradedBody(BIG), 5.0)
        r.connection.close(Closing.AFTER_FLUSH)
        r.lane.settle(5.0)
        assert r.alive
        thread = threading.Thread(target=read_all, args=(r.theirs,))
        thread.start()
        r.ours.setblocking(True)
        r.write(6.0)
        thread.join()
        assert not r.alive
        assert r.receiver.lost is None
        assert r.ended == [6.0]
        assert r.watched is None


def test_a_close_that_a_peer_holds_up_has_a_clock():
    with rig(Silent, write_timeout=30.0) as r:
        r.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        r.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while not r.transport.unsent() > 100_000:
            r.connection.send(1, UpgradedBody(bytes(10_000)), 0.0)
            r.lane.settle(0.0)
        r.connection.close(Closing.AFTER_FLUSH)
        r.lane.settle(1.0)
        assert r.lane.deadline <= 31.0
        r.lane.fire(31.0)
        r.lane.fire(61.0)
        assert not r.alive


def test_abort_resets():
    with rig(Silent) as r:
        r.connection.send(1, UpgradedBody(b"cut"), 0.0)
        r.connection.close(Closing.ABORT)
        r.lane.settle(3.0)
        with pytest.raises(ConnectionResetError):
            read_all(r.theirs)
        assert r.receiver.lost is None
        assert r.ended == [3.0]


def test_abort_on_a_unix_socket_closes():
    with rig(Silent, unix_pair) as r:
        r.connection.close(Closing.ABORT)
        r.lane.settle(0.0)
        assert r.theirs.recv(1) == b""


def test_a_reset_is_a_read_error_that_a_reused_connection_may_retry():
    with rig(Silent) as r:
        reset(r.theirs)
        r.read(2.0)
        error = r.receiver.lost
        assert (error.etype, error.retry_type) == (ErrorType.READ_ERROR, RetryType.REUSED_ONLY)
        assert isinstance(error.cause, ConnectionResetError)
        assert not r.alive
        assert r.ended == [2.0]
        r.transport.on_readable(3.0)  # from the same round of the poller
        assert r.ended == [2.0]


def test_a_failed_write_is_reported_after_the_peers_last_words():
    with rig(Silent) as r:
        r.theirs.sendall(b"early answer")
        reset(r.theirs)
        r.connection.send(1, UpgradedBody(b"too late"), 0.0)
        r.lane.settle(0.0)
        if r.alive:  # the reset was not there yet
            r.connection.send(1, UpgradedBody(b"too late"), 0.0)
            r.lane.settle(0.0)
        assert r.receiver.received == b"early answer"
        assert r.receiver.lost.etype is ErrorType.WRITE_ERROR


def test_a_bug_above_ends_only_this_transport(caplog):
    class Broken:
        def __init__(self, connection):
            self.closed = []

        def receive_event(self, stream_id, value, now):
            if stream_id:
                raise ZeroDivisionError
            self.closed.append(value.error)

    with rig(Broken) as r:
        r.theirs.sendall(b"x")
        with pytest.raises(ZeroDivisionError) as caught:
            r.read()
        r.transport.on_bug(caught.value, 4.0)
        r.lane.settle(4.0)
        assert r.receiver.closed[0].etype is ErrorType.INTERNAL_ERROR
        assert not r.alive
        assert "ZeroDivisionError" in caplog.text


def test_a_deadline_closes(caplog):
    with rig(Silent, read_timeout=5.0) as r:
        r.connection.set_deadline(0.0)
        r.lane.settle(0.0)
        r.lane.fire(4.0)
        assert r.alive
        r.lane.fire(5.0)
        assert not r.alive


def test_a_slow_reader_is_not_taken_for_a_stuck_one():
    with rig(Silent, write_timeout=10.0) as r:
        r.connection.send(1, UpgradedBody(BIG), 0.0)
        r.lane.settle(0.0)
        for now in (10.0, 20.0, 30.0):
            for _ in range(32):
                r.theirs.recv(65_536)
                r.write(now - 1)
            r.lane.fire(now)
            assert r.alive
        r.lane.fire(40.0)  # the kernel may have moved a little by itself since it was last asked
        r.lane.fire(50.0)
        r.lane.fire(60.0)
        assert not r.alive


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.integers(1, 40_000), min_size=1, max_size=5), min_size=1, max_size=8),
    st.lists(st.integers(1, 200_000), min_size=1, max_size=10),
)
def test_every_mixture_of_writes_and_reads_carries_the_same_bytes(bursts, reads):
    sent = bytearray()
    got = bytearray()
    with rig(Silent) as r:
        r.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        r.theirs.setblocking(False)

        def take(size):
            try:
                got.extend(r.theirs.recv(size))
            except BlockingIOError:
                return

        for number, burst in enumerate(bursts):
            for size in burst:
                data = bytes([len(sent) % 251]) * size
                sent += data
                r.connection.send(1, UpgradedBody(data), 0.0)
            r.lane.settle(0.0)
            take(reads[number % len(reads)])
            if r.watched[1]:
                r.write()
        r.connection.close(Closing.AFTER_FLUSH)
        r.lane.settle(0.0)
        while r.alive:
            take(200_000)
            r.write()
        r.theirs.settimeout(20)
        got += read_all(r.theirs)
    assert got == sent


def test_echo_holds_no_more_than_its_credit_for_a_reader_that_never_reads():
    with rig(Echo) as r:
        r.theirs.setblocking(False)
        while r.watched and r.watched[0]:
            try:
                r.theirs.send(bytes(65_536))
            except BlockingIOError:
                pass
            r.read()
        assert r.transport.unsent() < 16 * 1024 * 1024
        assert r.connection.paused == 1


class Torrent(Silent):
    """Sends again whenever there is room, until it is told to close."""

    sent = 0

    def receive_event(self, stream_id, value, now):
        if isinstance(value, Writable) and not self.connection.closing:
            self.sent += 1
            self.connection.send(1, UpgradedBody(bytes(65_536)), now)


def test_a_fast_reader_of_an_endless_body_lets_the_others_have_a_turn():
    with rig(Torrent) as r:
        reader = threading.Thread(target=read_all, args=(r.theirs,))
        reader.start()
        r.ours.setblocking(True)  # so that the kernel takes everything
        r.connection.send(1, UpgradedBody(bytes(65_536)), 0.0)
        r.lane.settle(0.0)
        for turn in range(1, 4):
            assert r.receiver.sent == 8 * turn - 1
            r.lane.run_posted(0.0)
        r.connection.close(Closing.AFTER_FLUSH)
        r.lane.settle(0.0)
        r.lane.run_posted(0.0)
        reader.join()
        assert not r.alive
