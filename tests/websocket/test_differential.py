"""Against wsproto, the reference: the same frames mean the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import events as ws
from wsproto.connection import Connection, ConnectionType
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol
from wsproto.utilities import RemoteProtocolError

from sansio_pingora.limits import Limits
from sansio_pingora.testing.strategies import websocket_frame, websocket_frames
from sansio_pingora.websocket import Closed, Deflate, MessagePart, Ping, Pong, WebSocketSession
from sansio_pingora.websocket.frames import Opcode
from tests.websocket.traffic import MASK, told

LIMITS = Limits(ws_max_message=1 << 30, ws_max_fragments=1 << 20)


def reference(raw: bytes, *, server: bool, deflate: bool) -> list:
    """What wsproto makes of *raw*: whole messages, pings, pongs, and the code that it ends with."""
    extensions = []
    if deflate:
        extension = PerMessageDeflate()
        extension.finalize("permessage-deflate")
        extensions.append(extension)
    connection = Connection(ConnectionType.SERVER if server else ConnectionType.CLIENT, extensions)
    found: list = []
    parts: list = []
    try:
        connection.receive_data(raw)
        for event in connection.events():
            if isinstance(event, ws.Message):
                parts.append(bytes(event.data) if isinstance(event, ws.BytesMessage) else event.data)
                if event.message_finished:
                    found.append(type(parts[0])().join(parts))
                    parts = []
            elif isinstance(event, ws.Ping):
                found.append(("ping", bytes(event.payload)))
            elif isinstance(event, ws.Pong):
                found.append(("pong", bytes(event.payload)))
            elif isinstance(event, ws.CloseConnection):
                found.append(("closed", int(event.code)))
                break
    except RemoteProtocolError as exc:
        found.append(("closed", int(exc.event_hint.code)))
    return found


def ours(raw: bytes, *, server: bool, deflate: bool) -> list:
    session = WebSocketSession(
        0.0, LIMITS, mask=None if server else lambda: MASK, deflate=Deflate() if deflate else None
    )
    found: list = []
    parts: list = []
    for event in told(session, raw) if raw else []:
        if isinstance(event, MessagePart):
            parts.append(event.data)
            if event.last:
                found.append(type(event.data)().join(parts))
                parts = []
        elif isinstance(event, Ping | Pong):
            found.append((type(event).__name__.lower(), event.data))
        else:
            assert isinstance(event, Closed)
            found.append(("closed", event.code))
    return found


@pytest.mark.parametrize("server", [True, False], ids=["server", "client"])
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
@given(st.data())
def test_the_same_frames_mean_the_same(server, deflate, data):
    raw = b"".join(data.draw(websocket_frames(server=server, deflate=deflate, amid=not deflate)))
    assert ours(raw, server=server, deflate=deflate) == reference(raw, server=server, deflate=deflate)


def test_wsproto_does_not_know_code_1014():
    """Decided: the registry of RFC 6455 section 11.7 has it (bad gateway)."""
    raw = websocket_frame(Opcode.CLOSE, (1014).to_bytes(2, "big"))
    assert ours(raw, server=True, deflate=False) == [("closed", 1014)]
    assert reference(raw, server=True, deflate=False) == [("closed", 1002)]


def test_wsproto_forgets_that_a_message_is_compressed_when_a_ping_comes_amid_it():
    """Decided: RFC 7692 section 6 has the bit on a message's first frame alone, and a control frame is no part of it."""
    data = bytes.fromhex("f248cdc9c90700")
    frames = [
        websocket_frame(Opcode.TEXT, data[:3], fin=False, rsv=4),
        websocket_frame(Opcode.PING, b""),
        websocket_frame(Opcode.CONTINUATION, data[3:]),
    ]
    assert ours(b"".join(frames), server=True, deflate=True) == [("ping", b""), "Hello"]
    assert reference(b"".join(frames), server=True, deflate=True) != [("ping", b""), "Hello"]


@pytest.mark.parametrize("server", [True, False], ids=["server", "client"])
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
@given(st.lists(st.tuples(st.text(max_size=300) | st.binary(max_size=300), st.booleans()), max_size=6))
def test_wsproto_reads_what_we_write(server, deflate, messages):
    speaker = WebSocketSession(
        0.0, LIMITS, mask=None if server else lambda: MASK, deflate=Deflate() if deflate else None
    )
    for message, split in messages:
        if split:
            speaker.send(message[: len(message) // 2], last=False)
            speaker.send(message[len(message) // 2 :])
        else:
            speaker.send(message)
        speaker.ping(b"?")
    speaker.close(1001, "bye", now=0.0)
    told_of = [part for message, _ in messages for part in (message, ("ping", b"?"))]
    raw = b"".join(speaker.data_to_send())

    assert reference(raw, server=not server, deflate=deflate) == [*told_of, ("closed", 1001)]


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
@given(st.lists(st.text(max_size=300) | st.binary(max_size=300), max_size=6))
def test_we_read_what_wsproto_writes(deflate, messages):
    extensions = []
    if deflate:
        extension = PerMessageDeflate()
        extension.finalize("permessage-deflate")
        extensions.append(extension)
    protocol = FrameProtocol(True, extensions)
    raw = b"".join(protocol.send_data(message, fin=True) for message in messages) + protocol.close(1001, "bye")

    assert ours(raw, server=True, deflate=deflate) == [*messages, ("closed", 1001)]
