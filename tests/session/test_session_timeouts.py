"""Time-outs of one exchange in place of the service's."""

from __future__ import annotations

import math

import pytest

from sansio_pingora.errors import ErrorType
from sansio_pingora.http1 import Http1Server
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing
from sansio_pingora.session import ServerSession
from sansio_pingora.wire import Body, Failed, Header, ResponseHeader, UpgradedBody
from tests.session.kinds import Asked, get, post

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"


class Client:
    """What a client makes of a server's connection, over time."""

    def __init__(self, raw, **limits):
        self.limits = Limits(**limits)
        self.connection = Http1Server(0.0, self.limits)
        self.now = 0.0
        self.tasks = []
        self.sessions = []
        self.receive(raw)

    @property
    def session(self):
        return self.sessions[-1]

    def take(self, events):
        for stream_id, value in events:
            if isinstance(value, Header):
                self.sessions.append(ServerSession(self.connection, stream_id, value, None, self.now, {}))
            elif stream_id:
                self.tasks.append(value)
                if isinstance(value, Body | UpgradedBody):
                    self.connection.consumed(stream_id, len(value.data), self.now)

    def receive(self, raw):
        self.take(self.connection.receive_data(raw, self.now))
        return self

    def after(self, seconds):
        """Let time pass, deadline by deadline."""
        end = self.now + seconds
        while self.connection.deadline <= end:
            self.now = max(self.now, self.connection.deadline)
            self.take(self.connection.handle_timeout(self.now))
        self.now = end
        for session in self.sessions:
            session.now = end
        return self

    @property
    def failed(self):
        """Why the exchange failed, if it did."""
        return next((task.error.etype for task in self.tasks if isinstance(task, Failed)), None)

    def answer(self, *tasks):
        for task in tasks or [Header(ResponseHeader(204), True)]:
            self.session.write_task(task)
        return b"".join(self.connection.data_to_send())


def test_a_read_timeout_holds_for_the_body():
    client = Client(POST)
    client.session.set_read_timeout(5.0)
    assert client.after(4.9).failed is None
    client.receive(b"x").after(4.9)
    assert client.failed is None
    assert client.after(0.1).failed is ErrorType.READ_TIMEDOUT
    assert b"408" in b"".join(client.connection.data_to_send())


def test_a_long_read_timeout_is_not_cut_short_by_the_least_rate():
    client = Client(POST)
    client.session.set_read_timeout(300.0)
    for _ in range(5):
        client.after(250.0).receive(b"x")
    assert client.failed is None
    assert client.after(300.0).failed is ErrorType.READ_TIMEDOUT


def test_no_read_timeout_at_all():
    client = Client(POST)
    client.session.set_read_timeout(None)
    assert client.session.get_read_timeout() is None
    assert client.after(1e7).failed is None


def test_a_read_timeout_holds_for_a_tunnel():
    client = Client(UPGRADE)
    client.session.set_read_timeout(5.0)
    client.answer(Header(ResponseHeader(101), False))
    assert client.after(4.0).failed is None
    assert client.after(1.0).failed is ErrorType.READ_TIMEDOUT


def test_a_tunnel_that_is_under_way_takes_another_read_timeout():
    client = Client(UPGRADE)
    client.answer(Header(ResponseHeader(101), False))
    client.after(50.0).session.set_read_timeout(100.0)
    assert client.after(99.0).failed is None
    assert client.after(1.0).failed is ErrorType.READ_TIMEDOUT


def test_a_read_timeout_starts_no_clock_while_we_withhold_credit():
    client = Client(POST, high_water=10)
    client.connection.receive_data(b"x" * 20, 0.0)
    assert not client.connection.want_read
    client.session.set_read_timeout(5.0)
    assert client.connection.deadline == math.inf


@pytest.mark.parametrize("progress", [False, True])
def test_a_write_timeout(progress):
    client = Client(GET)
    client.session.set_write_timeout(5.0)
    client.answer(Header(ResponseHeader(200), False), Body(b"x" * 1000))
    client.connection.write_paused(0.0)
    client.after(4.0)
    if progress:
        client.connection.write_progressed(client.now)
        assert client.after(4.0).failed is None
    assert client.after(1.0).failed is ErrorType.WRITE_TIMEDOUT
    assert client.connection.closing is Closing.ABORT


def test_a_write_timeout_that_is_set_while_the_client_takes_nothing():
    client = Client(GET)
    client.answer(Header(ResponseHeader(200), False), Body(b"x" * 1000))
    client.connection.write_paused(0.0)
    client.after(20.0).session.set_write_timeout(2.0)
    assert client.after(1.9).failed is None
    assert client.after(0.1).failed is ErrorType.WRITE_TIMEDOUT


@pytest.mark.parametrize(
    ("rate", "size", "seconds"),
    [(5000, 149_000, 29.8), (5000, 10, 1.0), (0, 149_000, 30.0), (None, 149_000, 30.0)],
    ids=["Pingora's example", "at least a second", "none", "none either"],
)
def test_a_least_send_rate(rate, size, seconds):
    client = Client(GET, high_water=1_000_000)
    client.session.set_min_send_rate(rate)
    client.session.write_response_header(ResponseHeader(200, [("Content-Length", str(size))]))
    client.connection.data_to_send()
    client.connection.write_resumed(0.0)  # the head is gone
    client.session.write_response_body(b"x" * size)
    client.connection.write_paused(0.0)
    assert client.connection.deadline == pytest.approx(seconds)


