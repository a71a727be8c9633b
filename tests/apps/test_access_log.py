"""The option ``access_log``: told of every exchange of every application, and of heads that are refused."""

from __future__ import annotations

import pytest

from sansio_pingora import ProxyHttp, Response
from sansio_pingora._serve import make_application
from sansio_pingora.apps import Metrics, OriginApp
from sansio_pingora.errors import Error
from tests.adapters.harness import GET, client, served, until


class Refusing(ProxyHttp):
    def upstream_peer(self, session, ctx):
        raise Error.http_status(403, "nobody")


@pytest.mark.parametrize(
    "app", [OriginApp(), lambda request: Response(200, body=b"ok"), Refusing()], ids=lambda a: type(a).__name__
)
def test_every_exchange_is_told_of(app):
    told: list[tuple[bytes | None, int | None, int | None]] = []

    def log(session, error):
        head, answer = session.req_header, session.response_written
        told.append((head and head.target, answer and answer.status, error and error.status))

    metrics = Metrics()
    with served(app, "threads", access_log=log, metrics=metrics.service("a")) as server:
        with client(server.address) as peer:
            peer.send(GET)
            status = peer.status()
        with client(server.address) as peer:
            peer.send(b"GET / HTTP/1.1\r\n\r\n")
            assert peer.status() == 400
        until(lambda: len(told) == 2)
    assert told == [(b"/", status, None), (None, None, 400)]
    samples = {family.name: family.samples for family in metrics.collect()}
    assert [value for _, _, value in samples["sansio_pingora_http_requests_refused"]] == [1]


@pytest.mark.parametrize("app", [OriginApp(), Refusing()], ids=lambda a: type(a).__name__)
def test_one_that_raises_costs_nobody_an_answer(app, caplog):
    def log(session, error):
        raise KeyError("no such column")

    with served(app, "threads", access_log=log) as server:
        for _ in range(3):
            with client(server.address) as peer:
                peer.send(GET)
                assert peer.status() in (200, 403)
    [record] = [record for record in caplog.records if "access_log raised" in record.message]
    assert "no such column" in record.message
    assert "test_access_log.py" in record.message  # where


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="'access_log' is called with a session and an error"):
        make_application(OriginApp(), {"access_log": "access.log"})
