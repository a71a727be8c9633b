"""A deterministic network: virtual time, links, listeners, and one seed for everything.

The same seed gives the same trace on every Python: nothing here looks at a clock, at
``hash()``, at ``id()``, or at the order of a set.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Protocol

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.listeners import AcceptPolicy
from sansio_pingora.testing.faults import Faults
from sansio_pingora.testing.link import End, link
from sansio_pingora.testing.planned import Fault, FaultyEnd
from sansio_pingora.testing.prng import Random
from sansio_pingora.testing.weather import Weather, faults_by_chance
from sansio_pingora.transport import ServiceRecord, SocketAddr

if TYPE_CHECKING:
    from sansio_pingora.layers import LayerMaker
    from sansio_pingora.machine import Application
    from sansio_pingora.testing.driver import Driver
    from sansio_pingora.testing.link import LinkProfile
    from sansio_pingora.testing.oracles import Oracle

__all__ = ["Attempt", "Connecting", "Listener", "OracleBroken", "Script", "TraceLine", "World"]

TICK = 2.0**-20
"""About a microsecond: the step by which inputs miss or hit a deadline."""

_NEAR = 6.0
"""How far off a deadline may be for an arrival to be moved onto it, in seconds."""

_BESIDE = {"before a timer": -TICK, "at a timer": 0.0, "past a timer": TICK}

TraceLine = tuple[float, str, str, "int | str"]
"""When, who, what, and a detail: for bytes, their checksum."""


class OracleBroken(AssertionError):
    """An invariant does not hold; the text tells which, when, and how to see it again."""

    def __init__(self, invariant: str, complaint: str, world: World, last: int = 40) -> None:
        self.invariant = invariant
        self.complaint = complaint
        self.seed = world.seed
        self.now = world.now
        self.step = world.steps
        self.again = world.again or (
            f"what is built on {world!r}; with fewer decisions: shrink_seed({world.seed}, build=...), "
            "see docs/simulating.md"
        )
        self.lines = [format_line(line) for line in world.trace[-last:]]
        super().__init__(invariant, complaint)

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.invariant}: {self.complaint}",
                f"  at {self.now!r} s, step {self.step}, seed {self.seed}",
                *(f"    {line}" for line in self.lines),
                f"  again: {self.again}",
            ]
        )


def format_line(line: TraceLine) -> str:
    """A line of the trace for people."""
    at, who, what, detail = line
    return f"{at:12.6f} {who:<14} {what:<10} {detail}"


class Listener(Protocol):
    """What an address leads to."""

    def accept(self, end: End) -> None:
        """A link came in; own *end* from here on."""


class Connecting(Protocol):
    """What waits for a connect."""

    def connected(self, end: End) -> None:
        """The link is there; own *end* from here on."""

    def refused(self, error: Error) -> None:
        """There will be none."""


class Script(Protocol):
    """A value that says what a party does: see :class:`.ClientScript` and :class:`.OriginScript`."""

    def enter(self, world: World, name: str) -> Any:
        """The party that does it in *world*."""


class Attempt:
    """A connect under way; ``cancelled`` makes its outcome of no interest."""

    __slots__ = ("address", "cancelled", "owner", "plan")

    def __init__(self, owner: Connecting, address: SocketAddr, plan: list[Fault]) -> None:
        self.owner = owner
        self.plan = plan
        self.address = address
        self.cancelled = False


class World:
    """Virtual time and everything that happens in it. Reproducible from *seed*, or from *rng* in its place.

    :raises TypeError: *weather* is none.
    """

    def __init__(self, seed: int = 0, weather: Weather | None = None, rng: Random | None = None) -> None:
        if weather is not None and not isinstance(weather, Weather):
            raise TypeError(f"weather is a Weather, as Weather((LinkProfile(),)), not {weather!r}")
        self.seed = seed
        self.now = 0.0
        self.steps = 0
        self._seeded = rng is None
        self.rng = Random(seed) if rng is None else rng
        self.weather = weather or Weather()
        self.faults = Faults(self.rng.fork("faults"), self.weather.chances)
        self.trace: list[TraceLine] = []
        self.drivers: list[Driver] = []
        self.names: dict[str, list[str]] = {}
        """What the resolver knows: the addresses of each host. Dials go to what they are given."""
        self.services: dict[str, list[ServiceRecord]] = {}
        """And the SRV records of each service."""
        self.oracles: list[Oracle] = []
        self.watchers: list[Callable[[World, Driver], None]] = []
        """What those of the oracles look with that want to see every settled lane."""
        self.judged: Counter[str] = Counter()
        """By invariant, how often there was something to judge."""
        self.failure: OracleBroken | None = None
        self.again = ""
        """How to see it again, for who reads of a failure; empty: it is built by somebody's own code."""
        self.unheard: list[SocketAddr] = []
        """Addresses that were connected to while nothing listened there."""
        self._queue: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._order = 0
        self._listeners: dict[SocketAddr, Listener] = {}
        self._links = 0
        self._connects = 0
        self.latest = 0.0
        """When the latest segment of all lands: an earlier one overtakes it."""
        self._link_rng = self.rng.fork("links")
        self.snaps = any(map(self.faults.enabled, _BESIDE))
        """Arrivals may be moved onto a deadline."""
        self._jumps = self.faults.enabled("clock jump")

    def __repr__(self) -> str:
        weather = "" if self.weather == Weather() else f", {self.weather!r}"
        return f"World({self.seed}{weather})" if self._seeded else f"World({self.seed}{weather}, rng={self.rng!r})"

    # ── time ─────────────────────────────────────────────────────────────────────────

    def at(self, time: float, call: Callable[[Any], None], arg: Any = None) -> None:
        """Call *call* with *arg* at *time*; what is due at one instant happens in the order it was asked for."""
        self._order += 1
        heappush(self._queue, (time, self._order, call, arg))

    def after(self, delay: float, call: Callable[[Any], None], arg: Any = None) -> None:
        """Call *call* with *arg* in *delay* seconds."""
        self.at(self.now + delay, call, arg)

    def note(self, who: str, what: str, detail: int | str) -> None:
        """Add a line to the trace."""
        self.trace.append((self.now, who, what, detail))

    def run(self, until: float = math.inf, *, max_steps: int = 1_000_000) -> None:
        """Let things happen until nothing is left to happen, or the time is *until*.

        :raises OracleBroken: an invariant does not hold.
        """
        queue = self._queue
        jumps = self._jumps
        stop = self.steps + max_steps
        while queue and queue[0][0] <= until:
            at, _, call, arg = heappop(queue)
            if at > self.now:
                self.now = at
            self.steps += 1
            call(arg)
            if self.failure is not None:
                raise self.failure
            if self.steps >= stop:
                self.broken("I-10", f"still busy after {max_steps} steps: a loop without an end")
            if jumps and self.faults.fires("clock jump"):
                self.now += self.rng.uniform(0.0, 0.5)
        if until != math.inf and until > self.now:
            self.now = until

    def settle(self, *, max_steps: int = 1_000_000) -> None:
        """Run to quiescence, then ask every oracle for its verdict.

        :raises OracleBroken: an invariant does not hold.
        """
        self.run(max_steps=max_steps)
        self.judged["I-15"] += self.steps  # each of them would have told of an exception
        for oracle in self.oracles:
            oracle.quiescent(self)

    def watch(self, oracle: Oracle) -> None:
        """Have *oracle* check from here on."""
        self.oracles.append(oracle)
        if oracle.every_step:
            self.watchers.append(oracle.settled)

    def broken(self, invariant: str, complaint: str) -> None:
        """Stop: *invariant* does not hold.

        :raises OracleBroken: always, and again after the step: a machine may swallow what a filter raised.
        """
        self.failure = OracleBroken(invariant, complaint, self)
        raise self.failure

    def trace_hash(self) -> str:
        """One value for everything that happened."""
        lines = []
        last, at = "", -1.0
        for now, who, what, detail in self.trace:
            if now != at:
                at, last = now, repr(now)
            lines.append(f"{last} {who} {what} {detail}\n")
        return blake2b("".join(lines).encode(), digest_size=16).hexdigest()

    # ── the network ──────────────────────────────────────────────────────────────────

    def listen(
        self,
        address: str | SocketAddr,
        application: Application | Listener | Script,
        layers: tuple[LayerMaker, ...] = (),
    ) -> Any:
        """Serve *application* at *address*: one of the real kind on a driver of its own, a listener, or its script.

        *layers* are for one of the real kind: what stands between its links and HTTP, lowest first.

        Returns the driver, or the listener.

        :raises TypeError: *application* is none of these.
        """
        at = SocketAddr.parse(address) if isinstance(address, str) else address
        opens: Any = application
        if hasattr(opens, "enter"):
            opens = opens.enter(self, str(at))
        if not hasattr(opens, "open"):
            if not hasattr(opens, "accept"):
                raise TypeError(
                    f"{application!r} cannot listen at {at}: a handler goes in as HttpService(ServeHttp(handler, "
                    "inline=True)), an HttpServerApp as HttpService(app), a ProxyHttp as HttpProxy(proxy); a party of "
                    "one's own has accept(end)"
                )
            self._listeners[at] = opens
            return opens
        from sansio_pingora.testing.driver import Driver  # deferred: it needs World

        driver = Driver(self, opens, f"s{len(self.drivers) + 1}", layers)
        self._listeners[at] = driver
        return driver

    def connect(self, owner: Connecting, address: str | SocketAddr, name: str) -> Attempt:
        """Connect to *address*; *owner* hears of the outcome later, or never."""
        at = SocketAddr.parse(address) if isinstance(address, str) else address
        self._connects += 1
        plan = [fault for fault in self.weather.plan if fault.connect == self._connects]
        plan += faults_by_chance(self.faults, self._connects)
        attempt = Attempt(owner, at, plan)
        faults = self.faults
        rng = self._link_rng
        profile = rng.pick(self.weather.profiles)
        self.note(name, "connect", str(at))
        if faults.fires("connect black-holed"):
            return attempt
        delay = profile.latency
        if faults.fires("connect late"):
            delay += rng.uniform(0.0, 20.0)
        for fault in plan:
            if fault.what == "late":
                faults.count("connect late")
                delay += fault.seconds
        if faults.fires("connect no name"):
            self.after(delay, self._refuse, (attempt, ErrorType.CONNECT_NO_ROUTE, "the name cannot be resolved"))
        elif faults.fires("connect no route"):
            self.after(delay, self._refuse, (attempt, ErrorType.CONNECT_NO_ROUTE, "no route to host"))
        elif at not in self._listeners:
            self.unheard.append(at)
            self.after(delay, self._refuse, (attempt, ErrorType.CONNECT_REFUSED, "connection refused"))
        elif (planned := any(fault.what == "refuse" for fault in plan)) or faults.fires("connect refused"):
            if planned:
                faults.count("connect refused")
            self.after(delay, self._refuse, (attempt, ErrorType.CONNECT_REFUSED, "connection refused"))
        else:
            self.after(delay, self._join, (attempt, profile, name))
        return attempt

    def client(self, address: str | SocketAddr, script: Connecting | Script, name: str | None = None) -> Any:
        """Start a client of the server at *address*, or one that follows a script.

        Returns the client.

        :raises TypeError: *script* is neither.
        """
        said = name or str(getattr(script, "name", "client"))
        owner: Any = script
        if hasattr(owner, "enter"):
            owner = owner.enter(self, said)
        if not hasattr(owner, "connected"):
            raise TypeError(f"{script!r} is no client: it has connected(end), or is a ClientScript or a Raw")
        self.connect(owner, address, said)
        return owner

    def unlisten(self, listener: Listener) -> None:
        """Nothing listens any more where *listener* did: connects are refused."""
        for address in [address for address, known in self._listeners.items() if known is listener]:
            del self._listeners[address]

    def _refuse(self, what: tuple[Attempt, ErrorType, str]) -> None:
        attempt, etype, text = what
        if not attempt.cancelled:
            attempt.owner.refused(Error(etype, f"{attempt.address}: {text}"))

    def _join(self, what: tuple[Attempt, LinkProfile, str]) -> None:
        attempt, profile, name = what
        if attempt.cancelled:
            return
        self._links += 1
        number = self._links
        listener = self._listeners.get(attempt.address)
        if listener is None:
            self.unheard.append(attempt.address)
            self._refuse((attempt, ErrorType.CONNECT_REFUSED, "connection refused"))
            return
        kind = FaultyEnd if attempt.plan else End
        near = kind(
            self,
            f"{name}>{number}",
            SocketAddr("10.0.0.1", 10_000 + number),
            profile,
            self._link_rng.fork(f"near {number}"),
        )
        far = kind(self, f"{number}<{name}", attempt.address, profile, self._link_rng.fork(f"far {number}"))
        link(near, far)
        if isinstance(near, FaultyEnd) and isinstance(far, FaultyEnd):
            near.expect([fault for fault in attempt.plan if fault.side == "server"])
            far.expect([fault for fault in attempt.plan if fault.side == "client"])
        arrival = self.now + profile.latency
        far._last = arrival  # nothing of the other side's lands before the connect itself does
        self.at(arrival, self._tell, (attempt, near))
        if self.faults.fires("accept aborted"):
            far.abort()
        elif self.faults.fires("accept no descriptor"):
            policy = AcceptPolicy()
            policy.failed("EMFILE", self.now)
            self.at(policy.deadline, self._accept_later, (listener, far, policy))
        elif self.faults.fires("accept delayed"):
            self.after(self._link_rng.uniform(0.01, 1.0), self._accept, (listener, far))
        else:
            listener.accept(far)

    def _tell(self, what: tuple[Attempt, End]) -> None:
        attempt, end = what
        if attempt.cancelled:
            end.abort()
            return
        attempt.owner.connected(end)

    def _accept(self, what: tuple[Listener, End]) -> None:
        listener, end = what
        if not end.dead:
            listener.accept(end)

    def _accept_later(self, what: tuple[Listener, End, AcceptPolicy]) -> None:
        """Try again when the policy's pause is over."""
        listener, end, policy = what
        policy.handle_timeout(self.now)
        if policy.accepting:
            self._accept((listener, end))
        else:
            self.at(policy.deadline, self._accept_later, what)

    def snap(self, time: float, end: End) -> float:
        """Perhaps move an arrival onto a deadline, or one tick beside it.

        It is that of the connection behind *end*, or the next one of its whole driver.
        """
        socket: Any = end.owner
        driver = getattr(socket, "driver", None)
        if driver is None:
            return time
        now = self.now
        deadline: float = socket.endpoint.connection.deadline
        if self.steps % 3 == 0 or not now < deadline < now + _NEAR:
            deadline = driver.lane.deadline
            if not now < deadline < now + _NEAR:
                return time
        if name := self.faults.first_of(_BESIDE):
            driver.count_timer(name, deadline)
            return deadline + _BESIDE[name]
        return time
