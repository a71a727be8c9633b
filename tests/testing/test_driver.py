import math

import pytest

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.machine import CancelDial, Closing, Dial, Endpoint, LogLine, RunFilter, StopFilters
from sansio_pingora.testing import LinkProfile, OracleBroken, Raw, Weather, World, sleep
from sansio_pingora.transport import SocketAddr, TransportInfo
from tests.testing.fakes import Echo, FakeConnection, Receiver

ADDRESS = "10.0.0.2:80"


def serve(application, weather=None):
    world = World(0, weather)
    driver = world.listen(ADDRESS, application)
    return world, driver


def test_an_echo_is_served_and_closed():
    app = Echo()
    world, driver = serve(app)
    client = Raw(world, b"hello", shut=True)

    world.client(ADDRESS, client)
    world.run()

    assert client.data == b"hello"
    assert client.eof
    assert app.accepted[0].calls == ["eof", "closed"]
    assert not driver.sockets
    assert not driver.lane.endpoints


def test_a_deadline_is_kept_and_abort_is_a_reset():
    app = Echo(lifetime=5.0)
    world, driver = serve(app)
    client = Raw(world)

    world.client(ADDRESS, client)
    world.run()

    assert app.accepted[0].calls == ["timed out", "closed"]
    assert client.error is not None
    assert not driver.lane.endpoints


@pytest.mark.parametrize("fault", ["timer early", "timer late"])
def test_a_timer_that_is_not_exact_fires_once_all_the_same(fault):
    app = Echo(lifetime=5.0)
    world, _ = serve(app, Weather(chances={fault: 1.0}))

    world.client(ADDRESS, Raw(world))
    world.run()

    assert app.accepted[0].calls == ["timed out", "closed"]
    assert world.faults.counts[fault] >= 1


def test_a_reset_is_told_as_a_loss():
    app = Echo()
    world, driver = serve(app)
    client = Raw(world, b"x")
    world.client(ADDRESS, client)
    world.run(1.0)

    client.end.abort()
    world.run()

    assert app.accepted[0].calls == ["lost"]
    assert not driver.sockets


def test_a_slow_reader_pauses_and_resumes_the_writer():
    app = Echo()
    profile = LinkProfile(send_buffer=100, receive_buffer=100, high=100, low=20)
    world, _ = serve(app, Weather((profile,)))
    client = Raw(world, b"x" * 1000)
    world.client(ADDRESS, client)
    world.at(0.0015, lambda _: client.end and client.end.set_reading(False))
    world.at(0.0025, lambda _: client.end.set_reading(False))
    world.run(1.0)
    connection = app.accepted[0]
    assert connection.calls == ["paused"]

    client.end.set_reading(True)
    world.run(2.0)

    assert connection.calls == ["paused", "resumed"]
    assert client.data == b"x" * 1000


def test_a_peer_that_takes_something_is_told_apart_from_a_stuck_one():
    class Stalled(FakeConnection):
        def handle_timeout(self, now):
            if now >= self.deadline:
                self.deadline = now + 1.0 if now < 4.0 else math.inf
            return []

    app = Echo(lifetime=1.0, connection=Stalled)
    world, _ = serve(app, Weather((LinkProfile(send_buffer=0, receive_buffer=100, high=100, low=0),)))
    client = Raw(world, b"x" * 1000)
    world.client(ADDRESS, client)
    world.run(0.5)
    connection = app.accepted[0]
    connection.stalled = True
    client.end.set_reading(False)
    connection.out.append(b"y" * 1000)
    world.drivers[0].lane.enlist(connection.endpoint)
    world.drivers[0].settle()

    world.at(1.5, lambda _: client.end.set_reading(True))
    world.at(1.5, lambda _: world.at(world.now, lambda _: client.end.set_reading(False)))
    world.run(2.5)

    assert "progressed" in connection.calls


