"""One seed, one world: clients, a proxy, origins, faults, run to quiescence and judged by every oracle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sansio_pingora.limits import Limits
from sansio_pingora.testing.casting import Mood, plan_client, random_behaviour
from sansio_pingora.testing.clients import Client
from sansio_pingora.testing.conversations import plan_tunnel, plan_websocket
from sansio_pingora.testing.engine_oracles import CreditConserved, SplitInvariance
from sansio_pingora.testing.faults import NETWORK_FAULTS, SIMULATED_FAULTS, missing
from sansio_pingora.testing.http2_clients import Http2Client, Http2Plan, Http2Turn, plan_http2_client
from sansio_pingora.testing.http2_origins import http2_origin
from sansio_pingora.testing.http2_scripts import Http2Script
from sansio_pingora.testing.http_oracles import (
    AnswerOnce,
    CanonicalOut,
    Case,
    FilterContract,
    HandOver,
    Http2Answers,
    Http2Upstreams,
    NoCrossTalk,
    Order,
    PoolHygiene,
    RetrySafety,
)
from sansio_pingora.testing.ledger import Asked, Ledger
from sansio_pingora.testing.link import LinkProfile
from sansio_pingora.testing.oracles import BoundedMemory, NoTimerlessWait, Termination
from sansio_pingora.testing.origins import Origin
from sansio_pingora.testing.talkers import Conversations, TalkClient, TunnelOrigin, websocket_origin
from sansio_pingora.testing.tls_peers import SimulatedTls
from sansio_pingora.testing.weather import Weather
from sansio_pingora.testing.world import World

if TYPE_CHECKING:
    from sansio_pingora.machine import Application
    from sansio_pingora.testing.driver import Driver
    from sansio_pingora.testing.prng import Random
    from sansio_pingora.testing.world import TraceLine

__all__ = ["ApplicationFactory", "Report", "run_seed"]

PROXY = "10.0.0.2:80"

ApplicationFactory = Callable[[World, Case, list[str]], "Application"]
"""Makes the proxy of a world: it gets the world, the case to record in, and the origins' addresses."""


@dataclass(slots=True)
class Report:
    """What one run, or many, showed."""

    seeds: int = 0
    steps: int = 0
    requests: int = 0
    answered: int = 0
    """Requests that got an origin's complete answer."""
    virtual_time: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    timers: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    """By invariant, in how many worlds it was watched."""
    met: Counter[str] = field(default_factory=Counter)
    """By invariant, in how many of them there was something to judge."""
    judged: Counter[str] = field(default_factory=Counter)
    """By invariant, how often."""
    traces: list[str] = field(default_factory=list)
    """The hash of each seed's trace, in their order."""
    trace_hash: str = ""
    """Of the last seed."""
    trace: list[TraceLine] = field(default_factory=list)

    def missing(self) -> list[str]:
        """Faults that never fired: what they should have shown was not shown."""
        return missing(self.faults)

    def add(self, other: Report) -> None:
        """Add another report to this one."""
        self.seeds += other.seeds
        self.steps += other.steps
        self.requests += other.requests
        self.answered += other.answered
        self.virtual_time += other.virtual_time
        self.faults += other.faults
        self.timers += other.timers
        self.checked += other.checked
        self.met += other.met
        self.judged += other.judged
        self.traces += other.traces

    def saw(self, invariant: str) -> None:
        """*invariant* was watched by whoever ran the world, and judged once."""
        for counter in (self.checked, self.met, self.judged):
            counter[invariant] += 1

    def count(self, world: World) -> None:
        """Add what the oracles of *world* had to do."""
        watched = {"I-15"}.union(*((oracle.invariant, *oracle.also) for oracle in world.oracles))
        self.checked.update(dict.fromkeys(watched, 1))
        self.judged += world.judged
        self.met.update({invariant: 1 for invariant, times in world.judged.items() if times})


def _profiles(rng: Random) -> tuple[LinkProfile, ...]:
    def one() -> LinkProfile:
        latency = rng.pick((0.0, 0.0005, 0.01, 0.2))
        return LinkProfile(
            latency=latency,
            jitter=rng.pick((0.0, 0.001, 0.02)),
            bandwidth=rng.pick((1e9, 1e7, 200_000.0)),
            segment=rng.pick((536, 1_460, 65_536)),
            cuts=rng.pick((0, 0, 5, 40)),
            read_size=rng.pick((1_000, 65_536, 65_536)),
            send_buffer=rng.pick((1, 2_000, 65_536)),
            receive_buffer=rng.pick((500, 4_096, 65_536)),
            high=(high := rng.pick((0, 4_096, 65_536))),
            low=high // 4,
        )

    return tuple(one() for _ in range(1 + rng.below(3)))


