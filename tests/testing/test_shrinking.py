"""A seed that breaks something is told with few decisions, and breaks the same way with them."""

import subprocess
import sys

import pytest

from sansio_pingora.testing import Oracle, OracleBroken, World
from sansio_pingora.testing import shrinking as shrinking_module
from sansio_pingora.testing.prng import Random
from sansio_pingora.testing.scenario import build_world
from sansio_pingora.testing.shrinking import Noted, Told, shrink_seed
from sansio_pingora.testing.simulate import main
from tests.planted.__main__ import planted
from tests.planted.faults import FAULTS


def trace_of(seed, rng=None):
    world, _ = build_world(seed, rng=rng)
    world.settle()
    for driver in world.drivers:
        driver.stop()
    return world.trace_hash()


@pytest.mark.parametrize("seed", [0, 3, 7, 12, 17])
def test_a_seed_is_its_decisions(seed):
    noted = Noted(seed)

    assert trace_of(seed, noted) == trace_of(seed, Told(noted.decisions)) == trace_of(seed)


def test_a_generator_that_notes_draws_what_others_do():
    def draws(rng):
        own = [
            rng.below(7),
            rng.chance(0.5),
            rng.uniform(2.0, 5.0),
            rng.bits(),
            rng.data(9),
            rng.weighted([(1, 1), (9, 2)]),
        ]
        return [*own, rng.fork("a").below(100), rng.fork("a").fork("b").pick("xyz"), rng.chance(1.0)]

    noted = Noted(4)

    assert draws(noted) == draws(Random(4)) == draws(Told(noted.decisions))


def test_who_is_told_nothing_decides_plainly():
    told = Told({})

    assert [told.below(9), told.chance(0.9), told.uniform(2.0, 3.0), told.pick("abc")] == [0, False, 2.0, "a"]
    assert told.chance(1.0)  # no decision at all


def test_an_answer_to_another_question_is_fitted():
    told = Told({"": dict.fromkeys(range(6), 40)})

    assert [told.below(9), told.chance(0.1), told.uniform(2.0, 3.0), told.below(100)] == [8, True, 3.0, 40]
    assert [told.chance(0.0), Told({"": {0: 0.7}}).below(5)] == [False, 0]


class Touchy(Oracle):
    """Cannot bear two of many decisions together, nor the number of a third above four."""

    def __init__(self, drawn):
        self.drawn = drawn

    def quiescent(self, world):
        if self.drawn[3] and self.drawn[17] and self.drawn[-1] > 4:
            world.broken("I-1", f"{self.drawn}")


def touchy(seed, rng):
    world = World(seed, rng=rng)
    own = rng.fork("own")
    drawn = [own.chance(0.8) for _ in range(30)]
    rng.fork("others").data(100)
    world.watch(Touchy([*drawn, rng.fork("own/more").below(1_000)]))
    return world


def shrunk_touchy(**more):
    return next(filter(None, (shrink_seed(seed, build=touchy, **more) for seed in range(20))))


def test_only_the_decisions_that_matter_are_left():
    shrunk = shrunk_touchy()

    assert shrunk.before > 30
    assert set(shrunk.decisions) == {"own", "own/more"}
    assert shrunk.decisions["own"] == {3: True, 17: True}
    assert 4 < shrunk.decisions["own/more"][0] < 10
    assert shrunk.after == 3


def test_few_attempts_leave_more_decisions():
    few = shrunk_touchy(attempts=5)

    assert few.attempts == 5
    assert few.after > 3
    with pytest.raises(AssertionError, match="I-1"):
        touchy(0, Told(few.decisions)).settle()


def test_a_world_of_ones_own_is_told_with_what_builds_it():
    shrunk = shrunk_touchy()

    assert shrunk.as_test() == (
        f"from {__name__} import touchy\n"
        "from sansio_pingora.testing.shrinking import Told\n\n\n"
        f"def test_i_1_of_seed_{shrunk.seed}():\n"
        f"    decisions = {shrunk.decisions}\n"
        f"    world = touchy({shrunk.seed}, Told(decisions))\n"
        "    world.settle()\n"
    )

    def local_one(seed, rng):
        return touchy(seed, rng)

    local = shrink_seed(shrunk.seed, build=local_one).as_test()
    assert local.startswith("from sansio_pingora.testing.shrinking import Told\n")
    assert f"    world = build({shrunk.seed}, Told(decisions))\n" in local


def test_the_error_tells_how_to_build_its_world_again():
    shrunk = shrunk_touchy()

    with pytest.raises(OracleBroken) as caught:
        touchy(shrunk.seed, Random(shrunk.seed)).settle()
    assert f"  again: what is built on World({shrunk.seed}, rng=Random({shrunk.seed})); " in str(caught.value)
    assert f"shrink_seed({shrunk.seed}, build=...)" in str(caught.value)
    assert f"World({shrunk.seed}, rng=Told({shrunk.decisions}))" in str(shrunk.error)


def test_a_world_that_decides_by_itself_cannot_be_shrunk():
    with pytest.raises(ValueError, match=r"World\(3\) does not decide by the rng that .* World\(seed, weather, rng\)"):
        shrink_seed(3, build=lambda seed, rng: World(seed))


@pytest.mark.parametrize("name", ["a timer that moved later is lost", "missing deadline: a dial"])
def test_a_planted_fault_becomes_a_short_story_and_a_test(name):
    code = (
        "from sansio_pingora.testing.shrinking import shrink_seed\n"
        "shrunk = next(filter(None, (shrink_seed(seed, attempts=200) for seed in range(100))))\n"
        "print(shrunk.before, shrunk.after, shrunk.world.steps)\n"
        "print(shrunk.as_test())"
    )

    def run(folder, env, code):
        return subprocess.run(
            [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=False
        )

    with planted(next(fault for fault in FAULTS if fault.name == name)) as (folder, env):
        counts, _, test = run(folder, env, code).stdout.partition("\n")
        call = f"{test}\n{test.partition('def ')[2].partition(':')[0]}"
        again = run(folder, env, call)

    before, after, steps = map(int, counts.split())
    assert before > 100
    assert after < 20
    assert steps < 50
    assert "OracleBroken: I-9: " in again.stderr
    exec(compile(call, "pasted", "exec"), {})  # without the fault nothing breaks


def test_the_command_has_nothing_to_say_of_a_sound_seed(capsys):
    assert main(["--seed", "1", "--shrink"]) == 0
    assert capsys.readouterr().out == "seed 1 breaks nothing\n"


def test_the_command_tells_the_story_and_prints_a_test(capsys, monkeypatch):
    monkeypatch.setattr(shrinking_module, "build_world", lambda seed, rng: (touchy(seed, rng), None))
    seed = shrunk_touchy(attempts=0).seed

    assert main(["--seed", str(seed), "--shrink", "400"]) == 1

    out = capsys.readouterr().out
    assert out.startswith("I-1: [")
    assert " decisions became 3, 0 steps 0, in " in out
    assert f"def test_i_1_of_seed_{seed}():\n    decisions = {{'own'" in out
