"""One check of one backend, under way: through the same connector, pool and engines as requests."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from sansio_pingora.balancing.backend import Backend
from sansio_pingora.balancing.health import HealthCheck, HttpHealthCheck
from sansio_pingora.connectors import Connector, Lease
from sansio_pingora.errors import Error, ErrorSource, ErrorType
from sansio_pingora.machine import ConnectionClosed, Lane
from sansio_pingora.session import Await, Routines, Sleep, forwarded_request
from sansio_pingora.wire import Body, Failed, Header, ResponseHeader

__all__ = ["Probe"]

Finding = Callable[["Error | None", float], None]


class Probe(Routines):
    """Checks *backend*, then tells *found*: None for good, or what is wrong."""

    __slots__ = ("_backend", "_check", "_connector", "_found", "_head", "_lease", "_pool_token", "_size", "_wanted")

    def __init__(
        self, lane: Lane, connector: Connector, check: HealthCheck, backend: Backend, found: Finding, now: float
    ) -> None:
        super().__init__(lane, now)
        self._connector = connector
        self._check = check
        self._backend = backend
        self._found: Finding | None = found
        self._lease: Lease | None = None
        self._pool_token = 0
        self._head: ResponseHeader | None = None
        self._size = 0
        self._wanted = 0

    def begin(self) -> None:
        """Begin, and find out in time."""
        story = self._story()
        self.start(story, self._ended)
        if self._found is not None:
            self.start(self._watch(story))

    def cancel(self, now: float) -> None:
        """Nobody wants to know any more."""
        self.now = now
        self._found = None
        self._let_go()
        self.stop_routines()

    def _watch(self, story: Generator[Any, Any, None]) -> Generator[Any, Any, None]:
        yield Sleep(self._check.timeout)
        text = f"not complete within {self._check.timeout:g} s"
        self.interrupt(story, Error(ErrorType.READ_TIMEDOUT, text, esource=ErrorSource.UPSTREAM))

    def _story(self) -> Generator[Any, Any, None]:
        check, connector = self._check, self._connector
        token = self.new_token()
        lease = connector.acquire(check.peer(self._backend), self, token, self.now)
        if lease is None:
            self._pool_token = token
            lease = yield Await(token)
            self._pool_token = 0
        self._lease = lease
        reuse = False
        if isinstance(check, HttpHealthCheck):
            yield from self._exchange(check, lease)
            reuse = check.reuse_connection
        self._lease = None
        connector.release(lease, self.now, reuse=reuse)

    def _exchange(self, check: HttpHealthCheck, lease: Lease) -> Generator[Any, Any, None]:
        lease.listen(self)
        request = forwarded_request(check.head(), lease.connection.version)
        lease.connection.send(lease.stream_id, Header(request, True), self.now)
        self._wanted = self.new_token()
        yield Await(self._wanted)
        assert self._head is not None  # a message has one
        check.judge(self._head)

    def receive_event(self, stream_id: int, value: Any, now: float) -> None:
        """An event of the connection."""
        lease = self._lease
        kind = type(value)
        if lease is None or stream_id != lease.stream_id or kind is ConnectionClosed:
            return
        wanted = self._wanted
        if kind is Failed:
            self.fail(wanted, value.error.into_up(), now)
            return
        if kind is Header:
            self._head = value.head
        elif kind is Body:
            self._size += len(value.data)
            check = self._check
            if isinstance(check, HttpHealthCheck) and self._size > check.max_body:
                self.fail(wanted, Error.custom(f"an answer of more than {check.max_body} bytes").into_up(), now)
                return
            lease.connection.consumed(stream_id, len(value.data), now)
        if getattr(value, "end", False):
            self.resume(wanted, None, now)

    def _ended(self, _: Any, error: Error | None) -> None:
        found, self._found = self._found, None
        self._let_go()
        self.stop_routines()
        if found is not None:
            found(error, self.now)

    def _let_go(self) -> None:
        if self._pool_token:
            self._connector.cancel(self, self._pool_token, self.now)
            self._pool_token = 0
        if self._lease is not None:
            lease, self._lease = self._lease, None
            self._connector.release(lease, self.now, reuse=False)
