"""What became of one exchange: times, attempts and bytes, for ``logging``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sansio_pingora.errors import Error
    from sansio_pingora.proxy.exchange import ProxyExchange
    from sansio_pingora.session import ServerSession
    from sansio_pingora.upstreams import HttpPeer

__all__ = ["ExchangeRecord"]


class ExchangeRecord:
    """What ``logging`` finds in ``session.record``. Instants are monotonic seconds; None: that never happened.

    Of several attempts the last is meant.
    """

    __slots__ = (
        "attempts",
        "body_bytes_received",
        "body_bytes_sent",
        "chosen",
        "connected",
        "error",
        "finished",
        "peer",
        "received",
        "responded",
        "reused",
        "sent",
        "status",
    )

    def __init__(self, session: ServerSession, error: Error | None, exchange: ProxyExchange | None) -> None:
        self.error = error
        self.attempts = 0
        """How often an upstream was chosen."""
        self.peer: HttpPeer | None = None
        """Where the last attempt went."""
        self.reused = False
        """Its connection came from the pool."""
        self.status: int | None = None if session.response_written is None else session.response_written.status
        """Of the final head that went to the client, or 101."""
        self.body_bytes_received: int = session.body_bytes_read
        self.body_bytes_sent: int = session.body_bytes_sent
        """Behind filters and modules, without framing."""
        if self.status is None and session.req_header is None and error is not None:
            self.status = error.status  # the connection has answered by itself
        self.received = session.began
        self.finished = session.now
        """When the request's head had come, and when the exchange was over."""
        self.chosen: float | None = None
        """When ``upstream_peer`` had chosen."""
        self.connected: float | None = None
        """When there was a connection."""
        self.sent: float | None = None
        """When the head went upstream."""
        self.responded: float | None = None
        """When a final head went to the client."""
        if exchange is not None:
            self.attempts = exchange.attempts
            self.received = exchange.received_at
            self.peer = getattr(exchange, "peer", None)
            self.reused = getattr(exchange, "reused", False)
            self.chosen = getattr(exchange, "chosen_at", None)
            self.connected = getattr(exchange, "connected_at", None)
            self.sent = getattr(exchange, "sent_at", None)
            self.responded = getattr(exchange, "responded_at", None)

    @property
    def retries(self) -> int:
        """Attempts beyond the first."""
        return max(self.attempts - 1, 0)

    @property
    def duration(self) -> float:
        """Seconds, over all."""
        return self.finished - self.received

    def durations(self) -> dict[str, float]:
        """Seconds in each stretch that was entered: ``filters`` before the last attempt, with those that failed,
        ``connect``, ``request`` (filters before the head went upstream), ``wait`` (for the answer), ``response``.
        """
        marks = [
            ("filters", self.chosen),
            ("connect", self.connected),
            ("request", self.sent),
            ("wait", self.responded),
        ]
        since, found = self.received, {}
        for name, until in marks:
            if until is not None and until >= since:
                found[name] = until - since
                since = until
        found["response" if self.responded is not None else "end"] = self.finished - since
        return found
