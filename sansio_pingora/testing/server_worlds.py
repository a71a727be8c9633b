"""Worlds about the life of a server: signals, failing services and hand-overs, while clients are busy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sansio_pingora.apps import HttpOptions, HttpServerApp, HttpService, WebSocketApp, serve_websocket
from sansio_pingora.limits import Limits
from sansio_pingora.server import ShutdownSignal
from sansio_pingora.services import FailurePolicy
from sansio_pingora.session import ReadBody, Sleep
from sansio_pingora.testing.conversations import plan_websocket
from sansio_pingora.testing.http2_clients import Http2Client, plan_http2_client
from sansio_pingora.testing.http_oracles import Case
from sansio_pingora.testing.ledger import Ledger
from sansio_pingora.testing.link import LinkProfile
from sansio_pingora.testing.oracles import NoTimerlessWait, Oracle, Termination
from sansio_pingora.testing.reader import StrictReader
from sansio_pingora.testing.sim_server import EDGE, Door, Meeting, Process, ServerPlan
from sansio_pingora.testing.talkers import TalkClient
from sansio_pingora.testing.weather import Weather
from sansio_pingora.testing.world import World
from sansio_pingora.wire import ResponseHeader

if TYPE_CHECKING:
    from sansio_pingora.errors import Error
    from sansio_pingora.testing.conversations import Conversation
    from sansio_pingora.testing.driver import Driver
    from sansio_pingora.testing.link import End
    from sansio_pingora.testing.prng import Random

__all__ = ["build_server_world", "is_about_servers"]

SERVER = "10.0.0.2:80"
_CLIENTS_COME = 6.0
"""Seconds: a server is mostly up by then."""
_TERM, _INT, _QUIT = ShutdownSignal.GRACEFUL_TERMINATE, ShutdownSignal.FAST_SHUTDOWN, ShutdownSignal.GRACEFUL_UPGRADE


def is_about_servers(seed: int) -> bool:
    """Whether the world of *seed* is one of these: one of ten."""
    return seed % 10 == 7


class _Echo(WebSocketApp):
    deflate = False

    def on_message(self, ws: Any, message: str | bytes) -> None:
        if message == "close":
            ws.close(4001, "as you wish")
        else:
            ws.send(message)


class _App(HttpServerApp):
    """Answers with what it got, in its own time."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def process_new_http(self, session: Any) -> Any:
        if session.req_header.target.startswith(b"/ws"):
            return serve_websocket(session, _Echo())
        return self._answer(session)

    def _answer(self, session: Any) -> Any:
        body = bytearray()
        while (data := (yield ReadBody())) is not None:
            body += data
        yield Sleep(self._rng.pick((0.0, 0.0, 0.1, 2.0)))
        bare = session.req_header.method == b"HEAD" or not body
        head = ResponseHeader(200, [] if session.req_header.method == b"HEAD" else [("Content-Length", str(len(body)))])
        session.write_response_header(head, bare)
        if not bare:
            session.write_response_body(bytes(body), True)


# ── clients ──────────────────────────────────────────────────────────────────────────


