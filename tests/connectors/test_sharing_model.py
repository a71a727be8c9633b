"""Connections of many streams against what must hold of them, whatever happens in whatever order."""

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
from sansio_pingora.upstreams import ALPN, HttpPeer, PeerOptions
from sansio_pingora.wire import Body, Failed

PEERS = [
    HttpPeer("127.0.0.1:9001", options=PeerOptions(alpn=ALPN.H2, max_h2_streams=3)),
    HttpPeer("127.0.0.1:9001", options=PeerOptions(alpn=ALPN.H2, max_h2_streams=3, idle_timeout=1.0)),
    HttpPeer("127.0.0.1:9002", options=PeerOptions(alpn=ALPN.H2)),
    HttpPeer("127.0.0.1:9003"),
]
PICK = st.integers(0, 99)


class Asker:
    """One request for a stream, and what became of it."""

    def __init__(self, model, peer, *, gives_back):
        self.model = model
        self.peer = peer
        self.key = peer.reuse_key
        self.gives_back = gives_back
        self.lease = None
        self.state = "asking"
        self.failed = False
        self.heard = 0

    @property
    def held_back(self):
        """It waits because of max_per_peer, in a line."""
        request = self.model.net.connector._requests.get((id(self), 0))
        return request is not None and request.plan is None

    def ask(self):
        lease = self.model.net.connector.acquire(self.peer, self, 0, self.model.net.now)
        if lease is not None:
            self.resume(0, lease, self.model.net.now)

    def resume(self, token, value, now):
        assert self.state == "asking"
        assert value.peer is self.peer
        connection = value.connection
        assert connection.peer.reuse_key == self.key
        assert not connection.closing
        sharers = [other for other in self.model.in_state("leased") if other.lease.endpoint is value.endpoint]
        assert len(sharers) < self.peer.options.max_h2_streams
        assert value.stream_id not in {other.lease.stream_id for other in sharers}
        if connection.version == b"2":
            assert len(connection.open) <= connection.allowed
        self.state = "leased"
        self.lease = value
        value.listen(self)
        if self.gives_back:
            self.release(now, finish=True)

    def fail(self, token, error, now):
        assert self.state == "asking"
        assert isinstance(error, Error)
        self.state = "failed"

    def receive_event(self, stream_id, value, now):
        assert self.state == "leased", "an event for somebody who gave the stream back"
        if stream_id:
            assert stream_id == self.lease.stream_id
            self.failed = self.failed or type(value) is Failed
            self.heard += type(value) is Body

    def release(self, now, *, finish):
        self.state = "released"
        timeout = self.peer.options.idle_timeout
        self.model.expires[self.lease.endpoint] = now + (4.0 if timeout is None else timeout)
        connection = self.lease.connection
        if connection.version == b"1.1":
            connection.finish()
        elif finish:
            connection.finish(self.lease.stream_id)
        self.model.net.connector.release(self.lease, now, reuse=True)