@pytest.mark.parametrize(("seconds", "kept"), [(5.0, 5.0), (0, math.inf), (None, 0.0)])
def test_keep_alive(seconds, kept):
    client = Client(GET)
    client.session.set_keepalive(seconds)
    head = client.answer()
    assert (b"Connection: close" in head) is (kept == 0.0)
    if kept == math.inf:
        assert not client.after(1e7).connection.closing
    elif kept:
        assert not client.after(kept - 0.1).connection.closing
        assert client.after(0.1).connection.closing is Closing.AFTER_FLUSH


def test_none_is_final():
    client = Client(GET)
    client.session.set_keepalive(None)
    client.session.set_keepalive(5.0)
    assert client.session.get_keepalive() is None
    assert b"Connection: close" in client.answer()


def test_a_client_that_closes_is_not_kept():
    client = Client(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    client.session.set_keepalive(5.0)
    assert client.session.get_keepalive() is None


def test_a_total_drain_timeout():
    client = Client(POST)
    client.session.set_total_drain_timeout(7.0)
    client.answer(Header(ResponseHeader(204), True))
    assert not client.after(6.9).connection.closing
    assert client.after(0.2).connection.closing


def test_the_next_exchange_has_the_limits_of_the_service():
    client = Client(GET)
    session = client.session
    session.set_read_timeout(5.0)
    session.set_write_timeout(6.0)
    session.set_min_send_rate(7)
    session.set_keepalive(8.0)
    session.set_abort_on_close(True)
    assert client.connection.limits is not client.limits
    client.answer()
    client.receive(POST)
    assert client.connection.limits is client.limits
    assert not client.connection.abort_on_close
    assert client.after(9.0).failed is None


def test_what_is_over_is_not_changed():
    client = Client(GET)
    client.answer()
    client.session.set_read_timeout(5.0)
    client.session.set_keepalive(1.0)
    assert client.connection.limits is client.limits
    assert not client.after(59.0).connection.closing


def test_values_that_are_none():
    client = Client(GET)
    for change in ({"seconds": -1.0}, {"seconds": math.nan}):
        with pytest.raises(ValueError, match="must be a number of 0 or more"):
            client.session.set_read_timeout(**change)
    assert client.connection.limits is client.limits


@pytest.mark.parametrize("abort", [False, True])
def test_abort_on_close(abort):
    client = Client(GET)
    client.session.set_abort_on_close(abort)
    client.take(client.connection.receive_eof(0.0))
    assert client.failed is (ErrorType.CONNECTION_CLOSED if abort else None)


def test_reuses_that_remain():
    client = Client(GET)
    assert client.session.get_keepalive_reuses_remaining() is None
    client.session.set_keepalive_reuses_remaining(2)
    for left in (1, 0):
        client.answer()
        client.receive(GET)
        assert client.session.get_keepalive_reuses_remaining() == left
    assert b"Connection: close" in client.answer()


def test_reuses_may_be_unlimited():
    client = Client(GET, keepalive_request_limit=5)
    client.session.set_keepalive_reuses_remaining(None)
    for _ in range(10):
        assert b"Connection: close" not in client.answer()
        client.receive(GET)


# ── who makes a subrequest keeps its own time, unless the exchange says otherwise ─────


def test_a_subrequest_has_no_clocks():
    asked = Asked(post(5), False)
    asked.session.invite_body()
    asked.settle().advance(1e7)
    assert asked.session.closed is None
    asked.session.write_response_header(ResponseHeader(200))
    asked.session.write_response_body(b"x" * 100_000)
    asked.settle().advance(1e7)
    assert asked.session.closed is None


def test_a_subrequest_with_a_read_timeout():
    asked = Asked(post(5), False)
    asked.session.set_read_timeout(5.0)
    asked.advance(100.0)  # nobody has asked for the body
    asked.session.now = asked.now
    asked.session.invite_body()
    asked.settle().advance(4.0)
    asked.feed(Body(b"x"))
    asked.advance(4.0)
    assert asked.received == []
    assert asked.connection.next_reason() == "body_idle_timeout"
    asked.advance(1.0)
    [failed] = asked.received
    assert failed.error.etype is ErrorType.READ_TIMEDOUT
    assert asked.session.closed is failed.error


def test_a_subrequest_with_a_write_timeout():
    asked = Asked(get(), True)
    asked.session.set_write_timeout(5.0)
    asked.session.write_response_header(ResponseHeader(200))
    assert asked.session.write_response_body(b"x" * 100_000) <= 0
    asked.settle().advance(4.0)
    asked.handle.consumed(50_000, asked.now)
    asked.settle().advance(100.0)  # there is room: nothing waits
    asked.session.now = asked.now
    assert asked.session.write_response_body(b"x" * 50_000) <= 0
    asked.settle().advance(4.0)
    assert asked.connection.next_reason() == "write_idle_timeout"
    asked.advance(1.0)
    assert asked.received[-1].error.etype is ErrorType.WRITE_TIMEDOUT
