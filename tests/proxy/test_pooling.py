"""A proxy and its pool: waiting for a connection, and who gets which."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import ErrorType
from sansio_pingora.upstreams import HttpPeer, PeerOptions
from tests.proxy.harness import GET, HANGING, OK, ORIGIN, App, Bench, status_of


def two_clients(bench):
    first, second = bench.client(), bench.client()
    first.send(GET)
    second.send(GET)
    return first, second


def test_a_ceiling_per_peer_makes_the_second_wait_for_the_first():
    bench = Bench(app := App(), max_per_peer=1)
    first, second = two_clients(bench)
    assert len(bench.dials) == 1
    assert bench.connector.waiting == 1
    bench.origin.send(OK)
    assert status_of(first.take()) == 200
    bench.origin.send(OK)
    assert status_of(second.take()) == 200
    assert len(bench.dials) == 1
    assert [error for _, error in app.ended] == [None, None]
    bench.assert_clean()


def test_waiting_has_an_end():
    bench = Bench(app := App(), max_per_peer=1, pool_wait_timeout=2.0)
    first, second = two_clients(bench)
    bench.advance(2.1)
    assert status_of(second.take()) == 504
    assert app.ended[0][1].etype is ErrorType.CONNECT_TIMEDOUT
    bench.origin.send(OK)
    assert status_of(first.take()) == 200
    bench.assert_clean()


@pytest.mark.parametrize("how", ["reset", "eof"])
def test_a_client_that_leaves_while_it_waits(how):
    bench = Bench(app := App(), max_per_peer=1)
    first, second = two_clients(bench)
    getattr(second, how)()
    assert len(app.ended) == (how == "reset")  # a half-closed one still wants its answer
    bench.origin.send(OK)
    assert status_of(first.take()) == 200
    if how == "eof":
        bench.origin.send(OK)
        assert status_of(second.take()) == 200
    assert len(app.ended) == 2
    bench.assert_clean()


def test_a_connection_that_cannot_be_used_again_makes_room_for_a_new_one():
    bench = Bench(App(), max_per_peer=1)
    first, second = two_clients(bench)
    bench.origin.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert status_of(first.take()) == 200
    assert len(bench.dials) == 2
    bench.origin.send(OK)
    assert status_of(second.take()) == 200
    bench.assert_clean()


def test_a_chain_of_waiting_exchanges_that_are_answered_at_once():
    bench = Bench(App(), max_per_peer=1)
    clients = [bench.client() for _ in range(200)]
    for client in clients:
        client.send(GET)
    for client in clients:
        bench.origin.send(OK)
        assert status_of(client.take()) == 200
    assert len(bench.dials) == 1
    bench.assert_clean()


def test_the_most_recent_is_used_first():
    bench = Bench(App())
    first, second = two_clients(bench)
    old, new = bench.origins
    old.send(OK)
    new.send(OK)
    first.take()
    second.take()
    new.take()
    first.send(GET)
    assert new.take() == GET
    new.send(OK)
    bench.assert_clean()


def test_a_pool_of_none_keeps_nothing():
    bench = Bench(App(), upstream_keepalive_pool_size=0)
    client = bench.client()
    for _ in range(2):
        client.send(GET)
        bench.origin.send(OK)
        assert status_of(client.take()) == 200
        assert not bench.origin.alive
    assert len(bench.dials) == 2
    bench.assert_clean()


def test_peers_that_differ_in_trust_do_not_share():
    class Two(App):
        def upstream_peer(self, session, ctx):
            verify = session.req_header.target == b"/"
            return HttpPeer(ORIGIN, options=PeerOptions(verify_cert=verify))

    bench = Bench(Two())
    client = bench.client()
    for target in (b"/", b"/other", b"/"):
        client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        next(wire for wire in bench.origins if wire.got).send(OK)
        for wire in bench.origins:
            wire.take()
    assert len(bench.dials) == 2


def test_drain_ends_the_wait_of_nobody():
    bench = Bench(App(), max_per_peer=1)
    first, second = two_clients(bench)
    bench.acceptor.drain(bench.now)
    bench.settle()
    bench.origin.send(OK)
    assert status_of(first.take()) == 200
    assert len(bench.dials) == 2  # nothing is kept any more
    bench.origin.send(OK)
    assert status_of(second.take()) == 200
    bench.advance(10)
    assert not any(wire.alive for wire in (*bench.clients, *bench.origins))
    bench.assert_clean()


def test_the_pool_waits_for_a_dial_that_hangs():
    bench = Bench(app := App(), max_per_peer=1, connection_timeout=1.0, pool_wait_timeout=5.0)
    bench.dial_outcomes.append(HANGING)
    first, second = two_clients(bench)
    bench.advance(1.1)
    assert status_of(first.take()) == 504
    assert len(bench.dials) == 2
    bench.origin.send(OK)
    assert status_of(second.take()) == 200
    assert len(app.ended) == 2
    bench.assert_clean()
