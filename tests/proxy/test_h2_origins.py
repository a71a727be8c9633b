"""Origins of HTTP/2: connections that are shared, faults that prove a request unread, windows, time-outs."""

from __future__ import annotations

import pytest
from h2.settings import SettingCodes

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.http2 import ErrorCode
from sansio_pingora.machine import READ_SIZE
from sansio_pingora.proxy.pumps import FIRST_WINDOW
from sansio_pingora.upstreams import ALPN, HttpPeer, PeerOptions
from tests.proxy.ends import H1Client, World
from tests.proxy.harness import ORIGIN, App, inbox

every_client = pytest.mark.parametrize("client", ["h1", "h2"])


def asked(world, count):
    """As many requests as that on one origin, each of a client of its own."""
    clients = [world.client, *(world.new_client() for _ in range(count - 1))]
    for number, client in enumerate(clients):
        client.ask(target=b"/%d" % number)
    world.settle()
    return clients


# ── sharing ──────────────────────────────────────────────────────────────────────────


def test_requests_of_many_clients_share_a_connection():
    world = World(("h1", "h2"))
    clients = asked(world, 5)
    (origin,) = world.origins
    assert [origin.messages[stream].start[1] for stream in (1, 3, 5, 7, 9)] == [b"/%d" % at for at in range(5)]
    for stream in (9, 1, 5, 7, 3):  # in whatever order
        origin.answer(body=b"%d" % stream, stream=stream)
    assert [client.answer.body for client in clients] == [b"1", b"3", b"5", b"7", b"9"]
    world.assert_clean()


def test_by_default_each_request_has_a_connection_of_its_own():
    world = World(("h1", "h2"), peer=PeerOptions(alpn=ALPN.H2))
    asked(world, 3)
    assert len(world.origins) == 3
    for origin in world.origins:
        origin.answer()
    world.assert_clean()


