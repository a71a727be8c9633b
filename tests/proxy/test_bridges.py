"""WebSocket and CONNECT over every pair of versions (RFC 6455, RFC 8441, RFC 9113 section 8.5)."""

from __future__ import annotations

from base64 import b64decode

import pytest
from h2.settings import SettingCodes

from sansio_pingora.errors import ErrorType
from sansio_pingora.session import Sleep, websocket_accept
from tests.proxy.ends import PAIR_IDS, PAIRS, H1Client, World
from tests.proxy.harness import App

every_pair = pytest.mark.parametrize("pair", PAIRS, ids=PAIR_IDS)
towards_h2 = pytest.mark.parametrize("pair", PAIRS[1::2], ids=PAIR_IDS[1::2])

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 section 1.3
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
OFFER = [(b"Sec-WebSocket-Version", b"13"), (b"Sec-WebSocket-Protocol", b"chat"), (b"Origin", b"http://a.test")]


def ask(client, *, key=KEY, fields=()):
    """A WebSocket handshake, as the client's version has it."""
    if isinstance(client, H1Client):
        own = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
        if key:
            own.append((b"Sec-WebSocket-Key", key))
        client.ask(b"GET", b"/ws", [*own, *OFFER, *fields])
    else:
        client.ask(b"CONNECT", b"/ws", [*OFFER, *fields], protocol=b"websocket")


def accept(origin, *, wrong=False, fields=((b"Sec-WebSocket-Protocol", b"chat"),)):
    if origin.version == "h1":
        value = b"x" if wrong else websocket_accept(origin.request.fields[b"sec-websocket-key"])
        fields = [(b"Sec-WebSocket-Accept", value), *fields]
    origin.accept(fields)


def opened(pair, **limits):
    world = World(pair, **limits)
    ask(world.client)
    accept(world.origin)
    assert world.client.answer.status == (101 if pair[0] == "h1" else 200)
    return world


# ── the handshake ────────────────────────────────────────────────────────────────────


@every_pair
def test_the_handshake_is_what_the_origins_version_asks_for(pair):
    world = World(pair)
    ask(world.client)
    request = world.origin.request
    assert (request.protocol, request.body) == (b"websocket", b"")
    fields = dict(request.fields)
    assert fields.pop(b"host") == b"a.test"
    assert fields.pop(b"origin") == b"http://a.test"
    assert fields.pop(b"sec-websocket-version") == b"13"
    assert fields.pop(b"sec-websocket-protocol") == b"chat"
    if pair[1] == "h2":
        assert request.start == (b"CONNECT", b"/ws")
    else:
        assert request.start == (b"GET", b"/ws")
        assert fields.pop(b"connection") == b"upgrade"
        assert fields.pop(b"upgrade") == b"websocket"
        key = fields.pop(b"sec-websocket-key")
        assert len(b64decode(key, validate=True)) == 16
        assert pair[0] == "h2" or key == KEY
    assert fields == {}


@every_pair
def test_the_answer_is_what_the_clients_version_asks_for(pair):
    world = World(pair)
    ask(world.client)
    accept(world.origin)
    answer = world.client.answer
    fields = dict(answer.fields)
    fields.pop(b"date", None)
    assert fields.pop(b"sec-websocket-protocol") == b"chat"
    if pair[0] == "h1":
        assert answer.status == 101
        assert (fields.pop(b"connection"), fields.pop(b"upgrade")) == (b"upgrade", b"websocket")
        assert fields.pop(b"sec-websocket-accept") == ACCEPT
    else:
        assert answer.status == 200
    assert fields == {}
    assert answer.state == "open"
    assert world.ended == []


@every_pair
@pytest.mark.parametrize("plain", [False, True], ids=["websocket", "connect"])
def test_a_content_length_of_0_is_not_that_of_the_tunnel(pair, plain):
    world = World(pair, connect=plain)
    length = (b"Content-Length", b"0")
    if plain:
        world.client.ask(b"CONNECT", b"a.test:443", [length])
        assert world.origin.request.start[0] == b"CONNECT"
        world.origin.accept()
    else:
        ask(world.client, fields=[length])
        accept(world.origin)
    world.client.raw(b"hello")
    assert world.origin.tunnelled == b"hello"
    world.origin.raw(b"hello yourself")
    assert world.client.answer.body == b"hello yourself"


@pytest.mark.parametrize("origin", ["h1", "h2"])
@pytest.mark.parametrize("plain", [False, True], ids=["websocket", "connect"])
def test_a_tunnel_with_a_body_is_the_client_s_fault(origin, plain):
    world = World(("h2", origin), connect=plain)
    length = [(b"Content-Length", b"5")]
    world.client.ask(b"CONNECT", b"a.test:443", length) if plain else ask(world.client, fields=length)
    assert world.client.answer.code == 1
    assert world.origins == []


