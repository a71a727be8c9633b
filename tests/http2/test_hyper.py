"""The reference engine keeps the contract: exchanges between it and the native engine, in both roles."""

from __future__ import annotations

import itertools

import pytest

from sansio_pingora.http2 import Http2Client, Http2Server
from sansio_pingora.http2.hyper import HyperHttp2Client, HyperHttp2Server
from sansio_pingora.limits import Limits
from sansio_pingora.wire import (
    Body,
    Done,
    Failed,
    Fields,
    Header,
    RequestHeader,
    ResponseHeader,
    Trailer,
    UpgradedBody,
)

PAIRS = [
    pair
    for pair in itertools.product((Http2Client, HyperHttp2Client), (Http2Server, HyperHttp2Server))
    if pair != (Http2Client, Http2Server)
]


class Wire:
    """A client and a server, back to back; what each hears is kept."""

    def __init__(self, client, server):
        self.client, self.server = client(0.0, Limits()), server(0.0, Limits())
        self.heard = {self.client: [], self.server: []}
        self.pump()

    def pump(self):
        ends = ((self.client, self.server), (self.server, self.client))
        busy = True
        while busy:
            busy = False
            for one, other in ends:
                for event in one.write_resumed(0.0) if one.starved else []:
                    self.heard[one].append(event)
                for event in one.handle_timeout(0.0):
                    self.heard[one].append(event)
                if data := b"".join(one.data_to_send()):
                    busy = True
                    for stream, value in other.receive_data(data, 0.0):
                        self.heard[other].append((stream, value))
                        if isinstance(value, Body | UpgradedBody):
                            other.consumed(stream, len(value.data), 0.0)

    def tasks(self, end, stream):
        return [value for at, value in self.heard[end] if at == stream]

    def body(self, end, stream):
        return b"".join(task.data for task in self.tasks(end, stream) if isinstance(task, Body | UpgradedBody))


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0].__name__}-{pair[1].__name__}")
def wire(request):
    return Wire(*request.param)


def test_an_exchange_with_bodies_and_trailers_both_ways(wire):
    stream = wire.client.open_stream(0.0)
    wire.client.send(stream, Header(RequestHeader("POST", "/x", [("Host", "a.test")]), False), 0.0)
    wire.client.send(stream, Body(b"x" * 300_000), 0.0)
    wire.client.send(stream, Trailer(Fields([("x-sum", "1")])), 0.0)
    wire.pump()
    head, *_, trailer = wire.tasks(wire.server, 1)
    assert (head.head.method, head.head.target, head.head.get("host")) == (b"POST", b"/x", b"a.test")
    assert wire.body(wire.server, 1) == b"x" * 300_000
    assert trailer == Trailer(Fields([("x-sum", "1")]))

    wire.server.send(1, Header(ResponseHeader(103, [("link", "</a>")]), False), 0.0)
    wire.server.send(1, Header(ResponseHeader(200), False), 0.0)
    wire.server.send(1, Body(b"y" * 300_000), 0.0)
    wire.server.send(1, Done(), 0.0)
    wire.pump()
    tasks = [task for task in wire.tasks(wire.client, stream) if isinstance(task, Header)]
    assert [task.head.status for task in tasks] == [103, 200]
    assert wire.body(wire.client, stream) == b"y" * 300_000
    assert wire.client.idle
    assert wire.server.idle


def test_many_streams(wire):
    streams = [wire.client.open_stream(0.0) for _ in range(50)]
    for stream in streams:
        head = RequestHeader("GET", f"/{stream}", [("Host", "a.test")])
        wire.client.send(stream, Header(head, True), 0.0)
    wire.pump()
    for stream, value in list(wire.heard[wire.server]):
        wire.server.send(stream, Header(ResponseHeader(200), False), 0.0)
        wire.server.send(stream, Body(value.head.target, True), 0.0)
    wire.pump()
    assert [wire.body(wire.client, stream) for stream in streams] == [b"/%d" % stream for stream in streams]


def test_a_stream_that_is_broken_off(wire):
    first, second = wire.client.open_stream(0.0), wire.client.open_stream(0.0)
    for stream in (first, second):
        wire.client.send(stream, Header(RequestHeader("GET", "/", [("Host", "a.test")]), True), 0.0)
    wire.pump()
    wire.server.send(1, Failed(None), 0.0)
    wire.server.send(3, Header(ResponseHeader(204), True), 0.0)
    wire.pump()
    assert isinstance(wire.tasks(wire.client, first)[-1], Failed)
    assert wire.tasks(wire.client, second)[-1].head.status == 204


def test_a_websocket_tunnel(wire):
    stream = wire.client.open_stream(0.0)
    head = RequestHeader("CONNECT", "/chat", [("Host", "a.test")], protocol=b"websocket")
    wire.client.send(stream, Header(head, True), 0.0)
    wire.pump()
    assert wire.tasks(wire.server, 1)[0].head.protocol == b"websocket"
    wire.server.send(1, Header(ResponseHeader(200), False), 0.0)
    wire.pump()
    wire.client.send(stream, UpgradedBody(b"hello"), 0.0)
    wire.server.send(1, UpgradedBody(b"there", True), 0.0)
    wire.pump()
    assert wire.body(wire.server, 1) == b"hello"
    assert wire.tasks(wire.client, stream)[-1].end


def test_a_drain(wire):
    stream = wire.client.open_stream(0.0)
    wire.client.send(stream, Header(RequestHeader("GET", "/", [("Host", "a.test")]), True), 0.0)
    wire.pump()
    wire.server.drain(0.0)
    wire.pump()
    assert not wire.client.accepting
    wire.server.send(1, Header(ResponseHeader(200), True), 0.0)
    wire.pump()
    assert wire.tasks(wire.client, stream)[-1].head.status == 200
