"""Each strategy finds the fault that it is there for, in something small that has it."""

import re

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import NoSuchExample

from sansio_pingora import HttpPeer, ProxyHttp
from sansio_pingora.http2 import PREFACE
from sansio_pingora.limits import Limits
from sansio_pingora.proxy import HttpProxy
from sansio_pingora.testing import Answers, Asks, ClientScript, FilterScript, OriginScript, Weather, World
from sansio_pingora.testing import strategies as st

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
SEARCH = settings(
    max_examples=200, phases=[Phase.generate], database=None, suppress_health_check=SLOW, derandomize=True
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def finds(strategy, holds):
    """*strategy* gives a value of which *holds* is not so."""

    class Found(Exception):
        pass

    @SEARCH
    @given(strategy)
    def search(value):
        if not holds(value):
            raise Found

    try:
        search()
    except Found:
        return
    raise NoSuchExample(f"{strategy!r} found nothing")


# ── parsers ──────────────────────────────────────────────────────────────────────────


def lines(head):
    return head.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]


def fields(head):
    """Wants a blank behind each colon."""
    return dict(line.split(b": ") for line in lines(head))


def readable(head):
    try:
        fields(head)
    except ValueError:
        return False
    return True


def says_host(head):
    """Knows one spelling alone, and one place."""
    return lines(head)[0].startswith(b"Host: ")


def dechunked(raw):
    """Knows no extensions and no trailers."""
    body = b""
    while True:
        size, _, raw = raw.partition(b"\r\n")
        if not int(size, 16):
            return body if raw == b"\r\n" else None
        body, raw = body + raw[: int(size, 16)], raw[int(size, 16) + 2 :]


def dechunks(raw):
    try:
        return dechunked(raw) is not None
    except ValueError:
        return False


def refuses(raw):
    """Looks for nothing but blanks before a colon."""
    return any(b" :" in line for line in lines(raw))


def accepts(raw):
    """Takes bare LF for the end of a line, as long as the start line is good."""
    return not re.match(rb"[A-Z-]+ [\x21-\x7e]+ HTTP/1\.1\r?\n", raw) or raw.count(b"\n") == raw.count(b"\r\n")


@pytest.mark.parametrize(
    ("strategy", "holds"),
    [
        (st.http1_request_heads(), readable),
        (st.http1_request_heads(), says_host),
        (st.http1_response_heads(), readable),
        (st.http1_requests(), lambda raw: raw.endswith(b"\r\n\r\n")),  # "no request has a body"
        (st.http1_responses(), lambda raw: raw[9:10] != b"1"),  # "the first head is the last"
        (st.http1_pipelines(), lambda raw: raw.count(b" HTTP/1.1\r\n") == 1),
        (st.field_names(), bytes.isalpha),
        (st.field_values(), lambda value: b" " not in value),
        (st.targets(), lambda target: b"?" not in target),
        (st.bodies(), lambda body: b"\r\n" not in body),
        (st.bodies(), lambda body: len(body) < 1024),
        (st.chunked(b"body"), dechunks),
        (st.chunkings(), lambda chunking: dechunks(chunking(b"some body"))),
        (st.cuts(), lambda cuts: any(GET.endswith(piece[-4:]) and len(piece) >= 4 for piece in cuts(GET))),
        (st.almost_valid_requests(), accepts),
        (st.known_bad_requests(), refuses),
    ],
    ids=str.split(
        "readable says_host readable_response ends_with_head first_is_last one_of_a_pipeline alphabetic no_blank "
        "no_query no_line_end below_a_kilobyte dechunks chunkings cuts accepts refuses"
    ),
)
def test_of_http1(strategy, holds):
    finds(strategy, holds)


# ── frames ───────────────────────────────────────────────────────────────────────────


def one_at_a_time(frames):
    """A server that knows no second stream."""
    return {int.from_bytes(frame[5:9], "big") for frame in frames if frame != PREFACE} <= {0, 1}


def goes_on(frames):
    """A server that skips what it does not know never ends a connection."""
    return all(frame == PREFACE or len(frame) - 9 == int.from_bytes(frame[:3], "big") for frame in frames)


def whole_messages(frames):
    """A reader that takes each frame for a message."""
    return all(frame[0] & 0x80 for frame in frames)


def takes_each_frame_for_a_message(talk):
    texts = [data for who, data in talk.pieces() if who == "server" and data[0] == 0x81]
    return len(texts) == sum(isinstance(said, str) for said in talk.messages("server"))