def test_no_two_handshakes_have_the_same_key():
    world = World(("h2", "h1"))
    keys = set()
    for _ in range(3):
        ask(world.client)
        keys.add(world.origin.request.fields[b"sec-websocket-key"])
    world.bench.advance(1)
    other = world.new_client()
    ask(other)
    keys.add(world.origin.request.fields[b"sec-websocket-key"])
    assert len(keys) == 4


@every_pair
@pytest.mark.parametrize("status", [302, 403, 426, 500])
def test_a_refusal_is_an_ordinary_answer(pair, status):
    world = World(pair)
    ask(world.client)
    world.origin.answer(status, [(b"X-Why", b"no")], b"sorry")
    answer = world.client.answer
    assert (answer.status, answer.body, answer.state) == (status, b"sorry", "whole")
    assert answer.fields[b"x-why"] == b"no"
    assert world.ended == [None]
    world.bench.advance(2)
    world.assert_clean()


@pytest.mark.parametrize("origin", ["h1", "h2"])
@pytest.mark.parametrize("plain", [False, True], ids=["extended", "plain"])
@pytest.mark.parametrize("late", ["data", "end", "both", "trailers"])
def test_a_refusal_is_heard_to_its_end_whatever_the_client_still_says(origin, plain, late):
    """The connection is shared: what one stream says behind its refusal costs the others nothing."""
    world = World(("h2", origin), connect=plain)
    client = world.client
    if plain:
        tunnel = client.ask(b"CONNECT", b"b.test:443")
    else:
        ask(client)
        tunnel = client.stream
    world.origin.answer(403, body=b"hello", length=10, end=False)
    other = client.ask()
    if late in ("data", "both"):
        client.more(b"under way", stream=tunnel)
    if late in ("end", "both"):
        client.more(end=True, stream=tunnel)
    if late == "trailers":
        client.more(b"x", trailers=[(b"X-Sum", b"1")], stream=tunnel)
    assert (client.answer_to(tunnel).body, client.answer_to(tunnel).state) == (b"hello", "open")
    first, second = (world.origins[0], world.origins[1]) if origin == "h1" else (world.origin, world.origin)
    assert second.request.start == (b"GET", b"/")
    second.answer()
    if origin == "h1":
        first.more(b"world")
    else:
        first.more(b"world", end=True, stream=1)
    assert (client.answer_to(other).status, client.answer_to(other).state) == (200, "whole")
    assert (client.answer_to(tunnel).body, client.answer_to(tunnel).state) == (b"helloworld", "whole")
    assert world.ended == [None, None]
    world.bench.advance(2)
    world.assert_clean()


@pytest.mark.parametrize("origin", ["h1", "h2"])
def test_a_client_that_resets_amid_its_refusal(origin):
    world = World(("h2", origin))
    ask(world.client)
    world.origin.answer(403, body=b"hello", length=10, end=False)
    assert world.client.answer.status == 403
    world.client.reset()
    assert world.ended[0].etype is ErrorType.CONNECTION_CLOSED
    world.bench.advance(2)
    world.assert_clean()


@every_pair
@pytest.mark.parametrize("end", [False, True])
def test_a_tunnel_that_a_filter_opens_has_nobody_who_takes_its_bytes(pair, end):
    class Opens(App):
        def request_filter(self, session, ctx):
            session.accept_upgrade("websocket")
            yield Sleep(5)
            return True

    world = World(pair, Opens())
    ask(world.client)
    world.client.raw(b"hello", end=end)
    world.settle()
    world.bench.advance(5)
    assert world.client.answer.state == "whole"
    assert world.ended == [None]
    assert world.bench.errors == []


@pytest.mark.parametrize("status", [200, 204])
def test_a_success_that_is_no_101_would_be_taken_for_a_tunnel(status):
    world = World(("h2", "h1"))
    ask(world.client)
    world.origin.answer(status, body=b"" if status == 200 else None)
    assert (world.client.answer.status, world.client.answer.state) == (502, "whole")
    assert world.ended[0].etype is ErrorType.INVALID_HTTP_HEADER
    world.bench.advance(2)
    world.assert_clean()


def test_a_wrong_accept_is_no_websocket():
    world = World(("h2", "h1"))
    ask(world.client)
    accept(world.origin, wrong=True)
    assert world.client.answer.status == 502
    assert "Sec-WebSocket-Accept" in str(world.ended[0])
    assert world.origin.ended
    world.bench.advance(2)
    world.assert_clean()


