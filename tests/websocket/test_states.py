"""Every state and every input: what is told, what is sent, and where it stands then."""

from __future__ import annotations

import math

import pytest

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.limits import Limits
from sansio_pingora.testing.strategies import websocket_frame
from sansio_pingora.websocket import Closed, MessagePart, Ping, Pong, State, WebSocketSession
from sansio_pingora.websocket.frames import Opcode

LIMITS = Limits()
NOW = 100.0


def sent(session: WebSocketSession) -> bytes:
    return b"".join(session.data_to_send())


def ours(opcode: int, data: bytes = b"") -> bytes:
    return websocket_frame(opcode, data, mask=None)


def close(code: int, reason: bytes = b"", *, mask: bytes | None = b"mask") -> bytes:
    return websocket_frame(Opcode.CLOSE, code.to_bytes(2, "big") + reason, mask=mask)


def reach(state: str) -> WebSocketSession:
    """A session in *state*, that has sent and told everything."""
    session = WebSocketSession(0.0, LIMITS, patient=state.startswith("ending"))
    match state:
        case "closing":
            session.close(1001, now=NOW)
        case "ending":
            session.receive_data(close(4000, b"bye"), NOW)
        case "ending, closing":
            session.receive_data(close(4000, b"bye"), NOW)
            session.close(1001, now=NOW)
        case "closed":
            session.receive_data(close(4000), NOW)
    session.data_to_send()
    return session


INPUTS = {
    "text": lambda session: session.receive_data(websocket_frame(Opcode.TEXT, b"x"), NOW),
    "ping": lambda session: session.receive_data(websocket_frame(Opcode.PING, b"x"), NOW),
    "pong": lambda session: session.receive_data(websocket_frame(Opcode.PONG, b"x"), NOW),
    "close": lambda session: session.receive_data(close(3000, b"why"), NOW),
    "fault": lambda session: session.receive_data(b"\x83\x80mask", NOW),
    "eof": lambda session: session.receive_data(b"", NOW),
    "timeout": lambda session: session.handle_timeout(NOW + 15),
    "finish": lambda session: session.finish(),
    "send": lambda session: session.send("x"),
    "ask": lambda session: session.ping(b"x"),
    "shut": lambda session: session.close(1012, "bye", now=NOW),
}
REFUSED = "refused"
WITHOUT = Closed(1006, "the connection ended without a close frame")

