"""Each oracle catches a fault planted for it, and says nothing about a world in order."""

import math
from collections import Counter
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from sansio_pingora.http2 import Http2Client, Http2Server
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Dial, Endpoint
from sansio_pingora.session import ServerConnection
from sansio_pingora.testing import (
    BoundedMemory,
    LinkProfile,
    NoTimerlessWait,
    OracleBroken,
    Raw,
    Termination,
    Weather,
    World,
)
from sansio_pingora.testing.clients import Client, Plan, Turn
from sansio_pingora.testing.engine_oracles import SplitInvariance
from sansio_pingora.testing.http2_scripts import ScriptedRequest
from sansio_pingora.testing.http_oracles import (
    AnswerOnce,
    CanonicalOut,
    Case,
    FilterContract,
    NoCrossTalk,
    Order,
    PoolHygiene,
    RetrySafety,
)
from sansio_pingora.testing.ledger import Asked, Ledger
from sansio_pingora.testing.messages import request
from sansio_pingora.testing.oracles import INVARIANTS
from sansio_pingora.testing.origins import Origin, OriginConnection
from sansio_pingora.testing.scenario import build_world
from sansio_pingora.transport import SocketAddr
from sansio_pingora.wire import Body
from tests.testing.fakes import Echo, FakeConnection, Receiver

ADDRESS = "10.0.0.2:80"


def served(oracle, connection=FakeConnection, weather=None, client=()):
    world = World(0, weather)
    app = Echo(connection=connection)
    driver = world.listen(ADDRESS, app)
    world.watch(oracle)
    world.client(ADDRESS, Raw(world, *client))
    return world, driver, app


# ── of our own machines ──────────────────────────────────────────────────────────────


def run_many(seeds):
    """Worlds of seeds; what there was to judge in them."""
    seen = Counter()
    for seed in range(seeds):
        world, _ = build_world(seed)
        try:
            world.settle()
        finally:
            for driver in world.drivers:
                driver.stop()
        seen += world.judged
    return seen


def test_a_lost_credit(monkeypatch):
    """A byte of each body is given back to nobody."""
    returned = Http2Server._return_credit
    monkeypatch.setattr(Http2Server, "_return_credit", lambda self, size: returned(self, max(size - 1, 0)))

    with pytest.raises(OracleBroken, match=r"I-12.*of a window of"):
        run_many(60)


def test_credit_that_is_given_twice(monkeypatch):
    returned = Http2Client._return_credit
    monkeypatch.setattr(Http2Client, "_return_credit", lambda self, size: returned(self, 2 * size))

    with pytest.raises(OracleBroken, match="I-12"):
        run_many(60)


def test_a_cut_that_matters(monkeypatch):
    """A server that overlooks what a piece begins with."""
    received = ServerConnection.receive_data
    monkeypatch.setattr(ServerConnection, "receive_data", lambda self, data, now: received(self, data[:40], now))
    world, driver, _ = served(
        Termination(), client=(b"GET / HTTP/1.1\r\n", 0.1, b"Host: a\r\nX: " + b"x" * 10 + b"\r\n\r\n")
    )
    world.watch(SplitInvariance(Limits(), driver))

    with pytest.raises(OracleBroken, match=r"I-2.*is read as"):
        world.settle()


def test_what_there_was_to_judge_is_counted():
    seen = run_many(12)

    assert {f"I-{number}" for number in (1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 15)} <= {name for name in seen if seen[name]}
    assert set(seen) <= set(INVARIANTS)


# ── of every world ───────────────────────────────────────────────────────────────────


def test_what_is_in_order_passes():
    world, _, _ = served(Termination())
    world.watch(BoundedMemory(Limits()))
    world.watch(NoTimerlessWait())

    world.settle()


def test_held_bytes_beyond_the_cap():
    class Hoarder(FakeConnection):
        def receive_data(self, data, now):
            self.held += 100_000
            return []

    world, _, _ = served(BoundedMemory(Limits()), Hoarder, client=(b"1", 0.1, b"2", 0.1, b"3"))

    with pytest.raises(OracleBroken, match=r"I-8.*holds 200000 bytes"):
        world.settle()


def test_output_beyond_the_cap():
    class Deaf(FakeConnection):
        def receive_data(self, data, now):
            self.out.append(b"x" * 100_000)
            return []

    profile = LinkProfile(receive_buffer=1, send_buffer=1, high=10)
    world, _, _ = served(BoundedMemory(Limits()), Deaf, Weather((profile,)), (b"1", 0.1, b"2", 0.1, b"3"))
    world.at(0.05, lambda _: None)

    with pytest.raises(OracleBroken, match=r"I-8.*told to pause"):
        world.settle()


