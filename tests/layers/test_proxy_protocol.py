"""The PROXY protocol below a connection: who is believed, who is refused, and what becomes of the addresses."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.digests import Digest
from sansio_pingora.errors import ErrorType
from sansio_pingora.layers import AcceptProxyProtocol, PrefaceSniff, SendProxyProtocol, stack_layers
from sansio_pingora.limits import Limits
from sansio_pingora.machine import Closing, ConnectionClosed, Endpoint, Established, Lane
from sansio_pingora.proxy_protocol import ProxyHeader, ProxyTlv
from sansio_pingora.session import ServerConnection
from sansio_pingora.transport import SocketAddr, TransportInfo
from sansio_pingora.wire import Header

BALANCER = SocketAddr("10.0.0.1", 4000)
STRANGER = SocketAddr("192.0.2.66", 4000)
OURS = SocketAddr("10.0.0.2", 80)
CLIENT, TARGET = SocketAddr("198.51.100.7", 56324), SocketAddr("203.0.113.9", 443)
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
TLVS = (ProxyTlv(0x02, b"a.test"),)
HEADERS = {
    "v1": ProxyHeader(1, CLIENT, TARGET),
    "v2": ProxyHeader(2, CLIENT, TARGET, tlvs=TLVS),
    "Unix": ProxyHeader(2, None, SocketAddr(path="/run/front")),
    "unknown": ProxyHeader(1),
    "unspec": ProxyHeader(2),
    "local": ProxyHeader(2, local=True),
}


class Receiver:
    def __init__(self):
        self.events = []

    def receive_event(self, stream_id, value, now):
        self.events.append(value)

    def one(self, kind):
        (found,) = [value for value in self.events if type(value) is kind]
        return found


class Rig:
    def __init__(self, *makers, peer=BALANCER, deadline=5.0):
        self.lane, self.receiver = Lane(), Receiver()
        info = TransportInfo(peer, OURS, 1.0)
        layer = stack_layers(
            makers, lambda _layer, now: ServerConnection(now=now, h2c=False), Limits(), Digest.of(info), deadline
        )
        self.endpoint = Endpoint(self.lane, layer, self.receiver, info)
        self.lane.attach(self.endpoint)
        self.sent = []
        self.settle(0.0)

    def settle(self, now):
        while members := self.lane.drain(now):
            for member in members:
                self.sent += member.connection.data_to_send()

    def receive(self, data, now=0.0):
        self.endpoint.receive_data(data, now)
        self.settle(now)

    def pass_until(self, now):
        for member in self.lane.due(now):
            member.handle_timeout(now)
        self.settle(now)

    @property
    def info(self):
        return self.endpoint.info

    @property
    def through(self):
        """The layer stepped aside: HTTP is what the driver talks to."""
        return isinstance(self.endpoint.connection, ServerConnection)


def accepting(trusted=("10.0.0.0/8",), **options):
    return AcceptProxyProtocol(trusted, **options)


@pytest.mark.parametrize("name", HEADERS)
@given(data=st.data())
def test_a_trusted_header_is_believed_from_any_cut(name, data):
    header = HEADERS[name]
    raw = header.to_bytes() + REQUEST
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=5)))
    rig = Rig(accepting())
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        rig.receive(raw[start:end])

    established = rig.receiver.one(Established)
    assert rig.receiver.one(Header).head.target == b"/"
    assert rig.through
    told = header.source is not None or header.destination is not None
    assert (rig.info.peer, rig.info.local) == ((header.source, header.destination) if told else (BALANCER, OURS))
    assert rig.info.established == 1.0
    assert established.digest.proxy_protocol == header
    assert established.digest.socket_digest.peer_addr == BALANCER  # the socket's own
    assert established.digest.clone().proxy_protocol == header


@pytest.mark.parametrize("raw", [header.to_bytes() for header in HEADERS.values()], ids=list(HEADERS))
@pytest.mark.parametrize("peer", [STRANGER, None], ids=["stranger", "Unix"])
def test_a_peer_outside_the_list_cannot_forge_its_address(raw, peer):
    """Required: it is closed before it is read. Optional: its header is a bad HTTP request."""
    rig = Rig(accepting(), peer=peer)
    error = rig.receiver.one(ConnectionClosed).error
    assert rig.endpoint.connection.closing is Closing.AFTER_FLUSH
    assert error.etype is ErrorType.HANDSHAKE_ERROR
    assert "is not among the trusted sources of the PROXY protocol" in str(error)
    rig.receive(raw + REQUEST)
    assert len(rig.receiver.events) == 1

    rig = Rig(accepting(required=False), peer=peer)
    rig.receive(raw + REQUEST)
    assert rig.info.peer == peer
    assert rig.receiver.one(Established).digest.proxy_protocol is None
    assert not [value for value in rig.receiver.events if type(value) is Header]


def test_whoever_is_not_waited_for_is_through_before_the_first_byte():
    rig = Rig(accepting(required=False), peer=STRANGER)

    assert rig.through
    assert rig.endpoint.deadline == Limits().first_byte_timeout
    rig.receive(REQUEST)
    assert rig.receiver.one(Header)


def test_a_trusted_source_may_leave_the_header_out_where_it_is_optional():
    rig = Rig(accepting(required=False))
    assert not rig.through
    rig.receive(REQUEST[:1])
    assert rig.through

    rig.receive(REQUEST[1:])

    assert rig.receiver.one(Header)
    assert rig.info.peer == BALANCER


def test_a_header_is_missed_where_it_is_required():
    rig = Rig(accepting())
    rig.receive(REQUEST)

    error = rig.receiver.one(ConnectionClosed).error
    assert "no PROXY protocol header from 10.0.0.1:4000" in str(error)
    assert rig.endpoint.connection.closing


@pytest.mark.parametrize("raw", [b"PROXY TCP4 x y 1 2\r\n", HEADERS["v2"].to_bytes()[:12] + b"\x31"], ids=["v1", "v2"])
@pytest.mark.parametrize("required", [True, False])
def test_a_bad_header_closes_whatever_is_required(raw, required):
    rig = Rig(accepting(required=required))
    rig.receive(raw)

    assert rig.receiver.one(ConnectionClosed).error.etype is ErrorType.HANDSHAKE_ERROR
    assert rig.sent == []
    rig.receive(REQUEST)
    assert len(rig.receiver.events) == 1
    assert rig.endpoint.connection.next_reason() == "linger_timeout"


def test_the_limit_is_an_option():
    raw = ProxyHeader(2, CLIENT, TARGET, tlvs=(ProxyTlv(0xE0, b"x" * 600),)).to_bytes()
    strict, lax = Rig(accepting()), Rig(accepting(max_header=1000))
    strict.receive(raw)
    lax.receive(raw)

    assert "the limit is 536" in str(strict.receiver.one(ConnectionClosed).error)
    assert lax.through
    for size in (15, 65_552):
        with pytest.raises(ValueError, match="max_header"):
            accepting(max_header=size)


@pytest.mark.parametrize("seen", [b"", b"PROXY TCP4 1.1"], ids=["nothing", "half a header"])
def test_a_header_that_does_not_come_is_waited_for_until_the_deadline(seen):
    rig = Rig(accepting(), deadline=5.0)
    if seen:
        rig.receive(seen, 4.0)
        assert rig.endpoint.connection.held == len(seen)
    rig.pass_until(4.999)
    assert rig.receiver.events == []

    rig.pass_until(5.0)

    error = rig.receiver.one(ConnectionClosed).error
    assert error.etype is ErrorType.READ_TIMEDOUT
    assert "5 s while a PROXY protocol header was waited for" in str(error)
    assert rig.endpoint.connection.closing


def test_a_client_that_leaves_before_its_header():
    rig = Rig(accepting())
    rig.endpoint.receive_eof(1.0)

    assert rig.receiver.one(ConnectionClosed).error.etype is ErrorType.CONNECTION_CLOSED


def test_two_proxies_in_a_row():
    """Each has put its header before what it got."""
    first, second = HEADERS["v2"], ProxyHeader(1, SocketAddr("10.1.1.1", 1), OURS)
    rig = Rig(accepting(), accepting())
    rig.receive(second.to_bytes() + first.to_bytes() + REQUEST)

    assert rig.through
    assert rig.receiver.one(Established).digest.proxy_protocol == first
    assert rig.info.peer == CLIENT


# ── sent ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_is_the_first_that_is_sent_and_nothing_is_waited_for(name):
    rig = Rig(SendProxyProtocol(HEADERS[name]), deadline=math.inf)

    assert rig.receiver.one(Established)
    assert rig.sent == [HEADERS[name].to_bytes()]
    assert rig.through
    rig.receive(REQUEST)
    assert rig.receiver.one(Header)


def test_what_we_send_is_what_we_read():
    out, into = Rig(SendProxyProtocol(HEADERS["v2"])), Rig(accepting())
    into.receive(b"".join(out.sent))

    assert into.info.peer == CLIENT


def test_a_header_that_cannot_be_written_is_refused_before_the_dial():
    with pytest.raises(ValueError, match="two IP addresses of one family"):
        SendProxyProtocol(ProxyHeader(2, CLIENT))


def test_sniffing_stands_on_it():
    """h2c behind a balancer."""
    made = []

    def above(layer, now):
        def switch(connection):
            made.append(connection)
            layer.replace(connection)

        return PrefaceSniff(
            now,
            Limits(),
            lambda now: ServerConnection(now=now, h2c=False),
            lambda now: ServerConnection(now=now),
            switch,
        )

    lane, receiver = Lane(), Receiver()
    info = TransportInfo(BALANCER, OURS, 0.0)
    layer = stack_layers((accepting(),), above, Limits(), Digest.of(info), 5.0)
    endpoint = Endpoint(lane, layer, receiver, info)
    lane.attach(endpoint)
    for byte in HEADERS["v1"].to_bytes() + REQUEST:
        endpoint.receive_data(bytes((byte,)), 0.0)

    assert receiver.one(Header)
    assert endpoint.connection is made[0]