_SELDOM = (("fail_to_connect", 0.3), ("upstream_response_trailer_filter", 0.5), ("response_trailer_filter", 1.0))
"""Filters that are seldom called, and how often they fail then."""
_TIMING = (
    ("timer early", 0.1),
    ("timer late", 0.1),
    ("before a timer", 0.015),
    ("at a timer", 0.015),
    ("past a timer", 0.015),
)
_SLOW_FILTERS = (("filter late", 0.2), ("filter out of order", 0.3))
_FILTERS = (
    *_SLOW_FILTERS,
    ("filter error", 0.04),
    ("filter cancelled", 0.04),
    ("filter never", 0.02),
    ("filter raises", 1.0),
)


def _weather(rng: Random, calm: bool) -> Weather:
    if calm:  # filters that take their time are no fault
        return Weather(_profiles(rng), dict(_SLOW_FILTERS) if rng.chance(0.5) else {})
    chances: dict[str, float] = dict(_TIMING)
    for name in NETWORK_FAULTS:
        if rng.chance(0.3):
            chances[name] = 0.1
    if rng.chance(0.5):
        chances.update(_FILTERS)
    if rng.chance(0.2):
        chances["clock jump"] = 0.005
    if rng.chance(0.3):
        chances.update({name: 0.04 for name in SIMULATED_FAULTS if name.startswith("exception in ")})
        chances.update({f"exception in {name}": chance for name, chance in _SELDOM})
    return Weather(_profiles(rng), chances)


def _limits(rng: Random, calm: bool) -> Limits:
    if calm:
        # A dozen streams on a thin line are slow by no fault of anybody.
        return Limits(
            high_water=rng.pick((512, 4_096, 65_536)),
            min_body_rate=None,
            body_idle_timeout=1_000.0,
            h2_settings_timeout=1_000.0,
            h2_stall_timeout=1_000.0,
            h2_connection_stall_timeout=1_000.0,
            read_timeout=1_000.0,
            write_timeout=1_000.0,
            ws_ping_interval=1_000.0,
        )
    return Limits(
        first_byte_timeout=rng.pick((0.5, 4.0, 10.0)),
        head_timeout=rng.pick((0.5, 3.0, 10.0)),
        keepalive_timeout=rng.pick((0.5, 5.0, 20.0)),
        body_idle_timeout=rng.pick((1.0, 5.0)),
        write_idle_timeout=rng.pick((1.0, 5.0)),
        linger_timeout=rng.pick((0.2, 1.0)),
        linger_bytes=rng.pick((0, 1_000, 65_536)),
        max_body=rng.pick((None, None, 3_000)),
        high_water=rng.pick((512, 4_096, 65_536)),
        replay_buffer=rng.pick((0, 2_000, 65_536)),
        max_informational=rng.pick((2, 16)),
        keepalive_request_limit=rng.pick((None, None, 1, 3)),
        connection_timeout=rng.pick((0.5, 3.0)),
        total_connection_timeout=rng.pick((1.0, 4.0)),
        upstream_keepalive_pool_size=rng.pick((0, 1, 128)),
        max_per_peer=rng.pick((None, None, 1, 2)),
        pool_wait_timeout=rng.pick((0.3, 3.0)),
        read_timeout=rng.pick((0.5, 3.0)),
        write_timeout=rng.pick((0.5, 3.0)),
        idle_timeout=rng.pick((0.0, 0.5, 10.0)),
        max_retries=rng.pick((1, 2, 4)),
        request_timeout=rng.pick((None, None, 0.7, 5.0)),
        retry_backoff=rng.pick((0.0, 0.0, 0.2)),
    )


def run_seed(seed: int, application: ApplicationFactory | None = None, *, keep_trace: bool = False) -> Report:
    """Build the world of *seed*, run it to quiescence, and judge it.

    :raises OracleBroken: an invariant does not hold.
    """
    world, case = build_world(seed, application)
    try:
        world.settle()
    finally:
        for driver in world.drivers:
            driver.stop()
    report = Report(seeds=1, steps=world.steps, virtual_time=world.now, faults=world.faults.counts)
    for client in case.clients:
        report.requests += client.begun
        report.answered += sum(1 for message in client.reader.messages if b"x-answer" in message.fields)
    for http2 in case.http2_clients:
        report.requests += sum(1 for turn in http2.plan.turns if turn.stream)
        report.answered += sum(
            1 for turn in http2.plan.turns if turn.outcome == "complete" and b"x-answer" in turn.fields
        )
    for driver in world.drivers:
        report.timers += driver.timers
    report.count(world)
    report.trace_hash = world.trace_hash()
    report.traces.append(report.trace_hash)
    if keep_trace:
        report.trace = world.trace
    return report


