"""Between the connect and the lease: layers, their clock, and the version that they tell."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.layers import Layer
from sansio_pingora.machine import Closing
from sansio_pingora.upstreams import ALPN, HttpPeer, PeerOptions


class Agreeing(Layer):
    """A stand-in for TLS: its peer says which of the protocols it takes."""

    __slots__ = ("protocols",)

    secure = True
    waits_for = "the handshake"
    timeout_type = ErrorType.TLS_HANDSHAKE_TIMEDOUT
    source = ErrorSource.UPSTREAM

    def _receive(self, data, now):
        if data == b"no":
            return self._fail(Error(ErrorType.INVALID_CERT, "expired"), now)
        self.alpn = data.decode() if data != b"-" else None
        return self._establish(now)


class Greeting(Layer):
    """A stand-in for CONNECT: waits for one byte, then steps aside."""

    __slots__ = ()

    waits_for = "the proxy"

    def _receive(self, data, now):
        events = self._establish(now)
        self._step_aside()
        return events


@pytest.fixture
def net(fake_net):
    def build(*kinds, **limits):
        net = fake_net(**limits)
        net.offers = []

        def layers(peer, protocols):
            net.offers.append(tuple(protocols))
            return kinds or (Agreeing,)

        net.connector._making._new_layers = layers
        return net

    return build


def peer(alpn=ALPN.H2H1, **options):
    return HttpPeer("192.0.2.1:443", options=PeerOptions(alpn=alpn, max_h2_streams=10, **options))


def say(net, dial, data):
    dial.endpoint.receive_data(data, net.now)
    net.settle()


@pytest.mark.parametrize(("said", "version"), [(b"h2", b"2"), (b"http/1.1", b"1.1"), (b"-", b"1.1")])
def test_a_lease_comes_when_the_layers_are_through(net, said, version):
    net = net()
    exchange = net.ask(peer())
    dial = net.connect()
    assert not exchange.leases
    assert net.connector.dialling == 1

    say(net, dial, said)

    assert exchange.lease.connection.version == version
    assert exchange.lease.digest.timing_digest[0].established_ts == 0.0
    assert net.connector.dialling == 0


def test_layers_are_completed_one_after_the_other(net):
    net = net(Greeting, Agreeing)
    exchange = net.ask(peer())
    dial = net.connect()
    say(net, dial, b"1")
    assert not exchange.leases
    say(net, dial, b"h2")

    assert exchange.lease.connection.version == b"2"
    assert isinstance(dial.endpoint.connection, Agreeing)


@pytest.mark.parametrize(
    ("limits", "options", "at", "etype", "text"),
    [
        ({}, {}, 3.0 + 5.0, "TLS_HANDSHAKE_TIMEDOUT", "handshake timeout of 5 s while connecting to addr: 192.0.2.1"),
        ({"handshake_timeout": 1}, {}, 4.0, "TLS_HANDSHAKE_TIMEDOUT", "handshake timeout of 1 s"),
        ({}, {"total_connection_timeout": 4.0}, 4.0, "TLS_HANDSHAKE_TIMEDOUT", "total-connection timeout of 4 s"),
    ],
)
def test_a_handshake_that_stalls(net, limits, options, at, etype, text):
    net = net(**limits)
    exchange = net.ask(peer(**options))
    net.advance(3.0)
    dial = net.connect()
    net.advance(at - 3.0 - 0.001)
    assert not exchange.errors
    net.advance(0.001)

    error = exchange.errors[0][1]
    assert error.etype is ErrorType[etype]
    assert error.esource is ErrorSource.UPSTREAM
    assert text in error.context
    assert "while the handshake was waited for" in error.context
    assert dial.endpoint.connection.closing is Closing.ABORT
    assert net.connector.connections(peer(**options)) == 0


def test_the_stage_that_stalls_is_named(net):
    net = net(Greeting, Agreeing)
    exchange = net.ask(peer())
    net.connect()
    net.advance(6.0)

    assert exchange.errors[0][1].etype is ErrorType.CONNECT_TIMEDOUT
    assert "while the proxy was waited for" in exchange.errors[0][1].context


def test_a_connect_that_stalls_is_no_handshake(net):
    net = net()
    exchange = net.ask(peer())
    net.advance(6.0)

    assert exchange.errors[0][1].etype is ErrorType.CONNECT_TIMEDOUT
    assert exchange.errors[0][1].context.startswith("connection timeout of 5 s")


@pytest.mark.parametrize("how", ["refused by the layer", "end", "loss"])
def test_a_handshake_that_fails(net, how):
    net = net()
    exchanges = [net.ask(peer()) for _ in range(3)]
    dial = net.connect()
    if how == "end":
        dial.endpoint.receive_eof(net.now)
    elif how == "loss":
        dial.endpoint.transport_lost(Error(ErrorType.READ_ERROR, "reset"), net.now)
    else:
        dial.endpoint.receive_data(b"no", net.now)
    net.settle()
    net.advance(20.0)

    for exchange in exchanges:
        assert len(exchange.errors) == 1
        assert "failed to connect to addr: 192.0.2.1:443" in str(exchange.errors[0][1])
    if how == "refused by the layer":
        assert exchanges[0].errors[0][1].etype is ErrorType.INVALID_CERT
    assert net.connector.connections(peer()) == 0


def test_one_dial_serves_all_who_wait_when_it_is_http2(net):
    net = net()
    exchanges = [net.ask(peer()) for _ in range(5)]
    assert len(net.dials) == 1
    say(net, net.connect(), b"h2")

    assert len({exchange.lease.connection for exchange in exchanges}) == 1
    assert not net.dials


def test_and_when_it_is_http1_the_others_dial(net):
    net = net()
    exchanges = [net.ask(peer()) for _ in range(3)]
    say(net, net.connect(), b"http/1.1")

    assert len(exchanges[0].leases) == 1
    assert len(net.dials) == 2
    while net.dials:
        say(net, net.connect(), b"http/1.1")
    assert len({exchange.lease.connection for exchange in exchanges}) == 3


def test_or_wait_where_no_more_are_allowed(net):
    net = net(max_per_peer=1)
    exchanges = [net.ask(peer()) for _ in range(2)]
    say(net, net.connect(), b"http/1.1")
    assert not net.dials
    assert net.connector.waiting == 1
    net.release(exchanges[0].lease)

    assert exchanges[1].lease.reused


def test_what_was_learnt_is_remembered_for_a_while(net):
    net = net(alpn_cache_timeout=10)
    net.ask(peer())
    say(net, net.connect(), b"http/1.1")
    net.ask(peer())
    net.ask(peer())
    assert len(net.dials) == 2  # each its own: it will be HTTP/1 again
    assert net.offers == [("h2", "http/1.1")] * 3  # though it is asked

    for token in list(net.dials):
        net.refuse(token)
    net.advance(11.0)
    net.ask(peer())
    net.ask(peer())
    assert len(net.dials) == 1


def test_it_is_bounded(net):
    versions = net(alpn_cache_size=2).connector._making.versions
    for key in range(3):
        versions.learn(key, b"1.1", 0.0)

    assert [versions.recall(key, 1.0) for key in range(3)] == [None, b"1.1", b"1.1"]


def test_an_origin_that_takes_http2_back(net):
    net = net(alpn_cache_timeout=10)
    exchanges = [net.ask(peer()) for _ in range(2)]
    say(net, net.connect(), b"h2")
    shared = exchanges[0].lease.connection

    assert net.connector.prefer_h1(peer(), net.now)
    exchange = net.ask(peer())
    assert not exchange.leases  # the streams that are left are not for it
    say(net, net.connect(), b"http/1.1")
    assert exchange.lease.connection.version == b"1.1"
    assert net.offers[-1] == ("http/1.1",)
    for other in exchanges:
        net.release(other.lease)
    late = net.ask(peer())
    assert not late.leases  # nor is the idle connection
    assert shared.closing

    net.advance(11.0)
    net.ask(peer())
    assert net.offers[-1] == ("h2", "http/1.1")


def test_where_http2_alone_is_spoken_there_is_no_way_back(net):
    net = net()

    assert not net.connector.prefer_h1(peer(ALPN.H2), net.now)
    net.ask(peer(ALPN.H2))
    assert net.offers == [("h2",)]


def test_who_gives_up_while_the_layers_are_not_through(net):
    net = net()
    exchange = net.ask(peer())
    dial = net.connect()
    net.connector.cancel(exchange, 1, net.now)
    net.settle()

    assert dial.endpoint.connection.closing is Closing.ABORT
    say(net, dial, b"h2")
    assert not exchange.leases
    assert net.connector.connections(peer()) == 0


def test_a_connection_that_stands_on_layers_is_kept_and_lost_like_any_other(net):
    net = net()
    exchange = net.ask(peer())
    dial = net.connect()
    say(net, dial, b"http/1.1")
    net.release(exchange.lease)
    again = net.ask(peer())
    assert again.lease.reused
    net.release(again.lease)

    say(net, dial, b"nobody asked")

    assert net.connector.idle == 0
    assert dial.endpoint.connection.closing
