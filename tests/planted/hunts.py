"""What the kit has to find faults with: each hunt is a property, a state machine, or the simulator, as users have them.

``python -m tests.planted.hunts NAME…`` runs them in turn until one finds something, which is printed as JSON.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from time import process_time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived
from h2.settings import SettingCodes
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as hst
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from sansio_pingora.http1 import Http1Client
from sansio_pingora.http2 import Http2Client, Http2Server
from sansio_pingora.limits import Limits
from sansio_pingora.session import ServerConnection
from sansio_pingora.testing import OracleBroken, drain, feed
from sansio_pingora.testing import strategies as st
from sansio_pingora.testing.scenario import run_seed
from sansio_pingora.testing.stateful import (
    FlowMachine,
    HttpServerMachine,
    LifecycleMachine,
    PoolMachine,
    WebSocketMachine,
)
from sansio_pingora.websocket import Closed, MessagePart, State, WebSocketSession
from sansio_pingora.wire import Body, Done, Failed, Header, RequestHeader, ResponseHeader, Trailer

__all__ = ["HUNTS", "hunt"]

EXAMPLES = 100
SEEDS = 200
_SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)


@given(hst.lists(st.http1_requests(keep_alive=True), min_size=1, max_size=4), st.cuts())
def pipelines(requests, cuts):
    """Requests in a row are told as each would be alone, answered once each, and alike however they are cut."""
    raw = b"".join(requests)
    events, out = feed(ServerConnection(now=0.0), cuts(raw))
    alone = [event for each in requests for event in feed(ServerConnection(now=0.0), [each])[0]]
    assert [value for _, value in events] == [value for _, value in alone]
    assert out.count(b"HTTP/1.1 204 ") == len(requests)


@given(st.known_bad_requests(), st.cuts())
def known_bad(raw, cuts):
    """What two parsers would read differently is refused, and nothing behind it served."""
    _, out = feed(ServerConnection(now=0.0), cuts(raw))
    assert out[9:10] in (b"4", b"5")
    assert out.count(b"HTTP/1.1 ") == 1


@given(st.almost_valid_requests(), st.cuts())
def almost_valid(raw, cuts):
    """What is nearly a request is answered alike, however it is cut."""
    assert feed(ServerConnection(now=0.0), [raw]) == feed(ServerConnection(now=0.0), cuts(raw))


@given(st.http1_responses(), st.cuts())
def responses(raw, cuts):
    """Legal answers are read to their end, alike however they are cut, and only then another request may follow."""
    results = []
    for pieces in ([raw], cuts(raw)):
        client = Http1Client(Limits())
        client.open_stream(0.0)
        client.send(1, Header(RequestHeader("GET", "/", [("Host", "h")]), True), 0.0)
        events, out = feed(client, pieces)
        assert not any(isinstance(getattr(value, "value", value), Failed) for _, value in events)
        results.append((events, out, client.reusable))
    assert results[0] == results[1]
    ended = any(getattr(value, "end", isinstance(value, Done | Trailer)) for _, value in events)
    assert client.reusable == ended


@given(st.http1_responses(), hst.binary(min_size=1, max_size=9) | st.http1_responses(), st.cuts())
def surplus(raw, behind, cuts):
    """What an origin sends behind its answer is nobody's, and ends the connection."""
    results = []
    for pieces in ([raw], cuts(raw + behind)):
        client = Http1Client(Limits())
        client.open_stream(0.0)
        client.send(1, Header(RequestHeader("GET", "/", [("Host", "h")]), True), 0.0)
        events = feed(client, pieces)[0]
        results.append([value for _, value in events if isinstance(value, Header | Body | Trailer | Done)])
        if len(results) == 1 and not client.reusable:
            return  # it lasts until the close
    assert results[0] == results[1]
    assert client.closing
    assert not client.reusable


@given(st.http2_frames(), st.cuts())
def http2_frames(frames, cuts):
    """Requests over HTTP/2 are told alike, however they are cut, and as the h2 library tells them."""
    raw = b"".join(frames)
    server = ServerConnection(now=0.0)
    events, _ = feed(server, cuts(raw))
    assert events == feed(ServerConnection(now=0.0), [raw])[0]
    judge = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    judge.initiate_connection()
    found = [event for frame in frames for event in judge.receive_data(frame)]
    asked = {stream for stream, value in events if isinstance(value, Header)}
    assert asked == {event.stream_id for event in found if isinstance(event, RequestReceived)}
    assert not server.closing


@given(st.illegal_http2_frames(), st.cuts())
def illegal_http2(frames, cuts):
    """An illegal frame ends the connection with GOAWAY and an error."""
    _, out = feed(ServerConnection(now=0.0), cuts(b"".join(frames)))
    kinds = []
    while out:
        size = 9 + int.from_bytes(out[:3], "big")
        kinds.append((out[3], out[13:17]))
        out = out[size:]
    assert kinds[-1][0] == 7
    assert kinds[-1][1] != bytes(4)


