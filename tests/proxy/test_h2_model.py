"""Many streams in any order, over connections that are shared: nobody gets another's bytes, nothing is left behind."""

from __future__ import annotations

from collections import Counter

import h2.exceptions
from h2.settings import SettingCodes
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.http2 import ErrorCode
from tests.proxy.ends import H1Origin, World
from tests.proxy.harness import HANGING, inbox

SIZES = [0, 1, 3000, 70_000]
PICK = st.integers(0, 99)


def body_of(kind: bytes, number: int) -> bytes:
    """Told apart by its first bytes and by all others."""
    size = SIZES[(number if kind == b"q" else number // 3) % len(SIZES)]
    return (b"%b%d." % (kind, number) + bytes([97 + number % 26]) * size)[: max(size, 8)]


class Asked:
    """A request of the client, and how much of it was said."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.body = body_of(b"q", number) if number % 3 else b""
        self.said = 0
        self.over = False


class ManyStreams(RuleBasedStateMachine):
    """One client connection at a time, with many streams."""

    @initialize(
        origin=st.sampled_from(["h1", "h2", "h2"]),
        streams=st.sampled_from([1, 2, 100]),
        cap=st.sampled_from([None, None, 1, 2]),
        window=st.sampled_from([65_535, 65_535, 1000, 0]),
        budget=st.sampled_from([1 << 20, 100_000]),
    )
    def begin(self, origin, streams, cap, window, budget):
        self.world = World(
            ("h2", origin),
            streams=streams,
            client_settings={SettingCodes.INITIAL_WINDOW_SIZE: window},
            max_per_peer=cap,
            h2_send_buffer=budget,
            max_retries=3,
        )
        self.asked: dict[tuple[int, int], Asked] = {}  # by client and stream
        self.clients = [self.world.client]
        self.number = 0
        self.answered: dict[tuple[int, int], int] = {}  # by origin and stream: bytes of the answer said

    # ── the client ───────────────────────────────────────────────────────────────────

    @property
    def client(self):
        return self.clients[-1]

    def live(self) -> bool:
        self.client.flush()
        return self.client.wire.alive and not self.client.ended

    @rule(count=st.integers(1, 5), share=st.sampled_from([0, 100, 10**9]))
    def client_asks(self, count, share):
        if not self.live():
            self.world.client = self.world.new_client()
            self.clients.append(self.world.client)
        for _ in range(count):
            asked = Asked(self.number)
            self.number += 1
            if sum(message.state in ("none", "open") for message in self.client.messages.values()) >= 90:
                return
            method = b"PUT" if asked.number % 2 else b"POST"
            stream = self.client.ask(
                method if asked.body else b"GET",
                b"/%d" % asked.number,
                body=b"" if asked.body else None,
                length=len(asked.body) if asked.number % 5 else False,
                end=not asked.body,
            )
            asked.over = not asked.body
            self.asked[len(self.clients), stream] = asked
            self.say(stream, asked, share)

    def say(self, stream, asked, share):
        client = self.client
        while share > 0 and not asked.over and client.messages[stream].state in ("none", "open"):
            try:
                room = min(client.h2.local_flow_control_window(stream), 16_384, share)
            except h2.exceptions.ProtocolError:
                return  # it was reset meanwhile
            if room <= 0:
                return
            piece = asked.body[asked.said : asked.said + room]
            asked.said += len(piece)
            asked.over = asked.said == len(asked.body)
            share -= len(piece)
            client.more(piece, end=asked.over, stream=stream)

    @rule(pick=PICK, share=st.sampled_from([10, 1000, 10**9]))
    def client_goes_on(self, pick, share):
        waiting = [(at, asked) for at, asked in self.asked.items() if at[0] == len(self.clients) and not asked.over]
        if waiting and self.live():
            (_, stream), asked = waiting[pick % len(waiting)]
            self.say(stream, asked, share)

    @rule(pick=PICK)
    def client_resets(self, pick):
        waiting = [at for at in self.asked if at[0] == len(self.clients)]
        if waiting and self.live():
            _, stream = waiting[pick % len(waiting)]
            if self.client.messages[stream].state in ("none", "open"):
                self.asked[len(self.clients), stream].over = True
                self.client.messages[stream].state = "cut"
                self.client.reset(stream=stream)

    @rule(size=st.sampled_from([1, 5000, 100_000]))
    def client_opens_windows(self, size):
        if self.live():
            self.client.open_window(size)

    @rule(how=st.sampled_from(["eof", "reset"]))
    def client_leaves(self, how):
        if self.live():
            self.client.ended = True
            getattr(self.client.wire, how)()

    # ── the origins ──────────────────────────────────────────────────────────────────

    def requests(self):
        """What waits for more of its answer: origin, stream, message."""
        found = []
        for index, origin in enumerate(self.world.origins):
            if not origin.wire.alive:
                continue
            if isinstance(origin, H1Origin):
                message = origin.request
                if message.start and message.state in ("open", "whole"):
                    found.append((index, 0, message))
                continue
            origin.flush()
            found += [
                (index, stream, message)
                for stream, message in origin.messages.items()
                if message.code is None and message.start and (index, stream) not in self.answered_whole
            ]
        return found

    @property
    def answered_whole(self):
        return {at for at, said in self.answered.items() if said < 0}

    @rule(pick=PICK, share=st.sampled_from([0, 30, 16_000, 10**9]), early=st.booleans(), length=st.booleans())
    def origin_answers(self, pick, share, early, length):
        waiting = self.requests()
        if not waiting:
            return
        index, stream, message = waiting[pick % len(waiting)]
        origin = self.world.origins[index]
        number = int(message.start[1][1:])
        body = body_of(b"r", number)
        if isinstance(origin, H1Origin):
            if message.state == "whole" or early:
                origin.wire.take()
                origin.answer(body=body, length=length)
            return
        at = (index, stream)
        if at not in self.answered:
            if message.state != "whole" and not early:
                return
            if number % 4 == 0:
                origin.stream = stream
                origin.inform(103)
            origin.answer(body=b"", length=len(body) if length else False, end=False, stream=stream)
            self.answered[at] = 0
        while share > 0 and message.code is None and self.answered[at] >= 0:
            room = min(origin.h2.local_flow_control_window(stream), 16_384, share)
            if room <= 0:
                return
            said = self.answered[at]
            piece = body[said : said + room]
            share -= len(piece)
            last = said + len(piece) == len(body)
            self.answered[at] = -1 if last else said + len(piece)
            origin.more(piece, end=last, stream=stream)

    @rule(pick=PICK, code=st.sampled_from([ErrorCode.REFUSED_STREAM, ErrorCode.CANCEL, ErrorCode.INTERNAL_ERROR]))
    def origin_resets(self, pick, code):
        waiting = [found for found in self.requests() if found[1]]
        if waiting:
            index, stream, message = waiting[pick % len(waiting)]
            if code is ErrorCode.REFUSED_STREAM and (index, stream) in self.answered:
                code = ErrorCode.CANCEL
            message.code = code
            self.world.origins[index].reset(code, stream=stream)

    @rule(pick=PICK, how=st.sampled_from(["goes", "lost", "eof"]))
    def origin_leaves(self, pick, how):
        alive = [origin for origin in self.world.origins if origin.wire.alive and not origin.ended]
        if not alive:
            return
        origin = alive[pick % len(alive)]
        if how == "lost":
            origin.wire.reset()
        elif how == "eof":
            origin.wire.eof()
        elif isinstance(origin, H1Origin):
            return
        else:
            origin.flush()
            last = max(origin.messages, default=0)
            payload = last.to_bytes(4, "big") + bytes(4)
            origin.wire.send(len(payload).to_bytes(3, "big") + b"\x07\x00" + bytes(4) + payload)
            origin.flush()

    @precondition(lambda self: not self.world.bench.dial_outcomes)
    @rule(outcome=st.sampled_from(["refused", "hanging"]))
    def next_dial_fails(self, outcome):
        refused = Error(ErrorType.CONNECT_REFUSED, "nobody listens")
        self.world.bench.dial_outcomes.append(refused if outcome == "refused" else HANGING)

    @rule(seconds=st.sampled_from([0.1, 0.5, 2.0, 6.0, 70.0]))
    def time_passes(self, seconds):
        self.settle()
        self.world.bench.advance(seconds)

    # ── what holds ───────────────────────────────────────────────────────────────────

    def settle(self):
        self.world.settle()

    @invariant()
    def nobody_gets_anothers_bytes(self):
        if not hasattr(self, "world"):
            return
        self.settle()
        for (index, stream), asked in self.asked.items():
            message = self.clients[index - 1].messages[stream]
            if message.status == 200:
                body = body_of(b"r", asked.number)
                assert body.startswith(message.body)
                assert message.state != "whole" or message.body == body
            elif message.status is not None:
                assert message.status in (408, 502, 504)
                assert message.body == b""
        for origin in self.world.origins:
            for message in [origin.request] if isinstance(origin, H1Origin) else origin.messages.values():
                if message.start:
                    number = int(message.start[1][1:])
                    body = body_of(b"q", number) if number % 3 else b""
                    assert body.startswith(message.body)
                    assert message.state != "whole" or message.body == body

    @invariant()
    def nothing_piles_up(self):
        if hasattr(self, "world"):
            for exchange in self.world.bench.exchanges:
                for direction in ("request", "response"):
                    assert inbox(exchange, direction) <= 262_144 + 65_536

    def teardown(self):
        if not hasattr(self, "world"):
            return
        bench = self.world.bench
        for client in self.clients:
            if client.wire.alive:
                client.wire.reset()
        for _ in range(20):
            self.settle()
            bench.advance(100)
        logged = Counter(id(session) for session, _ in bench.app.ended)
        assert set(logged.values()) <= {1}
        assert {id(exchange.session) for exchange in bench.exchanges} <= set(logged)
        assert all(client.goaway in (None, ErrorCode.NO_ERROR) for client in self.clients)
        bench.assert_clean()
        assert not self.world.bench.connector._free.by_key


ManyStreams.TestCase.settings = settings(stateful_step_count=40)
TestManyStreams = ManyStreams.TestCase
