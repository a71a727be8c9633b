import os
import subprocess
import sys
from collections import Counter

import pytest

from sansio_pingora.testing import OracleBroken
from sansio_pingora.testing.faults import SIMULATED_FAULTS
from sansio_pingora.testing.scenario import Report, build_world, run_seed
from sansio_pingora.testing.simulate import main
from tests.testing.fakes import Echo


def trace_of(seed):
    world, _ = build_world(seed)
    try:
        world.settle()
    except OracleBroken:
        pass
    for driver in world.drivers:
        driver.stop()
    return world.trace_hash()


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_the_proxy_keeps_every_invariant(first):
    for seed in range(first, first + 20):
        run_seed(seed)


def test_the_same_seed_gives_the_same_trace():
    assert [trace_of(seed) for seed in range(20)] == [trace_of(seed) for seed in range(20)]
    assert len({trace_of(seed) for seed in range(20)}) == 20


@pytest.mark.parametrize("hash_seed", ["0", "77"])
def test_the_trace_does_not_depend_on_hash_randomization(hash_seed):
    code = "from tests.testing.test_scenario import trace_of; print(*map(trace_of, range(8)))"

    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(__file__))),
    )

    assert out.stdout.split() == [trace_of(seed) for seed in range(8)]


def test_an_application_of_ones_own_is_judged_too():
    broken = 0
    for seed in range(5):
        try:
            run_seed(seed, lambda world, case, addresses: Echo())
        except OracleBroken:
            broken += 1

    assert broken  # an echo is no proxy


def test_reports_add_up_and_name_what_never_fired():
    total = Report()
    one = Report(seeds=1, steps=10, requests=3, answered=2)
    one.faults["connect refused"] += 2

    total.add(one)
    total.add(one)

    assert (total.seeds, total.steps, total.requests, total.answered) == (2, 20, 6, 4)
    assert total.faults["connect refused"] == 4
    assert set(total.missing()) == set(SIMULATED_FAULTS) - {"connect refused"}


def test_the_command_prints_rate_and_faults(capsys):
    main(["--seeds", "0:3", "--show", "0"])

    out = capsys.readouterr().out
    assert out.startswith("3 seeds, ")
    assert "steps/s" in out
    assert "never fired: " in out
    assert "I-12  watched in 3 worlds, had something to judge in " in out
    assert "\ntraces of 3 worlds: " in out


def test_the_command_fails_where_a_fault_fired_too_seldom(capsys, monkeypatch):
    often = Report(seeds=1, faults=Counter(dict.fromkeys(SIMULATED_FAULTS, 2)))
    monkeypatch.setattr("sansio_pingora.testing.simulate.run_seed", lambda seed: often)

    assert main(["--seeds", "0:3", "--at-least", "6"]) == 0
    assert main(["--seeds", "0:3", "--at-least", "7"]) == 1
    assert "fired less than 7 times: connect refused 6, " in capsys.readouterr().out


def test_each_thousand_of_seeds_has_a_hash_of_its_own(capsys, monkeypatch):
    def said(*arguments):
        main(list(arguments))
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith("seeds ")]

    monkeypatch.setattr(
        "sansio_pingora.testing.simulate.run_seed", lambda seed: Report(trace_hash=str(seed), traces=[str(seed)])
    )
    first, second, third = said("--seeds", "500:2010")
    assert (first[:15], second[:16], third[:16]) == ("seeds 500:1000 ", "seeds 1000:2000 ", "seeds 2000:2010 ")
    assert said("--seeds", "1000:3000")[0] == second
    assert said("--seeds", "0:1000") == []  # the one over all says it


def test_a_seed_whose_trace_is_another_the_second_time_is_broken(capsys, monkeypatch):
    hashes = iter("abcd")
    monkeypatch.setattr("sansio_pingora.testing.simulate.run_seed", lambda seed: Report(trace_hash=next(hashes)))

    assert main(["--seeds", "0:2", "--again", "1"]) == 1

    out = capsys.readouterr().out
    assert "2 broken: 0, 1" in out
    assert "I-14: the trace was a, and the second time b" in out


def test_the_command_prints_a_trace(capsys):
    main(["--seed", "1", "--trace"])

    out = capsys.readouterr().out
    assert "connect" in out
    assert "seed 1" in out


def test_the_command_goes_on_behind_a_world_that_raises(capsys, monkeypatch):
    def run(seed):
        if seed == 1:
            raise RuntimeError("on purpose")
        return run_seed(seed)

    monkeypatch.setattr("sansio_pingora.testing.simulate.run_seed", run)
    monkeypatch.setattr("sansio_pingora.testing.simulate._PROGRESS", 0.0)

    assert main(["--seeds", "0:3"]) == 1
    said = capsys.readouterr()
    assert "seed 1: Traceback" in said.out
    assert "RuntimeError: on purpose" in said.out
    assert "3 seeds, 1 broken: 1" in said.out
    assert "3 of 3 seeds, 1 broken" in said.err