def test_reading_stops_where_the_connection_says_so():
    class Full(FakeConnection):
        def receive_data(self, data, now):
            self.want_read = False
            return []

    app = Echo(connection=Full)
    world, driver = serve(app, Weather((LinkProfile(receive_buffer=50),)))
    client = Raw(world, b"x" * 10, 0.1, b"y" * 1000)

    world.client(ADDRESS, client)
    world.run(1.0)

    (socket,) = driver.sockets
    assert socket.end.total_read == 10
    assert client.end.unsent == 950


def test_output_that_comes_of_being_flushed_goes_before_the_close():
    class Eager(FakeConnection):
        def receive_data(self, data, now):
            self.out.append(b"first")
            self.starved = True
            return []

        def write_resumed(self, now):
            self.starved = False
            self.out.append(b" last")
            self.shut_write = True
            self.closing = Closing.AFTER_FLUSH
            return []

    world, _ = serve(Echo(connection=Eager))
    client = Raw(world, b"go")

    world.client(ADDRESS, client)
    world.run()

    assert client.data == b"first last"
    assert client.eof


def test_bytes_after_shut_write_break_an_invariant():
    class Talkative(FakeConnection):
        def receive_data(self, data, now):
            self.out.append(data)
            self.shut_write = True
            return []

    world, _ = serve(Echo(connection=Talkative))

    world.client(ADDRESS, Raw(world, b"1", 0.1, b"2"))

    with pytest.raises(OracleBroken, match="I-5"):
        world.run()


def test_an_exception_of_the_core_breaks_an_invariant():
    class Faulty(FakeConnection):
        def receive_data(self, data, now):
            raise KeyError("oops")

    world, _ = serve(Echo(connection=Faulty))

    world.client(ADDRESS, Raw(world, b"1"))

    with pytest.raises(OracleBroken, match=r"I-15.*oops") as caught:
        world.run()
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_lane_that_never_settles_is_found():
    class Restless(FakeConnection):
        def data_to_send(self):
            self.endpoint.lane.enlist(self.endpoint)
            return []

    world, _ = serve(Echo(connection=Restless))

    world.client(ADDRESS, Raw(world))

    with pytest.raises(OracleBroken, match="does not settle"):
        world.run()


def test_drain_ends_what_is_there_and_takes_no_more():
    app = Echo()
    world, driver = serve(app)
    first, second = Raw(world), Raw(world)
    world.client(ADDRESS, first)
    world.run(1.0)

    driver.drain()
    world.client(ADDRESS, second)
    world.run()

    assert first.eof
    assert second.error.etype is ErrorType.CONNECT_REFUSED


# ── commands ─────────────────────────────────────────────────────────────────────────


def order(app, driver, *commands):
    app.coordinator.give(*commands)
    driver.settle()
    return app.coordinator


def dialed(driver):
    return Endpoint(driver.lane, FakeConnection(), Receiver())


def test_a_dial_attaches_the_endpoint_and_answers():
    app = Echo()
    world, driver = serve(app)
    origin = Raw(world, b"welcome")
    world.listen("10.0.1.1:80", origin)
    endpoint = dialed(driver)
    endpoint.connection.out.append(b"waiting since before")

    coordinator = order(app, driver, Dial(7, SocketAddr("10.0.1.1", 80), endpoint))
    world.run()

    ((_, how, token, info),) = coordinator.answers
    assert (how, token) == ("resume", 7)
    assert isinstance(info, TransportInfo)
    assert endpoint.info is info
    assert origin.data == b"waiting since before"
    assert endpoint.receiver.events[0][1].data == b"welcome"
    assert not driver.dials


def test_a_refused_dial_fails():
    app = Echo()
    world, driver = serve(app)

    coordinator = order(app, driver, Dial(1, SocketAddr("10.0.1.1", 80), dialed(driver)))
    world.run()

    ((_, how, token, error),) = coordinator.answers
    assert (how, token, error.etype) == ("fail", 1, ErrorType.CONNECT_REFUSED)


