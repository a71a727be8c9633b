"""The life of a server as a machine: which service starts when, what a signal means, when it is over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.server.phases import MOVES, SIGNALS, ExecutionPhase, Move, ShutdownSignal
from sansio_pingora.services import FailurePolicy, ServiceGraph

__all__ = [
    "AbortService",
    "Acknowledge",
    "DrainService",
    "EnterPhase",
    "Exit",
    "LifecycleCommand",
    "ReceiveDescriptors",
    "Report",
    "SendDescriptors",
    "ServerLifecycle",
    "StartService",
    "StopSending",
]

_FIRST_RETRY = 0.1
_LONGEST_RETRY = 30.0
_STEADY = 60.0
"""Seconds that a service must have run for its next failure to count as the first again."""


@dataclass(frozen=True, slots=True)
class EnterPhase:
    """Tell observers of *phase*."""

    phase: ExecutionPhase


@dataclass(frozen=True, slots=True)
class ReceiveDescriptors:
    """Get the sockets of the old process; answer ``descriptors_received`` or ``descriptors_refused``."""


@dataclass(frozen=True, slots=True)
class StartService:
    """Start *name*, which has waited *delay* seconds for others, None if there were none to wait for.

    Answer ``service_ready``, then ``service_ended``.
    """

    name: str
    delay: float | None = None


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Everything is up: say so to the old process, the parent, the service manager."""


@dataclass(frozen=True, slots=True)
class SendDescriptors:
    """Hand the sockets over to a new process; answer ``handed_over`` or ``hand_over_failed``."""


@dataclass(frozen=True, slots=True)
class StopSending:
    """Give the hand-over up; it is answered by nothing."""


@dataclass(frozen=True, slots=True)
class DrainService:
    """Let *name* accept no more and finish what is under way. *handed_over*: clients may keep idle connections."""

    name: str
    handed_over: bool


@dataclass(frozen=True, slots=True)
class AbortService:
    """End *name* at once."""

    name: str


