"""The callbacks of a proxy, with Pingora's names and order. Override what you need.

Each may be plain, :func:`~sansio_pingora.session.blocking`, ``async def`` (asyncio) or a
generator of effects; those marked *plain* below are decisions and must not wait.
A callback that is not overridden costs nothing.
"""

from __future__ import annotations

from typing import Any

from sansio_pingora.errors import Error
from sansio_pingora.modules import HttpModules
from sansio_pingora.proxy.verdicts import error_status
from sansio_pingora.session import ServerSession
from sansio_pingora.transport import TransportInfo
from sansio_pingora.upstreams import HttpPeer
from sansio_pingora.wire import Fields, RequestHeader, ResponseHeader

__all__ = ["PHASES", "PLAIN_PHASES", "ProxyHttp"]

PHASES = (
    "new_ctx",
    "on_connection_reuse",
    "allow_spawning_subrequest",
    "early_request_filter",
    "request_filter",
    "proxy_upstream_filter",
    "request_body_filter",
    "upstream_peer",
    "connected_to_upstream",
    "fail_to_connect",
    "upstream_request_filter",
    "adjust_upstream_modules",
    "upstream_response_filter",
    "upstream_response_body_filter",
    "upstream_response_trailer_filter",
    "response_filter",
    "response_body_filter",
    "response_trailer_filter",
    "error_while_proxy",
    "fail_to_proxy",
    "persist_connection_context",
    "logging",
    "request_summary",
    "suppress_error_log",
)
PLAIN_PHASES = frozenset(
    {
        "new_ctx",
        "allow_spawning_subrequest",
        "fail_to_connect",
        "error_while_proxy",
        "persist_connection_context",
        "request_summary",
        "suppress_error_log",
    }
)


class ProxyHttp:
    """A programmable HTTP proxy: one object for all requests, *ctx* for the state of one."""

    def init_downstream_modules(self, modules: HttpModules) -> None:
        """Once, at start: ``modules.add_module(...)`` for modules that stand before the client."""

    def init_upstream_modules(self, modules: HttpModules) -> None:
        """Once, at start: the same for modules that stand before the origin, made anew for each attempt."""

    def new_ctx(self) -> Any:
        """Plain. The state of one exchange, passed to every other callback."""
        return None

    def on_connection_reuse(self, session: ServerSession, ctx: Any, stored: Any) -> None:
        """HTTP/1. *stored*: what ``persist_connection_context`` returned for the request before on the connection."""

    def allow_spawning_subrequest(self, session: ServerSession, ctx: Any) -> bool:
        """Plain. True: ``session.subrequest_spawner`` asks this proxy for more."""
        return False

    def early_request_filter(self, session: ServerSession, ctx: Any) -> None:
        """First of all, before modules. An exception answers 500, an :class:`Error` what it maps to."""

    def request_filter(self, session: ServerSession, ctx: Any) -> bool | None:
        """True: the answer was written already, and nothing goes upstream."""

    def proxy_upstream_filter(self, session: ServerSession, ctx: Any) -> bool | None:
        """False: nothing goes upstream; where no answer was written here, 502 is."""

    def upstream_peer(self, session: ServerSession, ctx: Any) -> HttpPeer:
        """Where this attempt goes. Must be overridden."""
        raise NotImplementedError(
            f"{type(self).__name__} must override upstream_peer(session, ctx) and return an HttpPeer"
        )

    def fail_to_connect(self, session: ServerSession, peer: HttpPeer, ctx: Any, error: Error) -> Error | None:
        """Plain. No connection: return *error*, perhaps ``with_retry(True)`` for another attempt; None is *error*."""
        return error

    def connected_to_upstream(
        self, session: ServerSession, reused: bool, peer: HttpPeer, info: TransportInfo, ctx: Any
    ) -> None:
        """A connection is there, new or from the pool."""

    def upstream_request_filter(self, session: ServerSession, request: RequestHeader, ctx: Any) -> None:
        """Change the head that goes upstream: a copy for each attempt, without hop-by-hop fields."""

    def request_body_filter(self, session: ServerSession, body: bytes, end_of_stream: bool, ctx: Any) -> bytes | None:
        """Each piece of the request body, once, also over retries: bytes to send instead, or None for as it is.

        ``b""`` swallows a piece. If the size changes, take Content-Length away in ``upstream_request_filter``.
        """

    def adjust_upstream_modules(
        self, session: ServerSession, response: ResponseHeader, end_of_stream: bool, ctx: Any
    ) -> None:
        """A final head came from upstream: set what ``session.upstream_modules_ctx.get(...)`` is to do with it."""

    def upstream_response_filter(self, session: ServerSession, response: ResponseHeader, ctx: Any) -> None:
        """Change a head that came from upstream, informational ones too."""

    def upstream_response_body_filter(
        self, session: ServerSession, body: bytes, end_of_stream: bool, ctx: Any
    ) -> bytes | None:
        """Each piece of the response body as it came: bytes instead, or None for as it is."""

    def upstream_response_trailer_filter(self, session: ServerSession, trailers: Fields, ctx: Any) -> None:
        """Change trailers that came from upstream."""

    def response_filter(self, session: ServerSession, response: ResponseHeader, ctx: Any) -> None:
        """Change a head that goes to the client. ``session.generated`` tells an error page of ours."""

    def response_body_filter(self, session: ServerSession, body: bytes, end_of_stream: bool, ctx: Any) -> bytes | None:
        """Each piece of the response body as it goes: bytes instead, or None for as it is."""

    def response_trailer_filter(self, session: ServerSession, trailers: Fields, ctx: Any) -> bytes | None:
        """Change trailers that go to the client, or return bytes that end the body in their place."""

    def error_while_proxy(
        self, peer: HttpPeer, session: ServerSession, error: Error, ctx: Any, client_reused: bool
    ) -> Error | None:
        """Plain. An attempt failed after it was connected: return the error, its retry mark settled.

        The default allows another attempt where a pooled connection died before it answered.
        """
        return error.more_context(f"Peer: {peer}").decide_reuse(client_reused)

    def fail_to_proxy(self, session: ServerSession, error: Error, ctx: Any) -> int | None:
        """Answer a request that failed: the status to send an error page with, or None if the answer was written here.

        The default maps the error: timeouts of an origin to 504, its other faults to 502, ours to 500.
        """
        return error_status(error)

    def persist_connection_context(self, session: ServerSession, ctx: Any) -> Any:
        """Plain. HTTP/1, where the connection stays: what ``on_connection_reuse`` of its next request is given.

        None: nothing. It is called right before ``logging``, which may wait while the next request begins.
        """
        return None

    def suppress_error_log(self, session: ServerSession, ctx: Any, error: Error) -> bool:
        """Plain. True keeps *error* out of the error log."""
        return False

    def request_summary(self, session: ServerSession, ctx: Any) -> str:
        """Plain. What the error log calls this request."""
        return session.request_summary()

    def logging(self, session: ServerSession, error: Error | None, ctx: Any) -> None:
        """Last, exactly once for every request that was answered or failed, also for those that broke the rules:
        then ``session.req_header`` is None. ``session.record`` has times, attempts and bytes.
        """
