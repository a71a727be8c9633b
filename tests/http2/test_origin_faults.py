"""What a caller learns when an origin gives a request up, and whether it may try again: the table of Pingora's errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sansio_pingora.errors import Error, ErrorSource, ErrorType, RetryType
from sansio_pingora.machine import Closing
from tests.http2.peer import LARGEST, Code, Kind, Peer, Set, raw
from tests.http2.runs import Session, ask, make_client

YES, NO, REUSED = RetryType.YES, RetryType.NO, RetryType.REUSED_ONLY
RESET = Error(ErrorType.READ_ERROR, "connection reset")


def after_the_request() -> tuple[Session, int]:
    session = make_client()
    return session, ask(session)


def amid_the_request() -> tuple[Session, int]:
    session = make_client()
    return session, ask(session, "POST", end=False)


def after_the_head() -> tuple[Session, int]:
    session, key = after_the_request()
    session.deliver(session.peer.response(1, 200, end=False))
    return session, key


SITUATIONS = (after_the_request, amid_the_request, after_the_head)

FAULTS: list[Any] = [
    pytest.param(lambda p: p.rst(1, Code.REFUSED_STREAM), "H2Error", YES, True, id="refused"),
    pytest.param(lambda p: p.rst(1, Code.HTTP_1_1_REQUIRED), "H2Downgrade", YES, None, id="http/1.1-required"),
    pytest.param(lambda p: p.rst(1, Code.INTERNAL_ERROR), "H2Error", NO, False, id="internal"),
    pytest.param(lambda p: p.rst(1, Code.CANCEL), "H2Error", NO, False, id="cancel"),
    pytest.param(lambda p: p.rst(1, Code.PROTOCOL_ERROR), "H2Error", NO, False, id="protocol"),
    pytest.param(lambda p: p.rst(1, Code.ENHANCE_YOUR_CALM), "H2Error", NO, False, id="calm"),
    pytest.param(lambda p: p.rst(1, Code.NO_ERROR), "H2Error", NO, False, id="no-error"),
    pytest.param(lambda p: p.rst(1, 0xABCD), "H2Error", NO, False, id="unknown-code"),
    pytest.param(lambda p: p.leave(0), "H2Error", YES, True, id="goaway-below"),
    pytest.param(lambda p: p.leave(0, Code.ENHANCE_YOUR_CALM), "H2Error", YES, True, id="goaway-below-calm"),
    pytest.param(lambda p: p.leave(0, Code.HTTP_1_1_REQUIRED), "H2Downgrade", YES, None, id="goaway-http/1.1"),
    pytest.param(lambda p: raw(Kind.PING, 0, 0, b"x"), "InvalidH2", None, False, id="bad-frame"),
    pytest.param(lambda p: raw(Kind.SETTINGS, 0, 0, b"x"), "InvalidH2", None, False, id="bad-settings"),
    pytest.param(lambda p: p.window_update(1, LARGEST), "InvalidH2", None, False, id="bad-window-of-the-stream"),
]


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize(("make", "name", "retry", "unprocessed"), FAULTS)
def test_faults(
    situation: Callable[[], tuple[Session, int]],
    make: Callable[[Peer], bytes],
    name: str,
    retry: RetryType | None,
    unprocessed: bool | None,
):
    session, key = situation()
    session.deliver(make(session.peer))
    error = session.failure(key)

    assert error is not None
    assert error.type_str == name
    assert error.esource is ErrorSource.UPSTREAM
    assert retry is None or error.retry_type is retry
    assert unprocessed is None or error.unprocessed is unprocessed
    assert str(error)


def test_goaway_spares_the_streams_that_it_names():
    session = make_client()
    first, second = ask(session), ask(session)
    session.deliver(session.peer.leave(1, Code.INTERNAL_ERROR))

    assert session.failure(first) is None
    assert session.failure(second).unprocessed
    session.deliver(session.peer.response(1, 200))
    assert session.of(first)[0][1] == "response"


def test_streams_that_had_no_id_yet_were_never_sent():
    session = make_client()
    key = session.machine.open_stream(0.0)
    session.deliver(session.peer.leave(LARGEST))

    assert session.failure(key).unprocessed
    assert session.failure(key).retry_type is YES


@pytest.mark.parametrize("how", ["eof", "lost", "error"])
@pytest.mark.parametrize(
    ("situation", "retry"), [(after_the_request, REUSED), (amid_the_request, REUSED), (after_the_head, NO)]
)
def test_a_connection_that_is_lost(how, situation, retry):
    """Before a byte of the answer a request on a used connection may be tried again; after it, not."""
    session, key = situation()
    if how == "eof":
        session.eof()
    else:
        session.take(session.machine.transport_lost(RESET if how == "error" else None, 0.0))
    error = session.failure(key)

    assert error.etype in {ErrorType.CONNECTION_CLOSED, ErrorType.READ_ERROR}
    assert error.retry_type is retry
    assert error.esource is ErrorSource.UPSTREAM
    assert session.machine.closing in {Closing.AFTER_FLUSH, Closing.ABORT}
    assert not session.machine.reusable


@pytest.mark.parametrize("how", ["eof", "lost"])
def test_a_connection_that_is_lost_before_the_request_was_sent(how):
    session = make_client()
    key = session.machine.open_stream(0.0)
    session.eof() if how == "eof" else session.take(session.machine.transport_lost(RESET, 0.0))

    assert session.failure(key).retry_type is YES
    assert session.failure(key).unprocessed


def test_every_stream_has_an_error_of_its_own():
    """Errors are changed by who holds them: sharing one would tell all what one decided."""
    session = make_client()
    keys = [ask(session), ask(session)]
    session.eof()
    first, second = (session.failure(key) for key in keys)
    first.decide_reuse(True)

    assert first is not second
    assert second.retry_type is REUSED


def test_no_ping_is_answered():
    session = make_client(options={"ping_interval": 5.0})
    key = ask(session)
    session.wait(5.0 + 5.0)

    assert session.failure(key).etype is ErrorType.CUSTOM
    assert session.failure(key).type_str == "PingTimedout"
    assert not session.machine.accepting


def test_goaway_that_takes_its_word_back():
    """RFC 9113 section 6.8: the last id must not grow; whoever was refused stays refused."""
    session = make_client()
    keys = [ask(session), ask(session)]
    session.deliver(session.peer.leave(1))
    session.deliver(session.peer.leave(LARGEST))

    assert session.failure(keys[1]).unprocessed
    assert not session.machine.accepting


def test_goaway_behind_an_answer():
    session = make_client()
    key = ask(session)
    session.deliver(session.peer.response(1, 200), session.peer.leave(0))

    assert [event[1] for event in session.of(key)] == ["response"]
    assert session.failure(key) is None


def test_an_origin_that_allows_no_streams_is_not_an_origin_that_leaves():
    session = make_client({Set.STREAMS: 0})

    assert session.machine.open_stream(0.0) is None
    assert session.machine.accepting
    assert not session.machine.reusable
    assert session.closed is None
