"""The state machines hold for our own machines, and find what is wrong with others."""

import unittest
from http.client import HTTPConnection

import pytest
from hypothesis import HealthCheck, Phase, settings

from sansio_pingora.apps import OriginApp
from sansio_pingora.session import ServerConnection
from sansio_pingora.testing.stateful import HttpServerMachine, WebSocketMachine
from sansio_pingora.websocket import WebSocketSession

TestHttpServer = HttpServerMachine.TestCase
TestHttpServer.settings = settings(max_examples=15, stateful_step_count=15)


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


@pytest.mark.parametrize("runtime", ["asyncio", "gevent", "threads"])
def test_the_fixture_serves_on_each_runtime(serve_app, runtime):
    client = HTTPConnection(serve_app(OriginApp(), runtime), timeout=20)
    client.request("GET", "/")
    assert client.getresponse().read() == b"Hello, world!"
    client.close()
