"""Worlds about the life of a server, and what a broken lifecycle shows in them."""

from collections import Counter

import pytest

from sansio_pingora.server import DrainService, ServerLifecycle
from sansio_pingora.testing import ALL_FAULTS, OracleBroken
from sansio_pingora.testing.driver import Driver
from sansio_pingora.testing.prng import Random
from sansio_pingora.testing.scenario import run_seed
from sansio_pingora.testing.server_worlds import build_server_world, is_about_servers
from sansio_pingora.testing.sim_server import Process

SEEDS = range(60)


def run(seed):
    world, _ = build_server_world(seed)
    try:
        world.settle()
    finally:
        for driver in world.drivers:
            driver.stop()
    return world


def complaints():
    """What the oracles say of some seeds."""
    for seed in SEEDS:
        try:
            run(seed)
        except OracleBroken as exc:
            assert exc.invariant == "I-13"
            yield exc.complaint


@pytest.mark.parametrize("first", SEEDS[::20])
def test_the_server_keeps_its_invariants(first):
    judged = 0
    for seed in range(first, first + 20):
        judged += run(seed).judged["I-13"]
    assert judged


def test_every_fault_of_a_servers_life_fires_often_enough():
    counts = Counter()
    for seed in range(7, 1_500, 10):
        counts += run(seed).faults.counts

    faults = [name for name in ALL_FAULTS if name.startswith(("signal ", "hand-over ", "server ", "service "))]
    # These 150 worlds are those of 1,500 seeds, so 15 stands for the hundred that 10,000 seeds must have:
    # `python -m sansio_pingora.testing.simulate --at-least 100 --seeds 0:10000` shows that itself.
    assert [name for name in faults if counts[name] < 15] == []


def test_the_same_seed_gives_the_same_trace():
    assert [run(seed).trace_hash() for seed in range(8)] == [run(seed).trace_hash() for seed in range(8)]


def test_dice_in_place_of_the_seed_decide():
    def trace(seed):
        world, _ = build_server_world(0, Random(seed))
        world.settle()
        return world.trace_hash()

    assert trace(5) == trace(5) != trace(6)


def test_one_seed_of_ten_is_such_a_world():
    assert [seed for seed in range(30) if is_about_servers(seed)] == [7, 17, 27]
    assert any(line[2] == "phase" for line in run_seed(7, keep_trace=True).trace)


# ── what it would catch ──────────────────────────────────────────────────────────────


def test_an_old_process_that_ends_though_the_hand_over_failed(monkeypatch):
    """As Pingora's does."""
    monkeypatch.setattr(
        ServerLifecycle, "hand_over_failed", lambda self, _reason, now: ServerLifecycle.handed_over(self, now)
    )
    assert any("nobody else does" in complaint or "refused" in complaint for complaint in complaints())


def test_a_new_process_that_takes_the_sockets_and_does_not_accept(monkeypatch):
    def acknowledge(self):
        self.meeting.acknowledge(self)
        self.admitted = True
        self.up_at = self.world.now

    monkeypatch.setattr(Process, "_acknowledge", acknowledge)
    assert any("for ever" in complaint or "unanswered" in complaint for complaint in complaints())


def test_a_drain_that_aborts(monkeypatch):
    monkeypatch.setattr(Driver, "drain", lambda self, grace_period, *, keep_idle: self.abort())
    assert any("nothing was aborted" in c or "no end was asked for" in c for c in complaints())


def test_a_drain_that_never_tells_anybody(monkeypatch):
    monkeypatch.setattr(Driver, "drain", lambda self, grace_period, *, keep_idle: None)
    assert any("nothing was under way" in complaint for complaint in complaints())


def test_a_lifecycle_that_starts_everything_at_once(monkeypatch):
    def begin(self, now):
        begun(self, now)
        for name, life in self._lives.items():
            if not life.running:
                self._start(name, life, None, now)

    begun = ServerLifecycle._begin
    monkeypatch.setattr(ServerLifecycle, "_begin", begin)
    assert any("depends on, is ready" in complaint for complaint in complaints())


def test_a_lifecycle_that_ends_the_other_way_round(monkeypatch):
    def take_commands(self):
        commands = taken(self)
        drains = [command for command in commands if isinstance(command, DrainService)]
        return [*(command for command in commands if command not in drains), *reversed(drains)]

    taken = ServerLifecycle.take_commands
    monkeypatch.setattr(ServerLifecycle, "take_commands", take_commands)
    assert any("is told to end before" in complaint for complaint in complaints())


def test_a_lifecycle_that_waits_longer_than_it_has_to(monkeypatch):
    monkeypatch.setattr(ServerLifecycle, "_look_for_end", lambda self, now: None)
    assert any("it ends at" in complaint for complaint in complaints())
