"""The inventory of Pingora's own tests of its proxy, row by row, and what it does not test.

``ROWS`` says where each row stands. What is not elsewhere is here. A test that shows something else than Pingora's
does has *deviation* in its name or its reason beside it.
"""

from __future__ import annotations

import ast
import gzip
from functools import cache
from pathlib import Path

import pytest

from sansio_pingora.errors import ErrorSource, ErrorType
from sansio_pingora.http2 import ErrorCode
from sansio_pingora.layers import Layer
from sansio_pingora.modules import ResponseCompression
from sansio_pingora.session import Sleep
from sansio_pingora.upstreams import ALPN, HttpPeer, PeerOptions
from tests.proxy.ends import PAIR_IDS, PAIRS, H2Origin, World
from tests.proxy.harness import GET, OK, ORIGIN, App, Bench, post, status_of

TESTS = Path(__file__).parents[1]
HERE = "proxy/test_inventory.py"
MIB = 1_048_576

CACHE = "the cache is not part of this"
TLS = "adapters/test_origin_tls.py"
ROWS = {
    1: ["proxy/test_relay.py::test_row_1_get", "proxy/test_relay.py::test_the_addresses_of_both_sides_are_visible"],
    2: ["adapters/test_http2.py::test_get_head_and_both_framings", f"{HERE}::test_rows_2_to_4_get"],
    3: [f"{HERE}::test_rows_2_to_4_get"],
    4: [f"{HERE}::test_rows_2_to_4_get"],
    5: ["adapters/test_http2.py::test_one_protocol_after_the_other_on_one_port"],
    6: [f"{HERE}::test_row_6_a_host_that_a_filter_sets_is_the_authority"],
    7: [f"{HERE}::test_rows_7_and_8_an_upload_is_echoed"],
    8: [f"{HERE}::test_rows_7_and_8_an_upload_is_echoed"],
    9: [f"{HERE}::test_row_9_head_with_a_length"],
    10: ["adapters/test_proxying.py::test_rows_10_and_11_unix_sockets_on_both_sides"],
    11: ["adapters/test_proxying.py::test_rows_10_and_11_unix_sockets_on_both_sides"],
    12: ["proxy/test_retry.py::test_row_12_get_on_a_dead_reused_connection_goes_out_again"],
    # Deviations: a POST may have been processed, so it is answered 502.
    13: ["proxy/test_retry.py::test_deviation_a_method_that_is_not_idempotent_is_not_repeated"],
    14: ["proxy/test_retry.py::test_deviation_a_method_that_is_not_idempotent_is_not_repeated"],
    15: ["proxy/test_retry.py::test_row_15_a_body_past_the_buffer_is_not_retried"],
    **{row: [f"{TLS}::test_rows_16_to_22_who_is_taken_for_the_origin"] for row in range(16, 23)},
    # Deviation: a certificate that cannot be verified is refused in the handshake, and the client gets 502.
    **{row: [f"{TLS}::test_rows_23_and_24_what_is_shown_to_an_origin"] for row in (23, 24)},
    25: ["adapters/test_trust.py::test_what_differs_in_trust_shares_no_connection"],
    26: ["adapters/test_trust.py::test_what_differs_in_trust_shares_no_connection"],
    # Deviation: the standard library has no pre-shared keys.
    27: ["upstreams/test_peer_options.py::test_what_the_library_lacks_is_refused_with_the_reason"],
    28: ["modules/test_compression.py::test_each_coding", f"{HERE}::test_rows_28_and_29_a_body_of_32_bytes"],
    29: ["modules/test_compression.py::test_each_coding", f"{HERE}::test_rows_28_and_29_a_body_of_32_bytes"],
    # Deviation: keep-alive is said to clients of HTTP/1.0 alone.
    30: ["proxy/test_relay.py::test_keep_alive"],
    31: ["proxy/test_tunnels.py::test_row_31_connect_is_405_by_default"],
    32: [f"{HERE}::test_row_32_connect_on_http_2"],
    # Deviation: a tunnel, not a relayed request.
    33: ["proxy/test_tunnels.py::test_row_33_connect_enabled_is_a_tunnel"],
    34: [f"{HERE}::test_row_34_an_origin_that_dies_before_its_head"],
    35: [f"{HERE}::test_row_35_an_origin_that_dies_amid_its_body"],
    36: ["proxy/test_informational.py::test_row_36_junk_behind_the_answer_is_not_passed_on"],
    37: ["proxy/test_informational.py::test_row_37_early_hints_then_death"],
    38: ["proxy/test_flow.py::test_row_38_an_answer_without_reading_the_upload"],
    39: ["proxy/test_faults.py::test_row_39_the_origin_dies_amid_its_answer"],
    40: ["proxy/test_flow.py::test_row_40_the_origin_answers_closes_and_the_client_is_slow"],
    41: ["proxy/test_flow.py::test_row_41_an_upload_that_is_read"],
    42: ["proxy/test_flow.py::test_row_42_a_long_upload_is_not_read_to_its_end"],
    43: ["proxy/test_tunnels.py::test_row_43_a_reset_ends_the_other_side"],
    44: ["proxy/test_tunnels.py::test_row_44_payload_right_behind_the_101"],
    45: ["proxy/test_tunnels.py::test_row_45_upgrade_with_a_body"],
    46: ["proxy/test_tunnels.py::test_row_46_switched_before_the_body_is_complete"],
    47: ["proxy/test_flow.py::test_row_47_a_client_that_stalls_is_given_up"],
    48: [f"{HERE}::test_row_48_a_least_rate_takes_the_place_of_the_write_time_out"],
    49: [f"{HERE}::test_row_49_an_origin_that_sends_all_and_does_not_end"],
    50: ["proxy/test_relay.py::test_row_50_head_with_100_then_200"],
    **dict.fromkeys(range(51, 90), CACHE),
    90: [f"{HERE}::test_row_90_four_megabytes_from_http_2_to_http_1"],
    # Ours has no such state: what a client that left does to an exchange is tested as a whole.
    91: ["proxy/test_filter_forms.py::test_the_client_leaves_meanwhile"],
    92: [f"{HERE}::test_row_92_the_authority_of_a_host_field"],
    93: ["proxy/test_flow.py::test_row_93_surplus_bytes_of_an_origin_reach_nobody"],
    94: ["proxy/test_faults.py::test_row_94_abort_on_close"],
}
NOT_TESTED_THERE = {
    "retry after truncation": ["proxy/test_retry.py::test_truncation_vetoes_the_mark_of_a_user"],
    "retry of a refused stream after truncation": [
        "proxy/test_h2_origins.py::test_a_refused_request_that_was_too_long_to_keep_is_not_sent_again"
    ],
    "retry after the head was sent": ["proxy/test_retry.py::test_after_a_final_head_even_a_mark_does_not_help"],
    "no attempts": ["proxy/test_retry.py::test_one_attempt_is_always_made"],
    "fields of a connection": ["proxy/test_relay.py::test_hop_by_hop_fields_of_a_request"],
    "pipelining": ["proxy/test_flow.py::test_pipelined_requests_are_answered_in_order"],
    "Expect to HTTP/2": ["proxy/test_versions.py::test_expect_goes_to_the_origin_whose_100_comes_back"],
    "an echo and a client that does not read": [
        "proxy/test_flow.py::test_an_echo_through_narrow_pipes_does_not_lock_up"
    ],
    "an upload without windows and an early answer": [f"{HERE}::test_an_upload_without_windows_and_an_early_answer"],
    "trailers of requests": ["proxy/test_versions.py::test_trailers_both_ways"],
    "no Host, two of them": ["proxy/test_vectors.py::test_request"],
    "keep-alive between requests": [f"{HERE}::test_a_client_that_says_nothing_more"],
    "exceptions in each phase": ["proxy/test_filter_forms.py::test_it_raises"],
    "filters that the client ends": ["proxy/test_filter_forms.py::test_the_client_leaves_meanwhile"],
    "a slow filter and other streams": [f"{HERE}::test_a_slow_filter_does_not_hold_up_other_streams"],
}


