"""What a network may be like, and which of its faults chance can decide."""

import re

import pytest

from sansio_pingora import HttpPeer, ProxyHttp, Response, ServeHttp
from sansio_pingora.apps import HttpService, OriginApp
from sansio_pingora.proxy import HttpProxy
from sansio_pingora.session import blocking
from sansio_pingora.testing import (
    ALL_FAULTS,
    Answers,
    Asks,
    ClientScript,
    Fault,
    LinkProfile,
    OriginScript,
    Raw,
    Weather,
    World,
)
from sansio_pingora.testing.faults import BY_CHANCE, COUNTED, LINK_FAULTS
from sansio_pingora.testing.parties import STOPS
from tests.pages import page

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n" + CHUNKED
LENGTH = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
OF_ONES_OWN = [name for where, names in BY_CHANCE.items() if "simulate" not in where for name in names]


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: LinkProfile(segment=-1), "segment is -1: it is a whole number, and 1 at least"),
        (lambda: LinkProfile(segment=0), "segment is 0"),
        (lambda: LinkProfile(read_size=1.5), "read_size is 1.5"),
        (lambda: LinkProfile(receive_buffer=0), "receive_buffer is 0"),
        (lambda: LinkProfile(cuts=-1), "cuts is -1: it is a whole number, and 0 at least"),
        (lambda: LinkProfile(latency=-1), "latency is -1: it is a number of seconds"),
        (lambda: LinkProfile(jitter=float("inf")), "jitter is inf"),
        (lambda: LinkProfile(bandwidth=0), "bandwidth is 0 bytes a second"),
        (lambda: LinkProfile(bandwidth=float("nan")), "bandwidth is nan"),
        (lambda: Weather(()), "profiles is empty"),
        (lambda: Weather(LinkProfile()), r"profiles is a tuple of LinkProfile: write (LinkProfile(),)"),
        (lambda: Weather(plan=Fault("reset")), "plan is a tuple of Fault: write (Fault('reset'),)"),
        (lambda: Weather(plan=("reset",)), "plan is a tuple of Fault, not ('reset',)"),
        (lambda: Weather(chances=("clock jump",)), "chances is a dict of probabilities"),
        (lambda: Weather(chances={"connect refsued": 1.0}), "did you mean 'connect refused'?"),
        (lambda: Weather(chances={"origin reset in body": 0.1}), "'origin reset in body' does not happen by chance"),
        (lambda: Weather(chances={"clock jump": 2.0}), "the chance of 'clock jump' is 2.0"),
        (lambda: World(weather=LinkProfile()), "weather is a Weather, as Weather((LinkProfile(),))"),
        (lambda: Raw(World(), "text"), "a step of Raw is bytes to send, or a pause in seconds, not 'text'"),
        (lambda: Raw(World(), -1.0), "a pause of Raw is 0 seconds or more, not -1.0"),
        (lambda: Asks("text"), "Asks takes the bytes of a message, as b'GET / …', not 'text'"),
        (lambda: Answers(b"x", pauses=((0, -1.0),)), "each is an offset and 0 seconds or more"),
        (lambda: World().listen("a:1", lambda request: Response(200)), "HttpService(ServeHttp(handler, inline=True))"),
        (lambda: World().listen("a:1", ServeHttp(print)), "an HttpServerApp as HttpService(app)"),
        (lambda: World().listen("a:1", ProxyHttp()), "a ProxyHttp as HttpProxy(proxy)"),
        (lambda: World().client("a:1", object()), "is no client: it has connected(end)"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_made(make, complaint):
    with pytest.raises((TypeError, ValueError), match=re.escape(complaint)):
        make()


def test_text_on_a_link_is_refused():
    world = World()
    world.listen("a:1", Raw(world))
    client = world.client("a:1", Raw(world))
    world.run()

    with pytest.raises(TypeError, match="a link carries bytes, not text: 'hello'"):
        client.end.write("hello")


def test_nothing_written_is_nothing_sent():
    world = World()
    there = world.listen("a:1", Raw(world))
    world.client("a:1", Raw(world, b"", b"x", b"", shut=True))
    world.run()

    assert there.data == b"x"
    assert there.eof


# ── what happens where ───────────────────────────────────────────────────────────────


class Waits(ProxyHttp):
    """Its filters wait, and one of them fails."""

    def upstream_peer(self, session, ctx):
        return HttpPeer("a:2")

    @blocking
    def request_filter(self, session, ctx):
        return False

    @blocking
    def response_filter(self, session, response, ctx):
        raise RuntimeError


def application_of_ones_own(chances):
    world = World(1, Weather((LinkProfile(jitter=0.05),), chances))
    world.listen("a:1", HttpProxy(Waits()))
    world.listen("a:2", HttpService(OriginApp()))
    for port in (1, 2):
        for number in range(8):
            world.client(f"a:{port}", Raw(world, GET[:9], 0.5 * number, GET[9:], 9.8, GET))
    world.run(until=200.0)
    return world.faults.counts


@pytest.mark.parametrize("name", OF_ONES_OWN)
def test_chance_decides_in_a_world_of_ones_own(name):
    counts = application_of_ones_own({name: 0.5})

    assert counts[name]
    assert {*counts} <= {name, "short read", "short write", "reordered", "filter stale"}


@pytest.mark.parametrize("name", sorted({*ALL_FAULTS} - {name for names in BY_CHANCE.values() for name in names}))
def test_a_chance_of_what_chance_does_not_decide_is_refused(name):
    with pytest.raises(ValueError, match="does not happen by chance"):
        Weather(chances={name: 0.5})


def scripted():
    """What happens, with every stop at every place of a request, and of an answer."""
    counts = {}

    def meet(client, origin, profile=None):
        world = World(0, Weather((profile or LinkProfile(),)))
        world.listen("o:1", origin)
        world.client("o:1", client)
        world.run(until=2000.0)
        counts.update(world.faults.counts)

    ok = Answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    whole = b"HTTP/1.1 200 OK\r\n" + CHUNKED
    for raw, make in (
        (POST, lambda act: (ClientScript((act,)), OriginScript((ok,)))),
        (LENGTH, lambda act: (ClientScript((act,)), OriginScript((ok,)))),
        (whole, lambda act: (ClientScript((Asks(GET),)), OriginScript((act,)))),
        (ok.raw, lambda act: (ClientScript((Asks(GET),)), OriginScript((act,)))),
    ):
        kind = Answers if raw.startswith(b"HTTP") else Asks
        for at in range(len(raw) + 1):
            for stop in STOPS:
                meet(*make(kind(raw, stop=(at, stop))))
            meet(*make(kind(raw, pauses=((at, 0.5),))))
    meet(ClientScript((Asks(GET),), gives_up=1.0, slow_read=0.5), OriginScript((Answers(ok.raw, delay=5.0),)))
    meet(ClientScript((Asks(GET),), slow_read=0.5), OriginScript((ok,)), LinkProfile(segment=9))
    meet(ClientScript((Asks(LENGTH, ((50, 1.0),)),)), OriginScript((Answers(ok.raw, early=True),)))
    for later in (b"", b"junk"):
        meet(ClientScript((Asks(GET),), stays=True), OriginScript((Answers(ok.raw, later=(0.5, later)),)))
    small = LinkProfile(read_size=5, send_buffer=5, high=0, low=0, jitter=1.0, segment=10)
    world = World(0, Weather((small,)))
    world.listen("o:1", HttpService(OriginApp()))
    for _ in range(2):
        world.client("o:1", Raw(world, GET))
    world.run(until=50.0)
    return {*counts, *world.faults.counts}


def test_links_and_scripts_make_what_is_counted_as_theirs():
    assert scripted() == {name for names in COUNTED.values() for name in names}


@pytest.mark.parametrize("name", LINK_FAULTS)
def test_a_planned_fault_is_counted_when_it_happens(name):
    def counted(at):
        world = World(weather=Weather(plan=(Fault(name.removeprefix("link "), at=at),)))
        world.listen("a:1", Raw(world))
        world.client("a:1", Raw(world, b"12345"))
        world.run()
        return world.faults.counts[name]

    assert [counted(2), counted(9)] == [1, 0]


def test_a_refused_connect_and_a_late_one_are_counted():
    world = World(weather=Weather(plan=(Fault("refuse"), Fault("late", connect=2, seconds=3.0))))
    world.listen("a:1", Raw(world))
    for _ in range(2):
        world.client("a:1", Raw(world))
    world.run()

    assert dict(world.faults.counts) == {"connect refused": 1, "connect late": 1}


def test_the_page_says_which_faults_chance_decides_where():
    text = page("strategies/networks.md")

    def rows(table):
        return [f"| {where} | {', '.join(f'`{name}`' for name in names)} |" for where, names in table.items()]

    def short(names):
        """With what happens in each part of a message, or in each filter, in one."""
        return [*dict.fromkeys(re.sub(r"\bin [\w-]+$", "in …", name) for name in names)]

    for table in (BY_CHANCE, COUNTED):
        for row in rows({where: short(names) for where, names in table.items()}):
            assert row in text
