"""Scripted clients and origins, put face to face without a proxy between them."""

import pytest

from sansio_pingora.testing import LinkProfile, Weather, World
from sansio_pingora.testing.clients import Client, Plan, Turn
from sansio_pingora.testing.faults import PARTS, at_part
from sansio_pingora.testing.ledger import Asked, Ledger
from sansio_pingora.testing.messages import request, response
from sansio_pingora.testing.origins import Origin, Reply, correct, reply_message

HOST = (b"Host", b"h")


def turn(token, method=b"GET", pieces=None, **more):
    message = request(method, b"/t/" + token, [HOST], pieces, chunked=pieces is not None, **more)
    return Turn(Asked(token, "c1", method, b"".join(pieces or [])), message)


def met(*turns, behaviour=correct, weather=None, slow_read=0.0, **plan):
    world = World(0, weather)
    origin = Origin(world, "o1", Ledger(), behaviour, slow_read=slow_read)
    client = Client(world, "c1", Plan(list(turns), **plan))
    world.listen("h:1", origin)
    world.client("h:1", client)
    world.run()
    return world, client, origin


@pytest.mark.parametrize("pipelined", [True, False])
@pytest.mark.parametrize("slow_read", [0.0, 0.2])
def test_every_request_is_answered_in_order(pipelined, slow_read):
    turns = [turn(b"a"), turn(b"b", b"POST", [b"some", b"thing"]), turn(b"c", b"HEAD")]

    _, client, origin = met(
        *turns, pipelined=pipelined, slow_read=slow_read, weather=Weather((LinkProfile(segment=20),))
    )

    assert [message.get(b"x-token") for message in client.reader.messages] == [b"a", b"b", b"c"]
    assert client.reader.messages[1].body == b"b"
    assert client.outcome == "closed"
    assert all(one.asked.sent for one in turns)
    assert len(origin.connections[0].replies) == 3


def test_an_origin_that_reads_slowly_answers_all_the_same():
    world, client, _ = met(
        turn(b"a", b"POST", [b"x" * 500]), slow_read=0.5, weather=Weather((LinkProfile(segment=100),))
    )

    assert client.reader.messages[0].body == b"a"
    assert client.outcome == "closed"
    assert world.now >= 2.5


@pytest.mark.parametrize("action", ["reset", "half-close"])
@pytest.mark.parametrize("part", PARTS)
def test_a_client_stops_in_every_part(action, part):
    one = turn(b"a", b"POST", [b"some", b"thing"], trailers=[(b"X-T", b"1")])
    if part == "body":
        one.message = request(b"POST", b"/t/a", [HOST], [b"something"])
    one.stop = (one.message.offsets(part)[0], action)

    world, _, origin = met(one, gives_up=5.0)

    assert world.faults.counts[at_part(action, "client", part)] == 1
    assert not one.asked.sent
    assert not origin.connections[0].reader.messages


def test_a_client_that_expects_goes_on_when_it_is_told_to():
    one = turn(b"a", b"POST", [b"body"])
    one.expects = True
    one.pauses = [(one.message.raw.index(b"\r\n\r\n") + 4, 100.0)]

    def continues(origin, message):
        reply = correct(origin, message)
        reply.early = False
        reply.continues = True
        return reply

    world, client, _ = met(one, behaviour=continues)

    assert client.reader.messages[0].informational == [100]
    assert world.now < 2000.0
    assert one.asked.sent


def test_an_origin_answers_early_then_says_more_than_it_should():
    def early(origin, message):
        answered = origin.ledger.answer(b"a")
        answered.status = 200
        return Reply(reply_message(answered, message), early=True, later=(0.5, b"junk"))

    one = turn(b"a", b"POST", [b"body"])
    one.pauses = [(len(one.message) - 1, 1.0)]

    world, client, _ = met(one, behaviour=early, stays=True, gives_up=5.0)

    assert world.faults.counts["origin answers early"] == 1
    assert client.received_bytes.endswith(b"\r\n\r\n") or client.fault


def test_an_origin_that_closes_ends_an_answer_without_a_length():
    def until_close(origin, message):
        answered = origin.ledger.answer(b"a")
        answered.status, answered.body = 200, b"all of it"
        return Reply(reply_message(answered, message, framing="close"), closes=True)

    _, client, _ = met(turn(b"a"), behaviour=until_close)

    assert client.reader.messages[0].body == b"all of it"
    assert client.outcome == "eof"


def test_nobody_waits_for_ever():
    def silent(origin, message):
        return Reply(response(200), silent=True)

    world, client, _ = met(turn(b"a"), behaviour=silent, patience=50.0)

    assert client.outcome == "patience"
    assert world.faults.counts["origin stalls"] == 1


@pytest.mark.parametrize("part", PARTS)
def test_offsets_lie_in_their_part(part):
    message = request(b"POST", b"/", [HOST], [b"some", b"thing"], chunked=True, trailers=[(b"X-T", b"1")])
    if part == "body":
        message = request(b"POST", b"/", [HOST], [b"something"])

    offsets = message.offsets(part)

    assert offsets
    assert {message.part_at(at) for at in offsets} == {part}
