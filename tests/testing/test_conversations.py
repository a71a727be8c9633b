"""Conversations behind a handshake: the scripts, who has them, and their oracle."""

from collections import deque

import pytest

from sansio_pingora.limits import Limits
from sansio_pingora.testing import OracleBroken, Raw, World
from sansio_pingora.testing.conversations import Conversation, plan_tunnel, plan_websocket
from sansio_pingora.testing.http_oracles import Case
from sansio_pingora.testing.ledger import Ledger
from sansio_pingora.testing.talkers import Conversations, TalkClient, TunnelOrigin, websocket_origin

LIMITS = Limits()
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n"


def had(talk, listener, seed=0, **more):
    world = World(seed)
    case = Case(Ledger(), LIMITS, calm=True)
    client = TalkClient(world, talk.name, talk, **more)
    case.talks.append(talk)
    case.talkers.append(client)
    world.watch(Conversations(case))
    world.listen("h:1", listener(world))
    world.client("h:1", client)
    return world, client


@pytest.mark.parametrize("seed", range(20))
def test_an_echo_satisfies_the_oracle(seed):
    rng = World(seed).rng
    talk = plan_websocket(rng, "t1", misbehaves=False)
    world, client = had(talk, lambda world: websocket_origin(world.rng, LIMITS), seed)

    world.settle()

    assert client.status == 101
    assert talk.heard == talk.said
    assert talk.code in (1000, 4001)


@pytest.mark.parametrize("connect", [False, True])
def test_a_tunnel_satisfies_it(connect):
    talk = plan_tunnel(World(3).rng, "t1", misbehaves=False)
    world, client = had(talk, TunnelOrigin, connect=connect)

    world.settle()

    assert client.status == (200 if connect else 101)
    assert b"".join(talk.heard) == b"".join(talk.said)
    assert talk.outcome == "ended"


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"t1-0 and more", "did not say"),
        (b"", "though nothing failed"),
    ],
)
def test_a_tunnel_that_lies_breaks_it(answer, complaint):
    talk = Conversation("t1", False, deque([("said", b"t1-0"), ("say", b"t1-0"), ("wait", 1.0), ("cut", None)]))
    world, _ = had(talk, lambda world: Raw(world, SWITCHED + answer))

    with pytest.raises(OracleBroken, match=complaint):
        world.settle()


def test_frames_that_are_not_legal_break_it():
    talk = plan_websocket(World(0).rng, "t1", misbehaves=False)
    world, _ = had(talk, lambda world: websocket_origin(world.rng, LIMITS))
    talk.fault = "an opcode that is not defined"

    with pytest.raises(OracleBroken, match="I-5"):
        world.settle()


def test_who_waits_for_ever_breaks_it():
    talk = Conversation("t1", False, deque([("said", b"x")]))
    world, _ = had(talk, lambda world: Raw(world, b""))

    with pytest.raises(OracleBroken, match="waits for ever"):
        world.settle()


def test_a_handshake_that_is_refused_is_no_conversation():
    talk = plan_websocket(World(1).rng, "t1", misbehaves=True)
    world, client = had(talk, lambda world: Raw(world, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))
    world.run()

    assert client.status == 403
    assert talk.heard == []
