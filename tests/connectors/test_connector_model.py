"""The connector with a driver that answers late, out of order, with errors, or never."""

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
from sansio_pingora.machine import ConnectionClosed
from sansio_pingora.upstreams import HttpPeer, PeerOptions

PEERS = [
    HttpPeer("127.0.0.1:9001"),
    HttpPeer("127.0.0.1:9001", options=PeerOptions(idle_timeout=1.0)),
    HttpPeer("127.0.0.1:9002", options=PeerOptions(connection_timeout=2.0)),
    HttpPeer("unix:/run/x.sock", options=PeerOptions(idle_timeout=0.0)),
]
KEYS = {peer.reuse_key for peer in PEERS}
PICK = st.integers(0, 99)


class Asker:
    """One request for a lease, and what became of it."""

    def __init__(self, model, peer, *, gives_back, asks_again):
        self.model = model
        self.peer = peer
        self.gives_back = gives_back
        self.asks_again = asks_again
        self.since = model.net.now
        self.lease = None
        self.state = "asking"
        self.heard_end = False

    def ask(self):
        connector = self.model.net.connector
        lease = connector.acquire(self.peer, self, 0, self.model.net.now)
        if lease is not None:
            self.resume(0, lease, self.model.net.now)

    def resume(self, token, value, now):
        assert self.state == "asking"
        assert value.peer is self.peer
        assert value.connection.peer.reuse_key == self.peer.reuse_key
        assert value.endpoint not in {other.lease.endpoint for other in self.model.in_state("leased")}
        assert not value.connection.closing
        self.state = "leased"
        self.lease = value
        value.endpoint.receiver = self
        if self.gives_back:
            self.release(now, reuse=True)

    def fail(self, token, error, now):
        assert self.state == "asking"
        assert isinstance(error, Error)
        self.state = "failed"
        if self.asks_again:
            self.asks_again = False
            self.state = "asking"
            self.since = now
            self.ask()

    def receive_event(self, stream_id, value, now):
        assert self.state == "leased", "an event for somebody who gave the connection back"
        self.heard_end = self.heard_end or isinstance(value, ConnectionClosed)

    def release(self, now, *, reuse):
        self.state = "released"
        timeout = self.peer.options.idle_timeout
        self.model.expires[self.lease.endpoint] = now + (4.0 if timeout is None else timeout)
        self.lease.connection.finish()
        self.model.net.connector.release(self.lease, now, reuse=reuse)


