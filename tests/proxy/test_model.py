"""Whatever happens, in whatever order: each exchange is logged once, nothing is left, nobody gets another's bytes."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.session import Call, Sleep, blocking
from sansio_pingora.upstreams import HttpPeer
from tests.proxy.harness import HANGING, ORIGIN, App, Bench, dechunk, head_of, inbox

PHASES = [
    "early_request_filter",
    "request_filter",
    "upstream_peer",
    "connected_to_upstream",
    "upstream_request_filter",
    "request_body_filter",
    "upstream_response_filter",
    "upstream_response_body_filter",
    "response_filter",
    "response_body_filter",
    "fail_to_proxy",
    "logging",
]
SIZES = [0, 1, 3000, 70_000]


def request_body(number):
    return bytes([97 + number % 26]) * SIZES[number % len(SIZES)]


def response_body(number):
    return b"<%d>" % number + bytes([65 + number % 26]) * SIZES[(number // 2) % len(SIZES)]


def request(number):
    body = request_body(number)
    method = (b"GET", b"PUT", b"POST")[number % 3] if not body else (b"PUT", b"POST")[number % 2]
    head = b"%b /%d HTTP/1.1\r\nHost: a\r\n" % (method, number)
    if not body:
        return head + b"\r\n"
    if number % 5 == 0:
        return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def response(number):
    body = response_body(number)
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n" if number % 4 == 0 else b""
    if number % 2:
        return early + b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    return early + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def callback(phase, form, fails):
    """A filter that waits in its form, and fails now and then."""

    def act(self, *args):
        self.calls += 1
        if fails and self.calls % fails == 0:
            raise ValueError("a bug") if self.calls % 2 else Error.http_status(429).with_retry(True)
        if phase == "upstream_peer":
            return HttpPeer(ORIGIN)
        if phase == "fail_to_proxy":
            return 502
        if phase == "logging":
            App.logging(self, *args)
        return None

    def generator(self, *args):
        yield Sleep(0.5)
        yield Call(lambda: None)
        return act(self, *args)

    async def coroutine(self, *args):
        await Sleep(0.5)
        await Call(lambda: None)
        return act(self, *args)

    if form == "blocking":
        return blocking(act)
    return {"plain": act, "generator": generator, "async": coroutine}[form]


class FarEnd:
    """The origin's side of one connection: what it was asked, and what it has not said yet."""

    def __init__(self, wire):
        self.wire = wire
        self.unsaid = b""

    def listen(self):
        """Understand every request that has come whole."""
        while b"\r\n\r\n" in self.wire.got:
            start, fields, rest = head_of(self.wire.got)
            number = int(start.split(b" ")[1][1:])
            if b"transfer-encoding" in fields:
                try:
                    body, rest = dechunk(rest)
                except ValueError:
                    return
                rest = rest[2:]
            else:
                size = int(fields.get(b"content-length", b"0"))
                if len(rest) < size:
                    return
                body, rest = rest[:size], rest[size:]
            assert body == request_body(number)
            self.wire.got[:] = rest
            self.unsaid += response(number)