class SharingModel(RuleBasedStateMachine):
    net_type = None

    @initialize(
        cap=st.sampled_from([None, 1, 2]),
        size=st.sampled_from([8, 8, 1, 0]),
        lifetime=st.sampled_from([None, None, 6.0]),
        requests=st.sampled_from([None, None, 2, 5]),
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
        self.bounded = lifetime is not None or requests is not None
        self.askers = []
        self.expires = {}  # of endpoints, when last released

    def in_state(self, state):
        return [asker for asker in self.askers if asker.state == state]

    def leased_endpoints(self):
        return {asker.lease.endpoint for asker in self.in_state("leased")}

    def idle_endpoints(self):
        leased = self.leased_endpoints()
        # One that goes has been let go by the connector, and its transport is on its way out.
        return [e for e in self.net.lane.endpoints if e not in leased and not e.connection.closing]

    def shared(self, key):
        """Connections in use under *key* with a stream left."""
        return [
            endpoint
            for endpoint in self.leased_endpoints()
            if endpoint.connection.peer.reuse_key == key and endpoint.connection.reusable
        ]

    # ── who asks ─────────────────────────────────────────────────────────────────────

    @rule(peer=st.sampled_from([*PEERS[:1] * 4, *PEERS]), gives_back=st.sampled_from([False, False, False, True]))
    def ask(self, peer, gives_back):
        asker = Asker(self, peer, gives_back=gives_back)
        shared = self.shared(asker.key)
        self.askers.append(asker)
        asker.ask()
        if shared and not self.bounded:
            assert asker.state != "asking", "a stream was free"
            assert asker.lease.endpoint in shared
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
    @rule(pick=PICK, works=st.sampled_from([True, True, False]))
    def answer_a_dial(self, pick, works):
        token = sorted(self.net.dials)[pick % len(self.net.dials)]
        (self.net.connect if works else self.net.refuse)(token)

    @precondition(lambda self: self.in_state("leased"))
    @rule(pick=PICK, finish=st.booleans())
    def release(self, pick, finish):
        held_back = {}
        for asker in self.in_state("asking"):
            if asker.held_back:
                held_back.setdefault(asker.key, []).append(asker)
        askers = self.in_state("leased")
        askers[pick % len(askers)].release(self.net.now, finish=finish)
        self.net.settle()
        for waiting in held_back.values():
            served = [not asker.held_back for asker in waiting]
            assert served == sorted(served, reverse=True), "one overtook another"

    @rule()
    def all_goes_well(self):
        """Without this, time passes over most dials and hardly anything is shared."""
        while self.net.dials:
            self.net.connect()

    # ── what connections do ──────────────────────────────────────────────────────────

    @precondition(lambda self: self.in_state("leased"))
    @rule(pick=PICK, how=st.sampled_from(["speaks", "speaks", "goes", "dies", "allows fewer"]))
    def a_leased_one(self, pick, how):
        askers = self.in_state("leased")
        endpoint = askers[pick % len(askers)].lease.endpoint
        connection = endpoint.connection
        sharers = [asker for asker in askers if asker.lease.endpoint is endpoint]
        if endpoint not in self.net.lane.endpoints or connection.closing:
            return
        if how == "speaks":
            before = [asker.heard for asker in sharers]
            endpoint.receive_data(b"x", self.net.now)
            assert [asker.heard for asker in sharers] == [heard + 1 for heard in before]
        elif how == "dies":
            endpoint.transport_lost(Error(ErrorType.READ_ERROR, "reset"), self.net.now)
            assert connection.version == b"1.1" or all(asker.failed for asker in sharers)
        elif connection.version == b"2":
            if how == "goes":
                connection.goaway()
            else:
                connection.allowed = min(connection.allowed, len(connection.open))
        self.net.settle()

    @precondition(lambda self: self.idle_endpoints())
    @rule(pick=PICK, how=st.sampled_from(["speaks", "ends", "dies", "goes"]))
    def an_idle_one(self, pick, how):
        endpoints = self.idle_endpoints()
        endpoint = endpoints[pick % len(endpoints)]
        if how == "speaks":
            endpoint.receive_data(b"x", self.net.now)
        elif how == "ends":
            endpoint.receive_eof(self.net.now)
        elif how == "dies":
            endpoint.transport_lost(None, self.net.now)
        elif endpoint.connection.version == b"2":
            endpoint.connection.goaway()
        else:
            return
        self.net.settle()
        assert endpoint not in self.net.lane.endpoints

    # ── time ─────────────────────────────────────────────────────────────────────────

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

    # ── what holds ───────────────────────────────────────────────────────────────────

    @invariant()
    def nobody_and_nothing_is_forgotten(self):
        connector, net = self.net.connector, self.net
        asking = self.in_state("asking")
        assert connector.dialling == len(net.dials)
        assert len(connector._requests) == len(asking)
        assert connector.waiting == sum(asker.held_back for asker in asking)
        assert len(asking) == connector.waiting + sum(len(d.requests) for d in connector._dials.values())
        assert connector.idle <= self.size
        assert connector.idle == len(self.idle_endpoints())
        for peer in PEERS:
            key = peer.reuse_key
            leased = sum(e.connection.peer.reuse_key == key for e in self.leased_endpoints())
            dialling = sum(d.endpoint.connection.peer.reuse_key == key for d in net.dials.values())
            idle = sum(e.connection.peer.reuse_key == key for e in self.idle_endpoints())
            assert connector.connections(peer) == leased + dialling + idle <= self.cap
            if any(asker.held_back for asker in asking if asker.key == key):
                assert leased + dialling == self.cap
                assert self.bounded or not self.shared(key)

    @invariant()
    def streams_that_are_left_are_known(self):
        free = [kept for found in self.net.connector._free.by_key.values() for kept in found]
        assert all(kept.free and kept.receivers for kept in free)
        known = {kept.endpoint for kept in free}
        assert known <= self.leased_endpoints()
        for peer in PEERS:
            if not self.bounded:
                assert set(self.shared(peer.reuse_key)) <= known

    @invariant()
    def the_lane_wakes_in_time(self):
        assert self.net.lane.deadline <= self.net.connector.deadline

    def teardown(self):
        if not hasattr(self, "net"):
            return
        net, connector = self.net, self.net.connector
        for _ in range(200):
            for asker in self.in_state("leased"):
                asker.release(net.now, finish=True)
            net.settle()
            if not self.in_state("asking") and not self.in_state("leased"):  # who was just granted gives back too
                break
            net.advance(1.0)  # no dial is answered any more: each is told so in time
        assert not self.in_state("asking")
        net.advance(10.0)
        assert not net.lane.endpoints
        assert connector.idle == connector.dialling == connector.waiting == 0
        assert not connector._requests
        assert not connector._joinable
        assert not connector._offers
        assert not connector._free.by_key
        assert not connector._pool._peers
        assert not connector._pool._entries
        assert connector.deadline == math.inf


def test_sharing_model(fake_net):
    SharingModel.net_type = fake_net
    run_state_machine_as_test(SharingModel, settings=settings(stateful_step_count=50))