@pytest.mark.parametrize(("pieces", "size", "piled_up"), [(8, 1, False), (9, 1, True), (9, 30, False), (30, 100, True)])
def test_pieces_whose_own_memory_outweighs_what_they_hold(pieces, size, piled_up):
    world, _, _ = served(Termination())
    pump = SimpleNamespace(_inbox=[Body(b"x" * size)] * pieces)
    socket = SimpleNamespace(end=SimpleNamespace(name="c1"))
    broken = pytest.raises(OracleBroken, match=rf"I-8.*{pieces} pieces wait") if piled_up else nullcontext()
    with broken:
        BoundedMemory(Limits())._judge_pieces(world, socket, SimpleNamespace(response_pump=pump))


def test_a_wait_without_a_timer():
    class Patient(FakeConnection):
        def receive_data(self, data, now):
            self.deadline = math.inf
            return []

    world, _, _ = served(NoTimerlessWait(), Patient, client=(b"x",))

    with pytest.raises(OracleBroken, match="I-9"):
        world.settle()


def test_a_connection_that_stays_for_ever():
    class Immortal(FakeConnection):
        def handle_timeout(self, now):
            self.deadline = math.inf
            return []

    world, _, _ = served(Termination(), Immortal)

    with pytest.raises(OracleBroken, match=r"I-10.*open for ever"):
        world.settle()


def test_a_dial_that_is_never_given_up():
    world, driver, app = served(Termination(), weather=Weather(chances={"connect black-holed": 1.0}))
    app.coordinator.give(
        Dial(1, SocketAddr("10.0.1.1", 80), Endpoint(driver.lane, FakeConnection(), Receiver())),
    )
    driver.settle()

    with pytest.raises(OracleBroken, match=r"I-10.*never given up"):
        world.settle()


def test_an_endpoint_without_a_transport():
    world, driver, _ = served(Termination())
    driver.lane.attach(Endpoint(driver.lane, FakeConnection(), Receiver()))
    driver.settle()

    with pytest.raises(OracleBroken, match=r"I-10.*without a transport"):
        world.settle()


# ── of a proxy ───────────────────────────────────────────────────────────────────────


class Story:
    """A world in which one client asked and one origin answered, as a test tells it."""

    def __init__(self, *tokens, method=b"GET", body=b""):
        self.world = World()
        self.case = Case(Ledger(), Limits())
        turns = []
        for token in tokens:
            asked = Asked(token, "c1", method, body)
            asked.sent = True
            self.case.ledger.ask(asked)
            turns.append(Turn(asked, request(method, b"/t/" + token, [(b"Host", b"h")])))
        self.client = Client(self.world, "c1", Plan(turns))
        self.client.reader.methods.extend([method] * len(tokens))
        self.client.begun = len(tokens)
        self.case.clients.append(self.client)
        self.origin = Origin(self.world, "o1", self.case.ledger)
        self.case.origins.append(self.origin)

    def answered(self, token, body=b"", complete=True):
        answer = self.case.ledger.answer(token)
        answer.body = body
        answer.complete = complete
        return answer.number

    def got(self, raw, outcome="closed"):
        self.client.received(raw)
        if outcome == "eof":
            self.client.reader.end()
        self.client.outcome = outcome

    def wrote(self, *writes, replies=()):
        """What the proxy wrote on one upstream connection: pairs of bytes and how many it had read before."""
        audit, at = [], 0
        for data, seen in writes:
            audit.append((at, seen, data))
            at += len(data)
        end = SimpleNamespace(name="1<s1.1", closed=False, dead=False, other=SimpleNamespace(audit=audit))
        connection = OriginConnection(self.origin, end)
        connection.reader.feed(b"".join(data for data, _ in writes))
        connection.replies = list(replies)
        self.origin.connections.append(connection)

    def judged(self, kind):
        oracle = kind(self.case)
        oracle.quiescent(self.world)


def answer(token, number, body=b"", length=None):
    return b"HTTP/1.1 200 OK\r\nX-Token: %b\r\nX-Answer: %d\r\nContent-Length: %d\r\n\r\n%b" % (
        token,
        number,
        len(body) if length is None else length,
        body,
    )


def ask(token, method=b"GET", body=b""):
    return b"%b /t/%b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (method, token, len(body), body)