def test_a_cancelled_dial_is_never_answered_and_closed():
    app = Echo()
    world, driver = serve(app)
    origin = Raw(world)
    world.listen("10.0.1.1:80", origin)

    coordinator = order(app, driver, Dial(1, SocketAddr("10.0.1.1", 80), dialed(driver)))
    world.run(0.0015)
    order(app, driver, CancelDial(1), CancelDial(99))
    world.run()

    assert coordinator.answers == []
    assert not driver.dials
    assert not driver.sockets
    assert origin.error is not None


def test_log_lines_are_kept():
    app = Echo()
    _, driver = serve(app)

    order(app, driver, LogLine("ERROR", "it failed"))

    assert driver.log == [LogLine("ERROR", "it failed")]


def test_the_trace_has_a_log_line_without_its_traceback():
    """Each Python marks the place of an error in another way, and paths differ: traces must not."""
    app = Echo()
    world, driver = serve(app)

    order(app, driver, LogLine("ERROR", "it failed\nTraceback (most recent call last):\n  ^^^^"))

    assert [line[3] for line in world.trace if line[2] == "log"] == ["ERROR it failed"]


def test_a_filter_is_run_and_answered():
    app = Echo()
    world, driver = serve(app)

    def fails():
        raise ValueError("no")

    error = Error.http_status(418)

    def refuses():
        raise error

    coordinator = order(app, driver, RunFilter(1, lambda: "yes"), RunFilter(2, fails), RunFilter(3, refuses))
    world.run()

    (_, _, _, first), (_, how, _, second), (_, _, _, third) = coordinator.answers
    assert first == "yes"
    assert how == "fail"
    assert second.etype is ErrorType.INTERNAL_ERROR
    assert isinstance(second.cause, ValueError)
    assert third is error


def test_a_coroutine_sleeps_in_virtual_time():
    app = Echo()
    world, driver = serve(app)

    async def slow():
        await sleep(5.0)
        await sleep(2.0)
        return "done"

    coordinator = order(app, driver, RunFilter(1, slow, is_async=True))
    world.run()

    assert coordinator.answers == [(7.0, "resume", 1, "done")]


def test_a_stopped_coroutine_is_cancelled():
    app = Echo()
    world, driver = serve(app)
    ended = []

    async def slow():
        try:
            await sleep(5.0)
        finally:
            ended.append(world.now)

    order(app, driver, RunFilter(1, slow, is_async=True))
    world.run(1.0)
    order(app, driver, StopFilters())

    assert ended == [1.0]
    assert not driver.filters


@pytest.mark.parametrize("fault", ["filter error", "filter cancelled"])
def test_a_filter_that_fails_by_order(fault):
    app = Echo()
    world, driver = serve(app, Weather(chances={fault: 1.0}))

    coordinator = order(app, driver, RunFilter(1, lambda: "yes"))
    world.run()

    ((_, how, _, error),) = coordinator.answers
    assert how == "fail"
    assert isinstance(error, Error)


def test_a_filter_that_is_never_answered():
    app = Echo()
    world, driver = serve(app, Weather(chances={"filter never": 1.0}))

    coordinator = order(app, driver, RunFilter(1, lambda: "yes"))
    world.run()

    assert coordinator.answers == []
    assert len(driver.filters) == 1


def test_filters_are_answered_late_and_out_of_order():
    app = Echo()
    world, driver = serve(app, Weather(chances={"filter late": 0.5, "filter out of order": 1.0}))

    coordinator = order(app, driver, *(RunFilter(n, lambda: None) for n in range(10)))
    world.run()

    tokens = [token for _, _, token, _ in coordinator.answers]
    assert sorted(tokens) == list(range(10))
    assert tokens != sorted(tokens)


def test_a_coordinators_deadline_is_kept():
    app = Echo()
    world, driver = serve(app)
    app.coordinator.deadline = 3.0

    order(app, driver)
    world.run()

    assert app.coordinator.answers == [(3.0, "timeout", 0, None)]
