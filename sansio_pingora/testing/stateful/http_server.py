"""A server of HTTP/1, asked and answered."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sansio_pingora.machine import AT_ONCE
from sansio_pingora.session import ServerConnection
from sansio_pingora.testing.contracts import check_contract
from sansio_pingora.testing.feeding import Feedable, drain
from sansio_pingora.testing.reader import StrictReader
from sansio_pingora.testing.strategies import http1_requests
from sansio_pingora.wire import Body, Failed, Header, RequestHeader, ResponseHeader, UpgradedBody

__all__ = ["HttpServerMachine"]

_BODIES = st.lists(st.binary(min_size=1, max_size=3), max_size=2)


class HttpServerMachine(RuleBasedStateMachine):
    """A server of HTTP/1: each request is told once and in order, each answer goes out once, in order and canonical.

    Time passes only as far as keeps a client within the time-outs of ``Limits()``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.connection: Feedable = self.make()
        check_contract(self.connection, Feedable, f"{type(self).__name__}.make() returned")
        self.reader = StrictReader(requests=False)
        self.sent = 0
        """Requests that were delivered whole."""
        self.complete: list[int] = []
        """Streams whose request was told to its end, in that order."""
        self.answered = 0
        self._heads: dict[int, bytes] = {}

    def make(self) -> Feedable:
        """The connection under test."""
        return ServerConnection(now=0.0)

    def deliver(self, data: bytes) -> None:
        """Give *data* to the connection, and take what it tells and sends."""
        self.take(self.connection.receive_data(data, self.now))
        while self.connection.deadline == AT_ONCE and not self.connection.closing:
            self.take(self.connection.handle_timeout(self.now))

    def take(self, events: Sequence[tuple[int, object]]) -> None:
        """Events of the connection."""
        for stream, value in events:
            assert not isinstance(value, Failed), f"a legal request failed: {value!r}"
            if isinstance(value, Header) and isinstance(value.head, RequestHeader):
                assert stream not in self._heads, "a second head of the same request"
                self._heads[stream] = value.head.method
            if isinstance(value, Body | UpgradedBody):
                self.connection.consumed(stream, len(value.data), self.now)
            if stream in self._heads and getattr(value, "end", type(value).__name__ in ("Trailer", "Done")):
                assert stream not in self.complete, "a request that ended twice"
                self.complete.append(stream)
        self.collect()

    def collect(self) -> None:
        """Read what the connection has put out."""
        self.reader.feed(drain(self.connection))

    @precondition(lambda self: self.sent - self.answered < 4)
    @rule(raw=http1_requests(keep_alive=True, max_fields=1), places=st.lists(st.integers(1, 4_096), max_size=3))
    def ask(self, raw: bytes, places: list[int]) -> None:
        """A client sends a request, perhaps before the last one was answered."""
        self.sent += 1
        bounds = sorted({0, len(raw), *(place % len(raw) for place in places)})
        for start, end in pairwise(bounds):
            self.deliver(raw[start:end])

    @precondition(lambda self: self.answered < len(self.complete))
    @rule(status=st.sampled_from([200, 204, 304, 404]), body=_BODIES, chunked=st.booleans(), bare=st.booleans())
    def answer(self, status: int, body: list[bytes], chunked: bool, bare: bool) -> None:
        """The application answers the oldest request; where HTTP has no body, it sends none, or as to any GET."""
        stream = self.complete[self.answered]
        self.answered += 1
        method = self._heads[stream]
        bodiless = method == b"HEAD" or status in (204, 304)
        whole = b"".join(body)
        self.reader.methods.append(method)
        fields = [] if chunked else [("Content-Length", str(len(whole)))]
        self.connection.send(stream, Header(ResponseHeader(status, fields), bare and bodiless), self.now)
        if not (bare and bodiless):
            for piece in body:
                self.connection.send(stream, Body(piece), self.now)
            self.connection.send(stream, Body(b"", True), self.now)
        self.take(self.connection.handle_timeout(self.now))
        assert len(self.reader.messages) == self.answered, "the answer is not whole"
        answer = self.reader.messages[-1]
        assert (answer.status, bytes(answer.body)) == (status, b"" if bodiless else whole)

    @rule(seconds=st.floats(0.0, 1.0))
    def wait(self, seconds: float) -> None:
        """Time passes, up to the next deadline."""
        if self.connection.deadline > self.now + seconds:
            self.now += seconds
        self.take(self.connection.handle_timeout(self.now))

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        """Whatever came whole was told, the next in line when the one before it is answered; answers are whole."""
        assert self.answered <= len(self.complete) <= self.sent
        if self.answered < self.sent:
            assert len(self.complete) > self.answered, "a request that came whole was not told"
        assert self.complete == sorted(self.complete)
        assert len(self.reader.messages) == self.answered
        assert self.reader.message is None, "something is behind the answers"