_ORACLES = (
    AnswerOnce,
    Http2Answers,
    Http2Upstreams,
    NoCrossTalk,
    PoolHygiene,
    CanonicalOut,
    Order,
    RetrySafety,
    FilterContract,
    HandOver,
    Conversations,
)


def build_world(
    seed: int, application: ApplicationFactory | None = None, rng: Random | None = None
) -> tuple[World, Case]:
    """The world of *seed*, before anything has happened in it; *rng* decides in its place, if it is given."""
    if application is None:
        from sansio_pingora.testing.server_worlds import build_server_world, is_about_servers  # deferred: as above
        from sansio_pingora.testing.sim_proxy import (
            random_proxy,
        )  # deferred: whoever brings an application needs no proxy

        again = f"python -m sansio_pingora.testing.simulate --seed {seed} --trace"
        if is_about_servers(seed):
            world, case = build_server_world(seed, rng)
            world.again = again
            return world, case

        application = random_proxy
    else:
        again = f"sansio_pingora.testing.scenario.run_seed({seed}, {getattr(application, '__name__', 'application')})"
    dice = rng
    rng = World(seed, rng=dice).rng.fork("scenario")
    calm = rng.chance(0.15)
    world = World(seed, _weather(rng, calm), dice)
    world.again = again
    limits = _limits(rng, calm)
    case = Case(Ledger(), limits, calm=calm)
    tls_rng = rng.fork("tls")
    if tls_rng.chance(0.4):
        case.tls = SimulatedTls(world, tls_rng, calm=calm)
        case.limits = limits = replace(limits, handshake_timeout=1_000.0 if calm else tls_rng.pick((0.5, 3.0)))
    mood = Mood(0.0, 0.0) if calm else Mood(rng.pick((0.0, 0.6, 1.0)), rng.pick((0.0, 0.5, 0.9)))
    addresses = []
    for number in range(1 + rng.below(3)):
        address = f"10.0.1.{number + 1}:80"
        addresses.append(address)
        name = f"o{number + 1}"
        slow = rng.uniform(0.01, 0.5) if rng.chance(0.1 if mood.origins else 0.0) else 0.0
        behaviour = random_behaviour(rng.fork(name), mood, world.faults)
        origin = Origin(world, name, case.ledger, behaviour, slow_read=slow)
        case.origins.append(origin)
        world.listen(address, origin if case.tls is None else case.tls.origin(origin))
    speaks_http2 = rng.chance(0.55)
    if speaks_http2:
        _plan_http2(rng, world, case, mood, addresses)
    if rng.chance(0.4):
        _plan_talks(rng, world, case, mood)
    driver = world.listen(PROXY, application(world, case, addresses), _layers(case))
    _listen_http2(rng, world, case, mood)
    for number in range(1 + rng.below(6)):
        name = f"c{number + 1}"
        client = Client(world, name, plan_client(rng.fork(name), name, limits, mood, world.faults))
        # Filters that take seconds for each of a hundred pieces take their time.
        client.plan.patience = 5_000.0 if world.faults.enabled("filter late") else 300.0
        case.clients.append(client)
        for turn in client.plan.turns:
            case.ledger.ask(turn.asked)
        world.at(rng.uniform(0.0, 2.0), _start, _reaching(case, client))
    if not calm and rng.chance(0.1):
        case.drained = True
        world.faults.count("drain")
        world.at(rng.uniform(0.0, 6.0), lambda _: driver.drain())
    elif rng.chance(0.15):
        # No fault for anybody: whoever connects reaches the old one or the new one.
        world.at(
            rng.uniform(0.0, 3.0), lambda _: _hand_over(rng, world, case, driver, application(world, case, addresses))
        )
    for oracle in (
        BoundedMemory(limits),
        NoTimerlessWait(),
        Termination(),
        CreditConserved(),
        SplitInvariance(limits, driver),
    ):
        world.watch(oracle)
    for kind in _ORACLES:
        world.watch(kind(case))
    return world, case


WEBSOCKETS = "10.0.3.1:80"
TUNNELS = "10.0.3.2:80"


