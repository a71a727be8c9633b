"""The state machines hold for our own machines, and find what is wrong with others."""

import unittest
from http.client import HTTPConnection

import pytest
from hypothesis import HealthCheck, Phase, settings

from sansio_pingora.apps import OriginApp
from sansio_pingora.connectors import ConnectionPool
from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.http2 import Http2Client, Http2Server
from sansio_pingora.server import ServerLifecycle
from sansio_pingora.session import ServerConnection
from sansio_pingora.testing.stateful import (
    FlowMachine,
    HttpServerMachine,
    LifecycleMachine,
    PoolMachine,
    WebSocketMachine,
)
from sansio_pingora.websocket import WebSocketSession

TestHttpServer = HttpServerMachine.TestCase
TestHttpServer.settings = settings(max_examples=15, stateful_step_count=15)

TestHttp1Flow = FlowMachine.TestCase
TestHttp1Flow.settings = settings(max_examples=30, stateful_step_count=30)


class Http2Flow(FlowMachine):
    def make(self, limits):
        return Http2Client(0.0, limits), Http2Server(0.0, limits)


TestHttp2Flow = Http2Flow.TestCase
TestHttp2Flow.settings = settings(max_examples=30, stateful_step_count=30)


def verdict(machine):
    """What goes wrong with it, not shrunk."""
    case = machine.TestCase
    quick = {"max_examples": 200, "stateful_step_count": 20, "phases": [Phase.generate]}
    case.settings = settings(case.settings, suppress_health_check=list(HealthCheck), **quick)
    result = unittest.TestResult()
    case("runTest").run(result)
    return result.failures + result.errors


class Forgetful(ServerConnection):
    """Loses an answer now and then."""

    def data_to_send(self):
        out = super().data_to_send()
        return out if sum(map(len, out)) % 5 else []


class Doubling(WebSocketSession):
    """Tells of a text twice."""

    def receive_data(self, data, now):
        events = super().receive_data(data, now)
        return [*events, *(event for event in events if isinstance(getattr(event, "data", None), str))]


def test_a_server_that_loses_answers_is_found():
    class Lossy(HttpServerMachine):
        def make(self):
            return Forgetful(now=0.0)

    assert verdict(Lossy)


def test_a_websocket_that_doubles_is_found():
    class Twice(WebSocketMachine):
        def make_server(self, deflate):
            return Doubling(0.0, WebSocketMachine.make_server(self, deflate)._limits, deflate=deflate)

    assert verdict(Twice)


class Forgiving(ConnectionPool):
    """Takes a connection twice."""

    def release(self, handle, now, idle_timeout=None):
        try:
            super().release(handle, now, idle_timeout)
        except LocalProtocolError:
            pass


def test_a_pool_that_takes_a_connection_twice_is_found():
    class Twice(PoolMachine):
        def make(self, **options):
            return Forgiving(**options)

    assert verdict(Twice)


class Generous(ConnectionPool):
    """Hands on what is not to be used again."""

    def release(self, handle, now, idle_timeout=None):
        waits = self.waits(self._entries[handle].peer.key) if handle in self._entries else False
        super().release(handle, now, None if waits else idle_timeout)


def test_a_pool_that_hands_on_what_is_not_to_be_kept_is_found():
    class Kept(PoolMachine):
        def make(self, **options):
            return Generous(**options)

    # A story that is drawn once in a thousand or so.
    story = Kept()
    story.start(size=1, max_per_peer=1, idle_timeout=5.0, wait_timeout=4.0, max_lifetime=None, max_requests=None)
    story.acquire("a", at_once=True)
    story.acquire("a", at_once=False)
    story.agrees()
    story.release_what_somebody_waits_for(pick=0, timeout=0.0)
    with pytest.raises(AssertionError, match="NOT_KEPT"):
        story.agrees()


class Deaf(Http2Server):
    """Never says that there is room again."""

    def write_resumed(self, now):
        return []


def test_a_flow_that_stops_is_found():
    class Stopping(FlowMachine):
        def make(self, limits):
            return Http2Client(0.0, limits), Deaf(0.0, limits)

    assert verdict(Stopping)


class Hasty(ServerLifecycle):
    """Ends before its time."""

    def signal(self, signal, now):
        super().signal(signal, now)
        super().handle_timeout(now + 5.0)


def test_a_lifecycle_that_ends_early_is_found():
    class Early(LifecycleMachine):
        def make(self, graph, policies, **times):
            return Hasty(graph, policies, **times)

    assert verdict(Early)


@pytest.mark.parametrize("runtime", ["asyncio", "gevent", "threads"])
def test_the_fixture_serves_on_each_runtime(serve_app, runtime):
    client = HTTPConnection(serve_app(OriginApp(), runtime), timeout=20)
    client.request("GET", "/")
    assert client.getresponse().read() == b"Hello, world!"
    client.close()
