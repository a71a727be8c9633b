"""Whatever a peer sends and an application answers: nothing but legal frames goes out, and every message has one end.

The eye is :class:`tests.http2.peer.Peer`, which proves each frame against what it sent itself.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.wire import Body, Done, Failed, Header, ResponseHeader
from tests.http2.inputs import bytes_of, inputs
from tests.http2.peer import LARGEST
from tests.http2.runs import BROKEN, Session, ask, is_over, make_client, make_server, trailer

TIGHT = {
    "h2_max_streams": 2,
    "h2_window": 65_535,
    "h2_connection_window": 65_535,
    "max_body": 30_000,
    "high_water": 3000,
}


class Application:
    """Answers requests, or asks on, as its dice decide; it makes no illegal move."""

    def __init__(self, session: Session, dice: Random) -> None:
        self.session = session
        self.dice = dice
        self.heads: set[int] = set()
        self.open: dict[int, None] = {}
        self.unused: dict[int, int] = {}

    def hear(self) -> None:
        for stream, kind, *rest in self.session.told():
            if kind == "request":
                self.open[stream] = None
            elif kind == "body":
                self.unused[stream] = self.unused.get(stream, 0) + len(rest[0])
            elif kind == "failed":
                self.open.pop(stream, None)
            elif kind == "closed":
                self.open.clear()

    def act(self) -> None:
        dice = self.dice
        for stream in list(self.unused):
            if dice.random() < 0.6:
                size = dice.randint(0, self.unused[stream])
                self.unused[stream] -= size
                self.session.machine.consumed(stream, size, self.session.now)
                self.session.settle()
        for stream in list(self.open):
            move = dice.choice(["wait", "head", "head", "body", "body", "end", "trailers", "break", "1xx"])
            if stream not in self.open:
                continue  # it failed while we went round
            if move == "head" and stream not in self.heads:
                self.send(stream, Header(ResponseHeader(dice.choice([200, 204, 404])), False))
                self.heads.add(stream)
            elif move == "1xx" and stream not in self.heads:
                self.send(stream, Header(ResponseHeader(103), False))
            elif move == "body" and stream in self.heads:
                self.send(stream, Body(bytes(dice.choice([1, 100, 20_000]))))
            elif move in {"end", "trailers"} and stream in self.heads:
                self.send(stream, Done() if move == "end" else trailer(("x-sum", "1")))
                self.open.pop(stream, None)
            elif move == "break" and dice.random() < 0.3:
                self.send(stream, Failed(BROKEN))
                self.open.pop(stream, None)

    def send(self, stream: int, task: Any) -> None:
        self.session.send(stream, task)
        self.hear()

    def finish(self) -> None:
        for stream, size in self.unused.items():
            self.session.machine.consumed(stream, size, self.session.now)
        self.unused.clear()
        for stream in list(self.open):
            if stream in self.open:
                if stream not in self.heads:
                    self.send(stream, Header(ResponseHeader(200), False))
                self.send(stream, Done())
        self.open.clear()


def opened_up(session: Session) -> None:
    """All windows are opened wide, so that whatever waits comes out."""
    peer = session.peer
    for stream, half in list(peer.streams.items()):
        if not session.over and not half.over and half.window < 2**24:
            session.deliver(peer.window_update(stream, 2**24))
    if not session.over and peer.window < 2**24:
        session.deliver(peer.window_update(0, min(2**24, LARGEST - peer.window)))


@given(inputs(server=True), st.integers(0, 2**32).map(Random), st.sampled_from([{}, TIGHT]))
def test_towards_a_server(ops, dice, limits):
    session = make_server(consumes=False, **limits)
    application = Application(session, dice)
    for op in ops:
        if session.over:
            break
        session.deliver(bytes_of(session.peer, op))
        application.hear()
        application.act()
    application.finish()
    opened_up(session)

    if session.over:
        if session.closed:
            is_over(session)
        return
    for stream, half in session.peer.streams.items():
        if half.head and not half.theirs_reset and not half.ours_reset:
            assert half.theirs_ended, f"the answer on {stream} never ends"
    session.alive()


@given(inputs(server=False), st.integers(0, 2**32).map(Random), st.sampled_from([{}, TIGHT]))
def test_towards_a_client(ops, dice, limits):
    session = make_client(consumes=False, **limits)
    keys = {ask(session), ask(session, "POST", end=False), ask(session, "HEAD")}
    uploads = {2}
    for op in ops:
        if session.over:
            break
        session.deliver(bytes_of(session.peer, op))
        for key in sorted(uploads):
            move = dice.choice(["wait", "body", "end", "break", "wait"])
            if move == "body":
                session.send(key, Body(bytes(dice.choice([1, 1000, 20_000]))))
            elif move != "wait":
                session.send(key, Done() if move == "end" else Failed(BROKEN))
                uploads.discard(key)
                if move == "break":
                    keys.discard(key)
    if not session.over:
        session.eof()
    session.take(session.machine.transport_lost(None, 0.0))

    assert session.closed
    for key in keys:
        assert session.ends(key) + (session.failure(key) is not None) == 1, "exactly one end"


PAUSES = (0.0, 0.0, 0.4, 3.0, 29.0)


@given(inputs(server=True), st.integers(0, 2**32).map(Random), st.sampled_from([{}, TIGHT]))
def test_a_server_comes_to_its_end(ops, dice, limits):
    """I-9: whatever came, and however long it took, no wait is without a clock once the application has done its part."""
    session = make_server(consumes=False, **limits)
    application = Application(session, dice)
    for op in ops:
        if session.over:
            break
        session.deliver(bytes_of(session.peer, op))
        application.hear()
        application.act()
        session.wait(dice.choice(PAUSES))
        application.hear()
    application.finish()
    session.wait(300.0)

    assert session.machine.closing
    assert session.machine.idle


@given(inputs(server=False), st.integers(0, 2**32).map(Random), st.sampled_from([{}, TIGHT]))
def test_every_request_of_a_client_comes_to_its_end(ops, dice, limits):
    session = make_client(**limits)
    keys = [ask(session), ask(session, "POST", end=False), ask(session, "HEAD")]
    session.send(keys[1], Body(bytes(dice.choice([1, 1000, 100_000]))), Done())
    for op in ops:
        if session.over:
            break
        session.deliver(bytes_of(session.peer, op))
        session.wait(dice.choice(PAUSES))
    session.wait(200.0)

    for key in keys:
        assert session.ends(key) + (session.failure(key) is not None) == 1, "exactly one end"
    assert session.machine.idle


@given(st.binary(max_size=300), st.booleans(), st.booleans())
def test_noise(noise, server, greeted):
    """Only declared outcomes, for any bytes: events, or an end."""
    session = (make_server if server else make_client)(greet=greeted)
    session.peer.read = lambda _: []
    if not server:
        ask(session)
    session.deliver(noise) if noise else None
    session.wait(200.0)
    if not session.machine.closing:
        session.eof()

    assert session.machine.closing
    assert session.closed or session.machine.transport_lost(None, 300.0)
