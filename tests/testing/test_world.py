import os
import subprocess
import sys

import pytest

from sansio_pingora.errors import ErrorType
from sansio_pingora.testing import LinkProfile, Oracle, OracleBroken, Raw, Termination, Weather, World
from sansio_pingora.testing.scenario import build_world
from sansio_pingora.testing.server_worlds import build_server_world
from sansio_pingora.testing.sim_proxy import random_proxy
from tests.testing.fakes import Echo

ROUGH = Weather(
    (LinkProfile(latency=0.01, jitter=0.02, cuts=20, segment=100, send_buffer=50, high=100, low=10),),
    {"timer early": 0.5, "timer late": 0.5, "at a timer": 0.1, "clock jump": 0.01, "accept delayed": 0.3},
)


def busy_world(seed):
    world = World(seed, ROUGH)
    world.listen("10.0.0.2:80", Echo())
    clients = [Raw(world, b"x" * 700, 0.3, b"y" * 90, name=f"c{n}", shut=True) for n in range(4)]
    for client in clients:
        world.client("10.0.0.2:80", client)
    world.watch(Termination())
    world.settle()
    assert [client.data for client in clients] == [b"x" * 700 + b"y" * 90] * 4
    return world


def test_events_happen_by_time_then_in_the_order_asked_for():
    world = World()
    seen = []
    for time, name in ((2.0, "c"), (1.0, "a"), (2.0, "d"), (1.0, "b")):
        world.at(time, seen.append, name)

    world.run()

    assert seen == ["a", "b", "c", "d"]
    assert world.now == 2.0


def test_run_stops_at_the_time_given():
    world = World()
    seen = []
    world.at(5.0, seen.append, "late")

    world.run(3.0)

    assert seen == []
    assert world.now == 3.0


def test_one_seed_one_trace():
    assert busy_world(3).trace_hash() == busy_world(3).trace_hash()
    assert busy_world(3).trace_hash() != busy_world(4).trace_hash()


@pytest.mark.parametrize("hash_seed", ["0", "1", "12345"])
def test_the_trace_does_not_depend_on_hash_randomization(hash_seed):
    code = "from tests.testing.test_world import busy_world; print(busy_world(3).trace_hash())"

    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(__file__))),
    )

    assert out.stdout.strip() == busy_world(3).trace_hash()


@pytest.mark.parametrize(
    ("fault", "etype"),
    [("connect refused", ErrorType.CONNECT_REFUSED), ("connect no route", ErrorType.CONNECT_NO_ROUTE)],
)
def test_a_connect_that_fails(fault, etype):
    world = World(0, Weather(chances={fault: 1.0}))
    world.listen("h:1", Raw(world))
    client = Raw(world)

    world.client("h:1", client)
    world.run()

    assert client.error.etype is etype
    assert world.faults.counts[fault] == 1


def test_where_nobody_listens_a_connect_is_refused():
    world = World()
    client = Raw(world)

    world.client("h:1", client)
    world.run()

    assert client.error.etype is ErrorType.CONNECT_REFUSED


def test_a_black_hole_never_answers():
    world = World(0, Weather(chances={"connect black-holed": 1.0}))
    world.listen("h:1", Raw(world))
    client = Raw(world)

    world.client("h:1", client)
    world.run()

    assert client.end is None
    assert client.error is None


def test_a_connection_aborted_before_accept_is_reset():
    world = World(0, Weather(chances={"accept aborted": 1.0}))
    server = Raw(world)
    world.listen("h:1", server)
    client = Raw(world)

    world.client("h:1", client)
    world.run()

    assert server.end is None
    assert client.error is not None


def test_a_broken_oracle_tells_how_to_see_it_again():
    class Pessimist(Oracle):
        def quiescent(self, world):
            world.broken("I-0", "all is lost")

    world = World(42)
    world.watch(Pessimist())
    world.at(1.5, lambda _: world.note("me", "did", "it"))

    with pytest.raises(OracleBroken) as caught:
        world.settle()

    text = str(caught.value)
    assert "I-0: all is lost" in text
    assert "at 1.5 s, step 1, seed 42" in text
    assert "me             did        it" in text
    assert "  again: what is built on World(42); with fewer decisions: shrink_seed(42, build=...)" in text


def test_a_broken_seed_of_the_simulator_tells_its_command():
    def again(world):
        with pytest.raises(OracleBroken) as caught:
            world.broken("I-0", "all is lost")
        return str(caught.value).splitlines()[-1]

    assert again(build_world(7)[0]) == "  again: python -m sansio_pingora.testing.simulate --seed 7 --trace"
    assert again(build_world(1)[0]) == "  again: python -m sansio_pingora.testing.simulate --seed 1 --trace"
    assert again(build_server_world(1)[0]).endswith("server_worlds.build_server_world(1)[0].settle()")
    assert again(build_world(1, random_proxy)[0]).endswith("scenario.run_seed(1, random_proxy)")


def test_a_complaint_that_a_machine_swallows_is_raised_all_the_same():
    def swallowing(_):
        try:
            world.broken("I-0", "hidden")
        except AssertionError:
            pass

    world = World()
    world.at(0.0, swallowing)

    with pytest.raises(OracleBroken, match="hidden"):
        world.run()


def test_a_loop_without_an_end_is_found():
    world = World()

    def again(_):
        world.at(world.now, again)

    again(None)

    with pytest.raises(OracleBroken, match="I-10"):
        world.run(max_steps=100)