@towards_h2
def test_an_origin_that_takes_no_extended_connect(pair):
    world = World(pair, origin_settings={SettingCodes.ENABLE_CONNECT_PROTOCOL: 0})
    ask(world.client)
    world.settle()
    assert world.origins[0].messages == {}
    assert world.client.answer.status == 502
    assert "extended CONNECT" in str(world.ended[0])
    world.bench.advance(2)
    world.assert_clean()


@towards_h2
def test_an_extended_connect_waits_for_the_settings_of_its_origin(pair):
    world = World(pair)
    ask(world.client)
    assert world.bench.origin.got.count(b"websocket") == 0  # they have not come, and nothing was sent on trust
    assert world.origin.request.protocol == b"websocket"


@pytest.mark.parametrize(
    ("fields", "key"),
    [([], None), ([(b"Content-Length", b"3")], KEY), ([(b"Transfer-Encoding", b"chunked")], KEY)],
    ids=["no_key", "length", "chunked"],
)
def test_a_handshake_that_is_none_goes_nowhere(fields, key):
    world = World(("h1", "h2"))
    ask(world.client, key=key, fields=fields)
    assert world.client.answer.status == 400
    assert world.origin.messages == {}
    world.bench.advance(2)


@pytest.mark.parametrize("version", [None, b"8"])
def test_a_handshake_of_another_version_is_not_made_up_for(version):
    world = World(("h2", "h1"))
    fields = [] if version is None else [(b"Sec-WebSocket-Version", version)]
    world.client.ask(b"CONNECT", b"/ws", fields, protocol=b"websocket")
    assert world.client.answer.status == 400
    assert world.origin.request.start == ()


@pytest.mark.parametrize("protocol", [b"foo", b"connect-udp"])
def test_no_other_protocol_is_bridged(protocol):
    world = World(("h2", "h1"))
    world.client.ask(b"CONNECT", b"/x", protocol=protocol)
    assert world.client.answer.status == 501
    assert world.origins == []


@pytest.mark.parametrize("protocol", [b"foo", b"h2c", b"TLS/1.3"])
def test_an_upgrade_to_anything_else_does_not_pass_to_an_origin_of_http_2(protocol):
    world = World(("h1", "h2"))
    world.client.ask(fields=[(b"Connection", b"Upgrade"), (b"Upgrade", protocol)])
    request = world.origin.request
    assert (request.start, request.fields) == ((b"GET", b"/"), {b"host": b"a.test"})
    world.origin.answer()
    assert world.client.answer.body == b"ok"
    world.assert_clean()


def test_a_client_of_http_10_cannot_upgrade():
    world = World(("h1", "h2"))
    own = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Key", KEY)]
    world.client.ask(b"GET", b"/ws", [*own, *OFFER], http=b"1.0")
    assert world.origin.request.protocol is None


# ── the tunnel ───────────────────────────────────────────────────────────────────────


@every_pair
def test_bytes_pass_both_ways(pair):
    world = opened(pair)
    for number in range(3):
        world.client.raw(b"ping %d" % number)
        world.origin.raw(b"pong %d" % number)
    assert world.origin.tunnelled == b"ping 0ping 1ping 2"
    assert world.client.answer.body == b"pong 0pong 1pong 2"
    assert world.ended == []


@every_pair
def test_much_passes_both_ways(pair):
    world = opened(pair)
    piece = bytes(range(250)) * 40
    for _ in range(40):
        world.client.raw(piece)
        world.settle()
        world.origin.raw(piece)
        world.settle()
    assert world.origin.tunnelled == piece * 40
    assert world.client.answer.body == piece * 40


@every_pair
def test_bytes_right_behind_the_acceptance(pair):
    world = World(pair)
    ask(world.client)
    if pair[1] == "h1":
        value = websocket_accept(world.origin.request.fields[b"sec-websocket-key"])
        world.origin.wire.send(
            b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: " + value + b"\r\n\r\nhello"
        )
    else:
        origin = world.origin
        assert origin.request.start
        origin.h2.send_headers(origin.stream, [(b":status", b"200")])
        origin.h2.send_data(origin.stream, b"hello")
        origin.flush()
    assert world.client.answer.body == b"hello"


@every_pair
def test_bytes_before_the_acceptance_wait_for_it(pair):
    world = World(pair)
    ask(world.client)
    world.client.raw(b"early")
    assert world.origin.tunnelled == b""
    accept(world.origin)
    assert world.origin.tunnelled == b"early"


