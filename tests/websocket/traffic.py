"""What a session tells of bytes, comparable however they were cut."""

from __future__ import annotations

from sansio_pingora.limits import Limits
from sansio_pingora.machine import AT_ONCE
from sansio_pingora.websocket import MessagePart, WebSocketSession

MASK = b"\x11\x22\x33\x44"
LIMITS = Limits(ws_max_message=20_000, ws_max_fragments=8)


def told(session: WebSocketSession, data: bytes, now: float = 0.0) -> list:
    """All that *session* has to tell of *data*."""
    events = session.receive_data(data, now)
    while session.deadline == AT_ONCE:
        events += session.handle_timeout(now)
    return events


def merged(events: list) -> list:
    """*events* with the pieces of each frame put together."""
    found: list = []
    for event in events:
        before = found[-1] if found else None
        if isinstance(event, MessagePart) and isinstance(before, MessagePart) and not before.ends:
            found[-1] = MessagePart(before.data + event.data, event.last, event.ends)
        else:
            found.append(event)
    return found