class ConnectorModel(RuleBasedStateMachine):
    net_type = None

    @initialize(
        cap=st.sampled_from([None, 1, 2]),
        size=st.sampled_from([8, 8, 1, 0]),
        lifetime=st.sampled_from([None, None, 6.0]),
        requests=st.sampled_from([None, None, 2]),
    )
    def start(self, cap, size, lifetime, requests):
        self.net = self.net_type(
            max_per_peer=cap,
            upstream_keepalive_pool_size=size,
            max_lifetime=lifetime,
            max_requests=requests,
            idle_timeout=4.0,
            pool_wait_timeout=3.0,
        )
        self.cap = math.inf if cap is None else cap
        self.size = size
        self.askers = []
        self.expires = {}  # of endpoints, when last released

    def in_state(self, state):
        return [asker for asker in self.askers if asker.state == state]

    def idle_endpoints(self):
        leased = {asker.lease.endpoint for asker in self.in_state("leased")}
        return [endpoint for endpoint in self.net.lane.endpoints if endpoint not in leased]

    @rule(peer=st.sampled_from([*PEERS[:1] * 4, *PEERS]), gives_back=st.booleans(), asks_again=st.booleans())
    def ask(self, peer, gives_back, asks_again):
        asker = Asker(self, peer, gives_back=gives_back, asks_again=asks_again)
        self.askers.append(asker)
        asker.ask()
        self.net.settle()

    @precondition(lambda self: self.in_state("asking"))
    @rule(pick=PICK, crossed=st.booleans())
    def cancel(self, pick, crossed):
        askers = self.in_state("asking")
        asker = askers[pick % len(askers)]
        asker.state = "cancelled"
        self.net.connector.cancel(asker, 0, self.net.now)
        if crossed:
            for token in sorted(self.net.dials):
                self.net.connect(token, settle=False)
        self.net.settle()

    @precondition(lambda self: self.net.dials)
    @rule(pick=PICK, works=st.booleans())
    def answer_a_dial(self, pick, works):
        token = sorted(self.net.dials)[pick % len(self.net.dials)]
        (self.net.connect if works else self.net.refuse)(token)

    @precondition(lambda self: self.in_state("leased"))
    @rule(pick=PICK, reuse=st.sampled_from([True, True, False]))
    def release(self, pick, reuse):
        askers = self.in_state("leased")
        askers[pick % len(askers)].release(self.net.now, reuse=reuse)
        self.net.settle()

    @rule()
    def all_goes_well(self):
        """Without this, time passes over most dials and hardly anything is reused."""
        while self.net.dials:
            self.net.connect()
            for asker in self.in_state("leased"):
                asker.release(self.net.now, reuse=True)
            self.net.settle()

    @precondition(lambda self: self.in_state("leased"))
    @rule(pick=PICK)
    def a_leased_one_dies(self, pick):
        askers = self.in_state("leased")
        asker = askers[pick % len(askers)]
        if asker.lease.endpoint in self.net.lane.endpoints:
            asker.lease.endpoint.transport_lost(Error(ErrorType.READ_ERROR, "reset"), self.net.now)
            assert asker.heard_end
        self.net.settle()

    @precondition(lambda self: self.idle_endpoints())
    @rule(pick=PICK, how=st.sampled_from(["speaks", "ends", "dies"]))
    def an_idle_one(self, pick, how):
        endpoints = self.idle_endpoints()
        endpoint = endpoints[pick % len(endpoints)]
        if how == "speaks":
            endpoint.receive_data(b"x", self.net.now)
        elif how == "ends":
            endpoint.receive_eof(self.net.now)
        else:
            endpoint.transport_lost(None, self.net.now)
        self.net.settle()
        assert endpoint not in self.net.lane.endpoints

    @rule(seconds=st.sampled_from([0.1, 0.1, 1.0, 5.0]))
    def time_passes(self, seconds):
        self.net.advance(seconds)
        assert all(self.expires[endpoint] > self.net.now for endpoint in self.idle_endpoints())

    @rule(seconds=st.sampled_from([0.1, 0.1, 3.0]))
    def the_timer_is_late(self, seconds):
        self.net.now += seconds

    @precondition(lambda self: len(self.askers) > 8)
    @rule()
    def drain(self):
        self.net.connector.drain(self.net.now)
        self.net.settle()
        assert self.net.connector.idle == 0
        self.size = 0

    @invariant()
    def nobody_and_nothing_is_forgotten(self):
        connector, net = self.net.connector, self.net
        assert connector.dialling == len(net.dials)
        assert len(self.in_state("asking")) == connector.dialling + connector.waiting
        assert connector.idle <= self.size
        assert connector.idle == len(self.idle_endpoints())
        for key in KEYS:
            peer = next(p for p in PEERS if p.reuse_key == key)
            leased = sum(a.peer.reuse_key == key for a in self.in_state("leased"))
            dialling = sum(d.endpoint.connection.peer.reuse_key == key for d in net.dials.values())
            idle = sum(e.connection.peer.reuse_key == key for e in self.idle_endpoints())
            assert connector.connections(peer) == leased + dialling + idle <= self.cap
            asking = sum(a.peer.reuse_key == key for a in self.in_state("asking"))
            if asking > dialling:
                assert leased + dialling == self.cap

    @invariant()
    def the_lane_wakes_in_time(self):
        assert self.net.lane.deadline <= self.net.connector.deadline

    def teardown(self):
        if not hasattr(self, "net"):
            return
        net, connector = self.net, self.net.connector
        for _ in range(200):
            for asker in self.in_state("leased"):
                asker.release(net.now, reuse=True)
            net.settle()
            if not self.in_state("asking") and not self.in_state("leased"):  # who was just granted gives back too
                break
            net.advance(1.0)  # no dial is answered any more: each is told so in time
        assert not self.in_state("asking")
        net.advance(10.0)
        assert not net.lane.endpoints
        assert connector.idle == connector.dialling == connector.waiting == 0
        assert not connector._requests
        assert not connector._pool._peers
        assert not connector._pool._entries
        assert connector.deadline == math.inf


def test_connector_model(fake_net):
    ConnectorModel.net_type = fake_net
    run_state_machine_as_test(ConnectorModel, settings=settings(stateful_step_count=50))