@pytest.mark.parametrize(
    ("strategy", "holds"),
    [
        (st.http2_frames(), one_at_a_time),
        (st.illegal_http2_frames(), goes_on),
        (st.websocket_frames(server=True), whole_messages),
        (st.websocket_conversations(), takes_each_frame_for_a_message),
        (st.websocket_conversations(), lambda talk: talk.sent("server")[-2:] != b"\x03\xe9"),  # closed by 1001
        (st.websocket_deflates(), lambda deflate: deflate is None or not deflate.server_no_context_takeover),
    ],
    ids=["streams", "illegal", "fragments", "conversation", "close", "deflate"],
)
def test_of_frames(strategy, holds):
    finds(strategy, holds)


# ── peers ────────────────────────────────────────────────────────────────────────────


def careless_key(peer):
    """A pool that keeps connections by address, and those with TLS apart."""
    return peer.address, peer.tls


def narrow_key(peer):
    """A pool that shares nothing between peers whose options differ."""
    return peer.reuse_key, repr(peer.options)


@pytest.mark.parametrize("key", [careless_key, narrow_key])
def test_of_pools(key):
    finds(st.peer_pairs(), lambda pair: (key(pair[0]) == key(pair[1])) is pair[2])


def test_of_peers():
    finds(st.peers(), lambda peer: peer.address.port)  # a Unix socket has none
    finds(st.peers(), lambda peer: peer.tls_name)


# ── parties, networks, filters ───────────────────────────────────────────────────────


class Hasty:
    """A server that takes each piece that arrives for a request."""

    def __init__(self):
        self.requests = []

    def accept(self, end):
        end.owner = self
        self.end = end
        end.set_reading(True)

    def received(self, data):
        self.requests.append(data)
        if not self.end.closed:
            self.end.write(OK)

    def ended(self):
        self.end.close()

    def lost(self, error):
        pass

    def progressed(self):
        pass


def understood(client):
    world = World(0)
    server = world.listen("o:1", Hasty())
    world.client("o:1", client)
    world.run(until=20.0)
    return {*server.requests} <= {ask.raw for ask in client.asks}


@pytest.mark.parametrize("manner", ["dripping", "stopping"])
def test_of_clients(manner):
    finds(st.clients(manners=[manner], most=2), understood)


class Trusting:
    """A client that believes that an answer comes at once, in one piece, and is well."""

    def __init__(self):
        self.data = None

    def connected(self, end):
        end.owner = self
        self.end = end
        end.set_reading(True)
        end.write(GET)

    def received(self, data):
        if self.data is None:
            self.data = data

    def refused(self, error):
        pass

    def ended(self):
        pass

    def lost(self, error):
        pass

    def progressed(self):
        pass


def believes(origin, weather=None, until=5.0):
    world = World(0, weather)
    world.listen("o:1", origin)
    client = world.client("o:1", Trusting())
    world.run(until=until)
    return client.data == origin.answers[0].raw


@pytest.mark.parametrize("manner", ["slow", "dripping", "stopping", "silent"])
def test_of_origins(manner):
    finds(st.origins(manners=[manner], most=1), believes)


def test_of_networks():
    origin = OriginScript((Answers(OK),))
    profiled = st.link_profiles().map(lambda profile: Weather((profile,)))
    finds(profiled, lambda weather: believes(origin, weather))
    finds(st.weathers(connects=1), lambda weather: believes(origin, weather))
    planned = st.fault_plans(connects=1).map(lambda plan: Weather(plan=plan))
    finds(planned, lambda weather: believes(origin, weather))


class Counting(ProxyHttp):
    """Counts what is under way in a filter that may be the last that it hears of a request."""

    def __init__(self):
        self.under_way = 0

    def upstream_peer(self, session, ctx):
        self.under_way += 1
        return HttpPeer("o:1")

    def response_body_filter(self, session, body, end_of_stream, ctx):
        if end_of_stream:
            self.under_way -= 1


def counts(script):
    world = World(0)
    world.listen("o:1", OriginScript((Answers(OK),)))
    filters = script.mixed_into(Counting)()
    world.listen("p:1", HttpProxy(filters, Limits()))
    world.client("p:1", ClientScript((Asks(GET),), gives_up=5.0))
    world.run(until=200.0)
    return filters.under_way == 0


def test_of_filters():
    assert counts(FilterScript())
    finds(st.filter_scripts(), counts)