# For each state and input: what is told, what is sent, and the state then.
TABLE = {
    "open": {
        "text": ([MessagePart("x")], b"", "OPEN"),
        "ping": ([Ping(b"x")], ours(Opcode.PONG, b"x"), "OPEN"),
        "pong": ([Pong(b"x")], b"", "OPEN"),
        "close": ([Closed(3000, "why")], close(3000, mask=None), "CLOSED"),
        "fault": ([Closed(1002, "opcode 0x3")], close(1002, b"opcode 0x3", mask=None), "CLOSED"),
        "eof": ([WITHOUT], b"", "CLOSED"),
        "timeout": ([], ours(Opcode.PING, b"1"), "OPEN"),
        "finish": ([], b"", "OPEN"),
        "send": (None, ours(Opcode.TEXT, b"x"), "OPEN"),
        "ask": (None, ours(Opcode.PING, b"x"), "OPEN"),
        "shut": (None, close(1012, b"bye", mask=None), "CLOSING"),
    },
    "closing": {
        "text": ([], b"", "CLOSING"),
        "ping": ([], ours(Opcode.PONG, b"x"), "CLOSING"),
        "pong": ([], b"", "CLOSING"),
        "close": ([Closed(3000, "why")], b"", "CLOSED"),
        "fault": ([Closed(1002, "opcode 0x3")], b"", "CLOSED"),
        "eof": ([WITHOUT], b"", "CLOSED"),
        "timeout": ([Closed(1006, "no close frame within ws_close_timeout")], b"", "CLOSED"),
        "finish": ([], b"", "CLOSING"),
        "send": (REFUSED, b"", "CLOSING"),
        "ask": (REFUSED, b"", "CLOSING"),
        "shut": (None, b"", "CLOSING"),
    },
    "ending": {
        "text": ([], b"", "OPEN"),
        "ping": ([], b"", "OPEN"),
        "pong": ([], b"", "OPEN"),
        "close": ([], b"", "OPEN"),
        "fault": ([], b"", "OPEN"),
        "eof": ([Closed(4000, "bye")], close(4000, mask=None), "CLOSED"),
        "timeout": ([], b"", "OPEN"),
        "finish": ([Closed(4000, "bye")], close(4000, mask=None), "CLOSED"),
        "send": (None, ours(Opcode.TEXT, b"x"), "OPEN"),
        "ask": (None, ours(Opcode.PING, b"x"), "OPEN"),
        "shut": (None, close(1012, b"bye", mask=None), "CLOSING"),
    },
    "ending, closing": {
        "text": ([], b"", "CLOSING"),
        "ping": ([], b"", "CLOSING"),
        "pong": ([], b"", "CLOSING"),
        "close": ([], b"", "CLOSING"),
        "fault": ([], b"", "CLOSING"),
        "eof": ([Closed(4000, "bye")], b"", "CLOSED"),
        "timeout": ([Closed(1006, "no close frame within ws_close_timeout")], b"", "CLOSED"),
        "finish": ([Closed(4000, "bye")], b"", "CLOSED"),
        "send": (REFUSED, b"", "CLOSING"),
        "ask": (REFUSED, b"", "CLOSING"),
        "shut": (None, b"", "CLOSING"),
    },
    "closed": {
        "text": ([], b"", "CLOSED"),
        "ping": ([], b"", "CLOSED"),
        "pong": ([], b"", "CLOSED"),
        "close": ([], b"", "CLOSED"),
        "fault": ([], b"", "CLOSED"),
        "eof": ([], b"", "CLOSED"),
        "timeout": ([], b"", "CLOSED"),
        "finish": ([], b"", "CLOSED"),
        "send": (REFUSED, b"", "CLOSED"),
        "ask": (REFUSED, b"", "CLOSED"),
        "shut": (None, b"", "CLOSED"),
    },
}


@pytest.mark.parametrize("state", TABLE)
@pytest.mark.parametrize("name", INPUTS)
def test_every_cell(state, name):
    told, out, then = TABLE[state][name]
    session = reach(state)
    before = session.state
    if told is REFUSED:
        with pytest.raises(LocalProtocolError):
            INPUTS[name](session)
        assert session.state is before
    else:
        assert INPUTS[name](session) == told
    assert sent(session) == out
    assert session.state is State[then]
    assert session.finished is (then == "CLOSED")
    assert (session.deadline == math.inf) is (then == "CLOSED" or (state == "ending" and then == "OPEN"))


@pytest.mark.parametrize("state", TABLE)
def test_a_closed_one_stays_so(state):
    session = reach(state)
    session.receive_eof(NOW)
    assert session.state is State.CLOSED
    for name in ("text", "ping", "close", "fault", "eof", "timeout", "finish"):
        assert INPUTS[name](session) == []
        assert session.state is State.CLOSED


def test_a_patient_one_lets_answers_go_first():
    session = WebSocketSession(0.0, LIMITS, patient=True)
    events = session.receive_data(websocket_frame(Opcode.TEXT, b"question") + close(1000), NOW)
    assert events == [MessagePart("question")]
    assert session.ending
    session.send("answer")
    session.finish()

    assert sent(session) == ours(Opcode.TEXT, b"answer") + close(1000, mask=None)


def test_our_close_frame_may_be_the_answer():
    session = WebSocketSession(0.0, LIMITS, patient=True)
    session.receive_data(close(4000, b"bye"), NOW)
    session.close(4001, "ours", now=NOW)

    assert session.finish() == [Closed(4000, "bye")]
    assert sent(session) == close(4001, b"ours", mask=None)


def test_the_time_for_an_answer_can_begin_later():
    session = reach("closing")
    session.await_close(NOW + 50)
    assert session.deadline == NOW + 50 + LIMITS.ws_close_timeout
    for state in ("open", "ending", "closed"):
        session = reach(state)
        deadline = session.deadline
        session.await_close(NOW + 50)
        assert session.deadline == deadline
