"""The life of a server: any inputs in any order, in virtual time, against what must always hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, assert_never

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sansio_pingora.server import (
    MOVES,
    SIGNALS,
    AbortService,
    Acknowledge,
    DrainService,
    EnterPhase,
    ExecutionPhase,
    Exit,
    LifecycleCommand,
    Move,
    ReceiveDescriptors,
    Report,
    SendDescriptors,
    ServerLifecycle,
    ShutdownSignal,
    StartService,
    StopSending,
)
from sansio_pingora.services import FailurePolicy, ServiceGraph
from sansio_pingora.testing.contracts import check_contract

__all__ = ["LifecycleMachine", "Lifecyclelike"]

_NAMES = "abcd"
_POLICIES = (FailurePolicy.FAIL, FailurePolicy.RETRY, FailurePolicy.CONTINUE, FailurePolicy.RESTART)
_NEEDS = {"a": "b", "c": "a"}
_GRACE, _STOP = 10.0, 2.0


class Lifecyclelike(Protocol):
    """What :class:`LifecycleMachine` asks of a lifecycle; see :class:`~sansio_pingora.server.ServerLifecycle`."""

    @property
    def deadline(self) -> float:
        """When handle_timeout is to be called, math.inf for never."""

    @property
    def running(self) -> Any:
        """The names of the services that were started and have not ended, in any order."""

    def bootstrap(self, now: float) -> None:
        """Begin: called once, first of all."""

    def service_ready(self, name: str, now: float) -> None:
        """*name* is up; of one that does not run, or is up already, it changes nothing."""

    def service_ended(self, name: str, error: str | None, now: float) -> None:
        """*name*, which ran, runs no more; *error* is None when it has done its work."""

    def signal(self, signal: ShutdownSignal, now: float) -> None:
        """The server was asked to end, or to hand over: a move where SIGNALS has one, else nothing."""

    def handed_over(self, now: float) -> None:
        """The new process has acknowledged; while nothing is being handed over it changes nothing."""

    def hand_over_failed(self, why: str, now: float) -> None:
        """There is no new process; while nothing is being handed over it changes nothing."""

    def handle_timeout(self, now: float) -> None:
        """Time has passed; early or repeated calls are harmless."""

    def take_commands(self) -> list[LifecycleCommand]:
        """Every command since the last call, in order, of the kinds of LifecycleCommand; [] for none."""


class LifecycleMachine(RuleBasedStateMachine):
    """Services start behind what they need, phases follow the table, signals are heard, and it ends in time, once.

    Override :meth:`make` for a lifecycle of your own: docs/own-machines.md has what it must do.
    """

    def __init__(self) -> None:
        super().__init__()
        graph = ServiceGraph()
        for name in _NAMES:
            graph.add(name)
        for name, needs in _NEEDS.items():
            graph.add_dependency(name, needs)
        policies = dict(zip(_NAMES, _POLICIES, strict=True))
        self.machine: Lifecyclelike = self.make(graph, policies, grace_period=_GRACE, stop_timeout=_STOP)
        check_contract(self.machine, Lifecyclelike, f"{type(self).__name__}.make() returned")
        self.now = 0.0
        self.running: set[str] = set()
        self.ready: set[str] = set()
        self.phases = [ExecutionPhase.SETUP]
        self.exits: list[int] = []
        self.ending_since: float | None = None
        self.retries: dict[str, float] = {}
        """Services that are to be started again, since when."""
        self.machine.bootstrap(0.0)
        self.obey()

    def make(
        self, graph: ServiceGraph, policies: Mapping[str, FailurePolicy], *, grace_period: float, stop_timeout: float
    ) -> Lifecyclelike:
        """The lifecycle under test."""
        return ServerLifecycle(graph, policies, grace_period=grace_period, stop_timeout=stop_timeout)

    def obey(self) -> None:
        """Take its commands, and judge them."""
        self.steady = False
        for command in self.machine.take_commands():
            assert isinstance(command, LifecycleCommand), f"{command!r} is no command of a lifecycle"
            assert not self.exits or isinstance(command, Report), f"{command} after the end"
            match command:
                case StartService(name):
                    self._starts(name)
                case DrainService(name, _) | AbortService(name):
                    assert name in self.running, f"{command}, which does not run"
                case EnterPhase(phase):
                    self._enters(phase)
                case Exit(code):
                    self._exits()
                    self.exits.append(code)
                case ReceiveDescriptors() | Acknowledge() | SendDescriptors() | StopSending() | Report():
                    pass
                case _:
                    assert_never(command)
        self.steady = True

    def _starts(self, name: str) -> None:
        assert name not in self.running, f"{name} is started twice"
        needs = _NEEDS.get(name)
        assert needs is None or needs in self.ready, f"{name} is started before {needs} is ready"
        assert self.ending_since is None, f"{name} is started while the server ends"
        self.retries.pop(name, None)
        self.running.add(name)

    def _exits(self) -> None:
        assert self.ending_since is not None, "the end, though nothing has ended it"
        if self.running:
            assert self.now >= self.ending_since + _STOP, f"the end, while {self.running} have time left"

    def _enters(self, phase: ExecutionPhase) -> None:
        reachable = {MOVES.get((self.phases[-1], move)) for move in Move}
        assert phase in reachable, f"from {self.phases[-1].name} to {phase.name}, which is no move of the table"
        self.phases.append(phase)
        if phase is ExecutionPhase.SHUTDOWN_STARTED:
            self.ending_since = self.now
            self.retries.clear()

    @rule(name=st.sampled_from(_NAMES))
    def gets_ready(self, name: str) -> None:
        """A service is up."""
        if name in self.running:
            self.ready.add(name)
        self.machine.service_ready(name, self.now)
        self.obey()

    @precondition(lambda self: self.running)
    @rule(pick=st.integers(0, 3), error=st.sampled_from([None, "broke"]))
    def ends(self, pick: int, error: str | None) -> None:
        """A service runs no more."""
        name = sorted(self.running)[pick % len(self.running)]
        self.running.discard(name)
        if error is None or name == "c":
            self.ready.add(name)
        self.machine.service_ended(name, error, self.now)
        is_again = name == "b" or (name == "d" and ExecutionPhase.RUNNING in self.phases)
        if is_again and error is not None and self.ending_since is None:
            self.retries.setdefault(name, self.now)
        self.obey()

    @rule(signal=st.sampled_from(ShutdownSignal))
    def is_asked(self, signal: ShutdownSignal) -> None:
        """A signal comes, which does something where the table says so."""
        heard = SIGNALS.get((self.phases[-1], signal))
        before = len(self.phases)
        self.machine.signal(signal, self.now)
        self.obey()
        assert (len(self.phases) > before) == (heard is not None), f"{signal.name} in {self.phases[before - 1].name}"

    @rule(acknowledged=st.booleans())
    def hand_over_ends(self, acknowledged: bool) -> None:
        """A new process has taken over, or not."""
        if acknowledged:
            self.machine.handed_over(self.now)
        else:
            self.machine.hand_over_failed("gone", self.now)
        self.obey()

    @rule(seconds=st.floats(0.0, 40.0))
    def time_passes(self, seconds: float) -> None:
        """Each deadline is served when it comes."""
        until = self.now + seconds
        while self.machine.deadline <= until:
            self.now = max(self.now, self.machine.deadline)
            self.machine.handle_timeout(self.now)
            deadline = self.machine.deadline
            assert deadline > self.now, f"the deadline is {deadline} still, and handle_timeout was called at {self.now}"
            self.obey()
        self.now = until
        self.machine.handle_timeout(self.now)
        self.obey()

    @invariant()
    def knows_what_runs(self) -> None:
        """It counts what it started."""
        told = set(self.machine.running)
        assert told == self.running, f"running is {sorted(told)}, and started and not ended are {sorted(self.running)}"

    @invariant()
    def ends_in_time(self) -> None:
        """Not later than the grace period and the time to stop, and not at all unasked."""
        if self.ending_since is not None and self.now > self.ending_since + _GRACE + _STOP:
            assert self.exits, "it does not end"

    def teardown(self) -> None:
        """Each story ends: asked to, a server does, though none of its services will."""
        if self.steady and not self.exits:
            if self.ending_since is None:
                self.is_asked(ShutdownSignal.GRACEFUL_TERMINATE)
            self.time_passes(_GRACE + _STOP + 1.0)
            assert self.exits, "it does not end"

    @invariant()
    def tries_again(self) -> None:
        """What is to be retried is, half a minute later at most."""
        late = [name for name, since in self.retries.items() if self.now > since + 31.0]
        assert not late, f"{late} are never started again"