HTTP_ORACLES = [AnswerOnce, NoCrossTalk, PoolHygiene, CanonicalOut, Order, RetrySafety, FilterContract]


@pytest.mark.parametrize("kind", HTTP_ORACLES)
def test_a_proxy_in_order_passes(kind):
    story = Story(b"a", b"b")
    story.got(answer(b"a", story.answered(b"a", b"1"), b"1") + answer(b"b", story.answered(b"b"), b""))
    story.wrote((ask(b"a"), 0), (ask(b"b"), 70), replies=[(70, True), (140, True)])
    story.case.exchanges.append(["new_ctx", "request_filter", "upstream_peer", "logging"])

    story.judged(kind)


def test_a_client_that_waits_for_ever():
    story = Story(b"a")
    story.got(b"", "patience")

    with pytest.raises(OracleBroken, match=r"I-1: c1: 0 of 1 requests were answered, and it waits for ever"):
        story.judged(AnswerOnce)


def test_a_client_that_is_sent_away_without_a_word():
    story = Story(b"a")
    story.got(b"", "eof")

    with pytest.raises(OracleBroken, match="neither an answer nor a reset"):
        story.judged(AnswerOnce)


def test_a_cut_answer_that_looks_complete():
    story = Story(b"a")
    number = story.answered(b"a", b"12345", complete=False)
    story.got(answer(b"a", number, b"123"))

    with pytest.raises(OracleBroken, match="looks complete"):
        story.judged(AnswerOnce)


def test_an_answer_that_lost_bytes():
    story = Story(b"a")
    number = story.answered(b"a", b"12345")
    story.got(answer(b"a", number, b"123"))

    with pytest.raises(OracleBroken, match="has 3 bytes of 5"):
        story.judged(AnswerOnce)