def test_what_the_origin_allows_holds_from_its_settings_on():
    world = World(("h1", "h2"), origin_settings={SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    world.client.ask()
    assert world.origin.request.start
    others = [world.new_client() for _ in range(3)]
    for client in others:
        client.ask()
        world.settle()
    assert [len(origin.messages) for origin in world.origins] == [2, 2]


def test_max_per_peer_makes_requests_wait_for_a_stream():
    world = World(("h1", "h2"), streams=2, max_per_peer=1)
    clients = asked(world, 4)
    (origin,) = world.origins
    assert len(origin.messages) == 2
    origin.answer(stream=1)
    assert clients[0].answer.status == 200
    world.settle()
    assert [message.start[1] for message in origin.messages.values()] == [b"/0", b"/1", b"/2"]
    world.bench.advance(5)
    assert clients[3].answer.status == 504  # pool_wait_timeout


def test_one_that_is_reset_does_not_touch_the_others():
    world = World(("h1", "h2"))
    clients = asked(world, 3)
    origin = world.origin
    origin.reset(stream=3)
    assert clients[1].answer.status == 502
    clients[2].reset()
    world.settle()
    assert origin.messages[5].code == ErrorCode.CANCEL
    origin.answer(stream=1)
    assert clients[0].answer.body == b"ok"
    assert len(world.origins) == 1
    world.assert_clean()


def test_a_connection_that_is_lost_is_lost_to_each():
    world = World(("h1", "h2"))
    clients = asked(world, 3)
    world.origin.answer(body=b"abc", length=10, end=False, stream=1)
    world.origin.wire.reset()
    assert (clients[0].answer.body, clients[0].answer.state) == (b"abc", "cut")
    assert [error.etype for error in world.ended][:1] == [ErrorType.READ_ERROR]
    # The others were sent behind another's request, and are sent again: the connection may have been going already.
    world.settle()
    assert sorted(message.start[1] for message in world.origin.messages.values()) == [b"/1", b"/2"]


# ── faults that prove a request unread ───────────────────────────────────────────────


@every_client
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_refused_stream_is_sent_again_whatever_its_method(client, method):
    world = World((client, "h2"))
    world.client.ask(method, body=b"abc", trailers=None)
    origin = world.origin
    assert origin.request.body == b"abc"
    origin.reset(ErrorCode.REFUSED_STREAM)
    assert origin.stream == 3
    assert (origin.request.start[0], origin.request.body, origin.request.state) == (method, b"abc", "whole")
    origin.answer()
    assert world.client.answer.body == b"ok"
    assert world.ended == [None]
    world.assert_clean()


@pytest.mark.parametrize("code", [ErrorCode.CANCEL, ErrorCode.INTERNAL_ERROR, ErrorCode.NO_ERROR])
def test_a_stream_reset_otherwise_is_not(code):
    world = World(("h1", "h2"))
    world.client.ask(b"GET")
    world.settle()
    world.origin.reset(code)
    assert world.client.answer.status == 502
    assert len(world.origin.messages) == 1


def test_a_refused_stream_is_given_up_in_the_end():
    world = World(("h1", "h2"), max_retries=3)
    world.client.ask()
    for _ in range(3):
        world.settle()
        world.origin.reset(ErrorCode.REFUSED_STREAM)
    assert world.client.answer.status == 502
    assert len(world.origin.messages) == 3
    assert [line.level for line in world.bench.logs] == ["WARNING", "WARNING", "ERROR"]


def test_a_refused_request_that_was_too_long_to_keep_is_not_sent_again():
    world = World(("h1", "h2"), replay_buffer=2)
    world.client.ask(b"POST", body=b"abc")
    world.settle()
    world.origin.reset(ErrorCode.REFUSED_STREAM)
    assert world.client.answer.status == 502


def test_a_refusal_behind_a_head_is_no_refusal():
    world = World(("h1", "h2"))
    world.client.ask()
    world.settle()
    world.origin.answer(body=b"abc", length=10, end=False)
    world.origin.reset(ErrorCode.REFUSED_STREAM)
    assert world.client.answer.state == "cut"
    assert len(world.origin.messages) == 1


@every_client
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_requests_above_the_last_stream_of_a_goaway_go_to_another_connection(client, method):
    world = World((client, "h2"))
    clients = [world.client, world.new_client()]
    for number, one in enumerate(clients):
        one.ask(method, b"/%d" % number, body=b"abc")
        world.settle()
    old = world.origin
    old.h2.close_connection(last_stream_id=1)
    old.flush()
    new = world.origin
    assert new is not old
    assert (new.request.start, new.request.body) == ((method, b"/1"), b"abc")
    new.answer()
    old.wire.send(_answer_frames(old, 1))  # what is under way is served
    assert [one.answer.status for one in clients] == [200, 200]
    assert old.wire.endpoint not in world.bench.lane.endpoints or old.wire.connection.shut_write
    assert world.ended == [None, None]


def _answer_frames(origin, stream):
    """h2 says no more once it has said GOAWAY."""
    headers = origin.h2.encoder.encode([(b":status", b"200"), (b"content-length", b"0")])
    return len(headers).to_bytes(3, "big") + b"\x01\x05" + stream.to_bytes(4, "big") + headers


def test_no_new_request_goes_to_an_origin_that_said_goaway():
    world = World(("h1", "h2"))
    clients = asked(world, 1)
    old = world.origin
    old.leave()
    other = world.new_client()
    other.ask()
    assert len(world.origins) == 2
    old.wire.send(_answer_frames(old, 1))
    assert clients[0].answer.status == 200
    world.origin.answer()
    assert other.answer.status == 200
    world.bench.advance(2)
    assert not old.wire.alive
    world.assert_clean()


def test_an_origin_that_wants_http_1_gets_no_other_attempt_where_only_http_2_may_be_spoken():
    world = World(("h1", "h2"))
    world.client.ask()
    world.settle()
    world.origin.reset(ErrorCode.HTTP_1_1_REQUIRED)
    assert world.client.answer.status == 502
    assert world.ended[0].root_etype is ErrorType.H2_DOWNGRADE
    assert len(world.origin.messages) == 1


def test_without_tls_a_peer_of_both_versions_is_spoken_to_in_http_1():
    world = World(("h2", "h1"), peer=PeerOptions(alpn=ALPN.H2H1))
    world.client.ask()
    assert world.origin.request.start == (b"GET", b"/")
    world.origin.answer()
    world.assert_clean()


@every_client
def test_an_origin_that_breaks_the_rules_is_502(client):
    world = World((client, "h2"))
    world.client.ask()
    world.settle()
    world.origin.wire.send(b"\x00\x00\x00\x00\x00\x00\x00\x00\x00")  # DATA on stream 0
    assert world.client.answer.status == 502
    assert world.ended[0].root_etype is ErrorType.INVALID_H2
    world.bench.advance(2)
    assert not world.origin.wire.alive
    world.assert_clean()


def test_an_origin_that_speaks_no_http_2():
    world = World(("h1", "h2"))
    world.client.ask()
    world.bench.origin.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    assert world.client.answer.status == 502
    assert len(world.bench.origins) == 1


@pytest.mark.parametrize(
    "lines",
    [
        [(b":status", b"200"), (b"connection", b"close")],
        [(b":status", b"200"), (b"transfer-encoding", b"chunked")],
        [(b":status", b"200"), (b"X-Upper", b"1")],
        [(b":status", b"200"), (b"x", b"a\r\nb: c")],
        [(b":status", b"200"), (b"content-length", b"5"), (b"content-length", b"6")],
        [(b":status", b"101")],
        [(b"x", b"1")],
    ],
    ids=["connection", "transfer_encoding", "capitals", "crlf", "lengths", "101", "no_status"],
)
@every_client
def test_a_malformed_answer_is_502_and_costs_only_its_stream(client, lines):
    world = World((client, "h2"))
    world.client.ask()
    world.settle()
    origin = world.origin
    headers = origin.h2.encoder.encode(lines)
    origin.wire.send(len(headers).to_bytes(3, "big") + b"\x01\x05\x00\x00\x00\x01" + headers)
    assert (world.client.answer.status, world.client.answer.body) == (502, b"")
    assert origin.request_on(1).code == ErrorCode.PROTOCOL_ERROR
    world.client.ask()
    assert origin.request.start
    assert len(world.origins) == 1


@every_client
def test_a_body_that_is_shorter_than_it_was_said_to_be(client):
    world = World((client, "h2"))
    world.client.ask()
    world.settle()
    origin = world.origin
    origin.h2.send_headers(1, [(b":status", b"200"), (b"content-length", b"5")])
    origin.h2.send_data(1, b"abc", end_stream=True)
    origin.flush()
    answer = world.client.answer
    assert answer.state == "cut"
    assert answer.status == 200


# ── time-outs ────────────────────────────────────────────────────────────────────────


class TwoPeers(App):
    """The same origin, which is waited for as long as the request says."""

    def upstream_peer(self, session, ctx):
        timeout = float(session.get_header("x-timeout"))
        return HttpPeer(ORIGIN, options=PeerOptions(alpn=ALPN.H2, max_h2_streams=10, read_timeout=timeout))


@pytest.mark.parametrize("order", [(5, 50), (50, 5)])
def test_each_stream_has_the_time_out_of_its_own_peer(order):
    world = World(("h1", "h2"), TwoPeers())
    clients = [world.client, world.new_client()]
    for client, timeout in zip(clients, order, strict=True):
        client.ask(b"POST", fields=[(b"X-Timeout", b"%d" % timeout)], body=b"abc")
    (origin,) = world.origins
    origin.flush()
    answers = dict(zip(order, clients, strict=True))
    world.bench.advance(6)
    assert answers[5].answer.status == 504
    assert answers[50].answer.status is None
    world.bench.advance(40)
    assert answers[50].answer.status is None
    world.bench.advance(5)
    assert answers[50].answer.status == 504
    assert [origin.request_on(stream).code for stream in (1, 3)] == [ErrorCode.CANCEL] * 2


def test_no_new_request_goes_to_an_origin_that_was_silent():
    world = World(("h1", "h2"), read_timeout=10.0)
    clients = asked(world, 1)
    world.bench.advance(5)
    later = world.new_client()
    later.ask()
    world.bench.advance(6)
    assert clients[0].answer.status == 504
    assert world.origin.request.code is None
    last = world.new_client()
    last.ask()
    assert len(world.origins) == 2
    world.origins[0].answer(stream=3)
    assert later.answer.status == 200


@every_client
def test_pings_find_an_origin_that_is_gone(client):
    world = World(
        (client, "h2"),
        peer=PeerOptions(alpn=ALPN.H2, max_h2_streams=10, h2_ping_interval=20.0),
        h2_ping_timeout=5.0,
        max_retries=1,
    )
    world.client.ask()
    world.settle()
    world.bench.advance(21)
    world.settle()  # it answers the first
    world.bench.advance(21)
    assert world.client.answer.status is None
    world.bench.advance(5)  # and not the second
    assert world.client.answer.status == 502
    assert world.ended[0].root_cause.type_str == "PingTimedout"
    assert not world.origin.wire.alive
    world.assert_clean()


def test_an_idle_connection_is_closed_in_good_order():
    world = World(("h1", "h2"), idle_timeout=30.0)
    asked(world, 1)
    world.origin.answer()
    world.settle()
    world.bench.advance(31)
    world.origin.flush()
    assert world.origin.goaway == ErrorCode.NO_ERROR
    world.bench.advance(2)
    assert not world.origin.wire.alive


def test_an_origin_that_leaves_while_idle_is_forgotten():
    world = World(("h1", "h2"))
    asked(world, 1)
    world.origin.answer()
    old = world.origin
    old.leave()
    world.client.ask()
    assert len(world.origins) == 2
    world.origin.answer()
    assert world.client.answer.status == 200
    world.bench.advance(2)
    assert not old.wire.alive
    world.assert_clean()


@pytest.mark.parametrize("client", ["h1", "h2"])
@pytest.mark.parametrize("origin", ["h1", "h2"])
def test_trailers_behind_a_declared_length(client, origin):
    """They pass where both sides can say them, and elsewhere the message is whole without them."""
    world = World((client, origin))
    trailers = [(b"X-Sum", b"1")]
    world.client.ask(method=b"POST", body=b"12345", length=5, trailers=trailers if client == "h2" else None)
    world.origin.answer(body=b"abc", length=3, trailers=trailers if origin == "h2" else None)
    world.settle()
    both = client == origin == "h2"
    request, answer = world.origin.request, world.client.answer
    assert (request.body, request.state) == (b"12345", "whole")
    assert (answer.body, answer.state) == (b"abc", "whole")
    assert bool(request.trailers) == both
    assert bool(answer.trailers) == both


# ── room ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("origin", ["h1", "h2"])
def test_a_client_without_windows_does_not_pump_its_origins_dry(origin):
    """Streams whose windows are shut, over more connections than one (CVE-2019-9517)."""
    world = World(("h2", origin), client_settings={SettingCodes.INITIAL_WINDOW_SIZE: 0}, h2_send_buffer=200_000)
    for number in range(50):
        world.client.ask(target=b"/%d" % number)
    piece = b"x" * 60_000
    taken = 0
    for _ in range(5):
        for end in world.origins:
            if origin == "h1":
                if not end.wire.got:
                    continue
                head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" if end.request.start else b""
                end.wire.take()
                end.wire.send(head + piece)
            else:
                end.flush()
                for stream, message in end.messages.items():
                    if message.protocol is None:
                        end.h2.send_headers(stream, [(b":status", b"200"), (b"content-length", b"1000000")])
                        message.protocol = b"answered"
                    if (size := min(16_384, end.h2.local_flow_control_window(stream))) > 0:
                        end.h2.send_data(stream, b"x" * size)
                        taken += size
                end.flush()
    if origin == "h1":
        for end in world.origins:
            end.wire.send(piece)
            taken += 60_000 * 2 - end.wire.unread
        assert all(end.wire.unread for end in world.origins[10:]), "an origin was read on though there was no room"
    queued = sorted(stream.pending for stream in world.client.wire.connection._streams.values() if stream.pending)
    assert sum(queued) <= 200_000 + 50 * 2 * FIRST_WINDOW, "one that found no room was given something"
    assert queued[-1] <= 65_536 + 16_384
    assert taken <= 200_000 + 50 * 3 * FIRST_WINDOW
    # And nothing is lost: as windows open, everything comes.
    world.client.h2.increment_flow_control_window(1 << 24)
    for stream in range(1, 100, 2):
        world.client.h2.increment_flow_control_window(1 << 20, stream)
    world.settle()
    if origin == "h1":
        assert not any(end.wire.unread for end in world.origins)
        assert {len(message.body) for message in world.client.messages.values()} == {120_000}


@pytest.mark.parametrize("origin", ["h1", "h2"])
def test_a_hundred_streams_without_window_are_held_in_little_memory(origin):
    """Each asks for 4 MiB. What was read from the origins, and can go nowhere, is what is held."""
    world = World(("h2", origin), client_settings={SettingCodes.INITIAL_WINDOW_SIZE: 0})
    for number in range(100):
        world.client.ask(target=b"/%d" % number)
    sent = 0
    for end in world.origins:
        if origin == "h1":
            end.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n" + bytes(4_194_304))
            sent += 4_194_304 - end.wire.unread
            continue
        for stream in end.messages:
            end.h2.send_headers(stream, [(b":status", b"200"), (b"content-length", b"4194304")])
        end.flush()
        for _ in range(100):  # as often as it is given room
            for stream in end.messages:
                if (size := min(16_384, end.h2.local_flow_control_window(stream))) > 0:
                    end.h2.send_data(stream, bytes(size))
                    sent += size
            end.flush()
    assert sent <= 262_144 + 100 * 2 * FIRST_WINDOW
    assert len(world.client.messages) == 100, "each has its head"
    assert not any(message.body for message in world.client.messages.values())


@pytest.mark.parametrize("origin", ["h1", "h2"])
def test_who_takes_an_answer_is_read_ahead_for_up_to_its_share(origin):
    """A client that has room is not slowed, and one that had none is no longer once it takes something."""
    world = World(("h2", origin), client_settings={SettingCodes.INITIAL_WINDOW_SIZE: 0})
    world.client.ask()
    end = world.origin
    if origin == "h2":
        (stream,) = end.messages
        assert end.h2.local_flow_control_window(stream) == FIRST_WINDOW
    else:
        assert end.wire.endpoint.read_size == FIRST_WINDOW
    world.client.h2.increment_flow_control_window(1 << 24)
    world.client.h2.increment_flow_control_window(1 << 24, 1)
    world.client.flush()
    if origin == "h2":
        end.h2.send_headers(stream, [(b":status", b"200")])
        while (size := min(16_384, end.h2.local_flow_control_window(stream))) < 16_384:
            end.h2.send_data(stream, bytes(size))
            end.flush()
        for _ in range(10):
            end.h2.send_data(stream, bytes(16_384))
            end.flush()
        assert end.h2.local_flow_control_window(stream) > 32_768
    else:
        end.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n" + bytes(200_000))
        assert end.wire.endpoint.read_size == READ_SIZE
    world.client.ask(target=b"/other")
    if origin == "h1":
        assert world.origins[-1].wire.endpoint.read_size == FIRST_WINDOW  # its own window is shut


@pytest.mark.parametrize("client", ["h1", "h2"])
def test_an_origin_without_windows_does_not_take_its_clients_bodies_into_memory(client):
    world = World((client, "h2"), origin_settings={SettingCodes.INITIAL_WINDOW_SIZE: 0}, h2_send_buffer=100_000)
    world.client.ask()
    world.settle()  # from here on its window is known
    world.origin.answer()
    clients = [world.client, *(world.new_client() for _ in range(19))]
    assert world.client.answer.status == 200
    piece = b"x" * 16_000
    for one in clients:
        one.ask(b"POST", body=b"", length=1_000_000, end=False)
    sent = 0
    for _ in range(20):
        for one in clients:
            if isinstance(one, H1Client):
                if not one.wire.unread:
                    one.more(piece)
                    sent += len(piece)
            elif one.h2.local_flow_control_window(one.stream) >= len(piece):
                one.more(piece)
                sent += len(piece)
        world.settle()
    (origin,) = world.origins
    connection = origin.wire.connection
    assert connection.held <= 100_000 + 20 * 16_000  # and one piece for each that had room when it began
    late = world.new_client()
    late.ask(b"POST", body=piece, length=1_000_000, end=False)
    sent += len(piece)
    world.settle()
    assert connection._streams[max(origin.messages)].pending == 0, "one that found no room was given something"
    assert sent <= 21 * (65_536 + 3 * 16_000 if client == "h1" else 262_144)
    origin.h2.increment_flow_control_window(1 << 24)
    for stream in list(origin.messages)[1:]:
        origin.h2.increment_flow_control_window(1 << 20, stream)
    world.settle()
    assert sum(len(message.body) for message in origin.messages.values()) == sent


@pytest.mark.parametrize("client", ["h1", "h2"])
def test_clients_that_do_not_read_hold_up_nobody_else_on_the_same_connection(client):
    world = World((client, "h2"))
    slow = asked(world, 30)
    (origin,) = world.origins
    for one in slow:
        one.stop_reading()
    streams = list(origin.messages)
    for stream in streams:
        origin.answer(body=b"", length=1_000_000, end=False, stream=stream)
    stuck = 0
    while stuck < len(streams):
        stuck = 0
        for stream in streams:
            size = min(origin.h2.local_flow_control_window(stream), 16_384)
            if size > 0:
                origin.more(b"x" * size, stream=stream)
            else:
                stuck += 1
    quick = world.new_client()
    quick.ask()
    world.settle()
    assert len(world.origins) == 1
    origin.answer(body=b"y" * 10_000)
    assert quick.answer.body == b"y" * 10_000
    assert sum(inbox(exchange, "response") for exchange in world.bench.exchanges) <= 30 * 65_536


@pytest.mark.parametrize(
    ("options", "stream", "connection"),
    [
        ({}, 65_536, 1_048_576),
        ({"max_h2_streams": 2}, 65_536, 1_048_576),
        ({"max_h2_streams": 100}, 65_536, 6_553_600),
        ({"max_h2_streams": 2**31 - 1}, 65_536, 2**31 - 1),
        ({"max_h2_streams": 100, "h2_stream_window_size": 1_000_000}, 1_000_000, 100_000_000),
        ({"max_h2_streams": 100, "h2_connection_window_size": 70_000}, 65_536, 70_000),
        ({"h2_stream_window_size": 1_000}, 1_000, 1_048_576),
    ],
    ids=lambda value: ", ".join(value) or "alone" if isinstance(value, dict) else None,
)
def test_windows_towards_the_origin(options, stream, connection):
    world = World(("h1", "h2"), peer=PeerOptions(alpn=ALPN.H2, **options))
    world.client.ask()
    world.settle()
    first = options.get("h2_stream_window_size", FIRST_WINDOW)
    assert world.origin.h2.remote_settings.initial_window_size == first
    assert world.origin.h2.local_flow_control_window(1) == stream, "the client has room for it"
    assert world.origin.h2.outbound_flow_control_window == connection


def test_a_slow_stream_does_not_hold_up_the_others():
    world = World(("h2", "h2"))
    slow = world.client.ask(target=b"/slow")
    quick = world.client.ask(target=b"/quick")
    world.client.stop_reading()
    world.settle()
    origin = world.origin
    origin.answer(body=b"", length=200_000, end=False, stream=1)
    for _ in range(4):
        origin.more(b"x" * 10_000, stream=1)
        world.settle()
    origin.answer(body=b"y" * 1000, stream=3)
    assert world.client.answer_to(quick).state == "whole"
    assert world.client.answer_to(slow).state == "open"


# ── marks of filters ─────────────────────────────────────────────────────────────────


def test_a_filter_cannot_make_a_request_repeatable_that_was_read():
    class Stubborn(App):
        def error_while_proxy(self, peer, session, error, ctx, client_reused):
            return error.with_retry(True)

    world = World(("h1", "h2"), Stubborn())
    world.client.ask(b"POST", body=b"abc")
    world.settle()
    world.origin.reset(ErrorCode.CANCEL)
    assert world.client.answer.status == 502
    assert len(world.origin.messages) == 1


@pytest.mark.parametrize("refused", [1, 3])
def test_a_failed_dial_is_marked_for_each_request_alone(refused):
    class Marks(App):
        def fail_to_connect(self, session, peer, ctx, error):
            return error.with_retry(session.req_header.target == b"/1")

    world = World(("h1", "h2"), Marks())
    world.bench.dial_outcomes.extend([Error(ErrorType.CONNECT_REFUSED, "nobody listens")] * refused)
    hold = world.bench.dial_outcomes
    clients = asked(world, 2)
    assert not hold or refused == 3
    statuses = [client.answer.status for client in clients]
    assert statuses[0] == 502
    assert {error.esource for error in world.ended if error} == {ErrorSource.UPSTREAM}


@pytest.mark.parametrize("allowed", [None, 1000], ids=["unlimited", "1000"])
def test_until_the_origin_has_spoken_no_more_streams_are_opened_than_every_origin_should_allow(allowed):
    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: allowed} if allowed else {}
    world = World(("h1", "h2"), streams=500, origin_settings=settings)
    clients = [world.client, *(world.new_client() for _ in range(149))]
    for client in clients:
        client.ask()
    assert [wire.connection.active for wire in world.bench.origins] == [100, 50]
    world.settle()
    for _ in range(100):
        world.new_client().ask()
    assert [wire.connection.active for wire in world.bench.origins] == [100, 150]
