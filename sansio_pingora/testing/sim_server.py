"""Servers in a world: processes that obey a :class:`ServerLifecycle`, share a listening socket, and hand it over."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, assert_never

from sansio_pingora.server import (
    MOVES,
    AbortService,
    Acknowledge,
    DrainService,
    EnterPhase,
    ExecutionPhase,
    Exit,
    LifecycleCommand,
    ReceiveDescriptors,
    Report,
    SendDescriptors,
    ServerLifecycle,
    ShutdownSignal,
    StartService,
    StopSending,
)
from sansio_pingora.services import FailurePolicy, ServiceGraph
from sansio_pingora.testing.driver import Driver
from sansio_pingora.transport import SocketAddr

if TYPE_CHECKING:
    from sansio_pingora.machine import Application
    from sansio_pingora.testing.link import End
    from sansio_pingora.testing.prng import Random
    from sansio_pingora.testing.world import World

__all__ = ["Door", "Meeting", "Process", "ServerPlan"]

EDGE = "edge"
"""The service that listens."""
_PAUSE, _ATTEMPTS = 1.0, 6


class Door:
    """A listening socket that processes share: who comes waits in its backlog while none of them accepts."""

    def __init__(self, world: World, address: str) -> None:
        self._world = world
        self._address = SocketAddr.parse(address)
        self.holders: list[Process] = []
        self.accepting: list[Driver] = []
        self._backlog: list[End] = []

    def hold(self, process: Process) -> None:
        """*process* has it open."""
        if not self.holders:
            self._world.listen(self._address, self)
        self.holders.append(process)

    def let_go(self, process: Process) -> None:
        """*process* has closed it. When nobody has it open, connects are refused."""
        if process not in self.holders:
            return
        self.holders.remove(process)
        if process.driver in self.accepting:
            self.accepting.remove(process.driver)
        if not self.holders:
            self._world.unlisten(self)
            for end in self._backlog:
                end.abort()
            self._backlog.clear()

    def admit(self, driver: Driver) -> None:
        """*driver* accepts from here on."""
        self.accepting.append(driver)
        backlog, self._backlog = self._backlog, []
        for end in backlog:
            self.accept(end)

    def accept(self, end: End) -> None:
        """See :class:`.world.Listener`."""
        if end.dead:
            return
        if self.accepting:
            # The kernel wakes any of them.
            self.accepting[self._world.steps % len(self.accepting)].accept(end)
        else:
            self._backlog.append(end)


class Meeting:
    """The path where an old process meets a new one, and the messages between them, each under way for a while."""

    def __init__(self, world: World, rng: Random) -> None:
        self._world = world
        self._rng = rng
        self.waiting: Process | None = None

    def wait(self, new: Process, patience: float) -> None:
        """*new* waits for the sockets of an old process."""
        if self.waiting is not None:
            new.tell(new.lifecycle.descriptors_refused, "another process waits for sockets")
            return
        self.waiting = new
        self._world.after(patience, self._nobody_came, new)

    def _nobody_came(self, new: Process) -> None:
        if self.waiting is new:
            self.waiting = None
            new.tell(new.lifecycle.descriptors_refused, "no old process came")

    def look(self, what: tuple[Process, int]) -> None:
        """An old process looks for a new one, again and again."""
        old, attempt = what
        if not old.sending:
            return
        new = self.waiting
        if new is None:
            if attempt == _ATTEMPTS:
                old.sending = False
                old.tell(old.lifecycle.hand_over_failed, "no new process listens")
            else:
                self._world.after(_PAUSE, self.look, (old, attempt + 1))
            return
        self.waiting = None
        old.successor, new.predecessor = new, old
        self._later(self._sockets_arrive, (old, new))
        self._world.after(old.plan.upgrade_timeout, self._waited_too_long, (old, new))

    def acknowledge(self, new: Process) -> None:
        """*new* is up."""
        if new.predecessor is not None:
            self._later(self._acknowledged, (new.predecessor, new))

    def gone(self, process: Process) -> None:
        """*process* has ended: whoever waits for it sees its end of the line closed."""
        if self.waiting is process:
            self.waiting = None
        if process.predecessor is not None:
            self._later(self._line_closed, (process.predecessor, process))

    def _later(self, call: Callable[[tuple[Process, Process]], None], what: tuple[Process, Process]) -> None:
        # One line, in order: an acknowledgement does not overtake, and its end comes behind it.
        new = what[1]
        delay = self._rng.pick((0.0, 0.001, 0.3)) if new.line_delay is None else new.line_delay
        new.line_free = max(new.line_free, self._world.now + delay)
        self._world.at(new.line_free, call, what)

    def _sockets_arrive(self, what: tuple[Process, Process]) -> None:
        new = what[1]
        if new.alive:
            new.door.hold(new)
            new.tell(new.lifecycle.descriptors_received)

    def _acknowledged(self, what: tuple[Process, Process]) -> None:
        old, new = what
        if old.sending and old.successor is new:
            old.sending = False
            old.tell(old.lifecycle.handed_over)
        elif old.alive:
            self._world.faults.count("hand-over acknowledged too late")

    def _line_closed(self, what: tuple[Process, Process]) -> None:
        old, new = what
        if old.sending and old.successor is new:
            old.sending = False
            old.tell(old.lifecycle.hand_over_failed, "the new process ended before it was up")

    def _waited_too_long(self, what: tuple[Process, Process]) -> None:
        old, new = what
        if old.sending and old.successor is new:
            old.sending = False
            self._world.faults.count("hand-over withdrawn")
            self._later(self._withdrawn, what)
            old.tell(old.lifecycle.hand_over_failed, "the new process was not up in time")

    def _withdrawn(self, what: tuple[Process, Process]) -> None:
        what[1].withdrawn = True


@dataclass(slots=True)
class ServerPlan:
    """What one process is to be like. Times are seconds."""

    upgrade: bool = False
    needs: dict[str, tuple[str, ...]] = field(default_factory=lambda: {EDGE: ()})
    """Its services, with those that each depends on."""
    policies: dict[str, FailurePolicy] = field(default_factory=dict)
    start_times: dict[str, float] = field(default_factory=dict)
    fails: dict[str, float] = field(default_factory=dict)
    """Probability that a start of a service fails."""
    stubborn: tuple[str, ...] = ()
    """Services that never end."""
    grace_period: float = 300.0
    stop_timeout: float = 5.0
    upgrade_timeout: float = 60.0


class Process:
    """Obeys a lifecycle in virtual time, and judges each of its commands (I-13)."""

    def __init__(
        self, world: World, name: str, plan: ServerPlan, door: Door, meeting: Meeting, application: Application
    ) -> None:
        graph = ServiceGraph()
        for service in plan.needs:
            graph.add(service)
        for service, needs in plan.needs.items():
            for other in needs:
                graph.add_dependency(service, other)
        self.world, self.name, self.plan, self.door, self.meeting = world, name, plan, door, meeting
        self.lifecycle = ServerLifecycle(
            graph,
            plan.policies,
            grace_period=plan.grace_period,
            stop_timeout=plan.stop_timeout,
            upgrade=plan.upgrade,
        )
        self.driver: Driver | None = None
        """Of the service that listens, while it is up."""
        self.alive = True
        self.code: int | None = None
        self.admitted = self.sending = self.withdrawn = False
        self.successor: Process | None = None
        self.predecessor: Process | None = None
        self.line_free = 0.0
        self.line_delay: float | None = None
        """So long each message between it and its predecessor is under way; None: each as chance has it."""
        self.disturbed_at = math.inf
        """When it was asked to end other than by a hand-over, or had to: clients may notice."""
        self.up_at = math.inf
        """When it began to accept."""
        self.cut_at = math.inf
        """When it ended something that was under way."""
        self.left_at = math.inf
        """When it took leave of those who were still there, just before its grace period was over."""
        self._application = application
        self._rng = world.rng.fork(f"process {name}")
        self._phase = ExecutionPhase.SETUP
        self._running: set[str] = set()
        self._ready: set[str] = set()
        self._drained: set[str] = set()
        self._aborted: set[str] = set()
        self._draining_since = math.inf
        self._last_ended = math.inf
        self._armed = math.inf

    def begin(self, _: None = None) -> None:
        """The process starts."""
        self.tell(self.lifecycle.bootstrap)

    def signal(self, signal: ShutdownSignal) -> None:
        """It gets a signal."""
        if self.alive:
            self.world.note(self.name, "signal", signal.value)
            self.tell(self.lifecycle.signal, signal)

    def kill(self) -> None:
        """It dies without a word."""
        if self.alive:
            self.world.faults.count("server killed")
            self.world.note(self.name, "killed", self._phase.value)
            self.cut_at = min(self.cut_at, self.world.now)
            self.disturbed_at = min(self.disturbed_at, self.cut_at)
            self._over()

    def tell(self, inform: Callable[..., None], *facts: Any) -> None:
        """Hand the lifecycle one input, and obey."""
        if self.alive:
            inform(*facts, self.world.now)
            while commands := self.lifecycle.take_commands():
                for command in commands:
                    self._obey(command)
            self._arm()

    def _arm(self) -> None:
        deadline = self.lifecycle.deadline
        if self.alive and deadline not in {math.inf, self._armed}:
            self._armed = deadline
            self.world.at(max(deadline, self.world.now), self._wake, deadline)

    def _wake(self, armed: float) -> None:
        if armed == self._armed:
            self._armed = math.inf
            self.tell(self.lifecycle.handle_timeout)

    # ── commands ─────────────────────────────────────────────────────────────────────

    def _obey(self, command: LifecycleCommand) -> None:
        match command:
            case EnterPhase(phase):
                if phase not in {after for (before, _), after in MOVES.items() if before is self._phase}:
                    self._broken(f"from {self._phase.value} to {phase.value}, which is no move of the table")
                self.world.note(self.name, "phase", phase.value)
                before, self._phase = self._phase, phase
                if phase is ExecutionPhase.SHUTDOWN_STARTED:
                    self._draining_since = self.world.now
                    # A new process that never came up takes nothing from anybody: the old one goes on.
                    if before is not ExecutionPhase.GRACEFUL_UPGRADE_CLOSE_TIMEOUT and (
                        self.admitted or not self.plan.upgrade
                    ):
                        self.disturbed_at = min(self.disturbed_at, self.world.now)
            case StartService(name, _):
                self._start(name)
            case DrainService(name, handed_over):
                self._ends(name, self._drained)
                self._drain(name, handed_over)
            case AbortService(name):
                self._ends(name, self._aborted)
                self._abort(name)
            case ReceiveDescriptors():
                self.meeting.wait(self, self.plan.upgrade_timeout)
            case SendDescriptors():
                self.sending = True
                self.meeting.look((self, 1))
            case StopSending():
                self.sending = False
            case Acknowledge():
                self._acknowledge()
            case Report(level, text):
                self.world.note(self.name, "report", f"{level} {text}")
            case Exit(code):
                self._exit(code)
            case _:
                assert_never(command)

    def _ends(self, name: str, told: set[str]) -> None:
        """*name* is told to end: those that depend on it were told before."""
        told.add(name)
        for other in sorted(self._running - told):
            if name in self.plan.needs[other]:
                self._broken(f"{name} is told to end before {other}, which depends on it")

    def _start(self, name: str) -> None:
        if self._draining_since != math.inf:
            self._broken(f"{name} is started though the server ends")
        if name in self._running:
            self._broken(f"{name} is started twice")
        if late := [other for other in self.plan.needs[name] if other not in self._ready]:
            self._broken(f"{name} is started before {late[0]}, which it depends on, is ready")
        self._running.add(name)
        self.world.note(self.name, "start", name)
        self.world.after(self.plan.start_times.get(name, 0.0), self._started, name)

    def _started(self, name: str) -> None:
        if not self.alive or name not in self._running or self._draining_since != math.inf:
            return
        if self._rng.chance(self.plan.fails.get(name, 0.0)):
            self.world.faults.count("service fails to start")
            if self.plan.policies.get(name, FailurePolicy.FAIL) is FailurePolicy.CONTINUE:
                self._ready.add(name)
            self._ended(name, "it broke down")
            return
        self._ready.add(name)
        if name == EDGE:
            self.driver = Driver(self.world, self._application, f"{self.name}.{EDGE}")
            if self not in self.door.holders:
                self.door.hold(self)
            if self.admitted:
                self.door.admit(self.driver)
        self.tell(self.lifecycle.service_ready, name)

    def _ended(self, name: str, error: str | None = None) -> None:
        if self.alive and name in self._running:
            self._running.discard(name)
            self._last_ended = self.world.now
            if error is not None and self.admitted:
                self.disturbed_at = min(self.disturbed_at, self.world.now)
            self.tell(self.lifecycle.service_ended, name, error)

    def _acknowledge(self) -> None:
        if self.withdrawn:  # the old one goes on
            self.world.faults.count("hand-over withdrawn before it was up")
            self.lifecycle.signal(ShutdownSignal.FAST_SHUTDOWN, self.world.now)
            return
        if missing := [name for name in self.plan.needs if name not in self._ready]:
            self._broken(f"it is said to be up, and {missing[0]} is not")
        self.meeting.acknowledge(self)
        self.admitted = True
        self.up_at = self.world.now
        if self.driver is not None:
            self.door.admit(self.driver)

    def _drain(self, name: str, handed_over: bool) -> None:
        if name != EDGE:
            self._end_soon(name)
            return
        if handed_over and not any(other is not self and other.admitted for other in self.door.holders):
            if self.successor is None or self.successor.alive:
                self._broken("it accepts no more, and nobody else does")
        self.door.let_go(self)
        if self.driver is None:
            self.world.after(0.0, self._ended, name)
        else:
            self.world.after(self.plan.grace_period, self._grace_over)
            self.driver.drain(self.plan.grace_period, keep_idle=handed_over)
            self.world.after(self.driver.end.deadline - self.world.now, self._note_leave)

    def _note_leave(self, _: None) -> None:
        if self.alive and self.driver is not None and self.driver.sockets:
            self.left_at = self.world.now

    def _grace_over(self, _: None) -> None:
        if self.alive and EDGE in self._running and self.driver is not None:
            if not self.driver.sockets and not self.driver.filters:
                self._broken("nothing was under way, and it waited until the end of the grace period")
            self._note_cut()

    def _note_cut(self) -> None:
        if self.driver is not None and self.driver.sockets:
            self.cut_at = min(self.cut_at, self.world.now)
            self.disturbed_at = min(self.disturbed_at, self.cut_at)

    def _abort(self, name: str) -> None:
        if name != EDGE:
            self._end_soon(name)
            return
        self.door.let_go(self)
        if self.driver is None:
            self.world.after(0.0, self._ended, name)
        else:
            self._note_cut()
            self.driver.abort()

    def _end_soon(self, name: str) -> None:
        if name not in self.plan.stubborn:
            self.world.after(self._rng.uniform(0.0, 0.5), self._ended, name)

    def settled(self) -> None:
        """The lane of the service that listens has settled: perhaps that was all of it."""
        driver = self.driver
        if driver is not None and driver.end.has_ended(busy=bool(driver.filters)):
            self.world.after(0.0, self._ended, EDGE)

    def _exit(self, code: int) -> None:
        now = self.world.now
        patient = self._draining_since + self.plan.grace_period + self.plan.stop_timeout
        if now > patient + 1e-6:
            self._broken(f"it ends at {now}, later than {patient}")
        if not self._running and self._last_ended not in {now, math.inf} and now > self._draining_since:
            self._broken(f"it ends at {now}, and the last service had ended at {self._last_ended}")
        if self._running and not set(self._running) <= {*self.plan.stubborn}:
            self._broken(f"it ends, and leaves {sorted(self._running)} behind, which would have ended")
        self.code = code
        self._over()

    def _over(self) -> None:
        self.alive = self.sending = False
        self.door.let_go(self)
        if self.driver is not None and not self.driver.dead:
            self.driver.die()
        self.meeting.gone(self)

    def _broken(self, complaint: str) -> None:
        self.world.broken("I-13", f"{self.name}: {complaint}")