@dataclass(frozen=True, slots=True)
class Report:
    """Log *text* at *level*, a name as in the logging module."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Exit:
    """It is over; *code* is for the process."""

    code: int


LifecycleCommand = (
    EnterPhase
    | ReceiveDescriptors
    | StartService
    | Acknowledge
    | SendDescriptors
    | StopSending
    | DrainService
    | AbortService
    | Report
    | Exit
)


class _Life:
    """One service."""

    __slots__ = ("failures", "ready", "retry_at", "running", "since", "waited_from")

    def __init__(self) -> None:
        self.running = False
        self.ready = False
        """For those who wait for it: it is or was ready, or goes on being absent."""
        self.failures = 0
        self.retry_at = math.inf
        self.since = 0.0
        self.waited_from: float | None = None


class ServerLifecycle:
    """Decides; a driver obeys its commands in their order and reports what came of them.

    *policies*: by name of a service; FAIL where there is none. *grace_period*: seconds for the end of what is under
    way; *stop_timeout*: seconds for services to end after that. *upgrade*: begin with the sockets of an old process.
    """

    def __init__(
        self,
        graph: ServiceGraph,
        policies: Mapping[str, FailurePolicy] | None = None,
        *,
        grace_period: float = 300.0,
        stop_timeout: float = 5.0,
        upgrade: bool = False,
    ) -> None:
        self._graph = graph
        self._policies = {} if policies is None else policies
        self._grace_period = grace_period
        self._stop_timeout = stop_timeout
        self._upgrade = upgrade
        self._lives = {name: _Life() for name in graph.order()}
        self._commands: list[LifecycleCommand] = []
        self._code = 0
        self._phase_end = math.inf
        self.phase = ExecutionPhase.SETUP

    # ── what a driver asks ───────────────────────────────────────────────────────────

    @property
    def deadline(self) -> float:
        """When to call :meth:`handle_timeout`, in monotonic seconds."""
        if self._ending:
            return self._phase_end
        return min((life.retry_at for life in self._lives.values()), default=math.inf)

    def take_commands(self) -> list[LifecycleCommand]:
        """What to do now, in order."""
        commands, self._commands = self._commands, []
        return commands

    @property
    def running(self) -> list[str]:
        """The services that were started and have not ended, each behind those that it depends on."""
        return [name for name, life in self._lives.items() if life.running]

    # ── input ────────────────────────────────────────────────────────────────────────

    def bootstrap(self, now: float) -> None:
        """Begin.

        :raises LocalProtocolError: it has begun already.
        """
        self._move(Move.BOOTSTRAP)
        if self._upgrade:
            self._commands.append(ReceiveDescriptors())
        else:
            self._begin(now)

    def descriptors_received(self, now: float) -> None:
        """The sockets of the old process are here, and it waits for the acknowledgement."""
        if self.phase is ExecutionPhase.BOOTSTRAP:
            self._begin(now)

    def descriptors_refused(self, reason: str, now: float) -> None:
        """They did not come: there is nothing that this process could serve."""
        if self.phase is ExecutionPhase.BOOTSTRAP:
            self._commands.append(Report("ERROR", f"no sockets from the old process: {reason}"))
            self._fail(now)

    def service_ready(self, name: str, now: float) -> None:
        """*name* is ready: its addresses are bound."""
        life = self._life(name)
        if life.running and not life.ready:
            life.ready = True
            self._go_on(now)

    def service_ended(self, name: str, error: str | None, now: float) -> None:
        """*name* has ended; by a failure where *error* says which.

        :raises LocalProtocolError: it was not running.
        """
        life = self._life(name)
        if not life.running:
            raise LocalProtocolError(f"service {name!r} has ended without having been started")
        life.running = False
        if self._ending:
            if error is not None:
                self._commands.append(Report("ERROR", f"service {name!r} failed at the end: {error}"))
            self._look_for_end(now)
            return
        if error is None:
            life.ready = True  # it has done its work
            self._commands.append(Report("INFO", f"service {name!r} has ended"))
            self._go_on(now)
            return
        policy = self._policies.get(name, FailurePolicy.FAIL)
        if policy is FailurePolicy.RESTART and self._starting:
            policy = FailurePolicy.FAIL
        match policy:
            case FailurePolicy.FAIL:
                self._commands.append(Report("ERROR", f"service {name!r} failed: {error}"))
                self._fail(now)
            case FailurePolicy.RETRY | FailurePolicy.RESTART:
                if now - life.since >= _STEADY:
                    life.failures = 0
                delay = min(_FIRST_RETRY * 2**life.failures, _LONGEST_RETRY)
                life.failures = min(life.failures + 1, 16)
                life.retry_at = now + delay
                self._commands.append(Report("ERROR", f"service {name!r} failed: {error}; again in {delay:g} s"))
            case FailurePolicy.CONTINUE:
                life.ready = True
                self._commands.append(Report("ERROR", f"service {name!r} failed: {error}; the others go on without it"))
                self._go_on(now)

    def signal(self, signal: ShutdownSignal, now: float) -> None:
        """It is asked to end, or to hand over; where that means nothing, nothing happens."""
        move = SIGNALS.get((self.phase, signal))
        if move is None:
            self._commands.append(Report("INFO", f"{signal.value} in phase {self.phase.value} changes nothing"))
            return
        if self.phase is ExecutionPhase.GRACEFUL_UPGRADE_TRANSFERRING_FDS:
            self._commands.append(StopSending())
        match move:
            case Move.UPGRADE:
                self._move(Move.UPGRADE)
                self._commands.append(SendDescriptors())
            case Move.TERMINATE:
                self._move(Move.TERMINATE)
                self._drain(now, handed_over=False)
            case Move.FAST:
                self._move(Move.FAST)
                self._stop(now)
            case _:
                self._stop(now)

    def handed_over(self, now: float) -> None:
        """The new process accepts, and has said so."""
        if self.phase is ExecutionPhase.GRACEFUL_UPGRADE_TRANSFERRING_FDS:
            self._move(Move.HANDED_OVER)
            # Pingora waits 5 s here for the new process to come up. It is up.
            self._drain(now, handed_over=True)

    def hand_over_failed(self, reason: str, now: float) -> None:
        """No new process has taken the sockets and acknowledged: go on as if nothing had been."""
        if self.phase is ExecutionPhase.GRACEFUL_UPGRADE_TRANSFERRING_FDS:
            self._commands.append(Report("ERROR", f"no hand-over, and this process goes on serving: {reason}"))
            self._move(Move.HAND_OVER_FAILED)

    def handle_timeout(self, now: float) -> None:
        """Time has passed; early or repeated calls are harmless."""
        if now >= self._phase_end:
            if self.phase is ExecutionPhase.SHUTDOWN_GRACE_PERIOD:
                self._commands.append(Report("WARNING", f"the grace period is over: {_names(self.running)} aborted"))
                self._stop(now)
            else:
                self._commands.append(Report("WARNING", f"left behind: {_names(self.running)} would not end"))
                self._terminate()
        if not self._ending:
            for name, life in self._lives.items():
                if now >= life.retry_at:
                    self._start(name, life, None, now)

    # ── inside ───────────────────────────────────────────────────────────────────────

    @property
    def _ending(self) -> bool:
        return self.phase in _ENDING

    @property
    def _starting(self) -> bool:
        return self.phase in (ExecutionPhase.BOOTSTRAP, ExecutionPhase.BOOTSTRAP_COMPLETE)

    def _life(self, name: str) -> _Life:
        life = self._lives.get(name)
        if life is None:
            raise LocalProtocolError(f"there is no service {name!r}")
        return life

    def _move(self, move: Move) -> None:
        phase = MOVES.get((self.phase, move))
        if phase is None:
            raise LocalProtocolError(f"{move.name} in phase {self.phase.value} is no move")
        self.phase = phase
        self._commands.append(EnterPhase(phase))

    def _begin(self, now: float) -> None:
        self._move(Move.BOOTSTRAPPED)
        for name, life in self._lives.items():
            if self._graph.dependencies(name):
                life.waited_from = now
            else:
                self._start(name, life, None, now)
        self._go_on(now)

    def _start(self, name: str, life: _Life, delay: float | None, now: float) -> None:
        life.running = True
        life.since = now
        life.retry_at = math.inf
        life.waited_from = None
        self._commands.append(StartService(name, delay))

    def _go_on(self, now: float) -> None:
        """Start whose waiting is over; all ready is up."""
        if self._ending:
            return
        for name, life in self._lives.items():
            if life.waited_from is not None and all(self._lives[on].ready for on in self._graph.dependencies(name)):
                self._start(name, life, now - life.waited_from, now)
        if self.phase is ExecutionPhase.BOOTSTRAP_COMPLETE and all(life.ready for life in self._lives.values()):
            self._commands.append(Acknowledge())
            self._move(Move.ALL_READY)

    def _fail(self, now: float) -> None:
        """One that must not fail has: end, gracefully for the clients of the others."""
        self._code = 1
        if self.phase is ExecutionPhase.GRACEFUL_UPGRADE_TRANSFERRING_FDS:
            self._commands.append(StopSending())
        was_up = not self._starting
        self._move(Move.TERMINATE if was_up else Move.FAST)
        if was_up:
            self._drain(now, handed_over=False)
        else:
            self._stop(now)

    def _drain(self, now: float, *, handed_over: bool) -> None:
        self._move(Move.SHUT_DOWN)
        self._move(Move.DRAIN)
        self._phase_end = now + self._grace_period
        self._commands += [DrainService(name, handed_over) for name in reversed(self.running)]
        self._look_for_end(now)

    def _stop(self, now: float) -> None:
        self._move(Move.STOP)
        self._phase_end = now + self._stop_timeout
        self._commands += [AbortService(name) for name in reversed(self.running)]
        self._look_for_end(now)

    def _look_for_end(self, now: float) -> None:
        if not self.running:
            if self.phase is ExecutionPhase.SHUTDOWN_GRACE_PERIOD:
                self._move(Move.STOP)
            if self.phase is ExecutionPhase.SHUTDOWN_RUNTIMES:
                self._terminate()

    def _terminate(self) -> None:
        self._phase_end = math.inf
        self._move(Move.STOPPED)
        self._commands.append(Exit(self._code))


_ENDING = frozenset(
    {
        ExecutionPhase.GRACEFUL_TERMINATE,
        ExecutionPhase.SHUTDOWN_STARTED,
        ExecutionPhase.SHUTDOWN_GRACE_PERIOD,
        ExecutionPhase.SHUTDOWN_RUNTIMES,
        ExecutionPhase.TERMINATED,
    }
)


def _names(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"
