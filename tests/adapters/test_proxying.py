"""A proxy before an origin of plain sockets, on every runtime. Numbers: rows of Pingora's test inventory."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from sansio_pingora import HttpPeer, ProxyHttp
from sansio_pingora.errors import ErrorType
from sansio_pingora.upstreams import PeerOptions
from tests.adapters.harness import (
    GET,
    OK,
    PATIENCE,
    To,
    answering,
    client,
    echoing,
    origin,
    post,
    served,
    until,
)

MIB = 1 << 20
TEN = 10 * MIB
SOON = 0.2


@contextlib.contextmanager
def proxied(script, runtime, app=To, *, peer_options=None, **limits):
    """An origin of *script*, a proxy before it, and a client of the proxy."""
    with origin(script) as upstream:
        made = app(upstream.peer, **({} if peer_options is None else {"options": peer_options}))
        with served(made, runtime, **limits) as server, client(server.address) as peer:
            peer.upstream = upstream
            peer.app = made
            peer.server = server
            yield peer


def deaf(peer):
    """A script that reads a head, and nothing more."""
    peer.head()
    peer.over.wait(PATIENCE)


def test_row_1_keep_alive_on_both_sides(runtime):
    with proxied(answering(), runtime) as peer:
        for _ in range(20):
            peer.send(GET)
            assert peer.message()[2] == b"ok"
        assert peer.upstream.connections == 1
        assert peer.app.ended == [None] * 20


def test_pipelined_requests(runtime):
    with proxied(echoing, runtime) as peer:
        peer.send(b"".join(post(3, b"%03d" % number) for number in range(100)))
        for number in range(100):
            assert peer.message()[2] == b"%03d" % number
        assert peer.upstream.connections == 1


def test_the_documented_failover(runtime):
    with origin(echoing) as second, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen: connections are refused
        first = "{}:{}".format(*nobody.getsockname())

        class Failover(ProxyHttp):
            def new_ctx(self):
                return {"tries": 0}

            def upstream_peer(self, session, ctx):
                return HttpPeer(first if ctx["tries"] == 0 else second.peer)

            def fail_to_connect(self, session, peer, ctx, error):
                assert error.etype is ErrorType.CONNECT_REFUSED
                ctx["tries"] += 1
                return error.with_retry(ctx["tries"] < 2)

            def upstream_request_filter(self, session, request, ctx):
                request.insert("host", "app.internal")

        with served(Failover(), runtime) as server, client(server.address) as peer:
            for body in (b"one", b"two"):
                peer.send(post(3, body))
                assert peer.message()[2] == body


def test_nobody_listens(runtime):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        app = To("{}:{}".format(*nobody.getsockname()))
        with served(app, runtime) as server, client(server.address) as peer:
            for _ in range(3):
                peer.send(GET)
                assert peer.status() == 502
        assert [error.etype for error in app.ended] == [ErrorType.CONNECT_REFUSED] * 3


def test_a_name_that_does_not_exist(runtime):
    app = To("no-such-host.invalid:80")
    with served(app, runtime) as server, client(server.address) as peer:
        peer.send(GET)
        assert peer.status() in (502, 504)
    assert len(app.ended) == 1


def test_a_name_is_resolved(runtime):
    with origin(answering()) as upstream:
        app = To(f"localhost:{upstream.address[1]}")
        with served(app, runtime) as server, client(server.address) as peer:
            peer.send(GET)
            assert peer.status() == 200


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_row_41_ten_megabytes_through_an_echo(runtime, framing):
    payload = bytes(range(256)) * (TEN // 256)
    with proxied(echoing, runtime) as peer:

        def upload():
            if framing == "length":
                peer.send(post(TEN), payload)
            else:
                peer.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
                for at in range(0, TEN, 50_000):
                    piece = payload[at : at + 50_000]
                    peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                peer.send(b"0\r\n\r\n")

        writer = threading.Thread(target=upload)
        writer.start()
        _, fields, body = peer.message()
        writer.join(PATIENCE)
        assert body == payload
        assert (b"content-length" in fields) is (framing == "length")


def test_an_upload_that_the_origin_counts(runtime):
    counted = []

    def counts(peer):
        while True:
            _, _, body = peer.message()
            counted.append(len(body))
            peer.send(OK)

    with proxied(counts, runtime) as peer:
        peer.send(post(TEN), b"x" * TEN)
        assert peer.status() == 200
        peer.send(GET)
        assert peer.status() == 200
        assert counted == [TEN, 0]
        assert peer.upstream.connections == 1


def test_a_client_that_does_not_read_stops_the_origin(runtime):
    pushed = []

    def endless(peer):
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (256 * MIB))
        pushed.append(peer.push(b"r" * 65_536, 256 * MIB))
        peer.rest()

    with (
        origin(endless) as upstream,
        served(To(upstream.peer), runtime) as server,
        client(server.address, receive_buffer=32_768) as peer,
    ):
        peer.send(GET)
        peer.head()
        until(lambda: pushed)
        assert pushed[0] < 48 * MIB
        assert len(peer.take(pushed[0])) == pushed[0]
        peer.reset()


def test_an_origin_that_does_not_read_stops_the_client(runtime):
    with proxied(deaf, runtime) as peer:
        peer.send(post(256 * MIB))
        assert peer.push(b"q" * 65_536, 256 * MIB) < 48 * MIB
        peer.reset()


def test_a_slow_client_gets_everything(runtime):
    with proxied(
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (4 * MIB) + b"r" * 4 * MIB), runtime
    ) as peer:
        peer.send(GET)
        _, fields = peer.head()
        left = int(fields[b"content-length"])
        while left:
            left -= len(peer.take(min(left, 10_000)))


def test_rows_10_and_11_unix_sockets_on_both_sides(runtime, tmp_path):
    addresses = []

    class Looks(To):
        def connected_to_upstream(self, session, reused, peer, info, ctx):
            addresses.append((session.client_addr, str(info.peer)))

    with origin(echoing, path=f"{tmp_path}/o") as upstream:
        listen = f"unix:{tmp_path}/p"
        with served(Looks(upstream.peer), runtime, listen=listen), client(f"{tmp_path}/p") as peer:
            for body in (b"one", b"two"):
                peer.send(post(3, body))
                assert peer.message()[2] == body
    assert addresses == [(None, upstream.peer)] * 2


def test_row_1_the_upstream_socket_is_bound_where_it_was_told(runtime):
    seen = []

    def looks(peer):
        seen.append(peer.sock.getpeername()[0])
        answering()(peer)

    with proxied(looks, runtime, peer_options=PeerOptions(bind_to="127.0.0.2:0")) as peer:
        peer.send(GET)
        assert peer.status() == 200
    assert seen == ["127.0.0.2"]


# ── origins that misbehave ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nCont"], ids=["nothing", "amid_the_head"])
def test_row_37_the_origin_leaves_before_a_head(runtime, how, beginning):
    def leaves(peer):
        peer.message()
        peer.send(beginning)
        getattr(peer, how)()

    with proxied(leaves, runtime) as peer:
        for _ in range(2):
            peer.send(GET)
            assert peer.status() == 502
        assert len(peer.app.ended) == 2


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize(
    "framing", [b"Content-Length: 10\r\n\r\n12345", b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"]
)
def test_row_39_the_origin_leaves_amid_its_answer(runtime, how, framing):
    gone = threading.Event()

    def leaves(peer):
        peer.message()
        peer.send(b"HTTP/1.1 200 OK\r\n" + framing)
        gone.wait(PATIENCE)
        getattr(peer, how)()

    with proxied(leaves, runtime) as peer:
        peer.send(GET)
        peer.head()
        peer.upto(b"12345")
        gone.set()
        assert b"0\r\n\r\n" not in peer.rest()
        until(lambda: peer.app.ended)
        assert peer.app.ended[0] is not None


def test_an_answer_until_close(runtime):
    def until_close(peer):
        peer.message()
        peer.send(b"HTTP/1.0 200 OK\r\n\r\n" + b"r" * 100_000)

    with proxied(until_close, runtime) as peer:
        for _ in range(2):
            peer.send(GET)
            assert len(peer.message()[2]) == 100_000


def test_row_12_a_get_on_a_dead_pooled_connection(runtime):
    def one_each(peer):
        peer.message()
        peer.send(OK)
        peer.upto(b"\r\n\r\n")  # the second request, which it drops

    with proxied(one_each, runtime) as peer:
        for turn in range(3):
            peer.send(GET)
            assert peer.status() == 200
            assert peer.upstream.connections == turn + 1
        assert peer.app.ended == [None] * 3


def test_row_14_deviation_a_post_on_a_dead_pooled_connection(runtime):
    def one_each(peer):
        peer.message()
        peer.send(OK)
        peer.upto(b"\r\n\r\n")

    with proxied(one_each, runtime) as peer:
        peer.send(GET)
        assert peer.status() == 200
        peer.send(post(4, b"body"))
        assert peer.status() == 502
        assert peer.upstream.connections == 1


def test_a_pooled_connection_that_closes_while_it_is_idle(runtime):
    closed = threading.Event()

    def closes(peer):
        peer.message()
        peer.send(OK)
        peer.shut()
        peer.rest()  # until the proxy has closed it as well
        closed.set()

    with proxied(closes, runtime) as peer:
        for _ in range(3):
            closed.clear()
            peer.send(post(4, b"body"))  # even a POST is safe: the connection is not used again
            assert peer.status() == 200
            assert closed.wait(PATIENCE)


def test_the_origin_says_nothing(runtime):
    with proxied(deaf, runtime, peer_options=PeerOptions(read_timeout=SOON)) as peer:
        peer.send(GET)
        assert peer.status() == 504
        assert peer.app.ended[0].etype is ErrorType.READ_TIMEDOUT


def test_the_origin_takes_nothing(runtime):
    with proxied(deaf, runtime, write_timeout=SOON) as peer:
        peer.send(post(256 * MIB))
        peer.push(b"q" * 65_536, 256 * MIB)
        assert peer.status() == 504
        assert peer.app.ended[0].etype is ErrorType.WRITE_TIMEDOUT


def test_surplus_bytes_reach_nobody(runtime):
    def says_too_much(peer):
        peer.message()
        peer.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        peer.rest()

    with proxied(says_too_much, runtime) as peer:
        for turn in range(3):
            peer.send(GET)
            assert peer.message()[2] == b"ok"
            assert peer.upstream.connections == turn + 1


def test_an_early_answer_is_delivered_though_the_origin_closes(runtime):
    def refuses(peer):
        peer.head()
        peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
        # It closes with what the proxy sends still unread, so that the kernel resets.

    with proxied(refuses, runtime) as peer:
        peer.send(post(64 * MIB))
        peer.push(b"q" * 65_536, 4 * MIB)
        start, _, body = peer.message()
        assert (start, body) == (b"HTTP/1.1 413 Content Too Large", b"no!")


def test_row_38_an_early_answer_keeps_the_connection(runtime):
    def answers_early(peer):
        peer.head()
        peer.send(OK)
        peer.rest()

    with proxied(answers_early, runtime) as peer:
        for _ in range(3):
            peer.send(post(20_000, b"x" * 5_000))
            assert peer.status() == 200
            peer.send(b"x" * 15_000)
        assert peer.app.ended == [None] * 3


def test_an_answer_until_close_that_breaks_off_is_reset(runtime):
    gone = threading.Event()

    def leaves(peer):
        peer.message()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        gone.wait(PATIENCE)
        peer.reset()

    with proxied(leaves, runtime) as peer:
        peer.send(b"GET / HTTP/1.0\r\n\r\n")
        peer.upto(b"half")
        gone.set()
        with pytest.raises(ConnectionResetError):  # an orderly end would look like the end of the body
            peer.more()


# ── clients that misbehave ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_takes_its_request_along(runtime, how):
    asked, gone = threading.Event(), threading.Event()

    def waits(peer):
        peer.message()
        asked.set()
        assert peer.ended()
        gone.set()

    with origin(waits) as upstream:
        app = To(upstream.peer)
        with served(app, runtime, abort_on_close=True) as server:
            with client(server.address) as peer:
                peer.send(GET)
                assert asked.wait(PATIENCE)
                getattr(peer, how)()
            assert gone.wait(PATIENCE)
            until(lambda: app.ended)
            assert app.ended[0].esource.name == "DOWNSTREAM"


def test_a_client_that_leaves_amid_the_answer(runtime):
    ended = threading.Event()

    def endless(peer):
        peer.message()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (256 * MIB))
        try:
            while True:
                peer.send(b"r" * 65_536)
        except ConnectionError:
            ended.set()

    with origin(endless) as upstream:
        app = To(upstream.peer)
        with served(app, runtime) as server:
            with client(server.address) as peer:
                peer.send(GET)
                peer.take(100_000)
                peer.reset()
            assert ended.wait(PATIENCE)
            until(lambda: app.ended)


def test_a_client_that_leaves_amid_its_body(runtime):
    seen = []

    def takes(peer):
        seen.append(peer.rest())

    with origin(takes) as upstream:
        app = To(upstream.peer)
        with served(app, runtime) as server:
            with client(server.address) as peer:
                peer.send(post(10, b"01234"))
                until(lambda: upstream.connections)
                peer.reset()
            until(lambda: app.ended)
        until(lambda: seen)
    assert b"56789" not in seen[0]


def test_row_94_a_half_close_is_answered(runtime):
    with proxied(echoing, runtime) as peer:
        peer.send(post(5, b"hello"))
        peer.shut()
        assert peer.message()[2] == b"hello"
        assert peer.ended()


# ── what passes ──────────────────────────────────────────────────────────────────────


def test_informational_answers_and_trailers(runtime):
    response = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    with proxied(answering(response), runtime) as peer:
        peer.send(GET)
        assert peer.head()[0] == b"HTTP/1.1 103 Early Hints"
        peer.head()
        assert peer.upto(b"\r\n\r\n") == b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"


def test_expect_is_relayed(runtime):
    def invites(peer):
        _, fields = peer.head()
        assert fields[b"expect"] == b"100-continue"
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert peer.body(fields) == b"hello"
        peer.send(OK)

    with proxied(invites, runtime) as peer:
        peer.send(post(5, b"", b"Expect: 100-continue\r\n"))
        assert peer.head()[0] == b"HTTP/1.1 100 Continue"
        peer.send(b"hello")
        assert peer.status() == 200


@pytest.mark.parametrize("first", ["client", "origin"])
def test_row_43_a_tunnel_with_half_close(runtime, first):
    def switches(peer):
        peer.head()
        peer.send(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nfirst")
        if first == "origin":
            peer.shut()
        heard.append(peer.rest())
        if first == "client":
            peer.send(heard[0][::-1])

    heard = []
    with proxied(switches, runtime) as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        peer.head()
        assert peer.take(5) == b"first"
        if first == "client":
            peer.send(b"0123456789")
            peer.shut()
            assert peer.rest() == b"9876543210"
        else:
            assert peer.ended()
            peer.send(b"x" * MIB)
            peer.shut()
            until(lambda: heard)  # behind our end: the kernel still has much of it
            assert heard == [b"x" * MIB]
        until(lambda: peer.app.ended)
        assert peer.app.ended == [None]


# ── the end ──────────────────────────────────────────────────────────────────────────


def test_a_graceful_stop_finishes_what_is_under_way(runtime):
    go_on = threading.Event()

    def slow(peer):
        peer.message()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        go_on.wait(PATIENCE)
        peer.send(b"cd")
        peer.rest()

    with proxied(slow, runtime) as peer:
        peer.send(GET)
        peer.head()
        peer.server.stop()
        assert peer.take(2) == b"ab"
        go_on.set()
        assert peer.take(2) == b"cd"
        assert peer.app.ended == [None]
        peer.close()
        peer.server.join()


def test_an_idle_origin_connection_does_not_hold_up_the_end(runtime):
    with proxied(answering(), runtime) as peer:
        peer.send(GET)
        peer.message()
        peer.close()
        peer.server.stop()
        peer.server.join()


def test_a_stop_at_once_logs_every_exchange(runtime):
    with proxied(deaf, runtime) as peer:
        peer.send(GET)
        until(lambda: peer.upstream.connections)
        peer.server.stop(graceful=False)
        peer.server.join()
        assert len(peer.app.ended) == 1


def test_many_clients_at_once(runtime):
    with origin(echoing) as upstream, served(To(upstream.peer), runtime) as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(client(server.address)) for _ in range(100)]
        for turn in range(5):
            for number, peer in enumerate(peers):
                body = b"%d/%d" % (number, turn)
                peer.send(post(len(body), body))
            for number, peer in enumerate(peers):
                assert peer.message()[2] == b"%d/%d" % (number, turn)
        assert upstream.connections <= 100


@pytest.mark.parametrize("lanes", [1, 3])
def test_lanes_of_threads_share_nothing(lanes):
    with (
        origin(echoing) as upstream,
        served(app := To(upstream.peer), "threads", threads=lanes) as server,
        contextlib.ExitStack() as stack,
    ):
        peers = [stack.enter_context(client(server.address)) for _ in range(60)]
        for turn in range(3):
            for number, peer in enumerate(peers):
                body = b"%d/%d" % (number, turn)
                peer.send(post(len(body), body))
            for number, peer in enumerate(peers):
                assert peer.message()[2] == b"%d/%d" % (number, turn)
        for peer in peers:
            peer.close()
        server.stop()
        server.join()
    assert app.ended == [None] * 180
