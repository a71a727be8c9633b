"""What an origin still has to say when its client has all of the answer."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from sansio_pingora.session import ServerSession, Sleep
from sansio_pingora.wire import HttpTask, ResponseHeader

if TYPE_CHECKING:
    from sansio_pingora.connectors import Lease
    from sansio_pingora.proxy.exchange import ProxyExchange

__all__ = ["Declared", "Remainder", "declared", "remainder", "wait"]


class Remainder:
    """Of an answer whose client may have all of it before the origin has ended its own.

    What filters made shorter, a 304 or a range, is complete when what its head declares has gone; and a client of
    HTTP/1 does not wait for the END_STREAM of an origin. Of what is left ``linger_bytes`` are read, for up to
    ``linger_timeout``: a connection is worth more without resets. If more is known to come, or does come, the origin
    is cut off at once, or else a few bytes asked for would have us download whole files (RangeAmp).
    """

    __slots__ = ("_due", "_exchange", "_patience", "_shortened", "_whole", "most")

    _patience: Generator[Any, Any, None]

    def __init__(self, exchange: ProxyExchange, due: int, whole: int | None, *, shortened: bool) -> None:
        self._exchange = exchange
        self._due = due
        self._whole = whole  # of the origin's body; None: it did not say
        self._shortened = shortened
        self.most = math.inf
        """Bytes of the origin's body at which it is cut off."""

    def passed(self, task: HttpTask, got: int) -> bool:
        """*task* was passed on, *got* bytes of the origin's body by now; True: the client has all of the answer."""
        exchange = self._exchange
        session = exchange.session
        if self.most != math.inf:
            if task.end:
                exchange.forget(self._patience)
                exchange.response_complete()
            return True
        if task.end or session.response_done or session.body_bytes_sent < self._due:
            return False
        limits = session.limits
        if self._shortened:
            session.complete_response()
            if self._whole is not None and self._whole - got > limits.linger_bytes:
                exchange.response_complete()
                return True
            session.await_log()
        self.most = got + limits.linger_bytes + 1
        self._patience = wait(limits.linger_timeout)
        exchange.start(self._patience, self._long_enough)
        return True

    def _long_enough(self, *_: Any) -> None:
        self._exchange.session.finish_body()
        self._exchange.response_complete()


Declared = tuple[int, bytes | list[bytes] | None]
"""A status, and the Content-Length behind it."""


def declared(head: ResponseHeader) -> Declared:
    """What *head* says of how long its body is: to be compared, and for :func:`remainder`."""
    return head.status, head.fields.index.get(b"content-length")


def remainder(exchange: ProxyExchange, lease: Lease, before: Declared | None) -> Remainder | None:
    """What to watch of the answer that has begun, whose head said *before* until filters had it; None: they had not.

    None: the client has all of it when the origin says so, not earlier.
    """
    session = exchange.session
    head = session.response_written
    if head is None or session.upgraded:
        return None
    after = declared(head)
    waits = lease.connection.version == b"2" and session.as_http1() is not None
    if before is None or before == after:
        if not waits:
            return None
        before = after
    due, whole = _length(session, after), _length(session, before)
    if due is None:
        return None
    shortened = whole is None or due < whole
    return Remainder(exchange, due, whole, shortened=shortened) if shortened or waits else None


def _length(session: ServerSession, said: Declared) -> int | None:
    status, length = said
    if status == 204 or status == 304 or (session.req_header is not None and session.req_header.method == b"HEAD"):
        return 0
    return int(length) if isinstance(length, bytes) else None


def wait(seconds: float) -> Generator[Any, Any, None]:
    """A routine that does nothing else."""
    yield Sleep(seconds)
