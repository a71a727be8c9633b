"""How an exchange ends when its callback is over, whatever form that had."""

from __future__ import annotations

from sansio_pingora.errors import Error, ErrorType, LocalProtocolError
from sansio_pingora.session import ServerSession, as_error, traceback_of

__all__ = ["conclude"]


def conclude(session: ServerSession, what: str, error: BaseException | None) -> str | None:
    """Complete the response, or answer or break it off for *error*, and let go of the exchange.

    Returns the line that belongs into the error log, or None when nothing does: an
    :class:`Error` with a status below 500 is an answer like another, and a client that
    has left is no fault of the callback.
    """
    line = None
    if error is None and session.closed is None:
        line = _complete(session, what)
    elif error is not None:
        line = _fail(session, what, error)
    if session.upgraded:
        # Nobody reads the tunnel's other direction any more: end it behind what is on its way out.
        session.shutdown(Error(ErrorType.CONNECTION_CLOSED, f"{what} has ended").into_in())
    session.release()
    return line


def _complete(session: ServerSession, what: str) -> str | None:
    if session.response_written is None:
        session.respond_error(500)
        return f"{what} ended without a response, {session.request_summary()}"
    try:
        session.finish_body()
    except LocalProtocolError as exc:
        session.shutdown(as_error(exc, what))
        return f"{what} ended amid its response: {exc}, {session.request_summary()}"
    return None


def _fail(session: ServerSession, what: str, error: BaseException) -> str | None:
    if error is session.closed:
        return None
    status = 500
    if isinstance(error, Error) and error.etype is ErrorType.HTTP_STATUS and error.status is not None:
        status = error.status
    if session.respond_error(status) and status < 500:
        return None
    session.shutdown(as_error(error, what))
    return f"{what} failed: {error}, {session.request_summary()}\n{traceback_of(error)}"