def _plan_talks(rng: Random, world: World, case: Case, mood: Mood) -> None:
    """Clients that switch to another protocol, and what answers them, mostly through the proxy."""
    case.talk_origins.update(websocket=WEBSOCKETS, tunnel=TUNNELS)
    world.listen(WEBSOCKETS, websocket_origin(rng.fork("websockets"), case.limits))
    tunnels = TunnelOrigin(world)
    world.listen(TUNNELS, tunnels if case.tls is None else case.tls.origin(tunnels))
    for number in range(1 + rng.below(4)):
        name = f"t{number + 1}"
        own = rng.fork(name)
        websocket = own.chance(0.7)
        plan = plan_websocket if websocket else plan_tunnel
        talk = plan(own, name, misbehaves=own.chance(mood.clients))
        case.talks.append(talk)
        where = WEBSOCKETS if websocket and own.chance(0.3) else PROXY
        if websocket and own.chance(0.4):
            turn = Http2Turn(Asked(name.encode(), name, b"CONNECT", b"", valid=False), [], talk=talk)
            window = own.pick((65_535, 65_535 if case.calm else 500))
            http2 = Http2Client(world, name, Http2Plan([turn], window=window, patience=5_000.0))
            case.http2_clients.append(http2)
            client: TalkClient | Http2Client = http2
        else:
            client = TalkClient(world, name, talk, connect=not websocket and own.chance(0.5))
            case.talkers.append(client)
        script = client if where != PROXY else _reaching(case, client, http2=isinstance(client, Http2Client))
        world.at(own.uniform(0.0, 2.0), _start_at, (script, where))


def _start_at(what: tuple[Any, str]) -> None:
    client, where = what
    client.world.client(where, client)


def _listen_http2(rng: Random, world: World, case: Case, mood: Mood) -> None:
    """The first is an application of ours, the others are scripted."""
    for address in case.http2_origins:
        origin_rng = rng.fork(address)
        if address == "10.0.2.1:80":
            application = http2_origin(case.ledger, case.limits, origin_rng, world.faults, mood.origins)
            world.listen(address, application, _layers(case, origin=True))
        else:
            script = Http2Script(world, address, case.ledger, origin_rng, mood.origins, calm=case.calm)
            case.http2_scripts.append(script)
            listener: Any = script
            if case.tls is not None:  # who does not agree on HTTP/2 is answered in HTTP/1
                otherwise = Origin(world, f"{address} h1", case.ledger)
                case.origins.append(otherwise)
                listener = case.tls.origin(script, "h2", otherwise)
            world.listen(address, listener)


def _plan_http2(rng: Random, world: World, case: Case, mood: Mood, addresses: list[str]) -> None:
    """Clients and origins that speak HTTP/2, beside the others."""
    if rng.chance(0.6):
        case.http2_origins += rng.pick((["10.0.2.1:80"], ["10.0.2.2:80"], ["10.0.2.2:80", "10.0.2.3:80"]))
        if rng.chance(0.5):
            addresses.clear()
        addresses += case.http2_origins
    for number in range(rng.below(3) if case.http2_origins else 1 + rng.below(3)):
        name = f"h{number + 1}"
        plan = plan_http2_client(rng.fork(name), name, rng.chance(mood.clients), case.calm)
        plan.patience = 5_000.0 if world.faults.enabled("filter late") else 300.0
        client = Http2Client(world, name, plan)
        case.http2_clients.append(client)
        for turn in plan.turns:
            case.ledger.ask(turn.asked)
        world.at(rng.uniform(0.0, 2.0), _start, _reaching(case, client, http2=True))


def _hand_over(rng: Random, world: World, case: Case, old: Driver, application: Application) -> None:
    """A new process takes over the listening socket; the old one finishes what it has."""
    world.faults.count("hand-over")
    world.listen(PROXY, application, _layers(case))
    case.handed_over = True
    old.drain()
    if rng.chance(0.3):
        world.faults.count("drain amid a hand-over")
        world.after(rng.uniform(0.0, 2.0), lambda _: old.drain())


def _layers(case: Case, *, origin: bool = False) -> tuple[Any, ...]:
    return () if case.tls is None else case.tls.layers(origin=origin)


def _reaching(case: Case, client: Any, *, http2: bool = False) -> Any:
    """*client* in the form that the proxy is reached in."""
    return client if case.tls is None else case.tls.client(client, http2=http2)


def _start(client: Any) -> None:
    client.world.client(PROXY, client)