class _Keeper:
    """Keeps its HTTP/1 connection for as long as the server does, and asks again and again."""

    def __init__(self, world: World, name: str, rng: Random) -> None:
        self.world = world
        self.name = name
        self._rng = rng
        self._left = 1 + rng.below(12)
        self._end: End | None = None
        self._reader = StrictReader(requests=False)
        self._pieces: list[bytes] = []
        self._asked_at = 0.0
        self._answered = 0
        self._waits = False
        self.outcomes: list[tuple[str, float, float]] = []
        """Of each request: ``answered``, ``refused`` (no connection), ``unanswered`` (no byte), ``cut``; and when."""

    @property
    def done(self) -> bool:
        """It has nothing more to ask."""
        return self._left == 0 and not self._waits

    def next(self, _: None = None) -> None:
        """Ask for something, on the connection there is or on a new one."""
        if self._left == 0:
            if self._end is not None:
                self._end.close()
            return
        self._left -= 1
        self._waits = True
        self._asked_at = self.world.now
        size = self._rng.pick((0, 0, 0, 10, 3_000, 50_000))
        head = (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
            if size
            else b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        count = self._rng.pick((1, 1, 8)) if size > 8 else 1
        body = b"u" * size
        self._pieces = [
            head,
            *(body[size * at // count : size * (at + 1) // count] for at in range(count if size else 0)),
        ]
        if self._end is None:
            self.world.client(SERVER, self)
        else:
            self._say()

    def connected(self, end: End) -> None:
        """The link is there."""
        self._end = end
        end.owner = self
        end.set_reading(True)
        self._reader = StrictReader(requests=False)
        self._answered = 0
        self._say()

    def _say(self, end: End | None = None) -> None:
        if end is None:
            self._reader.methods.append(b"POST" if len(self._pieces) > 1 else b"GET")
        elif end is not self._end:
            return
        if self._pieces and self._end is not None:
            self._end.write(self._pieces.pop(0))
            if self._pieces:
                self.world.after(self._rng.pick((0.0, 0.01, 1.0)), self._say, self._end)

    def refused(self, error: Error) -> None:
        """There will be no link."""
        self._over("refused")

    def received(self, data: bytes) -> None:
        """A piece of an answer."""
        self._reader.feed(data)
        if len(self._reader.messages) > self._answered:
            self._answered += 1
            message = self._reader.messages[-1]
            if b"close" in (message.get(b"connection") or b"") and self._end is not None:
                self._end.close()
                self._end = None
            self._over("answered")

    def ended(self) -> None:
        """The server closes."""
        end, self._end = self._end, None
        if end is not None:
            end.close()
        if self._waits:
            self._over("cut" if self._reader.message is not None else "unanswered")

    def lost(self, error: Error) -> None:
        """The link was reset."""
        self.ended()

    def progressed(self) -> None:
        """Nothing waits for it."""

    def _over(self, outcome: str) -> None:
        self._waits = False
        self._pieces = []
        self.outcomes.append((outcome, self._asked_at, self.world.now))
        self.world.note(self.name, "outcome", outcome)
        self.world.after(self._rng.pick((0.0, 0.0, 0.05, 3.0)), self.next)


# ── what must hold ───────────────────────────────────────────────────────────────────


class _Servers(Oracle):
    """I-13: nobody is refused, nor a request lost or cut, by a hand-over; a drain finishes what was taken."""

    invariant = "I-13"
    every_step = True

    def __init__(self, story: _Story) -> None:
        self._story = story

    def settled(self, world: World, driver: Driver) -> None:
        """See :class:`Oracle`."""
        for process in self._story.processes:
            if process.driver is driver:
                process.settled()

    def quiescent(self, world: World) -> None:
        """See :class:`Oracle`."""
        story = self._story
        for process in story.processes:
            if process.alive:
                world.broken(self.invariant, f"{process.name} was told to end, and never does")
        disturbed = min((process.disturbed_at for process in story.processes), default=math.inf)
        cut = min((process.cut_at for process in story.processes), default=math.inf)
        left = min((process.left_at for process in story.processes), default=math.inf)
        up = min((process.up_at for process in story.processes), default=math.inf)
        for keeper in story.keepers:
            if not keeper.done:
                world.broken(self.invariant, f"{keeper.name} waits for an answer for ever")
            for outcome, asked_at, at in keeper.outcomes:
                if asked_at < up:
                    continue
                self.judged(world, at < cut)
                self._judge(world, keeper.name, outcome, at, disturbed, cut)
        for client in story.http2_clients:
            if client.fault:
                world.broken(self.invariant, f"{client.name}: {client.fault}")
            if client.outcome == "refused" and disturbed == math.inf and up <= _CLIENTS_COME:
                world.broken(self.invariant, f"{client.name} is refused")
            for turn in client.plan.turns:
                if turn.stream and turn.outcome != "complete" and disturbed == math.inf and cut == math.inf:
                    world.broken(self.invariant, f"{client.name}: stream {turn.stream} is {turn.outcome or 'open'}")
        if up > _CLIENTS_COME:
            return
        for talk in story.talks:
            if talk.talk.fault:
                world.broken(self.invariant, f"{talk.name}: {talk.talk.fault}")
            if talk.outcome == "refused" and disturbed == math.inf:
                world.broken(self.invariant, f"{talk.name} is refused")
            if disturbed == math.inf and not _undisturbed(talk.talk, left):
                world.broken(
                    self.invariant, f"{talk.name}: {talk.talk!r}, though nothing happened but hand-overs"[:400]
                )

    def _judge(self, world: World, name: str, outcome: str, at: float, disturbed: float, cut: float) -> None:
        if outcome == "answered" or at >= cut:
            return
        if outcome == "cut":
            world.broken(self.invariant, f"{name}: an answer is cut at {at}, and nothing was aborted until {cut}")
        if at < disturbed:
            world.broken(
                self.invariant, f"{name}: a request is {outcome} at {at}, and no end was asked for until {disturbed}"
            )


def _undisturbed(talk: Conversation, left: float) -> bool:
    """It came to the end that it planned, or was told in time that its server goes away."""
    if talk.code == 1001 and left < math.inf:
        return talk.heard == talk.said[: len(talk.heard)]
    return talk.heard == talk.said and talk.code in (1000, 4001)


# ── worlds ───────────────────────────────────────────────────────────────────────────


class _Story:
    """One server, the processes that follow each other in it, and its clients."""

    def __init__(self, world: World, rng: Random) -> None:
        self.world = world
        self.rng = rng
        self.limits = Limits(min_body_rate=None, h2_settings_timeout=1_000.0, keepalive_timeout=60.0)
        self.door = Door(world, SERVER)
        self.meeting = Meeting(world, rng.fork("meeting"))
        self.processes: list[Process] = []
        self.keepers: list[_Keeper] = []
        self.http2_clients: list[Http2Client] = []
        self.talks: list[TalkClient] = []
        self.grace_period = rng.pick((300.0, 300.0, 60.0, 2.0))

    def process(self, *, upgrade: bool = False, faulty: bool = False) -> Process:
        """Another process, which begins at once."""
        rng = self.rng
        plan = ServerPlan(
            upgrade=upgrade, grace_period=self.grace_period, upgrade_timeout=rng.pick((60.0, 20.0, 3.0, 3.0))
        )
        if rng.chance(0.6):
            plan.needs = {EDGE: ("store",), "store": (), "side": ("store",)}
        elif rng.chance(0.5):
            plan.needs = {"store": (EDGE,), EDGE: ()}
        for name in plan.needs:
            plan.start_times[name] = rng.pick((0.0, 0.1, 1.0, 4.0 if faulty else 1.0))
            if name != EDGE:
                plan.policies[name] = rng.pick((FailurePolicy.FAIL, FailurePolicy.RETRY, FailurePolicy.CONTINUE))
        if faulty:
            plan.fails = {name: rng.pick((0.0, 0.5, 0.5)) for name in plan.needs}
            plan.stubborn = ("side",) if rng.chance(0.3) else ()
        app = HttpService(_App(rng.fork(f"app {len(self.processes)}")), self.limits, HttpOptions(h2c=True))
        process = Process(self.world, f"p{len(self.processes) + 1}", plan, self.door, self.meeting, app)
        self.processes.append(process)
        process.begin()
        return process

    def clients(self) -> None:
        """Start what is busy all the while."""
        rng, world = self.rng, self.world
        for number in range(1 + rng.below(5)):
            name = f"k{number + 1}"
            keeper = _Keeper(world, name, rng.fork(name))
            self.keepers.append(keeper)
            world.at(rng.uniform(_CLIENTS_COME, 9.0), keeper.next)
        for number in range(rng.below(3)):
            name = f"h{number + 1}"
            plan = plan_http2_client(rng.fork(name), name, misbehaves=False, calm=True)
            plan.patience = 5_000.0
            for turn in plan.turns:
                turn.begins = rng.uniform(0.0, 8.0)
            client = Http2Client(world, name, plan)
            self.http2_clients.append(client)
            world.at(rng.uniform(_CLIENTS_COME, 12.0), self._connect, client)
        for number in range(rng.below(3)):
            name = f"t{number + 1}"
            talk = TalkClient(world, name, plan_websocket(rng.fork(name), name, misbehaves=False))
            self.talks.append(talk)
            world.at(rng.uniform(_CLIENTS_COME, 12.0), self._connect, talk)

    def _connect(self, client: Any) -> None:
        self.world.client(SERVER, client)

    @property
    def serving(self) -> Process | None:
        """The youngest that accepts."""
        return next((process for process in reversed(self.processes) if process.alive and process.admitted), None)

    def hand_over(self, kind: str) -> None:
        """A new process begins, and the old one is asked to hand over to it; *kind* of trouble on the way."""
        world, rng, old = self.world, self.rng, self.serving
        if old is None:
            return
        world.faults.count(f"hand-over {kind}")
        new = self.process(upgrade=True, faulty=kind == "fails")
        if kind == "twice":
            self.process(upgrade=True)
        if kind in ("never acknowledged", "is up late"):
            new.plan.start_times = dict.fromkeys(new.plan.needs, 0.0)
            new.plan.start_times[EDGE] = 1_000.0
        if kind == "is up late":
            # Right when the old one stops waiting for it: within the time that a message is under way, either way.
            new.line_delay = rng.pick((0.001, 0.3))
            new.plan.start_times[EDGE] = old.plan.upgrade_timeout + new.line_delay * rng.uniform(-2.0, 2.4)
        old_signal = 0.0 if kind in ("never acknowledged", "is up late") else rng.pick((0.0, 0.0, 1.0))
        world.after(old_signal, lambda _: old.signal(_QUIT))
        if rng.chance(0.2):
            world.after(old_signal + rng.uniform(0.0, 3.0), self.deliver, (old, _QUIT))
        if kind == "dies":

            def die(_: None) -> None:
                if not new.admitted:  # from there on it serves
                    new.kill()
                    new.disturbed_at = new.cut_at = math.inf

            world.after(rng.uniform(0.0, 3.0), die)
        if kind == "is told to end":
            world.after(old_signal + rng.uniform(0.0, 1.0), self.deliver, (old, rng.pick((_TERM, _INT))))

    def deliver(self, what: tuple[Process, ShutdownSignal]) -> None:
        """A process gets a signal, if it lives."""
        process, signal = what
        if process.alive:
            faults = self.world.faults
            faults.count(f"signal {signal.value}")
            if process.sending and signal is not _QUIT:
                faults.count(f"signal {signal.value} amid a hand-over")
            process.signal(signal)

    def kill(self, _: None = None) -> None:
        """A process dies."""
        if living := [process for process in self.processes if process.alive]:
            self.rng.pick(living).kill()

    def wind_up(self, _: None = None) -> None:
        """When the clients are done, the server is told to end."""
        busy = [keeper for keeper in self.keepers if not keeper.done]
        busy += [client for client in self.http2_clients if not client.outcome]  # type: ignore[misc]  # either will do
        busy += [talk for talk in self.talks if not talk.outcome]  # type: ignore[misc]
        if (busy and self.world.now < 2_000.0) or any(process.sending for process in self.processes):
            self.world.after(1.0, self.wind_up)
            return
        for process in self.processes:
            if process.alive:
                before = process.disturbed_at
                process.signal(_TERM)
                process.disturbed_at = before


_TROUBLES = (
    (3, "goes well"),
    (3, "dies"),
    (3, "never acknowledged"),
    (7, "is up late"),
    (3, "twice"),
    (3, "fails"),
    (6, "is told to end"),
)


def build_server_world(seed: int, rng: Random | None = None) -> tuple[World, Case]:
    """A world about the life of a server, before anything has happened in it; *rng* decides in place of *seed*."""
    dice = rng
    rng = World(seed, rng=dice).rng.fork("servers")
    profiles = tuple(
        LinkProfile(
            latency=rng.pick((0.0005, 0.01, 0.2)), jitter=rng.pick((0.0, 0.01)), segment=rng.pick((1_460, 65_536))
        )
        for _ in range(2)
    )
    world = World(seed, Weather(profiles, {"timer early": 0.1, "timer late": 0.1}), dice)
    world.again = f"sansio_pingora.testing.server_worlds.build_server_world({seed})[0].settle()"
    story = _Story(world, rng)
    kind = rng.weighted([(8, "hand-overs"), (1, "term"), (1, "int"), (4, "anything"), (1, "start")])
    end = 30.0
    story.process(faulty=kind == "start")
    story.clients()
    if kind == "hand-overs":
        at = 7.0
        for _ in range(2 + rng.below(5)):
            world.at(at, story.hand_over, rng.weighted(_TROUBLES))
            at += rng.uniform(2.0, 12.0)
        end = max(end, at)
    elif kind in ("term", "int"):
        _signal_later(story, rng.uniform(0.0, 15.0), _TERM if kind == "term" else _INT)
        if kind == "term" and rng.chance(0.4):
            _signal_later(story, rng.uniform(0.0, 15.0), rng.pick((_TERM, _INT)))
    elif kind == "anything":
        for _ in range(1 + rng.below(5)):
            if rng.chance(0.4):
                world.at(rng.uniform(6.0, 15.0), story.hand_over, rng.weighted(_TROUBLES))
            elif rng.chance(0.3):
                world.at(rng.uniform(0.0, 15.0), story.kill)
            else:
                _signal_later(story, rng.uniform(0.0, 15.0), rng.pick((_TERM, _INT, _QUIT, _QUIT, _QUIT)))
    world.at(end, story.wind_up)
    for oracle in (_Servers(story), NoTimerlessWait(), Termination()):
        world.watch(oracle)
    case = Case(Ledger(), story.limits, calm=True)
    case.http2_clients += story.http2_clients
    return world, case


def _signal_later(story: _Story, at: float, signal: ShutdownSignal) -> None:
    story.world.at(at, lambda _: story.deliver((story.rng.pick(story.processes), signal)))
