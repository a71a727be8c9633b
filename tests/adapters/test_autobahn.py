"""The Autobahn cases over sockets: the built-in origin on every runtime, with the ceilings of its command."""

from __future__ import annotations

import pytest

from sansio_pingora.apps import OriginApp
from sansio_pingora.websocket import Deflate, WebSocketSession
from tests.adapters.harness import client, served
from tests.websocket.cases import CASES, END
from tests.websocket.test_autobahn import LIMITS, MASK, OFFERS, SIZES, payload, raw, summary, told

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%b\r\n"
)


@pytest.fixture
def origin(runtime):
    with served(OriginApp(), runtime, **OriginApp.limits) as server:
        yield server


def conversed(origin, pieces, deflate=None, extensions=b""):
    """All that the origin says to *pieces*, up to its end."""
    session = WebSocketSession(0.0, LIMITS, mask=lambda: MASK, deflate=deflate)
    events = []
    with client(origin.address) as peer:
        peer.send(HANDSHAKE % extensions)
        assert peer.head()[0].startswith(b"HTTP/1.1 101 ")
        peer.send(b"".join(pieces))
        events += told(session, peer.rest())
    return summary(events)


@pytest.mark.parametrize("group", [*map(str, range(1, 8)), "9", "10"])
def test_a_group_of_cases(origin, group):
    names = [name for name in CASES if name.split(".")[0] == group]
    assert names
    for name in names:
        case = CASES[name]
        assert conversed(origin, [raw(frame, MASK) for frame in case.frames]) == case.answer, name


@pytest.mark.parametrize("number", OFFERS)
def test_compressed(origin, number):
    """Groups 12 and 13."""
    offer, server_bits, client_bits = OFFERS[number]
    agreed = Deflate.choose(offer)
    deflate = Deflate(
        server_no_context_takeover=agreed.server_no_context_takeover,
        client_no_context_takeover=agreed.client_no_context_takeover,
        server_max_window_bits=server_bits,
        client_max_window_bits=client_bits,
    )
    sender = WebSocketSession(0.0, LIMITS, mask=lambda: MASK, deflate=deflate)
    messages = [payload(kind, size) for kind in ("json", "prose", "noise", "umlauts") for size in SIZES[:8]]
    for message in messages:
        sender.send(message)
    extensions = b"Sec-WebSocket-Extensions: %b\r\n" % offer.encode()
    heard = conversed(origin, [*sender.data_to_send(), raw(END, MASK)], deflate, extensions)
    assert heard[:-1] == messages
    assert heard[-1].code == 1000
