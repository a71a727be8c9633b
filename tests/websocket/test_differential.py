"""Against wsproto and websockets: the same frames mean the same, and each reads what the other writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import CloseCode, Frame
from websockets.frames import Opcode as Kind
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol

from sansio_pingora.testing.strategies import websocket_frame, websocket_frames
from sansio_pingora.websocket import Deflate, WebSocketSession
from sansio_pingora.websocket.frames import Opcode
from tests.websocket.readings import LIMITS, REFERENCES, by_websockets, by_wsproto, ours, websockets_end
from tests.websocket.traffic import MASK

FAULTY = {("closed", 1002), ("closed", 1007)}


@pytest.mark.parametrize("server", [True, False], ids=["server", "client"])
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
@given(st.data())
def test_the_same_frames_mean_the_same_to_wsproto(server, deflate, data):
    settled = Deflate() if deflate else None
    raw = b"".join(data.draw(websocket_frames(server=server, deflate=settled, amid=not deflate, faults=True)))
    assert ours(raw, server=server, deflate=deflate) == by_wsproto(raw, server=server, deflate=deflate)


@pytest.mark.parametrize("server", [True, False], ids=["server", "client"])
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
@given(st.data())
def test_the_same_frames_mean_the_same_to_websockets(server, deflate, data):
    settled = Deflate() if deflate else None
    raw = b"".join(data.draw(websocket_frames(server=server, deflate=settled, faults=True)))
    mine, theirs = ours(raw, server=server, deflate=deflate), by_websockets(raw, server=server, deflate=deflate)
    if mine and theirs and {mine[-1], theirs[-1]} == FAULTY:  # decided: see below
        mine, theirs = mine[:-1], theirs[:-1]
    assert mine == theirs


def test_wsproto_does_not_know_code_1014():
    """Decided: the registry of RFC 6455 section 11.7 has it (bad gateway)."""
    raw = websocket_frame(Opcode.CLOSE, (1014).to_bytes(2, "big"))
    assert ours(raw, server=True, deflate=False) == [("closed", 1014)]
    assert by_wsproto(raw, server=True, deflate=False) == [("closed", 1002)]


def test_wsproto_forgets_that_a_message_is_compressed_when_a_ping_comes_amid_it():
    """Decided: RFC 7692 section 6 has the bit on a message's first frame alone, and a control frame is no part of it."""
    data = bytes.fromhex("f248cdc9c90700")
    frames = [
        websocket_frame(Opcode.TEXT, data[:3], fin=False, rsv=4),
        websocket_frame(Opcode.PING, b""),
        websocket_frame(Opcode.CONTINUATION, data[3:]),
    ]
    raw = b"".join(frames)
    assert ours(raw, server=True, deflate=True) == by_websockets(raw, server=True, deflate=True)
    assert ours(raw, server=True, deflate=True) == [("ping", b""), "Hello"]
    assert by_wsproto(raw, server=True, deflate=True) != [("ping", b""), "Hello"]


def test_websockets_names_the_other_fault_of_a_close_frame_that_has_two():
    """Decided: a code that nobody may send and a reason that is no text; the code comes first (RFC 6455 section 7.4)."""
    raw = websocket_frame(Opcode.CLOSE, (1016).to_bytes(2, "big") + b"\xff")
    assert ours(raw, server=True, deflate=False) == [("closed", 1002)]
    assert by_wsproto(raw, server=True, deflate=False) == [("closed", 1002)]
    assert by_websockets(raw, server=True, deflate=False) == [("closed", 1007)]


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("server", [True, False], ids=["server", "client"])
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
@given(st.lists(st.tuples(st.text(max_size=300) | st.binary(max_size=300), st.booleans()), max_size=6))
def test_they_read_what_we_write(reference, server, deflate, messages):
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

    assert REFERENCES[reference](raw, server=not server, deflate=deflate) == [*told_of, ("closed", 1001)]


MESSAGES = st.lists(st.text(max_size=300) | st.binary(max_size=300), max_size=6)


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
@given(MESSAGES)
def test_we_read_what_wsproto_writes(deflate, messages):
    extensions = []
    if deflate:
        extension = PerMessageDeflate()
        extension.finalize("permessage-deflate")
        extensions.append(extension)
    protocol = FrameProtocol(True, extensions)
    raw = b"".join(protocol.send_data(message, fin=True) for message in messages) + protocol.close(1001, "bye")

    assert ours(raw, server=True, deflate=deflate) == [*messages, ("closed", 1001)]


@pytest.mark.parametrize("server", [True, False], ids=["server", "client"])
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
@given(MESSAGES)
def test_we_read_what_websockets_writes(server, deflate, messages):
    end = websockets_end(server=not server, deflate=deflate)
    for message in messages:
        data = message.encode() if isinstance(message, str) else message
        kind = Kind.TEXT if isinstance(message, str) else Kind.BINARY
        cut = len(data) // 3
        end.send_frame(Frame(kind, data[:cut], fin=False))
        end.send_ping(b"?")
        end.send_frame(Frame(Kind.CONT, data[cut:]))
    end.send_close(CloseCode.GOING_AWAY, "bye")
    raw = b"".join(end.data_to_send())
    told_of = [part for message in messages for part in (("ping", b"?"), message)]

    assert ours(raw, server=server, deflate=deflate) == [*told_of, ("closed", 1001)]