@every_pair
@pytest.mark.parametrize("first", ["client", "origin"])
def test_half_close_is_relayed_and_the_other_direction_goes_on(pair, first):
    world = opened(pair)
    if first == "client":
        world.client.raw(b"last words", end=True)
        assert (world.origin.request.body, world.origin.request.state) == (b"last words", "whole")
        world.origin.raw(b"and mine")
        assert (world.client.answer.body, world.client.answer.state) == (b"and mine", "open")
        assert world.ended == []
        world.origin.raw(end=True)
    else:
        world.origin.raw(b"last words", end=True)
        assert (world.client.answer.body, world.client.answer.state) == (b"last words", "whole")
        world.client.raw(b"and mine")
        assert (world.origin.request.body, world.origin.request.state) == (b"and mine", "open")
        assert world.ended == []
        world.client.raw(end=True)
    assert world.client.answer.state == world.origin.request.state == "whole"
    assert world.ended == [None]
    world.assert_clean()


@every_pair
@pytest.mark.parametrize("who", ["client", "origin"])
@pytest.mark.parametrize("half_closed", [None, "client", "origin"])
def test_a_reset_ends_the_other_side_so_that_it_shows(pair, who, half_closed):
    world = opened(pair)
    if half_closed:
        getattr(world, half_closed).raw(end=True)
        world.settle()
    getattr(world, who).reset()
    world.settle()
    other = world.origin.request if who == "client" else world.client.answer
    if half_closed != who:
        assert other.state == "cut"
    assert len(world.ended) == 1
    assert world.ended[0] is not None
    world.assert_clean()


@every_pair
def test_a_silent_tunnel_ends(pair):
    world = opened(pair, read_timeout=10.0)
    world.bench.advance(8)
    world.client.raw(b"x")
    world.settle()
    world.bench.advance(8)
    assert world.ended == []
    world.bench.advance(11)
    assert world.client.answer.state == world.origin.request.state == "cut"
    assert len(world.ended) == 1
    world.assert_clean()


@every_pair
def test_a_tunnel_has_room_for_no_more_than_the_other_side_takes(pair):
    world = World(pair, client_settings={SettingCodes.INITIAL_WINDOW_SIZE: 100})
    ask(world.client)
    accept(world.origin)
    world.client.stop_reading()
    world.settle()
    sent = 0
    piece = b"x" * 10_000
    for _ in range(100):
        if pair[1] == "h2" and world.origin.h2.local_flow_control_window(world.origin.stream) < len(piece):
            break
        if pair[1] == "h1" and world.origin.wire.unread:
            break
        world.origin.raw(piece)
        sent += len(piece)
    assert sent <= 600_000
    world.client.open_window(None)
    for _ in range(100):
        world.settle()
    if pair[0] == "h2":
        world.client.h2.increment_flow_control_window(1 << 20, world.client.stream)
        world.settle()
    assert len(world.client.answer.body) == sent


# ── CONNECT ──────────────────────────────────────────────────────────────────────────


@every_pair
def test_connect_is_405_by_default(pair):
    world = World(pair)
    world.client.ask(b"CONNECT", b"b.test:443")
    assert world.client.answer.status == 405
    assert world.origins == []


@every_pair
def test_connect_enabled_is_a_tunnel(pair):
    world = World(pair, connect=True)
    fields = [(b"Host", b"b.test:443")] if pair[0] == "h1" else []
    if pair[0] == "h1":
        world.client.method = b"CONNECT"
        world.client.wire.send(b"CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n")
    else:
        world.client.ask(b"CONNECT", b"b.test:443", fields)
    request = world.origin.request
    assert request.start == (b"CONNECT", b"b.test:443")
    assert request.fields[b"host"] == b"b.test:443"
    world.origin.accept()
    assert world.client.answer.status == 200
    assert not {b"content-length", b"transfer-encoding"} & set(world.client.answer.fields)
    world.client.raw(b"client hello")
    world.origin.raw(b"server hello")
    assert (world.origin.tunnelled, world.client.answer.body) == (b"client hello", b"server hello")
    world.client.raw(end=True)
    world.settle()
    world.origin.raw(end=True)
    assert world.client.answer.state == "whole"
    assert world.ended == [None]
    world.assert_clean()


@every_pair
def test_connect_refused_by_the_origin(pair):
    world = World(pair, connect=True)
    world.client.ask(b"CONNECT", b"a.test:443")
    assert world.origin.request.start[0] == b"CONNECT"
    world.origin.answer(403, body=b"no")
    answer = world.client.answer
    assert (answer.status, answer.body, answer.state) == (403, b"no", "whole")
    world.bench.advance(2)  # what the client still sends was meant for the tunnel
    world.assert_clean()