class AnyOrder(RuleBasedStateMachine):
    """One client connection at a time, through one proxy."""

    @initialize(
        forms=st.fixed_dictionaries(
            {}, optional={phase: st.sampled_from(["plain", "blocking", "generator", "async"]) for phase in PHASES}
        ),
        fails=st.sampled_from([0, 0, 3, 7]),
        marks=st.booleans(),
        hold=st.booleans(),
        unlogged=st.sampled_from([1, 2, 100]),
    )
    def begin(self, forms, fails, marks, hold, unlogged):
        members = {phase: callback(phase, form, fails if phase != "logging" else 0) for phase, form in forms.items()}
        if marks:
            members["fail_to_connect"] = lambda self, session, peer, ctx, error: error.with_retry(True)
            members["error_while_proxy"] = lambda self, peer, session, error, ctx, reused: error.with_retry(True)
        app = type("Made", (App,), {**members, "calls": 0})()
        self.bench = Bench(app, max_retries=3, keepalive_timeout=50.0, max_unlogged=unlogged)
        self.bench.hold_filters = hold
        self.far_ends = []
        self.number = 0
        self.clients = []
        self.new_client()

    def new_client(self):
        self.client = self.bench.client()
        self.clients.append((self.client, self.number))
        self.unsent = b""
        self.ended = False

    def teardown(self):
        if not hasattr(self, "bench"):
            return
        bench = self.bench
        self.client.reset()
        bench.hold_filters = False
        for _ in range(50):
            for held in list(bench.pending):
                if held in bench.pending:
                    held.run()
            bench.advance(100)
        assert not bench.pending
        logged = Counter(id(session) for session, _ in bench.app.ended)
        assert set(logged.values()) <= {1}
        assert {id(exchange.session) for exchange in bench.exchanges} <= set(logged)
        refused = sum(session.req_header is None for session, _ in bench.app.ended)
        assert len(bench.app.ended) == len(bench.exchanges) + refused
        assert len(bench.errors) <= len(bench.exchanges) + refused
        bench.assert_clean()

    # ── the client ───────────────────────────────────────────────────────────────────

    @rule(count=st.integers(1, 3), size=st.sampled_from([40, 1000, 100_000, 10**9]))
    def client_asks(self, count, size):
        if not self.client.alive or self.ended:
            self.new_client()
        for _ in range(count):
            self.unsent += request(self.number)
            self.number += 1
        self.say(size)

    @rule(size=st.sampled_from([10, 1000, 100_000, 10**9]))
    def client_goes_on(self, size):
        self.say(size)

    def say(self, size):
        if self.client.alive and not self.ended:
            piece, self.unsent = self.unsent[:size], self.unsent[size:]
            self.client.send(piece)

    @rule()
    def client_talks_nonsense(self):
        if self.client.alive and not self.ended and not self.unsent:
            self.client.send(b"nonsense\r\n\r\n")
            self.ended = True

    @rule(how=st.sampled_from(["eof", "reset", "lose"]))
    def client_leaves(self, how):
        if self.client.alive and not self.ended:
            self.ended = True
            if how == "lose":
                self.client.lose(None)
            else:
                getattr(self.client, how)()

    @rule(size=st.sampled_from([0, 10, 5000, None]))
    def client_reads(self, size):
        self.client.open_window(size)

    # ── the origin ───────────────────────────────────────────────────────────────────

    def listen(self):
        while len(self.far_ends) < len(self.bench.origins):
            self.far_ends.append(FarEnd(self.bench.origins[len(self.far_ends)]))
        for far_end in self.far_ends:
            far_end.listen()

    @rule(size=st.sampled_from([1, 30, 1000, 10**9]))
    def origin_answers(self, size):
        self.listen()
        for far_end in self.far_ends:
            if far_end.unsaid and far_end.wire.alive:
                piece, far_end.unsaid = far_end.unsaid[:size], far_end.unsaid[size:]
                far_end.wire.send(piece)

    @rule(how=st.sampled_from(["eof", "reset", "junk"]))
    def origin_misbehaves(self, how):
        self.listen()
        if self.far_ends and self.far_ends[-1].wire.alive:
            far_end = self.far_ends[-1]
            if how != "junk":
                far_end.unsaid = b""
                getattr(far_end.wire, how)()
            elif not far_end.unsaid:  # amid an answer it would be taken for a part of it
                far_end.wire.send(b"junk\r\n\r\n")

    @precondition(lambda self: not self.bench.dial_outcomes)
    @rule(outcome=st.sampled_from(["refused", "hanging"]))
    def next_dial_fails(self, outcome):
        refused = Error(ErrorType.CONNECT_REFUSED, "nobody listens")
        self.bench.dial_outcomes.append(refused if outcome == "refused" else HANGING)

    # ── in between ───────────────────────────────────────────────────────────────────

    @precondition(lambda self: self.bench.pending)
    @rule(data=st.data())
    def a_filter_is_done(self, data):
        data.draw(st.sampled_from(self.bench.pending)).run()

    @rule(seconds=st.sampled_from([0.1, 0.6, 0.6, 0.6, 2.0, 70.0]))
    def time_passes(self, seconds):
        self.bench.advance(seconds)

    @invariant()
    def answers_are_whole_or_cut_and_in_order(self):
        if not hasattr(self, "bench"):
            return
        for client, first in self.clients:
            rest, number = bytes(client.got), first
            while b"\r\n\r\n" in rest:
                start, fields, rest = head_of(rest)
                if start.startswith(b"HTTP/1.1 1"):
                    continue
                if not start.startswith(b"HTTP/1.1 200 "):
                    assert fields[b"content-length"] == b"0"
                elif b"transfer-encoding" in fields:
                    try:
                        body, rest = dechunk(rest)
                    except ValueError:
                        break
                    assert body == response_body(number)
                    rest = rest[2:]
                else:
                    size = int(fields[b"content-length"])
                    assert response_body(number).startswith(rest[:size])
                    rest = rest[size:]
                number += 1

    @invariant()
    def nothing_piles_up(self):
        if hasattr(self, "bench"):
            most = self.bench.limits.max_unlogged
            assert all(
                client.endpoint.receiver._exchanges.unlogged <= most for client, _ in self.clients if client.alive
            )
            for exchange in self.bench.exchanges:
                for direction in ("request", "response"):
                    assert inbox(exchange, direction) <= 65_536 + 100_000


AnyOrder.TestCase.settings = settings(stateful_step_count=40)
TestAnyOrder = AnyOrder.TestCase
