"""Answers that filters made shorter: what the origin still has of them is not downloaded for nobody."""

from __future__ import annotations

import pytest

from sansio_pingora.modules import ConditionalRequests, HttpModule, RangeRequests
from sansio_pingora.modules.conditional import to_304
from sansio_pingora.session import blocking
from sansio_pingora.upstreams import ALPN, HttpPeer, PeerOptions
from tests.modules.moduled import Moduled
from tests.proxy.ends import PAIRS, World
from tests.proxy.harness import ORIGIN, App

BIG = 10_000_000
LINGER = 65_536
TAG = (b"etag", b'"v1"')
ONE_BYTE = (b"range", b"bytes=0-0")
KNOWN = (b"if-none-match", b'"v1"')
FAILED = (b"if-match", b'"v2"')
BEYOND = (b"range", b"bytes=99999999999-")
ASKED = pytest.mark.parametrize(
    ("field", "status", "body"),
    [(ONE_BYTE, 206, b"x"), (KNOWN, 304, b""), (FAILED, 412, b""), (BEYOND, 416, b"")],
    ids=["206", "304", "412", "416"],
)
BOTH_SIDES = pytest.mark.parametrize("pair", PAIRS, ids="-".join)


class Observer:
    def __init__(self):
        self.ends = []

    def began(self, now):
        pass

    def ended(self, error, status, now):
        self.ends.append((error, status))


class Shortening(Moduled):
    def __init__(self):
        super().__init__(RangeRequests, ConditionalRequests)


class Observed(Shortening):
    def __init__(self):
        super().__init__()
        self.observer = Observer()
        self.options = None

    def upstream_peer(self, session, ctx):
        peer = HttpPeer(ORIGIN, options=self.options)
        peer.attempt = self.observer
        return peer


def begin(world, fields=(), *, length=None):
    """The head of an answer, of *length* bytes; None: it does not say."""
    if length is not None:
        fields = [*fields, (b"content-length", b"%d" % length)]
    elif world.pair[1] == "h1":
        fields = [*fields, (b"transfer-encoding", b"chunked")]
    world.origin.answer(200, fields, None, end=False)
    if length is None and world.pair[1] == "h1":
        world.origin.chunking = True


def more(origin, size, *, end=False, stream=0):
    """Body bytes, as the window allows; *end*: the last of a body whose length was said."""
    if origin.version == "h1":
        (origin.more if origin.chunking else origin.raw)(b"x" * size)
        return
    stream = stream or origin.stream
    while size:
        part = min(size, origin.h2.local_flow_control_window(stream), 16_384)
        assert part, "the window does not open"
        size -= part
        origin.more(b"x" * part, end=end and not size, stream=stream)


def gone(world, exchanges=1):
    """Every exchange is over, without an error, and nothing is left of any."""
    world.settle()
    assert world.ended == [None] * exchanges
    assert not world.bench.logs
    assert all(exchange.phase == "done" for exchange in world.bench.exchanges)


def cut(world):
    """The origin was told that its newest answer is not wanted: by its stream, or by its connection."""
    if world.pair[1] == "h1":
        return not world.origin.wire.alive
    assert world.origin.wire.alive
    return world.origin.request.code == 8  # CANCEL


@BOTH_SIDES
@ASKED
def test_the_rest_of_a_long_body_is_not_read(pair, field, status, body):
    world = World(pair, Shortening())
    world.client.ask(b"GET", b"/", [field])
    begin(world, [TAG], length=BIG)
    if body:
        more(world.origin, 10_000)
    assert world.client.answer.start == (status,)
    assert (world.client.answer.state, world.client.answer.body) == ("whole", body)
    assert cut(world)
    gone(world)
    world.client.ask(b"GET", b"/")
    world.origin.answer()
    assert world.client.answer.body == b"ok"
    assert len(world.origins) == (2 if pair[1] == "h1" else 1)
    gone(world, 2)
    world.assert_clean()


@BOTH_SIDES
@ASKED
def test_what_little_is_left_is_read_and_the_connection_kept(pair, field, status, body):
    world = World(pair, Shortening())
    world.client.ask(b"GET", b"/", [field])
    first = 10_000 if body else 0
    begin(world, [TAG], length=first + LINGER)
    more(world.origin, first)
    assert (world.client.answer.state, world.client.answer.body) == ("whole", body)
    assert not world.ended
    more(world.origin, LINGER - 1)
    assert not world.ended
    more(world.origin, 1, end=True)
    gone(world)
    world.client.ask(b"GET", b"/")
    world.origin.answer()
    assert world.client.answer.body == b"ok"
    assert len(world.origins) == 1
    gone(world, 2)
    world.assert_clean()


