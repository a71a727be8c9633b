"""WebSocket (RFC 6455, RFC 7692, RFC 8441) as a machine over the opaque bytes behind a handshake, for either role."""

from sansio_pingora.websocket.deflate import Deflate
from sansio_pingora.websocket.events import CloseCode, Closed, MessagePart, Ping, Pong, WebSocketEvent
from sansio_pingora.websocket.handshake import (
    Accepted,
    handshake_request,
    judge_request,
    judge_response,
    offered_subprotocols,
)
from sansio_pingora.websocket.session import WebSocketSession
from sansio_pingora.websocket.states import State

__all__ = [
    "Accepted",
    "CloseCode",
    "Closed",
    "Deflate",
    "MessagePart",
    "Ping",
    "Pong",
    "State",
    "WebSocketEvent",
    "WebSocketSession",
    "handshake_request",
    "judge_request",
    "judge_response",
    "offered_subprotocols",
]
