"""Scripted origins of HTTP/2, face to face with a client of the h2 library."""

import pytest

from sansio_pingora.testing import Raw, World
from sansio_pingora.testing.http2_clients import Http2Client, Http2Plan, Http2Turn
from sansio_pingora.testing.http2_scripts import GOAWAY_STATES, RESET_STATES, Http2Script
from sansio_pingora.testing.ledger import Asked, Ledger


def met(seed, *, misbehaves=0.0, calm=False, turns=4, window=65_535):
    world = World(seed)
    script = Http2Script(world, "o1", Ledger(), world.rng.fork("o1"), misbehaves, calm=calm)
    asked = [Asked(b"c-%d" % number, "c", b"POST", b"body" * 500) for number in range(turns)]
    plan = [Http2Turn(one, [one.body], begins=0.05 * number) for number, one in enumerate(asked)]
    client = Http2Client(world, "c", Http2Plan(plan, window=window, patience=20.0))
    world.listen("h:1", script)
    world.client("h:1", client)
    world.run()
    return world, client, script


@pytest.mark.parametrize("seed", range(5))
def test_a_calm_one_answers_everything_that_it_took(seed):
    world, client, script = met(seed, calm=True)

    assert client.fault == ""
    assert script.faults == []
    for turn in client.plan.turns:
        assert turn.outcome == ("complete" if turn.stream else "lost")  # behind a GOAWAY it was not asked
        assert not turn.stream or bytes(turn.body) == script.ledger.answered[int(turn.fields[b"x-answer"])].body
    assert all(request.complete and request.body == b"body" * 500 for request in script.requests)
    assert not world.faults.counts["h2 origin GOAWAY refuses a stream"]


def test_each_state_sees_a_goaway_and_a_reset():
    total = sum((met(seed, misbehaves=1.0)[0].faults.counts for seed in range(250)), start=World().faults.counts)

    for state in GOAWAY_STATES:
        assert total[f"h2 origin GOAWAY at {state}"], state
    for state in RESET_STATES:
        assert total[f"h2 origin resets in {state}"], state
    assert total["h2 origin GOAWAY refuses a stream"]
    assert total["h2 origin gives no window"]


def test_what_is_refused_is_remembered_with_the_time_at_which_the_client_was_told():
    refused = [request for seed in range(200) for request in met(seed, misbehaves=1.0)[2].requests if request.refused]

    there = [request for request in refused if request.refused >= request.arrived]
    on_its_way = [request for request in refused if request.refused < request.arrived]
    assert there
    assert on_its_way  # the GOAWAY had left before it came
    assert not any(request.complete or request.answered for request in on_its_way)


def test_a_goaway_does_not_move_the_refusal_of_a_stream_that_was_reset_before_it():
    both = [
        request
        for seed in range(400)
        for connection in met(seed, misbehaves=1.0)[2].connections
        for request in connection.requests.values()
        if request.refused is not None and request.stream > connection.last and request.refused < connection._last_said
    ]

    assert both


def test_what_is_being_answered_is_not_refused_by_a_goaway():
    for seed in range(200):
        for connection in met(seed, misbehaves=1.0)[2].connections:
            assert not any(request.told for stream, request in connection.requests.items() if stream > connection.last)


def test_a_breach_is_found():
    world = World()
    script = Http2Script(world, "o1", Ledger(), world.rng.fork("o1"), 0.0)
    world.listen("h:1", script)
    world.client("h:1", Raw(world, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x01"))
    world.run()

    assert len(script.faults) == 1
