"""Hypothesis strategies: messages, frames, conversations, ways to cut them, peers, parties, filters and faults."""

try:
    import hypothesis  # noqa: F401  # said here what is missing, rather than in the middle of it
except ModuleNotFoundError as exc:  # pragma: no cover  # the tests have it
    raise ModuleNotFoundError(
        "the strategies need hypothesis: pip install 'sansio-pingora[testing]'", name="hypothesis"
    ) from exc

from sansio_pingora.testing.strategies.filters import filter_scripts
from sansio_pingora.testing.strategies.http1 import (
    Chunking,
    CutAt,
    CutEvery,
    almost_valid_requests,
    bodies,
    chunked,
    chunkings,
    cuts,
    field_names,
    field_values,
    http1_pipelines,
    http1_request_heads,
    http1_requests,
    http1_response_heads,
    http1_responses,
    known_bad_requests,
    targets,
)
from sansio_pingora.testing.strategies.http2 import http2_frame, http2_frames, illegal_http2_frames
from sansio_pingora.testing.strategies.parties import (
    CLIENT_MANNERS,
    ORIGIN_MANNERS,
    clients,
    fault_plans,
    link_profiles,
    origins,
    weathers,
)
from sansio_pingora.testing.strategies.peers import peer_pairs, peers
from sansio_pingora.testing.strategies.websocket import (
    Says,
    WebSocketConversation,
    illegal_websocket_frames,
    websocket_conversations,
    websocket_deflates,
    websocket_frame,
    websocket_frames,
)

__all__ = [
    "CLIENT_MANNERS",
    "ORIGIN_MANNERS",
    "Chunking",
    "CutAt",
    "CutEvery",
    "Says",
    "WebSocketConversation",
    "almost_valid_requests",
    "bodies",
    "chunked",
    "chunkings",
    "clients",
    "cuts",
    "fault_plans",
    "field_names",
    "field_values",
    "filter_scripts",
    "http1_pipelines",
    "http1_request_heads",
    "http1_requests",
    "http1_response_heads",
    "http1_responses",
    "http2_frame",
    "http2_frames",
    "illegal_http2_frames",
    "illegal_websocket_frames",
    "known_bad_requests",
    "link_profiles",
    "origins",
    "peer_pairs",
    "peers",
    "targets",
    "weathers",
    "websocket_conversations",
    "websocket_deflates",
    "websocket_frame",
    "websocket_frames",
]
