"""What an error means to a client, and whether it allows another attempt: pure functions."""

from __future__ import annotations

from sansio_pingora.errors import Error, ErrorSource, ErrorType

__all__ = ["IDEMPOTENT", "error_status", "may_retry"]

# RFC 9110 section 9.2.2.
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})

_TIMEOUTS = frozenset(
    {
        ErrorType.CONNECT_TIMEDOUT,
        ErrorType.READ_TIMEDOUT,
        ErrorType.WRITE_TIMEDOUT,
        ErrorType.TLS_HANDSHAKE_TIMEDOUT,
    }
)
_GONE = frozenset({ErrorType.WRITE_ERROR, ErrorType.READ_ERROR, ErrorType.CONNECTION_CLOSED, ErrorType.WRITE_TIMEDOUT})


def error_status(error: Error) -> int | None:
    """The status that answers *error*; None when nobody is left to read it.

    Deviation: Pingora answers 502 to an origin's timeouts and 400 to a client's; 504 and 408 say which it was.
    """
    if error.etype is ErrorType.HTTP_STATUS and error.status is not None:
        return error.status
    if error.esource is ErrorSource.UPSTREAM:
        return 504 if error.etype in _TIMEOUTS else 502
    if error.esource is ErrorSource.DOWNSTREAM:
        if error.etype in _GONE:
            return None
        return error.status or (408 if error.etype is ErrorType.READ_TIMEDOUT else 400)
    return 500


def may_retry(
    error: Error,
    *,
    method: bytes,
    attempts_left: int,
    reached_origin: bool,
    response_begun: bool,
    replay_complete: bool,
) -> bool:
    """Whether the engine allows the other attempt that *error*'s mark asks for.

    A mark alone is not enough: no head may have gone to the client, the request must be
    there whole, and the origin must not have begun on it, or its method must bear repeating.
    """
    return (
        error.retry
        and attempts_left > 0
        and error.esource is not ErrorSource.DOWNSTREAM
        and not response_begun
        and replay_complete
        and (not reached_origin or method in IDEMPOTENT)
    )
