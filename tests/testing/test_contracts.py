"""What a class of one's own lacks is told by name, with what it is for, before anything is done with it."""

import math
import re

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from sansio_pingora.connectors import ConnectionPool
from sansio_pingora.http1 import Http1Client, Http1Server
from sansio_pingora.http2 import Http2Client, Http2Server
from sansio_pingora.limits import Limits
from sansio_pingora.server import ServerLifecycle
from sansio_pingora.services import ServiceGraph
from sansio_pingora.session import ServerConnection
from sansio_pingora.testing import drain, feed
from sansio_pingora.testing.contracts import check_contract
from sansio_pingora.testing.feeding import Feedable
from sansio_pingora.testing.stateful import (
    FlowMachine,
    HttpServerMachine,
    LifecycleMachine,
    PoolMachine,
    WebSocketMachine,
)
from sansio_pingora.testing.stateful.flow import Flowlike
from sansio_pingora.testing.stateful.lifecycle import Lifecyclelike
from sansio_pingora.testing.stateful.pool_contract import Poollike
from sansio_pingora.testing.stateful.websocket import WebSocketlike
from sansio_pingora.websocket import WebSocketSession

ONCE = settings(max_examples=1, phases=[Phase.generate], database=None)


@pytest.mark.parametrize(
    ("made", "contract"),
    [
        (ConnectionPool(size=1, idle_timeout=1.0), Poollike),
        (ServerLifecycle(ServiceGraph()), Lifecyclelike),
        (ServerConnection(now=0.0), Feedable),
        (Http1Server(0.0, Limits()), Flowlike),
        (Http1Client(Limits()), Flowlike),
        (Http2Server(0.0, Limits()), Flowlike),
        (Http2Client(0.0, Limits()), Flowlike),
        (WebSocketSession(0.0, Limits()), WebSocketlike),
    ],
    ids=lambda each: getattr(each, "__name__", type(each).__name__),
)
def test_our_own_machines_keep_their_contracts(made, contract):
    check_contract(made, contract, "it is")


class Nearly:
    """Has everything of a connection, and some of it otherwise."""

    deadline = None
    closing = False
    send = True

    def receive_data(self, data):
        """It knows no time."""

    async def handle_timeout(self, now):
        """It waits."""

    def data_to_send(self):
        """Fine."""


def test_all_that_is_wrong_is_told_in_one_go():
    with pytest.raises(TypeError) as told:
        check_contract(Nearly(), Feedable, "feed was given")

    first, *lines, last = str(told.value).splitlines()
    assert first == "feed was given Nearly, which is not all that is asked for:"
    assert [re.sub(": (?:[A-Z]|size).*$", "", line.strip()) for line in lines] == [
        "deadline: is None, and a property of type float is asked for",
        "receive_data: takes (data), and is called as receive_data(data, now)",
        "handle_timeout: is async, and a plain method handle_timeout(now) is asked for: nothing in here waits",
        "send: is True, and a method send(stream_id, task, now) is asked for",
        "consumed: missing method consumed(stream_id, size, now)",
    ]
    assert "docs/own-machines.md" in last


class Uncalled(ServerConnection):
    """Its deadline is a method."""

    def deadline(self):
        return math.inf


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (None, "given None, which.*\n  deadline: missing property"),
        (object(), "given object, which"),
        (ServerConnection, "given the class ServerConnection, and an object"),
        (Uncalled(now=0.0), "deadline: is a method, and a property"),
    ],
    ids=["None", "object", "class", "method"],
)
def test_feed_names_what_is_missing(made, match):
    with pytest.raises(TypeError, match=match):
        feed(made, [b"GET / HTTP/1.1\r\n"])


@pytest.mark.parametrize("call", ["receive_data", "data_to_send"])
@pytest.mark.parametrize("returned", [None, b"bytes"])
def test_feed_names_the_call_that_returned_something_else(call, returned):
    connection = type("Own", (ServerConnection,), {call: lambda *_: returned})(now=0.0)

    with pytest.raises(TypeError, match=f"Own.{call} returned {returned!r}, and a list of"):
        feed(connection, [b"GET / HTTP/1.1\r\n\r\n"])


def test_drain_too():
    with pytest.raises(TypeError, match="a list of bytes"):
        drain(type("Own", (ServerConnection,), {"data_to_send": lambda self: b"out"})(now=0.0))


class Incomplete:
    """Nothing is there."""


MACHINES = [
    (HttpServerMachine, ["make"], "make() returned Incomplete"),
    (PoolMachine, ["make"], "make() returned Incomplete"),
    (LifecycleMachine, ["make"], "make() returned Incomplete"),
    (WebSocketMachine, ["make_client"], "make_client() returned Incomplete"),
    (WebSocketMachine, ["make_server"], "make_server() returned Incomplete"),
]


@pytest.mark.parametrize(("machine", "names", "match"), MACHINES, ids=lambda each: getattr(each, "__name__", None))
def test_a_machine_refuses_at_its_start(machine, names, match):
    made = type("Mine", (machine,), {name: lambda *_, **__: Incomplete() for name in names})

    with pytest.raises(
        TypeError, match=re.escape(f"Mine.{match}, which is not all that is asked for:\n  deadline: missing")
    ):
        run_state_machine_as_test(made, settings=ONCE)


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (Http1Server(0.0, Limits()), "a pair is asked for: the client, and the server"),
        ((Http1Client(Limits()), Incomplete()), "as the server Incomplete, which"),
        ((Incomplete(), Http1Server(0.0, Limits())), "as the client Incomplete, which"),
    ],
    ids=["no pair", "server", "client"],
)
def test_a_flow_needs_two(made, match):
    class Mine(FlowMachine):
        def make(self, limits):
            return made

    with pytest.raises(TypeError, match=match):
        run_state_machine_as_test(Mine, settings=ONCE)


def test_a_pool_is_made_with_the_options_that_it_has():
    class Mine(PoolMachine):
        def make(self, *, size, room):
            return ConnectionPool(size=size, idle_timeout=1.0)

    with pytest.raises(TypeError, match=r"Mine.make\(\) takes room, and the options of a pool are size, idle_timeout"):
        run_state_machine_as_test(Mine, settings=ONCE)
