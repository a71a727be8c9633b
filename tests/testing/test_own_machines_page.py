"""The page on machines of one's own names all that is asked for, and its pool passes."""

import unittest

import pytest
from hypothesis import HealthCheck, settings

from sansio_pingora.connectors import ConnectionPool
from sansio_pingora.testing.feeding import Feedable
from sansio_pingora.testing.stateful import PoolMachine
from sansio_pingora.testing.stateful.flow import Flowlike
from sansio_pingora.testing.stateful.lifecycle import Lifecyclelike
from sansio_pingora.testing.stateful.pool_contract import Poollike
from sansio_pingora.testing.stateful.websocket import WebSocketlike
from tests.pages import blocks, execute, page

PAGE = page("own-machines.md")
PARTS = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])
ASKED = {
    "A pool: `PoolMachine`": Poollike,
    "A connection: `feed`, `HttpServerMachine`": Feedable,
    "Two ends: `FlowMachine`": Flowlike,
    "The life of a server: `LifecycleMachine`": Lifecyclelike,
    "A WebSocket: `WebSocketMachine`": WebSocketlike,
}


@pytest.mark.parametrize("title", ASKED)
def test_all_that_is_asked_for_is_in_its_table(title):
    rows = "".join(line.split(" | ")[0] for line in PARTS[title].splitlines() if line.startswith("| "))
    members = [name for name in vars(ASKED[title]) if not name.startswith("_")]

    assert members
    assert not [name for name in members if f"`{name}`" not in rows and f"`{name}(" not in rows]


def passes(machine, examples):
    case = machine.TestCase
    case.settings = settings(
        case.settings, max_examples=examples, stateful_step_count=50, suppress_health_check=list(HealthCheck)
    )
    result = unittest.TestResult()
    case("runTest").run(result)
    assert result.wasSuccessful(), result.failures + result.errors


def test_the_pool_of_the_page_passes():
    names: dict = {}
    execute(blocks(PAGE)[0], names)

    assert ConnectionPool not in names["SmallPool"].__mro__
    passes(names["Small"], 30)


class Plain:
    """A pool that knows neither ceilings nor lifetimes, and no streams."""

    def __init__(self, size, idle_timeout):
        self._pool: ConnectionPool = ConnectionPool(size=size, idle_timeout=idle_timeout)
        asked = "connections acquire reserve establish abandon release discard handle_timeout drain take_commands"
        for name in asked.split():
            setattr(self, name, getattr(self._pool, name))

    @property
    def idle(self):
        return self._pool.idle

    @property
    def deadline(self):
        return self._pool.deadline


def test_what_a_pool_does_not_have_is_not_asked_of_it():
    class Mine(PoolMachine):
        multiplexed = False

        def make(self, *, size, idle_timeout):
            return Plain(size, idle_timeout)

    passes(Mine, 10)