@BOTH_SIDES
def test_the_last_bytes_are_at_the_end_of_the_last_range(pair):
    world = World(pair, Shortening())
    world.client.ask(b"GET", b"/", [(b"range", b"bytes=5-9,20000-20009")])
    begin(world, length=BIG)
    more(world.origin, 20_000)
    assert world.client.answer.state == "open"
    assert not cut(world)
    more(world.origin, 16_000)
    assert world.client.answer.state == "whole"
    assert world.client.answer.body.count(b"x" * 10) == 1
    assert cut(world)
    gone(world)


@BOTH_SIDES
@pytest.mark.parametrize("end", ["time", "bytes", "end"])
def test_a_rest_of_unknown_length_has_so_much_time_and_room(pair, end):
    world = World(pair, Shortening(), linger_timeout=2.0)
    world.client.ask(b"GET", b"/", [KNOWN])
    begin(world, [TAG])
    assert world.client.answer.state == "whole"
    for _ in range(6):
        more(world.origin, 10_000)
        assert not world.ended
    if end == "time":
        world.bench.advance(1.9)
        assert not world.ended
        world.bench.advance(0.1)
    elif end == "bytes":
        more(world.origin, 10_000)
    else:
        world.origin.more(b"", end=True)
    world.settle()
    assert cut(world) is (end != "end")
    gone(world)
    world.assert_clean()


@pytest.mark.parametrize("origin", ["h1", "h2"])
def test_a_client_of_many_streams_gets_each_ended(origin):
    world = World(("h2", origin), Shortening(), h2_max_streams=10)
    for _ in range(50):
        world.client.ask(b"GET", b"/", [ONE_BYTE])
        begin(world, length=BIG)
        more(world.origin, 10)
        assert world.client.answer.state == "whole"
    gone(world, 50)


@BOTH_SIDES
def test_no_more_are_read_out_at_once_than_may_be_unlogged(pair):
    world = World(pair, Shortening(), max_unlogged=3)
    for turn in range(4):
        world.client.ask(b"GET", b"/", [KNOWN])
        if turn < 3:
            begin(world, [TAG], length=100)
    assert len(world.bench.exchanges) == 3
    world.bench.advance(1.0)
    world.settle()
    assert len(world.bench.exchanges) == 4
    assert world.ended == [None] * 3


@BOTH_SIDES
@pytest.mark.parametrize("who", ["origin", "client"])
def test_who_leaves_meanwhile_is_no_fault(pair, who):
    app = Observed()
    app.options = PeerOptions(alpn=ALPN.H2) if pair[1] == "h2" else None
    world = World(pair, app)
    world.client.ask(b"GET", b"/", [ONE_BYTE])
    begin(world, length=20_000)
    more(world.origin, 10)
    assert world.client.answer.state == "whole"
    if who == "origin":
        world.origin.reset()
    else:
        world.client.wire.reset()
        world.bench.advance(1.0)
    gone(world)
    assert app.observer.ends == [(None, 206)]
    world.bench.assert_clean()


class Filtering(App):
    """Without a module: a filter of the proxy's own decides."""

    def response_filter(self, session, response, ctx):
        if session.req_header.method == b"GET" and response.get(b"etag"):
            to_304(response)


class Waiting(Filtering):
    @blocking
    def response_filter(self, session, response, ctx):
        Filtering.response_filter(self, session, response, ctx)

    @blocking
    def response_body_filter(self, session, body, end_of_stream, ctx):
        return b"" if session.req_header.method == b"GET" else None


class Dropping(Filtering):
    def response_body_filter(self, session, body, end_of_stream, ctx):
        return b"" if session.req_header.method == b"GET" else None


@BOTH_SIDES
@pytest.mark.parametrize("app", [Filtering, Waiting, Dropping])
def test_a_filter_of_the_proxy_shortens_as_well(pair, app):
    world = World(pair, app())
    world.client.ask(b"GET", b"/")
    begin(world, [TAG], length=BIG)
    assert world.client.answer.start == (304,)
    assert world.client.answer.state == "whole"
    assert cut(world)
    gone(world)
    world.assert_clean()


