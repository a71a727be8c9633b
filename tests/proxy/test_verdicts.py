"""What an error means to a client, and when another attempt is made: the tables, cell by cell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError, RetryType
from sansio_pingora.proxy import error_status, may_retry
from sansio_pingora.proxy.verdicts import IDEMPOTENT

UP, DOWN, IN, UNSET = ErrorSource.UPSTREAM, ErrorSource.DOWNSTREAM, ErrorSource.INTERNAL, ErrorSource.UNSET
E = ErrorType

TIMEOUTS = {E.CONNECT_TIMEDOUT, E.READ_TIMEDOUT, E.WRITE_TIMEDOUT, E.TLS_HANDSHAKE_TIMEDOUT}
GONE = {E.WRITE_ERROR, E.READ_ERROR, E.CONNECTION_CLOSED, E.WRITE_TIMEDOUT}


def expected(etype, esource):
    if esource is UP:
        return 504 if etype in TIMEOUTS else 502
    if esource is DOWN:
        if etype in GONE:
            return None
        return 408 if etype is E.READ_TIMEDOUT else 400
    return 500


@pytest.mark.parametrize("esource", list(ErrorSource), ids=lambda source: source.name)
@pytest.mark.parametrize("etype", [etype for etype in E if etype is not E.HTTP_STATUS], ids=lambda etype: etype.name)
def test_status_of_every_error(etype, esource):
    assert error_status(Error(etype, esource=esource)) == expected(etype, esource)


@pytest.mark.parametrize("esource", list(ErrorSource), ids=lambda source: source.name)
def test_a_status_that_was_asked_for_is_given(esource):
    error = Error.http_status(418)
    error.esource = esource
    assert error_status(error) == 418


@pytest.mark.parametrize("status", [408, 413, 431])
def test_the_status_of_a_refused_request(status):
    assert error_status(Error(E.INVALID_HTTP_HEADER, status=status, esource=DOWN)) == status


def test_wrapping_does_not_change_the_answer():
    for error in (Error.http_status(429), Error(E.READ_TIMEDOUT, esource=UP), Error(E.READ_ERROR, esource=DOWN)):
        assert error_status(error.more_context("wider")) == error_status(error)


def allowed(error, **changes):
    facts = {
        "method": b"GET",
        "attempts_left": 3,
        "reached_origin": False,
        "response_begun": False,
        "replay_complete": True,
    }
    return may_retry(error, **(facts | changes))


def marked(etype=E.CONNECT_REFUSED, esource=UP):
    return Error(etype, esource=esource).with_retry(True)


def test_a_marked_error_may_be_retried():
    assert allowed(marked())


@pytest.mark.parametrize(
    "changes",
    [
        {"attempts_left": 0},
        {"attempts_left": -1},
        {"response_begun": True},
        {"replay_complete": False},
        {"reached_origin": True, "method": b"POST"},
        {"reached_origin": True, "method": b"PATCH"},
        {"reached_origin": True, "method": b"CONNECT"},
        {"reached_origin": True, "method": b"get"},
    ],
    ids=str,
)
def test_a_mark_alone_is_not_enough(changes):
    assert not allowed(marked(), **changes)


@pytest.mark.parametrize("method", sorted(IDEMPOTENT))
def test_methods_that_bear_repeating(method):
    assert allowed(marked(), reached_origin=True, method=method)


def test_an_unmarked_error_is_not_retried():
    assert not allowed(Error(E.CONNECT_REFUSED, esource=UP))


def test_the_fault_of_a_client_is_not_retried():
    assert not allowed(marked(E.READ_ERROR, DOWN))


def test_an_undecided_mark_is_the_callers_mistake():
    with pytest.raises(LocalProtocolError, match="decide_reuse"):
        allowed(Error(E.CONNECTION_CLOSED, esource=UP, retry=RetryType.REUSED_ONLY))


ERRORS = st.builds(
    Error,
    st.sampled_from(sorted(E, key=lambda etype: etype.name)),
    esource=st.sampled_from(list(ErrorSource)),
    retry=st.sampled_from([RetryType.NO, RetryType.YES]),
)


@given(
    ERRORS,
    st.sampled_from([b"GET", b"POST", b"PUT", b"PATCH", b"BREW"]),
    st.integers(-2, 3),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_what_is_retried_is_safe(error, method, left, reached, begun, complete):
    verdict = may_retry(
        error,
        method=method,
        attempts_left=left,
        reached_origin=reached,
        response_begun=begun,
        replay_complete=complete,
    )
    safe = error.retry and left > 0 and not begun and complete and (not reached or method in IDEMPOTENT)
    assert verdict == (safe and error.esource is not DOWN)


@given(ERRORS)
def test_the_status_is_an_error_or_none(error):
    status = error_status(error)
    assert status is None or 400 <= status <= 599
