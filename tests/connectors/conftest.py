"""A client connection and a driver, as small as their contracts allow."""

import math

import pytest

from sansio_pingora.connectors import Connector, Lease
from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.limits import Limits
from sansio_pingora.machine import CancelDial, Closing, ConnectionClosed, Dial, Endpoint, Lane
from sansio_pingora.transport import TransportInfo
from sansio_pingora.wire import Body, Failed


class FakeConnection:
    """One exchange at a time; whatever arrives in between ends it."""

    version = b"1.1"

    def __init__(self, peer):
        self.peer = peer
        self.endpoint = None
        self.deadline = math.inf
        self.want_read = True
        self.shut_write = self.starved = self.stalled = False
        self.closing = Closing.NO
        self.stream = 0
        self.under_way = False

    @property
    def reusable(self):
        return not self.under_way and not self.closing

    def open_stream(self, now):
        assert self.reusable, "handed out while it cannot be used"
        self.stream += 1
        self.under_way = True
        return self.stream

    def finish(self):
        self.under_way = False

    def close(self, closing):
        self.closing = max(self.closing, closing)
        self.endpoint.lane.enlist(self.endpoint)

    def abort(self, now):
        self.close(Closing.ABORT)

    def drain(self, now):
        if not self.under_way:
            self.close(Closing.AFTER_FLUSH)

    def receive_data(self, data, now):
        if self.under_way:
            return [(self.stream, Body(data))]
        self.close(Closing.ABORT)
        return [(0, ConnectionClosed(Error(ErrorType.H1_ERROR, "spoke without being asked")))]

    def receive_eof(self, now):
        self.close(Closing.AFTER_FLUSH)
        return [(0, ConnectionClosed(None))]

    def transport_lost(self, reason, now):
        self.close(self.closing or Closing.ABORT)
        return [(0, ConnectionClosed(reason))]

    def handle_timeout(self, now):
        return []

    def data_to_send(self):
        return []


class FakeSharedConnection(FakeConnection):
    """Many exchanges at a time."""

    version = b"2"

    def __init__(self, peer):
        super().__init__(peer)
        self.open = set()
        self.reset = []
        self.allowed = math.inf
        self.accepting = True

    @property
    def reusable(self):
        return (
            self.accepting and not self.closing and len(self.open) < min(self.peer.options.max_h2_streams, self.allowed)
        )

    def open_stream(self, now):
        assert self.reusable, "handed out while it cannot be used"
        self.stream += 1
        self.open.add(self.stream)
        return self.stream

    def send(self, stream_id, task, now):
        assert type(task) is Failed
        if stream_id in self.open:
            self.reset.append(stream_id)
            self.finish(stream_id)

    def finish(self, stream_id):
        """Its exchange is complete."""
        self.open.discard(stream_id)
        if not self.open and not self.accepting:
            self.close(Closing.AFTER_FLUSH)

    def goaway(self):
        """The origin takes no more streams."""
        self.accepting = False
        if not self.open:
            self.close(Closing.AFTER_FLUSH)

    def drain(self, now):
        self.goaway()

    def abort(self, now):
        self.open.clear()
        super().abort(now)

    def receive_data(self, data, now):
        """One piece for each stream that is open, or nonsense for nobody."""
        if self.open:
            return [(stream_id, Body(data)) for stream_id in sorted(self.open)]
        return super().receive_data(data, now)

    def transport_lost(self, reason, now):
        error = reason or Error(ErrorType.CONNECTION_CLOSED)
        events = [(stream_id, Failed(error)) for stream_id in sorted(self.open)]
        self.open.clear()
        return [*events, *super().transport_lost(reason, now)]


class Exchange:
    """A waiter that keeps what it was told."""

    def __init__(self, net):
        self.net = net
        self.leases = []
        self.errors = []
        self.events = []

    def resume(self, token, value, now):
        assert isinstance(value, Lease)
        value.listen(self)
        self.leases.append((token, value))

    def fail(self, token, error, now):
        assert isinstance(error, Error)
        self.errors.append((token, error))

    def receive_event(self, stream_id, value, now):
        self.events.append((stream_id, value))

    @property
    def lease(self):
        return self.leases[-1][1]


class FakeNet:
    """A lane with a connector and its driver: dials are answered when the test says so."""

    def __init__(self, *, max_lifetime=None, max_requests=None, **limits):
        self.lane = Lane()
        self.now = 0.0
        self.dials = {}
        self.cancelled = []
        self.connector = Connector(
            self.lane,
            Limits(**limits),
            lambda peer, version, now: (FakeSharedConnection if version == b"2" else FakeConnection)(peer),
            max_lifetime=max_lifetime,
            max_requests=max_requests,
        )

    def settle(self):
        while members := self.lane.drain(self.now):
            for member in members:
                if isinstance(member, Endpoint):
                    if member.connection.closing and member.driver is not None:
                        member.transport_lost(None, self.now)
                    continue
                for command in member.take_commands():
                    if isinstance(command, Dial):
                        self.dials[command.token] = command
                    else:
                        assert isinstance(command, CancelDial)
                        self.cancelled.append(command.token)
                        self.dials.pop(command.token, None)

    def exchange(self):
        return Exchange(self)

    def ask(self, peer, token=1, exchange=None):
        exchange = exchange or self.exchange()
        lease = self.connector.acquire(peer, exchange, token, self.now)
        if lease is not None:
            exchange.resume(token, lease, self.now)
        self.settle()
        return exchange

    def connect(self, token=None, *, settle=True):
        """Answer a dial, the oldest by default."""
        dial = self.dials.pop(min(self.dials) if token is None else token)
        dial.endpoint.driver = "socket"
        self.lane.attach(dial.endpoint)
        self.connector.resume(dial.token, TransportInfo(dial.address, None, self.now), self.now)
        if settle:
            self.settle()
        return dial

    def refuse(self, token=None):
        dial = self.dials.pop(min(self.dials) if token is None else token)
        self.connector.fail(dial.token, Error(ErrorType.CONNECT_REFUSED, "errno 111"), self.now)
        self.settle()

    def lease(self, peer):
        """A lease, over a new connection if need be."""
        exchange = self.ask(peer)
        if not exchange.leases:
            self.connect()
        return exchange.lease

    def release(self, lease, *, reuse=True, finish=True):
        if finish:
            if lease.connection.version == b"2":
                lease.connection.finish(lease.stream_id)
            else:
                lease.connection.finish()
        self.connector.release(lease, self.now, reuse=reuse)
        self.settle()

    def advance(self, seconds):
        """Let time pass as a driver does: from one armed deadline to the next."""
        end = self.now + seconds
        while self.lane.deadline <= end:
            self.now = max(self.now, self.lane.deadline)
            for member in self.lane.due(self.now):
                member.handle_timeout(self.now)
            self.settle()
        self.now = end


@pytest.fixture
def fake_net():
    return FakeNet
