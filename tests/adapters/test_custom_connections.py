"""Origins that speak a protocol of one's own: connections are pooled and shared like any other, on every runtime."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from sansio_pingora.errors import ErrorType
from sansio_pingora.session import CustomConnection
from sansio_pingora.upstreams import HttpPeer, PeerOptions
from tests.adapters.harness import GET, RUNTIMES, Peer, To, client, origin, post, served
from tests.session.kinds import Lines

every_runtime = pytest.mark.parametrize("runtime", RUNTIMES)


def speak(limits: Any, now: float) -> CustomConnection:
    return Lines(now, limits, client=True)


def speak_in_turn(limits: Any, now: float) -> CustomConnection:
    connection = Lines(now, limits, client=True)
    connection.max_streams = 1
    return connection


def lines(peer: Peer) -> None:
    """Answers a request, when it is complete, with its target and what its body was."""
    bodies: dict[int, tuple[str, str]] = {}
    while True:
        stream, kind, *values = json.loads(peer.upto(b"\n"))
        if kind == "request":
            bodies[stream] = values[1], ""
        elif kind == "body":
            bodies[stream] = bodies[stream][0], bodies[stream][1] + values[0]
        if kind == "done" or (values and values[-1] is True):
            target, body = bodies.pop(stream)
            text = f"{target} {body}"
            for answer in (
                [stream, "response", 200, [["Content-Length", str(len(text))]], False],
                [stream, "body", text, True],
            ):
                peer.send(json.dumps(answer).encode() + b"\n")


@every_runtime
@pytest.mark.parametrize("maker", [speak, speak_in_turn], ids=["shared", "in turn"])
def test_requests_in_another_protocol(runtime, maker):
    options = PeerOptions(custom_connection=maker)
    with (
        origin(lines) as target,
        served(To(target.peer, options=options), runtime) as server,
        client(server.address) as browser,
    ):
        for number in range(3):
            browser.send(post(3, b"abc").replace(b" / ", b" /%d " % number))
            assert browser.message()[2] == b"/%d abc" % number
        browser.send(GET)
        assert browser.message()[2] == b"/ "
        assert target.connections == 1


@every_runtime
def test_an_origin_that_breaks_its_protocol(runtime):
    def script(peer: Peer) -> None:
        peer.upto(b"\n")
        peer.send(b"nonsense\n")
        peer.over.wait()

    app_options = PeerOptions(custom_connection=speak)
    with origin(script) as target, served(app := To(target.peer, options=app_options), runtime) as server:
        with client(server.address) as browser:
            browser.send(GET)
            assert browser.status() == 502
        assert app.ended[0].etype is ErrorType.READ_ERROR


def test_peers_that_speak_something_else_share_nothing():
    custom = HttpPeer("a:1", options=PeerOptions(custom_connection=speak))

    assert custom.reuse_key == HttpPeer("a:1", options=PeerOptions(custom_connection=speak)).reuse_key
    assert custom.reuse_key != HttpPeer("a:1", options=PeerOptions(custom_connection=speak_in_turn)).reuse_key
    assert custom.reuse_key != HttpPeer("a:1").reuse_key


@every_runtime
def test_an_origin_that_says_nothing_is_given_up(runtime):
    options = PeerOptions(custom_connection=speak, read_timeout=0.05)
    begun = time.monotonic()
    with (
        origin(lambda peer: peer.over.wait()) as target,
        served(To(target.peer, options=options), runtime) as server,
        client(server.address) as browser,
    ):
        browser.send(GET)
        assert browser.status() == 504
    assert time.monotonic() - begun < 10.0
