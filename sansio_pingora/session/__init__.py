"""Sessions: one exchange in our hands, and a server connection as a whole."""

from sansio_pingora.session.bridging import Bridge, bridge, websocket_accept
from sansio_pingora.session.callbacks import Form, blocking, check_callbacks, check_form, form_of
from sansio_pingora.session.client_session import ClientSession
from sansio_pingora.session.custom import CustomClient, CustomConnection, CustomServer
from sansio_pingora.session.dispatch import Dispatcher, Exchange, HttpHandler
from sansio_pingora.session.effects import Call, Drain, Effect, LaneEffect, ReadBody, Sleep
from sansio_pingora.session.forwarding import (
    HEARSAY,
    HOP_BY_HOP,
    LOOKALIKES,
    forwarded_request,
    forwarded_response,
    max_forwards,
    settle_connection_options,
)
from sansio_pingora.session.messages import MAX_MESSAGES, CustomMessages, MessageFlow, NextMessage, RoomForMessage
from sansio_pingora.session.piping import PerLane, PipeState, PipeSubrequest, SavedBody, SessionBody, TaskFilter
from sansio_pingora.session.raw import RawConnection
from sansio_pingora.session.replay import ReplayBuffer
from sansio_pingora.session.routines import AsyncCall, Await, Routine, Routines, as_error, traceback_of
from sansio_pingora.session.server_connection import (
    Engine,
    ServerConnection,
    ServerMaker,
    client_codec,
    client_http2,
    server_codec,
)
from sansio_pingora.session.server_session import Meter, ServerSession
from sansio_pingora.session.subrequest import SubrequestConnection, start_subrequest
from sansio_pingora.session.subrequest_flow import clear_request_body_headers
from sansio_pingora.session.subrequest_handle import SubrequestHandle, SubrequestReceiver

__all__ = [
    "HEARSAY",
    "HOP_BY_HOP",
    "LOOKALIKES",
    "MAX_MESSAGES",
    "AsyncCall",
    "Await",
    "Bridge",
    "Call",
    "ClientSession",
    "CustomClient",
    "CustomConnection",
    "CustomMessages",
    "CustomServer",
    "Dispatcher",
    "Drain",
    "Effect",
    "Engine",
    "Exchange",
    "Form",
    "HttpHandler",
    "LaneEffect",
    "MessageFlow",
    "Meter",
    "NextMessage",
    "PerLane",
    "PipeState",
    "PipeSubrequest",
    "RawConnection",
    "ReadBody",
    "ReplayBuffer",
    "RoomForMessage",
    "Routine",
    "Routines",
    "SavedBody",
    "ServerConnection",
    "ServerMaker",
    "ServerSession",
    "SessionBody",
    "Sleep",
    "SubrequestConnection",
    "SubrequestHandle",
    "SubrequestReceiver",
    "TaskFilter",
    "as_error",
    "blocking",
    "bridge",
    "check_callbacks",
    "check_form",
    "clear_request_body_headers",
    "client_codec",
    "client_http2",
    "form_of",
    "forwarded_request",
    "forwarded_response",
    "max_forwards",
    "server_codec",
    "settle_connection_options",
    "start_subrequest",
    "traceback_of",
    "websocket_accept",
]
