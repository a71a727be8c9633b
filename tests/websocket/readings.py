"""What three implementations make of the same frames: ours, wsproto, and the protocol of websockets.

Each reading is whole messages, pings, pongs, and the code that it ends with.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from typing import Any

from websockets.extensions.permessage_deflate import PerMessageDeflate as WebsocketsDeflate
from websockets.frames import Opcode as Kind
from websockets.protocol import Protocol, Side
from websockets.protocol import State as WebsocketsState
from wsproto import events as ws
from wsproto.connection import Connection, ConnectionType
from wsproto.extensions import PerMessageDeflate
from wsproto.utilities import RemoteProtocolError

from sansio_pingora.limits import Limits
from sansio_pingora.websocket import Closed, Deflate, MessagePart, Ping, Pong, WebSocketSession
from tests.websocket.traffic import MASK, told

__all__ = ["REFERENCES", "by_websockets", "by_wsproto", "ours", "websockets_end"]

LIMITS = Limits(ws_max_message=1 << 30, ws_max_fragments=1 << 20)


def ours(raw: bytes, *, server: bool, deflate: bool) -> list[Any]:
    """Our reading."""
    session = WebSocketSession(
        0.0, LIMITS, mask=None if server else lambda: MASK, deflate=Deflate() if deflate else None
    )
    found: list[Any] = []
    parts: list[Any] = []
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


def by_wsproto(raw: bytes, *, server: bool, deflate: bool) -> list[Any]:
    """The reading of wsproto."""
    extensions = []
    if deflate:
        extension = PerMessageDeflate()
        extension.finalize("permessage-deflate")
        extensions.append(extension)
    connection = Connection(ConnectionType.SERVER if server else ConnectionType.CLIENT, extensions)
    found: list[Any] = []
    parts: list[Any] = []
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


def websockets_end(*, server: bool, deflate: bool) -> Protocol:
    """An open end of websockets."""
    end = Protocol(Side.SERVER if server else Side.CLIENT, state=WebsocketsState.OPEN, max_size=None)
    if deflate:
        end.extensions = [WebsocketsDeflate(False, False, 15, 15)]
    return end


def by_websockets(raw: bytes, *, server: bool, deflate: bool) -> list[Any]:
    """The reading of websockets, whose protocol leaves the decoding of text to who calls it."""
    end = websockets_end(server=server, deflate=deflate)
    end.receive_data(raw)
    found: list[Any] = []
    parts: list[Any] = []
    decoder = None
    for frame in end.events_received():
        if frame.opcode is Kind.PING or frame.opcode is Kind.PONG:
            found.append((frame.opcode.name.lower(), bytes(frame.data)))
        elif frame.opcode is Kind.CLOSE:
            found.append(("closed", int(end.close_rcvd.code)))
            return found
        else:
            if frame.opcode is Kind.TEXT:
                decoder = getincrementaldecoder("utf-8")()
            elif frame.opcode is Kind.BINARY:
                decoder = None
            try:
                parts.append(bytes(frame.data) if decoder is None else decoder.decode(bytes(frame.data), frame.fin))
            except UnicodeDecodeError:
                return [*found, ("closed", 1007)]
            if frame.fin:
                found.append(type(parts[0])().join(parts))
                parts = []
    if end.parser_exc is not None:
        found.append(("closed", int(end.close_sent.code)))
    return found


REFERENCES = {"wsproto": by_wsproto, "websockets": by_websockets}
