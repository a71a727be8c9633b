"""Every public strategy has its page, whose values are real and whose example runs."""

import inspect
import re
import sys
from types import ModuleType

import pytest
from hypothesis import HealthCheck, Phase, settings

import sansio_pingora.testing as kit
from sansio_pingora.testing import OracleBroken
from sansio_pingora.testing import strategies as st
from tests.pages import DOCS, blocks, execute, page
from tests.testing.test_strategy_values import NAMES

INDEX = page("strategies/README.md")
PAGES = re.findall(r"\]\(([\w-]+\.md)\)", INDEX)
QUICK = settings(
    max_examples=8,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def named(name):
    """What a page is about: the line below its title."""
    return re.findall(r"`(\w+)`", page(f"strategies/{name}").split("\n")[2])


def test_each_public_name_is_on_one_page_and_in_the_index():
    found = [name for one in PAGES for name in named(one)]

    assert sorted(found) == sorted(st.__all__)
    assert all(f"`{name}`" in INDEX for name in found)


def test_each_page_is_in_the_index():
    here = {path.name for path in (DOCS / "strategies").glob("*.md")} - {"README.md"}

    assert here == {*PAGES}
    assert len(PAGES) == len(here)


@pytest.mark.parametrize("name", PAGES)
def test_three_values_of_each_strategy_are_shown_and_they_are_real(name):
    text = page(f"strategies/{name}")
    strategies = [one for one in named(name) if inspect.isfunction(getattr(st, one)) and "_frame" != one[-6:]]

    for strategy, values in zip(strategies, blocks(text, "text"), strict=True):
        assert f"Three values of `{strategy}`:" in text
        assert len(values.strip().splitlines()) == 3
        for line in values.strip().splitlines():
            assert repr(eval(line, dict(NAMES))) == line


@pytest.mark.parametrize("name", PAGES)
def test_each_page_has_examples_of_eight_lines_or_so_that_run(name):
    names: dict = {}
    execute(blocks(INDEX)[0], names)
    for block in blocks(page(f"strategies/{name}")):
        execute(block, names)
        lines = [line for line in block.strip().splitlines() if line and not line.startswith("import ")]
        assert len(lines) <= 9 or "@given" not in block
    tests = [value for key, value in names.items() if key.startswith("test_")]

    assert tests
    for test in tests:
        QUICK(test)()


@pytest.mark.parametrize("name", PAGES)
def test_each_page_says_where_its_names_are(name):
    text = page(f"strategies/{name}").split("\n\n")[2]
    used = {each for each in kit.__all__ if re.search(rf"\b{each}\(", page(f"strategies/{name}"))}
    preamble = blocks(INDEX)[0]

    assert text.startswith("`from sansio_pingora.testing import strategies as st` has them.")
    assert not [each for each in used if each not in preamble and f"`{each}`" not in text]


@pytest.mark.parametrize("part", ["Arguments", "How it shrinks", "What it is not", "An example"])
@pytest.mark.parametrize("name", PAGES)
def test_each_page_has_its_parts(name, part):
    assert f"\n## {part}\n" in page(f"strategies/{name}")


def test_a_party_of_ones_own():
    party, code, own, oracle, *_ = blocks(page("simulating.md"))
    names: dict = {}
    execute(party, names)
    execute(code, names)
    execute(own, names)
    execute(oracle, names)

    assert (names["judged"], names["fired"]) == (72, 18)  # as the page says
    QUICK(names["test_nothing_is_heard_that_was_not_said"])()


def test_a_seed_of_ones_own_is_shrunk_to_what_the_page_says(capsys, monkeypatch):
    text = page("simulating.md")
    (source,) = [block for block in blocks(text) if "shrink_seed" in block]
    module = ModuleType("test_shouting")
    monkeypatch.setitem(sys.modules, "test_shouting", module)
    names = vars(module)
    execute(blocks(text)[0], names)
    execute(source, names)
    told = capsys.readouterr().out

    assert told.strip() == next(block for block in blocks(text, "text") if "MINE-1" in block).strip()
    pasted = told[told.index("from sansio_pingora") :]
    execute(pasted, names)
    with pytest.raises(OracleBroken, match="MINE-1"):
        names[next(name for name in names if name.startswith("test_mine_1"))]()