@cache
def names_in(path):
    tree = ast.parse((TESTS / path).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_row_stands_somewhere():
    assert sorted(ROWS) == list(range(1, 95))
    for where in (*ROWS.values(), *NOT_TESTED_THERE.values()):
        for test in where if isinstance(where, list) else ():
            path, _, name = test.partition("::")
            assert name in names_in(path), test


# ── versions ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_IDS)
def test_rows_2_to_4_get(pair):
    world = World(pair)
    world.client.ask()
    assert world.origin.request.start == (b"GET", b"/")
    world.origin.answer(body=b"hello")
    assert (world.client.answer.status, world.client.answer.body) == (200, b"hello")
    world.assert_clean()


@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_IDS)
def test_row_6_a_host_that_a_filter_sets_is_the_authority(pair):
    class Renames(App):
        def upstream_request_filter(self, session, request, ctx):
            request.insert("Host", "app.internal:81")

    world = World(pair, Renames())
    world.client.ask()
    assert world.origin.request.fields[b"host"] == b"app.internal:81"  # of HTTP/2 the :authority
    assert b"host" not in {name for name in world.origin.request.fields if pair[1] == "h2"} - {b"host"}
    world.origin.answer()
    world.assert_clean()


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_IDS)
def test_rows_7_and_8_an_upload_is_echoed(pair, length):
    body = bytes(range(256)) * 60  # less than a window: these ends do not wait for one
    world = World(pair)
    world.client.ask(b"POST", body=body, length=length)
    world.settle()
    request = world.origin.request
    assert (request.body, request.state) == (body, "whole")
    world.origin.answer(body=request.body, length=length)
    world.settle()
    assert (world.client.answer.body, world.client.answer.state) == (body, "whole")
    world.assert_clean()


