"""However the network cuts a stream, a session tells and sends the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.testing.strategies import cuts, websocket_frames
from sansio_pingora.websocket import Deflate, MessagePart, WebSocketSession
from tests.websocket.traffic import LIMITS, MASK, merged, told

ROLES = {"server": None, "client": lambda: MASK}


def run(role, deflate, pieces):
    """What a session tells of *pieces*, and what it sends; a message that is not complete counts by its frames."""
    session = WebSocketSession(0.0, LIMITS, mask=ROLES[role], deflate=Deflate() if deflate else None)
    events, out = [], b""
    for piece in pieces:
        events += told(session, piece)
        out += b"".join(session.data_to_send())
    events = merged(events)
    # What has come of a frame before a fault in it depends on where it is cut, and is of no use to anybody.
    if session.finished:
        events = [event for event in events if not isinstance(event, MessagePart) or event.ends]
    return events, out, session.finished


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
@given(st.data())
def test_cutting_never_matters(role, deflate, data):
    frames = data.draw(websocket_frames(server=role == "server", deflate=Deflate() if deflate else None, faults=True))
    raw = b"".join(frames)
    whole = run(role, deflate, [raw] if raw else [])

    assert run(role, deflate, data.draw(cuts())(raw)) == whole
    assert run(role, deflate, frames) == whole


@pytest.mark.parametrize("role", ROLES)
@given(st.data())
def test_any_bytes(role, data):
    """Not a word of it is legal, perhaps: it ends with a close frame or waits for more, and never raises."""
    raw = data.draw(st.binary(max_size=200))
    deflate = data.draw(st.booleans())
    whole = run(role, deflate, [raw] if raw else [])

    assert run(role, deflate, data.draw(cuts())(raw)) == whole
