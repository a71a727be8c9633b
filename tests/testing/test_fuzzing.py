"""The targets of fuzz/: their corpus passes, and the loop finds, shrinks and keeps what it should."""

from __future__ import annotations

from random import Random

import pytest

from fuzz.campaign import Campaign
from fuzz.corpus import CORPUS, load, minimised
from fuzz.coverage import Coverage
from fuzz.findings import CRASHES, judged, shrunk
from fuzz.mutations import mutated
from fuzz.target import Target
from fuzz.targets import TARGETS
from sansio_pingora.transport import SocketAddr

REPLAYED = [name for name, target in TARGETS.items() if target.replays]


@pytest.mark.parametrize("name", REPLAYED)
def test_the_corpus_passes(name):
    inputs = load(name)
    assert inputs, "python -m fuzz --keep"
    for data in inputs:
        TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_says_its_invariant(name):
    assert TARGETS[name].invariant.endswith(".")
    assert TARGETS[name].seeds()


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if not target.replays])
def test_what_stands_behind_a_model_is_there(name):
    TARGETS[name].run(b"")  # too short to choose anything


def test_the_corpus_is_small_and_has_no_orphans():
    files = list(CORPUS.iterdir())
    assert {path.stem for path in files} <= TARGETS.keys()
    assert sum(path.stat().st_size for path in files) < 300_000


def broken(data: bytes) -> None:
    """No address has a port of two digits."""
    try:
        port = SocketAddr.parse(data.decode("latin-1")).port
    except ValueError:
        return
    if port >= 10:
        raise RuntimeError(f"{port}")


BROKEN = Target("broken", broken, lambda: [b"a", b"a:1"], (b":",))


def test_a_fault_is_found_and_made_small(tmp_path, monkeypatch):
    monkeypatch.setattr("fuzz.findings.CRASHES", tmp_path)
    campaign = Campaign(BROKEN, Random(1))
    campaign.begin()
    for _ in range(200_000):
        if campaign.findings:
            break
        campaign._run(mutated(campaign.dice, campaign.dice.choice(campaign.inputs), campaign.inputs, campaign.words))
    (finding,) = campaign.findings.values()

    assert len(finding.data) == 4  # a host of one letter, and a port of two digits
    path = finding.save()
    assert path.read_bytes() == finding.data
    assert f"TARGETS['broken'].run({finding.data!r})" in path.with_suffix(".py").read_text()


def test_what_is_new_is_kept_once():
    campaign = Campaign(BROKEN, Random(1))
    campaign.begin()
    campaign._run(b"b:2")
    assert campaign.inputs == [b"a", b"a:1"]
    campaign._run(b"[::1]:1")
    assert campaign.inputs == [b"a", b"a:1", b"[::1]:1"]


def test_the_smallest_inputs_that_reach_everything_are_kept():
    inputs = [b"a.test", b"a", b"[::1]", b"[::1]:1", b"a.test:1", b"a:1"]
    kept = minimised(BROKEN, Coverage(), inputs)
    coverage = Coverage()

    assert len(kept) < len(inputs)
    assert set().union(*(coverage.whole(lambda data=data: broken(data)) for data in kept)) == set().union(
        *(coverage.whole(lambda data=data: broken(data)) for data in inputs)
    )


def test_an_endless_input_is_a_finding(monkeypatch):
    monkeypatch.setattr("fuzz.findings._PATIENCE", 0.05)

    def endless(data: bytes) -> None:
        """It ends."""
        while data:
            pass

    target = Target("endless", endless, lambda: [b""])
    found = judged(target, b"ab", lambda: endless(b"ab"))
    assert found is not None
    assert found.kind == "TooSlow"
    assert len(shrunk(target, found, tries=8).data) == 1


def test_crashes_are_not_committed():
    ignored = (CORPUS.parents[1] / ".gitignore").read_text().splitlines()
    assert f"{CRASHES.relative_to(CORPUS.parents[1])}/" in ignored
