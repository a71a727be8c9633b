"""Dials whose layers stall, refuse, agree on either version or lose their transport, in any order and number.

Whoever asks gets one lease or one error, in time; nothing is dialled, kept or counted that nobody knows of.
"""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.layers import pending_layer
from sansio_pingora.upstreams import ALPN, HttpPeer, PeerOptions
from tests.connectors.test_establishing import Agreeing, Greeting

PEERS = [
    HttpPeer("192.0.2.1:443", options=PeerOptions(alpn=ALPN.H2H1, max_h2_streams=3)),
    HttpPeer("192.0.2.1:443", options=PeerOptions(alpn=ALPN.H1)),
    HttpPeer("192.0.2.2:443", options=PeerOptions(alpn=ALPN.H2H1, max_h2_streams=2, total_connection_timeout=3.0)),
]
PICK = st.integers(0, 99)


class Asker:
    def __init__(self, model, peer):
        self.model = model
        self.peer = peer
        self.lease = None
        self.state = "asking"

    def ask(self):
        lease = self.model.net.connector.acquire(self.peer, self, 0, self.model.net.now)
        if lease is not None:
            self.resume(0, lease, self.model.net.now)

    def resume(self, token, value, now):
        assert self.state == "asking", "two answers"
        assert value.connection.peer.reuse_key == self.peer.reuse_key
        assert not value.connection.closing
        assert pending_layer(value.endpoint.connection) is None
        mine = value.endpoint, value.stream_id
        assert mine not in {(a.lease.endpoint, a.lease.stream_id) for a in self.model.in_state("leased")}
        if value.connection.version == b"1.1":
            assert value.endpoint not in {a.lease.endpoint for a in self.model.in_state("leased")}
        self.state = "leased"
        self.lease = value
        value.listen(self)

    def fail(self, token, error, now):
        assert self.state == "asking", "two answers"
        assert isinstance(error, Error)
        self.state = "failed"

    def receive_event(self, stream_id, value, now):
        """Whatever comes, the lease is given back by hand."""

    def release(self, *, reuse=True):
        self.state = "released"
        lease = self.lease
        if lease.connection.version == b"2":
            lease.connection.finish(lease.stream_id)
        else:
            lease.connection.finish()
        self.model.net.connector.release(lease, self.model.net.now, reuse=reuse)