@given(st.websocket_frames(server=True, faults=True), st.cuts())
def websocket_frames(frames, cuts):
    """Frames are told alike however they are cut: messages, pings, and how it ends."""

    def told(pieces):
        session = WebSocketSession(0.0, Limits())
        heard: list[object] = []
        message: list[str | bytes] = []
        for piece in pieces:
            for event in session.receive_data(piece, 0.0):
                if isinstance(event, MessagePart):
                    message.append(event.data)
                    if event.last:
                        heard.append(type(event.data)().join(message))
                        message = []
                else:
                    heard.append(event)
        return heard, message and type(message[0])().join(message), session.state, drain(session)

    raw = b"".join(frames)
    assert told(cuts(raw)) == told([raw] if raw else [])


@given(st.illegal_websocket_frames(server=True), st.cuts())
def illegal_websocket(story, cuts):
    """An illegal frame ends a WebSocket, and of it and of what is behind it nothing is told."""
    before, illegal, behind = story

    def told(frames):
        session = WebSocketSession(0.0, Limits())
        heard = [event for piece in cuts(b"".join(frames)) for event in session.receive_data(piece, 0.0)]
        whole = sum(isinstance(event, MessagePart) and event.last for event in heard)
        return whole, heard, session, drain(session)

    messages, _, session, out = told(before)
    assert session.state is State.OPEN
    found, heard, session, out = told([*before, *illegal, *behind])
    assert found == messages
    assert isinstance(heard[-1], Closed)
    assert heard[-1].code in (1002, 1007)
    assert session.finished
    assert heard[-1].code.to_bytes(2, "big") in out


@given(hst.lists(hst.tuples(hst.sampled_from(["say", "window", "read"]), hst.integers(0, 70_000)), max_size=12))
def changing_windows(steps):
    """The h2 library, as a client that changes its windows, is never sent more than they allow."""
    server = Http2Server(0.0, Limits())
    client = H2Connection(H2Configuration(header_encoding=None))
    client.initiate_connection()
    client.send_headers(1, [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")], True)
    server.receive_data(client.data_to_send(), 0.0)
    server.send(1, Header(ResponseHeader(200), False), 0.0)
    got = 0
    for what, size in steps:
        if what == "say":
            server.send(1, Body(bytes(size)), 0.0)
        elif what == "window":
            client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: size})
        else:
            used, got = min(size, got), max(0, got - size)
            client.acknowledge_received_data(used, 1)
        if data := client.data_to_send():
            server.receive_data(data, 0.0)
        events = client.receive_data(drain(server))
        got += sum(event.flow_controlled_length for event in events if isinstance(event, DataReceived))


class Http2Flow(FlowMachine):
    """Over HTTP/2."""

    def make(self, limits):
        return Http2Client(0.0, limits), Http2Server(0.0, limits)


def simulator():
    """The proxy between bad clients and bad origins, judged by every oracle."""
    for seed in range(SEEDS):
        run_seed(seed)


def _property(test: Callable[[], None]) -> Callable[[], None]:
    return _SETTINGS(test)


def _machine(machine: type[RuleBasedStateMachine]) -> Callable[[], None]:
    return lambda: run_state_machine_as_test(machine, settings=_SETTINGS)


HUNTS: dict[str, Callable[[], None]] = {
    "known_bad_requests": _property(known_bad),
    "bytes behind http1_responses": _property(surplus),
    "illegal_websocket_frames": _property(illegal_websocket),
    "PoolMachine": _machine(PoolMachine),
    "LifecycleMachine": _machine(LifecycleMachine),
    "WebSocketMachine": _machine(WebSocketMachine),
    "FlowMachine, HTTP/1": _machine(FlowMachine),
    "FlowMachine, HTTP/2": _machine(Http2Flow),
    "HttpServerMachine": _machine(HttpServerMachine),
    "changing windows": _property(changing_windows),
    "simulator": simulator,
    "http1_requests": _property(pipelines),
    "http1_responses": _property(responses),
    "almost_valid_requests": _property(almost_valid),
    "websocket_frames": _property(websocket_frames),
    "illegal_http2_frames": _property(illegal_http2),
    "http2_frames": _property(http2_frames),
}


def hunt(names: list[str]) -> dict[str, object]:
    """Run these hunts until one finds something: by which, how, and the CPU seconds that each took."""
    taken: dict[str, float] = {}
    for name in names:
        began = process_time()
        try:
            HUNTS[name]()
        except (Exception, OracleBroken) as exc:
            taken[name] = process_time() - began
            return {"found": name, "taken": taken, "case": "".join(traceback.format_exception_only(exc))}
        taken[name] = process_time() - began
    return {"found": None, "taken": taken, "case": ""}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(hunt(sys.argv[1:] or list(HUNTS))))
