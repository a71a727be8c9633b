"""Error as an exception and as a value: its chain, its text, and who decides on another attempt."""

from __future__ import annotations

import copy
import pickle

import pytest

from sansio_pingora.errors import Error, ErrorSource, ErrorType, LocalProtocolError, RetryType


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Error(ErrorType.CONNECT_REFUSED), "ConnectRefused"),
        (Error(ErrorType.READ_ERROR, "peer is gone"), "ReadError context: peer is gone"),
        (Error(ErrorType.READ_ERROR, "peer is gone").into_up(), "Upstream ReadError context: peer is gone"),
        (Error(ErrorType.WRITE_ERROR).into_down(), "Downstream WriteError"),
        (Error(ErrorType.INTERNAL_ERROR, "oh").into_in(), "Internal InternalError context: oh"),
        (Error.http_status(404), "HTTPStatus(404)"),
        (Error.custom("NoQuota", "user 7"), "NoQuota context: user 7"),
        (Error.custom("NoQuota", code=9), "NoQuota(9)"),
        (
            Error(ErrorType.CONNECT_ERROR, "origin", cause=OSError(111, "refused")).into_up(),
            "Upstream ConnectError context: origin cause: ConnectionRefusedError: [Errno 111] refused",
        ),
        (
            Error(ErrorType.READ_ERROR, "inner").into_up().more_context("outer"),
            "Upstream ReadError context: outer cause: context: inner",
        ),
        (
            Error.http_status(502, "page", cause=Error(ErrorType.READ_ERROR, "inner").into_up()),
            "HTTPStatus(502) context: page cause: Upstream ReadError context: inner",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_text_reads_from_the_outermost_to_the_innermost(error, text):
    assert str(error) == text
    assert repr(error) == f"<Error {text}>"


def test_payload_of_the_types_that_have_one():
    assert (Error.http_status(404).etype, Error.http_status(404).status) == (ErrorType.HTTP_STATUS, 404)
    assert Error.custom("A").etype is ErrorType.CUSTOM
    coded = Error.custom("A", code=0)
    assert (coded.etype, coded.name, coded.code) == (ErrorType.CUSTOM_CODE, "A", 0)


@pytest.mark.parametrize("etype", [e for e in ErrorType if "CUSTOM" not in e.name and e is not ErrorType.HTTP_STATUS])
def test_type_str_is_pingoras_name(etype):
    assert Error(etype).type_str == etype.value
    assert etype.value.lower() == etype.name.replace("_", "").lower()


def test_a_wider_view_keeps_what_was_found():
    inner = Error.custom("A", "inner", code=3).into_up().with_retry(True)
    outer = inner.more_context("outer")

    assert outer is not inner
    assert (outer.etype, outer.esource, outer.retry_type) == (inner.etype, inner.esource, RetryType.YES)
    assert (outer.name, outer.code, outer.cause) == ("A", 3, inner)
    assert inner.context == "inner"


def test_the_root_of_a_chain():
    origin = OSError("gone")
    inner = Error(ErrorType.READ_ERROR, cause=origin)
    outer = Error.http_status(502, cause=inner.more_context("while reading"))

    assert outer.root_cause is origin
    assert outer.root_etype is ErrorType.READ_ERROR
    assert Error(ErrorType.H1_ERROR).root_etype is ErrorType.H1_ERROR
    lone = Error(ErrorType.H1_ERROR)
    assert lone.root_cause is lone


def test_no_retry_unless_somebody_says_so():
    assert Error(ErrorType.CONNECT_REFUSED).retry is False
    assert Error(ErrorType.CONNECT_REFUSED).with_retry(True).retry is True
    assert Error(ErrorType.CONNECT_REFUSED).with_retry(True).with_retry(False).retry is False
    assert Error(ErrorType.CONNECT_REFUSED, retry=RetryType.YES).retry is True


def test_retry_comes_from_the_cause_unless_given():
    cause = Error(ErrorType.READ_ERROR, retry=RetryType.YES)

    assert Error(ErrorType.H1_ERROR, cause=cause).retry is True
    assert Error(ErrorType.H1_ERROR, cause=cause, retry=RetryType.NO).retry is False
    assert Error(ErrorType.H1_ERROR, cause=OSError()).retry is False


@pytest.mark.parametrize("reused", [True, False])
def test_reuse_decides_once(reused):
    error = Error(ErrorType.READ_ERROR, retry=RetryType.REUSED_ONLY)
    with pytest.raises(LocalProtocolError, match="decide_reuse"):
        _ = error.retry

    assert error.decide_reuse(reused).retry is reused
    assert error.decide_reuse(not reused).retry is reused


@pytest.mark.parametrize("retry", [RetryType.NO, RetryType.YES])
def test_reuse_decides_nothing_that_is_decided(retry):
    assert Error(ErrorType.READ_ERROR, retry=retry).decide_reuse(True).retry_type is retry
    assert Error(ErrorType.READ_ERROR, retry=retry).decide_reuse(False).retry_type is retry


def test_blame_can_be_moved_and_chained():
    error = Error(ErrorType.READ_ERROR)

    assert error.esource is ErrorSource.UNSET
    assert error.into_up() is error
    assert error.into_down().esource is ErrorSource.DOWNSTREAM
    assert error.into_in().esource is ErrorSource.INTERNAL


@pytest.mark.parametrize(
    "duplicate", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"]
)
def test_survives_being_copied(duplicate):
    """Filters run elsewhere, and logging handlers queue what they are given."""
    error = Error.custom("A", "ctx", cause=OSError("gone"), code=3).into_up().with_retry(True)
    other = duplicate(error)

    assert str(other) == str(error)
    assert (other.etype, other.code, other.retry) == (error.etype, 3, True)


def test_can_be_raised_and_caught():
    with pytest.raises(Error, match="context: why"):
        raise Error(ErrorType.UNKNOWN_ERROR, "why")


def test_the_callers_mistake_is_another_thing():
    assert not issubclass(LocalProtocolError, Error)
    assert not issubclass(Error, LocalProtocolError)
