"""Scripts of parties, planned faults and scripts of filters, in a world."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as hypothesis_st

from sansio_pingora import HttpPeer, ProxyHttp
from sansio_pingora.apps import HttpService, OriginApp
from sansio_pingora.limits import Limits
from sansio_pingora.proxy import HttpProxy
from sansio_pingora.session import Sleep
from sansio_pingora.testing import (
    FILTER_ACTS,
    Answers,
    Asks,
    Awaits,
    Blocks,
    ClientScript,
    Fault,
    FilterScript,
    Inserts,
    LinkProfile,
    OriginScript,
    Raises,
    Raw,
    Replaces,
    Responds,
    Retries,
    Sleeps,
    Weather,
    World,
)
from sansio_pingora.testing import strategies as st

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def met(client, origin=None, plan=(), until=math.inf):
    world = World(0, Weather((LinkProfile(latency=0.0),), plan=tuple(plan)))
    origin = world.listen("o:1", origin or OriginScript((Answers(OK),)))
    client = world.client("o:1", client)
    world.run(until)
    return world, client, origin


def bodies(client):
    return [bytes(message.body) for message in client.reader.messages]


def test_a_client_and_an_origin_meet():
    _, client, origin = met(
        ClientScript((Asks(GET), Asks(POST))), OriginScript((Answers(OK), Answers(OK[:-2] + b"no")))
    )

    assert bodies(client) == [b"ok", b"no"]
    assert client.outcome == "closed"
    assert [message.body for message in origin.connections[0].reader.messages] == [b"", b"body"]


def test_head_gets_a_head():
    _, client, _ = met(ClientScript((Asks(GET.replace(b"GET", b"HEAD")), Asks(GET))))

    assert bodies(client) == [b"", b"ok"]


def test_pauses_and_a_stop():
    world, client, _ = met(ClientScript((Asks(POST, ((3, 1.0), (10, 2.0)), (len(POST) - 1, "reset")),)), until=50.0)

    assert not client.reader.messages
    assert [at for at, who, what, _ in world.trace if what == "reset"] == pytest.approx([3.0])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Asks(GET, stop=(99, "reset")), r"offsets \[99\] are not all within the 27 bytes"),
        (lambda: Answers(OK, pauses=((-1, 1.0),)), r"offsets \[-1\] are not all within"),
        (
            lambda: Asks(GET, stop=(1, "explode")),
            "a party stops by one of close, half-close, reset, stall, not 'explode'",
        ),
        (lambda: OriginScript(()), "an origin needs an answer"),
        (lambda: Fault("fire"), "a fault is one of refuse, late, stall, half-close, reset, not 'fire'"),
        (lambda: Fault("stall", side="origin"), "on the side of the client or of the server, not 'origin'"),
        (lambda: Fault("reset", connect=0), "connects count from 1"),
        (lambda: Fault("late"), "late by a finite number of seconds"),
        (lambda: FilterScript(rest=Sleeps()), "'rest' is no phase that follows a script"),
        (lambda: FilterScript(logging=Retries()), r"logging cannot do Retries\(\): Sleeps, Blocks, Awaits, Raises"),
    ],
)
def test_what_cannot_be_is_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


# ── planned faults ───────────────────────────────────────────────────────────────────

CLIENT = ClientScript((Asks(GET),), patience=100.0)


def test_the_second_connect_is_refused_and_the_third_late():
    world = World(0, Weather(plan=(Fault("refuse", connect=2), Fault("late", connect=3, seconds=5.0))))
    world.listen("o:1", OriginScript((Answers(OK),)))

    clients = [world.client("o:1", CLIENT, f"c{number}") for number in (1, 2, 3)]
    world.run()

    assert [client.outcome for client in clients] == ["closed", "refused", "closed"]
    assert clients[2].connected_at > 5.0 > clients[0].connected_at


@pytest.mark.parametrize("at", [0, 1, 20, len(OK) - 1])
def test_an_answer_is_cut_behind_a_byte(at):
    _, client, _ = met(CLIENT, plan=[Fault("half-close", side="server", at=at)])

    assert bytes(client.received_bytes) == OK[:at]
    assert client.outcome == "eof"


@pytest.mark.parametrize("at", [0, 1, 20])
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_link_is_reset_behind_a_byte(side, at):
    _, client, origin = met(CLIENT, plan=[Fault("reset", side=side, at=at)])

    assert client.outcome == "reset"
    if side == "client":
        assert not origin.connections[0].reader.messages
    else:
        assert bytes(client.received_bytes) in (b"", OK[:at])


@pytest.mark.parametrize("at", [0, 5, 20])
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_stall_holds_bytes_up_and_loses_none(side, at):
    world, client, _ = met(CLIENT, plan=[Fault("stall", side=side, at=at, seconds=7.0)])

    assert bodies(client) == [b"ok"]
    assert [when for when, who, what, _ in world.trace if what == "outcome"] == pytest.approx([7.0])


@pytest.mark.parametrize("others", [[2.0], [2.0, 3.0], [7.0]])
@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("turned", [False, True])
def test_stalls_at_the_same_byte_last_as_long_as_the_longest(side, others, turned):
    stalls = [Fault("stall", side=side, at=5, seconds=seconds) for seconds in [*others, 7.0]]

    world, client, _ = met(CLIENT, plan=stalls[::-1] if turned else stalls)

    assert bodies(client) == [b"ok"]
    assert [when for when, who, what, _ in world.trace if what == "outcome"] == pytest.approx([7.0])


@pytest.mark.parametrize(("after", "seconds", "end"), [(3.0, 1.0, 5.0), (3.0, 6.0, 9.0), (6.0, 6.0, 12.0)])
def test_a_stall_that_begins_during_or_behind_another(after, seconds, end):
    slow = OriginScript((Answers(OK, ((len(OK) - 1, 8.0),)),))
    plan = [Fault("stall", side="server", seconds=5.0), Fault("stall", side="server", after=after, seconds=seconds)]

    world, client, _ = met(CLIENT, slow, plan)

    assert bodies(client) == [b"ok"]
    assert [when for when, who, what, _ in world.trace if what == "outcome"] == pytest.approx([max(end, 8.0)])


def test_a_stall_without_an_end_outlasts_one_with_an_end():
    _, client, _ = met(CLIENT, plan=[Fault("stall", at=3), Fault("stall", at=3, seconds=2.0)])

    assert client.outcome == "patience"


def test_a_stall_without_an_end():
    _, client, _ = met(CLIENT, plan=[Fault("stall", at=3)])

    assert client.outcome == "patience"


def test_a_fault_may_begin_some_time_behind_its_byte():
    slow = OriginScript((Answers(OK, ((len(OK) - 1, 3.0),)),))

    world, client, _ = met(CLIENT, slow, [Fault("reset", after=2.0)])

    assert client.outcome == "reset"
    assert bytes(client.received_bytes) == OK[:-1]
    assert [when for when, _, what, _ in world.trace if what == "fault"] == pytest.approx([2.0])


def test_the_end_is_held_up_with_what_is_before_it():
    origin = OriginScript((Answers(b"HTTP/1.1 200 OK\r\n\r\nall", closes=True),))

    world, client, _ = met(CLIENT, origin, [Fault("stall", side="server", at=21, seconds=9.0)])

    assert bodies(client) == [b"all"]
    assert world.now >= 9.0


# ── filters ──────────────────────────────────────────────────────────────────────────


class Plain(ProxyHttp):
    def __init__(self):
        self.contexts = 0
        self.seen = []

    def new_ctx(self):
        self.contexts += 1

    def upstream_peer(self, session, ctx):
        return HttpPeer("o:1")

    def logging(self, session, error, ctx):
        self.seen.append(error)


def through(script, raw=GET, origin=None, limits=None, until=20.0):
    world = World(0)
    world.listen("o:1", origin or HttpService(OriginApp()))
    filters = script.mixed_into(Plain)()
    world.listen("p:1", HttpProxy(filters, limits or Limits()))
    client = world.client("p:1", ClientScript((Asks(raw),), patience=15.0))
    world.run(until)
    messages = client.reader.messages
    return messages[0] if messages else None, filters.seen, world


def test_filters_that_are_late_in_each_form():
    acts = {"request_filter": Sleeps(1.0), "upstream_response_filter": Awaits(2.0), "response_filter": Blocks()}

    message, seen, world = through(FilterScript(**acts))

    assert message is not None
    assert message.body == b"Hello, world!"
    assert seen == [None]
    assert world.now >= 3.0


def test_a_filter_that_never_goes_on():
    message, seen, _ = through(FilterScript(request_filter=Sleeps()))

    assert message is None
    assert len(seen) == 1
    assert seen[0] is not None


@pytest.mark.parametrize(("act", "status"), [(Raises(), 500), (Raises(418), 418), (Responds(403), 403)])
def test_filters_that_end_it(act, status):
    message, _, _ = through(FilterScript(request_filter=act))

    assert message is not None
    assert message.status == status


def test_filters_that_change_heads_and_bodies():
    acts = {
        "upstream_request_filter": Inserts(b"x-edge", b"1"),
        "request_body_filter": Replaces(b"another body"),
        "response_filter": Inserts(b"x-seen", b"2"),
        "response_body_filter": Replaces(b"!"),
    }
    origin = OriginScript((Answers(OK),))
    world = World(0)
    listening = world.listen("o:1", origin)
    world.listen("p:1", HttpProxy(FilterScript(**acts).mixed_into(Plain)()))
    client = world.client("p:1", ClientScript((Asks(POST),)))
    world.run()

    (asked,) = listening.connections[0].reader.messages
    assert (asked.get(b"x-edge"), asked.body, asked.framing) == (b"1", b"another body", "chunked")
    (answer,) = client.reader.messages
    assert (answer.get(b"x-seen"), answer.body, answer.framing) == (b"2", b"!", "chunked")


def test_retries_are_asked_for():
    world = World(0, Weather(plan=(Fault("refuse", connect=2),)))  # the first is the client's
    world.listen("o:1", OriginScript((Answers(OK),)))
    world.listen("p:1", HttpProxy(FilterScript(fail_to_connect=Retries()).mixed_into(Plain)()))
    client = world.client("p:1", CLIENT)
    world.run()

    assert bodies(client) == [b"ok"]


def test_scripts_are_values():
    one, other = FilterScript(logging=Sleeps(1.0)), FilterScript(logging=Sleeps(1.0))

    assert one == other
    assert hash(one) == hash(other)
    assert one != FilterScript()


# ── whatever they all do ─────────────────────────────────────────────────────────────


@settings(max_examples=8, suppress_health_check=SLOW)
@given(st.clients(), st.origins(), st.filter_scripts(), st.weathers())
def test_a_proxy_logs_each_request_once_and_everything_ends(client, origin, script, weather):
    world = World(0, weather)
    world.listen("o:1", origin)
    filters = script.mixed_into(Plain)()
    driver = world.listen("p:1", HttpProxy(filters, Limits()))
    asking = world.client("p:1", client)
    world.run(until=3000.0)

    assert len(filters.seen) <= filters.contexts <= asking.begun + 1
    if "logging" not in script.acts:  # which may raise before it logs
        assert len(asking.reader.messages) <= len(filters.seen) == filters.contexts
    assert len(asking.reader.messages) <= len(client.asks)
    assert asking.outcome
    assert not driver.sockets


@settings(max_examples=6, suppress_health_check=SLOW)
@given(st.clients(manners=["polite", "pipelining", "dripping"]), st.filter_scripts(harmless=True), st.link_profiles())
def test_polite_parties_and_harmless_filters_are_served(client, script, profile):
    world = World(0, Weather((profile,)))
    world.listen("o:1", OriginScript((Answers(OK),)))
    generous = Limits(
        first_byte_timeout=1000.0,
        head_timeout=1000.0,
        read_timeout=1000.0,
        write_timeout=1000.0,
        min_body_rate=None,
        body_idle_timeout=1000.0,
    )
    world.listen("p:1", HttpProxy(script.mixed_into(Plain)(), generous))
    asking = world.client("p:1", client)
    world.run(until=3000.0)

    assert len(asking.reader.messages) == len(client.asks), (asking.outcome, asking.fault)


STATUS_OF = {
    b"GET /status/418 HTTP/1.1\r\nHost: a\r\n\r\n": 418,
    b"HEAD /nowhere HTTP/1.1\r\nHost: a\r\n\r\n": 404,
    b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n" + b"z" * 90_000: 200,
    b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nz\r\n" * 20 + b"0\r\n\r\n": 200,
}


def statuses_of(client, script):
    """With default limits, before an origin that has them too."""
    world = World(0)
    world.listen("o:1", HttpService(OriginApp()))
    world.listen("p:1", HttpProxy(script.mixed_into(Plain)()))
    asking = world.client("p:1", client)
    world.run(until=3000.0)
    return [message.status for message in asking.reader.messages if message.complete]


@pytest.mark.parametrize("phase", FILTER_ACTS)
def test_a_harmless_act_leaves_each_answer_its_status(phase):
    @settings(max_examples=10, suppress_health_check=SLOW)
    @given(st.filter_scripts([phase], harmless=True))
    def served(script):
        for raw, status in STATUS_OF.items():
            assert statuses_of(ClientScript((Asks(raw),)), script) == [status]

    served()


@settings(max_examples=10, suppress_health_check=SLOW)
@given(
    st.clients(hypothesis_st.sampled_from([*STATUS_OF]), manners=["polite", "pipelining"]),
    st.filter_scripts(harmless=True),
)
def test_harmless_acts_leave_each_answer_its_status(client, script):
    assert statuses_of(client, script) == [STATUS_OF[ask.raw] for ask in client.asks]


@settings(max_examples=8, suppress_health_check=SLOW)
@given(st.clients(), st.weathers(connects=1))
def test_nobody_loses_what_he_was_sent(client, weather):
    """Bytes that arrive are the first of those that were sent, whatever the network does."""
    world = World(0, weather)
    raw = b"".join(ask.raw for ask in client.asks)
    listening = Raw(world)
    world.listen("o:1", listening)
    world.client("o:1", client)
    world.run(until=3000.0)

    assert raw.startswith(listening.data)


def test_a_script_refuses_to_go_before_a_phase_that_waits():
    class Waits(ProxyHttp):
        def request_filter(self, session, ctx):
            yield Sleep(1.0)

    assert FilterScript(response_filter=Sleeps()).mixed_into(Waits)
    with pytest.raises(ValueError, match=r"Waits\.request_filter is generator"):
        FilterScript(request_filter=Sleeps(1.0)).mixed_into(Waits)