@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_IDS)
def test_row_9_head_with_a_length(pair):
    world = World(pair)
    world.client.ask(b"HEAD")
    assert world.origin.request.start
    world.origin.answer(200, [(b"Content-Length", b"11")], None)
    answer = world.client.answer
    assert (answer.status, answer.fields[b"content-length"], answer.body, answer.state) == (200, b"11", b"", "whole")
    world.assert_clean()


def test_row_32_connect_on_http_2():
    world = World(("h2", "h1"))
    world.client.ask(b"CONNECT", b"b.test:443")
    answer = world.client.answer
    assert (answer.status, answer.body, answer.state) == (405, b"", "whole")
    assert world.origins == []
    world.client.ask()
    assert world.origin.request.start == (b"GET", b"/")  # its connection goes on


@pytest.mark.parametrize("origin", ["h1", "h2"])
def test_row_34_an_origin_that_dies_before_its_head(origin):
    world = World(("h2", origin))
    world.client.ask()
    assert world.origin.request.start
    world.origin.wire.eof()
    answer = world.client.answer
    assert (answer.status, answer.state) == (502, "whole")
    world.assert_clean()


@pytest.mark.parametrize("origin", ["h1", "h2"])
def test_row_35_an_origin_that_dies_amid_its_body(origin):
    world = World(("h2", origin))
    world.client.ask()
    assert world.origin.request.start
    world.origin.answer(body=b"12345", length=10, end=False)
    assert world.client.answer.body == b"12345"
    world.origin.wire.eof()
    answer = world.client.answer
    assert (answer.status, answer.body, answer.state) == (200, b"12345", "cut")
    # Deviation: Pingora resets with CANCEL, which says that the response is not wanted any more.
    assert answer.code == ErrorCode.INTERNAL_ERROR
    world.assert_clean()


