"""The life of a server: every cell of its tables, its stories, and a model."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import settings

from sansio_pingora.errors import LocalProtocolError
from sansio_pingora.server import (
    MOVES,
    SIGNALS,
    AbortService,
    Acknowledge,
    DrainService,
    EnterPhase,
    ExecutionPhase,
    Exit,
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
from sansio_pingora.testing.stateful import LifecycleMachine

P = ExecutionPhase
QUIT, TERM, INT = ShutdownSignal
ORDER = list(ExecutionPhase)


def graph(**needs: str) -> ServiceGraph:
    made = ServiceGraph()
    for name in needs:
        made.add(name)
    for name, on in needs.items():
        for one in on.split():
            made.add_dependency(name, one)
    return made


def life(policies: dict[str, FailurePolicy] | None = None, *, upgrade: bool = False, **needs: str) -> ServerLifecycle:
    return ServerLifecycle(
        graph(**(needs or {"web": ""})), policies, grace_period=30.0, stop_timeout=5.0, upgrade=upgrade
    )


def said(machine: ServerLifecycle) -> list[object]:
    """The commands, without what is for people."""
    return [command for command in machine.take_commands() if not isinstance(command, Report)]


def running(**kwargs: object) -> ServerLifecycle:
    machine = life(**kwargs)  # type: ignore[arg-type]
    machine.bootstrap(0.0)
    for name in list(machine.running):
        machine.service_ready(name, 1.0)
    assert machine.phase is P.RUNNING
    machine.take_commands()
    return machine


@pytest.mark.parametrize(("phase", "move"), list(itertools.product(ExecutionPhase, Move)))
def test_every_cell_of_the_moves(phase, move):
    machine = life()
    machine.phase = phase
    if (phase, move) in MOVES:
        machine._move(move)
        assert machine.phase is MOVES[phase, move]
        # Pingora's order: a server goes forward, and back only where nobody took its sockets.
        assert ORDER.index(machine.phase) > ORDER.index(phase) or move is Move.HAND_OVER_FAILED
    else:
        with pytest.raises(LocalProtocolError, match="is no move"):
            machine._move(move)
        assert machine.phase is phase
        assert said(machine) == []


@pytest.mark.parametrize(("phase", "signal"), list(itertools.product(ExecutionPhase, ShutdownSignal)))
def test_every_cell_of_the_signals(phase, signal):
    machine = life()
    machine.phase = phase
    machine.signal(signal, 1.0)
    if (phase, signal) in SIGNALS:
        assert machine.phase is not phase
    else:
        assert machine.phase is phase
        assert said(machine) == []


def test_nothing_leaves_the_end():
    assert not [cell for cell in MOVES if cell[0] is P.TERMINATED]


def test_services_start_behind_what_they_wait_for_and_are_told_how_long():
    machine = life(web="cache db", cache="", db="cache")
    machine.bootstrap(0.0)
    assert said(machine) == [EnterPhase(P.BOOTSTRAP), EnterPhase(P.BOOTSTRAP_COMPLETE), StartService("cache")]
    machine.service_ready("cache", 2.0)
    assert said(machine) == [StartService("db", 2.0)]
    machine.service_ready("db", 5.0)
    assert said(machine) == [StartService("web", 5.0)]
    machine.service_ready("web", 6.0)
    assert said(machine) == [Acknowledge(), EnterPhase(P.RUNNING)]


def test_term_drains_and_ends_with_the_last_service():
    machine = running(web="", db="")
    machine.signal(TERM, 10.0)
    assert said(machine) == [
        EnterPhase(P.GRACEFUL_TERMINATE),
        EnterPhase(P.SHUTDOWN_STARTED),
        EnterPhase(P.SHUTDOWN_GRACE_PERIOD),
        DrainService("db", handed_over=False),
        DrainService("web", handed_over=False),
    ]
    assert machine.deadline == 40.0
    machine.service_ended("web", None, 11.0)
    assert said(machine) == []
    machine.service_ended("db", None, 12.0)
    assert said(machine) == [EnterPhase(P.SHUTDOWN_RUNTIMES), EnterPhase(P.TERMINATED), Exit(0)]
    assert machine.deadline == math.inf


@pytest.mark.parametrize("second", [TERM, INT])
def test_a_second_signal_does_not_wait(second):
    machine = running()
    machine.signal(TERM, 10.0)
    machine.take_commands()
    machine.signal(second, 10.1)
    assert said(machine) == [EnterPhase(P.SHUTDOWN_RUNTIMES), AbortService("web")]


def test_the_grace_period_and_the_time_to_stop_have_an_end():
    machine = running()
    machine.signal(TERM, 10.0)
    machine.take_commands()
    machine.handle_timeout(39.9)
    assert said(machine) == []
    machine.handle_timeout(40.0)
    assert said(machine) == [EnterPhase(P.SHUTDOWN_RUNTIMES), AbortService("web")]
    machine.handle_timeout(45.0)
    assert said(machine) == [EnterPhase(P.TERMINATED), Exit(0)]


def test_int_aborts():
    machine = running()
    machine.signal(INT, 10.0)
    assert said(machine) == [EnterPhase(P.SHUTDOWN_STARTED), EnterPhase(P.SHUTDOWN_RUNTIMES), AbortService("web")]


@pytest.mark.parametrize(("signal", "kind"), [(TERM, DrainService), (ShutdownSignal.FAST_SHUTDOWN, AbortService)])
def test_services_are_told_to_end_before_what_they_depend_on(signal, kind):
    machine = life(web="cache db", cache="", db="cache")
    machine.bootstrap(0.0)
    for name in ("cache", "db", "web"):
        machine.service_ready(name, 1.0)
    said(machine)
    machine.signal(signal, 10.0)
    assert [command.name for command in said(machine) if isinstance(command, kind)] == ["web", "db", "cache"]


def test_a_hand_over_ends_when_the_new_process_has_acknowledged():
    machine = running()
    machine.signal(QUIT, 10.0)
    assert said(machine) == [EnterPhase(P.GRACEFUL_UPGRADE_TRANSFERRING_FDS), SendDescriptors()]
    machine.handed_over(11.0)
    assert said(machine) == [
        EnterPhase(P.GRACEFUL_UPGRADE_CLOSE_TIMEOUT),
        EnterPhase(P.SHUTDOWN_STARTED),
        EnterPhase(P.SHUTDOWN_GRACE_PERIOD),
        DrainService("web", handed_over=True),
    ]


def test_a_hand_over_that_fails_changes_nothing():
    machine = running()
    machine.signal(QUIT, 10.0)
    machine.take_commands()
    machine.hand_over_failed("it died", 11.0)
    assert said(machine) == [EnterPhase(P.RUNNING)]
    machine.signal(QUIT, 12.0)
    assert SendDescriptors() in said(machine)


def test_term_amid_a_hand_over_gives_it_up():
    machine = running()
    machine.signal(QUIT, 10.0)
    machine.take_commands()
    machine.signal(TERM, 11.0)
    assert said(machine)[0] == StopSending()
    machine.handed_over(12.0)  # too late
    assert said(machine) == []


def test_the_new_process_starts_nothing_before_the_sockets_are_there():
    machine = life(upgrade=True)
    machine.bootstrap(0.0)
    assert said(machine) == [EnterPhase(P.BOOTSTRAP), ReceiveDescriptors()]
    machine.descriptors_received(1.0)
    assert said(machine) == [EnterPhase(P.BOOTSTRAP_COMPLETE), StartService("web")]


def test_the_new_process_ends_when_they_do_not_come():
    machine = life(upgrade=True)
    machine.bootstrap(0.0)
    machine.take_commands()
    machine.descriptors_refused("nobody came", 1.0)
    assert said(machine)[-1] == Exit(1)


def test_a_service_that_must_not_fail_fails_the_start():
    machine = life(web="", db="")
    machine.bootstrap(0.0)
    machine.take_commands()
    machine.service_ended("db", "no port", 1.0)
    assert said(machine) == [EnterPhase(P.SHUTDOWN_STARTED), EnterPhase(P.SHUTDOWN_RUNTIMES), AbortService("web")]
    machine.service_ended("web", None, 2.0)
    assert said(machine)[-1] == Exit(1)


def test_one_that_fails_later_lets_the_others_finish():
    machine = running(web="", db="")
    machine.service_ended("db", "lost", 5.0)
    assert DrainService("web", handed_over=False) in said(machine)
    machine.service_ended("web", None, 6.0)
    assert said(machine)[-1] == Exit(1)


def test_retry_backs_off():
    machine = life({"web": FailurePolicy.RETRY})
    machine.bootstrap(0.0)
    now, waits = 0.0, []
    for _ in range(10):
        machine.service_ended("web", "again", now)
        waits.append(round(machine.deadline - now, 6))
        machine.take_commands()
        now = machine.deadline
        machine.handle_timeout(now)
        assert said(machine) == [StartService("web")]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]
    now += 100.0
    machine.service_ended("web", "after a long time", now)
    assert machine.deadline == pytest.approx(now + 0.1)


def test_what_is_restarted_fails_the_start_and_is_tried_again_once_all_was_up():
    machine = life({"web": FailurePolicy.RESTART, "db": FailurePolicy.RESTART}, web="", db="")
    machine.bootstrap(0.0)
    machine.service_ready("db", 0.5)
    machine.take_commands()
    machine.service_ended("web", "no port", 1.0)
    assert said(machine)[-1] == AbortService("db")

    machine = running(policies={"web": FailurePolicy.RESTART})
    machine.service_ended("web", "killed", 1.0)
    assert said(machine) == []
    assert machine.phase is P.RUNNING
    machine.handle_timeout(machine.deadline)
    assert said(machine) == [StartService("web")]


def test_the_others_go_on_without_one_that_may_fail():
    machine = life({"db": FailurePolicy.CONTINUE}, web="db", db="")
    machine.bootstrap(0.0)
    machine.take_commands()
    machine.service_ended("db", "no", 1.0)
    assert said(machine) == [StartService("web", 1.0)]


def test_an_end_that_nobody_began_is_refused():
    machine = life()
    with pytest.raises(LocalProtocolError, match="without having been started"):
        machine.service_ended("web", None, 0.0)
    with pytest.raises(LocalProtocolError, match="there is no service"):
        machine.service_ready("wbe", 0.0)


TestServers = LifecycleMachine.TestCase
TestServers.settings = settings(max_examples=100, stateful_step_count=40)