class LayeredModel(RuleBasedStateMachine):
    net_type = None

    @initialize(
        cap=st.sampled_from([None, 1, 2]),
        kinds=st.sampled_from([(Agreeing,), (Greeting, Agreeing), (Greeting,), (Greeting, Greeting, Agreeing)]),
        size=st.sampled_from([8, 8, 1, 0]),
    )
    def start(self, cap, kinds, size):
        self.net = self.net_type(
            max_per_peer=cap,
            upstream_keepalive_pool_size=size,
            idle_timeout=4.0,
            pool_wait_timeout=3.0,
            handshake_timeout=2.0,
            alpn_cache_size=2,
            alpn_cache_timeout=5.0,
        )
        self.net.connector._making._new_layers = lambda peer, protocols: kinds
        self.cap = math.inf if cap is None else cap
        self.size = size
        self.askers = []
        self.waiting = []  # endpoints that are connected, and whose layers are not through

    def in_state(self, state):
        return [asker for asker in self.askers if asker.state == state]

    def settle(self):
        self.net.settle()
        self.waiting = [
            endpoint
            for endpoint in self.waiting
            if endpoint in self.net.lane.endpoints
            and not endpoint.connection.closing
            and pending_layer(endpoint.connection) is not None
        ]

    @rule(peer=st.sampled_from([PEERS[0], *PEERS]))
    def ask(self, peer):
        asker = Asker(self, peer)
        self.askers.append(asker)
        asker.ask()
        self.settle()

    @precondition(lambda self: self.in_state("asking"))
    @rule(pick=PICK)
    def cancel(self, pick):
        askers = self.in_state("asking")
        asker = askers[pick % len(askers)]
        asker.state = "cancelled"
        self.net.connector.cancel(asker, 0, self.net.now)
        self.settle()

    @precondition(lambda self: self.net.dials)
    @rule(pick=PICK, works=st.sampled_from([True, True, False]))
    def answer_a_dial(self, pick, works):
        token = sorted(self.net.dials)[pick % len(self.net.dials)]
        if works:
            self.waiting.append(self.net.connect(token).endpoint)
        else:
            self.net.refuse(token)
        self.settle()

    @precondition(lambda self: self.waiting)
    @rule(pick=PICK, said=st.sampled_from([b"h2", b"h2", b"http/1.1", b"-", b"no"]))
    def a_peer_speaks(self, pick, said):
        endpoint = self.waiting[pick % len(self.waiting)]
        endpoint.receive_data(said, self.net.now)
        self.settle()

    @precondition(lambda self: self.waiting)
    @rule(pick=PICK, how=st.sampled_from(["ends", "dies"]))
    def a_peer_leaves(self, pick, how):
        endpoint = self.waiting[pick % len(self.waiting)]
        if how == "ends":
            endpoint.receive_eof(self.net.now)
        else:
            endpoint.transport_lost(Error(ErrorType.READ_ERROR, "reset"), self.net.now)
        self.settle()
        assert endpoint not in self.waiting

    @rule()
    def all_goes_well(self):
        """Without this, time passes over most dials."""
        while self.net.dials:
            self.waiting.append(self.net.connect().endpoint)
        while self.waiting:
            self.waiting[0].receive_data(b"h2" if len(self.askers) % 2 else b"http/1.1", self.net.now)
            self.settle()

    @precondition(lambda self: self.in_state("leased"))
    @rule(pick=PICK, reuse=st.sampled_from([True, True, False]))
    def release(self, pick, reuse):
        askers = self.in_state("leased")
        askers[pick % len(askers)].release(reuse=reuse)
        self.settle()

    @precondition(lambda self: self.in_state("leased"))
    @rule(pick=PICK)
    def an_origin_takes_http2_back(self, pick):
        askers = self.in_state("leased")
        self.net.connector.prefer_h1(askers[pick % len(askers)].peer, self.net.now)
        self.settle()

    @rule(seconds=st.sampled_from([0.1, 0.1, 1.0, 5.0]))
    def time_passes(self, seconds):
        self.net.advance(seconds)
        self.settle()

    @invariant()
    def nobody_and_nothing_is_forgotten(self):
        net, connector = self.net, self.net.connector
        assert connector.dialling == len(net.dials) + len(self.waiting)
        assert connector.idle <= self.size
        for key in {peer.reuse_key for peer in PEERS}:
            peer = next(p for p in PEERS if p.reuse_key == key)
            assert connector.connections(peer) <= self.cap
        leased = {asker.lease.endpoint for asker in self.in_state("leased")}
        live = set(net.lane.endpoints)
        assert len(live - leased - set(self.waiting)) == connector.idle

    @invariant()
    def the_lane_wakes_in_time(self):
        assert self.net.lane.deadline <= self.net.connector.deadline

    def teardown(self):
        if not hasattr(self, "net"):
            return
        net, connector = self.net, self.net.connector
        for _ in range(200):
            for asker in self.in_state("leased"):
                asker.release()
            self.settle()
            if not self.in_state("asking") and not self.in_state("leased"):
                break
            net.advance(1.0)  # nobody speaks any more: each is told so in time
        assert not self.in_state("asking")
        net.advance(15.0)
        assert not net.lane.endpoints
        assert connector.idle == connector.dialling == connector.waiting == 0
        assert not connector._requests
        assert not connector._pool._peers
        assert not connector._pool._entries


def test_layered_model(fake_net):
    LayeredModel.net_type = fake_net
    run_state_machine_as_test(LayeredModel, settings=settings(stateful_step_count=50))