def test_row_49_an_origin_that_sends_all_and_does_not_end():
    world = World(("h1", "h2"))
    for _ in range(2):
        world.client.ask()
        assert world.origin.request.start
        world.origin.answer(body=b"hello", length=5, end=False)
        assert (world.client.answer.body, world.client.answer.state) == (b"hello", "whole")
    world.bench.advance(1.1)
    assert world.ended == [None, None]
    world.settle()
    assert [message.code for message in world.origin.messages.values()] == [ErrorCode.CANCEL] * 2
    world.assert_clean()


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_nothing_is_due_of_an_empty_body(method):
    world = World(("h1", "h2"))
    world.client.ask(method)
    assert world.origin.request.start
    world.origin.answer(fields=[(b"Content-Length", b"0" if method == b"GET" else b"10")], body=None, end=False)
    assert world.client.answer.state == "whole"
    world.bench.advance(1.1)
    assert world.ended == [None]
    world.assert_clean()


def test_row_90_four_megabytes_from_http_2_to_http_1():
    body = bytes(range(256)) * (4 * MIB // 256)
    world = World(("h1", "h2"))
    world.client.ask()
    assert world.origin.request.start
    world.origin.answer(body=None, length=len(body), end=False)
    for start in range(0, len(body), 16_384):
        world.origin.more(body[start : start + 16_384], end=start + 16_384 >= len(body))
        world.settle()
    assert world.client.answer.body == body
    world.assert_clean()


@pytest.mark.parametrize(
    ("host", "authority"),
    [
        (b"a.test", b"a.test"),
        (b"a.test:80", b"a.test:80"),
        (b"[::1]", b"[::1]"),
        (b"[::1]:8080", b"[::1]:8080"),
        # Deviations: Pingora cuts the surplus and goes on.
        (b"a.test:80:80", None),
        (b"[::1]:80:80", None),
        (b"::1", None),
        (b"a.test:", None),
    ],
)
def test_row_92_the_authority_of_a_host_field(host, authority):
    world = World(("h1", "h2"))
    world.client.wire.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
    if authority is None:
        assert status_of(bytes(world.client.wire.got)) == 400
        assert world.origins == []
    else:
        assert world.origin.request.fields[b"host"] == authority


def test_an_origin_that_ends_its_stream_in_time_keeps_it():
    world = World(("h1", "h2"))
    world.client.ask()
    assert world.origin.request.start
    world.origin.answer(body=b"hello", length=5, end=False)
    world.bench.advance(0.5)
    world.origin.more(b"", end=True)
    assert world.ended == [None]
    assert world.origin.messages[1].code is None
    world.assert_clean()


# ── compression ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("side", ["downstream", "upstream"])
@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_IDS)
def test_rows_28_and_29_a_body_of_32_bytes(pair, side):
    class Compresses(App):
        pass

    setattr(Compresses, f"init_{side}_modules", lambda self, modules: modules.add_module(ResponseCompression))
    body = b"0123456789abcdef" * 2
    world = World(pair, Compresses())
    world.client.ask(fields=[(b"accept-encoding", b"gzip")])
    assert world.origin.request.start
    world.origin.answer(fields=[(b"Content-Type", b"text/plain")], body=body)
    answer = world.client.answer
    assert answer.fields[b"content-encoding"] == b"gzip"
    assert gzip.decompress(answer.body) == body
    world.assert_clean()


# ── time ─────────────────────────────────────────────────────────────────────────────


def test_row_48_a_least_rate_takes_the_place_of_the_write_time_out():
    bench = Bench(app := App(), write_idle_timeout=1.0, min_send_rate=10_000.0)
    client = bench.client()
    client.send(GET)
    client.window = 1000
    bench.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MIB // 4) + b"r" * (MIB // 4))
    for _ in range(4):  # four times the write time-out without a byte, then what the rate asks for
        bench.advance(4)
        assert client.alive
        client.open_window(80_000)
    client.open_window(None)
    assert app.ended[0][1] is None
    bench.assert_clean()


