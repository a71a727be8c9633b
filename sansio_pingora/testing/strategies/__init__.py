"""Hypothesis strategies: HTTP/1 messages, HTTP/2 frames and WebSocket conversations, as bytes, and ways to cut them."""

try:
    import hypothesis  # noqa: F401  # said here what is missing, rather than in the middle of it
except ModuleNotFoundError as exc:  # pragma: no cover  # the tests have it
    raise ModuleNotFoundError(
        "the strategies need hypothesis: pip install 'sansio-pingora[testing]'", name="hypothesis"
    ) from exc

from sansio_pingora.testing.strategies.http1 import (
    CutAt,
    CutEvery,
    almost_valid_requests,
    bodies,
    chunked,
    cuts,
    field_names,
    field_values,
    http1_pipelines,
    http1_requests,
    http1_responses,
    known_bad_requests,
    targets,
)
from sansio_pingora.testing.strategies.http2 import http2_frame, http2_frames, illegal_http2_frames
from sansio_pingora.testing.strategies.websocket import (
    illegal_websocket_frames,
    websocket_deflates,
    websocket_frame,
    websocket_frames,
)

__all__ = [
    "CutAt",
    "CutEvery",
    "almost_valid_requests",
    "bodies",
    "chunked",
    "cuts",
    "field_names",
    "field_values",
    "http1_pipelines",
    "http1_requests",
    "http1_responses",
    "http2_frame",
    "http2_frames",
    "illegal_http2_frames",
    "illegal_websocket_frames",
    "known_bad_requests",
    "targets",
    "websocket_deflates",
    "websocket_frame",
    "websocket_frames",
]
