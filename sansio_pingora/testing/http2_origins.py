"""An origin of HTTP/2 for the simulator: our own application, answering correctly, late, early, or not to the end."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from sansio_pingora.apps import HttpOptions, HttpServerApp, HttpService
from sansio_pingora.errors import Error
from sansio_pingora.session import Drain, ReadBody, ServerSession, Sleep
from sansio_pingora.testing.ledger import token_of
from sansio_pingora.wire import Fields, ResponseHeader

if TYPE_CHECKING:
    from sansio_pingora.limits import Limits
    from sansio_pingora.machine import Application
    from sansio_pingora.testing.faults import Faults
    from sansio_pingora.testing.ledger import Answered, Ledger
    from sansio_pingora.testing.prng import Random

__all__ = ["http2_origin"]


def http2_origin(ledger: Ledger, limits: Limits, rng: Random, faults: Faults, misbehaves: float) -> Application:
    """The origin as an application; *misbehaves* is how likely an answer is wrong."""
    return HttpService(_Origin(ledger, rng, faults, misbehaves), limits, HttpOptions(h2c=True))


class _Origin(HttpServerApp):
    def __init__(self, ledger: Ledger, rng: Random, faults: Faults, misbehaves: float) -> None:
        self._ledger = ledger
        self._rng = rng
        self._faults = faults
        self._misbehaves = misbehaves

    def process_new_http(self, session: ServerSession) -> Generator[Any, Any, None]:
        head = session.req_header
        assert head is not None  # an exchange begins with a head
        rng = self._rng
        answered = self._ledger.answer(token_of(head.target))
        answered.status = 200
        size = rng.weighted([(4, 40), (3, 600), (2, 6_000), (1, 150_000)])
        answered.body = (b"%b;" % answered.token * (size // (len(answered.token) + 1) + 1))[: rng.below(size)]
        early = rng.chance(self._misbehaves * 0.3)
        if early:
            self._faults.count("h2 origin answers early")
        else:
            while (yield ReadBody()) is not None:
                pass
        if rng.chance(0.3):
            yield Sleep(rng.uniform(0.0, 0.3))
        yield from self._answer(session, answered, head.method)

    def _answer(self, session: ServerSession, answered: Answered, method: bytes) -> Generator[Any, Any, None]:
        rng = self._rng
        fields = [(b"x-token", answered.token), (b"x-answer", b"%d" % answered.number)]
        if rng.chance(0.2):
            session.write_response_header(ResponseHeader(103, [("link", "</a>")]))
        body = answered.body
        if method == b"HEAD":
            session.write_response_header(ResponseHeader(200, [*fields, (b"content-length", b"%d" % len(body))]), True)
            answered.body, answered.complete = b"", True
            return
        if rng.chance(0.5):
            fields.append((b"content-length", b"%d" % len(body)))
        session.write_response_header(ResponseHeader(200, fields))
        stops = rng.below(len(body)) if body and rng.chance(self._misbehaves * 0.5) else None
        while body:
            size = 1 + rng.below(20_000)
            if stops is not None and len(answered.body) - len(body) + size > stops:
                self._faults.count("h2 origin resets a stream")
                session.shutdown(Error.custom("OnPurpose", "the simulator's origin gives up"))
                return
            if session.write_response_body(body[:size]) <= 0:
                yield Drain()
            body = body[size:]
        answered.complete = True
        if rng.chance(0.3) and session.closed is None and session.response_written is not None:
            if not session.response_done:
                session.write_response_trailers(Fields([("x-sum", answered.token)]))
        else:
            session.finish_body()