def test_a_client_that_says_nothing_more():
    bench = Bench(app := App(), keepalive_timeout=3.0)
    client = bench.client()
    for _ in range(3):
        client.send(GET)
        bench.origin.send(OK)
        assert status_of(client.take()) == 200
        bench.advance(2.9)
        assert client.alive
    bench.advance(0.2)
    assert not client.alive
    assert client.take() == b""
    assert len(app.ended) == 3
    bench.assert_clean()


@pytest.mark.parametrize("size", [200_000, 100_000])
def test_an_upload_without_windows_and_an_early_answer(size):
    """Nothing of the body can be sent any more, and the answer comes through all the same."""
    world = World(("h1", "h2"))
    world.client.ask(b"POST", body=b"", length=size, end=False)
    origin = world.origin
    origin.stop_reading()
    world.client.wire.send(b"x" * (size - 1000))
    assert len(origin.request.body) == 65_535
    origin.answer(status=413, body=b"too large")
    world.settle()
    got = bytes(world.client.wire.got)
    assert status_of(got) == 413
    assert got.endswith(b"too large")
    assert world.ended == [None]


def forget(origin):
    """What an origin of HTTP/1 has been asked before."""
    if origin.version == "h1":
        origin.wire.take()


@pytest.mark.parametrize("origin", ["h1", "h2"])
def test_a_slow_filter_does_not_hold_up_other_streams(origin):
    class Slow(App):
        def request_filter(self, session, ctx):
            if session.req_header.target == b"/slow":
                yield Sleep(100)

        def response_body_filter(self, session, body, end_of_stream, ctx):
            if session.req_header.target == b"/parked":
                yield Sleep(100)

    world = World(("h2", origin), Slow())
    client = world.client
    slow = client.ask(target=b"/slow")
    parked = client.ask(target=b"/parked")
    assert world.origin.request.start == (b"GET", b"/parked")
    world.origin.answer(body=b"later")
    for _ in range(3):
        forget(world.origin)
        client.ask()
        assert world.origin.request.start == (b"GET", b"/")
        world.origin.answer()
        assert client.answer.body == b"ok"
    forget(world.origin)
    world.bench.advance(101)
    assert client.answer_to(parked).body == b"later"
    world.settle()
    assert world.origin.request.start == (b"GET", b"/slow")
    world.origin.answer(body=b"at last")
    assert client.answer_to(slow).body == b"at last"
    world.assert_clean()


# ── versions that an origin takes back ───────────────────────────────────────────────


class Agreeing(Layer):
    """A stand-in for TLS: its peer says which protocol it takes."""

    __slots__ = ()

    secure = True
    waits_for = "the handshake"
    timeout_type = ErrorType.TLS_HANDSHAKE_TIMEDOUT
    source = ErrorSource.UPSTREAM

    def _receive(self, data, now):
        self.alpn = data.decode()
        return self._establish(now)


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_an_origin_that_wants_http_1_gets_it_at_the_next_attempt(method):
    class Both(App):
        def upstream_peer(self, session, ctx):
            return HttpPeer(ORIGIN, options=PeerOptions(alpn=ALPN.H2H1, max_h2_streams=10))

    bench = Bench(app := Both())
    offers = []

    def layers(peer, protocols):
        offers.append(tuple(protocols))
        return (Agreeing,)

    bench.connector._making._new_layers = layers
    client = bench.client()
    client.send(post(3, method=method))
    bench.origin.send(b"h2")
    origin = H2Origin(bench, bench.origin)
    assert origin.request.body == b"xxx"
    origin.reset(ErrorCode.HTTP_1_1_REQUIRED)
    assert offers == [("h2", "http/1.1"), ("http/1.1",)]
    bench.origin.send(b"http/1.1")
    assert bench.origin.take().endswith(b"\r\n\r\nxxx")
    bench.origin.send(OK)
    assert status_of(client.take()) == 200
    assert app.ended[0][1] is None
    client.send(GET)  # and it is remembered
    assert bench.origin.take().startswith(b"GET / HTTP/1.1\r\n")
    assert len(bench.origins) == 2
