"""The page on errors: every block runs and does what it says, and its table of statuses is the code's."""

from __future__ import annotations

import pytest

from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.proxy.verdicts import error_status
from tests.pages import blocks, page, run_blocks
from tests.proxy.harness import GET, Bench, status_of

PAGE = page("errors.md")


@pytest.fixture(scope="module")
def names():
    import logging

    logger = logging.getLogger("sansio_pingora")
    before = list(logger.handlers)
    found = run_blocks("errors.md", blocks(PAGE))
    logger.handlers[:] = before
    return found


@pytest.mark.parametrize(("key", "status"), [(b"", 401), (b"X-Key: old\r\n", 403), (b"X-Key: new\r\n", None)])
def test_errors_of_callbacks(names, key, status):
    bench = Bench(names["Strict"]())
    client = bench.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + key + b"\r\n")
    if status is None:
        assert bench.origin.take()
    else:
        assert status_of(client.take()) == status


def test_exceptions(names):
    bench = Bench(names["Careless"]())
    client = bench.client()
    client.send(GET)
    assert status_of(client.take()) == 500
    assert names["Careless"].seen == [(True, KeyError)]
    bench.assert_clean()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Error(ErrorType.READ_TIMEDOUT, esource=ErrorSource.UPSTREAM), 504),
        (Error(ErrorType.CONNECT_REFUSED, esource=ErrorSource.UPSTREAM), 502),
        (Error(ErrorType.READ_TIMEDOUT, esource=ErrorSource.DOWNSTREAM), 408),
        (Error(ErrorType.INVALID_HTTP_HEADER, esource=ErrorSource.DOWNSTREAM), 400),
        (Error(ErrorType.CONNECTION_CLOSED, esource=ErrorSource.DOWNSTREAM), None),
        (Error(ErrorType.INTERNAL_ERROR, esource=ErrorSource.INTERNAL), 500),
        (Error.http_status(418), 418),
    ],
)
def test_the_table_of_statuses(error, status):
    assert error_status(error) == status
    assert status in {None, 418} or f"| {status}" in PAGE