@BOTH_SIDES
@pytest.mark.parametrize("app", [Filtering, Waiting, Dropping])
def test_the_rest_may_come_behind_the_next_request(pair, app):
    world = World(pair, app())
    world.client.ask(b"GET", b"/")
    begin(world, [TAG], length=LINGER)
    first, stream = world.origin, getattr(world.origin, "stream", 0)
    world.client.ask(b"PUT", b"/", (), b"next")
    more(first, LINGER - 1, stream=stream)
    assert not world.ended
    more(first, 1, end=True, stream=stream)
    assert world.ended == [None]
    world.origin.answer()
    assert world.client.answer.state == "whole"
    gone(world, 2)
    world.assert_clean()


@BOTH_SIDES
@pytest.mark.parametrize("app", [Filtering, Waiting, Dropping])
def test_what_a_filter_drops_counts(pair, app):
    world = World(pair, app())
    world.client.ask(b"GET", b"/")
    begin(world, [TAG])
    for _ in range(6):
        more(world.origin, 10_000)
    assert not world.ended
    more(world.origin, 10_000)
    assert cut(world)
    gone(world)
    world.assert_clean()


class Longer(App):
    """One that adds to a body, and one that changes nothing but the status."""

    def response_filter(self, session, response, ctx):
        if session.req_header.target == b"/longer":
            response.set_content_length(int(response.get(b"content-length")) + 6)
        else:
            response.set_status(203)

    def response_body_filter(self, session, body, end_of_stream, ctx):
        return b"first " + body if session.req_header.target == b"/longer" and body else None


@pytest.mark.parametrize("target", [b"/longer", b"/other"])
def test_what_is_not_shorter_keeps_its_trailers(target):
    world = World(("h2", "h2"), Longer())
    world.client.ask(b"GET", target)
    world.origin.answer(200, (), b"ok", length=2, end=False)
    world.bench.advance(5.0)
    assert not world.ended
    world.origin.more(trailers=[(b"x-sum", b"1")])
    assert world.client.answer.trailers == {b"x-sum": b"1"}
    assert world.client.answer.body == (b"first ok" if target == b"/longer" else b"ok")
    gone(world)
    world.assert_clean()


class Watching(HttpModule):
    """Sees the body before the ranges are taken from it."""

    order = 100
    seen: list

    def response_body_filter(self, session, body, end_of_stream):
        self.seen.append((len(body), end_of_stream))

    def done(self, session):
        self.seen.append("done")


@pytest.mark.parametrize("pair", [("h1", "h1"), ("h2", "h1")], ids="-".join)
@pytest.mark.parametrize("length", [20_000, BIG])
def test_what_modules_see_of_the_rest(pair, length, monkeypatch):
    monkeypatch.setattr(Watching, "seen", seen := [], raising=False)
    world = World(pair, Moduled(Watching, RangeRequests))
    world.client.ask(b"GET", b"/", [ONE_BYTE])
    begin(world, length=length)
    more(world.origin, 10_000)
    if length == 20_000:
        more(world.origin, 10_000)
    assert seen == ([(10_000, False), (10_000, True), "done"] if length == 20_000 else [(10_000, False), "done"])
    session, _ = world.app.ended[0]
    assert session.body_bytes_sent == 1
    gone(world)


@pytest.mark.parametrize("origin", ["h1", "h2"])
def test_a_client_that_does_not_read_does_not_hold_the_rest_back(origin):
    world = World(("h2", origin), Shortening(), client_settings={4: 5_000})
    world.client.stop_reading()
    world.client.ask(b"GET", b"/", [(b"range", b"bytes=0-6000")])
    begin(world, length=BIG)
    more(world.origin, 5_000)
    more(world.origin, 5_000)
    gone(world)
    assert world.client.answer.state == "open"
    world.client.open_window(None)
    assert world.client.answer.state == "whole"
    assert len(world.client.answer.body) == 6_001


class SlowUpload(App):
    def response_filter(self, session, response, ctx):
        if response.get(b"etag"):
            to_304(response)

    @blocking
    def request_body_filter(self, session, body, end_of_stream, ctx):
        return None


@BOTH_SIDES
def test_a_request_that_ends_meanwhile_does_not_end_it(pair):
    world = World(pair, SlowUpload())
    world.bench.hold_filters = True
    world.client.ask(b"PUT", b"/", (), b"body")
    begin(world, [TAG], length=100)
    assert world.client.answer.state == "whole"
    while world.bench.pending:
        world.bench.pending[0].run()
    assert not world.ended
    assert world.origin.request.body == b"body"
    more(world.origin, 100, end=True)
    gone(world)
    assert not cut(world)
    world.assert_clean()