def test_an_answer_that_no_origin_gave():
    story = Story(b"a")
    story.got(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with pytest.raises(OracleBroken, match="that no origin gave"):
        story.judged(AnswerOnce)


def test_an_error_page_in_a_world_where_nothing_fails():
    story = Story(b"a")
    story.case.calm = True
    story.got(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

    with pytest.raises(OracleBroken, match="though nothing failed"):
        story.judged(AnswerOnce)


def test_a_cut_request_that_looks_complete():
    story = Story(b"a", method=b"POST", body=b"12345")
    story.wrote((ask(b"a", b"POST", b"123"), 0))

    with pytest.raises(OracleBroken, match="took 3 bytes for the whole body"):
        story.judged(AnswerOnce)


@pytest.mark.parametrize(("most", "broken"), [(4, False), (5, True), (None, True)])
def test_a_body_is_refused_that_is_not_too_large(most, broken):
    story = Story(b"a", method=b"POST", body=b"12345")
    story.case.limits = Limits(max_body=most)
    story.got(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")

    if not broken:
        story.judged(AnswerOnce)
        return
    with pytest.raises(OracleBroken, match=r"I-1: c1: the 5 bytes of b'a' are refused as too many, where"):
        story.judged(AnswerOnce)


def test_a_body_is_taken_that_is_too_large():
    story = Story(b"a", method=b"POST", body=b"12345")
    story.case.limits = Limits(max_body=4)
    story.wrote((ask(b"a", b"POST", b"12345"), 0))

    with pytest.raises(OracleBroken, match="took 5 bytes where 4 are allowed"):
        story.judged(AnswerOnce)


def test_two_answers_to_one_request():
    story = Story(b"a")
    number = story.answered(b"a")
    story.got(answer(b"a", number) * 2)

    with pytest.raises(OracleBroken, match=r"I-5.*nobody asked for"):
        story.judged(CanonicalOut)


def test_the_answer_to_somebody_else():
    story = Story(b"a")
    story.got(answer(b"z", story.answered(b"z")))

    with pytest.raises(OracleBroken, match=r"I-3.*never asked"):
        story.judged(NoCrossTalk)


def test_somebody_elses_bytes_in_an_answer():
    story = Story(b"a")
    story.got(answer(b"a", story.answered(b"a", b"aaaa"), b"aazz", length=9), "reset")

    with pytest.raises(OracleBroken, match=r"I-3.*not of it"):
        story.judged(NoCrossTalk)


def test_a_smuggled_request():
    story = Story(b"a")
    story.wrote((ask(b"smuggled"), 0))

    with pytest.raises(OracleBroken, match=r"I-3.*hidden in another"):
        story.judged(NoCrossTalk)


@pytest.mark.parametrize(
    ("seen", "reply", "complaint"),
    [
        (70, (70, False), "spoilt"),
        (60, (70, True), "10 bytes of the answer before it were still to come"),
        (75, (70, True), "5 bytes had come behind"),
    ],
)
def test_a_connection_reused_that_must_not_be(seen, reply, complaint):
    story = Story(b"a", b"b")
    story.wrote((ask(b"a"), 0), (ask(b"b"), seen), replies=[reply])

    with pytest.raises(OracleBroken, match=f"I-4.*{complaint}"):
        story.judged(PoolHygiene)


def test_a_connection_reused_before_the_answer():
    story = Story(b"a", b"b")
    story.wrote((ask(b"a"), 0), (ask(b"b"), 0))

    with pytest.raises(OracleBroken, match=r"I-4.*before request 1 was answered"):
        story.judged(PoolHygiene)


def test_a_message_that_the_reader_refuses():
    story = Story(b"a")
    story.got(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n")

    with pytest.raises(OracleBroken, match="I-5"):
        story.judged(CanonicalOut)


def test_answers_out_of_order():
    story = Story(b"a", b"b")
    story.got(answer(b"b", story.answered(b"b")) + answer(b"a", story.answered(b"a")))

    with pytest.raises(OracleBroken, match="I-6"):
        story.judged(Order)


def test_a_post_that_was_sent_twice():
    story = Story(b"a", method=b"POST")
    story.wrote((ask(b"a", b"POST"), 0))
    story.wrote((ask(b"a", b"POST"), 0))

    with pytest.raises(OracleBroken, match="I-7"):
        story.judged(RetrySafety)


# When an attempt reached its origin, and when the proxy was told there that it is not processed.
REFUSED_FIRST = [(1.0, 2.0), (3.0, None)]
REFUSED_WHILE_ON_ITS_WAY = [(3.0, None), (4.0, 2.0)]
REFUSED_TOO_LATE = [(1.0, 4.0), (3.0, None)]
NEVER_REFUSED = [(1.0, None), (3.0, None)]
TOO_EARLY_AND_BOTH_REFUSED = [(1.0, 5.0), (2.0, 3.0)]


def scripted(attempts):
    story = Story(b"a", method=b"POST")
    requests = [ScriptedRequest(1, b"a", b"POST", arrived, {}, refused=refused) for arrived, refused in attempts]
    story.case.http2_scripts.append(SimpleNamespace(requests=requests))
    return story


@pytest.mark.parametrize("attempts", [REFUSED_FIRST, REFUSED_WHILE_ON_ITS_WAY])
def test_a_post_that_was_refused_may_be_sent_again(attempts):
    scripted(attempts).judged(RetrySafety)


@pytest.mark.parametrize("attempts", [REFUSED_TOO_LATE, NEVER_REFUSED, TOO_EARLY_AND_BOTH_REFUSED])
def test_a_post_that_was_sent_again_before_it_was_refused(attempts):
    with pytest.raises(OracleBroken, match="I-7"):
        scripted(attempts).judged(RetrySafety)


def test_a_get_may_be_sent_twice():
    story = Story(b"a")
    story.wrote((ask(b"a"), 0))
    story.wrote((ask(b"a"), 0))

    story.judged(RetrySafety)


@pytest.mark.parametrize(
    ("phases", "complaint"),
    [
        ("new_ctx request_filter", "logging did not run"),
        ("new_ctx logging logging", "logging ran 2 times"),
        ("new_ctx request_filter request_filter logging", "request_filter ran 2 times"),
        ("request_filter new_ctx logging", "ran before new_ctx"),
        ("new_ctx request_filter early_request_filter logging", "out of order"),
        ("new_ctx upstream_peer logging response_filter", "behind logging"),
        ("new_ctx connected_to_upstream logging", "without an attempt"),
        ("new_ctx upstream_peer upstream_request_filter upstream_request_filter logging", "twice in one attempt"),
        ("new_ctx upstream_peer upstream_request_filter connected_to_upstream logging", "ran behind"),
        ("new_ctx upstream_peer fail_to_connect connected_to_upstream logging", "behind fail_to_connect"),
    ],
)
def test_phases_that_break_the_contract(phases, complaint):
    story = Story()
    story.case.exchanges.append(phases.split())

    with pytest.raises(OracleBroken, match=f"I-11: .*{complaint}"):
        story.judged(FilterContract)
